"""The implementations of products with Kronecker matrices, each as it is best used.

Every candidate gets the same numbers, prepared in its own layout outside the timing: grids with right-hand sides in
front for telamon, NumPy and FastKron, columns for linear_operator. A library that is not installed is left out, with a
line that says so.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

import telamon
from telamon import kron

from .machine import version_of

Array = NDArray[Any]
Call = Callable[[], object]
NAMES = ("numpy", "scipy", "linear_operator", "fastkron", "gpytorch")


def say(message: str) -> None:
    """Print a line beside the result."""
    print(f"telamon bench: {message}", file=sys.stderr, flush=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread in telamon, in torch, and by threadpoolctl in every BLAS and OpenMP that the peers have loaded."""
    before = telamon.get_num_threads()
    telamon.set_num_threads(1)
    torch: Any = sys.modules.get("torch")
    torch_before = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    limits: Any = None
    try:
        limits = importlib.import_module("threadpoolctl").threadpool_limits(1)
    except ImportError:
        if os.environ.get("OMP_NUM_THREADS") != "1" or os.environ.get("OPENBLAS_NUM_THREADS") != "1":
            say("other libraries may use more than one thread; pip install threadpoolctl, or set OMP_NUM_THREADS=1")
    try:
        yield
    finally:
        if limits is not None:
            limits.restore_original_limits()
        if torch:
            torch.set_num_threads(torch_before)
        telamon.set_num_threads(before)


@dataclass(frozen=True)
class Problem:
    """A product to compute: factors, and grids x (R, n_1, ..., n_d)."""

    kind: str
    name: str
    factors: list[kron.Factor]
    x: Array = field(repr=False)

    @cached_property
    def matrices(self) -> list[Array]:
        """The factors as dense matrices."""
        return [factor.toarray() for factor in self.factors]

    @cached_property
    def rows(self) -> Array:
        """x as (R, N)."""
        return self.x.reshape(len(self.x), -1)

    @property
    def special(self) -> bool:
        """Whether a factor has a product of its own."""
        return any(not isinstance(factor, kron.Dense) for factor in self.factors)

    @property
    def flops(self) -> float | None:
        """2 N sum n_i of dense square factors, which nobody needs less of; None for other factors."""
        shapes = [factor.shape for factor in self.factors]
        if self.special or any(m != n for m, n in shapes):
            return None
        return 2.0 * self.x.size * sum(n for n, _ in shapes)


def dense_problem(
    kind: str, name: str, shapes: tuple[tuple[int, int], ...], dtype: DTypeLike, right_hand_sides: int = 1
) -> Problem:
    """Normal random factors, scaled so that results are of the size of x."""
    rng = np.random.default_rng(0)
    factors = [kron.Dense((rng.standard_normal(s) / math.sqrt(s[1])).astype(dtype)) for s in shapes]
    x = rng.standard_normal((right_hand_sides, *(n for _, n in shapes))).astype(dtype)
    return Problem(kind, name, list(factors), x)


def long_axis_problem(name: str, kind: str, long: int, short: int, dtype: DTypeLike) -> Problem:
    """A covariance that has more structure than a matrix along a long axis, a dense one along a short axis."""
    rng = np.random.default_rng(0)
    uniform, irregular = np.arange(long) / long, np.sort(rng.random(long))
    first: kron.Factor
    if kind == "Toeplitz":
        first = kron.Toeplitz(np.exp(-0.5 * (uniform / 0.1) ** 2).astype(dtype))
    else:
        first = kron.Matern(np.unique(irregular.astype(dtype)), nu=0.5, lengthscale=0.1)
    second = np.exp(-np.abs(np.subtract.outer(np.arange(short), np.arange(short))) / short).astype(dtype)
    x = rng.standard_normal((1, first.shape[0], short)).astype(dtype)
    return Problem(kind, name, [first, kron.Dense(second)], x)


