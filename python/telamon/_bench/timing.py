"""Timing in interleaved rounds.

Machines drift: clocks change, neighbours come and go. So nothing is timed to the end before the next thing starts;
every round times each candidate once, a ratio is taken inside a round, and what is reported is the minimum, the median
and a band over the rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Row = dict[str, Any]  # one line of a result, as JSON holds it
Name = TypeVar("Name")

BAND = (10.0, 90.0)  # percentiles over the rounds


@dataclass(frozen=True)
class Task:
    """One candidate: ``make(n)`` returns a call without arguments that works on ``n`` elements.

    ``setup`` runs before each timing, outside it.
    """

    make: Callable[[int], Callable[[], object]]
    max_n: int = 1 << 16
    min_n: int = 16
    setup: Callable[[], object] = lambda: None


def _seconds(call: Callable[[], object], repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _calibrate(task: Task, seconds: float, patience: float) -> tuple[Callable[[], object], int, int, bool]:
    """Choose n and a repeat count so that one timing lasts about ``seconds``; also serves as the warm-up."""
    n = task.min_n
    task.setup()
    while True:
        call = task.make(n)
        once = _seconds(call)
        if once < patience:  # or the warm-up itself tells enough
            once = _seconds(call)
        if n >= task.max_n or once * 2 > seconds:
            break
        n = min(task.max_n, n * (4 if once * 4 < seconds else 2))
    return call, n, max(1, round(seconds / max(once, 1e-9))), once >= patience


def interleave(
    tasks: Mapping[Name, Task], rounds: int, seconds: float = 0.01, patience: float = float("inf")
) -> dict[Name, Row]:
    """Time every task once a round.

    Parameters
    ----------
    tasks : mapping of name to Task
    rounds : int
    seconds : float
        How long one timing should last; the number of elements grows up to ``Task.max_n`` first, then the call repeats.
    patience : float, optional
        A task that takes longer than this many seconds is timed in the first two rounds only.

    Returns
    -------
    dict of name to ``{"n": elements, "ns": [nanoseconds per element, one a round], "min": ..., "median": ...}``
    """
    ready = {name: _calibrate(task, seconds, patience) for name, task in tasks.items()}
    ns: dict[Name, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    for r in range(rounds):
        # A fixed order would always give the same candidate the caches that its predecessor left.
        for name in names[r % len(names) :] + names[: r % len(names)]:
            call, n, repeats, slow = ready[name]
            if slow and r >= 2:
                continue
            tasks[name].setup()
            ns[name].append(_seconds(call, repeats) / n * 1e9)
    return {
        name: {"n": ready[name][1], "ns": t, "min": float(np.min(t)), "median": float(np.median(t))}
        for name, t in ns.items()
    }


def ratio(numerator: list[float], denominator: list[float]) -> dict[str, float]:
    """Ratio round by round, where both were timed: its median and the band that holds the middle 80% of rounds."""
    both = min(len(numerator), len(denominator))
    r = np.asarray(numerator[:both]) / np.asarray(denominator[:both])
    low, high = np.percentile(r, BAND)
    return {"median": float(np.median(r)), "low": float(low), "high": float(high)}
