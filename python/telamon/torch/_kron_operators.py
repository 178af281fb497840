"""Kronecker algebra as operators torch.ops.telamon.kron_*, with derivatives that never differentiate an eigenvector.

K is the Kronecker product of the factors F_i, M = K + s I, P_i the product of all factors but F_i, with an identity in
its place. <x, y>_i is the matrix of x and y on axis i: the sum over all other indices of x[..j..] y[..k..]. Then

    x -> K x                dF_i: <g, P_i x>_i                       the product with one factor replaced
    <x, y>_i                dx: G y,  dy: G' x                       on axis i
    z = M^-1 y              dy: u = M^-1 g,  ds: -u.z,  dF_i: -<u, P_i z>_i
    quad = y.z              dy: 2 z,  ds: -z.z,  dF_i: -<z, P_i z>_i = -Q_i S_i Q_i'
    logdet = log det M      ds: trace M^-1,  dF_i: Q_i diag(w_i) Q_i'

with S_i and w_i of telamon.kron, so that the first two are closed under derivatives of every order, and the third too.
The last two share an operator and a gradient, which has derivatives of its own; those of log det end there, with the
second. Eigenvalues and eigenvectors are arguments of the operators; all derivatives are ascribed to the factors.

Grid tensors are (B, n_1, ..., n_d, 1). `parts` are the d factors, their eigenvalues, and their eigenvectors.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from . import _kron_call as kernels
from ._kron_hessian import logdet_hessian
from ._operators import batch_first, is_watched, register
from ._so3_call import flat, unflat


def _thirds(parts: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    d = len(parts) // 3
    return list(parts[:d]), list(parts[d : 2 * d]), list(parts[2 * d :])


def _transposed(factors: Sequence[Tensor]) -> list[Tensor]:
    return [a.mT for a in factors]


def symmetrized(a: Tensor) -> Tensor:
    return (a + a.mT) / 2


def _per_batch(g: Tensor, like: Tensor) -> Tensor:
    """One number for each tensor of a batch, shaped so that it multiplies them."""
    return g.reshape(-1, *(1,) * (like.ndim - 1))


# ---- torch.vmap


def _one_by_one(name: str, lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    """A loop over the batch, for arguments that may be lists of tensors."""

    def at(a: Any, dim: Any, i: int) -> Any:
        if isinstance(a, (list, tuple)) and a and isinstance(a[0], Tensor):
            return a if dim is None else [at(t, k, i) for t, k in zip(a, dim, strict=True)]
        return a if dim is None or not isinstance(a, Tensor) else a.select(dim, i)

    dims = [*in_dims, *[None] * (len(args) - len(in_dims))]
    results = [
        getattr(lib, name)(*(at(a, dim, i) for a, dim in zip(args, dims, strict=True))) for i in range(info.batch_size)
    ]
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    return tuple(torch.stack(list(column)) for column in zip(*results, strict=True)), (0,) * len(results[0])


def _constant(dims: Any) -> bool:
    return dims is None or (isinstance(dims, (list, tuple)) and all(map(_constant, dims)))


# ---- the product along axes


def _product_fake(factors: list[Tensor], axes: list[int], x: Tensor) -> Tensor:
    shape = list(x.shape)
    for axis, a in zip(axes, factors, strict=True):
        shape[axis + 1] = a.shape[0]
    return x.new_empty(shape)


def _product_batched(
    lib: SimpleNamespace, info: Any, in_dims: Any, factors: list[Tensor], axes: list[int], x: Tensor
) -> tuple[Any, Any]:
    if not _constant(in_dims[0]):
        return _one_by_one("kron_product", lib, info, in_dims, factors, axes, x)
    return unflat(info, lib.kron_product(factors, axes, flat(batch_first(info, in_dims[2], x))))


def _pull(
    lib: SimpleNamespace,
    factors: Sequence[Tensor],
    axes: Sequence[int],
    x: Tensor,
    g: Tensor,
    needed: Sequence[bool],
    through: bool = False,
) -> tuple[list[Tensor | None], Tensor]:
    """The gradients of <g, K x> in the factors that need one; and, if it goes `through`, in x."""
    last = max((i for i, wanted in enumerate(needed) if wanted), default=0)
    before = [x]  # x times the factors before the i-th
    for i in range(last):
        before.append(lib.kron_product([factors[i]], [axes[i]], before[-1]))
    grads: list[Tensor | None] = [None] * len(factors)
    if len(factors) > last + 1:
        g = lib.kron_product(_transposed(factors[last + 1 :]), axes[last + 1 :], g)
    for i in range(last, -1, -1):
        if needed[i]:
            grads[i] = lib.kron_gram(g, before[i], axes[i])
        before.pop()
        if not (through or any(needed[:i])):
            break
        g = lib.kron_product([factors[i].mT], [axes[i]], g)
    return grads, g


def _save_product(ctx: Any, inputs: Any, output: Tensor) -> None:
    factors, axes, x = inputs
    ctx.save_for_backward(*factors, x)
    ctx.axes = list(axes)


def _product_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    *factors, x = ctx.saved_tensors
    if not any(needed[0]):
        return [None] * len(factors), None, lib.kron_product(_transposed(factors), ctx.axes, g)
    grads, gx = _pull(lib, factors, ctx.axes, x, g, needed[0], needed[2])
    return grads, None, gx if needed[2] else None


register(
    "kron_product",
    "(Tensor[] factors, int[] axes, Tensor x) -> Tensor",
    lambda factors, axes, x: kernels.matmul(factors, axes, x),
    fake=_product_fake,
    batched=_product_batched,
    setup_context=_save_product,
    backward=_product_backward,
    variadic=True,
)


# ---- the matrix of two grid tensors on an axis


def _save_gram(ctx: Any, inputs: Any, output: Tensor) -> None:
    x, y, ctx.axis = inputs
    ctx.save_for_backward(x, y)


def _gram_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    x, y = ctx.saved_tensors
    gx = lib.kron_product([g], [ctx.axis], y) if needed[0] else None
    gy = lib.kron_product([g.mT], [ctx.axis], x) if needed[1] else None
    return gx, gy, None


register(
    "kron_gram",
    "(Tensor x, Tensor y, int axis) -> Tensor",
    lambda x, y, axis: kernels.gram(x, y, None, axis),
    fake=lambda x, y, axis: x.new_empty(x.shape[axis + 1], y.shape[axis + 1]),
    batched=functools.partial(_one_by_one, "kron_gram"),
    setup_context=_save_gram,
    backward=_gram_backward,
)


# ---- symmetric factors and their eigenvectors


def _symmetric(a: Tensor) -> Tensor:
    out = symmetrized(a)
    if a.is_cpu:  # on a GPU it would mean to wait
        tolerance = math.sqrt(torch.finfo(a.dtype).eps)
        if a.numel() and bool((a - out).abs().max() > tolerance * a.abs().max()):
            raise ValueError("telamon.torch: a factor is not symmetric; pass (factor + factor.mT) / 2")
    return out


register(
    "kron_symmetric",
    "(Tensor a) -> Tensor",
    _symmetric,
    fake=torch.empty_like,
    batched=lambda lib, info, in_dims, a: (lib.kron_symmetric(batch_first(info, in_dims[0], a)), 0),
    setup_context=lambda ctx, inputs, output: None,
    backward=lambda lib, ctx, needed, g: symmetrized(g),
)
register(
    "kron_eigh",
    "(Tensor a) -> (Tensor, Tensor)",
    lambda a: kernels.eigh(a),
    fake=lambda a: (a.new_empty(a.shape[0]), a.new_empty(a.shape)),
    batched=functools.partial(_one_by_one, "kron_eigh"),
    setup_context=lambda ctx, inputs, output: None,
    backward=lambda lib, ctx, needed, *grads: None,  # the operators that take them ascribe theirs to the factors
)


# ---- the solution of (K + s I) z = y


def _solve(parts: list[Tensor], y: Tensor, noise: Tensor) -> Tensor:
    _, values, vectors = _thirds(parts)
    axes = range(len(values))
    a = kernels.matmul(_transposed(vectors), axes, y)
    kernels.spectral(values, noise, a, a)
    return kernels.matmul(vectors, axes, a)


def _solve_batched(
    lib: SimpleNamespace, info: Any, in_dims: Any, parts: list[Tensor], y: Tensor, noise: Tensor
) -> tuple[Any, Any]:
    if not _constant((in_dims[0], in_dims[2])):
        return _one_by_one("kron_solve", lib, info, in_dims, parts, y, noise)
    return unflat(info, lib.kron_solve(parts, flat(batch_first(info, in_dims[1], y)), noise))


def _save_solve(ctx: Any, inputs: Any, output: Tensor) -> None:
    parts, _, noise = inputs
    ctx.save_for_backward(*parts, noise, output)


def _solve_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    *parts, noise, z = ctx.saved_tensors
    u = lib.kron_solve(parts, g, noise)
    grads: list[Tensor | None] = [None] * len(parts)
    factors = _thirds(parts)[0]
    wanted = _thirds(needed[0])[0]
    if any(wanted):
        grads[: len(factors)] = _pull(lib, factors, range(len(factors)), z, -u, wanted)[0]
    return grads, u if needed[1] else None, -(u * z).sum() if needed[2] else None


register(
    "kron_solve",
    "(Tensor[] parts, Tensor y, Tensor noise) -> Tensor",
    _solve,
    fake=lambda parts, y, noise: y.new_empty(y.shape),
    batched=_solve_batched,
    setup_context=_save_solve,
    backward=_solve_backward,
    variadic=True,
)


# ---- y (K + s I)^-1 y and log det (K + s I): what a likelihood is made of


def _evidence(parts: list[Tensor], y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(quad (B,), logdet (), Q'y / (lam + s)); the last is for the gradient alone, and has none itself."""
    _, values, vectors = _thirds(parts)
    if not y.numel():
        logdet = kernels.spectral(values, noise)[1].to(y.dtype)
        return y.new_zeros(y.shape[0]), logdet.clone(), y.new_empty(y.shape)
    b = kernels.matmul(_transposed(vectors), range(len(values)), y)
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
    factors, _, vectors = _thirds(parts)
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
    batched=functools.partial(_one_by_one, "kron_evidence"),
    setup_context=_save_evidence,
    backward=_evidence_backward,
    variadic=True,
)


