"""Which hyperparameters are free, between which bounds, and their optimisation. Internal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from telamon.stats._progress import Progress

from . import _axes
from ._axes import Array
from ._base import Kernel
from ._compose import Product, Sum
from ._scipy import scipy

#: How far a hyperparameter may move where nothing is known, as a logarithm or in units of its own.
_REACH = math.log(1e4)
#: How far restarts begin from the first start.
_SPREAD = 1.5


def scale_is_free(kernel: Kernel) -> bool:
    """Whether a free hyperparameter multiplies the whole kernel, or free ones all its parts."""
    if isinstance(kernel, Product):
        return scale_is_free(kernel.k1) or scale_is_free(kernel.k2)
    if isinstance(kernel, Sum):
        return scale_is_free(kernel.k1) and scale_is_free(kernel.k2)
    names = {"variance", "weights"} & set(kernel._parameters)
    return any(name not in kernel.fixed for name in names)


def one_scale(kernel: Kernel, keep: bool) -> Kernel:
    """The kernel with one free scale at most, or none: a product's factors share it, and so do the axes of a grid."""
    if isinstance(kernel, Product):
        first = scale_is_free(kernel.k1)
        return Product(one_scale(kernel.k1, keep and first), one_scale(kernel.k2, keep and not first))
    if isinstance(kernel, Sum):
        if keep or not scale_is_free(kernel):
            return Sum(one_scale(kernel.k1, True), one_scale(kernel.k2, True))
        return Sum(one_scale(kernel.k1, False), one_scale(kernel.k2, True))
    if keep or "variance" not in kernel._parameters or "variance" in kernel.fixed:
        return kernel.clone()  # type: ignore[no-any-return]
    return kernel.clone().set_params(fixed=(*kernel.fixed, "variance"))  # type: ignore[no-any-return]


def identifiable(kernels: Sequence[Kernel]) -> list[Kernel]:
    """The kernels of the axes, of whose scales only the first that is free remains so."""
    free = [i for i, kernel in enumerate(kernels) if scale_is_free(kernel)]
    return [one_scale(kernel, not free or i == free[0]) for i, kernel in enumerate(kernels)]


def default_bounds(kernel: Kernel, x: Array) -> Array:
    """Bounds of theta: what the kernel says, else what an axis can tell, and always the start itself."""
    bounds, theta = kernel.bounds, kernel.theta
    extent = float(np.ptp(x)) or 1.0
    steps = np.diff(x)
    step = float(steps.min()) if steps.size else extent
    for i, name in enumerate(kernel.names):
        low, high = theta[i] - _REACH, theta[i] + _REACH
        leaf = kernel
        *path, last = name.split("__")
        for part in path:
            leaf = getattr(leaf, part)
        last = last.partition("[")[0]
        in_axis_units = hasattr(leaf, "_scale") and leaf._scale == last and last in leaf._parameters
        if in_axis_units:
            low, high = math.log(0.1 * step), math.log(100 * extent)
        elif last == "frequencies":
            low, high = 0.0, 0.5 / step
        elif last == "nu":
            low, high = math.log(0.1), math.log(50.0)
        elif last == "center":
            low, high = float(x[0]) - extent, float(x[-1]) + extent
        given = bounds[i]
        low = given[0] if np.isfinite(given[0]) else min(low, theta[i])
        high = given[1] if np.isfinite(given[1]) else max(high, theta[i])
        bounds[i] = low, high
    return bounds


def nyquist_warnings(kernels: Sequence[Kernel], axes: Sequence[Array]) -> list[str]:
    """A sentence for each axis whose points are too far apart for its kernel."""
    out = []
    for i, (kernel, x) in enumerate(zip(kernels, axes, strict=True)):
        frequency = kernel.max_frequency()
        if x.size < 2 or frequency is None:
            continue
        nyquist = 0.5 / float(np.diff(x).min())
        if frequency > nyquist * (1 + 1e-9):
            even = _axes.step(x) is not None
            out.append(
                f"the kernel of axis {i} carries frequencies up to {frequency:.4g} cycles per unit, beyond the Nyquist "
                f"frequency {nyquist:.4g} of its points{'' if even else ', at their closest'}: "
                "what it says between them is not founded on data; lower its frequencies or longen its length scale."
            )
    return out


