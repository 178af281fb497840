"""Runs the GPU benchmarks of every core and writes bench/results/<device>.{json,md}; called by bench/gpu.sh.

A core adds bench/gpu_<core>.py with two functions: `smoke()` runs every kernel once on little data, for
compute-sanitizer; `rows(timer)` yields dictionaries with at least "name" and what `timer` measured, one a line of the
table. Times are of CUDA events, after warm-up, on inputs larger than the L2 cache, into outputs that are poisoned with
NaN before each run; the median counts. Bandwidth is set beside that of a copy, and the speed of a matrix product is
given, both of the same run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent


class Timer:
    """Measures launches on one GPU, and what a copy reaches there."""

    def __init__(self, repeats: int = 15) -> None:
        self.repeats = repeats
        self.copy_gb_s = self._copy()

    def __call__(self, launch: Callable[[], Any], outputs: Sequence[torch.Tensor], n_bytes: int) -> dict[str, float]:
        """Milliseconds of `launch`, and the bandwidth if it moves `n_bytes`.

        Raises AssertionError if a NaN is left in `outputs`, which must be the result for every element.
        """
        times = []
        for i in range(3 + self.repeats):
            for out in outputs:
                out.fill_(torch.nan)
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            launch()
            end.record()
            end.synchronize()
            if i >= 3:
                times.append(start.elapsed_time(end))
        for out in outputs:
            assert not bool(torch.isnan(out).any()), "an output was not written, or is NaN"
        median = statistics.median(times)
        gb_s = n_bytes / median / 1e6
        return {"median_ms": median, "min_ms": min(times), "GB/s": gb_s, "of_copy": gb_s / self.copy_gb_s}

    def _copy(self) -> float:
        self.copy_gb_s = 1.0
        source = torch.rand(2**28, device="cuda")
        target = torch.empty_like(source)
        return self(lambda: target.copy_(source), [target], 2 * source.nbytes)["GB/s"]

    def matmul_tflop_s(self, dtype: torch.dtype, n: int = 8192) -> float:
        a, b = (torch.rand(n, n, device="cuda", dtype=dtype) for _ in range(2))
        out = torch.empty_like(a)
        milliseconds = self(lambda: torch.mm(a, b, out=out), [out], 0)["median_ms"]
        return 2 * n**3 / milliseconds / 1e9


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _facts(timer: Timer) -> dict[str, Any]:
    import telamon

    fields = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit")
    answers = _ask("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0").split(", ")
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "compute capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory GiB": round(properties.total_memory / 2**30, 1),
        "L2 MiB": properties.L2_cache_size / 2**20,
        **dict(zip(fields, answers, strict=False)),
        "nvcc": _ask("nvcc", "--version").rsplit("\n", 1)[-1],
        "torch": torch.__version__,
        "telamon": telamon.__version__,
        "commit": _ask("git", "-C", str(HERE), "rev-parse", "--short", "HEAD"),
        "copy GB/s": timer.copy_gb_s,
        "float32 matrix product TFLOP/s": timer.matmul_tflop_s(torch.float32),
        "float64 matrix product TFLOP/s": timer.matmul_tflop_s(torch.float64),
    }


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _markdown(facts: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> str:
    lines = [f"# {facts['device']}", "", "Written by `bench/gpu.sh`; how it measures stands in `bench/gpu.py`.", ""]
    lines += [f"- {key}: {_cell(value)}" for key, value in facts.items()]
    for core, rows in tables.items():
        if not rows:  # the core said why
            continue
        columns = list(rows[0])
        lines += ["", f"## {core}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
        lines += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="run every kernel once on little data, and write nothing")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="where the results go")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench/gpu.py: PyTorch finds no GPU here")

    cores = {
        path.stem.removeprefix("gpu_"): importlib.import_module(path.stem) for path in sorted(HERE.glob("gpu_*.py"))
    }
    if arguments.smoke:
        for core in cores.values():
            core.smoke()
        torch.cuda.synchronize()
        return

    torch.manual_seed(0)
    timer = Timer()
    facts = _facts(timer)
    tables = {}
    for name, core in cores.items():
        tables[name] = []
        for row in core.rows(timer):
            print(name, *(f"{key}={_cell(value)}" for key, value in row.items()), flush=True)
            tables[name].append(row)
    arguments.output.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^a-z0-9]+", "-", facts["device"].lower()).strip("-")
    path = arguments.output / f"{stem}.json"
    path.write_text(json.dumps({"facts": facts, "tables": tables}, indent=1) + "\n")
    path.with_suffix(".md").write_text(_markdown(facts, tables))
    print(f"wrote {path} and {path.with_suffix('.md').name}")


if __name__ == "__main__":
    main()
