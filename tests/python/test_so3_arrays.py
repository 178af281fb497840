"""What arrays telamon.so3 takes: strides, leading dimensions, out=; what NaN touches; what bits do not depend on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from so3_support import DTYPES, LIMIT, METHODS, check, components, features, parts, same_bits

import telamon
from telamon import so3
from telamon.reference import so3 as reference

LMAX = [1, 2, 3, 4, 5, 6, 11]  # from each algorithm and each side of a border between two
NAN = np.nan


def strided(a, axis):
    wide = np.full([2 * n if i == axis % a.ndim else n for i, n in enumerate(a.shape)], NAN, a.dtype)
    view = wide[tuple(slice(None, None, 2) if i == axis % a.ndim else slice(None) for i in range(a.ndim))]
    view[...] = a
    return view


def unaligned(a):
    raw = np.empty(a.nbytes + 1, np.uint8)
    raw[1:] = np.ascontiguousarray(a).view(np.uint8).ravel()
    return raw[1:].view(a.dtype).reshape(a.shape)


LAYOUTS = {
    "samples strided": lambda a: strided(a, 0),
    "components strided": lambda a: strided(a, -2),
    "channels strided": lambda a: strided(a, -1),
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
    "channels reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "Fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2),
    "part of more channels": lambda a: np.concatenate([a, np.full_like(a, NAN)], -1)[..., : a.shape[-1]],
    "unaligned": unaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: np.broadcast_to(a, a.shape),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_matter(isa, layout, dtype):
    """To the bit. Byte-swapped arrays may be refused, but must not be read as if they were native."""
    for lmax in LMAX:
        x, y = features(0, lmax, 9, dtype=dtype), features(1, lmax, 9, dtype=dtype)
        want = so3.gaunt_product(x, y, parity="complete")
        for a, b in ((LAYOUTS[layout](x), y), (x, LAYOUTS[layout](y)), (LAYOUTS[layout](x), LAYOUTS[layout](y))):
            try:
                got = so3.gaunt_product(a, b, parity="complete")
            except TypeError:
                assert layout == "byte-swapped"
            else:
                assert same_bits(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_broadcast_strides(method, dtype):
    """A zero stride along samples, channels or components."""
    x, y = features(2, 3, 9, dtype=dtype), features(3, 3, 9, dtype=dtype)
    for view in (
        np.broadcast_to(x[:1], x.shape),
        np.broadcast_to(x[..., :1], x.shape),
        np.broadcast_to(x[:, :1], x.shape),
    ):
        want = parts(view.copy(), y, method=method)
        assert same_bits(parts(view, y, method=method), want)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("of_x", "of_y"),
    [
        ((), ()),
        ((4,), ()),
        ((), (4,)),
        ((4,), (1,)),
        ((2, 3), (3,)),
        ((2, 1), (1, 3)),
        ((2, 1, 4), (3, 1)),
        ((5, 1, 2), (5, 3, 2)),
        ((0,), (0,)),
        ((0,), ()),
        ((1,), (0,)),
        ((2, 0, 3), (3,)),
    ],
)
def test_leading_dimensions(method, of_x, of_y):
    for c1, c2 in ((7, 7), (1, 7), (7, 1), (1, 1)):
        x, y = features(4, 2, c1, of_x), features(5, 3, c2, of_y)
        want = reference.gaunt_product(x, y, 4, parity="complete")
        got = parts(x, y, 4, method=method)
        assert got[0].shape == (*np.broadcast_shapes(of_x, of_y), 25, max(c1, c2))
        check(got, want[: len(got)], LIMIT[np.float64])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("lmax", [2, 3, 5])
def test_out(lmax, layout, dtype):
    """out= is what comes back, may have any strides, and nothing beside it is written."""
    x, y = features(6, lmax, 7, (2, 3), dtype), features(7, lmax, 7, (2, 3), dtype)
    if layout == "channels_first":
        x, y = x.swapaxes(-1, -2), y.swapaxes(-1, -2)
    want = so3.gaunt_product(x, y, parity="complete", layout=layout)
    for axis in (None, 0, 1, 2, 3, "reversed"):
        if axis is None:
            even, odd = np.full_like(want[0], NAN), np.full_like(want[0], NAN)
        elif axis == "reversed":
            even, odd = (np.full(want[0].shape, NAN, dtype)[:, ::-1, ::-1, ::-1] for _ in range(2))
        else:
            even, odd = (strided(np.full(want[0].shape, NAN, dtype), axis) for _ in range(2))
        got = so3.gaunt_product(x, y, layout=layout, out=even)
        assert got is even
        assert same_bits(even, so3.gaunt_product(x, y, layout=layout))
        got = so3.gaunt_product(x, y, parity="complete", layout=layout, out=(even, odd))
        assert got[0] is even
        assert got[1] is odd
        assert same_bits((even, odd), want)
        got = so3.gaunt_product(x, y, parity="complete", group="SO3", layout=layout, out=even)
        assert got is even
        assert same_bits(even, so3.gaunt_product(x, y, parity="complete", group="SO3", layout=layout))
        if isinstance(axis, int):  # the gaps
            beside = even.base[tuple(slice(1, None, 2) if i == axis else slice(None) for i in range(even.ndim))]
            assert np.isnan(beside).all()


def test_types_promote_as_in_numpy():
    x, y = features(24, 3, dtype=np.float32), features(25, 3)
    want = so3.gaunt_product(x.astype(np.float64), y)
    assert same_bits(so3.gaunt_product(x, y), want)
    assert same_bits(so3.gaunt_product(y, x), so3.gaunt_product(y, x.astype(np.float64)))
    out = np.full(want.shape, NAN, np.float32)
    assert so3.gaunt_product(x, y, out=out) is out
    assert same_bits(out, want.astype(np.float32))
    weights = (np.ones(4), None, None)  # weights are like Python's numbers: they do not widen
    assert same_bits(so3.gaunt_product(x, x, weights=weights), so3.gaunt_product(x, x))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", [0, 1])
def test_out_may_overlap_the_input(method, shift):
    """As in NumPy's own functions, the result is that of separate arrays."""
    memory = features(8, 3, 8, (5,))
    y = features(9, 3, 8, (4,))
    x, out = memory[:4], memory[shift : shift + 4]
    want = so3.gaunt_product(x.copy(), y, method=method)
    so3.gaunt_product(x, y, method=method, out=out)
    assert same_bits(out, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_sample_and_channel(isa, method, value, dtype):
    """Every other number keeps its bits; in the spoilt sample and channel nothing else could be asked."""
    for lmax in (1, 2, 3, 4, 6):
        for channels in (1, 7, 9, 17):
            x, y = features(10, lmax, channels, (5,), dtype), features(11, lmax, channels, (5,), dtype)
            clean = parts(x, y, method=method)
            for factor, component in ((x, 0), (x, components(lmax) - 1), (y, lmax)):
                sample, channel = 2, channels // 2
                before, factor[sample, component, channel] = factor[sample, component, channel], value
                got = parts(x, y, method=method)
                factor[sample, component, channel] = before
                assert not np.isfinite(got[0][sample, :, channel]).all()
                for g, c in zip(got, clean, strict=True):
                    g[sample, :, channel] = c[sample, :, channel]
                assert same_bits(got, clean)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_bits_do_not_depend_on_the_threads(isa, method, dtype):
    before = telamon.get_num_threads()
    try:
        for lmax in (2, 3, 4, 8):
            x, y = features(12, lmax, 33, (64,), dtype), features(13, lmax, 33, (64,), dtype)
            telamon.set_num_threads(1)
            want = parts(x, y, method=method)
            for count in (2, 3, 8):
                telamon.set_num_threads(count)
                assert same_bits(parts(x, y, method=method), want)
    finally:
        telamon.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_bits_do_not_depend_on_the_position(isa, method, dtype):
    """Of a sample in the batch, of a channel among the channels; nor on the size of either."""
    for lmax in LMAX[:-1] if method == "sparse" else LMAX:
        x, y = features(14, lmax, 19, (6,), dtype), features(15, lmax, 19, (6,), dtype)

        def product(x, y):
            return np.stack(parts(x, y, method=method))

        want = product(x, y)
        rng = np.random.default_rng(16)
        order = rng.permutation(6)
        assert same_bits(product(x[order], y[order]), want[:, order])
        order = rng.permutation(19)
        assert same_bits(product(x[..., order], y[..., order]), want[..., order])
        for sample, channels in ((0, slice(0, 1)), (5, slice(18, 19)), (3, slice(2, 11)), (2, slice(3, 10))):
            assert same_bits(product(x[sample, :, channels], y[sample, :, channels]), want[:, sample, :, channels])


def test_python_threads_may_be_the_first_to_need_a_table():
    """Degrees that no other test takes, so that the tables are made here, by eight callers at once."""
    x, y = features(26, 7, 3), features(27, 14, 3)
    for lmax_out in (5, 8, 15):
        with ThreadPoolExecutor(8) as executor:
            many = list(executor.map(so3.gaunt_product, [x] * 8, [y] * 8, [lmax_out] * 8))
        check(many[0], reference.gaunt_product(x, y, lmax_out, method="grid"), LIMIT[np.float64])
        assert all(same_bits(one, many[0]) for one in many)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_factors_of_different_size(method, dtype):
    """The error is relative to the product, also where one factor is tiny beside the other."""
    for lmax in (2, 5):
        x, y = features(17, lmax, dtype=dtype), features(18, lmax, dtype=dtype)
        want = reference.gaunt_product(x, y, parity="complete")
        for small, large in ((2.0**-30, 2.0**10), (2.0**10, 2.0**-30), (2.0**-40, 2.0**40)):
            got = parts(x * dtype(small), y * dtype(large), method=method)
            check(got, tuple(part * small * large for part in want[: len(got)]), LIMIT[dtype])


def test_large_batches_agree_with_small_ones():
    """More samples than any block."""
    x, y = features(19, 2, 3, (5000,), np.float32), features(20, 2, 3, (5000,), np.float32)
    whole = so3.gaunt_product(x, y)
    for start in range(0, 5000, 777):
        part = slice(start, start + 777)
        assert same_bits(so3.gaunt_product(x[part], y[part]), whole[part])
