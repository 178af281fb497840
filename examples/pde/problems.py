"""What the scripts of this folder share: a problem with its exact solution, and a run that reports error and time."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import chebyshev
import numpy as np

from telamon.pde import GridPDE, Operator, PDESolution, relative_error


@dataclass(frozen=True)
class Problem:
    """An equation whose solution is known.

    `paper` holds what the authors' own logs say, (relative L2 error of the best checkpoint, seconds) for each spectrum;
    `learned` whether the grid is small enough for method "evidence".
    """

    name: str
    operator: Operator
    domain: tuple[float, float]
    points: int
    u: Callable[..., Any]
    f: Callable[..., Any]
    boundary: Any = None
    paper: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    learned: bool = False

    def solve(self, **options: Any) -> PDESolution:
        """By telamon.pde."""
        grid = GridPDE(self.operator, domain=self.domain, shape=self.points, **options)
        return grid.solve(self.f, self.u if self.boundary is None else self.boundary)

    def error(self, solution: PDESolution) -> float:
        """On 300 points an axis, as in the paper; 67 in three dimensions."""
        return relative_error(solution, self.u, 300 if self.operator.dimension < 3 else 67)


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[Any, float]:
    """The result and the least CPU time, which does not depend on what else the machine does."""
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
    return result, best


def run(problem: Problem) -> None:
    """Print errors and times; with --evidence, learn the kernel as well; with --plot FILE, draw the solution."""
    print(f"{problem.name}: {problem.points} points an axis")
    for spectrum, (error, seconds) in problem.paper.items():
        spent = f"{seconds:9.0f} s" if seconds else "          -"
        print(f"  paper, {spectrum:8}  {error:8.1e} {spent}")
    solution, seconds = timed(problem.solve)
    print(f"  direct            {problem.error(solution):8.1e} {seconds:9.2f} s")
    if problem.learned and "--evidence" in sys.argv:
        for spectrum in ("gaussian", "student"):
            learned, seconds = timed(functools.partial(problem.solve, method="evidence", spectrum=spectrum))
            print(f"  evidence, {spectrum:8}{problem.error(learned):8.1e} {seconds:9.2f} s")
            heaviest = learned.frequencies[0].frequency[:3] * 2 * np.pi
            print(f"    log marginal likelihood {learned.log_marginal_likelihood:.1f}, frequencies {heaviest.round(2)}")
    error, seconds = timed(lambda: chebyshev.error(problem))
    print(f"  Chebyshev         {error:8.1e} {seconds:9.2f} s")
    if "--plot" in sys.argv:
        import matplotlib

        matplotlib.use("Agg")
        solution.plot().figure.savefig(sys.argv[sys.argv.index("--plot") + 1])
