"""Identities of Bessel functions as properties of telamon.special, over arguments that hypothesis chooses.

These need no stored truth, so they would find an error that code and reference share. Every tolerance is the sum of the
bounds that the functions in the identity have to keep: M2 of 2 eps for logarithms, 1e-14 for ratios and derivatives.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from telamon import special

EPS = 2.0**-52
REL = 1e-14

# log-spaced, so that hypothesis tries every magnitude; and plain, so that it finds integers and half-integers
exponents = st.floats(-12, 12)
magnitudes = st.one_of(
    exponents.map(lambda e: 10.0**e), st.floats(0.01, 200), st.integers(1, 4000).map(lambda n: n / 2)
)
extremes = st.floats(-290, 290).map(lambda e: 10.0**e)
orders = st.one_of(st.just(0.0), magnitudes)
upper_orders = st.one_of(st.just(0.5), magnitudes.map(lambda v: v + 0.5))


def slack(value, v, x):
    """What M2 <= 2 eps allows a logarithm."""
    return 2 * EPS * max(abs(value), math.hypot(v, x))


@given(orders, magnitudes)
def test_wronskian(v, x):
    """I_v K_{v+1} + I_{v+1} K_v = 1/x (DLMF 10.28.2): log I_v + log K_{v+1} + log(1 + r/k) = -log x with the ratios
    r = I_{v+1}/I_v, k = K_{v+1}/K_v. Catches a wrong normalisation of either, or a slip of one order."""
    assume(v + 1 - v == 1)
    log_i, log_k = special.log_iv(v, x), special.log_kv(v + 1, x)
    rest = math.log1p(special.iv_ratio(v + 1, x) / special.kv_ratio(v + 1, x))
    bound = slack(log_i, v, x) + slack(log_k, v + 1, x) + 3 * REL + 4 * EPS * abs(math.log(x))
    assert abs(log_i + log_k + rest + math.log(x)) <= bound


@given(orders, magnitudes)
def test_slopes_are_ratios(v, x):
    """DLMF 10.29.2: I'/I = I_{v+1}/I_v + v/x, K'/K = -K_{v-1}/K_v - v/x; all terms of one sign."""
    assume(v + 1 - v == 1)
    want = special.iv_ratio(v + 1, x) + v / x
    assert abs(special.log_iv_dx(v, x) - want) <= 3 * REL * want
    want = 1 / special.kv_ratio(v, x) + v / x
    assert abs(special.log_kv_dx(v, x) + want) <= 3 * REL * want


@given(upper_orders, magnitudes)
def test_three_term_recurrence(v, x):
    """DLMF 10.29.1 as ratios: 1/r_v = r_{v+1} + 2v/x and k_{v+1} = 1/k_v + 2v/x."""
    assume(v + 1 - v == 1)
    want = special.iv_ratio(v + 1, x) + 2 * v / x
    assert abs(1 / special.iv_ratio(v, x) - want) <= 3 * REL * want
    want = 1 / special.kv_ratio(v, x) + 2 * v / x
    assert abs(special.kv_ratio(v + 1, x) - want) <= 3 * REL * want


@given(orders, magnitudes)
def test_differential_equation(v, x):
    """F'' + F'/x = (1 + v^2/x^2) F (DLMF 10.25.1): L'' = 1 + v^2/x^2 - L'/x - L'^2."""
    for slope, curvature in ((special.log_iv_dx, special.log_iv_dxx), (special.log_kv_dx, special.log_kv_dxx)):
        first, second = slope(v, x), curvature(v, x)
        q = (v / x) ** 2
        bound = REL * (4 * first * first + 2 * abs(first) / x + q + 1 + abs(second))
        assert abs(second - (1 + q - first / x - first * first)) <= bound


@given(orders, magnitudes, st.floats(1e-3, 1))
def test_derivatives_are_derivatives(v, x, size):
    """Simpson's rule over [a, a + h] of the slope is the difference of the values. Catches a slope that is off by far
    more than rounding (a sign, a factor, a missing term), in any region."""
    for value, slope in ((special.log_iv, special.log_iv_dx), (special.log_kv, special.log_kv_dx)):
        h = size * 0.01 * x
        step = h / 6 * (slope(v, x) + 4 * slope(v, x + h / 2) + slope(v, x + h))
        bound = slack(value(v, x), v, x) + slack(value(v, x + h), v, x + h) + 1e-7 * abs(step)
        assert abs(value(v, x + h) - value(v, x) - step) <= bound
    for value, slope in ((special.log_iv, special.log_iv_dv), (special.log_kv, special.log_kv_dv)):
        h = size * 0.01 * min(1.0, x if x < 1e-3 else 1.0) * max(1.0, 0.1 * v)
        step = h / 6 * (slope(v, x) + 4 * slope(v + h / 2, x) + slope(v + h, x))
        bound = slack(value(v, x), v, x) + slack(value(v + h, x), v + h, x) + 1e-5 * abs(step)
        assert abs(value(v + h, x) - value(v, x) - step) <= bound + EPS * (v + h) * abs(slope(v, x))


@given(upper_orders, magnitudes)
def test_turan(v, x):
    """I_v^2 > I_{v-1} I_{v+1} and K_v^2 < K_{v-1} K_{v+1}: the ratios are monotone in the order."""
    assert special.iv_ratio(v + 1, x) <= special.iv_ratio(v, x) * (1 + 2 * REL)
    assert special.kv_ratio(v + 1, x) >= special.kv_ratio(v, x) * (1 - 2 * REL)


