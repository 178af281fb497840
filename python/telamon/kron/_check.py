"""What the functions of telamon.kron ask of their arguments, and what they say where it is not so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[Any]


def as_float(where: str, name: str, value: ArrayLike) -> FloatArray:
    """A float32 or float64 array."""
    array = np.asarray(value)
    if array.dtype not in (np.float32, np.float64):
        hint = f"pass {name}.astype(np.float64), or float32"
        raise TypeError(f"{where}: {name} has dtype {array.dtype}; {hint}")
    return array


def as_vector(where: str, name: str, value: ArrayLike) -> FloatArray:
    """A contiguous vector of at least one finite number."""
    array = as_float(where, name, value)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{where}: {name} has shape {array.shape}; pass a vector of at least one entry")
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: {name} has entries that are NaN or infinite; leave them out")
    return np.ascontiguousarray(array)


def as_number(where: str, name: str, value: Any, *, least: float = 0.0, positive: bool = False) -> float:
    """A finite number that is at least `least`, or above it if positive."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: {name} is {_brief(value)}; pass a number") from None
    if not math.isfinite(number) or number < least or (positive and number == least):
        wanted = f"above {least:g}" if positive else f"of at least {least:g}"
        raise ValueError(f"{where}: {name} is {number}; pass a finite number {wanted}")
    return number


def as_whole(where: str, name: str, value: Any, least: int) -> int:
    """A whole number that is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{where}: {name} is {_brief(value)}; pass a whole number")
    if value < least:
        raise ValueError(f"{where}: {name} is {value}; pass at least {least}")
    return int(value)


def product_text(shape: Sequence[int]) -> str:
    """The shape as it multiplies: 40*31 = 1240."""
    size = math.prod(shape)
    return str(size) if len(shape) == 1 else f"{'*'.join(map(str, shape))} = {size}"


def as_grid(where: str, name: str, value: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """An array (..., n_1, ..., n_d)."""
    array = as_float(where, name, value)
    d = len(shape)
    if array.ndim >= d and array.shape[array.ndim - d :] == shape:
        return array
    size = math.prod(shape)
    listed = ", ".join(map(str, shape))
    if array.size and array.size % size == 0 and array.ndim and array.shape[-1] == size:
        lead = "".join(f"{n}, " for n in array.shape[:-1])
        hint = f"pass {name}.reshape({lead}{listed})"
    else:
        hint = f"pass an array ({listed}), or with batches in front (..., {listed})"
    entries = f"{array.size} entries" if array.ndim == 1 else f"shape {array.shape}"
    raise ValueError(f"{where}: {name} has {entries}, the factors span {product_text(shape)}; {hint}")


def as_output(where: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FloatArray:
    """The contiguous array to write: `out`, or a new one where it is None."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{where}: out is a {type(out).__name__}; pass a NumPy array")
    if out.dtype != dtype:
        raise TypeError(f"{where}: out has dtype {out.dtype}; pass an array of dtype {dtype}")
    if out.shape != shape:
        raise ValueError(f"{where}: out has shape {out.shape}; pass an array of shape {shape}")
    if not out.flags.writeable or not out.flags.c_contiguous:
        raise ValueError(f"{where}: out is read-only or not C-contiguous; pass np.empty({shape}, np.{dtype})")
    return out


def contiguous(array: FloatArray, dtype: np.dtype[Any]) -> FloatArray:
    """The array in C order and this dtype: itself where it is so already."""
    return np.ascontiguousarray(array, dtype)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"
