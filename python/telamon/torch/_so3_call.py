"""How `telamon.torch` calls the kernels of `telamon.so3`, and what their operators share.

Tensors here are (samples, components, channels) of one dtype and device, whatever their strides.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .. import _core
from ._operators import BUILTINS, batch_first, is_traced, numpy_view


def call(kernel: str, like: Tensor, *args: Any) -> None:
    """Run `_core.<kernel>`, or its CUDA kernel `telamon.cuda.<kernel>`, on the tensors among the arguments."""
    if like.is_cpu:
        getattr(_core, kernel)(*[_to_numpy(a) for a in args])
        return
    if not like.is_cuda:
        raise ValueError(f"telamon.torch: tensors are on {like.device}; move them to a CPU or CUDA device")
    from .. import cuda

    launch = getattr(cuda, kernel, None)
    if launch is None:
        raise RuntimeError(f"telamon.torch: {kernel} has no CUDA kernel in this telamon; move its tensors to the CPU")
    launch(*args)


def call_products(x: Tensor, kind: str, method: str, *products: tuple[Tensor, Tensor, Tensor]) -> bool:
    """Run (x, y, out) products of one number of samples and channels by address; False where that cannot be.

    For small tensors, whose way through NumPy takes longer than the product.
    """
    described = []
    for product in products:
        for t in product:
            if not t.is_cpu or t.is_neg():
                return False
        described.append(tuple((t.data_ptr(), t.shape[1], *t.stride()) for t in product))
    _core.so3_product_at(x.dtype == torch.float64, kind, method, x.shape[0], x.shape[2], described)
    return True


def _to_numpy(a: Any) -> Any:
    if type(a) in BUILTINS:
        return a
    return [_to_numpy(t) for t in a] if isinstance(a, list) else numpy_view(a)


def components(lmax: int) -> int:
    return (lmax + 1) ** 2


def lmax_of(x: Tensor) -> int:
    return int(x.shape[1] ** 0.5 + 0.5) - 1


# ---- numbers per degree and numbers per component


def _constant(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Cache a table, except where a tracer must see how it is made, or a transform would wrap it."""
    made: dict[Any, Tensor] = {}

    def get(*key: Any) -> Tensor:
        if is_traced() or torch._C._are_functorch_transforms_active():
            return make(*key)
        if key not in made:
            with torch.inference_mode(False):
                made[key] = make(*key)
        return made[key]

    return get


@_constant
def _degrees(components: int, device: torch.device) -> Tensor:
    """The degree of each component: the whole part of sqrt(k), which is exact."""
    return torch.arange(components, device=device).sqrt().long()


@_constant
def _summation(components: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix (degrees, components) of ones and zeros that sums over the components of each degree."""
    index = _degrees(components, device)
    return (torch.arange(int(components**0.5 + 0.5), device=device)[:, None] == index).to(dtype)


def per_component(w: Tensor, dim: int) -> Tensor:
    """One number a degree along `dim`, repeated for each of its components."""
    return w.index_select(dim, _degrees(components(w.shape[dim] - 1), w.device))


def per_degree(x: Tensor, dim: int) -> Tensor:
    """The transpose of per_component: the sum over the components of each degree."""
    if dim == 0:
        return _summation(x.shape[0], x.dtype, x.device) @ x
    shape = list(x.shape)
    shape[dim] = int(x.shape[dim] ** 0.5 + 0.5)
    return x.new_zeros(shape).index_add(dim, _degrees(x.shape[dim], x.device), x)


def flat(t: Tensor) -> Tensor:
    """vmap's batch dimension joined to the samples."""
    return t.reshape(t.shape[0] * t.shape[1], *t.shape[2:])


def flat_batch(name: str, n_tensors: int, lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    """The rule of vmap for a kernel that treats its samples one by one."""
    tensors = [flat(batch_first(info, dim, t)) for t, dim in zip(args[:n_tensors], in_dims, strict=False)]
    out = getattr(lib, name)(*tensors, *args[n_tensors:])
    return unflat(info, out)


def unflat(info: Any, out: Any) -> tuple[Any, Any]:
    if isinstance(out, Tensor):
        return out.reshape(info.batch_size, out.shape[0] // info.batch_size, *out.shape[1:]), 0
    return tuple(unflat(info, t)[0] for t in out), (0,) * len(out)


def one_by_one(name: str, lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    """The rule of vmap where a batched argument is one that all samples share: a loop over the batch."""
    results = []
    for i in range(info.batch_size):
        results.append(
            getattr(lib, name)(*(a if dim is None else a.select(dim, i) for a, dim in zip(args, in_dims, strict=True)))
        )
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    return tuple(torch.stack(list(column)) for column in zip(*results, strict=True)), (0,) * len(results[0])


def reachable(out: Tensor, most: int) -> Tensor:
    """The components of a result up to degree `most`; the others are set to 0.

    A derivative may have a higher degree than its factors together: that of a product cut below one of them.
    """
    size = components(most)
    if out.shape[1] <= size:
        return out
    out[:, size:].zero_()
    return out[:, :size]


def new_features(x: Tensor, lmax: int) -> Tensor:
    return x.new_empty(x.shape[0], components(lmax), x.shape[2])
