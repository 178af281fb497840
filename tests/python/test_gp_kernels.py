"""Kernels of one axis: values, derivatives to fourth order and gradients against mpmath; the conventions."""

import copy
import math
import pickle

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telamon import gp

EPS = float(np.finfo(float).eps)
DISTANCES = [0.0, 1e-3, 0.11, 1.9, -0.4]

mp.mp.dps = 60


def _matern(d, nu, length, variance):
    z = mp.sqrt(2 * nu) * abs(d) / length
    return variance * (mp.mpf(2) ** (1 - nu) / mp.gamma(nu) * z**nu * mp.besselk(nu, z) if z else 1)


def _mixture(student):
    def k(d, *theta):
        q = len(theta) // 3
        total = mp.mpf(0)
        for w, mu, s in zip(theta[:q], theta[q : 2 * q], theta[2 * q :], strict=True):
            r = mp.sqrt(5) * mp.exp(s) * abs(d)
            g = (1 + r + r * r / 3) * mp.exp(-r) if student else mp.exp(-d * d * mp.exp(s))
            total += w * g * mp.cos(2 * mp.pi * mu * d)
        return total

    return k


def _rbf(d, length, variance):
    return variance * mp.exp(-d * d / (2 * length**2))


def _periodic(d, period, length, variance):
    return variance * mp.exp(-2 * mp.sin(mp.pi * d / period) ** 2 / length**2)


def _rational(d, alpha, length, variance):
    return variance * (1 + d * d / (2 * alpha * length**2)) ** (-alpha)


MIXTURE = ([0.7, 0.2], [0.0, 1.3], [-0.3, 0.4])
#: Each kernel, and the same formula of the distance and all hyperparameters, in the order of theta, in mpmath.
CASES = {
    "rbf": (gp.RBF(0.8, 1.7), _rbf),
    "periodic": (gp.Periodic(1.4, 0.9, 1.7), _periodic),
    "rational": (gp.RationalQuadratic(0.6, 0.8, 1.7), _rational),
    **{f"matern-{nu}": (gp.Matern(nu, 0.8, 1.7, fixed=()), _matern) for nu in (0.5, 1.3, 2.0, 2.5, 12.2)},
    "gaussian mixture": (gp.SpectralMixture(*MIXTURE), _mixture(False)),
    "student mixture": (gp.SpectralMixture(*MIXTURE, "student"), _mixture(True)),
    "sum": (gp.RBF(0.8, 1.7) + gp.Periodic(1.4, 0.9, 0.5), lambda d, *t: _rbf(d, *t[:2]) + _periodic(d, *t[2:])),
    "product": (
        gp.RBF(0.8, 1.7) * gp.RationalQuadratic(0.6, 1.1, 0.5),
        lambda d, *t: _rbf(d, *t[:2]) * _rational(d, *t[2:]),
    ),
}
ROUGH = {"matern-0.5": 0, "matern-1.3": 2, "matern-2.0": 3}


def _orders(name):
    return range(min(4, ROUGH.get(name, 4)) + 1)


def _natural(kernel):
    """theta with the logarithms taken away, in mpmath."""
    return [mp.exp(mp.mpf(t)) if log else mp.mpf(t) for t, log in zip(kernel.theta, kernel.logarithmic, strict=True)]


