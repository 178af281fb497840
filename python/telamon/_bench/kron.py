"""Speed, memory and accuracy of telamon.kron, gp and pde, judged against their design's must table and other libraries.

Everything is measured on one thread, in one process and interleaved rounds (see timing.py), but for memory, which is
measured in a process for each. Products are also given as a fraction of NumPy's matrix product in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import telamon
from telamon import kron

from . import kron_accuracy, kron_likelihood, kron_pde, kron_peers, kron_report, kron_systems, machine, report, timing
from .kron_likelihood import Model, Shape
from .kron_peers import Array, Candidate, Problem, say
from .timing import Row, Task

PATIENCE = 0.3  # seconds; slower calls get two rounds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``telamon bench kron``."""
    parser.add_argument("--quick", action="store_true", help="few rounds, tiny sizes: a look, not a result")
    report.add_arguments(parser, "kron", plots="write speeds, and growth with the grid (needs matplotlib)")
    default = ",".join(kron_peers.NAMES)
    parser.add_argument("--peers", default=default, help=f"some of {default}; default all that are installed")
    parser.add_argument("--rounds", type=int, help="default 7, with --quick 3")
    parser.add_argument("--strict", action="store_true", help='exit with 1 where a "must" row falls short')


def _task(call: Callable[[], object], elements: int, setup: Callable[[], object] = lambda: None) -> Task:
    return Task(lambda _: call, elements, elements, setup)


def _gemm(n: int, dtype: Any) -> tuple[Task, float]:
    """NumPy's product of two matrices, and its operations."""
    a, b = np.random.default_rng(0).standard_normal((2, n, n)).astype(dtype)
    out = np.empty_like(a)
    return _task(lambda: np.matmul(a, b, out=out), 1), 2.0 * n**3


