"""The kernels of so3 on GPUs: against the CPU where there is one; the way to them, with a stand-in, everywhere.

What the kernels compute is also tested on the host, by tests/cpp/test_so3_columns.cpp.
"""

import contextlib
import ctypes
import sys
import types

import numpy as np
import pytest
from cuda_support import HostArray, host_cupy

from telamon import _core, cuda, so3
from telamon.cuda import _library as loading

REASON = loading.why_not()
needs_gpu = pytest.mark.skipif(REASON is not None, reason=f"no GPU kernels here: {REASON}")
KINDS = ("even", "odd", "sum", "complete")

# The design's bounds, relative to the largest coefficient.
BOUND = {"float32": 1e-6, "float64": 1e-12}


def features(rng, *shape, dtype="float64"):
    return rng.standard_normal(shape).astype(dtype)


def assert_close(got, want, bound):
    np.testing.assert_allclose(got, want, rtol=0, atol=bound * max(np.abs(want).max(initial=0), 1e-300))


# ---- without a GPU


class HostLibrary:
    """Stands in for libtelamon_cuda: the same C signatures, with host pointers, computed by _core."""

    def __init__(self):
        self.streams = []

    def view(self, array, *shape):
        dtype = np.dtype([np.float64, np.float32, np.float16][array.type])
        return self.at(array.data, dtype, shape, (array.sample, array.component, array.channel))

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

    def telamon_cuda_so3_product(self, l1, l2, l3, kind, accumulate, x, y, out, odd, w, n, c, stream):
        self.streams.append(stream)
        degrees = (l1, l2, l3)
        arrays = [self.view(a, n, (l + 1) ** 2, c) for a, l in zip((x, y, out, odd), (*degrees, l3), strict=True)]
        compute = np.promote_types(arrays[2].dtype, np.float32)
        weights = [self.at(v.data, compute, (l + 1, c), (v.degree, v.channel)) for v, l in zip(w, degrees, strict=True)]
        results = [a.astype(compute) for a in arrays[2:]]
        factors = [a.astype(compute) for a in arrays[:2]]
        second = results[1] if KINDS[kind] == "complete" else None
        _core.so3_product(*factors, results[0], second, KINDS[kind], "grid", bool(accumulate), *weights)
        if second is not None:
            arrays[3][...] = second
        arrays[2][...] = results[0]
        return 0

    def telamon_cuda_so3_monomial(self, n, degrees, powers, factors, lmax, out, accumulate, samples, c, stream):
        arrays = [self.view(factors[k], samples, (degrees[k] + 1) ** 2, c) for k in range(n)]
        _core.so3_monomial(arrays, list(powers[:n]), self.view(out, samples, (lmax + 1) ** 2, c), bool(accumulate))
        return 0

    def telamon_cuda_so3_conv(self, l1, l2, l3, x, harmonics, w, out, senders, order, start, nodes, outputs, c, stream):
        x, out = self.view(x, nodes, (l1 + 1) ** 2, c), self.view(out, outputs, (l3 + 1) ** 2, c)
        start = self.at(start, np.int64, (outputs + 1,))
        edges = outputs if start is None else int(start[-1])
        w, y = self.view(w, edges, l2 + 1, c), self.at(harmonics, x.dtype, (edges, (l2 + 1) ** 2))
        y = y[:, :, None] * np.repeat(w, 2 * np.arange(l2 + 1) + 1, axis=1)
        z = np.empty((edges, *out.shape[1:]), x.dtype)
        senders = self.at(senders, np.int64, (edges,))
        _core.so3_product(x if senders is None else x[senders], y, z, None, "even", "grid")
        if start is None:
            out[...] = z
            return 0
        order = self.at(order, np.int64, (edges,))
        for r in range(outputs):
            out[r] = z[order[start[r] : start[r + 1]]].sum(0)
        return 0

    def __getattr__(self, symbol):
        name, suffix = symbol.removeprefix("telamon_cuda_").rsplit("_", 1)
        dtype = {"f32": np.float32, "f64": np.float64}[suffix]

        def harmonics(r, out, lmax, normalize, n, stream):
            _core.so3_harmonics(self.at(r, dtype, (n, 3)), self.at(out, dtype, (n, (lmax + 1) ** 2)), bool(normalize))
            return 0

        def wigner(rotations, out, l, n, stream):
            _core.so3_wigner(self.at(rotations, dtype, (n, 3, 3)), self.at(out, dtype, (n, 2 * l + 1, 2 * l + 1)), l)
            return 0

        def rotate(rotations, x, out, lmax, transposed, n, c, stream):
            shape = (n, (lmax + 1) ** 2, c)
            arrays = [self.at(rotations, dtype, (n, 3, 3)), self.at(x, dtype, shape), self.at(out, dtype, shape)]
            _core.so3_rotate(*arrays, bool(transposed))
            return 0

        return {"so3_harmonics": harmonics, "so3_wigner": wigner, "so3_rotate": rotate}[name]


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_reach_the_kernel(torch, library, kind, dtype):
    rng = np.random.default_rng(0)
    x, y = features(rng, 5, 9, 4, dtype=dtype), features(rng, 1, 4, 16, dtype=dtype)[..., ::4]
    w1, w3 = features(rng, 3, 4, dtype=dtype), features(rng, 4, 1, dtype=dtype)
    y, w3 = np.broadcast_to(y, (5, 4, 4)), np.broadcast_to(w3, (4, 4))
    want, odd = np.ones((2, 5, 16, 4), dtype)
    second = odd if kind == "complete" else None
    _core.so3_product(x, y, want, second, kind, "grid", True, w1, None, w3)

    got, got_odd = torch.ones(2, 5, 4, 16, dtype=getattr(torch, dtype)).transpose(-1, -2)  # channels first
    tensors = [torch.from_numpy(x.copy()), torch.from_numpy(y[:1].copy()).expand(5, -1, -1)]
    weights = [torch.from_numpy(w1), None, torch.from_numpy(w3[:, :1].copy()).expand(4, 4)]
    cuda.so3_product(*tensors, got, got_odd if kind == "complete" else None, kind, "auto", True, *weights)
    assert_close(got.numpy(), want, BOUND[dtype])
    assert_close(got_odd.numpy(), odd, BOUND[dtype])
    assert library.streams == [77]


