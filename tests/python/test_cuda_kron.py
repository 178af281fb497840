"""The kernels of kron on GPUs: against the CPU where there is one; the way to them, with a stand-in, everywhere."""

import contextlib
import ctypes
import sys
import types

import numpy as np
import pytest
from cuda_support import HostArray, host_cupy

from telamon import cuda
from telamon.cuda import _kron_kernels as kernels
from telamon.cuda import _library as loading
from telamon.reference import kron as truth

REASON = loading.why_not()
needs_gpu = pytest.mark.skipif(REASON is not None, reason=f"no GPU kernels here: {REASON}")

# Sums of some hundred terms, and condition numbers below 100.
BOUND = {"float32": 1e-4, "float64": 1e-12}


def normal(*shape, seed=0, dtype="float64"):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def spd(n, seed=0, dtype="float64"):
    a = normal(n, n, seed=seed)
    return (a @ a.T / n + 0.5 * np.eye(n)).astype(dtype)


def assert_close(got, want, bound):
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=0, atol=bound * max(np.abs(want).max(initial=0), 1))


# ---- without a GPU


class HostLibrary:
    """Stands in for libtelamon_cuda: the same C signatures, with host pointers, computed by the readable twins."""

    def __init__(self):
        self.streams = []

    @staticmethod
    def at(address, dtype, shape, strides=None):
        if address is None or 0 in shape:
            return None if address is None else np.empty(shape, dtype)
        dtype = np.dtype(dtype)
        strides = np.cumprod([1, *shape[:0:-1]])[::-1] if strides is None else strides
        count = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        memory = (ctypes.c_char * (int(count) * dtype.itemsize)).from_address(address)
        steps = [int(s) * dtype.itemsize for s in strides]
        return np.lib.stride_tricks.as_strided(np.frombuffer(memory, dtype), shape, steps)

    def telamon_cuda_error_string(self, error):
        return f"error number {error}".encode()

    def telamon_cuda_kron_spectral_work(self, longest, size):
        size._obj.value = 64 * longest
        return 0

    def __getattr__(self, symbol):
        name, suffix = symbol.removeprefix("telamon_cuda_kron_").rsplit("_", 1)
        dtype = np.dtype({"f32": np.float32, "f64": np.float64}[suffix])

        def axis(a, m, n, row, column, x, left, right, out, stream):
            self.streams.append(stream)
            matrix = self.at(a, dtype, (m, n), (row, column))
            truth.matmul([matrix], self.at(x, dtype, (left, n, right)), self.at(out, dtype, (left, m, right)))
            return 0

        def gram(d, sizes, axis, batch, x, y, n, values, work, work_size, out, stream):
            shape = list(sizes[:d])
            other = [n if i == axis else k for i, k in enumerate(shape)]
            scales = values and [self.at(v, dtype, (k,)) for v, k in zip(values[:d], shape, strict=True)]
            grids = [self.at(p, dtype, (batch, *s, 1)) for p, s in ((x, shape), (y, other))]
            assert work_size >= shape[axis] + n
            truth.gram(*grids, scales, axis, self.at(out, dtype, (shape[axis], n)))
            return 0

        def spectral(d, sizes, values, noise, batch, b, out, weights, sums, work, work_size, stream):
            shape = list(sizes[:d])
            eigenvalues = [self.at(v, dtype, (k,)) for v, k in zip(values[:d], shape, strict=True)]
            grids = [self.at(p, dtype, (batch, *shape, 1)) for p in (b, out)]
            to = weights and [self.at(w, np.float64, (k,)) for w, k in zip(weights[:d], shape, strict=True)]
            self.at(sums, np.float64, (3,))[:] = truth.spectral(eigenvalues, self.at(noise, dtype, (1,))[0], *grids, to)
            return 0

        def eigh_work(n, on_device, on_host, stream):
            on_device._obj.value, on_host._obj.value = 8 * n, 0
            return 0

        def eigh(n, a, w, info, work, work_size, host, host_size, stream):
            assert work_size == 8 * n
            matrix = self.at(a, dtype, (n, n))
            q = np.empty_like(matrix)
            truth.eigh(matrix.copy(), self.at(w, dtype, (n,)), q)
            matrix[...] = q.T  # column by column
            return 0

        return {"axis": axis, "gram": gram, "spectral": spectral, "eigh_work": eigh_work, "eigh": eigh}[name]


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_reach_the_kernel(torch, library, dtype):
    x = normal(2, 4, 3, 5, 1, dtype=dtype)
    a, c = normal(6, 4, dtype=dtype), normal(5, 2, dtype=dtype)
    want = np.empty((2, 6, 3, 2, 1), dtype)
    truth.matmul([a, None, c.T], x, want)
    got = torch.full(want.shape, torch.nan, dtype=getattr(torch, dtype))
    kernels.matmul([torch.from_numpy(a), None, torch.from_numpy(c).T], torch.from_numpy(x), got)
    assert_close(got.numpy(), want, BOUND[dtype])
    assert library.streams == [77, 77]
    kernels.matmul([None, None, None], torch.from_numpy(x), got := torch.empty(x.shape, dtype=getattr(torch, dtype)))
    np.testing.assert_array_equal(got.numpy(), x)


