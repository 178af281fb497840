"""Posterior means, variances, covariances and draws at new points. Internal."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from telamon import kron

from . import _axes
from ._axes import Array
from ._base import Kernel
from ._exact import ExactPosterior, match
from ._gaps import MaskedPosterior
from ._problem import Problem

Posterior = ExactPosterior | MaskedPosterior

#: Numbers in a part of a dense matrix of covariances.
_PART = 1 << 24
#: Points whose covariance is formed.
_MOST = 2000


class Target:
    """Where to predict what.

    Attributes
    ----------
    test : list of ndarray
        For each axis, points of a grid, or the coordinates of the points.
    matched : bool
        Whether the latter.
    orders : tuple of int
        The derivative along each axis.
    """

    def __init__(self, axes: Sequence[Array], kernels: Sequence[Kernel], X: Any, derivatives: Any) -> None:
        d = len(axes)
        self.matched = False
        self.is_training = X is None
        if X is None:
            self.test = list(axes)
        elif isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype != object:
            if X.shape[1] != d:
                raise ValueError(f"'X' has {X.shape[1]} columns, the grid {d} axes; pass one coordinate an axis.")
            self.test = [_axes.points(column, f"X[:, {i}]") for i, column in enumerate(X.T)]
            self.matched = True
        elif d == 1 and isinstance(X, np.ndarray) and X.dtype != object:
            self.test = [_axes.points(X, "X")]
        else:
            if not isinstance(X, (list, tuple)) or len(X) != d:
                raise ValueError(
                    f"'X' must be a list of {d} vectors, or an array of shape (P, {d}); got {type(X).__name__}."
                )
            self.test = [_axes.points(x, f"X[{i}]") for i, x in enumerate(X)]
        orders = (0,) * d if derivatives is None else tuple(derivatives)
        if len(orders) != d:
            raise ValueError(f"'derivatives' must have one order for each of {d} axes, got {derivatives!r}.")
        for kernel, order in zip(kernels, orders, strict=True):
            kernel._order(order)
        self.orders = orders
        self.sizes = [x.size for x in self.test]

    @property
    def count(self) -> int:
        """How many points."""
        return self.sizes[0] if self.matched else math.prod(self.sizes)

    @property
    def plain(self) -> bool:
        """Whether no derivative is asked for."""
        return not any(self.orders)

    def prior_variance(self, kernels: Sequence[Kernel]) -> Array:
        """Before the observations."""
        triples = zip(kernels, self.test, self.orders, strict=True)
        sides = [kernel.diag(x, order) for kernel, x, order in triples]
        return np.asarray(math.prod(sides) if self.matched else functools.reduce(np.multiply.outer, sides))


def row_parts(data: Problem, kernels: Sequence[Kernel], target: Target) -> Iterator[tuple[slice, list[Array]]]:
    """Covariances of each block with the target; of a grid's last block in parts, where it is large."""
    if target.matched:
        yield slice(None), [block.matched(kernels, target.test, target.orders) for block in data.blocks]
        return
    whole = slice(None)
    first = [block.rows(kernels, target.test, target.orders, whole) for block in data.blocks[:-1]]
    last = data.blocks[-1]
    total = math.prod(target.sizes[axis] for axis in last.axes)
    size = total if last.cells is None else max(1, _PART // last.size)
    for start in range(0, total, size):
        part = slice(start, min(start + size, total))
        yield part, [*first, last.rows(kernels, target.test, target.orders, part)]


def assemble(data: Problem, target: Target, parts: list[Array]) -> Array:
    """Results of `row_parts` in the target's shape."""
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    return joined if target.matched else np.ascontiguousarray(data.restore(joined, target.sizes))


def project(data: Problem, kernels: Sequence[Kernel], target: Target, alpha: Array) -> Array:
    """Covariances with the target times tensors (.., n_1, .., n_b)."""
    parts = []
    for _, rows in row_parts(data, kernels, target):
        if target.matched:
            flat = alpha.reshape(-1, *alpha.shape[alpha.ndim - len(data.blocks) :])
            out = np.stack([match(rows, x) for x in flat])
            parts.append(out.reshape(*alpha.shape[: alpha.ndim - len(data.blocks)], -1))
        else:
            parts.append(kron.KroneckerOperator(rows).matmul_grid(np.ascontiguousarray(alpha)))
    return assemble(data, target, parts)


def mean(data: Problem, posterior: Posterior, kernels: Sequence[Kernel], target: Target) -> Array:
    """The posterior mean."""
    out = project(data, kernels, target, posterior.alpha)
    return out + posterior.mean if target.plain else out


def variance(
    data: Problem, posterior: Posterior, kernels: Sequence[Kernel], target: Target, rng: np.random.Generator
) -> Array:
    """The posterior variance."""
    parts = [posterior.explained(rows, target.matched, rng) for _, rows in row_parts(data, kernels, target)]
    return target.prior_variance(kernels) - assemble(data, target, parts)


def _as_points(target: Target) -> Array:
    """The points of a target, one a row."""
    if target.matched:
        return np.stack(target.test, axis=1)
    mesh = np.meshgrid(*target.test, indexing="ij")
    return np.stack([x.reshape(-1) for x in mesh], axis=1)


def covariance(data: Problem, posterior: Posterior, kernels: Sequence[Kernel], target: Target) -> Array:
    """The posterior covariance of all pairs of points, in C order."""
    if target.count > _MOST:
        raise ValueError(
            f"'X' has {target.count} points; a covariance is formed of {_MOST} at most, so pass return_std."
        )
    points = _as_points(target)
    prior = np.ones((len(points), len(points)))
    for kernel, x, order in zip(kernels, points.T, target.orders, strict=True):
        prior *= kernel.derivative(x, None, order, order)
    single = Target(points.T, kernels, points, target.orders)
    rows = next(row_parts(data, kernels, single))[1]
    size = max(1, _PART // math.prod(block.size for block in data.blocks))
    for start in range(0, len(points), size):
        some = [row[start : start + size] for row in rows]
        tensors = some[0]
        for row in some[1:]:
            tensors = np.einsum("p...,pi->p...i", tensors, row)
        solved = posterior.solve(tensors)
        prior[start : start + size] -= np.stack([match(rows, x) for x in solved])
    return np.asarray(0.5 * (prior + prior.T))


def prior_draws(kernels: Sequence[Kernel], axes: Sequence[Array], size: int | None, rng: np.random.Generator) -> Array:
    """Draws of a process of mean 0 on a grid."""
    factors = [kernel(x) for kernel, x in zip(kernels, axes, strict=True)]
    return np.asarray(kron.KroneckerEig(factors).sample(size, rng=rng))


def _joint(kernel: Kernel, x: Array, target: Target, axis: int) -> Array:
    """The covariance of f at the axis and of its derivative at the target's points."""
    y, order = target.test[axis], target.orders[axis]
    cross = kernel.derivative(x, y, 0, order)
    corner = kernel.derivative(y, None, order, order)
    return np.block([[kernel(x), cross], [cross.T, corner]])


def posterior_draws(
    data: Problem,
    posterior: Posterior,
    kernels: Sequence[Kernel],
    target: Target,
    size: int,
    rng: np.random.Generator,
) -> Array:
    """f* + K* A^-1 (y - f - noise), f and f* drawn together from the prior."""
    if target.matched:
        cov = covariance(data, posterior, kernels, target)
        w, q = np.linalg.eigh(cov)
        draws = rng.standard_normal((size, len(w))) * np.sqrt(np.maximum(w, 0.0)) @ q.T
        return np.asarray(mean(data, posterior, kernels, target) + draws)
    axes = data.axes
    same = target.is_training and target.plain and tuple(target.sizes) == tuple(x.size for x in axes)
    joint = [
        kernel(x) if same else _joint(kernel, x, target, i)
        for i, (kernel, x) in enumerate(zip(kernels, axes, strict=True))
    ]
    eig = kron.KroneckerEig(joint)
    old = tuple(slice(0, x.size) for x in axes)
    new = old if same else tuple(slice(x.size, None) for x in axes)
    base = mean(data, posterior, kernels, target)
    out = np.empty((size, *base.shape))
    for i in range(size):
        draw = eig.sample(rng=rng)
        seen = data.select(draw[old])
        seen = np.ascontiguousarray(seen + posterior.noise(seen.shape, rng))
        out[i] = base + draw[new] - project(data, kernels, target, posterior.solve(seen))
    return out
