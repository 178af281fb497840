"""The kernels of `telamon.quant` on a GPU, for torch CUDA tensors and CuPy arrays: what `telamon.torch` calls.

Arrays are contiguous: codes packed in uint8, everything else float32. They run on the current stream, without waiting.
"""

from __future__ import annotations

import ctypes
from typing import Any

from .. import _quant_shapes as shapes
from ._kron_kernels import _call, _plain, address, empty
from ._library import is_torch, on_device_of

_pointer, _size, _int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def _in_words(codes: Any) -> Any:
    """The codes at an address that is a multiple of 4, as the kernels read them."""
    if (address(codes) or 0) % 4 == 0:
        return codes
    return codes.clone() if is_torch(codes) else codes.copy()


def _check(where: str, codes: Any, codebooks: Any, bits: int, group: int, inputs: int, *others: Any) -> None:
    """Refuse what would leave the memory."""
    shapes.check_matrix(f"telamon.cuda.{where}", codes.shape, codebooks.shape, bits, group, inputs)
    for a, dtype in ((codes, "uint8"), *((a, "float32") for a in (codebooks, *others))):
        if str(a.dtype).removeprefix("torch.") != dtype:
            raise TypeError(f"telamon.cuda.{where}: an array is of {a.dtype}; pass codes of uint8, others of float32")


def matmul(codes: Any, codebooks: Any, bits: int, group: int, x: Any, out: Any) -> None:
    """As `_core.quant_matmul`: out (batch, rows) = x (batch, inputs) W', exact."""
    codes, codebooks, x = _in_words(_plain(codes)), _plain(codebooks), _plain(x)
    (batch, inputs), rows = x.shape, codes.shape[0]
    _check("quant_matmul", codes, codebooks, bits, group, inputs, x, out)
    if tuple(out.shape) != (batch, rows):
        raise ValueError(f"telamon.cuda.quant_matmul: out is {tuple(out.shape)}; pass ({batch}, {rows})")
    size = _size()
    types = [_size, _size, _size, ctypes.POINTER(_size)]
    _call("quant_matmul_work", types, [rows, inputs, batch, ctypes.byref(size)])
    work = empty(x, (size.value,)) if size.value else None
    types = [_size, _size, _int, _pointer, _pointer, _size, _pointer, _size, _pointer, _pointer, _size, _pointer]
    with on_device_of(x) as stream:
        args = [rows, inputs, bits, address(codes), address(codebooks), group, address(x), batch, address(out)]
        _call("quant_matmul", types, [*args, address(work), size.value, stream])


def dequantize(codes: Any, codebooks: Any, bits: int, group: int, out: Any) -> None:
    """As `_core.quant_dequantize`: out (rows, inputs), the numbers themselves."""
    codes, codebooks = _in_words(_plain(codes)), _plain(codebooks)
    rows, inputs = out.shape
    _check("quant_dequantize", codes, codebooks, bits, group, inputs, out)
    if rows != codes.shape[0]:
        raise ValueError(f"telamon.cuda.quant_dequantize: out has {rows} rows, codes {codes.shape[0]}; pass as many")
    types = [_size, _size, _int, _pointer, _pointer, _size, _pointer, _pointer]
    with on_device_of(codes) as stream:
        args = [rows, inputs, bits, address(codes), address(codebooks), group, address(out), stream]
        _call("quant_dequantize", types, args)
