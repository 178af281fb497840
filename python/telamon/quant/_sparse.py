"""Dense-and-sparse layers: which weights are kept apart, and the values that serve the objective best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_NEGLIGIBLE = 1e-10  # relative eigenvalues of the outliers' own H along which their values are left alone


def choose(w: Array, importance: Array | None, fraction: float) -> tuple[Array, Array]:
    """The mask of outliers, and the weights with outliers moved to the ends of what is left of their rows.

    Outliers are the largest importance w^2 of the whole matrix, a fraction of all entries; of equal ones the first.
    """
    score = np.square(w, dtype=np.float64)
    if importance is not None and importance.any():
        score *= importance
    count = round(fraction * w.size)
    mask = np.zeros(w.size, bool)
    mask[np.argsort(-score, axis=None, kind="stable")[:count]] = True
    mask = mask.reshape(w.shape) & (score > 0)
    kept = np.where(mask, 0, w)
    dense = np.clip(w, kept.min(axis=1, keepdims=True), kept.max(axis=1, keepdims=True))
    return mask, np.where(mask, dense, w).astype(np.float32)


def best_values(w: Array, dense: Array, mask: Array, h: Array | None) -> Array:
    """Of all matrices with entries where the mask is, the one that with `dense` added is nearest to w.

    Row by row s_O = -(H_OO)^-1 (H (dense - w))_O; without H nearest entry by entry.
    """
    errors = dense.astype(np.float64) - w
    values = np.where(mask, -errors, 0.0)
    if h is None:
        return values
    for row in np.flatnonzero(mask.any(axis=1)):
        at = np.flatnonzero(mask[row])
        inverse = np.linalg.pinv(h[np.ix_(at, at)], rcond=_NEGLIGIBLE, hermitian=True)
        values[row, at] = -inverse @ (h[at] @ errors[row])
    return values
