"""KroneckerEig against dense LAPACK, finite differences and sample covariances; clipping, dtypes, layouts, memory."""

from __future__ import annotations

import functools
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kron_support import DTYPES, axis, covariance, eps, generator

from telamon import kron
from telamon.kron import ClippingWarning, Diagonal, Identity, KroneckerEig, KroneckerOperator, Matern, Toeplitz, _basis
from telamon.reference import kron as reference

dtypes = pytest.mark.parametrize("dtype", DTYPES)
NOISE = 0.1


def toeplitz(n, lengthscale=0.3):
    return Toeplitz(covariance(n, "matern32", lengthscale)[0])


CASES = {
    "unequal axes": lambda: [covariance(3), covariance(7, "rbf"), covariance(4, "matern32")],
    "one axis": lambda: [covariance(11)],
    "one axis of one": lambda: [np.array([[2.0]])],
    "axes of one": lambda: [np.array([[2.0]]), covariance(6), np.array([[0.5]])],
    "irregular axes": lambda: [covariance(8, spacing="random"), covariance(5, "rbf", spacing="random")],
    "repeated eigenvalues": lambda: [covariance(5, "repeated"), covariance(4, "repeated"), np.eye(3)],
    "toeplitz": lambda: [toeplitz(6), toeplitz(5, 0.1)],
    "structured": lambda: [Identity(3), Matern(axis(6, "random"), 2.5, 0.2), Diagonal(np.array([2.0, 0.0, 1.0]))],
    "matern on a uniform axis": lambda: [Matern(axis(7), 1.5, 0.4), np.eye(2)],
    "only diagonal": lambda: [Identity(3), Diagonal(np.array([2.0, 0.5]))],
}


def matrices(factors, dtype=np.float64):
    return [np.asarray(f.toarray() if isinstance(f, kron.Factor) else f, dtype) for f in factors]


def cast(factors, dtype):
    """The factors in a dtype."""
    if dtype is np.float64:
        return factors
    made = []
    for f in factors:
        if isinstance(f, Toeplitz):
            made.append(Toeplitz(f.column.astype(dtype)))
        elif isinstance(f, Diagonal):
            made.append(Diagonal(f.d.astype(dtype)))
        elif isinstance(f, Matern):
            made.append(Matern(f.x.astype(dtype), f.nu, f.lengthscale, f.variance))
        else:
            made.append(f if isinstance(f, Identity) else f.astype(dtype))
    return made


def grids(factors, *lead, seed=1, dtype=np.float64):
    shape = [f.shape[0] for f in factors]
    return generator(seed).standard_normal((*lead, *shape)).astype(dtype)


def near(got, want, dtype=np.float64, condition=1.0):
    """100 roundings, as many as sums along the axes have, times the condition number."""
    assert np.abs(got - want).max() <= 100 * condition * eps(dtype) * max(1e-300, np.abs(want).max())


@dtypes
@pytest.mark.parametrize("name", CASES)
def test_against_dense_algebra(name, dtype):
    factors = cast(CASES[name](), dtype)
    k = reference.dense(matrices(factors))
    n = len(k)
    m = k + NOISE * np.eye(n)
    condition = np.linalg.cond(m)
    eig = KroneckerEig(factors)
    y = grids(factors, 2, 3, dtype=dtype)
    rows = y.reshape(6, n).astype(np.float64)
    x = eig.solve(y, NOISE)
    assert x.shape == y.shape
    assert x.dtype == dtype
    near(x.reshape(6, n), np.linalg.solve(m, rows.T).T, dtype, condition)
    sign, logdet = np.linalg.slogdet(m)
    assert sign == 1
    # An eigenvalue is off by 100 roundings of the largest, and so its logarithm relative to the noise.
    tolerance = 100 * eps(dtype) * n * np.linalg.norm(k, 2) / NOISE
    assert abs(eig.logdet(NOISE) - logdet) <= tolerance
    near(eig.apply(lambda lam: lam, y).reshape(6, n), rows @ k, dtype)
    near(eig.apply(np.exp, y).reshape(6, n), rows @ expm(k), dtype)
    near(eig.diagonal().ravel(), k.diagonal(), dtype)
    near(eig.diagonal(np.exp).ravel(), expm(k).diagonal(), dtype)
    variance = k - k @ np.linalg.solve(m, k)
    got = eig.diagonal(lambda lam: lam * NOISE / (lam + NOISE)).ravel()
    assert np.abs(got - variance.diagonal()).max() <= 100 * eps(dtype) * np.abs(k).max()
    value = sum(-0.5 * (r @ np.linalg.solve(m, r) + logdet + n * np.log(2 * np.pi)) for r in rows)
    assert abs(eig.log_likelihood(y, NOISE) - value) <= 6 * tolerance + 100 * condition * eps(dtype) * abs(value)
    assert repr(eig).startswith("<KroneckerEig ")
    assert eig.shape == (n, n)


