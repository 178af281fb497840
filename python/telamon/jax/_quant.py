"""`telamon.quant`'s products on JAX arrays; documented in `telamon.jax`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .. import _quant_shapes as shapes

__all__ = ["quant_dequantize", "quant_matmul"]


def _codes(packed: Any, bits: int, inputs: int) -> Any:
    """The codes (rows, inputs) as integers: bytes of a part hold inputs that lie as far apart as it has bytes."""
    rows, tiles = packed.shape[0], packed.shape[1] // (8 * bits)
    rest = packed.reshape(rows, tiles, 8 * bits)
    codes: Any = jnp.zeros((rows, tiles, shapes.TILE), jnp.uint8)
    for part, low in shapes.parts(bits):
        size = 8 * part
        shifts = jnp.arange(0, 8, part, dtype=jnp.uint8)[:, None]
        fields = (rest[:, :, None, :size] >> shifts) & jnp.uint8((1 << part) - 1)
        codes = codes | (fields.reshape(rows, tiles, shapes.TILE) << jnp.uint8(low))
        rest = rest[:, :, size:]
    return codes.reshape(rows, tiles * shapes.TILE)[:, :inputs].astype(jnp.int32)


def _matrix(where: str, codes: Any, codebooks: Any, bits: int, group_size: int | None, inputs: int) -> Any:
    codes, codebooks = jnp.asarray(codes), jnp.asarray(codebooks)
    if codes.dtype != jnp.uint8 or not jnp.issubdtype(codebooks.dtype, jnp.floating):
        raise TypeError(
            f"{where}: codes and codebooks have dtypes {codes.dtype} and {codebooks.dtype}; pass uint8 and floating "
            "point"
        )
    group = shapes.group_of(where, group_size)
    shapes.check_matrix(where, codes.shape, codebooks.shape, bits, group, inputs)
    rows, groups, levels = codebooks.shape
    # A row's codebooks one after the other.
    offsets = jnp.arange(inputs, dtype=jnp.int32) // (group or inputs) * levels
    flat = codebooks.astype(jnp.float32).reshape(rows, groups * levels)
    return jnp.take_along_axis(flat, _codes(codes, bits, inputs) + offsets, axis=1, mode="promise_in_bounds")


def quant_matmul(x: Any, codes: Any, codebooks: Any, *, bits: int, group_size: int | None = None) -> Any:
    """x W', with the rows of W as packed codes of few bits. Differentiable to every order in x and in codebooks.

    By XLA alone, under jit, grad and vmap: codes are unpacked by shifts and looked up, so that W is there in float32
    while it is multiplied. What is gained is memory between products, not their speed.

    Parameters
    ----------
    x : array_like (..., inputs) of floating point
        Computed in float32, and rounded back.
    codes : array_like (rows, ceil(inputs/64) 8 bits) of uint8
        ``QuantizedMatrix.packed``.
    codebooks : array_like (rows, groups, 2^bits) of floating point
        ``QuantizedMatrix.codebooks``.
    bits : int
        1 to 8.
    group_size : int or None
        Inputs with a codebook of their own; None: all of a row.

    Returns
    -------
    jax.Array (..., rows)
        Of x's dtype.

    Raises
    ------
    TypeError
        If an argument is of another type than these.
    ValueError
        If shapes do not fit.
    """
    where = "telamon.jax.quant_matmul"
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype == jnp.float64:
        raise TypeError(f"{where}: x has dtype {x.dtype}; pass x.astype(jnp.float32)")
    w = _matrix(where, codes, codebooks, bits, group_size, shapes.inputs_of(where, x.shape))
    # Products in float32 on every device, not in fewer bits.
    out = jnp.matmul(x.astype(jnp.float32), w.T, precision=jax.lax.Precision.HIGHEST)
    return out.astype(x.dtype)


def quant_dequantize(codes: Any, codebooks: Any, *, bits: int, inputs: int, group_size: int | None = None) -> Any:
    """The matrix (rows, inputs) in float32 that packed codes and codebooks stand for.

    Parameters and errors are those of `quant_matmul`.
    """
    return _matrix("telamon.jax.quant_dequantize", codes, codebooks, bits, group_size, inputs)
