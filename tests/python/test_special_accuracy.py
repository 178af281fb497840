"""telamon.special against Arb on the stress grid, for every dtype, instruction set, thread count and layout.

The thresholds are the "must" column of the design: with eps = 2^-52, L the truth and w = hypot(v, x),

    M2 = |error| / max(|L|, w) <= 2 eps         float64 values; catches a wrong coefficient, region border or constant
    M1 = |error| / max(1, |L|) <= 4 max(1, w/512) eps   the same, where L is much smaller than w
    M2 <= 1 eps                                 float32 values (eps = 2^-23)
    |error| / |value| <= 1e-14                  float64 derivatives and ratios (float32: 8 eps, which is 10 eps in
                                                float64's terms with room taken away, not added)

A quantity that passes through zero where no formula could know its relative error gets the scale given beside it.
"""

from __future__ import annotations

import numpy as np
import pytest

from telamon import _core, special

EPS = {np.float64: 2.0**-52, np.float32: 2.0**-23}
DTYPES = [np.float64, np.float32]
VALUES = ["log_iv", "log_kv", "log_ive", "log_kve"]
RATIOS = ["iv_ratio", "iv_ratio_c", "kv_ratio"]
FIRST = ["log_iv_dv", "log_iv_dx", "log_kv_dv", "log_kv_dx"]
SECOND = ["log_iv_dxx", "log_kv_dxx"]
# The design bounds first derivatives and ratios. d2/dx2 log I is 1/(2 x^2) left over from terms of order 1/x, so below
# w = 25, where it comes from a fit, it loses up to a factor x.
LIMIT = {"log_iv_dxx": 3}
RELATIVE = {np.float64: 1e-14, np.float32: 8 * EPS[np.float32]}


def errors(got, truth, scale):
    """|got - truth| / scale, with everything that overflows, underflows or is not finite settled.

    inf where got is not what the truth rounds to: a NaN, an infinity for a representable truth, or the reverse.
    """
    info = np.finfo(got.dtype)
    top, tiny = float(info.max), float(info.smallest_normal)
    with np.errstate(all="ignore"):
        error = np.abs((got.astype(np.float64) - truth.hi) - truth.lo) / np.maximum(scale, tiny)
        # within rounding of the largest number either answer is right
        overflow = np.abs(truth.hi) > top * (1 - 1e-5 if got.dtype == np.float32 else 1 - 1e-12)
        infinite = np.isinf(got) & (np.sign(got) == np.sign(truth.hi))
    error[overflow & infinite] = 0
    error[np.abs(truth.hi) > top * (1 + 1e-5)] = np.inf
    error[np.isinf(truth.hi) & infinite] = 0
    error[(np.abs(truth.hi) > top) & infinite] = 0
    return np.where(np.isnan(error), np.inf, error)


def check(got, truth, scale, limit, unit):
    """Assert every error <= limit * unit, naming the worst points in the units of the limit."""
    error = errors(got, truth, scale) / unit
    bad = error > limit
    if not bad.any():
        return
    order = np.argsort(-np.where(bad, error, 0))[:8]
    rows = [
        f"  v={truth.v[i]!r:24} x={truth.x[i]!r:24} got {got[i]!r:26} want {truth.hi[i]!r:26} "
        f"error {error[i]:10.4g} ({truth.label[i]})"
        for i in order
        if bad[i]
    ]
    counts = {str(name): int((bad & (truth.label == name)).sum()) for name in np.unique(truth.label[bad])}
    limit_text = np.max(limit) if np.ndim(limit) else limit
    pytest.fail(f"{bad.sum()} of {bad.size} errors above {limit_text:g}, by set {counts}; worst:\n" + "\n".join(rows))


def lay_out(array, layout):
    """The same numbers in another place."""
    if layout == "contiguous":
        return array
    if layout == "strided":
        wide = np.full((len(array), 3), np.nan, array.dtype)
        wide[:, 1] = array
        return wide[:, 1]
    if layout == "reversed":
        return array[::-1].copy()[::-1]
    if layout == "unaligned":
        raw = np.empty(array.nbytes + 1, np.uint8)
        raw[1:] = array.view(np.uint8)
        return raw[1:].view(array.dtype)
    assert layout == "broadcast"
    return np.broadcast_to(array, (2, len(array)))


LAYOUTS = ["contiguous", "strided", "reversed", "unaligned", "broadcast"]


def evaluate(function, truth, dtype, layout):
    v, x = (lay_out(a.astype(dtype), layout) for a in (truth.v, truth.x))
    got = function(v, x)
    assert got.dtype == dtype
    if layout == "broadcast":
        np.testing.assert_array_equal(got[0], got[1])
        return got[0]
    return got


def radius(truth):
    return np.hypot(truth.v, truth.x)


