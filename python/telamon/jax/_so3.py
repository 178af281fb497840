"""`telamon.so3` on JAX arrays, differentiable to every order; documented in `telamon.jax`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _so3_shapes as shapes
from . import _so3_primitives as primitives

__all__ = [
    "gaunt_conv",
    "gaunt_monomial",
    "gaunt_power",
    "gaunt_product",
    "rotate",
    "spherical_harmonics",
    "wigner_D",
]


# ---- arguments


def _where(function: str) -> str:
    return f"telamon.jax.{function}"


def _arrays(where: str, **arguments: Any) -> tuple[list[Any], Any]:
    """The arguments as arrays of the compute type, and the type of the result."""
    arrays = []
    for name, value in arguments.items():
        array = jnp.asarray(value)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{where}: {name} has dtype {array.dtype}; pass {name}.astype(float)")
        arrays.append(array)
    dtype = jnp.result_type(*arrays)
    compute = jnp.promote_types(dtype, jnp.float32)
    return [a.astype(compute) for a in arrays], dtype


def _features(where: str, name: str, x: Any, layout: str) -> tuple[Any, int]:
    """The array with channels last, and its lmax."""
    if x.ndim < 2:
        raise ValueError(f"{where}: {name} has shape {x.shape}; pass (..., components, channels)")
    if layout == "channels_first":
        x = jnp.swapaxes(x, -1, -2)
    return x, shapes.lmax_of(where, name, x.shape[-2])


def _leading(where: str, parts: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*parts.values())
    except ValueError:
        text = " and ".join(f"{name} {lead}" for name, lead in parts.items())
        raise ValueError(f"{where}: the leading dimensions do not broadcast: {text}") from None


def _restore(z: Any, dtype: Any, layout: str) -> Any:
    return (jnp.swapaxes(z, -1, -2) if layout == "channels_first" else z).astype(dtype)


def _options(where: str, normalization: str, layout: str) -> None:
    shapes.choice(where, "normalization", normalization, shapes.NORMALIZATIONS)
    shapes.choice(where, "layout", layout, shapes.LAYOUTS)


def _degrees(lmax: int) -> Any:
    return np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)


def _scaled(x: Any, lmax: int, normalization: str, power: int = 1) -> Any:
    """x times (Y in this normalisation over Y in "component")^power, degree by degree along the last but one axis."""
    scales = shapes.degree_scales(lmax, normalization)
    return x if scales is None else x * np.asarray(scales, x.dtype)[_degrees(lmax), None] ** power


# ---- products


def _weights(where: str, weights: Any, lmaxs: tuple[int, int, int], dtype: Any, channels: int) -> list[Any]:
    """For each rank the weights of x, y and the result, (degrees, channels or 1) or None."""
    if weights is None:
        return [(None, None, None)]
    if not isinstance(weights, (tuple, list)):
        raise TypeError(f"{where}: weights is a {type(weights).__name__}; pass (w1, w2, w3), each an array or None")
    if len(weights) != 3:
        raise ValueError(f"{where}: weights has {len(weights)} entries; pass 3, (w1, w2, w3), each an array or None")
    full: list[Any] = []
    rank = 1
    for i, (w, lmax) in enumerate(zip(weights, lmaxs, strict=True)):
        if w is None:
            full.append(None)
            continue
        name = f"weights[{i}]"
        (array,), _ = _arrays(where, **{name: w})
        whole = array[None, :, None] if array.ndim == 1 else array[None] if array.ndim == 2 else array
        if whole.ndim != 3 or whole.shape[1] != lmax + 1 or whole.shape[2] not in (1, channels):
            raise ValueError(
                f"{where}: {name} has shape {array.shape}; pass ({lmax + 1},), ({lmax + 1}, {channels}) or "
                f"(rank, {lmax + 1}, {channels}), for degrees 0 to {lmax} and {channels} channels"
            )
        if whole.shape[0] != 1 and rank not in (1, whole.shape[0]):
            raise ValueError(f"{where}: {name} has rank {whole.shape[0]} and another weight {rank}; pass equal ranks")
        rank = max(rank, whole.shape[0])
        full.append(whole.astype(dtype))
    return [tuple(None if w is None else w[r if len(w) > 1 else 0] for w in full) for r in range(rank)]


def _weighted(x: Any, w: Any) -> Any:
    return x if w is None else x * w[_degrees(w.shape[0] - 1)]


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
    method: str = "auto",
) -> Any:
    """The product of two functions on the sphere, cut to degree lmax_out: z = A[S(x) S(y)], channel by channel.

    S(x) is the function with the coefficients x, A[f] the coefficients of f. With weights it is
    sum_r w3_r A[S(w1_r x) S(w2_r y)]. As `telamon.so3.gaunt_product`, differentiable in x, y and the weights.

    Parameters
    ----------
    x, y : array_like
        (..., (l1+1)^2, C) and (..., (l2+1)^2, C), or with the last two exchanged; one may have a single channel, and
        the leading dimensions broadcast.
    lmax_out : int, optional
        At most l1 + l2; by default the larger of l1 and l2.
    weights : (w1, w2, w3), optional
        For x, y and the result, each None or an array of shape (l+1,), (l+1, C) or (rank, l+1, C); C may be 1.
    parity : {"even", "complete"}
        "complete" adds the odd paths, the bracket (f_theta g_phi - f_phi g_theta) / sin theta.
    group : {"O3", "SO3"}
        What "complete" returns: the pair (even, odd), of which the second are pseudo-tensors; or their sum.
    normalization : {"component", "integral", "norm"}
        Which spherical harmonics the coefficients belong to.
    layout : {"channels_last", "channels_first"}
        (..., components, channels) or (..., channels, components).
    method : {"auto", "sparse", "grid", "fourier"}
        The kernel; "auto" takes the fastest. "fourier" has no odd paths.

    Returns
    -------
    jax.Array or pair of jax.Array
        (..., (lmax_out+1)^2, C) in the promoted dtype.

    Raises
    ------
    TypeError
        If an argument is not of floating point.
    ValueError
        If the shapes or options do not fit.
    """
    where = _where("gaunt_product")
    shapes.choice(where, "parity", parity, shapes.PARITIES)
    shapes.choice(where, "group", group, shapes.GROUPS)
    shapes.choice(where, "method", method, shapes.METHODS)
    if method == "fourier" and parity != "even":
        raise ValueError(f"{where}: method 'fourier' has no odd paths, parity is {parity!r}; pass another method")
    _options(where, normalization, layout)
    (x, y), dtype = _arrays(where, x=x, y=y)
    x, l1 = _features(where, "x", x, layout)
    y, l2 = _features(where, "y", y, layout)
    l3 = shapes.lmax_out_of(where, lmax_out, max(l1, l2), l1 + l2, "l1 + l2")
    channels = shapes.channels_of(where, "x", x.shape[-1], "y", y.shape[-1])
    lead = _leading(where, {"x": x.shape[:-2], "y": y.shape[:-2]})
    ranks = _weights(where, weights, (l1, l2, l3), x.dtype, channels)
    x, y = _scaled(x, l1, normalization), _scaled(y, l2, normalization)

    def product(kind: str) -> Any:
        total = None
        for w1, w2, w3 in ranks:
            a = jnp.broadcast_to(_weighted(x, w1), (*lead, x.shape[-2], channels))
            b = jnp.broadcast_to(_weighted(y, w2), (*lead, y.shape[-2], channels))
            z = _weighted(primitives.product(a, b, l3, kind, method), w3)
            total = z if total is None else total + z
        return _restore(_scaled(total, l3, normalization, -1), dtype, layout)

    if parity == "even":
        return product("even")
    return (product("even"), product("odd")) if group == "O3" else product("sum")


def gaunt_monomial(
    factors: Sequence[Any],
    powers: Sequence[int] | None = None,
    lmax_out: int | None = None,
    *,
    normalization: str = "component",
    layout: str = "channels_last",
) -> Any:
    """A[prod_i S(x_i)^p_i], a product of any number of functions on the sphere in one pass, cut only once.

    Parameters
    ----------
    factors : sequence of array_like
        (..., (l_i+1)^2, C), as the arguments of `gaunt_product`.
    powers : sequence of int, optional
        As many, each at least 1, which is the default.
    lmax_out : int, optional
        At most sum p_i l_i; by default the largest of the l_i.
    normalization, layout
        As in `gaunt_product`.

    Returns
    -------
    jax.Array
        (..., (lmax_out+1)^2, C).

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    factors = list(factors)
    names = [f"factors[{i}]" for i in range(len(factors))]
    return _monomial(_where("gaunt_monomial"), names, factors, powers, lmax_out, normalization, layout)


