"""Kronecker operators, their factors and sums: against dense matrices, identities as properties, SciPy's protocol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kron_support import DTYPES, axis, covariance, eps, generator

from telamon import kron
from telamon.kron import Dense, Diagonal, Identity, KroneckerOperator, Matern, SumOperator, Toeplitz
from telamon.kron import _structured as structured
from telamon.reference import kron as reference

dtypes = pytest.mark.parametrize("dtype", DTYPES)


def factor(kind, n, dtype=np.float64, seed=0):
    rng = generator(n, seed)
    numbers = rng.standard_normal(n + 4).astype(dtype)
    return {
        "dense": lambda: Dense(rng.standard_normal((n, n)).astype(dtype)),
        "fortran": lambda: Dense(np.asfortranarray(rng.standard_normal((n, n)).astype(dtype))),
        "strided": lambda: Dense(rng.standard_normal((2 * n, 3 * n)).astype(dtype)[::2, ::3]),
        "wide": lambda: Dense(rng.standard_normal((n, n + 3)).astype(dtype)),
        "tall": lambda: Dense(rng.standard_normal((n + 3, n)).astype(dtype)),
        "toeplitz": lambda: Toeplitz(numbers[:n]),
        "unsymmetric": lambda: Toeplitz(numbers[:n], np.concatenate([numbers[:1], numbers[::-1][: n - 1]])),
        "wide toeplitz": lambda: Toeplitz(numbers[:n], numbers),
        "tall toeplitz": lambda: Toeplitz(numbers, numbers[:n]),
        "diagonal": lambda: Diagonal(numbers[:n]),
        "identity": lambda: Identity(n),
        "ou": lambda: Matern(axis(n, "random").astype(dtype), 0.5, 0.3, 1.7),
        "matern32": lambda: Matern(axis(n, "random").astype(dtype), 1.5, 0.3, 1.7),
        "matern52": lambda: Matern(axis(n, "uniform").astype(dtype), 2.5, 0.3, 1.7),
    }[kind]()


KINDS = ["dense", "fortran", "strided", "wide", "tall", "toeplitz", "unsymmetric", "wide toeplitz", "tall toeplitz"]
KINDS += ["diagonal", "identity", "ou", "matern32", "matern52"]


def near(got, want, dtype=np.float64, terms=100):
    """To `terms` roundings of the largest entry, as many as a sum along the axes has."""
    scale = max(1e-300, np.abs(want).max())
    assert np.abs(got - want).max() <= terms * eps(dtype) * scale


# ---- factors


@dtypes
@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("kind", KINDS)
def test_a_factor_is_its_matrix(kind, n, dtype, monkeypatch):
    f = factor(kind, n, dtype)
    a = f.toarray()
    assert f.shape == a.shape
    assert a.dtype == f.dtype == (np.float32 if kind == "identity" else dtype)
    assert f.is_symmetric == (a.shape[0] == a.shape[1] and np.array_equal(a, a.T))
    assert np.array_equal(f.T.toarray(), a.T)
    assert np.array_equal(f.diagonal(), a.diagonal())
    rows, columns = np.arange(f.shape[0])[::2], np.arange(f.shape[1])[::-1]
    assert np.array_equal(f.submatrix(rows, columns), a[np.ix_(rows, columns)])
    near(f.scaled(-2.0).toarray(), -2 * a, dtype)
    near(f.scaled(3.0).toarray(), 3 * a, dtype)
    x = generator(1).standard_normal((3, f.shape[1], 2)).astype(dtype)
    want = np.einsum("ij,bjr->bir", a.astype(np.float64), x)
    near(f.matmul_axis(x, 1), want, dtype)
    near(f.matmul_axis(x.swapaxes(1, 2), -1), want.swapaxes(1, 2), dtype)
    monkeypatch.setattr(structured, "_DENSE_TOEPLITZ", 0)  # as for long axes: by FFT, by filter
    monkeypatch.setattr(structured, "_DENSE_MATERN", 0)
    y = f.matmul_axis(x, 1)
    near(y, want, dtype)
    assert y.dtype == dtype
    assert not np.shares_memory(x, y)


@dtypes
@pytest.mark.parametrize("kind", ["toeplitz", "unsymmetric", "wide toeplitz", "matern52", "ou"])
def test_long_axes(kind, dtype):
    f = factor(kind, 1100, dtype)
    x = generator(2).standard_normal((2, f.shape[1], 3)).astype(dtype)
    assert f._kernel(np.dtype(dtype)) is None
    want = np.einsum("ij,bjr->bir", f.toarray().astype(np.float64), x)
    # An FFT's error is log n roundings of the vector's length; the filter's decays with the covariance.
    assert np.linalg.norm(f.matmul_axis(x, 1) - want) <= 100 * eps(dtype) * np.linalg.norm(want)


@dtypes
@pytest.mark.parametrize("kind", ["dense", "toeplitz", "diagonal", "identity", "ou", "matern32", "matern52"])
def test_eigenvectors_of_factors(kind, dtype):
    f = Dense(covariance(9).astype(dtype)) if kind == "dense" else factor(kind, 9, dtype)
    w, q = f.eigh()
    near((q * w) @ q.T, f.toarray(), dtype)
    near(q.T @ q, np.eye(9), dtype)
    if kind != "diagonal":
        assert np.all(np.diff(w) >= 0)


@pytest.mark.parametrize("least", [1, 2, 7, 11, 13, 59, 121, 1023, 1025, 4097])
def test_lengths_of_transforms(least):
    def smooth(n):
        for p in (2, 3, 5):
            while n % p == 0:
                n //= p
        return n == 1

    assert structured._fast_length(least) == next(n for n in range(least, 2 * least + 1) if smooth(n))


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_matern_is_that_of_stats(nu):
    from telamon import stats

    x = axis(20, "random")
    want = 1.7 * stats.matern_kernel(x[:, None], nu=nu, length_scale=0.3)
    near(Matern(x, nu, 0.3, 1.7).toarray(), want)
    # and the state-space model is of the same covariance
    near(reference.dense_statespace(*Matern(x, nu, 0.3, 1.7).statespace), want)


# ---- operators

GRIDS = {
    "dense": ["dense", "fortran", "dense"],
    "rectangular": ["wide", "tall", "dense"],
    "one axis": ["tall"],
    "one number": ["one"],
    "mixed": ["diagonal", "wide toeplitz", "identity", "matern52"],
    "growing": ["tall toeplitz", "diagonal", "tall"],
    "no matrix": ["diagonal", "identity", "diagonal"],
    "only identities": ["identity", "identity"],
    "ones": ["one", "dense", "one"],
}


def operator(name, dtype=np.float64):
    sizes = [4, 2, 3, 5]
    return KroneckerOperator(
        [
            np.full((1, 1), 1.5, dtype) if kind == "one" else factor(kind, n, dtype, i)
            for i, (kind, n) in enumerate(zip(GRIDS[name], sizes, strict=False))
        ]
    )


@pytest.fixture(params=[False, True], ids=["short", "long"])
def _long(request, monkeypatch):
    """The same factors by their own products, as for long axes."""
    if request.param:
        monkeypatch.setattr(structured, "_DENSE_TOEPLITZ", 0)
        monkeypatch.setattr(structured, "_DENSE_MATERN", 0)


@dtypes
@pytest.mark.usefixtures("_long")
@pytest.mark.parametrize("name", GRIDS)
def test_against_the_dense_matrix(name, dtype):
    k = operator(name, dtype)
    a = reference.dense([f.toarray() for f in k.factors])
    assert np.array_equal(k.toarray(), a)
    assert k.shape == a.shape
    rng = generator(4)
    x = rng.standard_normal((k.shape[1], 6)).astype(dtype)
    y = rng.standard_normal((k.shape[0], 3)).astype(dtype)
    for got, want in (
        (k @ x, a @ x),
        (k @ np.asfortranarray(x), a @ x),
        (k.matmat(x[:, ::2]), a @ x[:, ::2]),
        (k @ x[:, 1], a @ x[:, 1]),
        (k.matvec(x[:, :1]), a @ x[:, :1]),
        (k.dot(x), a @ x),
        (k.T @ y, a.T @ y),
        (k.H.matvec(y[:, 0]), a.T @ y[:, 0]),
        (k.rmatvec(y[:, 0]), a.T @ y[:, 0]),
        (k.rmatmat(y), a.T @ y),
        (y.T @ k, y.T @ a),
        (y[:, 0] @ k, y[:, 0] @ a),
    ):
        assert got.shape == want.shape
        assert got.dtype == dtype
        near(got, want, dtype)
    grids = np.ascontiguousarray(x.T).reshape(2, 3, *k.grid_in)
    want = (a @ x).T.reshape(2, 3, *k.grid_out)
    near(k.matmul_grid(grids), want, dtype)
    near(k.matmul_grid(np.asfortranarray(grids)), want, dtype)
    out = np.full(want.shape, np.nan, dtype)
    assert k.matmul_grid(grids, out=out) is out
    near(out, want, dtype)
    if k.grid_in == k.grid_out:
        near(k.diagonal(), a.diagonal(), dtype)
        assert abs(k.trace() - np.trace(a.astype(np.float64))) <= 100 * eps(dtype) * np.abs(a.diagonal()).sum()
        assert k.matmul_grid(grids, out=grids) is grids
        near(grids, want, dtype)


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_no_right_hand_sides(shape):
    k = operator("rectangular")
    assert k.matmul_grid(np.empty((*shape, *k.grid_in))).shape == (*shape, *k.grid_out)
    assert (k @ np.empty((k.shape[1], 0))).shape == (k.shape[0], 0)


def test_dtypes_widen():
    k = KroneckerOperator([np.eye(2, dtype=np.float32), Identity(3)])
    assert k.dtype == np.float32
    assert (k @ np.ones(6, np.float32)).dtype == np.float32
    assert (k @ np.ones(6)).dtype == np.float64
    assert (KroneckerOperator([np.eye(2)]) @ np.ones(2, np.float32)).dtype == np.float64


@pytest.mark.usefixtures("_long")
def test_the_argument_stays_as_it_is():
    for name in GRIDS:
        k = operator(name)
        x = generator(5).standard_normal(k.shape[1])
        kept = x.copy()
        y = k @ x
        y[:] = 0
        assert np.array_equal(x, kept), name


# ---- identities

small = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4)
seeds = st.integers(0, 2**32 - 1)


def random_factors(shapes, seed):
    rng = generator(seed)
    return [rng.standard_normal(shape) for shape in shapes], rng


@given(small, seeds)
def test_adjointness(shapes, seed):
    factors, rng = random_factors(shapes, seed)
    k = KroneckerOperator(factors)
    x, y = rng.standard_normal(k.shape[1]), rng.standard_normal(k.shape[0])
    size = KroneckerOperator([np.abs(a) for a in factors])
    bound = np.abs(y) @ (size @ np.abs(x))
    assert abs((k @ x) @ y - x @ (k.T @ y)) <= 100 * eps(np.float64) * bound


@given(small, seeds)
def test_mixed_product(shapes, seed):
    factors, rng = random_factors(shapes, seed)
    columns = rng.integers(1, 5, len(factors))
    others = [rng.standard_normal((a.shape[1], n)) for a, n in zip(factors, columns, strict=True)]
    a, b = KroneckerOperator(factors), KroneckerOperator(others)
    product = a @ b
    assert isinstance(product, KroneckerOperator)
    x = rng.standard_normal(b.shape[1])
    sizes = [KroneckerOperator([np.abs(f) for f in part]) for part in (factors, others)]
    bound = 100 * eps(np.float64) * (sizes[0] @ (sizes[1] @ np.abs(x)))
    assert np.all(np.abs(product @ x - a @ (b @ x)) <= bound)
    near(product.toarray(), a.toarray() @ b.toarray(), terms=1000)


@given(small, seeds, st.floats(-4, 4), st.floats(-4, 4))
def test_sums_and_multiples(shapes, seed, alpha, beta):
    factors, rng = random_factors(shapes, seed)
    others = [rng.standard_normal(shape) for shape in shapes]
    a, b = KroneckerOperator(factors), KroneckerOperator(others)
    combined = alpha * a - b * beta + a / 2
    assert isinstance(combined, SumOperator)
    x, y = rng.standard_normal((combined.shape[1], 2)), rng.standard_normal(combined.shape[0])
    dense = (alpha + 0.5) * a.toarray() - beta * b.toarray()
    size = 5 * (np.abs(a.toarray()) + np.abs(b.toarray()))
    bound = 100 * eps(np.float64) * size
    assert np.all(np.abs(combined.toarray() - dense) <= bound)
    assert np.all(np.abs(combined @ x - dense @ x) <= bound @ np.abs(x))
    assert np.all(np.abs(combined.T @ y - dense.T @ y) <= bound.T @ np.abs(y))
    assert np.all(np.abs((-a).toarray() + a.toarray()) == 0)


def test_products_of_structured_factors_keep_their_form():
    d, e, a = Diagonal(np.arange(1.0, 4)), Diagonal(np.arange(2.0, 5)), factor("dense", 3)
    product = KroneckerOperator([d, Identity(3), a]) @ KroneckerOperator([e, a, Identity(3)])
    assert [type(f) for f in product.factors] == [Diagonal, Dense, Dense]
    scaled = KroneckerOperator([Identity(2), Toeplitz(np.array([2.0, 1, 0]))]) * 2
    assert [type(f) for f in scaled.factors] == [Identity, Toeplitz]
    assert isinstance((KroneckerOperator([factor("ou", 4)]) * 2).factors[0], Matern)
    ou = factor("ou", 4)
    near((KroneckerOperator([ou, Identity(2)]) * -2).toarray(), -2 * np.kron(ou.toarray(), np.eye(2)))


def test_kronecker_sum():
    rng = generator(6)
    parts = [rng.standard_normal((n, n)) for n in (3, 1, 4)]
    total = kron.kronecker_sum(parts)
    eyes = [np.eye(n) for n in (3, 1, 4)]
    want = sum(reference.dense([*eyes[:i], a, *eyes[i + 1 :]]) for i, a in enumerate(parts))
    near(total.toarray(), want)
    near(total @ np.ones(12), want.sum(axis=1))
    near(total.diagonal(), want.diagonal())
    assert abs(total.trace() - np.trace(want)) < 1e-12
    grids = rng.standard_normal((5, 3, 1, 4))
    near(total.matmul_grid(grids), (grids.reshape(5, 12) @ want.T).reshape(grids.shape))


# ---- SciPy


def test_scipy_takes_the_operator():
    linalg = pytest.importorskip("scipy.sparse.linalg")
    k = operator("rectangular")
    wrapped = linalg.aslinearoperator(k)
    rng = generator(7)
    x, y = rng.standard_normal((k.shape[1], 3)), rng.standard_normal(k.shape[0])
    near(wrapped @ x, k @ x)
    near(wrapped.rmatvec(y), k.T @ y)
    near(wrapped.H @ y, k.T @ y)
    a = KroneckerOperator([covariance(6) + np.eye(6), covariance(5) + np.eye(5)])
    b = rng.standard_normal(30)
    solution, info = linalg.cg(a, b, rtol=1e-12)
    assert info == 0
    near(a @ solution, b, terms=1e5)  # rtol over eps
    largest = linalg.eigsh(linalg.aslinearoperator(a), 1, return_eigenvectors=False)
    near(largest, np.linalg.eigvalsh(a.toarray())[-1:], terms=1e3)


def test_numpy_leaves_the_operator_alone():
    k = operator("dense")
    assert isinstance(np.float64(2) * k, KroneckerOperator)
    assert isinstance(k.dot(2.0), KroneckerOperator)
    assert repr(k) == "<KroneckerOperator 24x24, float64>"
    assert repr(k.factors[0]) == "<Dense 4x4, float64>"
    with pytest.raises(TypeError):
        k * np.ones(3)
    with pytest.raises(TypeError):
        k + 1
