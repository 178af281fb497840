"""NUPES: quantisers that are power functions, with an exponent that is searched for or learned.

Sources: PowerQuant (Yvinec et al. 2023), arXiv:2301.09858, for the family and the search without data; NUPES (2023),
arXiv:2308.05600, for learning weights and exponent together on the layer's reconstruction. Powers are the continuous
automorphisms of (R+, x), which is why products of codes stay products.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from ._check import as_matrix, as_number, as_whole
from ._grids import stored

Array = NDArray[Any]

__all__ = ["PowerQuantizer", "nupes_exponent", "power_levels"]

LEAST, MOST = 0.2, 1.5  # exponents: beyond, levels crowd at 0 or at the ends
_GRID = np.exp(np.linspace(np.log(LEAST), np.log(MOST), 41))  # 5 % apart
_GOLDEN = (np.sqrt(5) - 1) / 2


def power_levels(bits: int, exponent: float) -> Array:
    """sign(q) (\\|q\\|/N)^(1/a) for q = -N ... N, N = 2^(bits-1) - 1: levels for the scale 1, ascending."""
    n = (1 << (bits - 1)) - 1
    q = np.arange(-n, n + 1)
    return np.sign(q) * (np.abs(q) / n) ** (1 / exponent)


class PowerQuantizer(NamedTuple):
    """Q_a(x) = sign(x) round(N (\\|x\\|/s)^a), N = 2^(bits-1) - 1, back to sign(q) s (\\|q\\|/N)^(1/a).

    With exponent 1 it is the uniform symmetric quantiser. For weights and activations; scales s are the largest \\|x\\|
    along an axis unless given.

    Parameters
    ----------
    bits : int
        2 to 8.
    exponent : float
        From 0.2 to 1.5.

    Examples
    --------
    >>> codes, scale = PowerQuantizer(4, 0.5).quantize(np.array([0.0, 0.02, -1.0]))
    >>> codes, scale
    (array([ 0,  1, -7], dtype=int8), array([1.]))
    """

    bits: int = 8
    exponent: float = 1.0

    def quantize(self, x: ArrayLike, scale: ArrayLike | None = None, axis: int = -1) -> tuple[Array, Array]:
        """Codes, int8 of x's shape, and the scales; entries beyond a given scale are clipped to it.

        Rounding is to the nearest code of the power, not to the nearest level: that is what integers can do by a table.
        """
        where = "telamon.quant.PowerQuantizer.quantize"
        n = self._most(where)
        array = np.asarray(x, np.float64)
        if not np.isfinite(array).all():
            raise ValueError(f"{where}: x is NaN or infinite somewhere; mend it before it is quantised")
        s = np.abs(array).max(axis=axis, keepdims=True, initial=0) if scale is None else np.asarray(scale, np.float64)
        ratio = np.minimum(np.abs(array) / np.where(s > 0, s, 1), 1)
        return (np.sign(array) * np.rint(n * ratio**self.exponent)).astype(np.int8), s

    def dequantize(self, codes: ArrayLike, scale: ArrayLike) -> Array:
        """The numbers, float64."""
        n = self._most("telamon.quant.PowerQuantizer.dequantize")
        levels = power_levels(self.bits, self.exponent)
        result: Array = levels[np.asarray(codes, np.int64) + n] * np.asarray(scale, np.float64)
        return result

    def __call__(self, x: ArrayLike, scale: ArrayLike | None = None, axis: int = -1) -> Array:
        """x as it is after quantising, in its dtype where that is float32 or float64."""
        dtype = np.asarray(x).dtype
        return self.dequantize(*self.quantize(x, scale, axis)).astype(dtype if dtype.kind == "f" else np.float64)

    def _most(self, where: str) -> int:
        as_number(where, "exponent", self.exponent, LEAST, MOST)
        return (1 << (as_whole(where, "bits", self.bits, 2, 8) - 1)) - 1


def nupes_exponent(W: ArrayLike, bits: int = 4) -> float:
    """The exponent with the least sum of squares of W - Q_a^-1(Q_a(W)), each row with the scale max\\|w\\|: data-free.

    A grid from 0.2 to 1.5, then golden sections around its best. Real weights give about 0.55 to 0.7.
    """
    where = "telamon.quant.nupes_exponent"
    w = as_matrix(where, "W", W)
    as_whole(where, "bits", bits, 2, 8)
    scales = np.abs(w).max(axis=1)
    return _search(lambda a: _squares(w, codebooks(scales, bits, a)))


def _search(loss: Any) -> float:
    losses = [loss(a) for a in _GRID]
    best = int(np.argmin(losses))
    low, high = _GRID[max(best - 1, 0)], _GRID[min(best + 1, len(_GRID) - 1)]
    for _ in range(12):  # to 0.1 %
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    middle = (low + high) / 2
    return float(middle if loss(middle) < losses[best] else _GRID[best])


def _squares(w: Array, books: Array) -> float:
    error = np.take_along_axis(books, _native.nearest(w, books), axis=1) - w
    return float(np.square(error, dtype=np.float64).sum())


def codebooks(scales: Array, bits: int, exponent: float) -> Array:
    """Of rows (rows, 2^bits), float32: code 0 repeats the lowest level, so that the others are q + N + 1."""
    levels = power_levels(bits, exponent)
    return np.ascontiguousarray(scales[:, None] * np.concatenate([levels[:1], levels]), np.float32)


def fit(w: Array, h: Array | None, bits: int, rounds: int, cycles: int) -> tuple[Array, Array, float]:
    """Codebooks in float16's numbers, codes, and the exponent: without data, and from there by `descend` with H."""
    exponent = nupes_exponent(w, bits)
    scales = np.abs(w).max(axis=1).astype(np.float64)
    books = stored(codebooks(scales, bits, exponent), np.float16)
    codes = _native.nearest(w, books)
    if h is None:
        return books, codes, exponent
    return descend(w, h, bits, rounds, cycles, exponent, scales)


