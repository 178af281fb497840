"""Points of one axis: checks, even spacing, and the Toeplitz matrices that come with it. Internal."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]

EPS = float(np.finfo(np.float64).eps)


def points(value: ArrayLike, name: str) -> Array:
    """`value` as a vector of finite float64."""
    try:
        x = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"'{name}' must hold real numbers: {error}") from None
    if x.ndim != 1:
        raise ValueError(f"'{name}' must be one dimensional, got shape {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError(f"'{name}' contains NaN or infinity; drop these points.")
    return x


def axis_points(value: ArrayLike, name: str) -> Array:
    """The points of a grid's axis: at least one, increasing."""
    x = points(value, name)
    if not x.size:
        raise ValueError(f"'{name}' is empty; an axis needs at least one point.")
    steps = np.diff(x)
    if (steps == 0).any():
        i = int(np.argmin(np.abs(steps)))
        raise ValueError(f"'{name}' has duplicate points: entries {i} and {i + 1} are both {x[i]:.6g}; average them.")
    if (steps < 0).any():
        i = int(np.argmax(steps < 0))
        if (steps < 0).all():
            raise ValueError(f"'{name}' decreases; flip it, and the data along this axis.")
        raise ValueError(
            f"'{name}' is not sorted: entry {i + 1}, {x[i + 1]:.6g}, follows {x[i]:.6g}; "
            f"sort the axis, and the data along it, by np.argsort."
        )
    return x


def step(x: Array) -> float | None:
    """The distance between neighbours where it is one and the same up to the rounding of the points, else None."""
    if x.size < 2:
        return 0.0
    h = (x[-1] - x[0]) / (x.size - 1)
    exact = x[0] + h * np.arange(x.size)
    # each point has an error of half an ulp, and so has the product
    return float(h) if h != 0 and np.abs(x - exact).max() <= 2 * EPS * np.abs(x[[0, -1]]).max() else None


def lags(x: Array, y: Array) -> Array | None:
    """x_i - y_j along the n + m - 1 diagonals, from j - i = m - 1 on; None if the matrix is not Toeplitz."""
    hx, hy = step(x), step(y)
    if hx is None or hy is None or (x.size > 1 and y.size > 1 and abs(hx - hy) > 2 * EPS * abs(hx)):
        return None
    h = hx if x.size > 1 else hy
    return np.asarray((x[0] - y[0]) + h * np.arange(1 - y.size, x.size))


def toeplitz(values: Array, n: int, m: int) -> Array:
    """The matrices with ``values[..., i - j + m - 1]`` at i, j."""
    windows = np.lib.stride_tricks.sliding_window_view(values, m, axis=-1)
    return np.ascontiguousarray(windows[..., :n, ::-1])


def diagonal_sums(a: Array) -> Array:
    """Sums along the diagonals of an n by m matrix, in the order of `lags`: the adjoint of `toeplitz`."""
    n, m = a.shape
    sheared = np.zeros((n, n + m), a.dtype)
    sheared[:, :m] = a[:, ::-1]
    # row i of the same memory, read with rows one shorter, begins i entries later
    return np.asarray(sheared.ravel()[: n * (n + m - 1)].reshape(n, n + m - 1).sum(axis=0))
