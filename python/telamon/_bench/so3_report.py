"""The must table of telamon.so3's design judged by a result, and the result as text and Markdown."""

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
    "edges",
    "methods",
    "parity",
    "others",
    "growth",
    "exponents",
    "threads",
    "construction",
    "errors",
    "equivariance",
)
GEMM = "three GEMMs"
FORWARD = {1: 15, 2: 40, 3: 60, 4: 40, 6: 100, 8: 130, 10: 200}  # times faster than e3nn uuu
TRAINING = {1: 15, 2: 40, 3: 50, 4: 40, 6: 60, 8: 100}


def exponents(result: Row) -> list[Row]:
    """Fit log time = p log L + const to medians: telamon from L = 8, the peers from L = 4 to where they were asked."""

    def fit(who: str, rows: Iterable[Row]) -> Row | None:
        points = sorted((r["l"], r["median"]) for r in rows)
        if len(points) < 3:
            return None
        l, ns = np.log(np.array(points)).T
        return {"who": who, "from": points[0][0], "to": points[-1][0], "exponent": float(np.polyfit(l, ns, 1)[0])}

    found = [fit("telamon", result["growth"])]
    for who in dict.fromkeys(r["who"] for r in result["values"]):
        rows = [r for r in result["values"] if (r["who"], r["pass"]) == (who, "forward") and r["l"] >= 4]
        if not who.startswith("telamon"):
            found.append(fit(who, rows))
    return [f for f in found if f]


def _ratio(result: Row, who: str, what: str, l: int) -> float | None:
    for r in result["values"]:
        if (r["who"], r["pass"], r["l"]) == (who, what, l):
            return float(r["ratio"]["median"])
    return None


def _worst(rows: Iterable[Row]) -> float | None:
    return max((r["max"] for r in rows), default=None)


def must(result: Row) -> list[Row]:
    """Every "must" row of the design: what it asks, what was measured (medians), and PASS, short or unknown."""
    rows = []

    def ask(item: str, limit: float, got: float | None, unit: str, at_least: bool = False) -> None:
        if got is None or got != got:
            verdict = "unknown"
        else:
            verdict = "PASS" if (got >= limit if at_least else got <= limit) else "short"
        sign = ">=" if at_least else "<="
        rows.append({"item": item, "must": f"{sign} {limit:g} {unit}", "got": got, "unit": unit, "verdict": verdict})

    errors = result["errors"]
    doubles = [r for r in errors if r["dtype"] == "float64"]
    exact = _worst(r for r in doubles if r["truth"] == "exact 3j")
    ask("float64 against exact 3j couplings, L <= 8", 1e-12, exact, "max|z|")
    dense = _worst(r for r in doubles if r["truth"] == "dense grid")
    ask("float64 against a dense grid, L <= 32", 1e-12, dense, "max|z|")
    single = _worst(r for r in errors if r["dtype"] == "float32")
    ask("float32, L <= 64", 1e-6, single, "max|z|")
    for dtype, limit in (("float64", 1e-11), ("float32", 5e-6)):
        got = _worst(r for r in result["equivariance"] if r["dtype"] == dtype)
        ask(f"equivariance under rotations and inversion, {dtype}", limit, got, "max|z|")
    for what, limits in (("forward", FORWARD), ("training", TRAINING)):
        for l, limit in limits.items():
            ask(f"{what}, e3nn uuu over telamon, L = {l}", limit, _ratio(result, "e3nn uuu", what, l), "x", True)
    ask(f"forward, {GEMM} over telamon, L = 1", 3, _ratio(result, GEMM, "forward", 1), "x", True)
    for what, limit, lowest in (("forward", 4, 2), ("training", 3, 1)):
        ratios = {l: r for l in range(lowest, 13) if (r := _ratio(result, GEMM, what, l)) is not None}
        at = min(ratios, key=ratios.__getitem__, default=None)
        item = f"{what}, {GEMM} over telamon, least of L = {lowest}..12" + (f" (at {at})" if at else "")
        ask(item, limit, ratios[at] if at else None, "x", True)
    complete = max((r["ratio"]["median"] for r in result["parity"]), default=None)
    ask("complete product over the even one, most of L = 1..6", 2.6, complete, "x")
    slope = next((r["exponent"] for r in result["exponents"] if r["who"] == "telamon"), None)
    ask("exponent of L, fitted over L = 8..64", 3.2, slope, "")
    first = result["construction"][0]
    ask("first call beyond the second, L = 10", 50, first["median"], "ms")
    # What threads keep as scratch is not an allocation that grows; a page or two of noise is the kernel's.
    ask("memory beyond the result, L = 4, 20,000 x 32", 1, first["MiB"], "MiB")
    for r in result["threads"]:
        item = f"efficiency of two threads, L = {r['l']}, {r['samples']:,} x {r['channels']}"
        ask(item, 0.8, r["speedup"]["median"] / 2, "", True)
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def _band(ratio: Row | None) -> str:
    if ratio is None:
        return "-"
    return f"{number(ratio['median'])} ({number(ratio['low'])}-{number(ratio['high'])})"


def _times(row: Row | None) -> str:
    return "-" if row is None else f"{number(row['min'])} / {number(row['median'])}"


