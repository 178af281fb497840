"""What a Gaussian process's likelihood is made of, as operators torch.ops.telamon.kron_evidence*.

The formulas stand in _kron_operators.py; those of the second derivative of log det in _kron_hessian.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from . import _kron_call as kernels
from ._kron_hessian import logdet_hessian
from ._kron_operators import one_by_one, pull, symmetrized, thirds, transposed
from ._operators import is_watched, register


def _per_batch(g: Tensor, like: Tensor) -> Tensor:
    """One number for each tensor of a batch, shaped so that it multiplies them."""
    return g.reshape(-1, *(1,) * (like.ndim - 1))


# ---- y (K + s I)^-1 y and log det (K + s I): what a likelihood is made of


def _evidence(parts: list[Tensor], y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(quad (B,), logdet (), Q'y / (lam + s)); the last is for the gradient alone, and has none itself."""
    _, values, vectors = thirds(parts)
    if not y.numel():
        logdet = kernels.spectral(values, noise)[1].to(y.dtype)
        return y.new_zeros(y.shape[0]), logdet.clone(), y.new_empty(y.shape)
    b = kernels.matmul(transposed(vectors), range(len(values)), y)
    a = b if y.shape[0] == 1 else torch.empty_like(b)
    sums = kernels.spectral(values, noise, b, a).to(y.dtype)
    if y.shape[0] == 1:
        return sums[:1].clone(), sums[1].clone(), a
    return (a * b).flatten(1).sum(1, dtype=torch.float64).to(y.dtype), sums[1].clone(), a


def _save_evidence(ctx: Any, inputs: Any, output: Any) -> None:
    parts, y, noise = inputs
    ctx.save_for_backward(*parts, y, noise, output[2])
    ctx.set_materialize_grads(False)


