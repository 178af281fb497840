"""KroneckerSystem against dense algebra: every mask with every noise, by each of the ways to solve."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from kron_support import DTYPES, axis, covariance, eps, generator, mask_of, noise_grid, noise_of

from telamon import kron
from telamon.kron import ConvergenceWarning, KroneckerEig, KroneckerSystem, Matern, Toeplitz, _iterative, _system
from telamon.reference import kron as reference

MASKS = ["none", "block", "random", "few", "all but one"]
NOISES = ["number", "separable", "grid"]
FACTORS = {
    "smooth": lambda: [covariance(12, "rbf", 0.2), covariance(17, "matern32", 0.3)],
    "rough": lambda: [covariance(7, spacing="random"), covariance(5), covariance(6)],
    "toeplitz": lambda: [Toeplitz(covariance(10, "matern32")[0]), covariance(1), covariance(13)],
    "one axis": lambda: [covariance(60)],
    "repeated": lambda: [covariance(9, "repeated"), np.eye(11)],
}
every_mask = pytest.mark.parametrize("mask_kind", MASKS)
every_noise = pytest.mark.parametrize("noise_kind", NOISES)


def matrices(factors):
    return [np.asarray(f.toarray() if isinstance(f, kron.Factor) else f) for f in factors]


def problem(factors, noise_kind, mask_kind, **options):
    """Noise, mask, and the matrix of the observed cells."""
    grid = tuple(f.shape[0] for f in factors)
    noise, mask = noise_of(noise_kind, grid, **options), mask_of(mask_kind, grid)
    seen = slice(None) if mask is None else mask.ravel()
    whole = reference.dense(matrices(factors)) + np.diag(noise_grid(noise, grid).ravel())
    return noise, mask, whole[seen][:, seen]


@pytest.fixture
def _no_shortcut(monkeypatch):
    """As for systems that are too large for Cholesky and Schur."""
    monkeypatch.setattr(_system, "_SMALL", 0)
    monkeypatch.setattr(_system, "_FEW", -1)


def check_solution(system, matrix, mask, *, exact, rtol=1e-8, **options):
    grid = system.grid
    y = generator(11).standard_normal((2, *grid))
    seen = np.ones(grid, bool) if mask is None else mask
    y[:, ~seen] = np.nan  # whatever is there
    result = system.solve(y, rtol=rtol, **options)
    x, b = result.x[:, seen], y[:, seen]
    assert result.converged
    assert (result.iterations == 0) == exact
    assert np.all(result.x[:, ~seen] == 0)
    residual = np.linalg.norm(x @ matrix - b, axis=1) / np.linalg.norm(b, axis=1)
    assert residual.max() <= rtol
    # reported as it is, to the rounding of the product
    assert abs(result.residual - residual.max()) <= 1e-3 * residual.max() + 100 * eps(np.float64) * np.linalg.cond(
        matrix
    )
    want = np.linalg.solve(matrix, b.T).T
    least = np.linalg.eigvalsh(matrix)[0]
    assert np.linalg.norm(x - want, axis=1).max() <= rtol * np.linalg.norm(b, axis=1).max() / least
    # and as vectors of what is observed
    vectors = system.solve(b, rtol=rtol, **options)
    assert vectors.x.shape == b.shape
    np.testing.assert_allclose(vectors.x, x, rtol=0, atol=2 * rtol * np.linalg.norm(b) / least)
    one = system.solve(y[0], rtol=rtol, **options).x
    np.testing.assert_allclose(one, result.x[0], rtol=0, atol=2 * rtol * np.linalg.norm(b) / least)
    np.testing.assert_allclose(system.matmul(x), x @ matrix, rtol=1e-10, atol=1e-10 * np.abs(b).max())
    np.testing.assert_allclose(system.matmul(result.x)[:, seen], x @ matrix, rtol=1e-10, atol=1e-10 * np.abs(b).max())


@every_mask
@every_noise
@pytest.mark.parametrize("name", FACTORS)
def test_exact_ways(name, noise_kind, mask_kind):
    factors = FACTORS[name]()
    noise, mask, matrix = problem(factors, noise_kind, mask_kind)
    system = KroneckerSystem(factors, noise, mask)
    assert system.shape == matrix.shape
    check_solution(system, matrix, mask, exact=True, rtol=1e-11)
    value, error = system.logdet()
    assert error == 0
    want = np.linalg.slogdet(matrix)[1]
    assert abs(value - want) <= 1e-10 * max(1, np.abs(np.log(np.linalg.eigvalsh(matrix))).sum())
    assert system.logdet() == (value, error)


@every_mask
@every_noise
@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.usefixtures("_no_shortcut")
def test_conjugate_gradients(name, noise_kind, mask_kind):
    factors = FACTORS[name]()
    noise, mask, matrix = problem(factors, noise_kind, mask_kind)
    system = KroneckerSystem(factors, noise, mask)
    check_solution(system, matrix, mask, exact=False, method="cg")


@every_noise
@pytest.mark.parametrize("way", ["dual", "primal"])
@pytest.mark.usefixtures("_no_shortcut")
def test_both_ways_of_conjugate_gradients(way, noise_kind):
    factors = FACTORS["smooth"]()
    for mask_kind in ("random", "block"):
        noise, mask, matrix = problem(factors, noise_kind, mask_kind)
        system = KroneckerSystem(factors, noise, mask)
        system._iterative.way = way
        check_solution(system, matrix, mask, exact=False)


@pytest.mark.parametrize("noise_kind", ["number", "separable"])
@pytest.mark.parametrize("mask_kind", ["few", "random", "block"])
@pytest.mark.parametrize("name", FACTORS)
def test_schur_complement(name, mask_kind, noise_kind, monkeypatch):
    from telamon.kron import _exact

    monkeypatch.setattr(_system, "_SMALL", 0)
    monkeypatch.setattr(_exact, "_PANEL", 5)
    factors = FACTORS[name]()
    noise, mask, matrix = problem(factors, noise_kind, mask_kind)
    want = np.linalg.slogdet(matrix)[1]
    for elements in (1 << 22, 100):  # of a panel of eigenvectors at the missing cells
        monkeypatch.setattr(_exact, "_ELEMENTS", elements)
        system = KroneckerSystem(factors, noise, mask)
        check_solution(system, matrix, mask, exact=True, method="exact", rtol=1e-11)
        value, error = system.logdet()
        assert error == 0
        assert abs(value - want) <= 1e-10 * max(1, np.abs(np.log(np.linalg.eigvalsh(matrix))).sum())


def test_a_schur_complement_is_taken_where_it_is_cheap(monkeypatch):
    monkeypatch.setattr(_system, "_SMALL", 0)
    factors = [covariance(20), covariance(30)]
    y = generator(1).standard_normal((20, 30))
    for missing, exact in ((50, True), (400, False)):
        mask = np.ones((20, 30), bool)
        mask.flat[:missing] = False
        system = KroneckerSystem(factors, 0.1, mask)
        assert (system.solve(y).iterations == 0) == exact
        system.logdet()  # which makes it, and then solve has it too
        assert system.solve(y).iterations == 0


# ---- one axis in state space


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
@every_mask
@pytest.mark.parametrize("noise_kind", ["number", "grid"])
def test_state_space(nu, mask_kind, noise_kind):
    factors = [Matern(axis(50, "random"), nu, 0.2, 1.7)]
    noise, mask, matrix = problem(factors, noise_kind, mask_kind)
    system = KroneckerSystem(factors, noise, mask)
    check_solution(system, matrix, mask, exact=True, rtol=1e-11)
    value, error = system.logdet()
    assert error == 0
    assert abs(value - np.linalg.slogdet(matrix)[1]) <= 1e-10 * len(matrix)
    assert system._eig is None  # nothing of n^2 was made


def test_a_long_axis_in_state_space():
    n = 200_000
    x = axis(n, "random") * 1000
    mask = generator(3).random(n) > 0.3
    system = KroneckerSystem([Matern(x, 1.5, 2.0, 1.0)], 0.1, mask)
    result = system.solve(generator(4).standard_normal(n))
    assert result.converged
    assert result.iterations == 0
    assert np.isfinite(system.logdet().value)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_long_axis_among_others(place, monkeypatch):
    monkeypatch.setattr(_system, "_LONG", 8)
    long = Matern(axis(9, "random"), 2.5, 0.2, 1.7)
    factors = [covariance(4), covariance(5, "rbf")]  # the latter of no full rank
    factors.insert(place, long)
    _, _, matrix = problem(factors, "number", "none")
    system = KroneckerSystem(factors, 0.1)
    check_solution(system, matrix, None, exact=True, rtol=1e-11)
    value, error = system.logdet()
    assert error == 0
    assert abs(value - np.linalg.slogdet(matrix)[1]) <= 1e-10 * len(matrix)
    assert system._eig is None
    y = generator(3).standard_normal(system.grid)
    assert KroneckerSystem(KroneckerEig(factors), 0.1).log_likelihood(y).value == pytest.approx(
        system.log_likelihood(y).value, rel=1e-11
    )


@every_mask
@every_noise
@pytest.mark.parametrize("name", FACTORS)
def test_exact_ways_need_no_refinement(name, noise_kind, mask_kind):
    # What is accurate at the first attempt: 100 roundings times the condition number.
    factors = FACTORS[name]()
    noise, mask, matrix = problem(factors, noise_kind, mask_kind)
    system = KroneckerSystem(factors, noise, mask)
    ways = [system._exact] + ([system._schur] if system._schur_exists else [])
    y = generator(13).standard_normal(system.grid).ravel()
    seen = slice(None) if mask is None else mask.ravel()
    y[slice(0, 0) if mask is None else ~mask.ravel()] = 0
    want = np.linalg.solve(matrix, y[seen])
    for way in ways:
        x = way.solve(y[None])[0][seen]
        assert np.linalg.norm(x - want) <= 100 * eps(np.float64) * np.linalg.cond(matrix) * np.linalg.norm(want)


# ---- the rows of the design


@pytest.mark.parametrize("kind", ["rbf", "matern32", "matern12"])
@pytest.mark.parametrize("size", [1e-1, 1e-2, 1e-4])
def test_noise_of_spread_10_needs_40_iterations(kind, size):
    grid = (100, 100)
    factors = [covariance(n, kind, 0.2) for n in grid]
    noise = noise_of("grid", grid, size, 10.0)
    eig = KroneckerEig(factors, clip="silent")
    system = KroneckerSystem(eig, noise)
    y = eig.sample(rng=1) + np.sqrt(noise) * generator(2).standard_normal(grid)
    result = system.solve(y, rtol=1e-8)
    assert result.converged
    assert result.residual <= 1e-8
    assert result.iterations <= 40


@pytest.mark.parametrize("kind", ["rbf", "matern12"])
@pytest.mark.filterwarnings("ignore:telamon.kron.cg")
def test_noise_of_spread_1e4_takes_less_than_half_of_plain_iterations(kind):
    grid = (40, 50)
    factors = [covariance(n, kind, 0.2) for n in grid]
    noise = noise_of("grid", grid, spread=1e4)
    system = KroneckerSystem(factors, noise)
    result = system.solve(generator(5).standard_normal(grid), method="cg")
    assert result.converged
    plain = kron.cg(system.matmul, generator(5).standard_normal(2000), rtol=1e-8, maxiter=2 * result.iterations)
    assert not plain.converged


def test_rank_deficient_covariances_at_tiny_noise():
    grid = (30, 40)
    factors = [covariance(n, "rbf", 0.4) for n in grid]
    eig = KroneckerEig(factors)
    mask = mask_of("random", grid)
    y = eig.sample(noise=1e-8, rng=6)
    system = KroneckerSystem(eig, 1e-8, mask)
    for method in ("auto", "cg"):
        result = system.solve(y, method=method, rtol=1e-6)
        assert result.converged
        assert result.residual <= 1e-6
    whole = KroneckerSystem(eig, 1e-8).solve(y, rtol=1e-6)
    assert whole.converged


# ---- ways of saying the same


def test_the_same_noise_in_three_forms():
    factors = FACTORS["smooth"]()
    grid = (12, 17)
    y = generator(7).standard_normal(grid)
    want = KroneckerSystem(factors, 0.3).solve(y).x
    for noise in (np.float64(0.3), (np.full(12, 0.6), np.full(17, 0.5)), np.full(grid, 0.3)):
        system = KroneckerSystem(factors, noise)
        np.testing.assert_allclose(system.solve(y).x, want, rtol=1e-9, atol=1e-9)
    everywhere = np.ones(grid, bool)
    assert np.array_equal(KroneckerSystem(factors, 0.3, everywhere).solve(y).x, want)
    eig = KroneckerEig(factors)
    assert np.array_equal(KroneckerSystem(eig, 0.3).solve(y).x, want)
    assert KroneckerSystem(eig, 0.3).eig is eig
    assert np.array_equal(KroneckerSystem(kron.KroneckerOperator(factors), 0.3).solve(y).x, want)
    # noise at missing cells does not matter
    mask = mask_of("random", grid)
    noise = noise_of("grid", grid)
    spoiled = np.where(mask, noise, np.nan)
    one, other = (KroneckerSystem(factors, s, mask).solve(y).x for s in (noise, spoiled))
    assert np.array_equal(one, other)


@pytest.mark.usefixtures("_no_shortcut")
def test_layouts_and_dtypes():
    factors = FACTORS["smooth"]()
    grid = (12, 17)
    noise, mask, _ = problem(factors, "grid", "random")
    y = generator(8).standard_normal((3, *grid))
    system = KroneckerSystem(factors, noise, mask)
    x = system.solve(y).x
    assert np.array_equal(KroneckerSystem(factors, np.asfortranarray(noise), np.asfortranarray(mask)).solve(y).x, x)
    assert np.array_equal(system.solve(np.asfortranarray(y)).x, x)
    kept = y.copy()
    system.solve(y)
    assert np.array_equal(y, kept)
    narrow = KroneckerSystem([a.astype(np.float32) for a in factors], noise.astype(np.float32), mask)
    result = narrow.solve(y.astype(np.float32), rtol=1e-5)
    assert result.converged
    assert result.x.dtype == np.float32
    np.testing.assert_allclose(result.x, x, atol=1e-3 * np.abs(x).max())  # rtol times the condition number, near 100
    assert narrow.logdet(probes=4).value == pytest.approx(system.logdet(probes=4).value, rel=1e-4)


def test_zero_right_hand_sides():
    factors = FACTORS["smooth"]()
    noise, mask, _ = problem(factors, "grid", "random")
    system = KroneckerSystem(factors, noise, mask)
    for method in ("auto", "cg"):
        result = system.solve(np.zeros((12, 17)), method=method)
        assert (result.iterations, result.converged, result.residual) == (0, True, 0.0)
        y = np.zeros((2, 12, 17))
        y[1] = 1
        result = system.solve(y, method=method)
        assert result.converged
        assert np.all(result.x[0] == 0)
        assert system.solve(np.empty((0, 12, 17)), method=method).x.shape == (0, 12, 17)


def test_the_faster_way_is_found():
    # A large gap and a rough process with little noise: hundreds of iterations in the eigenbasis, few in x.
    grid = (40, 40)
    factors = [covariance(n, "matern12") for n in grid]
    mask = mask_of("block", grid)
    y = generator(9).standard_normal(grid)
    system = KroneckerSystem(factors, 1e-3, mask)
    assert system.solve(y, method="cg").iterations <= 2 * _iterative._TRIAL + 60
    assert system._iterative.way == "primal"
    # Scattered gaps and a smooth one: the other way round.
    mask = mask_of("random", grid)
    system = KroneckerSystem([covariance(n, "rbf") for n in grid], 1e-3, mask)
    assert system.solve(y, method="cg").iterations <= 2 * _iterative._TRIAL
    assert system._iterative.way in (None, "dual")


def test_the_pace_of_late_decides():
    # In the eigenbasis the first steps take away what the largest eigenvalues have amplified, and say nothing of gaps.
    def run(cost, *residuals):
        passed = [np.array([r]) for r in residuals]
        return SimpleNamespace(passed=passed, reached=passed[-1], cost=cost)

    easy = run(2, 1e5, 1e2, 1e1, 9.0, 8.0)
    steady = run(3, 1.0, 0.6, 0.4, 0.25, 0.15)
    target = np.array([1e-8])
    assert _iterative._remaining(steady, target) < _iterative._remaining(easy, target)
    assert _iterative._remaining(run(2, 1.0, 1e-9), target) == 0


def test_what_does_not_converge_says_so():
    factors = [covariance(30), covariance(30)]
    noise = noise_of("grid", (30, 30), spread=100.0)
    system = KroneckerSystem(factors, noise)
    y = generator(10).standard_normal((30, 30))
    with pytest.warns(
        ConvergenceWarning, match=r"KroneckerSystem.solve: residual .* after 3 iterations, wanted 1e-08; .*maxiter"
    ):
        result = system.solve(y, maxiter=3, method="cg")
    assert (result.iterations, result.converged) == (3, False)
    assert result.residual > 1e-8
    with pytest.warns(ConvergenceWarning, match=r"rounding allows no smaller residual"):
        result = KroneckerSystem([covariance(30, "rbf", 0.5)] * 2, 1e-14).solve(y, rtol=1e-12)
    assert not result.converged


# ---- log-determinants and likelihoods


@every_noise
@pytest.mark.parametrize("mask_kind", ["none", "random", "few", "block"])
@pytest.mark.usefixtures("_no_shortcut")
def test_stochastic_log_determinants(mask_kind, noise_kind):
    factors = FACTORS["smooth"]()
    noise, mask, matrix = problem(factors, noise_kind, mask_kind)
    system = KroneckerSystem(factors, noise, mask)
    want = np.linalg.slogdet(matrix)[1]
    if mask is None and noise_kind != "grid":
        assert system.logdet().standard_error == 0
        return
    errors = []
    for seed in range(8):
        value, error = system.logdet(seed=seed)
        assert 0 < error < 0.02 * abs(want)
        errors.append((value - want) / error)
    # Student's t with 15 degrees of freedom, and the mean of eight.
    assert np.abs(errors).max() < 5
    assert abs(np.mean(errors)) < 1.5
    assert system.logdet(probes=64).standard_error < system.logdet(probes=8).standard_error
    assert system.logdet() == system.logdet()


@every_noise
@every_mask
def test_likelihood(mask_kind, noise_kind):
    factors = FACTORS["rough"]()
    noise, mask, matrix = problem(factors, noise_kind, mask_kind)
    system = KroneckerSystem(factors, noise, mask)
    y = generator(12).standard_normal((2, *system.grid))
    b = y[:, np.ones(system.grid, bool) if mask is None else mask]
    constant = np.linalg.slogdet(matrix)[1] + len(matrix) * np.log(2 * np.pi)
    want = -0.5 * (np.sum(b * np.linalg.solve(matrix, b.T).T) + 2 * constant)
    value, error = system.log_likelihood(y)
    assert error == 0
    assert value == pytest.approx(want, rel=1e-9)
    assert system.log_likelihood(b).value == pytest.approx(want, rel=1e-9)


def test_repr():
    text = repr(KroneckerSystem([np.eye(3), np.eye(4)], 0.1, mask_of("all but one", (3, 4))))
    assert text == "<KroneckerSystem 1 of 3*4 = 12 observed, noise a number, float64>"


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping_is_reported_here_too(dtype):
    bad = covariance(4).astype(dtype)
    bad[0, 0] = -1
    with pytest.warns(kron.ClippingWarning):
        KroneckerSystem([bad, covariance(3).astype(dtype)], 3.0).solve(np.ones((4, 3), dtype), rtol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KroneckerSystem([covariance(4).astype(dtype)], 3.0).solve(np.ones(4, dtype), rtol=1e-3)
