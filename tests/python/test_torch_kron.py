"""telamon.torch's Kronecker algebra: against dense algebra, derivatives, transforms, refusals."""

import functools
import math
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
tt = pytest.importorskip("telamon.torch")

pytestmark = [
    # gradcheck announces by a warning that it also tries undefined gradients, which is wanted.
    pytest.mark.filterwarnings("ignore:Backwards compatibility. New undefined gradient"),
    # torch's compiler uses what torch deprecates.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

F64 = torch.float64
# Condition numbers here are below 100: so many eps, with room for sums of some hundred terms.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-4}


def normal(*shape, seed=0, dtype=F64, grad=True):
    generator = torch.Generator().manual_seed(seed + 1000 * len(shape) + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=dtype, requires_grad=grad)


def spd(n, seed=0, dtype=F64, grad=True):
    a = normal(n, n, seed=seed, dtype=dtype, grad=False)
    return (a @ a.mT / n + 0.5 * torch.eye(n, dtype=dtype)).requires_grad_(grad)


def symmetric(a):
    return (a + a.mT) / 2


def dense(factors):
    return functools.reduce(torch.kron, [a.contiguous() for a in factors])


def close(got, want, scale=1.0):
    assert got.shape == want.shape
    bound = TOLERANCE[got.dtype] * max(float(want.detach().abs().max()), scale) if want.numel() else 0
    torch.testing.assert_close(got.detach().double(), want.detach().double(), rtol=0, atol=bound)


def check(f, *leaves):
    """First and second derivatives against differences; their tolerances are gradcheck's own."""
    assert torch.autograd.gradcheck(f, leaves)
    assert torch.autograd.gradgradcheck(f, leaves)


# The same by dense algebra, through torch's own derivatives.


def dense_matmul(factors, x):
    d = len(factors)
    out = (dense(factors) @ x.flatten(x.ndim - d)[..., None])[..., 0]
    return out.unflatten(-1, [a.shape[0] for a in factors])


def dense_solve(factors, y, noise):
    k = dense(factors)
    k = k + noise * torch.eye(len(k), dtype=k.dtype)
    return torch.linalg.solve(k, y.reshape(-1, len(k)).mT).mT.reshape(y.shape)


def dense_logdet(factors, noise):
    k = dense(factors)
    return torch.logdet(k + noise * torch.eye(len(k), dtype=k.dtype))


def dense_log_likelihood(factors, y, noise):
    z = dense_solve(factors, y, noise)
    quad = (y * z).flatten(y.ndim - len(factors)).sum(-1)
    return -0.5 * (quad + dense_logdet(factors, noise) + math.prod(map(len, factors)) * math.log(2 * math.pi))


def problem(dtype=F64, sizes=(3, 1, 4), batch=(2,), seed=0):
    factors = [spd(n, seed=seed + i, dtype=dtype) for i, n in enumerate(sizes)]
    noise = torch.tensor(0.3, dtype=dtype, requires_grad=True)
    return factors, normal(*batch, *sizes, dtype=dtype, seed=seed), noise


# ---- values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (2,), (3, 2)])
def test_matmul_is_the_dense_product(dtype, batch):
    factors = [normal(4, 3, dtype=dtype), normal(1, 5, dtype=dtype), normal(2, 1, dtype=dtype)]
    x = normal(*batch, 3, 5, 1, dtype=dtype)
    got = tt.kron_matmul(factors, x)
    assert got.dtype == dtype
    close(got, dense_matmul(factors, x))
    partial = tt.kron_matmul([factors[0], None, factors[2]], x)
    close(partial, dense_matmul([factors[0], torch.eye(5, dtype=dtype), factors[2]], x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(5,), (3, 4), (1, 1), (3, 1, 4), (2, 3, 2, 2)])
def test_solutions_and_likelihoods_are_the_dense_ones(dtype, sizes):
    factors, y, noise = problem(dtype, sizes, (2, 3))
    wide, double_y, double_noise = [a.double() for a in factors], y.double(), noise.double()
    for got, want in (
        (tt.kron_solve(factors, y, noise), dense_solve(wide, double_y, double_noise)),
        (tt.kron_logdet(factors, noise), dense_logdet(wide, double_noise)),
        (tt.kron_log_likelihood(factors, y, noise), dense_log_likelihood(wide, double_y, double_noise)),
        (tt.kron_log_likelihood(factors, y[0, 0], 0.3), dense_log_likelihood(wide, double_y[0, 0], double_noise)),
    ):
        assert got.dtype == dtype
        close(got, want)


def test_separable_noise():
    factors, y, _ = problem(sizes=(3, 4))
    noise = [normal(3, grad=False).exp().requires_grad_(), normal(4, grad=False).exp().requires_grad_()]
    k = dense(factors) + torch.diag(torch.outer(*noise).flatten())
    zero = torch.zeros((), dtype=F64)
    close(tt.kron_solve(factors, y, noise), dense_solve([k], y.flatten(1), zero).reshape(y.shape))
    close(tt.kron_logdet(factors, noise), dense_logdet([k], zero))
    close(tt.kron_log_likelihood(factors, y, noise), dense_log_likelihood([k], y.flatten(1), zero))

    def value(y, n, m, *factors):
        return tt.kron_log_likelihood([symmetric(a) for a in factors], y, [n, m])

    check(value, y, *noise, *factors)


def test_rank_deficient_factors():
    # Eigenvalues that round below 0 are kept as they are; the noise decides.
    x = torch.linspace(0, 1, 40, dtype=F64)
    factor = torch.exp(-(((x[:, None] - x) / 0.5) ** 2))
    y = normal(40, 40, grad=False)
    z = tt.kron_solve([factor, factor], y, 1e-8)
    residual = tt.kron_matmul([factor, factor], z) + 1e-8 * z - y
    # eps times |K| |z|, and |K| is 900, |z| up to |y| / 1e-8: the residual of a backward stable solution.
    assert float(residual.norm()) < 10 * 2e-16 * float(torch.linalg.eigvalsh(factor)[-1] ** 2 * z.norm())
    assert math.isfinite(tt.kron_logdet([factor, factor], 1e-8))


# ---- derivatives


def test_matmul_derivatives():
    check(lambda x, *f: tt.kron_matmul(list(f), x), normal(2, 3, 2, 2), normal(2, 3), normal(4, 2), normal(1, 2))
    check(lambda x, a: tt.kron_matmul([None, a], x), normal(3, 2), normal(2, 2))
    a = normal(2, 2)
    check(lambda x, a: tt.kron_matmul([a, a], x), normal(2, 2), a)


@pytest.mark.parametrize("sizes", [(3,), (3, 2), (2, 1, 2)])
def test_solution_derivatives(sizes):
    factors, y, noise = problem(sizes=sizes)
    check(lambda y, s, *f: tt.kron_solve([symmetric(a) for a in f], y, s), y, noise, *factors)


@pytest.mark.parametrize("sizes", [(3,), (3, 2), (2, 1, 3)])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_likelihood_derivatives(sizes, batch):
    factors, y, noise = problem(sizes=sizes, batch=batch)
    check(lambda y, s, *f: tt.kron_log_likelihood([symmetric(a) for a in f], y, s), y, noise, *factors)
    check(lambda s, *f: tt.kron_logdet([symmetric(a) for a in f], s), noise, *factors)


def test_gradients_are_those_of_dense_algebra():
    factors, y, noise = problem(sizes=(4, 3, 2), batch=(3,))
    leaves = [y, noise, *factors]
    weight = normal(3, grad=False)
    for f, g in (
        (lambda: tt.kron_log_likelihood(factors, y, noise) @ weight, lambda: dense_log_likelihood(factors, y, noise)),
        (lambda: (tt.kron_solve(factors, y, noise) ** 2).sum((1, 2, 3)) @ weight,
         lambda: (dense_solve(factors, y, noise) ** 2).sum((1, 2, 3))),
    ):  # fmt: skip
        got = torch.autograd.grad(f(), leaves)
        want = torch.autograd.grad(g() @ weight, leaves)
        for a, b, leaf in zip(got, want, leaves, strict=True):
            close(a, b if leaf.ndim != 2 else symmetric(b))


def test_repeated_eigenvalues():
    # Where an eigenvector's derivative is infinite: factors that are multiples of the identity, or equal.
    eye = torch.eye(3, dtype=F64)
    one = (0.5 * eye).requires_grad_()
    ones = torch.ones(2, 2, dtype=F64, requires_grad=True)  # eigenvalues 2 and 0; with the other, 1 and 0 thrice each
    y, noise = normal(3, 2), torch.tensor(0.3, dtype=F64, requires_grad=True)

    def value(y, s, *f):
        f = [symmetric(a) for a in f]
        return tt.kron_log_likelihood(f, y, s), tt.kron_solve(f, y, s), tt.kron_logdet(f, s)

    check(value, y, noise, one, ones)


def test_solutions_have_third_derivatives():
    factors, y, noise = problem(sizes=(2, 2), batch=())

    def slope(y, s, *f):
        z = tt.kron_solve([symmetric(a) for a in f], y, s)
        return torch.autograd.grad((z**3).sum(), (y, s, *f), create_graph=True)

    assert torch.autograd.gradgradcheck(slope, (y, noise, *factors))


def test_third_derivatives_of_the_determinant_are_refused():
    factors, _, noise = problem(sizes=(2, 2))
    value = tt.kron_logdet(factors, noise)
    for _ in range(2):
        (value,) = torch.autograd.grad(value, noise, create_graph=True)
    with pytest.raises(NotImplementedError, match="third derivatives of log det"):
        torch.autograd.grad(value, noise)


def test_no_gradient_is_computed_for_what_needs_none(monkeypatch):
    from telamon.torch import _kron_call as kernels

    calls = []
    for name in ("matmul", "gram", "eigh"):
        whole = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *args, name=name, whole=whole: (calls.append(name), whole(*args))[1])
    factors, y, noise = problem(sizes=(3, 4), batch=())
    data = y.detach()
    tt.kron_log_likelihood(factors, data, noise).backward()
    assert calls.count("matmul") == 1  # Q'y alone
    assert calls.count("gram") == 2  # one for each factor
    calls.clear()
    tt.kron_solve([a.detach() for a in factors], y, noise).sum().backward()
    assert "gram" not in calls
    calls.clear()
    same = factors[0]
    tt.kron_logdet([same, same, same], noise)
    assert calls == ["eigh"]
    with torch.no_grad():
        assert not tt.kron_solve(factors, y, noise).requires_grad


