"""NUPES, activations, layers by integers alone, Hadamard transforms and capacities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quant_support import generator, layer

from telamon.quant import (
    IntegerLinear,
    PowerQuantizer,
    QuantizedMatrix,
    Rotation,
    capacity,
    fwht,
    hadamard,
    layer_objective,
    lloyd_max,
    nupes_exponent,
    power_levels,
    quantize_layer,
)
from telamon.reference import quant as reference

# ---- powers


@given(st.integers(2, 8), st.floats(0.2, 1.5), st.integers(0, 2**32))
def test_power_quantizer(bits, exponent, seed):
    x = generator(seed).standard_normal((4, 30)).astype(np.float32)
    x[0] = 0
    quantizer, n = PowerQuantizer(bits, exponent), 2 ** (bits - 1) - 1
    codes, scale = quantizer.quantize(x)
    assert codes.dtype == np.int8
    assert np.abs(codes).max() == n
    assert np.array_equal(scale[:, 0], np.abs(x).max(axis=1))
    # Rounding of the power to the nearest code: half a step there, and nothing else.
    ratio = np.abs(x) / np.where(scale > 0, scale, 1)
    assert (np.abs(n * ratio**exponent - np.abs(codes)) <= 0.5 + 1e-6).all()
    assert (codes * x >= 0).all()
    again, _ = quantizer.quantize(quantizer.dequantize(codes, scale), scale)
    assert np.array_equal(again, codes)
    assert quantizer(x).dtype == np.float32
    assert np.array_equal(quantizer(-x), -quantizer(x))


def test_exponent_one_is_the_uniform_quantizer_and_scales_clip():
    x = np.linspace(-2, 2, 101)
    codes, _ = PowerQuantizer(8).quantize(x, scale=1.0)
    assert np.array_equal(codes, np.clip(np.rint(127 * x), -127, 127))
    assert np.array_equal(PowerQuantizer(4).quantize(np.eye(3), axis=0)[1], np.ones((1, 3)))
    with pytest.raises(ValueError, match="x is NaN"):
        PowerQuantizer(8)(np.array([1, np.nan]))
    for bits, exponent in ((1, 1.0), (9, 1.0), (4, 0.1), (4, 2.0)):
        with pytest.raises(ValueError, match="pass"):
            PowerQuantizer(bits, exponent).quantize(x)


def test_exponent_is_searched_for():
    w, _ = layer(40, 200, 1)
    a = nupes_exponent(w, 4)
    assert 0.2 <= a < 1  # weights crowd at 0

    def loss(exponent):
        return np.square(_nearest_level(w, 4, exponent) - w).sum()

    # Squares are rough in the exponent, so the least of a fine grid may be a little lower.
    assert loss(a) <= 1.005 * min(loss(b) for b in np.linspace(0.2, 1.5, 300))
    assert nupes_exponent(np.linspace(-1, 1, 999)[None], 4) == pytest.approx(1, abs=0.05)


def _nearest_level(w, bits, exponent):
    levels = power_levels(bits, exponent)
    scaled = w / np.abs(w).max(axis=1, keepdims=True)
    return levels[np.abs(scaled[:, :, None] - levels).argmin(axis=2)] * np.abs(w).max(axis=1, keepdims=True)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_nupes_is_stored_as_codebooks(bits):
    w, h = layer(20, 60, 200)
    for q in (quantize_layer(w, bits=bits, method="nupes"), quantize_layer(w, h, bits=bits, method="nupes")):
        levels = power_levels(bits, q.exponent)
        want = q.codebooks[:, 0, -1:].astype(np.float64) * np.concatenate([levels[:1], levels])
        np.testing.assert_allclose(q.codebooks[:, 0], want, rtol=2.0**-10, atol=2.0**-24)  # float16's, twice
        assert 0.2 <= q.exponent <= 1.5


def test_nupes_learns_codes_scales_and_exponent_together():
    w, h = layer(30, 60, 200)
    for bits in (3, 4):
        free = layer_objective(w, quantize_layer(w, bits=bits, method="nupes"), h)
        learned = quantize_layer(w, h, bits=bits, method="nupes").objective
        more = quantize_layer(w, h, bits=bits, method="nupes", iterations=6).objective
        assert learned < 0.7 * free
        assert more <= 1.02 * learned  # rounding to float16 in between may cost what little is left


# ---- integers


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("table_bits", [6, 14])
def test_integers_are_the_float_definition_to_the_bit(bits, table_bits):
    w, h = layer(12, 90, 200)
    q = quantize_layer(w, h, bits=bits, method="nupes")
    inputs, outputs = PowerQuantizer(8, 0.5), PowerQuantizer(4, 0.7)
    x = generator(1).standard_normal((5, 90))
    codes, scale = inputs.quantize(x, scale=2.0)
    linear = IntegerLinear(q, inputs, float(scale), outputs, 30.0, table_bits=table_bits)
    z = linear.accumulate(codes)
    assert z.dtype == np.int64
    assert np.array_equal(z, linear.reference(codes))
    # Against numbers that are not rounded to tables, in units of the scales; float16 codebooks are another rounding.
    levels = power_levels(bits, q.exponent)
    weights = np.concatenate([levels[:1], levels])[q.codes()]
    exact = power_levels(8, 0.5)[codes.astype(int) + 127] @ weights.T
    assert (np.abs(z * 4.0**-table_bits - exact) <= linear.bound(codes) + 1e-12).all()
    # Output codes are those of the outputs, but where a sum lies on an edge to the last bit.
    values = linear.values(codes)
    want, _ = outputs.quantize(values, scale=30.0)
    assert np.array_equal(linear(codes), want)


def test_integer_layers_check():
    w, h = layer(4, 10, 30)
    q = quantize_layer(w, h, method="nupes")
    linear = IntegerLinear(q, PowerQuantizer(4), 1.0)
    with pytest.raises(ValueError, match="no quantiser of outputs"):
        linear(np.zeros(10, int))
    with pytest.raises(ValueError, match=r"in \[-7, 7\]"):
        linear.accumulate(np.full(10, 8))
    with pytest.raises(ValueError, match="pass integers"):
        linear.accumulate(np.zeros(10))
    with pytest.raises(ValueError, match='method="nupes"'):
        IntegerLinear(quantize_layer(w, h), PowerQuantizer(4), 1.0)
    with pytest.raises(ValueError, match="output_scale"):
        IntegerLinear(q, PowerQuantizer(4), 1.0, PowerQuantizer(4))
    zero = quantize_layer(0 * w, method="nupes")
    assert not IntegerLinear(zero, PowerQuantizer(4), 1.0, PowerQuantizer(4), 1.0)(np.full(10, 7)).any()
    assert isinstance(zero, QuantizedMatrix)


# ---- Hadamard


@pytest.mark.parametrize("n", [1, 2, 4, 12, 20, 24, 28, 36, 44, 60, 76, 108, 148, 256])
def test_hadamard_matrices(n):
    h = hadamard(n).astype(int)
    assert np.array_equal(np.abs(h), np.ones((n, n)))
    assert np.array_equal(h @ h.T, n * np.eye(n))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 4, 8, 32, 64, 1024, 12, 56, 576, 1536])
def test_fwht(n, dtype, isa, threads):
    x = generator(n).standard_normal((3, n)).astype(dtype)
    before = x.copy()
    eps = np.finfo(dtype).eps
    want = x.astype(np.float64) @ hadamard(n).astype(np.float64).T
    # log2 n additions in a row, or n/m of them and m products for factors m.
    bound = (math.log2(n) + 40) * eps * np.abs(x.astype(np.float64)).sum(axis=1, keepdims=True)
    assert (np.abs(fwht(x, normalize=False) - want) <= bound).all()
    if n & (n - 1) == 0:
        assert np.allclose(reference.fwht(x), want)
    assert fwht(x).dtype == dtype
    norms = np.linalg.norm(x.astype(np.float64), axis=1)
    np.testing.assert_allclose(np.linalg.norm(fwht(x).astype(np.float64), axis=1), norms, rtol=100 * eps)
    np.testing.assert_allclose(fwht(fwht(x), transpose=True), x, atol=100 * eps * norms.max())
    assert np.array_equal(x, before)
    columns = fwht(np.asfortranarray(x.T), axis=0)
    assert np.array_equal(columns, fwht(x).T)


def test_large_fwht():
    x = np.zeros((1, 2**17), np.float32)
    x[0, 5] = 1
    got = fwht(x, normalize=False)
    signs = np.array([(-1) ** (int(i & 5).bit_count()) for i in range(8)], np.float32)
    assert np.array_equal(got[0].reshape(-1, 8), np.broadcast_to(signs, (2**14, 8)))


def test_fwht_refuses():
    for n in (3, 6, 11008):
        with pytest.raises(ValueError, match="no Hadamard matrix here of order"):
            fwht(np.zeros(n))
    with pytest.raises(ValueError, match="at least 1"):
        fwht(np.zeros(0))
    with pytest.raises(TypeError, match="pass float32 or float64"):
        fwht(np.zeros(4, int))
    with pytest.raises(ValueError, match="axis is 1"):
        fwht(np.zeros(4), 1)


@pytest.mark.parametrize("n", [16, 24])
def test_rotated_layers(n):
    w, h = layer(10, n, 60)
    w, x = w.astype(np.float64), generator(1).standard_normal((5, n))
    rotation = Rotation(n, seed=3)
    np.testing.assert_allclose(rotation(x) @ rotation.weights(w).T, x @ w.T, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(rotation.inverse(rotation(x)), x, atol=1e-13)
    turned = rotation.hessian(h)
    assert np.array_equal(turned, turned.T)
    np.testing.assert_allclose(turned, rotation(rotation(h).T), atol=1e-12 * np.abs(h).max())
    q = quantize_layer(rotation.weights(w), turned, bits=4, method="gptq")
    assert layer_objective(w, rotation.inverse(q.dequantize().astype(np.float64)), h) == pytest.approx(
        q.objective, rel=1e-3
    )


# ---- capacity


def test_lloyd_max():
    # Max (1960), table I, of four digits, the last of which he has wrong by one at 3 bits and by four at 4 bits.
    for bits, mse, digits in ((1, 0.3634, 5e-5), (2, 0.1175, 5e-5), (3, 0.03454, 1.5e-5), (4, 0.009497, 5e-6)):
        assert abs(capacity("lloyd-max", bits).mse - mse) <= digits
    assert capacity("lloyd-max", 1).mse == pytest.approx(1 - 2 / math.pi, rel=1e-12)
    rng = generator(1)
    x = np.sort(rng.standard_normal(200_000))
    for bits in range(1, 9):
        levels = lloyd_max(bits)
        assert np.array_equal(levels, -levels[::-1])
        cells = np.searchsorted((levels[1:] + levels[:-1]) / 2, x)
        found = capacity("lloyd-max", bits)
        squares = np.square(levels[cells] - x)
        assert abs(squares.mean() - found.mse) <= 5 * squares.std() / math.sqrt(len(x))
        assert found.effective_bits == pytest.approx(-math.log(found.mse, 4))
        # A level is the mean of its cell.
        for shift in (0.99, 1.01):
            assert capacity(levels * shift).mse == pytest.approx(found.mse, rel=1e-9)  # the best factor is 1
    panter_dite = math.sqrt(3) * math.pi / 2 * 4.0**-8  # of many levels
    assert capacity("lloyd-max", 8).mse == pytest.approx(panter_dite, rel=0.02)


def test_capacities_of_formats():
    found = {m: capacity(m, 3, rows=8, inputs=2048) for m in ("kmeans", "rtn", "hqq", "nupes")}
    ideal = capacity("lloyd-max", 3)
    assert found["kmeans"].mse == pytest.approx(ideal.mse, rel=0.05)  # fitted to 2048 numbers a row
    assert all(format.effective_bits < ideal.effective_bits + 0.05 for format in found.values())
    assert found["kmeans"].stored_bits == pytest.approx(3 + 8 * 16 / 2048)
    assert capacity("rtn", 3, group_size=32, rows=8).mse < found["rtn"].mse
    assert capacity([-1, 1]).mse == pytest.approx(1 - 2 / math.pi, rel=1e-6)
    fp4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert 0.0095 < capacity([-v for v in fp4] + fp4[1:]).mse < 0.02
    with pytest.raises(ValueError, match="format is"):
        capacity("lnq", 3)
    with pytest.raises(ValueError, match="bits is 0"):
        capacity("rtn")
    with pytest.raises(ValueError, match="at least two"):
        capacity([1.0])
