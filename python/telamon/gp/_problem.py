"""Observations on a grid, checked and brought into the form in which they cost least. Internal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from telamon import kron

from . import _axes
from ._axes import Array
from ._base import Kernel


class Block:
    """One axis of a grid, or some of its points, or several axes whose observed cells make up one.

    Attributes
    ----------
    axes : tuple of int
        Which axes of the grid.
    points : list of ndarray
        Their points.
    cells : list of ndarray or None
        If not all of them, the index of each cell along each axis. So evenly spaced points remain so with gaps.
    """

    def __init__(self, axes: Sequence[int], points: Sequence[Array], cells: Sequence[Array] | None = None) -> None:
        self.axes, self.points = tuple(axes), list(points)
        self.cells = None if cells is None else list(cells)

    @property
    def size(self) -> int:
        """Length of the axis."""
        return self.points[0].size if self.cells is None else self.cells[0].size

    def factor(self, kernels: Sequence[Kernel]) -> kron.Factor:
        """The prior covariance."""
        if self.cells is not None:
            return kron.Dense(math.prod(self._parts(kernels)))
        kernel, x = kernels[self.axes[0]], self.points[0]
        h = _axes.step(x) if kernel.stationary else None
        return kron.Dense(kernel(x)) if h is None else kron.Toeplitz(kernel.profile(h * np.arange(x.size)))

    def _parts(self, kernels: Sequence[Kernel]) -> list[Any]:
        """With cells, the covariances whose entrywise product is the prior covariance."""
        assert self.cells is not None
        triples = zip(self.axes, self.points, self.cells, strict=True)
        return [kernels[axis](x)[np.ix_(cell, cell)] for axis, x, cell in triples]

    def contract(self, gradient: Array, kernels: Sequence[Kernel]) -> dict[int, Array]:
        """From the derivative in the entries of the factor, those in the hyperparameters of its axes."""
        if self.cells is None:
            return {self.axes[0]: kernels[self.axes[0]].contract(gradient, self.points[0])}
        parts = self._parts(kernels)
        out = {}
        for i, (axis, x, cell) in enumerate(zip(self.axes, self.points, self.cells, strict=True)):
            weights = gradient * math.prod(part for j, part in enumerate(parts) if j != i)
            pairs = np.add.outer(cell * x.size, cell).reshape(-1)
            sums = np.bincount(pairs, weights.reshape(-1), x.size**2).reshape(x.size, x.size)
            out[axis] = kernels[axis].contract(sums, x)
        return out

    def rows(self, kernels: Sequence[Kernel], test: Sequence[Array], orders: Sequence[int], part: slice) -> Array:
        """Covariances with a part of the product grid of the test points of these axes, shape (.., n)."""
        sides = self._sides(kernels, test, orders)
        if self.cells is None:
            return np.asarray(sides[0][part])
        shape = [test[axis].size for axis in self.axes]
        index = np.unravel_index(np.arange(math.prod(shape))[part], shape)
        return np.asarray(math.prod(s[i][:, c] for s, i, c in zip(sides, index, self.cells, strict=True)))

    def matched(self, kernels: Sequence[Kernel], test: Sequence[Array], orders: Sequence[int]) -> Array:
        """Covariances with points given by one coordinate an axis, shape (P, n)."""
        sides = self._sides(kernels, test, orders)
        if self.cells is None:
            return sides[0]
        return np.asarray(math.prod(side[:, cell] for side, cell in zip(sides, self.cells, strict=True)))

    def _sides(self, kernels: Sequence[Kernel], test: Sequence[Array], orders: Sequence[int]) -> list[Array]:
        pairs = zip(self.axes, self.points, strict=True)
        return [kernels[axis].derivative(test[axis], x, orders[axis]) for axis, x in pairs]


@dataclass
class Problem:
    """Observations y on the product of blocks, with noise of variance s scale noise.

    Attributes
    ----------
    shape : tuple of int
        Of the grid as it was given.
    blocks : list of Block
    y : ndarray
        On the product of the blocks; 0 where nothing was observed.
    mask : ndarray of bool or None
        Where it was; None is everywhere.
    scales : list of ndarray or None
        Relative variances along each block, whose product is the separable part of the noise.
    noise : ndarray or None
        Relative variances of the cells, the part that is not separable.
    count : int
        Observed cells.
    variance : float
        Of the observations.
    axes : list of ndarray
        Points of the slices with an observation.
    cells : tuple of ndarray or None
        Where the last block has several axes' cells, their indices on these points.
    """

    shape: tuple[int, ...]
    blocks: list[Block]
    y: Array
    mask: Array | None
    scales: list[Array] | None
    noise: Array | None
    count: int
    variance: float
    axes: list[Array]
    cells: tuple[Array, ...] | None = None

    def select(self, grid: Array) -> Array:
        """The values of a tensor (.., n_1, .., n_d) on `axes`, as a tensor over the blocks."""
        lead = grid.shape[: grid.ndim - sum(len(block.axes) for block in self.blocks)]
        order = [axis for block in self.blocks for axis in block.axes]
        moved = np.transpose(grid, [*range(len(lead)), *(len(lead) + axis for axis in order)])
        if self.cells is None:
            return moved
        gaps = self.blocks[-1].axes
        flat = moved.reshape(*moved.shape[: moved.ndim - len(gaps)], -1)
        return np.ascontiguousarray(flat[..., np.ravel_multi_index(self.cells, [self.axes[i].size for i in gaps])])

    def restore(self, tensor: Array, sizes: Sequence[int]) -> Array:
        """A tensor over the blocks' test points as one over the axes in their order."""
        order = [axis for block in self.blocks for axis in block.axes]
        lead = tensor.ndim - len(self.blocks)
        split = tensor.reshape(*tensor.shape[:lead], *(sizes[axis] for axis in order))
        return np.transpose(split, [*range(lead), *(lead + int(i) for i in np.argsort(order))])


