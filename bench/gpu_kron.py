"""GPU benchmarks of telamon.kron: products, eigenvectors, likelihoods with gradients, beside PyTorch's own routines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

import telamon.torch as tt
from telamon import cuda

GRIDS = ((8192, 8192), (464, 464, 464), (90, 90, 90, 90), (32, 32, 32, 32, 32))  # 0.3 to 1 GiB in float64
LIKELIHOODS = ((1000, 1000), (100, 100, 100), (32, 32, 32, 32), (464, 464, 464))


def _missing() -> bool:
    """Whether this build has no kernels of kron; says so."""
    missing = not hasattr(cuda, "kron_matmul")
    if missing:
        print("kron: telamon.cuda has no kron_matmul in this build, so nothing of kron is measured", flush=True)
    return missing


def _factors(sizes: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    """Matern-1/2 covariances on [0, 1], which are well conditioned."""
    grids = [torch.linspace(0, 1, n, dtype=dtype, device="cuda") for n in sizes]
    return [torch.exp(-3 * (x[:, None] - x).abs()) for x in grids]


def smoke() -> None:
    if _missing():
        return
    for dtype in (torch.float32, torch.float64):
        for sizes in ((5,), (1, 1), (33, 70), (3, 4, 5)):
            factors = [a.requires_grad_() for a in _factors(sizes, dtype)]
            y = torch.randn(2, *sizes, dtype=dtype, device="cuda").requires_grad_()
            z = tt.kron_solve(factors, tt.kron_matmul(factors, y), 0.1)
            (z.sum() + tt.kron_log_likelihood(factors, y, 0.1).sum() + tt.kron_logdet(factors, 0.1)).backward()
            rectangular = [a[: max(1, len(a) // 2)].mT.contiguous().mT for a in factors]
            tt.kron_matmul(rectangular, y).sum().backward()


def _einsum(factors: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The same product as a chain of PyTorch's."""
    for i, a in enumerate(factors):
        x = torch.tensordot(a, x, dims=([1], [i])).movedim(0, i)
    return x.contiguous()


def _gradient(factors: list[torch.Tensor], y: torch.Tensor) -> Callable[[], Any]:
    leaves = [a.requires_grad_() for a in factors]
    noise = torch.full((), 0.1, dtype=y.dtype, device="cuda", requires_grad=True)
    return lambda: torch.autograd.grad(tt.kron_log_likelihood(leaves, y, noise), (noise, *leaves))


def _through_eigh(factors: list[torch.Tensor], y: torch.Tensor) -> Callable[[], Any]:
    """The likelihood as one would write it, differentiated by PyTorch through the eigenvectors."""
    leaves = [a.detach().requires_grad_() for a in factors]
    noise = torch.full((), 0.1, dtype=y.dtype, device="cuda", requires_grad=True)

    def run() -> Any:
        pairs = [torch.linalg.eigh(a) for a in leaves]
        lam = pairs[0][0]
        for w, _ in pairs[1:]:
            lam = torch.outer(lam.flatten(), w)
        m = lam.reshape(y.shape) + noise
        b = _einsum([q.mT for _, q in pairs], y)
        value = -0.5 * ((b * b / m).sum() + m.log().sum() + y.numel() * math.log(2 * math.pi))
        return torch.autograd.grad(value, (noise, *leaves))

    return run


def rows(timer: Any) -> Iterator[dict[str, Any]]:
    if _missing():
        return
    peak = {dtype: timer.matmul_tflop_s(dtype) for dtype in (torch.float32, torch.float64)}

    def row(name: str, what: str, sizes: tuple[int, ...], dtype: torch.dtype, measured: Any, operations: float) -> Any:
        rate = operations / measured["median_ms"] / 1e9
        return {
            "name": name,
            "what": what,
            "grid": " x ".join(map(str, sizes)),
            "dtype": str(dtype).removeprefix("torch."),
            **measured,
            "TFLOP/s": rate,
            "of matrix product": rate / peak[dtype],
        }

    for dtype in (torch.float32, torch.float64):
        for sizes in GRIDS:
            x = torch.randn(sizes, dtype=dtype, device="cuda")
            factors = [torch.randn(n, n, dtype=dtype, device="cuda") / math.sqrt(n) for n in sizes]
            operations, moved = 2 * x.numel() * sum(sizes), 2 * len(sizes) * x.nbytes
            got, want = tt.kron_matmul(factors, x), _einsum(factors, x)
            assert float((got - want).abs().max()) <= 1e3 * torch.finfo(dtype).eps * float(want.abs().max())
            del got, want
            measured = timer(lambda f=factors, x=x: tt.kron_matmul(f, x), [], moved)
            yield row("telamon", "product", sizes, dtype, measured, operations)
            measured = timer(lambda f=factors, x=x: _einsum(f, x), [], moved)
            yield row("torch.tensordot", "product", sizes, dtype, measured, operations)
            del x, factors

    for dtype in (torch.float32, torch.float64):
        for n in (100, 1000, 4000):
            (a,) = _factors((n,), dtype)
            operations = 9 * n**3  # of a divide and conquer with vectors, by LAPACK's count
            measured = timer(lambda a=a: cuda.kron_eigh([a]), [], 2 * a.nbytes)
            yield row("telamon", "eigenvectors", (n,), dtype, measured, operations)
            measured = timer(lambda a=a: torch.linalg.eigh(a), [], 2 * a.nbytes)
            yield row("torch.linalg.eigh", "eigenvectors", (n,), dtype, measured, operations)

    for sizes in LIKELIHOODS:
        y = torch.randn(sizes, dtype=torch.float64, device="cuda")
        factors = _factors(sizes, torch.float64)
        operations = 4 * y.numel() * sum(sizes) + 9 * sum(n**3 for n in sizes)
        for name, of in (("telamon", _gradient), ("torch, through eigh", _through_eigh)):
            measured = timer(of(factors, y), [], 4 * y.nbytes)
            yield row(name, "likelihood and gradient", sizes, torch.float64, measured, operations)
