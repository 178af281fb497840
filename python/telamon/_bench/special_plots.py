"""Two pictures over the (v, x) plane, telamon beside SciPy: the error of log I and log K, and the time they take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from telamon import special

from . import peers, timing

NAMES = {"log_iv": r"$\log I_v(x)$", "log_kv": r"$\log K_v(x)$"}
EPS = 2.0**-52
Functions = dict[str, dict[str, Callable[..., Any]]]  # [who][name]
Maps = dict[Any, peers.Array]  # v, x and (who, name)


def _axes(points: int, decades: tuple[float, float]) -> tuple[peers.Array, ...]:
    """Centres of log-spaced cells, slightly off round numbers, as a mesh of v (rows) and x (columns)."""
    edges = np.linspace(*decades, points + 1)
    centres = 10.0 ** (0.5 * (edges[1:] + edges[:-1]) + 0.011)
    return np.meshgrid(centres, centres, indexing="ij")


def error_maps(functions: Functions, points: int, decades: tuple[float, float]) -> Maps | None:
    """M2 in eps on a grid: {(who, name): array}, nan where the result is not finite."""
    try:
        from telamon.reference import special as reference

        reference.log_iv(1.0, 1.0)
    except ImportError:
        print("telamon bench: the error plot needs Arb: pip install python-flint", file=sys.stderr)
        return None
    v, x = _axes(points, decades)
    maps: Maps = {"v": v, "x": x}
    for name in NAMES:
        hi, lo = getattr(reference, name)(v, x, pair=True)
        scale = np.maximum(np.abs(hi), np.hypot(v, x))
        for who, f in functions.items():
            with np.errstate(all="ignore"):
                error = np.abs((f[name](v, x) - hi) - lo) / scale / EPS
            maps[who, name] = np.where(np.isfinite(error), error, np.nan)
    return maps


def speed_maps(functions: Functions, cells: int, decades: tuple[float, float], rounds: int) -> Maps:
    """Nanoseconds an element, the median over rounds, with all elements of a timing inside one cell."""
    v, x = _axes(cells, decades)
    maps: Maps = {"v": v, "x": x, **{(who, name): np.empty(v.shape) for who in functions for name in NAMES}}
    width = (decades[1] - decades[0]) / cells
    jitter = 10.0 ** (np.random.default_rng(4).uniform(-width / 2, width / 2, (2, 4096)))
    for index in np.ndindex(v.shape):

        def task(f: Callable[..., Any], size: int, index: tuple[int, ...] = index) -> timing.Task:
            def make(n: int) -> Callable[[], object]:
                vs, xs = v[index] * jitter[0, :n], x[index] * jitter[1, :n]
                return lambda: f(vs, xs)

            return timing.Task(make, max_n=size, min_n=64)

        for name in NAMES:
            tasks = {who: task(f[name], 4096) for who, f in functions.items()}
            with np.errstate(all="ignore"):
                times = timing.interleave(tasks, rounds, seconds=1e-4)
            for who, t in times.items():
                maps[who, name][index] = t["median"]
    return maps


def _panels(maps: Maps, functions: Functions, label: str, title: str, limits: tuple[float, float], path: Path) -> None:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(functions) + 1, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="0.8")
    centres = maps["x"][0]
    edges = np.append(centres, centres[-1] ** 2 / centres[-2]) * np.sqrt(centres[0] / centres[1])
    axes = figure.subplots(len(NAMES), len(functions), sharex=True, sharey=True, squeeze=False)
    for row, name in enumerate(NAMES):
        for column, who in enumerate(functions):
            panel = axes[row][column]
            values = np.ma.masked_invalid(np.clip(maps[who, name], *limits))
            norm = LogNorm(*limits)
            picture = panel.pcolormesh(edges, edges, values, norm=norm, cmap=colours)
            panel.set(xscale="log", yscale="log", title=f"{NAMES[name]}, {who}")
            panel.set_xlabel("x" if row == len(NAMES) - 1 else "")
            panel.set_ylabel("v" if column == 0 else "")
            panel.set_facecolor("0.8")
    figure.colorbar(picture, ax=axes, label=label, shrink=0.8)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    print(f"telamon bench: wrote {path}", file=sys.stderr)


def draw(folder: Path, stem: str, quick: bool, scipy: peers.Peer | None) -> None:
    """Write ``<stem>-error.png`` and ``<stem>-speed.png``."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("telamon bench: no plots without matplotlib: pip install matplotlib", file=sys.stderr)
        return
    functions: Functions = {"telamon": {name: getattr(special, name) for name in NAMES}}
    if scipy is not None:
        functions[f"SciPy {scipy.version}"] = {name: peers.returning(scipy.functions[name]) for name in NAMES}
    maps = error_maps(functions, 24 if quick else 96, (-4, 6))
    if maps is not None:
        title = "Error over max(|L|, w), in eps = 2.2e-16; grey: not finite"
        _panels(maps, functions, "eps", title, (0.01, 1e4), folder / f"{stem}-error.png")
    maps = speed_maps(functions, 8 if quick else 32, (-4, 6), 1 if quick else 5)
    title = "Time of one element, one thread"
    _panels(maps, functions, "ns", title, (3, 3000), folder / f"{stem}-speed.png")
