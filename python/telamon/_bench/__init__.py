"""``telamon bench CORE``: one module a core, each with ``add_arguments(parser)`` and ``main(args)``."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

CORES = {
    "special": "log-Bessel functions, their derivatives and ratios, against SciPy, Boost, GSL and libstdc++",
    "so3": "products of functions on the sphere, against e3nn, e3nn-jax and matrix products in torch",
    "kron": "Kronecker products and Gaussian processes on grids, against NumPy, GPyTorch, linear_operator, FastKron",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv``, run one core's benchmark, return its exit status (1 where a "must" row falls short)."""
    parser = argparse.ArgumentParser(prog="telamon bench", description="Measure speed and accuracy on this machine.")
    subparsers = parser.add_subparsers(dest="core", required=True, metavar="CORE")
    for core, summary in CORES.items():
        module = importlib.import_module(f"{__name__}.{core}")
        module.add_arguments(
            subparsers.add_parser(core, help=summary, description=(module.__doc__ or "").split("\n")[0])
        )
    args = parser.parse_args(argv)
    return int(importlib.import_module(f"{__name__}.{args.core}").main(args))
