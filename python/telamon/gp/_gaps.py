r"""Likelihood and posterior with missing cells or noise of any pattern. Internal.

The observations have the covariance A = P + E on the observed cells, P = K + g I with g the least noise variance, and
E >= 0 what the noise exceeds it by, infinite at missing cells. With N = g + E and tau^2 = 1 - g / N, which is 1 at
missing cells and 0 where the noise is least,

.. math:: \log\det A = \log\det P + \log\det C + \sum_{observed} \log (N/g) - n_{missing} \log g, \qquad
          C = I - \tau K P^{-1} \tau

by Sylvester's identity; log det P is exact. The eigenvalues of C lie in (0, 1]: they are 1 but for cells with tau > 0,
and near 1 for those whose neighbours tell what they hold, so that a few steps of Lanczos yield log det C by quadrature.
In a wide gap they are as small as the noise is against the prior variance. The derivative is, in the Krylov space V of
each probe and with the divided differences of the logarithm in F,

.. math:: \nabla_C\; z' \log(C)\, z = V F V' = \sum_r v_r v_r', \qquad dC = -g\, \tau P^{-1} dK P^{-1} \tau,

so that value and gradient belong to one another, and each v_r enters the gradient as one more vector of weights does.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from telamon import kron
from telamon.kron import _native

from ._axes import Array
from ._base import Kernel
from ._exact import Evaluation, gather, match
from ._problem import Problem

#: Numbers in a batch of grids.
_BATCH = 1 << 24
#: The change of the quadrature, per cell, at which Lanczos stops: far below any standard error.
_QUADRATURE = 1e-8


class Settings(NamedTuple):
    """What `GridGP` passes on."""

    probes: int
    steps: int
    rtol: float
    seed: int
    draws: int


class Gaps:
    """C on the cells with tau > 0, for one set of hyperparameters."""

    def __init__(self, eig: kron.KroneckerEig, tau: Array, g: float) -> None:
        self.cells = np.flatnonzero(tau)
        self.tau = tau.reshape(-1)[self.cells]
        self.shape, self.g = eig.grid, g
        self.basis = kron.KroneckerOperator(eig.vectors)
        self.lam = functools.reduce(np.multiply.outer, eig.eigenvalues)
        self.share = self.lam / (self.lam + g)

    def spectrum(self, v: Array) -> Array:
        """Q' tau v of rows (B, cells), as grids."""
        grids = np.zeros((len(v), math.prod(self.shape)))
        grids[:, self.cells] = v * self.tau
        return np.asarray(self.basis.T.matmul_grid(grids.reshape(-1, *self.shape)))

    def apply(self, v: Array) -> Array:
        """C v of rows (B, cells)."""
        spectrum = self.spectrum(v)
        spectrum *= self.share
        grids = self.basis.matmul_grid(spectrum).reshape(len(v), -1)
        return np.asarray(v - self.tau * grids[:, self.cells])


def lanczos(gaps: Gaps, z: Array, steps: int) -> tuple[float, Array, bool]:
    """z' log(C) z, directions v_r whose outer products add up to its gradient, and whether the quadrature settled."""
    n = z.size
    v = np.empty((min(steps, n, 32), n))
    v[0] = z / np.linalg.norm(z)
    diagonal: list[float] = []
    off: list[float] = []
    value, settled = math.inf, False
    for k in range(1, min(steps, n) + 1):
        w = gaps.apply(v[k - 1 : k])[0]
        diagonal.append(float(w @ v[k - 1]))
        for _ in range(2):  # once is not enough where an eigenvalue has converged
            w -= (v[:k] @ w) @ v[:k]
        length = float(np.linalg.norm(w))
        last = k == min(steps, n) or length < 1e-13
        if k % 4 == 0 or last:
            theta, u = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
            theta = np.maximum(theta, np.finfo(float).tiny)
            before, value = value, n * float(u[0] ** 2 @ np.log(theta))
            settled = abs(value - before) <= _QUADRATURE * n or length < 1e-13 or k == n
            if settled or last:
                break
        if k == len(v):
            v = np.concatenate([v, np.empty((min(len(v), min(steps, n) - k), n))])
        off.append(length)
        v[k] = w / length
    ratio = theta[:, None] / theta
    gap = ratio - 1
    near = np.abs(gap) < 1e-6  # log(1 + e) / e there
    slopes = np.where(near, 1 - gap / 2, np.log(ratio) / np.where(near, 1.0, gap)) / theta
    weights, rotation = np.linalg.eigh(n * slopes * np.outer(u[0], u[0]))
    kept = weights > 1e-9 * weights.sum()
    return value, ((u @ rotation[:, kept]) * np.sqrt(weights[kept])).T @ v[: len(theta)], settled


