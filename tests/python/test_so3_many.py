"""telamon.so3.gaunt_power, gaunt_monomial, gaunt_conv against repeated products, dense grids, explicit harmonics."""

from __future__ import annotations

import numpy as np
import pytest
from so3_support import DTYPES, LIMIT, check, components, features, same_bits

import telamon
from telamon import so3
from telamon.reference import so3 as reference

NORMALIZATIONS = ["component", "integral", "norm"]
TAKES = ["channels_last", "channels_first"]


def repeated(factors):
    """Their product, one after the other at the full bandlimit, where nothing is cut off."""
    z, *rest = factors
    for x in rest:
        degree = sum(round(a.shape[-2] ** 0.5) - 1 for a in (z, x))
        z = so3.gaunt_product(z, x, degree)
    return z


def as_layout(x, layout):
    return x if layout == "channels_last" else np.ascontiguousarray(x.swapaxes(-1, -2))


# ---------------------------------------------------------------------------------------------------------------------
# Powers and monomials


@pytest.mark.parametrize("lmax", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_power_is_repeated_product(n, lmax):
    x = features(0, lmax)
    check(so3.gaunt_power(x, n, n * lmax), repeated([x] * n), LIMIT[np.float64])


@pytest.mark.parametrize("powers", [(1,), (3,), (1, 1), (2, 1), (1, 3), (1, 1, 1), (2, 1, 2), (1, 1, 1, 1)])
def test_monomial_is_repeated_product(powers):
    for degrees in [(2, 2, 2, 2), (1, 3, 2, 0), (4, 1, 1, 2)]:
        factors = [features(seed, l) for seed, l in zip(range(len(powers)), degrees, strict=False)]
        every = [x for x, p in zip(factors, powers, strict=True) for _ in range(p)]
        top = sum(l * p for l, p in zip(degrees, powers, strict=False))
        check(so3.gaunt_monomial(factors, powers, top), repeated(every), LIMIT[np.float64])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", TAKES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_powers_on_the_grid(isa, threads, normalization, layout, dtype):
    options = {"normalization": normalization, "layout": layout}
    for lmax, n, lmax_out, channels in [(2, 3, 2, 9), (3, 2, 5, 7), (4, 4, 4, 1), (8, 3, 8, 9), (3, 3, 0, 16)]:
        x = as_layout(features(4, lmax, channels, (5,), dtype), layout)
        got = so3.gaunt_power(x, n, lmax_out, **options)
        assert got.dtype == dtype
        check(got, reference.gaunt_power(x, n, lmax_out, **options), LIMIT[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", TAKES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_monomials_on_the_grid(isa, threads, normalization, layout, dtype):
    options = {"normalization": normalization, "layout": layout}
    for degrees, powers, lmax_out in [((2, 3), (2, 1), 3), ((1, 2, 4), (3, 1, 1), 4), ((6, 5), (1, 2), 7)]:
        factors = [as_layout(features(5 + i, l, 9, (5,), dtype), layout) for i, l in enumerate(degrees)]
        got = so3.gaunt_monomial(factors, powers, lmax_out, **options)
        assert got.dtype == dtype
        check(got, reference.gaunt_monomial(factors, powers, lmax_out, **options), LIMIT[dtype])


def test_first_power_cuts_degrees_off():
    x = features(8, 4)
    check(so3.gaunt_power(x, 1), x, LIMIT[np.float64])
    check(so3.gaunt_power(x, 1, 2), x[:, :9], LIMIT[np.float64])


def test_default_degrees():
    x, y = features(9, 2), features(10, 4)
    assert so3.gaunt_power(x, 3).shape == x.shape
    assert so3.gaunt_monomial([x, y], [2, 1]).shape == y.shape


def test_monomials_take_arrays_as_products_do():
    """Strides, leading dimensions that broadcast, empty batches, out=."""
    x, y = features(11, 2, 7, (2, 1)), features(12, 3, 7, (3,))
    want = reference.gaunt_monomial([x, y], [2, 1], 3)
    check(so3.gaunt_monomial([x, y], [2, 1], 3), want, LIMIT[np.float64])
    plain = so3.gaunt_monomial([x, y], [2, 1], 3)
    reverse = x[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1]
    assert same_bits(so3.gaunt_monomial([reverse, np.asfortranarray(y)], [2, 1], 3), plain)
    out = np.full((2, 3, 7, 16), np.nan).swapaxes(-1, -2)
    assert so3.gaunt_monomial([x, y], [2, 1], 3, out=out) is out
    assert same_bits(out, plain)
    assert so3.gaunt_power(x, 2, out=(out := np.full_like(x, np.nan))) is out
    assert same_bits(out, so3.gaunt_power(x, 2))
    assert so3.gaunt_power(x[:0], 3).shape == (0, 1, 9, 7)
    assert so3.gaunt_power(x[0, 0], 3).shape == (9, 7)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_sample_and_channel(isa, value):
    for lmax in (2, 4):
        x = features(13, lmax, 9)
        clean = so3.gaunt_power(x, 3)
        x[1, 2, 4] = value
        got = so3.gaunt_power(x, 3)
        assert not np.isfinite(got[1, :, 4]).all()
        got[1, :, 4] = clean[1, :, 4]
        assert same_bits(got, clean)


def test_bits_of_powers(isa):
    """They depend on neither threads nor position."""
    before = telamon.get_num_threads()
    try:
        x = features(14, 4, 17, (40,), np.float32)
        telamon.set_num_threads(1)
        want = so3.gaunt_power(x, 3)
        for count in (2, 3):
            telamon.set_num_threads(count)
            assert same_bits(so3.gaunt_power(x, 3), want)
        order = np.random.default_rng(15).permutation(17)
        assert same_bits(so3.gaunt_power(x[..., order], 3), want[..., order])
        assert same_bits(so3.gaunt_power(x[7, :, 3:4], 3), want[7, :, 3:4])
    finally:
        telamon.set_num_threads(before)


# ---------------------------------------------------------------------------------------------------------------------
# Convolution with harmonics of directions


def graph(seed, lmax, nodes=6, edges=23, channels=7, dtype=np.float64):
    """Node features, edge directions of any length, senders and receivers, unsorted and repeated; node 2 gets none."""
    rng = np.random.default_rng([seed, 100])
    x = features(seed, lmax, channels, (nodes,), dtype)
    directions = (rng.normal(size=(edges, 3)) * rng.uniform(0.1, 10, (edges, 1))).astype(dtype)
    senders = rng.integers(0, nodes, edges)
    receivers = rng.choice([n for n in range(nodes) if n != 2], edges)
    senders[5], receivers[5], directions[5] = senders[4], receivers[4], directions[4]
    return x, directions, senders, receivers


def filter_of(shape, edges, lmax, channels, dtype):
    rng = np.random.default_rng(101)
    shapes = {"l": (lmax + 1,), "el": (edges, lmax + 1), "elc": (edges, lmax + 1, channels)}
    return None if shape == "none" else rng.normal(size=shapes[shape]).astype(dtype)


POLES = np.array([[0, 1, 0], [0, -1, 0], [1, 0, 0], [0, 0, 1], [0, 0, -1], [1e-20, 1, 0], [0, -1, 1e-9], [-1, 0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ["none", "l", "el", "elc"])
@pytest.mark.parametrize(
    "degrees", [(0, 2, 2), (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 2, 5), (6, 6, 6), (3, 8, 4)], ids=str
)
def test_convolution_is_a_product_with_harmonics(isa, degrees, shape, dtype):
    l1, l2, l3 = degrees
    x, directions, senders, receivers = graph(16, l1, dtype=dtype)
    w = filter_of(shape, len(directions), l2, 7, dtype)
    options = {"lmax_filter": l2} if shape == "none" else {}
    every = {**options, "senders": senders, "receivers": receivers, "num_receivers": 8}
    got = so3.gaunt_conv(x, directions, w, l3, **every)
    assert got.dtype == dtype
    check(got, reference.gaunt_conv(x, directions, w, l3, **every), LIMIT[dtype])
    assert not got[[2, 6, 7]].any()  # no edge leads there

    got = so3.gaunt_conv(x[senders], directions, w, l3, **options)  # features of edges, result of edges
    check(got, reference.gaunt_conv(x[senders], directions, w, l3, **options), LIMIT[dtype])
    assert same_bits(so3.gaunt_conv(x, directions, w, l3, senders=senders, **options), got)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", TAKES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_convolution_in_every_normalization_and_layout(normalization, layout, dtype):
    """Also as users would write it by hand, with the harmonics in the normalisation of the product."""
    x, directions, senders, receivers = graph(17, 2, dtype=dtype)
    w = filter_of("elc", len(directions), 3, 7, dtype)
    x = as_layout(x, layout)
    options = {"normalization": normalization, "layout": layout}
    every = {**options, "senders": senders, "receivers": receivers, "num_receivers": 6}
    got = so3.gaunt_conv(x, directions, w, 4, **every)
    check(got, reference.gaunt_conv(x, directions, w, 4, **every), LIMIT[dtype])
    harmonics = so3.spherical_harmonics([0, 1, 2, 3], directions, True, normalization)[:, :, None]
    y = as_layout((harmonics * np.repeat(w, [1, 3, 5, 7], 1)).astype(dtype), layout)
    z = so3.gaunt_product(x[senders], y, 4, **options)
    want = np.zeros((6, *z.shape[1:]))
    np.add.at(want, receivers, z)
    check(got, want, LIMIT[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_convolution_at_the_poles_and_along_the_axes(dtype):
    x, directions = features(18, 4, 7, (len(POLES),), dtype), POLES.astype(dtype)
    w = filter_of("el", len(POLES), 4, 7, dtype)
    check(so3.gaunt_conv(x, directions, w), reference.gaunt_conv(x, directions, w), LIMIT[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_lengths_of_directions_do_not_matter(dtype):
    """Not even where their squares leave the range of the type."""
    x, directions, _, _ = graph(19, 3, nodes=23, dtype=dtype)
    want = so3.gaunt_conv(x, directions, lmax_filter=3)
    for exponent in (-10, 10, -80, 80) if dtype is np.float32 else (-10, 10, -600, 600):
        length = 2.0**exponent
        check(so3.gaunt_conv(x, directions * dtype(length), lmax_filter=3), want, LIMIT[dtype])


def test_edges_are_summed_in_their_order():
    """Edges of other receivers in between, or more threads, change no bit."""
    before = telamon.get_num_threads()
    try:
        x, directions, senders, receivers = graph(20, 3, nodes=9, edges=400, channels=33, dtype=np.float32)
        w = filter_of("elc", 400, 3, 33, np.float32)

        def convolve(order):
            return so3.gaunt_conv(
                x, directions[order], w[order], senders=senders[order], receivers=receivers[order], num_receivers=9
            )

        telamon.set_num_threads(1)
        want = convolve(np.arange(400))
        for count in (1, 2, 3, 8):
            telamon.set_num_threads(count)
            assert same_bits(convolve(np.arange(400)), want)
            assert same_bits(convolve(np.argsort(receivers, kind="stable")), want)
        # and it is the plain sum, edge by edge, of what each edge brings
        edges = so3.gaunt_conv(x, directions, w, senders=senders)
        total = np.zeros_like(want)
        for receiver, edge in zip(receivers, edges, strict=True):
            total[receiver] += edge
        check(want, total, LIMIT[np.float32])
    finally:
        telamon.set_num_threads(before)


def test_no_edges():
    x = features(21, 2, 7, (4,))
    none = np.zeros(0, np.int64)
    got = so3.gaunt_conv(x, np.zeros((0, 3)), np.zeros((0, 3)), senders=none, receivers=none, num_receivers=4)
    assert same_bits(got, np.zeros((4, 9, 7)))
    assert so3.gaunt_conv(x[:0], np.zeros((0, 3)), lmax_filter=1).shape == (0, 9, 7)
    got = so3.gaunt_conv(x, np.zeros((0, 3)), lmax_filter=1, senders=none, receivers=none, num_receivers=0)
    assert got.shape == (0, 9, 7)


@pytest.mark.parametrize("index", [np.int32, np.int64, np.uint8])
def test_indices_of_any_integer_type_and_stride(index):
    x, directions, senders, receivers = graph(22, 2)
    want = so3.gaunt_conv(x, directions, lmax_filter=2, senders=senders, receivers=receivers, num_receivers=6)
    pair = np.stack([senders, receivers], 1).astype(index)  # edge lists are often kept so
    got = so3.gaunt_conv(x, directions, lmax_filter=2, senders=pair[:, 0], receivers=pair[:, 1], num_receivers=6)
    assert same_bits(got, want)


def test_convolution_takes_strides_and_out():
    x, directions, senders, receivers = graph(23, 3)
    w = filter_of("elc", len(directions), 2, 7, np.float64)
    options = {"senders": senders, "receivers": receivers, "num_receivers": 6}
    want = so3.gaunt_conv(x, directions, w, **options)
    got = so3.gaunt_conv(
        np.asfortranarray(x), np.asfortranarray(directions), w[:, ::-1, ::-1].copy()[:, ::-1, ::-1], **options
    )
    assert same_bits(got, want)
    out = np.full((6, 7, 16), np.nan).swapaxes(-1, -2)
    assert so3.gaunt_conv(x, directions, w, out=out, **options) is out
    assert same_bits(out, want)


def test_nan_stays_with_its_edge_receiver_and_channel():
    x, directions, senders, receivers = graph(24, 3, channels=9)
    options = {"lmax_filter": 2, "senders": senders, "receivers": receivers, "num_receivers": 6}
    clean = so3.gaunt_conv(x, directions, **options)
    x[3, 5, 4] = np.nan
    got = so3.gaunt_conv(x, directions, **options)
    reached = np.unique(receivers[senders == 3])
    assert np.isnan(got[reached, :, 4]).any()
    got[reached, :, 4] = clean[reached, :, 4]
    assert same_bits(got, clean)
    x[3, 5, 4] = 1
    clean = so3.gaunt_conv(x, directions, **options)
    directions[7, 1] = np.nan
    got = so3.gaunt_conv(x, directions, **options)
    assert np.isnan(got[receivers[7]]).any()
    got[receivers[7]] = clean[receivers[7]]
    assert same_bits(got, clean)


def test_filters_of_one_degree():
    """A filter of degree 0 alone multiplies by its weight."""
    x, directions, _, _ = graph(25, 4, nodes=23)
    check(so3.gaunt_conv(x, directions, np.array([3.0])), 3 * x, LIMIT[np.float64])
    assert so3.gaunt_conv(x, directions, lmax_filter=6).shape == (23, components(4), 7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_factors_of_different_size(dtype):
    """The error is relative to the result, also where one factor is tiny beside the others."""
    small, large = dtype(2.0**-30), dtype(2.0**12)
    x, y = features(26, 3, dtype=dtype), features(27, 4, dtype=dtype)
    want = reference.gaunt_monomial([x, y], [2, 1], 4)
    got = so3.gaunt_monomial([x * small, y * large], [2, 1], 4)
    check(got, want * (float(small) ** 2 * float(large)), LIMIT[dtype])
    x, directions, senders, receivers = graph(28, 3, dtype=dtype)
    w = filter_of("elc", len(directions), 2, 7, dtype)
    options = {"senders": senders, "receivers": receivers, "num_receivers": 6}
    want = reference.gaunt_conv(x, directions, w, **options)
    got = so3.gaunt_conv(x * large, directions, w * small, **options)
    check(got, want * (float(small) * float(large)), LIMIT[dtype])
