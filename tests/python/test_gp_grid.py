"""GridGP against dense algebra: likelihoods, gradients and predictions, for every pattern of gaps and noise."""

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy")

from telamon import gp
from telamon.reference import gp as reference

EPS = float(np.finfo(float).eps)
rng = np.random.default_rng(0)
AXES = [np.linspace(0, 1, 7), np.sort(rng.uniform(0, 2, 5)), np.linspace(0, 1, 4)]
KERNELS = [gp.RBF(0.3, 1.5), gp.Matern(2.5, 0.5), gp.Periodic(0.8, 1.2)]
SHAPE = (7, 5, 4)
Y = rng.normal(size=SHAPE) + 2
RANDOM = rng.random(SHAPE) > 0.3
LAND = np.ones(SHAPE, bool)
LAND[:, 1:3, 2:] = False
BLOCK = np.ones(SHAPE, bool)
BLOCK[2:5, 1:4, 1:3] = False
ALL_BUT_ONE = np.zeros(SHAPE, bool)
ALL_BUT_ONE[3, 2, 1] = True
SLICES = np.broadcast_to((np.arange(7) > 2)[:, None, None], SHAPE)
SEPARABLE = tuple(rng.uniform(0.5, 2, n) for n in SHAPE)
GRID = 10 ** rng.uniform(-2, 2, SHAPE)  # a spread of 1e4
#: mask, noise, dense_limit and the solver that is to be chosen
CASES = {
    "complete": (None, None, 1500, "exact"),
    "separable noise": (None, SEPARABLE, 1500, "exact"),
    "a number as noise": (None, 0.7, 0, "exact"),
    "a constant grid of noise": (None, np.full(SHAPE, 0.7), 0, "exact"),
    "noise along one axis": (None, np.broadcast_to(GRID[:, :1, :1], SHAPE), 1500, "exact"),
    "uneven noise, dense": (None, GRID, 1500, "exact"),
    "uneven noise": (None, GRID, 0, "iterative"),
    "random gaps, dense": (RANDOM, None, 1500, "exact"),
    "random gaps": (RANDOM, None, 0, "iterative"),
    "a block, dense": (BLOCK, None, 1500, "exact"),
    "a block": (BLOCK, None, 0, "iterative"),
    "land": (LAND, None, 16, "exact"),
    "land, iterative": (LAND, None, 15, "iterative"),
    "land and separable noise": (LAND, SEPARABLE, 1500, "exact"),
    "random gaps and separable noise": (RANDOM, SEPARABLE, 0, "iterative"),
    "random gaps and uneven noise": (RANDOM, GRID, 0, "iterative"),
    "random gaps and uneven noise, dense": (RANDOM, GRID, 1500, "exact"),
    "empty slices": (SLICES, SEPARABLE, 0, "exact"),
    "all but one": (ALL_BUT_ONE, None, 1500, "exact"),
}


def grid_of(noise):
    if isinstance(noise, tuple):
        return np.einsum("i,j,k->ijk", *noise)
    return np.broadcast_to(1.0 if noise is None else noise, SHAPE)


def differences(model, h=1e-5):
    """The gradient of the log marginal likelihood by central differences."""
    steps = h * np.eye(model.theta_.size)
    values = [[model.log_marginal_likelihood(model.theta_ + s * step) for s in (1, -1)] for step in steps]
    return np.array([(up - down) / (2 * h) for up, down in values])


