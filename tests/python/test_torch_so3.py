"""telamon.torch's functions on the sphere: values, derivatives of every order, transforms, modules, refusals."""

import copy
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
tt = pytest.importorskip("telamon.torch")

from telamon.reference import so3 as truth  # noqa: E402

pytestmark = [
    # gradcheck announces by a warning that it also tries undefined gradients, which is wanted.
    pytest.mark.filterwarnings("ignore:Backwards compatibility. New undefined gradient"),
    # torch's compiler uses what torch deprecates.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

F64 = torch.float64
# Sums of some dozens of terms of size 1: a few eps times the largest, with room for another order of summation.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}

SENDERS = torch.tensor([0, 2, 2, 1, 0, 2])
RECEIVERS = torch.tensor([3, 1, 0, 3, 1, 1])  # unsorted, and none at 2


def normal(*shape, seed=0, dtype=F64, grad=True):
    generator = torch.Generator().manual_seed(seed + 1000 * len(shape) + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=dtype, requires_grad=grad)


def rotation(seed=0, improper=False):
    q = torch.linalg.qr(normal(3, 3, seed=seed, grad=False))[0]
    return q * torch.sign(torch.linalg.det(q)) * (-1 if improper else 1)


def arrays(*tensors):
    return [t.detach().double().numpy() for t in tensors]


def close(got, want, scale=1.0):
    want = torch.as_tensor(np.asarray(want))
    assert got.shape == want.shape
    bound = TOLERANCE[got.dtype] * max(float(want.abs().max()), scale) if want.numel() else 0
    torch.testing.assert_close(got.detach().double(), want.double(), rtol=0, atol=bound)


def check(f, *leaves):
    """First and second derivatives against differences; their tolerances are gradcheck's own."""
    assert torch.autograd.gradcheck(f, leaves)
    assert torch.autograd.gradgradcheck(f, leaves)


def cp_weights(rank=2, channels=2, degrees=(3, 2, 4)):
    return [normal(rank, d, channels, seed=d) for d in degrees]


# ---- values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
def test_product_is_the_reference(dtype, layout, normalization):
    x, y = normal(4, 9, 3, dtype=dtype), normal(4, 4, 3, dtype=dtype)
    weights = [w.to(dtype) for w in cp_weights(channels=3)]
    if layout == "channels_first":
        x, y = x.transpose(-1, -2), y.transpose(-1, -2)
    for parity in ("even", "complete"):
        for w in (None, weights):
            options = {"parity": parity, "normalization": normalization, "layout": layout}
            got = tt.gaunt_product(x, y, 3, weights=w, **options)
            want = truth.gaunt_product(*arrays(x, y), 3, weights=w and arrays(*w), **options)
            pairs = [(got, want)] if parity == "even" else zip(got, want, strict=True)
            for a, b in pairs:
                assert a.dtype == dtype
                close(a, b)


@pytest.mark.parametrize("method", ["auto", "sparse", "grid", "fourier"])
def test_methods_and_groups(method):
    x, y = normal(3, 16, 5), normal(3, 9, 5)
    close(tt.gaunt_product(x, y, 4, method=method), truth.gaunt_product(*arrays(x, y), 4))
    if method == "fourier":
        with raises(ValueError, "method 'fourier' has no odd paths"):
            tt.gaunt_product(x, y, 4, parity="complete", method=method)
        return
    even, odd = tt.gaunt_product(x, y, 4, parity="complete", method=method)
    want = truth.gaunt_product(*arrays(x, y), 4, parity="complete")
    close(even, want[0])
    close(odd, want[1])
    close(tt.gaunt_product(x, y, 4, parity="complete", group="SO3", method=method), want[0] + want[1])


@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
def test_powers_and_monomials_are_the_reference(normalization):
    x, y = normal(3, 9, 2), normal(3, 4, 2)
    for n in (1, 2, 3, 4):
        close(
            tt.gaunt_power(x, n, normalization=normalization),
            truth.gaunt_power(*arrays(x), n, normalization=normalization),
        )
    got = tt.gaunt_monomial([x, y], [2, 3], 4, normalization=normalization)
    close(got, truth.gaunt_monomial(arrays(x, y), [2, 3], 4, normalization=normalization))
    close(tt.gaunt_monomial([x, y]), truth.gaunt_monomial(arrays(x, y), [1, 1]))
    swapped = tt.gaunt_power(x.transpose(-1, -2), 3, layout="channels_first")
    torch.testing.assert_close(swapped.transpose(-1, -2), tt.gaunt_power(x, 3), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
def test_spherical_harmonics_are_the_reference(dtype, normalization):
    r = normal(2, 4, 3, dtype=dtype)
    for l in (0, 3, [2, 0, 2], range(5)):
        for normalize in (True, False):
            got = tt.spherical_harmonics(l, r, normalize, normalization)
            assert got.dtype == dtype
            close(got, truth.spherical_harmonics(l, *arrays(r), normalize, normalization))


@pytest.mark.parametrize("normalization", ["component", "norm"])
@pytest.mark.parametrize("summed", [False, True])
def test_conv_is_the_reference(normalization, summed):
    x, d = normal(3, 9, 2), normal(6, 3)
    options = {"senders": SENDERS, "normalization": normalization}
    if summed:
        options |= {"receivers": RECEIVERS, "num_receivers": 4}
    for w in (normal(6, 3, 2), normal(6, 3), normal(3)):
        got = tt.gaunt_conv(x, d, w, 3, **options)
        close(got, truth.gaunt_conv(*arrays(x, d, w), 3, **options))
    got = tt.gaunt_conv(x, d, lmax_filter=1, **options)
    close(got, truth.gaunt_conv(*arrays(x, d), None, 2, lmax_filter=1, **options))
    if summed:
        assert not got[2].any()


def test_conv_without_nodes_or_edges():
    x, d, w = normal(6, 4, 2), normal(6, 3), normal(2)
    close(tt.gaunt_conv(x, d, w), truth.gaunt_conv(*arrays(x, d, w), 1))
    none = tt.gaunt_conv(x, d[:0], w, senders=SENDERS[:0], receivers=SENDERS[:0])
    assert none.shape == (6, 4, 2)
    assert not none.any()
    none.sum().backward()
    assert not x.grad.any()


def test_rotation_and_wigner():
    x, R = normal(2, 9, 3), torch.stack([rotation(1), rotation(2, improper=True)])
    close(tt.rotate(x, R), truth.rotate(*arrays(x, R)))
    close(tt.rotate(x, R[0]), truth.rotate(*arrays(x, R[0].expand(2, 3, 3))))
    for l in range(4):
        close(tt.wigner_D(l, R), truth.wigner_D(l, *arrays(R)))


@pytest.mark.parametrize("improper", [False, True])
def test_everything_is_equivariant(improper):
    R = rotation(3, improper)
    x, y, d, w = normal(3, 9, 2), normal(3, 9, 2), normal(6, 3), normal(6, 4, 2)
    turned = [tt.rotate(t, R) for t in (x, y)]
    even, odd = tt.gaunt_product(x, y, 3, parity="complete")
    even_turned, odd_turned = tt.gaunt_product(*turned, 3, parity="complete")
    close(even_turned, tt.rotate(even, R).detach())
    close(odd_turned, tt.rotate(odd, R).detach() * torch.linalg.det(R))  # a pseudo-tensor
    close(tt.gaunt_power(turned[0], 3), tt.rotate(tt.gaunt_power(x, 3), R).detach())
    conv = tt.gaunt_conv(x, d, w, 3, senders=SENDERS)
    close(tt.gaunt_conv(turned[0], d @ R.T, w, 3, senders=SENDERS), tt.rotate(conv, R).detach())
    y = tt.spherical_harmonics(3, d)
    close(tt.spherical_harmonics(3, d @ R.T), (y @ tt.wigner_D(3, R).T).detach())


# ---- derivatives


@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
@pytest.mark.parametrize("group", ["O3", "SO3"])
@pytest.mark.parametrize("parity", ["even", "complete"])
def test_product_derivatives(parity, group, normalization):
    def f(x, y):
        return tt.gaunt_product(x, y, 2, parity=parity, group=group, normalization=normalization)

    check(f, normal(2, 9, 1), normal(2, 4, 1))


@pytest.mark.parametrize("parity", ["even", "complete"])
def test_product_of_a_tensor_with_itself(parity):
    check(lambda x: tt.gaunt_product(x, x, 3, parity=parity, group="SO3"), normal(2, 9, 2))
    check(lambda x: tt.gaunt_product(x, 2 * x, parity=parity), normal(2, 4, 2))


def test_derivatives_of_degrees_that_the_other_factors_do_not_reach():
    x, y = normal(2, 16, 1), normal(2, 4, 1)
    w = normal(4), normal(2), normal(1)
    check(lambda x, y: tt.gaunt_product(x, y, 0, parity="complete"), x, y)
    check(lambda x, y, *w: tt.gaunt_product(x, y, 0, weights=w), x, y, *w)
    scalar, grads = normal(2, 1, 1), []
    for method in ("sparse", "grid", "fourier"):
        z = tt.gaunt_product(x, scalar, 1, method=method)
        grads.append(torch.autograd.grad((z**2).sum(), (x, scalar)))
        # One transform has both factors, so that the product with 0 is not exactly 0, as gradcheck wants it.
        if method != "fourier":
            check(lambda x, y, method=method: tt.gaunt_product(x, y, 1, method=method), x, scalar)
    for got in grads[1:]:
        close(got[0], grads[0][0])
        close(got[1], grads[0][1])
    check(lambda x: tt.gaunt_power(x, 1, 1), x)
    check(lambda x, y: tt.gaunt_monomial([x, y], [1, 2], 0), x, y)
    check(lambda *args: tt.gaunt_conv(*args, 0), x, normal(2, 3), normal(2, 2))
    check(lambda *args: tt.gaunt_conv(*args, 0), y, normal(2, 3), normal(2, 4))


@pytest.mark.parametrize("parity", ["even", "complete"])
@pytest.mark.parametrize("rank", [None, 1, 2])
def test_weight_derivatives(rank, parity):
    degrees = (2, 2, 3)
    weights = [normal(2), normal(2, 1), normal(3, 2)] if rank is None else cp_weights(rank, 2, degrees)

    def f(x, y, *w):
        return tt.gaunt_product(x, y, 2, weights=w, parity=parity, normalization="norm")

    check(f, normal(2, 4, 2), normal(2, 4, 2), *weights)


def test_derivatives_where_one_weight_is_missing():
    w = normal(1, 2, 2)
    for weights in ((w, None, None), (None, w, None), (None, None, w)):
        check(
            lambda x, y, *some, at=weights: tt.gaunt_product(
                x, y, 1, weights=[None if a is None else some[0] for a in at], group="SO3", parity="complete"
            ),
            normal(2, 4, 2),
            normal(2, 4, 2),
            w,
        )


def test_derivatives_sum_over_what_is_broadcast():
    check(tt.gaunt_product, normal(2, 1, 4, 2), normal(3, 4, 1))
    check(lambda x, y: tt.gaunt_product(x, y, layout="channels_first"), normal(2, 2, 4), normal(1, 4))
    check(lambda x, y: tt.gaunt_monomial([x, y], [2, 1]), normal(2, 4, 1), normal(4, 2))


@pytest.mark.parametrize("powers", [[1, 1], [3, 1], [2, 2]])
def test_monomial_derivatives(powers):
    check(lambda x, y: tt.gaunt_monomial([x, y], powers, 2, normalization="norm"), normal(2, 4, 2), normal(2, 9, 2))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_power_derivatives(n):
    check(lambda x: tt.gaunt_power(x, n), normal(2, 4, 2))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("l", [0, [1, 3], range(5)])
def test_harmonics_derivatives(l, normalize):
    check(lambda r: tt.spherical_harmonics(l, r, normalize, "norm"), normal(4, 3))
    pole = torch.tensor([[0, 1.0, 0], [0, -2.0, 0], [1.0, 0, 0]], dtype=F64, requires_grad=True)
    check(lambda r: tt.spherical_harmonics(l, r, normalize), pole)


def test_harmonics_gradient_is_the_reference_beyond_a_block():
    r = normal(3000, 3)
    g = normal(3000, 49, grad=False)
    (got,) = torch.autograd.grad(tt.spherical_harmonics(range(7), r), r, g)
    want = np.einsum("nak,nk->na", truth.spherical_harmonics_grad(range(7), *arrays(r)), g.numpy())
    close(got * r.norm(dim=1, keepdim=True), want * np.linalg.norm(*arrays(r), axis=1, keepdims=True))


def test_harmonics_are_finite_at_zero_and_at_extreme_lengths():
    r = torch.tensor([[0.0, 0, 0], [1e-200, 0, 0], [0, 0, 1e200]], dtype=F64, requires_grad=True)
    y = tt.spherical_harmonics(range(4), r)
    assert y[0].tolist() == [1.0] + [0.0] * 15
    close(y[1:], truth.spherical_harmonics(range(4), np.eye(3)[[0, 2]]))
    (g,) = torch.autograd.grad(y.sum() + (y**2).sum(), r, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), r)
    assert not g[0].any()
    assert not h[0].any()
    assert torch.isfinite(g).all()
    solid = tt.spherical_harmonics([1, 2], r[:1], normalize=False)
    (g,) = torch.autograd.grad(solid.sum(), r)
    torch.testing.assert_close(g[0], torch.full((3,), 3**0.5, dtype=F64))


@pytest.mark.parametrize("normalization", ["component", "norm"])
@pytest.mark.parametrize("summed", [False, True])
def test_conv_derivatives(normalization, summed):
    options = {"senders": SENDERS, "normalization": normalization}
    if summed:
        options |= {"receivers": RECEIVERS, "num_receivers": 4}
    check(lambda *args: tt.gaunt_conv(*args, 2, **options), normal(3, 4, 2), normal(6, 3), normal(6, 3, 2))
    check(lambda *args: tt.gaunt_conv(*args, **options), normal(3, 4, 2), normal(6, 3), normal(2))


def test_conv_without_senders_has_derivatives():
    check(tt.gaunt_conv, normal(6, 4, 1), normal(6, 3), normal(6, 2))


def test_conv_is_gather_product_and_scatter_with_its_derivatives():
    leaves = normal(3, 9, 2), normal(6, 3), normal(6, 3, 2)

    def composed(x, d, w):
        y = tt.spherical_harmonics(range(3), d)[..., None] * w.repeat_interleave(torch.tensor([1, 3, 5]), 1)
        z = tt.gaunt_product(x[SENDERS], y, 3)
        return z.new_zeros(4, 16, 2).index_add(0, RECEIVERS, z)

    def fused(x, d, w):
        return tt.gaunt_conv(x, d, w, 3, senders=SENDERS, receivers=RECEIVERS, num_receivers=4)

    values, grads, seconds = [], [], []
    for f in (fused, composed):
        z = f(*leaves)
        grad = torch.autograd.grad((z**3).sum(), leaves, create_graph=True)
        values.append(z)
        grads.append(grad)
        seconds.append(torch.autograd.grad(sum((g**2).sum() for g in grad), leaves))
    for got, want in zip((values[0], *grads[0], *seconds[0]), (values[1], *grads[1], *seconds[1]), strict=True):
        close(got, want.detach())


def test_rotate_derivatives():
    R = rotation(1)
    check(lambda x: tt.rotate(x, R), normal(2, 9, 2))
    with pytest.raises(NotImplementedError, match="rotate: derivatives in R"):
        tt.rotate(normal(9, 2), R.clone().requires_grad_()).sum().backward()
    with pytest.raises(NotImplementedError, match="wigner_D: derivatives in R"):
        tt.wigner_D(2, R.clone().requires_grad_()).sum().backward()


def tame(z):
    """Bounded, so that a deep polynomial and its derivatives stay of order 1."""
    return z / torch.sqrt(1 + (z * z).mean())


def model(x, d, w):
    """A scalar through every operator."""
    z = tame(tt.gaunt_conv(x, d, w, senders=SENDERS, receivers=RECEIVERS, num_receivers=4))
    even, odd = tt.gaunt_product(z, tame(tt.gaunt_power(z, 3)), 2, parity="complete")
    y = tt.spherical_harmonics(range(3), d.mean(0))[:, None]
    z = tt.gaunt_product(tame(even + odd), y, weights=(w[0, :3], None, w[1, :, :1]), parity="complete", group="SO3")
    return (tt.rotate(tt.gaunt_monomial([tame(z), tame(odd)], [1, 2]), ROTATION)[:, 0] ** 2).mean()


ROTATION = rotation(4)


def model_arguments():
    return normal(3, 9, 2, grad=False), normal(6, 3, grad=False), normal(6, 3, 2, grad=False)


def leaves_of(arguments):
    return [a.clone().requires_grad_() for a in arguments]


def test_third_derivatives():
    x, d, w = leaves_of(model_arguments())

    def slope(x):
        (g,) = torch.autograd.grad(model(x, d, w), x, create_graph=True)
        return (g**2).sum()

    assert torch.autograd.gradgradcheck(slope, (x,))  # the derivatives of these are of third order


def test_no_gradient_is_computed_for_what_needs_none(monkeypatch):
    from telamon.torch import _so3_products as kernels

    calls = []
    by_array, by_address = kernels.call, kernels.call_products
    monkeypatch.setattr(kernels, "call", lambda *args: (calls.append(args), by_array(*args))[1])
    monkeypatch.setattr(kernels, "call_products", lambda *args: (calls.extend(args[3:]), by_address(*args))[1])
    x, y = normal(3, 9, 2), normal(3, 9, 2, grad=False)
    tt.gaunt_product(x, y).sum().backward()
    assert len(calls) == 2  # the product, and the gradient in x
    calls.clear()
    with torch.no_grad():
        assert not tt.gaunt_product(x, y).requires_grad
    assert len(calls) == 1
    with torch.inference_mode():
        tt.gaunt_product(x, y, weights=cp_weights(1, 2, (3, 3, 3)))
    assert len(calls) == 2


# ---- transforms


def test_torch_func_gives_the_same_derivatives():
    arguments = model_arguments()
    leaves = leaves_of(arguments)
    value = model(*leaves)
    first = torch.autograd.grad(value, leaves, create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), leaves)
    grad = torch.func.grad(model, (0, 1, 2))
    got_second = torch.func.grad(lambda *a: sum((g**2).sum() for g in grad(*a)), (0, 1, 2))(*arguments)
    for got, want in zip((*grad(*arguments), *got_second), (*first, *second), strict=True):
        close(got, want.detach())
    pulled = torch.func.vjp(model, *arguments)[1](torch.ones((), dtype=F64))
    for got, want in zip(pulled, first, strict=True):
        close(got, want.detach())


