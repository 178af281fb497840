"""Likelihood and posterior where nothing is missing and the noise is separable: by eigen-decomposition. Internal."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from telamon import kron

from ._axes import Array
from ._base import Kernel
from ._problem import Problem
from ._scipy import scipy


@dataclass
class Evaluation:
    """A log marginal likelihood, its standard error, and its gradients in each kernel's theta and in log s."""

    value: float
    error: float = 0.0
    gradients: list[Array] = field(default_factory=list)
    noise_gradient: float = 0.0
    mean: float = 0.0
    converged: bool = True


def gather(problem: Problem, kernels: Sequence[Kernel], entries: Sequence[Array]) -> list[Array]:
    """Gradients in the hyperparameters of each kernel, from those in the entries of each block's factor."""
    parts: dict[int, Array] = {}
    for block, gradient in zip(problem.blocks, entries, strict=True):
        parts.update(block.contract(np.asarray(gradient, dtype=np.float64), kernels))
    return [parts[axis] for axis in range(len(kernels))]


class Exact:
    """A = K + s D with D separable: (K~ + s I) after scaling each factor from both sides by D_i^-1/2."""

    def __init__(self, problem: Problem, constant_mean: bool) -> None:
        self.problem, self.constant_mean = problem, constant_mean
        scales = problem.scales
        self.roots = None if scales is None else [1 / np.sqrt(scale) for scale in scales]
        shares = [problem.y.size // block.size for block in problem.blocks]
        self.log_scale = 0.0
        if scales is not None:
            self.log_scale = sum(n * float(np.log(scale).sum()) for n, scale in zip(shares, scales, strict=True))

    def scaled(self, x: Array) -> Array:
        """D^-1/2 x."""
        return x if self.roots is None else x * functools.reduce(np.multiply.outer, self.roots)

    def eig(self, kernels: Sequence[Kernel]) -> kron.KroneckerEig:
        """Of the scaled factors."""
        factors = [block.factor(kernels) for block in self.problem.blocks]
        if self.roots is not None:
            factors = [f.scaled_both(root) for f, root in zip(factors, self.roots, strict=True)]
        return kron.KroneckerEig(factors)

    def evaluate(self, kernels: Sequence[Kernel], s: float, gradient: bool = True, posterior: Any = None) -> Evaluation:
        """The log marginal likelihood at these kernels and noise; `posterior`, if there is one, spares work."""
        if posterior is None and len(self.problem.blocks) == 1:
            single = self._single(kernels, s, gradient)
            if single is not None:
                return single
        eig = self.eig(kernels) if posterior is None else posterior.eig
        mean, y = self._centred(eig, s)
        if not gradient:
            return Evaluation(eig.log_likelihood(y, s) - 0.5 * self.log_scale, mean=mean)
        value, entries, slope = eig.log_likelihood_gradient(y, s)
        if self.roots is not None:
            entries = [root[:, None] * g * root for g, root in zip(entries, self.roots, strict=True)]
        gradients = gather(self.problem, kernels, entries)
        return Evaluation(value - 0.5 * self.log_scale, 0.0, gradients, s * slope, mean)

    def _centred(self, eig: kron.KroneckerEig, s: float) -> tuple[float, Array]:
        """The mean, and the scaled observations less it."""
        y = self.problem.y
        if not self.constant_mean:
            return 0.0, np.ascontiguousarray(self.scaled(y))
        ones = self.scaled(np.ones_like(y))
        weights = self.scaled(eig.solve(np.ascontiguousarray(ones), s))
        mean = float((weights * y).sum() / weights.sum())
        return mean, np.ascontiguousarray(self.scaled(y - mean))

    def _single(self, kernels: Sequence[Kernel], s: float, gradient: bool) -> Evaluation | None:
        """A single block, by Cholesky's decomposition, which is faster; None where it breaks down."""
        linalg = scipy("linalg")
        block, y = self.problem.blocks[0], self.problem.y.reshape(-1)
        scale = np.ones(y.size) if self.problem.scales is None else self.problem.scales[0]
        a = np.array(block.factor(kernels).toarray(), order="F")
        a.flat[:: y.size + 1] += s * scale
        try:
            factor = linalg.cholesky(a, lower=True, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            return None
        sides = np.column_stack([y, np.ones(y.size)])
        solved = linalg.cho_solve((factor, True), sides, check_finite=False)
        mean = float(solved[:, 0].sum() / solved[:, 1].sum()) if self.constant_mean else 0.0
        alpha = solved[:, 0] - mean * solved[:, 1]
        logdet = 2 * float(np.log(np.diag(factor)).sum())
        value = -0.5 * (float((y - mean) @ alpha) + logdet + y.size * math.log(2 * math.pi))
        if not gradient:
            return Evaluation(value, mean=mean)
        inverse = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        entries = 0.5 * (np.outer(alpha, alpha) - inverse)
        slope = float(np.diag(entries) @ scale)
        return Evaluation(value, 0.0, gather(self.problem, kernels, [entries]), s * slope, mean)

    def condition(self, kernels: Sequence[Kernel], s: float) -> ExactPosterior:
        """The posterior at these kernels and noise."""
        return ExactPosterior(self, kernels, s)


class ExactPosterior:
    """A^-1 of `Exact`, and the weights alpha = A^-1 (y - mean)."""

    def __init__(self, model: Exact, kernels: Sequence[Kernel], s: float) -> None:
        self.model, self.s = model, s
        self.eig = model.eig(kernels)
        self.mean, y = model._centred(self.eig, s)
        self.alpha = model.scaled(self.eig.solve(y, s))

    def solve(self, x: Array) -> Array:
        """A^-1 x of tensors (.., n_1, .., n_b) over the blocks."""
        scaled = np.ascontiguousarray(self.model.scaled(x))
        return self.model.scaled(self.eig.solve(scaled, self.s, out=scaled))

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draws of the noise, on tensors over the blocks."""
        return math.sqrt(self.s) * rng.standard_normal(shape) / self.model.scaled(np.ones(shape))

    def explained(self, rows: Sequence[Array], matched: bool, rng: np.random.Generator) -> Array:
        """The diagonal of R A^-1 R', R the Kronecker product of the blocks' rows, or their products row by row."""
        rotated = []
        for i, (part, q) in enumerate(zip(rows, self.eig.vectors, strict=True)):
            root = 1.0 if self.model.roots is None else self.model.roots[i]
            rotated.append(((part * root) @ q) ** 2)
        weights = functools.reduce(np.multiply.outer, self.eig.eigenvalues) + self.s
        np.reciprocal(weights, out=weights)
        return match(rotated, weights) if matched else kron.KroneckerOperator(rotated).matmul_grid(weights)


def match(rows: Sequence[Array], x: Array) -> Array:
    """sum_{i_1 .. i_b} rows_1[p, i_1] .. rows_b[p, i_b] x[i_1, .., i_b] for each p."""
    out = np.empty(len(rows[0]))
    inner = x.reshape(x.shape[0], -1)
    step = max(1, (1 << 24) // inner.shape[1])
    for start in range(0, out.size, step):
        part = slice(start, start + step)
        some = rows[0][part] @ inner
        for row in rows[1:]:
            some = np.einsum("pi,pij->pj", row[part], some.reshape(len(some), row.shape[1], -1))
        out[part] = some[:, 0]
    return out
