"""The matrices that Kronecker products are made of, each with its cheapest product and eigen-decomposition."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _native
from ._check import FloatArray, as_float, as_vector, as_whole, contiguous

__all__ = ["Dense", "Diagonal", "Factor", "Identity", "as_factor", "as_factors", "require_symmetric"]


class Factor:
    """A matrix (m, n) that acts on one axis of a grid.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        float32 or float64.
    is_symmetric : bool
        To rounding: no entry differs from its mirror image by more than 100 eps of the largest.
    T : Factor
        The transpose.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def is_symmetric(self) -> bool:
        return True

    @property
    def T(self) -> Factor:
        return self

    def toarray(self) -> FloatArray:
        """The matrix as an array; it may be the factor's own, so do not write to it."""
        raise NotImplementedError

    def diagonal(self) -> FloatArray:
        """The entries [i, i], a vector of min(m, n)."""
        return self.toarray().diagonal()

    def submatrix(self, rows: FloatArray, columns: FloatArray) -> FloatArray:
        """The entries [rows[i], columns[j]]."""
        part: FloatArray = self.toarray()[np.ix_(rows, columns)]
        return part

    def scaled(self, scale: float) -> Factor:
        """The factor times a number."""
        return Dense(self.toarray() * self.dtype.type(scale))

    def scaled_both(self, vector: FloatArray) -> Factor:
        """diag(vector) A diag(vector)."""
        return Dense(vector[:, None] * self.toarray() * vector)

    def matmul_axis(self, x: ArrayLike, axis: int) -> FloatArray:
        """The product with every line of the array `x` along an axis.

        Parameters
        ----------
        x : array_like of float32 or float64
            With n entries along the axis.
        axis : int

        Returns
        -------
        numpy.ndarray
            A new array with m entries there, in the wider of the two dtypes.
        """
        where = f"telamon.kron.{type(self).__name__}.matmul_axis"
        array = as_float(where, "x", x)
        if not -array.ndim <= axis < array.ndim:
            raise ValueError(f"{where}: axis is {axis}, x has {array.ndim} dimensions")
        axis %= array.ndim
        if array.shape[axis] != self.shape[1]:
            raise ValueError(
                f"{where}: x has {array.shape[axis]} entries along axis {axis}, the factor has {self.shape[1]} columns"
            )
        dtype = np.result_type(array, self.dtype)
        lead, rest = array.shape[:axis], array.shape[axis + 1 :]
        flat = contiguous(array, dtype).reshape(math.prod(lead), self.shape[1], math.prod(rest))
        return self._product(flat).reshape(*lead, self.shape[0], *rest)

    def eigh(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues (n,) and eigenvectors (n, n), in columns, of a symmetric factor.

        Ascending, but for `Diagonal`, whose eigenvectors are the unit vectors in their order.
        """
        w, q = self._eigh()
        return w, np.eye(len(w), dtype=self.dtype) if q is None else q

    # What the operators use.

    def _kernel(self, dtype: np.dtype[Any]) -> FloatArray | None:
        """The dense matrix, rows or columns contiguous, that the kernel for matrix products gets; None for `_own`."""
        return self.toarray().astype(dtype, copy=False)

    def _own(self, x: FloatArray) -> FloatArray:
        """The product with x (L, n, R) where `_kernel` is None; may be x itself."""
        return x

    def _product(self, x: FloatArray) -> FloatArray:
        """A new array (L, m, R)."""
        matrix = self._kernel(x.dtype)
        if matrix is None:
            y = self._own(x)
            return y.copy() if y is x else y
        y = np.empty((x.shape[0], self.shape[0], x.shape[2]), x.dtype)
        _native.matmul([matrix], x, y)
        return y

    def _eigh(self) -> tuple[FloatArray, FloatArray | None]:
        """As `eigh`; None are the unit vectors."""
        n = self.shape[0]
        a = np.ascontiguousarray(self.toarray())
        w, q = np.empty(n, self.dtype), np.empty((n, n), self.dtype)
        _native.eigh(a, w, q)
        return w, q

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shape[0]}x{self.shape[1]}, {self.dtype}>"


class Dense(Factor):
    """Any matrix.

    Parameters
    ----------
    a : array_like (m, n) of float32 or float64
        Kept as it is, without a copy, where its rows or columns are contiguous.
    """

    def __init__(self, a: ArrayLike) -> None:
        where = "telamon.kron.Dense"
        array = as_float(where, "a", a)
        if array.ndim != 2 or array.size == 0:
            raise ValueError(f"{where}: a has shape {array.shape}; pass a matrix of at least one row and column")
        rows_or_columns = array.flags.c_contiguous or array.flags.f_contiguous
        self.a = array if rows_or_columns and array.flags.aligned else array.copy()
        self.shape = (array.shape[0], array.shape[1])
        self.dtype = array.dtype

    @functools.cached_property
    def _symmetric(self) -> bool:
        a, tolerance = self.a, 100 * np.finfo(self.dtype).eps
        if self.shape[0] != self.shape[1]:
            return False
        bound = tolerance * max(a.max(), -a.min())  # without a copy of absolute values
        with np.errstate(invalid="ignore"):  # infinities are not symmetric
            parts = (np.abs(a[i : i + 64] - a[:, i : i + 64].T).max() for i in range(0, self.shape[0], 64))
            return all(float(part) <= bound for part in parts)

    @property
    def is_symmetric(self) -> bool:
        return self._symmetric

    @property
    def T(self) -> Dense:
        return Dense(self.a.T)

    def toarray(self) -> FloatArray:
        return self.a


class Diagonal(Factor):
    """A diagonal matrix.

    Parameters
    ----------
    d : array_like (n,) of float32 or float64
    """

    def __init__(self, d: ArrayLike) -> None:
        self.d = as_vector("telamon.kron.Diagonal", "d", d)
        self.dtype = self.d.dtype
        self.shape = (self.d.size, self.d.size)

    def toarray(self) -> FloatArray:
        return np.diag(self.d)

    def submatrix(self, rows: FloatArray, columns: FloatArray) -> FloatArray:
        return np.equal.outer(rows, columns) * self.d[rows][:, None]

    def diagonal(self) -> FloatArray:
        return self.d

    def scaled(self, scale: float) -> Diagonal:
        return Diagonal(self.d * self.dtype.type(scale))

    def scaled_both(self, vector: FloatArray) -> Diagonal:
        return Diagonal(vector * self.d * vector)

    def _kernel(self, dtype: np.dtype[Any]) -> None:
        return None

    def _own(self, x: FloatArray) -> FloatArray:
        y: FloatArray = x * self.d[:, None].astype(x.dtype, copy=False)
        return y

    def _eigh(self) -> tuple[FloatArray, None]:
        return self.d, None


class Identity(Factor):
    """The identity, which costs nothing.

    Parameters
    ----------
    n : int
    dtype : float32 or float64
        The default leaves the result's dtype to the other factors.
    """

    def __init__(self, n: int, dtype: Any = np.float32) -> None:
        n = as_whole("telamon.kron.Identity", "n", n, 1)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"telamon.kron.Identity: dtype is {self.dtype}; pass float32 or float64")
        self.shape = (n, n)

    def toarray(self) -> FloatArray:
        return np.eye(self.shape[0], dtype=self.dtype)

    def submatrix(self, rows: FloatArray, columns: FloatArray) -> FloatArray:
        return np.equal.outer(rows, columns).astype(self.dtype)

    def diagonal(self) -> FloatArray:
        return np.ones(self.shape[0], self.dtype)

    def scaled(self, scale: float) -> Diagonal:
        return Diagonal(np.full(self.shape[0], scale, self.dtype))

    def scaled_both(self, vector: FloatArray) -> Diagonal:
        return Diagonal(vector * vector)

    def _kernel(self, dtype: np.dtype[Any]) -> None:
        return None

    def _eigh(self) -> tuple[FloatArray, None]:
        return np.ones(self.shape[0], self.dtype), None


def as_factor(where: str, name: str, value: Any) -> Factor:
    """The factor, or a matrix as one."""
    if isinstance(value, Factor):
        return value
    array = as_float(where, name, value)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{where}: {name} has shape {array.shape}; pass a matrix, or a telamon.kron.Factor")
    return Dense(array)


def as_factors(where: str, factors: Any) -> tuple[Factor, ...]:
    """At least one factor."""
    if isinstance(factors, Factor) or (isinstance(factors, np.ndarray) and factors.ndim == 2):
        raise TypeError(f"{where}: factors is a single matrix; pass a list of them, [a] for one axis")
    try:
        listed = list(factors)
    except TypeError:
        raise TypeError(f"{where}: factors is a {type(factors).__name__}; pass a list of matrices") from None
    if not listed:
        raise ValueError(f"{where}: factors is empty; pass a matrix for each axis")
    return tuple(as_factor(where, f"factors[{i}]", factor) for i, factor in enumerate(listed))


def require_symmetric(where: str, factors: tuple[Factor, ...]) -> None:
    for i, factor in enumerate(factors):
        n, columns = factor.shape
        if n != columns:
            raise ValueError(f"{where}: factors[{i}] is {n}x{columns}; pass symmetric matrices")
        if not factor.is_symmetric:
            if not np.isfinite(factor.toarray()).all():
                raise ValueError(f"{where}: factors[{i}] has entries that are NaN or infinite")
            raise ValueError(f"{where}: factors[{i}] is not symmetric; pass (a + a.T) / 2 if it should be")
