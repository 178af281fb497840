"""Log-determinants of symmetric positive definite operators from products with them."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from ._cg import Apply, ConvergenceWarning, add_scaled, dots, norms
from ._check import FloatArray, as_whole

__all__ = ["LogDeterminant", "slq_logdet"]


class LogDeterminant(NamedTuple):
    """A log-determinant with its standard error, 0 where it is exact."""

    value: float
    standard_error: float


def slq_logdet(
    matvec: Any, n: int, *, probes: int = 16, steps: int = 200, seed: Any = 0, dtype: Any = np.float64
) -> LogDeterminant:
    """log det A by stochastic Lanczos quadrature, A symmetric and positive definite.

    .. math:: \\log\\det A = E\\, z' \\log(A)\\, z, \\qquad z' \\log(A)\\, z \\approx n \\sum_k \\tau_k^2 \\log\\theta_k

    with z of random signs, and theta and tau the eigenvalues and first components of eigenvectors of Lanczos'
    tridiagonal matrix started from z (Ubaru, Chen and Saad, 2017). Steps are taken until the quadrature changes by less
    than a tenth of the standard error.

    Parameters
    ----------
    matvec : Operator, LinearOperator, matrix or callable
        A, (n, n): anything with `@`, or a function that maps (n, probes) to the same.
    n : int
    probes : int
        From 2 on; the standard error falls with its root.
    steps : int
        At most so many products for each probe.
    seed : int or numpy.random.Generator
        The default gives the same probes at each call, which optimisers need.
    dtype : float32 or float64

    Returns
    -------
    LogDeterminant
        (value, standard_error), the error that of the mean over the probes, and of the quadrature's last change.

    Warns
    -----
    ConvergenceWarning
        If the quadrature still changes after `steps`.

    Examples
    --------
    >>> d = np.linspace(1.0, 2.0, 500)
    >>> value, error = slq_logdet(lambda x: d[:, None] * x, 500)     # z' log(A) z is exact for diagonal A
    >>> bool(abs(value - np.log(d).sum()) < 1e-9), error < 1e-9
    (True, True)
    """
    where = "telamon.kron.slq_logdet"
    n = as_whole(where, "n", n, 1)
    shape = getattr(matvec, "shape", (n, n))
    if tuple(shape) != (n, n):
        raise ValueError(f"{where}: matvec has shape {tuple(shape)}; pass an operator of shape ({n}, {n})")
    if not callable(matvec) and not hasattr(matvec, "__matmul__"):
        raise TypeError(f"{where}: matvec is a {type(matvec).__name__}; pass an operator with @, or a function")

    def apply(rows: FloatArray) -> FloatArray:
        result = np.asarray(matvec @ rows.T if hasattr(matvec, "__matmul__") else matvec(rows.T))
        if result.shape != (n, len(rows)):
            raise ValueError(
                f"{where}: matvec returns shape {result.shape} of {(n, len(rows))}; it must keep the shape"
            )
        return np.ascontiguousarray(result.T, rows.dtype)

    return logdet_of_rows(where, apply, n, probes, steps, seed, np.dtype(dtype))


def logdet_of_rows(
    where: str, apply: Apply, n: int, probes: int, steps: int, seed: Any, dtype: np.dtype[Any], together: int = 0
) -> LogDeterminant:
    """The same for an operator on rows (B, n), `together` probes at a time."""
    probes = as_whole(where, "probes", probes, 2)
    steps = as_whole(where, "steps", steps, 1)
    rng = np.random.default_rng(seed)
    together = min(probes, together or max(1, (1 << 22) // n))
    values, changes = np.empty(probes), np.empty(probes)
    for start in range(0, probes, together):
        part = slice(start, min(start + together, probes))
        signs = rng.integers(0, 2, (len(values[part]), n), np.int8)
        z = np.where(signs, dtype.type(1), dtype.type(-1))
        del signs
        values[part], changes[part] = _quadratures(where, apply, z, steps)
    change = abs(float(changes.mean()))
    error = float(np.hypot(values.std(ddof=1) / np.sqrt(probes), change))
    value = float(values.mean())
    if change > max(0.5 * error, 1e-6 * n * np.sqrt(np.finfo(dtype).eps)) and change > 1e-9 * abs(value):
        text = f"{where}: the quadrature still changes by {change:.2g} after {steps} steps; pass more steps"
        warnings.warn(text, ConvergenceWarning, stacklevel=3)
    return LogDeterminant(value, error)


def _quadratures(where: str, apply: Apply, z: FloatArray, steps: int) -> tuple[FloatArray, FloatArray]:
    """z' log(A) z for each row of z, and its last change; z is overwritten.

    Without reorthogonalisation: copies of eigenvalues that have converged share their weight, and do no harm.
    """
    count, n = z.shape
    scale = norms(z)
    z /= scale.astype(z.dtype)[:, None]
    before: FloatArray | None = None
    alphas: list[FloatArray] = []
    betas: list[FloatArray] = []
    estimate = last = np.full(count, np.inf)
    alive = np.ones(count, bool)
    check = 4
    for step in range(1, min(steps, n) + 1):
        w = apply(z)
        alpha = dots(z, w)
        add_scaled(w, -alpha, z)
        if before is not None:
            add_scaled(w, -betas[-1], before)
        beta = norms(w)
        alphas.append(np.where(alive, alpha, 1.0))
        # A beta of rounding's size means that z's Krylov space is exhausted: the rest would be noise.
        alive &= beta > 8 * np.finfo(z.dtype).eps * np.maximum(np.abs(alpha), betas[-1] if betas else 0)
        betas.append(np.where(alive, beta, 0.0))
        if step in (check, min(steps, n)) or not alive.any():
            check = max(step + 4, step + step // 4)
            last, estimate = estimate, _quadrature(where, alphas, betas) * scale**2
            spread = estimate.std() / np.sqrt(count)
            change = np.abs(estimate - last).max()
            if not alive.any():
                return estimate, np.zeros(count)
            if change <= max(0.1 * spread, 1e-12 * np.abs(estimate).max()):
                break
        before, z = z, w
        z *= np.divide(1, beta, out=np.zeros_like(beta), where=alive).astype(z.dtype)[:, None]
    change = np.zeros(count) if len(alphas) == n else estimate - last
    return estimate, np.where(np.isfinite(change), change, np.abs(estimate))


def _quadrature(where: str, alphas: list[FloatArray], betas: list[FloatArray]) -> FloatArray:
    """e_1' log(T) e_1 of the tridiagonal matrices of each row."""
    k = len(alphas)
    t = np.zeros((len(alphas[0]), k, k))
    t[:, range(k), range(k)] = np.stack(alphas, 1)
    if k > 1:
        off = np.stack(betas[: k - 1], 1)
        t[:, range(1, k), range(k - 1)] = off
        t[:, range(k - 1), range(1, k)] = off
    theta, vectors = np.linalg.eigh(t)
    weight = vectors[:, 0] ** 2
    if (theta[weight > 1e-14] <= 0).any():
        raise ValueError(f"{where}: the operator is not positive definite: it has the Ritz value {theta.min():.3g}")
    total: FloatArray = np.sum(weight * np.log(np.where(theta > 0, theta, 1.0)), axis=1)
    return total
