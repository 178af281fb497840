r"""Logarithms, ratios and derivatives of modified Bessel functions, as NumPy ufuncs.

Every function takes an order ``v`` and an argument ``x`` (`iv_ratioinv` a ratio ``r``), scalars or arrays that
broadcast, and has a float32 and a float64 loop. All of NumPy's machinery applies: ``out=``, ``where=``, dask, xarray.
No result is infinite or NaN where the true value is finite and representable. Results do not depend on an element's
position, on strides, on the length of the array or on the number of threads.

==================================================  =====================================================
`log_iv`, `log_kv`                                  :math:`\log I_v(x)`, :math:`\log K_v(x)`
`log_ive`, `log_kve`                                :math:`\log(e^{-x} I_v(x))`, :math:`\log(e^x K_v(x))`
`iv_ratio`, `iv_ratio_c`, `iv_ratioinv`             :math:`I_v/I_{v-1}`, one minus it, its inverse in x
`kv_ratio`                                          :math:`K_v/K_{v-1}`
`log_iv_dv`, `log_iv_dx`, `log_iv_dxx`              derivatives of `log_iv`
`log_kv_dv`, `log_kv_dx`, `log_kv_dxx`              derivatives of `log_kv`
==================================================  =====================================================

DLMF is the NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov.
"""

from telamon._core import (
    iv_ratio,
    iv_ratio_c,
    iv_ratioinv,
    kv_ratio,
    log_iv,
    log_iv_dv,
    log_iv_dx,
    log_iv_dxx,
    log_ive,
    log_kv,
    log_kv_dv,
    log_kv_dx,
    log_kv_dxx,
    log_kve,
)

__all__ = [
    "iv_ratio",
    "iv_ratio_c",
    "iv_ratioinv",
    "kv_ratio",
    "log_iv",
    "log_iv_dv",
    "log_iv_dx",
    "log_iv_dxx",
    "log_ive",
    "log_kv",
    "log_kv_dv",
    "log_kv_dx",
    "log_kv_dxx",
    "log_kve",
]

# ---- the docstrings: what differs from function to function, and the frame they share

_I_EDGES = r"""
    NaN where either argument is NaN, x < 0, or :math:`I_v(x) < 0`, which happens for negative non-integer v only.
    Negative integers are taken as :math:`|v|`, since :math:`I_{-n} = I_n`."""
_K_EDGES = r"""
    Even in v. NaN where either argument is NaN or x < 0."""
_VALUE_ERROR = r"""
    With :math:`w = \sqrt{v^2 + x^2}` and L the true value, the error is at most :math:`2\epsilon \max(|L|, w)` in
    float64 and :math:`\epsilon \max(|L|, w)` in float32; w is about how far one part in one of x moves L, so this is
    what rounding the arguments would cost anyhow."""
_RELATIVE_ERROR = r"""
    The relative error is at most 1e-14 in float64."""

