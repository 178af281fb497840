"""The compiled kernels of telamon.kron against their readable twins in double precision.

A sum of n products that is rounded in any order has an error below n eps times the sum of absolute values; products
along several axes add up their n. That is the bound throughout, taken from the twin with absolute values, where not
said otherwise.
"""

from __future__ import annotations

import numpy as np
import pytest
from kron_support import DTYPES, covariance, eps, generator

from telamon import _core
from telamon.reference import kron as reference

dtypes = pytest.mark.parametrize("dtype", DTYPES)

# batch, grid, columns, rows of each factor (None: the identity)
SHAPES = {
    "one number": (1, (1,), 1, (1,)),
    "vector": (1, (7,), 1, (7,)),
    "unequal": (1, (3, 17, 5), 1, (3, 17, 5)),
    "ones": (2, (1, 6, 1), 3, (1, 6, 1)),
    "tiny": (1, (2, 3, 2, 2, 3), 1, (2, 3, 2, 2, 3)),
    "growing": (2, (4, 3, 2), 1, (9, 5, 7)),
    "shrinking": (1, (9, 5, 7), 2, (4, 1, 2)),
    "both": (1, (40, 6, 8), 1, (3, 20, 8)),
    "identities": (3, (5, 4, 6, 2), 2, (None, 4, None, 2)),
    "only identities": (2, (5, 4), 1, (None, None)),
    "columns": (1, (19, 23), 37, (19, 23)),
    "batches": (29, (9, 11), 1, (9, 11)),
    "through BLAS": (1, (3, 211, 2), 1, (3, 211, 2)),
    "BLAS, last axis": (2, (3, 211), 1, (3, 205)),
    "BLAS, rectangular": (1, (211, 4), 3, (230, 4)),
}


def bounded(got, want, bound):
    __tracebackhide__ = True
    error = np.abs(got - want)
    assert np.all(error <= bound + np.finfo(got.dtype).tiny), f"{(error / bound).max():.3g} times the bound"


def case(name, dtype):
    batch, grid, columns, rows = SHAPES[name]
    rng = generator(len(name))
    x = rng.standard_normal((batch, *grid, columns)).astype(dtype)
    factors = [
        None if m is None else rng.standard_normal((m, n)).astype(dtype) for m, n in zip(rows, grid, strict=True)
    ]
    out = np.full((batch, *(n if m is None else m for m, n in zip(rows, grid, strict=True)), columns), np.nan, dtype)
    return factors, x, out


def double(factors):
    return [None if a is None else a.astype(np.float64) for a in factors]


@dtypes
@pytest.mark.parametrize("name", SHAPES)
def test_matmul(name, dtype, isa):
    factors, x, out = case(name, dtype)
    want, scale = np.empty(out.shape), np.empty(out.shape)
    reference.matmul(double(factors), x.astype(np.float64), want)
    reference.matmul([None if a is None else np.abs(a) for a in double(factors)], np.abs(x).astype(np.float64), scale)
    bound = eps(dtype) * sum(a.shape[1] for a in factors if a is not None) * scale
    _core.kron_matmul(factors, x, out)
    bounded(out, want, bound)
    transposed = [None if a is None else np.asfortranarray(a) for a in factors]
    again = np.full_like(out, np.nan)
    _core.kron_matmul(transposed, x, again)
    bounded(again, want, bound)


@pytest.mark.parametrize("name", ["unequal", "tiny", "columns", "batches", "through BLAS", "identities"])
def test_matmul_in_place(name):
    factors, x, out = case(name, np.float64)
    _core.kron_matmul(factors, x, out)
    _core.kron_matmul(factors, x, x)
    # The order of sums may differ, no more.
    np.testing.assert_allclose(x, out, rtol=0, atol=1e-12 * np.abs(out).max())


