"""Conjugate gradients with several right-hand sides, each with steps of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._check import FloatArray, as_float, as_number, as_whole

__all__ = ["CGResult", "ConjugateGradients", "ConvergenceWarning", "cg"]

_CHUNK = 1 << 15  # numbers at a time: they stay in the cache, and temporary arrays stay small

Apply = Callable[[FloatArray], FloatArray]


class ConvergenceWarning(UserWarning):
    """An iteration ended before it met its tolerance."""


class CGResult(NamedTuple):
    """What `cg` and `KroneckerSystem.solve` return.

    Attributes
    ----------
    x : numpy.ndarray
        Like b.
    iterations : int
        0 where no iteration was needed.
    converged : bool
    residual : float
        The largest of the right-hand sides' \\|b - A x\\| / \\|b\\|, computed from x itself and not by a recurrence.
    """

    x: FloatArray
    iterations: int
    converged: bool
    residual: float


def dots(a: FloatArray, b: FloatArray) -> FloatArray:
    """The scalar products of the rows of (B, N), in double precision."""
    total = np.zeros(a.shape[0])
    for i in range(0, a.shape[1], _CHUNK):
        total += np.vecdot(a[:, i : i + _CHUNK], b[:, i : i + _CHUNK])
    return total


def norms(a: FloatArray) -> FloatArray:
    """The lengths of the rows."""
    return np.sqrt(dots(a, a))


def add_scaled(y: FloatArray, scale: FloatArray, x: FloatArray) -> None:
    """y += scale x, a number a row."""
    column = scale.astype(y.dtype)[:, None]
    for i in range(0, y.shape[1], _CHUNK):
        y[:, i : i + _CHUNK] += column * x[:, i : i + _CHUNK]


class ConjugateGradients:
    """The iteration for A x = b, from x = 0 or a given x; A and the preconditioner are symmetric positive definite.

    Arrays are (B, N), a right-hand side a row, and the scalars of each row are its own. Hestenes and Stiefel
    (1952), preconditioned as in Golub and Van Loan, section 11.5.
    """

    def __init__(
        self, apply: Apply, b: FloatArray, precondition: Apply | None = None, x: FloatArray | None = None
    ) -> None:
        self.apply, self.precondition = apply, precondition
        self.x = np.zeros_like(b) if x is None else x.copy()
        self.r = b.copy() if x is None else b - apply(x)
        z = self.r if precondition is None else precondition(self.r)
        self.p = z.copy()
        self.rz = dots(self.r, z)
        self.iterations = 0
        self.indefinite = False  # a direction p with p'Ap <= 0 was met before the residual vanished

    def step(self, running: FloatArray) -> bool:
        """One step of the rows that are `running`; False where none can go on."""
        q = self.apply(self.p)
        curvature = dots(self.p, q)
        with np.errstate(over="ignore", invalid="ignore"):
            running = running & (self.rz > 0)
            self.indefinite |= bool((running & ~(curvature > 0)).any())
            running &= curvature > 0
            alpha = np.divide(self.rz, curvature, out=np.zeros_like(curvature), where=running)
        if not running.any():
            return False
        self.iterations += 1
        add_scaled(self.x, alpha, self.p)
        add_scaled(self.r, -alpha, q)
        del q
        z = self.r if self.precondition is None else self.precondition(self.r)
        before, self.rz = self.rz, dots(self.r, z)
        beta = np.divide(self.rz, before, out=np.zeros_like(before), where=running)
        self.p *= beta.astype(self.p.dtype)[:, None]
        self.p += z
        return True


def cg(
    operator: Any,
    b: ArrayLike,
    *,
    preconditioner: Any = None,
    rtol: float = 1e-8,
    maxiter: int | None = None,
    x0: ArrayLike | None = None,
) -> CGResult:
    """Solve A x = b by preconditioned conjugate gradients, A symmetric and positive definite.

    Parameters
    ----------
    operator : Operator, LinearOperator, matrix or callable
        A, (N, N): anything with `@`, or a function of b.
    b : array_like (N,) or (N, R) of float32 or float64
        Columns are solved side by side, each with coefficients of its own.
    preconditioner : as `operator`, optional
        An approximation of A^-1, symmetric and positive definite.
    rtol : float
        \\|b - A x\\| <= rtol \\|b\\| for each column, of the true residual: where the recurrence has drifted from it,
        the iteration starts again from x.
    maxiter : int, optional
        By default 10 N, at least 100.
    x0 : array_like, optional
        Like b; where to start.

    Returns
    -------
    CGResult
        The solution, iterations, converged, and the residual reached.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, or b is not finite.

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not met.

    Examples
    --------
    >>> a = np.array([[4.0, 1.0], [1.0, 3.0]])
    >>> result = cg(a, np.array([1.0, 2.0]))
    >>> result.x.round(6), result.iterations, result.converged
    (array([0.090909, 0.636364]), 2, True)
    """
    where = "telamon.kron.cg"
    array = as_float(where, "b", b)
    if array.ndim not in (1, 2):
        raise ValueError(f"{where}: b has shape {array.shape}; pass (N,) or (N, R)")
    n = array.shape[0]
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: b has entries that are NaN or infinite")
    tolerance = as_number(where, "rtol", rtol)
    limit = max(100, 10 * n) if maxiter is None else as_whole(where, "maxiter", maxiter, 0)
    apply = _rows(where, "operator", operator, array)
    precondition = None if preconditioner is None else _rows(where, "preconditioner", preconditioner, array)
    rows = np.array(array.reshape(n, -1).T, order="C")
    start = None
    if x0 is not None:
        given = as_float(where, "x0", x0)
        if given.shape != array.shape:
            raise ValueError(f"{where}: x0 has shape {given.shape}, b {array.shape}; pass an array like b")
        start = np.array(given.reshape(n, -1).T, rows.dtype, order="C")
    x, iterations, residual, reason = _solve(apply, rows, precondition, start, tolerance, limit)
    worst = float(residual.max(initial=0.0))
    converged = worst <= tolerance
    if not converged:
        warn_unconverged(where, iterations, worst, tolerance, reason)
    return CGResult(np.ascontiguousarray(x.T).reshape(array.shape), iterations, converged, worst)


def _solve(
    apply: Apply, b: FloatArray, precondition: Apply | None, x: FloatArray | None, tolerance: float, limit: int
) -> tuple[FloatArray, int, FloatArray, str]:
    """x, iterations, relative residuals and what was in the way; restarted until the true residual is small."""
    lengths = norms(b)
    goal = tolerance * lengths
    iterations, last = 0, np.full(len(b), np.inf)
    while True:
        run = ConjugateGradients(apply, b, precondition, x)
        true = norms(run.r)
        relative = np.divide(true, lengths, out=true.copy(), where=lengths > 0)
        if (true <= goal).all():
            return run.x, iterations, relative, ""
        if iterations >= limit:
            return run.x, iterations, relative, ""
        if (true > 0.5 * last)[true > goal].any():
            return run.x, iterations, relative, "rounding allows no smaller residual"
        last = true
        reached = true
        while iterations + run.iterations < limit and (reached > goal).any() and run.step(reached > goal):
            reached = norms(run.r)
        iterations += run.iterations
        x = run.x
        if run.indefinite:
            true = norms(b - apply(x))
            relative = np.divide(true, lengths, out=true, where=lengths > 0)
            return x, iterations, relative, "operator or preconditioner is not positive definite"


def warn_unconverged(where: str, iterations: int, residual: float, tolerance: float, reason: str) -> None:
    text = f"{where}: residual {residual:.2g} after {iterations} iterations, wanted {tolerance:.2g}"
    hint = reason or "pass more maxiter, a preconditioner or a larger rtol"
    warnings.warn(f"{text}; {hint}", ConvergenceWarning, stacklevel=3)


def _rows(where: str, name: str, operator: Any, b: FloatArray) -> Apply:
    """The operator as a function of rows (R, N)."""
    n, vector = b.shape[0], b.ndim == 1
    shape = getattr(operator, "shape", (n, n))
    if tuple(shape) != (n, n):
        raise ValueError(f"{where}: {name} has shape {tuple(shape)}, b {b.shape}; pass one of shape ({n}, {n})")
    if not callable(operator) and not hasattr(operator, "__matmul__"):
        raise TypeError(f"{where}: {name} is a {type(operator).__name__}; pass an operator with @, or a function")

    def apply(rows: FloatArray) -> FloatArray:
        columns = rows[0] if vector else rows.T
        result = np.asarray(operator @ columns if hasattr(operator, "__matmul__") else operator(columns))
        if result.shape != columns.shape:
            raise ValueError(f"{where}: {name} returns {result.shape} of {columns.shape}; pass one that keeps shapes")
        return np.ascontiguousarray(result.T if result.ndim == 2 else result[None], rows.dtype)

    return apply
