"""The functions of `telamon.special` on arrays of a GPU."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._derivatives import BINARY
from . import _library
from ._library import is_torch, on_device_of

if TYPE_CHECKING:
    import torch

__all__ = list(BINARY)

_SUFFIX = {"float32": "f32", "float64": "f64"}


def _run(
    name: str, dtype: str, v: tuple[int, int], x: tuple[int, int], outs: Sequence[int], n: int, stream: int
) -> None:
    """Launch telamon_cuda_<name>; v and x are an address and a step in elements, 0 for one value or 1."""
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    types = [pointer, size, pointer, size, *([pointer] * len(outs)), size, pointer]
    function = _library.function(f"telamon_cuda_{name}_{_SUFFIX[dtype]}", *types)
    _library.check(function(*v, *x, *outs, n, stream), name)


def _tensor(t: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The tensor with its elements one after the other, or one element for all of them, and the step between them."""
    if t.numel() == 1 or all(stride == 0 for stride, size in zip(t.stride(), t.shape, strict=True) if size > 1):
        return t, 0
    return t.contiguous(), 1


def launch(name: str, v: torch.Tensor, x: torch.Tensor, outs: Sequence[torch.Tensor]) -> None:
    """Compute `name` from torch tensors of one shape into contiguous ones, on PyTorch's current stream.

    Parameters
    ----------
    name : str
        A function of `telamon.special`, or one of those with "_grad" or "_hess" after the logarithms' names.
    v, x : Tensor
        Of one shape, one CUDA device, and both of float32 or float64.
    outs : sequence of Tensor
        One contiguous tensor for each result, of that shape, device and type.
    """
    # A copy that `contiguous` makes may be freed here: PyTorch reuses its memory in the order of the same stream.
    (v, v_step), (x, x_step) = _tensor(v.detach()), _tensor(x.detach())
    with on_device_of(x) as stream:
        dtype = str(x.dtype).removeprefix("torch.")
        pointers = [out.data_ptr() for out in outs]
        _run(name, dtype, (v.data_ptr(), v_step), (x.data_ptr(), x_step), pointers, outs[0].numel(), stream)


def _is_number(a: Any) -> bool:
    return isinstance(a, (int, float, np.integer, np.floating)) and not isinstance(a, bool)


def _with_cupy(name: str, second: str, v: Any, x: Any) -> Any:
    """The function `name` of CuPy arrays and numbers, as a CuPy array."""
    import cupy

    arrays = []
    for label, a in (("v", v), (second, x)):
        if isinstance(a, cupy.ndarray):
            if a.dtype.name not in ("float16", "float32", "float64"):
                raise TypeError(
                    f"telamon.cuda.{name}: {label} has dtype {a.dtype}; pass {label}.astype(cupy.float64), or float32"
                )
            arrays.append(a)
    if len({a.device.id for a in arrays}) > 1:
        raise ValueError(f"telamon.cuda.{name}: v and {second} are on different devices; copy one to the other's")
    with on_device_of(arrays[0]) as stream:
        dtype = np.result_type(*(a.dtype for a in arrays))  # numbers do not widen arrays
        compute = np.result_type(dtype, np.float32)
        v, x = (cupy.asarray(a, dtype=compute) for a in (v, x))
        shape = np.broadcast_shapes(v.shape, x.shape)
        out = cupy.empty(shape, dtype=compute)
        # As with torch, temporary copies are reused in the order of the stream.
        v, x = (a if a.size == 1 else cupy.ascontiguousarray(cupy.broadcast_to(a, shape)) for a in (v, x))
        at_v, at_x = ((a.data.ptr, 0 if a.size == 1 else 1) for a in (v, x))
        _run(name, compute.name, at_v, at_x, [out.data.ptr], out.size, stream)
        return out.astype(dtype, copy=False)


def _call(name: str, second: str, v: Any, x: Any) -> Any:
    if is_torch(v) or is_torch(x):
        from .. import torch as adapter

        for label, a in (("v", v), (second, x)):
            if is_torch(a) and a.device.type != "cuda":
                raise ValueError(f"telamon.cuda.{name}: {label} is on {a.device}; pass {label}.cuda()")
        return getattr(adapter, name)(v, x)
    if _is_number(v) and _is_number(x):
        raise TypeError(
            f"telamon.cuda.{name}: v and {second} are numbers; pass an array, or use telamon.special.{name}"
        )
    for label, a in (("v", v), (second, x)):
        if not _is_number(a) and not hasattr(a, "__cuda_array_interface__"):
            raise TypeError(
                f"telamon.cuda.{name}: {label} is a {type(a).__name__}; pass an array on the GPU, such as "
                f"cupy.asarray({label}), or a real number. telamon.special.{name} takes arrays on the CPU"
            )
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise RuntimeError(f"telamon.cuda.{name}: arrays of other libraries than PyTorch need CuPy") from error

    result = _with_cupy(name, second, *(a if _is_number(a) else cupy.asarray(a) for a in (v, x)))  # the same memory
    if any(type(a).__module__.startswith("numba.") for a in (v, x)):
        return importlib.import_module("numba.cuda").as_cuda_array(result)
    return result


def _public(name: str, second: str = "x") -> Callable[[Any, Any], Any]:
    def call(v: Any, x: Any) -> Any:
        return _call(name, second, v, x)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""{BINARY[name]}, elementwise, on the GPU.

    Parameters
    ----------
    v, {second} : array or float
        Arrays of float32, float64 or float16 (computed in float32) that broadcast, on one device; one may be a number.

    Returns
    -------
    array
        Of the kind that came: a torch tensor (with its gradient, as `telamon.torch.{name}`), a Numba device array, and
        otherwise a CuPy array. Not yet computed: it follows on the current stream. Domain, edge cases and error
        bounds: `telamon.special.{name}`.

    Raises
    ------
    TypeError
        If an argument is not on the GPU, or of another type than these.
    ValueError
        If the arguments do not broadcast or lie on different devices.
    RuntimeError
        If telamon was built without CUDA, or CUDA reports an error, such as no driver.
    """
    return call


log_iv = _public("log_iv")
log_kv = _public("log_kv")
log_ive = _public("log_ive")
log_kve = _public("log_kve")
iv_ratio = _public("iv_ratio")
iv_ratio_c = _public("iv_ratio_c")
kv_ratio = _public("kv_ratio")
log_iv_dv = _public("log_iv_dv")
log_iv_dx = _public("log_iv_dx")
log_kv_dv = _public("log_kv_dv")
log_kv_dx = _public("log_kv_dx")
log_iv_dxx = _public("log_iv_dxx")
log_kv_dxx = _public("log_kv_dxx")

_iv_ratioinv = _public("iv_ratioinv", "r")


def iv_ratioinv(v: Any, r: Any) -> Any:
    return _iv_ratioinv(v, r)


iv_ratioinv.__doc__ = _iv_ratioinv.__doc__
