"""The equations of GP-HM's tables (Fang et al., ICLR 2024, arXiv:2311.04465): error and time of telamon.pde.

Errors are relative, in the Euclidean norm, at points that are not the grid's. Beside them stands what the authors' own
logs give for the same problem: the best of their checkpoints, chosen by the true solution.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from telamon import pde

from .kron_peers import Array, say
from .timing import Row

Function = Callable[..., Any]


@dataclass(frozen=True)
class Equation:
    """One row: `make(quick)` returns what to solve, source, boundary, and the true solution."""

    name: str
    make: Callable[[bool], tuple[pde.GridPDE, Any, Any, Function]]
    authors_error: float | None = None
    authors_seconds: float | None = None
    repeats: int = 3
    points: int = 300  # a side, where the error is taken


def _sines(dimension: int, k: float) -> tuple[Function, Function]:
    """A product of sin(k x), and its Laplacian."""

    def u(*x: Array) -> Array:
        return np.asarray(math.prod(np.sin(k * coordinate) for coordinate in x))

    return u, lambda *x: -dimension * k**2 * u(*x)


def _poisson(
    dimension: int, length: float, k: float, n: int, quick_n: int, **options: Any
) -> Callable[[bool], tuple[pde.GridPDE, Any, Any, Function]]:
    def make(quick: bool) -> tuple[pde.GridPDE, Any, Any, Function]:
        u, f = _sines(dimension, k if not quick else 4.0)
        shape, limit = (n, None) if not quick else (quick_n, 5)
        equation = pde.Poisson(dimension)
        grid = pde.GridPDE(equation, domain=(0.0, length), shape=shape, max_iterations=limit, **options)
        return grid, f, u, u

    return make


def _allen_cahn(quick: bool) -> tuple[pde.GridPDE, Any, Any, Function]:
    high = 100.0 if not quick else 9.0

    def g(x: Array) -> Array:
        return np.asarray(np.sin(x) + 0.1 * np.sin(20 * x) + np.cos(high * x))

    def second(x: Array) -> Array:
        return np.asarray(-np.sin(x) - 40 * np.sin(20 * x) - high**2 * np.cos(high * x))

    def u(x: Array, y: Array) -> Array:
        return np.asarray(g(x) * g(y))

    def f(x: Array, y: Array) -> Array:
        return np.asarray(second(x) * g(y) + g(x) * second(y) + u(x, y) * (u(x, y) ** 2 - 1))

    return pde.GridPDE(pde.AllenCahn(2), domain=(0.0, 1.0), shape=400 if not quick else 40), f, u, u


def _advection(quick: bool) -> tuple[pde.GridPDE, Any, Any, Function]:
    speed = 200.0 if not quick else 5.0

    def u(x: Array, t: Array) -> Array:
        return np.asarray(np.sin(x - speed * t))

    grid = pde.GridPDE(pde.Advection(speed), domain=(0.0, 1.0), shape=200 if not quick else 40)
    return grid, 0.0, [pde.Inflow(u), pde.Initial(u)], u


TURN = 2 * np.pi
EQUATIONS = {
    "sin100": Equation("2D Poisson, sin 100x sin 100y, direct", _poisson(2, TURN, 100.0, 400, 40), 6.5e-5, 5586),
    "allen_cahn": Equation("2D Allen-Cahn, direct", _allen_cahn, 2.6e-3, 15926, repeats=1),
    "advection": Equation("1D advection, speed 200, direct", _advection, 1.4e-4, 11152),
    "cube": Equation("3D Poisson, sin 20x sin 20y sin 20z, direct", _poisson(3, 1.0, 20.0, 100, 16), points=67),
    "evidence": Equation(
        "1D Poisson, sin 100x, evidence",
        _poisson(1, TURN, 100.0, 400, 40, method="evidence", spectrum="student"),
        4.0e-7,
        1329,
        repeats=1,
        points=1237,
    ),
}


def measure(quick: bool) -> list[Row]:
    """Error, seconds of a solution from the grid on, and whether it converged."""
    rows = []
    for key, equation in EQUATIONS.items():
        say(equation.name)
        grid, f, boundary, u = equation.make(quick)
        seconds = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(equation.repeats):
                start = time.perf_counter()
                solution = equation.make(quick)[0].solve(f, boundary)
                seconds.append(time.perf_counter() - start)
        row: Row = {"key": key, "problem": equation.name, "shape": [len(x) for x in grid.axes]}
        row.update({"error": pde.relative_error(solution, u, equation.points if not quick else 23)})
        row.update({"seconds": float(np.median(seconds)), "converged": bool(solution.converged)})
        row["warnings"] = sorted({w.category.__name__ for w in caught})
        row.update({"authors_error": equation.authors_error, "authors_seconds": equation.authors_seconds})
        rows.append(row)
    return rows
