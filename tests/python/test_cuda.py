"""telamon.cuda: the kernels against the CPU where there is a GPU; the way to them, with stand-ins, everywhere."""

import contextlib
import ctypes
import sys
import types

import numpy as np
import pytest
from cuda_support import HostArray, host_cupy

from telamon import _core, cuda
from telamon._derivatives import BINARY, LOGARITHMS
from telamon.cuda import _library as loading

REASON = loading.why_not()
needs_gpu = pytest.mark.skipif(REASON is not None, reason=f"no GPU kernels here: {REASON}")


# ---- without a GPU


class HostLibrary:
    """Stands in for libtelamon_cuda: the same C signatures, with host pointers, computed by _core."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, symbol):
        name, suffix = symbol.removeprefix("telamon_cuda_").rsplit("_", 1)
        dtype = {"f32": np.float32, "f64": np.float64}[suffix]

        def function(v, v_step, x, x_step, *rest):
            *outs, n, stream = rest

            def array(address, size):
                return np.frombuffer((ctypes.c_char * (size * dtype().itemsize)).from_address(address), dtype)

            self.calls.append((symbol, v_step, x_step, n, stream))
            if n:
                inputs = (array(p, n if step else 1) for p, step in ((v, v_step), (x, x_step)))
                getattr(_core, name)(*inputs, out=tuple(array(p, n) for p in outs))
            return 0

        return function

    def telamon_cuda_error_string(self, error):
        return f"error number {error}".encode()


@pytest.fixture
def library(monkeypatch):
    fake = HostLibrary()
    monkeypatch.setattr(loading, "function", lambda name, *types: getattr(fake, name))
    monkeypatch.setattr(loading, "library", lambda: fake)
    return fake


@pytest.fixture
def cupy(monkeypatch, library):
    module = host_cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BINARY)
def test_cupy_arrays_reach_the_kernel(cupy, library, name, dtype):
    x = np.linspace(0.05, 0.95, 12, dtype=dtype).reshape(3, 4)
    v = np.array([[1.5], [2.0], [8.0]], dtype=dtype)
    got = getattr(cuda, name)(cupy.asarray(v), cupy.asarray(x))
    assert isinstance(got, HostArray)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, getattr(_core, name)(v, x))
    assert library.calls == [(f"telamon_cuda_{name}_f{dtype[-2:]}", 1, 1, 12, 77)]


def test_cupy_numbers_strides_and_empty(cupy, library):
    x = np.linspace(0.5, 30, 24).reshape(4, 6)
    np.testing.assert_array_equal(cuda.log_iv(2.5, cupy.asarray(x).T), _core.log_iv(2.5, x.T))
    np.testing.assert_array_equal(cuda.log_kv(cupy.asarray(x)[::2, 1:], 3), _core.log_kv(x[::2, 1:], 3.0))
    assert [call[1:3] for call in library.calls] == [(0, 1), (1, 0)]
    assert cuda.log_iv(2.5, cupy.asarray(x[:0])).shape == (0, 6)
    assert cuda.log_iv(2.5, cupy.asarray(np.float32(2))).shape == ()


def test_cupy_types(cupy):
    half = cupy.asarray(np.array([0.5, 2.0], np.float16))
    got = cuda.log_iv(1.5, half)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, _core.log_iv(1.5, half.astype(np.float32)).astype(np.float16))
    single = cupy.asarray(np.array([0.5, 2.0], np.float32))
    assert cuda.log_iv(np.float64(1.5), single).dtype == np.float32
    assert cuda.log_iv(single.astype(np.float64), single).dtype == np.float64
    with pytest.raises(TypeError, match=r"log_iv: v has dtype int64; pass v\.astype"):
        cuda.log_iv(cupy.asarray(np.arange(2)), single)
    with pytest.raises(TypeError, match=r"iv_ratioinv: r has dtype bool"):
        cuda.iv_ratioinv(single, single > 1)
    with pytest.raises(ValueError, match="broadcast"):
        cuda.log_iv(cupy.asarray(np.ones(3)), single)


def test_an_error_code_becomes_an_exception(cupy, library, monkeypatch):
    monkeypatch.setattr(loading, "function", lambda name, *types: lambda *args: 35)
    with pytest.raises(RuntimeError, match=r"telamon\.cuda\.log_iv: error number 35 \(CUDA error 35\)"):
        cuda.log_iv(1.5, cupy.asarray(np.ones(3)))


def test_arrays_on_the_cpu_are_refused(library):
    with pytest.raises(
        TypeError, match=r"log_iv: x is a ndarray; pass an array on the GPU, .* telamon\.special\.log_iv"
    ):
        cuda.log_iv(1.5, np.ones(3))
    with pytest.raises(TypeError, match="log_iv: v and x are numbers"):
        cuda.log_iv(1.5, 2.0)
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"log_iv: x is on cpu; pass x\.cuda\(\)"):
        cuda.log_iv(1.5, torch.ones(3))


@pytest.mark.parametrize("name", ["log_iv", "log_iv_grad", "log_kv_hess"])
def test_torch_tensors_reach_the_kernel(library, monkeypatch, name):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: types.SimpleNamespace(cuda_stream=77))
    x = torch.linspace(0.5, 30, 24).reshape(4, 6)
    n_outputs = 1 if name in LOGARITHMS else 3
    for v, y, steps in (
        (torch.tensor(2.5).expand(4, 6), x, (0, 1)),
        (x.T, x.T, (1, 1)),
        (x[::2, 1:], x[::2, 1:2].expand(2, 5), (1, 1)),
    ):
        outs = [torch.full(y.shape, torch.nan) for _ in range(n_outputs)]
        cuda.launch(name, v, y, outs)
        want = getattr(_core, name)(v.numpy(), y.numpy())
        for out, w in zip(outs, want if n_outputs > 1 else [want], strict=True):
            np.testing.assert_array_equal(out.numpy(), w)
        assert library.calls[-1] == (f"telamon_cuda_{name}_f32", *steps, y.numel(), 77)


def test_a_missing_library_says_how_to_get_one(monkeypatch):
    loading.library.cache_clear()
    monkeypatch.delenv("TELAMON_CUDA_LIBRARY", raising=False)
    monkeypatch.setattr(loading, "shared_library", lambda stem: None)
    with pytest.raises(RuntimeError, match=r"built without libtelamon_cuda; .*TELAMON_CUDA=ON"):
        loading.library()
    assert not cuda.is_available()
    monkeypatch.setenv("TELAMON_CUDA_LIBRARY", "/nonexistent/libtelamon_cuda.so")
    with pytest.raises(RuntimeError, match=r"/nonexistent/libtelamon_cuda\.so cannot be loaded"):
        loading.library()
    loading.library.cache_clear()


@pytest.mark.skipif("built without" in (REASON or ""), reason=f"no library to load: {REASON}")
def test_the_library_loads_and_has_every_function():
    library = loading.library()
    names = [*BINARY, *(f"{n}_{kind}" for n in LOGARITHMS for kind in ("grad", "hess"))]
    for name in names:
        for suffix in ("f32", "f64"):
            assert getattr(library, f"telamon_cuda_{name}_{suffix}") is not None
    assert library.telamon_cuda_error_string(0).decode() == "no error"


# ---- with a GPU


def grid(name, dtype):
    """Orders and arguments from 1e-3 to 1e6, every regime many times over, and the edges."""
    rng = np.random.default_rng(1)
    v = np.exp(rng.uniform(np.log(0.5), np.log(1e6), 200_000))
    x = np.exp(rng.uniform(np.log(1e-3), np.log(1e6), v.size))
    v[:1000], x[:1000] = rng.uniform(0.5, 20, (2, 1000))
    if name == "iv_ratioinv":
        x = rng.uniform(0.001, 0.999, v.size)
    else:
        x[-4:] = [0, np.inf, np.nan, -1]
    return v.astype(dtype), x.astype(dtype)


def assert_close(name, got, want, v, x):
    """Both sides are within a few units of the truth, in the metric of their own function."""
    eps = np.finfo(got.dtype).eps
    assert np.array_equal(np.isnan(got), np.isnan(want))
    assert np.array_equal(got[np.isinf(want)], want[np.isinf(want)])
    finite = np.isfinite(want)
    got, want, v, x = (a[finite].astype(np.float64) for a in (got, want, v, x))
    scale = np.maximum(np.abs(want), np.hypot(v, x) if name in LOGARITHMS else 0)
    error = np.abs(got - want) / scale
    assert np.max(error, initial=0) <= (4 if name in LOGARITHMS else 100) * eps


@pytest.fixture(params=["torch", "cupy"])
def device_array(request):
    module = pytest.importorskip(request.param)
    if request.param == "cupy":
        return module.asarray, module.asnumpy
    return (lambda a: module.from_numpy(a).cuda()), (lambda a: a.detach().cpu().numpy())


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BINARY)
def test_kernels_agree_with_the_cpu(device_array, name, dtype):
    to_device, to_host = device_array
    v, x = grid(name, dtype)
    got = to_host(getattr(cuda, name)(to_device(v), to_device(x)))
    assert got.dtype == dtype
    assert_close(name, got, getattr(_core, name)(v, x), v, x)


@needs_gpu
def test_numbers_strides_and_empty(device_array):
    to_device, to_host = device_array
    x = np.linspace(0.5, 300, 6000).reshape(60, 100)
    for device, host in ((to_device(x).T, x.T), (to_device(x)[::2, 1:], x[::2, 1:]), (to_device(x)[:0], x[:0])):
        want = _core.log_iv(2.5, host)
        got = to_host(cuda.log_iv(2.5, device))
        assert_close("log_iv", got, want, np.full_like(host, 2.5), host)


@needs_gpu
@pytest.mark.parametrize("name", LOGARITHMS)
def test_torch_gradients(name):
    torch = pytest.importorskip("torch")
    from telamon import torch as tt

    v, x = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in ([1.5, 3.0, 40.0], [0.7, 9.0, 30.0]))
    on_gpu = tuple(t.detach().cuda().requires_grad_() for t in (v, x))

    def derivatives(v, x):
        first = torch.autograd.grad(getattr(tt, name)(v, x).sum(), (v, x), create_graph=True)
        return *first, *torch.autograd.grad(first[0].sum() + 2 * first[1].sum(), (v, x))

    for got, want in zip(derivatives(*on_gpu), derivatives(v, x), strict=True):
        assert got.is_cuda
        torch.testing.assert_close(got.cpu(), want, rtol=1e-13, atol=0)


@needs_gpu
def test_the_current_stream_is_used():
    torch = pytest.importorskip("torch")
    from telamon import torch as tt

    x = torch.linspace(0.1, 100, 1000, device="cuda")
    want = tt.log_kv(1.5, x)
    graph = torch.cuda.CUDAGraph()
    y = torch.zeros_like(x) + 1
    with torch.cuda.graph(graph):  # would fail for work on another stream
        out = tt.log_kv(1.5, y)
    y.copy_(x)
    graph.replay()
    torch.testing.assert_close(out, want, rtol=0, atol=0)


@needs_gpu
def test_numba_arrays():
    pytest.importorskip("cupy")
    numba_cuda = pytest.importorskip("numba.cuda")
    x = np.linspace(0.5, 30, 24)
    got = cuda.log_iv(2.5, numba_cuda.to_device(x))
    assert numba_cuda.is_cuda_array(got)
    assert_close("log_iv", got.copy_to_host(), _core.log_iv(2.5, x), np.full(24, 2.5), x)


@needs_gpu
@pytest.mark.slow
def test_more_elements_than_32_bits_count():
    torch = pytest.importorskip("torch")
    from telamon import torch as tt

    n = 2**32 + 5
    if torch.cuda.mem_get_info()[0] < 3 * 4 * n:
        pytest.skip("not enough GPU memory for three arrays of 2^32 floats")
    x = torch.full((n,), 3.0, device="cuda")
    x[-1] = 4.0
    out = tt.log_iv(1.5, x)
    assert out[-1].item() == tt.log_iv(1.5, x[-1:]).item()
    assert bool((out[:-1] == out[0]).all())