def test_half_types_are_read_and_written_in_place(torch):
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(features(rng, 3, 4, 2, dtype="float16")) for _ in range(2))
    out = torch.empty(3, 4, 2, dtype=torch.float16)
    cuda.so3_product(x, y, out, None, "even")
    want = so3.gaunt_product(x.float().numpy(), y.float().numpy())
    np.testing.assert_array_equal(out.numpy(), want.astype(np.float16))


def test_negative_views_are_resolved(torch):
    x = torch.randn(3, 4, 2, dtype=torch.complex64)
    negative = x.conj().imag
    assert negative.is_neg()
    out = torch.empty(3, 4, 2)
    cuda.so3_product(negative, x.real, out, None, "even")
    assert_close(out.numpy(), so3.gaunt_product(-x.imag.numpy(), x.real.numpy()), 1e-6)


def test_monomials_reach_the_kernel(torch):
    rng = np.random.default_rng(0)
    x, y = features(rng, 5, 9, 4), features(rng, 5, 4, 4)
    want, got = np.ones((5, 16, 4)), torch.ones(5, 16, 4, dtype=torch.float64)
    _core.so3_monomial([x, y], [2, 3], want, True)
    cuda.so3_monomial([torch.from_numpy(x), torch.from_numpy(y)], [2, 3], got, True)
    assert_close(got.numpy(), want, 1e-12)


@pytest.mark.parametrize("senders", [True, False])
@pytest.mark.parametrize("receivers", [True, False])
def test_edges_reach_the_kernel(torch, senders, receivers):
    rng = np.random.default_rng(0)
    edges, nodes, count = 20, 6, 8
    x = features(rng, nodes if senders else edges, 9, 4)
    directions, w = features(rng, edges, 3), features(rng, edges, 4, 1)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    sender = rng.integers(0, nodes, edges) if senders else None
    receiver = rng.integers(0, count, edges) if receivers else None
    rows = count if receivers else edges
    want, got = np.empty((rows, 16, 4)), torch.empty(rows, 16, 4, dtype=torch.float64)
    _core.so3_conv(x, directions, np.broadcast_to(w, (edges, 4, 4)), want, sender, receiver)
    tensors = [torch.from_numpy(a) for a in (x, directions, w)]
    indices = [None if a is None else torch.from_numpy(a) for a in (sender, receiver)]
    cuda.so3_conv(*tensors[:2], tensors[2].expand(-1, -1, 4), got, *indices)
    assert_close(got.numpy(), want, 1e-12)


