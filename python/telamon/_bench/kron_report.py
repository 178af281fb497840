"""The must table of telamon.kron's design judged by a result, and the result as text and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from . import report
from .report import Cells, Table, machine_lines, must_table, number
from .timing import Row

SECTIONS = (
    "must",
    "values",
    "ratios",
    "likelihood",
    "memory",
    "growth",
    "exponents",
    "errors",
    "noise",
    "missing",
    "determinants",
    "pde",
    "threads",
)
OF_GEMM = {"plane": 0.9, "space": 0.7, "spacetime": 0.6}
PDE = {  # error, seconds
    "sin100": (2e-5, 0.5),
    "allen_cahn": (1e-6, 8.0),
    "advection": (1e-4, 0.2),
    "cube": (5e-6, 0.5),
    "evidence": (1e-6, 10.0),
}
LARGEST = 9.9e7  # points: 464^3 are 99,897,344


def exponents(result: Row) -> list[Row]:
    """Fit log time = p log N + const to the grids of the growth section."""
    points = [(r["points"], r["seconds"]) for r in result["growth"]]
    if len(points) < 2:
        return []
    n, seconds = np.log(np.array(points)).T
    slope = float(np.polyfit(n, seconds, 1)[0])
    return [{"who": "telamon", "from": points[0][0], "to": points[-1][0], "exponent": slope}]


def _find(rows: Iterable[Row], **wanted: object) -> Row | None:
    for r in rows:
        if all(r.get(key) == value for key, value in wanted.items()):
            return r
    return None


def _vectors(row: Row) -> float:
    """What the process held, or where that is not known, or below it, what NumPy allocated; in vectors of N."""
    return float(np.fmax(row["resident"], row["traced"]))


def must(result: Row) -> list[Row]:
    """Every "must" row of the design: what it asks, what was measured (medians), and PASS, short or unknown."""
    rows: list[Row] = []

    def ask(
        item: str, limit: float, got: float | None, unit: str, at_least: bool = False, judged: float | None = None
    ) -> None:
        value = got if judged is None else judged
        if value is None or value != value:
            verdict = "unknown"
        else:
            verdict = "PASS" if (value >= limit if at_least else value <= limit) else "short"
        sign = ">=" if at_least else "<="
        rows.append({"item": item, "must": f"{sign} {limit:g} {unit}", "got": got, "unit": unit, "verdict": verdict})

    doubles = [r for r in result["values"] if r["dtype"] == "float64"]
    for kind, limit in OF_GEMM.items():
        found = _find(doubles, who="telamon", kind=kind)
        share = found["of_gemm"]["median"] if found else None
        ask(f"product, {found['set'] if found else kind}", limit, share, "of dgemm", True)
    for who, kind, limit in (("linear_operator", "spacetime", 2.0), ("FastKron", "space", 3.0)):
        found = _find(doubles, who=who, kind=kind)
        name = f"product, {who} over telamon, {found['set'] if found else kind}"
        ask(name, limit, found["ratio"]["median"] if found else None, "x", True)
    for dtype in ("float64", "float32"):
        ratios = [r for r in result["values"] if r["who"].startswith("NumPy") and r["dtype"] == dtype]
        least = min(ratios, key=lambda r: float(r["ratio"]["median"]), default=None)
        item = f"product, NumPy over telamon, {dtype}, least" + (f" (at {least['set']})" if least else "")
        # Both are the same BLAS where factors are large; below is what the band of the rounds excludes.
        ratio = least["ratio"] if least else {"median": None, "high": None}
        ask(item, 1.0, ratio["median"], "x", True, judged=ratio["high"])
    for kind in OF_GEMM:
        peers = [r for r in result["likelihood"] if r["kind"] == kind and r["who"].startswith("GPyTorch")]
        best = min(peers, key=lambda r: float(r["ratio"]["median"]), default=None)
        item = f"likelihood and gradient, {best['who'] if best else 'GPyTorch'} over telamon, "
        ask(item + (best["set"] if best else kind), 3.0, best["ratio"]["median"] if best else None, "x", True)
    for who in dict.fromkeys(r["who"] for r in result["memory"] if r["who"].startswith("telamon")):
        most = max((r for r in result["memory"] if r["who"] == who), key=_vectors)
        ask(f"likelihood and gradient, peak memory, {who}, most (at {most['grid']})", 8.0, _vectors(most), "vectors")
    large = next((r for r in result["growth"] if r["points"] > LARGEST), None)
    ask("N = 1e8, time", 40.0, large["seconds"] if large else None, "s")
    ask("N = 1e8, memory", 6.4, large["bytes"] / 1e9 if large else None, "GB")
    slope = result["exponents"][0]["exponent"] if result["exponents"] and large else None
    ask("exponent of N, fitted over 1e6..1e8", 1.4, slope, "")
    worst = max((r["max"] for r in result["errors"] if r["dtype"] == "float64"), default=None)
    ask("agreement with dense algebra, float64", 1e-9, worst, "relative")
    ten = [r for r in result["noise"] if r["spread"] == 10.0]
    most_residual = max((r["residual"] for r in result["noise"]), default=None)
    ask("noise of each point, largest residual", 1e-8, most_residual, "")
    ask("noise of spread 10, most iterations", 40, max((r["iterations"] for r in ten), default=None), "")
    for key, (error, seconds) in PDE.items():
        found = _find(result["pde"], key=key)
        name = found["problem"] if found else key
        ask(f"{name}, error", error, found["error"] if found else None, "")
        ask(f"{name}, time", seconds, found["seconds"] if found else None, "s")
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def _band(ratio: Row | None) -> str:
    if ratio is None:
        return "-"
    return f"{number(ratio['median'])} ({number(ratio['low'])}-{number(ratio['high'])})"


def _pivot(rows: list[Row], first: str, label: Callable[[Row], str], cell: Callable[[Row | None], str]) -> Cells:
    """One line for each label, one column for each implementation."""
    names = list(dict.fromkeys(r["who"] for r in rows))
    lines: dict[str, dict[str, Row]] = {}
    for r in rows:
        lines.setdefault(label(r), {})[r["who"]] = r
    return [first, *names], [[key, *(cell(line.get(name)) for name in names)] for key, line in lines.items()]


def _entries(row: Row) -> float:
    return float(row["ms"]) * 1e6 / float(row["median"])


def _milliseconds(row: Row | None) -> str:
    if row is None:
        return "-"
    text = f"{number(row['min'] * _entries(row) / 1e6)} / {number(row['ms'])}"
    return text + (f" ({row['of_gemm']['median']:.0%})" if "of_gemm" in row else "")


def _values_table(result: Row) -> Cells:
    return _pivot(result["values"], "type, product", lambda r: f"{r['dtype']}, {r['set']}", _milliseconds)


def _ratios_table(result: Row) -> Cells:
    rows = [r for r in result["values"] if "ratio" in r]
    label = "{dtype}, {set}".format_map
    return _pivot(rows, "type, product", label, lambda r: _band(r["ratio"] if r else None))


def _likelihood_table(result: Row) -> Cells:
    header = ["grid", "implementation", "s min", "s median", "telamon faster by", "its dense form by"]
    rows = []
    for r in result["likelihood"]:
        least = r["min"] * r["seconds"] / r["median"]
        cells = [number(least), number(r["seconds"]), _band(r.get("ratio")), _band(r.get("ratio_dense"))]
        rows.append([r["set"], r["who"], *cells])
    return header, rows


def _memory_table(result: Row) -> Cells:
    header = ["grid", "implementation", "MB", "in vectors of N", "of these by NumPy"]
    rows = []
    for r in result["memory"]:
        rows.append([r["grid"], r["who"], number(r["bytes"] / 1e6), number(r["resident"]), number(r["traced"])])
    return header, rows


def _growth_table(result: Row) -> Cells:
    header = ["grid", "points", "s", "GB", "in vectors of N"]
    rows = []
    for r in result["growth"]:
        cells = [f"{int(r['points']):,}", number(r["seconds"]), number(r["bytes"] / 1e9), number(r["resident"])]
        rows.append([r["grid"], *cells])
    return header, rows


def _exponents_table(result: Row) -> Cells:
    header = ["time grows as N to the", "exponent", "over N"]
    return header, [[r["who"], f"{r['exponent']:.2f}", f"{r['from']:.3g}..{r['to']:.3g}"] for r in result["exponents"]]


def _errors_table(result: Row) -> Cells:
    rows = [{**r, "who": r["dtype"]} for r in result["errors"]]
    return _pivot(rows, "against dense algebra", lambda r: str(r["what"]), lambda r: number(r["max"] if r else None))


def _noise_table(result: Row) -> Cells:
    header = [
        "level, spread",
        "iterations",
        "residual",
        "s",
        "linear_operator off by",
        "s",
        "asked for 1e-8, off by",
        "s",
    ]
    rows = []
    for r in result["noise"]:
        cells = [str(r["iterations"]), number(r["residual"]), number(r["seconds"])]
        for key in ("default", "asked"):
            error = r.get(f"{key}_error")
            shown = "-" if error is None else f"{error:.1%}" if error > 1e-3 else number(error)
            cells += [shown, number(r.get(f"{key}_seconds"))]
        rows.append([f"{r['level']:g}, {r['spread']:g}", *cells])
    return header, rows


def _missing_table(result: Row) -> Cells:
    header = ["missing", "noise", "observed", "iterations", "residual", "s", "iterations without preconditioner"]
    rows = []
    for r in result["missing"]:
        count = str(r["iterations"]) if r["converged"] else f"> {r['iterations']}"
        cells = [f"{r['observed']:,}", count, number(r["residual"]), number(r["seconds"]), str(r["plain"])]
        rows.append([r["mask"], f"{r['level']:g}", *cells])
    return header, rows


def _determinants_table(result: Row) -> Cells:
    header = ["log-determinant", "observed", "truth", "standard error", "error, rms", "rms of error / its error", "s"]
    rows = []
    for r in result["determinants"]:
        cells = [f"{r['truth']:,.1f}", number(r["standard_error"]), number(r["error"]), number(r["rms_score"])]
        rows.append([r["case"], f"{r['observed']:,}", *cells, number(r["seconds"])])
    return header, rows


def _pde_table(result: Row) -> Cells:
    header = ["equation", "grid", "error", "s", "GP-HM's error", "GP-HM's s"]
    rows = []
    for r in result["pde"]:
        cells = [number(r[key]) for key in ("error", "seconds", "authors_error", "authors_seconds")]
        rows.append([r["problem"], "x".join(map(str, r["shape"])), *cells])
    return header, rows


def _threads_table(result: Row) -> Cells:
    header = ["what, grid", "ms, 1 thread", "ms, 2 threads", "speed-up"]
    return header, [
        [f"{r['what']}, {r['grid']}", number(r["ms_1"]), number(r["ms_2"]), _band(r["speedup"])]
        for r in result["threads"]
    ]


TABLES: dict[str, Table] = {
    "must": ("What the design asks", must_table),
    "values": ("Products: milliseconds, minimum / median (of a matrix product's rate)", _values_table),
    "ratios": ("Products: telamon faster by", _ratios_table),
    "likelihood": ("Log marginal likelihood and its gradient", _likelihood_table),
    "memory": ("Peak memory of one likelihood and gradient, data included", _memory_table),
    "growth": ("Large grids: likelihood and gradient", _growth_table),
    "exponents": ("Growth with the number of points", _exponents_table),
    "errors": ("Largest errors, relative to the largest result", _errors_table),
    "noise": ("Noise of each point, to a residual of 1e-8", _noise_table),
    "missing": ("Missing cells, to a residual of 1e-8", _missing_table),
    "determinants": ("Log-determinants by stochastic Lanczos quadrature", _determinants_table),
    "pde": ("Differential equations", _pde_table),
    "threads": ("Threads", _threads_table),
}


def heading(result: Row) -> list[str]:
    """Unit, machine and versions, in sentences."""
    return [
        *machine_lines(result),
        f"{result['rounds']} interleaved rounds in one process, two where a call lasts long. Ratios are taken inside",
        "a round: their median, and the band of the middle 80% of rounds. Verdicts use medians, but for NumPy's",
        "products, which may be the same BLAS calls: short is where the band excludes 1. A matrix product's rate is",
        "NumPy's own, of 1000x1000 matrices in the same rounds. Likelihoods: RBF kernels on [0, 1], gradients in each",
        "length scale and the noise. telamon uses that the axes are uniform; its dense form gets irregular ones.",
        "GridKernel runs without its Toeplitz option, with which it is slower. Memory is that of a process of its own,",
        "beyond what the libraries hold: resident, and what NumPy allocated, in vectors of N float64. GP-HM's numbers",
        "are those of its authors' logs, the better of two spectra.",
    ]


def text(result: Row) -> str:
    """The whole result for a terminal."""
    return report.text(result, heading(result), [TABLES[key] for key in SECTIONS])


def markdown(result: Row) -> str:
    """The same for the documentation."""
    return report.markdown("kron", result, heading(result), [TABLES[key] for key in SECTIONS])