def test_the_same_bits_on_any_number_of_threads():
    import telamon

    before = telamon.get_num_threads()
    rng = generator(3)
    x = rng.standard_normal((1, 40, 50, 60, 1))
    factors = [rng.standard_normal((n, n)) for n in (40, 50, 60)]
    values = [rng.uniform(0, 1, n) for n in (40, 50, 60)]
    results = []
    try:
        for threads in (1, 2, 3):
            telamon.set_num_threads(threads)
            out, quotient, gram = np.empty_like(x), np.empty_like(x), np.empty((50, 50))
            weights = [np.empty(n) for n in (40, 50, 60)]
            _core.kron_matmul(factors, x, out)
            sums = _core.kron_spectral(values, 0.1, x, quotient, weights)
            _core.kron_gram(x, None, values, 1, gram)
            results.append([out.tobytes(), quotient.tobytes(), sums, *(w.tobytes() for w in weights), gram.tobytes()])
    finally:
        telamon.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@dtypes
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("grid", [(1, 6, 5, 4, 1), (3, 1, 7, 2, 2), (2, 130, 3, 9, 1), (2, 5, 1)])
def test_gram(grid, other, scaled, dtype, isa):
    rng = generator(*grid)
    shape = grid[1:-1]
    x = rng.standard_normal(grid).astype(dtype)
    scales = [rng.uniform(0, 2, n).astype(dtype) for n in shape] if scaled else None
    for axis, n in enumerate(shape):
        y = None
        if other:
            y = rng.standard_normal([*grid[: axis + 1], n + 3, *grid[axis + 2 :]]).astype(dtype)
        out = np.full((n, n + 3 * other), np.nan, dtype)
        _core.kron_gram(x, y, scales, axis, out)
        want, bound = np.empty(out.shape), np.empty(out.shape)
        y64 = None if y is None else y.astype(np.float64)
        reference.gram(x.astype(np.float64), y64, scales, axis, want)
        reference.gram(np.abs(x).astype(np.float64), None if y is None else np.abs(y64), scales, axis, bound)
        # and a rounding for each scale that is multiplied in
        bounded(out, want, eps(dtype) * (x.size // n + 2 * len(shape)) * bound)


@dtypes
@pytest.mark.parametrize(
    "shape",
    [
        (1, (4, 7, 3), 1),
        (0, (4, 7), 1),
        (1, (4, 7), 0),
        (2, (1, 5), 3),
        (1, (300,), 1),
        (1, (2, 2, 2, 2, 2, 2), 1),
        (1, (6, 5, 31, 40), 1),
        (2, (3, 600), 2),
        (1, (70, 90), 1),
    ],
)
def test_spectral(shape, dtype, isa):
    batch, grid, columns = shape
    rng = generator(*grid)
    values = [rng.uniform(0, 2, n).astype(dtype) for n in grid]
    b = rng.standard_normal((batch, *grid, columns)).astype(dtype)
    out, want_out = np.full_like(b, np.nan), np.empty(b.shape)
    weights, want_weights = ([np.full(n, np.nan) for n in grid] for _ in range(2))
    noise = 0.3
    got = _core.kron_spectral(values, noise, b, out, weights)
    want = reference.spectral(values, noise, b.astype(np.float64), want_out, want_weights)
    # A product of d eigenvalues, a sum and a quotient are d + 2 roundings, of which the sum may double the error.
    relative = (len(grid) + 2) * eps(dtype)
    bounded(out, want_out, 2 * relative * np.abs(want_out))
    for one, other in zip(weights, want_weights, strict=True):
        bounded(one, other, 2 * relative * other + 1e-14 * other.sum())
    size = np.prod(grid)
    assert abs(got[0] - want[0]) <= 2 * relative * want[0]
    assert abs(got[1] - want[1]) <= 2 * relative * size + 1e-14 * abs(want[1])
    assert abs(got[2] - want[2]) <= 2 * relative * want[2]
    assert _core.kron_spectral(values, noise, None, None, None)[1:] == got[1:]
    _core.kron_spectral(values, noise, b, b, None)
    assert np.array_equal(b, out)


def check_eigen(a, w, q, dtype):
    """LAPACK's bounds: |A - Q w Q'| and |I - Q'Q| below a small multiple of n eps |A|; ascending."""
    n = len(a)
    size = np.linalg.norm(a, 2)
    q64 = q.astype(np.float64)
    assert np.linalg.norm((q64 * w) @ q64.T - a, 2) <= 4 * n * eps(dtype) * size
    assert np.linalg.norm(q64.T @ q64 - np.eye(n), 2) <= 4 * n * eps(dtype)
    assert np.all(np.diff(w) >= 0)


@dtypes
@pytest.mark.parametrize("n", [1, 2, 3, 10, 57])
@pytest.mark.parametrize("kind", ["matern12", "rbf", "repeated"])
def test_eigh(n, kind, dtype):
    a = covariance(n, kind).astype(dtype)
    w, q = np.empty(n, dtype), np.empty((n, n), dtype)
    _core.kron_eigh(a, w, q)
    check_eigen(a.astype(np.float64), w, q, dtype)
    column = np.ascontiguousarray(a[0])
    toeplitz = column[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))].astype(np.float64)
    _core.kron_eigh_toeplitz(column, w, q)
    check_eigen(toeplitz, w, q, dtype)
    mine, vectors = np.empty(n), np.empty((n, n))
    reference.eigh_toeplitz(column.astype(np.float64), mine, vectors)
    check_eigen(toeplitz, mine, vectors, np.float64)
    assert np.abs(w - mine).max() <= 4 * n * eps(dtype) * np.abs(mine).max()


