"""`telamon.so3` on tensors, differentiable to every order; documented in `telamon.torch`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .. import _so3_shapes as shapes
from . import _so3_products, _so3_sphere  # noqa: F401  they register the kernels
from ._operators import FULL, HALF, lib
from ._so3_call import per_component

__all__ = [
    "gaunt_conv",
    "gaunt_monomial",
    "gaunt_power",
    "gaunt_product",
    "rotate",
    "spherical_harmonics",
    "wigner_D",
]

_broadcast_shapes: Any = torch.broadcast_shapes  # PyTorch has no types for it

Weights: TypeAlias = "Sequence[Tensor | None] | None"


# ---- arguments


def _where(function: str) -> str:
    return f"telamon.torch.{function}"


def _tensors(where: str, **arguments: Tensor | None) -> torch.dtype:
    """Check types, dtypes and devices; the dtype of the result."""
    first: Tensor | None = None
    first_name, dtype = "", None
    for name, value in arguments.items():
        if value is None:
            continue
        if not isinstance(value, Tensor):
            raise TypeError(f"{where}: {name} is a {type(value).__name__}; pass a tensor")
        if value.dtype not in FULL and value.dtype not in HALF:
            raise TypeError(f"{where}: {name} has dtype {value.dtype}; pass {name}.to(torch.float64), or float32")
        if first is None or dtype is None:
            first, first_name, dtype = value, name, value.dtype
            continue
        if value.device != first.device:
            raise ValueError(
                f"{where}: {first_name} is on {first.device} and {name} on {value.device}; "
                f"move {first_name} or {name} to one device"
            )
        if value.dtype != dtype:
            dtype = torch.promote_types(dtype, value.dtype)
    assert dtype is not None
    return dtype


def _compute(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in HALF else dtype


def _features(where: str, name: str, x: Tensor, dtype: torch.dtype, layout: str) -> tuple[Tensor, int]:
    """The tensor with channels last in the compute dtype, and its lmax."""
    if x.ndim < 2:
        raise ValueError(f"{where}: {name} has shape {tuple(x.shape)}; pass (..., components, channels)")
    if x.dtype != dtype:
        x = x.to(dtype)
    if layout == "channels_first":
        x = x.transpose(-1, -2)
    return x, shapes.lmax_of(where, name, x.shape[-2])


def _leading(where: str, parts: dict[str, Any]) -> tuple[int, ...]:
    """The leading dimensions that all broadcast to."""
    first, *others = parts.values()
    if all(lead == first for lead in others):
        return tuple(first)
    try:
        return tuple(_broadcast_shapes(first, *others))
    except RuntimeError:
        text = " and ".join(f"{name} {tuple(lead)}" for name, lead in parts.items())
        raise ValueError(f"{where}: the leading dimensions do not broadcast: {text}") from None


def _samples(x: Tensor, lead: tuple[int, ...], channels: int) -> Tensor:
    """The tensor as (samples, components, channels), repeated without a copy where it is broadcast."""
    shape = (*lead, x.shape[-2], channels)
    if x.shape != shape:
        x = x.expand(shape)
    return x if x.ndim == 3 else x.reshape(math.prod(lead), *shape[-2:])


def _restore(z: Tensor, lead: tuple[int, ...], dtype: torch.dtype, layout: str) -> Tensor:
    if len(lead) != 1:
        z = z.reshape(*lead, *z.shape[1:])
    if layout == "channels_first":
        z = z.transpose(-1, -2)
    return z if z.dtype == dtype else z.to(dtype)


def _options(where: str, normalization: str, layout: str) -> None:
    shapes.choice(where, "normalization", normalization, shapes.NORMALIZATIONS)
    shapes.choice(where, "layout", layout, shapes.LAYOUTS)


def _scaled(x: Tensor, lmax: int, normalization: str, power: int = 1) -> Tensor:
    """x times (Y in this normalisation over Y in "component")^power, degree by degree along the last but one axis."""
    scales = shapes.degree_scales(lmax, normalization)
    if scales is None:
        return x
    if normalization == "integral":
        return x * scales[0] ** power
    return x * per_component(x.new_tensor([s**power for s in scales]), 0)[:, None]


# ---- products


def _weights(where: str, weights: Any, lmaxs: tuple[int, int, int], x: Tensor, channels: int) -> list[Any]:
    """The weights of x, y and the result, each None or (rank, degrees, channels)."""
    if not isinstance(weights, (tuple, list)):
        raise TypeError(f"{where}: weights is a {type(weights).__name__}; pass (w1, w2, w3), each a tensor or None")
    if len(weights) != 3:
        raise ValueError(f"{where}: weights has {len(weights)} entries; pass 3, (w1, w2, w3), each a tensor or None")
    named = {f"weights[{i}]": w for i, w in enumerate(weights)}
    _tensors(where, x=x, **named)
    result: list[Tensor | None] = []
    rank = 1
    for (name, w), lmax in zip(named.items(), lmaxs, strict=True):
        if w is None:
            result.append(None)
            continue
        if w.dtype != x.dtype:
            w = w.to(x.dtype)
        full = w if w.ndim == 3 else w[None, :, None] if w.ndim == 1 else w.unsqueeze(0)
        if full.ndim != 3 or full.shape[1] != lmax + 1 or full.shape[2] not in (1, channels):
            raise ValueError(
                f"{where}: {name} has shape {tuple(w.shape)}; pass ({lmax + 1},), ({lmax + 1}, {channels}) or "
                f"(rank, {lmax + 1}, {channels}), for degrees 0 to {lmax} and {channels} channels"
            )
        if full.shape[0] != 1 and rank not in (1, full.shape[0]):
            raise ValueError(f"{where}: {name} has rank {full.shape[0]} and another weight {rank}; pass equal ranks")
        rank = max(rank, full.shape[0])
        result.append(full)
    return [w if w is None or w.shape[::2] == (rank, channels) else w.expand(rank, -1, channels) for w in result]


def _normalized(weights: list[Any], lmaxs: tuple[int, int, int], normalization: str, x: Tensor, channels: int) -> None:
    """Let the weights bring x and y to "component" normalisation, and the result back."""
    for i, (lmax, power) in enumerate(zip(lmaxs, (1, 1, -1), strict=True)):
        scales = [s**power for s in shapes.degree_scales(lmax, normalization) or ()]
        if normalization == "integral":
            if i < 2:
                continue
            scales = [1 / s for s in scales]  # s s / s
        factor = x.new_tensor(scales)[None, :, None]
        weights[i] = factor.expand(1, lmax + 1, channels) if weights[i] is None else weights[i] * factor
    rank = max(w.shape[0] for w in weights if w is not None)
    weights[:] = [None if w is None else w.expand(rank, *w.shape[1:]) for w in weights]


def gaunt_product(
    x: Tensor,
    y: Tensor,
    lmax_out: int | None = None,
    *,
    weights: Weights = None,
    parity: str = "even",
    group: str = "O3",
    normalization: str = "component",
    layout: str = "channels_last",
    method: str = "auto",
) -> Any:
    """The product of two functions on the sphere, cut to degree lmax_out: z = A[S(x) S(y)], channel by channel.

    S(x) is the function with the coefficients x, A[f] the coefficients of f. With weights it is
    sum_r w3_r A[S(w1_r x) S(w2_r y)]. As `telamon.so3.gaunt_product`, with gradients in x, y and the weights.

    Parameters
    ----------
    x, y : Tensor
        (..., (l1+1)^2, C) and (..., (l2+1)^2, C), or with the last two exchanged; one may have a single channel, and
        the leading dimensions broadcast.
    lmax_out : int, optional
        At most l1 + l2; by default the larger of l1 and l2.
    weights : (w1, w2, w3), optional
        For x, y and the result, each None or a tensor of shape (l+1,), (l+1, C) or (rank, l+1, C); C may be 1.
    parity : {"even", "complete"}
        "complete" adds the odd paths, the bracket (f_theta g_phi - f_phi g_theta) / sin theta.
    group : {"O3", "SO3"}
        What "complete" returns: the pair (even, odd), of which the second are pseudo-tensors; or their sum.
    normalization : {"component", "integral", "norm"}
        Which spherical harmonics the coefficients belong to.
    layout : {"channels_last", "channels_first"}
        (..., components, channels), which the kernels prefer, or (..., channels, components), then a view of such.
    method : {"auto", "sparse", "grid", "fourier"}
        The kernel; "auto" takes the fastest. "fourier" has no odd paths.

    Returns
    -------
    Tensor or pair of Tensor
        (..., (lmax_out+1)^2, C) in the promoted dtype.

    Raises
    ------
    TypeError
        If an argument is no tensor of floating point.
    ValueError
        If the shapes, devices or options do not fit.
    """
    where = _where("gaunt_product")
    dtype = _tensors(where, x=x, y=y)
    shapes.choice(where, "parity", parity, shapes.PARITIES)
    shapes.choice(where, "group", group, shapes.GROUPS)
    shapes.choice(where, "method", method, shapes.METHODS)
    if method == "fourier" and parity != "even":
        raise ValueError(f"{where}: method 'fourier' has no odd paths, parity is {parity!r}; pass another method")
    _options(where, normalization, layout)
    x, l1 = _features(where, "x", x, _compute(dtype), layout)
    y, l2 = _features(where, "y", y, _compute(dtype), layout)
    l3 = shapes.lmax_out_of(where, lmax_out, max(l1, l2), l1 + l2, "l1 + l2")
    if x.ndim == y.ndim == 3 and x.shape[::2] == y.shape[::2]:  # the usual case, at once
        lead: tuple[int, ...] = (x.shape[0],)
        channels = x.shape[2]
    else:
        channels = shapes.channels_of(where, "x", x.shape[-1], "y", y.shape[-1])
        lead = _leading(where, {"x": x.shape[:-2], "y": y.shape[:-2]})
        x, y = _samples(x, lead, channels), _samples(y, lead, channels)
    ws = [None] * 3 if weights is None else _weights(where, weights, (l1, l2, l3), x, channels)
    if normalization != "component":
        _normalized(ws, (l1, l2, l3), normalization, x, channels)
    if parity == "complete" and group == "O3":
        pair = lib.so3_complete(x, y, *ws, l3, method)
        return tuple(_restore(z, lead, dtype, layout) for z in pair)
    kind = "sum" if parity == "complete" else "even"
    return _restore(lib.so3_product(x, y, *ws, l3, kind, method), lead, dtype, layout)


def gaunt_monomial(
    factors: Sequence[Tensor],
    powers: Sequence[int] | None = None,
    lmax_out: int | None = None,
    *,
    normalization: str = "component",
    layout: str = "channels_last",
) -> Tensor:
    """A[prod_i S(x_i)^p_i], a product of any number of functions on the sphere in one pass, cut only once.

    Parameters
    ----------
    factors : sequence of Tensor
        (..., (l_i+1)^2, C), as the arguments of `gaunt_product`.
    powers : sequence of int, optional
        As many, each at least 1, which is the default.
    lmax_out : int, optional
        At most sum p_i l_i; by default the largest of the l_i.
    normalization, layout
        As in `gaunt_product`.

    Returns
    -------
    Tensor
        (..., (lmax_out+1)^2, C).

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    return _monomial(_where("gaunt_monomial"), factors, powers, lmax_out, normalization, layout)