def _evidence_grad(
    parts: list[Tensor], y: Tensor, noise: Tensor, a: Tensor, by_quad: Tensor, by_logdet: Tensor
) -> Tensor:
    _, values, vectors = _thirds(parts)
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
    factors = _thirds(parts)[0]
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
        pulled = [_pull(lib, factors, axes, z, p, [True] * d)[0]]
        for i, with_one in enumerate(replaced):
            if d > 1:
                pulled.append(_pull(lib, with_one, axes, z, -weight * z, [j != i for j in axes])[0])
        for one in pulled:
            grads = [total if g is None else total + g for total, g in zip(grads, one, strict=True)]
        g_noise = g_noise + (p * z).sum()
        gy, by_by_quad = -p, -(z * tz).flatten(1).sum(1)
    return [*grads, *[None] * (2 * d)], gy, g_noise, None, by_by_quad, by_by_logdet


register(
    "kron_evidence_grad",
    "(Tensor[] parts, Tensor y, Tensor noise, Tensor a, Tensor by_quad, Tensor by_logdet) -> Tensor",
    _evidence_grad,
    fake=lambda parts, y, *others: y.new_empty(sum(a.numel() for a in _thirds(parts)[0]) + 1),
    batched=functools.partial(_one_by_one, "kron_evidence_grad"),
    setup_context=_save_evidence_grad,
    backward=_evidence_grad_backward,
    variadic=True,
)


def _no_third(*args: Any) -> Any:
    raise NotImplementedError("telamon.torch: third derivatives of log det(K + noise I) are not implemented")


def _hess(parts: list[Tensor], noise: Tensor, v: Tensor) -> Tensor:
    factors, values, vectors = _thirds(parts)
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
    batched=functools.partial(_one_by_one, "kron_logdet_hess"),
    setup_context=lambda ctx, inputs, output: None,
    backward=_no_third,
    variadic=True,
)