def test_the_cheapest_order_comes_first(torch, library, monkeypatch):
    order = []
    monkeypatch.setattr(kernels, "_axis", lambda a, x, axis, out: order.append(axis))
    x, shapes = torch.zeros(1, 4, 4, 4, 1), [(9, 4), (2, 4), (4, 4)]
    kernels.matmul([torch.zeros(s) for s in shapes], x, torch.zeros(1, 9, 2, 4, 1))
    assert order == [1, 2, 0]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("two", [False, True])
def test_gram_matrices_reach_the_kernel(torch, axis, scaled, two):
    shape = [2, 4, 3, 5, 1]
    x = normal(*shape)
    shape[axis + 1] = 6
    y = normal(*shape) if two else None
    scales = [normal(n, seed=1) for n in (4, 3, 5)] if scaled else None
    want = np.empty((x.shape[axis + 1], 6 if two else x.shape[axis + 1]))
    truth.gram(x, y, scales, axis, want)
    got = torch.full(want.shape, torch.nan, dtype=torch.float64)
    tensors = None if scales is None else [torch.from_numpy(s) for s in scales]
    kernels.gram(torch.from_numpy(x), None if y is None else torch.from_numpy(y), tensors, axis, got)
    assert_close(got.numpy(), want, 1e-12)


def test_the_adapter_finds_every_kernel(torch, monkeypatch):
    from telamon import torch as tt
    from telamon.torch import _kron_call

    y = torch.from_numpy(normal(2, 3, 4)).requires_grad_()
    factors = [torch.from_numpy(spd(n)).requires_grad_() for n in (3, 4)]
    noise = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    leaves = (y, noise, *factors)

    def results():
        symmetric = [(a + a.mT) / 2 for a in factors]
        terms = [tt.kron_solve(symmetric, y, noise), tt.kron_log_likelihood(symmetric, y, noise)]
        terms += [tt.kron_matmul(factors, y), tt.kron_logdet(symmetric, noise)]
        terms += [tt.kron_log_likelihood(symmetric, y[0], noise)]
        first = torch.autograd.grad(sum((t**2).sum() for t in terms), leaves, create_graph=True)
        return [*terms, *first, *torch.autograd.grad(sum((t**2).sum() for t in first), leaves)]

    want = results()
    monkeypatch.setattr(_kron_call, "_device", lambda t: kernels)
    for g, e in zip(results(), want, strict=True):
        assert_close(g.detach().numpy(), e.detach().numpy(), 1e-10)  # second derivatives, of cubes of solutions


def test_what_would_leave_the_memory_is_refused(torch):
    x, a = torch.zeros(1, 3, 4, 1), torch.ones(3, 3)
    with pytest.raises(ValueError, match=r"kron_matmul: out is \(1, 3, 3, 1\); pass \(1, 3, 4, 1\)"):
        kernels.matmul([a, None], x, torch.zeros(1, 3, 3, 1))
    with pytest.raises(ValueError, match="kron_gram: out is"):
        kernels.gram(x, None, None, 0, torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"kron_spectral: b is \(1, 4, 3, 1\); pass \(B, 3, 4, 1\)"):
        kernels.spectral([torch.ones(3), torch.ones(4)], torch.ones(()), x.transpose(1, 2), None, None)
    with pytest.raises(TypeError, match=r"kron_spectral: noise is torch\.float64; pass torch\.float32"):
        kernels.spectral([torch.ones(3)], torch.ones((), dtype=torch.float64), None, None, None)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (20001, "cuBLAS was not found; pip install nvidia-cublas"),
        (20002, "cuSOLVER was not found; pip install nvidia-cusolver"),
        (20114, "cuBLAS failed with status 14"),
        (20207, "cuSOLVER failed with status 7"),
        (35, r"error number 35 \(CUDA error 35\)"),
    ],
)
def test_an_error_code_becomes_an_exception(torch, monkeypatch, code, message):
    monkeypatch.setattr(kernels, "_preload", lambda: None)
    monkeypatch.setattr(loading, "function", lambda name, *types: lambda *args: code)
    with pytest.raises(RuntimeError, match=rf"telamon\.cuda\.kron_axis_f32: {message}"):
        kernels.matmul([torch.ones(3, 3)], torch.ones(1, 3, 1), torch.ones(1, 3, 1))


