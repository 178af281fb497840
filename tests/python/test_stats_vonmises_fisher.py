"""telamon.stats.vonmises_fisher against balls (python-flint), SciPy where SciPy is right, and its own sampler."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telamon.reference import stats as reference
from telamon.stats import VonMisesFisherFit, _sphere, vonmises_fisher

pytest.importorskip("flint")
scipy_stats = pytest.importorskip("scipy.stats")

EPS = 2.0**-52
DIMENSIONS = [2, 3, 4, 5, 18, 67, 101, 102, 103, 128, 300, 301, 2048, 8192, 32768, 10**6]
FITTED = [2, 3, 67, 128, 2048, 8192, 32768]


def kappas(d):
    """Both sides of every change of method, and far out."""
    absolute = [0.0, 1e-300, 1e-10, 1e-3, 0.5, 1, 3, 7.9, 8.1, 20, 49.9, 50.1, 300, 1e4, 1e6, 1e9, 1e12]
    return absolute + [d * c for c in (0.01, 0.3, 0.49, 0.51, 1, 1.01, 5, 20)]


def unit(d, seed=0):
    mu = np.random.default_rng(seed).standard_normal(d)
    return mu / np.linalg.norm(mu)


# ---------------------------------------------------------------------------------------------- against balls


@pytest.mark.parametrize("d", DIMENSIONS)
def test_log_normalizer(d):
    k = np.array(kappas(d))
    log_s, gap = _sphere.log_series(d, k)
    for i, kappa in enumerate(k.tolist()):
        a = reference.mean_resultant(d, kappa)
        want = reference.log_normalizer(d, kappa)
        error = abs(-_sphere.log_area(d) - log_s[i] - want)
        assert error <= 4 * EPS * max(1, abs(want), kappa * a), (d, kappa)  # kappa A: the conditioning
        want = reference.log_normalizer_plus_kappa(d, kappa)
        error = abs(gap[i] - _sphere.log_area(d) - want)
        assert error <= 4 * EPS * max(1, abs(want), kappa * reference.mean_resultant_c(d, kappa)), (d, kappa)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_information_and_its_inverse(d):
    k = np.array(kappas(d))
    information = _sphere.information(d, k)
    a = np.array([reference.mean_resultant(d, x) for x in k.tolist()])
    ac = np.array([reference.mean_resultant_c(d, x) for x in k.tolist()])
    found = _sphere.concentration(d, a, ac)
    for i, kappa in enumerate(k.tolist()):
        assert information[i] == pytest.approx(reference.information(d, kappa), rel=2e-14), kappa
        if kappa:
            # one rounding of the smaller of A and 1 - A moves kappa by this much
            conditioning = min(a[i], ac[i]) / (kappa * information[i])
            assert abs(found[i] / kappa - 1) <= 8 * EPS * max(1, conditioning), kappa
        else:
            assert found[i] == 0


@pytest.mark.parametrize("d", [2, 3, 67, 2048, 10**6])
def test_entropy(d):
    mu = np.eye(1, d)[0]
    for kappa in kappas(d):
        want = reference.entropy(d, kappa)
        # the conditioning here: d H / d kappa = -kappa A'
        scale = max(1, abs(want), kappa**2 * reference.information(d, kappa), abs(_sphere.log_area(d)))
        assert abs(vonmises_fisher.entropy(mu, kappa) - want) <= 8 * EPS * scale, kappa


@pytest.mark.parametrize("d", [2, 3, 4, 10, 128, 32768])
def test_entropy_of_the_uniform_distribution_is_the_log_of_the_area(d):
    area = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
    assert vonmises_fisher(np.eye(1, d)[0], 0).entropy() == pytest.approx(area, rel=1e-14)
    if d == 3:
        assert vonmises_fisher([1, 0, 0], 0).entropy() == pytest.approx(math.log(4 * math.pi), rel=1e-15)


@pytest.mark.parametrize("d", [2, 3, 67, 2048, 10**6])
def test_kl_divergence(d):
    mu = np.eye(1, d)[0]
    other = np.roll(mu, 1) * 0.6 + mu * 0.8
    for kappa1 in (0, 1e-5, 1.0, 30.0, 1e3, 1e6):
        for kappa2 in (0, 1e-5, 1.0 + 1e-7, 2.0, 40.0, 1e7):
            got = vonmises_fisher.kl_divergence(mu, kappa1, mu, kappa2)
            want = reference.kl_divergence(d, kappa1, kappa2) if kappa1 != kappa2 else 0.0
            assert got == pytest.approx(want, rel=1e-13, abs=0)
            if kappa2 == 0:
                continue
            got = vonmises_fisher.kl_divergence(mu, kappa1, other, kappa2)
            assert got == pytest.approx(reference.kl_divergence(d, kappa1, kappa2, 0.8), rel=1e-12, abs=0)
    assert vonmises_fisher(mu, 3.0).kl_divergence(vonmises_fisher(other, 4.0)) > 0


def test_density_near_the_mode_keeps_its_digits():
    """At kappa = 1e12 a naive kappa (mu.x) would be off by 1e-4."""
    kappa, angle = 1e12, 1e-6
    x, mu = np.array([math.cos(angle), math.sin(angle), 0.0]), [1.0, 0.0, 0.0]
    exact = reference.log_normalizer_plus_kappa(3, kappa) - kappa * 2 * math.sin(angle / 2) ** 2
    assert vonmises_fisher.logpdf(x, mu, kappa) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("kappa", [1e-310, 1e15, 1e200, 1e307])
def test_extreme_kappa(kappa):
    """On the sphere in R^3 with kappa -> inf: log C + kappa -> log(kappa / (2 pi)), entropy = 1 - that."""
    mu = np.array([0.0, 0.0, 1.0])
    frozen = vonmises_fisher(mu, kappa)
    assert np.isfinite(frozen.logpdf(frozen.rvs(5, random_state=0))).all()
    if kappa > 1:
        peak = math.log(kappa / (2 * math.pi))
        assert frozen.logpdf(mu) == pytest.approx(peak, rel=1e-14)
        assert frozen.entropy() == pytest.approx(1 - peak, rel=1e-14)
        assert frozen.kl_divergence(vonmises_fisher(mu, kappa / 2)) == pytest.approx(math.log(2) - 0.5, rel=1e-13)


@pytest.mark.parametrize("kappa", [0.0, 5e5, 1e8])
def test_a_million_dimensions(kappa):
    frozen = vonmises_fisher(np.eye(1, 10**6)[0], kappa)
    x = frozen.rvs(8, random_state=0, dtype=np.float32)
    result = vonmises_fisher.fit(x, bias_correction=True)
    assert abs(result.kappa - kappa) < 4 * result.kappa_se
    # the log density scatters about minus the entropy, with variance kappa^2 A'
    deviation = kappa * math.sqrt(reference.information(10**6, kappa))
    assert np.abs(frozen.logpdf(x) + frozen.entropy()).max() < 5 * deviation + 1e-8


# ---------------------------------------------------------------------------------------------- against SciPy


@pytest.mark.parametrize("d", [2, 3, 4, 10, 40])
@pytest.mark.parametrize("kappa", [0.1, 1, 30.0])
def test_agrees_with_scipy(d, kappa):
    mu = unit(d)
    x = vonmises_fisher(mu, kappa).rvs((5, 3), random_state=1)
    theirs = scipy_stats.vonmises_fisher(mu, kappa)
    ours = vonmises_fisher(mu, kappa)
    assert ours.dim == theirs.dim
    np.testing.assert_allclose(ours.logpdf(x), theirs.logpdf(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(vonmises_fisher.pdf(x, mu, kappa), theirs.pdf(x), rtol=1e-11)
    np.testing.assert_allclose(ours.entropy(), theirs.entropy(), rtol=1e-11)
    assert np.ndim(ours.logpdf(x[0, 0])) == np.ndim(theirs.logpdf(x[0, 0])) == 0
    rows = x.reshape(-1, d)
    (mu1, kappa1), (mu2, kappa2) = vonmises_fisher.fit(rows), scipy_stats.vonmises_fisher.fit(rows)
    np.testing.assert_allclose(mu1, mu2, atol=1e-13)
    assert kappa1 == pytest.approx(kappa2, rel=1e-8)


@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("size", [None, 1, 4, (2, 3), (0,)])
def test_shapes_of_samples(d, size):
    mu = np.eye(1, d)[0]
    shape = (() if size is None else (size,) if isinstance(size, int) else size) + (d,)
    assert vonmises_fisher.rvs(mu, 2.0, size, random_state=1).shape == shape
    assert vonmises_fisher(mu, 2.0, seed=3).rvs(size).shape == shape
    assert vonmises_fisher(mu, 2.0, seed=3).rvs(size, dtype=np.float32).dtype == np.float32


def test_defaults_and_seeds():
    mu = [0.6, 0.8]
    assert vonmises_fisher(mu).kappa == 1
    frozen = vonmises_fisher(mu, 5, seed=11)
    assert np.array_equal(frozen.rvs(3), vonmises_fisher(mu, 5, seed=11).rvs(3))
    assert not np.array_equal(frozen.rvs(3), frozen.rvs(3))
    for make in (np.random.default_rng, np.random.RandomState):
        assert np.array_equal(frozen.rvs(4, make(5)), vonmises_fisher.rvs(mu, 5, 4, random_state=make(5)))
    np.random.seed(3)  # noqa: NPY002  the global generator is SciPy's default
    first = frozen.__class__(mu, 5).rvs(2)
    np.random.seed(3)  # noqa: NPY002
    assert np.array_equal(first, vonmises_fisher.rvs(mu, 5, 2))


# ---------------------------------------------------------------------------------------------- sampling and fit


@pytest.mark.parametrize("d", [2, 3, 4, 7])
@pytest.mark.parametrize("kappa", [0.0, 0.3, 4.0, 200.0])
def test_distribution_of_the_cosine(d, kappa):
    """Kolmogorov-Smirnov against quadrature; a false alarm has probability 1e-4, and the seed is fixed."""
    mu = unit(d, 1)
    w = np.sort(vonmises_fisher(mu, kappa).rvs(2000, random_state=7) @ mu)
    probes = np.linspace(0.005, 0.995, 60)
    points = np.quantile(w, probes)
    exact = np.array([reference.cosine_cdf(float(p), d, kappa) for p in points])
    empirical = np.searchsorted(w, points, side="right") / len(w)
    assert np.abs(exact - empirical).max() < math.sqrt(-math.log(1e-4 / 2) / (2 * len(w)))


@pytest.mark.parametrize("d", FITTED)
@pytest.mark.parametrize("ratio", [0.0, 0.3, 2.0, 1e4])
def test_moments_of_samples(d, ratio):
    """First two moments of mu.x, E[w^2] = 1 - (d-1) A / kappa, and no direction across mu preferred."""
    n, kappa, mu = max(60, 2**20 // d), ratio * d, unit(d, 2)
    x = vonmises_fisher(mu, kappa).rvs(n, random_state=5)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-13)
    t = np.sum((x - mu) ** 2, axis=1) / 2
    variance = reference.information(d, kappa)
    assert abs(t.mean() - reference.mean_resultant_c(d, kappa)) < 4.5 * math.sqrt(variance / n)
    assert t.var(ddof=1) == pytest.approx(variance, rel=6 * math.sqrt(3 / n))
    across = x - (1 - t)[:, None] * mu
    np.testing.assert_allclose(across @ mu, 0, atol=1e-14)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    assert np.linalg.norm(across.sum(0)) ** 2 / n == pytest.approx(1, abs=6 * math.sqrt(2 / (d - 1)))


@pytest.mark.parametrize("d", FITTED)
@pytest.mark.parametrize("ratio", [0.2, 0.5, 3.0, 100.0])
def test_fit_recovers_kappa(d, ratio):
    """float32 vectors; the bias-corrected estimate lies within 4 of its standard errors in every dimension."""
    n, kappa, mu = max(100, min(4000, 2**21 // d)), ratio * d, unit(d, 3)
    x = vonmises_fisher(mu, kappa).rvs(n, random_state=9, dtype=np.float32)
    result = vonmises_fisher.fit(x, bias_correction=True)
    assert abs(result.kappa - kappa) < 4 * result.kappa_se
    plain = vonmises_fisher.fit(x)
    assert plain.kappa > result.kappa
    # E[R^2] = A^2 + (1 - A^2) / n is what the likelihood's estimate belongs to
    a, ac = reference.mean_resultant(d, kappa), reference.mean_resultant_c(d, kappa)
    square_c = ac * (1 + a) * (1 - 1 / n)
    shifted = float(_sphere.concentration(d, math.sqrt(1 - square_c), square_c / (1 + math.sqrt(1 - square_c))))
    assert abs(plain.kappa - shifted) < 5 * result.kappa_se * max(1, shifted / kappa)
    if d <= 128:
        assert abs(plain.kappa - kappa) < 5 * plain.kappa_se
        assert np.linalg.norm(plain.mu - mu) < 4 * plain.mu_se * math.sqrt(d - 1)
    assert np.linalg.norm(plain.mu) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("d", [2, 3, 64])
def test_standard_errors_are_those_of_repeated_fits(d):
    mu, kappa, n, repeats = unit(d, 4), 2.0 * d, 200, 200
    rng = np.random.default_rng(0)
    fits = [vonmises_fisher.fit(vonmises_fisher(mu, kappa).rvs(n, rng), bias_correction=True) for _ in range(repeats)]
    spread = np.std([fit.kappa for fit in fits])
    assert spread == pytest.approx(np.mean([fit.kappa_se for fit in fits]), rel=4 / math.sqrt(2 * repeats))
    across = [(fit.mu - mu) @ np.roll(np.eye(1, d)[0], 1) / math.sqrt(1 - mu[1] ** 2) for fit in fits]
    assert np.std(across) == pytest.approx(np.mean([fit.mu_se for fit in fits]), rel=4 / math.sqrt(2 * repeats))


def test_fit_next_to_a_point():
    """1 - R is summed, not subtracted: kappa = 1e14 from vectors 1e-7 apart."""
    angle = np.array([1e-7, -1e-7, 2e-7, -2e-7])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rc = np.mean(angle**2) / 2
    result = vonmises_fisher.fit(x)
    assert result.resultant_length_c == pytest.approx(rc, rel=1e-8)
    assert result.kappa == pytest.approx(1 / (2 * rc), rel=1e-8)


def test_weights():
    mu = unit(6)
    x = vonmises_fisher(mu, 9.0).rvs(40, random_state=1)
    counts = np.arange(40) % 4
    repeated = vonmises_fisher.fit(np.repeat(x, counts, axis=0))
    weighted = vonmises_fisher.fit(x, weights=counts)
    np.testing.assert_allclose(weighted.mu, repeated.mu, rtol=1e-12, atol=1e-14)
    assert weighted.kappa == pytest.approx(repeated.kappa, rel=1e-12)
    assert weighted.n_effective == pytest.approx(counts.sum() ** 2 / (counts**2).sum())
    even = vonmises_fisher.fit(x, np.full(40, 1e-200))
    assert even.kappa == pytest.approx(vonmises_fisher.fit(x).kappa, rel=1e-13)
    assert even.kappa_se == pytest.approx(vonmises_fisher.fit(x).kappa_se, rel=1e-13)


def test_float32_is_not_copied_whole():
    """A fit of 64 MiB of float32 vectors allocates a small part of that; float64 would be 128 MiB."""
    import tracemalloc

    x = vonmises_fisher(unit(2048), 500.0).rvs(8192, random_state=0, dtype=np.float32)
    tracemalloc.start()
    result = vonmises_fisher.fit(x)
    logpdf = vonmises_fisher.logpdf(x, result.mu, result.kappa)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * 2**20
    assert logpdf.dtype == np.float64
    assert np.isfinite(logpdf).all()


def test_opposite_vectors_have_kappa_zero():
    mu, kappa = vonmises_fisher.fit([[1.0, 0.0], [-1.0, 0.0]])
    assert kappa == 0
    assert np.linalg.norm(mu) == 1


def test_result_is_a_pair_that_pickles():
    result = vonmises_fisher.fit(vonmises_fisher([0, 0, 1], 20).rvs(50, random_state=1))
    mu, kappa = result
    assert (mu is result.mu, kappa == result.kappa, len(result)) == (True, True, 2)
    back = pickle.loads(pickle.dumps(result))
    assert isinstance(back, VonMisesFisherFit)
    assert back.kappa_se == result.kappa_se
    assert "kappa=" in repr(result)
    frozen = pickle.loads(pickle.dumps(vonmises_fisher([0, 0, 1], 20, seed=1)))
    assert np.array_equal(frozen.rvs(2), vonmises_fisher([0, 0, 1], 20, seed=1).rvs(2))


# ---------------------------------------------------------------------------------------------- properties


@settings(max_examples=40, deadline=None)
@given(
    d=st.integers(2, 5000),
    kappa=st.one_of(st.just(0.0), st.floats(1e-6, 1e9)),
    factor=st.floats(1e-3, 1e3),
    seed=st.integers(0, 99),
)
def test_properties(d, kappa, factor, seed):
    mu = unit(d, seed)
    ours = vonmises_fisher(mu, kappa)
    x = ours.rvs(3, random_state=seed)
    uniform = vonmises_fisher(mu, 0)
    scale = max(1, abs(_sphere.log_area(d)), kappa)
    assert (ours.logpdf(x) <= ours.logpdf(mu) + 1e-14 * scale).all()
    reflected = x - 2 * np.outer(x @ mu, mu)  # the density depends on mu.x alone
    change = ours.logpdf(x) - ours.logpdf(reflected)
    np.testing.assert_allclose(change, 2 * kappa * (x @ mu), rtol=1e-10, atol=1e-9 * (1 + kappa))
    other = kappa * factor
    divergence = vonmises_fisher.kl_divergence(mu, kappa, mu, other)
    assert divergence >= 0
    assert ours.entropy() <= uniform.entropy() + 1e-14 * scale
    # the divergence from the uniform distribution is the entropy lost
    lost = uniform.entropy() - ours.entropy()
    assert vonmises_fisher.kl_divergence(mu, kappa, mu, 0) == pytest.approx(lost, rel=1e-12, abs=1e-13 * scale)


# ---------------------------------------------------------------------------------------------- bad input

X = np.eye(3)


@pytest.mark.parametrize(
    ("mu", "kappa", "message"),
    [
        (np.eye(2), 1, "'mu' must have one-dimensional shape"),
        ([1.0, 1.0], 1, "'mu' must be a unit vector of norm 1"),
        ([1.0], 1, "'mu' must have at least two entries"),
        (None, 1, "'mu' must be given"),
        ([1.0, np.nan], 1, "'mu' contains NaN"),
        ([1.0, 0j], 1, "'mu' must hold real numbers, got dtype complex128"),
        (["1", "0"], 1, "'mu' must hold real numbers"),
        ([1, 0], -1, "'kappa' must be a positive scalar"),
        ([1, 0], (5, 3), "'kappa' must be a positive scalar"),
        ([1, 0], np.nan, "'kappa' must be a positive scalar"),
        ([1, 0], np.inf, "'kappa' must be a positive scalar"),
        ([1, 0], "2", "'kappa' must be a positive scalar"),
        ([1, 0], 1j, "'kappa' must be a positive scalar"),
    ],
)
def test_bad_parameters(mu, kappa, message):
    for call in (
        lambda: vonmises_fisher(mu, kappa),
        lambda: vonmises_fisher.logpdf([[1.0, 0.0]], mu, kappa),
        lambda: vonmises_fisher.rvs(mu, kappa),
        lambda: vonmises_fisher.entropy(mu, kappa),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=r"'(mu|kappa)2'"):
        vonmises_fisher.kl_divergence([1, 0], 1, mu, kappa)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(3), "'x' must be two dimensional"),
        (np.ones((2, 3)), r"'x' must be unit vectors of norm 1.*norm 1.73205"),
        (np.empty((0, 3)), r"'x' must hold at least one vector, got shape \(0, 3\)"),
        (np.ones((4, 1)), "'x' must have at least two columns"),
        (np.array([[1, np.nan], [0, 1]]), "'x' contains NaN"),
        (np.eye(2) * 1j, "'x' must hold real numbers, got dtype complex128"),
        (np.array([["a", "b"]]), "'x' must hold real numbers"),
        (np.array([["a", "b"]], dtype=object), "'x' must hold real numbers"),
        (np.eye(3)[:1], "'x' must hold at least two distinct vectors"),
        (np.tile([0.6, 0.8], (5, 1)), "'x' must hold at least two distinct vectors"),
    ],
)
def test_bad_data(x, message):
    with pytest.raises(ValueError, match=message):
        vonmises_fisher.fit(x)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"'weights' must have one entry a vector: expected shape \(3,\), got \(2,\)"),
        ([1, -1, 1], "'weights' must not be negative; entry 1 is -1"),
        ([0, 0, 0], "'weights' must not be all zero"),
        ([1, np.nan, 1], "'weights' contains NaN"),
        (["a", "b", "c"], "'weights' must hold real numbers"),
        ([0, 1, 0], "'x' must hold at least two distinct vectors"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        vonmises_fisher.fit(X, weights)


def test_bad_calls():
    frozen = vonmises_fisher([1, 0, 0], 2)
    with pytest.raises(ValueError, match="The dimensionality of the last axis of 'x' must"):
        frozen.logpdf([1.0, 0.0])
    with pytest.raises(ValueError, match="'x' must be unit vectors of norm 1 along last dimension"):
        frozen.logpdf([1.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="'size' must be"):
        frozen.rvs(-1)
    with pytest.raises(ValueError, match="'size' must be"):
        frozen.rvs("many")
    with pytest.raises(ValueError, match="'random_state' must be"):
        frozen.rvs(1, "seed")
    with pytest.raises(ValueError, match="'seed' must be"):
        vonmises_fisher([1, 0], 1, seed=1.5)
    with pytest.raises(ValueError, match="'dtype' must be float32 or float64"):
        frozen.rvs(1, dtype=np.int32)
    with pytest.raises(ValueError, match="'mu1' and 'mu2' must have the same length"):
        vonmises_fisher.kl_divergence([1, 0], 1, [1, 0, 0], 1)
    assert frozen.logpdf(np.empty((0, 3))).shape == (0,)
    assert vonmises_fisher([1.0, 0.0], np.array(2.0)).kappa == 2


def test_import_needs_numpy_only():
    code = "import sys, telamon.stats; print([m for m in ('scipy', 'sklearn', 'flint') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
