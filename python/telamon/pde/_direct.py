"""The direct solver: collocation in the kernel's functions, without training. Internal.

Two axes or more: conditions by lifting and the null space of their rows; then Galerkin's projection on the remaining
functions makes the operator a Kronecker sum, and a solve costs a few products along axes. Corrections by the residual
on the grid regain what the eigenvectors lose. Nonlinear: Newton, whose linear systems GMRES solves with that inverse as
preconditioner. One axis is in _direct_line.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from telamon.gp import Kernel

from ._basis import Basis
from ._conditions import Row
from ._direct_line import Line
from ._domain import Array, Domain
from ._inverse import KroneckerSumInverse, along, along_all, gmres
from ._operators import Operator
from ._solution import Expansion

_NEWTON = 40
_CORNER = 1e-6


class ConvergenceWarning(UserWarning):
    """Newton's iteration or an optimiser stopped before its tolerance."""


class BoundaryWarning(UserWarning):
    """Boundary data disagree at an edge, or do not fit the source."""


class Outcome:
    """An expansion and how it was found."""

    def __init__(self, expansion: Expansion, converged: bool, history: list[float], misfit: float) -> None:
        self.expansion, self.converged, self.history, self.misfit = expansion, converged, history, misfit


def solve(
    operator: Operator,
    domain: Domain,
    f: Array,
    rows: Sequence[Sequence[Row]],
    kernels: Sequence[Kernel],
    guess: Array | None,
    tolerance: float,
) -> Outcome:
    """u as an expansion in the functions of the kernels."""
    bases: list[Basis] = []
    for kernel, x in zip(kernels, domain.axes, strict=True):
        same = [b for b in bases if b.kernel is kernel and np.array_equal(b.x, x)]
        bases.append(same[0] if same else Basis(kernel, x))
    for axis, basis in enumerate(bases):
        if basis.rank <= len(rows[axis]):
            raise ValueError(
                f"axis {axis} has {basis.x.size} points and the kernel spans {basis.rank} functions there, too few "
                f"for {len(rows[axis])} conditions; take more points or a kernel with higher frequencies."
            )
    if domain.dimension == 1:
        line = Line(operator, domain.axes[0], f, rows[0], bases[0], _row)
        expansion, converged, history = line.solve(guess, tolerance)
        if free_constant(operator, rows):
            mean = float(_averages(bases[0].prior, domain.axes[0]) @ expansion.coefficients)
            constant = np.linalg.lstsq(line.values[0], np.full(domain.shape, mean), rcond=1e-13)[0]
            expansion = Expansion(expansion.functions, expansion.coefficients - constant)
        return Outcome(expansion, converged, history, line.misfit(expansion.coefficients))
    return _Galerkin(operator, domain, f, rows, bases).solve(guess, tolerance)


def _row(functions: Any, x: Array, row: Row) -> Array:
    """The functional of a condition, applied to each function."""
    return np.asarray(sum(sign * functions(x[[end]], order)[0] for end, order, sign in row.parts))


def free_constant(operator: Operator, rows: Sequence[Sequence[Row]]) -> bool:
    """Whether u is determined up to a constant only."""
    return operator.keeps_constants and all(row.keeps_constants for conditions in rows for row in conditions)


def _argument_orders(operator: Operator, axis: int) -> list[int]:
    return [0, *(o[axis] for part in operator.nonlinear for o in part.arguments(operator.dimension))]


def _averages(functions: Any, x: Array) -> Array:
    """The mean of each function over the axis, by Gauss' rule, which integrates all that the grid can represent."""
    nodes, weights = np.polynomial.legendre.leggauss(x.size + 20)
    return np.asarray(0.5 * weights @ functions(0.5 * (x[0] + x[-1]) + 0.5 * (x[-1] - x[0]) * nodes))


