"""telamon.so3.gaunt_product against exact 3j couplings and dense float64 grids: every triple of degrees, method,
parity, dtype, instruction set, thread count, normalisation, layout and shape of weights.

The bounds are the design's: float64 <= 1e-12 max|z|, float32 <= 1e-6 max|z| up to degree 64.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from so3_support import DTYPES, LIMIT, METHODS, ODD_METHODS, PARITIES, check, components, features, parts

from telamon import so3
from telamon.reference import so3 as reference

# (lmax of x, of y, of z): equal and unequal, z below both, between, above, and at the full bandlimit
DEGREES = [
    (0, 0, 0),
    (0, 3, 3),
    (3, 0, 2),
    (1, 1, 1),
    (1, 1, 2),
    (2, 2, 2),
    (1, 2, 3),
    (3, 3, 3),
    (3, 3, 6),
    (4, 4, 4),
    (5, 2, 4),
    (2, 6, 7),
    (4, 4, 0),
    (6, 6, 6),
    (8, 1, 5),
    (8, 8, 8),
]
HIGH_DEGREES = [(l, l, l) for l in (9, 11, 12, 16, 17, 24, 25, 32)]
HIGH_DEGREES += [(32, 3, 30), (1, 20, 21), (12, 24, 16), (13, 13, 26), (31, 30, 5)]
EXACT = 8  # the couplings are tabulated up to here


# ---------------------------------------------------------------------------------------------------------------------
# The reference against itself: two ways that share nothing but the convention


def test_3j_symbols_are_orthogonal():
    """sum over m1, m2 of 3j^2 = 1/(2 l3 + 1), in rationals (DLMF 34.3.16)."""
    for l1, l2, l3 in [(0, 0, 0), (1, 2, 3), (4, 4, 5), (8, 7, 9), (8, 8, 16)]:
        for m3 in range(-l3, l3 + 1):
            pairs = ((m1, -m3 - m1) for m1 in range(-l1, l1 + 1))
            total = sum(abs(reference.wigner_3j(l1, l2, l3, m1, m2, m3)) for m1, m2 in pairs)
            assert total * (2 * l3 + 1) == 1


@pytest.mark.parametrize("parity", PARITIES)
def test_exact_couplings_agree_with_the_grid(parity):
    """Also fixes the sign of the odd couplings, which the 3j symbols leave open: the grid has the bracket itself."""
    x, y = features(0, EXACT), features(1, EXACT)
    exact, grid = (reference.gaunt_product(x, y, parity=parity, method=method) for method in ("exact", "grid"))
    check(grid, exact, 1e-14)


@pytest.mark.parametrize("degrees", [(4, 4, 4), (3, 4, 5), (2, 5, 7)])
def test_the_minimal_grid_passes_and_one_node_fewer_fails(degrees):
    l1, l2, l3 = degrees
    x, y = features(2, l1), features(3, l2)
    want = reference.gaunt_product(x, y, l3)
    n_theta, n_phi = reference.minimal_nodes(sum(degrees))

    def error(n_theta, n_phi):
        got = reference.gaunt_product(x, y, l3, method="grid", nodes=(n_theta, n_phi))
        return np.abs(got - want).max() / np.abs(want).max()

    assert error(n_theta, n_phi) < 1e-14
    assert error(n_theta - 1, n_phi) > 1e-3
    assert error(n_theta, n_phi - 1) > 1e-3


# ---------------------------------------------------------------------------------------------------------------------
# Coefficients


def dense(l1, l2, l3):
    """The table as an array; fails on an entry that is zero, repeated or out of range."""
    table = so3.gaunt_coefficients(l1, l2, l3)
    block = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    i, j, k, value = (np.asarray(column) for column in table)
    assert len(i) == len(j) == len(k) == len(value)
    assert (value != 0).all()
    assert min(i.min(initial=0), j.min(initial=0), k.min(initial=0)) >= 0
    np.add.at(block, (i, j, k), value)
    assert np.count_nonzero(block) == len(value)
    return block


def test_coefficients():
    """Every triple of degrees up to 8; a table is a product of roots of rationals, so a few roundings are allowed."""
    for l1 in range(EXACT + 1):
        for l2 in range(EXACT + 1):
            for l3 in range(EXACT + 1):
                want = reference.gaunt_coefficients(l1, l2, l3)
                got = dense(l1, l2, l3)
                assert np.array_equal(got != 0, want != 0), (l1, l2, l3)
                check(got, want, 1e-14)


@pytest.mark.parametrize("degrees", [(12, 9, 15), (16, 2, 16), (5, 10, 15)])
def test_coefficients_of_higher_degrees(degrees):
    want = reference.gaunt_coefficients(*degrees)
    got = dense(*degrees)
    assert np.array_equal(got != 0, want != 0)
    check(got, want, LIMIT[np.float64])


def test_coefficients_have_names():
    table = so3.gaunt_coefficients(1, 1, 0)
    np.testing.assert_array_equal(table.i, table.j)
    np.testing.assert_array_equal(np.sort(table.i), [0, 1, 2])
    np.testing.assert_array_equal(table.k, [0, 0, 0])
    np.testing.assert_allclose(table.value, np.sqrt(1 / (4 * np.pi)), rtol=1e-14)  # Y_00 times the unit matrix


# ---------------------------------------------------------------------------------------------------------------------
# Products


@functools.cache
def shared_truth(degrees, channels, samples, dtype):
    """Factors of these degrees and their complete product on the dense grid, for all methods and instruction sets."""
    x, y = (features(seed, l, channels, (samples,), dtype) for seed, l in zip((10, 11), degrees, strict=False))
    return x, y, reference.gaunt_product(x, y, degrees[2], parity="complete", method="grid")


def true_product(x, y, l3, parity):
    """The exact product, and the scale of each part.

    That of the bracket is its size over all degrees: to low ones it may contribute nothing but rounding, since its mean
    over the sphere is zero.
    """
    even = reference.gaunt_product(x, y, l3)
    if parity == "even":
        return even, np.abs(even).max()
    l1, l2 = (round(a.shape[-2] ** 0.5) - 1 for a in (x, y))
    method = "exact" if max(l1, l2, l3) <= EXACT else "grid"
    odd = reference.gaunt_product(x, y, max(l1, l2, l3), parity="complete", method=method)[1]
    return (even, odd[..., : components(l3), :]), (np.abs(even).max(), np.abs(odd).max())


def check_product(got, want, scale, limit):
    if isinstance(want, tuple):
        for g, w, s in zip(got, want, scale, strict=True):
            check(g, w, limit, s)
    else:
        check(got, want, limit, scale)


@pytest.mark.parametrize("parity", PARITIES)
def test_every_triple_of_degrees(parity):
    for l1 in range(EXACT + 1):
        for l2 in range(EXACT + 1):
            x, y = features(4, l1), features(5, l2)
            top = min(l1 + l2, EXACT)
            want, scale = true_product(x, y, top, parity)
            for l3 in range(top + 1):
                got = so3.gaunt_product(x, y, l3, parity=parity)
                k = components(l3)
                if parity == "even":
                    check(got, want[..., :k, :], LIMIT[np.float64])
                else:
                    check(got[0], want[0][..., :k, :], LIMIT[np.float64])
                    check(got[1], want[1][..., :k, :], LIMIT[np.float64], scale[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("method", "parity"), [*((m, "even") for m in METHODS), *((m, "complete") for m in ODD_METHODS)]
)
@pytest.mark.parametrize("degrees", DEGREES, ids=str)
def test_methods(degrees, method, parity, dtype):
    l1, l2, l3 = degrees
    x, y = features(6, l1, dtype=dtype), features(7, l2, dtype=dtype)
    got = so3.gaunt_product(x, y, l3, parity=parity, method=method)
    assert all(part.dtype == dtype for part in (got if isinstance(got, tuple) else (got,)))
    check_product(got, *true_product(x, y, l3, parity), LIMIT[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lmax", [1, 2, 3, 4, 6, 10])
def test_instruction_sets_threads_and_channels(isa, threads, lmax, dtype):
    """Less, more and just as many channels as a vector has lanes; enough samples for both threads."""
    for channels in (1, 7, 8, 9, 32):
        for samples in (1, 19):
            x, y, want = shared_truth((lmax, lmax, lmax), channels, samples, dtype)
            check(so3.gaunt_product(x, y, parity="complete"), want, LIMIT[dtype])
            check(so3.gaunt_product(x, y), want[0], LIMIT[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["auto", "grid", "fourier"])
@pytest.mark.parametrize("degrees", HIGH_DEGREES, ids=str)
def test_high_degrees(isa, degrees, method, dtype):
    x, y, want = shared_truth(degrees, 9, 2, dtype)
    got = parts(x, y, degrees[2], method=method)
    check(got, want[: len(got)], LIMIT[dtype])
    check(so3.gaunt_product(x, y, degrees[2], method=method), want[0], LIMIT[dtype])


@pytest.mark.parametrize("method", ["auto", "grid", "fourier"])
@pytest.mark.parametrize("degrees", [(48, 48, 48), (64, 64, 64), (64, 40, 50)], ids=str)
def test_single_precision_up_to_degree_64(degrees, method):
    x, y, want = shared_truth(degrees, 7, 1, np.float32)
    got = parts(x, y, degrees[2], method=method)
    check(got, want[: len(got)], LIMIT[np.float32])
    check(so3.gaunt_product(x, y, degrees[2], method=method), want[0], LIMIT[np.float32])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
@pytest.mark.parametrize("method", METHODS)
def test_normalizations_and_layouts(method, normalization, layout, dtype):
    for l1, l2, l3 in [(2, 2, 2), (3, 1, 4), (5, 4, 6)]:
        x, y = features(14, l1, 7, dtype=dtype), features(15, l2, 7, dtype=dtype)
        options = {"normalization": normalization, "layout": layout}
        if layout == "channels_first":
            x, y = (np.ascontiguousarray(a.swapaxes(-1, -2)) for a in (x, y))
        pair = reference.gaunt_product(x, y, l3, parity="complete", **options)
        check(so3.gaunt_product(x, y, l3, method=method, **options), pair[0], LIMIT[dtype])
        if method in ODD_METHODS:
            check(so3.gaunt_product(x, y, l3, method=method, parity="complete", **options), pair, LIMIT[dtype])
            both = so3.gaunt_product(x, y, l3, method=method, parity="complete", group="SO3", **options)
            check(both, pair[0] + pair[1], LIMIT[dtype])


def test_default_degree_of_the_output():
    x, y = features(16, 3), features(17, 5)
    assert so3.gaunt_product(x, y).shape == (3, 36, 5)
    assert so3.gaunt_product(y, x).shape == (3, 36, 5)


def test_closed_forms():
    """Linear functions f = a.r, g = b.r have f g = a.b/3 + quadratic terms and {f, g} = (a x b).r; Y_1 = sqrt 3 r."""
    rng = np.random.default_rng(18)
    a, b = rng.normal(size=(2, 4, 3))
    x, y = (np.concatenate([np.zeros((4, 1)), v], 1)[..., None] for v in (a, b))
    even, odd = so3.gaunt_product(x, y, 2, parity="complete")
    np.testing.assert_allclose(even[:, 0, 0], (a * b).sum(1), rtol=1e-13)
    np.testing.assert_allclose(odd[:, 1:4, 0], np.sqrt(3) * np.cross(a, b), rtol=0, atol=1e-14)
    for rest in (even[:, 1:4], odd[:, 0], odd[:, 4:]):
        np.testing.assert_allclose(rest, 0, rtol=0, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# Weights


WEIGHTS = ["l l l", "lc none l", "none lc none", "none none l1", "lc lc lc", "l1 lc l", "none none none"]
WEIGHTS += ["rlc rlc rlc", "rl1 rlc none", "rl1 none lc", "l rl1 l1", "none none rlc", "1lc none l"]  # sums over ranks


def weights_of(shapes, degrees, channels, dtype):
    rng = np.random.default_rng(19)
    axes = {
        "none": None,
        "l": lambda l: (l + 1,),
        "lc": lambda l: (l + 1, channels),
        "l1": lambda l: (l + 1, 1),
        "rlc": lambda l: (3, l + 1, channels),
        "rl1": lambda l: (3, l + 1, 1),
        "1lc": lambda l: (1, l + 1, channels),
    }
    return tuple(
        None if axes[s] is None else rng.normal(size=axes[s](l)).astype(dtype)
        for s, l in zip(shapes.split(), degrees, strict=True)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("shapes", WEIGHTS)
def test_weights(shapes, layout, dtype):
    for degrees in [(2, 2, 2), (3, 2, 4), (5, 6, 5)]:
        l1, l2, l3 = degrees
        x, y = features(20, l1, 7, dtype=dtype), features(21, l2, 7, dtype=dtype)
        if layout == "channels_first":
            x, y = x.swapaxes(-1, -2), y.swapaxes(-1, -2)
        options = {"weights": weights_of(shapes, degrees, 7, dtype), "layout": layout}
        pair = reference.gaunt_product(x, y, l3, parity="complete", **options)
        check(so3.gaunt_product(x, y, l3, parity="complete", **options), pair, LIMIT[dtype])
        for method in METHODS:
            check(so3.gaunt_product(x, y, l3, method=method, **options), pair[0], LIMIT[dtype])
        for method in ODD_METHODS:
            got = so3.gaunt_product(x, y, l3, parity="complete", group="SO3", method=method, **options)
            check(got, pair[0] + pair[1], LIMIT[dtype])
        want = reference.gaunt_product(x, y, l3, normalization="norm", **options)
        check(so3.gaunt_product(x, y, l3, normalization="norm", **options), want, LIMIT[dtype])


def test_weights_of_broadcast_channels():
    """Channels come from the weights' side of the product too: C = 1 in one factor."""
    x, y = features(22, 3, 1), features(23, 3, 7)
    weights = weights_of("l1 lc lc", (3, 3, 3), 7, np.float64)
    for a, b, w in ((x, y, weights), (y, x, (weights[1], weights[0], weights[2]))):
        check(so3.gaunt_product(a, b, weights=w), reference.gaunt_product(a, b, weights=w), LIMIT[np.float64])


def test_a_sum_of_no_products_is_zero():
    x, y = features(24, 2), features(25, 2)
    got = so3.gaunt_product(x, y, parity="complete", weights=(np.zeros((0, 3, 1)), None, None))
    assert not got[0].any()
    assert not got[1].any()