def _monomial(
    where: str,
    names: list[str],
    factors: list[Any],
    powers: Sequence[int] | None,
    lmax_out: int | None,
    normalization: str,
    layout: str,
) -> Any:
    powers = [1] * len(factors) if powers is None else powers
    if not factors or len(powers) != len(factors):
        raise ValueError(
            f"{where}: factors has {len(factors)} arrays and powers {len(powers)} numbers; pass one power for each "
            "factor, and at least one factor"
        )
    _options(where, normalization, layout)
    arrays, dtype = _arrays(where, **dict(zip(names, factors, strict=True)))
    n = [shapes.whole(where, "n" if names == ["x"] else "powers", p, 1) for p in powers]
    pairs = [_features(where, name, x, layout) for name, x in zip(names, arrays, strict=True)]
    lmaxs = [l for _, l in pairs]
    most = sum(l * p for l, p in zip(lmaxs, n, strict=True))
    l3 = shapes.lmax_out_of(where, lmax_out, max(lmaxs), most, "the sum of degree times power")
    channels = 1
    for name, (x, _) in zip(names, pairs, strict=True):
        channels = shapes.channels_of(where, names[0], channels, name, x.shape[-1])
    lead = _leading(where, {name: x.shape[:-2] for name, (x, _) in zip(names, pairs, strict=True)})
    full = [jnp.broadcast_to(_scaled(x, l, normalization), (*lead, x.shape[-2], channels)) for x, l in pairs]
    z = primitives.monomial(full, n, l3)
    return _restore(_scaled(z, l3, normalization, -1), dtype, layout)


