"""Errors against Arb: over the stress grid that the tests store, or over a smaller one made here with python-flint.

The metrics of the design, with L the true value, w = sqrt(v^2 + x^2) and eps the spacing of the type at 1:
M1 = |error| / max(1, |L|) and M2 = |error| / max(|L|, w). Derivatives and ratios are judged by relative error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from telamon import special

from .timing import Row

VALUES = ("log_iv", "log_kv", "log_ive", "log_kve")
FIRST = ("log_iv_dv", "log_iv_dx", "log_kv_dv", "log_kv_dx")
RATIOS = ("iv_ratio", "iv_ratio_c", "kv_ratio")
SECOND = ("log_iv_dxx", "log_kv_dxx")
SETS = {"A": 150.0, "S": 20.0, "B": 1e4}  # v and x uniform in [0, this]

Array = NDArray[Any]
Function = Callable[..., Any]
Table = dict[str, Array]
Metric = Callable[[Table, str], Array]  # what an error is measured against


def _stored(folder: str | os.PathLike[str] | None) -> dict[str, Table] | None:
    """Read tests/data of a checkout: the one that is named, the working directory's, or the one around this file."""
    here = Path(__file__).resolve()
    around = [parent / "tests" / "data" for parent in (Path.cwd(), *here.parents[3:4])]
    for candidate in [Path(folder)] if folder else around:
        files = {kind: candidate / f"special_{kind}.npz" for kind in ("values", "derivatives", "inverse")}
        if all(f.exists() for f in files.values()):
            return {kind: dict(np.load(f)) for kind, f in files.items()}
    return None


