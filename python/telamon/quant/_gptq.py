"""GPTQ: inputs are rounded one after the other, and the error of each is spread over those that come.

Source: Frantar et al. (2022), arXiv:2210.17323.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native

Array = NDArray[Any]

_SMALL = 64  # below, LAPACK inverts as fast as blocks do


def groups_of(inputs: int, group_size: int | None) -> list[slice]:
    """The inputs of each codebook."""
    size = inputs if group_size is None else group_size
    return [slice(first, min(first + size, inputs)) for first in range(0, inputs, size)]


def order_of(key: Array, group_size: int | None) -> Array:
    """The order of processing: by descending key, groups as a whole first and then within each."""
    groups = groups_of(len(key), group_size)
    means = np.array([key[group].mean() for group in groups])
    within = [group.start + np.argsort(-key[group], kind="stable") for group in groups]
    return np.concatenate([within[k] for k in np.argsort(-means, kind="stable")]).astype(np.int64)


def factors(where: str, h: Array, order: Array, damping: float) -> tuple[Array, Array]:
    """Upper triangular r and u = r^-1 with H = r r' in this order, so that H^-1 = u'u.

    `damping` times the mean of the diagonal is added to it. Inputs that never occur, H_ii = 0, become independent of
    the rest: their weights are rounded to the nearest, and take no part.
    """
    n = len(h)
    a = h[np.ix_(order[::-1], order[::-1])]  # r comes from the Cholesky factor of the reversed matrix
    diagonal = a.diagonal().copy()
    dead = diagonal == 0
    mean = float(diagonal[~dead].mean()) if not dead.all() else 1.0
    a.reshape(-1)[:: n + 1] = np.where(dead, mean, diagonal + damping * mean)
    try:
        r = np.linalg.cholesky(a)[::-1, ::-1]
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{where}: H is not positive definite with {damping:g} of its mean diagonal added; pass X'X, or a larger "
            "damping where there are few tokens"
        ) from None
    return r, inverse_triangle(r)


def inverse_triangle(r: Array) -> Array:
    """The inverse of an upper triangular matrix, by halves."""
    n = len(r)
    if n <= _SMALL:
        return np.triu(np.linalg.inv(r))
    half = n // 2
    out = np.zeros_like(r)
    out[:half, :half], out[half:, half:] = inverse_triangle(r[:half, :half]), inverse_triangle(r[half:, half:])
    out[:half, half:] = -out[:half, :half] @ r[:half, half:] @ out[half:, half:]
    return out


def assign(
    where: str,
    weights: Array,
    h: Array,
    grid: Callable[[Array, Array], Array],
    group_size: int | None,
    order_by: str,
    damping: float,
) -> tuple[Array, Array]:
    """Codebooks (rows, groups, levels) and codes by GPTQ.

    grid(weights, importance) gives the codebooks of a group when its turn comes: of the weights as the errors before
    have left them, with the importance r_pp^2 of each input, since e'He = sum_p r_pp^2 (x_p - rounded x_p)^2 with x_p
    what weight p has become when its turn comes. For a start of LNQ this is a far better weight than H_pp.

    order_by is "given", "diagonal", or "both": descending H_ii, or descending H_ii/(H^-1)_ii, the variance of input i
    alone times what of it the others do not tell. The sum above is least where the r_pp are alike, since their product
    is fixed; the second order brings them nearer to that, with objectives about 1 % lower.
    """
    n = weights.shape[1]
    order = np.arange(n, dtype=np.int64)
    if order_by != "given":
        order = order_of(h.diagonal(), group_size)
    r, u = factors(where, h, order, damping)
    if order_by == "both":
        inverse = np.empty(n)
        inverse[order] = np.einsum("pi,pi->i", u, u)
        order = order_of(np.sqrt(h.diagonal() / inverse), group_size)
        r, u = factors(where, h, order, damping)
    importance = np.empty(n)
    importance[order] = np.where(h.diagonal()[order] > 0, np.square(r.diagonal()), 0)
    codes, groups = np.empty(weights.shape, np.uint8), groups_of(n, group_size)
    if len(groups) == 1:
        books = grid(weights, importance)
        return books[:, None], _native.gptq(weights, np.ascontiguousarray(u), order, books)
    left = weights[:, order].astype(np.float64)
    books_of: dict[int, Array] = {}
    first = 0
    while first < n:
        group = int(order[first]) // (group_size or n)
        inputs = groups[group]
        part = slice(first, first + inputs.stop - inputs.start)
        local = order[part] - inputs.start
        mine = np.empty((len(weights), len(local)), np.float32)
        mine[:, local] = left[:, part]
        books = books_of[group] = grid(mine, importance[inputs])
        codes[:, inputs] = _native.gptq(mine, np.ascontiguousarray(u[part, part]), local, books)
        # In the group's order of processing, (weights - rounded) = errors u of the group, a triangular system whose
        # inverse is the group's block of r. What is left of the others loses the errors times the rows of u.
        rounded = np.take_along_axis(books, codes[:, inputs], axis=1)[:, local]
        errors = (mine[:, local].astype(np.float64) - rounded) @ r[part, part]
        left[:, part.stop :] -= errors @ u[part, part.stop :]
        first = part.stop
    return np.stack([books_of[k] for k in range(len(groups))], axis=1), codes
