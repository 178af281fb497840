"""Products on the sphere as operators torch.ops.telamon.so3_*, closed under derivatives of every order.

In "component" normalisation the mean over the sphere of g times x y is a symmetric trilinear form, and that of g times
the bracket {x, y} is cyclic (Stokes). So with P the product of either kind, or their sum,

    <g, P(x, y)> = <x, P(y, g)> = <y, P(g, x)>:      gx = P(y, g),   gy = P(g, x),

each cut to the degrees of its argument. The monomial A[prod x_i^p_i] has gx_i = p_i A[g x_i^(p_i - 1) prod others]; the
convolution's gradient in x is the convolution back along the edges. So each formula below calls the same operators.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ._operators import batch_first, is_watched, register
from ._so3_call import (
    call,
    call_products,
    components,
    flat,
    flat_batch,
    lmax_of,
    new_features,
    one_by_one,
    per_component,
    per_degree,
    reachable,
    unflat,
)

# ---- products: w_i is None or (rank, degrees, channels); z = sum over the ranks of w3 A[S(w1 x) S(w2 y)]

_WEIGHTED = "Tensor x, Tensor y, Tensor? w1, Tensor? w2, Tensor? w3, int lmax_out"


def _rank(weights: tuple[Tensor | None, ...]) -> int:
    return next((w.shape[0] for w in weights if w is not None), 1)


def _at(w: Tensor | None, r: int) -> Tensor | None:
    return w if w is None or w.shape[0] == 1 else w[r : r + 1]


def _run_product(
    x: Tensor, y: Tensor, out: Tensor, odd: Tensor | None, kind: str, method: str, *weights: Tensor | None
) -> None:
    most = lmax_of(x) + lmax_of(y)
    out = reachable(out, most)
    odd = None if odd is None else reachable(odd, most)
    if all(w is None for w in weights):
        if odd is None and call_products(x, kind, method, (x, y, out)):
            return
        call("so3_product", x, x, y, out, odd, kind, method)
        return
    w1, w2, w3 = weights
    if w3 is not None and w3.shape[1] > most + 1:
        w3 = w3[:, : most + 1]
    for r in range(_rank(weights)):
        at = (None if w is None else w.select(0, r) for w in (w1, w2, w3))
        call("so3_product", x, x, y, out, odd, kind, method, r > 0, *at)


def _product(
    x: Tensor, y: Tensor, w1: Tensor | None, w2: Tensor | None, w3: Tensor | None, lmax_out: int, kind: str, method: str
) -> Tensor:
    out = new_features(x, lmax_out)
    _run_product(x, y, out, None, kind, method, w1, w2, w3)
    return out


def _complete(
    x: Tensor, y: Tensor, w1: Tensor | None, w2: Tensor | None, w3: Tensor | None, lmax_out: int, method: str
) -> tuple[Tensor, Tensor]:
    out, odd = new_features(x, lmax_out), new_features(x, lmax_out)
    _run_product(x, y, out, odd, "complete", method, w1, w2, w3)
    return out, odd


def _product_batched(name: str, lib: SimpleNamespace, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    if any(dim is not None for dim in in_dims[2:5]):
        return one_by_one(name, lib, info, in_dims, *args)
    return flat_batch(name, 2, lib, info, in_dims, *args)


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
        return (lib.so3_product(a, b, wa, wb, w, lmax_of(of), kind, method) if wanted else None), None
    grads, parts = [], []
    for r in range(w.shape[0]):
        unweighted = lib.so3_product(a, b, _at(wa, r), _at(wb, r), None, lmax_of(of), kind, method)
        parts.append(per_degree((of * unweighted).sum(0), 0))
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
        if g is not None and all(needed[:2]) and not is_watched(x, y, g):
            both = new_features(x, lmax_of(x)), new_features(y, lmax_of(y))
            cut_x, cut_y = (reachable(t, lmax_of(g) + lmax_of(o)) for t, o in zip(both, (y, x), strict=True))
            if call_products(x, kind, method, (y, g, cut_x), (g, x, cut_y)):  # in one call
                return *both, None, None, None
        gx = lib.so3_product(y, g, None, None, None, lmax_of(x), kind, method) if needed[0] else None
        gy = lib.so3_product(g, x, None, None, None, lmax_of(y), kind, method) if needed[1] else None
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
    fake=lambda x, y, w1, w2, w3, lmax_out, kind, method: new_features(x, lmax_out),
    batched=functools.partial(_product_batched, "so3_product"),
    setup_context=_save_product,
    backward=_product_backward,
)
register(
    "so3_complete",
    f"({_WEIGHTED}, str method) -> (Tensor, Tensor)",
    _complete,
    fake=lambda x, y, w1, w2, w3, lmax_out, method: (new_features(x, lmax_out), new_features(x, lmax_out)),
    batched=functools.partial(_product_batched, "so3_complete"),
    setup_context=_save_product,
    backward=_complete_backward,
)


# ---- monomials


def _monomial(factors: list[Tensor], powers: list[int], lmax_out: int) -> Tensor:
    out = new_features(factors[0], lmax_out)
    result = reachable(out, sum(lmax_of(x) * p for x, p in zip(factors, powers, strict=True)))
    if sum(powers) == 2:  # the product has kernels of its own
        call("so3_product", out, factors[0], factors[-1], result, None, "even", "auto")
    else:
        call("so3_monomial", out, list(factors), list(powers), result)
    return out


def _monomial_batched(
    lib: SimpleNamespace, info: Any, in_dims: Any, factors: list[Tensor], powers: list[int], lmax_out: int
) -> tuple[Any, Any]:
    joined = [flat(batch_first(info, dim, t)) for t, dim in zip(factors, in_dims[0], strict=True)]
    return unflat(info, lib.so3_monomial(joined, powers, lmax_out))


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
        grad = lib.so3_monomial([g, *(factors[j] for j in kept)], [1, *(lowered[j] for j in kept)], lmax_of(factors[i]))
        grads.append(grad * powers[i] if powers[i] > 1 else grad)
    return grads, None, None


register(
    "so3_monomial",
    "(Tensor[] factors, int[] powers, int lmax_out) -> Tensor",
    _monomial,
    fake=lambda factors, powers, lmax_out: new_features(factors[0], lmax_out),
    batched=_monomial_batched,
    setup_context=_save_monomial,
    backward=_monomial_backward,
    variadic=True,
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
    out = x.new_empty(num_out, components(lmax_out), x.shape[2])
    call("so3_conv", x, x, directions, w, reachable(out, lmax_of(x) + w.shape[1] - 1), senders, receivers)
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
        gx = lib.so3_conv(g, directions, w, lmax_of(x), receivers, senders, x.shape[0])
    if need_directions or need_w:
        x = x if senders is None else x.index_select(0, senders)
        g = g if receivers is None else g.index_select(0, receivers)
        by_filter = lib.so3_product(x, g, None, None, None, l2, "even", "auto")
        if need_w:
            gw = per_degree(by_filter * lib.so3_harmonics(directions, l2)[..., None], 1)
        if need_directions:
            gd = lib.so3_harmonics_grad(directions, (by_filter * per_component(w, 1)).sum(-1), l2)
    return gx, gd, gw, None, None, None, None


register(
    "so3_conv",
    "(Tensor x, Tensor directions, Tensor w, int lmax_out, Tensor? senders, Tensor? receivers, SymInt num_out)"
    " -> Tensor",
    _conv,
    fake=lambda x, d, w, lmax_out, senders, receivers, num_out: x.new_empty(num_out, components(lmax_out), x.shape[2]),
    batched=functools.partial(one_by_one, "so3_conv"),
    setup_context=_save_conv,
    backward=_conv_backward,
)
