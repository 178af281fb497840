"""The direct solver of one axis. Internal.

Least squares in the prior's coordinates, conditions and equation together; the singular values that are dropped are
those of the rounding. Rough kernels span as many functions as there are points, and least squares would spread its
misfit over low frequencies, where the operator is weakest; for them the equation is projected on the leading modes, as
many as make the system square (Lanczos' tau method).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ._basis import Basis
from ._conditions import Row
from ._domain import Array
from ._operators import Operator
from ._solution import Expansion

_STEPS = 40
_RCOND = 1e-15
_ROUNDING = 1e-12  #: what a linear solve may leave before it is worth a correction


class Line:
    """The equation and its conditions, as functions of the coefficients theta."""

    def __init__(
        self, operator: Operator, x: Array, f: Array, rows: Sequence[Row], basis: Basis, row: Callable[..., Array]
    ) -> None:
        self.operator, self.x, self.f, self.basis = operator, x, f, basis
        orders = [operator.orders[0], *(o[0] for part in operator.nonlinear for o in part.arguments(1))]
        self.values = {m: basis.prior(x, m) for m in range(max(orders) + 1)}
        self.terms = [term.on(x)[:, None] * self.values[term.order] for term in operator.terms]
        self.linear = np.asarray(sum(self.terms))
        self.conditions = np.array([row(basis.prior, x, r) for r in rows]).reshape(len(rows), -1)
        self.data = np.array([float(r.data) for r in rows])
        self.weight = 1 / float(np.abs(self.linear).max())
        self.weights = 1 / np.abs(self.conditions).max(axis=1)
        size = math.hypot(self.weight * float(np.linalg.norm(f)), float(np.linalg.norm(self.weights * self.data)))
        self.size = size or 1.0
        self.test = None if basis.waves is not None else basis.vectors[:, : basis.rank - len(rows)].T

    def least_squares(self, matrix: Array, right: Array, bounds: Array) -> Array:
        """theta that best meets equation and conditions."""
        if self.test is not None:
            matrix, right = self.test @ matrix, self.test @ right
        stacked = np.vstack([self.weights[:, None] * self.conditions, self.weight * matrix])
        wanted = np.concatenate([self.weights * bounds, self.weight * right])
        return np.asarray(np.linalg.lstsq(stacked, wanted, rcond=_RCOND)[0])

    def nonlinear(self, theta: Array) -> tuple[Array, Array]:
        """N(u) and the matrix of its derivative."""
        value, matrix = np.zeros(self.x.size), np.zeros_like(self.linear)
        for part in self.operator.nonlinear:
            arguments = [self.values[orders[0]] for orders in part.arguments(1)]
            fields = [a @ theta for a in arguments]
            value = value + part.value(*fields)
            for slope, a in zip(part.gradient(*fields), arguments, strict=True):
                matrix = matrix + np.broadcast_to(slope, self.x.shape)[:, None] * a
        return value, matrix

    def residual(self, theta: Array) -> tuple[Array, Array, Array]:
        """What is left of the equation and of the conditions, and the matrix of the equation's derivative."""
        value, matrix = self.nonlinear(theta)
        return self.f - self.linear @ theta - value, self.data - self.conditions @ theta, self.linear + matrix

    def norm(self, parts: tuple[Array, Array, Array]) -> float:
        """The size of a residual, relative to the data."""
        left = parts[0] if self.test is None else self.test @ parts[0]
        both = math.hypot(self.weight * float(np.linalg.norm(left)), float(np.linalg.norm(self.weights * parts[1])))
        return both / self.size

    def misfit(self, theta: Array) -> float:
        """The residual between the ends, relative to the largest of the source and the terms."""
        largest = max(float(np.linalg.norm(self.f)), *(float(np.linalg.norm(t @ theta)) for t in self.terms))
        return float(np.linalg.norm(self.residual(theta)[0][1:-1])) / (largest or 1.0)

    def solve(self, guess: Array | None, tolerance: float) -> tuple[Expansion, bool, list[float]]:
        """The expansion, whether Newton converged, and its residuals."""
        if guess is None:
            nothing = self.nonlinear(np.zeros(self.linear.shape[1]))[0]
            theta = self.least_squares(self.linear, self.f - nothing, self.data)
        else:
            theta = np.linalg.lstsq(self.values[0], guess, rcond=1e-13)[0]
        current = self.residual(theta)
        history = [self.norm(current)]
        converged = self.operator.linear and guess is None
        for _ in range(int(history[0] > _ROUNDING) if self.operator.linear else _STEPS):
            step = self.least_squares(current[2], current[0], current[1])
            length, trial = 1.0, self.residual(theta + step)
            while self.norm(trial) > history[-1] and length > 1e-3 and not self.operator.linear:
                length *= 0.5
                trial = self.residual(theta + length * step)
            if not self.norm(trial) < history[-1]:
                converged = converged or history[-1] < math.sqrt(tolerance)
                break
            small = np.linalg.norm(self.values[0] @ step) <= tolerance * np.linalg.norm(self.values[0] @ theta)
            theta, current = theta + length * step, trial
            history.append(self.norm(current))
            if small and length == 1.0:
                converged = True
                break
        return Expansion((self.basis.prior,), theta), converged, history