@given(orders, magnitudes, st.floats(1e-9, 10))
def test_monotone(v, x, factor):
    """log I rises in x and falls in v, log K the reverse; between points further apart than rounding."""
    x2, v2 = x * (1 + factor), v + factor
    for function, sign in ((special.log_iv, 1), (special.log_kv, -1)):
        here, there, above = function(v, x), function(v, x2), function(v2, x)
        assert sign * (there - here) >= -slack(here, v, x) - slack(there, v, x2)
        assert sign * (above - here) <= slack(here, v, x) + slack(above, v2, x)


@given(upper_orders, magnitudes)
def test_ratio_between_its_bounds(v, x):
    """Amos (1974): x/(v - 1/2 + sqrt((v + 1/2)^2 + x^2)) < I_v/I_{v-1} < x/(v - 1/2 + sqrt((v - 1/2)^2 + x^2))."""
    low = x / (v - 0.5 + math.hypot(v + 0.5, x))
    high = x / (v - 0.5 + math.hypot(v - 0.5, x))
    assert low * (1 - 2 * REL) <= special.iv_ratio(v, x) <= high * (1 + 2 * REL)


@given(orders, magnitudes)
def test_complement(v, x):
    ratio, complement = special.iv_ratio(v, x), special.iv_ratio_c(v, x)
    assert abs(ratio + complement - 1) <= 2 * REL * max(1, ratio)


@given(orders, magnitudes)
def test_scaled_forms(v, x):
    """log_ive + x = log_iv, log_kve - x = log_kv, up to the rounding of the sums."""
    log_i, log_ie = special.log_iv(v, x), special.log_ive(v, x)
    assert abs(log_ie + x - log_i) <= slack(log_i, v, x) + slack(log_ie, v, x) + EPS * x
    log_k, log_ke = special.log_kv(v, x), special.log_kve(v, x)
    assert abs(log_ke - x - log_k) <= slack(log_k, v, x) + slack(log_ke, v, x) + EPS * x


@given(magnitudes)
def test_half_orders(x):
    """Closed forms: K_1/2 = sqrt(pi/(2x)) e^-x, I_1/2 = sqrt(2/(pi x)) sinh x, I_1/2 / I_-1/2 = tanh x."""
    want = 0.5 * math.log(math.pi / (2 * x))
    assert abs(special.log_kve(0.5, x) - want) <= slack(want, 0.5, x) + 2 * EPS
    want = 0.5 * math.log(2 / (math.pi * x)) + (math.log(-math.expm1(-2 * x)) - math.log(2))
    assert abs(special.log_ive(0.5, x) - want) <= slack(want, 0.5, x) + 4 * EPS * (1 + abs(math.log(x)))
    assert abs(special.iv_ratio(0.5, x) - math.tanh(x)) <= 2 * REL * math.tanh(x)
    assert abs(special.kv_ratio(0.5, x) - 1) <= REL


@given(magnitudes, st.floats(1e-3, 0.499))
def test_k_ratio_reflects(x, delta):
    """K_v/K_{v-1} at 1/2 + d and 1/2 - d are reciprocal, since K is even in the order."""
    product = special.kv_ratio(0.5 + delta, x) * special.kv_ratio(0.5 - delta, x)
    exact = (0.5 + delta) - 0.5 == 0.5 - (0.5 - delta)
    assert abs(product - 1) <= (2 * REL if exact else 1e-12)


@given(upper_orders, st.one_of(st.floats(1e-12, 1, exclude_max=True), st.floats(-12, 0).map(lambda e: 1 - 10.0**e)))
def test_inverse(v, r):
    """iv_ratio(v, iv_ratioinv(v, r)) = r: 8 eps times the conditioning in x is 8 eps in r, and the ratio adds 1e-14."""
    assume(0 < r < 1)
    x = special.iv_ratioinv(v, r)
    assert 0 < x < np.inf
    assert abs(special.iv_ratio(v, x) - r) <= (9 * EPS + REL) * r


@given(st.one_of(orders, extremes), st.one_of(magnitudes, extremes))
def test_everything_finite(v, x):
    """No infinity or NaN where the truth is a double. The slopes grow like v/x, their derivatives like v/x^2."""
    for name in ("log_iv", "log_kv", "log_ive", "log_kve", "iv_ratio", "iv_ratio_c", "log_iv_dv", "log_kv_dv"):
        got = getattr(special, name)(v, x)
        assert math.isfinite(got), (name, v, x, got)
    if v / x < 1e300 and x > 1e-300:
        for name in ("kv_ratio", "log_iv_dx", "log_kv_dx"):
            assert math.isfinite(getattr(special, name)(v, x)), (name, v, x)
    if v / x / x < 1e300 and x > 1e-150:
        for name in ("log_iv_dxx", "log_kv_dxx"):
            assert math.isfinite(getattr(special, name)(v, x)), (name, v, x)


@given(magnitudes, magnitudes)
def test_float32_follows_float64(v, x):
    """The float32 loop of each logarithm, at float32 arguments: M2 <= 1 eps32 of the float64 answer."""
    v32, x32 = np.float32(v), np.float32(x)
    assume(x32 > 0)
    for name in ("log_iv", "log_kv", "log_ive", "log_kve"):
        function = getattr(special, name)
        got, want = function(v32, x32), function(np.float64(v32), np.float64(x32))
        assert got.dtype == np.float32
        assert abs(np.float64(got) - want) <= 1.001 * 2.0**-23 * max(abs(want), math.hypot(v32, x32))
