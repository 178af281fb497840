"""The plain truth about logarithms of modified Bessel functions: what `telamon.special` should return, exactly.

Each function here is the readable twin of the ufunc of the same name. It takes float64 (or Python float) arguments
as exact numbers, works in Arb's ball arithmetic (python-flint), doubles the precision until the ball is smaller than
2^-110 of the value, and rounds once. `pair=True` returns the value as an unevaluated sum hi + lo of two doubles, which
is what tests/data stores: relative accuracy about 1e-32, also where log I or log K passes through zero.

Two evaluations cover the plane, w = sqrt(v^2 + x^2):

- w < 256, and v < 1 with x < 2000 (where terms in e^-2x matter): Arb's own I and K; derivatives in the order by
  central differences with step 2^-80 in balls, so that cancellation costs bits that the doubling restores. The
  truncation error is 2^-160/6 times f'''/f', and f'''/f' <= (log x)^2 < 2^20.
- elsewhere: the formal logarithm of Debye's uniform expansions (DLMF 10.41.3-4 with 10.41.9), up to 60 terms,
  its derivatives term by term, with the first omitted terms as the radius of the ball.

Slow (10 us to 100 ms a value) and meant to be: nothing in telamon calls it but tests and benchmarks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = [
    "iv_ratio",
    "iv_ratio_c",
    "iv_ratioinv",
    "kv_ratio",
    "log_iv",
    "log_iv_dv",
    "log_iv_dvv",
    "log_iv_dvx",
    "log_iv_dx",
    "log_iv_dxx",
    "log_ive",
    "log_ive_dx",
    "log_kv",
    "log_kv_dv",
    "log_kv_dvv",
    "log_kv_dvx",
    "log_kv_dx",
    "log_kv_dxx",
    "log_kve",
    "log_kve_dx",
]

_BITS = 110  # relative accuracy of every value, in bits: hi + lo holds about 107
_STEP = -80  # log2 of the step of the differences in the order
_TINY = 2.0**-140  # orders below this are expanded about 0
_MAX_TERMS = 60  # of Debye's series
_MAX_PRECISION = 1 << 16

Arb = Any  # python-flint ships no usable stubs


@functools.cache
def _flint() -> Any:
    try:
        import flint
    except ImportError as error:
        raise ImportError(
            "telamon.reference needs Arb's ball arithmetic: pip install python-flint (or pip install 'telamon[test]')"
        ) from error
    return flint


# ---------------------------------------------------------------------------------------------------------------------
# Debye's expansions. With w = sqrt(v^2+x^2), q = v^2/w^2, lead = w - v log((v+w)/x):
#   log I =  lead - log(2 pi w)/2 + sum      D_k(q) w^-k
#   log K = -lead + log(pi/(2w))/2 + sum (-1)^k D_k(q) w^-k


@functools.cache
def _debye_polynomials() -> list[tuple[Any, ...]]:
    """(D, A, A2, M, B, B2) for k = 1.._MAX_TERMS, exact rational polynomials in q.

    F = w^-k D(q) has F_v = v w^-(k+2) A and F_x = x w^-(k+2) B, hence F_vv = w^-(k+2) A2, F_vx = v x w^-(k+4) M and
    F_xx = w^-(k+2) B2. D_1 = 1/8 - 5q/24, D_2 = 1/16 - 3q/8 + 5q^2/16.
    """
    poly = _flint().fmpq_poly
    fmpq = _flint().fmpq
    # U_k(p) = p^k u_k(p^2); DLMF 10.41.9: U_{k+1} = p^2 (1-p^2) U_k'/2 + (1/8) int_0^p (1 - 5t^2) U_k dt
    us = [poly([1])]
    for k in range(_MAX_TERMS):
        new = [fmpq(0)] * (k + 2)
        for j, c in enumerate(us[-1].coeffs()):
            power = k + 2 * j  # the term c p^power
            new[j] += c * power / 2 + c / (8 * (power + 1))
            new[j + 1] -= c * power / 2 + 5 * c / (8 * (power + 3))
        us.append(poly(new))
    # logarithm of a power series: n D_n = n u_n - sum_{j<n} j D_j u_{n-j}
    ds = [poly([0])]
    for n in range(1, _MAX_TERMS + 1):
        ds.append(us[n] - sum((j * ds[j] * us[n - j] for j in range(1, n)), poly([0])) / n)
    q = poly([0, 1])
    result = []
    for k in range(1, _MAX_TERMS + 1):
        d = ds[k]
        a = -k * d + 2 * (1 - q) * d.derivative()
        b = -(k * d + 2 * q * d.derivative())
        a2 = a + q * (-(k + 2) * a + 2 * (1 - q) * a.derivative())
        m = -((k + 2) * a + 2 * q * a.derivative())
        b2 = b - (1 - q) * ((k + 2) * b + 2 * q * b.derivative())
        result.append((d, a, a2, m, b, b2))
    return result


@functools.cache
def _debye_polynomials_arb(k: int, prec: int) -> tuple[Any, ...]:
    flint = _flint()
    return tuple(flint.arb_poly(p) for p in _debye_polynomials()[k - 1])


@functools.cache
def _debye_bound(k: int, index: int) -> Any:
    """Largest |polynomial| on [0, 1], over a grid of q, times 4: the radius put for the first omitted term."""
    polynomial = _debye_polynomials()[k - 1][index]
    fmpq = _flint().fmpq
    return _flint().arb(max(abs(polynomial(fmpq(i, 32))) for i in range(33)) * 4)


def _debye(sign: int, v: Arb, x: Arb) -> dict[str, Arb]:
    """log I (sign = 1) or log K (sign = -1) with first and second derivatives, v >= 0, x > 0, w large."""
    flint = _flint()
    arb, prec = flint.arb, flint.ctx.prec
    ww = v * v + x * x
    w = ww.sqrt()
    q = v * v / ww
    pi = arb.pi()
    sums = [arb(0)] * 6
    power = arb(1)
    for k in range(1, _MAX_TERMS):
        power = power * sign / w
        terms = [power * p(q) for p in _debye_polynomials_arb(k, prec)]
        sums = [s + t for s, t in zip(sums, terms, strict=True)]
        # stop a little below the working precision, or at the smallest term that the series has
        if max(abs(t) for t in terms) < arb(2) ** -(prec + 40):
            break
    next_power = abs(power / w)
    sums = [s + arb(0, (next_power * _debye_bound(k + 1, i)).abs_upper()) for i, s in enumerate(sums)]
    d, a, a2, m, b, b2 = sums
    lead = w - v * ((v + w) / x).log()
    constant = (2 * pi * w).log() / -2 if sign > 0 else (pi / (2 * w)).log() / 2
    w4 = ww * ww
    return {
        "L": sign * lead + constant + d,
        "v": -sign * (v / x).asinh() - v / (2 * ww) + v * a / ww,
        "x": sign * w / x - x / (2 * ww) + x * b / ww,
        "vv": -sign / w + (v - x) * (v + x) / (2 * w4) + a2 / ww,
        "vx": sign * v / (x * w) + v * x / w4 + v * x * m / w4,
        "xx": -sign * v * v / (x * x * w) + (x - v) * (x + v) / (2 * w4) + b2 / ww,
    }


# ---------------------------------------------------------------------------------------------------------------------
# Arb's own functions


def _arb_value(sign: int, v: Arb, x: Arb) -> Arb:
    return (x.bessel_i(v) if sign > 0 else x.bessel_k(v)).log()


def _arb_dx(sign: int, v: Arb, x: Arb) -> Arb:
    """DLMF 10.29.2: I'/I = I_{v+1}/I_v + v/x, K'/K = -K_{v-1}/K_v - v/x. Both sums have terms of one sign."""
    if sign > 0:
        return x.bessel_i(v + 1) / x.bessel_i(v) + v / x
    return -x.bessel_k(v - 1) / x.bessel_k(v) - v / x


def _differences(f: Callable[[Arb], Arb], v: Arb, even: bool) -> tuple[Arb, Arb]:
    """f'(v) and f''(v) by central differences; below _TINY by Taylor's expansion about 0, where K is even."""
    h = _flint().arb(2) ** _STEP
    tiny = bool(v < _TINY)
    centre = _flint().arb(0) if tiny else v
    up, mid, down = f(centre + h), f(centre), f(centre - h)
    second = (up - 2 * mid + down) / (h * h)
    if not tiny:
        return (up - down) / (2 * h), second
    return (0 if even else (up - down) / (2 * h)) + v * second, second


def _arb(sign: int, v: Arb, x: Arb, want: str) -> dict[str, Arb]:
    """The part of _debye's dictionary that `want` names, from Arb's I and K."""
    if want == "L":
        return {"L": _arb_value(sign, v, x)}
    if want in ("v", "vv"):
        first, second = _differences(lambda order: _arb_value(sign, order, x), v, sign < 0)
        return {"v": first, "vv": second}
    if want == "vx":
        return {"vx": _differences(lambda order: _arb_dx(sign, order, x), v, sign < 0)[0]}
    dx = _arb_dx(sign, v, x)
    # the differential equation, DLMF 10.25.1: F'' + F'/x = (1 + v^2/x^2) F
    return {"x": dx, "xx": 1 + (v / x) ** 2 - dx / x - dx * dx}


def _use_debye(v: float, x: float) -> bool:
    return math.hypot(v, x) >= 256 and not (abs(v) < 1 and x < 2000)


def _log_bessel(sign: int, v: float, x: float, want: str) -> Arb:
    arb = _flint().arb
    if _use_debye(v, x):
        return _debye(sign, arb(v), arb(x))[want]
    return _arb(sign, arb(v), arb(x), want)[want]


# ---------------------------------------------------------------------------------------------------------------------
# From balls to doubles


def _exact(ball: Arb) -> Fraction:
    mantissa, exponent = ball.mid().man_exp()
    mantissa, exponent = int(mantissa), int(exponent)
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)


def _round(value: Fraction) -> float:
    try:
        return value.numerator / value.denominator  # CPython rounds the quotient of integers correctly
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _pair(compute: Callable[[], Arb]) -> tuple[float, float]:
    """Double the precision until the ball is known to 2^-_BITS of its value; return it as hi + lo."""
    flint = _flint()
    old = flint.ctx.prec
    try:
        prec = 256
        while prec <= _MAX_PRECISION:
            flint.ctx.prec = prec
            ball = compute()
            if ball.is_finite():
                if ball.rel_accuracy_bits() >= _BITS:
                    value = _exact(ball)
                    hi = _round(value)
                    return hi, _round(value - Fraction(hi)) if math.isfinite(hi) else 0.0
                if ball.is_zero():
                    return 0.0, 0.0
                if ball.abs_upper() < flint.arb(2) ** -1200:  # far below the smallest subnormal
                    return 0.0, 0.0
            prec *= 2
    finally:
        flint.ctx.prec = old
    raise ArithmeticError(f"no {_BITS} bits after precision {_MAX_PRECISION}")


def _twin(function: Callable[[float, float], Any]) -> Callable[..., Any]:
    """Make an elementwise function of float64 arrays from one that returns a float (an exact answer) or a thunk."""

    @functools.wraps(function)
    def twin(v: Any, x: Any, *, pair: bool = False) -> Any:
        vs, xs = np.broadcast_arrays(np.asarray(v, dtype=np.float64), np.asarray(x, dtype=np.float64))
        hi, lo = np.empty(vs.shape), np.zeros(vs.shape)
        for index in np.ndindex(vs.shape):
            answer = function(float(vs[index]), float(xs[index]))
            if callable(answer):
                hi[index], lo[index] = _pair(answer)
            else:
                hi[index] = answer
        return (hi[()], lo[()]) if pair else hi[()]

    return twin


# ---------------------------------------------------------------------------------------------------------------------
# The functions. Each settles its edges, then names the ball to compute.


def _bad(v: float, x: float) -> bool:
    return math.isnan(v) or math.isnan(x) or x < 0 or (math.isinf(v) and (math.isinf(x) or v < 0))


def _reflect(v: float) -> float:
    """I_{-n} = I_n for integers."""
    return -v if v < 0 and v == math.floor(v) else v


def _negative_order(a: float, x: float, shift: float) -> Callable[[], Any] | float:
    """log I_{-a}(x) + shift x, DLMF 10.27.2: I_{-a} = I_a + (2/pi) sin(pi a) K_a; NaN where that is negative."""

    def ratio() -> Arb:
        arb = _flint().arb
        log_ratio = _log_bessel(-1, a, x, "L") - _log_bessel(1, a, x, "L")
        return 2 / arb.pi() * arb(a).sin_pi() * log_ratio.exp()

    def sign() -> Arb:
        return 1 + ratio()

    if _pair(sign)[0] < 0:
        return math.nan
    return lambda: _log_bessel(1, a, x, "L") + sign().log() + shift * _flint().arb(x)


def _log_i(v: float, x: float, scaled: bool) -> Any:
    v = _reflect(v)
    if _bad(v, x):
        return math.nan
    shift = -1 if scaled else 0
    if x == 0:
        if v == 0:
            return 0.0
        if v > 0:
            return -math.inf
        # I_v is infinite at 0+ for negative v, with the sign of 1/Gamma(v+1)
        return math.inf if math.floor(v) % 2 == 1 else math.nan
    if math.isinf(x):
        return -math.inf if scaled else math.inf
    if math.isinf(v):
        return -math.inf
    if v < 0:
        return _negative_order(-v, x, shift)
    return lambda: _log_bessel(1, v, x, "L") + shift * _flint().arb(x)


def _log_k(v: float, x: float, scaled: bool) -> Any:
    v = abs(v)
    if _bad(v, x):
        return math.nan
    if x == 0 or math.isinf(v):
        return math.inf
    if math.isinf(x):
        return -math.inf
    return lambda: _log_bessel(-1, v, x, "L") + (_flint().arb(x) if scaled else 0)


@_twin
def log_iv(v: float, x: float) -> Any:
    """log I_v(x). DLMF 10.25.2."""
    return _log_i(v, x, scaled=False)


@_twin
def log_ive(v: float, x: float) -> Any:
    """log(exp(-x) I_v(x))."""
    return _log_i(v, x, scaled=True)


@_twin
def log_kv(v: float, x: float) -> Any:
    """log K_v(x). DLMF 10.27.4."""
    return _log_k(v, x, scaled=False)


@_twin
def log_kve(v: float, x: float) -> Any:
    """log(exp(x) K_v(x))."""
    return _log_k(v, x, scaled=True)


def _ratio_i(v: float, x: float) -> Arb:
    """I_v / I_{v-1}; for large w by DLMF 10.29.2, I_{v-1}/I_v = I_v'/I_v + v/x, a sum of two positive terms."""
    arb = _flint().arb
    if _use_debye(v, x):
        return 1 / (_log_bessel(1, v, x, "x") + arb(v) / arb(x))
    return arb(x).bessel_i(arb(v)) / arb(x).bessel_i(arb(v) - 1)


