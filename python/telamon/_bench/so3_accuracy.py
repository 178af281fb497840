"""Errors of telamon.so3 against exact 3j couplings and dense float64 grids, and how well it commutes with rotations.

An error is the largest over all results, divided by the largest result: per-degree errors are not bounded, since a
degree may come out small where others cancel in it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from telamon import so3
from telamon.reference import so3 as reference

from .so3_peers import Array
from .timing import Row

EXACT = 8  # exact couplings take seconds up to this degree, and minutes far above
METHODS = ("auto", "sparse", "grid", "fourier")
SPARSE = 8  # its nonzeros grow as L^4.5: 23,621 here


def _draw(l: int, dtype: DTypeLike, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((4, (l + 1) ** 2, 3)).astype(dtype)


def _error(got: Array, want: Array) -> float:
    return float(np.max(np.abs(got.astype(np.float64) - want)) / np.max(np.abs(want)))


def _exact(x: Array, y: Array, odd: bool = False) -> Array:
    """The dense contraction; the couplings of lower degrees are a corner of the largest tensor."""
    k = x.shape[1]
    tensor = reference.coupling_tensor(EXACT, EXACT, EXACT, odd)[:k, :k, :k]
    return np.asarray(np.einsum("ijk,nic,njc->nkc", tensor, x, y, optimize=True))


def _grid(x: Array, y: Array) -> Array:
    return np.asarray(reference.gaunt_product(x, y, method="grid"))


def _rows(truth: str, want: Callable[[Array, Array], Array], dtype: DTypeLike, l: int) -> list[Row]:
    x, y = _draw(l, dtype, 1), _draw(l, dtype, 2)
    right, rows = want(x.astype(np.float64), y.astype(np.float64)), []
    for method in METHODS:
        if method == "sparse" and l > SPARSE:
            continue
        got = so3.gaunt_product(x, y, method=method)
        rows.append(
            {"truth": truth, "method": method, "dtype": np.dtype(dtype).name, "l": l, "max": _error(got, right)}
        )
    return rows


def against_truth(quick: bool) -> list[Row]:
    """All methods on random features: exact couplings to degree 8, dense grids to 32 in float64 and 64 in float32."""
    rows: list[Row] = []
    exact = range(1, EXACT + 1) if not quick else range(1, 5)
    for l in exact:
        rows += _rows("exact 3j", _exact, np.float64, l)
        x, y = _draw(l, np.float64, 1), _draw(l, np.float64, 2)
        _, odd = so3.gaunt_product(x, y, parity="complete")
        error = _error(odd, _exact(x, y, odd=True))
        rows.append({"truth": "exact 3j", "method": "odd paths", "dtype": "float64", "l": l, "max": error})
    for l in (4, 12) if quick else (1, 2, 4, 8, 12, 16, 24, 32):
        rows += _rows("dense grid", _grid, np.float64, l)
    for l in (4, 12) if quick else (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
        rows += _rows("dense grid", _grid, np.float32, l)
    return rows


def equivariance(quick: bool) -> list[Row]:
    """rotate(product(x, y)) against product(rotate(x), rotate(y)), for rotations and for those with an inversion."""
    rows = []
    for dtype in (np.float64, np.float32):
        for l in (2, 4) if quick else (1, 2, 3, 4, 6, 8, 10, 12):
            x, y = _draw(l, dtype, 3), _draw(l, dtype, 4)
            worst = 0.0
            for seed in range(4):
                q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
                rotation = (q * np.sign(np.linalg.det(q)) * (-1) ** seed).astype(dtype)  # odd seeds are improper
                before = so3.gaunt_product(so3.rotate(x, rotation), so3.rotate(y, rotation))
                after = so3.rotate(so3.gaunt_product(x, y), rotation)
                worst = max(worst, _error(before, after.astype(np.float64)))
            rows.append({"dtype": np.dtype(dtype).name, "l": l, "max": worst})
    return rows
