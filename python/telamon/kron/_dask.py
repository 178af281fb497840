"""Kronecker products of dask arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._check import FloatArray, as_float, product_text
from ._factors import Factor, Identity, as_factors

__all__ = ["dask_matmul"]


def dask_matmul(factors: Any, x: Any, *, chunk_bytes: int = 1 << 27) -> Any:
    """The Kronecker product of factors with a dask array: one rechunk and one map_blocks an axis.

    Parameters
    ----------
    factors : list of array_like (m_i, n_i) or Factor
        They travel to the workers, once an axis.
    x : dask.array.Array (..., n_1, ..., n_d) of float32 or float64
        Chunked in any way. An axis is gathered into one chunk while its factor is applied, others are split so that
        chunks hold about `chunk_bytes`; identities leave the chunks alone.
    chunk_bytes : int

    Returns
    -------
    dask.array.Array (..., m_1, ..., m_d)
        Lazy, in the wider of the dtypes.

    Raises
    ------
    ImportError
        If dask is not installed.
    TypeError, ValueError
        If x is no dask array, or does not fit.

    Examples
    --------
    >>> import dask.array
    >>> a = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> x = dask.array.ones((2, 2), chunks=1)
    >>> dask_matmul([a, a], x).compute()
    array([[ 9., 21.],
           [21., 49.]])
    """
    where = "telamon.kron.dask_matmul"
    try:
        import dask.array as da
    except ImportError:
        raise ImportError(f"{where}: dask is not installed; pip install 'dask[array]'") from None
    listed = as_factors(where, factors)
    if not isinstance(x, da.Array):
        raise TypeError(f"{where}: x is a {type(x).__name__}; pass a dask array, or use KroneckerOperator.matmul_grid")
    grid = tuple(factor.shape[1] for factor in listed)
    if x.ndim < len(grid) or x.shape[x.ndim - len(grid) :] != grid:
        sizes = ", ".join(map(str, grid))
        raise ValueError(f"{where}: x has shape {x.shape}, the factors span {product_text(grid)}; pass (..., {sizes})")
    as_float(where, "x", np.empty(0, x.dtype))
    dtype = np.result_type(x.dtype, *(factor.dtype for factor in listed))
    result: Any = x
    for i, factor in enumerate(listed):
        axis = x.ndim - len(grid) + i
        if isinstance(factor, Identity):
            continue
        limit = chunk_bytes * factor.shape[1] // max(factor.shape)  # of what goes in, so that neither side is larger
        chunks = {j: -1 if j == axis else "auto" for j in range(x.ndim)}
        if not (result.numblocks[axis] == 1 and np.prod(result.chunksize) * dtype.itemsize <= limit):
            result = result.rechunk(chunks, block_size_limit=limit)
        new = (*result.chunks[:axis], (factor.shape[0],), *result.chunks[axis + 1 :])
        result = result.map_blocks(
            _product, factor=factor, axis=axis, dtype=np.result_type(result.dtype, factor.dtype), chunks=new
        )
    return result.astype(dtype)


def _product(block: FloatArray, factor: Factor, axis: int) -> FloatArray:
    return factor.matmul_axis(block, axis)
