"""Two pictures: the rate of products as a fraction of a matrix product's, and how likelihoods grow with the grid."""

from __future__ import annotations

import sys
from pathlib import Path

from .timing import Row


def draw(result: Row, folder: Path, stem: str) -> None:
    """Write ``<stem>-rate.png`` and ``<stem>-growth.png``."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print("telamon bench: no plots without matplotlib: pip install matplotlib", file=sys.stderr)
        return
    folder.mkdir(parents=True, exist_ok=True)

    def save(figure: Figure, name: str) -> None:
        path = folder / f"{stem}-{name}.png"
        figure.savefig(path, dpi=110, metadata={"Software": None})
        print(f"telamon bench: wrote {path}", file=sys.stderr)

    rows = [r for r in result["values"] if "of_gemm" in r]
    names = list(dict.fromkeys(r["who"] for r in rows))
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, dtype in zip(figure.subplots(1, 2, sharey=True), ("float64", "float32"), strict=True):
        cases = list(dict.fromkeys(r["set"] for r in rows if r["dtype"] == dtype))
        for i, who in enumerate(names):
            share = {r["set"]: r["of_gemm"]["median"] for r in rows if (r["who"], r["dtype"]) == (who, dtype)}
            left = [j + (i - (len(names) - 1) / 2) * 0.8 / len(names) for j, case in enumerate(cases) if case in share]
            heights = [100 * share[case] for case in cases if case in share]
            panel.bar(left, heights, 0.8 / len(names), label=who, color=f"C{i}")
        panel.set_xticks(range(len(cases)), cases, fontsize="small")
        panel.set(title=f"product, {dtype}, one thread", ylabel="% of a matrix product" if dtype == "float64" else "")
        panel.grid(axis="y", alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    save(figure, "rate")

    growth = [(r["points"], r["seconds"]) for r in result["growth"]]
    if not growth:
        return
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    panel.plot(*zip(*growth, strict=True), "o-", linewidth=2.5, label="telamon, n^3")
    others = [r for r in result["likelihood"] if r["kind"] == "space"]
    points = result["growth"][0]["points"]
    for i, r in enumerate(others):
        if not r["who"].startswith("telamon"):
            panel.plot([points], [r["seconds"]], "s", color=f"C{i}", label=r["who"])
    first, seconds = growth[0]
    line = [(n, seconds * (n / first) ** (4 / 3)) for n, _ in growth]
    panel.plot(*zip(*line, strict=True), "--", color="0.5", label="N^(4/3)")
    panel.set(xscale="log", yscale="log", xlabel="points of the grid", ylabel="s", title="likelihood and gradient")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
    save(figure, "growth")
