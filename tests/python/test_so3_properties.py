"""Laws of functions on the sphere as properties of telamon.so3, over inputs that hypothesis chooses.

These need no stored truth, so they would find an error that code and reference share. Between the exact law and the
computed one lie the bounds of each product in it, 1e-12 max|z|, and of rotations, 1e-11 (float32: 5e-6).
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from so3_support import LIMIT, METHODS, ODD_METHODS, ROTATED, check, components, parts

from telamon import so3
from telamon.reference import so3 as reference

EXACT = LIMIT[np.float64]
degrees = st.integers(0, 6)
positive = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
methods = st.sampled_from(METHODS)
odd_methods = st.sampled_from(ODD_METHODS)
dtypes = st.sampled_from([np.float64, np.float32])
few = settings(max_examples=60)  # each example is a batch of random functions


@st.composite
def rotations(draw):
    """An orthogonal matrix, proper or not, from a quaternion; hypothesis likes the ones along the axes."""
    q = np.array([draw(st.integers(-8, 8)) for _ in range(4)], float)
    if not q.any():
        q[0] = 1
    w, x, y, z = q / np.sqrt((q * q).sum())
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return matrix * draw(st.sampled_from([1, -1]))


def functions(seed, *lmaxes, dtype=np.float64):
    """Batches (2, K, 3) of random functions, one for each degree."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2, components(l), 3)).astype(dtype) for l in lmaxes]


def bracket(x, y, lmax_out, **options):
    return so3.gaunt_product(x, y, lmax_out, parity="complete", **options)[1]


def size_of_bracket(x, y):
    """Over all degrees: low ones may hold nothing but rounding."""
    l1, l2 = (round(a.shape[-2] ** 0.5) - 1 for a in (x, y))
    return np.abs(reference.gaunt_product(x, y, l1 + l2, parity="complete", method="grid")[1]).max()


# ---------------------------------------------------------------------------------------------------------------------
# Rotations


@few
@given(rotations(), degrees, degrees, st.integers(0, 12), seeds, methods, dtypes)
def test_products_rotate_with_their_factors(rotation, l1, l2, l3, seed, method, dtype):
    """The odd part is a pseudo-tensor: it takes the determinant besides."""
    l3 = min(l3, l1 + l2)
    x, y = functions(seed, l1, l2, dtype=dtype)
    even, *odd = parts(x, y, l3, method=method)
    rotated = [reference.rotate(a, rotation).astype(dtype) for a in (x, y)]
    got, *got_odd = parts(*rotated, l3, method=method)
    full = np.abs(reference.gaunt_product(x, y, l1 + l2, method="grid")).max()
    check(got, reference.rotate(even, rotation), ROTATED[dtype], full)
    for g, o in zip(got_odd, odd, strict=True):
        want = reference.rotate(o, rotation) * np.linalg.det(rotation)
        check(g, want, ROTATED[dtype], size_of_bracket(x, y))


@few
@given(rotations(), degrees, st.integers(1, 4), seeds, dtypes)
def test_powers_rotate_with_their_base(rotation, lmax, n, seed, dtype):
    (x,) = functions(seed, lmax, dtype=dtype)
    z = so3.gaunt_power(x, n, lmax)
    got = so3.gaunt_power(reference.rotate(x, rotation).astype(dtype), n, lmax)
    check(got, reference.rotate(z, rotation), ROTATED[dtype])


@few
@given(rotations(), degrees, degrees, seeds, dtypes)
def test_convolutions_rotate_with_features_and_directions(rotation, l1, l2, seed, dtype):
    (x,) = functions(seed, l1, dtype=dtype)
    rng = np.random.default_rng(seed)
    directions, w = rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(2, l2 + 1, 3)).astype(dtype)
    z = so3.gaunt_conv(x, directions, w)
    got = so3.gaunt_conv(reference.rotate(x, rotation).astype(dtype), (directions @ rotation.T).astype(dtype), w)
    check(got, reference.rotate(z, rotation), ROTATED[dtype])


# ---------------------------------------------------------------------------------------------------------------------
# The algebra of functions


@few
@given(degrees, seeds, methods, dtypes)
def test_one_is_the_identity(lmax, seed, method, dtype):
    """(1, 0, 0, ...) is the constant 1 in component normalisation, and commutes with everything."""
    (x,) = functions(seed, lmax, dtype=dtype)
    one = np.zeros_like(x)
    one[:, 0] = 1
    for unit in (one, np.ones((1, 1), dtype)):
        even, *odd = parts(unit, x, method=method)
        check(even, x.astype(np.float64), LIMIT[dtype])
        for o in odd:
            check(o, np.zeros(x.shape), LIMIT[dtype], np.abs(x).max() * lmax * (lmax + 1))


@few
@given(degrees, degrees, st.integers(0, 12), seeds, methods)
def test_products_commute_and_brackets_anticommute(l1, l2, l3, seed, method):
    l3 = min(l3, l1 + l2)
    x, y = functions(seed, l1, l2)
    even, *odd = parts(x, y, l3, method=method)
    even_back, *odd_back = parts(y, x, l3, method=method)
    check(even, even_back, EXACT)
    for a, b in zip(odd, odd_back, strict=True):
        check(a, -b, EXACT, size_of_bracket(x, y))


@few
@given(degrees, seeds, odd_methods)
def test_the_bracket_of_a_function_with_itself_vanishes(lmax, seed, method):
    (x,) = functions(seed, lmax)
    scale = np.abs(x).max() ** 2 * components(lmax) ** 1.5  # of the two terms of the bracket, which cancel
    check(bracket(x, x, lmax, method=method), np.zeros(x.shape), EXACT, scale)