def test_a_library_of_a_wheel_is_looked_for_once_it_is_missed(torch, monkeypatch):
    codes, looked = [20001, 0], []
    monkeypatch.setattr(kernels, "_preload", lambda: looked.append(1))
    monkeypatch.setattr(loading, "function", lambda name, *types: lambda *args: codes.pop(0))
    kernels.matmul([torch.ones(3, 3)], torch.ones(1, 3, 1), torch.ones(1, 3, 1))
    assert looked == [1]
    assert codes == []


# ---- CuPy


@pytest.fixture
def cupy(monkeypatch, library):
    module = host_cupy()
    module.sqrt, module.log = np.sqrt, np.log
    module.empty = lambda shape, dtype: np.empty(shape, dtype).view(HostArray)  # of integers too, which have no NaN
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def dense(factors, noise):
    k = truth.dense(factors)
    return k + (noise * np.eye(len(k)) if np.ndim(noise) == 0 else np.diag(noise))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_cupy_arrays_give_what_dense_algebra_gives(cupy, dtype, batch):
    factors, y = [spd(n, dtype=dtype) for n in (3, 1, 4)], normal(*batch, 3, 1, 4, dtype=dtype)
    variances = [np.exp(normal(n)) for n in (3, 1, 4)]
    arrays, grid = [cupy.asarray(a) for a in factors], cupy.asarray(y)
    flat = y.reshape(*batch, 12)
    close = BOUND[dtype]
    for noise, shift in ((0.3, 0.3), ([cupy.asarray(v, dtype) for v in variances], truth.dense(variances))):
        k = dense(factors, shift)
        z = np.linalg.solve(k, flat[..., None])[..., 0]
        logdet = np.linalg.slogdet(k)[1]
        solved = cuda.kron_solve(arrays, grid, noise)
        assert isinstance(solved, HostArray)
        assert_close(solved, z.reshape(y.shape), close)
        assert_close(cuda.kron_logdet(arrays, noise), logdet, close)
        want = -0.5 * ((flat * z).sum(-1) + logdet + 12 * np.log(2 * np.pi))
        assert_close(cuda.kron_log_likelihood(arrays, grid, noise), want, close)
        assert all(a.dtype == dtype for a in (solved, cuda.kron_logdet(arrays, noise)))
    rectangular = [cupy.asarray(normal(2, 3, dtype=dtype)), None, cupy.asarray(normal(5, 4, dtype=dtype).T.copy()).T]
    want = flat @ truth.dense([rectangular[0], np.eye(1), rectangular[2]]).T
    assert_close(cuda.kron_matmul(rectangular, grid), want.reshape(*batch, 2, 1, 5), close)
    values, vectors = cuda.kron_eigh(arrays)
    for a, w, q in zip(factors, values, vectors, strict=True):
        assert_close((q * w) @ q.T, a, close)


def test_cupy_empty_batches_and_types(cupy):
    factors, y = [cupy.asarray(spd(n)) for n in (3, 4)], cupy.asarray(normal(2, 3, 4))
    assert cuda.kron_solve(factors, y[:0], 0.3).shape == (0, 3, 4)
    assert cuda.kron_log_likelihood(factors, y[:0], 0.3).shape == (0,)
    assert cuda.kron_matmul(factors, y[:0]).shape == (0, 3, 4)
    single = [a.astype(np.float32) for a in factors]
    assert cuda.kron_solve(single, y, 0.3).dtype == np.float64
    assert cuda.kron_logdet(single, cupy.asarray(np.asarray(0.3))).dtype == np.float32


