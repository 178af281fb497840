"""Where telamon.special has no number to compute: zeros, infinities, NaN, signs; and what NumPy does around it."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest

from telamon import _core, special

INF, NAN = np.inf, np.nan
NAMES = list(special.__all__)
DTYPES = [np.float64, np.float32]

# name: {(v, x): value}, exact
EDGES = {
    "log_iv": {
        (0, 0): 0.0,
        (2, 0): -INF,
        (1e-300, 0): -INF,
        (0.5, 0): -INF,
        (0, INF): INF,
        (3.5, INF): INF,
        (-3, 0): -INF,
        (-3, INF): INF,
        (0, -1): NAN,
        (-0.5, -1): NAN,
        (1, -INF): NAN,
        (-1.5, 0.5): NAN,  # I_-3/2(1/2) < 0
        (INF, 1): -INF,
        (INF, INF): NAN,
    },
    "log_ive": {(0, 0): 0.0, (2, 0): -INF, (0, INF): -INF, (3, INF): -INF, (1, -1): NAN, (-1.5, 0.5): NAN},
    "log_kv": {
        (0, 0): INF,
        (2, 0): INF,
        (-2, 0): INF,
        (0.5, 0): INF,
        (0, INF): -INF,
        (7, INF): -INF,
        (-7.5, INF): -INF,
        (1, -1): NAN,
        (0, -INF): NAN,
        (INF, 1): INF,
        (-INF, 1): INF,
        (INF, INF): NAN,
    },
    "log_kve": {(0, 0): INF, (2, 0): INF, (-2.5, 0): INF, (0, INF): -INF, (3, INF): -INF, (1, -1): NAN, (INF, 1): INF},
    # SciPy's _iv_ratio for v >= 1/2; below that the same quotient, where SciPy has NaN
    "iv_ratio": {
        (0.5, 0): 0.0,
        (1, 0): 0.0,
        (0.25, 0): 0.0,
        (0, 0): INF,
        (0.5, INF): 1.0,
        (3, INF): 1.0,
        (0, INF): 1.0,
        (INF, 1): 0.0,
        (INF, 0): 0.0,
        (INF, INF): NAN,
        (-0.5, 1): NAN,
        (1, -1): NAN,
        (1, -INF): NAN,
    },
    "iv_ratio_c": {
        (0.5, 0): 1.0,
        (1, 0): 1.0,
        (0.25, 0): 1.0,
        (0, 0): -INF,
        (0.5, INF): 0.0,
        (3, INF): 0.0,
        (INF, 1): 1.0,
        (INF, INF): NAN,
        (-0.5, 1): NAN,
        (1, -1): NAN,
    },
    "iv_ratioinv": {
        (0.5, 0): 0.0,
        (3, 0): 0.0,
        (0.5, 1): INF,
        (3, 1): INF,
        (3, -0.5): NAN,
        (3, 1.5): NAN,
        (3, INF): NAN,
        (0.25, 0.5): NAN,  # the ratio is not monotone there
        (-1, 0.5): NAN,
    },
    "kv_ratio": {
        (2, 0): INF,
        (0.5, 0): 1.0,
        (0.25, 0): 0.0,
        (-2, 0): 0.0,
        (2, INF): 1.0,
        (-2, INF): 1.0,
        (2, -1): NAN,
    },
    "log_iv_dv": {(0, 0): -INF, (2, 0): -INF, (2, INF): 0.0, (0, INF): 0.0, (1, -1): NAN},
    "log_iv_dx": {(0, 0): 0.0, (2, 0): INF, (2, INF): 1.0, (0, INF): 1.0, (1, -1): NAN},
    "log_iv_dxx": {(0, 0): 0.5, (2, 0): -INF, (2, INF): 0.0, (1, -1): NAN},
    "log_kv_dv": {(0, 0): 0.0, (0, 1): 0.0, (0, 1000): 0.0, (2, 0): INF, (-2, 0): -INF, (2, INF): 0.0, (1, -1): NAN},
    "log_kv_dx": {(0, 0): -INF, (2, 0): -INF, (2, INF): -1.0, (-2, INF): -1.0, (1, -1): NAN},
    "log_kv_dxx": {(0, 0): INF, (2, 0): INF, (2, INF): 0.0, (1, -1): NAN},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_edges(isa, name, dtype):
    """One at a time and all in one array among ordinary points: an edge must not spoil its neighbours' vector."""
    function = getattr(special, name)
    cases = EDGES[name]
    # what the dtype cannot hold is another case
    keep = [k for k in cases if not (dtype is np.float32 and k[0] == 1e-300)]
    v, x = (np.array(a, dtype) for a in zip(*keep, strict=True))
    want = np.array([cases[k] for k in keep])
    got = function(v, x)
    for case, g, w in zip(keep, got, want, strict=True):
        assert np.array_equal(g, w, equal_nan=True), f"{name}{case} = {g}, want {w}"
    ordinary = 2.25 * np.ones_like(v), 0.75 * np.ones_like(x)
    mixed = function(np.stack([v, ordinary[0]], 1), np.stack([x, ordinary[1]], 1))
    np.testing.assert_array_equal(mixed[:, 0], got)
    np.testing.assert_array_equal(mixed[:, 1], function(*ordinary))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_comes_through_from_either_side(isa, name, dtype):
    function = getattr(special, name)
    other = np.array([0, 0.3, 0.5, 1, 7, 1e4, 1e30, INF], dtype)
    nans = np.full_like(other, NAN)
    assert np.isnan(function(nans, other)).all()
    assert np.isnan(function(other, nans)).all()
    assert np.isnan(function(nans, nans)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["log_iv", "log_ive", "log_iv_dx", "log_iv_dxx"])