class Determinant(NamedTuple):
    """log det C, its standard error, vectors whose outer products average to its gradient, and whether it settled."""

    value: float
    error: float
    directions: list[Array]
    settled: bool


def determinant(gaps: Gaps, settings: Settings) -> Determinant:
    """By quadrature from random signs; exactly where that costs no more."""
    n = gaps.cells.size
    if n <= 24 * settings.probes:
        c = np.concatenate([gaps.apply(part) for part in _parts(np.eye(n), gaps)])
        theta, u = np.linalg.eigh(0.5 * (c + c.T))
        theta = np.maximum(theta, np.finfo(float).eps)  # what rounding leaves of it
        return Determinant(float(np.log(theta).sum()), 0.0, [(u / np.sqrt(theta)).T], True)
    rng = np.random.default_rng(settings.seed)
    values, directions, settled = [], [], True
    for _ in range(settings.probes):
        value, found, done = lanczos(gaps, 2.0 * rng.integers(0, 2, n) - 1.0, settings.steps)
        values.append(value)
        directions.append(found / math.sqrt(settings.probes))
        settled &= done
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Determinant(float(np.mean(values)), error, directions, settled)


def _parts(rows: Array, gaps: Gaps) -> Iterator[Array]:
    size = max(1, _BATCH // math.prod(gaps.shape))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


class Masked:
    """A = K + s D on the observed cells, after scaling with the separable part of D."""

    def __init__(self, problem: Problem, constant_mean: bool, settings: Settings) -> None:
        self.problem, self.constant_mean, self.settings = problem, constant_mean, settings
        shape = problem.y.shape
        self.observed = np.ones(shape, bool) if problem.mask is None else problem.mask
        self.roots = None if problem.scales is None else [1 / np.sqrt(scale) for scale in problem.scales]
        self.noise = np.ones(shape) if problem.noise is None else problem.noise
        self.least = float(self.noise[self.observed].min())
        tau = np.sqrt(1 - self.least / self.noise)
        self.tau = np.where(self.observed, tau, 1.0)
        excess = float(np.log(self.noise[self.observed] / self.least).sum())
        scale = 0.0 if self.roots is None else -2 * float(np.log(self.scaled(np.ones(shape)))[self.observed].sum())
        self.constant = excess + scale
        self.missing = problem.y.size - problem.count

    def scaled(self, x: Array) -> Array:
        """D^-1/2 x of the separable part."""
        return x if self.roots is None else x * functools.reduce(np.multiply.outer, self.roots)

    def eig(self, kernels: Sequence[Kernel]) -> kron.KroneckerEig:
        """Of the scaled factors."""
        factors = [block.factor(kernels) for block in self.problem.blocks]
        if self.roots is not None:
            factors = [f.scaled_both(root) for f, root in zip(factors, self.roots, strict=True)]
        return kron.KroneckerEig(factors)

    def system(self, eig: kron.KroneckerEig, s: float) -> kron.KroneckerSystem:
        """The solver."""
        noise = s * self.noise if self.problem.noise is not None else s
        return kron.KroneckerSystem(eig, noise, None if self.problem.mask is None else self.observed)

    def weights(self, system: kron.KroneckerSystem) -> tuple[float, Array, kron.CGResult]:
        """The mean, alpha = A^-1 (y - mean) of the scaled problem, and how the solver fared."""
        y = self.scaled(self.problem.y)
        if not self.constant_mean:
            result = system.solve(np.ascontiguousarray(y), rtol=self.settings.rtol)
            return 0.0, result.x, result
        ones = self.scaled(np.where(self.observed, 1.0, 0.0))
        result = system.solve(np.stack([y, ones]), rtol=self.settings.rtol)
        mean = float((ones * result.x[0]).sum() / (ones * result.x[1]).sum())
        return mean, result.x[0] - mean * result.x[1], result

    def evaluate(self, kernels: Sequence[Kernel], s: float, gradient: bool = True, posterior: Any = None) -> Evaluation:
        """The log marginal likelihood at these kernels and noise; `posterior`, if there is one, spares work."""
        g = s * self.least
        eig = self.eig(kernels) if posterior is None else posterior.eig
        if posterior is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", kron.ConvergenceWarning)  # reported once, by the fit
                mean, alpha, result = self.weights(self.system(eig, s))
        else:
            mean, alpha, result = posterior.mean, posterior.scaled_alpha, posterior.result
        gaps = Gaps(eig, self.tau, g)
        det = determinant(gaps, self.settings)
        weights = [np.empty(n) for n in eig.grid]
        _, logdet, trace = _native.spectral(eig.eigenvalues, g, None, None, weights)
        total = logdet + det.value + self.constant - self.missing * math.log(g)
        y = self.scaled(np.where(self.observed, self.problem.y - mean, 0.0))
        quadratic = float((y * alpha).sum())
        value = -0.5 * (quadratic + total + self.problem.count * math.log(2 * math.pi))
        done = bool(result.converged and det.settled)
        if not gradient:
            return Evaluation(value, 0.5 * det.error, mean=mean, converged=done)
        inner = [np.zeros((n, n)) for n in eig.grid]
        self._add_grams(inner, gaps.basis.T.matmul_grid(alpha[None]), eig)
        slope = float((alpha * alpha * self.noise).sum()) * s
        slope += self.missing - g * trace
        for rows in (part for block in det.directions for part in _parts(block, gaps)):
            spectrum = gaps.spectrum(rows)
            divided = spectrum / (gaps.lam + g)
            slope -= g * float((spectrum * divided).sum() - g * (divided * divided).sum())
            divided *= math.sqrt(g)
            self._add_grams(inner, divided, eig)
        entries = []
        for i, q in enumerate(eig.vectors):
            inner[i].flat[:: len(q) + 1] -= weights[i]
            entry = 0.5 * (q @ inner[i] @ q.T)
            entries.append(entry if self.roots is None else self.roots[i][:, None] * entry * self.roots[i])
        gradients = gather(self.problem, kernels, entries)
        return Evaluation(value, 0.5 * det.error, gradients, 0.5 * slope, mean, done)

    @staticmethod
    def _add_grams(totals: list[Array], x: Array, eig: kron.KroneckerEig) -> None:
        """x_(i) Lam_-i x_(i)' of rotated grids (B, ..), added for each axis."""
        for i, total in enumerate(totals):
            part = np.empty_like(total)
            _native.gram(np.ascontiguousarray(x)[..., None], None, eig.eigenvalues, i, part)
            total += part

    def condition(self, kernels: Sequence[Kernel], s: float) -> MaskedPosterior:
        """The posterior at these kernels and noise."""
        return MaskedPosterior(self, kernels, s)


class MaskedPosterior:
    """A^-1 of `Masked`, and the weights alpha = A^-1 (y - mean), 0 where nothing was observed."""

    def __init__(self, model: Masked, kernels: Sequence[Kernel], s: float) -> None:
        self.model, self.s = model, s
        self.eig = model.eig(kernels)
        self.system = model.system(self.eig, s)
        self.mean, self.scaled_alpha, self.result = model.weights(self.system)
        self.alpha = model.scaled(self.scaled_alpha)

    def solve(self, x: Array) -> Array:
        """A^-1 x of tensors (.., n_1, .., n_b) over the blocks; what is missing of x is ignored."""
        scaled = np.ascontiguousarray(self.model.scaled(x))
        return self.model.scaled(self.system.solve(scaled, rtol=self.model.settings.rtol).x)

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draws of the noise, on tensors over the blocks."""
        root = np.sqrt(self.s * self.model.noise)
        return root * rng.standard_normal(shape) / self.model.scaled(np.ones(shape))

    def explained(self, rows: Sequence[Array], matched: bool, rng: np.random.Generator) -> Array:
        """The diagonal of R A^-1 R': that of R P^-1 R', exact, less what the gaps and the larger noise leave open.

        The latter is the variance of R (P^-1 x - A^-1 (x + e)) for x of covariance P and e of covariance E, since the
        covariance of the two terms is A^-1. It is estimated from draws, whose error is thus confined to it.
        """
        model, lam = self.model, functools.reduce(np.multiply.outer, self.eig.eigenvalues)
        g = self.s * model.least
        scaled = list(rows) if model.roots is None else [r * root for r, root in zip(rows, model.roots, strict=True)]
        squares = [(row @ q) ** 2 for row, q in zip(scaled, self.eig.vectors, strict=True)]
        weights = 1 / (lam + g)
        operator = None if matched else kron.KroneckerOperator(scaled)
        out = match(squares, weights) if matched else kron.KroneckerOperator(squares).matmul_grid(weights)
        lost = np.zeros_like(out)
        extra = np.sqrt(np.maximum(self.s * model.noise - g, 0.0))
        batch = max(1, min(model.settings.probes, _BATCH // lam.size))
        done = 0
        draws = model.settings.draws
        while done < draws:
            x = self.eig.sample(min(batch, draws - done), g, rng=rng)
            difference = self.eig.solve(x, g)
            noisy = x + extra * rng.standard_normal(x.shape)
            difference -= self.system.solve(noisy, rtol=model.settings.rtol).x
            for part in difference:
                lost += (match(scaled, part) if operator is None else operator.matmul_grid(part)) ** 2
            done += len(x)
        return np.asarray(out - lost / draws)
