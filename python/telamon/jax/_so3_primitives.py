"""The kernels of `telamon.so3` as JAX primitives, closed under derivatives of every order, forward and reverse.

In "component" normalisation the mean over the sphere of g times x y is a symmetric trilinear form, and that of g times
the bracket {x, y} is cyclic (Stokes). So with P the product of either kind, or their sum,

    <g, P(x, y)> = <x, P(y, g)> = <y, P(g, x)>,

and the transposes of P in x and in y are P again, cut to the degrees of that argument. The monomial A[prod x_i^p_i] has
the derivative p_i A[dx_i x_i^(p_i - 1) prod others], and where x_i enters linearly its transpose A[g prod others].

Arrays here are (..., components, channels) of one dtype and equal leading dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .. import _core
from .._so3_shapes import METHODS
from ..so3 import _harmonics as harmonics
from . import _ffi

__all__ = ["conv", "monomial", "product", "rotate", "solid_harmonics", "wigner"]

# JAX has no types for these.
_ad: Any = ad
_batching: Any = batching
_mlir: Any = mlir
_Primitive: Any = Primitive
_ShapeDtypeStruct: Any = jax.ShapeDtypeStruct
_pure_callback: Any = jax.pure_callback


_ffi.register("so3_product", "so3_monomial", "so3_harmonics")


def _components(lmax: int) -> int:
    return (lmax + 1) ** 2


def _lmax(x: Any) -> int:
    return math.isqrt(x.shape[-2]) - 1


def _samples(a: Any) -> Any:
    """(samples, components, channels), from any leading dimensions."""
    a = np.asarray(a)
    return a.reshape(int(np.prod(a.shape[:-2])), *a.shape[-2:])


def _primitive(
    name: str,
    host: Callable[..., None],
    tail: Callable[..., tuple[int, ...]],
    attributes: Callable[..., dict[str, Any]] | None = None,
) -> Any:
    """A primitive of arrays with equal leading dimensions; `host` fills the result, whose last two axes `tail` says.

    `attributes` turns its parameters into those of a handler of XLA, if there is one.
    """
    primitive = _Primitive(f"telamon_{name}")

    def shape(args: tuple[Any, ...], params: dict[str, Any]) -> tuple[int, ...]:
        return (*args[0].shape[:-2], *tail(*args, **params))

    def on_host(out_shape: tuple[int, ...], params: dict[str, Any], *args: Any) -> Any:
        out = np.empty(out_shape, np.asarray(args[0]).dtype)
        host(*(_samples(a) for a in args), _samples(out), **params)
        return out

    def call(*args: Any, **params: Any) -> Any:
        out_shape = shape(args, params)
        result = _ShapeDtypeStruct(out_shape, args[0].dtype)
        host = partial(on_host, out_shape, params)
        if attributes is None:
            return _pure_callback(host, result, *args)
        return _ffi.call(name, result, host, *args, **attributes(**params))

    def batch(args: tuple[Any, ...], dims: tuple[Any, ...], **params: Any) -> Any:
        size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
        moved = [
            jnp.broadcast_to(a, (size, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
            for a, d in zip(args, dims, strict=True)
        ]
        return primitive.bind(*moved, **params), 0

    primitive.def_abstract_eval(lambda *args, **params: jax.core.ShapedArray(shape(args, params), args[0].dtype))
    primitive.def_impl(jax.jit(call, static_argnames=_STATIC[name]))
    _mlir.register_lowering(primitive, _mlir.lower_fun(call, multiple_results=False))
    _batching.primitive_batchers[primitive] = batch
    return primitive


_STATIC = {
    "so3_product": ("lmax_out", "kind", "method"),
    "so3_monomial": ("powers", "lmax_out"),
    "so3_rotate": ("transposed",),
}


# ---- products


def _reachable(out: Any, most: int) -> Any:
    """The components of a result up to degree `most`; the others are set to 0.

    A derivative may have a higher degree than its factors together: that of a product cut below one of them.
    """
    size = _components(most)
    out[:, size:] = 0
    return out[:, :size]


def _product_on_host(x: Any, y: Any, out: Any, lmax_out: int, kind: str, method: str) -> None:
    _core.so3_product(x, y, _reachable(out, _lmax(x) + _lmax(y)), None, kind, method)


# In the order of C++'s enumerations.
_KINDS = ("even", "odd", "sum")

_product = _primitive(
    "so3_product",
    _product_on_host,
    lambda x, y, lmax_out, kind, method: (_components(lmax_out), x.shape[-1]),
    lambda lmax_out, kind, method: {"kind": np.int64(_KINDS.index(kind)), "method": np.int64(METHODS.index(method))},
)


def product(x: Any, y: Any, lmax_out: int, kind: str, method: str) -> Any:
    """The product of kind "even", the bracket, "odd", or their "sum"."""
    return _product.bind(x, y, lmax_out=lmax_out, kind=kind, method=method)


_ad.defbilinear(
    _product,
    lambda g, x, y, lmax_out, kind, method: product(y, g, _lmax(x.aval), kind, method),
    lambda g, x, y, lmax_out, kind, method: product(g, x, _lmax(y.aval), kind, method),
)


# ---- monomials


def _monomial_on_host(*arrays: Any, powers: tuple[int, ...], lmax_out: int) -> None:
    *factors, out = arrays
    out = _reachable(out, sum(_lmax(x) * p for x, p in zip(factors, powers, strict=True)))
    if sum(powers) == 2:  # the product has kernels of its own
        _core.so3_product(factors[0], factors[-1], out, None, "even", "auto")
    else:
        _core.so3_monomial(factors, list(powers), out)


_monomial = _primitive(
    "so3_monomial",
    _monomial_on_host,
    lambda *factors, powers, lmax_out: (_components(lmax_out), factors[0].shape[-1]),
    lambda powers, lmax_out: {"powers": np.asarray(powers, np.int64)},
)


def monomial(factors: Any, powers: Any, lmax_out: int) -> Any:
    """A[prod x_i^p_i], without the factors of power 0."""
    kept = [(x, p) for x, p in zip(factors, powers, strict=True) if p]
    return _monomial.bind(*(x for x, _ in kept), powers=tuple(p for _, p in kept), lmax_out=lmax_out)


def _monomial_jvp(primals: Any, tangents: Any, *, powers: tuple[int, ...], lmax_out: int) -> tuple[Any, Any]:
    out = monomial(primals, powers, lmax_out)
    terms = []
    for i, tangent in enumerate(tangents):
        if type(tangent) is not _ad.Zero:
            lowered = [p - (i == j) for j, p in enumerate(powers)]
            term = monomial([tangent, *primals], [1, *lowered], lmax_out)
            terms.append(term * powers[i] if powers[i] > 1 else term)
    return out, sum(terms[1:], terms[0]) if terms else jnp.zeros_like(out)


def _monomial_transpose(g: Any, *factors: Any, powers: tuple[int, ...], lmax_out: int) -> list[Any]:
    result: list[Any] = []
    for i, factor in enumerate(factors):
        if not _ad.is_undefined_primal(factor):
            result.append(None)
        elif type(g) is _ad.Zero:
            result.append(_ad.Zero(factor.aval))
        else:  # linear, so its power is 1
            others = [(x, p) for j, (x, p) in enumerate(zip(factors, powers, strict=True)) if j != i]
            result.append(monomial([g, *(x for x, _ in others)], [1, *(p for _, p in others)], _lmax(factor.aval)))
    return result


_ad.primitive_jvps[_monomial] = _monomial_jvp
_ad.primitive_transposes[_monomial] = _monomial_transpose


# ---- rotations


def _rotate_on_host(x: Any, rotations: Any, out: Any, transposed: bool) -> None:
    _core.so3_rotate(harmonics._rotations("telamon.jax.rotate", rotations), x, out, transposed)


_rotate = _primitive("so3_rotate", _rotate_on_host, lambda x, rotations, transposed: x.shape[-2:])


def rotate(x: Any, rotations: Any, transposed: bool = False) -> Any:
    """D x, or D^T x."""
    return _rotate.bind(x, rotations, transposed=transposed)


def _no_derivative(where: str) -> Any:
    raise NotImplementedError(f"{where}: derivatives in R are not implemented; pass jax.lax.stop_gradient(R)")


def _rotate_transpose(g: Any, x: Any, rotations: Any, *, transposed: bool) -> tuple[Any, None]:
    return (_ad.Zero(x.aval) if type(g) is _ad.Zero else rotate(g, rotations, not transposed)), None


_ad.defjvp(
    _rotate,
    lambda t, x, rotations, transposed: rotate(t, rotations, transposed),
    lambda t, x, rotations, transposed: _no_derivative("telamon.jax.rotate"),
)
_ad.primitive_transposes[_rotate] = _rotate_transpose


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def wigner(rotations: Any, l: int) -> Any:
    """D for rotations (..., 3, 3): (..., 2l+1, 2l+1)."""

    def on_host(rotations: Any) -> Any:
        rotations = _samples(rotations)
        out = np.empty((len(rotations), 2 * l + 1, 2 * l + 1), rotations.dtype)
        _core.so3_wigner(harmonics._rotations("telamon.jax.wigner_D", rotations), out, l)
        return out.reshape(shape)

    shape = (*rotations.shape[:-2], 2 * l + 1, 2 * l + 1)
    return _pure_callback(on_host, _ShapeDtypeStruct(shape, rotations.dtype), rotations, vmap_method="sequential")


@wigner.defjvp
def _wigner_jvp(l: int, primals: Any, tangents: Any) -> Any:
    return _no_derivative("telamon.jax.wigner_D")


# ---- solid harmonics: their gradients are constant combinations of those one degree lower


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def solid_harmonics(r: Any, lmax: int) -> Any:
    """|r|^l Y_lm(r/|r|) for all l up to lmax: (..., 3) to (..., components)."""

    def on_host(r: Any) -> Any:
        r = np.asarray(r)
        out = np.empty((*r.shape[:-1], _components(lmax)), r.dtype)
        _core.so3_harmonics(r.reshape(-1, 3), out.reshape(-1, out.shape[-1]))
        return out

    result = _ShapeDtypeStruct((*r.shape[:-1], _components(lmax)), r.dtype)
    return _ffi.call("so3_harmonics", result, on_host, r)


@solid_harmonics.defjvp
def _solid_harmonics_jvp(lmax: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    (r,), (dr,) = primals, tangents
    out = solid_harmonics(r, lmax)
    if lmax == 0:
        return out, jnp.zeros_like(out)
    source, value = harmonics.gradient_table(lmax)
    below = solid_harmonics(r, lmax - 1)
    gradient = sum(below[..., source[t]] * value[t].astype(r.dtype) for t in range(2))  # (..., 3, components)
    return out, jnp.sum(gradient * dr[..., None], -2)


# ---- convolution: fused in the forward pass, composed of the above for its derivatives


def _composed_conv(x: Any, directions: Any, w: Any, lmax_out: int, senders: Any, receivers: Any, rows: int) -> Any:
    l2 = w.shape[1] - 1
    degrees = np.repeat(np.arange(l2 + 1), 2 * np.arange(l2 + 1) + 1)
    y = solid_harmonics(directions, l2)[..., None] * w[:, degrees]
    z = product(x if senders is None else x[senders], y, lmax_out, "even", "auto")
    return z if receivers is None else jnp.zeros((rows, *z.shape[1:]), z.dtype).at[receivers].add(z)


def conv(x: Any, directions: Any, w: Any, lmax_out: int, senders: Any, receivers: Any, rows: int) -> Any:
    """Products with the harmonics of unit vectors, weighted by w (edges, degrees, channels), sent to receivers."""

    @jax.custom_jvp
    def run(x: Any, directions: Any, w: Any, *indices: Any) -> Any:
        return _pure_callback(
            on_host, _ShapeDtypeStruct(shape, x.dtype), x, directions, w, *indices, vmap_method="sequential"
        )

    def on_host(x: Any, directions: Any, w: Any, *indices: Any) -> Any:
        directions = np.asarray(directions)
        zero = ~directions.any(1)
        if zero.any():
            raise ValueError(
                f"telamon.jax.gaunt_conv: directions[{int(zero.argmax())}] is zero; leave out edges of length 0"
            )
        out = np.empty(shape, np.asarray(x).dtype)
        sender, receiver = (None if i is None else np.asarray(i, np.int64) for i in assign(indices))
        _core.so3_conv(np.asarray(x), directions, np.asarray(w), out, sender, receiver)
        return out

    def assign(indices: tuple[Any, ...]) -> tuple[Any, Any]:
        rest = list(indices)
        return (None if senders is None else rest.pop(0)), (None if receivers is None else rest.pop(0))

    @run.defjvp
    def _(primals: Any, tangents: Any) -> tuple[Any, Any]:
        sender, receiver = assign(primals[3:])

        def composed(x: Any, directions: Any, w: Any) -> Any:
            return _composed_conv(x, directions, w, lmax_out, sender, receiver, rows)

        return run(*primals), jax.jvp(composed, primals[:3], tangents[:3])[1]

    shape = (rows, _components(lmax_out), x.shape[2])
    return run(x, directions, w, *(i for i in (senders, receivers) if i is not None))