def test_hessian_by_rows():
    x, d, w = model_arguments()
    hessian = torch.func.jacrev(torch.func.jacrev(model))(x, d, w)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(leaf, d, w), leaf, create_graph=True)
    (row,) = torch.autograd.grad(g[1, 4, 0], leaf)
    close(hessian[1, 4, 0], row)


def test_vmap_of_everything():
    batches = [torch.stack([a, 0.7 * a, -a]) for a in model_arguments()]
    for in_dims in ((0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0)):
        args = [b if dim == 0 else b[0] for b, dim in zip(batches, in_dims, strict=True)]
        rows = [[b[i] if dim == 0 else b[0] for b, dim in zip(batches, in_dims, strict=True)] for i in range(3)]
        got = torch.vmap(model, in_dims)(*args)
        close(got, torch.stack([model(*row) for row in rows]))
        got = torch.vmap(torch.func.grad(model), in_dims)(*args)
        close(got, torch.stack([torch.func.grad(model)(*row) for row in rows]))


def test_vmap_with_the_batch_elsewhere():
    x, y = normal(9, 5, 2, grad=False), normal(5, 9, 2, grad=False)
    got = torch.vmap(tt.gaunt_product, (1, 0))(x, y)
    close(got, tt.gaunt_product(x.movedim(1, 0), y))
    R = torch.stack([rotation(i) for i in range(5)])
    close(torch.vmap(tt.rotate, (1, 0))(x, R), tt.rotate(x.movedim(1, 0), R))
    close(torch.vmap(lambda R: tt.wigner_D(2, R))(R), tt.wigner_D(2, R))