@pytest.mark.parametrize("mean", ["zero", "constant"])
@pytest.mark.parametrize("case", CASES)
def test_against_dense_algebra(case, mean):
    mask, noise, dense_limit, solver = CASES[case]
    # 40 probes: the estimated part of the determinant is taken exactly where that costs no more
    options = {"dense_limit": dense_limit, "optimizer": None, "fixed_noise": False, "n_probes": 40}
    model = gp.GridGP(KERNELS, 0.3, mean=mean, rtol=1e-12, **options).fit(AXES, Y, mask, noise)
    assert model.solver_ == solver
    assert model.converged_
    observed = np.ones(SHAPE, bool) if mask is None else mask
    x, y, s = reference.grid_points(AXES)[observed.ravel()], Y[observed], 0.3 * grid_of(noise)[observed]
    level = reference.generalised_mean(KERNELS, x, y, s) if mean == "constant" else 0.0
    value, gradient = model.log_marginal_likelihood(eval_gradient=True)
    # the condition number of the covariance is below 1e5, and values are of the order of 100
    assert model.log_marginal_likelihood_value_ == pytest.approx(value, rel=1e-11)
    assert value == pytest.approx(reference.log_likelihood(KERNELS, x, y, s, level), rel=1e-9)
    assert model.log_marginal_likelihood_error_ == 0
    assert model.mean_ == pytest.approx(level, abs=1e-9)
    # differences have the error h^2 and value eps / h
    assert np.allclose(gradient, differences(model), rtol=1e-6, atol=1e-6 * np.abs(gradient).max() + 1e-6)

    orders = (1, 0, 2)
    scattered = np.random.default_rng(1).uniform(0, 1, (6, 3))
    want, cov = reference.posterior(KERNELS, x, y, s, scattered, orders, level)
    got, got_cov = model.predict(scattered, return_cov=True, derivatives=orders)
    scale = np.diag(reference.covariance(KERNELS, scattered, scattered, orders, orders)).max()
    assert np.allclose(got, want, rtol=0, atol=1e-9 * np.sqrt(scale))
    assert np.allclose(got_cov, cov, rtol=0, atol=1e-9 * scale)
    _, std = model.predict(scattered, return_std=True, derivatives=orders)
    exact = solver == "exact"
    # a part of the variance comes from 64 draws where the solver is iterative: 4 sigma are 4 sqrt(2 / 64)
    assert np.allclose(std**2, np.diag(cov), rtol=1e-9 if exact else 0.71)

    test = [np.array([0.1, 0.5]), AXES[1], np.array([0.3])]
    want, cov = reference.posterior(KERNELS, x, y, s, reference.grid_points(test), (0, 0, 0), level)
    got, std = model.predict(test, return_std=True)
    assert got.shape == std.shape == (2, 5, 1)
    assert np.allclose(got.ravel(), want, rtol=0, atol=1e-9)
    assert np.allclose(std.ravel() ** 2, np.diag(cov), rtol=1e-9 if exact else 0.71)
    _, noisy = model.predict(test, return_std=True, include_noise=True)
    assert np.allclose(noisy**2, std**2 + 0.3)

    want = reference.posterior(KERNELS, x, y, s, reference.grid_points(AXES), (0, 0, 0), level)[0]
    assert np.allclose(model.predict().ravel(), want, rtol=0, atol=1e-9)


def many(mask=None, noise=None, **options):
    """3600 cells, of which the pattern is too large to be taken exactly."""
    axes = [np.linspace(0, 1, 20), np.linspace(0, 2, 15), np.linspace(0, 1, 12)]
    kernels = [gp.RBF(0.3, 1.5), gp.Matern(2.5, 0.5), gp.Matern(1.5, 0.7)]
    draws = np.random.default_rng(1)
    y = gp.GridGP(kernels).sample_prior(axes, random_state=1) + np.sqrt(0.1) * draws.normal(size=(20, 15, 12))
    return gp.GridGP(kernels, 0.1, dense_limit=0, **options), axes, y


