"""telamon.jax's functions on the sphere: values, derivatives in both modes, jit, vmap, and what they refuse."""

import re

import numpy as np
import pytest

jax = pytest.importorskip("jax")
tj = pytest.importorskip("telamon.jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

from telamon.jax import _ffi  # noqa: E402
from telamon.reference import so3 as truth  # noqa: E402

SENDERS = np.array([0, 2, 2, 1, 0, 2])
RECEIVERS = np.array([3, 1, 0, 3, 1, 1])  # unsorted, and none at 2
EDGES = {"senders": SENDERS, "receivers": RECEIVERS, "num_receivers": 4}


pytestmark = pytest.mark.usefixtures("x64")


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def rotation(seed=0, improper=False):
    q = np.linalg.qr(normal(3, 3, seed=seed))[0]
    return q * np.sign(np.linalg.det(q)) * (-1 if improper else 1)


def close(got, want):
    # Sums of some dozens of terms: a few eps times the largest, with room for another order of summation.
    bound = {"float32": 1e-5, "float64": 1e-12}[str(got.dtype)] * max(1, np.abs(want).max(initial=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


def check(f, *args, modes=("fwd", "rev")):
    """First and second derivatives against differences of step 1e-6, whose square root of eps is their precision."""
    check_grads(jax.jit(f), args, order=2, modes=modes, atol=1e-5, rtol=1e-5, eps=1e-6)


# ---- values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
def test_product_is_the_reference(dtype, layout, normalization):
    x = normal(4, 9, 3, dtype=dtype)
    y = normal(4, 4, 3, dtype=dtype)
    weights = [normal(2, d, 3, dtype=dtype) for d in (3, 2, 4)]
    if layout == "channels_first":
        x, y = x.swapaxes(-1, -2), y.swapaxes(-1, -2)
    for parity in ("even", "complete"):
        for w in (None, weights):
            options = {"weights": w, "parity": parity, "normalization": normalization, "layout": layout}
            got, want = tj.gaunt_product(x, y, 3, **options), truth.gaunt_product(x, y, 3, **options)
            for a, b in [(got, want)] if parity == "even" else zip(got, want, strict=True):
                assert a.dtype == dtype
                close(a, b)
    close(tj.gaunt_product(x, y, parity="complete", group="SO3", layout=layout), sum(
        truth.gaunt_product(x, y, parity="complete", layout=layout)
    ))  # fmt: skip


def test_powers_and_monomials_are_the_reference():
    x, y = normal(3, 9, 2), normal(3, 4, 2)
    for n in (1, 2, 3):
        close(tj.gaunt_power(x, n, normalization="norm"), truth.gaunt_power(x, n, normalization="norm"))
    close(tj.gaunt_monomial([x, y], [2, 3], 4), truth.gaunt_monomial([x, y], [2, 3], 4))
    close(tj.gaunt_monomial([x, y]), truth.gaunt_monomial([x, y], [1, 1]))


@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
def test_spherical_harmonics_are_the_reference(normalization):
    r = normal(2, 4, 3)
    for l in (0, 3, [2, 0], range(5)):
        for normalize in (True, False):
            got = tj.spherical_harmonics(l, r, normalize, normalization)
            close(got, truth.spherical_harmonics(l, r, normalize, normalization))


@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_conv_is_the_reference(normalization):
    x, d = normal(3, 9, 2), normal(6, 3)
    for w in (normal(6, 3, 2), normal(6, 3), normal(3)):
        for edges in ({"senders": SENDERS}, EDGES):
            options = {**edges, "normalization": normalization}
            close(tj.gaunt_conv(x, d, w, 3, **options), truth.gaunt_conv(x, d, w, 3, **options))
    close(tj.gaunt_conv(x[SENDERS], d), truth.gaunt_conv(x[SENDERS], d, None, 2, lmax_filter=2))
    none = tj.gaunt_conv(x, d[:0], senders=SENDERS[:0], receivers=RECEIVERS[:0])
    assert none.shape == (3, 9, 2)
    assert not none.any()


@pytest.mark.parametrize("improper", [False, True])
def test_rotations(improper):
    x, d, R = normal(2, 9, 3), normal(5, 3), rotation(1, improper)
    close(tj.rotate(x, R), truth.rotate(x, np.broadcast_to(R, (2, 3, 3))))
    close(tj.wigner_D(3, R), truth.wigner_D(3, R))
    close(tj.spherical_harmonics(2, d @ R.T), tj.spherical_harmonics(2, d) @ tj.wigner_D(2, R).T)


def test_the_callback_agrees_with_the_direct_call(monkeypatch):
    if not tj.USES_FFI:
        pytest.skip("this build calls back into Python anyway")
    monkeypatch.setattr(_ffi, "USES_FFI", False)
    x, y, r = normal(3, 9, 11), normal(3, 4, 11), normal(11, 3)  # shapes for which nothing is compiled yet
    close(tj.gaunt_product(x, y, 3), truth.gaunt_product(x, y, 3))
    close(tj.gaunt_monomial([x, y], [2, 1]), truth.gaunt_monomial([x, y], [2, 1]))
    close(tj.spherical_harmonics(3, r), truth.spherical_harmonics(3, r))
    got = jax.grad(lambda y: tj.gaunt_product(x, y, 0).sum())(y)
    close(got, truth.gaunt_product(x, np.ones((3, 1, 11)), 1))


# ---- derivatives


def test_product_derivatives():
    check(lambda x, y: tj.gaunt_product(x, y, 3, parity="complete"), normal(2, 9, 1), normal(2, 4, 2))
    check(lambda x: tj.gaunt_product(x, x, normalization="norm"), normal(2, 9, 2))
    weights = [normal(2, 2, 1), normal(2, 2), normal(3)]
    x, y = normal(2, 4, 2), normal(4, 2)
    check(lambda *w: tj.gaunt_product(x, y, 2, weights=w, parity="complete", group="SO3"), *weights, modes=("rev",))


def test_monomial_derivatives():
    check(lambda x, y: tj.gaunt_monomial([x, y], [3, 1], 2, normalization="norm"), normal(2, 4, 2), normal(9, 1))
    check(lambda x: tj.gaunt_power(x, 2) + tj.gaunt_power(x, 1), normal(2, 4, 2))


def test_derivatives_of_degrees_that_the_other_factors_do_not_reach():
    x, y = normal(2, 16, 1), normal(2, 4, 1)
    check(lambda x, y: tj.gaunt_product(x, y, 0, parity="complete"), x, y, modes=("rev",))
    check(lambda x, y: tj.gaunt_monomial([x, y], [1, 2], 0), x, y, modes=("rev",))
    check(lambda *args: tj.gaunt_conv(*args, 0), x, normal(2, 3), normal(2, 2), modes=("rev",))


@pytest.mark.parametrize("normalize", [True, False])
def test_harmonics_derivatives(normalize):
    r = np.concatenate([normal(2, 3), [[0, 1.0, 0], [0, -2.0, 0]]])
    check(lambda r: tj.spherical_harmonics([3, 0, 2], r, normalize, "norm"), r)


def test_harmonics_are_finite_at_zero_and_at_extreme_lengths():
    r = np.array([[0.0, 0, 0], [1e-200, 0, 0], [0, 0, 1e200]])
    y = tj.spherical_harmonics(range(4), r)
    assert y[0].tolist() == [1.0] + [0.0] * 15
    close(y[1:], truth.spherical_harmonics(range(4), np.eye(3)[[0, 2]]))
    hessian = jax.jit(jax.hessian(lambda r: (tj.spherical_harmonics(range(4), r) ** 2).sum()))(r[0])
    assert not hessian.any()


def test_conv_derivatives():
    arguments = normal(3, 4, 2), normal(6, 3), normal(6, 3, 2)
    check(lambda *args: tj.gaunt_conv(*args, 2, **EDGES, normalization="norm"), *arguments)
    check(lambda *args: tj.gaunt_conv(*args, senders=SENDERS), *arguments, modes=("rev",))


def test_rotate_derivatives():
    R = rotation(1)
    check(lambda x: tj.rotate(x, R), normal(2, 9, 2))
    with pytest.raises(NotImplementedError, match="rotate: derivatives in R"):
        jax.grad(lambda R: tj.rotate(normal(9, 2), R).sum())(R)
    with pytest.raises(NotImplementedError, match="wigner_D: derivatives in R"):
        jax.grad(lambda R: tj.wigner_D(2, R).sum())(R)


def tame(z):
    """Bounded, so that a deep polynomial and its derivatives stay of order 1."""
    return z / jnp.sqrt(1 + jnp.mean(z * z))


def model(x, d, w):
    """A scalar through every function."""
    z = tame(tj.gaunt_conv(x, d, w, **EDGES))
    even, odd = tj.gaunt_product(z, tame(tj.gaunt_power(z, 3)), 2, parity="complete")
    y = tj.spherical_harmonics(range(3), d.mean(0))[:, None]
    z = tj.gaunt_product(tame(even + odd), y, weights=(w[0, :3], None, w[1, :, :1]), parity="complete", group="SO3")
    return (tj.rotate(tj.gaunt_monomial([tame(z), tame(odd)], [1, 2]), rotation(4))[:, 0] ** 2).mean()


MODEL_ARGUMENTS = normal(3, 9, 2), normal(6, 3), normal(6, 3, 2)


def quartic(x):
    """A scalar whose derivatives up to the fourth do not vanish."""
    return (tj.gaunt_power(x, 3)[:, :1] * tj.gaunt_product(x, 0.5 * x, parity="complete", group="SO3")).mean()


def test_third_derivatives():
    check(lambda x: (jax.grad(quartic)(x) ** 2).sum(), normal(2, 4, 1), modes=("rev",))


def test_hessian_forward_over_reverse_and_reverse_over_reverse():
    x = normal(2, 4, 1)
    close(jax.hessian(quartic)(x), jax.jacrev(jax.jacrev(quartic))(x))


# ---- transforms


def test_jit_and_vmap_of_the_model():
    args = MODEL_ARGUMENTS
    close(jax.jit(model)(*args), model(*args))
    batches = [np.stack([a, 0.7 * a, -a]) for a in args]
    differentiate = jax.value_and_grad(model)
    for in_axes in ((0, None, None), (0, 0, 0)):
        rows = [[b[i] if axis == 0 else b[0] for b, axis in zip(batches, in_axes, strict=True)] for i in range(3)]
        chosen = [b if axis == 0 else b[0] for b, axis in zip(batches, in_axes, strict=True)]
        got = jax.jit(jax.vmap(differentiate, in_axes))(*chosen)
        want = [jax.jit(differentiate)(*row) for row in rows]
        for k in range(2):
            close(got[k], np.stack([row[k] for row in want]))


def test_vmap_with_the_batch_elsewhere():
    x, y = normal(9, 5, 2), normal(5, 9, 2)
    close(jax.vmap(tj.gaunt_product, (1, 0))(x, y), truth.gaunt_product(x.swapaxes(0, 1), y))
    R = np.stack([rotation(i) for i in range(5)])
    close(jax.vmap(tj.rotate)(y, R), truth.rotate(y, R))
    close(jax.vmap(lambda R: tj.wigner_D(2, R))(R), truth.wigner_D(2, R))


def test_training_on_forces():
    # The gradient in the weights of a loss on forces, against a difference.
    positions, target, w = normal(4, 3), normal(4, 3, seed=1), normal(3, 2)
    i, j = np.nonzero(~np.eye(4, dtype=bool))

    def energy(r, w):
        edge = r[j] - r[i]
        radial = jnp.exp(-jnp.linalg.norm(edge, axis=1))[:, None, None] * w
        density = tj.gaunt_conv(jnp.ones((4, 1, 2)), edge, radial, 2, senders=j, receivers=i)
        return tj.gaunt_product(density, density, 0).sum()

    def loss(w):
        return ((jax.grad(energy)(positions, w) + target) ** 2).mean()

    check(loss, w, modes=("rev",))


# ---- dtypes and refusals


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_goes_through_float32(dtype):
    x, y = jnp.asarray(normal(2, 9, 3), dtype), jnp.asarray(normal(2, 4, 3), dtype)
    got = tj.gaunt_product(x, y)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, tj.gaunt_product(x.astype("float32"), y.astype("float32")).astype(dtype))
    assert jax.grad(lambda x: tj.gaunt_product(x, y).sum())(x).dtype == dtype


def test_shapes():
    x, y = normal(4, 5, 9, 6), normal(5, 4, 6)
    close(tj.gaunt_product(x, y), truth.gaunt_product(x, y))
    assert tj.gaunt_product(x[:0], y).shape == (0, 5, 9, 6)
    jax.config.update("jax_enable_x64", False)
    assert tj.gaunt_product(x, y).dtype == jnp.float32


def raises(error, text):
    return pytest.raises(error, match=re.escape(text))


def test_refusals():
    x, d = normal(3, 9, 2), normal(6, 3)
    with raises(TypeError, "telamon.jax.gaunt_product: x has dtype int64; pass x.astype(float)"):
        tj.gaunt_product(x.astype(int), x)
    with raises(ValueError, "gaunt_product: x has 10 components, which is no square"):
        tj.gaunt_product(normal(3, 10, 2), x)
    with raises(ValueError, "x has 2 channels and y 3"):
        tj.gaunt_product(x, normal(3, 9, 3))
    with raises(ValueError, "leading dimensions do not broadcast: x (3,) and y (4,)"):
        tj.gaunt_product(x, normal(4, 9, 2))
    with raises(ValueError, "lmax_out is 5, above l1 + l2 = 4"):
        tj.gaunt_product(x, x, 5)
    for name in ("parity", "group", "normalization", "layout", "method"):
        with raises(ValueError, f"{name} is 'none'; pass one of"):
            tj.gaunt_product(x, x, **{name: "none"})
    with raises(TypeError, "weights is a ndarray; pass (w1, w2, w3)"):
        tj.gaunt_product(x, x, weights=x)
    with raises(ValueError, "weights[1] has shape (2,); pass (3,), (3, 2) or (rank, 3, 2)"):
        tj.gaunt_product(x, x, weights=(None, normal(2), None))
    with raises(ValueError, "gaunt_power: n is 0; pass an int of at least 1"):
        tj.gaunt_power(x, 0)
    with raises(ValueError, "factors has 1 arrays and powers 2 numbers"):
        tj.gaunt_monomial([x], [1, 2])
    with raises(ValueError, "r has shape (9, 2); pass (..., 3)"):
        tj.spherical_harmonics(2, x[0])
    with raises(ValueError, "R has shape (3, 9, 2); pass (..., 3, 3)"):
        tj.rotate(x, x)
    with raises(ValueError, "x has 3 rows for 6 edges; pass senders"):
        tj.gaunt_conv(x, d)
    with raises(TypeError, "senders has dtype float64; pass senders.astype(int)"):
        tj.gaunt_conv(x, d, senders=SENDERS.astype(float))
    with raises(ValueError, "num_receivers is 4 without receivers"):
        tj.gaunt_conv(x, d, senders=SENDERS, num_receivers=4)


def test_refusals_at_run_time():
    x, d = normal(3, 9, 2), normal(6, 3)
    for call in (
        lambda: tj.gaunt_conv(x, d * (np.arange(6) != 2)[:, None], senders=SENDERS),
        lambda: tj.gaunt_conv(x, d, senders=SENDERS + 1),
        lambda: tj.rotate(x, 2 * rotation()),
    ):
        # XLA reports the ValueError inside one of its own.
        with pytest.raises(Exception, match=r"directions\[2\] is zero|senders|R\[0\] is not orthogonal"):
            call().block_until_ready()
