"""Conjugate gradients and stochastic log-determinants of any operator, and products of dask arrays."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kron_support import DTYPES, covariance, eps, generator

from telamon import kron
from telamon.kron import ConvergenceWarning, KroneckerOperator, cg, slq_logdet

dtypes = pytest.mark.parametrize("dtype", DTYPES)


def definite(n, seed=0, condition=100.0, dtype=np.float64):
    rng = generator(seed, n)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    a = (q * np.geomspace(1 / condition, 1, n)) @ q.T
    return ((a + a.T) / 2).astype(dtype)


# ---- conjugate gradients


@dtypes
@pytest.mark.parametrize("columns", [None, 1, 4])
def test_solves(columns, dtype):
    a = definite(40, dtype=dtype)
    b = generator(1).standard_normal(40 if columns is None else (40, columns)).astype(dtype)
    rtol = 1e-10 if dtype is np.float64 else 1e-5
    result = cg(a, b, rtol=rtol)
    assert result.x.shape == b.shape
    assert result.x.dtype == dtype
    assert result.converged
    assert np.max(np.linalg.norm(b - a @ result.x, axis=0) / np.linalg.norm(b, axis=0)) <= 1.1 * rtol
    assert 0 < result.iterations <= 80


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_n_steps_are_enough(n, seed):
    # In exact arithmetic; with a condition number of 4 rounding does not matter.
    a = definite(n, seed, 4.0)
    b = generator(seed, 2).standard_normal(n)
    result = cg(a, b, rtol=1e-12)
    assert result.converged
    assert result.iterations <= n + 2
    np.testing.assert_allclose(result.x, np.linalg.solve(a, b), rtol=1e-9, atol=1e-11 * np.abs(b).max())


def test_columns_are_solved_as_if_alone():
    a = definite(30)
    b = generator(2).standard_normal((30, 3)) * [1.0, 1e-6, 1e6]
    together = cg(a, b, rtol=1e-9).x
    for i in range(3):
        alone = cg(a, b[:, i], rtol=1e-9).x
        assert np.linalg.norm(together[:, i] - alone) <= 1e-6 * np.linalg.norm(alone)


def test_operators_of_every_kind():
    linalg = pytest.importorskip("scipy.sparse.linalg")
    factors = [covariance(6) + np.eye(6), covariance(5)]
    k = KroneckerOperator(factors)
    b = generator(3).standard_normal((30, 2))
    want = np.linalg.solve(k.toarray(), b)
    inverse = kron.KroneckerEig(factors)

    def solve(columns):
        return inverse.solve(columns.T.reshape(-1, 6, 5)).reshape(-1, 30).T

    operators = [k, k.toarray(), linalg.aslinearoperator(k), lambda x: k @ x]
    for operator in operators:
        for preconditioner in (None, solve, np.diag(1 / k.diagonal())):
            result = cg(operator, b, preconditioner=preconditioner, rtol=1e-10)
            assert result.converged
            np.testing.assert_allclose(result.x, want, rtol=1e-7, atol=1e-8)
            assert np.array_equal(result.x, cg(operator, b, preconditioner=preconditioner, rtol=1e-10).x)
    assert cg(k, b, preconditioner=solve).iterations <= 2
    assert cg(k, b[:, 0], preconditioner=lambda x: x).x.shape == (30,)


def test_a_good_start_saves_iterations():
    a = definite(60)
    b = generator(4).standard_normal(60)
    x = np.linalg.solve(a, b)
    assert cg(a, b, x0=x).iterations == 0
    assert cg(a, b, x0=x * (1 + 1e-6)).iterations < cg(a, b).iterations


def test_the_true_residual_decides():
    # With a condition number of 1e10 the recurrence drifts below what x attains.
    a = definite(200, condition=1e10)
    b = a @ generator(5).standard_normal(200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = cg(a, b, rtol=1e-14, maxiter=5000)
    true = np.linalg.norm(b - a @ result.x) / np.linalg.norm(b)
    assert result.residual == pytest.approx(true, rel=0.5)  # another order of sums
    assert result.converged == (result.residual <= 1e-14)


def test_zero_right_hand_sides():
    result = cg(np.eye(3), np.zeros(3))
    assert (result.iterations, result.converged, result.residual) == (0, True, 0.0)
    result = cg(np.diag([1.0, 2.0, 3.0]), np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]))
    assert result.converged
    assert np.all(result.x[:, 0] == 0)


def test_what_does_not_converge_says_so():
    a = definite(50)
    b = np.ones(50)
    with pytest.warns(
        ConvergenceWarning, match=r"telamon.kron.cg: residual .* after 5 iterations, wanted 1e-08; pass more"
    ):
        result = cg(a, b, maxiter=5)
    assert (result.iterations, result.converged) == (5, False)
    with pytest.warns(ConvergenceWarning, match=r"not positive definite"):
        result = cg(-a, b)
    assert not result.converged
    with pytest.warns(ConvergenceWarning, match=r"after 0 iterations"):
        cg(a, b, maxiter=0)


# ---- log-determinants


@dtypes
def test_log_determinants_within_their_error(dtype):
    n = 300
    k = KroneckerOperator([(covariance(20) + 0.2 * np.eye(20)).astype(dtype), covariance(15).astype(dtype)])
    want = np.linalg.slogdet(k.toarray().astype(np.float64))[1]
    scores = []
    for seed in range(10):
        value, error = slq_logdet(k, n, seed=seed, dtype=dtype)
        assert 0 < error < 0.1 * abs(want)
        scores.append((value - want) / error)
    # Student's t with 15 degrees of freedom: one of ten beyond 5 has probability 2e-3; and the mean of ten.
    assert np.abs(scores).max() < 5
    assert abs(np.mean(scores)) < 1.5
    many = slq_logdet(k, n, probes=256, dtype=dtype)
    assert many.standard_error < 0.5 * slq_logdet(k, n, dtype=dtype).standard_error
    assert abs(many.value - want) < 4 * many.standard_error


def test_operators_of_every_kind_have_one_log_determinant():
    k = KroneckerOperator([covariance(8), covariance(5)])
    want = slq_logdet(k, 40, probes=4)
    for operator in (k.toarray(), lambda x: k @ x):
        assert slq_logdet(operator, 40, probes=4) == pytest.approx(want, rel=1e-9)
    assert slq_logdet(k, 40, probes=4, seed=generator(1)) != want
    assert slq_logdet(k, 40, probes=4) == want


def test_exact_cases():
    assert slq_logdet(np.array([[2.0]]), 1) == pytest.approx((np.log(2), 0))
    value, error = slq_logdet(3 * np.eye(50), 50)
    assert (value, error) == (pytest.approx(50 * np.log(3)), pytest.approx(0, abs=1e-10))
    # Few different eigenvalues: as many steps, then the Krylov space is exhausted.
    a = definite(40)
    w, q = np.linalg.eigh(a)
    a = (q * np.where(w > 0.1, 2.0, 1.0)) @ q.T
    value, error = slq_logdet(a, 40, probes=400)
    assert abs(value - np.linalg.slogdet(a)[1]) <= 5 * error


def test_too_few_steps_say_so():
    a = definite(400, condition=1e8)
    with pytest.warns(ConvergenceWarning, match=r"the quadrature still changes by .* after 6 steps; pass more steps"):
        value, error = slq_logdet(a, 400, steps=6)
    assert abs(value - np.linalg.slogdet(a)[1]) < 20 * error  # the error owns to it


# ---- dask


def test_dask_products():
    da = pytest.importorskip("dask.array")
    rng = generator(7)
    x = rng.standard_normal((3, 12, 10, 8))
    factors = [rng.standard_normal((5, 12)), kron.Identity(10), kron.Toeplitz(rng.standard_normal(8))]
    want = KroneckerOperator(factors).matmul_grid(x)
    for chunks in (-1, (1, 4, 5, 2), (3, 12, 1, 8), (2, 5, 3, 8)):
        array = da.from_array(x, chunks=chunks)
        for size in (1 << 27, 2000):
            lazy = kron.dask_matmul(factors, array, chunk_bytes=size)
            assert lazy.shape == want.shape
            assert lazy.dtype == want.dtype
            got = lazy.compute()
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
            sizes = [np.prod(block) for block in np.broadcast(*np.ix_(*lazy.chunks))]
            assert max(sizes) * 8 <= max(size, 12 * 10 * 8 * 8)
    narrow = kron.dask_matmul([f.astype(np.float32) for f in factors[:1]], da.ones((2, 12), dtype=np.float32))
    assert narrow.dtype == np.float32
    assert narrow.compute().dtype == np.float32


def test_dask_tasks_are_one_rechunk_and_one_map_an_axis():
    da = pytest.importorskip("dask.array")
    array = da.ones((40, 40, 40), chunks=(40, 20, 20))
    lazy = kron.dask_matmul([np.eye(40)] * 3, array, chunk_bytes=200_000)
    layers = list(lazy.dask.layers)
    assert sum("product" in layer for layer in layers) == 3
    assert sum("rechunk" in layer for layer in layers) <= 3 * 2  # of two tasks each: split and merge


def test_dask_on_a_cluster():
    da = pytest.importorskip("dask.array")
    distributed = pytest.importorskip("distributed")
    rng = generator(8)
    x = rng.standard_normal((20, 30, 10))
    factors = [rng.standard_normal((20, 20)), rng.standard_normal((25, 30)), kron.Matern(np.arange(10.0), 1.5)]
    want = KroneckerOperator(factors).matmul_grid(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a cluster says of ports and its own closing
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            ) as cluster,
            distributed.Client(cluster),
        ):
            got = kron.dask_matmul(factors, da.from_array(x, chunks=(7, 11, 10)), chunk_bytes=20_000).compute()
    assert np.abs(got - want).max() <= 100 * eps(np.float64) * np.abs(want).max()
