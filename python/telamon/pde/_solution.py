"""The solution: a function that can be evaluated and differentiated anywhere in the box."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from telamon.gp import Kernel, SpectralMixture

from ._domain import Array, Domain, sample
from ._inverse import along_all
from ._operators import Operator

_ROWS = 4096

#: phi(points, order): the values of the functions of one axis, or a derivative, shape (points, functions)
Functions = Callable[[Array, int], Array]


class Expansion(NamedTuple):
    """u(x) = sum_jk.. C_jk.. phi_j(x_1) psi_k(x_2) .."""

    functions: tuple[Functions, ...]
    coefficients: Array

    def on_grid(self, axes: Sequence[Array], orders: Sequence[int]) -> Array:
        """Derivatives on the grid of axes."""
        return along_all([f(x, m) for f, x, m in zip(self.functions, axes, orders, strict=True)], self.coefficients)

    def at(self, points: Array, orders: Sequence[int]) -> Array:
        """Derivatives at scattered points, shape (points, d)."""
        values = [f(points[:, i], m) for i, (f, m) in enumerate(zip(self.functions, orders, strict=True))]
        part = values[0] @ self.coefficients.reshape(self.coefficients.shape[0], -1)
        for matrix in values[1:]:
            part = np.einsum("pj,pjk->pk", matrix, part.reshape(len(points), matrix.shape[1], -1))
        return part[:, 0]


@dataclass(frozen=True, eq=False)
class Section:
    """k(x, points), differentiated in its second argument: functions of one axis, one for each point."""

    kernel: Kernel
    points: Array
    order: int

    def __call__(self, x: Array, order: int = 0, /) -> Array:
        return self.kernel.derivative(x, self.points, dx=order, dy=self.order)


class Frequencies(NamedTuple):
    """The frequencies of a kernel's components in cycles per unit, and their weights, heaviest first."""

    frequency: Array
    weight: Array