def test_negative_integers_are_taken_as_positive(isa, name, dtype):
    n, x = np.meshgrid(np.arange(1, 40, dtype=dtype), np.array([1e-3, 0.5, 3, 17, 200, 1e4], dtype))
    function = getattr(special, name)
    got, want = function(-n, x), function(n, x)
    if name in ("log_iv", "log_ive"):  # both keep M2
        bound = 4 if dtype is np.float64 else 2
        assert (np.abs(got - want) <= bound * np.finfo(dtype).eps * np.maximum(np.abs(want), np.hypot(n, x))).all()
    else:
        np.testing.assert_allclose(got, want, rtol=2e-14 if dtype is np.float64 else 16 * 2.0**-23, atol=0)


def test_negative_zero_is_zero(isa):
    for name in NAMES:
        function = getattr(special, name)
        x = 0.5 if name == "iv_ratioinv" else 1.5
        np.testing.assert_array_equal(function(-0.0, x), function(0.0, x))
        np.testing.assert_array_equal(function(2.0, -0.0), function(2.0, 0.0))


@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name):
    """Integers and bool become float64, as for NumPy's own functions; float16 goes to float32; complex is refused."""
    function = getattr(special, name)
    x = 0 if name == "iv_ratioinv" else 2
    want = function(3.0, float(x))
    for integer in (np.int32, np.int64, np.uint8):
        got = function(np.array([3], integer), np.array([x], integer))
        # int8 and int16 fit in float32, where NumPy casts them
        assert got.dtype == (np.float32 if integer is np.uint8 else np.float64)
    assert function(3, x) == want
    assert isinstance(function(3.0, float(x)), np.float64)
    assert function(np.float32(3), np.float32(x)).dtype == np.float32
    assert function(np.float32(3), float(x)).dtype == np.float32  # NEP 50: a Python float adapts
    assert function(np.float32(3), np.float64(x)).dtype == np.float64
    assert function(np.float16(3), np.float16(x)).dtype == np.float32
    with pytest.raises(TypeError):
        function(1j, 1.0)
    with pytest.raises(TypeError):
        function("a", 1.0)
    with pytest.raises(TypeError):
        function(1.0)
    with pytest.raises(ValueError, match="broadcast"):
        function(np.ones(3), np.ones(4))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_shapes(name, dtype):
    """Empty, zero-dimensional, broadcasting, byte-swapped, Fortran order."""
    function = getattr(special, name)
    assert function(np.empty(0, dtype), np.empty(0, dtype)).shape == (0,)
    assert function(np.empty((3, 0), dtype), dtype(1)).shape == (3, 0)
    assert np.ndim(function(np.array(2, dtype), np.array(0.5, dtype))) == 0
    v = np.linspace(0.5, 40, 21, dtype=dtype)
    x = np.linspace(0.01, 0.99, 34, dtype=dtype)
    grid = function(v[:, None], x)
    assert grid.shape == (21, 34)
    np.testing.assert_array_equal(grid[4, 5], function(v[4], x[5]))
    full = np.broadcast_arrays(v[:, None], x)
    np.testing.assert_array_equal(function(*(np.asfortranarray(a) for a in full)), grid)
    swapped = np.dtype(dtype).newbyteorder()
    np.testing.assert_array_equal(function(v.astype(swapped)[:, None], x.astype(swapped)), grid)
    np.testing.assert_array_equal(function(v[::-2, None], x[::3]), grid[::-2, ::3])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_out_and_where(isa, name, dtype):
    """out= may be one of the inputs, or overlap it askew; where= leaves the rest alone."""
    function = getattr(special, name)
    n = 2000
    rng = np.random.default_rng(3)
    v = rng.uniform(0.5, 30, n).astype(dtype)
    x = rng.uniform(0, 1, n).astype(dtype)
    want = function(v, x)
    out = np.full(n, 7, dtype)
    assert function(v, x, out=out) is out
    np.testing.assert_array_equal(out, want)
    for which in (0, 1):  # in place
        operands = [v.copy(), x.copy()]
        function(*operands, out=operands[which])
        np.testing.assert_array_equal(operands[which], want)
    for shift in (1, 3, -1):  # askew: NumPy must buffer, or the kernel would read what it has written
        room = np.empty(n + 6, dtype)
        source, target = room[3 : 3 + n], room[3 + shift : 3 + shift + n]
        source[:] = x
        function(v, source, out=target)
        np.testing.assert_array_equal(target, want)
    backwards = x.copy()
    function(v, backwards, out=backwards[::-1])
    np.testing.assert_array_equal(backwards[::-1], want)
    mask = rng.integers(0, 2, n).astype(bool)
    out = np.full(n, 7, dtype)
    function(v, x, out=out, where=mask)
    np.testing.assert_array_equal(out, np.where(mask, want, dtype(7)))
    strided = np.full((n, 2), 7, dtype)
    function(v, x, out=strided[:, 1])
    np.testing.assert_array_equal(strided, np.stack([np.full(n, 7, dtype), want], 1))
    if dtype is np.float32:
        wide = np.empty(n)
        function(v, x, out=wide)
        np.testing.assert_allclose(wide, want, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_ufunc_that_pickles(name):
    """By name, so that dask, joblib and multiprocessing can send it; protocol 0 and 5."""
    function = getattr(special, name)
    assert isinstance(function, np.ufunc)
    assert (function.nin, function.nout) == (2, 1)
    assert function.types == ["ff->f", "dd->d"]
    assert function.__name__ == name
    assert function.__doc__
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.deepcopy(function) is function


def test_reductions_and_outer():
    """What every ufunc has; accumulate feeds its own output back in, so it must be walked one element at a time."""
    v = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(special.log_kv.outer(v, v), special.log_kv(v[:, None], v))
    got = np.logaddexp.reduce(special.log_kv(v, 2.0))
    assert np.isfinite(got)
    steps = special.log_iv_dx.accumulate(np.array([2.0, 3.0, 4.0]))
    second = special.log_iv_dx(2.0, 3.0)
    np.testing.assert_array_equal(steps, [2.0, second, special.log_iv_dx(second, 4.0)])


def test_no_warnings(truth):
    """Overflow in a discarded branch must not reach NumPy's error state (pytest turns warnings into errors)."""
    with np.errstate(all="raise"):
        for name in NAMES:
            table = truth("inverse", name) if name == "iv_ratioinv" else truth("derivatives", "log_iv_dx")
            getattr(special, name)(table.v, table.x)
            getattr(special, name)(0.0, 0.0)


def test_finite_wherever_the_truth_is(isa):
    """The whole plane, log-spaced to the ends of float64: log I, log K and the ratios are finite everywhere on it."""
    axis = np.concatenate([[5e-324, 1e-310], 10.0 ** np.linspace(-307, 305, 300)])
    v, x = np.meshgrid(axis, axis)
    for name in ("log_iv", "log_kv", "log_ive", "log_kve", "iv_ratio", "iv_ratio_c", "log_iv_dv", "log_kv_dv"):
        got = getattr(special, name)(v, x)
        bad = ~np.isfinite(got)
        assert not bad.any(), (name, v[bad][:3], x[bad][:3], got[bad][:3])


def test_ratio_at_small_orders_and_tiny_arguments(isa):
    """r = x/(2v + x^2/(2v + 2)) to the last bit for x below 1e-100, in rationals; at v = 0 it is 2/x."""
    for v in (0.0, 5e-324, 1e-320, 1e-200, 1e-30, 0.3, 0.49):
        for x in (1e-110, 1e-140, 1e-150, 1e-162, 1e-170, 1e-300, 2e-308, 1e-310):
            order, argument = Fraction(v), Fraction(x)
            r = argument / (2 * order + argument**2 / (2 * order + 2))
            want = float(r) if r < 2**1024 else INF
            assert special.iv_ratio(v, x) == pytest.approx(want, rel=1e-15, abs=5e-324), (v, x)
            assert special.iv_ratio_c(v, x) == pytest.approx(1 - want, rel=1e-15), (v, x)


@pytest.mark.parametrize("name", ["log_iv_grad", "log_kv_hess"])
def test_three_outputs(name):
    """The passes behind the gradients broadcast and take out= like the others."""
    function = getattr(_core, name)
    v, x = np.linspace(0.5, 20, 7)[:, None], np.linspace(0.1, 50, 11)
    got = function(v, x)
    assert len(got) == 3
    out = tuple(np.empty((7, 11)) for _ in range(3))
    function(v, x, out=out)
    for g, o in zip(got, out, strict=True):
        np.testing.assert_array_equal(g, o)


def test_dask_arrays():
    """dask applies a ufunc to its chunks; the answer is what NumPy gets."""
    array = pytest.importorskip("dask.array")
    v, x = np.random.default_rng(4).uniform(0, 50, (2, 5000))
    lazy = special.log_iv(array.from_array(v, chunks=700), array.from_array(x, chunks=700))
    assert isinstance(lazy, array.Array)
    np.testing.assert_array_equal(lazy.compute(scheduler="threads"), special.log_iv(v, x))


@pytest.mark.slow
def test_more_than_two_to_the_31_elements():
    """Catches a 32-bit index. 2.1e9 float32 results: 8.6 GB, inputs are broadcast scalars with a few marks."""
    n = 2**31 + 1000
    v = np.broadcast_to(np.float32(2.5), n)
    x = np.broadcast_to(np.float32(40.0), n)
    try:
        out = np.empty(n, np.float32)
        special.log_iv(v, x, out=out)
    except MemoryError:
        pytest.skip("needs 9 GB of memory")
    want = special.log_iv(np.float32(2.5), np.float32(40.0))
    for part in (out[:1000], out[2**31 - 1000 : 2**31 + 1000], out[-1000:]):
        assert (part == want).all()
