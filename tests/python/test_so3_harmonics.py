"""Spherical harmonics, their gradients and rotations: against Arb, closed forms, and the laws that they obey."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from so3_support import DTYPES, check, components, features, same_bits

import telamon
from telamon import so3
from telamon.reference import so3 as reference

EPS = {np.float64: 2.0**-52, np.float32: 2.0**-23}
DEGREES = [0, 1, 2, 3, 4, 6, 9, 16, 33, 64]
LMAX = max(DEGREES)
NORMALIZATIONS = ["component", "integral", "norm"]

# The poles and their neighbourhood, the equator, where |x| or |z| is small, and any direction.
DIRECTIONS = [
    [0.0, 1.0, 0.0],
    [0.0, -1.0, 0.0],
    [1e-9, 1.0, 0.0],
    [1e-4, -1.0, 2e-4],
    [0.03, 1.0, 0.02],
    [1.0, 0.0, 0.0],
    [0.0, 0.0, -1.0],
    [1.0, 1e-8, 0.5],
    [-1e-12, 0.2, 0.9],
    [0.6, 0.8, 0.1],
    [-0.3, -0.9, 0.2],
    [0.5, 0.5, -0.7],
]


def directions(n, seed=0):
    r = np.random.default_rng(seed).standard_normal((n, 3))
    return r / np.linalg.norm(r, axis=1, keepdims=True)


def rotation(q, improper):
    """The rotation of a quaternion, which need not have length 1."""
    w, x, y, z = np.asarray(q) / np.linalg.norm(q)
    r = np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
        ]
    )
    return -r if improper else r


def with_threads(*counts):
    """Loops over numbers of threads."""
    before = telamon.get_num_threads()
    try:
        for count in counts:
            telamon.set_num_threads(count)
            yield count
    finally:
        telamon.set_num_threads(before)


COORDINATES = st.floats(-1, 1).map(lambda t: round(t, 6))  # not denormal
VECTORS = st.tuples(COORDINATES, COORDINATES, COORDINATES).filter(any).map(np.array)
ROTATIONS = st.builds(
    rotation, st.tuples(COORDINATES, COORDINATES, COORDINATES, COORDINATES).filter(any), st.booleans()
)
degrees = st.integers(0, 12)


def legendre(l, t):
    return np.polynomial.legendre.Legendre.basis(l)(t)


# ---------------------------------------------------------------------------------------------- against Arb


@functools.cache
def exact(l, r, normalize):
    """Y_l(r/|r|), times |r|^l unless normalize, for the floats r: Arb's spherical_y has the Condon-Shortley phase."""
    flint = pytest.importorskip("flint")
    arb, acb = flint.arb, flint.acb
    with flint.ctx.workprec(300):
        x, y, z = (arb(t) for t in r)
        length = (x * x + y * y + z * z).sqrt()
        theta, phi = acb(y / length).acos(), acb(arb.atan2(x, z) if any(r[::2]) else arb(0))
        factor = (4 * arb.pi()).sqrt() * (1 if normalize else length**l)
        values = [None] * (2 * l + 1)
        for m in range(l + 1):
            value = acb.spherical_y(l, m, theta, phi) * factor * (-1) ** m
            if m == 0:
                values[l] = value.real
            else:
                values[l + m], values[l - m] = value.real * arb(2).sqrt(), value.imag * arb(2).sqrt()
        return values


