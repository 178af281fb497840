"""The kernels of `telamon.kron` on a GPU, for torch CUDA tensors and CuPy arrays: what `telamon.torch` calls.

They are those of `telamon._core`, on the current stream and without waiting: grids are contiguous, (B, n_1, ..., n_d,
1), noise is a 0-dimensional array, and sums stay on the device. Products and eigenvectors are those of cuBLAS and
cuSOLVER, which are loaded when first wanted.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import _library
from ._library import is_torch, on_device_of

_pointer, _size, _int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_sizes, _pointers = ctypes.POINTER(_size), ctypes.POINTER(_pointer)
_SUFFIX = {"float32": "f32", "float64": "f64"}
_WORK = 1 << 25  # numbers that a Gram matrix may set in rows at a time, 256 MiB in float64

# csrc/cuda/blas.cuh
_NO_CUBLAS, _NO_CUSOLVER, _FAILED = 20001, 20002, {20100: "cuBLAS", 20200: "cuSOLVER"}
_MISSING = {
    _NO_CUBLAS: "cuBLAS was not found; pip install nvidia-cublas, or nvidia-cublas-cu12 for CUDA 12",
    _NO_CUSOLVER: "cuSOLVER was not found; pip install nvidia-cusolver, or nvidia-cusolver-cu12 for CUDA 12",
}


# ---- arrays of two libraries


def address(a: Any) -> int | None:
    if a is None:
        return None
    pointer: int = a.data_ptr() if is_torch(a) else a.data.ptr
    return pointer


def _suffix(a: Any) -> str:
    return _SUFFIX[str(a.dtype).removeprefix("torch.")]


def _strides(a: Any) -> tuple[int, ...]:
    """In elements."""
    return tuple(a.stride()) if is_torch(a) else tuple(s // a.itemsize for s in a.strides)


def empty(like: Any, shape: Sequence[int], dtype: str | None = None) -> Any:
    """A new array of the same library, device and, unless it is named, type."""
    if is_torch(like):
        import torch

        return like.new_empty(tuple(shape), dtype=like.dtype if dtype is None else getattr(torch, dtype))
    import cupy

    return cupy.empty(tuple(shape), dtype=like.dtype if dtype is None else dtype)


def _plain(a: Any) -> Any:
    """Without a gradient or a pending change of sign."""
    return a.detach().resolve_neg() if is_torch(a) else a


# ---- calls


def _preload() -> None:
    """Load cuBLAS and cuSOLVER where NVIDIA's wheels have put them, so that they are found by their names."""
    try:
        wheels: Any = importlib.import_module("nvidia")  # a namespace of packages
    except ModuleNotFoundError:
        return
    # In the order in which they need each other.
    for stem in ("nvJitLink", "cublasLt", "cublas", "cusparse", "cusolver"):
        for place in wheels.__path__:
            for folder in ("cu13", stem.lower(), "cublas"):
                for path in sorted(Path(place, folder, "lib").glob(f"lib{stem}.so.*")):
                    with contextlib.suppress(OSError):
                        ctypes.CDLL(str(path), mode=os.RTLD_GLOBAL | os.RTLD_NOW)


def _call(name: str, argtypes: Sequence[Any], args: Sequence[Any]) -> None:
    function = _library.function(f"telamon_cuda_{name}", *argtypes)
    code = function(*args)
    if code in _MISSING:
        _preload()
        code = function(*args)
    if code in _MISSING:
        raise RuntimeError(f"telamon.cuda.{name}: {_MISSING[code]}")
    for first, which in _FAILED.items():
        if first <= code < first + 100:
            raise RuntimeError(f"telamon.cuda.{name}: {which} failed with status {code - first}")
    _library.check(code, name)


def _array_of(ctype: Any, numbers: Sequence[Any]) -> Any:
    return (ctype * len(numbers))(*numbers)


# ---- products


def _axis(a: Any, x: Any, axis: int, out: Any) -> None:
    left, right = math.prod(x.shape[: axis + 1]), math.prod(x.shape[axis + 2 :])
    (m, n), (row, column) = a.shape, _strides(a)
    types = [_pointer, *[_size] * 4, _pointer, _size, _size, _pointer, _pointer]
    with on_device_of(x) as stream:
        args = [address(a), m, n, row, column, address(x), left, right, address(out), stream]
        _call(f"kron_axis_{_suffix(x)}", types, args)


