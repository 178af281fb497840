"""Products with packed matrices, and Walsh-Hadamard transforms, as operators torch.ops.telamon.quant_* with gradients.

    y = x W'        dx: g W, an operator of its own whose derivative is the first, exact
    y = s H x       dx: s H' g

W is fixed: codes and codebooks have no gradients. Tensors x, y and g are (..., n) in float32, codebooks too.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .. import _core
from .. import _quant_shapes as shapes
from ._operators import batch_first, numpy_view, register

_BLOCK = 1 << 22  # numbers of W that are dequantised at a time for a gradient, 16 MiB


def _device(t: Tensor) -> Any:
    """The kernels for the tensor's device, or None for the CPU's."""
    if t.is_cpu:
        return None
    if not t.is_cuda:
        raise ValueError(f"telamon.torch: tensors are on {t.device}; move them to a CPU or CUDA device")
    from ..cuda import _quant_kernels

    return _quant_kernels


# ---- kernels


def dequantize(codes: Tensor, codebooks: Tensor, bits: int, group: int, inputs: int) -> Tensor:
    """The matrix (rows, inputs)."""
    shapes.check_matrix("telamon.torch.quant_dequantize", codes.shape, codebooks.shape, bits, group, inputs)
    out = codebooks.new_empty(codes.shape[0], inputs)
    codes, codebooks, kernels = codes.contiguous(), codebooks.contiguous(), _device(codes)
    if kernels is None:
        _core.quant_dequantize(numpy_view(codes), bits, numpy_view(codebooks), group, out.numpy())
    else:
        kernels.dequantize(codes, codebooks, bits, group, out)
    return out


def _matmul(x: Tensor, codes: Tensor, codebooks: Tensor, bits: int, group: int, inputs: int, precision: str) -> Tensor:
    shapes.check_matrix("telamon.torch.quant_matmul", codes.shape, codebooks.shape, bits, group, inputs)
    out = x.new_empty(*x.shape[:-1], codes.shape[0])
    if not out.numel():
        return out
    flat, to = x.reshape(-1, inputs).contiguous(), out.view(-1, codes.shape[0])
    codes, codebooks, kernels = codes.contiguous(), codebooks.contiguous(), _device(x)
    if kernels is None:
        views = numpy_view(codes), bits, numpy_view(codebooks), group
        _core.quant_matmul(*views, numpy_view(flat), to.numpy(), precision)
    else:
        kernels.matmul(codes, codebooks, bits, group, flat, to)
    return out


def _transposed(g: Tensor, codes: Tensor, codebooks: Tensor, bits: int, group: int, inputs: int) -> Tensor:
    rows = codes.shape[0]
    if not g.numel():
        return g.new_zeros(*g.shape[:-1], inputs)
    flat = g.detach().reshape(-1, rows)
    out = flat.new_zeros(flat.shape[0], inputs)
    step = max(1, _BLOCK // inputs)
    for first in range(0, rows, step):
        part = slice(first, first + step)
        out.addmm_(flat[:, part], dequantize(codes[part], codebooks[part], bits, group, inputs))
    return out.reshape(*g.shape[:-1], inputs)


def _on_cpu(t: Tensor) -> bool:
    return t.is_cpu


def _small_factor(n: int) -> tuple[int, Any]:
    """n = m 2^k: m, and its matrix unless that is 1."""
    if n > 0 and n & (n - 1) == 0:
        return 1, None
    from ..quant import hadamard
    from ..quant._hadamard import _factor

    m = _factor("telamon.torch.fwht", n)
    return m, hadamard(m)


def _fwht(x: Tensor, scale: float, transpose: bool) -> Tensor:
    n = x.shape[-1]
    m, matrix = _small_factor(n)
    out = x.detach().clone(memory_format=torch.contiguous_format)
    if not out.numel():
        return out
    out = out.view(-1, n // m)
    if _on_cpu(out):
        _core.quant_fwht(numpy_view(out), scale)
    else:
        out, half = out.mul_(scale), 1
        while half < n // m:
            low, high = out.view(-1, n // m // (2 * half), 2, half).unbind(2)
            out = torch.stack((low + high, low - high), 2)
            half *= 2
    if m > 1:
        factor = torch.tensor(matrix, dtype=out.dtype, device=out.device)
        out = torch.matmul(factor.mT if transpose else factor, out.view(-1, m, n // m))
    return out.reshape(x.shape)


# ---- torch.vmap


def _batched(name: str, leading: bool = True) -> Any:
    """One batch dimension more is no matter for x, of any `leading` ones; for matrices there is a loop."""

    def rule(lib: SimpleNamespace, info: Any, in_dims: Any, x: Tensor, *rest: Any) -> tuple[Any, Any]:
        dims = [*in_dims, *[None] * (1 + len(rest) - len(in_dims))]
        operator = getattr(lib, name)
        if leading and all(dim is None for dim in dims[1:]):
            return operator(batch_first(info, dims[0], x), *rest), 0

        def at(i: int) -> Any:
            pairs = zip((x, *rest), dims, strict=True)
            return operator(*(a if dim is None else a.select(dim, i) for a, dim in pairs))

        return torch.stack([at(i) for i in range(info.batch_size)]), 0

    return rule


# ---- derivatives


def _save(ctx: Any, inputs: Any, output: Tensor) -> None:
    _, codes, codebooks, *ctx.numbers = inputs
    ctx.save_for_backward(codes, codebooks)


def _matmul_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    gx = lib.quant_transposed(g, *ctx.saved_tensors, *ctx.numbers[:3]) if needed[0] else None
    return gx, None, None, None, None, None, None


def _transposed_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    gg = lib.quant_matmul(g, *ctx.saved_tensors, *ctx.numbers, "exact") if needed[0] else None
    return gg, None, None, None, None, None


def _save_transform(ctx: Any, inputs: Any, output: Tensor) -> None:
    _, ctx.scale, ctx.transpose = inputs


register(
    "quant_matmul",
    "(Tensor x, Tensor codes, Tensor codebooks, int bits, int group, int inputs, str precision) -> Tensor",
    _matmul,
    fake=lambda x, codes, *rest: x.new_empty(*x.shape[:-1], codes.shape[0]),
    batched=_batched("quant_matmul"),
    setup_context=_save,
    backward=_matmul_backward,
)
register(
    "quant_transposed",
    "(Tensor g, Tensor codes, Tensor codebooks, int bits, int group, int inputs) -> Tensor",
    _transposed,
    fake=lambda g, codes, codebooks, bits, group, inputs: g.new_empty(*g.shape[:-1], inputs),
    batched=_batched("quant_transposed"),
    setup_context=_save,
    backward=_transposed_backward,
)
register(
    "quant_dequantize",
    "(Tensor codes, Tensor codebooks, int bits, int group, int inputs) -> Tensor",
    dequantize,
    fake=lambda codes, codebooks, bits, group, inputs: codebooks.new_empty(codes.shape[0], inputs),
    batched=_batched("quant_dequantize", leading=False),
    setup_context=lambda ctx, inputs, output: None,
    backward=lambda lib, ctx, needed, g: (None,) * 5,
)
register(
    "quant_fwht",
    "(Tensor x, float scale, bool transpose) -> Tensor",
    _fwht,
    fake=lambda x, scale, transpose: torch.empty_like(x, memory_format=torch.contiguous_format),
    batched=_batched("quant_fwht"),
    setup_context=_save_transform,
    backward=lambda lib, ctx, needed, g: (lib.quant_fwht(g, ctx.scale, not ctx.transpose), None, None),
)