def error(got, want):
    """The largest difference between numbers and balls."""
    flint = pytest.importorskip("flint")
    with flint.ctx.workprec(300):
        return max(abs(float(flint.arb(float(g)) - w)) for g, w in zip(got, want, strict=True))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values(isa, dtype, normalize):
    """The bounds of the docstring. In float32, half an ulp and what the computation in float64 leaves."""
    r = np.array(DIRECTIONS + directions(6).tolist()) * np.linspace(0.7, 1.4, 18)[:, None]
    r = r.astype(dtype)
    values = so3.spherical_harmonics(range(LMAX + 1), r, normalize)
    assert values.dtype == dtype
    for vector, row in zip(r, values, strict=True):
        length = 1 if normalize else np.linalg.norm(vector.astype(float))
        for l in DEGREES:
            want = exact(l, tuple(vector.tolist()), normalize)
            scale = EPS[dtype] * math.sqrt(2 * l + 1) * length**l
            bound = 1.5 + l / 12 if dtype == np.float64 else 0.51
            assert error(row[l * l : (l + 1) ** 2], want) <= bound * scale, (vector, l)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lengths_up_to_the_limits(dtype):
    """Scaling by powers of two changes nothing, not a bit, where r itself is not rounded by it."""
    r = (np.round(directions(20) * 2**10) / 2**10).astype(dtype)
    want = so3.spherical_harmonics(range(13), r)
    info = np.finfo(dtype)
    for exponent in (info.minexp - info.nmant + 10, info.minexp, -40, 40, info.maxexp - 1):
        assert same_bits(so3.spherical_harmonics(range(13), np.ldexp(r, exponent).astype(dtype)), want)


def test_float32_at_high_degrees():
    """Far beyond what single precision can hold on the way: N_lm reaches 1e54 at l = 256."""
    r = directions(10).astype(np.float32)
    y = so3.spherical_harmonics(256, r)
    assert np.allclose((y.astype(float) ** 2).sum(-1), 513, rtol=1e-6)  # addition theorem; rounding of 513 numbers


@pytest.mark.parametrize("l", [1, 2, 5, 16, 64])
@pytest.mark.parametrize("normalize", [True, False])
def test_gradient(l, normalize):
    """Against differences of Arb's values, over a distance of 1e-40 and so exact to 1e-70."""
    flint = pytest.importorskip("flint")
    r = np.array([[0.3, 0.8, -0.4], [1e-5, -1.1, 2e-5], [0.7, 0.01, 0.6]])
    got = so3.spherical_harmonics_grad(l, r, normalize)
    for vector, rows in zip(r, got, strict=True):
        length = np.linalg.norm(vector)
        # the docstring's bound; the derivative of |r|^l is larger by |r|^l
        limit = (4 + l / 4) * EPS[np.float64] * l * math.sqrt(2 * l + 1) / length * (1 if normalize else length**l)
        for axis in range(3):
            with flint.ctx.workprec(300):
                h = flint.arb(10) ** -40
                sides = []
                for sign in (1, -1):
                    moved = [flint.arb(t) for t in vector.tolist()]
                    moved[axis] += sign * h
                    sides.append(exact_at(l, moved, normalize))
                want = [(a - b) / (2 * h) for a, b in zip(*sides, strict=True)]
            assert error(rows[axis], want) <= limit, (vector, axis)


def exact_at(l, r, normalize):
    return exact.__wrapped__(l, tuple(r), normalize)


# ---------------------------------------------------------------------------------------------- closed forms


