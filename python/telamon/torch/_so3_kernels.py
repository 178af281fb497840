"""The kernels of `telamon.so3` as operators torch.ops.telamon.so3_*, closed under derivatives of every order.

In "component" normalisation the mean over the sphere of g times x y is a symmetric trilinear form, and that of g times
the bracket {x, y} is cyclic (Stokes). So with P the product of either kind, or their sum,

    <g, P(x, y)> = <x, P(y, g)> = <y, P(g, x)>:      gx = P(y, g),   gy = P(g, x),

each cut to the degrees of its argument. The monomial A[prod x_i^p_i] has gx_i = p_i A[g x_i^(p_i - 1) prod others]; the
convolution's gradient in x is the convolution back along the edges; and solid harmonics have derivatives that are
constant combinations of solid harmonics one degree lower. So each formula below calls the same operators again.

Tensors here are (samples, components, channels) of one dtype and device, whatever their strides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import _core
from ..so3 import _harmonics as harmonics
from ._operators import batch_first, is_traced, numpy_view, register


def _call(kernel: str, like: Tensor, *args: Any) -> None:
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


def _to_numpy(a: Any) -> Any:
    if isinstance(a, Tensor):
        return numpy_view(a)
    return [numpy_view(t) if isinstance(t, Tensor) else t for t in a] if isinstance(a, list) else a


def _components(lmax: int) -> int:
    return (lmax + 1) ** 2


def _lmax(x: Tensor) -> int:
    return int(x.shape[1] ** 0.5 + 0.5) - 1


# ---- numbers per degree and numbers per component


def _constant(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Cache a table, except where a tracer must see how it is made."""
    made: dict[Any, Tensor] = {}

    def get(*key: Any) -> Tensor:
        if is_traced():
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
    return w.index_select(dim, _degrees(_components(w.shape[dim] - 1), w.device))


def _per_degree(x: Tensor, dim: int) -> Tensor:
    """The transpose of per_component: the sum over the components of each degree."""
    if dim == 0:
        return _summation(x.shape[0], x.dtype, x.device) @ x
    shape = list(x.shape)
    shape[dim] = int(x.shape[dim] ** 0.5 + 0.5)
    return x.new_zeros(shape).index_add(dim, _degrees(x.shape[dim], x.device), x)


def _flat(t: Tensor) -> Tensor:
    """vmap's batch dimension joined to the samples."""
    return t.reshape(t.shape[0] * t.shape[1], *t.shape[2:])


def _flat_batch(name: str, lib: SimpleNamespace, info: Any, in_dims: Any, args: Any, n_tensors: int) -> tuple[Any, Any]:
    """The rule of vmap for a kernel that treats its samples one by one."""
    tensors = [_flat(batch_first(info, dim, t)) for t, dim in zip(args[:n_tensors], in_dims, strict=False)]
    out = getattr(lib, name)(*tensors, *args[n_tensors:])
    return _unflat(info, out)


