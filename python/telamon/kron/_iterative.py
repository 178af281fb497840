"""Conjugate gradients for K + noise on observed cells, in two ways of which the faster is kept. Arrays are (B, N)."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ._cg import _CHUNK, Apply, ConjugateGradients, norms
from ._check import FloatArray
from ._eig import KroneckerEig
from ._slq import LogDeterminant, logdet_of_rows

__all__ = ["IterativeSystem"]

_TRIAL = 40  # iterations of each way before one is dropped; noise of spread 10 has its solution by then
_POLISH = 10  # iterations at most that take away what rounding has left


class _Dual:
    """The system in the eigenbasis of K.

    With K = Q Lam Q', W the inverse noise (0 where missing), w its mean and kappa = (lam/(1 + w lam))^1/2, the matrix

        C = I + kappa Q' (W - w) Q kappa = (1 + w lam)^-1/2 (I + lam^1/2 Q' W Q lam^1/2) (1 + w lam)^-1/2

    is near I where lam is small or W even. C c = kappa Q' W y gives f = Q kappa c = K x and x = W (y - f). The residual
    rho of this system is one of y - M x = -P Q (lam (1 + w lam))^1/2 rho, whose length is known without a rotation.
    """

    cost = 2  # Kronecker products an iteration

    def __init__(self, eig: KroneckerEig, weights: FloatArray) -> None:
        self.eig, self.weights = eig, weights
        self.mean = float(weights.mean(dtype=np.float64))
        self.kappa = np.ones((1, *eig.grid, 1), weights.dtype)
        eig._scale(self.kappa, lambda lam: np.sqrt(lam / (1 + self.mean * lam)), "")
        self.kappa = self.kappa.reshape(-1)

    def rotate(self, x: FloatArray, back: bool = False) -> FloatArray:
        return self.eig._rotate(x.reshape(len(x), *self.eig.grid, 1), back=back).reshape(x.shape)

    def apply(self, c: FloatArray) -> FloatArray:
        t = self.rotate(c * self.kappa, back=True)
        for i in range(0, t.shape[1], _CHUNK):
            part = slice(i, i + _CHUNK)
            t[:, part] *= self.weights[part] - t.dtype.type(self.mean)
        t = self.rotate(t)
        t *= self.kappa
        t += c
        return t

    def start(self, r: FloatArray) -> FloatArray:
        t = self.rotate(r * self.weights)
        t *= self.kappa
        return t

    def finish(self, r: FloatArray, c: FloatArray) -> FloatArray:
        f = self.rotate(c * self.kappa, back=True)
        np.subtract(r, f, out=f)
        f *= self.weights
        return f

    def residual(self, rho: FloatArray) -> FloatArray:
        total: FloatArray = np.zeros(len(rho))
        view = rho.reshape(len(rho), *self.eig._split)
        for rows, lam in self.eig._blocks():
            lam = lam.astype(np.float64, copy=False)
            part = view[:, rows].astype(np.float64, copy=False)
            total += np.einsum("bij,bij,ij->b", part, part, lam * (1 + self.mean * lam))
        return np.sqrt(total)


class _DualRun:
    def __init__(self, dual: _Dual, r: FloatArray) -> None:
        self.dual, self.r, self.cost = dual, r, dual.cost
        self.cg = ConjugateGradients(dual.apply, dual.start(r))
        self.reached = dual.residual(self.cg.r)
        self.passed = [self.reached]

    def step(self, running: FloatArray) -> bool:
        more = self.cg.step(running)
        self.reached = self.dual.residual(self.cg.r)
        self.passed.append(self.reached)
        return more

    def solution(self) -> FloatArray:
        return self.dual.finish(self.r, self.cg.x)


class _PrimalRun:
    cost = 3

    def __init__(self, matmul: Apply, precondition: Apply, r: FloatArray) -> None:
        self.cg = ConjugateGradients(matmul, r, precondition)
        self.reached = norms(r)
        self.passed = [self.reached]

    def step(self, running: FloatArray) -> bool:
        more = self.cg.step(running)
        self.reached = norms(self.cg.r)
        self.passed.append(self.reached)
        return more

    def solution(self) -> FloatArray:
        return self.cg.x


class IterativeSystem:
    """P (K + diag s) P' x = y by conjugate gradients, and its log-determinant by quadrature."""

    def __init__(
        self, eig: KroneckerEig, matmul: Apply, noise_grid: FloatArray | None, noise: Any, mask: FloatArray | None
    ) -> None:
        self.eig, self.matmul = eig, matmul
        self.mask = None if mask is None else mask.reshape(-1)
        n = math.prod(eig.grid)
        s = np.full(n, noise, eig.dtype) if noise_grid is None else noise_grid.reshape(-1)
        seen = s if self.mask is None else s[self.mask]
        self.log_noise = float(np.log(seen, dtype=np.float64).sum())
        self.typical = math.exp(self.log_noise / len(seen))  # the geometric mean
        self.weights = (
            (1 / s).astype(eig.dtype) if self.mask is None else np.where(self.mask, 1 / s, 0).astype(eig.dtype)
        )
        self.way: str | None = None

    @functools.cached_property
    def dual(self) -> _Dual:
        return _Dual(self.eig, self.weights)

    def _run(self, way: str, r: FloatArray) -> _DualRun | _PrimalRun:
        return _DualRun(self.dual, r) if way == "dual" else _PrimalRun(self.matmul, self._precondition, r)

    def _precondition(self, r: FloatArray) -> FloatArray:
        """P (K + g I)^-1 P' r."""
        z = r.reshape(len(r), *self.eig.grid).copy()
        self.eig.solve(z, self.typical, out=z)
        rows: FloatArray = z.reshape(r.shape)
        if self.mask is not None:
            rows *= self.mask
        return rows

    @functools.cached_property
    def _first(self) -> str:
        """Where all is observed and a quarter of the eigenvalues exceeds the noise, the way in x has fewer outliers."""
        if self.mask is not None:
            return "dual"
        above = sum(int((lam > self.typical).sum()) for _, lam in self.eig._blocks())
        return "primal" if above > 0.25 * math.prod(self.eig.grid) else "dual"

    def solve(self, y: FloatArray, tolerance: float, limit: int) -> tuple[FloatArray, int, FloatArray, str]:
        """x, iterations, relative residuals, and what was in the way."""
        lengths = norms(y)
        goal = tolerance * lengths
        x, r = np.zeros_like(y), y.copy()
        iterations, last, polished = 0, np.full(len(y), np.inf), True
        while True:
            true = norms(r)
            relative = np.divide(true, lengths, out=true.copy(), where=lengths > 0)
            behind = true > goal
            if not behind.any() or iterations >= limit:
                return x, iterations, relative, ""
            stuck = bool((true > 0.5 * last)[behind].any())
            if stuck and not polished:
                return x, iterations, relative, "rounding allows no smaller residual, since the noise is so small"
            first, last = iterations == 0, true
            # What rounding leaves of a solution in the eigenbasis is W times the error of f, amplified by large
            # eigenvalues, which the preconditioner of the way in x takes away at once.
            polished = not first and self.way != "primal" and not (polished and stuck)
            correction, count = self._correction(r, goal, limit - iterations, polished)
            x += correction
            iterations += count
            r = y - self.matmul(x)

    def _correction(self, r: FloatArray, goal: FloatArray, limit: int, polish: bool) -> tuple[FloatArray, int]:
        """M^-1 r, nearly, and the iterations spent."""
        target = np.where(goal > 0, 0.9 * goal, np.inf)  # a zero right-hand side has its solution
        first = "primal" if polish else self.way or self._first
        run = self._run(first, r)
        if polish or self.way is not None:
            _advance(run, target, min(_POLISH, limit) if polish else limit)
        elif not _advance(run, target, min(_TRIAL, limit)):
            second = "primal" if first == "dual" else "dual"
            rival = self._run(second, r)
            _advance(rival, target, min(_TRIAL, limit - run.cg.iterations))
            self.way, lost = first, rival
            if _remaining(rival, target) < _remaining(run, target):
                self.way, run, lost = second, rival, run
            spent = lost.cg.iterations
            del rival, lost
            _advance(run, target, limit - spent - run.cg.iterations)
            return run.solution(), spent + run.cg.iterations
        return run.solution(), run.cg.iterations

    def logdet(self, where: str, probes: int, steps: int, seed: Any) -> LogDeterminant:
        dual, n = self.dual, math.prod(self.eig.grid)
        # sum log(1 + w lam) = sum log(lam + 1/w) + N log w
        known = self.log_noise + self.eig._logdet(1 / dual.mean) + n * math.log(dual.mean)
        rest = logdet_of_rows(where, dual.apply, n, probes, steps, seed, self.eig.dtype)
        return LogDeterminant(known + rest.value, rest.standard_error)


def _advance(run: _DualRun | _PrimalRun, target: FloatArray, limit: int) -> bool:
    """Iterate until every row has met its target, which is then True, or up to `limit` iterations."""
    for _ in range(limit):
        running = run.reached > target
        if not running.any() or not run.step(running):
            break
    return not bool((run.reached > target).any())


def _remaining(run: _DualRun | _PrimalRun, target: FloatArray) -> float:
    """Kronecker products until the target is met, at the pace of the later half so far; the first steps are easy."""
    behind = run.reached > target
    if not behind.any():
        return 0.0
    half = len(run.passed) // 2
    steps = max(1, len(run.passed) - 1 - half)
    gained = np.log(run.passed[half][behind] / run.reached[behind])
    needed = np.log(run.reached[behind] / target[behind])
    return float((needed / np.maximum(gained, 1e-3)).max()) * steps * run.cost
