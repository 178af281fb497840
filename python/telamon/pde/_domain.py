"""The grid of a box, and functions, numbers or arrays sampled on it. Internal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]


def _axis(value: ArrayLike, name: str) -> Array:
    """A vector of increasing finite float64."""
    try:
        x = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"'{name}' must hold real numbers: {error}") from None
    if x.ndim != 1 or x.size < 2:
        raise ValueError(f"'{name}' must be a vector of two points or more, got shape {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError(f"'{name}' contains NaN or infinity; drop these points.")
    if not (np.diff(x) > 0).all():
        raise ValueError(f"'{name}' must increase without duplicates; sort it, for example by np.unique.")
    return x


class Domain:
    """A box with a grid: increasing axes, evenly spaced or not."""

    def __init__(self, axes: Sequence[Array]) -> None:
        self.axes = list(axes)
        self.dimension = len(self.axes)
        self.shape = tuple(x.size for x in self.axes)

    @classmethod
    def build(cls, axes: Any, domain: Any, shape: Any, dimension: int) -> Domain:
        """From axes, or from intervals and numbers of points."""
        if (axes is None) == (domain is None):
            raise ValueError("pass either 'axes' or 'domain' with 'shape'.")
        if axes is not None:
            if shape is not None:
                raise ValueError("'shape' goes with 'domain'; 'axes' already say how many points there are.")
            if isinstance(axes, np.ndarray) and axes.ndim == 1 and axes.dtype != object:
                axes = [axes]
            if len(axes) != dimension:
                raise ValueError(f"'axes' must have {dimension} entries, as the operator has, got {len(axes)}.")
            return cls([_axis(x, f"axes[{i}]") for i, x in enumerate(axes)])
        intervals = np.asarray(domain, dtype=np.float64)
        if intervals.shape == (2,):
            intervals = np.tile(intervals, (dimension, 1))
        if intervals.shape != (dimension, 2) or not (intervals[:, 0] < intervals[:, 1]).all():
            raise ValueError(
                f"'domain' must be one interval (low, high) or {dimension} of them, with low < high, got {domain!r}."
            )
        if shape is None:
            raise ValueError("'shape' is missing: the number of grid points of each axis.")
        counts = (
            np.broadcast_to(np.asarray(shape), (dimension,))
            if np.ndim(shape) < 2 and np.size(shape) in (1, dimension)
            else None
        )
        if counts is None or counts.dtype.kind not in "iu" or (counts < 2).any():
            raise ValueError(f"'shape' must be {dimension} integers >= 2, got {shape!r}.")
        return cls([np.linspace(low, high, int(n)) for (low, high), n in zip(intervals, counts, strict=True)])


def mesh(axes: Sequence[Array]) -> list[Array]:
    """The coordinates, each of its axis' length and 1 along the others."""
    d = len(axes)
    return [x.reshape([-1 if j == i else 1 for j in range(d)]) for i, x in enumerate(axes)]


def sample(value: Any, axes: Sequence[Array], name: str, face: int | None = None) -> Array:
    """`value` on the grid of `axes`; across `face`, the axis with one point, the result has no such axis."""
    shape = tuple(x.size for i, x in enumerate(axes) if i != face)
    if callable(value):
        full = tuple(x.size for x in axes)
        try:
            array = np.broadcast_to(np.asarray(value(*mesh(axes)), dtype=np.float64), full).reshape(shape)
        except (TypeError, ValueError) as error:
            raise ValueError(f"'{name}' must be a function of {len(axes)} coordinate arrays: {error}") from error
    else:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"'{name}' must hold real numbers: {error}") from None
        if array.shape != shape and array.ndim:
            raise ValueError(f"'{name}' must have shape {shape}, got {array.shape}.")
        array = np.broadcast_to(array, shape)
    if not np.isfinite(array).all():
        raise ValueError(f"'{name}' contains NaN or infinity.")
    return array
