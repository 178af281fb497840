"""GridGP as an estimator: conventions, warnings, and what it says about bad input."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("scipy")

from telamon import gp
from telamon.gp import _axes, _optimize

X = [np.linspace(0, 1, 8), np.linspace(0, 2, 6)]
SMOOTH = np.sin(5 * X[0])[:, None] + X[1] ** 2
Y = SMOOTH + 0.03 * np.random.default_rng(0).normal(size=(8, 6))
NAN = np.full((8, 6), np.nan)


def fitted(**options):
    return gp.GridGP([gp.RBF(0.5), gp.RBF(1.0)], 0.01, **options).fit(X, Y)


def test_parameters_and_clone():
    model = gp.GridGP([gp.RBF(0.5), gp.RBF(1.0)], 0.01, tol=1e-4)
    assert model.get_params()["tol"] == 1e-4
    assert model.set_params(noise=0.5, mean="constant") is model
    assert model.noise == 0.5
    base = pytest.importorskip("sklearn.base")
    copy = base.clone(model.fit(X, Y))
    assert copy.kernels == [gp.RBF(0.5), gp.RBF(1.0)]
    assert not hasattr(copy, "kernels_")
    assert model.kernels == [gp.RBF(0.5), gp.RBF(1.0)]  # fit leaves them as they were


@pytest.mark.parametrize("dense_limit", [0, 1500])
def test_pickle(dense_limit):
    y = Y.copy()
    y[2:4, 1:3] = np.nan
    model = gp.GridGP(noise=0.01, dense_limit=dense_limit, optimizer=None).fit(X, y)
    other = pickle.loads(pickle.dumps(model))
    assert np.array_equal(other.predict(), model.predict())
    assert other.log_marginal_likelihood() == pytest.approx(model.log_marginal_likelihood(), rel=1e-14)


def test_it_is_imported_when_asked_for():
    code = "import sys, telamon.gp as gp; print('scipy' in sys.modules, 'GridGP' in dir(gp), gp.GridGP.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "True", "GridGP"], done.stderr
    with pytest.raises(AttributeError, match="nonesuch"):
        gp.nonesuch  # noqa: B018


def test_it_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"pip install 'telamon\[gp\]'"):
        fitted()


def test_attributes():
    model = fitted()
    assert model.theta_.shape == (4,)
    assert len(model.theta_names_) == 4
    assert model.n_evaluations_ >= model.n_iter_ >= 1
    assert model.converged_
    assert model.solver_ == "exact"
    assert model.message_
    assert model.log_marginal_likelihood() == pytest.approx(model.log_marginal_likelihood_value_, rel=1e-12)
    assert fitted(mean="constant").mean_ != 0
    assert gp.GridGP(optimizer=None).fit(X, Y).kernels_[0].nu == 2.5  # the default


def test_scales_and_noise_are_fixed_where_they_cannot_be_told_apart():
    kernels = [gp.RBF() + gp.Constant(), 2.0 * gp.RBF(), gp.RBF() + gp.Linear(), gp.RBF() * gp.Matern()]
    free = [k.names for k in _optimize.identifiable(kernels)]
    assert free == [
        ["k1__lengthscale", "k1__variance", "k2__variance"],
        ["k2__lengthscale"],
        ["k1__lengthscale", "k2__variance"],
        ["k1__lengthscale", "k2__lengthscale"],
    ]
    # what the user has fixed is left alone: the next one has the scale
    kernels = [gp.RBF(fixed=("variance",)), gp.RBF() * gp.RBF()]
    free = [k.names for k in _optimize.identifiable(kernels)]
    assert free == [["lengthscale"], ["k1__lengthscale", "k1__variance", "k2__lengthscale"]]
    known = gp.GridGP([gp.RBF(0.5), gp.RBF(1.0)]).fit(X, Y, noise=1e-3)
    assert "noise" not in known.theta_names_
    assert known.noise_ == 1
    scaled = gp.GridGP([gp.RBF(0.5), gp.RBF(1.0)], fixed_noise=False).fit(X, Y, noise=1e-3)
    assert "noise" in scaled.theta_names_


def test_without_noise():
    """The likelihood has no bound as the noise goes to 0: the fit ends at the least noise, as rounding permits."""
    model = gp.GridGP([gp.RBF(0.5), gp.RBF(1.0)]).fit(X, SMOOTH)
    assert model.converged_
    assert model.noise_ == pytest.approx(1e-6 * SMOOTH.var(), rel=1e-6)
    assert np.allclose(model.predict(), SMOOTH, atol=1e-2)
    smaller = gp.GridGP([gp.RBF(0.5), gp.RBF(1.0)], 1e-10, fixed_noise=True, optimizer=None).fit(X, SMOOTH)
    assert np.allclose(smaller.predict(), SMOOTH, atol=1e-6)


def test_limits_are_kept():
    kernels = [gp.RBF(0.5, limits={"lengthscale": (0.4, 0.6)}), gp.RBF(1.0)]
    model = gp.GridGP(kernels).fit(X, Y)
    assert 0.4 * (1 - 1e-12) <= model.kernels_[0].lengthscale <= 0.6 * (1 + 1e-12)


def test_restarts_find_at_least_as_much():
    x = np.linspace(0, 1, 60)
    y = np.sin(40 * x)
    kernel = gp.SpectralMixture([1.0], [1.0], [2.0])
    one = gp.GridGP([kernel], 0.1).fit([x], y)
    more = gp.GridGP([kernel], 0.1, n_restarts=3, random_state=1).fit([x], y)
    assert more.log_marginal_likelihood_value_ >= one.log_marginal_likelihood_value_
    assert more.n_evaluations_ > one.n_evaluations_


def test_progress_line(capsys):
    fitted(verbose=1)
    assert "log-likelihood" in capsys.readouterr().err


def test_frequencies_beyond_the_grid():
    x = np.linspace(0, 1, 20)  # Nyquist at 9.5
    y = np.sin(9 * x)
    kernel = gp.SpectralMixture([1.0, 0.5], [3.0, 20.0], [0.0, 0.0])
    with pytest.warns(UserWarning, match=r"axis 0.*Nyquist frequency 9\.5"):
        gp.GridGP([kernel], 0.1, optimizer=None).fit([x], y)
    with pytest.warns(UserWarning, match="length scale"):
        gp.GridGP([gp.RBF(0.01)], 0.1, optimizer=None).fit([x], y)
    with pytest.warns(UserWarning, match="at their closest"):
        gp.GridGP([gp.RBF(0.0005)], 0.1, optimizer=None).fit([x**2], y)


def test_no_convergence_is_told():
    with pytest.warns(UserWarning, match=r"not at its maximum after 1 iterations.*max_iter"):
        model = fitted(max_iter=1)
    assert not model.converged_
    assert "LIMIT" in model.message_.upper()


def spoiled(array, index, value):
    out = array.copy()
    out[index] = value
    return out


BAD = {
    "axes, one missing": (([X[0]], Y), {}, "'Y' has shape"),
    "axes, none": (([], Y), {}, "'axes' is empty"),
    "axes, not a list": ((3.0, Y), {}, "'axes' must be a list"),
    "axes, NaN": (([spoiled(X[0], 2, np.nan), X[1]], Y), {}, r"axes\[0\].*NaN.*drop"),
    "axes, duplicates": (([spoiled(X[0], 2, X[0][1]), X[1]], Y), {}, r"axes\[0\].*duplicate.*entries 1 and 2.*average"),
    "axes, unsorted": (([X[0], spoiled(X[1], 2, 9.0)], Y), {}, r"axes\[1\].*not sorted.*argsort"),
    "axes, descending": (([X[0][::-1], X[1]], Y), {}, "decreases; flip"),
    "axes, matrix": (([np.ones((2, 2)), X[1]], Y), {}, "one dimensional"),
    "axes, empty": (([X[0], []], Y), {}, r"axes\[1\].*empty"),
    "Y, flat": ((X, Y.ravel()), {}, r"pass Y\.reshape\(8, 6\)"),
    "Y, text": ((X, "a"), {}, "'Y' must hold real"),
    "Y, infinite": ((X, spoiled(Y, (0, 0), np.inf)), {}, "'Y' contains infinity; put NaN"),
    "Y, all missing": ((X, NAN), {}, "all cells are missing"),
    "mask, all missing": ((X, Y), {"mask": np.zeros((8, 6), bool)}, "all cells are missing"),
    "mask, shape": ((X, Y), {"mask": np.ones((6, 8), bool)}, "'mask' has shape"),
    "mask, dtype": ((X, Y), {"mask": np.ones((8, 6))}, r"mask\.astype\(bool\)"),
    "noise, negative": ((X, Y), {"noise": -1.0}, "'noise' must be variances, positive.*1e-8"),
    "noise, zero": ((X, Y), {"noise": np.zeros((8, 6))}, "'noise' must be variances"),
    "noise, shape": ((X, Y), {"noise": np.ones(8)}, "'noise' must be a number, a tuple"),
    "noise, tuple": ((X, Y), {"noise": (np.ones(8),)}, "tuple of 1 vectors, the grid has 2"),
    "noise, vector": ((X, Y), {"noise": (np.ones(8), np.ones(5))}, r"noise\[1\].*shape \(6,\)"),
    "noise, text": ((X, Y), {"noise": "a"}, "'noise' must hold variances"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data(case):
    arguments, keywords, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        gp.GridGP(noise=0.1).fit(*arguments, **keywords)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": "linear"}, "mean"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"noise": -1.0}, "'noise' must be a positive variance"),
        ({"noise": np.ones((8, 6))}, "go to fit"),
        ({"n_probes": 1}, "n_probes"),
        ({"n_restarts": 0.5}, "n_restarts"),
        ({"tol": 0.0}, "tol"),
        ({"rtol": 2.0}, "rtol"),
        ({"kernels": [gp.RBF()]}, "'kernels' has 1 entries, the grid has 2"),
        ({"kernels": [gp.RBF(), "rbf"]}, r"kernels\[1\]"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        gp.GridGP(**options).fit(X, Y)


def test_bad_targets():
    model = fitted(optimizer=None)
    cases = [
        ({"X": np.zeros((3, 3))}, "'X' has 3 columns"),
        ({"X": [X[0]]}, "'X' must be a list of 2"),
        ({"X": [X[0], [np.nan]]}, r"X\[1\].*NaN"),
        ({"derivatives": (1,)}, "one order for each of 2"),
        ({"derivatives": (5, 0)}, "order 4"),
        ({"derivatives": (0.5, 0)}, "integers"),
        ({"return_std": True, "return_cov": True}, "exclude"),
        ({"X": np.zeros((2001, 2)), "return_cov": True}, "2000"),
    ]
    for keywords, message in cases:
        with pytest.raises(ValueError, match=message):
            model.predict(**keywords)
    rough = gp.GridGP([gp.Matern(0.5), gp.RBF()], 0.1, optimizer=None).fit(X, Y)
    with pytest.raises(ValueError, match="up to order 0"):
        rough.predict(derivatives=(1, 0))
    with pytest.raises(ValueError, match="theta"):
        model.log_marginal_likelihood(np.zeros(2))
    for call in ("predict", "sample_posterior", "log_marginal_likelihood"):
        with pytest.raises(ValueError, match="call fit first"):
            getattr(gp.GridGP(), call)()


def test_even_spacing_is_recognised():
    assert _axes.step(np.linspace(0.1, 7.3, 1000)) is not None
    assert _axes.step(1e6 + 0.1 * np.arange(100)) is not None
    assert _axes.step(np.array([0.0, 1.0, 2.0 + 1e-9])) is None
    assert _axes.step(np.array([3.0])) == 0.0
    a = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(_axes.diagonal_sums(a), [np.trace(a, 3 - k) for k in range(6)])
    assert np.array_equal(_axes.toeplitz(np.arange(6.0), 3, 4)[:, 0], [3, 4, 5])
