"""telamon.torch's matrices of few bits: products, gradients, transforms, the module, regularisers, refusals."""

import copy
import pickle
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
tt = pytest.importorskip("telamon.torch")

from telamon import quant  # noqa: E402

pytestmark = [
    # gradcheck announces by a warning that it also tries undefined gradients, which is wanted.
    pytest.mark.filterwarnings("ignore:Backwards compatibility. New undefined gradient"),
    # torch's compiler uses what torch deprecates.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]


def matrix(rows=5, inputs=100, bits=4, group=None, seed=0, **arguments):
    rng = np.random.default_rng([seed, rows, inputs, bits])
    groups = 1 if group is None else -(-inputs // group)
    books = np.sort(rng.standard_normal((rows, groups, 1 << bits)), -1)
    codes = rng.integers(0, 1 << bits, (rows, inputs))
    return quant.QuantizedMatrix.from_codes(codes, books, bits=bits, group_size=group, **arguments)


def tensors(m):
    return torch.from_numpy(m.packed), torch.from_numpy(m.codebooks)


def multiply(x, m, precision="exact"):
    return tt.quant_matmul(x, *tensors(m), bits=m.bits, group_size=m.group_size, precision=precision)


def normal(*shape, dtype=torch.float32, seed=0, grad=False):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)


def close(got, want, bound=1e-5):
    """Sums of some hundred products in float32, whose errors grow as the root of their number."""
    assert got.shape == want.shape
    scale = float(want.detach().abs().amax()) if want.numel() else 1.0
    torch.testing.assert_close(got.double(), want.double(), rtol=0, atol=bound * max(1.0, scale))


def dense(m):
    return torch.from_numpy(m.dequantize())


# ---- products


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("inputs", "group"), [(64, None), (100, None), (130, 64), (130, 7), (1, None)])
def test_products_are_those_of_the_numbers(bits, inputs, group):
    m = matrix(inputs=inputs, bits=bits, group=group)
    w = dense(m)
    assert torch.equal(tt.quant_dequantize(*tensors(m), bits=bits, inputs=inputs, group_size=group), w)
    for batch in ((), (3,), (2, 3), (40,), (0,)):
        x = normal(*batch, inputs)
        close(multiply(x, m), x @ w.mT)