def test_arguments_that_do_not_fit(cupy):
    factors, y = [cupy.asarray(spd(n)) for n in (3, 4)], cupy.asarray(normal(3, 4))
    for call, error, message in [
        (lambda: cuda.kron_solve(factors, np.asarray(y), 0.1), TypeError, r"kron_solve: y is a ndarray; pass an array"),
        (lambda: cuda.kron_solve(factors[0], y, 0.1), TypeError, "kron_solve: factors is a HostArray; pass a list"),
        (lambda: cuda.kron_solve(factors, y.T, 0.1), ValueError, r"kron_solve: y has shape \(4, 3\), the factors span"),
        (lambda: cuda.kron_solve(factors, y, None), TypeError, "kron_solve: noise is None"),
        (lambda: cuda.kron_solve(factors, y, -1), ValueError, "kron_solve: noise is -1; pass a variance"),
        (lambda: cuda.kron_logdet(factors, y), ValueError, r"kron_logdet: noise has shape \(3, 4\)"),
        (lambda: cuda.kron_logdet(factors, [y[0]]), ValueError, "kron_logdet: noise has arrays of shapes"),
        (lambda: cuda.kron_logdet([y], 0.1), ValueError, r"kron_logdet: factors\[0\] has shape \(3, 4\)"),
        (lambda: cuda.kron_eigh([y]), ValueError, r"kron_eigh: factors\[0\] has shape \(3, 4\)"),
        (
            lambda: cuda.kron_matmul(factors, y.astype(int)),
            TypeError,
            r"kron_matmul: x has dtype int64; pass x\.astype",
        ),
    ]:
        with pytest.raises(error, match=rf"telamon\.cuda\.{message}"):
            call()


def test_tensors_on_the_cpu_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"kron_solve: factors\[0\] is on cpu; pass factors\[0\]\.cuda\(\)"):
        cuda.kron_solve([torch.eye(3)], torch.ones(3), 0.1)


@pytest.mark.skipif("built without" in (REASON or ""), reason=f"no library to load: {REASON}")
def test_the_library_loads_and_has_every_function():
    library = loading.library()
    names = [
        f"{name}_{suffix}" for name in ("axis", "gram", "spectral", "eigh", "eigh_work") for suffix in ("f32", "f64")
    ]
    for name in [*names, "spectral_work"]:
        assert getattr(library, f"telamon_cuda_kron_{name}") is not None


@pytest.mark.skipif(REASON is None or "libtelamon_cuda" in REASON, reason="needs the library, and no driver")
def test_without_a_driver_the_error_is_cudas():
    torch = pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda: types.SimpleNamespace(cuda_stream=0))
        with pytest.raises(RuntimeError, match=r"telamon\.cuda\.kron_axis_f32: .* \(CUDA error \d+\)"):
            kernels.matmul([torch.ones(3, 3)], torch.ones(1, 3, 1), torch.ones(1, 3, 1))


# ---- with a GPU


@pytest.fixture
def tt():
    pytest.importorskip("torch")
    from telamon import torch as adapter

    return adapter


def on_gpu(a):
    import torch

    return torch.from_numpy(np.ascontiguousarray(a)).cuda()


# One axis, many, of length 1, beyond a tile of the transposition, and beyond a block of sums.
SIZES = [(7,), (1, 1), (5, 1, 6), (33, 70), (3, 2, 4, 3), (40, 100, 30)]


@needs_gpu
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_agrees_with_the_cpu(tt, sizes, dtype):
    import torch

    y, factors = normal(2, *sizes, dtype=dtype), [spd(n, seed=i, dtype=dtype) for i, n in enumerate(sizes)]

    def results(move, wide):
        grid = move(y.astype(wide)).requires_grad_()
        matrices = [move(a.astype(wide)).requires_grad_() for a in factors]
        noise = move(np.asarray(0.3, wide)).requires_grad_()
        terms = [tt.kron_matmul(matrices, grid), tt.kron_solve(matrices, grid, noise)]
        terms += [tt.kron_logdet(matrices, noise), tt.kron_log_likelihood(matrices, grid, noise)]
        loss = terms[0].mean() + terms[1].square().mean() + (terms[2] + terms[3].sum()) / grid.numel()
        return [*terms, *torch.autograd.grad(loss, (grid, noise, *matrices))]

    got, want = results(on_gpu, dtype), results(torch.from_numpy, "float64")
    for a, b in zip(got, want, strict=True):
        assert a.is_cuda
        assert str(a.dtype) == f"torch.{dtype}"
        assert_close(a.detach().cpu().numpy(), b.detach().numpy(), 20 * BOUND[dtype])


