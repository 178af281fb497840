"""GridPDE: what users call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from telamon.gp import Kernel, SpectralMixture

from . import _automatic, _conditions, _direct, _evidence, _paper
from ._domain import Array, Domain, sample
from ._operators import Operator
from ._solution import PDESolution

_MISFIT = 1e-2  #: of the equation, relative: beyond, not even two digits are right
METHODS = ("direct", "evidence", "paper")


class GridPDE:
    """A partial differential equation on the grid of a box, solved by Gaussian processes.

    Parameters
    ----------
    operator : Operator
        `Poisson`, `Helmholtz`, `AllenCahn`, `Advection`, `Heat`, `Wave`, `Burgers`, or your own sum of terms.
    axes : sequence of array_like, optional
        Increasing points of each axis, evenly spaced or not.
    domain : pair or sequence of pairs, optional
        Instead of axes: an interval (low, high) for all axes, or one for each.
    shape : int or sequence of int, optional
        With domain: the number of grid points of each axis.
    kernel : Kernel or sequence of Kernel, optional
        For all axes, or one for each. By default spectral mixtures, flat up to the band of the data.
    method : {"direct", "evidence", "paper"}
        "direct": the kernel stays as it is, and the equation is solved by linear algebra. "evidence": an exact Gaussian
        process on the boundary data and the source, whose kernel is learned by marginal likelihood; small grids, with
        uncertainty. "paper": the objective and optimiser of [1]_.
    spectrum : {"gaussian", "student"}
        Of the default kernels.
    components : int, optional
        Of each default kernel: 30, or 60 with method "direct" and Student's spectrum.
    max_frequency : float or sequence of float, optional
        Highest frequency of the default kernels in cycles per unit, instead of the band found.
    tolerance : float
        Newton stops when its step is this small beside u.
    noise : float
        "evidence": standard deviation of the data's errors, relative to the data.
    max_iterations : int, optional
        Of L-BFGS ("evidence", default 200), or epochs ("paper", default 1000).
    learning_rate, boundary_weight, jitter : float
        "paper": ADAM's rate, the weight of the boundary's likelihood, and what is added to the kernel's diagonal.

    References
    ----------
    .. [1] S. Fang, M. Cooley, D. Long, S. Li, M. Kirby, S. Zhe, Solving High Frequency and Multi-Scale PDEs with
       Gaussian Processes, ICLR 2024, arXiv:2311.04465.

    Examples
    --------
    >>> import numpy as np
    >>> from telamon.pde import GridPDE, Poisson
    >>> def u(x, y):
    ...     return np.sin(30 * x) * np.cos(20 * y)
    >>> pde = GridPDE(Poisson(2), domain=(0.0, 1.0), shape=80)
    >>> solution = pde.solve(lambda x, y: -1300 * u(x, y), boundary=u)
    >>> bool(abs(solution([[0.3, 0.7]]) - u(0.3, 0.7))[0] < 1e-8)
    True
    """

    def __init__(
        self,
        operator: Operator,
        axes: Any = None,
        *,
        domain: Any = None,
        shape: Any = None,
        kernel: Kernel | Sequence[Kernel] | None = None,
        method: str = "direct",
        spectrum: str = "gaussian",
        components: int | None = None,
        max_frequency: float | Sequence[float] | None = None,
        tolerance: float = 1e-11,
        noise: float = 1e-7,
        max_iterations: int | None = None,
        learning_rate: float = 1e-2,
        boundary_weight: float = 200.0,
        jitter: float = 1e-6,
    ) -> None:
        if not isinstance(operator, Operator):
            raise ValueError(f"'operator' must be an Operator such as Poisson(2), got {operator!r}.")
        if method not in METHODS:
            raise ValueError(f"'method' must be one of {METHODS}, got {method!r}.")
        if spectrum not in ("gaussian", "student"):
            raise ValueError(f"'spectrum' must be 'gaussian' or 'student', got {spectrum!r}.")
        if max(operator.orders) > 2 and (method == "evidence" or spectrum == "student"):
            what = "method='evidence'" if method == "evidence" else "spectrum='student'"
            raise ValueError(
                f"{what} takes operators up to second order, whose covariances are derivatives of fourth order; "
                f"this one has order {max(operator.orders)}. Pass method='direct' with spectrum='gaussian'."
            )
        self.operator = operator
        self._domain = Domain.build(axes, domain, shape, operator.dimension)
        self.axes, self.method, self.spectrum = self._domain.axes, method, spectrum
        many = 60 if spectrum == "student" and method == "direct" else 30
        self.components = many if components is None else _count(components, "components")
        self.max_iterations = None if max_iterations is None else _count(max_iterations, "max_iterations")
        self.kernels = self._given(kernel)
        self.max_frequency = self._given_frequencies(max_frequency)
        for name, value in (
            ("tolerance", tolerance),
            ("noise", noise),
            ("learning_rate", learning_rate),
            ("boundary_weight", boundary_weight),
            ("jitter", jitter),
        ):
            try:
                good = 0 < float(value) < np.inf
            except (TypeError, ValueError):
                good = False
            if not good:
                raise ValueError(f"'{name}' must be positive and finite, got {value!r}.")
        self.tolerance, self.noise, self.learning_rate = float(tolerance), float(noise), float(learning_rate)
        self.boundary_weight, self.jitter = float(boundary_weight), float(jitter)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self._domain.shape))
        return f"<GridPDE {self.operator.name} on {shape}, method={self.method!r}>"

    def solve(self, f: Any = 0.0, boundary: Any = 0.0, guess: Any = None) -> PDESolution:
        """Solve L u = f under the conditions.

        Parameters
        ----------
        f : float, callable or array_like
            The source: a number, a function of all coordinates, or an array of the grid's shape.
        boundary
            A condition for all axes, or one for each, as a sequence or a dict from axis to condition. A condition is
            `Dirichlet`, `Neumann`, `Periodic`, `Initial`, `Inflow`, a number, function or array (which is Dirichlet
            data), a pair (low, high) of these for the two ends, or None; for operators of fourth order, a pair of
            lists. Data that vary along a face are a function of all coordinates, or an array of the grid's shape
            without the face's axis.
        guess : callable or array_like, optional
            Where Newton starts.

        Returns
        -------
        PDESolution

        Raises
        ------
        ValueError
            If there are more or fewer conditions on an axis than the operator's order, shapes differ, or data hold
            NaN; the message names the argument.

        Warns
        -----
        BandWarning
            The data or the kernel have frequencies beyond the grid's.
        BoundaryWarning
            Conditions disagree where axes meet, or do not fit the source.
        ConvergenceWarning
            Newton's iteration, or the optimiser, stopped before its tolerance.
        """
        domain = self._domain
        source = sample(f, domain.axes, "f")
        rows = _conditions.rows(boundary, self.operator, domain)
        start = None if guess is None else sample(guess, domain.axes, "guess")
        kernels = self._kernels(f, source, rows)
        if self.method == "direct":
            out = _direct.solve(self.operator, domain, source, rows, kernels, start, self.tolerance)
            if not out.converged:
                warnings.warn(
                    f"telamon.pde: Newton stopped at a relative residual of {out.history[-1]:.2g} after "
                    f"{len(out.history) - 1} steps; pass a better 'guess' or refine the grid.",
                    _direct.ConvergenceWarning,
                    stacklevel=2,
                )
            if not out.misfit < _MISFIT:
                warnings.warn(
                    f"telamon.pde: the equation's residual on the grid is {out.misfit:.2g} of its terms; grid and "
                    f"kernel do not resolve the solution. Take more points, another 'max_frequency' or 'kernel'.",
                    _automatic.BandWarning,
                    stacklevel=2,
                )
            steps = 0 if self.operator.linear else len(out.history) - 1
            return PDESolution(
                self.operator, domain, f, source, [out.expansion], kernels, "direct", out.converged, steps, out.history
            )
        if self.method == "evidence":
            return self._evidence(f, source, rows, kernels, start)
        objective = _paper.Objective(self.operator, domain, source, rows, kernels, self.boundary_weight, self.jitter)
        epochs = 1000 if self.max_iterations is None else self.max_iterations
        parameters, history = _paper.adam(objective, epochs, self.learning_rate)
        expansion, learned = objective.expansion(parameters)
        return PDESolution(self.operator, domain, f, source, [expansion], learned, "paper", True, epochs, history)

    def _evidence(self, f: Any, source: Array, rows: Any, kernels: list[Kernel], start: Array | None) -> PDESolution:
        domain = self._domain
        # where to linearise, and how large u is: by smooth kernels, whatever those to be learned are
        edges = _automatic.bands(self.operator, domain, f, source, rows, warn=False)
        smooth = _automatic.kernels(domain, edges, "gaussian", 30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", _direct.BoundaryWarning)
            first = _direct.solve(self.operator, domain, source, rows, smooth, start, self.tolerance)
        around = PDESolution(self.operator, domain, f, source, [first.expansion], smooth, "direct")
        if self.kernels is None:
            kernels = _automatic.scaled(kernels, float(np.mean(np.square(around.values))))
        steps = 200 if self.max_iterations is None else self.max_iterations
        found = _evidence.solve(self.operator, domain, source, rows, kernels, around, self.noise, steps)
        if not found.converged:
            warnings.warn(
                f"telamon.pde: L-BFGS stopped after {found.iterations} iterations before it converged; raise "
                f"'max_iterations'.",
                _direct.ConvergenceWarning,
                stacklevel=3,
            )
        return PDESolution(
            self.operator,
            domain,
            f,
            source,
            found.parts,
            found.kernels,
            "evidence",
            found.converged,
            found.iterations,
            found.history,
            found.value,
            found.deviation,
        )

    def _given(self, kernel: Any) -> list[Kernel] | None:
        d = self.operator.dimension
        if kernel is None:
            return None
        kernels = [kernel] * d if isinstance(kernel, Kernel) else list(kernel)
        if len(kernels) != d or not all(isinstance(k, Kernel) for k in kernels):
            raise ValueError(f"'kernel' must be one kernel of telamon.gp, or {d}, one for each axis, got {kernel!r}.")
        for axis, (k, order) in enumerate(zip(kernels, self.operator.orders, strict=True)):
            # a solution in the span of k(., X) is as smooth as k; half of that has a process with this kernel
            need = 2 * order if self.method == "evidence" else order
            if k.smoothness < need:
                raise ValueError(
                    f"'kernel' of axis {axis} has {k.smoothness:g} derivatives, and method '{self.method}' needs "
                    f"{need} for this operator; take a smoother one, such as SpectralMixture with a Gaussian spectrum."
                )
        return kernels

    def _given_frequencies(self, value: Any) -> list[float] | None:
        if value is None:
            return None
        d = self.operator.dimension
        array = np.asarray(value, dtype=np.float64)
        if array.shape not in ((), (d,)) or not (array > 0).all() or not np.isfinite(array).all():
            raise ValueError(f"'max_frequency' must be a positive number or {d} of them, got {value!r}.")
        return [float(v) for v in np.broadcast_to(array, (d,))]

    def _kernels(self, f: Any, source: Array, rows: Any) -> list[Kernel]:
        kernels = self.kernels
        if kernels is None:
            edges = self.max_frequency
            if edges is None:
                edges = _automatic.bands(self.operator, self._domain, f, source, rows)
            if self.method == "paper":  # as the authors start
                return [SpectralMixture.init(self.components, e, self.spectrum, log_scale=0.0) for e in edges]
            kernels = _automatic.kernels(self._domain, edges, self.spectrum, self.components)
        for axis, (kernel, x) in enumerate(zip(kernels, self.axes, strict=True)):
            _automatic.check_kernel(kernel, x, axis)
        return kernels


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"'{name}' must be an integer >= 1, got {value!r}.")
    return int(value)