def test_harmonics_and_rotations_reach_the_kernels(torch):
    rng = np.random.default_rng(0)
    r, x = features(rng, 5, 3, dtype="float32"), features(rng, 5, 9, 4, dtype="float32")
    rotation = np.linalg.qr(rng.standard_normal((5, 3, 3)))[0].astype(np.float32)
    tr, tx, tR = (torch.from_numpy(a) for a in (r, x, rotation))
    for normalize in (False, True):
        want, got = np.empty((5, 16), np.float32), torch.empty(16, 5).T  # whose rows do not lie one after the other
        _core.so3_harmonics(r, want, normalize)
        cuda.so3_harmonics(tr, got, normalize)
        np.testing.assert_array_equal(got.numpy(), want)
    want, got = np.empty((5, 7, 7), np.float32), torch.empty(5, 7, 7).transpose(1, 2)
    _core.so3_wigner(rotation, want, 3)
    cuda.so3_wigner(tR, got, 3)
    np.testing.assert_array_equal(got.numpy(), want)
    for transposed in (False, True):
        want, got = np.empty((5, 9, 4), np.float32), torch.empty(5, 4, 9).transpose(1, 2)
        _core.so3_rotate(rotation, x, want, transposed)
        cuda.so3_rotate(tR, tx.transpose(1, 2).contiguous().transpose(1, 2), got, transposed)
        np.testing.assert_array_equal(got.numpy(), want)


def test_the_adapter_finds_every_kernel(torch, monkeypatch):
    from telamon import torch as tt
    from telamon.torch import _so3_call, _so3_products

    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(features(rng, 6, 9, 2)).requires_grad_() for _ in range(2))
    w, r = (
        torch.from_numpy(features(rng, 3, 2)).requires_grad_(),
        torch.from_numpy(features(rng, 6, 3)).requires_grad_(),
    )
    ends = torch.from_numpy(rng.integers(0, 6, (2, 6)))
    rotation = torch.linalg.qr(torch.from_numpy(features(rng, 6, 3, 3)))[0]

    def results():
        even, odd = tt.gaunt_product(x, y, 4, weights=(w, None, None), parity="complete")
        terms = [even, odd, tt.gaunt_monomial([x, y], [2, 1], 3), tt.gaunt_power(x, 1), tt.rotate(x, rotation)]
        terms += [tt.spherical_harmonics(3, r), tt.gaunt_conv(x, r, senders=ends[0], receivers=ends[1])]
        first = torch.autograd.grad(sum((t**2).sum() for t in terms), (x, y, w, r), create_graph=True)
        second = torch.autograd.grad(sum((t**2).sum() for t in first), (x, y, w, r))
        return [*terms, *first, *second, tt.wigner_D(2, rotation)]

    want = results()
    used = set()
    monkeypatch.setattr(_so3_products, "call_products", lambda *args: False)  # the short way is for CPU tensors only

    class Kernels:  # in the place of _core
        def __getattr__(self, name):
            used.add(name)
            return getattr(cuda, name)

    monkeypatch.setattr(_so3_call, "_core", Kernels())
    monkeypatch.setattr(_so3_call, "_to_numpy", lambda a: a)
    for g, e in zip(results(), want, strict=True):
        assert_close(g.detach().numpy(), e.detach().numpy(), 1e-11)  # 1e-12 for each of some products
    kernels = {"so3_product", "so3_monomial", "so3_conv", "so3_harmonics", "so3_wigner", "so3_rotate"}
    assert used == kernels


