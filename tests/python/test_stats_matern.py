"""telamon.stats.matern against balls (python-flint), closed forms and its own derivatives."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telamon.reference import stats as reference
from telamon.stats import matern, matern_grad, matern_kernel

pytest.importorskip("flint")

EPS = 2.0**-52
SMOOTHNESS = [1e-3, 0.01, 0.3, 0.5, 0.77, 1, 1.5, 2, 2.5, 2.6, 3.3, 7, 20, 49.9, 50, 51, 100.5, 1e3, 1e4, 1e6]
DISTANCES = [1e-10, 1e-6, 1e-3, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 100, 1e3]


@pytest.mark.parametrize("nu", SMOOTHNESS)
def test_value_and_gradient(nu):
    gradient = matern_grad(np.array(DISTANCES), nu)
    for i, s in enumerate(DISTANCES):
        if nu == 1e6 and s < 1e-6:
            continue  # Arb has no K at this order and argument; test_large_order covers it
        log_value, value = reference.log_matern(s, nu), reference.matern(s, nu)
        if log_value < -700:  # next to underflow, and beyond
            assert gradient.value[i] <= 1e-300
            assert np.isfinite([part[i] for part in gradient]).all()
            continue
        conditioning = max(1, abs(log_value))  # of exp
        assert abs(gradient.value[i] / value - 1) <= 50 * EPS * conditioning, s
        slope = reference.matern_dr(s, nu)
        assert abs(gradient.dr[i] / slope - 1) <= 60 * EPS * conditioning, s
        assert abs(gradient.dlength_scale[i] / (-s * slope) - 1) <= 60 * EPS * conditioning, s
        dnu = reference.matern_dnu(s, nu)
        scale = max(value, abs(dnu)) * conditioning
        assert abs(gradient.dnu[i] - dnu) <= 100 * EPS * scale, s
        if nu >= 50:  # relative to its terms, which are about s^4 / (8 nu^2) and s^2 / (2 nu^2)
            scale = min(scale, value * conditioning * (s**4 + s**2) / nu**2)
            assert abs(gradient.dnu[i] - dnu) <= 100 * EPS * scale, s
    assert np.array_equal(gradient.value, matern(np.array(DISTANCES), nu))


@pytest.mark.parametrize("s", [1e-10, 1e-4, 0.1, 1.0, 3.0, 8.0])
def test_large_order(s):
    """The expansion about nu = inf: log M = -s^2/2 + (s^4/8 - s^2/2) / nu + O(nu^-2), and nu = inf itself."""
    assert matern(s, np.inf) == pytest.approx(math.exp(-s * s / 2), rel=4 * EPS)
    for nu in (1e8, 1e12, 1e100, 1e300):
        want = math.exp(-s * s / 2 + (s**4 / 8 - s**2 / 2) / nu)
        assert matern(s, nu) == pytest.approx(want, rel=10 * EPS + s**6 / nu / nu)
        slope = -want * (s**4 / 8 - s**2 / 2) / nu / nu
        assert matern_grad(s, nu).dnu == pytest.approx(slope, rel=1e-12 + 10 * (1 + s**4) / nu, abs=1e-320)
    assert matern_grad(s, np.inf).dnu == 0
    assert matern_grad(s, np.inf).dr == pytest.approx(-s * math.exp(-s * s / 2), rel=4 * EPS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_closed_forms(dtype):
    r = np.linspace(0, 12, 97, dtype=dtype)
    length, variance = 1.7, 2.5
    for nu, polynomial in ((0.5, (1.0,)), (1.5, (1.0, 1.0)), (2.5, (1.0, 1.0, 1 / 3)), (3.5, (1, 1, 0.4, 1 / 15))):
        z = math.sqrt(2 * nu) * r.astype(np.float64) / length
        want = variance * np.exp(-z) * np.polynomial.polynomial.polyval(z, polynomial)
        got = matern(r, nu, length, variance)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=3e-14 if dtype == np.float64 else 1.5e-7)


def test_origin_and_infinity():
    value, dnu, dlength, dr = matern_grad(0.0, [0.3, 0.5, 1.0, 80.0, np.inf], 2.0, 3.0)
    assert value.tolist() == [3.0] * 5
    assert dnu.tolist() == dlength.tolist() == [0.0] * 5
    assert dr.tolist() == [-np.inf, -1.5, 0.0, 0.0, 0.0]
    assert matern([np.inf, 1e300, 1e160], [[0.01], [2.0], [60.0], [np.inf]]).max() == 0
    assert matern(1e-320, 1.0) == 1
    assert isinstance(matern(1.0, 1.0), float)


def test_shapes_and_dtypes():
    r = np.ones((3, 1))
    assert matern(r, np.array([0.5, 70.0]), 2.0).shape == (3, 2)
    assert matern_grad(r, 2.0, np.ones(4)).dlength_scale.shape == (3, 4)
    assert matern(np.empty((0, 2)), 1.0).shape == (0, 2)
    assert matern([1, 2], 2).dtype == np.float64
    assert matern(np.float32(1), 2.0).dtype == np.float32
    assert matern(np.ones(2, np.float32), np.float64(2)).dtype == np.float64
    big = np.linspace(0, 5, 200_000)  # more than one block
    assert np.array_equal(matern(big, 1.3)[::5000], matern(big[::5000], 1.3))
    mixed = matern(1.0, SMOOTHNESS)
    assert np.array_equal(mixed, [matern(1.0, nu) for nu in SMOOTHNESS])


def test_kernel_matrix():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(25, 3)), rng.normal(size=(10, 3))
    scales = np.array([1.0, 2.0, 0.5])
    distance = np.linalg.norm((x[:, None] - y) / scales, axis=-1)
    np.testing.assert_allclose(
        matern_kernel(x, y, nu=0.8, length_scale=scales, variance=2.0), matern(distance, 0.8, 1.0, 2.0), rtol=1e-13
    )
    gram = matern_kernel(x, nu=1.2)
    assert np.array_equal(gram, gram.T)
    assert np.array_equal(np.diag(gram), np.ones(25))
    np.linalg.cholesky(gram)
    assert matern_kernel(x.astype(np.float32)).dtype == np.float32
    kernels = pytest.importorskip("sklearn.gaussian_process.kernels")
    for nu in (0.5, 1.2, 2.5, np.inf):
        np.testing.assert_allclose(
            matern_kernel(x, nu=nu, length_scale=scales), kernels.Matern(scales, nu=nu)(x), rtol=1e-9, atol=1e-12
        )


@settings(max_examples=60, deadline=None)
@given(nu=st.floats(0.02, 1e4), s=st.floats(1e-3, 12), step=st.floats(1.0, 2.0))
def test_properties(nu, s, step):
    value = matern(s, nu)
    assert 0 < value <= 1
    assert matern(s * step, nu) <= value  # falls with the distance
    assert matern(s * 3.0, nu, length_scale=3.0) == pytest.approx(value, rel=1e-12)
    # the recurrence 10.29.1, M_{nu+1}(z) = M_nu(z) + z^2 / (4 nu (nu - 1)) M_{nu-1}(z), at one z
    if nu > 1.01:
        z = math.sqrt(2 * nu) * s
        below, above = (matern(z / math.sqrt(2 * n), n) for n in (nu - 1, nu + 1))
        assert above == pytest.approx(value + z * z / (4 * nu * (nu - 1)) * below, rel=1e-11)
    # derivatives against differences
    h = 1e-4
    gradient = matern_grad(s, nu)
    difference = (matern(s * (1 + h), nu) - matern(s * (1 - h), nu)) / (2 * h * s)
    assert gradient.dr == pytest.approx(difference, rel=1e-4, abs=1e-9)
    difference = (matern(s, nu * (1 + h)) - matern(s, nu * (1 - h))) / (2 * h * nu)
    assert gradient.dnu == pytest.approx(difference, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"r": -1.0, "nu": 1}, "'r' must be non-negative, got -1"),
        ({"r": [0.0, np.nan], "nu": 1}, "'r' must be non-negative, got nan"),
        ({"r": 1.0, "nu": 0}, "'nu' must be positive, got 0"),
        ({"r": 1.0, "nu": np.nan}, "'nu' must be positive, got nan"),
        ({"r": 1.0, "nu": 1, "length_scale": 0}, "'length_scale' must be positive and finite"),
        ({"r": 1.0, "nu": 1, "length_scale": np.inf}, "'length_scale' must be positive and finite"),
        ({"r": 1.0, "nu": 1, "variance": -2}, "'variance' must be non-negative and finite"),
        ({"r": 1j, "nu": 1}, "'r' must hold real numbers"),
        ({"r": "far", "nu": 1}, "'r' must hold real numbers"),
        ({"r": np.ones(3), "nu": np.ones(2)}, "do not broadcast"),
    ],
)
def test_bad_input(arguments, message):
    for function in (matern, matern_grad):
        with pytest.raises(ValueError, match=message):
            function(**arguments)


def test_bad_points():
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match="'x' must be two dimensional"):
        matern_kernel(np.zeros(3))
    with pytest.raises(ValueError, match="'y' contains NaN"):
        matern_kernel(x, x * np.nan)
    with pytest.raises(ValueError, match="same number of columns, got 2 and 3"):
        matern_kernel(x, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="'length_scale' must be a number or have 2 entries"):
        matern_kernel(x, length_scale=[1.0, 2.0, 3.0])