def problems(quick: bool, dtype: DTypeLike) -> Iterator[Problem]:
    """Those of the design, or small ones of the same kinds."""
    plane, space, spacetime, columns, tiny = (1000, 100, 32, 64, 20) if not quick else (24, 8, 4, 3, 6)
    long, short = (4096, 256) if not quick else (600, 8)  # from 513 on products with long axes are not dense

    def square(n: int, axes: int) -> tuple[tuple[int, int], ...]:
        return ((n, n),) * axes

    yield dense_problem("plane", f"{plane}^2", square(plane, 2), dtype)
    yield dense_problem("space", f"{space}^3", square(space, 3), dtype)
    yield dense_problem("spacetime", f"{spacetime}^4", square(spacetime, 4), dtype)
    yield dense_problem("columns", f"{columns} x {spacetime}^3", square(spacetime, 3), dtype, columns)
    yield dense_problem("tiny", f"2^{tiny} as {tiny} 2x2", square(2, tiny), dtype)
    shapes = ((2 * space, space), (space // 4, space), (space, space))
    yield dense_problem("rectangular", f"{space}^3 to {'x'.join(str(m) for m, _ in shapes)}", shapes, dtype)
    for kind in ("Toeplitz", "OU"):
        yield long_axis_problem(f"{kind} {long} x dense {short}", kind, long, short, dtype)


@dataclass(frozen=True)
class Candidate:
    """One way to compute the product; ``build(problem)`` returns the call, or None where it has none to offer.

    The call's result has R M numbers, in the order of (R, M) where ``rows``, else of (M, R).
    """

    name: str
    version: str
    how: str
    build: Callable[[Problem], Call | None] = field(repr=False)
    rows: bool = True


# ---------------------------------------------------------------------------------------------------------------------
# telamon and NumPy


def telamon_candidates() -> list[Candidate]:
    """What users write."""

    def product(p: Problem) -> Call:
        operator = kron.KroneckerOperator(p.factors)
        return lambda: operator.matmul_grid(p.x)

    return [Candidate("telamon", version_of("telamon") or "?", "KroneckerOperator.matmul_grid", product)]


def chain(matrices: list[Array], x: Array) -> Array:
    """A matrix product an axis on the view (left, n, right) of x (R, n_1, ..., n_d): no transposed copies."""
    left, right = len(x), x[0].size
    for a in matrices:
        m, n = a.shape
        right //= n
        if right == 1:
            x = x.reshape(left, n) @ a.T
        elif left == 1:
            x = a @ x.reshape(n, right)
        else:
            x = np.matmul(a, x.reshape(left, n, right))
        left *= m
    return x


def rotation(matrices: list[Array], x: Array) -> Array:
    """The last axis of x (R, n_1, ..., n_d) comes to the front in each product: one large GEMM an axis."""
    for a in reversed(matrices):
        x = a @ x.reshape(-1, a.shape[1]).T
    return x


def numpy_candidates() -> list[Candidate]:
    """Both ways to write it; which is faster depends on the sizes."""

    def chained(p: Problem) -> Call:
        matrices = p.matrices
        return lambda: chain(matrices, p.x)

    def rotated(p: Problem) -> Call:
        matrices = p.matrices
        return lambda: rotation(matrices, p.x)

    return [
        Candidate("NumPy chain", np.__version__, "matmul on (left, n, right)", chained),
        Candidate("NumPy rotation", np.__version__, "one GEMM an axis, transposed", rotated, rows=False),
    ]


def scipy_candidates() -> list[Candidate]:
    """matmul_toeplitz, which is by FFT, for a long Toeplitz axis in front."""
    linalg: Any = importlib.import_module("scipy.linalg")

    def product(p: Problem) -> Call | None:
        first, *others = p.factors
        if not isinstance(first, kron.Toeplitz) or len(p.x) > 1:
            return None
        column, matrices = first.column, [factor.toarray() for factor in others]

        def call() -> Array:
            y = linalg.matmul_toeplitz(column, p.x.reshape(len(column), -1))
            return chain(matrices, y.reshape(-1, *p.x.shape[2:]))

        return call

    return [Candidate("SciPy", version_of("scipy") or "?", "matmul_toeplitz, then NumPy", product)]


# ---------------------------------------------------------------------------------------------------------------------
# Libraries for the purpose


def linear_operator_candidates() -> list[Candidate]:
    """KroneckerProductLinearOperator of dense factors, or of a ToeplitzLinearOperator."""
    torch: Any = importlib.import_module("torch")
    operators: Any = importlib.import_module("linear_operator.operators")

    def product(p: Problem) -> Call:
        def operator(factor: kron.Factor) -> Any:
            if isinstance(factor, kron.Toeplitz):
                return operators.ToeplitzLinearOperator(torch.from_numpy(factor.column))
            return operators.DenseLinearOperator(torch.from_numpy(factor.toarray()))

        kronecker = operators.KroneckerProductLinearOperator(*map(operator, p.factors))
        columns = torch.from_numpy(np.ascontiguousarray(p.rows.T))

        def call() -> Any:
            with torch.no_grad():
                return kronecker.matmul(columns)

        return call

    version = f"{version_of('linear_operator') or '?'}, torch {torch.__version__}"
    return [Candidate("linear_operator", version, "KroneckerProductLinearOperator", product, rows=False)]


def fastkron_candidates() -> list[Candidate]:
    """gemkm, which multiplies rows from the right, so that it gets the transposed factors."""
    fastkron: Any = importlib.import_module("pyfastkron.fastkronnumpy")

    def product(p: Problem) -> Call | None:
        if p.special:
            return None  # dense factors only
        transposed = [np.ascontiguousarray(a.T) for a in p.matrices]
        return lambda: fastkron.gemkm(p.rows, transposed)

    return [Candidate("FastKron", version_of("pyfastkron") or "?", "gemkm", product)]


MAKERS = {
    "numpy": (numpy_candidates, "numpy"),
    "scipy": (scipy_candidates, "scipy"),
    "linear_operator": (linear_operator_candidates, "linear-operator torch"),
    "fastkron": (fastkron_candidates, "pyfastkron"),
}


def load(names: list[str]) -> tuple[list[Candidate], list[str]]:
    """Return telamon's candidate, then the peers that are installed; and why the others are missing.

    Raises SystemExit for a name that is none of ours. "gpytorch" is the business of kron_likelihood.py.
    """
    found, missing = telamon_candidates(), []
    for name in filter(None, names):
        if name not in NAMES:
            raise SystemExit(f"telamon bench kron: no peer is called {name}; there are {', '.join(NAMES)}")
        if name not in MAKERS:
            continue
        make, package = MAKERS[name]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs, not ours
                found += make()
        except ImportError as error:
            missing.append(f"{name}: not measured, {error.name} is not installed; pip install {package}")
            say(missing[-1])
    return found, missing
