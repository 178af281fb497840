"""The compiled kernels of telamon.quant against their readable twins, brute force and dense least squares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quant_support import generator, layer, matrix

import telamon
from telamon import _core
from telamon.quant import _native
from telamon.quant._gptq import factors
from telamon.reference import quant as reference

EPS = float(np.finfo(np.float32).eps)


def bounded(got, want, bound):
    __tracebackhide__ = True
    error = np.abs(got - want)
    assert np.all(error <= bound), f"{(error / np.maximum(bound, 1e-300)).max():.3g} times the bound"


# ---- packing


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 200), st.integers(0, 2**32))
def test_pack_and_unpack(bits, rows, inputs, seed):
    codes = generator(seed).integers(0, 1 << bits, (rows, inputs)).astype(np.uint8)
    packed = _native.pack(codes, bits)
    assert packed.shape[1] == -(-inputs // 64) * 8 * bits
    assert np.array_equal(packed, reference.pack(codes, bits))
    assert np.array_equal(_native.unpack(packed, bits, inputs), codes)
    assert np.array_equal(reference.unpack(packed, bits, inputs), codes)


# ---- products


@pytest.mark.parametrize("inputs", [1, 63, 64, 65, 576, 1000])
@pytest.mark.parametrize("bits", range(1, 9))
def test_products_against_double(bits, inputs, isa):
    for group_size in (None, 64, 128, 40):
        w = matrix(7, inputs, bits, group_size)
        dense = w.dequantize()
        want = reference.dequantize(w.codes(), w.codebooks.astype(np.float32), group_size or 0)
        assert np.array_equal(dense, want)
        for batch in (1, 2, 5, 33):
            x = (generator(batch).standard_normal((batch, inputs)) * 3).astype(np.float32)
            truth, size = x.astype(np.float64) @ want.T.astype(np.float64), np.abs(x) @ np.abs(want).T
            rounding = inputs * EPS * size  # of sums in any order
            bounded(w.matmul(x), truth, rounding)
            bounded(w.matmul(x, precision="fast"), truth, fast_bound(w, dense, x) + rounding)


def fast_bound(w, dense, x):
    """What telamon/quant.hpp states: 2^-14 sum over blocks of max|x| sum|w| + max|c| sum|x|."""
    total = np.zeros((len(x), len(dense)))
    largest = np.abs(w.codebooks.astype(np.float64)).max(axis=2)  # (rows, groups)
    for first in range(0, dense.shape[1], 64):
        part = slice(first, first + 64)
        group = 0 if w.group_size is None else np.unique(np.arange(first, min(first + 64, w.shape[1])) // w.group_size)
        c = largest[:, group].reshape(len(dense), -1).max(axis=1)
        xs, ws = np.abs(x[:, part]), np.abs(dense[:, part])
        total += np.outer(xs.max(axis=1), ws.sum(axis=1)) + np.outer(xs.sum(axis=1), c)
    return 2.0**-14 * total


def test_products_are_the_same_on_any_number_of_threads(isa):
    before = telamon.get_num_threads()
    w = matrix(300, 200, 3)
    rng = generator(1)
    xs = [rng.standard_normal((batch, 200)) for batch in (1, 4, 40)]
    try:
        results = []
        for threads in (1, 2, 3):
            telamon.set_num_threads(threads)
            results.append([w.matmul(x, precision=p).tobytes() for x in xs for p in ("exact", "fast")])
    finally:
        telamon.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_nan_in_inputs_stays_where_it_is(isa):
    w = matrix(5, 130, 4)
    x = generator(2).standard_normal((3, 130)).astype(np.float32)
    x[1, 7] = np.nan
    for precision in ("exact", "fast"):
        assert np.array_equal(np.isnan(w.matmul(x, precision=precision)).all(axis=1), [False, True, False])
        assert not np.isnan(w.matmul(x[[0, 2]], precision=precision)).any()


# ---- codes and codebooks


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**32))
def test_nearest(bits, inputs, seed):
    rng = generator(seed)
    books = np.sort(rng.integers(-8, 8, (2, 1 << bits)), axis=1).astype(np.float32)  # with ties and repetitions
    w = rng.integers(-40, 40, (2, inputs)).astype(np.float32) / 4
    codes = _native.nearest(w, books)
    nearest = np.abs(books[:, None] - w[:, :, None]).argmin(axis=2)  # the first, so the lower of two
    assert np.array_equal(np.take_along_axis(books, codes, axis=1), np.take_along_axis(books, nearest, axis=1))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6])
def test_kmeans_is_lloyds_fixed_point(bits):
    rng = generator(bits)
    w, mass = rng.standard_normal((6, 150)).astype(np.float32), rng.uniform(0, 2, 150)
    mass[:5] = 0
    books, codes = _native.kmeans(w, mass, 1 << bits)
    assert (np.diff(books, axis=1) >= 0).all()
    assert np.array_equal(codes, _native.nearest(w, books))
    for row, book, code in zip(w.astype(np.float64), books, codes, strict=True):
        for level in np.unique(code[mass > 0]):
            members = (code == level) & (mass > 0)
            mean = np.average(row[members], weights=mass[members])
            assert abs(book[level] - mean) <= 4 * EPS * np.abs(row).max()


def test_kmeans_of_few_numbers_is_exact():
    for w in ([[1.0]], [[0.0, 0, 0]], [[3.0, 1, 2, 5, 5]]):
        w = np.array(w, np.float32)
        books, codes = _native.kmeans(w, None, 8)
        assert np.array_equal(np.take_along_axis(books, codes, axis=1), w)


@pytest.mark.parametrize(("inputs", "tokens"), [(12, 40), (20, 8), (1, 3)])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gptq_against_its_definition(bits, inputs, tokens):
    w, h = layer(9, inputs, tokens)
    books, _ = _native.kmeans(w, None, 1 << bits)
    for order in (np.arange(inputs), generator(1).permutation(inputs)):
        r, u = factors("", h, order, 0.01)
        damped = h + 0.01 * h.diagonal().mean() * np.eye(inputs)
        scale = np.abs(damped).max()
        np.testing.assert_allclose(r @ r.T, damped[np.ix_(order, order)], atol=1e-12 * scale)
        np.testing.assert_allclose(u @ r, np.eye(inputs), atol=1e-9)
        assert np.array_equal(np.tril(u, -1), np.zeros_like(u))
        codes = _native.gptq(w, np.ascontiguousarray(u), order.astype(np.int64), books)
        assert np.array_equal(codes, reference.gptq(w, damped, order, books))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("inputs", "tokens"), [(10, 30), (33, 100), (24, 9)])
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_lnq_step_by_step_as_its_twin(bits, inputs, tokens, half, isa):
    w, h = layer(11, inputs, tokens)
    start, q = _native.kmeans(w, h.diagonal().copy(), 1 << bits)
    books, codes = start.copy(), q.copy()
    trace, objectives = _native.lnq(w, h, books, codes, 2, 3, half)
    want_books, want_codes, want_trace = reference.lnq(w, h, start, q, 2, 3, half)
    # The twin solves by least squares, the kernel normal equations with a ridge of 1e-12.
    np.testing.assert_allclose(trace, want_trace, rtol=1e-6)
    got, want = (np.take_along_axis(b, c.astype(int), axis=1) for b, c in ((books, codes), (want_books, want_codes)))
    same = np.isclose(got, want, rtol=1e-4, atol=1e-4).all(axis=1)
    # A singular H leaves directions in which codebooks are free: there only the objective is one and the same.
    assert same.all() or tokens < inputs
    np.testing.assert_allclose(objectives, reference.objective(w, h, books, codes), rtol=1e-9, atol=1e-9)
    assert (np.diff(trace) <= 0).all()


@pytest.mark.parametrize(("inputs", "tokens"), [(6, 20), (6, 3)])
def test_lnq_against_brute_force_over_all_assignments(inputs, tokens):
    w, h = layer(8, inputs, tokens)
    values, vectors = np.linalg.eigh(h)
    root = (vectors * np.sqrt(np.maximum(values, 0))).T
    best, codes, books = np.full(8, np.inf), np.zeros((8, inputs), np.uint8), np.zeros((8, 2), np.float32)
    for assignment in itertools.product(range(2), repeat=inputs):
        q = np.array(assignment)
        select = np.eye(2)[q]
        c = np.linalg.lstsq(root @ select, root @ w.T.astype(np.float64), rcond=1e-11)[0].T
        found = np.square((c[:, q] - w) @ root.T).sum(axis=1)
        for row in np.flatnonzero((found < best) & (c[:, 0] <= c[:, 1])):
            best[row], codes[row], books[row] = found[row], q, c[row]
    slack = 1e-6 * np.einsum("ri,ij,rj->r", w, h, w)  # codebooks in float32
    _, at_best = _native.lnq(w, h, books.copy(), codes.copy(), 2, 4, False)
    assert (np.abs(at_best - best) <= slack).all()
    start, q = _native.kmeans(w, h.diagonal().copy(), 2)
    _, got = _native.lnq(w, h, start, q, 5, 5, False)
    assert (got >= best - slack).all()
    # A local search: most rows, not all, end at the optimum.
    assert np.count_nonzero(got <= best + slack) >= 2


def test_lnq_codebooks_against_dense_least_squares():
    w, h = layer(10, 40, 200)
    books, codes = _native.kmeans(w, None, 4)
    _native.lnq(w, h, books, codes, 1, 0, False)
    root = np.linalg.cholesky(h).T
    for row, book, q in zip(w.astype(np.float64), books, codes, strict=True):
        want = np.linalg.lstsq(root @ np.eye(4)[q], root @ row, rcond=None)[0]
        np.testing.assert_allclose(book, want, rtol=1e-5, atol=1e-5)


def test_lnq_ends_where_no_single_code_gains():
    w, h = layer(5, 30, 100)
    books, codes = _native.kmeans(w, h.diagonal().copy(), 4)
    _native.lnq(w, h, books, codes, 1, 200, False)
    _native.lnq(w, h, books, codes, 0, 0, False)
    value = np.take_along_axis(books.astype(np.float64), codes, axis=1)
    for row in range(5):
        e = value[row] - w[row]
        g = h @ e
        for i in range(30):
            steps = books[row].astype(np.float64) - value[row, i]
            # The last cycles moved nothing; float32 codebooks round by 6e-8.
            assert (steps * (2 * g[i] + steps * h[i, i])).min() >= -1e-5 * h[i, i]


def test_lnq_is_the_same_on_any_number_of_threads(isa):
    before = telamon.get_num_threads()
    w, h = layer(50, 60, 100)
    results = []
    try:
        for threads in (1, 2, 3):
            telamon.set_num_threads(threads)
            books, codes = _native.kmeans(w, h.diagonal().copy(), 8)
            trace, objectives = _native.lnq(w, h, books, codes, 2, 4, True)
            results.append([part.tobytes() for part in (books, codes, trace, objectives)])
    finally:
        telamon.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_kernels_refuse_what_would_read_beyond_arrays():
    w, h = layer(3, 8, 20)
    books, codes = _native.kmeans(w, None, 4)
    bad = codes.copy()
    bad[0, 0] = 4
    with pytest.raises(ValueError, match="codes has an entry beyond the levels"):
        _native.lnq(w, h, books, bad, 1, 1, True)
    with pytest.raises(ValueError, match="order"):
        _native.gptq(w, np.eye(8), np.full(8, 8), books)
    with pytest.raises(ValueError, match="bits"):
        _core.quant_pack(codes, 9, np.empty((3, 72), np.uint8))
    with pytest.raises(ValueError, match="packed"):
        _core.quant_unpack(np.empty((3, 31), np.uint8), 4, codes)
