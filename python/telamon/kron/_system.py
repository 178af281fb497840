"""K + noise on the observed cells of a grid: exact where a formula exists, by conjugate gradients elsewhere."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._basis import Eigenbasis
from ._cg import CGResult, norms, warn_unconverged
from ._check import FloatArray, as_float, as_grid, as_number, as_whole, product_text
from ._eig import KroneckerEig
from ._exact import DenseSystem, ExactSystem, LongAxisSystem, SchurSystem, SeparableSystem, StateSpaceSystem
from ._factors import Factor, as_factors, require_symmetric
from ._iterative import IterativeSystem
from ._noise import as_mask, as_noise
from ._operator import KroneckerOperator
from ._slq import LogDeterminant
from ._structured import Matern

__all__ = ["KroneckerSystem"]

_SMALL = 2000  # unknowns that a dense Cholesky decomposition deals with in a blink
_FEW = 2000  # missing cells, at most, of an exact Schur complement
_LONG = 2000  # points of an axis from which the Kalman filter is faster than an eigen-decomposition
_SCHUR_WORK = 1e12  # and multiplications for it, half a minute on one core

METHODS = ("auto", "exact", "cg")


class KroneckerSystem:
    """The covariance K + noise of what is observed of a grid, K a Kronecker product of covariances.

    .. math:: M = P\\,(A_1 \\otimes \\dots \\otimes A_d + \\mathrm{diag}\\, s)\\,P'

    with P the restriction to the observed cells. What is done, in this order:

    - one axis with a `Matern` factor: the Kalman filter, exact and O(N), any noise and mask;
    - all observed, noise a number, one long axis (above 2000) with a `Matern` factor: the filter for each eigenvalue of
      the other axes;
    - all observed, noise a number or separable: the eigen-decomposition, exact;
    - at most 2000 observed: a dense Cholesky decomposition, exact;
    - few missing, noise a number or separable: the Schur complement of the missing cells, exact;
    - else conjugate gradients, in the eigenbasis for the coefficients of f = K x,

      .. math:: (I + \\Lambda^{1/2} Q' W Q \\Lambda^{1/2})\\, u = \\Lambda^{1/2} Q' W y, \\quad
                f = Q \\Lambda^{1/2} u, \\quad x = W (y - f)

      with W = 1/s where observed, 0 where missing, so that an eigenvalue that noise drowns costs no iteration; the
      preconditioner is the same matrix with W's mean in W's place. Where this is slow, as it is for large gaps and
      little noise, they run in x, preconditioned by (K + g I)^-1 with g the noise's geometric mean; a few dozen
      iterations of both decide. The tolerance is one of the true residual.

    Parameters
    ----------
    factors : list of array_like or Factor, or KroneckerOperator, or KroneckerEig
        Covariances. A `KroneckerEig` spares a second decomposition.
    noise : float, tuple of array_like (n_i,), or array_like (n_1, ..., n_d)
        A variance, positive; a tuple of vectors is separable noise, their outer product.
    mask : array_like of bool (n_1, ..., n_d), optional
        True where observed.

    Attributes
    ----------
    factors : tuple of Factor
    grid : tuple of int
    dtype : numpy.dtype
    observed : int
        How many cells are.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, noise is not positive, or no cell is observed.

    Examples
    --------
    >>> a = np.exp(-np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0))))
    >>> mask = np.array([[True, True, True, False]] * 4)
    >>> system = KroneckerSystem([a, a], 0.1, mask)
    >>> result = system.solve(np.ones((4, 4)))
    >>> result.iterations, result.converged, bool((result.x[~mask] == 0).all())
    (0, True, True)
    >>> system.logdet().standard_error
    0.0
    """

    def __init__(self, factors: Any, noise: Any, mask: ArrayLike | None = None) -> None:
        where = "telamon.kron.KroneckerSystem"
        self._eig: KroneckerEig | None = None
        if isinstance(factors, Eigenbasis):
            if not isinstance(factors, KroneckerEig):
                raise TypeError(f"{where}: factors is a {type(factors).__name__}; pass factors or their KroneckerEig")
            if min(float(w.min()) for w in factors.eigenvalues) < 0:
                raise ValueError(f'{where}: factors have negative eigenvalues; decompose them with clip="warn"')
            self._eig = factors
        if isinstance(factors, KroneckerOperator | KroneckerEig):
            factors = factors.factors
        self.factors: tuple[Factor, ...] = as_factors(where, factors)
        require_symmetric(where, self.factors)
        self.grid = tuple(factor.shape[0] for factor in self.factors)
        self.dtype = np.result_type(*(factor.dtype for factor in self.factors))
        self.mask = as_mask(where, mask, self.grid)
        self.observed = math.prod(self.grid) if self.mask is None else int(self.mask.sum())
        self.noise = as_noise(where, noise, self.grid, self.mask)

    @property
    def shape(self) -> tuple[int, int]:
        return self.observed, self.observed

    @property
    def eig(self) -> KroneckerEig:
        """The eigen-decomposition of K; made when first needed."""
        if self._eig is None:
            self._eig = KroneckerEig(self.factors)
        return self._eig

    def __repr__(self) -> str:
        kind = (
            "a number" if isinstance(self.noise, float) else "separable" if isinstance(self.noise, tuple) else "a grid"
        )
        return f"<KroneckerSystem {self.observed} of {product_text(self.grid)} observed, noise {kind}, {self.dtype}>"

    # ---- the matrix

    @functools.cached_property
    def _noise_grid(self) -> FloatArray | None:
        """The noise at each cell, or None where it is a number."""
        if isinstance(self.noise, float):
            return None
        if isinstance(self.noise, tuple):
            return functools.reduce(np.multiply.outer, self.noise)
        return self.noise

    def _rows(self, where: str, y: ArrayLike) -> tuple[FloatArray, tuple[int, ...], bool]:
        """y as (B, N) with zeros where missing, its leading dimensions, and whether it came as grids."""
        array = as_float(where, "y", y)
        d, n = len(self.grid), math.prod(self.grid)
        dtype = np.result_type(array, self.dtype)
        as_grids = array.shape[max(0, array.ndim - d) :] == self.grid
        if as_grids:
            lead = array.shape[: array.ndim - d]
            rows = np.array(array.reshape(-1, n) if array.size else np.empty((0, n)), dtype, order="C")
            if self.mask is not None:
                rows[:, ~self.mask.reshape(-1)] = 0
        elif array.ndim and array.shape[-1] == self.observed:
            lead = array.shape[:-1]
            rows = np.zeros((math.prod(lead), n), dtype)
            rows[:, slice(None) if self.mask is None else self.mask.reshape(-1)] = array.reshape(-1, self.observed)
        else:
            if self.mask is not None:
                listed = ", ".join(map(str, self.grid))
                raise ValueError(
                    f"{where}: y has shape {array.shape}, the factors span {product_text(self.grid)}, of which "
                    f"{self.observed} are observed; pass ({listed}), with anything where missing, or ({self.observed},)"
                )
            as_grid(where, "y", array, self.grid)
        if not np.isfinite(rows).all():
            raise ValueError(
                f"{where}: y is NaN or infinite at cells that count as observed; pass mask=np.isfinite(y) to "
                "KroneckerSystem"
            )
        return rows, lead, as_grids

    def _matmul(self, x: FloatArray) -> FloatArray:
        """M x of rows (B, N) that are zero where missing."""
        grids = x.reshape(len(x), *self.grid)
        result = self._operator.matmul_grid(grids)
        if self.mask is not None:
            result *= self.mask
        noise = self._noise_grid
        if noise is None:
            result += x.dtype.type(self.noise) * grids
        else:
            for part, grid in zip(result, grids, strict=True):
                part += grid * noise
        return result.reshape(x.shape)

    @functools.cached_property
    def _operator(self) -> KroneckerOperator:
        return KroneckerOperator(self.factors)

    def matmul(self, x: ArrayLike) -> FloatArray:
        """M x, of grids (..., n_1, ..., n_d) whose missing cells are ignored, or of vectors (..., observed)."""
        rows, lead, as_grids = self._rows("telamon.kron.KroneckerSystem.matmul", x)
        return self._restore(self._matmul(rows), lead, as_grids)

    def _restore(self, rows: FloatArray, lead: tuple[int, ...], as_grids: bool) -> FloatArray:
        if as_grids:
            return rows.reshape(*lead, *self.grid)
        kept = rows if self.mask is None else rows[:, self.mask.reshape(-1)]
        return kept.reshape(*lead, self.observed)

    # ---- ways to solve

    @functools.cached_property
    def _exact(self) -> ExactSystem | None:
        """The exact way, where there is one that costs no more than conjugate gradients do."""
        if len(self.factors) == 1 and isinstance(self.factors[0], Matern):
            return StateSpaceSystem(self.factors[0], self._noise_grid, self.noise, self.mask)
        if self.mask is None and isinstance(self.noise, float) and self._eig is None:
            long = [i for i, f in enumerate(self.factors) if isinstance(f, Matern) and f.shape[0] > _LONG]
            if len(long) == 1:
                return LongAxisSystem(self.factors, self.noise, long[0])
        if self.mask is None and not isinstance(self.noise, np.ndarray):
            return self._separable
        if self.observed <= _SMALL:
            return DenseSystem(self.factors, self._noise_grid, self.noise, self.mask)
        return None

    @functools.cached_property
    def _separable(self) -> SeparableSystem:
        return SeparableSystem(self.factors, self.noise, None if isinstance(self.noise, tuple) else self.eig)

    @functools.cached_property
    def _schur(self) -> SchurSystem:
        assert self.mask is not None
        return SchurSystem(self._separable, self.mask)

    @property
    def _missing(self) -> int:
        return math.prod(self.grid) - self.observed

    @property
    def _schur_exists(self) -> bool:
        return self.mask is not None and not isinstance(self.noise, np.ndarray) and self._missing <= _FEW

    @functools.cached_property
    def _iterative(self) -> IterativeSystem:
        return IterativeSystem(self.eig, self._matmul, self._noise_grid, self.noise, self.mask)

    def solve(self, y: ArrayLike, *, rtol: float = 1e-8, maxiter: int = 1000, method: str = "auto") -> CGResult:
        """M^-1 y.

        Parameters
        ----------
        y : array_like (..., n_1, ..., n_d) or (..., observed) of float32 or float64
            Missing cells may hold anything.
        rtol : float
            \\|y - M x\\| <= rtol \\|y\\| of each right-hand side, tested with x itself.
        maxiter : int
        method : {"auto", "exact", "cg"}
            "exact" insists on a Schur complement that "auto" finds too costly; "cg" on iterations.

        Returns
        -------
        CGResult
            x like y, zero where missing; iterations, 0 if an exact way was taken; converged; residual.

        Raises
        ------
        TypeError, ValueError
            If y does not fit, or is NaN at an observed cell.

        Warns
        -----
        ConvergenceWarning
            If the tolerance was not met.
        """
        where = "telamon.kron.KroneckerSystem.solve"
        if method not in METHODS:
            raise ValueError(f"{where}: method is {method!r}; pass one of {', '.join(map(repr, METHODS))}")
        rows, lead, as_grids = self._rows(where, y)
        tolerance = as_number(where, "rtol", rtol)
        limit = as_whole(where, "maxiter", maxiter, 0)
        exact = None if method == "cg" else self._exact_way(where, method)
        x = np.empty_like(rows)
        iterations, worst, reason = 0, 0.0, ""
        together = max(1, (1 << 22) // rows.shape[1])
        for start in range(0, len(rows), together):
            part = slice(start, start + together)
            if exact is not None:
                x[part], residual, reason = self._refined(exact, rows[part], tolerance)
            else:
                x[part], count, residual, reason = self._iterative.solve(rows[part], tolerance, limit)
                iterations = max(iterations, count)
            worst = max(worst, float(residual.max(initial=0.0)))
        if worst > tolerance:
            warn_unconverged(where, iterations, worst, tolerance, reason)
        return CGResult(self._restore(x, lead, as_grids), iterations, worst <= tolerance, worst)

    def _exact_way(self, where: str, method: str) -> ExactSystem | None:
        if self._exact is not None:
            return self._exact
        if method == "exact" and not self._schur_exists:
            raise ValueError(
                f'{where}: method "exact" has no formula for noise that is a grid, or more than {_FEW} missing cells '
                f'({self._missing} here); pass "auto"'
            )
        # The Schur complement costs N m^2, a few dozen iterations 4 N sum n each.
        cheap = self._missing**2 <= 200 * sum(self.grid)
        if self._schur_exists and (cheap or method == "exact" or "_schur" in self.__dict__):
            return self._schur
        return None

    def _refined(self, exact: ExactSystem, y: FloatArray, tolerance: float) -> tuple[FloatArray, FloatArray, str]:
        """The exact solution, improved by its residual where rounding left more than the tolerance."""
        lengths = norms(y)
        x = exact.solve(y)
        best = np.full(len(y), np.inf)
        while True:
            r = y - self._matmul(x)
            size = norms(r)
            residual = np.divide(size, lengths, out=size, where=lengths > 0)
            if (residual <= tolerance).all() or (residual > 0.5 * best).any():
                return x, residual, "rounding allows no smaller residual, since the noise is so small"
            best = residual
            x += exact.solve(r)

    def logdet(self, *, probes: int = 16, steps: int = 200, seed: Any = 0) -> LogDeterminant:
        """log det M, exact in the cases that the class names, else by stochastic Lanczos quadrature.

        The latter estimates what is left after the exact determinant of the preconditioned system,

        .. math:: \\log\\det M = \\sum_{observed} \\log s + \\sum \\log(1 + w \\lambda)
                  + \\log\\det\\, (I + K_w^{1/2} (W - w) K_w^{1/2}), \\qquad K_w = K (I + w K)^{-1}

        with w the mean of W.

        Parameters
        ----------
        probes, steps, seed
            As in `slq_logdet`.

        Returns
        -------
        LogDeterminant
            (value, standard_error); the error is 0 where the value is exact.
        """
        if self._exact is not None:
            return LogDeterminant(self._exact.logdet(), 0.0)
        if self._schur_exists and math.prod(self.grid) * float(self._missing) ** 2 <= _SCHUR_WORK:
            return LogDeterminant(self._schur.logdet(), 0.0)
        return self._iterative.logdet("telamon.kron.KroneckerSystem.logdet", probes, steps, seed)

    def log_likelihood(
        self,
        y: ArrayLike,
        *,
        rtol: float = 1e-8,
        maxiter: int = 1000,
        probes: int = 16,
        steps: int = 200,
        seed: Any = 0,
    ) -> LogDeterminant:
        """The log-density of y under the normal distribution of mean 0 and covariance M, with its standard error.

        Parameters
        ----------
        y : array_like (..., n_1, ..., n_d) or (..., observed)
            Independent draws in front, whose log-densities are added.
        rtol, maxiter
            As in `solve`.
        probes, steps, seed
            As in `logdet`.

        Returns
        -------
        LogDeterminant
            (value, standard_error)
        """
        rows, _, _ = self._rows("telamon.kron.KroneckerSystem.log_likelihood", y)
        x = self.solve(rows.reshape(-1, *self.grid), rtol=rtol, maxiter=maxiter).x.reshape(rows.shape)
        quadratic = float(np.vecdot(rows, x).sum(dtype=np.float64))
        determinant = self.logdet(probes=probes, steps=steps, seed=seed)
        value = -0.5 * (quadratic + len(rows) * (determinant.value + self.observed * math.log(2 * math.pi)))
        return LogDeterminant(value, 0.5 * len(rows) * determinant.standard_error)