def _build(who: str, where: str, make: Callable[[], Any], skipped: list[str]) -> Any:
    """The candidate's call after a first use, or None with a reason where a library fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, not ours
            call = make()
            if call is not None:
                call()
        return call
    except Exception as error:  # whatever a library raises
        if who.startswith("telamon"):
            raise
        skipped.append(f"{who}, {where}: {type(error).__name__}: {error}")
        say(f"left out: {skipped[-1]}")
        return None


def products(
    problems: Iterable[Problem], candidates: list[Candidate], gemm_size: int, how: tuple[int, float], skipped: list[str]
) -> list[Row]:
    """Every candidate on every problem, and a matrix product in the same rounds."""
    rows = []
    for p in problems:
        dtype = p.x.dtype.name
        say(f"{p.name}, {dtype}")
        gemm, operations = _gemm(gemm_size, p.x.dtype)
        tasks = {"": gemm}
        for c in candidates:
            call = _build(c.name, f"{p.name}, {dtype}", partial(c.build, p), skipped)
            if call is not None:
                tasks[c.name] = _task(call, p.x.size)
        times = timing.interleave(tasks, *how, PATIENCE)
        for who, t in times.items():
            if not who:
                continue
            row: Row = {"set": p.name, "kind": p.kind, "function": "product", "who": who, "dtype": dtype, **t}
            row["ms"] = t["median"] * p.x.size / 1e6
            if p.flops:
                share = timing.ratio(times[""]["ns"], t["ns"])
                row["of_gemm"] = {k: v * p.flops / p.x.size / operations for k, v in share.items()}
            if who != "telamon":
                row["ratio"] = timing.ratio(t["ns"], times["telamon"]["ns"])
            rows.append(row)
    return rows


def _evaluation(model: Model, axes: list[Array], y: Array) -> Callable[[], object]:
    return partial(model.build(axes), y)


def likelihoods(shapes: dict[str, Shape], models: list[Model], how: tuple[int, float], skipped: list[str]) -> list[Row]:
    """Log marginal likelihood and gradient, as an optimiser calls it time after time."""
    rows = []
    for kind, shape in shapes.items():
        name = "x".join(map(str, shape))
        say(f"likelihood, {name}")
        y, tasks = kron_likelihood.data(shape), {}
        for m in models:
            axes = kron_likelihood.axes_of(shape, m.uniform)
            call = _build(m.name, f"likelihood, {name}", partial(_evaluation, m, axes, y), skipped)
            if call is not None:
                tasks[m.name] = _task(call, y.size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, not ours
            times = timing.interleave(tasks, *how, 1.0)
        for who, t in times.items():
            row: Row = {"set": name, "kind": kind, "function": "likelihood", "who": who, "dtype": "float64", **t}
            row["seconds"] = t["median"] * y.size / 1e9
            if not who.startswith("telamon"):
                row["ratio"] = timing.ratio(t["ns"], times["telamon"]["ns"])
                row["ratio_dense"] = timing.ratio(t["ns"], times["telamon, dense"]["ns"])
            rows.append(row)
    return rows


def apart(who: str, shape: Shape, repeats: int) -> Row:
    """One model in a process of its own: seconds, and memory in vectors of N numbers."""
    name, n = "x".join(map(str, shape)), float(np.prod(shape))
    say(f"{who} in a process of its own, {name}")
    command = [sys.executable, "-m", "telamon._bench.kron_likelihood", who, name, str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the measurement of {who} at {name} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    row = {"who": who, "grid": name, "points": n, "seconds": min(found["seconds"])}
    row["traced"], row["resident"] = (found[key] / 8 / n for key in ("traced", "resident"))
    return {**row, "bytes": found["resident"]}


def large_grids(shapes: Iterable[Shape], skipped: list[str]) -> list[Row]:
    """Seconds and memory from 1e6 to 1e8 points; a machine that has not 3 GB to spare goes without the last."""
    rows = []
    for shape in shapes:
        try:
            rows.append(apart("telamon", shape, 3 if np.prod(shape) < 5e7 else 1))
        except RuntimeError as error:
            skipped.append(str(error).strip().replace("\n", " "))
            say(f"left out: {skipped[-1]}")
    return rows


def threads(quick: bool, how: tuple[int, float]) -> list[Row]:
    """Time with one thread over time with two."""
    rows = []
    grids = [(1000, 1000), (100,) * 3, (32,) * 4] if not quick else [(24, 24)]
    for grid in grids:
        name, rng = "x".join(map(str, grid)), np.random.default_rng(0)
        y = rng.standard_normal(grid)
        operator = kron.KroneckerOperator([rng.standard_normal((n, n)) for n in grid])
        evaluate = kron_likelihood.toeplitz(kron_likelihood.axes_of(grid))
        calls: dict[str, Callable[[], object]] = {
            "product": partial(operator.matmul_grid, y),
            "likelihood": partial(evaluate, y),
        }
        for what, call in calls.items():
            tasks = {k: _task(call, y.size, partial(telamon.set_num_threads, k)) for k in (1, 2)}
            times = timing.interleave(tasks, *how)
            row: Row = {"what": what, "grid": name, "speedup": timing.ratio(times[1]["ns"], times[2]["ns"])}
            rows.append({**row, **{f"ms_{k}": t["median"] * y.size / 1e6 for k, t in times.items()}})
    telamon.set_num_threads(1)
    return rows


def main(args: argparse.Namespace) -> int:
    """Measure, print, write; return 1 if --strict and a row falls short."""
    quick = args.quick
    how = (args.rounds or (3 if quick else 7), 0.002 if quick else 0.02)
    names = args.peers.split(",")
    candidates, missing = kron_peers.load(names)
    models, missing_models = kron_likelihood.load(names)
    shapes = {"plane": (1000, 1000), "space": (100,) * 3, "spacetime": (32,) * 4}
    growth: list[Shape] = [(100,) * 3, (215,) * 3, (464,) * 3]
    grid, small = (46,) * 3, (13, 15, 12)
    if quick:
        shapes = {"plane": (24, 24), "space": (8,) * 3, "spacetime": (4,) * 4}
        growth, grid, small = [(6,) * 3, (8,) * 3, (10,) * 3], (8,) * 3, (5, 6, 4)
    skipped = missing + missing_models
    with kron_peers.one_thread():
        values: list[Row] = []
        for dtype in (np.float64, np.float32):
            values += products(kron_peers.problems(quick, dtype), candidates, 1000 if not quick else 24, how, skipped)
        result: Row = {
            "format": 1,
            "suite": "kron",
            "quick": quick,
            "rounds": how[0],
            "machine": machine.describe(1),
            "peers": _peers(candidates, models),
            "values": values,
            "likelihood": likelihoods(shapes, models, (min(how[0], 5), how[1]), skipped),
            "threads": threads(quick, how),
        }
        say("dense algebra")
        result["errors"] = kron_accuracy.against_dense(quick)
        say("noise of each point")
        result["noise"] = kron_systems.per_point_noise(grid, (0.1, 0.01), "linear_operator" in names and _has_torch())
        say("missing cells")
        result["missing"] = kron_systems.missing_cells(grid, (0.1, 0.01))
        result["determinants"] = kron_systems.log_determinants(small, 4 if quick else 10)
        say("differential equations")
        result["pde"] = kron_pde.measure(quick)
    # Children come last: what they leave in the caches and clocks is no longer anybody's trouble.
    result["memory"] = [
        apart(m.name, shape, 1) for shape in (shapes.values() if not quick else [(24, 24)]) for m in models
    ]
    result["growth"] = large_grids(growth, skipped)
    result["skipped"] = skipped
    result["exponents"] = kron_report.exponents(result)
    result["must"] = kron_report.must(result)
    print(kron_report.text(result), flush=True)
    report.write_files(args, "kron", result, kron_report.markdown(result), partial(_draw, result))
    return int(args.strict and any(row["verdict"] == "short" for row in result["must"]))


def _peers(*lists: Sequence[Candidate | Model]) -> list[Row]:
    listed = [peer for part in lists for peer in part if not peer.name.startswith("telamon")]
    return [{"name": peer.name, "version": peer.version, "how": peer.how} for peer in listed]


def _has_torch() -> bool:
    return "torch" in sys.modules and "linear_operator" in sys.modules


def _draw(result: Row, folder: Path, stem: str) -> None:
    from . import kron_plots

    kron_plots.draw(result, folder, stem)
