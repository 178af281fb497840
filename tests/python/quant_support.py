"""What the tests of telamon.quant share: weights, correlated inputs and packed matrices."""

from __future__ import annotations

import numpy as np

from telamon.quant import QuantizedMatrix


def generator(*seed):
    return np.random.default_rng(seed)


def layer(rows, inputs, tokens, seed=0):
    """Weights with tails, and X'X of inputs that are correlated and of very different sizes."""
    rng = generator(rows, inputs, tokens, seed)
    mixing = rng.standard_normal((inputs, inputs)) * np.exp(rng.normal(0, 1, inputs))
    x = rng.standard_normal((tokens, inputs)) @ mixing
    return rng.standard_t(5, (rows, inputs)).astype(np.float32), x.T @ x


def matrix(rows, inputs, bits, group_size=None, seed=0, **arguments):
    """A matrix of random codes and codebooks."""
    rng = generator(rows, inputs, bits, seed)
    groups = 1 if group_size is None else -(-inputs // group_size)
    books = np.sort(rng.standard_normal((rows, groups, 1 << bits)), axis=2)
    codes = rng.integers(0, 1 << bits, (rows, inputs))
    return QuantizedMatrix.from_codes(codes, books, bits=bits, group_size=group_size, **arguments)