def expm(k):
    w, q = np.linalg.eigh(k)
    return (q * np.exp(w)) @ q.T


@dtypes
@pytest.mark.parametrize("name", CASES)
def test_the_parts_multiply_to_the_whole(name, dtype):
    factors = cast(CASES[name](), dtype)
    eig = KroneckerEig(factors)
    for w, q, a in zip(eig.eigenvalues, eig.vectors, matrices(factors), strict=True):
        near((q * w) @ q.T, a, dtype)
        near(q.T @ q, np.eye(len(q)), dtype)


def test_layouts_and_dtypes():
    factors = CASES["unequal axes"]()
    eig = KroneckerEig(factors)
    y = grids(factors, 3)
    x = eig.solve(y, NOISE)
    assert np.array_equal(eig.solve(np.asfortranarray(y), NOISE), x)
    assert np.array_equal(eig.solve(np.repeat(y, 2, axis=-1)[..., ::2], NOISE), x)
    assert np.array_equal(eig.solve(y[1], NOISE), x[1])
    assert KroneckerEig([np.asfortranarray(a) for a in factors]).solve(y, NOISE).tobytes() == x.tobytes()
    narrow = KroneckerEig(cast(factors, np.float32))
    assert narrow.dtype == np.float32
    assert narrow.solve(y.astype(np.float32), NOISE).dtype == np.float32
    assert narrow.solve(y, NOISE).dtype == np.float64
    assert KroneckerEig([factors[0], factors[1].astype(np.float32)]).dtype == np.float64
    assert KroneckerEig(KroneckerOperator(factors)).solve(y, NOISE).tobytes() == x.tobytes()
    assert eig.solve(np.empty((0, 3, 7, 4)), NOISE).shape == (0, 3, 7, 4)


def test_in_place():
    factors = CASES["unequal axes"]()
    eig = KroneckerEig(factors)
    y = grids(factors, 3)
    x = eig.solve(y, NOISE)
    out = np.full_like(y, np.nan)
    assert eig.solve(y, NOISE, out=out) is out
    assert np.array_equal(out, x)
    again = y.copy()
    assert eig.solve(again, NOISE, out=again) is again
    assert np.array_equal(again, x)
    root = eig.apply(np.sqrt, y)
    assert eig.apply(np.sqrt, y, out=y) is y
    assert np.array_equal(y, root)
    buffer = np.concatenate([again, again[:1]])  # overlapping, shifted by one grid
    want = eig.solve(buffer[:3], NOISE)
    eig.solve(buffer[:3], NOISE, out=buffer[1:])
    assert np.array_equal(buffer[1:], want)