PATTERNS = {
    "random": (np.random.default_rng(2).random((20, 15, 12)) > 0.3, None),
    "block": (np.add.outer(np.add.outer(np.arange(20), np.arange(15)), np.arange(12)) % 31 > 7, None),
    "noise": (None, 10 ** np.random.default_rng(3).uniform(-0.5, 0.5, (20, 15, 12))),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_estimated_determinant(pattern):
    """It agrees with the dense one to its standard error, and its gradient is its own."""
    model, axes, y = many(optimizer=None, fixed_noise=False)
    mask, noise = PATTERNS[pattern]
    model.fit(axes, y, mask, noise)
    assert model.solver_ == "iterative"
    value, gradient = model.log_marginal_likelihood(eval_gradient=True)
    error = model.log_marginal_likelihood_error_
    assert 0 < error < 1e-2 * abs(value)
    assert np.allclose(gradient, differences(model, 1e-4), rtol=0, atol=1e-5 * np.abs(gradient).max() + 1e-3)
    observed = np.ones(y.shape, bool) if mask is None else mask
    cells = np.nonzero(observed)
    k = np.prod([kernel(x)[np.ix_(c, c)] for kernel, x, c in zip(model.kernels_, axes, cells, strict=True)], axis=0)
    s = 0.1 * (np.ones(y.shape) if noise is None else noise)[observed]
    factor = np.linalg.cholesky(k + np.diag(s))
    solved = np.linalg.solve(factor, y[observed])
    want = -0.5 * (solved @ solved + 2 * np.log(np.diag(factor)).sum() + len(s) * np.log(2 * np.pi))
    assert abs(value - want) <= 4 * error  # Student's t with 7 degrees of freedom: once in 200


def test_fit_finds_what_made_the_data():
    for mask in (None, PATTERNS["random"][0]):
        model, axes, y = many()
        start = [gp.RBF(0.6, 1.0), gp.Matern(2.5, 0.2), gp.Matern(1.5, 0.3)]
        model.set_params(kernels=start, noise=0.5).fit(axes, y, mask)
        assert model.converged_
        assert model.theta_names_ == [
            "kernels[0].lengthscale",
            "kernels[0].variance",
            "kernels[1].lengthscale",
            "kernels[2].lengthscale",
            "noise",
        ]
        # log parameters: the data's own uncertainty is some hundredths, for the variance a fifth
        assert np.allclose(model.theta_, np.log([0.3, 1.5, 0.5, 0.7, 0.1]), atol=[0.1, 0.6, 0.2, 0.2, 0.1])
        _, gradient = model.log_marginal_likelihood(eval_gradient=True)
        assert np.abs(gradient).max() <= 1e-4 * y.size
        assert model.score(axes, y) > 0.8


def test_standard_deviations_of_gaps():
    """Draws of the posterior have the deviations of predict, where predict estimates them and where not."""
    model, axes, y = many(optimizer=None)
    mask = PATTERNS["random"][0]
    model.fit(axes, y, mask)
    mean, std = model.predict(return_std=True)
    draws = model.sample_posterior(size=100, random_state=2)
    assert np.allclose(draws.mean(axis=0), mean, atol=6 * std.max() / 10)
    ratio = draws.std(axis=0) / std
    assert abs(ratio.mean() - 1) < 0.02  # 3600 ratios, each uncertain to 7 percent, correlated
    assert ratio.std() < 0.12


def test_draws():
    x = [np.linspace(0, 1, 6), np.linspace(0, 1, 5)]
    kernels = [gp.RBF(0.4, 2.0), gp.Matern(2.5, 0.5)]
    model = gp.GridGP(kernels, 0.1, optimizer=None, fixed_noise=True)
    prior = model.sample_prior(x, 4000, random_state=0).reshape(4000, -1)
    k = np.kron(kernels[0](x[0]), kernels[1](x[1]))
    bound = 6 * 2.0 / np.sqrt(4000)  # six standard errors of a covariance of variables with variance 2
    assert np.abs(prior.T @ prior / 4000 - k).max() < bound
    y = prior[0].reshape(6, 5).copy()
    y[2, 3] = np.nan
    model.fit(x, y)
    target = [np.array([0.1, 0.6]), np.array([0.3])]
    for orders in ((0, 0), (1, 0), (0, 2)):
        points = reference.grid_points(target)
        _, cov = model.predict(points, return_cov=True, derivatives=orders)
        draws = model.sample_posterior(target, 2000, derivatives=orders, random_state=1).reshape(2000, -1)
        close = 6 * cov.diagonal().max() / np.sqrt(2000)
        assert np.allclose(np.cov(draws.T), cov, rtol=0, atol=close)
        scattered = model.sample_posterior(points, 2000, derivatives=orders, random_state=1)
        assert np.allclose(np.cov(scattered.T), cov, rtol=0, atol=close)
        want = model.predict(points, derivatives=orders)
        assert np.allclose(draws.mean(axis=0), want, atol=6 * np.sqrt(cov.diagonal().max() / 2000))
    assert model.sample_posterior(target).shape == (2, 1)
    assert model.sample_posterior(random_state=3).shape == (6, 5)
    assert np.array_equal(model.sample_posterior(random_state=3), model.sample_posterior(random_state=3))


def test_scikit_learn_agrees():
    skgp = pytest.importorskip("sklearn.gaussian_process")
    draws = np.random.default_rng(5)
    x = np.sort(draws.uniform(0, 10, 40))
    y = np.sin(x) + 0.1 * draws.normal(size=40)
    kernel = 1.5 * skgp.kernels.RBF(1.0) + skgp.kernels.WhiteKernel(0.1)
    want = skgp.GaussianProcessRegressor(kernel).fit(x[:, None], y)
    model = gp.GridGP([gp.RBF(1.0, 1.5)], 0.1).fit([x], y)
    assert model.log_marginal_likelihood_value_ == pytest.approx(want.log_marginal_likelihood_value_, rel=1e-6)
    test = np.linspace(-1, 11, 30)
    mean, std = want.predict(test[:, None], return_std=True)
    got = model.predict(test, return_std=True, include_noise=True)
    # both stopped within 1e-5 of the maximum per observation, where predictions differ by as much as its root
    assert np.allclose(got[0], mean, atol=5e-3)
    assert np.allclose(got[1], std, atol=5e-3)

    axes = [np.linspace(0, 4, 9), np.linspace(0, 3, 8)]
    points = reference.grid_points(axes)
    y = np.sin(points[:, 0]) * points[:, 1] + 0.1 * draws.normal(size=72)
    kernel = skgp.kernels.ConstantKernel(2.0) * skgp.kernels.RBF([1.0, 2.0])
    want = skgp.GaussianProcessRegressor(kernel, alpha=0.01, optimizer=None).fit(points, y)
    model = gp.GridGP([gp.RBF(1.0, 2.0), gp.RBF(2.0)], 0.01, optimizer=None, fixed_noise=True)
    model.fit(axes, y.reshape(9, 8))
    assert model.log_marginal_likelihood_value_ == pytest.approx(want.log_marginal_likelihood_value_, rel=1e-9)
    test = draws.uniform(0, 3, (10, 2))
    mean, cov = want.predict(test, return_cov=True)
    got = model.predict(test, return_cov=True)
    assert np.allclose(got[0], mean, atol=1e-9)
    assert np.allclose(got[1], cov, atol=1e-9)


def test_nearly_no_noise():
    """A rank-deficient RBF at noise 1e-8 of the variance."""
    x = [np.linspace(0, 1, 40), np.linspace(0, 1, 30)]
    y = np.sin(3 * x[0])[:, None] * np.cos(2 * x[1])
    model = gp.GridGP([gp.RBF(0.5), gp.RBF(0.7)], 1e-8, optimizer=None).fit(x, y)
    assert np.isfinite(model.log_marginal_likelihood_value_)
    assert np.allclose(model.predict(), y, atol=1e-5)
    # the derivative of a function that is known to 1e-8 everywhere
    slope = model.predict(derivatives=(1, 0))
    assert np.allclose(slope, 3 * np.cos(3 * x[0])[:, None] * np.cos(2 * x[1]), atol=1e-2)
    value, gradient = model.log_marginal_likelihood(eval_gradient=True)
    assert np.allclose(gradient, differences(model, 1e-4), rtol=1e-4, atol=1e-4 * abs(value))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_grid(data):
    """Any lengths, 1 among them, any mask, either solver: value and mean against dense algebra."""
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    draws = np.random.default_rng(data.draw(st.integers(0, 99)))
    axes = [np.sort(draws.uniform(-1, 1, n)) for n in shape]
    mask = draws.random(shape) < data.draw(st.sampled_from([0.2, 0.7, 2.0]))
    mask.flat[draws.integers(mask.size)] = True
    y = draws.normal(size=shape)
    kernels = [gp.Matern(1.5, 0.5, 1.3)] + [gp.RBF(0.7)] * (len(shape) - 1)
    model = gp.GridGP(kernels, 0.1, optimizer=None, dense_limit=data.draw(st.sampled_from([0, 1500])), rtol=1e-12)
    model.fit(axes, np.where(mask, y, np.nan))
    x = reference.grid_points(axes)
    noise = np.full(mask.sum(), 0.1)
    want = reference.log_likelihood(kernels, x[mask.ravel()], y[mask], noise)
    assert model.log_marginal_likelihood_value_ == pytest.approx(want, rel=1e-9, abs=1e-9)
    mean = reference.posterior(kernels, x[mask.ravel()], y[mask], noise, x, [0] * len(shape))[0]
    assert np.allclose(model.predict().ravel(), mean, atol=1e-9)


def test_layouts_do_not_matter():
    options = {"optimizer": None, "mean": "constant"}
    for mask in (None, RANDOM):
        plain = gp.GridGP(KERNELS, 0.3, **options).fit(AXES, Y, mask)
        other = gp.GridGP(KERNELS, 0.3, **options).fit(AXES, np.asfortranarray(Y), mask)
        assert np.array_equal(plain.predict(), other.predict())
        flipped = [AXES[2], AXES[1], AXES[0]]
        turned = gp.GridGP(KERNELS[::-1], 0.3, **options).fit(flipped, Y.T, None if mask is None else mask.T)
        assert np.allclose(turned.predict().T, plain.predict(), atol=1e-10)


def test_no_warning_on_the_ordinary_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = np.linspace(0, 10, 50)
        gp.GridGP().fit([x], np.sin(x) + 0.1 * np.cos(37 * x))


def test_gaps_leave_an_even_axis_even():
    """One axis with missing cells, and an empty slice of two: evaluations are those of the even axis."""
    x = [np.linspace(0, 1, 12), np.linspace(0, 1, 5)]
    kernels = [gp.Matern(1.5, 0.3), gp.RBF(0.4)]
    y = np.random.default_rng(0).normal(size=(12, 5))
    for d in (1, 2):
        values = y[:, 0].copy() if d == 1 else y.copy()
        values[[3, 7]] = np.nan
        if d == 2:
            values[5, 1:3] = np.nan
        for dense_limit in (0, 1500):
            model = gp.GridGP(kernels[:d], 0.1, optimizer=None, fixed_noise=False, dense_limit=dense_limit, rtol=1e-12)
            model.fit(x[:d], values)
            seen = ~np.isnan(values)
            points = reference.grid_points(x[:d])
            data = points[seen.ravel()], values[seen], np.full(seen.sum(), 0.1)
            value, gradient = model.log_marginal_likelihood(eval_gradient=True)
            assert value == pytest.approx(reference.log_likelihood(kernels[:d], *data), rel=1e-10)
            assert np.allclose(gradient, differences(model), rtol=1e-6, atol=1e-6)
            mean, cov = reference.posterior(kernels[:d], *data, points, [0] * d)
            assert np.allclose(model.predict().ravel(), mean, atol=1e-10)
            if model.solver_ == "exact":
                assert np.allclose(model.predict(return_std=True)[1].ravel() ** 2, cov.diagonal(), rtol=1e-9)
            assert model.sample_posterior(random_state=0).shape == values.shape


def test_repeated_eigenvalues():
    """A periodic kernel around its whole period has them in pairs, a constant one is 0 many times."""
    axes = [np.arange(8) / 8, np.linspace(0, 1, 5), np.linspace(0, 1, 4)]
    kernels = [gp.Periodic(1.0, 0.7, 1.5, fixed=("period",)), gp.Constant(1.0), gp.RBF(0.5)]
    y = np.random.default_rng(0).normal(size=(8, 5, 4))
    for mask in (None, np.random.default_rng(1).random(y.shape) > 0.2):
        for dense_limit in (0, 1500):
            model = gp.GridGP(kernels, 0.1, optimizer=None, fixed_noise=False, dense_limit=dense_limit, rtol=1e-12)
            model.fit(axes, y, mask)
            gradient = model.log_marginal_likelihood(eval_gradient=True)[1]
            assert np.allclose(gradient, differences(model), rtol=1e-6, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("mean", ["zero", "constant"])
def test_memory(mean):
    """At most eight arrays of N numbers for an evaluation with its gradient, and for predictions with deviations."""
    n = 60
    y = np.random.default_rng(0).normal(size=(n, n, n))
    model = gp.GridGP([gp.Matern(1.5, 0.1)] * 3, 0.5, mean=mean, optimizer=None, fixed_noise=False)
    tracemalloc.start()
    try:
        model.fit([np.linspace(0, 1, n)] * 3, y)
        model.log_marginal_likelihood(eval_gradient=True)
        model.predict(return_std=True)
        assert tracemalloc.get_traced_memory()[1] <= 8 * y.nbytes
    finally:
        tracemalloc.stop()
