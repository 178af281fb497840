"""GPU benchmarks of telamon.special: every kernel on random arguments, and what divergence costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from telamon import _core, cuda
from telamon._derivatives import BINARY, LOGARITHMS

# Larger than any L2 cache: 256 MiB an array in float64.
N = 2**25

SIDES = {"A": 150.0, "S": 20.0, "B": 1e4}


def _passes() -> dict[str, int]:
    """The kernels, and how many outputs each has."""
    three = {f"{name}_{order}": 3 for name in LOGARITHMS for order in ("grad", "hess")}
    return {**dict.fromkeys(BINARY, 1), **three}


def smoke() -> None:
    rng = np.random.default_rng(0)
    for dtype in (torch.float32, torch.float64):
        v = np.exp(rng.uniform(np.log(0.5), np.log(1e5), 1001))
        x = np.exp(rng.uniform(np.log(1e-6), np.log(1e5), 1001))
        x[:4] = [0, np.inf, np.nan, -1]
        v, x = (torch.as_tensor(a, dtype=dtype, device="cuda") for a in (v, x))
        for name, n_outputs in _passes().items():
            second = x / 1e5 if name == "iv_ratioinv" else x
            cuda.launch(name, v, second, [torch.empty_like(x) for _ in range(n_outputs)])


def _error(name: str, v: torch.Tensor, x: torch.Tensor, outs: list[torch.Tensor]) -> float:
    """The largest difference from the CPU in units of eps, relative, and for the logarithms to max(|L|, w)."""
    sample = slice(None, None, max(1, x.numel() // 100_000))
    v, x = (a.expand(outs[0].shape)[sample].cpu().numpy() for a in (v, x))
    wants = getattr(_core, name)(v, x)
    worst = 0.0
    for i, out in enumerate(outs):
        want = (wants[i] if len(outs) > 1 else wants).astype(np.float64)
        got = out[sample].cpu().numpy()
        scale = np.abs(want)
        if i == 0 and name.removesuffix("_grad") in LOGARITHMS:
            scale = np.maximum(scale, np.hypot(v.astype(np.float64), x))
        error = np.abs(got - want) / np.maximum(scale, np.finfo(got.dtype).tiny)
        worst = max(worst, float(error.max() / np.finfo(got.dtype).eps))
    return worst


def _row(timer: Any, name: str, case: str, v: torch.Tensor, x: torch.Tensor, n_outputs: int) -> dict[str, Any]:
    outs = [torch.empty_like(x) for _ in range(n_outputs)]
    read = x.nbytes + (v.nbytes if v.numel() > 1 else 0)
    measured = timer(lambda: cuda.launch(name, v, x, outs), outs, read + sum(out.nbytes for out in outs))
    return {
        "name": name,
        "type": str(x.dtype).removeprefix("torch."),
        "case": case,
        "ns/element": measured["median_ms"] * 1e6 / x.numel(),
        **measured,
        "eps from the CPU": _error(name, v, x, outs),
    }


def rows(timer: Any) -> Iterator[dict[str, Any]]:
    for dtype in (torch.float64, torch.float32):
        for case, side in SIDES.items():
            # Not below 1/2, where the ratios are not defined; never exactly 0, where values are infinite.
            v, x = (0.5 + side * torch.rand(N, dtype=dtype, device="cuda") for _ in range(2))
            for name, n_outputs in _passes().items():
                if case == "A" or name in LOGARITHMS:
                    second = 0.001 + 0.998 * torch.rand_like(x) if name == "iv_ratioinv" else x
                    yield _row(timer, name, case, v, second, n_outputs)
            if case != "A":
                continue
            # A warp evaluates each branch that one of its elements takes: the same data in an order without divergence.
            order = torch.argsort(torch.hypot(v, x))
            for name in ("log_iv", "log_kv"):
                yield _row(timer, name, "A, sorted", v[order], x[order], 1)
                yield _row(timer, name, "A, v = 2.5", torch.full((), 2.5, dtype=dtype, device="cuda"), x, 1)
