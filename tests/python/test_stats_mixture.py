"""telamon.stats.VonMisesFisherMixture: EM, scikit-learn's conventions, pieces that add up, dask."""

import itertools
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

from telamon.stats import SufficientStatistics, VonMisesFisherMixture, _sphere, vonmises_fisher

KAPPAS, COUNTS = [30.0, 60.0, 200.0], [300, 500, 200]


def mixed(d=20, kappas=KAPPAS, counts=COUNTS, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    parts = [
        vonmises_fisher(np.eye(d)[i], k).rvs(n, rng, dtype=dtype)
        for i, (k, n) in enumerate(zip(kappas, counts, strict=True))
    ]
    order = rng.permutation(sum(counts))
    return np.concatenate(parts)[order], np.repeat(np.arange(len(counts)), counts)[order]


def agreement(labels, found):
    """Share of equal labels under the best renaming."""
    k = labels.max() + 1
    return max(np.mean(np.array(names)[found] == labels) for names in itertools.permutations(range(k)))


X, LABELS = mixed()


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_recovers_components(init):
    model = VonMisesFisherMixture(3, init_params=init, random_state=1, n_init=3, tol=1e-6, max_iter=300).fit(X)
    assert model.converged_
    order = np.argsort(model.kappas_)
    np.testing.assert_allclose(model.weights_[order], [0.3, 0.5, 0.2], atol=0.01)
    standard_errors = [(n * _sphere.information(20, k)) ** -0.5 for k, n in zip(KAPPAS, COUNTS, strict=True)]
    assert (np.abs(model.kappas_[order] - KAPPAS) < 5 * np.array(standard_errors)).all()
    assert (model.means_[order] @ np.eye(20)[:3].T).diagonal().min() > 0.99
    assert agreement(LABELS, model.predict(X)) > 0.99
    assert model.lower_bound_ == pytest.approx(model.score(X), rel=1e-12)
    assert (np.diff(model.lower_bounds_) > -1e-10).all()  # EM never descends
    assert len(model.lower_bounds_) == model.n_iter_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_high_dimension(dtype):
    x, labels = mixed(8192, [2500.0, 4000.0], [40, 60], dtype=dtype)
    model = VonMisesFisherMixture(2, random_state=0, n_init=3).fit(x)
    assert agreement(labels, model.predict(x)) == 1
    assert np.isfinite(model.score_samples(x)).all()


def test_one_component_is_the_distribution():
    model = VonMisesFisherMixture().fit(X)
    mu, kappa = vonmises_fisher.fit(X)
    np.testing.assert_allclose(model.means_[0], mu, atol=1e-13)
    assert model.kappas_[0] == pytest.approx(kappa, rel=1e-11)
    np.testing.assert_allclose(model.score_samples(X), vonmises_fisher.logpdf(X, mu, kappa), rtol=1e-11, atol=1e-11)
    assert model.bic(X) == pytest.approx(-2 * model.score(X) * len(X) + 20 * np.log(len(X)))
    assert model.aic(X) == pytest.approx(-2 * model.score(X) * len(X) + 40)


def test_bic_finds_the_number_of_components():
    scores = [VonMisesFisherMixture(k, random_state=0, n_init=2).fit(X).bic(X) for k in (1, 2, 3, 4)]
    assert np.argmin(scores) == 2


def test_posterior():
    model = VonMisesFisherMixture(3, random_state=0).fit(X)
    probability = model.predict_proba(X)
    np.testing.assert_allclose(probability.sum(1), 1, rtol=1e-13)
    assert np.array_equal(probability.argmax(1), model.predict(X))
    triples = zip(model.weights_, model.means_, model.kappas_, strict=True)
    parts = [w * vonmises_fisher.pdf(X, mu, kappa) for w, mu, kappa in triples]
    np.testing.assert_allclose(model.score_samples(X), np.log(np.sum(parts, axis=0)), rtol=1e-10, atol=1e-10)
    assert np.array_equal(VonMisesFisherMixture(3, random_state=0).fit_predict(X), model.predict(X))


def test_chunks_and_dtypes_agree():
    whole = VonMisesFisherMixture(3, random_state=4).fit(X)
    small = VonMisesFisherMixture(3, random_state=4, chunk_size=17).fit(X)
    single = VonMisesFisherMixture(3, random_state=4).fit(X.astype(np.float32))
    for name in ("weights_", "means_", "kappas_"):
        np.testing.assert_allclose(getattr(whole, name), getattr(small, name), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(getattr(whole, name), getattr(single, name), rtol=1e-5, atol=1e-6)
    assert single.means_.dtype == np.float64


def test_memory_is_bounded():
    """EM on 64 MiB of float32 allocates a small part of that, whatever the number of components."""
    import tracemalloc

    x = vonmises_fisher(np.eye(1, 256)[0], 50.0).rvs(65536, random_state=0, dtype=np.float32)
    model = VonMisesFisherMixture(8, random_state=0, max_iter=1, tol=np.inf, init_params="random")
    tracemalloc.start()
    model.fit(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20


def test_sample_weight_is_repetition():
    counts = np.arange(len(X)) % 3
    share = np.random.default_rng(0).dirichlet(np.ones(3), len(X))
    weighted = VonMisesFisherMixture(3, init_params=share).fit(X, sample_weight=counts)
    repeated = VonMisesFisherMixture(3, init_params=np.repeat(share, counts, axis=0)).fit(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(weighted.kappas_, repeated.kappas_, rtol=1e-8)
    np.testing.assert_allclose(weighted.weights_, repeated.weights_, rtol=1e-9)


def test_sample():
    model = VonMisesFisherMixture(3, random_state=0).fit(X)
    x, y = model.sample(4000)
    assert x.shape == (4000, 20)
    np.testing.assert_allclose(np.bincount(y) / 4000, model.weights_, atol=0.03)
    again = VonMisesFisherMixture(3, random_state=0).fit(x)
    np.testing.assert_allclose(np.sort(again.kappas_), np.sort(model.kappas_), rtol=0.1)
    assert np.array_equal(model.sample(5)[0], model.sample(5)[0])  # an integer seeds each call


def test_given_start_and_warm_start():
    start = {"weights_init": [0.2, 0.3, 0.5], "means_init": np.eye(20)[:3], "kappas_init": [10.0, 20, 30]}
    model = VonMisesFisherMixture(3, random_state=0, **start).initialize(X)
    assert model.kappas_.tolist() == [10, 20, 30]
    model.set_params(max_iter=2, tol=0.0, warm_start=True)
    with pytest.warns(UserWarning, match="did not converge in max_iter=2"):
        model.fit(X)
    bound = model.lower_bound_
    model.set_params(max_iter=100, tol=1e-9)
    assert model.fit(X).lower_bound_ >= bound


def test_coinciding_vectors_and_spare_components():
    """A component on one point reaches max_kappa, and one without vectors does no harm."""
    x = np.repeat(np.eye(3), 4, axis=0)
    model = VonMisesFisherMixture(3, random_state=0).fit(x)
    np.testing.assert_allclose(model.kappas_, 1e10)
    assert agreement(np.repeat([0, 1, 2], 4), model.predict(x)) == 1
    spare = VonMisesFisherMixture(5, random_state=0, max_kappa=1e6).fit(x)
    assert np.isfinite(spare.score_samples(x)).all()
    assert spare.kappas_.max() <= 1e6


# ---------------------------------------------------------------------------------------------- pieces that add up


def test_partial_statistics_add_up():
    model = VonMisesFisherMixture(3, random_state=0).initialize(X[:200])
    whole = model.partial_stats(X)
    parts = [pickle.loads(pickle.dumps(model.partial_stats(part))) for part in np.array_split(X, 7)]
    total = sum(parts)
    assert isinstance(total, SufficientStatistics)
    assert total.n_samples == len(X)
    np.testing.assert_allclose(total.weight, whole.weight, rtol=1e-12)
    np.testing.assert_allclose(total.resultant, whole.resultant, rtol=1e-9, atol=1e-11)
    assert total.mean_log_likelihood == pytest.approx(model.score(X), rel=1e-12)
    assert model.m_step(total).lower_bound_ == total.mean_log_likelihood
    with pytest.raises(ValueError, match="do not add up"):
        _ = whole + VonMisesFisherMixture(2, random_state=0).fit(X).partial_stats(X)
    with pytest.raises(TypeError):
        _ = whole + 1


def test_em_by_pieces_is_fit():
    share = np.random.default_rng(0).dirichlet(np.ones(3), len(X))
    fitted = VonMisesFisherMixture(3, init_params=share).fit(X)
    pieces = VonMisesFisherMixture(3, init_params=share).initialize(X)
    for _ in range(fitted.n_iter_):
        pieces.m_step(sum(pieces.partial_stats(part) for part in np.array_split(X, 3)))
    np.testing.assert_allclose(pieces.kappas_, fitted.kappas_, rtol=1e-8)


def test_em_on_a_dask_cluster():
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a cluster says of ports and its own closing
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            parts = client.scatter(np.array_split(X, 4))
            model = VonMisesFisherMixture(3, random_state=0).initialize(X[:300])
            here = pickle.loads(pickle.dumps(model))
            for _ in range(5):
                futures = [client.submit(model.partial_stats, part, pure=False) for part in parts]
                model.m_step(sum(client.gather(futures)))
                here.m_step(here.partial_stats(X))
    np.testing.assert_allclose(model.kappas_, here.kappas_, rtol=1e-9)
    assert agreement(LABELS, model.predict(X)) > 0.99


# ---------------------------------------------------------------------------------------------- conventions

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

NOT_FOR_DIRECTIONS = {
    "check_estimators_dtypes": "its integer matrices have rows of zeros, which have no direction and are refused",
}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([VonMisesFisherMixture(normalize=True)], expected_failed_checks=lambda _: NOT_FOR_DIRECTIONS)
def test_scikit_learn_estimator_checks(estimator, check):
    check(estimator)


def test_in_scikit_learn():
    from sklearn.exceptions import NotFittedError
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    model = VonMisesFisherMixture(3, random_state=0)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.predict(X)
    raw = X * np.linspace(1, 2, len(X))[:, None]
    pipeline = make_pipeline(Normalizer(), model).fit(raw)
    assert agreement(LABELS, pipeline.predict(raw)) > 0.99
    back = pickle.loads(pickle.dumps(pipeline))
    assert np.array_equal(back.predict(raw), pipeline.predict(raw))


def test_without_scikit_learn():
    """The same estimator where scikit-learn cannot be imported."""
    code = """
import sys
sys.modules["sklearn"] = None
import numpy as np
from telamon.stats import VonMisesFisherMixture, vonmises_fisher
x = np.concatenate([vonmises_fisher(m, 50).rvs(50, random_state=1) for m in np.eye(3)])
model = VonMisesFisherMixture(2).set_params(n_components=3, random_state=0)
assert model.get_params()["n_components"] == 3
try:
    model.predict(x)
except ValueError as error:
    assert "not fitted" in str(error)
assert sorted(np.bincount(model.fit(x).predict(x)).tolist()) == [50, 50, 50]
assert model.n_features_in_ == 3
for bad in (x[0], x[:, :1], x * np.nan, x[:0], x * 1j):
    try:
        model.fit(bad)
    except ValueError as error:
        assert "'X'" in str(error), error
    else:
        raise AssertionError(bad)
try:
    model.predict(np.eye(2))
except ValueError as error:
    assert "X has 2 features" in str(error)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_progress_on_stderr(capsys):
    VonMisesFisherMixture(3, random_state=0, n_init=2, verbose=1).fit(X)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "init 2/2 [####################]" in shown.err
    assert "s left" in shown.err
    VonMisesFisherMixture(3, random_state=0).fit(X)
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------------------------------------- bad input


def test_rows_that_are_not_unit_vectors():
    raw = X * 3.0
    with pytest.warns(UserWarning, match="1000 of 1000 rows of 'X' are not unit vectors .* scaled to norm 1"):
        scaled = VonMisesFisherMixture(3, random_state=0).fit(raw)
    silent = VonMisesFisherMixture(3, random_state=0, normalize=True).fit(raw)
    np.testing.assert_allclose(scaled.kappas_, silent.kappas_, rtol=1e-12)
    np.testing.assert_allclose(silent.kappas_, VonMisesFisherMixture(3, random_state=0).fit(X).kappas_, rtol=1e-9)
    with pytest.raises(ValueError, match=r"not unit vectors .row 0 has norm 3.; scale them, or pass normalize=True"):
        VonMisesFisherMixture(3, normalize=False).fit(raw)
    raw[7] = 0
    with pytest.raises(ValueError, match=r"'X' has a row of zeros .row 7."):
        silent.fit(raw)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "'n_components' must be an integer >= 1"),
        ({"n_components": 2.5}, "'n_components' must be an integer >= 1"),
        ({"n_components": 2000}, "'X' must have at least n_components=2000 rows, got n_samples=1000"),
        ({"n_init": 0}, "'n_init' must be an integer >= 1"),
        ({"max_iter": 0}, "'max_iter' must be an integer >= 1"),
        ({"tol": -1}, "'tol' must be a number >= 0"),
        ({"chunk_size": 0}, "'chunk_size' must be None or an integer >= 1"),
        ({"max_kappa": -1}, "'max_kappa' must be None or a positive finite number"),
        ({"normalize": "maybe"}, "'normalize' must be 'warn', True or False"),
        ({"init_params": "best"}, "'init_params' must be one of"),
        ({"init_params": np.ones((3, 1))}, "'init_params' as an array holds responsibilities"),
        ({"random_state": "seed"}, "'random_state' must be"),
        ({"means_init": np.ones((1, 20))}, "'means_init' must be unit vectors"),
        ({"means_init": np.eye(3)}, r"'means_init' must have shape \(1, 20\)"),
        ({"weights_init": [0.5]}, "'weights_init' must sum to 1"),
        ({"kappas_init": [-3.0]}, "'kappas_init' must not be negative"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        VonMisesFisherMixture(**parameters).fit(X)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((4, 1)), "X.*1 feature|1 feature"),
        (X * np.nan, "X contains NaN"),
        (np.empty((0, 20)), "0 sample"),
        (X * 1j, "Complex data not supported"),
        (X[0], "Reshape your data"),
    ],
)
def test_bad_data(x, message):
    with pytest.raises(ValueError, match=message):
        VonMisesFisherMixture().fit(x)


@pytest.mark.parametrize("weights", [np.ones(3), -np.ones(1000), np.zeros(1000), np.full(1000, np.nan)])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="'sample_weight'"):
        VonMisesFisherMixture().fit(X, sample_weight=weights)
    with pytest.raises(ValueError, match="'n_samples' must be"):
        VonMisesFisherMixture().fit(X).sample(0)