def test_blocks_of_eigenvalues(monkeypatch):
    factors = CASES["unequal axes"]()
    eig = KroneckerEig(factors)
    y = grids(factors, 2)
    free = eig.with_diag(generator(2).uniform(0.5, 2, eig.grid))
    want = [eig.apply(np.exp, y), eig.diagonal(np.sqrt), free.solve(y), free.logdet(), free.log_likelihood(y, 0.2)]
    for size in (1, 5, 30):
        monkeypatch.setattr(_basis, "BLOCK", size)
        got = [eig.apply(np.exp, y), eig.diagonal(np.sqrt), free.solve(y), free.logdet(), free.log_likelihood(y, 0.2)]
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13)  # sums in another order


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 2**32 - 1), st.floats(1e-3, 10))
def test_solutions_solve(sizes, seed, noise):
    rng = generator(seed)
    factors = [(a @ a.T) / n for n, a in ((n, rng.standard_normal((n, n))) for n in sizes)]
    eig = KroneckerEig(factors)
    y = rng.standard_normal(sizes)
    x = eig.solve(y, noise)
    back = KroneckerOperator(factors).matmul_grid(x) + noise * x
    size = float(np.prod([np.linalg.norm(a, 2) for a in factors])) + noise
    assert np.linalg.norm(back - y) <= 200 * eps(np.float64) * size * np.linalg.norm(x)
    # f(K) g(K) = (f g)(K)
    both = eig.apply(lambda lam: np.sqrt(lam) * np.exp(-lam), y)
    np.testing.assert_allclose(
        eig.apply(np.sqrt, eig.apply(lambda lam: np.exp(-lam), y)), both, atol=1e-13 * np.linalg.norm(y) * np.sqrt(size)
    )


# ---- eigenvalues near and below zero