# ---- transforms


def model(y, noise, *factors):
    """A number of all that there is."""
    factors = [symmetric(a) for a in factors]
    z = tt.kron_solve(factors, y, noise)
    value = tt.kron_log_likelihood(factors, tt.kron_matmul(factors, z) + y, noise)
    return value.sum() + tt.kron_logdet(factors, noise) ** 2


def leaves_of(sizes=(3, 2), batch=(2,)):
    factors, y, noise = problem(sizes=sizes, batch=batch)
    return [y, noise, *factors]


def test_torch_func_gives_the_same_derivatives():
    leaves = leaves_of()
    plain = [t.detach() for t in leaves]
    first = torch.autograd.grad(model(*leaves), leaves, create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), leaves)
    grad = torch.func.grad(model, tuple(range(4)))
    again = torch.func.grad(lambda *a: sum((g**2).sum() for g in grad(*a)), tuple(range(4)))
    for got, want in zip((*grad(*plain), *again(*plain)), (*first, *second), strict=True):
        close(got, want)
    noise = plain[1]
    by_rows = torch.func.jacrev(torch.func.jacrev(lambda s: tt.kron_logdet(plain[2:], s)))(noise)
    eigenvalues = torch.linalg.eigvalsh(dense(plain[2:]))
    close(by_rows, -((eigenvalues + noise) ** -2).sum())


