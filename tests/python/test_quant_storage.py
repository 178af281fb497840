"""QuantizedMatrix as an object, and files: round trips, truncation, fuzzing, interrupted writing."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quant_support import generator, layer, matrix

from telamon.quant import Outliers, QuantizedMatrix, load_safetensors, quantize_layer, save_safetensors
from telamon.quant import _safetensors as files


def full(bits=3):
    w, h = layer(5, 70, 100)
    return quantize_layer(w, h, bits=bits, group_size=32, outliers=0.02, bias=np.arange(5.0))


def equal(a, b):
    arrays, config = a.to_arrays()
    others, other = b.to_arrays()
    return config == other and all(np.array_equal(arrays[name], others[name]) for name in {*arrays, *others})


def test_round_trips(tmp_path):
    path = tmp_path / "layer.safetensors"
    for bits in range(1, 9):
        for w in (full(bits), matrix(3, 65, bits), matrix(2, 7, bits, group_size=3)):
            w.save(path)
            assert equal(QuantizedMatrix.load(path), w)
            assert json.loads(json.dumps(w.to_arrays()[1])) == w.to_arrays()[1]
    assert os.listdir(tmp_path) == ["layer.safetensors"]
    power = quantize_layer(*layer(4, 30, 50), method="nupes")
    power.save(path)
    assert QuantizedMatrix.load(path).exponent == power.exponent


def test_files_are_those_of_the_safetensors_package(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    w = full()
    w.save(tmp_path / "ours")
    arrays, _ = w.to_arrays()
    read = theirs.load_file(tmp_path / "ours")
    assert set(read) == set(arrays)
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
    theirs.save_file({"x": np.arange(6.0).reshape(2, 3)}, tmp_path / "theirs", metadata={"a": "b"})
    tensors, metadata = load_safetensors(tmp_path / "theirs")
    assert metadata == {"a": "b"}
    assert np.array_equal(tensors["x"], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("copy", [True, False])
def test_all_types_and_shapes(tmp_path, copy):
    rng = generator(1)
    dtypes = "?bBhHiIqQefd"
    tensors = {
        f"{c}{k}": rng.integers(0, 2, shape).astype(c) for c in dtypes for k, shape in enumerate([(), (0, 3), (2, 3)])
    }
    tensors["big"] = np.arange(3, dtype=">f8")
    save_safetensors(tmp_path / "x", tensors, {"key": "ä"})
    got, metadata = load_safetensors(tmp_path / "x", copy=copy)
    assert metadata == {"key": "ä"}
    for name, want in tensors.items():
        assert got[name].shape == want.shape
        assert got[name].dtype == want.dtype.newbyteorder("=")
        assert np.array_equal(got[name], want)
        assert got[name].flags.writeable == copy or not got[name].size or name == "big"
    with pytest.raises(TypeError, match="'c' has dtype complex128"):
        save_safetensors(tmp_path / "x", {"c": np.zeros(2, complex)}, {})


def test_bfloat16_becomes_float32(tmp_path):
    header = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    values = np.array([1.5, -2.0], np.float32)
    body = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + body)
    assert np.array_equal(load_safetensors(tmp_path / "x")[0]["x"], values)


# ---- files that are not what they say


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "x"
    matrix(1, 20, 2).save(path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="x"):
            QuantizedMatrix.load(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(ValueError, match="its tensors end"):
        QuantizedMatrix.load(path)


@given(st.data())
def test_fuzzed_files_load_or_raise_value_errors(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    full().save(path) if not path.exists() else None
    good = tmp_path_factory.getbasetemp() / "good"
    if not good.exists():
        full().save(good)
    content = bytearray(good.read_bytes())
    # Mostly in the header, which is where lengths and shapes are.
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 900))
        content[at] = data.draw(st.integers(0, 255) | st.sampled_from(list(b'0123456789[]{}",:-')))
    path.write_bytes(content)
    try:
        w = QuantizedMatrix.load(path)
    except ValueError:
        return
    w.dequantize()  # what came through can be used
    w.matmul(np.ones(w.shape[1]))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
        (b"[" * 100000, "not JSON"),
        (b'{"x": 1' + b"0" * 5000 + b"}", "not JSON"),
        (b'{"x": {}, "x": {}}', "twice"),
        (b'{"__metadata__": {"a": 1}}', "dictionary of texts"),
        (b'{"x": {"dtype": "F3", "shape": [], "data_offsets": [0, 4]}}', "type 'F3'"),
        (b'{"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', "lacks a shape"),
        (b'{"x": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}', "lacks a shape"),
        (b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "takes 8 bytes"),
        (b'{"x": {"dtype": "F32", "shape": [9223372036854775807, 4], "data_offsets": [0, 4]}}', "takes"),
        (b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', "truncated"),
        (b'{"x": {"dtype": "U8", "shape": [1], "data_offsets": [3, 4]}}', "gap"),
        (
            b'{"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"y":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
            "gap",
        ),
    ],
)
def test_headers_that_lie(tmp_path, header, message):
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match=message):
        load_safetensors(tmp_path / "x")


def test_a_header_longer_than_the_file(tmp_path):
    (tmp_path / "x").write_bytes((2**63).to_bytes(8, "little") + bytes(8))
    with pytest.raises(ValueError, match="header has 9223372036854775808 bytes"):
        load_safetensors(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        QuantizedMatrix.load(tmp_path / "nonesuch")
    save_safetensors(tmp_path / "y", {"x": np.zeros(3)}, {})
    with pytest.raises(ValueError, match=r"holds no matrix of telamon\.quant"):
        QuantizedMatrix.load(tmp_path / "y")


def test_interrupted_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    old, new = matrix(2, 30, 2), matrix(2, 30, 3)
    old.save(path)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, name, full_disk)
            with pytest.raises(OSError, match="No space"):
                new.save(path)
        assert equal(QuantizedMatrix.load(path), old)
        assert os.listdir(tmp_path) == ["x"]
    with pytest.raises(FileNotFoundError):
        new.save(tmp_path / "nonesuch" / "x")


# ---- the object


def test_from_arrays_checks():
    arrays, config = full().to_arrays()
    for name, value, message in (
        ("codes", None, "codes is missing"),
        ("outlier_inputs", None, "outlier_inputs is missing"),
        ("codes", arrays["codes"][:, :-1], "packed and codebooks have shapes"),
        ("codes", arrays["codes"].astype(np.int8), "dtypes int8"),
        ("codebooks", arrays["codebooks"][:-1], "packed and codebooks have shapes"),
        ("codebooks", np.full_like(arrays["codebooks"], np.nan), "not finite"),
        ("outlier_inputs", arrays["outlier_inputs"] + 70, "not a sparse matrix"),
        ("outlier_starts", arrays["outlier_starts"][::-1].copy(), "not a sparse matrix"),
        ("outlier_inputs", 0 * arrays["outlier_inputs"], "not a sparse matrix"),
        ("bias", np.zeros(4), "bias has shape"),
    ):
        changed = {**arrays, name: value}
        if value is None:
            del changed[name]
        with pytest.raises(ValueError, match=message):
            QuantizedMatrix.from_arrays(changed, config)
    for name, value in (
        ("version", 2),
        ("format", "other"),
        ("shape", None),
        ("shape", [4, 70]),
        ("shape", [5, "70"]),
        ("bits", "3"),
        ("bits", 4),
        ("group_size", 0),
        ("group_size", 35.5),
    ):
        with pytest.raises(ValueError, match=r"telamon\.quant"):
            QuantizedMatrix.from_arrays(arrays, {**config, name: value})


def test_products_and_sizes():
    w = full()
    dense = w.dequantize().astype(np.float64)
    rng = generator(5)
    x = rng.standard_normal(70)
    close = {"rtol": 1e-5, "atol": 1e-4}
    np.testing.assert_allclose(w @ x, dense @ x, **close)
    np.testing.assert_allclose(w.matvec(x), dense @ x + np.arange(5), **close)
    columns = rng.standard_normal((70, 3))
    np.testing.assert_allclose(w @ columns, dense @ columns, **close)
    batch = rng.standard_normal((2, 4, 70))
    np.testing.assert_allclose(w.matmul(batch), batch @ dense.T + np.arange(5), **close)
    assert w.matmul(np.zeros((0, 70))).shape == (0, 5)
    parts = [w.packed, w.codebooks, w.bias, w.outliers.starts, w.outliers.inputs, w.outliers.values]
    assert w.nbytes == sum(part.nbytes for part in parts)
    assert w.bits_per_weight == pytest.approx(8 * w.nbytes / 350)
    assert matrix(4096, 1024, 4).bits_per_weight == 4.25
    assert "5, 70" in repr(w)
    for bad in (np.zeros(69), np.zeros((2, 70)).astype(str), 1.0, np.zeros((70, 2, 2))):
        with pytest.raises(ValueError, match="x"):
            w @ bad
        with pytest.raises(ValueError, match="x"):
            w.matmul(np.zeros(69) if np.ndim(bad) == 3 else bad)
    with pytest.raises(ValueError, match="pass a vector"):
        w.matvec(columns.T)
    with pytest.raises(ValueError, match="precision"):
        w.matmul(x, precision="quick")


def test_from_codes_checks():
    with pytest.raises(ValueError, match=r"codes lie in \[0, 4\]; those of 2 bits in \[0, 3\]"):
        QuantizedMatrix.from_codes([[0, 4]], [[0, 1, 2, 3]], bits=2)
    with pytest.raises(TypeError, match="pass integers"):
        QuantizedMatrix.from_codes([[0.5]], [[0, 1]], bits=1)
    with pytest.raises(ValueError, match="not finite"):
        QuantizedMatrix.from_codes([[0]], [[0, 1e6]], bits=1)
    empty = Outliers.at(np.zeros((1, 2), bool), np.zeros((1, 2)), np.float16)
    w = QuantizedMatrix.from_codes([[0, 1]], [[0, 1]], bits=1, outliers=empty)
    assert w.matvec([1, 1]) == [1]
