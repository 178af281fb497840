"""Errors of telamon.kron against dense LAPACK on grids small enough for it.

An error is the largest over all results, divided by the largest result. float32 is compared with the float64 truth of
the same rounded matrices.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from telamon import kron

from .kron_peers import Array
from .kron_systems import draw_noise, factors
from .timing import Row

GRID = (12, 15, 12)  # observed are more than the 2000 cells that KroneckerSystem itself would take as a dense matrix
NOISE = 0.1


def _error(got: Array | float, want: Array | float) -> float:
    return float(np.max(np.abs(np.asarray(got, np.float64) - want)) / np.max(np.abs(want)))


def _factors(grid: tuple[int, ...], dtype: DTypeLike) -> list[kron.Factor]:
    """A kind for each axis."""
    toeplitz, dense, matern = factors(grid)
    x = np.sort(np.random.default_rng(4).random(grid[2])).astype(dtype)
    assert isinstance(toeplitz, kron.Toeplitz)
    assert matern.shape[0] == x.size
    return [
        kron.Toeplitz(toeplitz.column.astype(dtype)),
        kron.Dense(dense.toarray().astype(dtype)),
        kron.Matern(x, 1.5, 0.2),
    ]


def _dense(matrices: list[Array]) -> Array:
    product = matrices[0]
    for matrix in matrices[1:]:
        product = np.kron(product, matrix)
    return product


def _likelihood_gradient(matrices: list[Array], inverse: Array, y: Array) -> tuple[list[Array], float]:
    """Derivatives of the log-likelihood in the entries of the factors, and in the noise, by the inverse matrix."""
    a = inverse @ y.reshape(-1)
    inner = 0.5 * (np.outer(a, a) - inverse)
    tensor = inner.reshape(*y.shape, *y.shape)
    gradients = []
    for i in range(y.ndim):
        # the derivative of a Kronecker product in one factor is the Kronecker product of the others
        g = tensor
        for j in reversed(range(y.ndim)):
            if j != i:
                g = np.tensordot(matrices[j], np.moveaxis(g, (j, g.ndim // 2 + j), (0, 1)), 2)
        gradients.append(g)
    return gradients, float(np.trace(inner))


def against_dense(quick: bool = False) -> list[Row]:
    """One line a quantity and dtype."""
    grid = GRID if not quick else (5, 3, 4)
    return [row for dtype in (np.float64, np.float32) for row in _rows(grid, dtype)]


def _rows(grid: tuple[int, ...], dtype: Any) -> list[Row]:
    rng = np.random.default_rng(5)
    x, variances = rng.standard_normal(grid).astype(dtype), draw_noise(grid, NOISE, 100.0).astype(dtype)
    mask = rng.random(grid) > 0.05
    rows: list[Row] = []

    def add(what: str, got: Array | float, want: Array | float) -> None:
        rows.append({"what": what, "dtype": np.dtype(dtype).name, "cells": int(x.size), "max": _error(got, want)})

    parts = _factors(grid, dtype)
    operator, eig = kron.KroneckerOperator(parts), kron.KroneckerEig(parts, clip="silent")
    matrices, flat = [factor.toarray().astype(np.float64) for factor in parts], x.astype(np.float64).reshape(-1)
    dense = _dense(matrices)
    noisy = dense + NOISE * np.eye(x.size)
    inverse, logdet, solution = np.linalg.inv(noisy), np.linalg.slogdet(noisy)[1], np.linalg.solve(noisy, flat)

    add("product", operator.matmul_grid(x).reshape(-1), dense @ flat)
    add("solution", eig.solve(x, NOISE).reshape(-1), solution)
    add("log-determinant", eig.logdet(NOISE), logdet)
    add("diagonal of the inverse", eig.diagonal(lambda lam: 1 / (lam + NOISE)).reshape(-1), inverse.diagonal())
    value, gradients, slope = eig.log_likelihood_gradient(x, NOISE)
    add("log-likelihood", value, -0.5 * (float(solution @ flat) + logdet + x.size * math.log(2 * math.pi)))
    wanted, wanted_slope = _likelihood_gradient(matrices, inverse, flat.reshape(grid))
    for i, (got, want) in enumerate(zip(gradients, wanted, strict=True)):
        add(f"its gradient in factor {i}", got, want)
    add("its derivative in the noise", slope, wanted_slope)

    separable = tuple(np.linspace(0.1, 0.4, n).astype(dtype) for n in grid)
    product = _dense([part.astype(np.float64)[:, None] for part in separable]).reshape(-1)
    spread, seen = variances.astype(np.float64).reshape(-1), mask.reshape(-1)
    observed = noisy[np.ix_(seen, seen)]
    masked = np.zeros_like(flat)
    masked[seen] = np.linalg.solve(observed, flat[seen])
    rtol = 1e-13 if dtype == np.float64 else 1e-6  # as small as rounding allows: a residual is not an error
    cases = {
        "separable noise": (separable, None, "auto", np.linalg.solve(dense + np.diag(product), flat)),
        "noise of each point": (variances, None, "cg", np.linalg.solve(dense + np.diag(spread), flat)),
        "missing cells, Schur complement": (NOISE, mask, "exact", masked),
        "missing cells, CG": (NOISE, mask, "cg", masked),
    }
    for what, (noise, where, method, want) in cases.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", kron.ConvergenceWarning)  # it ends where rounding does
            got = kron.KroneckerSystem(eig, noise, where).solve(x, rtol=rtol, method=method).x
        add(f"solution, {what}", got.reshape(-1), want)
    determinant = kron.KroneckerSystem(eig, NOISE, mask).logdet().value
    add("log-determinant, missing cells", determinant, np.linalg.slogdet(observed)[1])
    return rows