def test_what_would_leave_the_memory_is_refused(torch):
    x, y, out = (torch.zeros(3, 4, 2) for _ in range(3))
    with pytest.raises(ValueError, match=r"so3_product: shapes are .*; pass \(N, \., C\) each"):
        cuda.so3_product(x, y[:2], out, None, "even")
    with pytest.raises(ValueError, match="has 3 components, which is no square"):
        cuda.so3_product(x[:, :3], y, out, None, "even")
    with pytest.raises(TypeError, match="so3_product: dtypes are"):
        cuda.so3_product(x.double(), y, out, None, "even")
    with pytest.raises(ValueError, match="an odd output of the shape of out belongs to kind 'complete'"):
        cuda.so3_product(x, y, out, None, "complete")
    with pytest.raises(ValueError, match=r"weights are \(3, 2\) of torch.float32; pass \(2, 2\) of float32"):
        cuda.so3_product(x, y, out, None, "even", w2=torch.ones(3, 2))
    with pytest.raises(ValueError, match="so3_monomial: pass 1 to 15 factors"):
        cuda.so3_monomial([x], [1], torch.zeros(3, 9, 2))
    with pytest.raises(ValueError, match="so3_conv: out has not one row for each edge"):
        cuda.so3_conv(x, torch.zeros(3, 3), torch.ones(3, 2, 2), torch.zeros(2, 4, 2), None, None)
    with pytest.raises(ValueError, match="so3_conv: x, directions and w do not belong to the same edges"):
        cuda.so3_conv(x, torch.zeros(4, 3), torch.ones(4, 2, 2), torch.zeros(4, 4, 2), None, None)
    with pytest.raises(ValueError, match=r"so3_harmonics: r is \(2, 3\); pass \(3, 3\) of torch.float32"):
        cuda.so3_harmonics(torch.zeros(2, 3), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="so3_wigner: R is"):
        cuda.so3_wigner(torch.zeros(2, 3, 3), torch.zeros(2, 4, 4), 1)
    with pytest.raises(ValueError, match="so3_rotate: R is"):
        cuda.so3_rotate(torch.zeros(2, 3, 3), x, out)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (1, r"degrees 1, 1 -> 1 needs more memory than a block of this GPU has"),
        (35, r"error number 35 \(CUDA error 35\)"),
    ],
)
def test_an_error_code_becomes_an_exception(torch, monkeypatch, code, message):
    monkeypatch.setattr(loading, "function", lambda name, *types: lambda *args: code)
    with pytest.raises(RuntimeError, match=rf"telamon\.cuda\.so3_product: {message}"):
        cuda.so3_product(*(torch.zeros(3, 4, 2) for _ in range(3)), None, "even")


# ---- CuPy


@pytest.fixture
def cupy(monkeypatch, library):
    module = host_cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("options", [{}, {"parity": "complete"}, {"parity": "complete", "group": "SO3"}])
def test_cupy_arrays_give_what_numpy_arrays_give(cupy, normalization, layout, options):
    rng = np.random.default_rng(0)
    x, y = features(rng, 2, 1, 9, 4), features(rng, 3, 4, 1)
    if layout == "channels_first":
        x, y = x.swapaxes(-1, -2), y.swapaxes(-1, -2)
    for weights in (None, (features(rng, 3), None, features(rng, 5, 4, 1))):
        keywords = {"weights": weights, "normalization": normalization, "layout": layout, **options}
        want = so3.gaunt_product(x, y, 3, **keywords)
        got = cuda.gaunt_product(cupy.asarray(x), cupy.asarray(y), 3, **keywords)
        assert type(got) is type(want) if isinstance(want, tuple) else isinstance(got, HostArray)
        for g, w in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
            assert g.dtype == w.dtype
            assert_close(np.asarray(g), w, 1e-12)


