"""Products of factors with grids, each in its own way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from . import _native
from ._check import FloatArray
from ._factors import Diagonal, Factor, Identity

__all__ = ["apply"]


def apply(factors: Sequence[Factor], x: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """The product of the factors with x (B, n_1, ..., n_d, R), contiguous; the result is a new array, or `out`.

    Factors with a product of their own go before the matrix products where they shrink the tensor, else after them.
    """
    kernels = [factor._kernel(x.dtype) for factor in factors]
    own = [i for i, f in enumerate(factors) if kernels[i] is None and not isinstance(f, Identity)]
    before = [i for i in own if factors[i].shape[0] < factors[i].shape[1]]
    after = [i for i in own if i not in before]
    shape = [*x.shape]
    y = x

    def along(i: int, tensor: FloatArray) -> FloatArray:
        flat = tensor.reshape(math.prod(shape[: i + 1]), shape[i + 1], math.prod(shape[i + 2 :]))
        shape[i + 1] = factors[i].shape[0]
        factor = factors[i]
        if tensor is not x and isinstance(factor, Diagonal):  # a tensor of our own: in place
            flat *= factor.d[:, None].astype(tensor.dtype, copy=False)
            return tensor
        return factor._own(flat).reshape(shape)

    for i in before:
        y = along(i, y)
    if any(kernel is not None for kernel in kernels):
        for i, kernel in enumerate(kernels):
            if kernel is not None:
                shape[i + 1] = factors[i].shape[0]
        if out is not None and not after:
            z = out
        else:  # in place where it is a tensor of our own
            z = y if y is not x and y.shape == tuple(shape) else np.empty(shape, x.dtype)
        _native.matmul(kernels, y, z)
        y = z
    for i in after:
        y = along(i, y)
    if out is not None and y is not out:
        out[...] = y
        return out
    return y.copy() if y is x else y
