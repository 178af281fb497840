"""What came of quantizing a model, as JSON, Markdown and a plot; and the progress of it."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ._safetensors import write_atomically

__all__ = ["LayerReport", "ModelReport", "Progress"]


@dataclass
class LayerReport:
    """One layer. Objectives are those of the stored tensors; None where there was no calibration.

    trace: the objective after each step over the first. effective_samples: (sum s)^2/sum s^2 of the guiding weights,
    or the number of tokens. seconds: 0 where the layer was resumed.
    """

    name: str
    shape: tuple[int, int]
    bits: int
    bits_per_weight: float
    nbytes: int
    objective: float | None = None
    relative_objective: float | None = None
    trace: list[float] = field(default_factory=list)
    tokens: int = 0
    effective_samples: float | None = None
    seconds: float = 0.0
    resumed: bool = False


@dataclass
class ModelReport:
    """What `quantize_model` returns.

    Attributes
    ----------
    settings : dict
        What was asked for.
    fingerprint : str
        SHA-256 of weights, tokens and settings.
    layers : list of LayerReport
    perplexity_before, perplexity_after : dict of str to float
        Of each held-out text; empty where none was given.
    nbytes, nbytes_before : int
        Of all tensors of the model, tied ones counted once.
    seconds : dict of str to float
        "gradients", "hessians", "layers", "perplexity" and "total".
    notes : list of str
        What a user should know: weights that were tied or shared, layers that saw no token.
    """

    settings: dict[str, Any]
    fingerprint: str
    layers: list[LayerReport] = field(default_factory=list)
    perplexity_before: dict[str, float] = field(default_factory=dict)
    perplexity_after: dict[str, float] = field(default_factory=dict)
    nbytes: int = 0
    nbytes_before: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def bits_per_weight(self) -> float:
        """Of the quantized layers, codebooks included."""
        weights = sum(layer.shape[0] * layer.shape[1] for layer in self.layers)
        return 8 * sum(layer.nbytes for layer in self.layers) / weights if weights else math.nan

    @property
    def relative_objective(self) -> float:
        """Geometric mean over layers that have one."""
        values = [layer.relative_objective for layer in self.layers if layer.relative_objective]
        return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = {"bits_per_weight": self.bits_per_weight, "relative_objective": self.relative_objective}
        return {**{k: None if math.isnan(v) else v for k, v in values.items()}, **asdict(self)}

    def to_markdown(self) -> str:
        """Two tables: the model, and its layers."""
        lines = ["# Quantized by telamon", "", "| | before | after |", "| --- | --- | --- |"]
        lines.append(f"| size, MB | {self.nbytes_before / 1e6:.1f} | {self.nbytes / 1e6:.1f} |")
        for name, before in self.perplexity_before.items():
            after = self.perplexity_after.get(name)
            lines.append(f"| perplexity, {name} | {before:.3f} | {'' if after is None else f'{after:.3f}'} |")
        lines += ["", f"{len(self.layers)} layers, {self.bits_per_weight:.3f} bits a weight with codebooks."]
        if not math.isnan(self.relative_objective):
            lines[-1] += f" Geometric mean of the relative objectives: {self.relative_objective:.3e}."
        lines += [f"Settings: `{json.dumps(self.settings, default=str)}`.", *self.notes, ""]
        lines += ["Seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in self.seconds.items()) + ".", ""]
        lines.append("| layer | shape | bits | relative objective | fall from the start | effective samples | s |")
        lines.append("| --- | --- | --- | --- | --- | --- | --- |")
        for layer in self.layers:
            relative = "" if layer.relative_objective is None else f"{layer.relative_objective:.3e}"
            fall = f"{layer.trace[-1]:.3f}" if layer.trace else ""
            samples = "" if layer.effective_samples is None else f"{layer.effective_samples:.0f}"
            seconds = "resumed" if layer.resumed else f"{layer.seconds:.2f}"
            shape = f"{layer.shape[0]}x{layer.shape[1]}"
            lines.append(f"| {layer.name} | {shape} | {layer.bits} | {relative} | {fall} | {samples} | {seconds} |")
        return "\n".join(lines) + "\n"

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write quantize_report.json and quantize_report.md."""
        text = json.dumps(self.to_dict(), indent=1, default=str) + "\n"
        write_atomically(Path(folder) / "quantize_report.json", [text.encode()])
        write_atomically(Path(folder) / "quantize_report.md", [self.to_markdown().encode()])

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the relative objective of each layer, in the model's order, a line a kind of layer. Needs matplotlib."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("telamon.quant: the plot needs matplotlib; pip install matplotlib") from None
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        kinds: dict[str, list[float]] = {}
        for layer in self.layers:
            if layer.relative_objective:
                kinds.setdefault(layer.name.rpartition(".")[2], []).append(layer.relative_objective)
        for kind, values in kinds.items():
            axes.semilogy(range(len(values)), values, marker=".", label=kind)
        axes.set(xlabel="block", ylabel="relative objective", title=f"{self.bits_per_weight:.2f} bits a weight")
        if kinds:
            axes.legend(ncols=2, fontsize="small")
        figure.savefig(path, dpi=150)


class Progress:
    """One line with the time that is left, rewritten on a terminal and otherwise printed every ten seconds."""

    def __init__(self, show: bool, stream: TextIO | None = None) -> None:
        self.show = show
        self.stream = sys.stderr if stream is None else stream
        self._last, self._width = -math.inf, 0

    def phase(self, name: str, steps: int) -> Step:
        """The counter of one phase of so many steps."""
        return Step(self, name, steps)

    def line(self, text: str, last: bool) -> None:
        """Show a text; what ends a phase is always shown."""
        now = time.monotonic()
        terminal = self.stream.isatty()
        if not self.show or (not last and now - self._last < (0.1 if terminal else 10)):
            return
        self._last = now
        if terminal:
            self.stream.write("\r" + text.ljust(self._width) + ("\n" if last else ""))
            self._width = 0 if last else len(text)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()


class Step:
    """Called with the number of steps done, and what was done."""

    def __init__(self, progress: Progress, name: str, steps: int) -> None:
        self.progress, self.name, self.steps = progress, name, steps
        self.start = time.monotonic()

    def __call__(self, done: int, what: str = "") -> None:
        passed = time.monotonic() - self.start
        filled = 20 * done // max(self.steps, 1)
        bar = "#" * filled + "." * (20 - filled)
        left = f"{clock(passed * (self.steps - done) / done)} left" if done else ""
        text = f"{self.name} [{bar}] {done}/{self.steps} {clock(passed)} {left if done < self.steps else ''} {what}"
        self.progress.line(text.rstrip(), done >= self.steps)


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes where there are hours."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02d} h"
    return f"{whole // 60}:{whole % 60:02d} min"