def scale_of(name, truth):
    """What an error is measured against where the relative one is not well posed; otherwise the value itself.

    iv_ratio_c, v < 1/2: I_v/I_{v-1} passes 1, and an ulp in x moves it by x A', A' = 1 - A^2 - (2v-1) A/x.
    log_ive_dx: I'/I - 1 passes zero where v^2 ~ x, and v ~ x for small w; the terms that meet are
    w/x - 1 = v^2/(x(w+x)) and x/(2 w^2), for small w limited by the 1 that is subtracted.
    log_iv_dvx, log_kv_dvx: exponentially small, respectively odd, at v = 0; they serve second-order gradients only, and
    are measured against the size 1/(x (1 + w)) that they have at v ~ sqrt(x).
    log_iv_dxx: positive for x >> v^2, negative for x << v; the terms that meet at the zero are v^2/(x^2 w) (large w,
    from the leading term) or v/x^2 (small w, from log x^v), and an ulp in v moves them by an ulp.
    """
    v, x, value = truth.v, truth.x, np.abs(truth.hi)
    if name == "iv_ratio_c":
        with np.errstate(all="ignore"):
            a = 1 - truth.hi
            slope = np.abs(x * (1 - a * a) - (2 * v - 1) * a)
        return np.where(v < 0.5, np.fmax(value, np.minimum(slope, 1)), value)
    w = radius(truth)
    if name == "log_ive_dx":
        with np.errstate(over="ignore"):
            return np.maximum(value, np.minimum(1, v / x * (v / (w + x)) + x / w / w / 2))
    if name.endswith("_dvx"):
        with np.errstate(over="ignore"):
            return np.maximum(value, 1 / x / (1 + w))
    if name == "log_iv_dxx":
        with np.errstate(over="ignore"):
            return np.maximum(value, (v / x) * ((v / w + 1 / (1 + w)) / x))
    return value


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_values(truth, isa, threads, name, dtype, layout):
    """M1 and M2 over the whole grid."""
    table = truth("values", name).representable(dtype)
    got = evaluate(getattr(special, name), table, dtype, layout)
    w = radius(table)
    check(got, table, np.maximum(np.abs(table.hi), w), 2 if dtype is np.float64 else 1, EPS[dtype])
    if dtype is np.float64:
        check(got, table, np.maximum(np.abs(table.hi), 1), 4 * np.maximum(1, w / 512), EPS[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RATIOS + FIRST + SECOND)
def test_derivatives_and_ratios(truth, isa, threads, name, dtype, layout):
    """Relative, also where the quantity is exponentially small (d/dv log I at v = 0, the complement at v = 1/2)."""
    table = truth("derivatives", name).representable(dtype)
    got = evaluate(getattr(special, name), table, dtype, layout)
    check(got, table, scale_of(name, table), LIMIT.get(name, 1), RELATIVE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_inverse_of_the_ratio(truth, isa, threads, dtype):
    """8 eps times the conditioning |r/x dx/dr|, which tends to 1 for small r and to 1/(1-r) for r near 1."""
    table = truth("inverse", "iv_ratioinv").representable(dtype)
    got = evaluate(special.iv_ratioinv, table, dtype, "contiguous")
    with np.errstate(over="ignore"):
        scale = np.abs(table.hi) * np.maximum(1, table.scale)
    check(got, table, scale, 8, EPS[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["log_kv", "log_kve", "log_kv_dv", "log_kv_dx", "log_kv_dxx"])
def test_k_is_even_in_the_order(truth, isa, name, dtype):
    """K_{-v} = K_v, so that every bound holds for negative orders too; d/dv changes sign."""
    value = name in VALUES
    table = truth("values" if value else "derivatives", name).representable(dtype)
    got = getattr(special, name)(-table.v.astype(dtype), table.x.astype(dtype))
    if value:
        scale = np.maximum(np.abs(table.hi), radius(table))
        check(got, table, scale, 2 if dtype is np.float64 else 1, EPS[dtype])
    else:
        check(-got if name == "log_kv_dv" else got, table, scale_of(name, table), 1, RELATIVE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["log_iv", "log_ive"])
def test_negative_orders(truth, isa, name, dtype):
    """I_v = I_|v| + (2/pi) sin(pi |v|) K_|v| has zeros and poles between the integers: measured against what an ulp in
    the arguments does to it (the table's scale), and NaN exactly where I_v < 0."""
    table = truth("negative", name).representable(dtype)
    got = evaluate(getattr(special, name), table, dtype, "contiguous")
    # next to a zero of I_v the sign itself is a matter of rounding
    clear = ~(table.scale > 0.01 / EPS[dtype])
    np.testing.assert_array_equal(np.isnan(got[clear]), np.isnan(table.hi[clear]))
    defined = clear & ~np.isnan(table.hi) & ~np.isnan(table.scale)
    table, got = table.only(defined), got[defined]
    scale = np.maximum(np.maximum(np.abs(table.hi), radius(table)), table.scale)
    check(got, table, scale, 2 if dtype is np.float64 else 1, EPS[dtype])


# The gradient of the scaled forms: log_ive differs from log_iv in d/dx alone.
GRADIENTS = {
    "log_iv_grad": ("log_iv", "log_iv_dv", "log_iv_dx"),
    "log_kv_grad": ("log_kv", "log_kv_dv", "log_kv_dx"),
    "log_ive_grad": ("log_ive", "log_iv_dv", "log_ive_dx"),
    "log_kve_grad": ("log_kve", "log_kv_dv", "log_kve_dx"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(truth, isa, threads, name, dtype):
    """The one-pass functions behind the torch and JAX gradients are as accurate as the single ones."""
    parts = GRADIENTS[name]
    values = truth("values", parts[0]).representable(dtype)
    got = getattr(_core, name)(values.v.astype(dtype), values.x.astype(dtype))[0]
    scale = np.maximum(np.abs(values.hi), radius(values))
    check(got, values, scale, 2 if dtype is np.float64 else 1, EPS[dtype])
    for index in (1, 2):
        table = truth("derivatives", parts[index]).representable(dtype)
        got = getattr(_core, name)(table.v.astype(dtype), table.x.astype(dtype))[index]
        scale = scale_of(parts[index], table)
        check(got, table, scale, 1, RELATIVE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["log_iv_hess", "log_kv_hess", "log_ive_hess", "log_kve_hess"])
def test_second_derivatives(truth, isa, threads, name, dtype):
    """The one-pass second derivatives. d2/dv2 and d2/dvdx have no bound of their own in the design: ten times that of
    the first derivatives; for d2/dv2 log K, a difference of squared slopes of the recurrence, fifty times."""
    base = name[:6]
    for index, part in enumerate(("dvv", "dvx", "dxx")):
        full = f"{base}_{part}"
        table = truth("derivatives", full).representable(dtype)
        got = getattr(_core, name)(table.v.astype(dtype), table.x.astype(dtype))[index]
        check(
            got,
            table,
            scale_of(full, table),
            {"log_kv_dvv": 50}.get(full, LIMIT.get(full, 1) if part == "dxx" else 10),
            RELATIVE[dtype],
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*special.__all__])
def test_same_bits_everywhere(truth, isa, name, dtype):
    """A point's result does not depend on its neighbours, its position in a vector or block, or the array's length.

    Catches a scalar tail compiled with other contractions than the vector loop, a border that two code paths see
    differently, and blocks that mix regimes.
    """
    function = getattr(special, name)
    table = (truth("inverse", name) if name == "iv_ratioinv" else truth("values", "log_iv")).representable(dtype)
    v, x = table.v.astype(dtype), table.x.astype(dtype)
    want = function(v, x)

    def same(got, expected):
        np.testing.assert_array_equal(got.view(np.uint8), np.ascontiguousarray(expected).view(np.uint8))

    order = np.random.default_rng(1).permutation(len(v))
    same(function(v[order], x[order]), want[order])  # other neighbours
    for start in (1, 3, 8, 17):
        same(function(v[start:], x[start:]), want[start:])  # another position
    for length in [*range(1, 20), 31, 33, 511, 512, 513]:
        start = 13 * length % (len(v) - length)
        same(function(v[start : start + length], x[start : start + length]), want[start : start + length])
    for i in order[:200]:  # alone, as a NumPy scalar
        same(np.atleast_1d(function(v[i], x[i])), want[i : i + 1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_on_two_threads(truth, isa, threads, dtype):
    """Long enough that the pool splits it, at places that are no multiple of the table's length."""
    table = truth("values", "log_kv").representable(dtype)
    v, x = table.v.astype(dtype), table.x.astype(dtype)
    times = 200_000 // len(v) + 1
    got = special.log_kv(np.tile(v, times), np.tile(x, times)).reshape(times, -1)
    want = special.log_kv(v, x)
    assert (got == want).all() | (np.isnan(got) == np.isnan(want)).all()
    np.testing.assert_array_equal(got, np.broadcast_to(want, got.shape))


@pytest.mark.parametrize(
    ("file", "names"),
    [("values", VALUES), ("derivatives", RATIOS + FIRST + SECOND), ("inverse", ["iv_ratioinv"])],
)
def test_stored_truth_is_what_arb_says(truth, file, names):
    """A sample of each table computed again: catches tables and reference that have drifted apart."""
    pytest.importorskip("flint")
    from telamon.reference import special as reference

    for name in names:
        table = truth(file, name)
        some = np.random.default_rng(2).choice(len(table.v), 25, replace=False)
        hi, lo = getattr(reference, name)(table.v[some], table.x[some], pair=True)
        np.testing.assert_array_equal(hi, table.hi[some])
        np.testing.assert_array_equal(lo, table.lo[some])
