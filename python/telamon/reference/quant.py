"""The plain truth about quantised layers: what the functions `telamon._core.quant_*` should do, step by step.

A function here is the readable twin of `_core.quant_` + its name; results are returned. Rows of weights w (rows, n) are
output channels; a row's codebook c (levels) is ascending, its codes q (n) say what = c[q]; e = what - w.

Slow and meant to be: nothing in telamon calls it but tests and benchmarks. It needs NumPy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["dequantize", "fwht", "gptq", "lnq", "nearest", "objective", "pack", "unpack"]

Array = Any  # whatever np.asarray takes, and the arrays that come back


def nearest(x: Array, codebook: Array) -> Array:
    """The index of the nearest entry; of two equally near the lower."""
    middles = (codebook[1:] + codebook[:-1]) / 2
    return np.searchsorted(middles, x, side="left")


def objective(weights: Array, h: Array, codebooks: Array, codes: Array) -> Array:
    """e' H e of each row."""
    errors = np.take_along_axis(np.asarray(codebooks, np.float64), np.asarray(codes, np.int64), axis=1) - weights
    return np.einsum("ri,ij,rj->r", errors, h, errors)


def gptq(weights: Array, h: Array, order: Sequence[int], codebooks: Array) -> Array:
    """GPTQ by its definition: each input is rounded, and what is left of the others moves to where it hurts least.

    Of the inputs that are left, those after the present one change by -d (H_F^-1)_{F i}/(H_F^-1)_{ii}, d what rounding
    took away, F the inputs not yet rounded (optimal brain surgery, arXiv:2208.11580). No factorisation is kept.
    """
    codes = np.zeros(weights.shape, np.uint8)
    for row, (w, codebook) in enumerate(zip(np.asarray(weights, np.float64), codebooks, strict=True)):
        left, x = list(order), w.copy()
        while left:
            i, inverse = left[0], np.linalg.inv(h[np.ix_(left, left)])
            codes[row, i] = nearest(x[i], codebook.astype(np.float64))
            x[left] -= (x[i] - codebook[codes[row, i]]) * inverse[:, 0] / inverse[0, 0]
            left = left[1:]
    return codes


def lnq(
    weights: Array, h: Array, codebooks: Array, codes: Array, iterations: int, cycles: int, half: bool
) -> tuple[Array, Array, Array]:
    """LNQ (arXiv:2505.07004): codebooks, codes and the trace of the objective.

    The codebook for given codes minimises |L'(P c - w)| with H = L L' (least squares, so that H may be singular); the
    codes for a given codebook come by cycles of coordinate descent, what_i <- nearest(w_i - sum_{k!=i} H_ik e_k/H_ii).
    Either is taken only where the objective falls. With `half` codebooks are rounded to float16 at the end, and the
    codes get one more cycle.
    """
    values, vectors = np.linalg.eigh(h)
    root = (vectors * np.sqrt(np.maximum(values, 0))).T
    books, q = np.asarray(codebooks, np.float64).copy(), np.asarray(codes, np.int64).copy()
    steps: list[list[float]] = []
    for w, c, codes_of_row in zip(np.asarray(weights, np.float64), books, q, strict=True):
        trace = [_form(c[codes_of_row] - w, h)]
        for _ in range(iterations):
            _fit(w, h, root, c, codes_of_row)
            trace.append(_form(c[codes_of_row] - w, h))
            for _ in range(cycles):
                _cycle(w, h, c, codes_of_row)
                trace.append(_form(c[codes_of_row] - w, h))
        if half:
            c[:] = c.astype(np.float16)
            _cycle(w, h, c, codes_of_row)
        steps.append(trace)
    return books, q, np.sum(steps, axis=0)


def _form(e: Array, h: Array) -> float:
    return float(e @ h @ e)


def _fit(w: Array, h: Array, root: Array, c: Array, q: Array) -> None:
    select = np.eye(len(c))[q]
    change = np.linalg.lstsq(root @ select, root @ (w - c[q]), rcond=1e-11)[0]
    better = c + change
    if _form(better[q] - w, h) < _form(c[q] - w, h):
        order = np.argsort(better, kind="stable")
        c[:] = better[order]
        q[:] = np.argsort(order, kind="stable")[q]


def _cycle(w: Array, h: Array, c: Array, q: Array) -> None:
    for i in range(len(w)):
        e = c[q] - w
        if h[i, i] == 0:
            continue
        better = int(nearest(c[q[i]] - h[i] @ e / h[i, i], c))
        step = c[better] - c[q[i]]
        if step * (2 * h[i] @ e + step * h[i, i]) < 0:
            q[i] = better


def pack(codes: Array, bits: int) -> Array:
    """Codes (rows, n) in tiles of 64 inputs: parts of 8, or else 4, 2 and 1 bits, the lowest bits first.

    Of a part of b bits byte j holds the inputs j, j + 8 b, j + 16 b ..., the first in the lowest bits.
    """
    rows, n = np.shape(codes)
    tiles = -(-n // 64)
    padded = np.zeros((rows, tiles * 64), np.int64)
    padded[:, :n] = codes
    padded = padded.reshape(rows, tiles, 64)
    out, low = [], 0
    for part in (8,) if bits == 8 else (4, 2, 1):
        if not bits & part:
            continue
        digits = (padded >> low & ((1 << part) - 1)).reshape(rows, tiles, 8 // part, 8 * part)
        shifts = part * np.arange(8 // part)
        out.append((digits << shifts[:, None]).sum(axis=2))
        low += part
    return np.concatenate(out, axis=2).reshape(rows, -1).astype(np.uint8)


def unpack(packed: Array, bits: int, inputs: int) -> Array:
    """The inverse of `pack`: bit by bit from its definition."""
    codes = np.zeros((len(packed), inputs), np.uint8)
    for i in range(inputs):
        start, low = i // 64 * 8 * bits, 0
        for part in (8,) if bits == 8 else (4, 2, 1):
            if not bits & part:
                continue
            byte = packed[:, start + i % 64 % (8 * part)]
            codes[:, i] |= (byte >> (i % 64 // (8 * part) * part) & ((1 << part) - 1)) << low
            start, low = start + 8 * part, low + part
    return codes


def dequantize(codes: Array, codebooks: Array, group: int) -> Array:
    """The numbers (rows, n) of codes and codebooks (rows, groups, levels); group = 0: one codebook a row."""
    rows, n = np.shape(codes)
    at = np.arange(n) // group if group else np.zeros(n, int)
    return np.asarray(codebooks)[np.arange(rows)[:, None], at, codes]


def fwht(x: Array) -> Array:
    """x H of rows (rows, 2^k), H_ij = (-1)^popcount(i & j), as a matrix product."""
    n = np.shape(x)[1]
    i = np.arange(n)
    signs = np.array([[(-1) ** int(p & q).bit_count() for q in i] for p in i])
    return np.asarray(x) @ signs
