"""Linear functionals of a Gaussian process on grids: their covariance, and its gradient in the kernels. Internal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from telamon.gp import Kernel

from ._domain import Array


@dataclass(frozen=True)
class Part:
    """weight * d^orders u on the grid of points, the weight an array that broadcasts to its shape."""

    points: tuple[Array, ...]
    orders: tuple[int, ...]
    weight: Array


@dataclass(frozen=True)
class Block:
    """A sum of parts on grids of one shape, and what was observed of it."""

    parts: tuple[Part, ...]
    data: Array

    @property
    def size(self) -> int:
        """The number of functionals."""
        return self.data.size


def _factors(kernels: Sequence[Kernel], one: Part, two: Part) -> list[Array]:
    return [
        k.derivative(x, y, dx=m, dy=n)
        for k, x, y, m, n in zip(kernels, one.points, two.points, one.orders, two.orders, strict=True)
    ]


def _dense(factors: Sequence[Array]) -> Array:
    out = factors[0]
    for factor in factors[1:]:
        out = np.kron(out, factor)
    return out


def _flat(part: Part, block: Block) -> Array:
    return np.broadcast_to(part.weight, block.data.shape).reshape(-1)


def covariance(kernels: Sequence[Kernel], blocks: Sequence[Block]) -> Array:
    """The covariance matrix of all functionals, block after block."""
    starts = np.cumsum([0, *(b.size for b in blocks)])
    out = np.zeros((starts[-1], starts[-1]))
    for i, one in enumerate(blocks):
        for j, two in enumerate(blocks[: i + 1]):
            view = out[starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
            for p in one.parts:
                for q in two.parts:
                    view += _flat(p, one)[:, None] * _dense(_factors(kernels, p, q)) * _flat(q, two)
            out[starts[j] : starts[j + 1], starts[i] : starts[i + 1]] = view.T
    return out


def contract(kernels: Sequence[Kernel], blocks: Sequence[Block], weights: Array) -> Array:
    """sum_ij weights_ij d covariance_ij / d theta for a symmetric matrix of weights; theta of all kernels in a row."""
    starts = np.cumsum([0, *(b.size for b in blocks)])
    totals = [np.zeros(k.theta.size) for k in kernels]
    for i, one in enumerate(blocks):
        for j, two in enumerate(blocks[: i + 1]):
            view = weights[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] * (1.0 if i == j else 2.0)
            for p in one.parts:
                for q in two.parts:
                    part = _flat(p, one)[:, None] * view * _flat(q, two)
                    factors = _factors(kernels, p, q) if len(kernels) > 1 else []
                    for axis, kernel in enumerate(kernels):
                        reduced = _reduce(part, factors, axis, p, q)
                        pair = (p.points[axis], q.points[axis], p.orders[axis], q.orders[axis])
                        totals[axis] += kernel.contract(reduced, *pair)
    return np.concatenate(totals)


def _reduce(weights: Array, factors: Sequence[Array], axis: int, one: Part, two: Part) -> Array:
    """The weights of one axis' factor: the others multiplied in and summed over."""
    if not factors:
        return weights
    rows, columns = ([x.size for x in part.points] for part in (one, two))
    d = len(rows)
    tensor = weights.reshape(*rows, *columns)
    letters = "abcdefghijklmnop"
    operands, names = [tensor], [letters[: 2 * d]]
    for i, factor in enumerate(factors):
        if i != axis:
            operands.append(factor)
            names.append(letters[i] + letters[d + i])
    path = ",".join(names) + "->" + letters[axis] + letters[d + axis]
    return np.asarray(np.einsum(path, *operands, optimize=True))


def cross(kernels: Sequence[Kernel], points: Array, blocks: Sequence[Block]) -> Array:
    """cov(u(points), functionals), shape (points, functionals)."""
    columns = []
    for block in blocks:
        total = np.zeros((len(points), block.size))
        for part in block.parts:
            product = np.ones((len(points), 1))
            for i, kernel in enumerate(kernels):
                factor = kernel.derivative(points[:, i], part.points[i], dy=part.orders[i])
                product = (product[:, :, None] * factor[:, None, :]).reshape(len(points), -1)
            total += product * _flat(part, block)
        columns.append(total)
    return np.hstack(columns)