def gaunt_power(
    x: Any,
    n: int,
    lmax_out: int | None = None,
    *,
    normalization: str = "component",
    layout: str = "channels_last",
) -> Any:
    """A[S(x)^n], n >= 1: the n-th power of a function on the sphere in one pass, as in many-body descriptors.

    Parameters
    ----------
    x : array_like
        (..., (lmax+1)^2, C).
    n : int
        At least 1.
    lmax_out : int, optional
        At most n lmax; by default lmax.
    normalization, layout
        As in `gaunt_product`.

    Returns
    -------
    jax.Array
        (..., (lmax_out+1)^2, C).

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    return _monomial(_where("gaunt_power"), ["x"], [x], [n], lmax_out, normalization, layout)


# ---- spherical harmonics


def _unit(r: Any) -> Any:
    """r / |r|, and 0 with derivatives 0 where r = 0."""
    # Divided by a constant first, so that no square under- or overflows.
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(r), -1, keepdims=True, initial=0))
    zero = scale == 0
    r = r / jnp.where(zero, 1, scale)
    square = jnp.where(zero, 1, jnp.sum(r * r, -1, keepdims=True))
    return r * jnp.where(zero, 0, jax.lax.rsqrt(square))


def _vectors(where: str, name: str, r: Any) -> Any:
    if r.ndim < 1 or r.shape[-1] != 3:
        raise ValueError(f"{where}: {name} has shape {r.shape}; pass (..., 3), in the order x, y, z")
    return r


def spherical_harmonics(
    l: int | Sequence[int], r: Any, normalize: bool = True, normalization: str = "component"
) -> Any:
    """Real spherical harmonics Y_lm(r / |r|) in e3nn's convention, as `telamon.so3.spherical_harmonics`.

    Parameters
    ----------
    l : int or sequence of int
        A degree, or degrees whose harmonics are concatenated.
    r : array_like
        (..., 3).
    normalize : bool
        False: the polynomials |r|^l Y_lm(r / |r|).
    normalization : {"component", "integral", "norm"}

    Returns
    -------
    jax.Array
        (..., sum of 2l+1). At r = 0 degree 0 is its constant, and the others are 0, as are their derivatives if
        `normalize`. Differentiable to every order.

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    where = _where("spherical_harmonics")
    degrees = shapes.sh_degrees(where, l)
    shapes.choice(where, "normalization", normalization, shapes.NORMALIZATIONS)
    (r,), dtype = _arrays(where, r=r)
    r = _vectors(where, "r", r)
    lmax = max(degrees)
    y = primitives.solid_harmonics(_unit(r) if normalize else r, lmax)
    y = _scaled(y[..., None], lmax, normalization)[..., 0]
    if degrees != list(range(lmax + 1)):
        y = jnp.concatenate([y[..., d * d : (d + 1) ** 2] for d in degrees], -1)
    return y.astype(dtype)


