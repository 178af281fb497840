"""Speed and accuracy of telamon.so3, judged against its design's must table and against other libraries.

Everything is measured in this one process, one thread, float32, in interleaved rounds (see timing.py). Times are
nanoseconds a sample and channel, for factors and result of the same highest degree L. "training" is the product and the
gradients of both factors.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import telamon
from telamon import so3

from . import machine, report, so3_accuracy, so3_peers, so3_report, timing
from .so3_peers import Array, Candidate, inputs
from .timing import Row, Task

MEMORY = 2e9  # bytes that one measurement may hold
PATIENCE = 1.0  # seconds; slower calls get two rounds
SECONDS = 5.0  # nobody waits longer for one call
Size = tuple[int, int, int]  # degree, samples, channels

# Run by a fresh interpreter: the first call at a degree, and what a call on large arrays holds beside its result.
FIRST_CALL = """
import sys, time
import numpy as np
import telamon
from telamon import so3
telamon.set_num_threads(1)
degree = int(sys.argv[1])
def features(samples, l, channels):
    return np.random.default_rng(0).standard_normal((samples, (l + 1) ** 2, channels), dtype=np.float32)
so3.gaunt_product(features(4, 1, 8), features(4, 1, 8))
x = features(4, degree, 8)
times = [time.perf_counter()]
for _ in range(2):
    so3.gaunt_product(x, x)
    times.append(time.perf_counter())
first, second = np.diff(times)
def status(key):
    try:
        lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
        return int(lines[key].split()[0]) / 1024
    except (OSError, KeyError):
        return float("nan")
x = features(int(sys.argv[2]), 4, 32)
so3.gaunt_product(x[:64], x[:64])
out = np.ones_like(x)
before = status("VmRSS")
try:
    open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
    so3.gaunt_product(x, x, out=out)
    extra = status("VmHWM") - before
except OSError:
    extra = float("nan")