def test_compile_fullgraph():
    # The whole graph and its backward, executed as they are; Inductor compiles a module's below.
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    leaves = leaves_of(model_arguments())
    want = model(*leaves)
    got = compiled(*leaves)
    close(got, want.detach())
    for a, b in zip(torch.autograd.grad(got, leaves), torch.autograd.grad(want, leaves), strict=True):
        close(a, b)


def test_export_with_any_number_of_samples():
    module = tt.GauntProduct(2, 1, 3, channels=2, weights="cp", rank=2, parity="complete", dtype=F64)
    batch = torch.export.Dim("batch")
    x, y = normal(5, 9, 2, grad=False), normal(5, 4, 2, grad=False)
    program = torch.export.export(module, (x, y), dynamic_shapes=({0: batch}, {0: batch}))
    more = normal(8, 9, 2, grad=False), normal(8, 4, 2, grad=False)
    for got, want in zip(program.module()(*more), module(*more), strict=True):
        close(got, want.detach())


def operator_arguments():
    x, y, v = normal(3, 9, 2), normal(3, 4, 2), normal(6, 3)
    w = normal(2, 3, 2), None, normal(2, 4, 2)
    R = torch.stack([rotation(i) for i in range(3)])
    return {
        "so3_product": (x, y, *w, 3, "sum", "auto"),
        "so3_complete": (x, y, None, None, None, 3, "auto"),
        "so3_monomial": ([x, y], [2, 1], 3),
        "so3_harmonics": (v, 3),
        "so3_harmonics_grad": (v, normal(6, 16), 3),
        "so3_lower": (normal(5, 9), 2),
        "so3_raise": (normal(5, 3, 4), 2),
        "so3_conv": (x, v.detach(), normal(6, 2, 2), 2, SENDERS, RECEIVERS, 4),
        "so3_rotate": (x, R, False),
        "so3_wigner": (R, 2),
    }


