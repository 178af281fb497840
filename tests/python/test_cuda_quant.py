"""The kernels of quant on GPUs: against the CPU where there is one; the way to them, with a stand-in, everywhere."""

import contextlib
import ctypes
import sys
import types

import numpy as np
import pytest
from cuda_support import HostArray, host_cupy

from telamon import cuda, quant
from telamon.cuda import _kron_kernels, _quant_kernels
from telamon.cuda import _library as loading

REASON = loading.why_not()
needs_gpu = pytest.mark.skipif(REASON is not None, reason=f"no GPU kernels here: {REASON}")


def matrix(rows=5, inputs=100, bits=4, group=None, seed=0):
    rng = np.random.default_rng([seed, rows, inputs, bits])
    groups = 1 if group is None else -(-inputs // group)
    books = np.sort(rng.standard_normal((rows, groups, 1 << bits)), -1)
    codes = rng.integers(0, 1 << bits, (rows, inputs))
    return quant.QuantizedMatrix.from_codes(codes, books, bits=bits, group_size=group)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def assert_close(got, want):
    """Sums of up to some thousand products in float32, whose errors grow as the root of their number."""
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * max(np.abs(want).max(initial=0), 1))


# ---- without a GPU


class HostLibrary:
    """Stands in for libtelamon_cuda: the same C signatures, with host pointers, computed by telamon.quant."""

    FEW = 17  # vectors, from which work is wanted

    def __init__(self):
        self.streams = []

    @staticmethod
    def at(address, dtype, *shape):
        memory = (ctypes.c_char * (int(np.prod(shape)) * np.dtype(dtype).itemsize)).from_address(address)
        return np.frombuffer(memory, dtype).reshape(shape)

    def matrix(self, rows, inputs, bits, codes, codebooks, group):
        assert codes % 4 == 0
        groups = 1 if group == 0 else -(-inputs // group)
        return quant.QuantizedMatrix(
            self.at(codes, np.uint8, rows, (inputs + 63) // 64 * 8 * bits),
            self.at(codebooks, np.float32, rows, groups, 1 << bits),
            bits=bits,
            inputs=inputs,
            group_size=group or None,
        )

    def telamon_cuda_error_string(self, error):
        return f"error number {error}".encode()

    def telamon_cuda_quant_matmul_work(self, rows, inputs, batch, size):
        size._obj.value = 0 if batch < self.FEW else rows * inputs
        return 0

    def telamon_cuda_quant_matmul(
        self, rows, inputs, bits, codes, codebooks, group, x, batch, out, work, work_size, stream
    ):
        self.streams.append(stream)
        assert (work is None) == (batch < self.FEW)
        assert work_size == (0 if work is None else rows * inputs)
        w = self.matrix(rows, inputs, bits, codes, codebooks, group)
        self.at(out, np.float32, batch, rows)[...] = w.matmul(self.at(x, np.float32, batch, inputs))
        return 0

    def telamon_cuda_quant_dequantize(self, rows, inputs, bits, codes, codebooks, group, out, stream):
        self.streams.append(stream)
        w = self.matrix(rows, inputs, bits, codes, codebooks, group)
        self.at(out, np.float32, rows, inputs)[...] = w.dequantize()
        return 0


@pytest.fixture
def library(monkeypatch):
    fake = HostLibrary()

    # Arguments pass through the ctypes of the real call, so that a wrong type is an error here too.
    def function(name, *argtypes):
        def call(*args):
            assert len(args) == len(argtypes)
            for a, of in zip(args, argtypes, strict=True):
                of.from_param(a)
            return getattr(fake, name)(*args)

        return call

    monkeypatch.setattr(loading, "function", function)
    monkeypatch.setattr(loading, "library", lambda: fake)
    return fake


@pytest.fixture
def torch(monkeypatch, library):
    """PyTorch, whose CPU tensors are taken for CUDA tensors."""
    module = pytest.importorskip("torch")
    monkeypatch.setattr(module.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(module.cuda, "current_stream", lambda: types.SimpleNamespace(cuda_stream=77))
    return module


def tensors(torch, m):
    return torch.from_numpy(m.packed), torch.from_numpy(m.codebooks.astype(np.float32))


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("group", [None, 7])
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_tensors_reach_the_kernel(torch, library, bits, group, batch):
    m, x = matrix(bits=bits, group=group), normal(batch, 100)
    codes, books = tensors(torch, m)
    got = torch.full((batch, 5), torch.nan)
    _quant_kernels.matmul(codes, books, bits, group or 0, torch.from_numpy(x), got)
    assert_close(got.numpy(), x @ m.dequantize().T)
    numbers = torch.full((5, 100), torch.nan)
    _quant_kernels.dequantize(codes, books, bits, group or 0, numbers)
    np.testing.assert_array_equal(numbers.numpy(), m.dequantize())
    assert library.streams == [77, 77]


def test_codes_at_an_odd_address_are_moved(torch):
    m, x = matrix(), torch.from_numpy(normal(2, 100))
    codes, books = tensors(torch, m)
    odd = torch.empty(codes.numel() + 1, dtype=torch.uint8)[1:].view(codes.shape).copy_(codes)
    got = torch.empty(2, 5)
    _quant_kernels.matmul(odd, books, 4, 0, x, got)
    assert_close(got.numpy(), x.numpy() @ m.dequantize().T)


def test_the_adapter_finds_every_kernel(torch, library, monkeypatch):
    from telamon import torch as tt
    from telamon.torch import _quant_operators

    m, x = matrix(group=32), torch.from_numpy(normal(2, 3, 100)).requires_grad_()
    layer = tt.QuantLinear.from_matrix(m, np.arange(5.0), "exact")

    def results():
        y = layer(x)
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return [y, first, *torch.autograd.grad(first.square().sum(), x), layer.dequantize()]

    want = results()
    monkeypatch.setattr(_quant_operators, "_device", lambda t: _quant_kernels)
    for g, e in zip(results(), want, strict=True):
        assert_close(g.detach().numpy(), e.detach().numpy())
    assert set(library.streams) == {77}


def test_what_would_leave_the_memory_is_refused(torch):
    codes, books = tensors(torch, matrix())
    x, out = torch.ones(2, 100), torch.ones(2, 5)
    for args, error, message in [
        ((codes, books, 4, 0, x, out[:1]), ValueError, r"out is \(1, 5\); pass \(2, 5\)"),
        ((codes, books, 4, 0, x[:, :30], out), ValueError, "30 inputs of 4 bits in groups of 30 take"),
        ((codes, books, 3, 0, x, out), ValueError, "100 inputs of 3 bits in groups of 100 take"),
        ((codes, books, 4, 10, x, out), ValueError, r"groups of 10 take \(5, 64\) and \(5, 10, 16\)"),
        ((codes, books, 4, 0, x.double(), out), TypeError, r"an array is of torch\.float64; pass codes of uint8"),
        ((codes, books.half(), 4, 0, x, out), TypeError, r"an array is of torch\.float16"),
    ]:
        with pytest.raises(error, match=rf"telamon\.cuda\.quant_matmul: .*{message}"):
            _quant_kernels.matmul(*args)
    with pytest.raises(ValueError, match=r"quant_dequantize: out has 4 rows, codes 5"):
        _quant_kernels.dequantize(codes, books, 4, 0, torch.ones(4, 100))


def test_an_error_code_becomes_an_exception(torch, monkeypatch):
    monkeypatch.setattr(_kron_kernels, "_preload", lambda: None)
    codes, books = tensors(torch, matrix())
    for code, message in [(20001, "cuBLAS was not found"), (35, r"error number 35 \(CUDA error 35\)")]:
        monkeypatch.setattr(loading, "function", lambda name, *types, code=code: lambda *args: code)
        with pytest.raises(RuntimeError, match=rf"telamon\.cuda\.quant_dequantize: {message}"):
            _quant_kernels.dequantize(codes, books, 4, 0, torch.ones(5, 100))


# ---- CuPy


@pytest.fixture
def cupy(monkeypatch, library):
    module = host_cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.mark.parametrize("batch", [(), (3,), (2, 10), (0,)])
@pytest.mark.parametrize("group", [None, 64])
def test_cupy_arrays_give_what_the_numbers_give(cupy, batch, group):
    m, x = matrix(group=group), normal(*batch, 100)
    arrays = cupy.asarray(m.packed), cupy.asarray(m.codebooks)
    got = cuda.quant_matmul(cupy.asarray(x), *arrays, bits=4, group_size=group)
    assert isinstance(got, HostArray)
    assert_close(got, x @ m.dequantize().T)
    got = cuda.quant_dequantize(*arrays, bits=4, inputs=100, group_size=group)
    np.testing.assert_array_equal(got, m.dequantize())


def test_arguments_that_do_not_fit(cupy):
    m, x = matrix(), cupy.asarray(normal(3, 100))
    codes, books = cupy.asarray(m.packed), cupy.asarray(m.codebooks)
    for args, options, error, message in [
        ((np.asarray(x), codes, books), {}, TypeError, "x is a ndarray; pass an array on the GPU"),
        ((x.astype(float), codes, books), {}, TypeError, r"x has dtype float64; pass x\.astype\(cupy\.float32\)"),
        ((x, codes.astype(int), books), {}, TypeError, "codes and codebooks have dtypes int64 and float16"),
        ((x, codes, books), {"bits": 3}, ValueError, "100 inputs of 3 bits in groups of 100 take"),
        ((x, codes, books), {"bits": 0}, ValueError, "bits is 0; pass a whole number from 1 to 8"),
        ((x, codes, books), {"group_size": 0}, ValueError, "group_size is 0; pass a whole number of at least 1"),
    ]:
        with pytest.raises(error, match=rf"telamon\.cuda\.quant_matmul: .*{message}"):
            cuda.quant_matmul(*args, **{"bits": 4, **options})


def test_tensors_on_the_cpu_are_refused():
    torch = pytest.importorskip("torch")
    codes, books = tensors(torch, matrix())
    with pytest.raises(ValueError, match=r"quant_matmul: x is on cpu; pass x\.cuda\(\)"):
        cuda.quant_matmul(torch.ones(100), codes, books, bits=4)


@pytest.mark.skipif("built without" in (REASON or ""), reason=f"no library to load: {REASON}")
def test_the_library_loads_and_has_every_function():
    for name in ("matmul", "matmul_work", "dequantize"):
        assert getattr(loading.library(), f"telamon_cuda_quant_{name}") is not None


@pytest.mark.skipif(REASON is None or "libtelamon_cuda" in REASON, reason="needs the library, and no driver")
def test_without_a_driver_the_error_is_cudas():
    torch = pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda: types.SimpleNamespace(cuda_stream=0))
        with pytest.raises(RuntimeError, match=r"telamon\.cuda\.quant_dequantize: .* \(CUDA error \d+\)"):
            _quant_kernels.dequantize(*tensors(torch, matrix()), 4, 0, torch.ones(5, 100))


# ---- with a GPU


@pytest.fixture
def tt():
    pytest.importorskip("torch")
    from telamon import torch as adapter

    return adapter


def on_gpu(a):
    import torch

    return torch.from_numpy(np.ascontiguousarray(a)).cuda()


# Whole tiles, a tail, one input, beyond a step of a warp, groups of tiles, across tiles, and in shared memory or not.
SHAPES = [(5, 64, None), (9, 100, None), (1, 1, None), (301, 4100, None), (33, 1152, 128), (7, 130, 7), (6, 132, 32)]


@needs_gpu
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("rows", "inputs", "group"), SHAPES)
def test_everything_agrees_with_the_cpu(tt, bits, rows, inputs, group):
    import torch

    m = matrix(rows, inputs, bits, group)
    codes, books = on_gpu(m.packed), on_gpu(m.codebooks)
    w = m.dequantize()
    got = tt.quant_dequantize(codes, books, bits=bits, inputs=inputs, group_size=group)
    np.testing.assert_array_equal(got.cpu().numpy(), w)
    for batch in (1, 3, 4, 6, 16, 17, 40):
        x = on_gpu(normal(batch, inputs)).requires_grad_()
        y = tt.quant_matmul(x, codes, books, bits=bits, group_size=group)
        assert y.is_cuda
        assert_close(y.detach().cpu().numpy(), x.detach().cpu().numpy() @ w.T)
        g = on_gpu(normal(batch, rows))
        (gx,) = torch.autograd.grad(y, x, g)
        assert_close(gx.cpu().numpy(), g.cpu().numpy() @ w)


@needs_gpu
def test_the_bits_do_not_depend_on_the_batch(tt):
    m = matrix(300, 1024)
    codes, books, x = on_gpu(m.packed), on_gpu(m.codebooks), on_gpu(normal(6, 1024))
    together = tt.quant_matmul(x, codes, books, bits=4)
    for i in range(6):
        assert bool((tt.quant_matmul(x[i], codes, books, bits=4) == together[i]).all())


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_module_on_the_device(tt, dtype):
    import torch

    layer = tt.QuantLinear.from_matrix(matrix(40, 256, 3, 64), normal(40), "exact")
    x = torch.from_numpy(normal(2, 3, 256)).to(getattr(torch, dtype))
    want = layer(x)
    moved = layer.cuda()
    for f in (moved, torch.compile(moved, fullgraph=True, backend="aot_eager")):
        got = f(x.cuda())
        assert got.dtype == x.dtype
        torch.testing.assert_close(got.cpu(), want)
    rotated = tt.fwht(on_gpu(normal(3, 24)))
    assert_close(rotated.cpu().numpy(), quant.fwht(normal(3, 24)))


@needs_gpu
def test_the_current_stream_is_used(tt):
    import torch

    m = matrix(500, 2048)
    codes, books, x = on_gpu(m.packed), on_gpu(m.codebooks), on_gpu(normal(2, 2048))
    want = tt.quant_matmul(x, codes, books, bits=4)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)  # what does not wait on this stream would read x too early
        got = tt.quant_matmul(x * 1, codes, books, bits=4)
    stream.synchronize()
    np.testing.assert_array_equal(got.cpu().numpy(), want.cpu().numpy())


@needs_gpu
def test_cupy_arrays_on_the_device():
    cp = pytest.importorskip("cupy")
    m, x = matrix(30, 200, 3, 32), normal(2, 20, 200)
    arrays = cp.asarray(m.packed), cp.asarray(m.codebooks)
    for part in (x, x[0, :3]):
        got = cuda.quant_matmul(cp.asarray(part), *arrays, bits=3, group_size=32)
        assert_close(cp.asnumpy(got), part @ m.dequantize().T)
    got = cuda.quant_dequantize(*arrays, bits=3, inputs=200, group_size=32)
    np.testing.assert_array_equal(cp.asnumpy(got), m.dequantize())