# name: (what it is, edge cases, error bound, source, an example's arguments and its value)
_FUNCTIONS = {
    "log_iv": (
        r"Logarithm of the modified Bessel function of the first kind, :math:`\log I_v(x)`.",
        r"""
    0 at v = x = 0, -inf at x = 0 for v > 0, inf at x = inf."""
        + _I_EDGES,
        _VALUE_ERROR,
        "DLMF 10.25.2 (power series), 10.41.3 (uniform expansion)",
        "16383, 9485.0",
        "-2611.619042",
    ),
    "log_kv": (
        r"Logarithm of the modified Bessel function of the second kind, :math:`\log K_v(x)`.",
        r"""
    inf at x = 0, -inf at x = inf."""
        + _K_EDGES,
        _VALUE_ERROR,
        "DLMF 10.27.4, 10.32.9 (integral), 10.41.4 (uniform expansion)",
        "2.5, 1e-200",
        "1152.61695",
    ),
    "log_ive": (
        r"Logarithm of the exponentially scaled function :math:`e^{-x} I_v(x)`, without the cancellation.",
        r"""
    0 at v = x = 0, -inf at x = 0 for v > 0 and at x = inf."""
        + _I_EDGES,
        _VALUE_ERROR,
        "DLMF 10.25.2, 10.41.3",
        "1.0, 1e12",
        "-14.73444909",
    ),
    "log_kve": (
        r"Logarithm of the exponentially scaled function :math:`e^{x} K_v(x)`, without the cancellation.",
        r"""
    inf at x = 0, -inf at x = inf."""
        + _K_EDGES,
        _VALUE_ERROR,
        "DLMF 10.27.4, 10.41.4",
        "1.0, 1e12",
        "-13.58971921",
    ),
    "iv_ratio": (
        r"Ratio of modified Bessel functions of the first kind, :math:`I_v(x) / I_{v-1}(x)`.",
        r"""
    0 at x = 0 and 1 at x = inf, for v > 0. With v = d/2 this is the mean resultant length of a von Mises-Fisher
    distribution in d dimensions with concentration x.""",
        _RELATIVE_ERROR,
        "DLMF 10.29.2, 10.33.1 (continued fraction)",
        "16384, 9485.0",
        "0.2685801102",
    ),
    "iv_ratio_c": (
        r"Complement of the ratio, :math:`1 - I_v(x) / I_{v-1}(x)`, without the cancellation.",
        r"""
    1 at x = 0 and 0 at x = inf, for v > 0; about :math:`(v - 1/2)/x` for large x.""",
        _RELATIVE_ERROR,
        "DLMF 10.29.2, 10.40.1",
        "1.5, 1e12",
        "1e-12",
    ),
    "iv_ratioinv": (
        r"Inverse of the ratio in its argument: the x with :math:`I_v(x) / I_{v-1}(x) = r`.",
        r"""
    0 at r = 0 and inf at r = 1; NaN for r outside [0, 1] or NaN. With v = d/2 this is the concentration of a von
    Mises-Fisher distribution in d dimensions with mean resultant length r, its maximum likelihood estimate.""",
        r"""
    The error is at most :math:`8\epsilon` times the conditioning of the problem in r.""",
        "Banerjee et al., J. Mach. Learn. Res. 6 (2005) 1345, equation 4.4, for the start; then Halley's method",
        "16384, 0.7",
        "44974.78353",
    ),
    "kv_ratio": (
        r"Ratio of modified Bessel functions of the second kind, :math:`K_v(x) / K_{v-1}(x)`.",
        r"""
    1 at x = inf; at x = 0, inf for v > 1/2, 1 for v = 1/2 and 0 for v < 1/2.""",
        _RELATIVE_ERROR,
        "DLMF 10.29.2",
        "1.5, 1e-10",
        "1e+10",
    ),
    "log_iv_dv": (
        r"Derivative of `log_iv` in the order, :math:`\partial_v \log I_v(x)`.",
        r"""
    -inf at x = 0."""
        + _I_EDGES,
        _RELATIVE_ERROR,
        "DLMF 10.38, and 10.41.3 differentiated",
        "2.5, 10.0",
        "-0.260576807",
    ),
    "log_iv_dx": (
        r"Derivative of `log_iv` in the argument, :math:`\partial_x \log I_v(x) = I_{v+1}(x)/I_v(x) + v/x`.",
        r"""
    inf at x = 0 for v > 0, 0 for v = 0; 1 at x = inf."""
        + _I_EDGES,
        _RELATIVE_ERROR,
        "DLMF 10.29.2",
        "2.5, 10.0",
        "0.9828767201",
    ),
    "log_iv_dxx": (
        r"Second derivative of `log_iv` in the argument, :math:`\partial_x^2 \log I_v(x)`.",
        r"""
    -inf at x = 0 for v > 0, 1/2 for v = 0; 0 at x = inf."""
        + _I_EDGES,
        _RELATIVE_ERROR,
        "DLMF 10.25.1, the differential equation, and 10.41.3",
        "2.5, 10.0",
        "-0.001834318851",
    ),
    "log_kv_dv": (
        r"Derivative of `log_kv` in the order, :math:`\partial_v \log K_v(x)`.",
        r"""
    Odd in v, so 0 at v = 0. NaN where either argument is NaN or x < 0.""",
        _RELATIVE_ERROR,
        "DLMF 10.38, and 10.41.4 differentiated",
        "2.5, 10.0",
        "0.2367176979",
    ),
    "log_kv_dx": (
        r"Derivative of `log_kv` in the argument, :math:`\partial_x \log K_v(x) = -K_{v-1}(x)/K_v(x) - v/x`.",
        r"""
    -inf at x = 0, -1 at x = inf."""
        + _K_EDGES,
        _RELATIVE_ERROR,
        "DLMF 10.29.2",
        "2.5, 10.0",
        "-1.077067669",
    ),
    "log_kv_dxx": (
        r"Second derivative of `log_kv` in the argument, :math:`\partial_x^2 \log K_v(x)`.",
        r"""
    inf at x = 0, 0 at x = inf."""
        + _K_EDGES,
        _RELATIVE_ERROR,
        "DLMF 10.25.1, the differential equation, and 10.41.4",
        "2.5, 10.0",
        "0.01013200294",
    ),
}

_FRAME = """{name}(v, {x}, /, out=None, *, where=True, casting='same_kind', order='K', dtype=None, subok=True)

{summary}

Parameters
----------
v : array_like of float
    Order.
{x} : array_like of float
    {second}, of a shape that broadcasts with that of v.
out, where, **kwargs
    As for every NumPy ufunc.

Returns
-------
ndarray or scalar
    float32 where NumPy can cast both arguments to it safely, else float64.

Notes
-----
{edges}

{error}

Method: {source}.

Examples
--------
>>> from telamon.special import {name}
>>> print(f"{{{name}({example}):.10g}}")
{value}
"""

for _name, (_summary, _edges, _error, _source, _example, _value) in _FUNCTIONS.items():
    _ufunc = globals()[_name]
    _inverse = _name == "iv_ratioinv"
    _ufunc.__doc__ = _FRAME.format(
        name=_name,
        x="r" if _inverse else "x",
        second="Ratio between 0 and 1" if _inverse else "Argument",
        summary=_summary,
        edges=_edges.replace("\n    ", "\n").strip(),
        error=_error.replace("\n    ", "\n").strip(),
        source=_source,
        example=_example,
        value=_value,
    )
    _ufunc.__module__ = __name__  # so that a pickle names telamon.special, not the private module
