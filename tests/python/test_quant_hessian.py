"""HessianAccumulator against sums written out, and its storage."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quant_support import generator

from telamon.quant import HessianAccumulator, quantize_layer


def batch(tokens=50, inputs=7, outputs=6, seed=0):
    rng = generator(tokens, inputs, seed)
    return rng.standard_normal((tokens, inputs)).astype(np.float32), 1e-25 * rng.standard_normal((tokens, outputs))


def by_hand(x, gradients, sizes):
    x = x.astype(np.float64)
    plain, guided, first = x.T @ x, [], 0
    for size in sizes:
        s = np.square(gradients[:, first : first + size]).mean(axis=1)
        guided.append((x * s[:, None]).T @ x)
        first += size
    return plain, guided


@pytest.mark.parametrize("groups", [None, 1, 3, [1, 5], [2, 3, 1]])
def test_sums(groups):
    x, gradients = batch()
    accumulator = HessianAccumulator(7, groups)
    for rows in (slice(0, 11), slice(11, 50)):
        accumulator.update(x[rows], None if groups is None else gradients[rows])
    sizes = accumulator.row_groups
    assert sizes == ([] if groups is None else [6 // groups] * groups if isinstance(groups, int) else groups)
    plain, guided = by_hand(x, gradients, sizes)
    np.testing.assert_allclose(accumulator.hessian, plain, rtol=1e-13, atol=1e-13)
    # Gradients of 1e-25, whose squares float32 does not hold. The root of s is rounded, twice.
    for got, want in zip(accumulator.guided, guided, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * np.abs(want).max())
        assert np.array_equal(got, got.T)
    assert np.array_equal(accumulator.hessian, accumulator.hessian.T)
    assert accumulator.tokens == 50
    for k, effective in enumerate(accumulator.effective_samples):
        first = sum(sizes[:k])
        s = np.square(gradients[:, first : first + sizes[k]]).mean(axis=1)
        assert effective == pytest.approx(s.sum() ** 2 / np.square(s).sum())


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(0, 2**32))
def test_order_and_merging_do_not_matter(sizes, seed):
    x, gradients = batch(sum(sizes), seed=seed)
    whole, total = HessianAccumulator(7, 2).update(x, gradients), HessianAccumulator(7, 2)
    first = 0
    for size in sizes:
        part = HessianAccumulator(7, 2).update(x[first : first + size], gradients[first : first + size])
        total, first = part + total, first + size
    scale = 1 + np.abs(whole.hessian).max()
    np.testing.assert_allclose(total.hessian, whole.hessian, rtol=0, atol=1e-13 * scale)
    for a, b in zip(total.guided, whole.guided, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max(initial=0))
    assert total.tokens == whole.tokens


def test_single_precision_has_its_error():
    x, gradients = batch(3000, 20)
    double, single = (HessianAccumulator(20, 2, precision=p).update(x, gradients) for p in ("double", "single"))
    # Sums of up to 1024 products in float32, in blocks.
    for a, b in zip([single.hessian, *single.guided], [double.hessian, *double.guided], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * b.max())


def test_masks():
    x, gradients = batch(24)
    mask = generator(1).integers(0, 2, 24)
    x[mask == 0] = np.nan  # padding may hold anything
    accumulator = HessianAccumulator(7, [6]).update(
        x.reshape(2, 3, 4, 7), gradients.reshape(2, 3, 4, 6), mask=mask.reshape(2, 3, 4)
    )
    plain, guided = by_hand(x[mask != 0], gradients[mask != 0], [6])
    np.testing.assert_allclose(accumulator.hessian, plain, rtol=1e-12)
    np.testing.assert_allclose(accumulator.guided[0], guided[0], rtol=0, atol=1e-13 * guided[0].max())
    assert accumulator.tokens == np.count_nonzero(mask)


@pytest.mark.parametrize("groups", [None, 2, [2, 4]])
def test_storage_is_triangles(groups):
    x, gradients = batch()
    accumulator = HessianAccumulator(7, groups, precision="single").update(x, None if groups is None else gradients)
    for copy in (HessianAccumulator.from_arrays(accumulator.to_arrays()), pickle.loads(pickle.dumps(accumulator))):
        assert np.array_equal(copy.hessian, accumulator.hessian)
        assert all(np.array_equal(a, b) for a, b in zip(copy.guided, accumulator.guided, strict=True))
        assert (copy.tokens, copy.row_groups) == (50, accumulator.row_groups)
        assert copy.effective_samples == accumulator.effective_samples
        assert (copy + accumulator).tokens == 100
    assert accumulator.to_arrays()["plain"].shape == (28,)
    assert pickle.loads(pickle.dumps(accumulator)).precision == "single"
    empty = pickle.loads(pickle.dumps(HessianAccumulator(3)))
    assert (empty.tokens, empty.hessian.tolist()) == (0, np.zeros((3, 3)).tolist())


def test_a_layer_from_accumulators():
    x, gradients = batch(60, 20, 9)
    w = generator(3).standard_normal((9, 20))
    accumulator = HessianAccumulator(20, [4, 5]).update(x, gradients)
    q = quantize_layer(
        w, accumulator.hessian, Hs=accumulator.guided, row_groups=accumulator.row_groups, guidance=0.5, bits=3
    )
    assert 0 < q.relative_objective < 0.1
    nothing = HessianAccumulator(20, [4, 5]).update(x, 0 * gradients)
    assert nothing.effective_samples == [0, 0]
    plain = quantize_layer(w, accumulator.hessian, Hs=nothing.guided, row_groups=[4, 5], guidance=1, bits=3)
    assert np.array_equal(plain.dequantize(), quantize_layer(w, accumulator.hessian, bits=3).dequantize())


def test_bad_input_adds_nothing():
    x, gradients = batch()
    accumulator = HessianAccumulator(7, 3).update(x, gradients)
    before = accumulator.hessian
    bad = x.copy()
    bad[3, 2] = np.inf
    for arguments, message in (
        ((bad, gradients), "x is NaN or infinite in 1 of 50 tokens; mask them"),
        ((x, bad[:, :6]), "gradients is NaN or infinite in 1 of 50"),
        ((x[:, :5], gradients), r"pass \(\.\.\., 7\)"),
        ((x,), "guided Hessians need the gradients"),
        ((x, gradients[:9]), "x has tokens"),
        ((x, gradients[:, :3]), "3 outputs; groups and batches before have 6"),
        ((x, gradients, np.ones(49)), "mask has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            accumulator.update(*arguments)
    assert np.array_equal(accumulator.hessian, before)
    assert accumulator.tokens == 50
    with pytest.raises(ValueError, match="there are gradients and no groups"):
        HessianAccumulator(7).update(x, gradients)
    with pytest.raises(ValueError, match="6 outputs are not 4 equal groups"):
        HessianAccumulator(7, 4).update(x, gradients)
    with pytest.raises(ValueError, match="after the first batch"):
        _ = HessianAccumulator(7, 4).row_groups
    with pytest.raises(ValueError, match="do not add"):
        _ = accumulator + HessianAccumulator(7)
    with pytest.raises(TypeError):
        _ = accumulator + 1
    with pytest.raises(ValueError, match="groups is empty"):
        HessianAccumulator(7, [])
    with pytest.raises(TypeError, match="dtype"):
        accumulator.update(x.astype(complex), gradients)
