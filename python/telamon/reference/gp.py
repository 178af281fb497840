"""The plain truth about Gaussian processes on grids: what `telamon.gp` should return, by dense algebra.

Points are rows, kernels are lists of `telamon.gp` kernels, one an axis, and K is formed whole. Slow and meant to be:
nothing in telamon calls it but tests. It needs NumPy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["covariance", "generalised_mean", "grid_points", "log_likelihood", "posterior"]

Array = Any


def grid_points(axes: Sequence[Array]) -> Array:
    """The points of a grid, shape (N, d), last axis fastest."""
    return np.stack([x.reshape(-1) for x in np.meshgrid(*axes, indexing="ij")], axis=1)


def covariance(kernels: Sequence[Any], x: Array, y: Array, dx: Sequence[int], dy: Sequence[int]) -> Array:
    """prod_i d^dx_i/dx^dx_i d^dy_i/dy^dy_i k_i(x_i, y_i) for all rows of x and y."""
    out = np.ones((len(x), len(y)))
    for i, kernel in enumerate(kernels):
        out *= kernel.derivative(x[:, i], y[:, i], dx[i], dy[i])
    return out


def log_likelihood(kernels: Sequence[Any], x: Array, y: Array, noise: Array, mean: float = 0.0) -> float:
    """The log density of values y at points x, noise a variance each: Rasmussen and Williams (2006), 2.30."""
    none = [0] * len(kernels)
    a = covariance(kernels, x, x, none, none) + np.diag(noise)
    residual = y - mean
    _, logdet = np.linalg.slogdet(a)
    return float(-0.5 * (residual @ np.linalg.solve(a, residual) + logdet + len(y) * np.log(2 * np.pi)))


def generalised_mean(kernels: Sequence[Any], x: Array, y: Array, noise: Array) -> float:
    """The constant that maximises `log_likelihood`."""
    none = [0] * len(kernels)
    weights = np.linalg.solve(covariance(kernels, x, x, none, none) + np.diag(noise), np.ones(len(y)))
    return float(weights @ y / weights.sum())


def posterior(
    kernels: Sequence[Any], x: Array, y: Array, noise: Array, test: Array, orders: Sequence[int], mean: float = 0.0
) -> tuple[Array, Array]:
    """Mean and covariance of a derivative at the rows of test: Rasmussen and Williams (2006), 2.25 and 2.26."""
    none = [0] * len(kernels)
    a = covariance(kernels, x, x, none, none) + np.diag(noise)
    cross = covariance(kernels, test, x, orders, none)
    prior = covariance(kernels, test, test, orders, orders)
    level = 0.0 if any(orders) else mean
    return level + cross @ np.linalg.solve(a, y - mean), prior - cross @ np.linalg.solve(a, cross.T)