@needs_gpu
def test_rectangular_strided_and_partial_products(tt):
    import torch

    x = on_gpu(normal(3, 6, 5, 4))
    a, c = on_gpu(normal(2, 6)), on_gpu(normal(4, 7))
    want = torch.einsum("zijk,ai,kc->zajc", x, a, c)
    strided = torch.zeros(4, 12, dtype=x.dtype, device="cuda")[::2, ::2].copy_(a)
    for factors in ([a, None, c.mT], [a, None, c.mT.contiguous()], [strided, None, c.mT]):
        assert_close(tt.kron_matmul(factors, x).cpu().numpy(), want.cpu().numpy(), 1e-12)
    wide = torch.zeros(3, 12, 5, 8, dtype=x.dtype, device="cuda")[:, ::2, :, ::2].copy_(x)
    assert_close(tt.kron_matmul([a, None, c.mT], wide).cpu().numpy(), want.cpu().numpy(), 1e-12)
    assert tt.kron_matmul([a, None, c.mT], x[:0]).shape == (0, 2, 5, 7)


@needs_gpu
def test_second_derivatives(tt):
    import torch

    leaves = [on_gpu(t).requires_grad_() for t in (normal(3, 2), np.asarray(0.3), spd(3), spd(2))]

    def value(y, noise, *factors):
        return tt.kron_log_likelihood([(a + a.mT) / 2 for a in factors], y, noise)

    assert torch.autograd.gradcheck(value, leaves)
    assert torch.autograd.gradgradcheck(value, leaves)


@needs_gpu
def test_sums_have_the_same_bits_each_time(tt):
    factors, y = [on_gpu(spd(n)) for n in (50, 60)], on_gpu(normal(50, 60))
    first = tt.kron_log_likelihood(factors, y, 0.1)
    assert all(bool(tt.kron_log_likelihood(factors, y, 0.1) == first) for _ in range(5))


@needs_gpu
def test_gram_matrices_in_pieces(monkeypatch):
    import torch

    monkeypatch.setattr(kernels, "_WORK", 1000)
    x, scales = normal(2, 30, 20, 10, 1), [normal(n, seed=1) for n in (30, 20, 10)]
    for axis, n in enumerate((30, 20, 10)):
        want, got = np.empty((n, n)), torch.empty(n, n, dtype=torch.float64, device="cuda")
        truth.gram(x, None, scales, axis, want)
        kernels.gram(on_gpu(x), None, [on_gpu(s) for s in scales], axis, got)
        assert_close(got.cpu().numpy(), want, 1e-12)


@needs_gpu
def test_the_current_stream_is_used(tt):
    import torch

    factors, y = [on_gpu(spd(n)) for n in (300, 200)], on_gpu(normal(300, 200))
    want = tt.kron_solve(factors, y, 0.1)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)  # what does not wait on this stream would read y too early
        later = y * 1
        got = tt.kron_solve(factors, later, 0.1)
    stream.synchronize()
    assert_close(got.cpu().numpy(), want.cpu().numpy(), 1e-12)


@needs_gpu
def test_what_is_not_definite_is_nan(tt):
    import torch

    assert bool(torch.isnan(tt.kron_logdet([on_gpu(-np.eye(3))], 0.1)))


@needs_gpu
def test_cupy_arrays_on_the_device():
    cp = pytest.importorskip("cupy")
    factors, y = [spd(n) for n in (5, 6)], normal(2, 5, 6)
    arrays, grid = [cp.asarray(a) for a in factors], cp.asarray(y)
    k = dense(factors, 0.3)
    z = np.linalg.solve(k, y.reshape(2, 30, 1)).reshape(y.shape)
    assert_close(cp.asnumpy(cuda.kron_solve(arrays, grid, 0.3)), z, 1e-12)
    logdet = np.linalg.slogdet(k)[1]
    assert_close(cp.asnumpy(cuda.kron_logdet(arrays, cp.asarray(0.3))), logdet, 1e-12)
    want = -0.5 * ((y * z).sum((1, 2)) + logdet + 30 * np.log(2 * np.pi))
    assert_close(cp.asnumpy(cuda.kron_log_likelihood(arrays, grid, 0.3)), want, 1e-12)
    for a, w, q in zip(factors, *cuda.kron_eigh(arrays), strict=True):
        assert_close(cp.asnumpy((q * w) @ q.T), a, 1e-12)
    assert cuda.kron_matmul(arrays, grid).shape == (2, 5, 6)
