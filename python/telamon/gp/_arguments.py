"""The constructor's arguments of `GridGP`, checked when it is fitted, and what stands for those not given. Internal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _optimize
from ._axes import Array
from ._base import Kernel
from ._kernels import Matern


def check(model: Any) -> None:
    """Choices, counts and tolerances."""
    if model.mean not in ("zero", "constant"):
        raise ValueError(f"'mean' must be 'zero' or 'constant', got {model.mean!r}.")
    if model.optimizer not in ("lbfgs", None):
        raise ValueError(f"'optimizer' must be 'lbfgs' or None, got {model.optimizer!r}.")
    least = {"n_restarts": 0, "max_iter": 1, "dense_limit": 0, "n_probes": 2, "n_steps": 2, "n_draws": 1}
    for name, low in least.items():
        value = getattr(model, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise ValueError(f"'{name}' must be an integer >= {low}, got {value!r}.")
    for name in ("tol", "rtol"):
        if not 0 < getattr(model, name) < 1:
            raise ValueError(f"'{name}' must lie between 0 and 1, got {getattr(model, name)!r}.")


def noise(given: Any, default: float) -> float:
    """s at the start."""
    if given is None:
        return default
    try:
        s = float(given)
    except (TypeError, ValueError):
        s = math.nan
    if not 0 < s < math.inf:
        raise ValueError(
            f"'noise' must be a positive variance, got {given!r}; without noise, pass 1e-8 of Y's variance. "
            "Variances that differ from cell to cell go to fit."
        )
    return s


def kernels(given: Sequence[Kernel] | Kernel | None, axes: list[Array], variance: float) -> list[Kernel]:
    """One for each axis, of whose scales one is free."""
    if given is None:
        spans = [0.1 * float(np.ptp(x)) or 1.0 for x in axes]
        given = [Matern(2.5, span, variance if i == 0 else 1.0) for i, span in enumerate(spans)]
    given = [given] if isinstance(given, Kernel) else list(given)
    for i, kernel in enumerate(given):
        if not isinstance(kernel, Kernel):
            raise ValueError(f"'kernels[{i}]' must be a kernel of telamon.gp, got {kernel!r}.")
    if len(given) != len(axes):
        raise ValueError(f"'kernels' has {len(given)} entries, the grid has {len(axes)} axes; pass one for each.")
    return _optimize.identifiable(given)