def _truth(formula, d, values, order):
    """The derivative of the given order at d; at 0 the limit from the right, which an even derivative equals."""
    side = 1 if d == 0 else 0
    if order == 0:
        return formula(mp.mpf(d), *values)
    if side and order % 2:
        return mp.mpf(0)
    return mp.diff(lambda t: formula(t, *values), mp.mpf(d), order, direction=side, h=mp.mpf(10) ** -9)


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    kernel, formula = CASES[name]
    values = _natural(kernel)
    for order in _orders(name):
        got = kernel.profile(DISTANCES, order)
        scale = np.abs(kernel.profile(np.linspace(0, 2, 41), order)).max()
        for d, value in zip(DISTANCES, got, strict=True):
            if d == 0 and name.startswith(("matern", "student")):
                continue  # a one-sided difference of |d|^(2 nu) is useless; test_origin has the closed form
            want = _truth(formula, d, values, order)
            # a sum of terms of the size of the scale, each with a few roundings, and the exponential's conditioning
            assert abs(value - float(want)) <= 200 * EPS * scale, (order, d)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    kernel, formula = CASES[name]
    values = _natural(kernel)
    for order in _orders(name):
        got = kernel.profile_gradient(DISTANCES, order)
        assert got.shape == (kernel.theta.size, len(DISTANCES))
        for p, log in enumerate(kernel.logarithmic):
            scale = max(np.abs(got[p]).max(), np.abs(kernel.profile(DISTANCES, order)).max())

            def moved(step, p=p, log=log):
                changed = list(values)
                changed[p] = changed[p] * mp.exp(step) if log else changed[p] + step
                return changed

            for j, d in enumerate(DISTANCES):
                if d == 0:
                    continue
                h = mp.mpf(10) ** -12
                want = (_truth(formula, d, moved(h), order) - _truth(formula, d, moved(-h), order)) / (2 * h)
                # as for derivatives; that in nu also has the 1e-13 of matern_grad, and products of large terms
                assert abs(got[p, j] - float(want)) <= 5e-12 * scale, (order, p, d)


@pytest.mark.parametrize("nu", [1.3, 2.0, 2.5, 3.0, 3.7, 6.5, 20.0, math.inf])
def test_origin(nu):
    """k''(0) = -nu/(nu - 1) / l^2 and k''''(0) = 3 nu^2 / ((nu - 1)(nu - 2)) / l^4, DLMF 10.31, 10.25."""
    kernel = gp.Matern(nu, 0.8, 1.7)
    second = 1.0 if nu == math.inf else nu / (nu - 1)
    assert kernel.profile(0.0) == pytest.approx(1.7, rel=4 * EPS)
    assert kernel.profile(0.0, 1) == 0
    assert kernel.profile(0.0, 2) == pytest.approx(-1.7 * second / 0.8**2, rel=10 * EPS)
    assert np.allclose(kernel.profile_gradient(0.0, 2), np.array([-2.0, 1.0]) * kernel.profile(0.0, 2), rtol=10 * EPS)
    if nu > 2:
        fourth = 1.0 if nu == math.inf else nu**2 / ((nu - 1) * (nu - 2))
        assert kernel.profile(0.0, 4) == pytest.approx(3 * 1.7 * fourth / 0.8**4, rel=10 * EPS)
        free = gp.Matern(nu, 0.8, 1.7, fixed=()) if nu < math.inf else kernel
        slope = nu * (2 / nu - 1 / (nu - 1) - 1 / (nu - 2)) if nu < math.inf else None
        want = np.array([slope, -4.0, 1.0] if nu < math.inf else [-4.0, 1.0]) * kernel.profile(0.0, 4)
        assert np.allclose(free.profile_gradient(0.0, 4), want, rtol=1e-12)
    student = gp.SpectralMixture([1.7], [0.0], [math.log(1 / 0.8)], "student")
    for order in range(5):
        same = gp.Matern(2.5, 0.8, 1.7).profile(DISTANCES, order)
        assert np.allclose(student.profile(DISTANCES, order), same, rtol=1e-13, atol=1e-13)


def test_derivatives_stop_where_the_kernel_does():
    for kernel, last in ((gp.Matern(0.5), 0), (gp.Matern(1.0), 1), (gp.Matern(1.5), 2), (gp.Matern(2.0), 3)):
        assert kernel.smoothness == last
        kernel.derivative([0.0, 1.0], dx=last)
        with pytest.raises(ValueError, match=rf"up to order {last}.*smoother"):
            kernel.derivative([0.0, 1.0], dx=last, dy=1)
    with pytest.raises(ValueError, match="order 4"):
        gp.RBF().profile(0.0, 5)
    with pytest.raises(ValueError, match="integers"):
        gp.RBF().profile(0.0, 0.5)
    assert (gp.RBF() * gp.Matern(1.5) + gp.Linear()).smoothness == 2


