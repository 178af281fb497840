"""The table of docs/pde.md: `python examples/pde/table.py` prints it in Markdown, --quick without what takes minutes.

Errors are relative L2 errors between the points of the grid. Times are seconds of CPU, the least of three runs where a
run takes less than two; with OMP_NUM_THREADS=1 they are those of one thread, as in docs/pde.md.
"""

from __future__ import annotations

import functools
import importlib
import platform
import sys
import warnings
from collections.abc import Callable
from typing import Any

import chebyshev
import numpy as np
from problems import Problem, timed

import telamon

NAMES = (
    "poisson_1d_sin100",
    "poisson_1d_sin6cos100",
    "poisson_1d_xsin200",
    "poisson_1d_multiscale",
    "poisson_1d_sin500",
    "allen_cahn_1d_sin100",
    "allen_cahn_1d_sin6cos100",
    "poisson_2d_sin100",
    "poisson_2d_sum",
    "allen_cahn_2d",
    "advection_1d",
    "poisson_3d",
    "poisson_2d_nyquist",
)
HEAVY = {"poisson_2d_nyquist"}
HEAD = (
    "problem, points",
    "paper: Gaussian",
    "paper: Student-t",
    "direct: Gaussian",
    "direct: Student-t",
    "evidence: Gaussian",
    "evidence: Student-t",
    "Chebyshev",
)


def cell(error: float, seconds: float | None) -> str:
    """One result."""
    if seconds is None:
        return f"{error:.1e}"
    return f"{error:.1e}, {seconds:.0f} s" if seconds >= 100 else f"{error:.1e}, {seconds:.2g} s"


def measure(call: Callable[[], Any], error: Callable[[Any], float]) -> str:
    """Error and time of a solver."""
    result, seconds = timed(call)
    if seconds < 2:
        seconds = min(seconds, timed(call, 2)[1])
    return cell(error(result), seconds)


def row(problem: Problem, quick: bool) -> list[str]:
    """All results of a problem."""
    d = problem.operator.dimension
    logged = [cell(*problem.paper[s]) if s in problem.paper else "" for s in ("gaussian", "student")]
    direct = measure(problem.solve, problem.error)
    rough = measure(lambda: problem.solve(spectrum="student"), problem.error) if problem.points <= 400 and d < 3 else ""
    learned = ["", ""]
    if problem.learned and not quick:
        learned = [
            measure(functools.partial(problem.solve, method="evidence", spectrum=spectrum), problem.error)
            for spectrum in ("gaussian", "student")
        ]
    spectral = measure(lambda: chebyshev.error(problem), lambda error: error)
    points = "x".join([str(problem.points)] * d)
    return [f"{problem.name}, {points}", *logged, direct, rough, *learned, spectral]


def main() -> None:
    """Print the table."""
    quick = "--quick" in sys.argv
    print(f"telamon {telamon.__version__}, NumPy {np.__version__}, {platform.machine()}\n", file=sys.stderr)
    print(f"| {' | '.join(HEAD)} |")
    print("| " + " | ".join("---" for _ in HEAD) + " |")
    warnings.simplefilter("ignore")  # of Student's spectrum, which does not resolve everything
    for name in NAMES:
        if not (quick and name in HEAVY):
            print(f"| {' | '.join(row(importlib.import_module(name).PROBLEM, quick))} |", flush=True)


if __name__ == "__main__":
    main()
