"""`telamon.quant` on arrays of a GPU: products with packed matrices, and these as numbers."""

from __future__ import annotations

import math
from typing import Any

from .. import _quant_shapes as shapes
from . import _quant_kernels as kernels
from ._kron import _cupy, _in_torch
from ._kron_kernels import empty

__all__ = ["quant_dequantize", "quant_matmul"]


def _matrix(where: str, codes: Any, codebooks: Any) -> tuple[Any, Any]:
    """Codes and codebooks as contiguous CuPy arrays, the latter in float32."""
    cupy = _cupy(where)
    codes, codebooks = cupy.asarray(codes), cupy.asarray(codebooks)
    if codes.dtype.name != "uint8" or codebooks.dtype.name not in ("float16", "float32"):
        raise TypeError(
            f"{where}: codes and codebooks have dtypes {codes.dtype} and {codebooks.dtype}; pass uint8 and float16 or "
            "float32"
        )
    return cupy.ascontiguousarray(codes), cupy.ascontiguousarray(cupy.asarray(codebooks, dtype="float32"))


def quant_matmul(x: Any, codes: Any, codebooks: Any, *, bits: int, group_size: int | None = None) -> Any:
    """x W' on the GPU, exact, with the rows of W as packed codes of few bits.

    Up to 16 vectors are multiplied without writing W out; more by blocks of it and cuBLAS.

    Parameters
    ----------
    x : array (..., inputs) of float32
        For torch tensors of float16 or bfloat16 too, which are computed in float32.
    codes : array (rows, ceil(inputs/64) 8 bits) of uint8
        ``QuantizedMatrix.packed``, on the GPU.
    codebooks : array (rows, groups, 2^bits) of float16 or float32
        ``QuantizedMatrix.codebooks``, on the GPU.
    bits : int
        1 to 8.
    group_size : int or None
        Inputs with a codebook of their own; None: all of a row.

    Returns
    -------
    array (..., rows)
        A torch tensor for tensors, with its gradient in x, as `telamon.torch.quant_matmul`; otherwise a CuPy array. Not
        yet computed: it follows on the current stream.

    Raises
    ------
    TypeError
        If an argument is not on the GPU, or of another type than these.
    ValueError
        If shapes do not fit.
    RuntimeError
        If telamon was built without CUDA, cuBLAS is wanted and not installed, or CUDA reports an error.
    """
    where = "telamon.cuda.quant_matmul"
    if _in_torch(where, {"x": x, "codes": codes, "codebooks": codebooks}):
        from .. import torch as adapter

        return adapter.quant_matmul(x, codes, codebooks, bits=bits, group_size=group_size)
    cupy = _cupy(where)
    with cupy.asarray(x).device:
        vectors = cupy.asarray(x)
        if vectors.dtype.name != "float32":
            raise TypeError(f"{where}: x has dtype {vectors.dtype}; pass x.astype(cupy.float32)")
        codes, codebooks = _matrix(where, codes, codebooks)
        inputs, group = shapes.inputs_of(where, vectors.shape), shapes.group_of(where, group_size)
        shapes.check_matrix(where, codes.shape, codebooks.shape, bits, group, inputs)
        batch, rows = vectors.shape[:-1], codes.shape[0]
        out = empty(vectors, (math.prod(batch), rows))
        if math.prod(out.shape):
            flat = cupy.ascontiguousarray(vectors.reshape((-1, inputs)))
            kernels.matmul(codes, codebooks, bits, group, flat, out)
        return out.reshape((*batch, rows))


def quant_dequantize(codes: Any, codebooks: Any, *, bits: int, inputs: int, group_size: int | None = None) -> Any:
    """The matrix (rows, inputs) in float32 that packed codes and codebooks stand for, on the GPU.

    Parameters and errors are those of `quant_matmul`; a torch tensor for tensors, otherwise a CuPy array.
    """
    where = "telamon.cuda.quant_dequantize"
    if _in_torch(where, {"codes": codes, "codebooks": codebooks}):
        from .. import torch as adapter

        return adapter.quant_dequantize(codes, codebooks, bits=bits, inputs=inputs, group_size=group_size)
    with _cupy(where).asarray(codes).device:
        codes, codebooks = _matrix(where, codes, codebooks)
        group = shapes.group_of(where, group_size)
        shapes.check_matrix(where, codes.shape, codebooks.shape, bits, group, inputs)
        out = empty(codebooks, (codes.shape[0], inputs))
        if codes.shape[0]:
            kernels.dequantize(codes, codebooks, bits, group, out)
        return out