def _points(rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
    """n points in each of: the three sets, log-polar over all magnitudes, the middle of the plane, region borders."""
    border = rng.choice([1, 2, 4, 9, 16, 18, 20, 25, 35, 50, 100, 300, 1000], n)
    radii = [
        10.0 ** rng.uniform(-300, 300, n),
        10.0 ** rng.uniform(-6, 6, n),
        border * (1 + rng.integers(-2, 3, n) * 2e-16),
    ]
    angles = [rng.uniform(0, np.pi / 2, n) for _ in radii]
    orders = [rng.uniform(0, high, n) for high in SETS.values()]
    orders += [w * np.sin(a) for w, a in zip(radii, angles, strict=True)]
    orders += [rng.integers(0, 60, n) / 2.0]  # integers and half-integers
    arguments = [rng.uniform(0, high, n) for high in SETS.values()]
    arguments += [w * np.cos(a) for w, a in zip(radii, angles, strict=True)]
    arguments += [rng.uniform(0.01, 30, n)]
    v, x, label = np.concatenate(orders), np.concatenate(arguments), np.repeat(np.arange(7), n)
    half = rng.random(len(v)) < 0.5  # float32 is judged on numbers that it has
    v32, x32 = (np.clip(a, 1e-37, 1e38).astype(np.float32) for a in (v, x))
    return np.where(half, v32, v), np.where(half, x32, x), label


def _computed(n: int) -> dict[str, Table] | None:
    try:
        from telamon.reference import special as reference

        reference.log_iv(1.0, 1.0)
    except ImportError:
        return None
    rng = np.random.default_rng(2)
    names = np.array([*SETS, "polar", "middle", "borders", "halves"])
    v, x, label = _points(rng, n)
    tables = {}
    for kind, functions in (("values", VALUES), ("derivatives", FIRST + RATIOS + SECOND)):
        table = tables[kind] = {"v": v, "x": x, "set": label, "sets": names}
        for f in functions:
            table[f], table[f + "_lo"] = getattr(reference, f)(v, x, pair=True)
    v, r = np.exp(rng.uniform(0, 10, n)), rng.uniform(1e-6, 1 - 1e-6, n)
    x, lo = reference.iv_ratioinv(v, r, pair=True)
    tables["inverse"] = {"v": v, "x": r, "iv_ratioinv": x, "iv_ratioinv_lo": lo, "scale": _amos_conditioning(v, x)}
    return tables


def truth(folder: str | os.PathLike[str] | None, n: int) -> dict[str, Table] | None:
    """Stored tables if there are any, else n points a region computed now, else None with a line that says why."""
    tables = _stored(folder) or _computed(n)
    if tables is None:
        print(
            "telamon bench: errors are not measured: run from a checkout (tests/data) or pip install python-flint",
            file=sys.stderr,
        )
    return tables


def _error(got: Array, table: Table, name: str) -> Array:
    """|got - truth|, with the truth's second double."""
    return np.asarray(np.abs((got.astype(np.float64) - table[name]) - table[name + "_lo"]))


def m1(table: Table, name: str) -> Array:
    """max(1, |L|), times the allowance max(1, w/512) that half an ulp in x makes necessary."""
    return np.asarray(np.maximum(1, np.abs(table[name])) * np.maximum(1, np.hypot(table["v"], table["x"]) / 512))


def m2(table: Table, name: str) -> Array:
    """max(|L|, w)."""
    return np.asarray(np.maximum(np.abs(table[name]), np.hypot(table["v"], table["x"])))


def relative(table: Table, name: str) -> Array:
    """|truth|, or where the truth passes zero the terms that meet there, as the tests have it."""
    v, x, scale = table["v"], table["x"], np.abs(table[name])
    if name == "iv_ratio_c":  # I_v / I_{v-1} = 1 somewhere, for v < 1/2; an ulp in x moves it by x A'(x)
        ratio = 1 - table[name]
        slope = np.abs(x * (1 - ratio * ratio) - (2 * v - 1) * ratio)
        scale = np.where(v < 0.5, np.fmax(scale, np.minimum(slope, 1)), scale)
    if name == "log_iv_dxx":  # changes its sign between x << v and x >> v^2
        w = np.hypot(v, x)
        scale = np.maximum(scale, (v / x) * ((v / w + 1 / (1 + w)) / x))
    return np.asarray(scale)


def conditioned(table: Table, name: str) -> Array:
    """|kappa| times the conditioning max(1, r / (x A'(x))) of kappa = iv_ratioinv(v, r)."""
    return np.asarray(np.abs(table[name]) * np.maximum(1, table["scale"]))


def _amos_conditioning(v: Array, x: Array) -> Array:
    """Approximate r / (x A'(x)) for v >= 1 by the derivative of Amos's bound x / (a + s), s = sqrt(x^2 + b^2)."""
    a, b = v - 0.5, v + 0.5
    s = np.hypot(x, b)
    return np.asarray(s * (a + s) / (s * a + b * b))


def worst(
    function: Function,
    table: Table,
    name: str,
    metric: Metric,
    dtype: DTypeLike = np.float64,
    keep: Array | bool = True,
) -> Row:
    """Evaluate on the table's points (those that are numbers of ``dtype``) and reduce.

    Returns
    -------
    dict with ``max`` (in units of eps of ``dtype``), ``v`` and ``x`` of the worst point, ``points``, and ``nonfinite``:
    how many results are not finite though the truth fits ``dtype``.
    """
    limits = np.finfo(np.dtype(dtype).name)
    with np.errstate(all="ignore"):
        v, x = table["v"].astype(dtype), table["x"].astype(dtype)
        fits = np.abs(table[name]) <= limits.max
        use = keep & fits & (v == table["v"]) & (x == table["x"])
        part = {key: column[use] for key, column in table.items() if key != "sets"}
        got = np.asarray(function(v[use], x[use]))
        finite = np.isfinite(got)
        # Subnormal results have fewer digits: there an error counts against the smallest normal number.
        scale = np.maximum(metric(part, name), limits.smallest_normal)
        errors = np.where(finite, _error(got, part, name) / scale, -1) / limits.eps
    if not len(errors):
        return {"max": float("nan"), "points": 0, "nonfinite": 0}
    i = int(np.argmax(errors))
    return {
        "max": float(errors[i]) if finite.any() else float("nan"),
        "v": float(part["v"][i]),
        "x": float(part["x"][i]),
        "points": len(errors),
        "nonfinite": int((~finite).sum()),
    }


def by_set(functions: dict[str, Function], tables: dict[str, Table], name: str, label: str) -> dict[str, Row]:
    """M2 of several implementations of ``name`` on one of the sets A, S, B."""
    table = tables["values"]
    keep = table["set"] == list(table["sets"]).index(label)
    return {who: worst(f, table, name, m2, keep=keep) for who, f in functions.items()}


def summary(tables: dict[str, Table]) -> list[Row]:
    """Worst errors of every function over the whole grid, one row a function, type and metric."""
    rows = []

    def add(kind: str, names: tuple[str, ...], metric: Metric, dtype: DTypeLike, title: str) -> None:
        for name in names:
            got = worst(getattr(special, name), tables[kind], name, metric, dtype)
            rows.append({"function": name, "dtype": np.dtype(dtype).name, "metric": title, **got})

    for dtype in (np.float64, np.float32):
        add("values", VALUES, m2, dtype, "M2")
    add("values", VALUES, m1, np.float64, "M1 / max(1, w/512)")
    add("derivatives", FIRST + RATIOS + SECOND, relative, np.float64, "relative")
    add("inverse", ("iv_ratioinv",), conditioned, np.float64, "relative / conditioning")
    return rows
