"""What the functions of telamon.quant ask of their arguments, and what they say where it is not so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

# Sums of products in float32 in any order leave H and H' apart by about sqrt(tokens) eps; more is another matrix.
SYMMETRIC = 1e-4


def as_whole(where: str, name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{where}: {name} is {brief(value)}; pass a whole number")
    if value < least or (most is not None and value > most):
        wanted = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{where}: {name} is {value}; pass {wanted}")
    return int(value)


def as_number(where: str, name: str, value: Any, least: float, most: float = math.inf) -> float:
    """A finite number in [least, most]."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: {name} is {brief(value)}; pass a number") from None
    if not math.isfinite(number) or not least <= number <= most:
        wanted = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise ValueError(f"{where}: {name} is {number}; pass a number {wanted}")
    return number


def as_choice(where: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """One of the names."""
    if value not in choices:
        listed = ", ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{where}: {name} is {brief(value)}; pass one of {listed}")
    return str(value)


def as_matrix(where: str, name: str, value: ArrayLike) -> Array:
    """A C-contiguous float32 matrix (rows, inputs) of finite numbers, none of its sides 0."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{where}: {name} has dtype {array.dtype}; pass an array of real numbers")
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{where}: {name} has shape {array.shape}; pass a matrix (rows, inputs), one row an output")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(array, np.float32)
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"{where}: {name}[{row}, {column}] is {array[row, column]}; {np.count_nonzero(~finite)} entries are NaN or "
            "infinite in float32; mend the weights before they are quantised"
        )
    return matrix


def as_hessian(where: str, name: str, value: ArrayLike, inputs: int) -> Array:
    """A C-contiguous float64 matrix (inputs, inputs), symmetric to the bit, its diagonal not negative."""
    h = np.asarray(value)
    if h.dtype.kind not in "fiu":
        raise TypeError(f"{where}: {name} has dtype {h.dtype}; pass an array of real numbers")
    if h.shape != (inputs, inputs):
        raise ValueError(f"{where}: {name} has shape {h.shape}, W has {inputs} inputs; pass X'X ({inputs}, {inputs})")
    h = np.ascontiguousarray(h, np.float64)
    if not np.isfinite(h).all():
        i, j = np.argwhere(~np.isfinite(h))[0]
        raise ValueError(
            f"{where}: {name}[{i}, {j}] is {h[i, j]}; calibration inputs held NaN or infinities, or their squares "
            "overflowed; leave such tokens out, or accumulate by HessianAccumulator, which refuses them"
        )
    diagonal = h.diagonal()
    if (diagonal < 0).any():
        i = int(np.argmin(diagonal))
        raise ValueError(f"{where}: {name}[{i}, {i}] is {diagonal[i]:.3g}; pass X'X, whose diagonal is not negative")
    if np.array_equal(h, h.T):
        return h
    largest, apart = float(np.abs(h).max()), float(np.abs(h - h.T).max())
    if apart > SYMMETRIC * largest:
        raise ValueError(
            f"{where}: {name} is not symmetric: |H - H'| reaches {apart:.3g} where |H| reaches {largest:.3g}; pass X'X "
            "or (H + H')/2 if the difference is meant to be rounding"
        )
    return np.ascontiguousarray((h + h.T) / 2)


def as_tokens(where: str, name: str, value: ArrayLike) -> Array:
    """Inputs of a layer as (tokens, inputs), float32 or float64, from (..., inputs)."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{where}: {name} has dtype {array.dtype}; pass an array of real numbers")
    if array.ndim < 1:
        raise ValueError(f"{where}: {name} is a number; pass an array (..., inputs)")
    dtype = np.float64 if array.dtype == np.float64 else np.float32
    return np.ascontiguousarray(array.reshape(-1, array.shape[-1]), dtype)


def brief(value: Any) -> str:
    """The value's text, or its type where that is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"