def test_rank_deficient_at_tiny_noise():
    # 40 points within two length scales: a numerical rank of ten or so an axis.
    factors = [covariance(40, "rbf", 0.5), covariance(30, "rbf", 0.5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eig = KroneckerEig(factors)
    assert eig.clipped  # rounding has made some negative, and said so without a warning
    for report in eig.clipped:
        assert -report.tolerance <= report.smallest < 0
        assert report.negative >= 1
    noise = 1e-8
    y = eig.sample(noise=noise, rng=3)
    x = eig.solve(y, noise)
    back = KroneckerOperator(factors).matmul_grid(x) + noise * x
    # backward stable: the residual is of the rounding of K x
    assert np.linalg.norm(back - y) <= 100 * eps(np.float64) * 1200 * np.linalg.norm(x)
    # The 1000 and more eigenvalues of rounding's size count as noise alone: log det to 1e-16 * 1200 / 1e-8 each.
    lam = functools.reduce(np.multiply.outer, [np.maximum(np.linalg.eigvalsh(a), 0) for a in factors])
    assert abs(eig.logdet(noise) - np.log(lam + noise).sum()) <= 1200 * 1e-5


def test_clipping_is_reported():
    bad = covariance(5)
    bad[0, 0] = -1.0
    factors = [covariance(3), bad]
    with pytest.warns(
        ClippingWarning, match=r"KroneckerEig: factors\[1\] .* 1 of 5 eigenvalues are negative, down to -1"
    ):
        eig = KroneckerEig(factors)
    w, q = np.linalg.eigh(bad)
    assert eig.clipped == [kron.Clipped(1, 1, pytest.approx(w[0]), pytest.approx(5 * eps(np.float64) * w[-1]))]
    near(
        eig.apply(lambda lam: lam, np.eye(15).reshape(15, 3, 5)).reshape(15, 15),
        np.kron(covariance(3), (q * np.maximum(w, 0)) @ q.T),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = KroneckerEig(factors, clip="silent")
        kept = KroneckerEig(factors, clip="none")
    assert silent.clipped == eig.clipped
    assert kept.clipped == []
    y = grids(factors)
    near(kept.apply(lambda lam: lam, y).ravel(), np.kron(covariance(3), bad) @ y.ravel())
    near(kept.solve(y, 10.0).ravel(), np.linalg.solve(np.kron(covariance(3), bad) + 10 * np.eye(15), y.ravel()))
    with pytest.raises(
        ValueError, match=r"smallest eigenvalue -[\d.]+: the matrix is not positive definite; pass more noise"
    ):
        kept.logdet(0.01)
    with pytest.raises(ValueError, match=r"factors\[1\] is not positive semi-definite.*clip=\"silent\""):
        KroneckerEig(factors, clip="raise")


def test_one_matrix_on_several_axes_is_decomposed_once(monkeypatch):
    calls = []
    monkeypatch.setattr(kron.Dense, "_eigh", lambda self: calls.append(self) or (np.ones(4), np.eye(4)))
    a = np.eye(4)
    eig = KroneckerEig([a, a, a.copy()])
    assert len(calls) == 2
    assert eig.eigenvalues[0] is eig.eigenvalues[1]


# ---- free eigenvalues


@dtypes
def test_with_diag(dtype):
    factors = cast(CASES["unequal axes"](), dtype)
    eig = KroneckerEig(factors)
    d = generator(4).uniform(0.5, 2, eig.grid).astype(dtype)
    free = eig.with_diag(d)
    q = reference.dense([v.astype(np.float64) for v in eig.vectors])
    k = (q * d.ravel()) @ q.T
    y = grids(factors, 2, dtype=dtype)
    rows = y.reshape(2, -1).astype(np.float64)
    near(free.solve(y).reshape(2, -1), np.linalg.solve(k, rows.T).T, dtype)
    near(free.solve(y, 0.3).reshape(2, -1), np.linalg.solve(k + 0.3 * np.eye(len(k)), rows.T).T, dtype)
    near(free.apply(np.sqrt, y).reshape(2, -1), rows @ (q * np.sqrt(d.ravel())) @ q.T, dtype)
    near(free.diagonal().ravel(), k.diagonal(), dtype)
    assert abs(free.logdet(0.3) - np.log(d.astype(np.float64) + 0.3).sum()) <= d.size * eps(dtype)
    assert free.sample(3, rng=1).shape == (3, *eig.grid)
    assert free.grid == eig.grid
    with pytest.raises(ValueError, match=r"smallest eigenvalue -1"):
        eig.with_diag(-np.ones(eig.grid)).solve(y)


# ---- gradients


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_gradient_against_finite_differences(name, batch):
    factors = CASES[name]()
    plain = matrices(factors)
    y = grids(factors, *batch)
    value, gradients, slope = KroneckerEig(factors).log_likelihood_gradient(y, NOISE)

    def likelihood(parts, noise=NOISE):
        k = reference.dense(parts)
        m = k + noise * np.eye(len(k))
        rows = y.reshape(-1, len(k))
        quadratic = np.sum(rows * np.linalg.solve(m, rows.T).T)
        return -0.5 * (quadratic + len(rows) * (np.linalg.slogdet(m)[1] + len(k) * np.log(2 * np.pi)))

    assert abs(value - likelihood(plain)) <= 1e-10 * max(1, abs(value))
    assert abs(value - KroneckerEig(factors).log_likelihood(y, NOISE)) <= 1e-12 * max(1, abs(value))

    def derivative(f):
        """Of f at 0, to h^4 |f^(5)| and eps |f|/h with h = 1e-3: about 1e-9 of the scale."""
        h = 1e-3
        return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)

    assert abs(slope - derivative(lambda t: likelihood(plain, NOISE + t * NOISE)) / NOISE) <= 1e-7 * max(1, abs(slope))
    rng = generator(5)
    for i, g in enumerate(gradients):
        change = rng.standard_normal(g.shape)
        others = np.prod([np.linalg.norm(a, 2) for j, a in enumerate(plain) if j != i])
        change = (change + change.T) * NOISE / (2 * others * len(g))  # so small that K + noise stays definite

        def along(t, i=i, change=change):
            return likelihood([a + t * change if j == i else a for j, a in enumerate(plain)])

        want = derivative(along)
        assert abs(np.sum(g * change) - want) <= 1e-7 * max(1, abs(want), np.linalg.norm(g) * np.linalg.norm(change))
        near(g, g.T)


@dtypes
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 40, 41])
def test_gradient_in_toeplitz_columns(n, dtype, monkeypatch):
    from telamon.kron import _eig

    for smallest in (0, 1000):  # by halves, and whole
        monkeypatch.setattr(_eig, "_HALVES_FROM", smallest)
        factors = [toeplitz(3), toeplitz(n), covariance(2)]
        factors = cast(factors, dtype)
        eig = KroneckerEig(factors)
        y = grids(factors, 2, dtype=dtype)
        _, full, _ = eig.log_likelihood_gradient(y, NOISE)
        value, columns, slope = eig.log_likelihood_gradient(y, NOISE, columns=True)
        assert (value, slope) == (eig.log_likelihood_gradient(y, NOISE)[0], eig.log_likelihood_gradient(y, NOISE)[2])
        assert [g.shape for g in columns] == [(3,), (n,), (2, 2)]
        for g, column in zip(full[:2], columns[:2], strict=True):
            want = [(1 if k == 0 else 2) * np.trace(g.astype(np.float64), k) for k in range(len(g))]
            near(column, np.array(want), dtype, condition=len(g))