@pytest.mark.parametrize("name", operator_arguments())
def test_opcheck(name):
    torch.library.opcheck(getattr(torch.ops.telamon, name).default, operator_arguments()[name])


# ---- dtypes, shapes, strides


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_goes_through_float32(dtype):
    x, y = normal(2, 9, 3, dtype=torch.float32).to(dtype), normal(2, 4, 3, dtype=torch.float32).to(dtype)
    leaf = x.detach().requires_grad_()
    got = tt.gaunt_product(leaf, y)
    assert got.dtype == dtype
    torch.testing.assert_close(got, tt.gaunt_product(x.float(), y.float()).to(dtype), rtol=0, atol=0)
    got.sum().backward()
    assert leaf.grad.dtype == dtype
    assert tt.spherical_harmonics(2, normal(4, 3).to(dtype)).dtype == dtype
    assert tt.gaunt_power(x, 2).dtype == dtype


def test_dtypes_promote():
    x, y = normal(2, 9, 3, dtype=torch.float32), normal(2, 4, 3)
    assert tt.gaunt_product(x, y).dtype == F64
    w = normal(3)
    assert tt.gaunt_product(x, x, weights=(w, None, None)).dtype == torch.float32  # weights follow the features
    assert tt.gaunt_monomial([x, y.to(torch.bfloat16)], [1, 1]).dtype == torch.float32


