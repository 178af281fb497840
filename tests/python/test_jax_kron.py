"""telamon.jax's Kronecker algebra: against dense algebra, derivatives in both modes, jit, vmap, refusals."""

import functools
import math
import re

import numpy as np
import pytest

jax = pytest.importorskip("jax")
tj = pytest.importorskip("telamon.jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

pytestmark = pytest.mark.usefixtures("x64", "quickly_compiled")


@pytest.fixture
def quickly_compiled():
    """Derivatives of second order are large programs, which run once here."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)  # which is the default


# Condition numbers here are below 100: so many eps, with room for sums of some hundred terms.
TOLERANCE = {"float64": 1e-12, "float32": 2e-4}


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def spd(n, seed=0, dtype=np.float64):
    a = normal(n, n, seed=seed)
    return (a @ a.T / n + 0.5 * np.eye(n)).astype(dtype)


def symmetric(a):
    return (a + a.T) / 2


def close(got, want):
    bound = TOLERANCE[str(got.dtype)] * max(1, np.abs(want).max(initial=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


def check(f, *args, order=2, modes=("fwd", "rev")):
    """Derivatives against differences of step 1e-6, whose square root of eps is their precision."""
    check_grads(jax.jit(f), args, order=order, modes=modes, atol=1e-5, rtol=1e-5, eps=1e-6)


# The same by dense algebra, through JAX's own derivatives.


def dense(factors):
    return functools.reduce(jnp.kron, factors)


def dense_solve(factors, y, noise):
    k = dense(factors)
    k = k + noise * jnp.eye(len(k))
    return jnp.linalg.solve(k, y.reshape(-1, len(k)).T).T.reshape(y.shape)


def dense_logdet(factors, noise):
    k = dense(factors)
    return jnp.linalg.slogdet(k + noise * jnp.eye(len(k)))[1]


def dense_log_likelihood(factors, y, noise):
    size = math.prod(map(len, factors))
    z = dense_solve(factors, y, noise)
    quad = jnp.sum((y * z).reshape(*y.shape[: y.ndim - len(factors)], size), -1)
    return -0.5 * (quad + dense_logdet(factors, noise) + size * math.log(2 * math.pi))


def problem(dtype=np.float64, sizes=(3, 1, 4), batch=(2,), seed=0):
    factors = [spd(n, seed=seed + i, dtype=dtype) for i, n in enumerate(sizes)]
    return factors, normal(*batch, *sizes, dtype=dtype, seed=seed), np.asarray(0.3, dtype)


# ---- values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [(), (2,), (3, 2)])
def test_matmul_is_the_dense_product(dtype, batch):
    factors = [normal(4, 3, dtype=dtype), normal(1, 5, dtype=dtype), normal(2, 1, dtype=dtype)]
    x = normal(*batch, 3, 5, 1, dtype=dtype)
    got = tj.kron_matmul(factors, x)
    assert got.dtype == dtype
    close(got, (x.reshape(*batch, 15) @ dense(factors).T).reshape(*batch, 4, 1, 2))
    partial = [factors[0], np.eye(5, dtype=dtype), factors[2]]
    close(tj.kron_matmul([factors[0], None, factors[2]], x), tj.kron_matmul(partial, x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(5,), (3, 4), (1, 1), (3, 1, 4), (2, 3, 2, 2)])
def test_solutions_and_likelihoods_are_the_dense_ones(dtype, sizes):
    factors, y, noise = problem(dtype, sizes, (2, 3))
    wide, double = [a.astype(float) for a in factors], y.astype(float)

    @jax.jit
    def ours(factors, y, noise):
        likelihoods = [tj.kron_log_likelihood(factors, t, noise) for t in (y, y[0, 0])]
        return [tj.kron_solve(factors, y, noise), tj.kron_logdet(factors, noise), *likelihoods]

    @jax.jit
    def theirs(factors, y, noise):
        likelihoods = [dense_log_likelihood(factors, t, noise) for t in (y, y[0, 0])]
        return [dense_solve(factors, y, noise), dense_logdet(factors, noise), *likelihoods]

    for got, want in zip(ours(factors, y, noise), theirs(wide, double, 0.3), strict=True):
        assert got.dtype == dtype
        assert got.shape == want.shape
        close(got, want)
    close(tj.kron_logdet(factors, 0.3), dense_logdet(wide, 0.3))  # nothing traced


def test_separable_noise():
    factors, y, _ = problem(sizes=(3, 4))
    noise = [np.exp(normal(3)), np.exp(normal(4))]
    k = dense(factors) + np.diag(np.outer(*noise).ravel())
    close(tj.kron_solve(factors, y, noise), dense_solve([k], y.reshape(2, 12), 0).reshape(y.shape))
    close(tj.kron_logdet(factors, noise), dense_logdet([k], 0))
    close(tj.kron_log_likelihood(factors, y, noise), dense_log_likelihood([k], y.reshape(2, 12), 0))

    def wanted(noise):
        k = dense(factors) + jnp.diag(jnp.outer(*noise).ravel())
        return dense_log_likelihood([k], y.reshape(2, 12), 0).sum()

    got = jax.jit(jax.grad(lambda noise: tj.kron_log_likelihood(factors, y, noise).sum()))(noise)
    for a, b in zip(got, jax.jit(jax.grad(wanted))(noise), strict=True):
        close(a, b)


# ---- derivatives


def test_matmul_derivatives():
    check(lambda x, *f: tj.kron_matmul(list(f), x), normal(2, 3, 2), normal(2, 3), normal(4, 2))


@pytest.mark.parametrize(("sizes", "order"), [((2,), 3), ((3, 2), 2)])
def test_solution_derivatives(sizes, order):
    factors, y, noise = problem(sizes=sizes)
    check(lambda y, s, *f: tj.kron_solve([symmetric(a) for a in f], y, s), y, noise, *factors, order=order)


@pytest.mark.parametrize(("sizes", "batch"), [((3,), ()), ((3, 2), (2,)), ((2, 1, 2), ())])
def test_likelihood_derivatives(sizes, batch):
    factors, y, noise = problem(sizes=sizes, batch=batch)

    def values(y, s, *f):
        f = [symmetric(a) for a in f]
        return tj.kron_log_likelihood(f, y, s), tj.kron_logdet(f, s)

    check(values, y, noise, *factors)


def test_hessians_are_those_of_dense_algebra():
    factors, y, noise = problem(sizes=(3, 2), batch=())

    def ours(s, *f):
        return tj.kron_log_likelihood([symmetric(a) for a in f], y, s)

    def theirs(s, *f):
        return dense_log_likelihood([symmetric(a) for a in f], y, s)

    for outer in (jax.jacfwd, jax.jacrev):
        hessians = [jax.jit(outer(jax.jacrev(f, (0, 1, 2)), (0, 1, 2))) for f in (ours, theirs)]
        got, want = (jax.tree.leaves(hessian(noise, *factors)) for hessian in hessians)
        for a, b in zip(got, want, strict=True):
            close(a, b)


def test_repeated_eigenvalues():
    # Where an eigenvector's derivative is infinite: factors that are multiples of the identity, or of rank 1.
    y, noise = normal(3, 2), np.asarray(0.3)

    def value(y, s, *f):
        f = [symmetric(a) for a in f]
        return tj.kron_log_likelihood(f, y, s), tj.kron_solve(f, y, s), tj.kron_logdet(f, s)

    check(value, y, noise, 0.5 * np.eye(3), np.ones((2, 2)))


def test_third_derivatives_of_the_determinant_are_refused():
    factors, _, noise = problem(sizes=(2, 2))
    f = functools.partial(tj.kron_logdet, factors)
    assert np.isfinite(jax.grad(jax.grad(f))(noise))
    with pytest.raises(NotImplementedError, match="third derivatives of log det"):
        jax.grad(jax.grad(jax.grad(f)))(noise)


# ---- transforms


def model(y, noise, *factors):
    """A number of all that there is."""
    factors = [symmetric(a) for a in factors]
    z = tj.kron_solve(factors, y, noise)
    value = tj.kron_log_likelihood(factors, tj.kron_matmul(factors, z) + y, noise)
    return value.sum() + tj.kron_logdet(factors, noise) ** 2


def test_jit_changes_nothing():
    factors, y, noise = problem(sizes=(3, 2))
    f = jax.value_and_grad(lambda y: tj.kron_log_likelihood(factors, y, noise).sum())
    for a, b in zip(jax.jit(f)(y), f(y), strict=True):
        close(a, b)


@pytest.mark.parametrize("batched", [(0, None, None, None), (1, 0, 0, 2)])
def test_vmap(batched):
    factors, y, noise = problem(sizes=(3, 2), batch=())
    rows = [[t * (1 + 0.1 * i) for t in (y, noise, *factors)] for i in range(3)]
    stacked = [rows[0][k] if dim is None else np.stack([row[k] for row in rows], dim) for k, dim in enumerate(batched)]
    singles = [[rows[0 if dim is None else i][k] for k, dim in enumerate(batched)] for i in range(3)]
    for g in (lambda y, s, *f: tj.kron_solve(f, y, s), jax.grad(model, 2)):
        single = jax.jit(g)
        close(jax.jit(jax.vmap(g, batched))(*stacked), np.stack([single(*one) for one in singles]))


# ---- dtypes and refusals


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_goes_through_float32(dtype):
    factors = [jnp.asarray(a, dtype) for a in problem(sizes=(3, 4))[0]]
    factors = [jnp.tril(a) + jnp.tril(a, -1).T for a in factors]
    y = jnp.asarray(normal(3, 4), dtype)
    wide = [a.astype("float32") for a in factors]
    for f in (tj.kron_solve, tj.kron_log_likelihood):
        got = f(factors, y, 0.25)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, f(wide, y.astype("float32"), 0.25).astype(dtype))
    assert jax.grad(lambda y: tj.kron_matmul(factors, y).sum())(y).dtype == dtype


def test_shapes():
    factors, y, noise = problem(sizes=(3, 4))
    assert tj.kron_solve(factors, y[:0], noise).shape == (0, 3, 4)
    assert tj.kron_log_likelihood(factors, y[:0], noise).shape == (0,)
    assert tj.kron_matmul([None, None], y).shape == y.shape
    jax.config.update("jax_enable_x64", False)
    assert tj.kron_solve(factors, y, noise).dtype == jnp.float32


def raises(error, text):
    return pytest.raises(error, match=re.escape(text))


def test_refusals():
    factors, y, noise = problem(sizes=(3, 4))
    with raises(TypeError, "telamon.jax.kron_solve: factors is a ndarray; pass a list with one matrix for each axis"):
        tj.kron_solve(factors[0], y, noise)
    with raises(ValueError, "kron_solve: factors is empty"):
        tj.kron_solve([], y, noise)
    with raises(TypeError, "kron_matmul: x has dtype int64; pass x.astype(float)"):
        tj.kron_matmul(factors, y.astype(int))
    with raises(ValueError, "kron_solve: factors[0] has shape (3, 2); pass (n, n), symmetric"):
        tj.kron_solve([factors[0][:, :2], factors[1]], y, noise)
    with raises(ValueError, "kron_matmul: factors[0] has shape (3,); pass (m, n)"):
        tj.kron_matmul([factors[0][0], factors[1]], y)
    with raises(ValueError, "kron_solve: y has shape (12,), the factors span a grid (3, 4); pass y.reshape(3, 4)"):
        tj.kron_solve(factors, y[0].ravel(), noise)
    with raises(ValueError, "kron_matmul: x has shape (2, 4, 3), the factors span a grid (3, any); pass (..., 3, any)"):
        tj.kron_matmul([factors[0], None], y.swapaxes(1, 2))
    with raises(ValueError, "kron_solve: noise has shape (3,); pass a number, or a list"):
        tj.kron_solve(factors, y, np.ones(3))
    with raises(ValueError, "noise has arrays of shapes [(3,)]; pass a number, or one for each axis: (3,), (4,)"):
        tj.kron_solve(factors, y, [np.ones(3)])
    with raises(ValueError, "kron_logdet: noise is -0.1; pass a variance of at least 0"):
        tj.kron_logdet(factors, -0.1)
    with raises(ValueError, "kron_logdet: factors[1] is not symmetric; pass (factors[1] + factors[1].T) / 2"):
        tj.kron_logdet([factors[0], factors[1] + np.triu(np.ones((4, 4)))], noise)
    assert np.isnan(tj.kron_logdet([factors[0], -factors[1]], 0.1))