def _monomial(
    where: str,
    factors: Sequence[Tensor],
    powers: Sequence[int] | None,
    lmax_out: int | None,
    normalization: str,
    layout: str,
) -> Tensor:
    if isinstance(factors, Tensor) or not isinstance(factors, Sequence):
        raise TypeError(f"{where}: factors is a {type(factors).__name__}; pass a list of tensors")
    powers = [1] * len(factors) if powers is None else powers
    if not factors or len(powers) != len(factors):
        raise ValueError(
            f"{where}: factors has {len(factors)} tensors and powers {len(powers)} numbers; pass one power for each "
            "factor, and at least one factor"
        )
    _options(where, normalization, layout)
    names = [f"factors[{i}]" for i in range(len(factors))] if where.endswith("monomial") else ["x"]
    dtype = _tensors(where, **dict(zip(names, factors, strict=True)))
    n = [shapes.whole(where, "powers" if where.endswith("monomial") else "n", p, 1) for p in powers]
    pairs = [_features(where, name, x, _compute(dtype), layout) for name, x in zip(names, factors, strict=True)]
    lmaxs = [l for _, l in pairs]
    most = sum(l * p for l, p in zip(lmaxs, n, strict=True))
    l3 = shapes.lmax_out_of(where, lmax_out, max(lmaxs), most, "the sum of degree times power")
    channels = 1
    for name, (x, _) in zip(names, pairs, strict=True):
        channels = shapes.channels_of(where, names[0], channels, name, x.shape[-1])
    lead = _leading(where, {name: x.shape[:-2] for name, (x, _) in zip(names, pairs, strict=True)})
    flat = [_samples(_scaled(x, l, normalization), lead, channels) for x, l in pairs]
    z = lib.so3_monomial(flat, n, l3)
    return _restore(_scaled(z, l3, normalization, -1), lead, dtype, layout)


