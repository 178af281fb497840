"""Progress of EM on stderr. Internal."""

from __future__ import annotations

import sys
import time

import numpy as np


class Progress:
    """One line on stderr, redrawn: a bar, the log-likelihood, its change, and the time left."""

    def __init__(self, enabled: bool, n_init: int, max_iter: int, tol: float) -> None:
        self.enabled, self.n_init, self.max_iter, self.tol = enabled, n_init, max_iter, tol
        self.start, self.iterations, self.last = time.monotonic(), 0, -np.inf
        self.tty = enabled and sys.stderr.isatty()

    def update(
        self, init: int, iteration: int, bound: float, change: float, previous_change: float, done: bool
    ) -> None:
        """Show the state after an iteration; at most ten times a second on a terminal, else every two seconds."""
        if not self.enabled:
            return
        self.iterations += 1
        now = time.monotonic()
        if not done and now - self.last < (0.1 if self.tty else 2.0):
            return
        self.last = now
        left = self.max_iter - iteration
        if self.tol > 0 and 0 < abs(change) < abs(previous_change) < np.inf:  # the change shrinks geometrically
            rate = np.log(abs(previous_change / change))
            left = min(left, max(0.0, np.log(abs(change) / self.tol) / rate))
        left = 0 if done else left
        per_init = iteration + left
        seconds = (now - self.start) / self.iterations * (left + per_init * (self.n_init - init - 1))
        filled = round(20 * iteration / max(per_init, 1))
        line = (
            f"init {init + 1}/{self.n_init} [{'#' * filled}{'.' * (20 - filled)}] iteration {iteration} "
            f"log-likelihood {bound:.6g} change {change:.1e} about {seconds:.0f} s left"
        )
        sys.stderr.write(f"\r{line:<110}" if self.tty else line + "\n")
        if done and self.tty:
            sys.stderr.write("\n")
        sys.stderr.flush()