def descend(
    w: Array, h: Array, bits: int, rounds: int, cycles: int, exponent: float, scales: Array
) -> tuple[Array, Array, float]:
    """Codes, scales and the exponent together on sum_j e_j' H e_j.

    By turns: codes over the whole grid, by coordinate descent; the rows' scales, which are a linear least-squares
    problem; the exponent a = exp(t), by Newton's method in t on the objective with the best scales of each row, a step
    taken only where the objective falls. A code of 0 stays 0 for every exponent. What NUPES does by stochastic
    gradients in weights and exponent is done here exactly for the one and in closed form for the other.
    """
    books = stored(codebooks(scales, bits, exponent), np.float16)
    codes = _native.nearest(w, books)
    hw = w @ h
    for _ in range(rounds):
        _cycles(w, h, books, codes, cycles)
        exponent, scales = _refit(w, h, hw, codes, bits, exponent, scales)
        books = stored(codebooks(scales, bits, exponent), np.float16)
    _cycles(w, h, books, codes, cycles)
    dead = h.diagonal() == 0  # inputs that calibration never met get the nearest levels
    codes[:, dead] = _native.nearest(w, books)[:, dead]
    return books, codes, exponent


def _cycles(w: Array, h: Array, books: Array, codes: Array, cycles: int) -> None:
    """Coordinate descent over codes: LNQ without iterations rounds to float16, which they are, and goes once round."""
    for _ in range(cycles):
        _native.lnq(w, h, books, codes, 0, 0, True)


def _refit(
    w: Array, h: Array, hw: Array, codes: Array, bits: int, exponent: float, scales: Array
) -> tuple[float, Array]:
    """The exponent and the scales for these codes: no worse than those that came."""

    def best_scales(a: float) -> tuple[float, Array]:
        levels = power_levels(bits, a)
        unit = np.concatenate([levels[:1], levels])[codes]
        own, cross = np.einsum("ri,ri->r", unit @ h, unit), np.einsum("ri,ri->r", unit, hw)
        s = np.where(own > 0, np.maximum(cross, 0) / np.where(own > 0, own, 1), scales)
        return float((s * (s * own - 2 * cross)).sum()), s  # but for w' H w

    t, width = np.log(exponent), 0.1
    value, s = best_scales(exponent)
    for _ in range(4):
        low, high = np.clip([t - width, t + width], np.log(LEAST), np.log(MOST))
        trials = [(best_scales(float(np.exp(at))), at) for at in (low, high)]
        (left, _), (right, _) = (trial for trial, _ in trials)
        bend = left - 2 * value + right
        if bend > 0:
            at = float(np.clip(t + 0.5 * width * (left - right) / bend, low, high))
            trials.append((best_scales(float(np.exp(at))), at))
        (least, best), at = min(trials, key=lambda trial: trial[0][0])
        if least < value:
            value, s, t = least, best, at
        else:
            width /= 4
    return float(np.exp(t)), s
