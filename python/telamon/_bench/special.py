"""Speed and accuracy of telamon.special, judged against its design's must table and against other libraries.

Everything is measured in this one process, in interleaved rounds (see timing.py), on arrays of 65,536 elements unless a
slow peer needs fewer, into preallocated output. Sets: v and x uniform in A = [0, 150], S = [0, 20], B = [0, 10^4].
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

import telamon
from telamon import _core, special

from . import accuracy, machine, peers, report, special_report, timing
from .peers import Array
from .timing import Row, Task

VALUES = ("log_iv", "log_kv")
SETS = accuracy.SETS
N = 1 << 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``telamon bench special``."""
    parser.add_argument("--quick", action="store_true", help="few rounds, few points: a look, not a result")
    report.add_arguments(parser, "special", plots="write error and speed over the (v, x) plane (needs matplotlib)")
    default = "scipy,boost,gsl,libstdcxx"
    parser.add_argument("--peers", default=default, help=f"some of {','.join(peers.NAMES)}; default {default}")
    parser.add_argument("--threads", type=int, default=1, help="for the tables; the scaling row always takes 1 and 2")
    parser.add_argument("--tables", metavar="DIR", help="stored truth; default: tests/data of the checkout, if any")
    parser.add_argument("--rounds", type=int, help="default 25, with --quick 5")
    parser.add_argument("--strict", action="store_true", help='exit with 1 where a "must" row falls short')


def sample(label: str, n: int, dtype: DTypeLike = np.float64) -> tuple[Array, Array]:
    """n points of a set; the first n of a longer sample are the same points."""
    high = SETS[label]
    v, x = (np.random.default_rng(seed).uniform(0, high, n) for seed in (1, 2))
    return v.astype(dtype), x.astype(dtype)


def _binary(f: peers.Function, label: str, dtype: DTypeLike = np.float64, min_n: int = 16, max_n: int = N) -> Task:
    """Time f(v, x, out) on a set."""

    def make(n: int) -> Callable[[], object]:
        v, x = sample(label, n, dtype)
        out = np.empty_like(v)
        return lambda: f(v, x, out)

    return Task(make, max_n=max_n, min_n=min_n)


def _ufunc(name: str) -> peers.Function:
    f = getattr(special, name)
    return lambda v, x, out: f(v, x, out=out)


def _with_gradient(name: str, label: str) -> Task:
    f = getattr(_core, f"{name}_grad")

    def make(n: int) -> Callable[[], object]:
        v, x = sample(label, n)
        out = tuple(np.empty_like(v) for _ in range(3))
        return lambda: f(v, x, out=out)

    return Task(make, max_n=N)


def values(others: list[peers.Peer], rounds: int, seconds: float) -> list[Row]:
    """log_iv and log_kv on each set: telamon in both types, and every peer, in the same rounds."""
    rows = []
    for label in SETS:
        for name in VALUES:
            tasks = {("telamon", "float64"): _binary(_ufunc(name), label)}
            tasks["telamon", "float32"] = _binary(_ufunc(name), label, np.float32)
            for peer in others:
                # At least 2,048 points, or a slow peer is judged on a sample too small for the set.
                tasks[peer.name, "float64"] = _binary(peer.functions[name], label, np.float64, 2048, peer.max_n)
                if peer.float32:
                    tasks[peer.name, "float32"] = _binary(peer.functions[name], label, np.float32, 2048)
            times = timing.interleave(tasks, rounds, seconds)
            for (who, dtype), t in times.items():
                row = {"set": label, "function": name, "who": who, "dtype": dtype, **t}
                if who != "telamon":
                    row["ratio"] = timing.ratio(t["ns"], times["telamon", dtype]["ns"])
                rows.append(row)
    return rows


def others_on_a(rounds: int, seconds: float) -> list[Row]:
    """Every other function on set A, beside log_iv and log_kv; value and both derivatives in one pass."""
    names = [*VALUES, "log_ive", "log_kve", *accuracy.FIRST, *accuracy.SECOND, *accuracy.RATIOS]
    tasks = {name: _binary(_ufunc(name), "A") for name in names}
    for name in VALUES:
        tasks[f"{name}_grad"] = _with_gradient(name, "A")
    times = timing.interleave(tasks, rounds, seconds)
    return [
        {"function": name, **t, "of_value": timing.ratio(t["ns"], times["log_iv" if "i" in name else "log_kv"]["ns"])}
        for name, t in times.items()
    ]


