"""telamon.torch: values, every derivative, vmap, compilation, and what it refuses."""

import re
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
tt = pytest.importorskip("telamon.torch")

from telamon import _core  # noqa: E402
from telamon._derivatives import BINARY, LOGARITHMS  # noqa: E402

# gradcheck announces by a warning that it also tries undefined gradients, which is wanted.
pytestmark = pytest.mark.filterwarnings("ignore:Backwards compatibility. New undefined gradient")

# v >= 1 and x of order v: well inside every function's domain, with room for the differences of gradcheck.
V = np.array([1.2, 2.5, 3.0, 7.7, 30.0, 200.0])
X = np.array([0.7, 2.0, 5.5, 1.1, 45.0, 90.0])
R = np.array([0.05, 0.3, 0.6, 0.9, 0.2, 0.97])


def second(name):
    return R if name == "iv_ratioinv" else X


def leaves(name, dtype=torch.float64):
    return tuple(torch.tensor(a, dtype=dtype, requires_grad=True) for a in (V, second(name)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", BINARY)
def test_value_is_the_ufuncs(name, dtype):
    v, x = (t.detach() for t in leaves(name, dtype))
    got = getattr(tt, name)(v, x)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.numpy(), getattr(_core, name)(v.numpy(), x.numpy()))


@pytest.mark.parametrize("name", BINARY)
def test_gradcheck(name):
    assert torch.autograd.gradcheck(getattr(tt, name), leaves(name), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", BINARY)
def test_gradcheck_broadcasts(name):
    v, x = leaves(name)
    v = v.detach()[:2, None].requires_grad_()
    assert torch.autograd.gradcheck(getattr(tt, name), (v, x), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", LOGARITHMS)
def test_gradgradcheck(name):
    assert torch.autograd.gradgradcheck(getattr(tt, name), leaves(name), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("suffix", ["", "_grad", "_hess"])
def test_opcheck(suffix):
    args = leaves("log_iv")
    if suffix == "_hess":  # the end of the chain
        args = tuple(t.detach() for t in args)
    torch.library.opcheck(getattr(torch.ops.telamon, "log_iv" + suffix).default, args)


@pytest.mark.parametrize("name", LOGARITHMS)
def test_hessian_by_torch_func(name):
    v, x = (t.detach() for t in leaves(name))
    f = getattr(tt, name)
    dvv, dvx, dxx = (torch.from_numpy(a) for a in getattr(_core, f"{name}_hess")(V, X))
    grad = torch.func.grad
    got_vv = torch.vmap(grad(grad(f, 0), 0))(v, x)
    got_vx = torch.vmap(grad(grad(f, 0), 1))(v, x)
    got_xx = torch.vmap(grad(grad(f, 1), 1))(v, x)
    by_rows = torch.func.jacrev(torch.func.jacrev(lambda t: f(v, t).sum()))(x)
    torch.testing.assert_close(by_rows, torch.diag(got_xx), rtol=0, atol=0)
    for got, want in ((got_vv, dvv), (got_vx, dvx), (got_xx, dxx)):
        torch.testing.assert_close(got, want, rtol=1e-14, atol=0)


@pytest.mark.parametrize("in_dims", [(0, None), (None, 0), (0, 0), (1, 0)])
@pytest.mark.parametrize("name", ["log_iv", "iv_ratio"])
def test_vmap(name, in_dims):
    f = getattr(tt, name)
    rows = [torch.linspace(1, 9, 12, dtype=torch.float64).reshape(3, 4) for _ in range(2)]
    args = [a if dim is None else a.movedim(0, dim) for a, dim in zip(rows, in_dims, strict=True)]
    got = torch.vmap(f, in_dims)(*args)
    want = torch.stack(
        [f(*(a if dim is None else a[i] for a, dim in zip(rows, in_dims, strict=True))) for i in range(3)]
    )
    torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
@pytest.mark.parametrize("name", ["log_iv", "log_kve", "kv_ratio"])
def test_compile_fullgraph(name):
    f = getattr(tt, name)
    compiled = torch.compile(lambda v, x: (f(v, x) * 2).sum() + f(2.5, x).sum(), fullgraph=True)
    v, x = leaves(name)
    expected = (f(v, x) * 2).sum() + f(2.5, x).sum()
    want = torch.autograd.grad(expected, (v, x))
    value = compiled(v, x)
    got = torch.autograd.grad(value, (v, x))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", BINARY)
def test_numbers_and_dtype_promotion(name):
    f = getattr(tt, name)
    x = torch.tensor(second(name), dtype=torch.float32)
    want = f(torch.full_like(x, 2.5), x)
    for v in (2.5, np.float64(2.5), torch.tensor(2.5, dtype=torch.float64)):
        got = f(v, x)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert f(x.double(), 0.5).dtype == torch.float64
    assert f(x.double(), x * 0 + 0.5).dtype == torch.float64
    assert f(3, x).shape == x.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_goes_through_float32(dtype):
    x = torch.tensor(X, dtype=dtype, requires_grad=True)
    got = tt.log_iv(1.5, x)
    assert got.dtype == dtype
    torch.testing.assert_close(got, tt.log_iv(1.5, x.float()).to(dtype), rtol=0, atol=0)
    got.sum().backward()
    assert x.grad.dtype == dtype
    torch.testing.assert_close(x.grad, tt.log_iv_dx(1.5, x.detach().float()).to(dtype), rtol=0, atol=0)


def test_shapes_and_strides():
    grid = torch.linspace(0.5, 20, 24, dtype=torch.float64).reshape(2, 3, 4)
    want = tt.log_iv(1.5, grid.clone())
    torch.testing.assert_close(tt.log_iv(1.5, grid.permute(2, 0, 1)), want.permute(2, 0, 1), rtol=0, atol=0)
    torch.testing.assert_close(tt.log_iv(1.5, grid[:, ::2, 1:]), want[:, ::2, 1:], rtol=0, atol=0)
    assert tt.log_iv(grid[:0], 1.0).shape == (0, 3, 4)
    assert tt.log_iv(torch.tensor(1.5), 2.0).shape == ()
    assert tt.log_iv(1.5, torch.empty(2, 5, device="meta")).shape == (2, 5)


def test_no_gradient_is_computed_for_what_needs_none():
    x = torch.tensor(X, requires_grad=True)
    v = torch.tensor(V)
    tt.log_kv(v, x).sum().backward()
    assert v.grad is None
    with torch.no_grad():
        assert not tt.log_kv(v, x).requires_grad


def test_ratio_gradients_keep_their_digits_at_the_ends():
    # r = x/(2v) as x -> 0, and 1 - (2v-1)/(2x) as x -> inf, so r' = 1/(2v) and (2v-1)/(2x^2) (1 + O(1/x)).
    v = torch.tensor([0.5, 3.0, 1e4, 3.0, 100.0], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0.0, 1e-200, 1e-9, 1e12, 1e15], dtype=torch.float64, requires_grad=True)
    want = torch.tensor([1.0, 1 / 6, 5e-5, 2.5e-24, 99.5e-30], dtype=torch.float64)
    dv, dx = torch.autograd.grad(tt.iv_ratio(v, x).sum(), (v, x))
    torch.testing.assert_close(dx, want, rtol=1e-11, atol=0)
    want_v = torch.tensor([0.0, -1e-200 / 18, -0.5e-17, -1e-12, -1e-15], dtype=torch.float64)
    torch.testing.assert_close(dv, want_v, rtol=1e-11, atol=0)


@pytest.mark.parametrize(
    ("v", "x"), [(0.5, 3.0), (0.75, 0.2), (0.6, 1e-3), (0.2, 0.3), (0.0, 1.5), (-3.0, 0.4), (1.0, 0.01)]
)
def test_kv_ratio_gradient_around_order_one_half(v, x):
    args = tuple(torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (v, x))
    assert torch.autograd.gradcheck(tt.kv_ratio, args, eps=1e-6 * min(1, x), rtol=1e-5, atol=1e-6)


def test_inverse_undoes_the_ratio_with_its_gradients():
    v, r = leaves("iv_ratioinv")
    x = tt.iv_ratioinv(v, r)
    torch.testing.assert_close(tt.iv_ratio(v, x), r, rtol=1e-12, atol=0)
    dv, dr = torch.autograd.grad(tt.iv_ratio(v, x).sum(), (v, r))
    torch.testing.assert_close(dr, torch.ones_like(dr), rtol=1e-11, atol=0)
    torch.testing.assert_close(dv, torch.zeros_like(dv), rtol=0, atol=1e-11)


def test_one_derivative_too_many():
    x = torch.tensor([2.0], requires_grad=True, dtype=torch.float64)

    def differentiate(y):
        return torch.autograd.grad(y.sum(), x, create_graph=True)[0]

    with pytest.raises(NotImplementedError, match=re.escape("beyond those of log_iv_hess")):
        differentiate(differentiate(differentiate(tt.log_iv(1.5, x))))
    with pytest.raises(NotImplementedError, match=re.escape("beyond those of log_kv_hess")):
        differentiate(differentiate(tt.log_kv_dv(1.5, x)))


def test_refusals():
    x = torch.tensor(X)
    with pytest.raises(TypeError, match=r"log_iv: v has dtype torch\.int64; pass v\.to"):
        tt.log_iv(torch.arange(6), x)
    with pytest.raises(TypeError, match=r"log_iv: x has dtype torch\.complex128"):
        tt.log_iv(1.0, x + 0j)
    with pytest.raises(TypeError, match=r"iv_ratioinv: r has dtype torch\.bool"):
        tt.iv_ratioinv(1.0, x > 0)
    with pytest.raises(TypeError, match="log_kv: v is a ndarray; pass a tensor"):
        tt.log_kv(V, x)
    with pytest.raises(TypeError, match="log_kv: neither v nor x is a tensor"):
        tt.log_kv(1.0, 2.0)
    with pytest.raises(ValueError, match="log_iv: v is on meta and x on cpu"):
        tt.log_iv(torch.empty(6, device="meta"), x)


def test_functions_know_their_names():
    for name in BINARY:
        f = getattr(tt, name)
        assert f.__name__ == name
        assert f"telamon.special.{name}" in f.__doc__


def test_fit_of_a_concentration():
    # -log p of a von Mises-Fisher sample with mean resultant 0.9 in 8 dimensions, in the concentration alone.
    log_kappa = torch.zeros((), dtype=torch.float64, requires_grad=True)
    loss = partial(_vmf_loss, dim=8, resultant=0.9)
    optimiser = torch.optim.LBFGS(
        [log_kappa], max_iter=50, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        value = loss(log_kappa.exp())
        value.backward()
        return value

    optimiser.step(closure)
    want = tt.iv_ratioinv(4.0, torch.tensor(0.9, dtype=torch.float64))
    torch.testing.assert_close(log_kappa.detach().exp(), want, rtol=1e-6, atol=0)


def _vmf_loss(kappa, dim, resultant):
    order = dim / 2 - 1
    return tt.log_iv(order, kappa) - order * torch.log(kappa) - kappa * resultant