@_twin
def iv_ratio(v: float, x: float) -> Any:
    """I_v(x) / I_{v-1}(x), v >= 0 (for 0 <= v < 1/2 larger than 1 from some x on)."""
    if _bad(v, x) or v < 0:
        return math.nan
    if x == 0:
        return math.inf if v == 0 else 0.0
    if math.isinf(x) or math.isinf(v):
        return 1.0 if math.isinf(x) else 0.0
    return lambda: _ratio_i(v, x)


@_twin
def iv_ratio_c(v: float, x: float) -> Any:
    """1 - I_v(x) / I_{v-1}(x), v >= 0."""
    if _bad(v, x) or v < 0:
        return math.nan
    if x == 0:
        return -math.inf if v == 0 else 1.0
    if math.isinf(x) or math.isinf(v):
        return 0.0 if math.isinf(x) else 1.0
    if v == 0.5:  # 1 - tanh x; Debye's series does not see e^-2x
        return 0.0 if x > 1000 else lambda: 2 / ((2 * _flint().arb(x)).exp() + 1)
    return lambda: 1 - _ratio_i(v, x)


@_twin
def iv_ratioinv(v: float, r: float) -> Any:
    """The x with I_v(x) / I_{v-1}(x) = r, v >= 1/2, 0 <= r <= 1, by Newton's method in x and a proof by signs.

    With A = I_v/I_{v-1}: A' = 1 - A^2 - (2v-1) A/x (from DLMF 10.29.2).
    """
    if _bad(v, r) or v < 0.5 or math.isinf(v) or r > 1:
        return math.nan
    if r == 0:
        return 0.0
    if r == 1:
        return math.inf

    def ratio_ball(x: Arb) -> Arb:
        arb = _flint().arb
        if _use_debye(v, float(x)):
            return 1 / (_debye(1, arb(v), x)["x"] + arb(v) / x)
        return x.bessel_i(arb(v)) / x.bessel_i(arb(v) - 1)

    def root() -> Arb:
        arb, prec = _flint().arb, _flint().ctx.prec
        d, target = 2 * arb(v), arb(r)
        if v == 0.5:
            return ((1 + target) / (1 - target)).log() / 2
        x = (target * (d - target * target) / (1 - target * target)).mid()
        for _ in range(60):
            a = ratio_ball(x)
            step = (a - target) / (1 - a * a - (d - 1) * a / x)
            new = (x - step).mid()
            if new <= 0:
                new = x / 2
            done = abs(step.mid()) < x * arb(2) ** -(prec // 2 - 8)
            x = new.mid()
            if done:
                break
        width = x * arb(2) ** -(_BITS + 10)
        low, high = (x - width).mid(), (x + width).mid()
        if ratio_ball(low) < target and ratio_ball(high) > target:
            return arb(x, width)
        return arb.nan()

    return root


@_twin
def kv_ratio(v: float, x: float) -> Any:
    """K_v(x) / K_{v-1}(x); K is even in its order. For large w by DLMF 10.29.2, (v-1)/x - K_{v-1}'/K_{v-1}."""
    if math.isnan(v) or math.isnan(x) or x < 0 or (math.isinf(v) and math.isinf(x)):
        return math.nan
    if math.isinf(v):
        return math.inf if v > 0 else 0.0
    if x == 0:
        return math.inf if v > 0.5 else (1.0 if v == 0.5 else 0.0)
    if math.isinf(x):
        return 1.0

    def ratio() -> Arb:
        arb = _flint().arb
        if _use_debye(v, x):
            # 1/kv_ratio(1-v) is the same number, so that the order below is never negative
            order = v if v > 0.5 else 1 - Fraction(v)
            below = arb(_flint().fmpq(Fraction(order).numerator, Fraction(order).denominator)) - 1
            k = _debye(-1, abs(below), arb(x))["x"]
            value = below / arb(x) - k
            return value if v > 0.5 else 1 / value
        return arb(x).bessel_k(arb(v)) / arb(x).bessel_k(arb(v) - 1)

    return ratio


def _derivative(sign: int, want: str, v: float, x: float, at_zero: Callable[[float], float], at_inf: float) -> Any:
    if sign < 0:
        odd = want in ("v", "vx") and v < 0
        v = abs(v)
    else:
        odd = False
    if _bad(v, x) or v < 0 or math.isinf(v):
        return math.nan
    if x == 0 or math.isinf(x):
        answer = at_zero(v) if x == 0 else at_inf
        return -answer if odd else answer
    if v == 0 and sign < 0 and want in ("v", "vx"):
        return 0.0
    if v == 0 and want in ("v", "vx") and x > 1500:
        return 0.0  # -K_0/I_0 < e^-3000
    return lambda: (-1 if odd else 1) * _log_bessel(sign, v, x, want)


@_twin
def log_iv_dv(v: float, x: float) -> Any:
    """d/dv log I_v(x), v >= 0; at v = 0 the derivative from the right, -K_0/I_0 (DLMF 10.38.4)."""
    return _derivative(1, "v", v, x, lambda v: -math.inf, 0.0)


@_twin
def log_iv_dx(v: float, x: float) -> Any:
    """d/dx log I_v(x)."""
    v = _reflect(v)
    return _derivative(1, "x", v, x, lambda v: math.inf if v > 0 else 0.0, 1.0)


@_twin
def log_iv_dvv(v: float, x: float) -> Any:
    """d2/dv2 log I_v(x), v >= 0."""
    return _derivative(1, "vv", v, x, lambda v: math.nan, 0.0)


@_twin
def log_iv_dvx(v: float, x: float) -> Any:
    """d2/dvdx log I_v(x), v >= 0."""
    return _derivative(1, "vx", v, x, lambda v: math.inf, 0.0)


@_twin
def log_iv_dxx(v: float, x: float) -> Any:
    """d2/dx2 log I_v(x)."""
    v = _reflect(v)
    return _derivative(1, "xx", v, x, lambda v: -math.inf if v > 0 else 0.5, 0.0)


@_twin
def log_kv_dv(v: float, x: float) -> Any:
    """d/dv log K_v(x), odd in v."""
    return _derivative(-1, "v", v, x, lambda v: math.inf if v > 0 else 0.0, 0.0)


@_twin
def log_kv_dx(v: float, x: float) -> Any:
    """d/dx log K_v(x), even in v."""
    return _derivative(-1, "x", v, x, lambda v: -math.inf, -1.0)


@_twin
def log_kv_dvv(v: float, x: float) -> Any:
    """d2/dv2 log K_v(x), even in v."""
    return _derivative(-1, "vv", v, x, lambda v: math.nan, 0.0)


@_twin
def log_kv_dvx(v: float, x: float) -> Any:
    """d2/dvdx log K_v(x), odd in v."""
    return _derivative(-1, "vx", v, x, lambda v: -math.inf if v > 0 else 0.0, 0.0)


@_twin
def log_kv_dxx(v: float, x: float) -> Any:
    """d2/dx2 log K_v(x), even in v."""
    return _derivative(-1, "xx", v, x, lambda v: math.inf, 0.0)


@_twin
def log_ive_dx(v: float, x: float) -> Any:
    """d/dx log(exp(-x) I_v(x)) = d/dx log I_v(x) - 1."""
    v = _reflect(v)
    answer = _derivative(1, "x", v, x, lambda v: math.inf if v > 0 else 0.0, 1.0)
    return (lambda: answer() - 1) if callable(answer) else answer - 1


@_twin
def log_kve_dx(v: float, x: float) -> Any:
    """d/dx log(exp(x) K_v(x)) = d/dx log K_v(x) + 1."""
    answer = _derivative(-1, "x", v, x, lambda v: -math.inf, -1.0)
    return (lambda: answer() + 1) if callable(answer) else answer + 1
