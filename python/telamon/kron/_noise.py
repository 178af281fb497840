"""What KroneckerSystem takes for noise and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._check import FloatArray, as_float, as_number, product_text

__all__ = ["Noise", "as_mask", "as_noise"]

Noise = float | tuple[FloatArray, ...] | FloatArray


def as_mask(where: str, mask: ArrayLike | None, grid: tuple[int, ...]) -> FloatArray | None:
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise TypeError(f"{where}: mask has dtype {array.dtype}; pass booleans, True where observed")
    if array.shape != grid:
        raise ValueError(f"{where}: mask has shape {array.shape}, the factors span {product_text(grid)}; pass {grid}")
    if not array.any():
        raise ValueError(f"{where}: mask is False everywhere; pass True where observed")
    return None if array.all() else np.ascontiguousarray(array)


def as_noise(where: str, noise: Any, grid: tuple[int, ...], mask: FloatArray | None) -> Noise:
    if isinstance(noise, tuple):
        vectors = tuple(as_float(where, f"noise[{i}]", part) for i, part in enumerate(noise))
        if tuple(vector.shape for vector in vectors) != tuple((n,) for n in grid):
            shapes = ", ".join(str(vector.shape) for vector in vectors)
            raise ValueError(f"{where}: noise has vectors of shapes {shapes}; pass one for each axis of {grid}")
        _require_positive(where, *vectors)
        return vectors
    if isinstance(noise, list):
        raise TypeError(f"{where}: noise is a list; pass a tuple of vectors, or an array like the grid")
    if np.ndim(noise) == 0:
        return as_number(where, "noise", noise, positive=True)
    array = as_float(where, "noise", noise)
    if array.shape != grid:
        raise ValueError(
            f"{where}: noise has shape {array.shape}, the factors span {product_text(grid)}; pass a number, "
            f"an array {grid}, or a tuple of a vector for each axis"
        )
    seen = array if mask is None else array[mask]
    _require_positive(where, seen)
    if seen.min() == seen.max():
        return float(seen.flat[0])
    return np.ascontiguousarray(array if mask is None else np.where(mask, array, array.dtype.type(1)))


def _require_positive(where: str, *arrays: FloatArray) -> None:
    for array in arrays:
        if not (np.isfinite(array).all() and (array > 0).all()):
            worst = array.min() if np.isfinite(array).all() else "not finite"
            raise ValueError(f"{where}: noise is {worst} somewhere; pass variances, finite and positive")
