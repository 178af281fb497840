"""GPU benchmarks of telamon.so3: products, gradients and convolutions, beside three matrix products and e3nn."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

import telamon.torch as tt
from telamon import cuda
from telamon._bench.so3_peers import grid_matrices

CHANNELS = 32
N = 2**26  # numbers in an array: 256 MiB in float32, larger than any L2 cache
DEGREES = (1, 2, 3, 4, 6, 8, 10, 12)
E3NN_DEGREES = (1, 2, 3, 4, 6, 8)
Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _missing() -> bool:
    """Whether this build has no kernels of so3; says so."""
    missing = not hasattr(cuda, "so3_product")
    if missing:
        print(
            "so3: telamon.cuda has no so3_product in this build, so nothing of so3 is measured on the GPU", flush=True
        )
    return missing


def _features(samples: int, l: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(samples, (l + 1) ** 2, CHANNELS, device="cuda").to(dtype)


def smoke() -> None:
    if _missing():
        return
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for l in (1, 3, 4, 8, 13):
            x, y = (_features(9, l, dtype).requires_grad_() for _ in range(2))
            z, odd = tt.gaunt_product(x, y, parity="complete")
            (z.sum() + odd.sum() + tt.gaunt_power(x, 3).sum()).backward()
            directions = torch.randn(20, 3, device="cuda", dtype=dtype)
            edges = torch.randint(0, 9, (2, 20), device="cuda")
            tt.gaunt_conv(x, directions, lmax_filter=2, senders=edges[0], receivers=edges[1]).sum().backward()


def _operations(l: int) -> float:
    """Floating-point operations a sample and channel on the grid, as telamon/so3/product.hpp counts them."""
    return 2 * ((3 * l // 2 + 1) * (6 * l * l + 1) + 9 / 4 * l**3)


def _error(product: Product, x: torch.Tensor, y: torch.Tensor) -> float:
    """The largest difference from float64 on the CPU, over the largest result, of a few samples."""
    few = [a[:50] for a in (x, y)]
    want = tt.gaunt_product(*(a.double().cpu() for a in few))
    return float((product(*few).double().cpu() - want).abs().max() / want.abs().max())


def _three_gemms(l: int) -> Product:
    synthesis, analysis = (torch.as_tensor(a, dtype=torch.float32, device="cuda") for a in grid_matrices(l))

    def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        a, b = (t.transpose(1, 2) @ synthesis for t in (x, y))
        return ((a * b) @ analysis).transpose(1, 2)

    return product


def _e3nn(l: int) -> Any:
    o3 = importlib.import_module("e3nn.o3")
    irreps = o3.Irreps([(CHANNELS, (n, (-1) ** n)) for n in range(l + 1)])
    top = range(l + 1)
    triples = ((a, b, c) for a in top for b in top for c in top)
    paths = [(*p, "uuu", False) for p in triples if abs(p[0] - p[1]) <= p[2] <= p[0] + p[1] and sum(p) % 2 == 0]
    return o3.TensorProduct(irreps, irreps, irreps, paths).cuda()


def _training(product: Product, x: torch.Tensor, y: torch.Tensor) -> Callable[[], Any]:
    x, y = (t.detach().requires_grad_() for t in (x, y))

    def run() -> Any:
        z = product(x, y)
        return torch.autograd.grad(z, (x, y), torch.ones_like(z))

    return run


def rows(timer: Any) -> Iterator[dict[str, Any]]:
    if _missing():
        return
    try:
        importlib.import_module("e3nn")
    except ImportError:
        print("so3: no e3nn to compare with; pip install e3nn", flush=True)
        e3nn = False
    else:
        e3nn = True
    peak = timer.matmul_tflop_s(torch.float32)
    base: dict[tuple[str, int], float] = {}  # telamon's time an element, in float32

    def row(
        name: str,
        what: str,
        l: int,
        x: torch.Tensor,
        launch: Callable[[], Any],
        outputs: list[torch.Tensor],
        work: float,
        error: float | str = "-",
    ) -> dict[str, Any]:
        """`work` in products; they read two arrays and write one."""
        measured = timer(launch, outputs, int(3 * work * x.nbytes))
        elements = x.shape[0] * CHANNELS
        ns = measured["median_ms"] * 1e6 / elements
        rate = work * _operations(l) / ns / 1e3
        telamon_ns = base.setdefault((what, l), ns)
        return {
            "name": name,
            "pass": what,
            "L": l,
            "samples x 32": x.shape[0],
            "ns/element": ns,
            **measured,
            "TFLOP/s of the grid": rate,
            "of matrix product": rate / peak,
            "telamon faster by": ns / telamon_ns,
            "error / max": error,
        }

    for l in DEGREES:
        samples = N // ((l + 1) ** 2 * CHANNELS)
        x, y = (_features(samples, l) for _ in range(2))
        out = torch.empty_like(x)

        def into(x: torch.Tensor = x, y: torch.Tensor = y, out: torch.Tensor = out) -> None:
            cuda.so3_product(x, y, out, None, "even", "auto")

        yield row("telamon", "forward", l, x, into, [out], 1, _error(tt.gaunt_product, x, y))
        yield row("telamon", "training", l, x, _training(tt.gaunt_product, x, y), [], 3)
        half = [t.to(torch.bfloat16) for t in (x, y)]
        yield row("telamon, bfloat16", "forward", l, half[0], lambda h=half: tt.gaunt_product(*h), [], 1)
        del half
        product = _three_gemms(l)
        few = [t[: max(1, samples // 4)].contiguous() for t in (x, y)]  # they hold several grids
        with torch.no_grad():
            yield row("three GEMMs", "forward", l, few[0], lambda p=product, a=few: p(*a), [], 1, _error(product, x, y))
        yield row("three GEMMs", "training", l, few[0], _training(product, *few), [], 3)
        if e3nn and l in E3NN_DEGREES:
            tensor_product = _e3nn(l)
            flat = [
                t[: max(1, samples // 16)].flatten(1) for t in (x, y)
            ]  # and this one the outer products of all paths
            few = [t.unflatten(1, (-1, CHANNELS)) for t in flat]
            with torch.no_grad():
                for _ in range(3):  # TorchScript compiles in the second call
                    tensor_product(*flat)
                yield row("e3nn uuu", "forward", l, few[0], lambda p=tensor_product, a=flat: p(*a), [], 1)
            yield row("e3nn uuu", "training", l, few[0], _training(tensor_product, *flat), [], 3)

    for l in (2, 4, 8):
        nodes, edges = 5000, 100_000
        x = _features(nodes, l)
        directions = torch.nn.functional.normalize(torch.randn(edges, 3, device="cuda"), dim=1)
        w = torch.randn(edges, l + 1, CHANNELS, device="cuda")
        ends = torch.randint(0, nodes, (2, edges), device="cuda")

        def conv(x: torch.Tensor = x, r: torch.Tensor = directions, w: torch.Tensor = w, e: Any = ends) -> Any:
            return tt.gaunt_conv(x, r, w, senders=e[0], receivers=e[1])

        measured = timer(conv, [], w.nbytes)
        ns = measured["median_ms"] * 1e6 / (edges * CHANNELS)
        blank = dict.fromkeys(("TFLOP/s of the grid", "of matrix product", "telamon faster by", "error / max"), "-")
        sizes = {"name": "gaunt_conv, 100,000 edges", "pass": "forward", "L": l, "samples x 32": nodes}
        yield {**sizes, "ns/element": ns, **measured, **blank}
