"""Checks at the boundary, and the loop over rows that keeps memory bounded. Internal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]
Random: TypeAlias = "np.random.Generator | np.random.RandomState"

#: Elements of a float64 work array: 4 MiB, which stays in a core's share of the cache.
CHUNK_ELEMENTS = 1 << 19
UNIT_TOLERANCE = 1e-5  #: |norm - 1| up to which SciPy takes a vector for a unit vector


def chunks(n_rows: int, row_length: int, rows: int | None = None) -> Iterator[slice]:
    """Yield slices that cover `n_rows` rows in blocks of `rows`, or of about CHUNK_ELEMENTS elements."""
    step = rows or max(1, CHUNK_ELEMENTS // max(1, row_length))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def real_array(value: ArrayLike, name: str) -> Array:
    """`value` as a real array, not copied when it is one already; ValueError for any other type."""
    array = np.asarray(value)
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"'{name}' must hold real numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"'{name}' must hold real numbers, got dtype {array.dtype}.")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    return array


def require_finite(array: Array, name: str) -> None:
    """ValueError if there is a NaN or an infinity."""
    flat = array.reshape(-1) if array.ndim < 2 else array
    for block in chunks(len(flat), flat[:1].size):
        if not np.isfinite(flat[block]).all():
            raise ValueError(f"'{name}' contains NaN or infinity; remove or impute these entries.")


def row_norms(block: Array) -> Array:
    """Euclidean norm of the rows of a block, accumulated in float64."""
    squares: Array = np.einsum("ij,ij->i", block, block, dtype=np.float64, casting="safe")
    return np.sqrt(squares)


def unit_rows(x: Array, name: str) -> None:
    """Check that the rows of the 2-d array `x` are finite and have norm 1, as scipy.stats.vonmises_fisher does."""
    for block in chunks(*x.shape):
        norms = row_norms(x[block])
        if not np.isfinite(norms).all():
            raise ValueError(f"'{name}' contains NaN or infinity; remove or impute these entries.")
        wrong = np.flatnonzero(np.abs(norms - 1) > UNIT_TOLERANCE)
        if wrong.size:
            raise ValueError(
                f"'{name}' must be unit vectors of norm 1 along last dimension. "
                f"Vector {block.start + wrong[0]} has norm {norms[wrong[0]]:.6g}; "
                f"divide by np.linalg.norm({name}, axis=-1, keepdims=True)."
            )


def normalized(block: Array) -> Array:
    """Rows of a block as float64 vectors of norm 1: a copy, which the caller may overwrite."""
    out = np.array(block, dtype=np.float64)
    out /= row_norms(out)[:, None]
    return out


def weight_vector(weights: ArrayLike | None, n: int, name: str) -> Array | None:
    """Weights as a float64 vector of length `n`; None stays None."""
    if weights is None:
        return None
    w = real_array(weights, name).astype(np.float64, copy=False)
    if w.ndim == 0:
        w = np.full(n, float(w))
    if w.shape != (n,):
        raise ValueError(f"'{name}' must have one entry a vector: expected shape ({n},), got {w.shape}.")
    require_finite(w, name)
    if (w < 0).any():
        raise ValueError(f"'{name}' must not be negative; entry {np.argmin(w)} is {w.min():.6g}.")
    if not w.sum() > 0:
        raise ValueError(f"'{name}' must not be all zero.")
    return w


def random_generator(seed: Any, name: str = "random_state") -> Random:
    """A numpy Generator or RandomState: None is NumPy's global one (as SciPy has it), an integer seeds a Generator."""
    if seed is None or seed is np.random:
        return np.random.mtrand._rand
    if isinstance(seed, (np.random.Generator, np.random.RandomState)):
        return seed
    if isinstance(seed, (int, np.integer, np.random.SeedSequence)) and not isinstance(seed, bool):
        return np.random.default_rng(seed)
    raise ValueError(
        f"'{name}' must be None, an integer, a numpy.random.Generator or a numpy.random.RandomState, got {seed!r}."
    )