def _unpack(packed: Tensor, like: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The gradients in the factors and in the noise, which one tensor holds one after the other."""
    split: Any = packed.split  # PyTorch has no types for it
    pieces = split([a.numel() for a in like] + [1])
    return [p.reshape(a.shape) for p, a in zip(pieces, like, strict=False)], pieces[-1].reshape(())


def _evidence_backward(
    lib: SimpleNamespace, ctx: Any, needed: Any, by_quad: Tensor | None, by_logdet: Tensor | None, _: Any
) -> Any:
    *parts, y, noise, a = ctx.saved_tensors
    factors, _, vectors = thirds(parts)
    by_quad = y.new_zeros(y.shape[0]) if by_quad is None else by_quad
    by_logdet = y.new_zeros(()) if by_logdet is None else by_logdet
    grads: list[Tensor | None] = [None] * len(parts)
    gy = g_noise = None
    if any(needed[0]) or needed[2]:
        packed = lib.kron_evidence_grad(parts, y, noise, a, by_quad, by_logdet)
        grads[: len(factors)], g_noise = _unpack(packed, factors)
    if needed[1]:
        if is_watched(y, by_quad):
            z = lib.kron_solve(parts, y, noise)
        else:
            z = kernels.matmul(vectors, range(len(vectors)), a)
        gy = 2 * _per_batch(by_quad, y) * z
    return grads, gy, g_noise


register(
    "kron_evidence",
    "(Tensor[] parts, Tensor y, Tensor noise) -> (Tensor, Tensor, Tensor)",
    _evidence,
    fake=lambda parts, y, noise: (y.new_empty(y.shape[0]), y.new_empty(()), y.new_empty(y.shape)),
    batched=functools.partial(one_by_one, "kron_evidence"),
    setup_context=_save_evidence,
    backward=_evidence_backward,
    variadic=True,
)


def _evidence_grad(
    parts: list[Tensor], y: Tensor, noise: Tensor, a: Tensor, by_quad: Tensor, by_logdet: Tensor
) -> Tensor:
    _, values, vectors = thirds(parts)
    weights = [v.new_empty(v.shape, dtype=torch.float64) for v in values]
    trace = kernels.spectral(values, noise, None, None, weights)[2].to(y.dtype)
    one = y.shape[0] == 1
    scaled = a if one else a * _per_batch(by_quad, a)
    pieces = []
    for i, (q, w) in enumerate(zip(vectors, weights, strict=True)):
        inner = kernels.gram(a, None if one else scaled, values, i) * (-by_quad if one else -1)
        inner.diagonal().add_(by_logdet * w.to(y.dtype))
        pieces.append((q @ inner @ q.mT).flatten())
    square = torch.dot(scaled.flatten(), a.flatten())
    pieces.append((by_logdet * trace - (square * by_quad if one else square)).reshape(1))
    return torch.cat(pieces)


def _save_evidence_grad(ctx: Any, inputs: Any, output: Tensor) -> None:
    parts, *others = inputs
    ctx.save_for_backward(*parts, *others)


def _evidence_grad_backward(lib: SimpleNamespace, ctx: Any, needed: Any, v: Tensor) -> Any:
    """With V_i and v the gradients of the results and T = sum_i P_i V_i + v I, this differentiates by_logdet times the
    derivative of log det along V_i and v, minus by_quad z'T z, in z = M^-1 y and in the factors of T."""
    *parts, y, noise, a, by_quad, by_logdet = ctx.saved_tensors
    factors = thirds(parts)[0]
    d = len(factors)
    axes = range(d)
    directions, v_noise = _unpack(v, factors)
    directions = [symmetrized(t) for t in directions]
    grads, g_noise = _unpack(by_logdet * lib.kron_logdet_hess(parts, noise, v), factors)
    first = lib.kron_evidence_grad(parts, y[:0], noise, a[:0], by_quad[:0], torch.ones_like(by_logdet))
    by_by_logdet = (v * first).sum()
    gy = by_by_quad = None
    if y.shape[0]:
        replaced = [[*factors[:i], directions[i], *factors[i + 1 :]] for i in axes]
        z = lib.kron_solve(parts, y, noise)
        tz = v_noise * z
        for with_one in replaced:
            tz = tz + lib.kron_product(with_one, axes, z)
        weight = _per_batch(by_quad, z)
        p = 2 * lib.kron_solve(parts, weight * tz, noise)
        pulled = [pull(lib, factors, axes, z, p, [True] * d)[0]]
        for i, with_one in enumerate(replaced):
            if d > 1:
                pulled.append(pull(lib, with_one, axes, z, -weight * z, [j != i for j in axes])[0])
        for one in pulled:
            grads = [total if g is None else total + g for total, g in zip(grads, one, strict=True)]
        g_noise = g_noise + (p * z).sum()
        gy, by_by_quad = -p, -(z * tz).flatten(1).sum(1)
    return [*grads, *[None] * (2 * d)], gy, g_noise, None, by_by_quad, by_by_logdet


register(
    "kron_evidence_grad",
    "(Tensor[] parts, Tensor y, Tensor noise, Tensor a, Tensor by_quad, Tensor by_logdet) -> Tensor",
    _evidence_grad,
    fake=lambda parts, y, *others: y.new_empty(sum(a.numel() for a in thirds(parts)[0]) + 1),
    batched=functools.partial(one_by_one, "kron_evidence_grad"),
    setup_context=_save_evidence_grad,
    backward=_evidence_grad_backward,
    variadic=True,
)


def _no_third(*args: Any) -> Any:
    raise NotImplementedError("telamon.torch: third derivatives of log det(K + noise I) are not implemented")


def _hess(parts: list[Tensor], noise: Tensor, v: Tensor) -> Tensor:
    factors, values, vectors = thirds(parts)
    directions, v_noise = _unpack(v, factors)
    rotated = [q.mT @ symmetrized(t) @ q for q, t in zip(vectors, directions, strict=True)]
    inner, last = logdet_hessian(values, noise, rotated, v_noise)
    pieces = [(q @ h.to(q.dtype) @ q.mT).flatten() for q, h in zip(vectors, inner, strict=True)]
    return torch.cat([*pieces, last.to(v.dtype).reshape(1)])


register(
    "kron_logdet_hess",
    "(Tensor[] parts, Tensor noise, Tensor v) -> Tensor",
    _hess,
    fake=lambda parts, noise, v: torch.empty_like(v),
    batched=functools.partial(one_by_one, "kron_logdet_hess"),
    setup_context=lambda ctx, inputs, output: None,
    backward=_no_third,
    variadic=True,
)