def _unflat(info: Any, out: Any) -> tuple[Any, Any]:
    if isinstance(out, Tensor):
        return out.reshape(info.batch_size, out.shape[0] // info.batch_size, *out.shape[1:]), 0
    return tuple(_unflat(info, t)[0] for t in out), (0,) * len(out)


def _one_by_one(name: str, lib: SimpleNamespace, info: Any, in_dims: Any, args: Any) -> tuple[Any, Any]:
    """The rule of vmap where a batched argument is one that all samples share: a loop over the batch."""
    results = []
    for i in range(info.batch_size):
        results.append(
            getattr(lib, name)(*(a if dim is None else a.select(dim, i) for a, dim in zip(args, in_dims, strict=True)))
        )
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    return tuple(torch.stack(list(column)) for column in zip(*results, strict=True)), (0,) * len(results[0])


# ---- products: w_i is None or (rank, degrees, channels); z = sum over the ranks of w3 A[S(w1 x) S(w2 y)]

_WEIGHTED = "Tensor x, Tensor y, Tensor? w1, Tensor? w2, Tensor? w3, int lmax_out"


def _rank(weights: tuple[Tensor | None, ...]) -> int:
    return next((w.shape[0] for w in weights if w is not None), 1)


def _at(w: Tensor | None, r: int) -> Tensor | None:
    return w if w is None or w.shape[0] == 1 else w[r : r + 1]


def _reachable(out: Tensor, most: int) -> Tensor:
    """The components of a result up to degree `most`; the others are set to 0.

    A derivative may have a higher degree than its factors together: that of a product cut below one of them.
    """
    size = _components(most)
    if out.shape[1] <= size:
        return out
    out[:, size:].zero_()
    return out[:, :size]


def _run_product(
    x: Tensor, y: Tensor, out: Tensor, odd: Tensor | None, kind: str, method: str, *weights: Tensor | None
) -> None:
    most = _lmax(x) + _lmax(y)
    out = _reachable(out, most)
    odd = None if odd is None else _reachable(odd, most)
    if all(w is None for w in weights):
        _call("so3_product", x, x, y, out, odd, kind, method)
        return
    w1, w2, w3 = weights
    if w3 is not None and w3.shape[1] > most + 1:
        w3 = w3[:, : most + 1]
    for r in range(_rank(weights)):
        at = (None if w is None else w.select(0, r) for w in (w1, w2, w3))
        _call("so3_product", x, x, y, out, odd, kind, method, r > 0, *at)


def _new(x: Tensor, lmax: int) -> Tensor:
    return x.new_empty(x.shape[0], _components(lmax), x.shape[2])


def _product(
    x: Tensor, y: Tensor, w1: Tensor | None, w2: Tensor | None, w3: Tensor | None, lmax_out: int, kind: str, method: str
) -> Tensor:
    out = _new(x, lmax_out)
    _run_product(x, y, out, None, kind, method, w1, w2, w3)
    return out


def _complete(
    x: Tensor, y: Tensor, w1: Tensor | None, w2: Tensor | None, w3: Tensor | None, lmax_out: int, method: str
) -> tuple[Tensor, Tensor]:
    out, odd = _new(x, lmax_out), _new(x, lmax_out)
    _run_product(x, y, out, odd, "complete", method, w1, w2, w3)
    return out, odd


def _product_batched(name: str, lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    if any(dim is not None for dim in in_dims[2:5]):
        return _one_by_one(name, lib, info, in_dims, args)
    return _flat_batch(name, lib, info, in_dims, args, 2)


def _save_product(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.options = inputs[5:]
    ctx.set_materialize_grads(False)


def _slot(
    lib: SimpleNamespace, needed: Any, i: int, triple: tuple[Any, ...], weights: Any, kind: str, method: str
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients in the i-th of (x, y, g) and in its weights, by <g, P(x, y)> = <x, P(y, g)> = <y, P(g, x)>."""
    of, a, b = (triple[(i + k) % 3] for k in range(3))
    w, wa, wb = (weights[(i + k) % 3] for k in range(3))
    wanted = i < 2 and needed[i]
    if w is None or not needed[2 + i]:
        return (lib.so3_product(a, b, wa, wb, w, _lmax(of), kind, method) if wanted else None), None
    grads, parts = [], []
    for r in range(w.shape[0]):
        unweighted = lib.so3_product(a, b, _at(wa, r), _at(wb, r), None, _lmax(of), kind, method)
        parts.append(_per_degree((of * unweighted).sum(0), 0))
        if wanted:
            grads.append(unweighted * per_component(w[r], 0))
    by_weight = parts[0][None] if len(parts) == 1 else torch.stack(parts)
    return (functools.reduce(torch.add, grads) if wanted else None), by_weight


def _product_gradient(
    lib: SimpleNamespace, ctx: Any, needed: Any, terms: list[tuple[str, Tensor | None]], method: str
) -> Any:
    """The gradients in x, y and the weights, summed over (kind of product, gradient of its result)."""
    x, y, *weights = ctx.saved_tensors
    if len(terms) == 1 and all(w is None for w in weights):
        ((kind, g),) = terms
        gx = lib.so3_product(y, g, None, None, None, _lmax(x), kind, method) if needed[0] else None
        gy = lib.so3_product(g, x, None, None, None, _lmax(y), kind, method) if needed[1] else None
        return gx, gy, None, None, None
    total: list[Tensor | None] = [None] * 6
    for kind, g in terms:
        if g is None:
            continue
        for i in range(3):
            for at, grad in zip((i, 3 + i), _slot(lib, needed, i, (x, y, g), weights, kind, method), strict=True):
                before = total[at]
                total[at] = grad if before is None else before if grad is None else before + grad
    return total[0], total[1], total[3], total[4], total[5]


def _product_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor | None) -> Any:
    _, kind, method = ctx.options
    if g is None:
        return (None,) * 8
    return (*_product_gradient(lib, ctx, needed, [(kind, g)], method), None, None, None)


def _complete_backward(lib: SimpleNamespace, ctx: Any, needed: Any, even: Tensor | None, odd: Tensor | None) -> Any:
    _, method = ctx.options
    return (*_product_gradient(lib, ctx, needed, [("even", even), ("odd", odd)], method), None, None)


register(
    "so3_product",
    f"({_WEIGHTED}, str kind, str method) -> Tensor",
    _product,
    fake=lambda x, y, w1, w2, w3, lmax_out, kind, method: _new(x, lmax_out),
    batched=functools.partial(_product_batched, "so3_product"),
    setup_context=_save_product,
    backward=_product_backward,
)
register(
    "so3_complete",
    f"({_WEIGHTED}, str method) -> (Tensor, Tensor)",
    _complete,
    fake=lambda x, y, w1, w2, w3, lmax_out, method: (_new(x, lmax_out), _new(x, lmax_out)),
    batched=functools.partial(_product_batched, "so3_complete"),
    setup_context=_save_product,
    backward=_complete_backward,
)


# ---- monomials


def _monomial(factors: list[Tensor], powers: list[int], lmax_out: int) -> Tensor:
    out = _new(factors[0], lmax_out)
    reachable = _reachable(out, sum(_lmax(x) * p for x, p in zip(factors, powers, strict=True)))
    if sum(powers) == 2:  # the product has kernels of its own
        _call("so3_product", out, factors[0], factors[-1], reachable, None, "even", "auto")
    else:
        _call("so3_monomial", out, list(factors), list(powers), reachable)
    return out


def _monomial_batched(
    lib: SimpleNamespace, info: Any, in_dims: Any, factors: list[Tensor], powers: list[int], lmax_out: int
) -> tuple[Any, Any]:
    flat = [_flat(batch_first(info, dim, t)) for t, dim in zip(factors, in_dims[0], strict=True)]
    return _unflat(info, lib.so3_monomial(flat, powers, lmax_out))


def _save_monomial(ctx: Any, inputs: Any, output: Tensor) -> None:
    factors, powers, _ = inputs
    ctx.save_for_backward(*factors)
    ctx.powers = list(powers)


def _monomial_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    factors, powers = list(ctx.saved_tensors), ctx.powers
    grads: list[Tensor | None] = []
    for i, wanted in enumerate(needed[0]):
        if not wanted:
            grads.append(None)
            continue
        lowered = [p - (j == i) for j, p in enumerate(powers)]
        kept = [j for j, p in enumerate(lowered) if p]
        grad = lib.so3_monomial([g, *(factors[j] for j in kept)], [1, *(lowered[j] for j in kept)], _lmax(factors[i]))
        grads.append(grad * powers[i] if powers[i] > 1 else grad)
    return grads, None, None


register(
    "so3_monomial",
    "(Tensor[] factors, int[] powers, int lmax_out) -> Tensor",
    _monomial,
    fake=lambda factors, powers, lmax_out: _new(factors[0], lmax_out),
    batched=_monomial_batched,
    setup_context=_save_monomial,
    backward=_monomial_backward,
    variadic=True,
)


# ---- solid harmonics: grad S_k = sum_j G_kj S_j, with a constant G that lowers the degree by one. G and its transpose
# are operators too, so that no compiler needs to trace the table.


@functools.cache
def _gradient_matrix(lmax: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """G as a sparse matrix (3 components(lmax - 1), components(lmax))."""
    table = harmonics.gradient_table(lmax)
    term, axis, k = np.nonzero(table.value)
    index = np.stack([axis * _components(lmax - 1) + table.source[term, axis, k], k])
    size = (3 * _components(lmax - 1), _components(lmax))
    values = torch.from_numpy(table.value[term, axis, k])
    matrix = torch.sparse_coo_tensor(torch.from_numpy(index), values, size, check_invariants=False)
    return matrix.to(device=device, dtype=dtype).coalesce()


def _harmonics(r: Tensor, lmax: int) -> Tensor:
    out = r.new_empty(r.shape[0], _components(lmax))
    _call("so3_harmonics", r, r, out)
    return out


def _lower(g: Tensor, lmax: int) -> Tensor:
    matrix = _gradient_matrix(lmax, g.dtype, g.device)
    return torch.mm(matrix, g.T).T.contiguous().view(g.shape[0], 3, _components(lmax - 1))


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


def _harmonics_grad_batched(lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    return _flat_batch("so3_harmonics_grad", lib, info, in_dims, args, 2)


def _batched_1(name: str, lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    return _flat_batch(name, lib, info, in_dims, args, 1)


register(
    "so3_harmonics",
    "(Tensor r, int lmax) -> Tensor",
    _harmonics,
    fake=lambda r, lmax: r.new_empty(r.shape[0], _components(lmax)),
    batched=functools.partial(_batched_1, "so3_harmonics"),
    setup_context=_save_harmonics,
    backward=_harmonics_backward,
)
register(
    "so3_harmonics_grad",
    "(Tensor r, Tensor g, int lmax) -> Tensor",
    _harmonics_grad,
    fake=lambda r, g, lmax: torch.zeros_like(r, memory_format=torch.contiguous_format),
    batched=_harmonics_grad_batched,
    setup_context=_save_harmonics_grad,
    backward=_harmonics_grad_backward,
)
register(
    "so3_lower",
    "(Tensor g, int lmax) -> Tensor",
    _lower,
    fake=lambda g, lmax: g.new_empty(g.shape[0], 3, _components(lmax - 1)),
    batched=functools.partial(_batched_1, "so3_lower"),
    setup_context=_save_lmax,
    backward=lambda lib, ctx, needed, h: (lib.so3_raise(h, ctx.lmax), None),
)
register(
    "so3_raise",
    "(Tensor h, int lmax) -> Tensor",
    _raise,
    fake=lambda h, lmax: h.new_empty(h.shape[0], _components(lmax)),
    batched=functools.partial(_batched_1, "so3_raise"),
    setup_context=_save_lmax,
    backward=lambda lib, ctx, needed, g: (lib.so3_lower(g, ctx.lmax), None),
)


# ---- convolution: directions are of length 1, w is (edges, degrees of the filter, channels)


def _check_edges(x: Tensor, directions: Tensor, senders: Tensor | None, receivers: Tensor | None, num_out: int) -> None:
    where = "telamon.torch.gaunt_conv"
    zero = (directions == 0).all(1)
    if zero.any():
        raise ValueError(f"{where}: directions[{int(zero.nonzero()[0])}] is zero; leave out edges of length 0")
    for name, index, rows in (("senders", senders, x.shape[0]), ("receivers", receivers, num_out)):
        if index is not None and index.numel() and (int(index.min()) < 0 or int(index.max()) >= rows):
            raise ValueError(
                f"{where}: {name} has indices from {int(index.min())} to {int(index.max())}; pass 0 to {rows - 1}"
            )


def _conv(
    x: Tensor,
    directions: Tensor,
    w: Tensor,
    lmax_out: int,
    senders: Tensor | None,
    receivers: Tensor | None,
    num_out: int,
) -> Tensor:
    if directions.device.type == "cpu":
        _check_edges(x, directions, senders, receivers, num_out)
    out = x.new_empty(num_out, _components(lmax_out), x.shape[2])
    _call("so3_conv", x, x, directions, w, _reachable(out, _lmax(x) + w.shape[1] - 1), senders, receivers)
    return out


def _save_conv(ctx: Any, inputs: Any, output: Tensor) -> None:
    x, directions, w, _, senders, receivers, _ = inputs
    ctx.save_for_backward(x, directions, w, senders, receivers)


def _conv_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    x, directions, w, senders, receivers = ctx.saved_tensors
    need_x, need_directions, need_w = needed[:3]
    l2 = w.shape[1] - 1
    gx = gd = gw = None
    if need_x:
        gx = lib.so3_conv(g, directions, w, _lmax(x), receivers, senders, x.shape[0])
    if need_directions or need_w:
        x = x if senders is None else x.index_select(0, senders)
        g = g if receivers is None else g.index_select(0, receivers)
        by_filter = lib.so3_product(x, g, None, None, None, l2, "even", "auto")
        if need_w:
            gw = _per_degree(by_filter * lib.so3_harmonics(directions, l2)[..., None], 1)
        if need_directions:
            gd = lib.so3_harmonics_grad(directions, (by_filter * per_component(w, 1)).sum(-1), l2)
    return gx, gd, gw, None, None, None, None


def _conv_batched(lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    return _one_by_one("so3_conv", lib, info, in_dims, args)


register(
    "so3_conv",
    "(Tensor x, Tensor directions, Tensor w, int lmax_out, Tensor? senders, Tensor? receivers, SymInt num_out)"
    " -> Tensor",
    _conv,
    fake=lambda x, d, w, lmax_out, senders, receivers, num_out: x.new_empty(num_out, _components(lmax_out), x.shape[2]),
    batched=_conv_batched,
    setup_context=_save_conv,
    backward=_conv_backward,
)


# ---- rotations


def _check_rotations(function: str, rotations: Tensor) -> None:
    if rotations.is_cpu:  # a GPU would have to be waited for
        harmonics._rotations(f"telamon.torch.{function}", numpy_view(rotations))


def _rotate(x: Tensor, rotations: Tensor, transposed: bool) -> Tensor:
    _check_rotations("rotate", rotations)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    _call("so3_rotate", x, rotations, x, out, transposed)
    return out


def _save_rotate(ctx: Any, inputs: Any, output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.transposed = inputs[2]


def _rotate_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    if needed[1]:
        raise NotImplementedError("telamon.torch.rotate: derivatives in R are not implemented; pass R.detach()")
    return lib.so3_rotate(g, ctx.saved_tensors[0], not ctx.transposed), None, None


def _rotate_batched(lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    return _flat_batch("so3_rotate", lib, info, in_dims, args, 2)


register(
    "so3_rotate",
    "(Tensor x, Tensor rotations, bool transposed) -> Tensor",
    _rotate,
    fake=lambda x, rotations, transposed: torch.empty_like(x, memory_format=torch.contiguous_format),
    batched=_rotate_batched,
    setup_context=_save_rotate,
    backward=_rotate_backward,
)


def _wigner(rotations: Tensor, l: int) -> Tensor:
    _check_rotations("wigner_D", rotations)
    out = rotations.new_empty(rotations.shape[0], 2 * l + 1, 2 * l + 1)
    _call("so3_wigner", rotations, rotations, out, l)
    return out


def _wigner_backward(lib: SimpleNamespace, ctx: Any, needed: Any, g: Tensor) -> Any:
    raise NotImplementedError("telamon.torch.wigner_D: derivatives in R are not implemented; pass R.detach()")


register(
    "so3_wigner",
    "(Tensor rotations, int l) -> Tensor",
    _wigner,
    fake=lambda rotations, l: rotations.new_empty(rotations.shape[0], 2 * l + 1, 2 * l + 1),
    batched=functools.partial(_batched_1, "so3_wigner"),
    setup_context=lambda ctx, inputs, output: None,
    backward=_wigner_backward,
)
