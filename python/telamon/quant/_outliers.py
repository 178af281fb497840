"""The sparse part of a dense-and-sparse matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Outliers:
    """A sparse matrix (rows, inputs) of few entries, in compressed rows, that is added to the dense one.

    Attributes
    ----------
    starts : numpy.ndarray (rows + 1,) of int64
        The entries of row r are starts[r] to starts[r + 1] - 1.
    inputs : numpy.ndarray (entries,) of int32
        Ascending in each row.
    values : numpy.ndarray (entries,) of float16 or float32
    """

    def __init__(self, starts: Array, inputs: Array, values: Array) -> None:
        self.starts = np.ascontiguousarray(starts, np.int64)
        self.inputs = np.ascontiguousarray(inputs, np.int32)
        self.values = np.ascontiguousarray(values)

    @classmethod
    def at(cls, mask: Array, matrix: Array, dtype: Any) -> Outliers:
        """The entries of `matrix` where `mask` is True."""
        starts = np.concatenate([[0], np.cumsum(np.count_nonzero(mask, axis=1))])
        return cls(starts, np.nonzero(mask)[1], matrix[mask].astype(dtype))

    @property
    def nbytes(self) -> int:
        return self.starts.nbytes + self.inputs.nbytes + self.values.nbytes

    @property
    def rows(self) -> Array:
        """The row of each entry."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def add_to(self, dense: Array) -> None:
        """dense += the matrix."""
        dense[self.rows, self.inputs] += self.values.astype(dense.dtype)

    def add_product(self, x: Array, out: Array) -> None:
        """out (batch, rows) += x (batch, inputs) times the matrix's transpose."""
        filled = np.flatnonzero(np.diff(self.starts))
        if not len(filled):
            return
        values = self.values.astype(np.float32)
        # One row of x at a time: what is gathered stays in cache, and memory small.
        for one, sums in zip(x, out, strict=True):
            sums[filled] += np.add.reduceat(one[self.inputs] * values, self.starts[filled])

    def check(self, where: str, rows: int, inputs: int) -> None:
        """Raise ValueError where the arrays contradict each other or the shape."""
        starts, columns = self.starts, self.inputs
        good = (
            starts.shape == (rows + 1,)
            and starts[0] == 0
            and bool((np.diff(starts) >= 0).all())
            and columns.shape == (starts[-1],) == self.values.shape
            and self.values.dtype in (np.float16, np.float32)
            and bool(((columns >= 0) & (columns < inputs)).all())
            and bool(np.isfinite(self.values).all())
        )
        # An entry that came twice would be added twice by products and once by add_to.
        if not good or (np.diff(self.rows * np.int64(inputs) + columns) <= 0).any():
            raise ValueError(f"{where}: the outliers are not a sparse matrix ({rows}, {inputs}) in compressed rows")