KERNELS = [kernel for kernel, _ in CASES.values()] + [
    gp.Linear(0.7, 0.2, fixed=()) * gp.RBF(0.8),
    gp.Linear(0.7) + gp.Constant(0.3),
    3.0 * gp.Matern(1.5, 2.0),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("spacing", ["even", "uneven"])
def test_matrices(kernel, spacing):
    """Matrices of derivatives are differences of those below, gradients differences in theta, contract their sums."""
    rng = np.random.default_rng(0)
    x = np.linspace(0.5, 3.0, 6) if spacing == "even" else np.sort(rng.uniform(0, 3, 6))
    y = np.linspace(0.25, 2.25, 5) if spacing == "even" else np.sort(rng.uniform(0, 3, 5))
    weights = rng.normal(size=(6, 5))
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (2, 2)):
        if dx + dy > kernel.smoothness:
            continue
        got = kernel.derivative(x, y, dx, dy)
        assert got.shape == (6, 5)
        assert np.allclose(got, kernel.derivative(y, x, dy, dx).T, rtol=1e-13, atol=1e-13)
        one_by_one = [[kernel.derivative([a], [b], dx, dy)[0, 0] for b in y] for a in x]
        assert np.allclose(got, one_by_one, rtol=1e-12, atol=1e-12)
        if dx:
            h = 1e-5
            below = [kernel.derivative(x + s, y, dx - 1, dy) for s in (h, -h)]
            assert np.allclose(got, (below[0] - below[1]) / (2 * h), rtol=1e-6, atol=1e-6 * np.abs(got).max())
        gradient = kernel.gradient(x, y, dx, dy)
        for p, unit in enumerate(np.eye(kernel.theta.size)):
            h = 1e-5
            pair = [kernel.with_theta(kernel.theta + s * unit).derivative(x, y, dx, dy) for s in (h, -h)]
            assert np.allclose(
                gradient[p],
                (pair[0] - pair[1]) / (2 * h),
                rtol=1e-6,
                atol=1e-6 * max(np.abs(got).max(), np.abs(gradient[p]).max()),
            )
        square = rng.normal(size=(6, 6))
        total = kernel.contract(square, x, dx=dx, dy=dy)
        assert np.allclose(
            total, np.einsum("ij,pij->p", square, kernel.gradient(x, dx=dx, dy=dy)), rtol=1e-11, atol=1e-11
        )
        total = kernel.contract(weights, x, y, dx, dy)
        assert np.allclose(total, np.einsum("ij,pij->p", weights, gradient), rtol=1e-11, atol=1e-11)
    square = kernel(x)
    assert np.array_equal(square, square.T)
    assert np.allclose(kernel.diag(x), np.diag(square), rtol=1e-14)
    assert np.linalg.eigvalsh(square).min() >= -1e-14 * np.abs(square).max()
    if kernel.smoothness >= 2:
        assert np.allclose(kernel.diag(x, 1), np.diag(kernel.derivative(x, dx=1, dy=1)), rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_conventions(kernel):
    assert eval(repr(kernel), vars(gp)) == kernel
    assert pickle.loads(pickle.dumps(kernel)) == kernel == copy.deepcopy(kernel) == kernel.clone()
    assert hash(kernel) == hash(kernel.clone())
    assert len(kernel.names) == kernel.theta.size == len(kernel.bounds) == len(kernel.logarithmic)
    moved = kernel.with_theta(kernel.theta + 0.1)
    assert np.allclose(moved.theta, kernel.theta + 0.1)
    assert moved != kernel
    assert moved.set_params(**kernel.get_params(deep=False)) == kernel
    with pytest.raises(ValueError, match="theta"):
        kernel.with_theta(np.zeros(kernel.theta.size + 1))
    with pytest.raises(ValueError, match="nonesuch"):
        kernel.set_params(nonesuch=1)


def test_scikit_learn_clones():
    base = pytest.importorskip("sklearn.base")
    for kernel in KERNELS:
        assert base.clone(kernel) == kernel


def test_parameters():
    kernel = gp.RBF(2.0, 3.0, fixed=("variance",), limits={"lengthscale": (0.5, 4.0)})
    assert kernel.names == ["lengthscale"]
    assert np.allclose(kernel.bounds, np.log([[0.5, 4.0]]))
    both = kernel + gp.Linear(0.5, 1.0, fixed=(), limits={"center": (-1.0, 2.0)})
    assert both.names == ["k1__lengthscale", "k2__variance", "k2__center"]
    assert np.allclose(both.bounds, [np.log([0.5, 4.0]), [-np.inf, np.inf], [-1, 2]])
    assert both.set_params(k1__lengthscale=7.0).k1.lengthscale == 7.0
    assert both.get_params()["k2__center"] == 1.0
    assert (2 * gp.RBF()).theta.size == 2  # the number stays as it is
    assert gp.SpectralMixture([1, 2], [0, 1], [0, 0]).names[:2] == ["weights[0]", "weights[1]"]


def test_spectral_start():
    for spectrum in ("gaussian", "student"):
        kernel = gp.SpectralMixture.init(30, 20.0, spectrum, variance=2.0)
        assert kernel.profile(0.0) == pytest.approx(2.0)
        assert 20 < kernel.max_frequency() < 21
    paper = gp.SpectralMixture.init(30, 20.0, log_scale=0.0)
    assert np.array_equal(paper.log_scales, np.zeros(30))
    assert gp.SpectralMixture.init(1, 5.0).frequencies == [5.0]
    # a pruned component has no say
    assert gp.SpectralMixture([1, 1e-9], [1.0, 99.0], [0.0, 0.0]).max_frequency() < 2


def test_bad_input():
    cases = [
        (lambda: gp.RBF(-1.0), "lengthscale.*positive"),
        (lambda: gp.RBF(np.nan), "lengthscale"),
        (lambda: gp.RBF("a"), "lengthscale.*real"),
        (lambda: gp.Matern(0.0), "nu.*positive"),
        (lambda: gp.Matern(np.inf, fixed=()), "nu"),
        (lambda: gp.RBF(fixed=("period",)), "period"),
        (lambda: gp.RBF(fixed="variance"), r"pass \('variance',\)"),
        (lambda: gp.RBF(limits={"variance": (2.0, 1.0)}), "variance"),
        (lambda: gp.SpectralMixture([1.0], [1.0, 2.0], [0.0]), "one length"),
        (lambda: gp.SpectralMixture([1.0], [1.0], [0.0], "cauchy"), "spectrum"),
        (lambda: gp.SpectralMixture(1.0, [1.0], [0.0]), "weights.*vector"),
        (lambda: gp.SpectralMixture.init(0), "q"),
        (lambda: gp.RBF()(np.zeros((2, 2))), "one dimensional"),
        (lambda: gp.RBF()([0.0, np.nan]), "'x' contains NaN"),
        (lambda: gp.RBF()(["a"]), "real numbers"),
        (lambda: gp.Linear().profile(0.0), "not stationary"),
        (lambda: gp.RBF().contract(np.zeros((2, 3)), [0.0, 1.0]), "weights"),
        (lambda: gp.Sum(gp.RBF(), 1.0), "k2"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


@settings(max_examples=30, deadline=None)
@given(
    nu=st.floats(0.6, 40.0),
    length=st.floats(0.05, 20.0),
    d=st.floats(1e-6, 30.0),
    order=st.integers(1, 4),
)
def test_matern_recurrence(nu, length, d, order):
    """Bessel's equation: z P'' - (2 nu - 1) P' - z P = 0, and its derivatives, for the profile of any smoothness."""
    if order - 2 >= 2 * nu - 2 or 2 * nu <= order:
        return
    kernel = gp.Matern(nu, length)
    rate = math.sqrt(2 * nu) / length
    z = rate * d
    p = [float(kernel.profile(d, m)) / rate**m for m in range(order + 1)]
    m = order - 2
    if m < 0:
        return
    # the m-th derivative of the equation
    terms = [z * p[m + 2], m * p[m + 1], -(2 * nu - 1) * p[m + 1], -z * p[m], -(m * p[m - 1] if m else 0.0)]
    # derivatives are sums of terms z^e P_j of alternating signs, at most of this size together
    scale = max(abs(t) for t in terms) + z * max(1.0, z) ** m * float(kernel.profile(d))
    assert abs(sum(terms)) <= 1e-11 * scale
