"""The baseline: Chebyshev collocation on as many points, after Trefethen, Spectral Methods in MATLAB, 2000."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, gmres


def matrix(n: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Increasing points on [low, high] and the matrix that differentiates."""
    x = -np.cos(np.pi * np.arange(n) / (n - 1))
    c = np.r_[2.0, np.ones(n - 2), 2.0] * (-1.0) ** np.arange(n)
    # differences by the sine of half the difference of angles, which does not cancel
    angle = np.pi * np.arange(n) / (n - 1)
    difference = 2 * np.sin((angle[:, None] + angle) / 2) * np.sin((angle[:, None] - angle) / 2) + np.eye(n)
    d = np.outer(c, 1 / c) / difference
    np.fill_diagonal(d, 0.0)
    d -= np.diag(d.sum(axis=1))
    return low + (x + 1) * (high - low) / 2, d * 2 / (high - low)


def interpolate(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Barycentric interpolation from Chebyshev points, as a matrix."""
    weights = (-1.0) ** np.arange(x.size)
    weights[[0, -1]] /= 2
    difference = at[:, None] - x
    hit = difference == 0
    difference[hit.any(axis=1)] = 1.0
    out = weights / difference
    out[hit.any(axis=1)] = 0.0
    out[hit] = 1.0
    return out / out.sum(axis=1, keepdims=True)


def solve(problem: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """Points and u on them; the values at the ends with conditions are those of the exact solution."""
    operator, d = problem.operator, problem.operator.dimension
    x, first = matrix(problem.points, *problem.domain)
    powers = {0: np.eye(x.size), 1: first, 2: first @ first}
    grid = np.meshgrid(*[x] * d, indexing="ij")
    f, exact = np.broadcast_to(problem.f(*grid), grid[0].shape), problem.u(*grid)
    sums = [sum(t.coefficient * powers[t.order] for t in operator.terms if t.axis == i) for i in range(d)]
    free = [slice(1, -1) if order == 2 else slice(1, None) for order in operator.orders]
    inner = [a[s, s] for a, s in zip(sums, free, strict=True)]

    def linear(u: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
        return sum(np.moveaxis(np.tensordot(a, u, (1, i)), 0, i) for i, a in enumerate(matrices))

    if d == 2 and operator.orders == (1, 1):  # far from normal: Bartels and Stewart

        def inverse(r: np.ndarray) -> np.ndarray:
            return linalg.solve_sylvester(inner[0], inner[1].T, r)
    else:
        values, vectors = np.linalg.eig(inner[0])
        back = np.linalg.inv(vectors)
        total = sum(values.reshape([-1 if i == j else 1 for j in range(d)]) for i in range(d))

        def inverse(r: np.ndarray) -> np.ndarray:
            for i in range(d):
                r = np.moveaxis(np.tensordot(back, r, (1, i)), 0, i)
            r = r / total
            for i in range(d):
                r = np.moveaxis(np.tensordot(vectors, r, (1, i)), 0, i)
            return r.real

    u = exact.copy()
    u[tuple(free)] = 0.0
    for _ in range(1 if operator.linear else 8):
        residual, slope = f - linear(u, sums), np.zeros_like(u)
        for part in operator.nonlinear:
            residual = residual - part.value(u)
            slope += part.gradient(u)[0]
        step = correction(inner, linear, inverse, residual[tuple(free)], slope[tuple(free)])
        u[tuple(free)] += step
        if np.linalg.norm(step) < 1e-12 * np.linalg.norm(u):
            break
    return [x] * d, u


def correction(inner: Any, linear: Any, inverse: Any, residual: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """One step of Newton's: exact where the slope vanishes, else by GMRES."""
    if not slope.any():
        return inverse(residual)

    def jacobian(z: np.ndarray) -> np.ndarray:
        z = z.reshape(slope.shape)
        return (linear(z, inner) + slope * z).ravel()

    size = (residual.size,) * 2
    guess = LinearOperator(size, lambda r: inverse(r.reshape(slope.shape)).ravel())
    solved = gmres(LinearOperator(size, jacobian), residual.ravel(), rtol=1e-10, restart=80, M=guess)[0]
    return solved.reshape(slope.shape)


def error(problem: Any) -> float:
    """Relative L2 error on the grid on which `Problem.error` measures."""
    axes, u = solve(problem)
    at = np.linspace(*problem.domain, 300 if len(axes) < 3 else 67)
    between = interpolate(axes[0], at)
    for i in range(len(axes)):
        u = np.moveaxis(np.tensordot(between, u, (1, i)), 0, i)
    exact = problem.u(*np.meshgrid(*[at] * len(axes), indexing="ij"))
    return float(np.linalg.norm(u - exact) / np.linalg.norm(exact))