class PDESolution:
    """What `GridPDE.solve` returns.

    Attributes
    ----------
    values : ndarray
        u on the grid. These are values of the function that calling the solution evaluates, never of a jittered vector.
    axes : list of ndarray
    kernels : list of Kernel
        One for each axis; those learned, with methods "evidence" and "paper".
    method : str
    converged : bool
    iterations : int
        Newton's iterations, those of L-BFGS ("evidence"), or epochs ("paper").
    log_marginal_likelihood : float or None
        With method "evidence".
    history : list of float
        Newton's relative residuals, or the objective's values.
    """

    def __init__(
        self,
        operator: Operator,
        domain: Domain,
        source: Any,
        f: Array,
        parts: Sequence[Expansion],
        kernels: Sequence[Kernel],
        method: str,
        converged: bool = True,
        iterations: int = 0,
        history: Sequence[float] = (),
        log_marginal_likelihood: float | None = None,
        deviation: Callable[[Sequence[Array] | Array], Array] | None = None,
    ) -> None:
        self._operator, self._domain, self._source, self._f = operator, domain, source, f
        self._parts, self._deviation = list(parts), deviation
        self.axes, self.kernels, self.method = domain.axes, list(kernels), method
        self.converged, self.iterations, self.history = converged, iterations, list(history)
        self.log_marginal_likelihood = log_marginal_likelihood
        self.values = self._evaluate(domain.axes, (0,) * domain.dimension)

    def __repr__(self) -> str:
        return f"<PDESolution of {self._operator.name} on {'x'.join(map(str, self._domain.shape))}, {self.method}>"

    def __call__(self, at: ArrayLike | Sequence[ArrayLike]) -> Array:
        """u at points or on another grid.

        Parameters
        ----------
        at : array_like, shape (m, d), or a tuple of d vectors
            Points, or the axes of a grid; a list of d ndarrays is a grid too. In one dimension a vector is m points.

        Returns
        -------
        ndarray, shape (m,) or the grid's
        """
        return self._evaluate(self._where(at), (0,) * self._domain.dimension)

    def derivative(self, orders: int | Sequence[int], at: Any = None) -> Array:
        """d^(sum of orders) u / dx_1^orders[0] dx_2^orders[1] .., on the grid or where `at` says, as for a call."""
        d = self._domain.dimension
        given = (orders,) if isinstance(orders, (int, np.integer)) else tuple(orders)
        if len(given) != d or any(isinstance(m, bool) or m != int(m) or not 0 <= m <= 4 for m in given):
            raise ValueError(f"'orders' must be {d} integers from 0 to 4, one for each axis, got {orders!r}.")
        return self._evaluate(self.axes if at is None else self._where(at), tuple(int(m) for m in given))

    def residual(self, at: Any = None) -> Array:
        """L u + N(u) - f, on the grid, or elsewhere where f was given as a function."""
        where = self.axes if at is None else self._where(at)
        f = self._f
        if at is not None:
            if not callable(self._source) and np.ndim(self._source):
                raise ValueError("'at' needs f elsewhere than on the grid; pass f to solve as a function.")
            if isinstance(where, list):
                f = sample(self._source, where, "f")
            elif callable(self._source):
                f = np.asarray(self._source(*where.T), dtype=np.float64)
            else:
                f = np.full(len(where), float(self._source))
        return self.apply(self._operator, where) - f

    def apply(self, operator: Operator, where: Any = None) -> Array:
        """An operator applied to u, on the grid or at axes or points."""
        where = self.axes if where is None else self._where(where)
        d = self._domain.dimension
        total: Any = 0.0
        for term in operator.terms:
            orders = tuple(term.order if i == term.axis else 0 for i in range(d))
            if isinstance(where, list):
                c = term.on(where[term.axis]).reshape([-1 if i == term.axis else 1 for i in range(d)])
            else:
                c = term.on(where[:, term.axis])
            total = total + c * self._evaluate(where, orders)
        for part in operator.nonlinear:
            total = total + part.value(*(self._evaluate(where, orders) for orders in part.arguments(d)))
        return np.asarray(total)

    def std(self, at: Any = None) -> Array:
        """The posterior standard deviation of u, on the grid or elsewhere; method "evidence" only."""
        if self._deviation is None:
            raise ValueError(f"std needs method='evidence'; method='{self.method}' has no posterior variance.")
        return self._deviation(self.axes if at is None else self._where(at))

    @property
    def frequencies(self) -> list[Frequencies | None]:
        """The components of each axis' kernel, heaviest first; None for kernels that are no spectral mixture.

        The equation shows them as the operator sees them: Poisson's weighs a frequency by its fourth power, and leaves
        the weights of the lowest nearly free.
        """
        out: list[Frequencies | None] = []
        for kernel in self.kernels:
            if not isinstance(kernel, SpectralMixture):
                out.append(None)
                continue
            weights = np.asarray(kernel.weights, dtype=np.float64)
            order = np.argsort(-weights, kind="stable")
            out.append(Frequencies(np.abs(np.asarray(kernel.frequencies))[order], weights[order]))
        return out

    def plot(self, axes: Any = None) -> Any:
        """A curve in one dimension, an image in two, the middle slice in three; returns matplotlib's axes."""
        try:
            from matplotlib import pyplot
        except ImportError:
            raise ImportError("plot needs matplotlib; pip install 'telamon[demo]'") from None
        axes = pyplot.subplots()[1] if axes is None else axes
        if self._domain.dimension == 1:
            x = np.linspace(self.axes[0][0], self.axes[0][-1], 4 * self.axes[0].size)
            u = self(x)
            axes.plot(x, u)
            if self._deviation is not None:
                spread = 2 * self.std(x)
                axes.fill_between(x, u - spread, u + spread, alpha=0.3)
            axes.set(xlabel="x", ylabel="u")
            return axes
        image = self.values
        while image.ndim > 2:
            image = image[..., image.shape[-1] // 2]
        first, second = self.axes[:2]
        drawn = axes.pcolormesh(first, second, image.T, shading="auto")
        axes.figure.colorbar(drawn, ax=axes, label="u")
        axes.set(xlabel="x0", ylabel="x1")
        return axes

    # ---- internal

    def _where(self, at: Any) -> list[Array] | Array:
        """Axes as a list, points as an array (m, d); warns outside the box."""
        d = self._domain.dimension
        grid = isinstance(at, tuple) or (isinstance(at, list) and all(isinstance(a, np.ndarray) for a in at))
        if grid and len(at) == d and all(np.ndim(a) == 1 for a in at):
            axes = [np.asarray(a, dtype=np.float64) for a in at]
            self._inside(axes)
            return axes
        points = np.asarray(at, dtype=np.float64)
        if d == 1 and points.ndim == 1:
            points = points[:, None]
        if points.ndim != 2 or points.shape[1] != d:
            raise ValueError(f"'at' must be points of shape (m, {d}) or a tuple of {d} axes, got shape {points.shape}.")
        self._inside(list(points.T))
        return points

    def _inside(self, coordinates: Sequence[Array]) -> None:
        for i, (x, a) in enumerate(zip(coordinates, self.axes, strict=True)):
            if not np.isfinite(x).all():
                raise ValueError(f"'at' contains NaN or infinity along axis {i}.")
            slack = 1e-9 * (a[-1] - a[0])
            if x.size and (x.min() < a[0] - slack or x.max() > a[-1] + slack):
                warnings.warn(
                    f"telamon.pde: 'at' leaves the box along axis {i}, [{a[0]:.6g}, {a[-1]:.6g}]; "
                    f"the solution means nothing there.",
                    UserWarning,
                    stacklevel=4,
                )

    def _evaluate(self, where: Sequence[Array] | Array, orders: Sequence[int]) -> Array:
        if not isinstance(where, np.ndarray):
            return np.asarray(sum(part.on_grid(where, orders) for part in self._parts))
        out = np.empty(len(where))
        for start in range(0, len(where), _ROWS):
            block = where[start : start + _ROWS]
            out[start : start + _ROWS] = sum(part.at(block, orders) for part in self._parts)
        return out


def relative_error(solution: PDESolution, truth: Callable[..., Any], points: int = 300) -> float:
    """|u - truth| / |truth| in the Euclidean norm on a grid of `points` a side, not that of the solution.

    Parameters
    ----------
    solution : PDESolution
    truth : callable
        Of all coordinates, as arrays that broadcast.
    points : int

    Returns
    -------
    float
    """
    axes = [np.linspace(a[0], a[-1], points) for a in solution.axes]
    want = sample(truth, axes, "truth")
    scale = float(np.linalg.norm(want))
    error = float(np.linalg.norm(solution(axes) - want))
    return error / scale if scale else math.inf if error else 0.0
