"""Method "evidence": an exact Gaussian process on the conditions and the source. Internal.

The data y are the conditions B u and the source L u on the grid, their covariance K that of these functionals of the
process, of fourth derivatives for an L of second order. The hyperparameters maximise the marginal likelihood
log p(y) = -1/2 (y' K^-1 y + log|K| + N log 2 pi) by L-BFGS, with dlog p / dtheta = 1/2 <a a' - K^-1, dK/dtheta>,
a = K^-1 y. Nonlinear equations are linearised at the direct solution, and again at the posterior mean.
Time O(N^3) and memory O(N^2) in the number N of grid points and conditions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from telamon.gp import Kernel

from . import _blocks
from ._blocks import Block, Part
from ._conditions import Row
from ._domain import Array, Domain
from ._operators import Operator
from ._solution import Expansion, PDESolution, Section

MAX_SIZE = 6000  #: functionals: 300 MB a matrix, minutes a step
_CHUNK = 2048
_LINEARISATIONS = 8
#: How far L-BFGS may go from where it starts: in the logarithm of a weight, and of a width. Weights of 1e-5 count
#: for next to nothing, but keep K from becoming singular, where rounding ends the line search early.
_WEIGHT_RANGE, _SCALE_RANGE = 12.0, 12.0


class Posterior(NamedTuple):
    """What was learned."""

    kernels: list[Kernel]
    parts: list[Expansion]
    value: float
    iterations: int
    converged: bool
    history: list[float]
    deviation: Any


def _blocks_of(
    operator: Operator,
    domain: Domain,
    f: Array,
    rows: Sequence[Sequence[Row]],
    around: PDESolution,
    size: tuple[float, float],
) -> list[Block]:
    """The functionals, scaled such that data of the size of u and f have size 1."""
    d, shape = domain.dimension, domain.shape
    blocks = []
    for axis, conditions in enumerate(rows):
        for row in conditions:
            parts = []
            for end, order, sign in row.parts:
                points = tuple(x[[end]] if i == axis else x for i, x in enumerate(domain.axes))
                orders = tuple(order if i == axis else 0 for i in range(d))
                parts.append(Part(points, orders, np.asarray(sign / size[0])))
            data = np.expand_dims(row.data, axis) / size[0]
            blocks.append(Block(tuple(parts), data))
    parts = []
    for term in operator.terms:
        weight = term.on(domain.axes[term.axis]).reshape([-1 if i == term.axis else 1 for i in range(d)])
        orders = tuple(term.order if i == term.axis else 0 for i in range(d))
        parts.append(Part(tuple(domain.axes), orders, weight / size[1]))
    data = f.copy()
    for part in operator.nonlinear:
        fields = [around.derivative(orders) for orders in part.arguments(d)]
        data -= part.value(*fields)
        for orders, slope, field in zip(part.arguments(d), part.gradient(*fields), fields, strict=True):
            slope = np.broadcast_to(slope, shape)
            data += slope * field
            parts.append(Part(tuple(domain.axes), orders, slope / size[1]))
    blocks.append(Block(tuple(parts), data / size[1]))
    return blocks


class _Likelihood:
    """-log p(y) and its gradient, as scipy.optimize wants them."""

    def __init__(self, kernels: Sequence[Kernel], blocks: Sequence[Block], noise: float) -> None:
        self.kernels, self.blocks, self.noise = list(kernels), list(blocks), noise
        self.data = np.concatenate([b.data.reshape(-1) for b in blocks])
        self.best = math.inf
        self.best_theta = np.concatenate([k.theta for k in kernels])

    def at(self, theta: Array) -> list[Kernel]:
        """The kernels with these hyperparameters."""
        out, start = [], 0
        for kernel in self.kernels:
            count = kernel.theta.size
            out.append(kernel.with_theta(theta[start : start + count]))
            start += count
        return out

    def factor(self, kernels: Sequence[Kernel]) -> tuple[Array, Array, float]:
        """Cholesky's lower factor of K + noise^2, K^-1 y and -log p(y)."""
        from scipy.linalg import cho_solve, cholesky

        covariance = _blocks.covariance(kernels, self.blocks)
        scale = float(np.mean(np.diag(covariance)))
        noise = self.noise**2
        while True:
            try:
                matrix = covariance.copy()
                matrix[np.diag_indices_from(matrix)] += noise
                lower = cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
                break
            except np.linalg.LinAlgError:
                # K is singular to rounding where the kernel spans fewer functions than there are data
                noise = max(10 * noise, 1e-15 * scale)
                if not noise < scale:
                    raise
        solved = cho_solve((lower, True), self.data, check_finite=False)
        value = 0.5 * float(self.data @ solved) + float(np.log(np.diag(lower)).sum())
        return lower, solved, value + 0.5 * self.data.size * math.log(2 * math.pi)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        from scipy.linalg.lapack import dpotri

        kernels = self.at(theta)
        lower, solved, value = self.factor(kernels)
        if value < self.best:
            self.best, self.best_theta = value, theta.copy()
        inverse = np.tril(dpotri(lower, lower=1)[0])
        weights = inverse + np.tril(inverse, -1).T
        weights -= np.multiply.outer(solved, solved)
        return value, 0.5 * _blocks.contract(kernels, self.blocks, weights)