@dtypes
def test_gradient_in_float32_is_that_in_float64(dtype):
    factors = CASES["unequal axes"]()
    y = grids(factors)
    want = KroneckerEig(factors).log_likelihood_gradient(y, NOISE)
    got = KroneckerEig(cast(factors, dtype)).log_likelihood_gradient(y.astype(dtype), NOISE)
    condition = np.linalg.cond(reference.dense(factors) + NOISE * np.eye(84))
    assert abs(got[0] - want[0]) <= 100 * eps(dtype) * condition * abs(want[0])
    for one, other in zip(got[1], want[1], strict=True):
        assert one.dtype == dtype
        near(one, other, dtype, condition)


# ---- samples


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_samples_have_the_covariance(noise):
    factors = [covariance(3), toeplitz(4)]
    k = reference.dense(matrices(factors)) + noise * np.eye(12)
    eig = KroneckerEig(factors)
    draws = 20000
    z = eig.sample(draws, noise, rng=generator(6)).reshape(draws, 12)
    # Entries of a sample covariance have variance (k_ij^2 + k_ii k_jj)/draws; 5 standard errors of 78 of them.
    error = np.sqrt((k**2 + np.outer(k.diagonal(), k.diagonal())) / draws)
    assert np.all(np.abs(z.T @ z / draws - k) <= 5 * error)
    assert np.all(np.abs(z.mean(axis=0)) <= 5 * np.sqrt(k.diagonal() / draws))


def test_shapes_and_seeds_of_samples():
    eig = KroneckerEig([covariance(3), covariance(4)])
    assert eig.sample().shape == (3, 4)
    assert eig.sample((2, 5)).shape == (2, 5, 3, 4)
    assert eig.sample(0).shape == (0, 3, 4)
    assert np.array_equal(eig.sample(2, rng=1), eig.sample(2, rng=1))
    assert KroneckerEig([np.eye(3, dtype=np.float32)]).sample().dtype == np.float32


# ---- memory


def peak_of(function):
    tracemalloc.start()
    try:
        kept = function()
        return tracemalloc.get_traced_memory()[1], kept
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("grid", [(300, 300), (45, 45, 45), (17, 17, 17, 17)])
def test_memory_of_a_likelihood_with_gradient(grid):
    # What Python allocates; the kernels' own scratch is a megabyte or, for axes through BLAS, one matrix.
    size = np.prod(grid) * 8

    def run():
        factors = [covariance(n, "rbf", 0.2) for n in grid]
        y = generator(7).standard_normal(grid)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return KroneckerEig(factors).log_likelihood_gradient(y, NOISE)

    peak, _ = peak_of(run)
    assert peak <= 8 * size + 2e5


def test_memory_of_solutions():
    eig = KroneckerEig([covariance(n) for n in (50, 50, 50)])
    y = generator(8).standard_normal((50, 50, 50))
    allowance = 16 * _basis.BLOCK * 8  # blocks of eigenvalues and their temporaries
    assert peak_of(lambda: eig.solve(y, NOISE, out=y))[0] <= 2e4
    assert peak_of(lambda: eig.solve(y, NOISE))[0] <= y.nbytes + 2e4
    assert peak_of(lambda: eig.apply(np.sqrt, y, out=y))[0] <= allowance
    assert peak_of(lambda: eig.logdet(NOISE))[0] <= 2e4
    assert peak_of(lambda: eig.log_likelihood(y, NOISE))[0] <= y.nbytes + 2e4
    assert peak_of(lambda: eig.diagonal())[0] <= y.nbytes + allowance
