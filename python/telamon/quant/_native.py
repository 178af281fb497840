"""The compiled kernels of this core, by their names without the prefix, with their outputs made here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core

Array = NDArray[Any]

TILE = 64  # inputs whose codes are packed together


def row_bytes(inputs: int, bits: int) -> int:
    """The bytes of a packed row."""
    return (inputs + TILE - 1) // TILE * 8 * bits


def nearest(weights: Array, codebooks: Array) -> Array:
    codes = np.empty(weights.shape, np.uint8)
    _core.quant_nearest(weights, codebooks, codes)
    return codes


def kmeans(weights: Array, importance: Array | None, levels: int) -> tuple[Array, Array]:
    codebooks, codes = np.empty((len(weights), levels), np.float32), np.empty(weights.shape, np.uint8)
    _core.quant_kmeans(weights, importance, codebooks, codes)
    return codebooks, codes


def gptq(weights: Array, u: Array, order: Array, codebooks: Array) -> Array:
    codes = np.empty(weights.shape, np.uint8)
    _core.quant_gptq(weights, u, order, codebooks, codes)
    return codes


def lnq(
    weights: Array, h: Array, codebooks: Array, codes: Array, iterations: int, cycles: int, half: bool
) -> tuple[Array, Array]:
    """The trace and the rows' objectives; codebooks and codes are changed in place."""
    trace, objectives = np.empty(1 + iterations * (1 + cycles)), np.empty(len(weights))
    _core.quant_lnq(weights, h, codebooks, codes, iterations, cycles, half, trace, objectives)
    return trace, objectives


def objective(weights: Array, h: Array, codebooks: Array, codes: Array) -> Array:
    objectives = np.empty(len(weights))
    _core.quant_objective(weights, h, codebooks, codes, objectives)
    return objectives


def pack(codes: Array, bits: int) -> Array:
    packed = np.empty((len(codes), row_bytes(codes.shape[1], bits)), np.uint8)
    _core.quant_pack(codes, bits, packed)
    return packed


def unpack(packed: Array, bits: int, inputs: int) -> Array:
    codes = np.empty((len(packed), inputs), np.uint8)
    _core.quant_unpack(packed, bits, codes)
    return codes


def dequantize(packed: Array, bits: int, codebooks: Array, group: int, inputs: int) -> Array:
    out = np.empty((len(packed), inputs), np.float32)
    _core.quant_dequantize(packed, bits, codebooks, group, out)
    return out


def matmul(packed: Array, bits: int, codebooks: Array, group: int, x: Array, precision: str) -> Array:
    out = np.empty((len(x), len(packed)), np.float32)
    _core.quant_matmul(packed, bits, codebooks, group, x, out, precision)
    return out


def fwht(x: Array, scale: float) -> None:
    _core.quant_fwht(x, scale)
