"""What the tests of telamon.kron share: covariances, grids and the errors that rounding allows."""

from __future__ import annotations

import numpy as np

DTYPES = (np.float64, np.float32)


def eps(dtype):
    return float(np.finfo(dtype).eps)


def generator(*seed):
    return np.random.default_rng(seed)


def covariance(n, kind="matern12", lengthscale=0.3, spacing="uniform", seed=0):
    """A covariance matrix of n points in [0, 1]."""
    x = axis(n, spacing, seed)
    r = np.abs(np.subtract.outer(x, x)) / lengthscale
    return {
        "matern12": lambda: np.exp(-r),
        "matern32": lambda: (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r),
        "rbf": lambda: np.exp(-(r**2) / 2),
        "repeated": lambda: np.eye(n) + np.ones((n, n)),  # all eigenvalues but one are 1
    }[kind]()


def axis(n, spacing="uniform", seed=0):
    if spacing == "uniform":
        return np.linspace(0, 1, n)
    return (np.arange(n) + generator(seed, n).uniform(0.1, 0.9, n)) / n  # irregular, and distinct in float32


def mask_of(kind, grid, seed=0):
    """None, or True where observed."""
    if kind == "none":
        return None
    mask = np.ones(grid, bool)
    if kind == "block":
        mask[tuple(slice(n // 4, max(n // 4 + 1, (3 * n) // 4)) for n in grid)] = False
    elif kind == "random":
        mask = generator(seed, *grid).random(grid) > 0.35
        mask.flat[0] = True
    elif kind == "few":
        mask.flat[:: max(2, mask.size // 7)] = False
    elif kind == "all but one":
        mask[:] = False
        mask.flat[mask.size // 2] = True
    return mask


def noise_of(kind, grid, size=0.1, spread=10.0, seed=0):
    """A number, a tuple of vectors or a grid, `spread` between its smallest and largest variance."""
    rng = generator(seed, *grid)
    if kind == "number":
        return size
    if kind == "separable":
        exponents = [rng.uniform(-0.5, 0.5, n) for n in grid]
        vectors = [np.exp(e * np.log(spread) / len(grid)) for e in exponents]
        return (size * vectors[0], *vectors[1:])
    return size * np.exp(np.log(spread) * rng.uniform(-0.5, 0.5, grid))


def noise_grid(noise, grid):
    """The noise as a grid."""
    if isinstance(noise, tuple):
        total = np.ones(())
        for vector in noise:
            total = np.multiply.outer(total, vector)
        return total
    return np.broadcast_to(np.asarray(noise), grid)
