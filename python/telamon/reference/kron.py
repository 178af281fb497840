"""The plain truth about Kronecker products: what `telamon.kron` and the functions `telamon._core.kron_*` should return.

A function here is the readable twin of `_core.kron_` + its name, with the same arguments: results go into `out`. A grid
tensor is (B, n_1, ..., n_d, R), B batches in front and R right-hand sides behind. K is the Kronecker product of d
factors; where they are symmetric, lam is the outer product of their eigenvalues, Lam_-i of all but those of axis i.

Slow and meant to be: nothing in telamon calls it but tests and benchmarks. It needs NumPy alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "dense",
    "dense_statespace",
    "eigh",
    "eigh_toeplitz",
    "gram",
    "matmul",
    "spectral",
    "statespace_factor",
    "statespace_matmul",
    "statespace_solve",
]

Array = Any  # whatever np.asarray takes, and the arrays that come back


def dense(factors: Sequence[Array]) -> Array:
    """The Kronecker product as a matrix: row (i_1 .. i_d), column (j_1 .. j_d), last index fastest."""
    return functools.reduce(np.kron, [np.asarray(a) for a in factors])


def dense_statespace(transitions: Array, cov: Array, h: Array) -> Array:
    """K_ij = h' A_i A_{i-1} ... A_{j+1} cov h for i >= j, symmetric, by its definition."""
    n = len(transitions)
    k = np.empty((n, n), np.asarray(cov).dtype)
    for j in range(n):
        state = cov @ h
        for i in range(j, n):
            if i > j:
                state = transitions[i] @ state
            k[i, j] = k[j, i] = h @ state
    return k


def _along(vector: Array, axis: int, ndim: int) -> Array:
    """The vector as a tensor of this many dimensions that varies along the axis only."""
    return np.asarray(vector).reshape([-1 if i == axis else 1 for i in range(ndim)])


def _outer(vectors: Sequence[Array]) -> Array:
    """The outer product (n_1, ..., n_d) in double precision; 1 of no vectors."""
    return functools.reduce(np.multiply.outer, [np.asarray(v, np.float64) for v in vectors], np.float64(1))


def matmul(factors: Sequence[Array | None], x: Array, out: Array) -> None:
    """out = (A_1 kron ... kron A_d) x, axis by axis; None is the identity."""
    for axis, a in enumerate(factors, 1):
        if a is not None:
            x = np.moveaxis(np.tensordot(a, x, (1, axis)), 0, axis)
    out[...] = x


def gram(x: Array, y: Array | None, scales: Sequence[Array] | None, axis: int, out: Array) -> None:
    """out[j, k] = sum over all other indices of x[..j..] y[..k..] prod_{i != axis} scales[i]; y = x where None."""
    y = x if y is None else y
    for i, scale in enumerate(scales or ()):
        if i != axis:
            x = x * _along(scale, i + 1, x.ndim)
    rows, columns = (np.moveaxis(t, axis + 1, 0).reshape(t.shape[axis + 1], -1) for t in (x, y))
    out[...] = rows @ columns.T


def spectral(
    values: Sequence[Array], noise: float, b: Array | None, out: Array | None, weights: Sequence[Array] | None
) -> tuple[float, float, float]:
    """sum b^2/(lam + noise), sum log(lam + noise), sum 1/(lam + noise), in double.

    Written: out = b/(lam + noise), and weights[i][k] = sum over the indices but the i-th of Lam_-i/(lam + noise).
    """
    shifted = _outer(values) + noise
    quad = 0.0
    if b is not None:
        quotient = b / shifted[None, ..., None]
        quad = float(np.sum(b * quotient))
        if out is not None:
            out[...] = quotient
    for i, weight in enumerate(weights or ()):
        others = _outer([np.ones_like(v) if j == i else v for j, v in enumerate(values)])
        weight[...] = np.sum(others / shifted, axis=tuple(j for j in range(len(values)) if j != i))
    return quad, float(np.sum(np.log(shifted))), float(np.sum(1 / shifted))


