"""Matrices with a Kronecker product of orthogonal matrices as eigenvectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _native
from ._check import FloatArray, as_grid, as_number, as_output, contiguous, product_text

__all__ = ["BLOCK", "Eigenbasis", "KroneckerDiagonal"]

BLOCK = 1 << 16  # numbers at a time, where a tensor of them would cost memory


class Eigenbasis:
    """A matrix Q diag(lam) Q' on a grid, Q the Kronecker product of orthogonal matrices.

    The base of `KroneckerEig` and `KroneckerDiagonal`. Grids are arrays (..., n_1, ..., n_d) of float32 or float64 with
    batches in front; results have the wider of their dtype and the matrix's.

    Memory: beside arguments and results nothing of the grid's size but a vector of N numbers in log_likelihood; with
    `out` being y, solves and functions of the matrix work in place.

    Attributes
    ----------
    shape : tuple of int
        (N, N).
    grid : tuple of int
        (n_1, ..., n_d).
    dtype : numpy.dtype
    vectors : list of numpy.ndarray (n_i, n_i)
        The factors of Q; eigenvectors are columns.
    """

    grid: tuple[int, ...]
    dtype: np.dtype[Any]
    _q: list[FloatArray | None]  # None is the identity

    def __init__(self, q: Sequence[FloatArray | None], grid: Sequence[int], dtype: np.dtype[Any]) -> None:
        self._q = list(q)
        self.grid = tuple(grid)
        self.dtype = dtype

    @property
    def shape(self) -> tuple[int, int]:
        n = math.prod(self.grid)
        return n, n

    @property
    def vectors(self) -> list[FloatArray]:
        pairs = zip(self._q, self.grid, strict=True)
        return [np.eye(n, dtype=self.dtype) if q is None else q for q, n in pairs]

    @property
    def _where(self) -> str:
        return f"telamon.kron.{type(self).__name__}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {product_text(self.grid)}, {self.dtype}>"

    # ---- the basis

    def _rotate(self, x: FloatArray, out: FloatArray | None = None, *, back: bool = False) -> FloatArray:
        """Q' x, or Q x, of x (B, n_1, ..., n_d, R), in a new array or `out`, which may be x."""
        matrices = [None if q is None else (q if back else q.T).astype(x.dtype, copy=False) for q in self._q]
        result = np.empty_like(x) if out is None else out
        _native.matmul(matrices, x, result)
        return result

    def _grids(self, where: str, name: str, value: ArrayLike) -> FloatArray:
        """(B, n_1, ..., n_d, 1), and contiguous."""
        array = as_grid(where, name, value, self.grid)
        dtype = np.result_type(array, self.dtype)
        return (
            contiguous(array, dtype).reshape(-1, *self.grid, 1) if array.size else np.empty((0, *self.grid, 1), dtype)
        )

    # ---- the eigenvalues, block by block

    @property
    def _split(self) -> tuple[int, int]:
        """The grid as rows and columns, a column being what a block cannot be smaller than."""
        columns, axis = 1, len(self.grid)
        while axis > 0 and columns * self.grid[axis - 1] <= BLOCK:
            axis -= 1
            columns *= self.grid[axis]
        if columns == 1 and axis > 0:
            columns = self.grid[-1]
        return math.prod(self.grid) // columns, columns

    def _block(self, rows: slice) -> FloatArray:
        """Eigenvalues (rows, columns) of the grid split so."""
        raise NotImplementedError

    def _blocks(self) -> Iterator[tuple[slice, FloatArray]]:
        rows, columns = self._split
        step = max(1, BLOCK // columns)
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            yield part, self._block(part)

    def _scale(self, t: FloatArray, function: Callable[[FloatArray], FloatArray], where: str) -> None:
        """t (B, n_1, ..., n_d, 1) times function(lam), in place."""
        view = t.reshape(t.shape[0], *self._split)
        for rows, lam in self._blocks():
            factor = np.asarray(function(lam))
            if factor.shape not in ((), lam.shape):
                raise ValueError(
                    f"{where}: function returns shape {factor.shape} of {lam.shape}; pass one of single numbers"
                )
            view[:, rows] *= factor.astype(t.dtype, copy=False)

    def _smallest(self) -> float:
        return min(float(lam.min()) for _, lam in self._blocks())

    def _require_definite(self, where: str, noise: float) -> None:
        smallest = self._smallest()
        if smallest + noise <= 0:
            raise ValueError(
                f"{where}: noise is {noise:g} and the smallest eigenvalue {smallest:g}: the matrix is not positive "
                "definite; pass more noise"
            )

    def _divide(self, t: FloatArray, noise: float) -> None:
        self._scale(t, lambda lam: 1 / (lam + noise), self._where)

    def _logdet(self, noise: float) -> float:
        return float(sum(np.log(lam + noise, dtype=np.float64).sum() for _, lam in self._blocks()))

    def _quadratic(self, t: FloatArray, noise: float) -> float:
        """Sum of t^2/(lam + noise)."""
        view = t.reshape(t.shape[0], *self._split)
        parts = (np.sum(view[:, rows] ** 2 / (lam + noise), dtype=np.float64) for rows, lam in self._blocks())
        return math.fsum(map(float, parts))

    # ---- what follows

    def solve(self, y: ArrayLike, noise: float = 0.0, *, out: FloatArray | None = None) -> FloatArray:
        """(K + noise I)^-1 y.

        Parameters
        ----------
        y : array_like (..., n_1, ..., n_d) of float32 or float64
        noise : float
            A variance, from 0 on.
        out : numpy.ndarray, optional
            Like y and C-contiguous; written and returned. It may be y itself.

        Returns
        -------
        numpy.ndarray like y

        Raises
        ------
        TypeError, ValueError
            If the matrix is not positive definite, or y does not fit.
        """
        where = f"{self._where}.solve"
        s = as_number(where, "noise", noise)
        self._require_definite(where, s)
        t, result = self._prepare(where, "y", y, out)
        self._divide(t, s)
        self._rotate(t, t, back=True)
        return result

    def _prepare(self, where: str, name: str, x: ArrayLike, out: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        """Q' x as (B, n_1, ..., n_d, 1), a view of the array for the result."""
        flat = self._grids(where, name, x)
        result = as_output(where, out, np.shape(x), flat.dtype)
        t = result.reshape(flat.shape)
        if out is not None and np.may_share_memory(flat, t) and flat.ctypes.data != t.ctypes.data:
            flat = flat.copy()
        return self._rotate(flat, t), result

    def apply(
        self, function: Callable[[FloatArray], Any], x: ArrayLike, *, out: FloatArray | None = None
    ) -> FloatArray:
        """f(K) x = Q f(lam) Q' x.

        Parameters
        ----------
        function : callable
            Of an array of eigenvalues, elementwise: `numpy.sqrt`, or `lambda lam: lam / (lam + noise)`. It is called
            with blocks of them.
        x : array_like (..., n_1, ..., n_d) of float32 or float64
        out : numpy.ndarray, optional
            As in `solve`.

        Returns
        -------
        numpy.ndarray like x
        """
        where = f"{self._where}.apply"
        t, result = self._prepare(where, "x", x, out)
        self._scale(t, function, where)
        self._rotate(t, t, back=True)
        return result

    def logdet(self, noise: float = 0.0) -> float:
        """log det(K + noise I), summed in double precision.

        Raises
        ------
        ValueError
            If the matrix is not positive definite.
        """
        where = f"{self._where}.logdet"
        s = as_number(where, "noise", noise)
        self._require_definite(where, s)
        return self._logdet(s)

    def diagonal(self, function: Callable[[FloatArray], Any] | None = None) -> FloatArray:
        """The diagonal of f(K) as a grid, of K itself without a function: one product with the squared vectors.

        The variance of a Gaussian process at the points of the grid, given observations with noise s, is
        `diagonal(lambda lam: lam * s / (lam + s))`.
        """
        t = np.ones((1, *self.grid, 1), self.dtype)
        self._scale(t, (lambda lam: lam) if function is None else function, f"{self._where}.diagonal")
        _native.matmul([None if q is None else q**2 for q in self._q], t, t)
        return t.reshape(self.grid)

    def sample(self, size: int | tuple[int, ...] | None = None, noise: float = 0.0, *, rng: Any = None) -> FloatArray:
        """Draws from the normal distribution of mean 0 and covariance K + noise I.

        Parameters
        ----------
        size : int or tuple of int, optional
            How many; without it a single grid.
        noise : float
        rng : numpy.random.Generator or seed, optional

        Returns
        -------
        numpy.ndarray (*size, n_1, ..., n_d)
        """
        where = f"{self._where}.sample"
        s = as_number(where, "noise", noise)
        smallest = self._smallest()
        if smallest + s < 0:
            raise ValueError(
                f"{where}: the smallest eigenvalue is {smallest:g}, which is no variance; clip it, or pass noise"
            )
        lead = () if size is None else (size,) if isinstance(size, int | np.integer) else tuple(size)
        z: FloatArray = np.random.default_rng(rng).standard_normal((math.prod(lead), *self.grid, 1), self.dtype)
        if z.size:
            self._scale(z, lambda lam: np.sqrt(lam + s), where)
            self._rotate(z, z, back=True)
        return z.reshape(*lead, *self.grid)

    def log_likelihood(self, y: ArrayLike, noise: float) -> float:
        """The log-density of grids y under the normal distribution of mean 0 and covariance K + noise I.

        .. math:: -\\tfrac12\\, y'(K + s I)^{-1} y - \\tfrac12 \\log\\det(K + s I) - \\tfrac{N}{2} \\log 2\\pi

        Parameters
        ----------
        y : array_like (..., n_1, ..., n_d) of float32 or float64
            Independent draws in front, whose log-densities are added.
        noise : float

        Returns
        -------
        float
            Sums are in double precision.
        """
        where = f"{self._where}.log_likelihood"
        t = self._rotate(self._grids(where, "y", y))
        s = as_number(where, "noise", noise)
        self._require_definite(where, s)
        return float(-0.5 * (self._quadratic(t, s) + t.shape[0] * self._constant(self._logdet(s))))

    def _constant(self, logdet: float) -> float:
        return logdet + math.prod(self.grid) * math.log(2 * math.pi)


class KroneckerDiagonal(Eigenbasis):
    """Q diag(D) Q', Q a Kronecker product of orthogonal matrices and D any grid; `KroneckerEig.with_diag` makes it."""

    def __init__(self, q: Sequence[FloatArray | None], d: FloatArray) -> None:
        super().__init__([None if a is None else a.astype(d.dtype, copy=False) for a in q], d.shape, d.dtype)
        self.d = d

    def _block(self, rows: slice) -> FloatArray:
        return self.d.reshape(self._split)[rows]