def matmul(factors: Sequence[Any], x: Any, out: Any) -> None:
    """As `_core.kron_matmul`. The order of the axes is the one of the fewest operations."""
    steps = [(axis, _plain(a)) for axis, a in enumerate(factors) if a is not None]
    # Of two neighbours in a sequence, the one with the smaller 1/n - 1/m is cheaper first.
    steps.sort(key=lambda step: 1 / step[1].shape[1] - 1 / step[1].shape[0])
    x = _plain(x)
    if not steps:
        out[...] = x
    for i, (axis, a) in enumerate(steps):
        shape = list(x.shape)
        shape[axis + 1] = a.shape[0]
        to = out if i == len(steps) - 1 else empty(x, shape)
        if tuple(to.shape) != tuple(shape):
            raise ValueError(f"telamon.cuda.kron_matmul: out is {tuple(out.shape)}; pass {tuple(shape)}")
        _axis(a, x, axis, to)
        x = to


def gram(x: Any, y: Any, scales: Sequence[Any] | None, axis: int, out: Any) -> None:
    """As `_core.kron_gram`."""
    x, y = _plain(x), None if y is None else _plain(y)
    sizes = x.shape[1:-1]
    m, n = sizes[axis], out.shape[1]
    rows = math.prod(x.shape) // m
    if tuple(out.shape) != (m, n) or (x if y is None else y).shape[axis + 1] != n or x.shape[-1] != 1:
        raise ValueError(f"telamon.cuda.kron_gram: out is {tuple(out.shape)}, x {tuple(x.shape)}; they do not fit")
    work = empty(x, (max(m + n, min(rows * (m + n), _WORK)),))
    values = None if scales is None else _array_of(_pointer, [address(_plain(s)) for s in scales])
    types = [_int, _sizes, _int, _size, _pointer, _pointer, _size, _pointers, _pointer, _size, _pointer, _pointer]
    with on_device_of(x) as stream:
        args = [len(sizes), _array_of(_size, sizes), axis, x.shape[0], address(x), address(y), n, values]
        _call(f"kron_gram_{_suffix(x)}", types, [*args, address(work), work.shape[0], address(out), stream])


# ---- the spectrum


def spectral(values: Sequence[Any], noise: Any, b: Any, out: Any, weights: Sequence[Any] | None) -> Any:
    """As `_core.kron_spectral`, but for the three sums, which are an array on the device."""
    values, noise, b = [_plain(v) for v in values], _plain(noise), None if b is None else _plain(b)
    sizes = [v.shape[0] for v in values]
    if b is not None and tuple(b.shape[1:]) != (*sizes, 1):
        raise ValueError(
            f"telamon.cuda.kron_spectral: b is {tuple(b.shape)}; pass (B, {', '.join(map(str, sizes))}, 1)"
        )
    if any(a.dtype != values[0].dtype for a in (*values, noise)):
        raise TypeError(f"telamon.cuda.kron_spectral: noise is {noise.dtype}; pass {values[0].dtype}")
    size = _size()
    _call("kron_spectral_work", [_size, _sizes], [max(sizes), ctypes.byref(size)])
    work, sums = (empty(values[0], (length,), "float64") for length in (size.value, 3))
    to = None if weights is None else _array_of(_pointer, [address(w) for w in weights])
    types = [
        _int,
        _sizes,
        _pointers,
        _pointer,
        _size,
        _pointer,
        _pointer,
        _pointers,
        _pointer,
        _pointer,
        _size,
        _pointer,
    ]
    with on_device_of(values[0]) as stream:
        args = [len(sizes), _array_of(_size, sizes), _array_of(_pointer, [address(v) for v in values]), address(noise)]
        args += [0 if b is None else b.shape[0], address(b), address(out), to, address(sums), address(work), size.value]
        _call(f"kron_spectral_{_suffix(values[0])}", types, [*args, stream])
    return sums


# ---- eigenvectors


def eigh(a: Any) -> tuple[Any, Any]:
    """The eigenvalues, ascending, and the eigenvectors in columns; NaN where the algorithm did not converge."""
    n, suffix = a.shape[0], _suffix(a)
    w, q, info = empty(a, (n,)), empty(a, (n, n)), empty(a, (1,), "int32")
    q[...] = _plain(a)
    on_device, on_host = _size(), _size()
    with on_device_of(a) as stream:
        sizes = [n, ctypes.byref(on_device), ctypes.byref(on_host), stream]
        _call(f"kron_eigh_work_{suffix}", [_size, _sizes, _sizes, _pointer], sizes)
        work = empty(a, (max(on_device.value, 1),), "uint8")
        host = ctypes.create_string_buffer(max(on_host.value, 1))
        types = [_size, *[_pointer] * 4, _size, _pointer, _size, _pointer]
        args = [n, address(q), address(w), address(info), address(work), on_device.value]
        _call(f"kron_eigh_{suffix}", types, [*args, ctypes.addressof(host), on_host.value, stream])
    vectors = q.T  # cuSOLVER writes column by column
    return w, vectors.contiguous() if is_torch(q) else vectors
