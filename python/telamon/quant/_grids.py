"""Codebooks of rows on their own, before anything is known of how inputs go together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native

Array = NDArray[Any]


def stored(codebooks: Array, dtype: Any) -> Array:
    """Codebooks as they are after storage, in float32 again."""
    return np.ascontiguousarray(codebooks.astype(dtype), np.float32)


def uniform(weights: Array, bits: int) -> Array:
    """The grid of round-to-nearest and of GPTQ: scale (k - zero), k = 0 ... 2^bits - 1, from the least to the largest.

    The range takes in 0, and 0 is on the grid, as in GPTQ's own code; 1 bit is +-mean\\|w\\|, since from two ends of a
    range hardly a weight is near.
    """
    w: Array = weights.astype(np.float64)
    if bits == 1:
        size: Array = np.abs(w).mean(axis=1)
        return np.stack([-size, size], axis=1)
    low, high = np.minimum(w.min(axis=1), 0), np.maximum(w.max(axis=1), 0)
    most = (1 << bits) - 1
    scale = (high - low) / most
    zero = np.rint(-low / np.where(scale > 0, scale, 1))
    result: Array = scale[:, None] * (np.arange(most + 1) - zero[:, None])
    return result


def hqq(weights: Array, bits: int, rounds: int = 20, norm: float = 0.7, beta: float = 10.0) -> Array:
    """The uniform grid whose zero point is moved by half-quadratic splitting (HQQ, Badri and Shaji 2023).

    Minimises sum \\|e\\|_p^p of p = `norm` < 1, which forgives outliers, over the zero point: by turns e is shrunk, and
    the zero point is the mean that is left. The steps and their constants are those of its authors' code.
    """
    w = weights.astype(np.float64)
    most = (1 << bits) - 1
    low, high = w.min(axis=1, keepdims=True), w.max(axis=1, keepdims=True)
    inverse = most / np.where(high > low, high - low, 1)
    zero = -low * inverse
    best, least = zero, np.full_like(zero, np.inf)
    for _ in range(rounds):
        codes = np.clip(np.rint(w * inverse + zero), 0, most)
        error = w - (codes - zero) / inverse
        size = np.abs(error).mean(axis=1, keepdims=True)
        best, least = np.where(size < least, zero, best), np.minimum(size, least)
        with np.errstate(divide="ignore"):  # of an error 0, which stays 0
            shrunk = np.sign(error) * np.maximum(np.abs(error) - np.abs(error) ** (norm - 1) / beta, 0)
        zero = (codes - (w - shrunk) * inverse).mean(axis=1, keepdims=True)
        beta *= 1.01
    result: Array = (np.arange(most + 1) - best) / inverse
    return result


def kmeans(weights: Array, importance: Array | None, bits: int) -> Array:
    """Codebooks by k-means; importance (inputs) or (rows, inputs) weighs the squared errors."""
    levels = 1 << bits
    if importance is None or not importance.any():
        return _native.kmeans(weights, None, levels)[0]
    importance = np.ascontiguousarray(importance, np.float64)
    if importance.ndim == 1:
        return _native.kmeans(weights, importance, levels)[0]
    rows = [
        _native.kmeans(row[None], mass if mass.any() else None, levels)[0]
        for row, mass in zip(weights, importance, strict=True)
    ]
    return np.concatenate(rows)