def test_first_degrees_in_e3nns_convention():
    x, y, z = directions(50).T
    got = so3.spherical_harmonics([0, 1, 2], np.stack([x, y, z], -1))
    want = [
        np.ones_like(x),
        *(math.sqrt(3) * t for t in (x, y, z)),
        math.sqrt(15) * x * z,
        math.sqrt(15) * x * y,
        math.sqrt(5) * (y * y - (x * x + z * z) / 2),
        math.sqrt(15) * y * z,
        math.sqrt(15) / 2 * (z * z - x * x),
    ]
    np.testing.assert_allclose(got, np.stack(want, -1), rtol=0, atol=4 * EPS[np.float64] * math.sqrt(5))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalizations(normalization):
    """sum over m of Y_lm^2, everywhere."""
    for l in range(8):
        y = so3.spherical_harmonics(l, directions(9), True, normalization)
        total = {"component": 2 * l + 1, "integral": (2 * l + 1) / (4 * math.pi), "norm": 1}[normalization]
        np.testing.assert_allclose((y * y).sum(-1), total, rtol=1e-14)  # 15 terms, a few roundings each
        g = so3.spherical_harmonics_grad(l, directions(9), False, normalization)
        want = reference.spherical_harmonics_grad(l, directions(9), False, normalization)
        check(g, want, 1e-14, max(1, np.abs(want).max()))  # the reference is not exact either


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [1, -1])
def test_poles(dtype, sign):
    y = so3.spherical_harmonics(range(65), np.array([0, sign * 2, 0], dtype))
    want = np.zeros(components(64))
    for l in range(65):
        want[l * l + l] = sign**l * math.sqrt(2 * l + 1)
    np.testing.assert_allclose(y, want, rtol=EPS[dtype], atol=0)
    g = so3.spherical_harmonics_grad(range(65), np.array([0, sign, 0], dtype))
    assert np.isfinite(g).all()
    for l in range(65):  # along the axis Y does not change, up to the bound of the docstring
        limit = (4 + l / 4) * EPS[dtype] * l * math.sqrt(2 * l + 1)
        assert np.abs(g[1, l * l : (l + 1) ** 2]).max() <= limit


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_vector(dtype):
    r = np.zeros((2, 3), dtype)
    for normalize in (True, False):
        y = so3.spherical_harmonics(range(10), r, normalize)
        np.testing.assert_array_equal(y, np.eye(1, 100)[[0, 0]])
    assert not so3.spherical_harmonics_grad(range(10), r).any()
    solid = so3.spherical_harmonics_grad(range(10), r, False)  # only those of degree 1 have a slope there
    np.testing.assert_allclose(solid[0, :, 1:4], math.sqrt(3) * np.eye(3), rtol=EPS[dtype])
    assert not np.delete(solid, [1, 2, 3], axis=-1).any()


@pytest.mark.parametrize("l", [1, 2, 7, 64])
def test_rotation_about_the_polar_axis(l):
    """phi grows by a: the sine and cosine of |m| mix by the angle m a."""
    a = 0.7
    r = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    m = np.arange(1, l + 1)
    want = np.zeros((2 * l + 1, 2 * l + 1))
    want[l, l] = 1
    want[l + m, l + m] = want[l - m, l - m] = np.cos(m * a)
    want[l - m, l + m], want[l + m, l - m] = np.sin(m * a), -np.sin(m * a)
    check(so3.wigner_D(l, r), want, (2 + l) * EPS[np.float64])


def test_half_turns_and_inversion():
    turn = np.diag([1.0, -1.0, -1.0])  # about x: the poles change places, where Euler angles are singular
    for l in (0, 1, 2, 5, 30):
        limit = (2 + l) * EPS[np.float64]
        check(so3.wigner_D(l, np.eye(3)), np.eye(2 * l + 1), limit)
        check(so3.wigner_D(l, -np.eye(3)), (-1) ** l * np.eye(2 * l + 1), limit)
        d = so3.wigner_D(l, turn)
        check(np.abs(d), np.eye(2 * l + 1), limit)
        assert np.array_equal(np.sign(np.diag(d)), [(-1) ** (l + (m < 0)) for m in range(-l, l + 1)])


# ---------------------------------------------------------------------------------------------- laws


@given(degrees, VECTORS, VECTORS)
def test_addition_theorem(l, a, b):
    cosine = np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)
    total = so3.spherical_harmonics(l, a) @ so3.spherical_harmonics(l, b)
    # the rounding of the cosine enters P_l by l (l + 1)/2
    assert abs(total - (2 * l + 1) * legendre(l, cosine)) <= 8 * EPS[np.float64] * (2 * l + 1) * max(1, l * l)


@given(degrees, ROTATIONS, VECTORS, st.sampled_from(DTYPES))
def test_harmonics_rotate_by_d(l, rotation, r, dtype):
    """In float32 the rounding of R r enters too: by l + 1, since |dY_l| <= l max|Y_l|."""
    rotation, r = rotation.astype(dtype), (r / np.linalg.norm(r)).astype(dtype)
    d = so3.wigner_D(l, rotation)
    moved = so3.spherical_harmonics(l, rotation.astype(float) @ r.astype(float))
    check(d @ so3.spherical_harmonics(l, r), moved, 8 * (l + 1) * EPS[dtype], math.sqrt(2 * l + 1))


