"""Eigen-decompositions of Kronecker products of symmetric matrices, and what follows from them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from ._check import FloatArray, as_float, as_grid, as_number, as_output, contiguous, product_text
from ._factors import Dense, Factor, Toeplitz, as_factors, require_symmetric
from ._operator import KroneckerOperator

__all__ = ["Clipped", "ClippingWarning", "Eigenbasis", "KroneckerDiagonal", "KroneckerEig"]

_BLOCK = 1 << 16  # eigenvalues at a time, where a tensor of them would cost memory


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
        _core.kron_matmul(matrices, x, result)
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
        while axis > 0 and columns * self.grid[axis - 1] <= _BLOCK:
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
        step = max(1, _BLOCK // columns)
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
        _core.kron_matmul([None if q is None else q**2 for q in self._q], t, t)
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
        head, tail = _outer(self.eigenvalues[:axis], self.dtype), _outer(self.eigenvalues[axis:], self.dtype)
        return np.multiply.outer(head[rows], tail) if total > 1 else head[:, None] * tail

    def _smallest(self) -> float:
        low, high = 1.0, 1.0
        for w in self.eigenvalues:  # products of the extremes, since some may be negative
            ends = [a * b for a in (low, high) for b in (float(w.min()), float(w.max()))]
            low, high = min(ends), max(ends)
        return low

    def _divide(self, t: FloatArray, noise: float) -> None:
        _core.kron_spectral(self._values(t.dtype), noise, t, t, None)

    def _logdet(self, noise: float) -> float:
        return float(_core.kron_spectral(self._values(self.dtype), noise, None, None, None)[1])

    def _quadratic(self, t: FloatArray, noise: float) -> float:
        return float(_core.kron_spectral(self._values(t.dtype), noise, t, None, None)[0])

    def _values(self, dtype: np.dtype[Any]) -> list[FloatArray]:
        return [w.astype(dtype, copy=False) for w in self.eigenvalues]

    def log_likelihood(self, y: ArrayLike, noise: float) -> float:
        where = f"{self._where}.log_likelihood"
        t = self._rotate(self._grids(where, "y", y))
        s = as_number(where, "noise", noise)
        self._require_definite(where, s)
        quadratic, logdet, _ = _core.kron_spectral(self._values(t.dtype), s, t, None, None)
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

        The decomposition and this function need at most 8 vectors of N numbers together, the factors and y included.

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
        quadratic, logdet, trace = _core.kron_spectral(values, s, a, a, weights)
        gradients = []
        for i, q in enumerate(self._q):
            n = self.grid[i]
            inner = np.empty((n, n), a.dtype)
            _core.kron_gram(a, None, values, i, inner)
            inner.reshape(-1)[:: n + 1] -= batches * weights[i]
            inner *= 0.5
            if q is not None:
                outer = np.empty_like(inner)
                q = q.astype(a.dtype, copy=False)
                _core.kron_matmul([q, q], inner.reshape(1, n, n, 1), outer.reshape(1, n, n, 1))
                inner = outer
            if columns and isinstance(self.factors[i], Toeplitz):
                inner = np.array([(1 if k == 0 else 2) * np.trace(inner, k) for k in range(n)], a.dtype)
            gradients.append(inner)
        value = -0.5 * (quadratic + batches * self._constant(logdet))
        return float(value), gradients, float(0.5 * (_square(a) - batches * trace))

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


class KroneckerDiagonal(Eigenbasis):
    """Q diag(D) Q', Q a Kronecker product of orthogonal matrices and D any grid; `KroneckerEig.with_diag` makes it."""

    def __init__(self, q: Sequence[FloatArray | None], d: FloatArray) -> None:
        super().__init__([None if a is None else a.astype(d.dtype, copy=False) for a in q], d.shape, d.dtype)
        self.d = d

    def _block(self, rows: slice) -> FloatArray:
        return self.d.reshape(self._split)[rows]


def _outer(vectors: Sequence[FloatArray], dtype: np.dtype[Any]) -> FloatArray:
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
        for part in (flat[i : i + _BLOCK].astype(np.float64, copy=False) for i in range(0, flat.size, _BLOCK))
    )
