"""Covariances of one axis whose products need no matrix: stationary on a uniform axis, and Markov on any."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _native
from ._check import FloatArray, as_number, as_vector
from ._factors import Factor

__all__ = ["Matern", "Toeplitz"]

# Up to these lengths a product as a dense matrix, at the speed of matrix products, is faster than by FFT or filter.
_DENSE_TOEPLITZ = 512
_DENSE_MATERN = 256


class Toeplitz(Factor):
    """A matrix that is constant along its diagonals: a stationary covariance on a uniform axis.

    .. math:: A_{ij} = c_{i-j} \\; (i \\ge j), \\qquad r_{j-i} \\; (i < j)

    Its product costs O(log n) an entry by FFT from n = 513 on; the symmetric one's eigen-decomposition, by even and odd
    halves, a third of a dense matrix's.

    Parameters
    ----------
    column : array_like (m,) of float32 or float64
    row : array_like (n,), optional
        Starting with column[0]; by default the column, for a symmetric matrix.
    """

    def __init__(self, column: ArrayLike, row: ArrayLike | None = None) -> None:
        where = "telamon.kron.Toeplitz"
        self.column = as_vector(where, "column", column)
        self.row = self.column if row is None else as_vector(where, "row", row)
        if self.row[0] != self.column[0]:
            raise ValueError(
                f"{where}: row starts with {self.row[0]}, column with {self.column[0]}; they share that entry"
            )
        self.dtype = np.result_type(self.column, self.row)
        self.column = self.column.astype(self.dtype, copy=False)
        self.row = self.row.astype(self.dtype, copy=False)
        self.shape = (self.column.size, self.row.size)

    @property
    def is_symmetric(self) -> bool:
        return self.row is self.column or np.array_equal(self.row, self.column)

    @property
    def T(self) -> Toeplitz:
        return self if self.row is self.column else Toeplitz(self.row, self.column)

    def toarray(self) -> FloatArray:
        m, n = self.shape
        # From right to left in one vector: row n is [c_n .. c_0 r_1 ..].
        line = np.concatenate([self.column[::-1], self.row[1:]])
        matrix: FloatArray = np.lib.stride_tricks.sliding_window_view(line, n)[:m][::-1].copy()
        return matrix

    def submatrix(self, rows: FloatArray, columns: FloatArray) -> FloatArray:
        lag = np.subtract.outer(rows, columns)
        part: FloatArray = np.where(lag >= 0, self.column[np.maximum(lag, 0)], self.row[np.maximum(-lag, 0)])
        return part

    def diagonal(self) -> FloatArray:
        return np.full(min(self.shape), self.column[0])

    def scaled(self, scale: float) -> Toeplitz:
        factor = self.dtype.type(scale)
        return Toeplitz(self.column * factor, None if self.row is self.column else self.row * factor)

    @functools.cached_property
    def _matrix(self) -> FloatArray:
        return self.toarray()

    @functools.cached_property
    def _spectrum(self) -> tuple[int, FloatArray]:
        """Length and transform of the circulant matrix that this one is a corner of."""
        m, n = self.shape
        length = _fast_length(m + n - 1)
        line = np.zeros(length, self.dtype)
        line[:m] = self.column
        line[length - n + 1 :] = self.row[:0:-1]
        return length, np.fft.rfft(line)

    def _kernel(self, dtype: np.dtype[Any]) -> FloatArray | None:
        return self._matrix.astype(dtype, copy=False) if max(self.shape) <= _DENSE_TOEPLITZ else None

    def _own(self, x: FloatArray) -> FloatArray:
        length, spectrum = self._spectrum
        m = self.shape[0]
        y = np.empty((x.shape[0], m, x.shape[2]), x.dtype)
        lines = max(1, (1 << 20) // length)  # at a time, which bounds the memory for transforms
        columns = min(lines, x.shape[2])
        batches = max(1, lines // columns)
        for i in range(0, x.shape[0], batches):
            for j in range(0, x.shape[2], columns):
                part = np.fft.rfft(x[i : i + batches, :, j : j + columns], length, axis=1)
                part *= spectrum[:, None]
                y[i : i + batches, :, j : j + columns] = np.fft.irfft(part, length, axis=1)[:, :m]
        return y

    def _eigh(self) -> tuple[FloatArray, FloatArray | None]:
        n = self.shape[0]
        w, q = np.empty(n, self.dtype), np.empty((n, n), self.dtype)
        _native.eigh_toeplitz(self.column, w, q)
        return w, q


class Matern(Factor):
    """The Matern covariance of half-integer smoothness at points of any spacing, as a state-space model.

    .. math:: k(r) = \\sigma^2 e^{-a}\\{1,\\; 1 + a,\\; 1 + a + a^2/3\\}, \\qquad a = \\sqrt{2\\nu}\\, r/\\ell

    for nu = 1/2 (Ornstein-Uhlenbeck), 3/2 and 5/2. The process and its first nu - 1/2 derivatives are a Markov chain
    along the axis, so that products, and with `KroneckerSystem` on a single axis solves and log-determinants, cost O(n)
    (Hartikainen and Sarkka, 2010).

    Parameters
    ----------
    x : array_like (n,) of float32 or float64
        Points, increasing.
    nu : {0.5, 1.5, 2.5}
    lengthscale, variance : float
        Positive.
    """

    def __init__(self, x: ArrayLike, nu: float = 1.5, lengthscale: float = 1.0, variance: float = 1.0) -> None:
        where = "telamon.kron.Matern"
        self.x = as_vector(where, "x", x)
        if (np.diff(self.x) <= 0).any():
            raise ValueError(
                f"{where}: x is not increasing; pass np.unique(x), since a point that is there twice is one"
            )
        if nu not in (0.5, 1.5, 2.5):
            raise ValueError(
                f"{where}: nu is {nu}; pass 0.5, 1.5 or 2.5, or a dense matrix of telamon.stats.matern_kernel"
            )
        self.nu = float(nu)
        self.lengthscale = as_number(where, "lengthscale", lengthscale, positive=True)
        self.variance = as_number(where, "variance", variance, positive=True)
        self.dtype = self.x.dtype
        self.shape = (self.x.size, self.x.size)

    def toarray(self) -> FloatArray:
        every = np.arange(self.shape[0])
        return self.submatrix(every, every)

    def submatrix(self, rows: FloatArray, columns: FloatArray) -> FloatArray:
        x = self.x.astype(np.float64, copy=False)  # in which the difference of nearby points loses nothing
        distance = np.abs(np.subtract.outer(x[rows], x[columns]))
        return self._covariance(distance).astype(self.dtype, copy=False)

    def _covariance(self, distance: FloatArray) -> FloatArray:
        a = distance * (math.sqrt(2 * self.nu) / self.lengthscale)
        k = np.exp(-a)
        k *= self.variance
        if self.nu == 1.5:
            k *= 1 + a
        elif self.nu == 2.5:
            k *= 1 + a * (1 + a / 3)
        return k

    def diagonal(self) -> FloatArray:
        return np.full(self.shape[0], self.variance, self.dtype)

    def scaled(self, scale: float) -> Factor:
        if scale <= 0:
            return super().scaled(scale)
        return Matern(self.x, self.nu, self.lengthscale, self.variance * scale)

    @functools.cached_property
    def statespace(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Transitions (n, m, m), stationary covariance (m, m) and observation h (m,) of the state.

        The state is f, f'/lambda, f''/lambda^2 with lambda = sqrt(2 nu)/lengthscale, free of units: its drift is that
        of lambda = 1 over the time lambda dx, minus the identity plus a nilpotent matrix, so that its exponential is a
        polynomial times exp(-lambda dx). transitions[i] leads from point i - 1 to point i; the first is the identity.
        """
        m = round(self.nu + 0.5)
        drift = np.eye(m, k=1)
        drift[-1] = [-1.0, *([-2.0] if m == 2 else [-3.0, -3.0] if m == 3 else [])]
        nilpotent = drift + np.eye(m)
        x = self.x.astype(np.float64, copy=False)
        time = np.diff(x, prepend=x[0])[:, None, None] * (math.sqrt(2 * self.nu) / self.lengthscale)
        transitions = np.exp(-time) * (np.eye(m) + time * nilpotent + time**2 / 2 * (nilpotent @ nilpotent))
        cov = {1: np.eye(1), 2: np.eye(2), 3: np.array([[1, 0, -1 / 3], [0, 1 / 3, 0], [-1 / 3, 0, 1]])}[m]
        h = np.eye(m)[0]
        return (
            np.ascontiguousarray(transitions, self.dtype),
            np.ascontiguousarray(self.variance * cov, self.dtype),
            np.ascontiguousarray(h, self.dtype),
        )

    @functools.cached_property
    def _matrix(self) -> FloatArray:
        return self.toarray()

    def _kernel(self, dtype: np.dtype[Any]) -> FloatArray | None:
        return self._matrix.astype(dtype, copy=False) if self.shape[0] <= _DENSE_MATERN else None

    def _own(self, x: FloatArray) -> FloatArray:
        y = np.empty_like(x)
        transitions, cov, h = (part.astype(x.dtype, copy=False) for part in self.statespace)
        _native.statespace_matmul(transitions, cov, h, x, y)
        return y

    def _eigh(self) -> tuple[FloatArray, FloatArray | None]:
        steps = np.diff(self.x.astype(np.float64, copy=False))
        n = self.shape[0]
        if n > 2 and np.ptp(steps) <= 4 * np.finfo(self.dtype).eps * float(
            np.abs(self.x).max()
        ):  # uniform, to rounding
            column = self._covariance(np.arange(n) * float(steps.mean()))
            return Toeplitz(column.astype(self.dtype))._eigh()
        return super()._eigh()


def _fast_length(least: int) -> int:
    """The least length from `least` on that has no prime factor above 5, at which FFTs are fast."""
    best = 1 << (least - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            power = three << max(0, (-(-least // three) - 1).bit_length())
            best = min(best, power)
            three *= 3
        five *= 5
    return best