def test_shapes_and_strides():
    x, y = normal(4, 5, 9, 6, grad=False), normal(5, 4, 6, grad=False)
    want = truth.gaunt_product(*arrays(x, y))
    close(tt.gaunt_product(x, y), want)
    close(tt.gaunt_product(x[::2, :, :, ::3], y[..., ::3]), want[::2, :, :, ::3])
    close(tt.gaunt_product(x.transpose(0, 1), y[:, None]), want.swapaxes(0, 1))
    close(tt.gaunt_product(x[0, 0], y[0]), want[0, 0])
    close(tt.gaunt_product(x.transpose(2, 3), y.transpose(1, 2), layout="channels_first"), want.swapaxes(2, 3))
    assert tt.gaunt_product(x[:0], y).shape == (0, 5, 9, 6)
    assert tt.gaunt_product(x[..., :0], y[..., :0]).shape == (4, 5, 9, 0)
    meta = [t.to("meta") for t in (x, y)]
    assert tt.gaunt_product(*meta).shape == (4, 5, 9, 6)


# ---- modules

MODULES = {
    "none": lambda: tt.GauntProduct(2, 1),
    "degree": lambda: tt.GauntProduct(2, 1, 3, 4, weights="degree", dtype=F64),
    "cp": lambda: tt.GauntProduct(2, 1, 3, 4, weights="cp", rank=3, parity="complete", group="SO3", dtype=F64),
}


