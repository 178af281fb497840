"""`telamon.special` on JAX arrays, differentiable in the order and in the argument; documented in `telamon.jax`."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from .. import _core
from .._derivatives import BINARY, LOGARITHMS, gradient
from . import _ffi

__all__ = list(BINARY)

_ShapeDtypeStruct: Any = jax.ShapeDtypeStruct  # JAX has no types for it

_PASSES = (*BINARY, *(f"{name}_{order}" for name in LOGARITHMS for order in ("grad", "hess")))


_ffi.register(*_PASSES)


def _pass(name: str, n_outputs: int) -> Callable[..., Any]:
    """`_core.<name>` for two arrays of one shape and type, not yet differentiable."""

    def shapes(x: Any) -> Any:
        out = _ShapeDtypeStruct(x.shape, x.dtype)
        return out if n_outputs == 1 else (out,) * n_outputs

    def on_host(v: Any, x: Any) -> Any:
        return getattr(_core, name)(np.asarray(v), np.asarray(x))

    def run(v: Any, x: Any) -> Any:
        return _ffi.call(name, shapes(x), on_host, v, x)

    run.__name__ = f"telamon_{name}"
    compiled: Callable[..., Any] = jax.jit(run)
    return compiled


def _weighted(derivatives: tuple[Any, Any], tangents: tuple[Any, Any], out: Any) -> Any:
    # A constant argument has no term: its derivative may be infinite, as d/dv log I_v(x) at x = 0, and 0 * inf is NaN.
    terms = [d * t for d, t in zip(derivatives, tangents, strict=True) if not isinstance(t, SymbolicZero)]
    return sum(terms) if terms else jnp.zeros_like(out)


# The differentiable functions of two arrays of one shape and type, by name.
_lib = SimpleNamespace(where=jnp.where)


def _define_value(name: str) -> None:
    function = jax.custom_jvp(_pass(name, 1))

    def rule(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
        if name in LOGARITHMS:
            out, *derivatives = getattr(_lib, f"{name}_grad")(*primals)  # all three in one pass
        else:
            out = function(*primals)
            derivatives = gradient(_lib, name, *primals, out)
        return out, _weighted(tuple(derivatives), tangents, out)

    function.defjvp(rule, symbolic_zeros=True)
    setattr(_lib, name, function)


def _define_grad(name: str) -> None:
    function = jax.custom_jvp(_pass(f"{name}_grad", 3))

    def rule(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
        out = value, dv, dx = function(*primals)
        dvv, dvx, dxx = getattr(_lib, f"{name}_hess")(*primals)
        return out, tuple(_weighted(d, tangents, value) for d in ((dv, dx), (dvv, dvx), (dvx, dxx)))

    function.defjvp(rule, symbolic_zeros=True)
    setattr(_lib, f"{name}_grad", function)


def _define_hess(name: str) -> None:
    function = jax.custom_jvp(_pass(f"{name}_hess", 3))

    def rule(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
        raise NotImplementedError(f"telamon.jax: derivatives beyond those of {name}_hess are not implemented")

    function.defjvp(rule)
    setattr(_lib, f"{name}_hess", function)


for _name in LOGARITHMS:
    _define_hess(_name)
    _define_grad(_name)
for _name in BINARY:
    _define_value(_name)


def _prepare(name: str, v: Any, x: Any, second: str) -> tuple[Any, Any, Any]:
    """Check the arguments and bring them to one shape and compute type; also the type of the result."""
    arrays = []
    for label, a in (("v", v), (second, x)):
        number = isinstance(a, numbers.Real) and not isinstance(a, (bool, np.generic))
        a = jnp.asarray(float(a) if number else a)
        if not jnp.issubdtype(a.dtype, jnp.floating):
            raise TypeError(f"telamon.jax.{name}: {label} has dtype {a.dtype}; pass {label}.astype(float)")
        arrays.append(a)
    dtype = jnp.result_type(*arrays)
    compute = jnp.promote_types(dtype, jnp.float32)
    v, x = jnp.broadcast_arrays(*(a.astype(compute) for a in arrays))
    return v, x, dtype


def _public(name: str, second: str = "x") -> Callable[[Any, Any], jax.Array]:
    function = getattr(_lib, name)

    def call(v: Any, x: Any) -> jax.Array:
        a, b, dtype = _prepare(name, v, x, second)
        result: jax.Array = function(a, b).astype(dtype)
        return result

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""{BINARY[name]}, elementwise. {"Twice" if name in LOGARITHMS else "Once"} differentiable.

    Parameters
    ----------
    v, {second} : array_like
        Real numbers, or floating-point arrays that broadcast.

    Returns
    -------
    jax.Array
        Of the broadcast shape and the promoted type. Domain, edge cases and error bounds: `telamon.special.{name}`.

    Raises
    ------
    TypeError
        If an array holds integers, booleans or complex numbers.
    ValueError
        If the arrays do not broadcast.
    """
    return call


log_iv = _public("log_iv")
log_kv = _public("log_kv")
log_ive = _public("log_ive")
log_kve = _public("log_kve")
iv_ratio = _public("iv_ratio")
iv_ratio_c = _public("iv_ratio_c")
kv_ratio = _public("kv_ratio")
log_iv_dv = _public("log_iv_dv")
log_iv_dx = _public("log_iv_dx")
log_kv_dv = _public("log_kv_dv")
log_kv_dx = _public("log_kv_dx")
log_iv_dxx = _public("log_iv_dxx")
log_kv_dxx = _public("log_kv_dxx")

_iv_ratioinv = _public("iv_ratioinv", "r")


def iv_ratioinv(v: Any, r: Any) -> jax.Array:
    return _iv_ratioinv(v, r)


iv_ratioinv.__doc__ = _iv_ratioinv.__doc__