@pytest.mark.parametrize("batched", [(0, None, None, None), (None, 0, None, None), (1, 0, 0, 2)])
def test_vmap(batched):
    rows = [leaves_of(batch=()) for _ in range(3)]
    rows = [[t.detach() * (1 + 0.1 * i) for t in row] for i, row in enumerate(rows)]
    rows = [[symmetric(t) if t.ndim == 2 and k > 1 else t for k, t in enumerate(row)] for row in rows]
    stacked = [
        rows[0][k] if dim is None else torch.stack([row[k] for row in rows], dim) for k, dim in enumerate(batched)
    ]
    singles = [[rows[0 if dim is None else i][k] for k, dim in enumerate(batched)] for i in range(3)]

    def solve(y, s, *f):
        return tt.kron_solve(list(f), y, s)

    for f in (solve, model, torch.func.grad(model, 2)):
        got = torch.vmap(f, batched)(*stacked)
        close(got, torch.stack([f(*one) for one in singles]))


def test_compile_fullgraph():
    leaves = leaves_of()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    want = model(*leaves)
    got = compiled(*leaves)
    close(got, want)
    for a, b in zip(torch.autograd.grad(got, leaves), torch.autograd.grad(want, leaves), strict=True):
        close(a, b)


def operator_arguments():
    factors, y, noise = problem(sizes=(3, 2))
    grid = y[..., None].detach().requires_grad_()
    pairs = [torch.linalg.eigh(a.detach()) for a in factors]
    parts = [*factors, *(w for w, _ in pairs), *(q for _, q in pairs)]
    a, gq, gl = normal(2, 3, 2, 1, grad=False), normal(2), normal(1)[0].detach().requires_grad_()
    return {
        "kron_product": ([normal(4, 3), normal(2, 2)], [0, 1], grid),
        "kron_gram": (grid, normal(2, 3, 5, 1), 1),
        "kron_symmetric": (spd(3),),
        "kron_eigh": (spd(3),),
        "kron_solve": (parts, grid, noise),
        "kron_evidence": (parts, grid, noise),
        "kron_evidence_grad": (parts, grid, noise, a, gq, gl),
        "kron_logdet_hess": (parts, noise, normal(9 + 4 + 1)),
    }