def eigh(a: Array, w: Array, q: Array) -> None:
    """a = q diag(w) q', w ascending, by LAPACK."""
    w[...], q[...] = np.linalg.eigh(a)


def eigh_toeplitz(column: Array, w: Array, q: Array) -> None:
    """The same of the symmetric Toeplitz matrix of this column, from its even and odd halves.

    T commutes with the reversal J, so its eigenvectors are (u, Ju) or (u, -Ju) with halves of length m = n // 2. In
    terms of the blocks A = T[:m, :m] and B = T[:m, -m:] J the former are those of A + B, for odd n bordered by the
    middle row, the latter those of A - B.
    """
    n = len(column)
    m = n // 2
    t = np.asarray(column)[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]
    a, b = t[:m, :m], t[:m, n - m :][:, ::-1]
    even = a + b
    if n % 2:
        middle = np.sqrt(t.dtype.type(2)) * t[:m, m : m + 1]
        even = np.block([[even, middle], [middle.T, t[m : m + 1, m : m + 1]]])
    values, vectors = [], []
    for block, sign in ((even, 1), (a - b, -1)):
        value, u = np.linalg.eigh(block)
        half = u[:m] / np.sqrt(t.dtype.type(2))
        middle = u[m:] if sign > 0 else np.zeros((n % 2, m), t.dtype)
        values.append(value)
        vectors.append(np.concatenate([half, middle, sign * half[::-1]]))
    joined = np.concatenate(values)
    order = np.argsort(joined, kind="stable")
    w[...] = joined[order]
    q[...] = np.concatenate(vectors, axis=1)[:, order]


def statespace_matmul(transitions: Array, cov: Array, h: Array, x: Array, out: Array) -> None:
    """out = K x along the middle axis of x (L, n, R), K as in `dense_statespace`: one pass down, one pass up."""
    n = len(transitions)
    gain = cov @ h
    result = np.empty_like(x)
    state = np.zeros((x.shape[0], x.shape[2], len(h)), x.dtype)
    for i in range(n):  # columns j <= i
        if i:
            state = state @ transitions[i].T
        state = state + x[:, i, :, None] * gain
        result[:, i] = state @ h
    state = np.zeros_like(state)
    for i in range(n - 2, -1, -1):  # columns j > i
        state = (state + x[:, i + 1, :, None] * h) @ transitions[i + 1]
        result[:, i] += state @ gain
    out[...] = result


def statespace_factor(transitions: Array, cov: Array, h: Array, noise: Array, d: Array, w: Array) -> None:
    """K + diag(noise) = L D L', L unit lower triangular, L_ij = h' A_i ... A_{j+1} w_j for i > j.

    Kalman's filter: what the points before i tell about the state at i reduces its covariance by f.
    """
    f = np.zeros_like(cov)
    for i, a in enumerate(transitions):
        if i:
            f = a @ (f + d[i - 1] * np.outer(w[i - 1], w[i - 1])) @ a.T
        gain = (cov - f) @ h
        d[i] = h @ gain + noise[i]
        w[i] = gain / d[i]


def statespace_solve(
    transitions: Array, h: Array, d: Array, w: Array, x: Array, out: Array, part: str = "full"
) -> None:
    """out = (L D L')^-1 x, or L^-1 x for "lower", or L D^1/2 x for "sqrt"; x (L, n, R), along the middle axis."""
    n = len(transitions)
    result = x * np.sqrt(d)[:, None] if part == "sqrt" else x.copy()
    state = np.zeros((x.shape[0], x.shape[2], len(h)), x.dtype)
    for i in range(1, n):
        source = result[:, i - 1] if part != "sqrt" else x[:, i - 1] * np.sqrt(d[i - 1])
        state = (state + source[:, :, None] * w[i - 1]) @ transitions[i].T
        result[:, i] += state @ h * (1 if part == "sqrt" else -1)
    if part == "full":
        result /= d[:, None]
        state = np.zeros_like(state)
        for i in range(n - 2, -1, -1):
            state = (state + result[:, i + 1, :, None] * h) @ transitions[i + 1]
            result[:, i] -= state @ w[i]
    out[...] = result