def test_cupy_types(cupy):
    rng = np.random.default_rng(0)
    half = cupy.asarray(features(rng, 3, 4, 2, dtype="float16"))
    single = cupy.asarray(features(rng, 3, 4, 2, dtype="float32"))
    got = cuda.gaunt_product(half, half, weights=(None, None, np.ones((3, 2, 1))))  # added up in single precision
    assert got.dtype == np.float16
    full = half.astype(np.float32)
    np.testing.assert_array_equal(got, (3 * so3.gaunt_product(full, full)).astype(np.float16))
    assert cuda.gaunt_product(half, single).dtype == np.float32
    assert cuda.gaunt_product(half, single.astype(np.float64)).dtype == np.float64
    assert cuda.gaunt_product(single[:0], single[:0]).shape == (0, 4, 2)
    with pytest.raises(TypeError, match=r"gaunt_product: y has dtype int64; pass y\.astype"):
        cuda.gaunt_product(single, cupy.asarray(np.zeros((3, 4, 2), np.int64)))


def test_arguments_that_do_not_fit(cupy):
    x = cupy.asarray(np.ones((3, 4, 2)))
    for arguments, error, message in [
        ((np.ones((3, 4, 2)), x), TypeError, r"x is a ndarray; .* telamon\.so3\.gaunt_product takes arrays on the CPU"),
        ((x, cupy.asarray(np.ones(4))), ValueError, r"y has shape \(4,\)"),
        ((x, x[:, :3]), ValueError, "y has 3 components, which is no square"),
        ((x, x[:2]), ValueError, "leading dimensions do not broadcast"),
        ((x, x, 3), ValueError, "lmax_out is 3, above l1"),
    ]:
        with pytest.raises(error, match=rf"telamon\.cuda\.gaunt_product: {message}"):
            cuda.gaunt_product(*arguments)
    for keywords, error, message in [
        ({"parity": "odd"}, ValueError, "parity is 'odd'"),
        ({"weights": x}, TypeError, "weights is a HostArray; pass"),
        ({"weights": (None, np.ones(3), None)}, ValueError, r"weights\[1\] has shape \(3,\)"),
        ({"weights": (np.ones((2, 2, 1)), np.ones((3, 2, 1)), None)}, ValueError, "weights have 2 and 3 ranks"),
    ]:
        with pytest.raises(error, match=rf"telamon\.cuda\.gaunt_product: {message}"):
            cuda.gaunt_product(x, x, **keywords)


def test_tensors_on_the_cpu_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"gaunt_product: x is on cpu; pass x\.cuda\(\)"):
        cuda.gaunt_product(torch.ones(3, 4, 2), torch.ones(3, 4, 2))


@pytest.mark.skipif("built without" in (REASON or ""), reason=f"no library to load: {REASON}")
def test_the_library_loads_and_has_every_function():
    library = loading.library()
    names = ["so3_product", "so3_monomial", "so3_conv"]
    names += [f"so3_{name}_{suffix}" for name in ("harmonics", "wigner", "rotate") for suffix in ("f32", "f64")]
    for name in names:
        assert getattr(library, f"telamon_cuda_{name}") is not None


@pytest.mark.skipif(REASON is None or "libtelamon_cuda" in REASON, reason="needs the library, and no driver")
def test_without_a_driver_the_error_is_cudas():
    torch = pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda: types.SimpleNamespace(cuda_stream=0))
        with pytest.raises(RuntimeError, match=r"telamon\.cuda\.so3_product: .* \(CUDA error \d+\)"):
            cuda.so3_product(*(torch.zeros(3, 4, 2) for _ in range(3)), None, "even")


# ---- with a GPU


@pytest.fixture
def tt():
    pytest.importorskip("torch")
    from telamon import torch as adapter

    return adapter


def on_gpu(a):
    import torch

    return torch.from_numpy(np.ascontiguousarray(a)).cuda()


# One thread a column and one block a column (beyond degree 21 in float32, less in float64 and for other kinds), with
# and without a parallel on the equator; equal degrees up to 4 have straight-line kernels.
DEGREES = [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (1, 3, 4), (5, 2, 3), (8, 8, 8), (12, 12, 11)]
DEGREES += [(16, 16, 16), (24, 24, 24), (40, 3, 40)]