def _pivot(rows: list[Row], first: str, label: Callable[[Row], str], cell: Callable[[Row | None], str]) -> Cells:
    """One line for each label, one column for each implementation."""
    names = list(dict.fromkeys(r["who"] for r in rows))
    lines: dict[str, dict[str, Row]] = {}
    for r in rows:
        lines.setdefault(label(r), {})[r["who"]] = r
    return [first, *names], [[key, *(cell(line.get(name)) for name in names)] for key, line in lines.items()]


def _by_pass(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda r: str(r["pass"]))  # stable: forward, then training


def _values_table(result: Row) -> Cells:
    return _pivot(_by_pass(result["values"]), "pass, L", lambda r: f"{r['pass']} {r['l']}", _times)


def _ratios_table(result: Row) -> Cells:
    rows = [r for r in _by_pass(result["values"]) if "ratio" in r]
    return _pivot(rows, "pass, L", lambda r: f"{r['pass']} {r['l']}", lambda r: _band(r["ratio"] if r else None))


def _edges_table(result: Row) -> Cells:
    header = ["edges, pass, L", "implementation", "ns min", "ns median", "telamon faster by"]
    rows = []
    for r in result["edges"]:
        cells = [number(r["min"]), number(r["median"]), _band(r.get("ratio"))]
        rows.append([f"{r['samples']:,} {r['pass']} {r['l']}", r["who"], *cells])
    return header, rows


def _variants_table(section: str, first: str) -> Callable[[Row], Cells]:
    def cell(row: Row | None) -> str:
        return "-" if row is None else f"{_times(row)} ({number(row['ratio']['median'])}x)"

    return lambda result: _pivot(result[section], first, lambda r: str(r["function"]), cell)


def _growth_table(result: Row) -> Cells:
    header = ["L", "ns min", "ns median", "ns median / L^3"]
    return header, [
        [str(r["l"]), number(r["min"]), number(r["median"]), number(r["median"] / r["l"] ** 3)]
        for r in result["growth"]
    ]


def _exponents_table(result: Row) -> Cells:
    header = ["time grows as L to the", "exponent", "over L"]
    return header, [[r["who"], f"{r['exponent']:.2f}", f"{r['from']}..{r['to']}"] for r in result["exponents"]]


def _threads_table(result: Row) -> Cells:
    header = ["L", "samples x channels", "ns, 1 thread", "ns, 2 threads", "speed-up"]
    rows = []
    for r in result["threads"]:
        size = f"{r['samples']:,} x {r['channels']}"
        rows.append([str(r["l"]), size, number(r["ns_1"]), number(r["ns_2"]), _band(r["speedup"])])
    return header, rows


def _construction_table(result: Row) -> Cells:
    header = ["first use at L = 10", "ms"]
    rows = [["telamon, first call beyond the second, median", number(result["construction"][0]["median"])]]
    for r in result["values"]:
        if not r["who"].startswith("telamon") and r["pass"] == "forward" and r["l"] == 10:
            rows.append([f"{r['who']}, construction", number(r["construction"] * 1e3)])
    return header, rows


def _errors_table(result: Row) -> Cells:
    rows = [{**r, "who": r["method"]} for r in result["errors"]]
    label = "{truth}, {dtype}, {l}".format_map
    return _pivot(rows, "against, type, L", label, lambda r: number(r["max"] if r else None))


def _equivariance_table(result: Row) -> Cells:
    header = ["type", "L", "difference / max|z|"]
    return header, [[r["dtype"], str(r["l"]), number(r["max"])] for r in result["equivariance"]]


TABLES: dict[str, Table] = {
    "must": ("What the design asks", must_table),
    "values": ("Nanoseconds a sample and channel, minimum / median", _values_table),
    "ratios": ("telamon faster by", _ratios_table),
    "edges": ("As many edges as a structure has", _edges_table),
    "methods": ("Methods (over auto)", _variants_table("methods", "128x32")),
    "parity": ("Complete and even product", _variants_table("parity", "even and odd paths")),
    "others": ("Fused functions", _variants_table("others", "function, ratio to step by step")),
    "growth": ("High degrees", _growth_table),
    "exponents": ("Growth with the degree, forward", _exponents_table),
    "threads": ("Threads", _threads_table),
    "construction": ("Construction", _construction_table),
    "errors": ("Errors", _errors_table),
    "equivariance": ("Rotating before and after", _equivariance_table),
}


def heading(result: Row) -> list[str]:
    """Unit, machine and versions, in sentences."""
    return [
        *machine_lines(result),
        f"{result['rounds']} interleaved rounds in one process, two where a call lasts over a second. Ratios are taken",
        "inside a round: their median, and the band of the middle 80% of rounds. Verdicts use medians.",
        "float32, factors and result of degrees 0..L. training: the product and both gradients, through autograd where",
        "torch is. The products that keep paths apart (e3nn full, e3nn-jax CG) hold more than the others do.",
    ]


def text(result: Row) -> str:
    """The whole result for a terminal."""
    return report.text(result, heading(result), [TABLES[key] for key in SECTIONS])


def markdown(result: Row) -> str:
    """The same for the documentation."""
    return report.markdown("so3", result, heading(result), [TABLES[key] for key in SECTIONS])