def process(n, m, dtype):
    """Transitions, stationary covariance and observation of a process of m states, at irregular times."""
    rng = generator(n, m)
    drift = 0.5 * rng.standard_normal((m, m)) - 2 * np.eye(m)
    spread = rng.standard_normal((m, m))
    # The Lyapunov equation F P + P F' = -S S', as a Kronecker sum.
    eye = np.eye(m)
    cov = np.linalg.solve(np.kron(drift, eye) + np.kron(eye, drift), -(spread @ spread.T).ravel()).reshape(m, m)
    cov = (cov + cov.T) / 2
    values, vectors = np.linalg.eig(drift)
    steps = rng.uniform(0, 0.5, n)
    transitions = np.stack([((vectors * np.exp(values * t)) @ np.linalg.inv(vectors)).real for t in steps])
    return [np.ascontiguousarray(part, dtype) for part in (transitions, cov, rng.standard_normal(m))]


@dtypes
@pytest.mark.parametrize("m", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 1), (3, 17, 1), (1, 9, 20), (2, 5, 3)])
def test_state_space(shape, m, dtype, isa):
    transitions, cov, h = process(shape[1], m, dtype)
    n = shape[1]
    x = generator(n).standard_normal(shape).astype(dtype)
    k = reference.dense_statespace(*(part.astype(np.float64) for part in (transitions, cov, h)))
    out = np.full_like(x, np.nan)
    _core.kron_statespace_matmul(transitions, cov, h, x, out)
    # States forget at a rate above 1: an error is carried on by a few steps, of m^2 roundings each.
    tolerance = 16 * m**2 * eps(dtype)
    size = np.linalg.norm(k, 2) * np.linalg.norm(x)
    assert np.linalg.norm(out - k @ x.astype(np.float64)) <= tolerance * size

    noise = generator(n, 1).uniform(0.5, 1, n).astype(dtype)
    d, w = np.empty(n, dtype), np.empty((n, m), dtype)
    _core.kron_statespace_factor(transitions, cov, h, noise, d, w)
    matrix = k + np.diag(noise.astype(np.float64))
    lower = np.linalg.cholesky(matrix)
    condition = np.linalg.cond(matrix)
    np.testing.assert_allclose(d, lower.diagonal() ** 2, rtol=tolerance * condition)
    unit = lower / lower.diagonal()
    for part, inverse in (("full", matrix), ("lower", unit), ("sqrt", np.linalg.inv(lower))):
        _core.kron_statespace_solve(transitions, h, d, w, x, out, part)
        want = np.linalg.solve(inverse, x.astype(np.float64))
        assert np.linalg.norm(out - want) <= tolerance * condition * np.linalg.norm(want), part


def test_twins_agree_with_their_definitions():
    rng = generator(9)
    factors = [rng.standard_normal((2, 3)), rng.standard_normal((4, 2))]
    x = rng.standard_normal((2, 3, 2, 5))
    out = np.empty((2, 2, 4, 5))
    reference.matmul(factors, x, out)
    want = reference.dense(factors) @ x.reshape(2, 6, 5)
    np.testing.assert_allclose(out.reshape(2, 8, 5), want, rtol=1e-13)
    assert np.array_equal(reference.dense(factors), np.kron(*factors))
    transitions, cov, h = process(6, 3, np.float64)
    k = reference.dense_statespace(transitions, cov, h)
    noise = np.full(6, 0.2)
    d, w = np.empty(6), np.empty((6, 3))
    reference.statespace_factor(transitions, cov, h, noise, d, w)
    x = rng.standard_normal((1, 6, 2))
    for part, inverse in (
        ("full", k + 0.2 * np.eye(6)),
        ("sqrt", np.linalg.inv(np.linalg.cholesky(k + 0.2 * np.eye(6)))),
    ):
        out = np.empty_like(x)
        reference.statespace_solve(transitions, h, d, w, x, out, part)
        np.testing.assert_allclose(inverse @ out, x, rtol=1e-11, atol=1e-11)
    out = np.empty_like(x)
    reference.statespace_matmul(transitions, cov, h, x, out)
    np.testing.assert_allclose(out, k @ x, rtol=1e-12, atol=1e-12)
