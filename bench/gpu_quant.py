"""GPU benchmarks of telamon.quant: products with packed matrices, beside dense ones of PyTorch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch

import telamon.torch as tt
from telamon.cuda import _library

SHAPES = ((4096, 4096), (11008, 4096), (28672, 8192))  # (rows, inputs), of layers of language models
BATCHES = (1, 4, 16, 256)
COPIES = 512 << 20  # bytes of matrices that a measurement goes through, so that none is found in a cache


def _missing() -> bool:
    """Whether this build has no kernels of quant; says so."""
    missing = not hasattr(_library.library(), "telamon_cuda_quant_matmul")
    if missing:
        print("quant: libtelamon_cuda has no quant_matmul in this build, so nothing of quant is measured", flush=True)
    return missing


def _matrix(rows: int, inputs: int, bits: int, group: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Random codes, which no cache or branch makes cheaper than those of a model."""
    groups = 1 if group is None else -(-inputs // group)
    codes = torch.randint(0, 256, (rows, (inputs + 63) // 64 * 8 * bits), dtype=torch.uint8, device="cuda")
    return codes, torch.randn(rows, groups, 1 << bits, device="cuda")


def smoke() -> None:
    if _missing():
        return
    for bits in range(1, 9):
        for rows, inputs, group in ((5, 64, None), (3, 100, None), (2, 1, None), (7, 130, 7), (4, 1100, 64)):
            codes, books = _matrix(rows, inputs, bits, group)
            for batch in (1, 3, 6, 20):
                x = torch.randn(batch, inputs, device="cuda", requires_grad=True)
                tt.quant_matmul(x, codes, books, bits=bits, group_size=group).sum().backward()


def _in_turn(functions: list[Callable[[], Any]]) -> Callable[[], Any]:
    """One of the functions at each call."""
    turns = itertools.cycle(functions)
    return lambda: next(turns)()


def rows(timer: Any) -> Iterator[dict[str, Any]]:
    if _missing():
        return

    def row(name: str, rows: int, inputs: int, bits: float, group: int | None, batch: int, measured: Any) -> Any:
        shape = {"matrix": f"{rows} x {inputs}", "bits": bits, "group": group or "row", "batch": batch}
        return {"name": name, **shape, **measured}

    for shape in SHAPES:
        for batch in BATCHES:
            x = torch.randn(batch, shape[1], device="cuda")
            for bits, group in ((2, None), (3, None), (4, None), (4, 128), (8, None)):
                one = _matrix(*shape, bits, group)
                moved = sum(a.nbytes for a in one) + x.nbytes + 4 * batch * shape[0]
                several = [_matrix(*shape, bits, group) for _ in range(max(1, COPIES // moved))]
                w = tt.quant_dequantize(*several[0], bits=bits, inputs=shape[1], group_size=group)
                got, want = tt.quant_matmul(x, *several[0], bits=bits, group_size=group), x.double() @ w.double().mT
                assert float((got - want).abs().max()) <= 1e-4 * float(want.abs().max())
                run = _in_turn(
                    [functools.partial(tt.quant_matmul, x, *m, bits=bits, group_size=group) for m in several]
                )
                yield row("telamon", *shape, bits, group, batch, timer(run, [], moved))
                del several, one, w, got, want
            for dtype in (torch.float32, torch.bfloat16):
                y = x.to(dtype)
                bits = 8 * dtype.itemsize
                moved = shape[0] * shape[1] * dtype.itemsize
                dense = [torch.randn(shape, dtype=dtype, device="cuda") for _ in range(max(1, COPIES // moved))]
                run = _in_turn([functools.partial(torch.nn.functional.linear, y, w) for w in dense])
                name = f"torch, {str(dtype).removeprefix('torch.')}"
                yield row(name, *shape, bits, None, batch, timer(run, [], moved))
                del dense