def observations(axes: Any, Y: ArrayLike, mask: ArrayLike | None) -> tuple[list[Array], Array, Array]:
    """Axes, values and where they are observed; ValueError where they do not fit together."""
    if isinstance(axes, np.ndarray) and axes.ndim == 1 and axes.dtype != object:
        axes = [axes]
    try:
        axes = list(axes)
    except TypeError:
        raise ValueError(f"'axes' must be a list of vectors, one an axis, got {type(axes).__name__}.") from None
    if not axes:
        raise ValueError("'axes' is empty; pass a vector of points for each axis of 'Y'.")
    axes = [_axes.axis_points(x, f"axes[{i}]") for i, x in enumerate(axes)]
    shape = tuple(x.size for x in axes)
    try:
        y = np.array(Y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"'Y' must hold real numbers: {error}") from None
    if y.shape != shape:
        hint = f"; pass Y.reshape{shape}" if y.size == math.prod(shape) else ""
        raise ValueError(f"'Y' has shape {y.shape}, the axes span {shape}{hint}.")
    if np.isinf(y).any():
        raise ValueError("'Y' contains infinity; put NaN, which is a missing cell, in its place.")
    observed = ~np.isnan(y)
    if mask is not None:
        given = np.asarray(mask)
        if given.dtype != bool:
            raise ValueError(
                f"'mask' must be boolean, True where observed, got dtype {given.dtype}; pass mask.astype(bool)."
            )
        if given.shape != shape:
            raise ValueError(f"'mask' has shape {given.shape}, 'Y' has {shape}; pass one entry a cell.")
        observed &= given
    if not observed.any():
        raise ValueError(
            "all cells are missing: 'Y' is NaN or 'mask' is False everywhere; at least one must be observed."
        )
    y[~observed] = 0.0
    return axes, y, observed