@needs_gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("degrees", DEGREES)
def test_products_agree_with_the_cpu(tt, degrees, dtype, kind):
    import torch

    rng = np.random.default_rng(0)
    l1, l2, l3 = degrees
    x, y = (features(rng, 7, (l + 1) ** 2, 37, dtype=dtype) for l in (l1, l2))
    weights = [features(rng, l + 1, 37, dtype=dtype) for l in degrees]
    for ws, accumulate in (([None] * 3, False), (weights, True)):
        want, odd = np.ones((2, 7, (l3 + 1) ** 2, 37))
        second = odd if kind == "complete" else None
        exact = [None if w is None else w.astype(np.float64) for w in ws]
        _core.so3_product(x.astype(float), y.astype(float), want, second, kind, "grid", accumulate, *exact)
        got, got_odd = torch.ones(2, 7, (l3 + 1) ** 2, 37, dtype=getattr(torch, dtype), device="cuda")
        on_device = [None if w is None else on_gpu(w) for w in ws]
        second = got_odd if kind == "complete" else None
        cuda.so3_product(on_gpu(x), on_gpu(y), got, second, kind, "auto", accumulate, *on_device)
        assert_close(got.cpu().numpy(), want, BOUND[dtype])
        assert_close(got_odd.cpu().numpy(), odd, BOUND[dtype])


@needs_gpu
@pytest.mark.parametrize("l", [2, 5])
def test_strides_and_half_types(tt, l):
    import torch

    rng = np.random.default_rng(0)
    x, y = (features(rng, 6, 5, (l + 1) ** 2, dtype="float32") for _ in range(2))
    want = so3.gaunt_product(x.astype(float), y.astype(float), layout="channels_first")
    got = tt.gaunt_product(on_gpu(x), on_gpu(y)[:1].expand(6, -1, -1), layout="channels_first")
    first = so3.gaunt_product(x.astype(float), y[:1].astype(float), layout="channels_first")
    assert_close(got.cpu().numpy(), first, 1e-6)
    for dtype in (torch.float16, torch.bfloat16):
        a, b = (on_gpu(v).to(dtype).transpose(1, 2) for v in (x, y))
        out = torch.empty_like(a)
        cuda.so3_product(a, b, out, None, "even")
        # Inputs and the result are rounded.
        assert_close(out.transpose(1, 2).double().cpu().numpy(), want, 8 * torch.finfo(dtype).eps)
        exact = tt.gaunt_product(a.double(), b.double())
        np.testing.assert_allclose(
            out.double().cpu(), exact.cpu(), rtol=torch.finfo(dtype).eps, atol=1e-6 * float(exact.abs().max())
        )


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_monomials_agree_with_the_cpu(tt, dtype):
    rng = np.random.default_rng(0)
    for lmaxs, powers, lmax_out in (([3], [1], 2), ([2], [3], 4), ([3, 1, 2], [2, 1, 1], 5), ([8], [4], 8)):
        x = [features(rng, 5, (l + 1) ** 2, 33, dtype=dtype) for l in lmaxs]
        want = so3.gaunt_monomial([a.astype(float) for a in x], powers, lmax_out)
        got = tt.gaunt_monomial([on_gpu(a) for a in x], powers, lmax_out)
        assert_close(got.cpu().numpy(), want, BOUND[dtype])


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_agree_with_the_cpu_and_are_deterministic(tt, dtype):
    import torch

    rng = np.random.default_rng(0)
    x, r = features(rng, 50, 16, 33, dtype=dtype), features(rng, 3000, 3, dtype=dtype)
    w = features(rng, 3000, 4, 33, dtype=dtype)
    sender, receiver = rng.integers(0, 50, (2, 3000))
    receiver[receiver == 7] = 8  # which has no edge then
    want = so3.gaunt_conv(*(a.astype(float) for a in (x, r, w)), 2, senders=sender, receivers=receiver)
    tensors = [on_gpu(a) for a in (x, r, w)]
    ends = {"senders": on_gpu(sender), "receivers": on_gpu(receiver)}
    got = tt.gaunt_conv(*tensors, 2, **ends)
    assert_close(got.cpu().numpy(), want, BOUND[dtype])
    for _ in range(3):
        assert torch.equal(tt.gaunt_conv(*tensors, 2, **ends), got)
    lost = on_gpu(sender)
    lost[0] = 50
    nan = tt.gaunt_conv(*tensors, 2, senders=lost, receivers=ends["receivers"]).isnan()
    assert nan[receiver[0]].all()
    assert int(nan.sum()) == nan[0].numel()


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_harmonics_and_rotations_agree_with_the_cpu(tt, dtype):
    import torch

    rng = np.random.default_rng(0)
    eps = np.finfo(dtype).eps
    r = features(rng, 1000, 3, dtype=dtype)
    rotation = np.linalg.qr(rng.standard_normal((20, 3, 3)))[0].astype(dtype)
    for l in (0, 1, 4, 11):
        for normalize in (False, True):
            want = np.empty((1000, (l + 1) ** 2))
            _core.so3_harmonics(r.astype(float), want, normalize)
            got = torch.empty(want.shape, dtype=getattr(torch, dtype), device="cuda")
            cuda.so3_harmonics(on_gpu(r), got, normalize)
            # (1.5 + l/12) eps on the host; of the sample's largest, since polynomials grow.
            scale = np.abs(want).max(1, keepdims=True)
            assert np.max(np.abs(got.cpu().numpy() - want) / scale) <= (3 + l) * eps
        want = so3.wigner_D(l, rotation.astype(float))
        got = torch.empty(want.shape, dtype=getattr(torch, dtype), device="cuda")
        cuda.so3_wigner(on_gpu(rotation), got, l)
        # (2 + l) eps in the matrices; and in single precision l times that of the nearest orthogonal matrix.
        np.testing.assert_allclose(got.cpu().numpy(), want, rtol=0, atol=(4 + 3 * l) * eps)
        x = features(rng, 20, (l + 1) ** 2, 9, dtype=dtype)
        turned = tt.rotate(on_gpu(x), on_gpu(rotation)).cpu().numpy()
        exact = so3.rotate(x.astype(float), rotation.astype(float))
        assert_close(turned, exact, 1e-11 if dtype == "float64" else 5e-6)  # the design's bounds


