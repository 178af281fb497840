"""Two pictures: time over the degree for every implementation, and how telamon's time grows up to degree 64."""

from __future__ import annotations

import sys
from pathlib import Path

from .timing import Row


def draw(result: Row, folder: Path, stem: str) -> None:
    """Write ``<stem>-time.png`` and ``<stem>-growth.png``."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import NullFormatter, ScalarFormatter
    except ImportError:
        print("telamon bench: no plots without matplotlib: pip install matplotlib", file=sys.stderr)
        return
    folder.mkdir(parents=True, exist_ok=True)

    def save(figure: Figure, name: str) -> None:
        path = folder / f"{stem}-{name}.png"
        figure.savefig(path, dpi=110, metadata={"Software": None})
        print(f"telamon bench: wrote {path}", file=sys.stderr)

    def degrees(panel: object, ticks: list[int]) -> None:
        panel.set(xscale="log", yscale="log", xlabel="L", xticks=ticks)  # type: ignore[attr-defined]
        panel.xaxis.set_major_formatter(ScalarFormatter())  # type: ignore[attr-defined]
        panel.xaxis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]
        panel.grid(alpha=0.3)  # type: ignore[attr-defined]

    rows = result["values"]
    names = list(dict.fromkeys(r["who"] for r in rows))
    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, what in zip(figure.subplots(1, 2, sharey=True), ("forward", "training"), strict=True):
        for i, who in enumerate(names):
            points = [(r["l"], r["median"]) for r in rows if (r["who"], r["pass"]) == (who, what)]
            if points:
                ours = who.startswith("telamon")
                width, marker = (2.5, "o") if ours else (1.2, ".")
                panel.plot(*zip(*points, strict=True), label=who, linewidth=width, marker=marker, color=f"C{i}")
        degrees(panel, sorted({r["l"] for r in rows}))
        size = rows[0]["set"].replace("x", " samples x ") + " channels"
        title = "product" if what == "forward" else "product and both gradients"
        panel.set(title=f"{title}, {size}", ylabel="ns a sample and channel" if what == "forward" else "")
    figure.axes[0].legend(fontsize="small")
    save(figure, "time")

    growth = [(r["l"], r["median"]) for r in result["growth"]]
    slope = next((e["exponent"] for e in result["exponents"] if e["who"] == "telamon"), None)
    figure = Figure(figsize=(6, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    panel.plot(*zip(*growth, strict=True), "o-", label="telamon" + (f", fitted L^{slope:.2f}" if slope else ""))
    first, time = growth[0]
    for power, dashes in ((3, "--"), (6, ":")):
        line = [(l, time * (l / first) ** power) for l, _ in growth]
        panel.plot(*zip(*line, strict=True), dashes, color="0.5", label=f"L^{power}")
    degrees(panel, [l for l, _ in growth])
    panel.set(title="product at high degrees", ylabel="ns a sample and channel")
    panel.legend(fontsize="small")
    save(figure, "growth")