def noise_variances(noise: Any, shape: tuple[int, ...], observed: Array) -> tuple[list[Array] | None, Array | None]:
    """The given noise as vectors along the axes, or as a grid; checked to be positive where it matters."""

    def positive(value: Any, name: str, where: Array | None = None) -> Array:
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"'{name}' must hold variances: {error}") from None
        kept = array if where is None or array.shape != where.shape else array[where]
        if not (kept > 0).all() or not np.isfinite(kept).all():
            raise ValueError(
                f"'{name}' must be variances, positive and finite, got {kept.min():.6g} at least; without noise, pass "
                f"1e-8 of the data's variance."
            )
        return array

    if isinstance(noise, tuple):
        if len(noise) != len(shape):
            raise ValueError(f"'noise' is a tuple of {len(noise)} vectors, the grid has {len(shape)} axes.")
        scales = []
        for i, (part, n) in enumerate(zip(noise, shape, strict=True)):
            vector = positive(part, f"noise[{i}]")
            if vector.shape not in ((), (n,)):
                raise ValueError(f"'noise[{i}]' must be a number or have shape ({n},), got {vector.shape}.")
            scales.append(np.broadcast_to(vector, (n,)))
        return scales, None
    grid = positive(noise, "noise", observed)
    if grid.shape == ():
        return [np.full(n, grid if i == 0 else 1.0) for i, n in enumerate(shape)], None
    if grid.shape != shape:
        raise ValueError(
            f"'noise' must be a number, a tuple of vectors, or have the shape {shape} of 'Y', got {grid.shape}."
        )
    return None, np.where(observed, grid, grid[observed].min())


def problem(axes: list[Array], y: Array, observed: Array, noise: Any, dense_limit: int) -> Problem:
    """Leave out slices without a single observation, and gather the axes with gaps into one if its cells are few."""
    shape = y.shape
    scales, grid = (None, None) if noise is None else noise_variances(noise, shape, observed)
    variance = float(np.var(y[observed])) or 1.0
    count = int(observed.sum())
    whole, kept = axes, [np.arange(n) for n in shape]
    if count < y.size:
        others = [tuple(j for j in range(y.ndim) if j != i) for i in range(y.ndim)]
        kept = [np.flatnonzero(observed.any(axis=axis)) for axis in others]
        index = np.ix_(*kept)
        y, observed = y[index], observed[index]
        axes = [x[keep] for x, keep in zip(axes, kept, strict=True)]
        scales = None if scales is None else [part[keep] for part, keep in zip(scales, kept, strict=True)]
        grid = None if grid is None else grid[index]

    def varies(tensor: Array, axis: int) -> bool:
        return bool((tensor != tensor.take([0], axis=axis)).any())

    gaps = [i for i in range(y.ndim) if varies(observed, i) or (grid is not None and varies(grid, i))]
    # gaps must not hide that an axis is evenly spaced
    uneven = [
        x.size < full.size and _axes.step(full) is not None and _axes.step(x) is None
        for x, full in zip(axes, whole, strict=True)
    ]
    singles = [Block([i], [whole[i]], [kept[i]]) if uneven[i] else Block([i], [x]) for i, x in enumerate(axes)]
    if not gaps:
        # a grid of noise that does not vary is a number
        scales = (
            [np.full(n, grid.flat[0] if i == 0 else 1.0) for i, n in enumerate(y.shape)] if grid is not None else scales
        )
        return Problem(shape, singles, y, None, scales, None, count, variance, axes)
    pattern = observed[tuple(slice(None) if i in gaps else 0 for i in range(y.ndim))]
    cells = np.nonzero(pattern)
    if cells[0].size > dense_limit:
        mask = None if observed.all() else observed
        return Problem(shape, singles, y, mask, scales, grid, count, variance, axes)
    points = [whole[i] if uneven[i] else axes[i] for i in gaps]
    merged = Block(gaps, points, [kept[i][cell] if uneven[i] else cell for i, cell in zip(gaps, cells, strict=True)])
    blocks = [block for block in singles if block.axes[0] not in gaps] + [merged]
    result = Problem(shape, blocks, y, None, None, None, count, variance, axes, cells)
    result.y = result.select(y)
    if scales is not None or grid is not None:
        last = np.ones(merged.size)
        if scales is not None:
            last = last * math.prod(scales[i][cell] for i, cell in zip(gaps, cells, strict=True))
        if grid is not None:
            last = last * grid[tuple(slice(None) if i in gaps else 0 for i in range(grid.ndim))][cells]
        first = [np.ones(b.size) if scales is None else scales[b.axes[0]] for b in blocks[:-1]]
        result.scales = [*first, last]
    return result
