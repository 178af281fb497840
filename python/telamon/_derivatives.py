"""First derivatives of every function of `telamon.special`, written once for the torch and JAX adapters.

With L = log I_v(x), M = log K_v(x), subscripts for derivatives, r = I_v/I_{v-1} and s = K_v/K_{v-1}, the recurrences
DLMF 10.29.2 read

    1/r =  L_x + v/x,           1/s = -(M_x + v/x),           s_v = (v-1)/x - M_x(v-1),

and differentiating them gives the derivatives of the ratios without subtracting nearly equal numbers:

    r_x = r^2 (v/x^2 - L_xx),   r_v = -r^2 (1/x + L_vx),
    s_x = -(v-1)/x^2 - M_xx(v-1),   s_v = 1/x - M_vx(v-1)     for v >= 1 or x >= 1.

The Riccati equation r' = 1 - r^2 - (2v-1)/x r is the same r_x, but loses log10(x) digits at large x. Near v = 1/2 at
small x the second line for s cancels, and there s_x = s^2 - 1 - (2v-1)/x s and s_v = s (M_v(v) - M_v(v-1)) do not.
Orders below 1/2 go through s(v) = 1/s(1-v), since K is even in its order.

Every function here takes and returns arrays of one kind; `lib` supplies telamon's functions for it (log_iv_hess
and so on) and `where`. Nothing here is differentiable a second time, except where `lib`'s functions are.
"""

from __future__ import annotations

from typing import Any

#: The functions with `_core.<name>_grad`, value and first derivatives in one pass, and `_core.<name>_hess`, the second.
LOGARITHMS = ("log_iv", "log_kv", "log_ive", "log_kve")

#: Everything in telamon.special, with the formula that opens the adapters' docstrings.
BINARY = {
    "log_iv": "log I_v(x)",
    "log_kv": "log K_v(x)",
    "log_ive": "log(e^-x I_v(x)) = log I_v(x) - x, without the cancellation",
    "log_kve": "log(e^x K_v(x)) = log K_v(x) + x, without the cancellation",
    "iv_ratio": "I_v(x) / I_{v-1}(x)",
    "iv_ratio_c": "1 - I_v(x) / I_{v-1}(x), without the cancellation",
    "iv_ratioinv": "The x with I_v(x) / I_{v-1}(x) = r",
    "kv_ratio": "K_v(x) / K_{v-1}(x)",
    "log_iv_dv": "d/dv log I_v(x)",
    "log_iv_dx": "d/dx log I_v(x)",
    "log_kv_dv": "d/dv log K_v(x)",
    "log_kv_dx": "d/dx log K_v(x)",
    "log_iv_dxx": "d2/dx2 log I_v(x)",
    "log_kv_dxx": "d2/dx2 log K_v(x)",
}

# Below x = v 2^-30 the ratio is x/(2v) to the last bit: I_v(x) = (x/2)^v / Gamma(v+1) (1 + x^2/(4v+4) + ...).
_SMALL = 2.0**-30


def iv_ratio_grad(lib: Any, v: Any, x: Any, r: Any) -> tuple[Any, Any]:
    """(r_v, r_x) for r = I_v/I_{v-1}, given r."""
    _, dvx, dxx = lib.log_iv_hess(v, x)
    small = x < v * _SMALL
    r_v = lib.where(small, -0.5 * x / v / v, -r * r * (1 / x + dvx))
    r_x = lib.where(small, 0.5 / v, r * r * (v / x / x - dxx))
    return r_v, r_x


def iv_ratioinv_grad(lib: Any, v: Any, r: Any, x: Any) -> tuple[Any, Any]:
    """(x_v, x_r) for the x with I_v(x)/I_{v-1}(x) = r, given x: the implicit function theorem, where r^2 drops out."""
    _, dvx, dxx = lib.log_iv_hess(v, x)
    small = x < v * _SMALL
    slope = v / x / x - dxx
    x_v = lib.where(small, x / v, (1 / x + dvx) / slope)
    x_r = lib.where(small, 2 * v, 1 / (r * r * slope))
    return x_v, x_r


def kv_ratio_grad(lib: Any, v: Any, x: Any, s: Any) -> tuple[Any, Any]:
    """(s_v, s_x) for s = K_v/K_{v-1}, given s."""
    low = v < 0.5
    order = lib.where(low, 1 - v, v)
    ratio = lib.where(low, 1 / s, s)
    _, dvx, dxx = lib.log_kv_hess(order - 1, x)
    corner = (order < 1) & (x < 1)
    t_v = lib.where(corner, ratio * (lib.log_kv_dv(order, x) - lib.log_kv_dv(order - 1, x)), 1 / x - dvx)
    t_x = lib.where(corner, ratio * ratio - 1 - (2 * order - 1) / x * ratio, -(order - 1) / x / x - dxx)
    # d(1/t)/dt = -1/t^2 = -s^2, and d(1 - v)/dv = -1.
    return lib.where(low, s * s * t_v, t_v), lib.where(low, -s * s * t_x, t_x)


def log_iv_dxx_grad(lib: Any, v: Any, x: Any) -> tuple[Any, Any]:
    """(L_vxx, L_xxx) from Bessel's equation L_xx = 1 + v^2/x^2 - L_x/x - L_x^2; absolute error eps L_x / x^2 or so."""
    _, _, first = lib.log_iv_grad(v, x)
    return _third(v, x, first, lib.log_iv_hess(v, x))


def log_kv_dxx_grad(lib: Any, v: Any, x: Any) -> tuple[Any, Any]:
    """(M_vxx, M_xxx), by the same equation as for L."""
    _, _, first = lib.log_kv_grad(v, x)
    return _third(v, x, first, lib.log_kv_hess(v, x))


def _third(v: Any, x: Any, first: Any, second: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    _, dvx, dxx = second
    return (
        2 * v / x / x - dvx * (1 / x + 2 * first),
        -2 * v / x * v / x / x + first / x / x - dxx * (1 / x + 2 * first),
    )


def gradient(lib: Any, name: str, v: Any, x: Any, out: Any) -> tuple[Any, Any]:
    """(d/dv, d/dx) of the function `name` at (v, x), where its value is `out`.

    Parameters
    ----------
    lib
        Has `where` and the functions `log_iv_grad`, `log_iv_hess`, ... for the kind of array that v, x and out are.
    name
        One of `BINARY`.
    """
    if name in LOGARITHMS:
        _, dv, dx = getattr(lib, f"{name}_grad")(v, x)
        return dv, dx
    if name == "iv_ratio":
        return iv_ratio_grad(lib, v, x, out)
    if name == "iv_ratio_c":
        dv, dx = iv_ratio_grad(lib, v, x, lib.iv_ratio(v, x))
        return -dv, -dx
    if name == "iv_ratioinv":
        return iv_ratioinv_grad(lib, v, x, out)
    if name == "kv_ratio":
        return kv_ratio_grad(lib, v, x, out)
    if name == "log_iv_dxx":
        return log_iv_dxx_grad(lib, v, x)
    if name == "log_kv_dxx":
        return log_kv_dxx_grad(lib, v, x)
    stem, _, which = name.rpartition("_")
    dvv, dvx, dxx = getattr(lib, f"{stem}_hess")(v, x)
    return (dvv, dvx) if which == "dv" else (dvx, dxx)
