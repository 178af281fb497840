"""quantize_layer: objectives, groups of rows and of inputs, outliers, degenerate layers and bad input."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from quant_support import generator, layer

import telamon
from telamon.quant import QuantizedMatrix, _grids, _native, layer_objective, quantize_layer

METHODS = ("lnq", "gptq", "kmeans", "squeezellm", "rtn", "hqq", "nupes")


def same(a, b):
    return (
        a.dequantize().tobytes() == b.dequantize().tobytes()
        and a.row_objectives.tobytes() == b.row_objectives.tobytes()
    )


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("method", METHODS)
def test_objective_is_that_of_the_stored_tensors(method, bits):
    if method == "nupes" and bits == 1:
        pytest.skip("powers have an odd number of levels: one at 1 bit")
    w, h = layer(13, 70, 200)
    q = quantize_layer(w, h, bits=bits, method=method)
    assert q.codebooks.dtype == np.float16
    e = q.dequantize().astype(np.float64) - w
    want = np.einsum("ri,ij,rj->r", e, h, e)
    np.testing.assert_allclose(q.row_objectives, want, rtol=1e-9)
    assert q.objective == pytest.approx(layer_objective(w, q, h), rel=1e-12)
    assert q.relative_objective == pytest.approx(layer_objective(w, q, h, relative=True), rel=1e-12)
    assert (np.diff(q.codebooks.astype(np.float32), axis=2) >= 0).all()


@pytest.mark.parametrize("group_size", [None, 32, 48])
@pytest.mark.parametrize("tokens", [400, 40])
def test_lnq_never_rises_and_beats_the_baselines(group_size, tokens):
    w, h = layer(40, 130, tokens)
    made = {m: quantize_layer(w, h, bits=3, method=m, group_size=group_size) for m in METHODS if m != "nupes"}
    best = made["lnq"]
    assert (np.diff(best.trace) <= 0).all()
    # The last step rounds codebooks to 11 bits and goes once over the codes.
    assert best.objective <= best.trace[-1] + 1e-3 * best.trace[0]
    assert all(best.objective < other.objective for name, other in made.items() if name != "lnq")


def test_start_is_better_than_kmeans_alone_and_act_order_than_none():
    w, h = layer(64, 128, 300)
    gains = []
    for bits in (2, 3, 4):
        start, alone = (quantize_layer(w, h, bits=bits, start=name).objective for name in ("gptq", "kmeans"))
        gains.append(start / alone)
        ordered, plain = (
            quantize_layer(w, h, bits=bits, method="gptq", act_order=flag).objective for flag in (True, False)
        )
        assert ordered < plain
    assert np.prod(gains) < 0.9  # on the whole; a single local search may end lower from anywhere


def test_float32_codebooks_are_a_little_better_or_the_same():
    w, h = layer(20, 64, 200)
    half, single = (quantize_layer(w, h, bits=3, codebook_dtype=dtype) for dtype in (np.float16, np.float32))
    assert single.codebooks.dtype == np.float32
    assert single.objective == pytest.approx(single.trace[-1], rel=1e-5)
    assert single.objective <= half.objective * 1.02  # the last cycle of the other may gain more than rounding costs
    with pytest.raises(ValueError, match=r"codebook_dtype=numpy\.float32"):
        quantize_layer(w * 1e6, h, bits=3)
    assert quantize_layer(w * 1e6, h, bits=3, codebook_dtype=np.float32).relative_objective < 0.1


def test_squeezellm_follows_sensitivities():
    w, _ = layer(6, 50, 100)
    masses = generator(1).uniform(0, 1, w.shape)
    masses[:, 10:] = 0
    masses[2] = 0  # nothing counts: as if all did
    q = quantize_layer(w, bits=4, method="squeezellm", sensitivities=masses)
    plain = quantize_layer(w, bits=4, method="kmeans")
    weighted = [(masses * np.square(made.dequantize() - w)).sum(axis=1) for made in (q, plain)]
    assert (weighted[0][masses.any(axis=1)] < 0.5 * weighted[1][masses.any(axis=1)]).all()
    assert np.array_equal(q.dequantize()[2], plain.dequantize()[2])
    one = quantize_layer(w, bits=4, method="squeezellm", sensitivities=masses[0])
    assert np.array_equal(one.dequantize()[0], q.dequantize()[0])


def test_hqq_moves_the_zero_point_to_smaller_errors():
    w, _ = layer(30, 128, 10)
    for bits in (2, 3, 4):
        size = []
        for rounds in (1, 20):  # the first round is the grid from the least to the largest weight
            books = _grids.hqq(w, bits, rounds).astype(np.float32)
            size.append(np.abs(np.take_along_axis(books, _native.nearest(w, books), axis=1) - w).mean(axis=1))
        assert (size[1] <= size[0] * (1 + 1e-6)).all()  # in float32
        assert size[1].mean() < size[0].mean()


def test_outliers():
    w, h = layer(40, 100, 300)
    w[generator(2).integers(0, 40, 8), generator(3).integers(0, 100, 8)] *= 12
    for method in ("lnq", "kmeans", "rtn"):
        plain, sparse = (quantize_layer(w, h, bits=3, method=method, outliers=f) for f in (0.0, 0.0045))
        assert len(sparse.outliers.values) == 18
        assert sparse.objective < plain.objective
        x = generator(4).standard_normal((3, 100)).astype(np.float32)
        want = x @ sparse.dequantize().astype(np.float64).T
        np.testing.assert_allclose(sparse.matmul(x), want, rtol=1e-4, atol=1e-4)
    # Their values are the best there are for these codes: the gradient vanishes there, but for float16.
    q = quantize_layer(w, h, bits=3, outliers=0.0045, codebook_dtype=np.float32)
    gradient = (q.dequantize().astype(np.float64) - w) @ h
    at = (q.outliers.rows, q.outliers.inputs)
    assert (np.abs(gradient[at]) <= 1e-5 * h.diagonal()[at[1]] * np.abs(w).max()).all()
    bare = quantize_layer(w, bits=3, method="rtn", outliers=0.0045)
    at = (bare.outliers.rows, bare.outliers.inputs)
    np.testing.assert_allclose(bare.dequantize()[at], w[at], rtol=2e-3)


# ---- Hessians of groups of rows


def test_row_groups_are_layers_of_their_own():
    w, h = layer(12, 40, 100)
    others = [layer(1, 40, 100, seed)[1] for seed in (1, 2, 3)]
    for sizes in (None, [1, 8, 3]):
        q = quantize_layer(w, h, Hs=others, row_groups=sizes, guidance=1, bits=2)
        first, objective = 0, 0.0
        for size, guided in zip(sizes or [4, 4, 4], others, strict=True):
            part = quantize_layer(w[first : first + size], guided * (np.trace(h) / np.trace(guided)), bits=2)
            assert np.array_equal(part.dequantize(), q.dequantize()[first : first + size])
            first, objective = first + size, objective + part.objective
        assert q.objective == pytest.approx(objective, rel=1e-9)
        assert (np.diff(q.trace) <= 0).all()


def test_guidance_blends():
    w, h = layer(8, 30, 100)
    guided = layer(1, 30, 100, 5)[1]
    for g in (0.0, 0.3, 1.0):
        blend = np.trace(h) * (g * guided / np.trace(guided) + (1 - g) * h / np.trace(h))
        q = quantize_layer(w, h, Hs=[guided], guidance=g, bits=2)
        assert q.objective == pytest.approx(layer_objective(w, q, blend), rel=1e-9)
    assert same(quantize_layer(w, h, Hs=[guided], guidance=0, bits=2), quantize_layer(w, h, bits=2))
    assert same(quantize_layer(w, h, Hs=[0 * guided], guidance=0.5, bits=2), quantize_layer(w, h, bits=2))
    assert same(quantize_layer(w, Hs=[guided], guidance=1, bits=2), quantize_layer(w, guided, bits=2))


# ---- degenerate layers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("group_size", [None, 16])
def test_degenerate_layers(method, group_size):
    if method == "nupes" and group_size:
        pytest.skip("its exponent is the layer's")
    w, h = layer(9, 40, 7)  # fewer tokens than inputs
    h[:, [3, 20]] = h[[3, 20]] = 0  # inputs that never occur
    w[0], w[1], w[2] = 0, 0.25, -3  # zero and constant rows
    arguments = {"bits": 3, "method": method, "group_size": group_size}
    q = quantize_layer(w, h, **arguments)
    assert np.isfinite(q.dequantize()).all()
    assert np.array_equal(q.dequantize()[:2], w[:2])
    np.testing.assert_allclose(q.dequantize()[2], w[2], rtol=1e-3)
    assert q.trace is None or (np.diff(q.trace) <= 0).all()
    nothing = quantize_layer(w, np.zeros_like(h), **arguments)
    assert nothing.objective == 0 == nothing.relative_objective
    assert np.abs(nothing.dequantize() - w).max() <= np.abs(w).max()
    one = quantize_layer(w[:1, :1] + 0.5, h[:1, :1], **{**arguments, "group_size": None})
    assert one.dequantize() == np.float32(0.5)


def test_dead_inputs_are_rounded_to_the_nearest():
    w, h = layer(20, 30, 100)
    h[:, 4] = h[4] = 0
    for method in ("lnq", "gptq"):
        q = quantize_layer(w, h, bits=3, method=method)
        # calibration may have missed them
        distance = np.abs(q.codebooks[:, 0].astype(np.float32) - w[:, 4:5]).min(axis=1)
        assert np.array_equal(np.abs(q.dequantize()[:, 4] - w[:, 4]), distance)


def test_pure_picklable_and_the_same_on_any_number_of_threads(isa):
    w, h = layer(50, 70, 200)
    before = (w.copy(), h.copy())
    threads = telamon.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            telamon.set_num_threads(count)
            results += [quantize_layer(w, h, bits=3, group_size=g, outliers=0.01) for g in (None, 32)]
    finally:
        telamon.set_num_threads(threads)
    for k in (0, 1):
        assert all(same(results[k], other) for other in results[k::2])
        assert same(pickle.loads(pickle.dumps(results[k])), results[k])
    assert np.array_equal(w, before[0])
    assert np.array_equal(h, before[1])
    assert pickle.loads(pickle.dumps(quantize_layer)) is quantize_layer


def test_layouts_and_dtypes():
    w, h = layer(10, 24, 60)
    want = quantize_layer(w, h, bits=2)
    for odd_w, odd_h in (
        (np.asfortranarray(w), h),
        (w.astype(np.float64), np.asfortranarray(h)),
        (w.tolist(), h.tolist()),
        (np.repeat(w, 2, axis=0)[::2], h),
    ):
        assert same(quantize_layer(odd_w, odd_h, bits=2), want)
    skewed = h + 1e-9 * np.abs(h).max() * generator(1).standard_normal(h.shape)
    assert quantize_layer(w, skewed, bits=2).objective == pytest.approx(want.objective, rel=1e-2)


# ---- bad input


def broken(matrix, at, value):
    matrix = matrix.copy()
    matrix[at] = value
    return matrix


W, H = layer(6, 10, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"W": broken(W, (2, 3), np.nan)}, r"W\[2, 3\] is nan.*1 entries"),
        ({"W": broken(W.astype(float), (0, 0), 1e300)}, r"W\[0, 0\] is 1e\+300"),
        ({"W": W[0]}, r"W has shape \(10,\)"),
        ({"W": W[:, :0]}, "W has shape"),
        ({"H": broken(H, (1, 1), np.nan)}, r"H\[1, 1\] is nan.*HessianAccumulator"),
        ({"H": broken(H, (1, 2), np.inf)}, r"H\[1, 2\] is inf"),
        ({"H": np.triu(H)}, "H is not symmetric"),
        ({"H": -H}, "diagonal is not negative"),
        ({"H": H[:5, :5]}, "W has 10 inputs"),
        ({"H": H - np.diag(H.diagonal()) + np.eye(10)}, "H is not positive definite"),
        ({"H": None}, "needs H"),
        ({"bits": 0}, "bits is 0; pass 1 to 8"),
        ({"bits": 9}, "bits is 9; pass 1 to 8"),
        ({"method": "awq"}, 'pass one of "lnq"'),
        ({"start": "random"}, "start is 'random'"),
        ({"group_size": 0}, "group_size is 0"),
        ({"iterations": -1}, "iterations is -1"),
        ({"guidance": 2.0}, "guidance is 2.0"),
        ({"guidance": 0.5}, "there is no Hs"),
        ({"guidance": 0.5, "Hs": [H], "H": None}, "no H to blend"),
        ({"guidance": 1, "Hs": []}, "Hs is empty"),
        ({"guidance": 1, "Hs": [H] * 4}, "6 rows are not 4 equal groups"),
        ({"guidance": 1, "Hs": [H, H], "row_groups": [2, 3]}, "in sum 5"),
        ({"guidance": 1, "Hs": [H, H], "row_groups": [6]}, "1 sizes"),
        ({"guidance": 1, "Hs": [H, np.triu(H)]}, r"Hs\[1\] is not symmetric"),
        ({"method": "squeezellm", "sensitivities": W[:2]}, "sensitivities has shape"),
        ({"method": "squeezellm", "sensitivities": -np.abs(W)}, "sensitivities are NaN"),
        ({"method": "nupes", "bits": 1}, "bits from 2 on"),
        ({"method": "nupes", "group_size": 5}, "no group_size"),
        ({"outliers": 0.7}, "outliers is 0.7"),
        ({"damping": np.nan}, "damping is nan"),
    ],
)
def test_bad_input_says_what_is_wanted(arguments, message):
    with pytest.raises(ValueError, match=message):
        quantize_layer(**{"W": W, "H": H, **arguments})


def test_bad_types():
    for arguments in ({"bits": 3.0}, {"W": W + 1j}, {"H": H.astype(str)}, {"codebook_dtype": np.int8}):
        with pytest.raises(TypeError):
            quantize_layer(**{"W": W, "H": H, **arguments})
    with pytest.raises(ValueError, match="matrices of one shape"):
        layer_objective(W, W[:3], H)
    assert np.isnan(layer_objective(0 * W, W, H, relative=True))
    assert isinstance(quantize_layer(W, H), QuantizedMatrix)
