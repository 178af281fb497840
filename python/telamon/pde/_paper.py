"""Method "paper": the objective and the optimiser of Fang et al., ICLR 2024, as their code has them. Internal.

Unknown are the grid values U, log tau, log v and the kernels' hyperparameters. With K_i the kernel's matrix of axis i
plus jitter, and derivatives D_i = K_i^(m) K_i^-1 on one axis, the joint log density to be maximised is

    -1/2 sum_i N/n_i log|K_i| - 1/2 <U, (K_1 x .. x K_d)^-1 U>
    + weight [N_b/2 log tau - tau/2 |B U - g|^2] + N/2 log v - v/2 |L U + N(U) - f|^2.

It has no upper bound, since v may grow as the residual vanishes: it is optimised for a number of epochs, and the last
one is what counts. The gradient is by the adjoint of these formulas: with F = K^(m) K^-1 U, Z = K^-1 U and the
objective's slope S in F, the slope in K^(m) is S Z', that in K is -D' S Z', and that in U is D' S.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from telamon.gp import Kernel

from ._conditions import Row
from ._domain import Array, Domain
from ._inverse import along, along_all
from ._operators import Operator
from ._solution import Expansion, Section

_FIRST, _SECOND, _GUARD = 0.9, 0.999, 1e-8  #: ADAM's constants
_HISTORY = 200


_Field: TypeAlias = Callable[[Sequence[int]], Array]
_Pull: TypeAlias = Callable[[Sequence[int], Array], None]


class _Matrices:
    """K^-1, K^(m) and D of one axis, with the slopes that gather for them."""

    def __init__(self, kernel: Kernel, x: Array, orders: Sequence[int], jitter: float) -> None:
        self.kernel, self.x = kernel, x
        matrix = kernel(x) + jitter * np.eye(x.size)
        self.logdet = float(np.linalg.slogdet(matrix)[1])
        self.inverse = np.linalg.inv(matrix)
        self.derivative = {m: kernel.derivative(x, x, dx=m) @ self.inverse for m in orders if m}
        self.slopes = {m: np.zeros((x.size, x.size)) for m in (0, *self.derivative)}

    def gradient(self) -> Array:
        """The slope in theta."""
        return np.asarray(sum(self.kernel.contract(s, self.x, self.x, dx=m) for m, s in self.slopes.items()))


def _paired(one: Array, two: Array, axis: int) -> Array:
    """sum over all other axes of one[.. j ..] two[.. k ..]."""
    a = np.moveaxis(one, axis, 0).reshape(one.shape[axis], -1)
    b = np.moveaxis(two, axis, 0).reshape(two.shape[axis], -1)
    return np.asarray(a @ b.T)


class Objective:
    """Minus the joint log density of (U, log tau, log v, theta), as one vector."""

    def __init__(
        self,
        operator: Operator,
        domain: Domain,
        f: Array,
        rows: Sequence[Sequence[Row]],
        kernels: Sequence[Kernel],
        weight: float,
        jitter: float,
    ) -> None:
        self.operator, self.domain, self.f, self.rows = operator, domain, f, rows
        self.kernels, self.weight, self.jitter = list(kernels), weight, jitter
        self.size = math.prod(domain.shape)
        self.conditions = sum(row.data.size for conditions in rows for row in conditions)
        wanted = [{t.order for t in operator.terms if t.axis == i} for i in range(domain.dimension)]
        for part in operator.nonlinear:
            for orders in part.arguments(domain.dimension):
                for i, m in enumerate(orders):
                    wanted[i].add(m)
        for i, conditions in enumerate(rows):
            wanted[i] |= {order for row in conditions for _, order, _ in row.parts}
        self.orders = [sorted(orders) for orders in wanted]

    def start(self) -> Array:
        """U = 0, tau = v = 1, and the kernels as given."""
        return np.concatenate([np.zeros(self.size + 2), *(k.theta for k in self.kernels)])

    def split(self, parameters: Array) -> tuple[Array, float, float, list[Kernel]]:
        """U, log tau, log v and the kernels."""
        kernels, start = [], self.size + 2
        for kernel in self.kernels:
            kernels.append(kernel.with_theta(parameters[start : start + kernel.theta.size]))
            start += kernel.theta.size
        values = parameters[: self.size].reshape(self.domain.shape)
        return values, float(parameters[self.size]), float(parameters[self.size + 1]), kernels

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        """The value and its gradient."""
        u, log_tau, log_v, kernels = self.split(parameters)
        axes = [
            _Matrices(k, x, orders, self.jitter)
            for k, x, orders in zip(kernels, self.domain.axes, self.orders, strict=True)
        ]
        slope = np.zeros_like(u)

        def field(orders: Sequence[int]) -> Array:
            return along_all([a.derivative[m] if m else None for a, m in zip(axes, orders, strict=True)], u)

        def pull(orders: Sequence[int], adjoint: Array) -> None:
            """Add what a slope in a derivative of U means for U and the kernels."""
            for i, m in enumerate(orders):
                if not m:
                    continue
                others = [
                    a.derivative[n] if n and j != i else None for j, (a, n) in enumerate(zip(axes, orders, strict=True))
                ]
                solved = along(axes[i].inverse, along_all(others, u), i)
                axes[i].slopes[m] += _paired(adjoint, solved, i)
                axes[i].slopes[0] -= axes[i].derivative[m].T @ _paired(adjoint, solved, i)
            transposed = [a.derivative[m].T if m else None for a, m in zip(axes, orders, strict=True)]
            np.add(slope, along_all(transposed, adjoint), out=slope)

        value = self._prior(u, axes, slope)
        misfit, gap = self._boundary(field, pull, log_tau), self._equation(field, pull, log_v)
        value += 0.5 * self.weight * (math.exp(log_tau) * misfit - self.conditions * log_tau)
        value += 0.5 * (math.exp(log_v) * gap - self.size * log_v)
        d_tau = 0.5 * self.weight * (math.exp(log_tau) * misfit - self.conditions)
        d_v = 0.5 * (math.exp(log_v) * gap - self.size)
        return value, np.concatenate([slope.reshape(-1), [d_tau, d_v], *(a.gradient() for a in axes)])

    def _prior(self, u: Array, axes: Sequence[_Matrices], slope: Array) -> float:
        whitened = along_all([a.inverse for a in axes], u)
        slope += whitened
        value = 0.5 * float(np.sum(u * whitened))
        for i, a in enumerate(axes):
            share = self.size / a.x.size
            value += 0.5 * share * a.logdet
            a.slopes[0] += 0.5 * share * a.inverse
            a.slopes[0] -= 0.5 * _paired(whitened, along(a.inverse, u, i), i)
        return value

    def _boundary(self, field: _Field, pull: _Pull, log_tau: float) -> float:
        d, tau = self.domain.dimension, math.exp(log_tau)
        gap = 0.0
        for axis, conditions in enumerate(self.rows):
            for row in conditions:
                parts = [
                    (end, sign, tuple(order if i == axis else 0 for i in range(d))) for end, order, sign in row.parts
                ]
                misfit = sum(sign * field(orders).take(end, axis) for end, sign, orders in parts) - row.data
                gap += float(np.sum(misfit**2))
                for end, sign, orders in parts:
                    adjoint = np.zeros(self.domain.shape)
                    index = tuple(end if i == axis else slice(None) for i in range(d))
                    adjoint[index] = self.weight * tau * sign * misfit
                    pull(orders, adjoint)
        return gap

    def _equation(self, field: _Field, pull: _Pull, log_v: float) -> float:
        d = self.domain.dimension
        linear = []
        for term in self.operator.terms:
            weight = term.on(self.domain.axes[term.axis]).reshape([-1 if i == term.axis else 1 for i in range(d)])
            linear.append((weight, tuple(term.order if i == term.axis else 0 for i in range(d))))
        misfit = sum(weight * field(orders) for weight, orders in linear) - self.f
        slopes = []
        for part in self.operator.nonlinear:
            arguments = part.arguments(d)
            fields = [field(orders) for orders in arguments]
            misfit = misfit + part.value(*fields)
            slopes += list(zip(part.gradient(*fields), arguments, strict=True))
        scaled = math.exp(log_v) * misfit
        for weight, orders in (*linear, *slopes):
            pull(orders, weight * scaled)
        return float(np.sum(misfit**2))

    def expansion(self, parameters: Array) -> tuple[Expansion, list[Kernel]]:
        """u as the process' mean k K^-1 U, and the kernels."""
        u, _, _, kernels = self.split(parameters)
        coefficients = u
        for i, (kernel, x) in enumerate(zip(kernels, self.domain.axes, strict=True)):
            coefficients = along(np.linalg.inv(kernel(x) + self.jitter * np.eye(x.size)), coefficients, i)
        functions = tuple(Section(k, x, 0) for k, x in zip(kernels, self.domain.axes, strict=True))
        return Expansion(functions, coefficients), kernels


def adam(objective: Objective, epochs: int, rate: float) -> tuple[Array, list[float]]:
    """The parameters after the last epoch, and the objective on the way."""
    parameters = objective.start()
    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    history = []
    for epoch in range(1, epochs + 1):
        value, gradient = objective(parameters)
        if not np.isfinite(value):
            raise ValueError(
                f"method='paper' met a value that is not finite in epoch {epoch}; lower 'learning_rate' "
                f"or raise 'jitter'."
            )
        if (epoch - 1) % max(1, epochs // _HISTORY) == 0:
            history.append(value)
        first = _FIRST * first + (1 - _FIRST) * gradient
        second = _SECOND * second + (1 - _SECOND) * gradient**2
        step = first / (1 - _FIRST**epoch) / (np.sqrt(second / (1 - _SECOND**epoch)) + _GUARD)
        parameters = parameters - rate * step
    history.append(objective(parameters)[0])
    return parameters, history