def gaunt_power(
    x: Tensor,
    n: int,
    lmax_out: int | None = None,
    *,
    normalization: str = "component",
    layout: str = "channels_last",
) -> Tensor:
    """A[S(x)^n], n >= 1: the n-th power of a function on the sphere in one pass, as in many-body descriptors.

    Parameters
    ----------
    x : Tensor
        (..., (lmax+1)^2, C).
    n : int
        At least 1.
    lmax_out : int, optional
        At most n lmax; by default lmax.
    normalization, layout
        As in `gaunt_product`.

    Returns
    -------
    Tensor
        (..., (lmax_out+1)^2, C).

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    return _monomial(_where("gaunt_power"), [x], [n], lmax_out, normalization, layout)


# ---- spherical harmonics


def _unit(r: Tensor) -> Tensor:
    """r / |r|, and 0 with derivatives 0 where r = 0."""
    # Divided by a constant first, so that no square under- or overflows.
    scale = r.detach().abs().amax(-1, keepdim=True)
    zero = scale == 0
    r = r / torch.where(zero, 1, scale)
    square = torch.where(zero, 1, (r * r).sum(-1, keepdim=True))
    return r * torch.where(zero, 0, square.rsqrt())


def _vectors(where: str, name: str, r: Tensor, dtype: torch.dtype) -> Tensor:
    if r.ndim < 1 or r.shape[-1] != 3:
        raise ValueError(f"{where}: {name} has shape {tuple(r.shape)}; pass (..., 3), in the order x, y, z")
    return r.to(dtype)


def spherical_harmonics(
    l: int | Sequence[int], r: Tensor, normalize: bool = True, normalization: str = "component"
) -> Tensor:
    """Real spherical harmonics Y_lm(r / |r|) in e3nn's convention, as `telamon.so3.spherical_harmonics`.

    Parameters
    ----------
    l : int or sequence of int
        A degree, or degrees whose harmonics are concatenated.
    r : Tensor
        (..., 3).
    normalize : bool
        False: the polynomials |r|^l Y_lm(r / |r|).
    normalization : {"component", "integral", "norm"}

    Returns
    -------
    Tensor
        (..., sum of 2l+1). At r = 0 degree 0 is its constant, and the others are 0, as are their derivatives if
        `normalize`. Differentiable to every order.

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    where = _where("spherical_harmonics")
    degrees = shapes.sh_degrees(where, l)
    dtype = _tensors(where, r=r)
    shapes.choice(where, "normalization", normalization, shapes.NORMALIZATIONS)
    r = _vectors(where, "r", r, _compute(dtype))
    lead = r.shape[:-1]
    if normalize:
        r = _unit(r)
    lmax = max(degrees)
    y = lib.so3_harmonics(r.reshape(math.prod(lead), 3), lmax)
    y = _scaled(y[..., None], lmax, normalization)[..., 0]
    if degrees != list(range(lmax + 1)):
        y = torch.cat([y[:, d * d : (d + 1) ** 2] for d in degrees], -1)
    return y.reshape(*lead, y.shape[-1]).to(dtype)


