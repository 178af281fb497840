"""What a format can hold: how well it fits a Gaussian, and how many bits an ideal code would need for that.

Source: "Unified Scaling Laws for Compressed Representations" (2025), arXiv:2506.01863. The rate-distortion bound of a
Gaussian is MSE = 4^-bits, so that a format of this error has log_{1/4}(MSE) effective bits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._check import as_choice, as_whole
from ._layer import METHODS, quantize_layer

Array = NDArray[Any]

__all__ = ["Capacity", "capacity", "lloyd_max"]

_DATA_FREE = tuple(method for method in METHODS if method not in ("lnq", "gptq", "squeezellm"))
_cdf = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[float])


class Capacity(NamedTuple):
    """The mean squared error on N(0, 1), log_{1/4} of it, and the bits a weight takes, codebooks included."""

    mse: float
    effective_bits: float
    stored_bits: float


def capacity(
    format: str | ArrayLike,
    bits: int | None = None,
    *,
    group_size: int | None = None,
    rows: int = 64,
    inputs: int = 4096,
    seed: int = 0,
) -> Capacity:
    """The capacity of a format, by its error on independent N(0, 1).

    Parameters
    ----------
    format : {"lloyd-max", "kmeans", "rtn", "hqq", "nupes"} or array_like (levels,)
        "lloyd-max": the best codebook of 2^bits levels, by integrals. An array: these levels, times the factor that
        serves them best, by integrals as well. The others: `quantize_layer` without data on a matrix (rows, inputs) of
        random numbers, as it comes out with its rounded codebooks.
    bits : int, optional
        1 to 8; of an array log2 of its length, where not given.
    group_size : int, optional
        As in `quantize_layer`.
    rows, inputs, seed : int
        Of the random matrix.

    Returns
    -------
    Capacity

    Examples
    --------
    >>> round(capacity("lloyd-max", 1).mse, 4)
    0.3634
    """
    where = "telamon.quant.capacity"
    if not isinstance(format, str):
        levels = np.sort(np.asarray(format, np.float64).reshape(-1))
        if len(levels) < 2 or not np.isfinite(levels).all() or not levels.any():
            raise ValueError(f"{where}: format is an array of {len(levels)} levels; pass at least two finite ones")
        return _capacity(_best_scaled(levels), math.log2(len(levels)) if bits is None else bits)
    as_choice(where, "format", format, ("lloyd-max", *_DATA_FREE))
    width = as_whole(where, "bits", 0 if bits is None else bits, 1, 8)
    if format == "lloyd-max":
        return _capacity(_mse(lloyd_max(width)), width)
    x = np.random.default_rng(seed).standard_normal(
        (as_whole(where, "rows", rows, 1), as_whole(where, "inputs", inputs, 1))
    )
    matrix = quantize_layer(x, bits=width, method=format, group_size=group_size)
    mse = float(np.square(matrix.dequantize() - x).mean() / np.square(x).mean())
    return _capacity(mse, matrix.bits_per_weight)


def lloyd_max(bits: int) -> Array:
    """The 2^bits levels with the least squared error on N(0, 1), ascending, to about 1e-9 (Max 1960, Lloyd 1982).

    Newton's method on the conditions that each level is the mean of its cell: a tridiagonal system, of which a level
    depends on its neighbours only.
    """
    n = 1 << as_whole("telamon.quant.lloyd_max", "bits", bits, 1, 8)
    # The density of levels that is best for many of them, phi^(1/3), is that of a normal of variance 3.
    at = (np.arange(n) + 0.5) / n
    grid = np.linspace(-9, 9, 20001)
    levels = np.interp(at, _cdf(grid / math.sqrt(3)), grid)
    for _ in range(100):
        middles, mass, mean = _cells(levels)
        density = _density(middles)
        residual = mean - levels
        if np.abs(residual).max() < 1e-13:
            break
        # d mean_a / d middle = density (middle - mean_a) / mass_a at its right end, and minus that at its left.
        right = np.append(density * (middles - mean[:-1]) / mass[:-1], 0)
        left = np.insert(density * (mean[1:] - middles) / mass[1:], 0, 0)
        jacobian = np.diag(1 - (right + left) / 2) - np.diag(right[:-1] / 2, 1) - np.diag(left[1:] / 2, -1)
        step = np.linalg.solve(jacobian, residual)
        moved = levels + step
        levels = moved if (np.diff(moved) > 0).all() else mean  # far off, Lloyd's step
    result: Array = (levels - levels[::-1]) / 2
    return result


def _density(x: Array) -> Array:
    result: Array = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return result


def _cells(levels: Array) -> tuple[Array, Array, Array]:
    """The middles between levels, and of each level's cell the mass and the mean."""
    middles = (levels[1:] + levels[:-1]) / 2
    ends = np.concatenate([[-np.inf], middles, [np.inf]])
    # From whichever tail is nearer, since differences of numbers near 1 lose all digits.
    mass = np.where(ends[:-1] >= 0, _cdf(-ends[:-1]) - _cdf(-ends[1:]), _cdf(ends[1:]) - _cdf(ends[:-1]))
    density = _density(ends)
    mass = np.maximum(mass, np.finfo(float).tiny)
    return middles, mass, (density[:-1] - density[1:]) / mass


def _mse(levels: Array) -> float:
    """E (x - nearest level)^2 of x from N(0, 1): 1 - 2 E x q(x) + E q(x)^2."""
    _, mass, mean = _cells(levels)
    return float(1 + (mass * levels * (levels - 2 * mean)).sum())


def _best_scaled(levels: Array) -> float:
    """The least error of a multiple of the levels: a grid of factors, and golden sections around its best."""
    factors = np.exp(np.linspace(-5, 5, 401)) / np.abs(levels).max()
    errors = [_mse(levels * factor) for factor in factors]
    best = int(np.argmin(errors))
    low, high = factors[max(best - 1, 0)], factors[min(best + 1, len(factors) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if _mse(levels * a) <= _mse(levels * b) else (a, high)
    return min(errors[best], _mse(levels * (low + high) / 2))


def _capacity(mse: float, stored: float) -> Capacity:
    return Capacity(mse, -math.log(mse) / math.log(4) if mse > 0 else math.inf, float(stored))
