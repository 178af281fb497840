"""telamon.jax: values, derivatives in both modes, jit, vmap, and what it refuses; in float32 and float64."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
tj = pytest.importorskip("telamon.jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

from telamon import _core  # noqa: E402
from telamon._derivatives import BINARY, LOGARITHMS  # noqa: E402
from telamon.jax import _ffi, _special  # noqa: E402

V = np.array([1.2, 2.5, 3.0, 7.7, 30.0, 200.0])
X = np.array([0.7, 2.0, 5.5, 1.1, 45.0, 90.0])
R = np.array([0.05, 0.3, 0.6, 0.9, 0.2, 0.97])


def second(name):
    return R if name == "iv_ratioinv" else X


pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BINARY)
def test_value_is_the_ufuncs(name, dtype):
    v, x = V.astype(dtype), second(name).astype(dtype)
    f = getattr(tj, name)
    want = getattr(_core, name)(v, x)
    for got in (f(v, x), jax.jit(f)(v, x)):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", BINARY)
def test_first_derivatives(name):
    check_grads(getattr(tj, name), (V, second(name)), order=1, modes=("fwd", "rev"), atol=1e-6, rtol=1e-5, eps=1e-6)


@pytest.mark.parametrize("name", LOGARITHMS)
def test_second_derivatives(name):
    check_grads(getattr(tj, name), (V, X), order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-5, eps=1e-6)
    want = getattr(_core, f"{name}_hess")(V, X)
    ((dvv, dvx), (dxv, dxx)) = jax.vmap(jax.hessian(getattr(tj, name), argnums=(0, 1)))(V, X)
    for got, expected in zip((dvv, dvx, dxv, dxx), (want[0], want[1], want[1], want[2]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0), (1, 0)])
@pytest.mark.parametrize("name", ["log_iv", "iv_ratio"])
def test_vmap(name, in_axes):
    f = getattr(tj, name)
    a = np.linspace(1, 9, 12).reshape(3, 4)
    args = [a if axis is None else np.moveaxis(a, 0, axis) for axis in in_axes]
    got = jax.vmap(f, in_axes)(*args)
    rows = [[a if axis is None else a[i] for axis in in_axes] for i in range(3)]
    np.testing.assert_array_equal(got, np.stack([f(*row) for row in rows]))


def test_jit_of_grad_of_a_loss():
    def loss(v, x):
        return jnp.sum(tj.log_iv(v, x) ** 2 + tj.log_kve(2.5, x))

    got = jax.jit(jax.grad(loss, argnums=(0, 1)))(V, X)
    value = _core.log_iv(V, X)
    np.testing.assert_allclose(got[0], 2 * value * _core.log_iv_dv(V, X), rtol=1e-12)
    kve_dx = _core.log_kve_grad(np.full_like(X, 2.5), X)[2]
    np.testing.assert_allclose(got[1], 2 * value * _core.log_iv_dx(V, X) + kve_dx, rtol=1e-12)


def test_broadcasting_numbers_and_types():
    x = jnp.asarray(X, jnp.float32)
    assert tj.log_iv(2.5, x).dtype == jnp.float32
    assert tj.log_iv(2, x).dtype == jnp.float32
    assert tj.log_iv(np.float32(2.5), x).dtype == jnp.float32
    assert tj.log_iv(jnp.asarray(V), x).dtype == jnp.float64
    assert tj.log_iv(V[:, None], X).shape == (6, 6)
    assert tj.log_iv(1.5, 2.0).shape == ()
    assert tj.log_iv(V[:0], 2.0).shape == (0,)
    grad = jax.grad(lambda v: tj.log_iv(v, X).sum())(2.5)
    np.testing.assert_allclose(grad, _core.log_iv_dv(2.5, X).sum(), rtol=1e-13)


def test_without_x64_everything_is_float32():
    jax.config.update("jax_enable_x64", False)
    got = tj.log_iv(V, X)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, _core.log_iv(V.astype("f"), X.astype("f")))
    assert jax.grad(tj.log_iv)(1.5, 2.0).dtype == jnp.float32


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_goes_through_float32(dtype):
    x = jnp.asarray(X, dtype)
    got = tj.log_iv(1.5, x)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, tj.log_iv(1.5, x.astype(jnp.float32)).astype(dtype))
    assert jax.grad(lambda x: tj.log_iv(1.5, x).sum())(x).dtype == dtype


def test_a_constant_order_does_not_spoil_the_gradient_at_zero():
    # d/dv log I_v(0) is infinite, and must not enter as 0 * inf.
    x = np.array([0.0, 1.0])
    got = jax.grad(lambda x: tj.log_ive(0.0, x).sum())(x)
    want = _core.log_ive_grad(np.zeros(2), x)[2]
    np.testing.assert_array_equal(got, want)


def test_one_derivative_too_many():
    third = jax.grad(jax.grad(jax.grad(tj.log_iv, 1), 1), 1)
    with pytest.raises(NotImplementedError, match="beyond those of log_iv_hess"):
        third(1.5, 2.0)
    with pytest.raises(NotImplementedError, match="beyond those of log_kv_hess"):
        jax.grad(jax.grad(tj.log_kv_dv))(1.5, 2.0)


def test_refusals():
    with pytest.raises(TypeError, match=r"log_iv: v has dtype int64; pass v\.astype\(float\)"):
        tj.log_iv(np.arange(6), X)
    with pytest.raises(TypeError, match=r"iv_ratioinv: r has dtype bool"):
        tj.iv_ratioinv(1.0, X > 1)
    with pytest.raises(TypeError, match=r"log_kv: x has dtype complex128"):
        tj.log_kv(1.0, X + 0j)
    with pytest.raises(ValueError, match="broadcast"):
        tj.log_iv(V[:2], X)


def test_the_callback_agrees_with_the_direct_call(monkeypatch):
    if not tj.USES_FFI:
        pytest.skip("this build calls back into Python anyway")
    monkeypatch.setattr(_ffi, "USES_FFI", False)
    for name, n_outputs in (("log_iv", 1), ("log_kv_grad", 3)):
        got = _special._pass(name, n_outputs)(jnp.asarray(V), jnp.asarray(X))
        want = getattr(_core, name)(V, X)
        np.testing.assert_array_equal(np.stack(jax.tree.leaves(got)), np.atleast_2d(want))