print(first - second, extra)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``telamon bench so3``."""
    parser.add_argument("--quick", action="store_true", help="few rounds, few degrees: a look, not a result")
    report.add_arguments(parser, "so3", plots="write time over degree, and the exponents (needs matplotlib)")
    default = ",".join(so3_peers.NAMES)
    parser.add_argument("--peers", default=default, help=f"some of {default}; default all that are installed")
    parser.add_argument("--rounds", type=int, help="default 7, with --quick 3")
    parser.add_argument("--strict", action="store_true", help='exit with 1 where a "must" row falls short')


def _task(call: Callable[[], object], elements: int, setup: Callable[[], object] = lambda: None) -> Task:
    return Task(lambda _: call, elements, elements, setup)


class Speed:
    """Times candidates on one size after another, and remembers what was left out and why."""

    def __init__(self, candidates: list[Candidate], rounds: int, seconds: float) -> None:
        self.candidates, self.rounds, self.seconds = candidates, rounds, seconds
        self.skipped: list[str] = []
        self.known: dict[tuple[str, int, str], float] = {}  # ns by candidate, degree and pass, from smaller sizes

    def _why_not(self, candidate: Candidate, what: str, size: Size) -> str | None:
        l, samples, channels = size
        held = 4 * samples * channels * (candidate.floats(l, what) + 3 * (l + 1) ** 2)
        if held > MEMORY:
            return f"it would hold about {held / 1e9:.1f} GB"
        took = self.known.get((candidate.name, l, what), 0.0) * samples * channels / 1e9
        return f"one call would take about {took:.0f} s" if took > SECONDS else None

    def _calls(self, size: Size) -> tuple[dict[tuple[str, str], Callable[[], object]], dict[str, float]]:
        """What is to be timed at a size, by candidate and pass, and the seconds to construct each candidate."""
        data, calls, construction = inputs(*size), {}, {}
        for candidate in self.candidates:
            wanted = [p for p in so3_peers.PASSES if size[0] in candidate.degrees[p]]
            for what in list(wanted):
                if why := self._why_not(candidate, what, size):
                    wanted.remove(what)
                    where = f"{candidate.name}, {what}, L = {size[0]}, {size[1]:,} x {size[2]}"
                    self.skipped.append(f"{where}: {why}")
                    so3_peers.say(f"left out: {self.skipped[-1]}")
            if not wanted:
                continue
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs, not ours
                built = candidate.build(data)
                construction[candidate.name] = time.perf_counter() - start
                for what in wanted:
                    for _ in range(2 if size[1] <= 1000 else 0):  # TorchScript compiles in the second call
                        built[what]()
                    calls[candidate.name, what] = built[what]
        return calls, construction

    def measure(self, sizes: Iterable[Size]) -> list[Row]:
        """Every candidate in both passes, all in the same rounds for one size."""
        rows = []
        for size in sizes:
            l, samples, channels = size
            so3_peers.say(f"L = {l}, {samples:,} samples x {channels} channels")
            calls, construction = self._calls(size)
            if not calls:
                continue
            tasks = {name: _task(call, samples * channels) for name, call in calls.items()}
            times = timing.interleave(tasks, self.rounds, self.seconds, PATIENCE)
            for (who, what), t in times.items():
                row: Row = {"set": f"{samples}x{channels}", "function": f"{what} L={l}", "who": who, "dtype": "float32"}
                row.update({"l": l, "samples": samples, "channels": channels, "pass": what, **t})
                row["construction"] = construction[who]
                # Through autograd as the peers, where torch is; the other rows of telamon stand beside it.
                base = "telamon.torch" if (what == "training" and ("telamon.torch", what) in times) else "telamon"
                if not who.startswith("telamon"):
                    row["ratio"] = timing.ratio(t["ns"], times[base, what]["ns"])
                rows.append(row)
                self.known.setdefault((who, l, what), t["median"])
        return rows


def _compare(variants: Mapping[str, Callable[[], object]], label: str, size: Size, how: tuple[int, float]) -> list[Row]:
    """Rows for variants of one computation; ratios are over the first."""
    l, samples, channels = size
    times = timing.interleave({k: _task(f, samples * channels) for k, f in variants.items()}, *how, PATIENCE)
    first = next(iter(times.values()))
    common = {"set": f"{samples}x{channels}", "function": f"{label} L={l}", "dtype": "float32", "l": l}
    return [{**common, "who": k, **t, "ratio": timing.ratio(t["ns"], first["ns"])} for k, t in times.items()]


def methods(degrees: Iterable[int], samples: int, channels: int, how: tuple[int, float]) -> list[Row]:
    """The three methods beside what "auto" takes."""
    rows = []
    for l in degrees:
        data = inputs(l, samples, channels)
        offered = [m for m in so3_accuracy.METHODS if m != "sparse" or l <= so3_accuracy.SPARSE]
        variants = {m: partial(so3.gaunt_product, data.x, data.y, method=m) for m in offered}
        rows += _compare(variants, "methods", (l, samples, channels), how)
    return rows


def parity(degrees: Iterable[int], samples: int, channels: int, how: tuple[int, float]) -> list[Row]:
    """The complete product over the even one."""
    rows = []
    for l in degrees:
        data = inputs(l, samples, channels)
        product = partial(so3.gaunt_product, data.x, data.y)
        variants = {
            "even": product,
            "complete, O3": partial(product, parity="complete"),
            "complete, SO3": partial(product, parity="complete", group="SO3"),
        }
        rows += _compare(variants, "parity", (l, samples, channels), how)
    return rows


def fused(degrees: Iterable[int], edges: int, channels: int, how: tuple[int, float]) -> list[Row]:
    """Fused functions over what they replace: the convolution with a direction, and the third power."""

    def with_filter(x: Array, r: Array, w: Array) -> Array:
        degrees = np.arange(w.shape[1])
        harmonics = so3.spherical_harmonics(degrees.tolist(), r)[..., None]
        return np.asarray(so3.gaunt_product(x, np.repeat(w, 2 * degrees + 1, axis=1) * harmonics))

    def twice(x: Array, l: int) -> Array:
        return np.asarray(so3.gaunt_product(so3.gaunt_product(x, x, 2 * l), x, l))

    rows = []
    for l in degrees:
        x, rng = inputs(l, edges, channels).x, np.random.default_rng(l)
        r = rng.standard_normal((edges, 3), dtype=np.float32)
        w = rng.standard_normal((edges, l + 1, channels), dtype=np.float32)
        size = (l, edges, channels)
        convolution = {
            "step by step": partial(with_filter, x, r, w),
            "fused": partial(so3.gaunt_conv, x, r, w),
        }
        rows += _compare(convolution, "gaunt_conv", size, how)
        power = {"step by step": partial(twice, x, l), "fused": partial(so3.gaunt_power, x, 3)}
        rows += _compare(power, "gaunt_power, n=3,", size, how)
    return rows


def growth(degrees: Iterable[int], samples: int, channels: int, how: tuple[int, float]) -> list[Row]:
    """Forward time of telamon alone at high degrees, for the exponent."""
    rows = []
    for l in degrees:
        data = inputs(l, samples, channels)
        rows += _compare({"telamon": partial(so3.gaunt_product, data.x, data.y)}, "growth", (l, samples, channels), how)
    return rows


def threads(sizes: Iterable[Size], how: tuple[int, float]) -> list[Row]:
    """Time with one thread over time with two."""
    rows = []
    for l, samples, channels in sizes:
        data = inputs(l, samples, channels)
        call, out = partial(so3.gaunt_product, data.x, data.y), np.empty_like(data.x)
        tasks = {
            k: _task(partial(call, out=out), samples * channels, partial(telamon.set_num_threads, k)) for k in (1, 2)
        }
        times = timing.interleave(tasks, *how)
        speedup = timing.ratio(times[1]["ns"], times[2]["ns"])
        rows.append({"l": l, "samples": samples, "channels": channels, "speedup": speedup})
        rows[-1].update({f"ns_{k}": t["median"] for k, t in times.items()})
    telamon.set_num_threads(1)
    return rows


def construction(l: int, samples: int, repeats: int) -> Row:
    """In fresh processes: milliseconds of the first call beyond the second, MiB of a call beyond its result."""
    command = [sys.executable, "-c", FIRST_CALL, str(l), str(samples)]
    runs = []
    for _ in range(repeats):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the measurement of the first call failed:\n{done.stderr}")
        runs.append([float(word) for word in done.stdout.split()])
    first, extra = np.array(runs).T
    ms = first * 1e3
    return {"l": l, "ms": list(ms), "min": ms.min(), "median": float(np.median(ms)), "MiB": float(np.median(extra))}


def main(args: argparse.Namespace) -> int:
    """Measure, print, write; return 1 if --strict and a row falls short."""
    quick = args.quick
    rounds, seconds = args.rounds or (3 if quick else 7), 0.002 if quick else 0.01
    how = (max(rounds, 3 if quick else 15), seconds)  # telamon's own rows are cheap
    samples, channels = (16, 8) if quick else (128, 32)
    upto = range(1, 13) if not quick else (1, 2, 4)
    before = telamon.get_num_threads()
    telamon.set_num_threads(1)
    candidates, missing = so3_peers.load(args.peers.split(","))
    torch: Any = importlib.import_module("torch") if "torch" in sys.modules else None
    torch_threads = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    try:
        # In the fresh process first: tables that this one makes would not count there, but its memory traffic might.
        first = construction(10, 500 if quick else 20_000, 1 if quick else 5)
        speed = Speed(candidates, rounds, seconds)
        values = speed.measure((l, samples, channels) for l in upto)
        edges = [(l, 10_000, 32) for l in (1, 2, 3, 4, 6, 8)] + [(l, 100_000, 32) for l in (1, 2, 3, 4)]
        speed.rounds = min(rounds, 5)
        result = {
            "format": 1,
            "suite": "so3",
            "quick": quick,
            "rounds": rounds,
            "machine": machine.describe(1),
            "peers": [
                {"name": c.name, "version": c.version, "how": c.how}
                for c in candidates
                if not c.name.startswith("telamon")
            ],
            "values": values,
            "edges": speed.measure(edges if not quick else [(2, 500, 8)]),
            "methods": methods(upto, samples, channels, how),
            "parity": parity(range(1, 7) if not quick else (1, 2), samples, channels, how),
            "others": fused((2, 4, 8) if not quick else (2,), 2000 if not quick else 50, channels, how),
            "growth": growth((8, 12, 16, 24, 32, 48, 64) if not quick else (8, 12, 16), 8, channels, how),
            "threads": threads([(4, 2000, 32), (10, 400, 32)] if not quick else [(2, 100, 8)], how),
            "construction": [first],
            "errors": so3_accuracy.against_truth(quick),
            "equivariance": so3_accuracy.equivariance(quick),
            "skipped": missing + speed.skipped,
        }
        result["exponents"] = so3_report.exponents(result)
        result["must"] = so3_report.must(result)
        print(so3_report.text(result), flush=True)
        markdown = so3_report.markdown(result)
        report.write_files(args, "so3", result, markdown, partial(_draw, result))
    finally:
        telamon.set_num_threads(before)
        if torch:
            torch.set_num_threads(torch_threads)
    return int(args.strict and any(row["verdict"] == "short" for row in result["must"]))


def _draw(result: Row, folder: Path, stem: str) -> None:
    from . import so3_plots

    so3_plots.draw(result, folder, stem)
