"""Eigen-decompositions of Kronecker products of symmetric matrices, and the likelihoods they give."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _native
from ._basis import BLOCK, Eigenbasis, KroneckerDiagonal
from ._check import FloatArray, as_float, as_number, contiguous
from ._factors import Dense, Factor, as_factors, require_symmetric
from ._operator import KroneckerOperator
from ._structured import Toeplitz

__all__ = ["Clipped", "ClippingWarning", "KroneckerEig"]

_HALVES_FROM = 100  # points; for shorter axes, to sort the eigenvectors by parity costs more than it saves


class ClippingWarning(UserWarning):
    """A factor has negative eigenvalues that rounding does not explain; they were set to zero."""


class Clipped(NamedTuple):
    """What was clipped of one factor: how many eigenvalues were negative, the smallest of them `smallest`.

    `tolerance` = n eps max\\|w\\| is what rounding the matrix's entries may have done; beyond it a warning was given.
    """

    factor: int
    negative: int
    smallest: float
    tolerance: float


class KroneckerEig(Eigenbasis):
    """The eigen-decomposition of a Kronecker product of symmetric matrices.

    .. math:: K = A_1 \\otimes \\dots \\otimes A_d = Q \\Lambda Q', \\qquad Q = Q_1 \\otimes \\dots \\otimes Q_d,
              \\quad \\lambda_{k_1 \\dots k_d} = w_{1 k_1} \\cdots w_{d k_d}

    costs n_1^3 + ... + n_d^3 operations; after it solves, determinants and functions of K + noise I cost two Kronecker
    products, 4 N (n_1 + ... + n_d). The formulas are those of Saatci (2011), section 5.

    Parameters
    ----------
    factors : list of array_like (n_i, n_i) or Factor, or KroneckerOperator
        Symmetric to rounding. `Toeplitz` and `Matern` on a uniform axis are decomposed by even and odd halves;
        `Diagonal` and `Identity` need nothing.
    clip : {"warn", "silent", "raise", "none"}
        A covariance has no negative eigenvalues, but its rounded matrix may. They are set to zero and reported in
        `clipped`; those below -n eps max\\|w\\|, which rounding does not explain, also by a `ClippingWarning`, not at
        all, or by a ValueError. "none" keeps all: for matrices that are meant to be indefinite.

    Attributes
    ----------
    factors : tuple of Factor
    eigenvalues : list of numpy.ndarray (n_i,)
    vectors : list of numpy.ndarray (n_i, n_i)
    clipped : list of Clipped

    Raises
    ------
    TypeError, ValueError
        If a factor is not symmetric or not finite.

    Examples
    --------
    >>> a, b = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[3.0]])
    >>> eig = KroneckerEig([a, b])
    >>> eig.solve(np.array([[9.0], [0.0]]), noise=1.0)
    array([[ 1.575],
           [-0.675]])
    >>> round(eig.logdet(1.0), 12) == round(math.log(7 * 7 - 3 * 3), 12)
    True
    """

    def __init__(self, factors: Any, *, clip: str = "warn") -> None:
        where = "telamon.kron.KroneckerEig"
        if clip not in ("warn", "silent", "raise", "none"):
            raise ValueError(f'{where}: clip is {clip!r}; pass "warn", "silent", "raise" or "none"')
        if isinstance(factors, KroneckerOperator):
            factors = factors.factors
        self.factors: tuple[Factor, ...] = as_factors(where, factors)
        require_symmetric(where, self.factors)
        dtype = np.result_type(*(factor.dtype for factor in self.factors))
        self.eigenvalues: list[FloatArray] = []
        self.clipped: list[Clipped] = []
        vectors: list[FloatArray | None] = []
        done: dict[int, int] = {}  # one factor on several axes is decomposed once
        for i, factor in enumerate(self.factors):
            first = done.setdefault(id(factor.a) if isinstance(factor, Dense) else id(factor), i)
            if first < i:
                self.eigenvalues.append(self.eigenvalues[first])
                vectors.append(vectors[first])
                continue
            w, q = factor._eigh()
            if clip != "none" and w.min() < 0:
                w = self._clip(where, i, w, clip)
            self.eigenvalues.append(np.ascontiguousarray(w, dtype))
            vectors.append(None if q is None else q.astype(dtype, copy=False))
        super().__init__(vectors, [factor.shape[0] for factor in self.factors], dtype)

    def _clip(self, where: str, i: int, w: FloatArray, clip: str) -> FloatArray:
        # Rounding the entries moves an eigenvalue by at most n eps/2 max|a|, and LAPACK by about as much.
        tolerance = len(w) * float(np.finfo(w.dtype).eps) * float(np.abs(w).max())
        report = Clipped(i, int((w < 0).sum()), float(w.min()), tolerance)
        self.clipped.append(report)
        if report.smallest < -tolerance and clip != "silent":
            text = (
                f"{where}: factors[{i}] is not positive semi-definite: {report.negative} of {len(w)} eigenvalues are "
                f"negative, down to {report.smallest:.3g}, where rounding explains {-tolerance:.1g}"
            )
            if clip == "raise":
                raise ValueError(f'{text}; add to its diagonal, or pass clip="silent" to have them set to 0')
            warnings.warn(f"{text}; they are set to 0", ClippingWarning, stacklevel=3)
        return np.maximum(w, 0)

    def _block(self, rows: slice) -> FloatArray:
        total, columns = self._split
        axis, size = len(self.grid), 1
        while size < columns:
            axis -= 1
            size *= self.grid[axis]
        head, tail = outer(self.eigenvalues[:axis], self.dtype), outer(self.eigenvalues[axis:], self.dtype)
        return np.multiply.outer(head[rows], tail) if total > 1 else head[:, None] * tail

    def _smallest(self) -> float:
        low, high = 1.0, 1.0
        for w in self.eigenvalues:  # products of the extremes, since some may be negative
            ends = [a * b for a in (low, high) for b in (float(w.min()), float(w.max()))]
            low, high = min(ends), max(ends)
        return low

    def _divide(self, t: FloatArray, noise: float) -> None:
        _native.spectral(self._values(t.dtype), noise, t, t, None)

    def _logdet(self, noise: float) -> float:
        return float(_native.spectral(self._values(self.dtype), noise, None, None, None)[1])

    def _quadratic(self, t: FloatArray, noise: float) -> float:
        return float(_native.spectral(self._values(t.dtype), noise, t, None, None)[0])

    def _values(self, dtype: np.dtype[Any]) -> list[FloatArray]:
        return [w.astype(dtype, copy=False) for w in self.eigenvalues]

    def log_likelihood(self, y: ArrayLike, noise: float) -> float:
        where = f"{self._where}.log_likelihood"
        t = self._rotate(self._grids(where, "y", y))
        s = as_number(where, "noise", noise)
        self._require_definite(where, s)
        quadratic, logdet, _ = _native.spectral(self._values(t.dtype), s, t, None, None)
        return float(-0.5 * (quadratic + t.shape[0] * self._constant(logdet)))

    log_likelihood.__doc__ = Eigenbasis.log_likelihood.__doc__

    def log_likelihood_gradient(
        self, y: ArrayLike, noise: float, *, columns: bool = False
    ) -> tuple[float, list[FloatArray], float]:
        """`log_likelihood` and its derivatives in all entries of all factors, and in the noise.

        .. math:: G_i = \\tfrac12\\, Q_i (S_i - \\mathrm{diag}\\, w_i)\\, Q_i', \\qquad
                  S_i = a_{(i)} \\Lambda_{-i}\\, a_{(i)}', \\quad w_i = \\sum_{-i} \\frac{\\Lambda_{-i}}{\\lambda + s},
                  \\quad a = \\frac{Q' y}{\\lambda + s}

        with a_(i) the tensor a unfolded along axis i and Lambda_-i the product of the other factors' eigenvalues. The
        derivative in a hyperparameter is the sum of G_i times dA_i/dtheta, entry by entry: the cost hardly depends on
        how many there are, and repeated eigenvalues are no trouble. In the noise it is (a.a - sum 1/(lam + s)) / 2.

        The decomposition and this function need at most 8 vectors of N numbers together, the factors, y and the results
        included: most where two axes of equal length make each matrix as large as the grid.

        Parameters
        ----------
        y : array_like (..., n_1, ..., n_d) of float32 or float64
        noise : float
        columns : bool
            For `Toeplitz` factors return the derivative in the column, (n_i,), in place of G_i.

        Returns
        -------
        value : float
        gradients : list of numpy.ndarray (n_i, n_i)
            Symmetric. Those of `Diagonal` and `Identity` factors are full as well.
        noise_gradient : float
        """
        where = f"{self._where}.log_likelihood_gradient"
        a = self._rotate(self._grids(where, "y", y))
        s = as_number(where, "noise", noise)
        self._require_definite(where, s)
        batches, values = a.shape[0], self._values(a.dtype)
        weights = [np.empty(n) for n in self.grid]
        quadratic, logdet, trace = _native.spectral(values, s, a, a, weights)
        value = -0.5 * (quadratic + batches * self._constant(logdet))
        slope = 0.5 * (_square(a) - batches * trace)
        gradients = []
        for i, q in enumerate(self._q):
            n, w = self.grid[i], batches * weights[i]
            in_column = columns and isinstance(self.factors[i], Toeplitz)
            if in_column and q is not None and n >= _HALVES_FROM:
                gradients.append(_column_gradient(a, values, i, q.astype(a.dtype, copy=False), w))
                continue
            g = np.empty((n, n), a.dtype)
            _native.gram(a, None, values, i, g)
            if i == len(self.grid) - 1:
                del a  # where there are two axes, a matrix may be as large
            _sandwich(g, None if q is None else q.astype(g.dtype, copy=False), w)
            gradients.append(_diagonal_sums(g) if in_column else g)
        return float(value), gradients, float(slope)

    def with_diag(self, d: ArrayLike) -> KroneckerDiagonal:
        """Q diag(d) Q' with free eigenvalues d (n_1, ..., n_d), a grid, in the place of Lambda.

        For curvature of neural networks in an eigenvalue-corrected Kronecker basis (EK-FAC, George et al. 2018).
        """
        where = f"{self._where}.with_diag"
        array = as_float(where, "d", d)
        if array.shape != self.grid:
            listed = ", ".join(map(str, self.grid))
            raise ValueError(f"{where}: d has shape {array.shape}; pass an array ({listed})")
        return KroneckerDiagonal(self._q, contiguous(array, np.result_type(array, self.dtype)))


def outer(vectors: Sequence[FloatArray], dtype: Any) -> FloatArray:
    """The outer product, flat."""
    result = np.ones(1, dtype)
    for vector in vectors:
        result = np.multiply.outer(result, vector).reshape(-1)
    return result


def _square(a: FloatArray) -> float:
    """The sum of squares, in double precision."""
    flat = a.reshape(-1)
    return math.fsum(
        float(np.dot(part, part))
        for part in (flat[i : i + BLOCK].astype(np.float64, copy=False) for i in range(0, flat.size, BLOCK))
    )


def _sandwich(g: FloatArray, q: FloatArray | None, w: FloatArray) -> None:
    """Q (g - diag w) Q'/2 in the place of g."""
    n = len(g)
    g.reshape(-1)[:: n + 1] -= w
    g *= 0.5
    if q is not None:
        _native.matmul([q, q], g.reshape(1, n, n, 1), g.reshape(1, n, n, 1))


def _diagonal_sums(g: FloatArray) -> FloatArray:
    """Of the diagonals k and -k together, for a symmetric matrix."""
    return np.array([(1 if k == 0 else 2) * np.trace(g, k) for k in range(len(g))], g.dtype)


def _column_gradient(a: FloatArray, values: list[FloatArray], i: int, q: FloatArray, w: FloatArray) -> FloatArray:
    """Sums of G_i along its diagonals k and -k.

    They see only what stays as it is when both indices are turned around, and there eigenvectors meet those of their
    own parity alone: two problems of half the size.
    """
    n = len(q)
    half = n // 2
    parity = np.einsum("jk,jk->k", q[:half], q[: n - half - 1 : -1])
    column = np.zeros(n, q.dtype)
    for even in (True, False):
        chosen = np.flatnonzero(parity >= 0 if even else parity < 0)
        if not len(chosen):
            continue
        g = np.empty((len(chosen), len(chosen)), a.dtype)
        _native.gram(np.take(a, chosen, axis=i + 1), None, values, i, g)
        _sandwich(g, None, w[chosen])
        rows = n - half if even else half
        top = np.ascontiguousarray(q[:rows, chosen])
        block = np.empty((rows, rows), a.dtype)
        _native.matmul([top, top], g.reshape(1, *g.shape, 1), block.reshape(1, rows, rows, 1))
        # The four corners of Q_i g Q_i' are this block and its mirror images; a middle row is in the even block alone.
        corner, sign = block[:half, :half], 1 if even else -1
        for k in range(half):
            column[k] += (2 if k == 0 else 4) * np.trace(corner, k)
        mirrored = corner[:, ::-1]  # [i, j] of it is [i, n - half + j] of the whole
        for k in range(n - 2 * half + 1, n):
            column[k] += 2 * sign * np.trace(mirrored, k - (n - half))
        if rows > half:
            column[0] += block[half, half]
            column[half:0:-1] += 4 * block[half, :half]
    return column