# ---- convolution


def _indices(where: str, name: str, index: Tensor | None, edges: int, like: Tensor) -> Tensor | None:
    if index is None:
        return None
    if not isinstance(index, Tensor):
        raise TypeError(f"{where}: {name} is a {type(index).__name__}; pass a tensor of int64")
    if index.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{where}: {name} has dtype {index.dtype}; pass {name}.long()")
    if index.device != like.device:
        raise ValueError(f"{where}: x is on {like.device} and {name} on {index.device}; move them to one device")
    if index.ndim != 1 or index.shape[0] != edges:
        raise ValueError(f"{where}: {name} has shape {tuple(index.shape)}; pass one index for each of {edges} edges")
    return index.long()


def gaunt_conv(
    x: Tensor,
    directions: Tensor,
    filter_weights: Tensor | None = None,
    lmax_out: int | None = None,
    *,
    lmax_filter: int | None = None,
    senders: Tensor | None = None,
    receivers: Tensor | None = None,
    num_receivers: int | None = None,
    normalization: str = "component",
    layout: str = "channels_last",
) -> Tensor:
    """Equivariant convolution: z_e = gaunt_product(x[senders_e], w_e Y(directions_e)), summed over a receiver's edges.

    As `telamon.so3.gaunt_conv`, with gradients in x, directions and filter_weights of every order.

    Parameters
    ----------
    x : Tensor
        (nodes, (l1+1)^2, C) with `senders`, otherwise (edges, (l1+1)^2, C).
    directions : Tensor
        (edges, 3), of any length but 0.
    filter_weights : Tensor, optional
        (edges, l2+1, C), (edges, l2+1) or (l2+1,): the filter's weight for each degree. Ones by default.
    lmax_out : int, optional
        At most l1 + l2; by default l1.
    lmax_filter : int, optional
        l2, where no filter_weights say it; by default l1.
    senders, receivers : Tensor of int64, optional
        For each edge the node it comes from and the one it goes to, in any order.
    num_receivers : int, optional
        The number of rows of the result, with `receivers`; by default that of x.
    normalization, layout
        As in `gaunt_product`.

    Returns
    -------
    Tensor
        (num_receivers or edges, (lmax_out+1)^2, C). A receiver without edges is 0.

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`; and for a direction of length 0.
    """
    where = _where("gaunt_conv")
    dtype = _tensors(where, x=x, directions=directions, filter_weights=filter_weights)
    _options(where, normalization, layout)
    if x.ndim != 3:
        raise ValueError(f"{where}: x has shape {tuple(x.shape)}; pass (nodes or edges, components, channels)")
    x, l1 = _features(where, "x", x, _compute(dtype), layout)
    directions = _vectors(where, "directions", directions, x.dtype)
    if directions.ndim != 2:
        raise ValueError(f"{where}: directions has shape {tuple(directions.shape)}; pass (edges, 3)")
    edges = directions.shape[0]
    w = _filter(where, filter_weights, l1 if lmax_filter is None else lmax_filter, edges, x)
    l2 = w.shape[1] - 1
    if lmax_filter is not None and lmax_filter != l2:
        raise ValueError(
            f"{where}: lmax_filter is {lmax_filter}, filter_weights has degrees up to {l2}; pass one of them"
        )
    l3 = shapes.lmax_out_of(where, lmax_out, l1, l1 + l2, "l1 + l2")
    channels = shapes.channels_of(where, "x", x.shape[-1], "filter_weights", w.shape[-1])
    senders = _indices(where, "senders", senders, edges, x)
    receivers = _indices(where, "receivers", receivers, edges, x)
    if senders is None and x.shape[0] != edges:
        raise ValueError(f"{where}: x has {x.shape[0]} rows for {edges} edges; pass senders, or one row for each edge")
    if receivers is None and num_receivers is not None:
        raise ValueError(f"{where}: num_receivers is {num_receivers} without receivers; pass both")
    rows = edges if receivers is None else x.shape[0]
    if num_receivers is not None:
        rows = shapes.whole(where, "num_receivers", num_receivers, 0)
    scales = shapes.degree_scales(l2, normalization)
    if scales is not None:  # of Y, and of the filter as an argument of the product
        w = w * w.new_tensor([s * s for s in scales])[:, None]
    x = _scaled(x, l1, normalization).expand(x.shape[0], x.shape[1], channels)
    w = w.expand(edges, l2 + 1, channels)
    z = lib.so3_conv(x, _unit(directions), w, l3, senders, receivers, rows)
    return _restore(_scaled(z, l3, normalization, -1), (rows,), dtype, layout)