# ---- convolution


def _indices(where: str, name: str, index: Any, edges: int) -> Any:
    if index is None:
        return None
    index = jnp.asarray(index)
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise TypeError(f"{where}: {name} has dtype {index.dtype}; pass {name}.astype(int)")
    if index.shape != (edges,):
        raise ValueError(f"{where}: {name} has shape {index.shape}; pass one index for each of {edges} edges")
    return index


def gaunt_conv(
    x: Any,
    directions: Any,
    filter_weights: Any = None,
    lmax_out: int | None = None,
    *,
    lmax_filter: int | None = None,
    senders: Any = None,
    receivers: Any = None,
    num_receivers: int | None = None,
    normalization: str = "component",
    layout: str = "channels_last",
) -> Any:
    """Equivariant convolution: z_e = gaunt_product(x[senders_e], w_e Y(directions_e)), summed over a receiver's edges.

    As `telamon.so3.gaunt_conv`, differentiable in x, directions and filter_weights. The forward pass is fused, its
    derivatives are composed of products, gathers and scatters.

    Parameters
    ----------
    x : array_like
        (nodes, (l1+1)^2, C) with `senders`, otherwise (edges, (l1+1)^2, C).
    directions : array_like
        (edges, 3), of any length but 0.
    filter_weights : array_like, optional
        (edges, l2+1, C), (edges, l2+1) or (l2+1,): the filter's weight for each degree. Ones by default.
    lmax_out : int, optional
        At most l1 + l2; by default l1.
    lmax_filter : int, optional
        l2, where no filter_weights say it; by default l1.
    senders, receivers : array_like of int, optional
        For each edge the node it comes from and the one it goes to, in any order.
    num_receivers : int, optional
        The number of rows of the result, with `receivers`; by default that of x.
    normalization, layout
        As in `gaunt_product`.

    Returns
    -------
    jax.Array
        (num_receivers or edges, (lmax_out+1)^2, C). A receiver without edges is 0.

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`. A direction of length 0 or an index out of range is an error at run time.
    """
    where = _where("gaunt_conv")
    _options(where, normalization, layout)
    given = {} if filter_weights is None else {"filter_weights": filter_weights}
    (x, directions, *w), dtype = _arrays(where, x=x, directions=directions, **given)
    if x.ndim != 3:
        raise ValueError(f"{where}: x has shape {x.shape}; pass (nodes or edges, components, channels)")
    x, l1 = _features(where, "x", x, layout)
    if _vectors(where, "directions", directions).ndim != 2:
        raise ValueError(f"{where}: directions has shape {directions.shape}; pass (edges, 3)")
    edges = directions.shape[0]
    lmax = shapes.whole(where, "lmax_filter", l1 if lmax_filter is None else lmax_filter, 0)
    weight = _filter(where, w[0], edges) if w else jnp.ones((1, lmax + 1, 1), x.dtype)
    l2 = weight.shape[1] - 1
    if lmax_filter is not None and lmax_filter != l2:
        raise ValueError(
            f"{where}: lmax_filter is {lmax_filter}, filter_weights has degrees up to {l2}; pass one of them"
        )
    l3 = shapes.lmax_out_of(where, lmax_out, l1, l1 + l2, "l1 + l2")
    channels = shapes.channels_of(where, "x", x.shape[-1], "filter_weights", weight.shape[-1])
    if senders is None and x.shape[0] != edges:
        raise ValueError(f"{where}: x has {x.shape[0]} rows for {edges} edges; pass senders, or one row for each edge")
    if receivers is None and num_receivers is not None:
        raise ValueError(f"{where}: num_receivers is {num_receivers} without receivers; pass both")
    rows = edges if receivers is None else x.shape[0]
    if num_receivers is not None:
        rows = shapes.whole(where, "num_receivers", num_receivers, 0)
    scales = shapes.degree_scales(l2, normalization)
    if scales is not None:  # of Y, and of the filter as an argument of the product
        weight = weight * np.asarray(scales, weight.dtype)[:, None] ** 2
    z = primitives.conv(
        jnp.broadcast_to(_scaled(x, l1, normalization), (*x.shape[:2], channels)),
        _unit(directions),
        jnp.broadcast_to(weight, (edges, l2 + 1, channels)),
        l3,
        _indices(where, "senders", senders, edges),
        _indices(where, "receivers", receivers, edges),
        rows,
    )
    return _restore(_scaled(z, l3, normalization, -1), dtype, layout)