@given(degrees, ROTATIONS, ROTATIONS)
def test_d_is_a_representation(l, a, b):
    check(so3.wigner_D(l, a) @ so3.wigner_D(l, b), so3.wigner_D(l, a @ b), 4 * (l + 1) * EPS[np.float64], 1)


@pytest.mark.parametrize("l", [0, 1, 2, 3, 8, 32, 64])
@pytest.mark.parametrize("improper", [False, True])
def test_d_at_high_degrees(isa, l, improper):
    """Orthogonal, and Y(R r) = D Y(r): 2l + 1 entries of error (2 + l) eps, with signs that come as they come."""
    rng = np.random.default_rng(l)
    rotations = np.array([rotation(q, improper) for q in rng.standard_normal((9, 4))])
    d, bound = so3.wigner_D(l, rotations), (2 + l) * EPS[np.float64]
    check(d @ d.swapaxes(-1, -2), np.broadcast_to(np.eye(2 * l + 1), d.shape), 2 * bound)
    r = directions(20)
    moved = so3.spherical_harmonics(l, np.einsum("nab,pb->npa", rotations, r))
    check(np.einsum("nij,pj->npi", d, so3.spherical_harmonics(l, r)), moved, bound, math.sqrt(2 * l + 1))
    single = so3.wigner_D(l, rotations.astype(np.float32))
    nearest = np.linalg.svd(rotations.astype(np.float32).astype(float))
    check(single, so3.wigner_D(l, nearest[0] @ nearest[2]), EPS[np.float32])


@given(st.integers(0, 6), ROTATIONS, st.integers(0, 99), st.sampled_from(DTYPES))
@settings(max_examples=50)
def test_rotations_keep_norms_and_values(lmax, rotation, seed, dtype):
    x = features(seed, lmax, 3, (2,), dtype)
    z = so3.rotate(x, rotation.astype(dtype))
    assert z.dtype == dtype
    for l in range(lmax + 1):
        block = slice(l * l, (l + 1) ** 2)
        norms = [np.linalg.norm(a[:, block].astype(float), axis=1) for a in (x, z)]
        check(norms[1], norms[0], 8 * (l + 1) * EPS[dtype], norms[0].max())
    r = directions(4, seed)
    values = np.einsum("pk,nkc->npc", so3.spherical_harmonics(range(lmax + 1), r), x)
    moved = np.einsum("pk,nkc->npc", so3.spherical_harmonics(range(lmax + 1), r @ rotation.T), z)
    check(moved, values, 16 * (lmax + 1) ** 2 * EPS[dtype], np.abs(x).max() * (lmax + 1))  # the sum's length


@given(degrees, VECTORS)
def test_solid_harmonics_are_homogeneous_and_harmonic(l, r):
    """r . grad S = l S, and no Laplacian: the table applied twice."""
    s = so3.spherical_harmonics(l, r, False)
    g = so3.spherical_harmonics_grad(l, r, False)
    scale = math.sqrt(2 * l + 1) * np.linalg.norm(r) ** l
    check(r @ g, l * s, 8 * EPS[np.float64] * max(1, l), scale)
    g = so3.spherical_harmonics_grad(l, r)
    assert np.abs(r @ g).max() <= 8 * EPS[np.float64] * max(1, l) * math.sqrt(2 * l + 1)  # Y(r/|r|) is constant along r


def hessian(lmax):
    """The dense matrices of d/dx, d/dy, d/dz, multiplied with each other."""
    source, value = so3.gradient_table(lmax)
    k = components(lmax)
    first = np.zeros((3, k, k))
    for term in range(2):
        for axis in range(3):
            first[axis, np.arange(k), source[term, axis]] += value[term, axis]
    return np.einsum("aij,bjk->abik", first, first)


def test_second_derivatives_by_the_table():
    """Symmetric, of zero trace: for each degree, up to the rounding of products of size (2l + 1)^2."""
    lmax = 10
    second = hessian(lmax)
    limit = 4 * EPS[np.float64] * np.abs(second).max()
    assert np.abs(second - second.swapaxes(0, 1)).max() <= limit
    assert np.abs(np.einsum("aaik->ik", second)).max() <= limit


