"""telamon.jax's products with matrices of few bits: against their numbers, derivatives, jit, vmap, refusals."""

import re

import numpy as np
import pytest

jax = pytest.importorskip("jax")
tj = pytest.importorskip("telamon.jax")

import jax.numpy as jnp  # noqa: E402

from telamon import quant  # noqa: E402


def matrix(rows=5, inputs=100, bits=4, group=None, seed=0):
    rng = np.random.default_rng([seed, rows, inputs, bits])
    groups = 1 if group is None else -(-inputs // group)
    books = np.sort(rng.standard_normal((rows, groups, 1 << bits)), -1)
    codes = rng.integers(0, 1 << bits, (rows, inputs))
    return quant.QuantizedMatrix.from_codes(codes, books, bits=bits, group_size=group)


def multiply(x, m):
    return tj.quant_matmul(x, m.packed, m.codebooks, bits=m.bits, group_size=m.group_size)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def close(got, want):
    """Sums of some hundred products in float32, whose errors grow as the root of their number."""
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * max(1, np.abs(want).max(initial=0)))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("inputs", "group"), [(64, None), (130, 64), (130, 7), (1, None)])
def test_the_numbers_are_those_of_numpy(bits, inputs, group):
    m = matrix(inputs=inputs, bits=bits, group=group)
    got = tj.quant_dequantize(m.packed, m.codebooks, bits=bits, inputs=inputs, group_size=group)
    np.testing.assert_array_equal(got, m.dequantize())


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("group", [None, 7])
def test_products_are_those_of_the_numbers(batch, group):
    m, x = matrix(group=group), normal(*batch, 100)
    got = multiply(x, m)
    assert got.dtype == jnp.float32
    close(got, x @ m.dequantize().T)
    np.testing.assert_allclose(jax.jit(lambda x: multiply(x, m))(x), got, rtol=0, atol=1e-5)


def test_derivatives():
    m, x, g = matrix(group=32), normal(3, 100), normal(3, 5)
    w = m.dequantize()
    _, pull = jax.vjp(lambda x: multiply(x, m), x)
    close(pull(g)[0], g @ w)
    t = normal(3, 100, seed=1)
    close(jax.jvp(lambda x: multiply(x, m), (x,), (t,))[1], t @ w.T)
    assert jax.jit(jax.grad(lambda x: jnp.sum(multiply(x, m) ** 2)))(x).dtype == jnp.float32
    # In the codebooks: the sum of g'x over the inputs with that code.
    books = jnp.asarray(m.codebooks, jnp.float32)
    got = jax.grad(lambda b: jnp.sum(g * tj.quant_matmul(x, m.packed, b, bits=4, group_size=32)))(books)
    codes, want = m.codes(), np.zeros(books.shape)
    for row in range(5):
        np.add.at(want[row], (np.arange(100) // 32, codes[row]), (g.T @ x)[row])
    close(got, want)


def test_vmap():
    m, x = matrix(), normal(100, 3)
    close(jax.vmap(lambda t: multiply(t, m), in_axes=1)(x), x.T @ m.dequantize().T)
    many = [matrix(seed=i) for i in range(3)]
    codes, books = (np.stack([getattr(m, name) for m in many]) for name in ("packed", "codebooks"))
    got = jax.jit(jax.vmap(lambda x, c, b: tj.quant_matmul(x, c, b, bits=4)))(x.T, codes, books)
    close(got, np.stack([row @ m.dequantize().T for row, m in zip(x.T, many, strict=True)]))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_goes_through_float32(dtype):
    m, x = matrix(), jnp.asarray(normal(3, 100), dtype)
    got = multiply(x, m)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, multiply(x.astype(jnp.float32), m).astype(dtype))


@pytest.mark.usefixtures("x64")
def test_float64_is_refused():
    m = matrix()
    with pytest.raises(TypeError, match=r"telamon\.jax\.quant_matmul: x has dtype float64; pass x\.astype"):
        multiply(np.ones(100), m)
    assert multiply(normal(100), m).dtype == jnp.float32


def raises(error, text):
    return pytest.raises(error, match=re.escape(text))


def test_refusals():
    m, x = matrix(), normal(3, 100)
    where = "telamon.jax.quant_matmul: "
    with raises(TypeError, where + "x has dtype int32"):
        multiply(x.astype(np.int32), m)
    with raises(TypeError, where + "codes and codebooks have dtypes int32 and float16; pass uint8 and floating point"):
        tj.quant_matmul(x, m.packed.astype(np.int32), m.codebooks, bits=4)
    with raises(ValueError, where + "codes and codebooks have shapes (5, 64) and (5, 1, 16); 99 inputs of 3 bits in"):
        tj.quant_matmul(x[:, 1:], m.packed, m.codebooks, bits=3)
    with raises(ValueError, where + "bits is 0; pass a whole number from 1 to 8"):
        tj.quant_matmul(x, m.packed, m.codebooks, bits=0)
    with raises(ValueError, where + "group_size is 0; pass a whole number of at least 1"):
        tj.quant_matmul(x, m.packed, m.codebooks, bits=4, group_size=0)
    with raises(ValueError, where + "x has shape (); pass (..., inputs)"):
        multiply(np.float32(1), m)