@pytest.mark.parametrize("kind", MODULES)
def test_product_module(kind):
    torch.manual_seed(0)
    module = MODULES[kind]()
    x, y = normal(5, 9, 4), normal(5, 4, 4)
    weights = [module.weight_x, module.weight_y, module.weight_out]
    options = {"parity": module.parity, "group": module.group}
    want = truth.gaunt_product(
        *arrays(x, y), module.lmax_out, weights=None if kind == "none" else arrays(*weights), **options
    )
    close(module(x, y), want)
    twin = MODULES[kind]()
    twin.load_state_dict(module.state_dict())
    torch.testing.assert_close(twin(x, y), copy.deepcopy(module)(x, y), rtol=0, atol=0)
    assert set(module.state_dict()) == (set() if kind == "none" else {"weight_x", "weight_y", "weight_out"})
    module(x, y).sum().backward()
    assert all(w.grad is not None and w.grad.any() for w in module.parameters())


def test_modules_describe_themselves():
    assert repr(MODULES["none"]()) == "GauntProduct(2, 1, 2)"
    assert repr(MODULES["cp"]()) == (
        "GauntProduct(2, 1, 3, channels=4, weights='cp', rank=3, parity='complete', group='SO3')"
    )
    assert repr(tt.GauntConv(2, 1, channels=4, weights="degree")) == "GauntConv(2, 1, 2, channels=4, weights='degree')"
    assert repr(tt.SphericalHarmonics(3)) == "SphericalHarmonics(3, normalize=True, normalization='component')"


