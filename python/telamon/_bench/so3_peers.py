"""The implementations of a product of two functions on the sphere, each as it is best used.

Every candidate gets the same random numbers, seen in its own layout: samples, components, channels for telamon,
e3nn's mul_ir, or one row a sample and channel. A library that is not installed is left out, with a line that says so.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telamon import so3
from telamon.reference import so3 as reference

from .machine import version_of

Array = NDArray[Any]
Call = Callable[[], object]
PASSES = ("forward", "training")
NAMES = ("gemm", "e3nn", "e3nn-jax")


@dataclass(frozen=True)
class Inputs:
    """x, y and the cotangent g: (samples, (L+1)^2, channels), float32, standard normal."""

    x: Array
    y: Array
    g: Array

    @property
    def degree(self) -> int:
        """The highest degree, of both factors and of the result."""
        return int(np.sqrt(self.x.shape[1])) - 1

    def rows(self) -> list[Array]:
        """The same numbers as (samples times channels, components): one row a product."""
        return [a.reshape(-1, a.shape[1]) for a in (self.x, self.y, self.g)]

    def flat(self) -> list[Array]:
        """The same numbers as (samples, components times channels), as e3nn's mul_ir has them."""
        return [a.reshape(len(a), -1) for a in (self.x, self.y, self.g)]


def inputs(l: int, samples: int, channels: int) -> Inputs:
    """Draw the inputs of one measurement."""
    shape = (samples, (l + 1) ** 2, channels)
    rng = np.random.default_rng(l)
    return Inputs(*(rng.standard_normal(shape, dtype=np.float32) for _ in range(3)))


@dataclass(frozen=True)
class Candidate:
    """One way to compute the product.

    ``build(inputs)`` returns the calls by pass: "forward" is the product, "training" the product and the gradients of
    both factors. ``degrees[pass]`` are those it is asked for, ``floats(l, pass)`` estimates the numbers that it holds a
    sample and channel beside the inputs.
    """

    name: str
    version: str
    how: str
    degrees: dict[str, frozenset[int]]
    floats: Callable[[int, str], float] = field(repr=False)
    build: Callable[[Inputs], dict[str, Call]] = field(repr=False)


def say(message: str) -> None:
    """Print a line beside the result."""
    print(f"telamon bench: {message}", file=sys.stderr, flush=True)


def _degrees(forward: int, training: int, chosen: tuple[int, ...] = ()) -> dict[str, frozenset[int]]:
    limits = {"forward": forward, "training": training}
    return {p: frozenset(l for l in range(1, high + 1) if not chosen or l in chosen) for p, high in limits.items()}


# ---------------------------------------------------------------------------------------------------------------------
# telamon


def telamon_candidates() -> list[Candidate]:
    """Through NumPy, with and without an array for the result, and through torch where that is installed."""

    def with_numpy(i: Inputs) -> dict[str, Call]:
        def training() -> None:
            so3.gaunt_product(i.x, i.y)
            so3.gaunt_product(i.g, i.y)  # the coupling is symmetric in all three, so gradients are products again
            so3.gaunt_product(i.x, i.g)

        return {"forward": lambda: so3.gaunt_product(i.x, i.y), "training": training}

    def in_place(i: Inputs) -> dict[str, Call]:
        out = np.empty_like(i.x)
        return {"forward": lambda: so3.gaunt_product(i.x, i.y, out=out)}

    version = version_of("telamon") or "?"
    every = _degrees(64, 64)

    def features(l: int, what: str) -> float:
        return (l + 1) ** 2 * (1 if what == "forward" else 3)

    found = [
        Candidate("telamon", version, "gaunt_product, NumPy", every, features, with_numpy),
        Candidate("telamon, out=", version, "into an array", {**every, "training": frozenset()}, features, in_place),
    ]
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        say("no torch, so no telamon.torch to measure; pip install torch")
        return found
    product = importlib.import_module("telamon.torch").gaunt_product

    def with_torch(i: Inputs) -> dict[str, Call]:
        return _torch_calls(torch, product, [i.x, i.y, i.g])

    found.append(Candidate("telamon.torch", version, "gaunt_product, autograd", every, features, with_torch))
    return found


