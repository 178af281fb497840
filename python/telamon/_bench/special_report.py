"""The must table of telamon.special's design judged by a result, and the result as text and Markdown."""

from __future__ import annotations

from . import report
from .report import Cells, Table, machine_lines, must_table, number
from .timing import Row

EPS = 2.0**-52
SECTIONS = ("must", "values", "others", "kappa", "threads", "errors")


def _ns(result: Row, label: str, name: str, dtype: str = "float64") -> float:
    want = (label, name, "telamon", dtype)
    found = (r for r in result["values"] if (r["set"], r["function"], r["who"], r["dtype"]) == want)
    return float(next(found)["median"])


def _over_scipy(result: Row, label: str, name: str) -> float | None:
    for r in result["values"]:
        if (r["set"], r["function"], r["who"], r["dtype"]) == (label, name, "SciPy", "float64"):
            return float(r["ratio"]["median"])
    return None


def _worst(result: Row, metric: str, functions: tuple[str, ...], dtype: str = "float64") -> float | None:
    rows = [r for r in result["errors"] if (r["metric"], r["dtype"]) == (metric, dtype)]
    return max((r["max"] for r in rows if r["function"] in functions), default=None)


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

    values = ("log_iv", "log_kv", "log_ive", "log_kve")
    first = ("log_iv_dv", "log_iv_dx", "log_kv_dv", "log_kv_dx", "iv_ratio", "iv_ratio_c", "kv_ratio")
    ask("float64 M2, whole grid", 2, _worst(result, "M2", values), "eps")
    ask("float64 M1 / max(1, w/512), whole grid", 4, _worst(result, "M1 / max(1, w/512)", values), "eps")
    ask("float32 M2, whole grid", 1, _worst(result, "M2", values, "float32"), "eps32")
    derivatives = _worst(result, "relative", first)
    ask("derivatives in v and x, ratios: relative", 1e-14, derivatives * EPS if derivatives is not None else None, "")
    nonfinite = sum(r["nonfinite"] for r in result["errors"]) if result["errors"] else None
    ask("non-finite where the truth is finite", 0, nonfinite, "results")
    ask("kappa from R / conditioning", 8, _worst(result, "relative / conditioning", ("iv_ratioinv",)), "eps")
    for label, limits, scipy in (("A", (15, 15), 40), ("B", (9, 9), None), ("S", (40, 60), 10)):
        for name, limit in zip(("log_iv", "log_kv"), limits, strict=True):
            ask(f"{name} on {label}", limit, _ns(result, label, name), "ns")
            if scipy and (over := _over_scipy(result, label, name)) is not None:
                ask(f"{name} on {label} over SciPy", scipy, over, "x", at_least=True)
    for name in ("log_iv", "log_kv"):
        for label in ("A", "B"):
            ask(f"{name}, float32, on {label}", 4, _ns(result, label, name, "float32"), "ns")
    for name in ("log_iv", "log_kv"):
        row = next(r for r in result["others"] if r["function"] == f"{name}_grad")
        ask(f"{name} with both derivatives / value, on A", 2, row["of_value"]["median"], "x")
    for r in result["threads"]:
        if r["n"] >= 100_000:
            ask(f"{r['function']}, {r['n']:,} elements, two threads", 1.8, r["speedup"]["median"], "x", at_least=True)
        elif r["n"] <= 100:
            # "Must not pay" needs a number: a tenth, which is above the noise of a 1 us call.
            item = f"{r['function']}, {r['n']} elements, one thread / two"
            ask(item, 0.9, r["speedup"]["median"], "x", at_least=True)
    return rows


def _band(ratio: Row | None) -> str:
    if ratio is None:
        return "-"
    return f"{number(ratio['median'])} ({number(ratio['low'])}-{number(ratio['high'])})"


def _values_table(result: Row) -> Cells:
    errors = {(r["set"], r["function"], r["who"]): r for r in result["set_errors"]}
    header = [
        "set, function",
        "implementation",
        "type",
        "ns min",
        "ns median",
        "telamon faster by",
        "M2, eps",
        "not finite",
    ]
    rows = []
    for r in result["values"]:
        error = errors.get((r["set"], r["function"], r["who"])) if r["dtype"] == "float64" else None
        share = f"{error['nonfinite'] / max(error['points'], 1):.0%}" if error else "-"
        where = f"{r['set']} {r['function']}"
        cells = [number(r["min"]), number(r["median"]), _band(r.get("ratio")), number(error and error["max"]), share]
        rows.append([where, r["who"], r["dtype"], *cells])
    return header, rows


def _others_table(result: Row) -> Cells:
    header = ["function, on A", "ns min", "ns median", "of log_iv or log_kv"]
    rows = result["others"]
    return header, [[r["function"], number(r["min"]), number(r["median"]), _band(r["of_value"])] for r in rows]


def _kappa_table(result: Row) -> Cells:
    header = ["kappa from R, d = 2..32768", "ns min", "ns median", "telamon faster by"]
    return header, [
        [r["who"], number(r["min"]), number(r["median"]), _band(r["ratio"]) if r["who"] != "telamon" else "-"]
        for r in result["kappa"]
    ]


def _threads_table(result: Row) -> Cells:
    header = ["function, set A", "elements", "ns, 1 thread", "ns, 2 threads", "speed-up"]
    return header, [
        [r["function"], f"{r['n']:,}", number(r["ns_1"]), number(r["ns_2"]), _band(r["speedup"])]
        for r in result["threads"]
    ]


def _errors_table(result: Row) -> Cells:
    header = ["function", "type", "metric", "max, eps", "at v", "at x", "points", "non-finite"]
    rows = []
    for r in result["errors"]:
        where = [f"{r[key]:.6g}" if key in r else "-" for key in ("v", "x")]
        counts = [str(r["points"]), str(r["nonfinite"])]
        rows.append([r["function"], r["dtype"], r["metric"], number(r["max"]), *where, *counts])
    return header, rows


TABLES: dict[str, Table] = {
    "must": ("What the design asks", must_table),
    "values": ("Nanoseconds an element, and errors, beside other libraries", _values_table),
    "others": ("The other functions", _others_table),
    "kappa": ("Concentration from the mean resultant length", _kappa_table),
    "threads": ("Threads", _threads_table),
    "errors": ("Largest errors over the stress grid", _errors_table),
}


def heading(result: Row) -> list[str]:
    """Unit, machine and versions, in sentences."""
    return [
        *machine_lines(result),
        f"{result['rounds']} interleaved rounds in one process. Ratios are taken inside a round: their median, and",
        "the band of the middle 80% of rounds. Verdicts use medians.",
        "Sets: v and x uniform in A = [0, 150], S = [0, 20], B = [0, 10^4].",
        "M2 = |error| / max(|L|, w), w = sqrt(v^2 + x^2), against Arb; eps is the type's own.",
    ]


def text(result: Row) -> str:
    """The whole result for a terminal."""
    return report.text(result, heading(result), [TABLES[key] for key in SECTIONS])


def markdown(result: Row) -> str:
    """The same for the documentation."""
    return report.markdown("special", result, heading(result), [TABLES[key] for key in SECTIONS])