def test_conv_and_harmonics_modules():
    x, d, w = normal(3, 9, 2), normal(6, 3), normal(6, 4)
    module = tt.GauntConv(2, 3, 2, 2, weights="degree", dtype=F64)
    with torch.no_grad():
        module.weight.copy_(normal(4, 2))
    edges = {"senders": SENDERS, "receivers": RECEIVERS, "num_receivers": 4}
    want = tt.gaunt_conv(x, d, w[..., None] * module.weight, 2, **edges)
    close(module(x, d, w, **edges), want.detach())
    close(module(x, d, **edges), tt.gaunt_conv(x, d, module.weight.expand(6, 4, 2), 2, **edges).detach())
    close(tt.GauntConv(2, 3)(x, d, **edges), tt.gaunt_conv(x, d, lmax_filter=3, **edges).detach())
    close(tt.SphericalHarmonics(3)(d), tt.spherical_harmonics(range(4), d).detach())
    compiled = torch.compile(module, fullgraph=True)
    close(compiled(x, d, w, **edges), want.detach())


def test_training_on_forces():
    # Energies of a small many-body model, forces by autograd, a loss on forces and its gradient in the weights.
    torch.manual_seed(1)
    positions = torch.randn(5, 3, dtype=F64)
    i, j = (~torch.eye(5, dtype=torch.bool)).nonzero().T
    conv = tt.GauntConv(0, 2, 2, 3, weights="degree", dtype=F64)
    product = tt.GauntProduct(2, 2, 0, 3, weights="degree", dtype=F64)
    parameters = [*conv.parameters(), *product.parameters()]
    target = torch.randn(5, 3, dtype=F64)

    def loss():
        r = positions.clone().requires_grad_()
        edge = r[j] - r[i]
        radial = torch.exp(-edge.norm(dim=1))[:, None].expand(-1, 3)
        density = conv(torch.ones(5, 1, 3, dtype=F64), edge, radial, senders=j, receivers=i)
        energy = product(density, density).sum()
        (gradient,) = torch.autograd.grad(energy, r, create_graph=True)
        return ((gradient + target) ** 2).mean()

    first = loss()
    gradients = torch.autograd.grad(first, parameters)
    with torch.no_grad():
        for weight, gradient in zip(parameters, gradients, strict=True):
            step = 1e-6 * torch.sign(gradient)
            weight += step
            ahead = loss_without_graph(loss)
            weight -= 2 * step
            behind = loss_without_graph(loss)
            weight += step
            # A central difference: its truncation is of order 1e-12, its rounding eps / 1e-6.
            torch.testing.assert_close((ahead - behind) / 2e-6, gradient.abs().sum(), rtol=1e-6, atol=1e-8)
    optimiser = torch.optim.Adam(parameters, lr=0.02)
    for _ in range(30):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss() < 0.9 * first


def loss_without_graph(loss):
    with torch.enable_grad():
        return loss().detach()


# ---- refusals


def raises(error, text):
    return pytest.raises(error, match=re.escape(text))


def test_refused_features():
    x = normal(3, 9, 2, grad=False)
    with raises(TypeError, "telamon.torch.gaunt_product: x has dtype torch.int64; pass x.to(torch.float64)"):
        tt.gaunt_product(x.long(), x)
    with raises(TypeError, "gaunt_product: y is a ndarray; pass a tensor"):
        tt.gaunt_product(x, x.numpy())
    with raises(ValueError, "gaunt_product: x has 10 components, which is no square"):
        tt.gaunt_product(normal(3, 10, 2), x)
    with raises(ValueError, "gaunt_product: x has shape (9,); pass (..., components, channels)"):
        tt.gaunt_product(x[0, :, 0], x)
    with raises(ValueError, "x has 2 channels and y 3"):
        tt.gaunt_product(x, normal(3, 9, 3))
    with raises(ValueError, "leading dimensions do not broadcast: x (3,) and y (4,)"):
        tt.gaunt_product(x, normal(4, 9, 2))
    with raises(ValueError, "lmax_out is 5, above l1 + l2 = 4"):
        tt.gaunt_product(x, x, 5)
    with raises(TypeError, "lmax_out is a float"):
        tt.gaunt_product(x, x, 2.0)
    with raises(ValueError, "x is on cpu and y on meta; move x or y to one device"):
        tt.gaunt_product(x, x.to("meta"))
    for name in ("parity", "group", "normalization", "layout", "method"):
        with raises(ValueError, f"{name} is 'none'; pass one of"):
            tt.gaunt_product(x, x, **{name: "none"})