def _torch_calls(torch: Any, product: Callable[..., Any], arrays: list[Array]) -> dict[str, Call]:
    """Forward without recording; training by autograd."""
    x, y, g = map(torch.from_numpy, arrays)
    rx, ry = x.detach().requires_grad_(), y.detach().requires_grad_()

    def forward() -> Any:
        with torch.no_grad():
            return product(x, y)

    def training() -> Any:
        z = product(rx, ry)
        return torch.autograd.grad(z, (rx, ry), g.reshape(z.shape) if g.numel() == z.numel() else torch.ones_like(z))

    return {"forward": forward, "training": training}


# ---------------------------------------------------------------------------------------------------------------------
# Three matrix products: synthesis on the minimal exact grid, pointwise product, analysis


@lru_cache(maxsize=2)
def grid_matrices(l: int) -> tuple[Array, Array]:
    """Synthesis ((l+1)^2, points) and analysis (points, (l+1)^2) on the smallest grid that is exact for l, l -> l."""
    nodes, k = reference.minimal_nodes(3 * l), (l + 1) ** 2
    points = nodes[0] * nodes[1]
    synthesis = reference.synthesis(np.eye(k), *nodes).reshape(points, k).T
    analysis = reference.analysis(np.eye(points).reshape(*nodes, points), l).T
    return np.ascontiguousarray(synthesis), np.ascontiguousarray(analysis)


