"""Solid harmonics and rotations as operators torch.ops.telamon.so3_*; the former closed under derivatives."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..so3 import _harmonics as harmonics
from ._operators import numpy_view, register
from ._so3_call import call, components, flat_batch

# ---- solid harmonics: grad S_k = sum_j G_kj S_j, with a constant G that lowers the degree by one. G and its transpose
# are operators too, so that no compiler needs to trace the table.


@functools.cache
def _gradient_matrix(lmax: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """G as a sparse matrix (3 components(lmax - 1), components(lmax))."""
    table = harmonics.gradient_table(lmax)
    term, axis, k = np.nonzero(table.value)
    index = np.stack([axis * components(lmax - 1) + table.source[term, axis, k], k])
    size = (3 * components(lmax - 1), components(lmax))
    values = torch.from_numpy(table.value[term, axis, k])
    matrix = torch.sparse_coo_tensor(torch.from_numpy(index), values, size, check_invariants=False)
    return matrix.to(device=device, dtype=dtype).coalesce()


def _harmonics(r: Tensor, lmax: int) -> Tensor:
    out = r.new_empty(r.shape[0], components(lmax))
    call("so3_harmonics", r, r, out)
    return out


def _lower(g: Tensor, lmax: int) -> Tensor:
    matrix = _gradient_matrix(lmax, g.dtype, g.device)
    return torch.mm(matrix, g.T).T.contiguous().view(g.shape[0], 3, components(lmax - 1))


def _raise(h: Tensor, lmax: int) -> Tensor:
    matrix = _gradient_matrix(lmax, h.dtype, h.device)
    return torch.mm(matrix.T, h.reshape(h.shape[0], -1).T).T.contiguous()


def _save_harmonics(ctx: Any, inputs: Any, output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.lmax = inputs[1]


def _save_lmax(ctx: Any, inputs: Any, output: Tensor) -> None:
    ctx.lmax = inputs[1]


def _harmonics_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    return lib.so3_harmonics_grad(ctx.saved_tensors[0], g, ctx.lmax), None


def _harmonics_grad(r: Tensor, g: Tensor, lmax: int) -> Tensor:
    """sum_k g_k grad S_k(r), in blocks of samples that stay in the cache."""
    out = torch.zeros_like(r, memory_format=torch.contiguous_format)
    if lmax == 0:
        return out
    matrix = _gradient_matrix(lmax, g.dtype, g.device)
    below = _harmonics(r, lmax - 1)
    size = below.shape[1]
    step = max(32, 32768 // size) if r.is_cpu else max(1, r.shape[0])
    for start in range(0, r.shape[0], step):
        rows = slice(start, start + step)
        lowered = torch.mm(matrix, g[rows].T).view(3, size, -1)
        out[rows] = (lowered * below[rows].T).sum(1).T
    return out


def _save_harmonics_grad(ctx: Any, inputs: Any, output: Tensor) -> None:
    r, g, ctx.lmax = inputs
    ctx.save_for_backward(r, g)


def _harmonics_grad_backward(lib: SimpleNamespace, ctx: Any, needed: Any, u: Tensor) -> Any:
    r, g = ctx.saved_tensors
    lmax, by_r, by_g = ctx.lmax, None, None
    if lmax == 0:
        return torch.zeros_like(r), torch.zeros_like(g), None
    if needed[0]:
        along = (lib.so3_lower(g, lmax) * u[:, :, None]).sum(1)  # the derivative along u, as harmonics
        by_r = lib.so3_harmonics_grad(r, along, lmax - 1)
    if needed[1]:
        by_g = lib.so3_raise(u[:, :, None] * lib.so3_harmonics(r, lmax - 1)[:, None], lmax)
    return by_r, by_g, None


register(
    "so3_harmonics",
    "(Tensor r, int lmax) -> Tensor",
    _harmonics,
    fake=lambda r, lmax: r.new_empty(r.shape[0], components(lmax)),
    batched=functools.partial(flat_batch, "so3_harmonics", 1),
    setup_context=_save_harmonics,
    backward=_harmonics_backward,
)
register(
    "so3_harmonics_grad",
    "(Tensor r, Tensor g, int lmax) -> Tensor",
    _harmonics_grad,
    fake=lambda r, g, lmax: torch.zeros_like(r, memory_format=torch.contiguous_format),
    batched=functools.partial(flat_batch, "so3_harmonics_grad", 2),
    setup_context=_save_harmonics_grad,
    backward=_harmonics_grad_backward,
)
register(
    "so3_lower",
    "(Tensor g, int lmax) -> Tensor",
    _lower,
    fake=lambda g, lmax: g.new_empty(g.shape[0], 3, components(lmax - 1)),
    batched=functools.partial(flat_batch, "so3_lower", 1),
    setup_context=_save_lmax,
    backward=lambda lib, ctx, needed, h: (lib.so3_raise(h, ctx.lmax), None),
)
register(
    "so3_raise",
    "(Tensor h, int lmax) -> Tensor",
    _raise,
    fake=lambda h, lmax: h.new_empty(h.shape[0], components(lmax)),
    batched=functools.partial(flat_batch, "so3_raise", 1),
    setup_context=_save_lmax,
    backward=lambda lib, ctx, needed, g: (lib.so3_lower(g, ctx.lmax), None),
)


# ---- rotations


def _check_rotations(function: str, rotations: Tensor) -> None:
    if rotations.is_cpu:  # a GPU would have to be waited for
        harmonics._rotations(f"telamon.torch.{function}", numpy_view(rotations))


def _rotate(x: Tensor, rotations: Tensor, transposed: bool) -> Tensor:
    _check_rotations("rotate", rotations)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    call("so3_rotate", x, rotations, x, out, transposed)
    return out


def _save_rotate(ctx: Any, inputs: Any, output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.transposed = inputs[2]


def _rotate_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    if needed[1]:
        raise NotImplementedError("telamon.torch.rotate: derivatives in R are not implemented; pass R.detach()")
    return lib.so3_rotate(g, ctx.saved_tensors[0], not ctx.transposed), None, None


register(
    "so3_rotate",
    "(Tensor x, Tensor rotations, bool transposed) -> Tensor",
    _rotate,
    fake=lambda x, rotations, transposed: torch.empty_like(x, memory_format=torch.contiguous_format),
    batched=functools.partial(flat_batch, "so3_rotate", 2),
    setup_context=_save_rotate,
    backward=_rotate_backward,
)


def _wigner(rotations: Tensor, l: int) -> Tensor:
    _check_rotations("wigner_D", rotations)
    out = rotations.new_empty(rotations.shape[0], 2 * l + 1, 2 * l + 1)
    call("so3_wigner", rotations, rotations, out, l)
    return out


def _wigner_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    raise NotImplementedError("telamon.torch.wigner_D: derivatives in R are not implemented; pass R.detach()")


register(
    "so3_wigner",
    "(Tensor rotations, int l) -> Tensor",
    _wigner,
    fake=lambda rotations, l: rotations.new_empty(rotations.shape[0], 2 * l + 1, 2 * l + 1),
    batched=functools.partial(flat_batch, "so3_wigner", 1),
    setup_context=lambda ctx, inputs, output: None,
    backward=_wigner_backward,
)
