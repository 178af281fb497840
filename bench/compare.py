"""Compare two results of `telamon bench`, or two builds of telamon in interleaved runs.

    python bench/compare.py OLD.json NEW.json
    python bench/compare.py --ab OLD_PYTHON NEW_PYTHON [--core special] [--runs 7] [-- options of telamon bench]

The first form compares files that exist: good for a large change, but the two runs saw different moments of the
machine. The second runs `PYTHON -m telamon bench` in turn, old, new, new, old, ..., so that both see the same drift,
and takes one ratio a pair of runs.

A line gives new over old (below 1.00 is faster) as a median with the band of the middle 80%. It is **bold** only if the
band excludes 1.00: a change that the noise does not explain.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

KEY = ("set", "function", "who", "dtype")


def percentile(values: list[float], share: float) -> float:
    """Linear interpolation between order statistics, as NumPy's default."""
    values = sorted(values)
    at = share * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])


def timings(result: dict) -> Iterator[tuple[str, list[float]]]:
    """Every timed row of a result under a readable name. Other libraries' rows show how alike the two runs were."""
    for section, rows in result.items():
        for row in rows if isinstance(rows, list) else ():
            if "ns" in row:
                yield " ".join([section, *(str(row[k]) for k in KEY if k in row)]), row["ns"]


def ratios_of_files(old: dict, new: dict) -> dict[str, list[float]]:
    """New over old, round by round."""
    before = dict(timings(old))
    return {name: [n / o for n, o in zip(ns, before[name])] for name, ns in timings(new) if name in before}  # noqa: B905


def ratios_of_builds(pythons: tuple[str, str], core: str, runs: int, options: list[str]) -> dict[str, list[float]]:
    """New over old, one ratio a pair of runs, from the median of each run."""
    pairs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            medians: dict[int, dict[str, float]] = {}
            for which in (0, 1) if run % 2 == 0 else (1, 0):
                file = Path(folder, f"{run}-{which}.json")
                command = [pythons[which], "-m", "telamon", "bench", core, "--json", str(file), *options]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                medians[which] = {name: median(ns) for name, ns in timings(json.loads(file.read_text()))}
            for name, value in medians[1].items():
                if name in medians[0]:
                    pairs.setdefault(name, []).append(value / medians[0][name])
            print(f"pair {run + 1} of {runs}", file=sys.stderr)
    return pairs


def table(ratios: dict[str, list[float]]) -> str:
    """Return Markdown, one line a row."""
    lines = ["| row | new / old | middle 80% |", "| --- | ---: | ---: |"]
    for name, values in ratios.items():
        low, high = percentile(values, 0.1), percentile(values, 0.9)
        cells = [name, f"{median(values):.2f}", f"{low:.2f}-{high:.2f}"]
        if not low <= 1.0 <= high:
            cells = [f"**{c}**" for c in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the table; return 1 if the two results share no row."""
    argv = sys.argv[1:] if argv is None else list(argv)
    options = []
    if "--" in argv:
        cut = argv.index("--")
        argv, options = argv[:cut], argv[cut + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a result, or with --ab a Python that has the old telamon")
    parser.add_argument("new", help="the same for the new one")
    parser.add_argument("--ab", action="store_true", help="run both, interleaved")
    parser.add_argument("--core", default="special")
    parser.add_argument("--runs", type=int, default=7, help="pairs of runs, with --ab")
    args = parser.parse_args(argv)
    if args.ab:
        # Other libraries tell nothing about two builds of telamon, and take most of the time.
        options = options or ["--quick", "--peers", ""]
        ratios = ratios_of_builds((args.old, args.new), args.core, args.runs, options)
    else:
        old, new = (json.loads(Path(p).read_text()) for p in (args.old, args.new))
        for key in ("cpu", "isa", "threads"):
            if old["machine"][key] != new["machine"][key]:
                print(f"note: {key} differs: {old['machine'][key]} and {new['machine'][key]}", file=sys.stderr)
        ratios = ratios_of_files(old, new)
    print(table(ratios))
    return int(not ratios)


if __name__ == "__main__":
    sys.exit(main())