def gemm() -> list[Candidate]:
    """What anyone can write in three lines of torch, and what every Gaunt product must be set beside."""
    torch: Any = importlib.import_module("torch")

    def build(i: Inputs) -> dict[str, Call]:
        synthesis, analysis = (torch.from_numpy(a.astype(np.float32)) for a in grid_matrices(i.degree))

        def product(x: Any, y: Any) -> Any:
            return ((x @ synthesis) * (y @ synthesis)) @ analysis

        return _torch_calls(torch, product, i.rows())

    def floats(l: int, what: str) -> float:
        points = (3 * l // 2 + 1) * (3 * l + 1)
        return 3 * points + (l + 1) ** 2 if what == "forward" else 5 * points + 3 * (l + 1) ** 2

    how = "synthesis, pointwise product, analysis on the minimal exact grid"
    return [Candidate("three GEMMs", f"torch {torch.__version__}", how, _degrees(12, 12), floats, build)]


# ---------------------------------------------------------------------------------------------------------------------
# e3nn


def _even_paths(l: int) -> list[tuple[int, int, int]]:
    paths = itertools.product(range(l + 1), repeat=3)
    return [(a, b, c) for a, b, c in paths if abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0]


def e3nn() -> list[Candidate]:
    """Clebsch-Gordan products in torch: a separate slot for every path in one, summed over even paths in the other."""
    torch: Any = importlib.import_module("torch")
    o3: Any = importlib.import_module("e3nn.o3")
    version = version_of("e3nn") or "?"

    def uuu(i: Inputs) -> dict[str, Call]:
        irreps = o3.Irreps([(i.x.shape[2], (l, (-1) ** l)) for l in range(i.degree + 1)])
        product = o3.TensorProduct(irreps, irreps, irreps, [(*p, "uuu", False) for p in _even_paths(i.degree)])
        return _torch_calls(torch, product, i.flat())

    def full(i: Inputs) -> dict[str, Call]:
        irreps = o3.Irreps([(1, (l, (-1) ** l)) for l in range(i.degree + 1)])
        return _torch_calls(torch, o3.FullTensorProduct(irreps, irreps), i.rows())

    def uuu_floats(l: int, what: str) -> float:
        if what == "forward":
            return 2 * (2 * l + 1) ** 2 + 3 * (l + 1) ** 2
        return sum((2 * a + 1) * (2 * b + 1) for a, b, _ in _even_paths(l)) + 4 * (l + 1) ** 2

    def full_floats(l: int, what: str) -> float:
        return float((2 if what == "forward" else 4) * (l + 1) ** 4)

    # At L = 10 the full product takes 12 s to construct, and its result is 14,641 numbers a row.
    chosen = (1, 2, 3, 4, 6, 8)
    return [
        Candidate("e3nn uuu", version, "TensorProduct, even paths, no weights", _degrees(10, 8), uuu_floats, uuu),
        Candidate("e3nn full", version, "FullTensorProduct", _degrees(8, 4, chosen), full_floats, full),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# e3nn-jax


@contextmanager
def _one_core() -> Iterator[None]:
    """XLA starts as many threads as it sees cores, and has no setting for one."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def e3nn_jax() -> list[Candidate]:
    """The same two ideas under jit: through the grid, and by Clebsch-Gordan coefficients."""
    with _one_core():
        jax: Any = importlib.import_module("jax")
        jax.devices()
    e3: Any = importlib.import_module("e3nn_jax")
    version = f"{version_of('e3nn-jax') or '?'}, jax {jax.__version__}"

    def calls(i: Inputs, product: Callable[..., Any], degrees: dict[str, frozenset[int]]) -> dict[str, Call]:
        x, y, g = map(jax.numpy.asarray, i.rows())

        def training(x: Any, y: Any, g: Any) -> Any:
            z, back = jax.vjp(product, x, y)
            return z, back(g if z.shape == g.shape else jax.numpy.ones_like(z))

        compiled = {"forward": (jax.jit(product), (x, y)), "training": (jax.jit(training), (x, y, g))}

        def call(what: str) -> Call:
            f, arguments = compiled[what]
            return lambda: jax.block_until_ready(f(*arguments))

        return {what: call(what) for what in PASSES if i.degree in degrees[what]}

    # Compiling takes several seconds for each degree, and at L = 6 a quarter of a minute for the gradient of cg.
    chosen = (1, 2, 3, 4, 6, 8, 10)
    grid_degrees, cg_degrees = _degrees(10, 8, chosen), _degrees(6, 4, chosen)

    def grid(i: Inputs) -> dict[str, Call]:
        l = i.degree
        irreps = e3.Irreps([(1, (n, (-1) ** n)) for n in range(l + 1)])
        layout = {"quadrature": "gausslegendre", "p_val": 1, "p_arg": -1}
        size = (3 * l // 2 + 1, (3 * l + 1) | 1)  # it asks for an odd number of longitudes

        def values(a: Any) -> Any:
            return e3.to_s2grid(e3.IrrepsArray(irreps, a), *size, normalization="integral", **layout).grid_values

        def product(x: Any, y: Any) -> Any:
            signal = e3.SphericalSignal(values(x) * values(y), **layout)
            return e3.from_s2grid(signal, irreps, normalization="integral", lmax_in=2 * l).array

        return calls(i, product, grid_degrees)

    def cg(i: Inputs) -> dict[str, Call]:
        irreps = e3.Irreps([(1, (n, (-1) ** n)) for n in range(i.degree + 1)])
        keep = [e3.Irrep(n, (-1) ** n) for n in range(i.degree + 1)]

        def product(x: Any, y: Any) -> Any:
            return e3.tensor_product(e3.IrrepsArray(irreps, x), e3.IrrepsArray(irreps, y), filter_ir_out=keep).array

        return calls(i, product, cg_degrees)

    def grid_floats(l: int, what: str) -> float:
        return 5.0 * (3 * l // 2 + 1) * (3 * l + 2)

    def cg_floats(l: int, what: str) -> float:
        return 3.0 * sum(2 * c + 1 for _, _, c in _even_paths(l))

    return [
        Candidate("e3nn-jax grid", version, "to_s2grid, product, from_s2grid, jit", grid_degrees, grid_floats, grid),
        Candidate("e3nn-jax CG", version, "tensor_product, even paths kept apart, jit", cg_degrees, cg_floats, cg),
    ]


def load(names: list[str]) -> tuple[list[Candidate], list[str]]:
    """Return telamon's candidates, then the peers that are installed; and why the others are missing.

    Raises SystemExit for a name that is none of ours.
    """
    found, missing = telamon_candidates(), []
    makers = {"gemm": (gemm, "torch"), "e3nn": (e3nn, "e3nn"), "e3nn-jax": (e3nn_jax, "e3nn-jax")}
    for name in filter(None, names):
        if name not in makers:
            raise SystemExit(f"telamon bench so3: no peer is called {name}; there are {', '.join(NAMES)}")
        make, package = makers[name]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs, not ours
                found += make()
        except ImportError as error:
            missing.append(f"{name}: not measured, {error.name} is not installed; pip install {package}")
            say(missing[-1])
    return found, missing
