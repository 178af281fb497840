"""The kernels of `telamon.so3` on a GPU: what `telamon.torch` calls, and `gaunt_product` for arrays of other libraries.

The functions so3_* are those of `telamon._core` for torch CUDA tensors: they write into tensors that the caller
made, on PyTorch's current stream, without waiting. Features are (samples, components, channels) of any strides, in
float32, float64, or in float16 and bfloat16, which are read and rounded at the ends and computed in float32.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _so3_shapes as shapes
from . import _library
from ._library import is_torch, on_device_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["gaunt_product"]

_pointer, _size, _step, _int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_ssize_t, ctypes.c_int
_STORAGE = {"float64": 0, "float32": 1, "float16": 2, "bfloat16": 3}
_KINDS = ("even", "odd", "sum", "complete")
_INVALID_VALUE = 1


class _Array(ctypes.Structure):
    """telamon::so3::columns::array: steps in elements."""

    _fields_ = (("data", _pointer), ("sample", _step), ("component", _step), ("channel", _step), ("type", _int))


class _Weights(ctypes.Structure):
    _fields_ = (("data", _pointer), ("degree", _step), ("channel", _step))


_array = ctypes.POINTER(_Array)
_PRODUCT = [_int] * 5 + [_array] * 4 + [ctypes.POINTER(_Weights), _size, _size, _pointer]


@functools.cache
def _storage(dtype: Any) -> int:
    """The number that stands for a dtype of torch or NumPy in C, or -1."""
    return _STORAGE.get(str(dtype).removeprefix("torch."), -1)


def _memory(a: Any) -> tuple[int, tuple[int, ...]]:
    """The address and the strides, in elements, of a torch tensor or CuPy array."""
    if is_torch(a):
        return a.data_ptr(), a.stride()
    return a.data.ptr, tuple(s // a.itemsize for s in a.strides)


def _described(a: Any) -> _Array:
    address, strides = _memory(a)
    return _Array(address, *strides, _storage(a.dtype))


def _plain(a: Any) -> Any:
    """A tensor without a gradient or a pending change of sign."""
    return a.detach().resolve_neg() if is_torch(a) else a


def _degree(name: str, features: Any) -> int:
    return shapes.lmax_of(f"telamon.cuda.{name}", "a factor", features.shape[1])


def _same(name: str, arrays: Sequence[Any]) -> None:
    """Refuse what a kernel would read or write beyond the end, or in the wrong type."""
    first = arrays[-1]
    samples, _, channels = first.shape
    double = _storage(first.dtype) == 0
    for a in arrays:
        shape, storage = a.shape, _storage(a.dtype)
        if shape[0] != samples or shape[2] != channels:
            raise ValueError(f"telamon.cuda.{name}: shapes are {[tuple(a.shape) for a in arrays]}; pass (N, ., C) each")
        if (storage == 0) != double or storage < 0:
            raise TypeError(f"telamon.cuda.{name}: dtypes are {[str(a.dtype) for a in arrays]}; pass one for all")


def _launch(name: str, argtypes: Sequence[Any], args: Sequence[Any], degrees: str) -> None:
    code = _library.function(f"telamon_cuda_{name}", *argtypes)(*args)
    if code == _INVALID_VALUE:
        raise RuntimeError(
            f"telamon.cuda.{name}: {degrees} needs more memory than a block of this GPU has; take smaller degrees, or "
            "the CPU"
        )
    _library.check(code, name)


def _suffix(a: Any) -> str:
    return "f64" if _storage(a.dtype) == 0 else "f32"


# ---- what telamon.torch calls


def so3_product(
    x: Any,
    y: Any,
    out: Any,
    odd: Any,
    kind: str,
    method: str = "auto",
    accumulate: bool = False,
    w1: Any = None,
    w2: Any = None,
    w3: Any = None,
) -> None:
    """As `_core.so3_product`. All methods are one here: each gives the exact product.

    The weights w_i, (l_i + 1, C), have the type of the arithmetic: float64, or float32 for all others.
    """
    x, y, weights = _plain(x), _plain(y), [None if w is None else _plain(w) for w in (w1, w2, w3)]
    features = [x, y, out] if odd is None else [x, y, odd, out]
    _same("so3_product", features)
    l1, l2, l3 = (_degree("so3_product", a) for a in (x, y, out))
    if (kind == "complete") != (odd is not None) or (odd is not None and odd.shape != out.shape):
        raise ValueError("telamon.cuda.so3_product: an odd output of the shape of out belongs to kind 'complete'")
    for w, lmax in zip(weights, (l1, l2, l3), strict=True):
        wanted = "float64" if _storage(out.dtype) == 0 else "float32"
        if w is not None and (tuple(w.shape) != (lmax + 1, out.shape[2]) or _storage(w.dtype) != _STORAGE[wanted]):
            raise ValueError(
                f"telamon.cuda.so3_product: weights are {tuple(w.shape)} of {w.dtype}; pass "
                f"({lmax + 1}, {out.shape[2]}) of {wanted}"
            )
    described = [_described(a) for a in (x, y, out)]
    described.append(described[-1] if odd is None else _described(odd))
    three = (_Weights * 3)()
    for i, w in enumerate(weights):
        if w is not None:
            address, strides = _memory(w)
            three[i] = _Weights(address, *strides)
    with on_device_of(out) as stream:
        args = [l1, l2, l3, _KINDS.index(kind), int(accumulate), *described, three, out.shape[0], out.shape[2], stream]
        _launch("so3_product", _PRODUCT, args, f"degrees {l1}, {l2} -> {l3}")


def so3_monomial(factors: Sequence[Tensor], powers: Sequence[int], out: Tensor, accumulate: bool = False) -> None:
    """As `_core.so3_monomial`: exact, intermediate products are cut to what the result needs."""
    plain = [_plain(x) for x in factors]
    _same("so3_monomial", [*plain, out])
    degrees = [_degree("so3_monomial", x) for x in plain]
    lmax, total = _degree("so3_monomial", out), sum(l * p for l, p in zip(degrees, powers, strict=True))
    n = len(plain)
    if not 1 <= n <= 15 or min(powers) < 1 or lmax > total:
        raise ValueError("telamon.cuda.so3_monomial: pass 1 to 15 factors, powers from 1 on and no larger lmax")
    types = [_int, ctypes.POINTER(_int), ctypes.POINTER(_int), _array, _int, _array, _int, _size, _size, _pointer]
    described = (_Array * n)(*(_described(x) for x in plain))
    with on_device_of(out) as stream:
        args = [n, (_int * n)(*degrees), (_int * n)(*powers), described, lmax, _described(out), int(accumulate)]
        what = f"a product of degrees {degrees} with powers {list(powers)}"
        _launch("so3_monomial", types, [*args, out.shape[0], out.shape[2], stream], what)


def so3_conv(
    x: Tensor, directions: Tensor, w: Tensor, out: Tensor, senders: Tensor | None, receivers: Tensor | None
) -> None:
    """As `_core.so3_conv`, with the same sums in the order of the edges, so the same bits each time.

    The harmonics of the directions are stored, edges times components; messages are not. Indices are not looked at,
    which would mean to wait: a receiver outside of `out` takes nothing, a sender outside of `x` makes NaN.
    """
    import torch

    x, w, edges = _plain(x), _plain(w), directions.shape[0]
    l1, l3 = _degree("so3_conv", x), _degree("so3_conv", out)
    l2 = w.shape[1] - 1
    _same("so3_conv", [x[:0], w[:0], out[:0]])
    if w.shape[0] != edges or (senders is None and x.shape[0] != edges) or l3 > l1 + l2:
        raise ValueError("telamon.cuda.so3_conv: x, directions and w do not belong to the same edges")
    if receivers is None and out.shape[0] != edges:
        raise ValueError("telamon.cuda.so3_conv: out has not one row for each edge")
    order = start = None
    if receivers is not None:
        ordered, order = torch.sort(receivers, stable=True)
        start = torch.searchsorted(ordered, torch.arange(out.shape[0] + 1, device=out.device))
    compute = torch.float64 if out.dtype == torch.float64 else torch.float32
    harmonics = directions.new_empty((edges, (l2 + 1) ** 2), dtype=compute)
    so3_harmonics(directions.to(compute), harmonics)
    senders = None if senders is None else senders.contiguous()
    pointers = [None if index is None else index.data_ptr() for index in (senders, order, start)]
    types = [_int] * 3 + [_array, _pointer, _array, _array] + [_pointer] * 3 + [_size] * 3 + [_pointer]
    with on_device_of(out) as stream:
        args = [l1, l2, l3, _described(x), harmonics.data_ptr(), _described(w), _described(out), *pointers]
        shape = (x.shape[0], out.shape[0], out.shape[2])
        _launch("so3_conv", types, [*args, *shape, stream], f"degrees {l1}, {l2} -> {l3}")


def so3_harmonics(r: Tensor, out: Tensor, normalize: bool = False) -> None:
    """As `_core.so3_harmonics`, in the precision of the tensors."""
    lmax = shapes.lmax_of("telamon.cuda.so3_harmonics", "out", out.shape[1])
    if tuple(r.shape) != (out.shape[0], 3) or r.dtype != out.dtype:
        raise ValueError(f"telamon.cuda.so3_harmonics: r is {tuple(r.shape)}; pass ({out.shape[0]}, 3) of {out.dtype}")
    r, to = _plain(r).contiguous(), out.contiguous()
    with on_device_of(out) as stream:
        args = [r.data_ptr(), to.data_ptr(), lmax, int(normalize), out.shape[0], stream]
        types = [_pointer, _pointer, _int, _int, _size, _pointer]
        _launch(f"so3_harmonics_{_suffix(out)}", types, args, f"degree {lmax}")
    if to is not out:
        out.copy_(to)


def so3_wigner(R: Tensor, out: Tensor, l: int) -> None:
    """As `_core.so3_wigner`."""
    samples, size = out.shape[0], 2 * l + 1
    if tuple(R.shape) != (samples, 3, 3) or tuple(out.shape) != (samples, size, size) or R.dtype != out.dtype:
        raise ValueError(f"telamon.cuda.so3_wigner: R is {tuple(R.shape)} and out {tuple(out.shape)}")
    R, to = _plain(R).contiguous(), out.contiguous()
    with on_device_of(out) as stream:
        args = [R.data_ptr(), to.data_ptr(), l, samples, stream]
        types = [_pointer, _pointer, _int, _size, _pointer]
        _launch(f"so3_wigner_{_suffix(out)}", types, args, f"degree {l}")
    if to is not out:
        out.copy_(to)


def so3_rotate(R: Tensor, x: Tensor, out: Tensor, transposed: bool = False) -> None:
    """As `_core.so3_rotate`."""
    samples, _, channels = out.shape
    lmax = _degree("so3_rotate", out)
    if tuple(R.shape) != (samples, 3, 3) or x.shape != out.shape or not R.dtype == x.dtype == out.dtype:
        raise ValueError(f"telamon.cuda.so3_rotate: R is {tuple(R.shape)}, x {tuple(x.shape)}, out {tuple(out.shape)}")
    R, x, to = _plain(R).contiguous(), _plain(x).contiguous(), out.contiguous()
    with on_device_of(out) as stream:
        args = [R.data_ptr(), x.data_ptr(), to.data_ptr(), lmax, int(transposed), samples, channels, stream]
        types = [_pointer] * 3 + [_int, _int, _size, _size, _pointer]
        _launch(f"so3_rotate_{_suffix(out)}", types, args, f"degree {lmax}")
    if to is not out:
        out.copy_(to)


# ---- for people


def gaunt_product(
    x: Any,
    y: Any,
    lmax_out: int | None = None,
    *,
    weights: Any = None,
    parity: str = "even",
    group: str = "O3",
    normalization: str = "component",
    layout: str = "channels_last",
) -> Any:
    """The Gaunt tensor product A[S(x) S(y)] on the GPU, as `telamon.so3.gaunt_product`.

    Parameters
    ----------
    x, y : array (..., (l1 + 1)^2, C) and (..., (l2 + 1)^2, C)
        Of float32, float64 or float16 (computed in float32), on one device, of any strides.
    lmax_out, weights, parity, group, normalization, layout
        As in `telamon.so3.gaunt_product`; weights may be on the CPU.

    Returns
    -------
    array (..., (lmax_out + 1)^2, C), or a pair of them
        A torch tensor for tensors (with its gradient, as `telamon.torch.gaunt_product`), otherwise a CuPy array. Not
        yet computed: it follows on the current stream.

    Raises
    ------
    TypeError
        If an argument is not on the GPU, or of another type than these.
    ValueError
        If shapes or words do not fit, or the arrays lie on different devices.
    RuntimeError
        If telamon was built without CUDA, CUDA reports an error, such as no driver, or degrees are too high for it.
    """
    where = "telamon.cuda.gaunt_product"
    options = {"parity": parity, "group": group, "normalization": normalization, "layout": layout}
    if is_torch(x) or is_torch(y):
        from .. import torch as adapter

        for name, a in (("x", x), ("y", y)):
            if is_torch(a) and a.device.type != "cuda":
                raise ValueError(f"{where}: {name} is on {a.device}; pass {name}.cuda()")
        return adapter.gaunt_product(x, y, lmax_out, weights=weights, **options)
    for name, a in (("x", x), ("y", y)):
        if not hasattr(a, "__cuda_array_interface__"):
            raise TypeError(
                f"{where}: {name} is a {type(a).__name__}; pass an array on the GPU, such as cupy.asarray({name}); "
                "telamon.so3.gaunt_product takes arrays on the CPU"
            )
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise RuntimeError(f"{where}: arrays of other libraries than PyTorch need CuPy") from error
    shapes.choice(where, "parity", parity, shapes.PARITIES)
    shapes.choice(where, "group", group, shapes.GROUPS)
    shapes.choice(where, "normalization", normalization, shapes.NORMALIZATIONS)
    shapes.choice(where, "layout", layout, shapes.LAYOUTS)
    a, b = (_features(where, name, cupy.asarray(v), layout) for name, v in (("x", x), ("y", y)))
    if a.device.id != b.device.id:
        raise ValueError(f"{where}: x and y are on different devices; copy one to the other's")
    with a.device:
        return _with_cupy(where, a, b, lmax_out, weights, parity, group, normalization, layout)


def _features(where: str, name: str, a: Any, layout: str) -> Any:
    """A CuPy array (..., components, channels)."""
    if a.dtype.name not in _STORAGE:
        raise TypeError(f"{where}: {name} has dtype {a.dtype}; pass {name}.astype(cupy.float64), or float32")
    if a.ndim < 2:
        raise ValueError(f"{where}: {name} has shape {a.shape}; pass an array (..., components, channels)")
    return a if layout == "channels_last" else a.swapaxes(-1, -2)


def _with_cupy(
    where: str,
    x: Any,
    y: Any,
    lmax_out: int | None,
    weights: Any,
    parity: str,
    group: str,
    normalization: str,
    layout: str,
) -> Any:
    import cupy

    l1, l2 = shapes.lmax_of(where, "x", x.shape[-2]), shapes.lmax_of(where, "y", y.shape[-2])
    l3 = shapes.lmax_out_of(where, lmax_out, max(l1, l2), l1 + l2, "l1 + l2")
    channels = shapes.channels_of(where, "x", x.shape[-1], "y", y.shape[-1])
    try:
        lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise ValueError(
            f"{where}: leading dimensions do not broadcast: x has {x.shape[:-2]}, y {y.shape[:-2]}"
        ) from None
    dtype = np.result_type(x.dtype, y.dtype)
    compute = np.result_type(dtype, np.float32)
    samples = math.prod(lead)

    def flat(a: Any) -> Any:
        full = cupy.broadcast_to(a.astype(dtype, copy=False), (*lead, a.shape[-2], channels))
        return full.reshape(samples, a.shape[-2], channels)

    ws = _ranked(where, weights, (l1, l2, l3), channels, normalization, compute)
    pair = parity == "complete" and group == "O3"
    kind = "even" if parity == "even" else "complete" if pair else "sum"
    # Where a rank is added to another, in the type of the arithmetic: each sum would be rounded to half precision.
    out_type = dtype if len(ws) == 1 else compute
    outs = [cupy.empty((samples, (l3 + 1) ** 2, channels), out_type) for _ in range(2 if pair else 1)]
    fx, fy = flat(x), flat(y)
    for r, three in enumerate(ws):
        so3_product(fx, fy, outs[0], outs[1] if pair else None, kind, "auto", r > 0, *three)

    def shaped(z: Any) -> Any:
        z = z.astype(dtype, copy=False).reshape(*lead, *z.shape[1:])
        return z if layout == "channels_last" else z.swapaxes(-1, -2)

    return tuple(shaped(z) for z in outs) if pair else shaped(outs[0])


def _ranked(
    where: str, weights: Any, lmaxs: tuple[int, int, int], channels: int, normalization: str, dtype: Any
) -> list[tuple[Any, Any, Any]]:
    """For each rank the weights of x, y and the result, (l + 1, channels) with the change of normalisation, or None."""
    import cupy

    if weights is None:
        weights = (None, None, None)
    if not isinstance(weights, (tuple, list)) or len(weights) != 3:
        raise TypeError(f"{where}: weights is a {type(weights).__name__}; pass (w1, w2, w3), each an array or None")
    full: list[Any] = []
    for n, (w, lmax) in enumerate(zip(weights, lmaxs, strict=True)):
        scales = shapes.degree_scales(lmax, normalization)
        if w is None and scales is None:
            full.append(None)
            continue
        given = cupy.ones(lmax + 1, dtype) if w is None else cupy.asarray(w).astype(dtype, copy=False)
        array = given[None, :, None] if given.ndim == 1 else given[None] if given.ndim == 2 else given
        if array.ndim != 3 or array.shape[1] != lmax + 1 or array.shape[2] not in (1, channels):
            raise ValueError(
                f"{where}: weights[{n}] has shape {given.shape}; pass ({lmax + 1},), ({lmax + 1}, {channels}) or, for "
                f"a sum of R products, (R, {lmax + 1}, 1 or {channels})"
            )
        if scales is not None:
            array = array * cupy.asarray([1 / s if n == 2 else s for s in scales], dtype)[:, None]
        full.append(cupy.broadcast_to(array, (array.shape[0], lmax + 1, channels)))
    ranks = {len(w) for w in full if w is not None and len(w) != 1}
    if len(ranks) > 1:
        raise ValueError(f"{where}: weights have {' and '.join(map(str, sorted(ranks)))} ranks; pass as many in each")
    rank = ranks.pop() if ranks else 1

    def at(w: Any, r: int) -> Any:
        return None if w is None else w[r if len(w) > 1 else 0]

    return [(at(full[0], r), at(full[1], r), at(full[2], r)) for r in range(rank)]
