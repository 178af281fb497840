"""LNQ: codebooks and codes by turns, of whole rows in the compiled kernel, of groups one group after the other.

Source: GuidedQuant (Kim et al. 2025), arXiv:2505.07004, section 4, for rows; the start and the groups are our own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._gptq import groups_of

Array = NDArray[Any]

_NEGLIGIBLE = 1e-10  # eigenvalues of a group's H, relative to the largest: targets along them would drown in rounding


def descend(
    weights: Array,
    h: Array,
    books: Array,
    codes: Array,
    group_size: int | None,
    iterations: int,
    cycles: int,
    half: bool,
) -> tuple[Array, Array, Array]:
    """Codebooks (rows, groups, levels), codes, and the trace, from these.

    Inputs that calibration never met, H_ii = 0, get the nearest levels at the end.

    The trace has the start, and per iteration the objective after the codebooks and after each cycle; of groups the
    start and the objective after each sweep over all.
    """
    if books.shape[1] == 1:
        book, codes = np.ascontiguousarray(books[:, 0], np.float32), codes.copy()
        trace, _ = _native.lnq(weights, h, book, codes, iterations, cycles, half)
        books = book[:, None]
    else:
        books, codes, trace = _descend_groups(
            weights, h, books, codes, groups_of(len(h), group_size), iterations, cycles, half
        )
    for k, group in enumerate(groups_of(len(h), group_size)):
        dead = group.start + np.flatnonzero(h.diagonal()[group] == 0)
        if len(dead):
            codes[:, dead] = _native.nearest(np.ascontiguousarray(weights[:, dead]), np.ascontiguousarray(books[:, k]))
    return books, codes, trace


class _Groups:
    """The errors e = what - w of all rows and their gradients e H, while one group after the other changes.

    With the others fixed, the objective of a group b is (what - t)' H_bb (what - t) and a constant, with the target
    t = w - H_bb^-1 g, g what the others add to its gradient: a problem of LNQ for whole rows. g lies in the range of
    H_bb, so that a singular H_bb is no trouble.
    """

    def __init__(self, weights: Array, h: Array, books: Array, codes: Array, groups: list[slice]) -> None:
        self.w, self.h, self.groups = weights, h, groups
        self.books, self.codes = books.astype(np.float32), codes.copy()
        self.blocks = [np.ascontiguousarray(h[group, group]) for group in groups]
        self.inverses = [np.linalg.pinv(block, rcond=_NEGLIGIBLE, hermitian=True) for block in self.blocks]
        self.errors = np.concatenate([self._value(k) for k in range(len(groups))], axis=1) - weights
        self.gradients = self.errors @ h

    def _value(self, k: int) -> Array:
        return np.take_along_axis(self.books[:, k].astype(np.float64), self.codes[:, self.groups[k]], axis=1)

    def objective(self) -> float:
        return max(0.0, float(np.einsum("ri,ri->", self.errors, self.gradients)))

    def step(self, k: int, iterations: int, cycles: int, half: bool) -> None:
        """LNQ of group k. A row that does not gain stays as it was; with `half` all are rounded, and so must change."""
        group, block = self.groups[k], self.blocks[k]
        others = self.gradients[:, group] - self.errors[:, group] @ block
        target = (self.w[:, group] - others @ self.inverses[k]).astype(np.float32)
        book, codes = np.ascontiguousarray(self.books[:, k]), np.ascontiguousarray(self.codes[:, group])
        _native.lnq(target, block, book, codes, iterations, cycles, half)
        value = np.take_along_axis(book.astype(np.float64), codes, axis=1)
        change = value - self.w[:, group] - self.errors[:, group]
        gain = np.einsum("ri,ri->r", change, 2 * self.gradients[:, group] + change @ block)
        taken = np.flatnonzero(np.ones_like(gain) if half else gain < 0)
        self.books[taken, k], self.codes[taken, group] = book[taken], codes[taken]
        self.errors[taken, group] += change[taken]
        self.gradients[taken] += change[taken] @ self.h[group]


def _descend_groups(
    weights: Array, h: Array, books: Array, codes: Array, groups: list[slice], iterations: int, cycles: int, half: bool
) -> tuple[Array, Array, Array]:
    state = _Groups(weights, h, books, codes, groups)
    trace = [state.objective()]
    for _ in range(iterations):
        for k in range(len(groups)):
            state.step(k, 1, cycles, False)
        state.gradients = state.errors @ h
        trace.append(state.objective())
    if half:
        for k in range(len(groups)):
            state.step(k, 0, 0, True)
    return state.books, state.codes, np.array(trace)