def _filter(where: str, filter_weights: Tensor | None, lmax: int, edges: int, x: Tensor) -> Tensor:
    """The weights of the filter as (edges or 1, degrees, channels or 1)."""
    if filter_weights is None:
        return x.new_ones(1, shapes.whole(where, "lmax_filter", lmax, 0) + 1, 1)
    w = filter_weights.to(x.dtype)
    if w.ndim == 1:
        w = w[None, :, None]
    elif w.ndim == 2:
        w = w[:, :, None]
    if w.ndim != 3 or (filter_weights.ndim > 1 and w.shape[0] != edges) or w.shape[1] < 1:
        raise ValueError(
            f"{where}: filter_weights has shape {tuple(filter_weights.shape)}; pass ({edges}, degrees, channels), "
            f"({edges}, degrees) or (degrees,)"
        )
    return w


# ---- rotations


def _rotations(where: str, R: Tensor, dtype: torch.dtype) -> Tensor:
    if R.ndim < 2 or R.shape[-2:] != (3, 3):
        raise ValueError(f"{where}: R has shape {tuple(R.shape)}; pass (..., 3, 3)")
    return R.to(dtype)


def wigner_D(l: int, R: Tensor) -> Tensor:
    """D with Y_l(R r) = D Y_l(r), for orthogonal R; as `telamon.so3.wigner_D`. Not differentiable.

    Parameters
    ----------
    l : int
    R : Tensor
        (..., 3, 3), orthogonal; improper ones act with the parity (-1)^l.

    Returns
    -------
    Tensor
        (..., 2l+1, 2l+1).

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    where = _where("wigner_D")
    l = shapes.whole(where, "l", l, 0)
    dtype = _tensors(where, R=R)
    R = _rotations(where, R, _compute(dtype))
    lead = R.shape[:-2]
    d: Tensor = lib.so3_wigner(R.reshape(math.prod(lead), 3, 3).contiguous(), l)
    return d.reshape(*lead, 2 * l + 1, 2 * l + 1).to(dtype)


def rotate(x: Tensor, R: Tensor, *, layout: str = "channels_last") -> Tensor:
    """D(R) x: the coefficients of the rotated function r -> f(R^-1 r). Differentiable in x.

    Parameters
    ----------
    x : Tensor
        (..., (lmax+1)^2, C), or with the last two exchanged.
    R : Tensor
        (..., 3, 3), orthogonal; improper ones act with the parity (-1)^l. Its leading dimensions broadcast with x's.
    layout : {"channels_last", "channels_first"}

    Returns
    -------
    Tensor
        As x, with the leading dimensions broadcast.

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    where = _where("rotate")
    dtype = _tensors(where, x=x, R=R)
    shapes.choice(where, "layout", layout, shapes.LAYOUTS)
    x, _ = _features(where, "x", x, _compute(dtype), layout)
    R = _rotations(where, R, x.dtype)
    lead = _leading(where, {"x": x.shape[:-2], "R": R.shape[:-2]})
    z = lib.so3_rotate(_samples(x, lead, x.shape[-1]), _samples(R, lead, 3).contiguous(), False)
    return _restore(z, lead, dtype, layout)