def test_fast_products_keep_their_bound():
    m = matrix(rows=64, inputs=512, bits=4)
    x = normal(3, 512)
    exact, fast = multiply(x, m), multiply(x, m, "fast")
    blocks = x.unflatten(-1, (-1, 64)).abs()
    w = dense(m).unflatten(-1, (-1, 64)).abs()
    bound = torch.einsum("bk,rk->br", blocks.amax(-1), w.sum(-1))
    bound += dense(m).abs().amax(-1) * blocks.sum((-1, -2))[:, None]
    assert bool(((fast - exact).abs() <= 2**-14 * bound + 1e-5).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_goes_through_float32(dtype):
    m, x = matrix(), normal(3, 100, dtype=dtype)
    got = multiply(x, m)
    assert got.dtype == dtype
    assert torch.equal(got, multiply(x.float(), m).to(dtype))
    x.requires_grad_()
    multiply(x, m).sum().backward()
    assert x.grad.dtype == dtype


def test_strides_and_copies_do_not_matter():
    m, x = matrix(), normal(7, 200)[:, ::2]
    codes, books = tensors(m)
    wide = torch.zeros(5, 2 * codes.shape[1], dtype=torch.uint8)[:, ::2].copy_(codes)
    assert torch.equal(tt.quant_matmul(x, wide, books, bits=4), multiply(x.contiguous(), m))


# ---- derivatives


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("group", [None, 64, 7])
def test_gradients_are_those_of_the_numbers(precision, group):
    m, x, g = matrix(group=group), normal(2, 3, 100, grad=True), normal(2, 3, 5, grad=True)
    (gx,) = torch.autograd.grad(multiply(x, m, precision), x, g, create_graph=True)
    close(gx, g @ dense(m))
    # The gradient is linear in g, with the product as its transpose.
    h = normal(2, 3, 100, seed=1)
    (gg,) = torch.autograd.grad(gx, g, h)
    close(gg, h @ dense(m).mT)


def test_gradients_of_many_rows_come_in_blocks(monkeypatch):
    from telamon.torch import _quant_operators

    m, x, g = matrix(rows=50), normal(3, 100, grad=True), normal(3, 50)
    monkeypatch.setattr(_quant_operators, "_BLOCK", 700)
    (gx,) = torch.autograd.grad(multiply(x, m), x, g)
    close(gx, g @ dense(m))


def test_transforms():
    m, x = matrix(), normal(4, 3, 100)
    w = dense(m)
    close(torch.vmap(lambda t: multiply(t, m), in_dims=1, out_dims=1)(x), x @ w.mT)
    close(torch.func.jacrev(lambda t: multiply(t, m))(x[0, 0]), w)
    close(torch.vmap(torch.func.grad(lambda t: multiply(t, m).sum()))(x), w.sum(0).expand_as(x))
    many = [matrix(seed=i) for i in range(3)]
    codes, books = (torch.stack(parts) for parts in zip(*map(tensors, many), strict=True))
    got = torch.vmap(lambda t, c, b: tt.quant_matmul(t, c, b, bits=4))(x[0], codes, books)
    close(got, torch.stack([multiply(t, one) for t, one in zip(x[0], many, strict=True)]))
    got = torch.vmap(lambda c, b: tt.quant_dequantize(c, b, bits=4, inputs=100))(codes, books)
    assert torch.equal(got, torch.stack(list(map(dense, many))))


def test_operators_are_what_they_say():
    codes, books = tensors(matrix())
    x, g = normal(2, 100, grad=True), normal(2, 5, grad=True)
    for name, args in (
        ("quant_matmul", (x, codes, books.float(), 4, 0, 100, "exact")),
        ("quant_transposed", (g, codes, books.float(), 4, 0, 100)),
        ("quant_dequantize", (codes, books.float(), 4, 0, 100)),
        ("quant_fwht", (normal(2, 12, grad=True), 0.5, True)),
    ):
        torch.library.opcheck(getattr(torch.ops.telamon, name).default, args)


# ---- the module


@pytest.mark.parametrize("group", [None, 32])
def test_the_module_is_a_linear_layer(group):
    m = matrix(rows=6, inputs=96, bits=3, group=group)
    bias = normal(6)
    layer, linear = tt.QuantLinear.from_matrix(m, bias, "exact"), torch.nn.Linear(96, 6)
    linear.weight.data, linear.bias.data = dense(m), bias
    x = normal(2, 3, 96, grad=True)
    close(layer(x), linear(x))
    for one in (layer, linear):
        (gx,) = torch.autograd.grad(one(x).square().sum(), x)
        close(gx, 2 * linear(x) @ dense(m), 1e-5)
    assert torch.equal(layer.dequantize(), dense(m))
    assert list(layer.state_dict()) == ["codes", "codebooks", "bias"]
    assert not list(layer.parameters())
    assert repr(layer) == (
        f"QuantLinear(in_features=96, out_features=6, bits=3, bias=True, group_size={group}, precision='exact')"
    )


def test_the_module_takes_the_bias_of_the_matrix():
    m = matrix(bias=np.arange(5.0))
    assert torch.equal(tt.QuantLinear.from_matrix(m).bias, torch.arange(5.0))
    assert tt.QuantLinear.from_matrix(matrix()).bias is None
    x = normal(100)
    layer = tt.QuantLinear.from_matrix(matrix(), precision="exact")
    assert torch.equal(layer(x), multiply(x, matrix()))


@pytest.mark.parametrize("bias", [True, False])
def test_state_round_trips(tmp_path, bias):
    source = tt.QuantLinear.from_matrix(matrix(group=32), normal(5) if bias else None)
    target, x = tt.QuantLinear(100, 5, 4, bias, 32), normal(3, 100)
    assert not target(x).any()
    torch.save(source.state_dict(), tmp_path / "state.pt")
    target.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(target(x), source(x))
    for other in (copy.deepcopy(source), pickle.loads(pickle.dumps(source))):
        assert torch.equal(other(x), source(x))
    with torch.device("meta"):
        empty = tt.QuantLinear(100, 5, 4, bias, 32)
    assert empty(x.to("meta")).shape == (3, 5)
    empty.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(empty(x), source(x))


def test_codebooks_keep_their_type():
    layer, x = tt.QuantLinear.from_matrix(matrix(), normal(5)), normal(3, 100)
    want = layer(x)
    for cast in (torch.bfloat16, torch.float32):
        layer.to(cast)
        assert layer.codebooks.dtype == torch.float16
        assert layer(x.to(cast)).dtype == cast
    close(layer(x), want, 1e-2)  # the bias went through bfloat16
    layer.codebooks.zero_()
    assert torch.equal(layer(x), layer.bias.expand(3, 5))  # and what was kept in float32 is made anew


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compile_fullgraph(dtype):
    layer, x = tt.QuantLinear.from_matrix(matrix(), normal(5)), normal(3, 100, dtype=dtype, grad=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = [torch.autograd.grad(f(x).square().sum(), x)[0] for f in (compiled, layer)]
    assert torch.equal(*results)
    with torch.inference_mode():
        assert torch.equal(compiled(x), layer(x))


def test_export():
    layer, x = tt.QuantLinear.from_matrix(matrix(), normal(5)), normal(3, 100)
    exported = torch.export.export(layer, (x,))
    assert any("quant_matmul" in str(node.target) for node in exported.graph.nodes)
    assert torch.equal(exported.module()(x), layer(x))


# ---- the Walsh-Hadamard transform


@pytest.mark.parametrize("n", [1, 8, 12, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fwht_is_numpys(n, dtype):
    x = normal(3, n, 2, dtype=dtype)
    for options in ({}, {"normalize": False}, {"transpose": True}):
        want = torch.from_numpy(quant.fwht(x.numpy(), 1, **options))
        close(tt.fwht(x, 1, **options), want, 1e-14 if dtype == torch.float64 else 1e-6)
    close(tt.fwht(tt.fwht(x, 1), 1, transpose=True), x, 1e-14 if dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize("n", [8, 12])
def test_fwht_derivatives(n):
    x = normal(2, n, dtype=torch.float64, grad=True)
    assert torch.autograd.gradcheck(tt.fwht, x)
    assert torch.autograd.gradgradcheck(lambda t: tt.fwht(t).square(), x)
    close(torch.vmap(tt.fwht, in_dims=1)(x.mT.contiguous()), tt.fwht(x), 1e-14)


@pytest.mark.parametrize("n", [1, 16, 24])
def test_fwht_of_other_devices_by_torch(monkeypatch, n):
    from telamon.torch import _quant_operators

    x = normal(3, n, dtype=torch.float64)
    want = tt.fwht(x)
    # As a tensor that is not on the CPU takes it.
    monkeypatch.setattr(_quant_operators, "_on_cpu", lambda t: False)
    close(tt.fwht(x), want, 1e-14)


def test_fwht_of_half_precision_and_compiled():
    x = normal(3, 16, dtype=torch.float16)
    assert torch.equal(tt.fwht(x), tt.fwht(x.float()).half())
    compiled = torch.compile(tt.fwht, fullgraph=True, backend="aot_eager")
    for t in (x, x[:, :12].contiguous()):
        assert torch.equal(compiled(t), tt.fwht(t))


# ---- regularisers

REGULARISERS = {
    tt.cauchy_schwarz_binary: lambda x: x.numel() * (x**4).sum() - (x**2).sum() ** 2,
    tt.cauchy_schwarz_one_sided: lambda x: (x**2).sum() * (x**4).sum() - (x**3).sum() ** 2,
    tt.cauchy_schwarz_ternary: lambda x: (x**2).sum() * (x**6).sum() - (x**4).sum() ** 2,
}
ZEROS = {
    tt.cauchy_schwarz_binary: [0.7, -0.7, -0.7],
    tt.cauchy_schwarz_one_sided: [0.0, 0.7, 0.7],
    tt.cauchy_schwarz_ternary: [0.0, -0.7, 0.7],
}


@pytest.mark.parametrize("function", REGULARISERS)
def test_regularisers_are_their_formulas(function):
    x = normal(4, 6, dtype=torch.float64, grad=True)
    formula = REGULARISERS[function]
    close(function(x), formula(x), 1e-13)
    close(function(x, dim=-1), torch.stack([formula(row) for row in x]), 1e-13)
    close(function(x, dim=(0, 1)), function(x))
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)
    half = x.detach().half()
    assert torch.equal(function(half, -1), function(half.float(), -1).half())


@pytest.mark.parametrize("function", REGULARISERS)
def test_regularisers_are_zero_where_they_should_be(function):
    # Without cancellation: the polynomial itself would leave 1e-8.
    x = torch.tensor(ZEROS[function], requires_grad=True)
    value = function(x)
    assert 0 <= value.item() < 1e-14
    (gradient,) = torch.autograd.grad(value, x)
    assert float(gradient.abs().max()) < 1e-6
    zero = torch.zeros(3, requires_grad=True)
    function(zero).backward()
    assert not zero.grad.any()
    for other, points in ZEROS.items():
        if other is tt.cauchy_schwarz_ternary and function is not other:
            assert float(function(torch.tensor(points))) > 0.1


# ---- refusals


def raises(error, text):
    return pytest.raises(error, match=re.escape(text))


def test_refusals():
    m, x = matrix(), normal(3, 100)
    codes, books = tensors(m)
    where = "telamon.torch.quant_matmul: "
    with raises(TypeError, where + "x has dtype torch.float64; pass x.to(torch.float32)"):
        multiply(x.double(), m)
    with raises(TypeError, where + "x is a ndarray; pass a tensor"):
        multiply(x.numpy(), m)
    with raises(TypeError, where + "codes is torch.float32; pass packed codes, a tensor of torch.uint8"):
        tt.quant_matmul(x, codes.float(), books, bits=4)
    with raises(TypeError, where + "codebooks has dtype torch.int32"):
        tt.quant_matmul(x, codes, books.int(), bits=4)
    with raises(ValueError, where + "codes and codebooks have shapes (5, 64) and (5, 1, 16); 99 inputs of 3 bits in"):
        tt.quant_matmul(x[:, 1:], codes, books, bits=3)
    with raises(ValueError, "100 inputs of 4 bits in groups of 32 take (5, 64) and (5, 4, 16)"):
        tt.quant_matmul(x, codes, books, bits=4, group_size=32)
    with raises(ValueError, where + "bits is 9; pass a whole number from 1 to 8"):
        tt.quant_matmul(x, codes, books, bits=9)
    with raises(TypeError, where + "group_size is 1.5; pass a whole number of at least 1"):
        tt.quant_matmul(x, codes, books, bits=4, group_size=1.5)
    with raises(ValueError, where + "precision is 'best'; pass 'exact' or 'fast'"):
        multiply(x, m, "best")
    with raises(ValueError, where + "codebooks require a gradient, and there is none; pass codebooks.detach()"):
        tt.quant_matmul(x, codes, books.float().requires_grad_(), bits=4)
    with raises(ValueError, where + "codes are on cpu, codebooks on meta; move them to one device"):
        tt.quant_matmul(x, codes, books.to("meta"), bits=4)
    with raises(ValueError, where + "x is on meta, codes on cpu; move them to one device"):
        tt.quant_matmul(x.to("meta"), codes, books, bits=4)
    with raises(ValueError, where + "x has shape (); pass (..., inputs)"):
        multiply(x[0, 0], m)
    with raises(ValueError, "codes and codebooks have shapes (5, 64) and (5, 1, 16); 99 inputs"):
        torch.ops.telamon.quant_matmul(x[:, 1:], codes, books.float(), 3, 0, 99, "exact")
    with raises(ValueError, "telamon.torch.fwht: axis is 2, x has 2 dimensions"):
        tt.fwht(x, 2)
    with raises(ValueError, "telamon.torch.fwht: there is no Hadamard matrix here of order 100"):
        tt.fwht(x)
    with raises(TypeError, "telamon.torch.cauchy_schwarz_ternary: x has dtype torch.int64"):
        tt.cauchy_schwarz_ternary(torch.arange(3))


def test_refusals_of_the_module():
    layer = tt.QuantLinear(100, 5, 4)
    with raises(ValueError, "telamon.torch.QuantLinear: x has shape (3, 99); pass (..., 100)"):
        layer(normal(3, 99))
    with raises(TypeError, "telamon.torch.QuantLinear: x has dtype torch.float64; pass x.to(torch.float32)"):
        layer(normal(3, 100).double())
    with raises(ValueError, "telamon.torch.QuantLinear: x is on meta, the module on cpu; move one"):
        layer(normal(3, 100).to("meta"))
    with raises(ValueError, "telamon.torch.QuantLinear: bits is 0; pass a whole number from 1 to 8"):
        tt.QuantLinear(100, 5, 0)
    with raises(ValueError, "from_matrix: bias has shape (4,); pass one number a row, (5,)"):
        tt.QuantLinear.from_matrix(matrix(), normal(4))
    outliers = quant.Outliers(np.array([0, 1, 1, 1, 1, 1]), np.array([3]), np.array([2.0], np.float32))
    with raises(ValueError, "from_matrix: the matrix has outliers"):
        tt.QuantLinear.from_matrix(matrix(outliers=outliers))