def _filter(where: str, w: Any, edges: int) -> Any:
    """The weights of the filter as (edges or 1, degrees, channels or 1)."""
    full = w[None, :, None] if w.ndim == 1 else w[:, :, None] if w.ndim == 2 else w
    if full.ndim != 3 or (w.ndim > 1 and w.shape[0] != edges) or full.shape[1] < 1:
        raise ValueError(
            f"{where}: filter_weights has shape {w.shape}; pass ({edges}, degrees, channels), ({edges}, degrees) or "
            "(degrees,)"
        )
    return full


# ---- rotations


def _rotations(where: str, R: Any) -> Any:
    if R.ndim < 2 or R.shape[-2:] != (3, 3):
        raise ValueError(f"{where}: R has shape {R.shape}; pass (..., 3, 3)")
    return R


def wigner_D(l: int, R: Any) -> Any:
    """D with Y_l(R r) = D Y_l(r), for orthogonal R; as `telamon.so3.wigner_D`. Not differentiable.

    Parameters
    ----------
    l : int
    R : array_like
        (..., 3, 3), orthogonal; improper ones act with the parity (-1)^l.

    Returns
    -------
    jax.Array
        (..., 2l+1, 2l+1).

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    where = _where("wigner_D")
    l = shapes.whole(where, "l", l, 0)
    (R,), dtype = _arrays(where, R=R)
    return primitives.wigner(_rotations(where, R), l).astype(dtype)


def rotate(x: Any, R: Any, *, layout: str = "channels_last") -> Any:
    """D(R) x: the coefficients of the rotated function r -> f(R^-1 r). Differentiable in x.

    Parameters
    ----------
    x : array_like
        (..., (lmax+1)^2, C), or with the last two exchanged.
    R : array_like
        (..., 3, 3), orthogonal; improper ones act with the parity (-1)^l. Its leading dimensions broadcast with x's.
    layout : {"channels_last", "channels_first"}

    Returns
    -------
    jax.Array
        As x, with the leading dimensions broadcast.

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`.
    """
    where = _where("rotate")
    shapes.choice(where, "layout", layout, shapes.LAYOUTS)
    (x, R), dtype = _arrays(where, x=x, R=R)
    x, _ = _features(where, "x", x, layout)
    lead = _leading(where, {"x": x.shape[:-2], "R": _rotations(where, R).shape[:-2]})
    z = primitives.rotate(jnp.broadcast_to(x, (*lead, *x.shape[-2:])), jnp.broadcast_to(R, (*lead, 3, 3)))
    return _restore(z, dtype, layout)