def test_refused_weights_and_powers():
    x = normal(3, 9, 2, grad=False)
    with raises(TypeError, "weights is a Tensor; pass (w1, w2, w3)"):
        tt.gaunt_product(x, x, weights=x)
    with raises(ValueError, "weights has 2 entries; pass 3"):
        tt.gaunt_product(x, x, weights=(None, None))
    with raises(ValueError, "weights[1] has shape (2,); pass (3,), (3, 2) or (rank, 3, 2)"):
        tt.gaunt_product(x, x, weights=(None, normal(2), None))
    with raises(ValueError, "weights[2] has rank 3 and another weight 2"):
        tt.gaunt_product(x, x, weights=(normal(2, 3, 2), None, normal(3, 3, 2)))
    with raises(TypeError, "weights[0] is a float; pass a tensor"):
        tt.gaunt_product(x, x, weights=(1.0, None, None))
    with raises(ValueError, "gaunt_power: n is 0; pass an int of at least 1"):
        tt.gaunt_power(x, 0)
    with raises(ValueError, "factors has 1 tensors and powers 2 numbers"):
        tt.gaunt_monomial([x], [1, 2])
    with raises(TypeError, "factors is a Tensor; pass a list"):
        tt.gaunt_monomial(x, [1])


def test_refused_harmonics_and_rotations():
    x = normal(3, 9, 2, grad=False)
    with raises(ValueError, "r has shape (9, 2); pass (..., 3)"):
        tt.spherical_harmonics(2, x[0])
    with raises(ValueError, "l is -1"):
        tt.spherical_harmonics(-1, normal(4, 3))
    with raises(TypeError, "l is a str"):
        tt.spherical_harmonics("2", normal(4, 3))
    with raises(ValueError, "l is empty"):
        tt.spherical_harmonics([], normal(4, 3))
    with raises(ValueError, "R has shape (3, 9, 2); pass (..., 3, 3)"):
        tt.rotate(x, x)
    with raises(ValueError, "telamon.torch.rotate: R[0] is not orthogonal"):
        tt.rotate(x, 2 * rotation())
    with raises(ValueError, "telamon.torch.wigner_D: R[0] is not orthogonal"):
        tt.wigner_D(2, 2 * rotation())


def test_refused_edges():
    x, d, w = normal(3, 4, 2), normal(6, 3), normal(6, 3, 2)
    with raises(ValueError, "x has 3 rows for 6 edges; pass senders"):
        tt.gaunt_conv(x, d, w)
    with raises(ValueError, "directions[2] is zero"):
        tt.gaunt_conv(x, d * (torch.arange(6) != 2)[:, None], w, senders=SENDERS)
    with raises(ValueError, "senders has indices from 0 to 2; pass 0 to 1"):
        tt.gaunt_conv(x[:2], d, w, senders=SENDERS)
    with raises(TypeError, "senders has dtype torch.float32; pass senders.long()"):
        tt.gaunt_conv(x, d, w, senders=SENDERS.float())
    with raises(ValueError, "senders has shape (5,); pass one index for each of 6 edges"):
        tt.gaunt_conv(x, d, w, senders=SENDERS[:5])
    with raises(ValueError, "num_receivers is 4 without receivers"):
        tt.gaunt_conv(x, d, w, senders=SENDERS, num_receivers=4)
    with raises(ValueError, "filter_weights has shape (5, 3); pass (6, degrees, channels)"):
        tt.gaunt_conv(x, d, w[:5, :, 0], senders=SENDERS)
    with raises(ValueError, "lmax_filter is 1, filter_weights has degrees up to 2"):
        tt.gaunt_conv(x, d, w, lmax_filter=1, senders=SENDERS)
    with raises(ValueError, "directions has shape (6, 2); pass (..., 3)"):
        tt.gaunt_conv(x, d[:, :2], w, senders=SENDERS)


def test_refused_modules():
    with raises(ValueError, "GauntProduct: channels is missing"):
        tt.GauntProduct(2, 2, weights="degree")
    with raises(ValueError, "weights is 'path'; pass one of 'none', 'degree', 'cp'"):
        tt.GauntProduct(2, 2, weights="path")
    with raises(ValueError, "lmax_out is 5, above lmax1 + lmax2 = 4"):
        tt.GauntProduct(2, 2, 5)
    with raises(ValueError, "GauntProduct: y has shape (3, 9, 2); pass (..., 4, C), for lmax = 1"):
        tt.GauntProduct(2, 1)(normal(3, 9, 2), normal(3, 9, 2))