def test_table_of_gradients():
    source, value = so3.gradient_table(2)
    assert source.shape == value.shape == (2, 3, 9)
    assert not value[..., 0].any()
    np.testing.assert_allclose(value[0, [0, 1, 2], [1, 2, 3]], math.sqrt(3))
    degree = np.sqrt(np.arange(9)).astype(int)
    used = value != 0
    assert (np.sqrt(source).astype(int) == degree - 1)[used].all()
    assert (used.sum(0)[1] <= 1).all()
    larger = so3.gradient_table(5)
    assert np.array_equal(larger.source[..., :9], source)
    assert np.array_equal(larger.value[..., :9], value)
    with pytest.raises(ValueError, match=r"telamon\.so3\.gradient_table: lmax .*-1"):
        so3.gradient_table(-1)
    with pytest.raises(TypeError, match=r"telamon\.so3\.gradient_table: lmax .*float"):
        so3.gradient_table(1.0)


# ---------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalize", [True, False])
def test_bits_do_not_depend_on_place_threads_or_degrees(isa, dtype, normalize):
    r = directions(5003).astype(dtype)  # no multiple of a block
    want, alone = (so3.spherical_harmonics(range(8), r, normalize) for _ in with_threads(2, 1))
    assert same_bits(alone, want)
    assert same_bits(so3.spherical_harmonics(range(8), r[::-3], normalize), want[::-3])
    assert same_bits(so3.spherical_harmonics(range(8), r[17], normalize), want[17])
    assert same_bits(so3.spherical_harmonics(range(8), np.asfortranarray(r), normalize), want)
    assert same_bits(so3.spherical_harmonics([5, 0, 5], r, normalize), want[:, [*range(25, 36), 0, *range(25, 36)]])
    assert same_bits(so3.spherical_harmonics(7, r, normalize), want[:, 49:])
    g = so3.spherical_harmonics_grad(range(8), r, normalize)
    assert same_bits(so3.spherical_harmonics_grad([3], r[40:50], normalize), g[40:50, :, 9:16])


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_of_rotations(isa, threads, dtype):
    rng = np.random.default_rng(3)
    rotations = np.array([rotation(q, False) for q in rng.standard_normal((300, 4))]).astype(dtype)
    rotations[100:140] = rotations[100]  # a run that shares its matrix
    x = features(0, 5, 21, (300,), dtype)
    z = so3.rotate(x, rotations)
    for i in (0, 99, 100, 120, 139, 140, 299):
        assert same_bits(so3.rotate(x[i], rotations[i]), z[i])
        assert same_bits(so3.wigner_D(5, rotations[i]), so3.wigner_D(5, rotations)[i])
    assert same_bits(so3.rotate(x[:, :, 4:5], rotations), z[:, :, 4:5])  # every channel by the same instructions
    assert same_bits(so3.rotate(x[:, :16], rotations), z[:, :16])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 7, 8, 9, 16, 17, 40])
def test_rotate_is_d_times_x(isa, dtype, channels):
    rng = np.random.default_rng(channels)
    rotations = np.array([rotation(q, i % 2 == 1) for i, q in enumerate(rng.standard_normal((4, 4)))]).astype(dtype)
    for lmax in (0, 1, 2, 3, 5):
        x = features(1, lmax, channels, (2, 4), dtype)
        blocks = [so3.wigner_D(l, rotations) @ x[..., l * l : (l + 1) ** 2, :] for l in range(lmax + 1)]
        want, limit = np.concatenate(blocks, -2).astype(float), (2 * lmax + 2) * EPS[dtype]
        got = so3.rotate(x, rotations)
        check(got, want, limit)
        swapped = np.ascontiguousarray(x.swapaxes(-1, -2))
        assert same_bits(so3.rotate(swapped, rotations, layout="channels_first"), got.swapaxes(-1, -2))
        assert same_bits(so3.rotate(x[:, :, :, ::-1], rotations), got[..., ::-1])
        assert same_bits(so3.rotate(x[0, 0], rotations), so3.rotate(np.repeat(x[:1, :1], 4, 1), rotations)[0])
        check(so3.rotate(got, rotations.swapaxes(-1, -2)), x.astype(float), 8 * (lmax + 1) * EPS[dtype])