class Optimum(NamedTuple):
    """What `maximise` found."""

    theta: Array
    value: float
    error: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


Objective = Callable[[Array], tuple[float, float, Array, bool]]


class _Ascent:
    """L-BFGS-B from one start. Its result is the best point seen, which need not be the last one of a line search."""

    def __init__(self, objective: Objective, bounds: Array, scale: float, report: Callable[[int, float], None]) -> None:
        self.objective, self.bounds, self.scale, self.report = objective, bounds, scale, report
        self.iterations = self.evaluations = 0
        self.value, self.error, self.settled = -math.inf, 0.0, True
        self.theta = self.gradient = np.zeros(len(bounds))

    def _negative(self, theta: Array) -> tuple[float, Array]:
        self.evaluations += 1
        value, error, gradient, settled = self.objective(theta)
        if value > self.value:
            self.value, self.error, self.settled = value, error, settled
            self.theta, self.gradient = theta.copy(), gradient
        return -value / self.scale, -gradient / self.scale

    def _count(self, _: Array) -> None:
        self.iterations += 1
        self.report(self.iterations, self.value / self.scale)

    def _minimize(self, start: Array, max_iter: int, tol: float) -> Any:
        # no slope above tol; or, as values have a square's precision, no gain worth mention
        options = {"maxiter": max_iter, "gtol": tol, "ftol": 1e-3 * tol**1.5, "maxcor": 20}
        return scipy("optimize").minimize(
            self._negative,
            start,
            method="L-BFGS-B",
            jac=True,
            bounds=self.bounds,
            options=options,
            callback=self._count,
        )

    def run(self, start: Array, max_iter: int, tol: float) -> tuple[bool, str]:
        """Whether it converged, and what there is to say."""
        result = self._minimize(start, max_iter, tol)
        if not result.success and self.iterations < max_iter:
            # the line search failed: either the curvature it has gathered misleads it, or rounding is all that is left
            before = self.value
            result = self._minimize(self.theta, max_iter - self.iterations, tol)
            if not result.success and self.iterations < max_iter and self.value - before <= tol * self.scale:
                return (
                    self.settled,
                    f"no step raises the value further, for all its slope of {self.slope():.2g} per observation",
                )
        message = str(result.message)
        if not self.settled:
            message += "; the solver or the log-determinant did not reach its tolerance"
        return bool(result.success) and self.settled, message

    def slope(self) -> float:
        """The largest per observation, but for those against a bound."""
        low, high = self.bounds.T
        blocked = ((self.theta <= low) & (self.gradient < 0)) | ((self.theta >= high) & (self.gradient > 0))
        return float(np.abs(np.where(blocked, 0.0, self.gradient)).max(initial=0.0)) / self.scale


def maximise(
    objective: Objective,
    start: Array,
    bounds: Array,
    *,
    scale: float,
    restarts: int,
    max_iter: int,
    tol: float,
    rng: np.random.Generator,
    verbose: int,
) -> Optimum:
    """Maximise value, error, gradient and whether its parts converged = objective(theta).

    `scale`, the number of observations, makes the tolerance one per observation.
    """
    progress = Progress(verbose > 0, restarts + 1, max_iter, tol)
    best: Optimum | None = None
    evaluations = 0
    for run in range(restarts + 1):
        history = [-math.inf, -math.inf, -math.inf]

        def report(
            iteration: int, value: float, done: bool = False, run: int = run, history: list[float] = history
        ) -> None:
            history[:] = [*history[1:], value]
            changes = np.diff(history) if math.isfinite(history[0]) else [math.inf, math.inf]
            progress.update(run, iteration, value, float(changes[1]), float(changes[0]), done)

        begin = start if run == 0 else start + rng.uniform(-_SPREAD, _SPREAD, start.size)
        ascent = _Ascent(objective, bounds, scale, report)
        converged, message = ascent.run(np.clip(begin, *bounds.T), max_iter, tol)
        report(ascent.iterations, ascent.value / scale, True)
        evaluations += ascent.evaluations
        if best is None or ascent.value > best.value:
            best = Optimum(ascent.theta, ascent.value, ascent.error, ascent.iterations, evaluations, converged, message)
    assert best is not None
    return best._replace(evaluations=evaluations)