@needs_gpu
def test_gradients_of_every_order(tt):
    import torch

    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(features(rng, 2, 9, 3)).cuda().requires_grad_() for _ in range(2))
    for kind in ("even", "complete"):

        def product(x, y, kind=kind):
            return tt.gaunt_product(x, y, 3, parity=kind)

        assert torch.autograd.gradcheck(product, (x, y))
        assert torch.autograd.gradgradcheck(product, (x, y))
    assert torch.autograd.gradcheck(lambda x: tt.gaunt_power(x, 3), (x,))


@needs_gpu
def test_the_current_stream_is_used(tt):
    import torch

    x = torch.randn(50, 16, 32, device="cuda")
    want = tt.gaunt_product(x, x)  # uploads the tables
    graph = torch.cuda.CUDAGraph()
    y = torch.zeros_like(x)
    with torch.cuda.graph(graph):  # would fail for work on another stream, or work that waits
        out = tt.gaunt_product(y, y)
    y.copy_(x)
    graph.replay()
    torch.testing.assert_close(out, want, rtol=0, atol=0)


@needs_gpu
def test_first_use_by_many_threads(tt):
    from concurrent.futures import ThreadPoolExecutor

    x = features(np.random.default_rng(0), 3, 100, 5)
    want = so3.gaunt_product(x, x, 7)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: tt.gaunt_product(on_gpu(x), on_gpu(x), 7).cpu().numpy(), range(16)):
            assert_close(got, want, 1e-12)


@needs_gpu
def test_degrees_beyond_the_device_say_so(tt):
    import torch

    x = torch.zeros(1, 300**2, 1, device="cuda")
    with pytest.raises(RuntimeError, match=r"so3_product: degrees 299, 299 -> 0 needs more memory than a block"):
        tt.gaunt_product(x, x, 0)


@needs_gpu
def test_cupy_arrays():
    module = pytest.importorskip("cupy")
    rng = np.random.default_rng(0)
    x, y = features(rng, 2, 1, 9, 4), features(rng, 3, 4, 1)
    for options in ({}, {"parity": "complete", "group": "SO3", "normalization": "norm"}):
        got = cuda.gaunt_product(module.asarray(x), module.asarray(y), 3, **options)
        assert_close(module.asnumpy(got), so3.gaunt_product(x, y, 3, **options), 1e-12)
