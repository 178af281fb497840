"""Kronecker algebra as operators torch.ops.telamon.kron_*, with derivatives that never differentiate an eigenvector.

K is the Kronecker product of the factors F_i, M = K + s I, P_i the product of all factors but F_i, with an identity in
its place. <x, y>_i is the matrix of x and y on axis i: the sum over all other indices of x[..j..] y[..k..]. Then

    x -> K x                dF_i: <g, P_i x>_i                       the product with one factor replaced
    <x, y>_i                dx: G y,  dy: G' x                       on axis i
    z = M^-1 y              dy: u = M^-1 g,  ds: -u.z,  dF_i: -<u, P_i z>_i
    quad = y.z              dy: 2 z,  ds: -z.z,  dF_i: -<z, P_i z>_i = -Q_i S_i Q_i'
    logdet = log det M      ds: trace M^-1,  dF_i: Q_i diag(w_i) Q_i'

with S_i and w_i of telamon.kron, so that the first two are closed under derivatives of every order, and the third too.
The last two, in _kron_evidence.py, share an operator and a gradient, which has derivatives of its own; those of log det
end there, with the second. Eigenvalues and eigenvectors are arguments of the operators; all derivatives are ascribed to
the factors.

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
from ._operators import batch_first, register
from ._so3_call import flat, unflat


def thirds(parts: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    d = len(parts) // 3
    return list(parts[:d]), list(parts[d : 2 * d]), list(parts[2 * d :])


def transposed(factors: Sequence[Tensor]) -> list[Tensor]:
    return [a.mT for a in factors]


def symmetrized(a: Tensor) -> Tensor:
    return (a + a.mT) / 2


# ---- torch.vmap


def one_by_one(name: str, lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
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
        return one_by_one("kron_product", lib, info, in_dims, factors, axes, x)
    return unflat(info, lib.kron_product(factors, axes, flat(batch_first(info, in_dims[2], x))))


def pull(
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
        g = lib.kron_product(transposed(factors[last + 1 :]), axes[last + 1 :], g)
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
        return [None] * len(factors), None, lib.kron_product(transposed(factors), ctx.axes, g)
    grads, gx = pull(lib, factors, ctx.axes, x, g, needed[0], needed[2])
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
    batched=functools.partial(one_by_one, "kron_gram"),
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
    batched=functools.partial(one_by_one, "kron_eigh"),
    setup_context=lambda ctx, inputs, output: None,
    backward=lambda lib, ctx, needed, *grads: None,  # the operators that take them ascribe theirs to the factors
)


# ---- the solution of (K + s I) z = y


def _solve(parts: list[Tensor], y: Tensor, noise: Tensor) -> Tensor:
    _, values, vectors = thirds(parts)
    axes = range(len(values))
    a = kernels.matmul(transposed(vectors), axes, y)
    kernels.spectral(values, noise, a, a)
    return kernels.matmul(vectors, axes, a)


def _solve_batched(
    lib: SimpleNamespace, info: Any, in_dims: Any, parts: list[Tensor], y: Tensor, noise: Tensor
) -> tuple[Any, Any]:
    if not _constant((in_dims[0], in_dims[2])):
        return one_by_one("kron_solve", lib, info, in_dims, parts, y, noise)
    return unflat(info, lib.kron_solve(parts, flat(batch_first(info, in_dims[1], y)), noise))


def _save_solve(ctx: Any, inputs: Any, output: Tensor) -> None:
    parts, _, noise = inputs
    ctx.save_for_backward(*parts, noise, output)


def _solve_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    *parts, noise, z = ctx.saved_tensors
    u = lib.kron_solve(parts, g, noise)
    grads: list[Tensor | None] = [None] * len(parts)
    factors = thirds(parts)[0]
    wanted = thirds(needed[0])[0]
    if any(wanted):
        grads[: len(factors)] = pull(lib, factors, range(len(factors)), z, -u, wanted)[0]
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