def _bounds(kernels: Sequence[Kernel]) -> Array:
    """Those of the kernels; where there are none, ranges around the start that exclude overflow."""
    out = []
    for kernel in kernels:
        for name, value, (low, high), logarithmic in zip(
            kernel.names, kernel.theta, kernel.bounds, kernel.logarithmic, strict=True
        ):
            wide = _WEIGHT_RANGE if logarithmic else _SCALE_RANGE if "log_scales" in name else math.inf
            out.append((max(low, value - wide), min(high, value + wide)))
    return np.array(out)


def solve(
    operator: Operator,
    domain: Domain,
    f: Array,
    rows: Sequence[Sequence[Row]],
    kernels: Sequence[Kernel],
    around: PDESolution,
    noise: float,
    max_iterations: int,
) -> Posterior:
    """Learn the kernels, starting from those given, and condition on the data."""
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ImportError("method='evidence' needs SciPy; pip install 'telamon[gp]'") from None

    count = math.prod(domain.shape) + sum(row.data.size for conditions in rows for row in conditions)
    if count > MAX_SIZE:
        raise ValueError(
            f"method='evidence' factors a dense matrix, here of {count} rows; it goes up to {MAX_SIZE}. "
            f"Take a coarser grid, or method='direct'."
        )
    size = (_rms(around.values), _rms(f) or _rms(around.values))
    blocks = _blocks_of(operator, domain, f, rows, around, size)
    target = _Likelihood(kernels, blocks, noise)
    theta = np.concatenate([k.theta for k in kernels])
    iterations, converged, history = 0, True, []
    if theta.size:
        found = minimize(
            target,
            theta,
            jac=True,
            method="L-BFGS-B",
            bounds=_bounds(kernels),
            callback=lambda intermediate_result: history.append(-float(intermediate_result.fun)),
            options={"maxiter": max_iterations, "maxcor": 30, "ftol": 1e-9, "gtol": 1e-6},
        )
        # a line search that ends in rounding, as K's condition makes it, has arrived as well; but its last point is
        # not its best one
        iterations, converged = int(found.nit), found.status != 1
    learned = target.at(target.best_theta)
    lower, solved, value = target.factor(learned)
    if operator.nonlinear:
        before = around.values
        for _ in range(_LINEARISATIONS):
            mean = PDESolution(operator, domain, f, f, _expansions(learned, blocks, solved), learned, "evidence")
            if np.abs(mean.values - before).max() <= noise * np.abs(mean.values).max():
                break
            before = mean.values
            blocks = _blocks_of(operator, domain, f, rows, mean, size)
            target = _Likelihood(learned, blocks, noise)
            lower, solved, value = target.factor(learned)
    # the likelihood of the data as they are, and not as scaled
    value += math.log(size[0]) * (count - f.size) + math.log(size[1]) * f.size
    deviation = _Deviation(learned, blocks, lower)
    return Posterior(learned, _expansions(learned, blocks, solved), -value, iterations, converged, history, deviation)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _expansions(kernels: Sequence[Kernel], blocks: Sequence[Block], solved: Array) -> list[Expansion]:
    """The posterior mean, a sum over blocks and parts."""
    out, start = [], 0
    for block in blocks:
        share = solved[start : start + block.size].reshape(block.data.shape)
        start += block.size
        for part in block.parts:
            functions = tuple(Section(k, x, m) for k, x, m in zip(kernels, part.points, part.orders, strict=True))
            out.append(Expansion(functions, share * part.weight))
    return out


class _Deviation:
    """The posterior standard deviation of u."""

    def __init__(self, kernels: Sequence[Kernel], blocks: Sequence[Block], lower: Array) -> None:
        self.kernels, self.blocks, self.lower = kernels, blocks, lower

    def __call__(self, where: Sequence[Array] | Array) -> Array:
        from scipy.linalg import solve_triangular

        shape: tuple[int, ...] = ()
        if not isinstance(where, np.ndarray):
            shape = tuple(x.size for x in where)
            where = np.stack([m.reshape(-1) for m in np.meshgrid(*where, indexing="ij")], axis=1)
        out = np.empty(len(where))
        for start in range(0, len(where), _CHUNK):
            points = where[start : start + _CHUNK]
            prior = np.ones(len(points))
            for i, kernel in enumerate(self.kernels):
                prior = prior * kernel.diag(points[:, i])
            cross = _blocks.cross(self.kernels, points, self.blocks)
            explained = solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
            out[start : start + _CHUNK] = np.sqrt(np.maximum(prior - np.sum(explained**2, axis=0), 0.0))
        return out.reshape(shape or out.shape)