@pytest.mark.parametrize("name", operator_arguments())
def test_opcheck(name):
    # Eigenvectors come without a sign that counts, and the last two refuse one derivative more.
    skipped = ("test_aot_dispatch_dynamic",) if name in ("kron_eigh", "kron_logdet_hess") else ()
    tests = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    torch.library.opcheck(
        getattr(torch.ops.telamon, name).default,
        operator_arguments()[name],
        test_utils=[t for t in tests if t not in skipped],
    )


# ---- dtypes, shapes, strides


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_goes_through_float32(dtype):
    factors = [a.detach().to(dtype) for a in problem(torch.float32, (3, 4))[0]]
    y = normal(3, 4, dtype=torch.float32).detach().to(dtype).requires_grad_()
    wide = [a.float() for a in factors]
    for f in (tt.kron_solve, tt.kron_log_likelihood):
        got = f(factors, y, 0.25)
        assert got.dtype == dtype
        torch.testing.assert_close(got, f(wide, y.float(), 0.25).to(dtype), rtol=0, atol=0)
    tt.kron_matmul(factors, y).sum().backward()
    assert y.grad.dtype == dtype


def test_dtypes_promote():
    factors, y, noise = problem(torch.float32, (3, 4))
    assert tt.kron_solve(factors, y, noise.double()).dtype == torch.float32
    assert tt.kron_solve(factors, y.double(), noise).dtype == F64
    assert tt.kron_matmul([factors[0].double(), factors[1]], y).dtype == F64


def test_strides_and_empty_batches():
    factors, y, noise = problem(sizes=(3, 4))
    want = tt.kron_solve(factors, y, noise)
    wide = torch.zeros(2, 6, 8, dtype=F64)
    wide[:, ::2, ::2] = y.detach()
    strided = [
        torch.zeros(2 * n, 3 * n, dtype=F64)[::2, ::3].copy_(a.detach()) for n, a in zip((3, 4), factors, strict=True)
    ]
    close(tt.kron_solve(strided, wide[:, ::2, ::2], noise), want)
    close(tt.kron_solve(factors, y.transpose(0, 2).contiguous().transpose(0, 2), noise), want)
    close(tt.kron_solve(factors, y[:1].expand(3, 3, 4), noise), want[:1].expand(3, 3, 4))
    rectangular = normal(3, 5).mT
    close(tt.kron_matmul([rectangular, None], y), dense_matmul([rectangular, torch.eye(4, dtype=F64)], y))
    assert tt.kron_solve(factors, y[:0], noise).shape == (0, 3, 4)
    assert tt.kron_log_likelihood(factors, y[:0], noise).shape == (0,)
    assert tt.kron_matmul(factors, y[:0]).shape == (0, 3, 4)
    assert tt.kron_matmul([None, None], y).shape == y.shape


def test_meta_tensors():
    factors, y, noise = problem(sizes=(3, 4))
    meta = [a.to("meta") for a in factors]
    assert tt.kron_solve(meta, y.to("meta"), noise.to("meta")).shape == y.shape
    assert tt.kron_log_likelihood(meta, y.to("meta"), 0.1).shape == (2,)


# ---- a use: hyperparameters by gradients