def test_empty_and_broadcast():
    assert so3.spherical_harmonics(range(4), np.empty((0, 3))).shape == (0, 16)
    assert so3.spherical_harmonics(2, np.empty((5, 0, 3))).shape == (5, 0, 5)
    assert so3.spherical_harmonics_grad(2, np.empty((0, 3))).shape == (0, 3, 5)
    assert so3.wigner_D(2, np.empty((0, 3, 3))).shape == (0, 5, 5)
    assert so3.rotate(np.empty((0, 9, 4)), np.eye(3)).shape == (0, 9, 4)
    assert so3.rotate(np.empty((3, 9, 0)), np.eye(3)).shape == (3, 9, 0)
    assert so3.rotate(np.ones((2, 1, 9, 4), np.float32), np.broadcast_to(np.eye(3), (5, 3, 3))).shape == (2, 5, 9, 4)
    assert so3.rotate(np.ones((9, 4), np.float32), np.eye(3)).dtype == np.float64


def test_nan_and_infinity_stay_in_their_sample():
    r = directions(40)
    clean = so3.spherical_harmonics(range(5), r)
    r[7, 1], r[20, 0] = np.nan, np.inf
    y, g = so3.spherical_harmonics(range(5), r), so3.spherical_harmonics_grad(range(5), r)
    others = np.delete(np.arange(40), [7, 20])
    assert same_bits(y[others], clean[others])
    assert np.isnan(y[[7, 20], 2]).all()  # Y_10, of y
    assert np.isfinite(g[others]).all()
    assert np.isnan(g[[7, 20], 1, 2]).all()
    rotations = np.broadcast_to(np.eye(3), (5, 3, 3)).copy()
    rotations[3, 0, 0] = np.nan
    d = so3.wigner_D(3, rotations)
    assert np.isnan(d[3]).any()
    assert same_bits(np.delete(d, 3, 0), np.repeat(so3.wigner_D(3, np.eye(3))[None], 4, 0))


# ---------------------------------------------------------------------------------------------- e3nn


@pytest.fixture
def o3():
    torch = pytest.importorskip("torch", reason="e3nn needs torch")
    module = pytest.importorskip("e3nn.o3", reason="e3nn is not installed: nothing to compare with")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # else e3nn rounds its constants to single precision
    yield module
    torch.set_default_dtype(before)


@pytest.mark.filterwarnings("ignore")  # e3nn's own
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("normalize", [True, False])
def test_e3nn_has_the_same_harmonics(o3, normalize, normalization):
    import torch

    r = directions(30) * np.linspace(0.5, 1.5, 30)[:, None]
    want = o3.spherical_harmonics(list(range(9)), torch.from_numpy(r), normalize, normalization).numpy()
    check(so3.spherical_harmonics(range(9), r, normalize, normalization), want, 1e-13)  # e3nn's error


@pytest.mark.filterwarnings("ignore")
def test_e3nn_has_the_same_matrices_and_layout(o3):
    import torch

    rng = np.random.default_rng(0)
    rotations = np.array([rotation(q, False) for q in rng.standard_normal((5, 4))])
    irreps = "4x0e+4x1o+4x2e+4x3o"
    x = features(0, 3, 4, (5,))
    for l in range(4):
        want = o3.Irrep(l, 1).D_from_matrix(torch.from_numpy(rotations)).numpy()
        check(so3.wigner_D(l, rotations), want, 1e-13)  # e3nn goes through angles
    d = o3.Irreps(irreps).D_from_matrix(torch.from_numpy(rotations)).numpy()
    want = np.einsum("nij,nj->ni", d, so3.to_mul_ir(x, irreps))
    check(so3.to_mul_ir(so3.rotate(x, rotations), irreps), want, 1e-13)
    assert so3.parse_irreps(irreps) == [(mul, ir.l, ir.p) for mul, ir in o3.Irreps(irreps)]