def _root_search(v: Array, r: Array) -> list[float]:
    """Solve as scipy.stats.vonmises_fisher.fit does; nan where its bracket shows no sign change, as ive underflows."""
    from scipy.optimize import root_scalar
    from scipy.special import ive

    def search(order: float, ratio: float) -> float:
        def excess(k: float) -> float:
            upper, lower = ive([order, order - 1], k)
            return float(upper / lower - ratio)

        try:
            return float(root_scalar(excess, method="brentq", bracket=(1e-8, 1e9)).root)
        except ValueError:
            return float("nan")

    return [search(a, b) for a, b in zip(v, r, strict=True)]


def kappa(others: list[peers.Peer], rounds: int, seconds: float) -> list[Row]:
    """kappa from the mean resultant length, d = 2..32768, against the root search of scipy.stats' fit."""

    def inputs(n: int) -> tuple[Array, Array]:
        rng = np.random.default_rng(3)
        return np.exp(rng.uniform(0, np.log(32768 / 2), n)), rng.uniform(1e-6, 1 - 1e-6, n)

    def make(n: int) -> Callable[[], object]:
        v, r = inputs(n)
        out = np.empty_like(v)
        return lambda: special.iv_ratioinv(v, r, out=out)

    tasks = {"telamon": Task(make, max_n=N)}
    if any(p.name == "SciPy" for p in others):
        tasks["SciPy"] = Task(lambda n: partial(_root_search, *inputs(n)), max_n=64)
    times = timing.interleave(tasks, rounds, seconds)
    return [
        {"function": "iv_ratioinv", "who": who, **t, "ratio": timing.ratio(t["ns"], times["telamon"]["ns"])}
        for who, t in times.items()
    ]


def threads(rounds: int, quick: bool) -> list[Row]:
    """Time with one thread over time with two: long arrays must gain, short ones must not pay."""
    rows = []
    for name in VALUES:
        for n in (1, 100, 1000, 100_000 if quick else 1_000_000):
            f, (v, x) = getattr(special, name), sample("A", n)
            out = np.empty_like(v)

            call = partial(f, v, x, out=out)
            tasks = {
                k: Task(lambda _n, call=call: call, n, n, setup=partial(telamon.set_num_threads, k))  # type: ignore[misc]
                for k in (1, 2)
            }
            times = timing.interleave(tasks, rounds, seconds=0.002 if n < 10_000 else 0.02)
            one, two = times[1], times[2]
            rows.append(
                {
                    "function": name,
                    "n": n,
                    "ns_1": one["median"],
                    "ns_2": two["median"],
                    "speedup": timing.ratio(one["ns"], two["ns"]),
                }
            )
    return rows


def errors_on_sets(others: list[peers.Peer], tables: dict[str, accuracy.Table]) -> list[Row]:
    """Worst M2 and non-finite share on A, S and B, of telamon and of every peer, on the same points."""

    rows = []
    for label in SETS:
        for name in VALUES:
            functions = {
                "telamon": getattr(special, name),
                **{p.name: peers.returning(p.functions[name]) for p in others},
            }
            for who, got in accuracy.by_set(functions, tables, name, label).items():
                rows.append({"set": label, "function": name, "who": who, **got})
    return rows


def main(args: argparse.Namespace) -> int:
    """Measure, print, write; return 1 if --strict and a row falls short."""
    rounds = args.rounds or (5 if args.quick else 25)
    seconds = 0.002 if args.quick else 0.01
    others = peers.load(args.peers.split(","))
    tables = accuracy.truth(args.tables, 40 if args.quick else 300)
    before = telamon.get_num_threads()
    telamon.set_num_threads(args.threads)
    try:
        # The peers meet overflow, underflow and nan all over B: that is what is shown, not worth a warning each.
        with np.errstate(all="ignore"):
            result = {
                "format": 1,
                "suite": "special",
                "quick": args.quick,
                "rounds": rounds,
                "machine": machine.describe(args.threads),
                "peers": [{"name": p.name, "version": p.version, "how": p.how} for p in others],
                "values": values(others, rounds, seconds),
                "others": others_on_a(rounds, seconds),
                "kappa": kappa(others, max(3, rounds // 3), seconds),
                "set_errors": errors_on_sets(others, tables) if tables else [],
                "errors": accuracy.summary(tables) if tables else [],
                "threads": threads(rounds, args.quick),
            }
            telamon.set_num_threads(args.threads)
            result["must"] = special_report.must(result)
            print(special_report.text(result), flush=True)
            markdown = special_report.markdown(result)
            report.write_files(args, "special", result, markdown, partial(_draw, args.quick, others))
    finally:
        telamon.set_num_threads(before)
    return int(args.strict and any(row["verdict"] == "short" for row in result["must"]))


def _draw(quick: bool, others: list[peers.Peer], folder: Path, stem: str) -> None:
    from . import special_plots

    special_plots.draw(folder, stem, quick, next((p for p in others if p.name == "SciPy"), None))