def test_hyperparameters_are_learned():
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(0, 10, 60, dtype=F64)

    def factors(log_scales):
        return [torch.exp(-0.5 * ((x[:, None] - x) / s.exp()) ** 2) for s in log_scales]

    true = torch.tensor([0.3, -0.3], dtype=F64)
    roots = [torch.linalg.cholesky(a + 1e-8 * torch.eye(60, dtype=F64)) for a in factors(true)]
    y = tt.kron_matmul(roots, torch.randn(60, 60, generator=generator, dtype=F64))
    y = y + 0.1 * torch.randn(60, 60, generator=generator, dtype=F64)
    log_scales = torch.zeros(2, dtype=F64, requires_grad=True)
    log_noise = torch.tensor(-2.0, dtype=F64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_scales, log_noise], max_iter=30, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = -tt.kron_log_likelihood(factors(log_scales), y, log_noise.exp()) / y.numel()
        value.backward()
        return value

    optimiser.step(loss)
    # Some hundred independent patches of the field: scales are known to a few per cent, the noise to 1/sqrt(1800).
    torch.testing.assert_close(log_scales.detach(), true, rtol=0, atol=0.05)
    assert abs(float(log_noise.detach()) - math.log(0.01)) < 4 / math.sqrt(1800)


# ---- refusals


def raises(error, text):
    return pytest.raises(error, match=re.escape(text))


def test_refused_shapes_and_types():
    factors, y, noise = problem(sizes=(3, 4))
    factors = [a.detach() for a in factors]
    y = y.detach()
    with raises(TypeError, "telamon.torch.kron_solve: factors is a Tensor; pass a list with one matrix for each axis"):
        tt.kron_solve(factors[0], y, noise)
    with raises(ValueError, "kron_solve: factors is empty"):
        tt.kron_solve([], y, noise)
    with raises(TypeError, "kron_solve: factors[1] is a ndarray; pass a tensor"):
        tt.kron_solve([factors[0], np.eye(4)], y, noise)
    with raises(TypeError, "kron_matmul: x has dtype torch.int64; pass x.to(torch.float64), or float32"):
        tt.kron_matmul(factors, y.long())
    with raises(ValueError, "kron_solve: factors[0] has shape (3, 2); pass (n, n), symmetric"):
        tt.kron_solve([factors[0][:, :2], factors[1]], y, noise)
    with raises(ValueError, "kron_matmul: factors[0] has shape (3,); pass (m, n)"):
        tt.kron_matmul([factors[0][0], factors[1]], y)
    with raises(ValueError, "kron_solve: y has shape (12,), the factors span a grid (3, 4); pass y.reshape(3, 4)"):
        tt.kron_solve(factors, y[0].flatten(), noise)
    with raises(ValueError, "kron_matmul: x has shape (2, 4, 3), the factors span a grid (3, any); pass (..., 3, any)"):
        tt.kron_matmul([factors[0], None], y.mT)
    with raises(ValueError, "kron_solve: factors[0] is on cpu and y on meta; move them to one device"):
        tt.kron_solve(factors, y.to("meta"), noise)


def test_refused_noise():
    factors, y, noise = problem(sizes=(3, 4))
    with raises(TypeError, "kron_logdet: noise is a str; pass a number, a tensor, or one for each axis"):
        tt.kron_logdet(factors, "1")
    with raises(ValueError, "kron_solve: noise has shape (3,); pass a number, a 0-dimensional tensor, or a list"):
        tt.kron_solve(factors, y, torch.ones(3, dtype=F64))
    with raises(ValueError, "noise has arrays of shapes [(3,)]; pass a number, or one for each axis: (3,), (4,)"):
        tt.kron_solve(factors, y, [torch.ones(3, dtype=F64)])
    with raises(ValueError, "noise is -0.1; pass a variance of at least 0"):
        tt.kron_solve(factors, y, -0.1)
    with raises(ValueError, "noise is nan; pass a variance of at least 0"):
        tt.kron_logdet(factors, math.nan)
    with raises(ValueError, "the Kronecker product has an eigenvalue"):
        tt.kron_logdet([factors[0], -factors[1]], 0.1)
    with raises(ValueError, "a factor is not symmetric; pass (factor + factor.mT) / 2"):
        tt.kron_logdet([factors[0], factors[1] + torch.triu(torch.ones(4, 4, dtype=F64))], noise)