@few
@given(positive, positive, positive, seeds, methods)
def test_products_associate(l1, l2, l3, seed, method):
    """At the full bandlimit, where nothing is cut off."""
    x, y, z = functions(seed, l1, l2, l3)
    left = so3.gaunt_product(so3.gaunt_product(x, y, l1 + l2, method=method), z, l1 + l2 + l3, method=method)
    right = so3.gaunt_product(x, so3.gaunt_product(y, z, l2 + l3, method=method), l1 + l2 + l3, method=method)
    check(left, right, EXACT)


@few
@given(positive, positive, positive, seeds, odd_methods)
def test_jacobi(l1, l2, l3, seed, method):
    """{f, {g, h}} + {g, {h, f}} + {h, {f, g}} = 0. Fails for couplings with one wrong sign."""
    arrays = functions(seed, l1, l2, l3)
    total = l1 + l2 + l3
    terms = []
    for i in range(3):
        f, g, h = arrays[i], arrays[(i + 1) % 3], arrays[(i + 2) % 3]
        inner = bracket(g, h, total - (l1, l2, l3)[i], method=method)
        terms.append(bracket(f, inner, total, method=method))
    check(terms[0] + terms[1], -terms[2], EXACT, max(np.abs(t).max() for t in terms))


@few
@given(positive, positive, positive, seeds, odd_methods)
def test_leibniz(l1, l2, l3, seed, method):
    """{f g, h} = f {g, h} + {f, h} g ties the odd couplings to the even ones, up to one factor."""
    f, g, h = functions(seed, l1, l2, l3)
    top = l1 + l2 + l3

    def product(x, y, lmax_out):
        return so3.gaunt_product(x, y, lmax_out, method=method)

    left = bracket(product(f, g, l1 + l2), h, top, method=method)
    first = product(f, bracket(g, h, l2 + l3, method=method), top)
    second = product(bracket(f, h, l1 + l3, method=method), g, top)
    check(left, first + second, EXACT, max(np.abs(a).max() for a in (left, first, second)))


@few
@given(degrees, degrees, degrees, seeds, methods)
def test_the_couplings_are_symmetric_in_all_three(l1, l2, l3, seed, method):
    """<f g, h> = <f, g h> and <{f, g}, h> = <f, {g, h}>: what the gradients rest on."""
    f, g, h = functions(seed, l1, l2, l3)
    fg = parts(f, g, min(l3, l1 + l2), method=method)
    gh = parts(g, h, min(l1, l2 + l3), method=method)
    sizes = [np.abs(reference.gaunt_product(a, b, method="grid")).max() for a, b in ((f, g), (g, h))]
    sizes = [sizes, [size_of_bracket(f, g), size_of_bracket(g, h)]]
    for a, b, (size_fg, size_gh) in zip(fg, gh, sizes, strict=False):
        left = np.einsum("nkc,nkc->nc", a, h[:, : a.shape[1]])
        right = np.einsum("nkc,nkc->nc", f[:, : b.shape[1]], b)
        scale = size_fg * np.abs(h).sum(1).max() + size_gh * np.abs(f).sum(1).max()  # of the terms of the sums
        check(left, right, EXACT, scale)


@few
@given(degrees, degrees, seeds, methods)
def test_products_are_bilinear(l1, l2, seed, method):
    x, u, y = functions(seed, l1, l1, l2)
    left = so3.gaunt_product(2 * x - 3 * u, y, method=method)
    first, second = (so3.gaunt_product(a, y, method=method) for a in (x, u))
    check(left, 2 * first - 3 * second, EXACT, max(np.abs(a).max() for a in (left, 2 * first, 3 * second)))


@few
@given(degrees, degrees, seeds, methods)
def test_products_are_pointwise(l1, l2, seed, method):
    """At any point of the sphere the product of the functions is the product of their values."""
    x, y = functions(seed, l1, l2)
    z = so3.gaunt_product(x, y, l1 + l2, method=method)
    r = np.random.default_rng(seed).normal(size=(5, 3))

    def values(a, lmax):
        return np.einsum("pk,nkc->npc", reference.spherical_harmonics(range(lmax + 1), r), a)

    scale = np.abs(z).max() * components(l1 + l2)  # of the sum that gives one value
    check(values(z, l1 + l2), values(x, l1) * values(y, l2), EXACT, scale)


@few
@given(degrees, seeds)
def test_powers_multiply(lmax, seed):
    """x^2 x^3 = x^5."""
    (x,) = functions(seed, lmax)
    two, three = so3.gaunt_power(x, 2, 2 * lmax), so3.gaunt_power(x, 3, 3 * lmax)
    check(so3.gaunt_product(two, three, lmax), so3.gaunt_power(x, 5, lmax), EXACT)


@few
@given(degrees, degrees, seeds)
def test_convolution_is_the_product_with_a_peak(l1, l2, seed):
    """With unit weights the filter is the reproducing kernel: the mean of the product is the function's value there."""
    (x,) = functions(seed, l1)
    direction = np.random.default_rng(seed).normal(size=(2, 3))
    got = so3.gaunt_conv(x, direction, lmax_filter=max(l1, l2), lmax_out=0)[:, 0]
    want = np.einsum("nk,nkc->nc", reference.spherical_harmonics(range(l1 + 1), direction), x)
    check(got, want, EXACT, np.abs(x).max() * components(l1))
