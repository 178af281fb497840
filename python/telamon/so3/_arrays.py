"""How the functions of telamon.so3 bring their arguments to what the kernels take: arrays (samples, components,
channels) of one dtype, as views wherever strides allow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._so3_shapes import degree_scales

FloatArray = NDArray[Any]


def as_float(where: str, name: str, value: ArrayLike) -> FloatArray:
    """A float32 or float64 array."""
    array = np.asarray(value)
    if array.dtype not in (np.float32, np.float64):
        hint = f"pass {name}.astype(np.float64), or float32"
        raise TypeError(f"{where}: {name} has dtype {array.dtype}; {hint}")
    return array


def as_features(where: str, name: str, value: ArrayLike, layout: str) -> FloatArray:
    """An array (..., components, channels)."""
    array = as_float(where, name, value)
    if array.ndim < 2:
        shape = "(..., components, channels)" if layout == "channels_last" else "(..., channels, components)"
        raise ValueError(f"{where}: {name} has shape {array.shape}; pass an array {shape}")
    return array if layout == "channels_last" else array.swapaxes(-1, -2)


def broadcast_leading(where: str, **shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of the leading dimensions."""
    first, *others = shapes.values()
    if all(shape == first for shape in others):  # the usual case, faster than NumPy decides it
        return first
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        given = " and ".join(f"{name} has {shape}" for name, shape in shapes.items())
        raise ValueError(f"{where}: leading dimensions do not broadcast: {given}") from None


def flat(array: FloatArray, lead: tuple[int, ...], channels: int, dtype: np.dtype[Any]) -> FloatArray:
    """The array as (samples, components, channels), repeated by zero strides."""
    if array.dtype != dtype:
        array = array.astype(dtype)
    shape = (*lead, array.shape[-2], channels)
    if array.shape != shape:
        array = np.broadcast_to(array, shape)
    if array.ndim != 3:
        array = array.reshape(math.prod(lead), *shape[-2:])
    return aligned(array)


def aligned(array: FloatArray) -> FloatArray:
    """The array itself where its items lie on multiples of their size, as in a field of a record they may not."""
    size = array.itemsize
    return array if array.flags.aligned and all(s % size == 0 for s in array.strides) else array.copy()


class Output:
    """The array that a function returns: `out` where it was given, else a new one; `flat` is what the kernel writes.

    Where `out` cannot be written in place, since it overlaps an input, has another dtype or cannot be flattened without
    a copy, the kernel writes elsewhere and `finish` copies.
    """

    def __init__(
        self,
        where: str,
        out: Any,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        layout: str,
        inputs: list[FloatArray],
        name: str = "out",
    ) -> None:
        last = layout == "channels_last"
        wanted = shape if last else (*shape[:-2], shape[-1], shape[-2])
        self.given: FloatArray | None = None
        if out is not None:
            if not isinstance(out, np.ndarray):
                raise TypeError(f"{where}: {name} is a {type(out).__name__}; pass a NumPy array")
            if out.shape != wanted:
                raise ValueError(f"{where}: {name} has shape {out.shape}; pass an array of shape {wanted}")
            if not np.can_cast(dtype, out.dtype, "same_kind"):
                raise TypeError(f"{where}: {name} has dtype {out.dtype}; pass an array of dtype {dtype}")
            if not out.flags.writeable:
                raise ValueError(f"{where}: {name} is read-only; pass an array that may be written")
            self.given = out
        flat_shape = (math.prod(shape[:-2]), *shape[-2:])
        direct = self.given
        if direct is not None:
            view = direct if last else direct.swapaxes(-1, -2)
            reshaped = view.reshape(flat_shape)
            fits = out.dtype == dtype and np.shares_memory(reshaped, direct) and aligned(reshaped) is reshaped
            if fits and not any(np.may_share_memory(direct, a) for a in inputs):
                self.array, self.flat = direct, reshaped
                return
        self.array = np.empty(wanted, dtype)
        view = self.array if last else self.array.swapaxes(-1, -2)
        self.flat = view if view.ndim == 3 else view.reshape(flat_shape)  # a view: only the last two axes are exchanged

    def finish(self) -> FloatArray:
        if self.given is None:
            return self.array
        if self.given is not self.array:
            self.given[...] = self.array
        return self.given


def component_scales(lmax: int, normalization: str, dtype: np.dtype[Any]) -> FloatArray | None:
    """Y in this normalisation over Y in "component" normalisation, degree by degree, or None where all are 1."""
    scales = degree_scales(lmax, normalization)
    return None if scales is None else np.array(scales, dtype)


def spread(per_degree: FloatArray) -> FloatArray:
    """Values per degree (..., lmax + 1, C) as values per component (..., (lmax + 1)^2, C)."""
    lmax = per_degree.shape[-2] - 1
    return np.repeat(per_degree, 2 * np.arange(lmax + 1) + 1, axis=-2)