class _Galerkin:
    """The projected equations of a grid of two axes or more."""

    def __init__(
        self, operator: Operator, domain: Domain, f: Array, rows: Sequence[Sequence[Row]], bases: Sequence[Basis]
    ) -> None:
        self.operator, self.domain, self.f, self.rows, self.bases = operator, domain, f, rows, bases
        self.values: list[dict[int, Array]] = []
        self.sums: list[Array] = []  #: the terms of an axis, on its functions
        self.conditions: list[Array] = []
        self.lifts: list[Array] = []
        self.null: list[Array] = []
        self.project: list[Array] = []
        matrices: list[Array] = []
        made: list[int] = []
        for axis, (basis, x) in enumerate(zip(bases, domain.axes, strict=True)):
            twin = next((j for j in made if self._twins(j, axis)), None)
            if twin is not None:
                lists: list[list[Any]] = [self.values, self.sums, self.conditions, self.lifts, self.null, self.project]
                for parts in (*lists, matrices):
                    parts.append(parts[twin])
                continue
            made.append(axis)
            highest = max(operator.orders[axis], *_argument_orders(operator, axis))
            values = {m: basis(x, m) for m in range(highest + 1)}
            terms = [term.on(x)[:, None] * values[term.order] for term in operator.terms if term.axis == axis]
            total = np.asarray(sum(terms)) if terms else np.zeros_like(values[0])
            conditions = np.array([_row(basis, x, row) for row in rows[axis]]).reshape(len(rows[axis]), basis.rank)
            null = np.linalg.qr(conditions.T, mode="complete")[0][:, len(conditions) :]
            # the smoothest functions that meet the conditions: least norm under the prior
            lift = basis.scales[:, None] * np.linalg.pinv(conditions * basis.scales)
            test = basis.vectors @ null
            project = np.linalg.solve(test.T @ values[0] @ null, test.T)
            self.values.append(values)
            self.sums.append(total)
            self.conditions.append(conditions)
            self.lifts.append(lift)
            self.null.append(null)
            self.project.append(project)
            matrices.append(project @ total @ null)
        self.inverse = KroneckerSumInverse(matrices)
        self.shift = 0.0
        if free_constant(operator, rows):
            # any number off the spectrum does, since corrections by the residual undo it; the sign is that of L
            lowest = max(float(np.abs(np.linalg.eigvals(m)).max()) for m in matrices) * 1e-9
            self.shift = math.copysign(lowest, float(np.trace(matrices[0])))

    def _twins(self, one: int, two: int) -> bool:
        """Whether two axes have the same matrices."""
        same = self.bases[one] is self.bases[two]
        same = same and [r.parts for r in self.rows[one]] == [r.parts for r in self.rows[two]]
        terms = [[(t.order, t.coefficient) for t in self.operator.terms if t.axis == axis] for axis in (one, two)]
        return (
            same
            and terms[0] == terms[1]
            and _argument_orders(self.operator, one) == _argument_orders(self.operator, two)
        )

    def lift(self) -> Array:
        """Coefficients that meet the conditions of all axes, one axis after the other."""
        d = self.domain.dimension
        coefficients = np.zeros([b.rank for b in self.bases])
        for axis in range(d):
            if not self.rows[axis]:
                continue
            others = [i for i in range(d) if i != axis]
            data = np.stack([row.data for row in self.rows[axis]])
            wanted = along_all([None, *(self.bases[i].vectors.T for i in others)], data)
            wanted = np.moveaxis(wanted, 0, axis) - along(self.conditions[axis], coefficients, axis)
            size = float(np.abs(data).max())
            for i in range(axis):  # what earlier axes have settled stays
                before = wanted
                wanted = along(self.null[i] @ self.null[i].T, wanted, i)
                lost = float(np.linalg.norm(wanted - before))
                if lost > _CORNER * (size * math.sqrt(data.size) or 1.0):
                    warnings.warn(
                        f"telamon.pde: the conditions of axes {i} and {axis} disagree where they meet, by "
                        f"{lost / math.sqrt(data.size):.2g} in the mean; those of axis {i} were kept.",
                        BoundaryWarning,
                        stacklevel=5,
                    )
            coefficients = coefficients + along(self.lifts[axis], wanted, axis)
        return coefficients

    def field(self, coefficients: Array, orders: Sequence[int]) -> Array:
        """A derivative of u on the grid."""
        return along_all([v[m] for v, m in zip(self.values, orders, strict=True)], coefficients)

    def linear(self, coefficients: Array) -> Array:
        """The terms applied to u, on the grid."""
        d = self.domain.dimension
        out = np.zeros(self.domain.shape)
        for axis in {term.axis for term in self.operator.terms}:
            out += along_all([self.sums[i] if i == axis else self.values[i][0] for i in range(d)], coefficients)
        return out

    def arguments(self, coefficients: Array) -> list[list[Array]]:
        """What each nonlinearity takes, on the grid."""
        d = self.domain.dimension
        cache: dict[tuple[int, ...], Array] = {}
        for part in self.operator.nonlinear:
            for orders in part.arguments(d):
                if orders not in cache:
                    cache[orders] = self.field(coefficients, orders)
        return [[cache[orders] for orders in part.arguments(d)] for part in self.operator.nonlinear]

    def residual(self, coefficients: Array, fields: list[list[Array]]) -> Array:
        """f - L u - N(u) on the grid."""
        out = self.f - self.linear(coefficients)
        for part, arguments in zip(self.operator.nonlinear, fields, strict=True):
            out -= part.value(*arguments)
        return out

    def solve(self, guess: Array | None, tolerance: float) -> Outcome:
        """Lift, solve, correct or iterate."""
        coefficients = self.lift()
        # the source may vanish where its parts do not
        self.size = max(float(np.linalg.norm(self.f)), float(np.linalg.norm(self.linear(coefficients)))) or 1.0
        if guess is not None:
            start = along_all([b.vectors.T for b in self.bases], guess) - coefficients
            for axis, null in enumerate(self.null):
                start = along(null @ null.T, start, axis)
            coefficients = coefficients + start
        elif self.operator.nonlinear:
            zero = [[np.zeros(self.domain.shape) for _ in a] for a in self.arguments(coefficients)]
            coefficients = coefficients + self._correction(self.residual(coefficients, zero))
        history, converged = (self._refine if self.operator.linear else self._newton)(coefficients, tolerance)
        # conditions at the ends leave no freedom to meet the equation there, as at the corners of u'' + v'' = 1, u = 0
        left = self.residual(self._found, self.arguments(self._found))[(slice(1, -1),) * self.domain.dimension]
        return Outcome(
            Expansion(tuple(self.bases), self._found), converged, history, float(np.linalg.norm(left)) / self.size
        )

    def _correction(self, residual: Array) -> Array:
        return along_all(self.null, self.inverse.solve(along_all(self.project, residual), self.shift))

    def _refine(self, coefficients: Array, tolerance: float) -> tuple[list[float], bool]:
        del tolerance
        residual = self.residual(coefficients, [])
        if self.shift:
            constant = along_all([b.vectors.T for b in self.bases], np.ones(self.domain.shape))
            averages = [_averages(b, x)[None, :] for b, x in zip(self.bases, self.domain.axes, strict=True)]
            # what no u can produce; for periodic axes it is the mean of f
            projected = along_all([b.vectors.T for b in self.bases], residual)
            gap = abs(float(along_all(averages, projected).item())) / (float(np.sqrt(np.mean(residual**2))) or 1.0)
            if gap > 1e-3:
                warnings.warn(
                    "telamon.pde: u is determined up to a constant, and f has a mean that does not fit the boundary's "
                    f"fluxes, by {gap:.1g} of its size; the equation is solved up to a constant.",
                    BoundaryWarning,
                    stacklevel=5,
                )
        history = []
        for _ in range(4):
            coefficients = coefficients + self._correction(residual)
            if self.shift:
                coefficients = coefficients - float(along_all(averages, coefficients).item()) * constant
            residual = self.residual(coefficients, [])
            history.append(float(np.linalg.norm(residual)) / self.size)
            if len(history) > 1 and history[-1] > 0.3 * history[-2]:
                break
        self._found = coefficients
        return history, True

    def _newton(self, coefficients: Array, tolerance: float) -> tuple[list[float], bool]:
        d = self.domain.dimension
        fields = self.arguments(coefficients)
        residual = along_all(self.project, self.residual(coefficients, fields))
        size = float(np.linalg.norm(along_all(self.project, self.f))) or 1.0
        history = [float(np.linalg.norm(residual)) / size]
        converged = False
        for _ in range(_NEWTON):
            slopes = [
                [np.broadcast_to(g, self.domain.shape) for g in part.gradient(*a)]
                for part, a in zip(self.operator.nonlinear, fields, strict=True)
            ]
            mean = sum(
                float(g.mean())
                for part, gradient in zip(self.operator.nonlinear, slopes, strict=True)
                for orders, g in zip(part.arguments(d), gradient, strict=True)
                if not any(orders)
            )

            def jacobian(z: Array, slopes: list[list[Array]] = slopes) -> Array:
                full = along_all(self.null, z)
                out = self.linear(full)
                for gradient, arguments in zip(slopes, self.arguments(full), strict=True):
                    for g, a in zip(gradient, arguments, strict=True):
                        out += g * a
                return along_all(self.project, out)

            step, _ = gmres(jacobian, functools.partial(self.inverse.solve, shift=mean), residual, 1e-6)
            full = along_all(self.null, step)
            length = 1.0
            while True:
                trial = coefficients + length * full
                trial_fields = self.arguments(trial)
                trial_residual = along_all(self.project, self.residual(trial, trial_fields))
                norm = float(np.linalg.norm(trial_residual)) / size
                if norm < history[-1] or length < 1e-3:
                    break
                length *= 0.5
            if not norm < history[-1]:
                converged = history[-1] < math.sqrt(tolerance)
                break
            small = np.linalg.norm(full) <= tolerance * np.linalg.norm(coefficients)
            coefficients, fields, residual = trial, trial_fields, trial_residual
            history.append(norm)
            if small and length == 1.0:
                converged = True
                break
        self._found = coefficients
        return history, converged
