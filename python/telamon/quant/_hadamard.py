"""Walsh-Hadamard transforms of any power of two, and of its products with the orders of Paley's constructions."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from ._check import as_whole

Array = NDArray[Any]

__all__ = ["Rotation", "fwht", "hadamard"]

_MOST_FACTOR = 512  # of a matrix without a fast transform


def fwht(x: ArrayLike, axis: int = -1, *, normalize: bool = True, transpose: bool = False) -> Array:
    """The Walsh-Hadamard transform H x along an axis.

    .. math:: y_i = n^{-1/2} \\sum_j H_{ij} x_j, \\qquad H = H_m \\otimes H_{2^k}, \\quad
              (H_{2^k})_{ij} = (-1)^{\\mathrm{popcount}(i \\,\\&\\, j)}

    for n = m 2^k, with H_m of Paley's constructions (`hadamard`) where n is no power of two: m = 12, 20, 28, 36, 44,
    60, 68, 76 and so on. k additions and m - 1 more for each number.

    Parameters
    ----------
    x : array_like (..., n, ...) of float32 or float64
    axis : int
    normalize : bool
        With the factor n^(-1/2), so that norms stay; else entries of H are +-1.
    transpose : bool
        H' x in the place of H x: the inverse of the normalised transform. For powers of two they are the same.

    Returns
    -------
    numpy.ndarray
        Of x's shape and dtype, new.

    Raises
    ------
    TypeError, ValueError
        If x is not float32 or float64, or there is no matrix of this order here.

    Examples
    --------
    >>> fwht(np.array([1.0, 2.0, 3.0, 4.0]), normalize=False)
    array([10., -2., -4.,  0.])
    """
    where = "telamon.quant.fwht"
    array = np.asarray(x)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{where}: x has dtype {array.dtype}; pass float32 or float64")
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"{where}: axis is {axis}, x has {array.ndim} dimensions")
    rows = np.moveaxis(array, axis, -1)
    n = rows.shape[-1]
    m = _factor(where, n)
    flat = rows.reshape(-1, n).copy()
    _native.fwht(flat.reshape(-1, n // m), n**-0.5 if normalize else 1.0)
    if m > 1:
        matrix = hadamard(m).astype(array.dtype)
        flat = np.matmul(matrix.T if transpose else matrix, flat.reshape(-1, m, n // m))
    return np.ascontiguousarray(np.moveaxis(flat.reshape(rows.shape), -1, axis))


class Rotation:
    """The orthogonal map R = S H'/sqrt(n), random signs S and then a Walsh-Hadamard transform.

    It spreads outliers over all inputs. A layer stays what it is, W x = (W R)(R' x), and its Hessian becomes R' H R: to
    be applied before weights and activations are rounded to few bits (QuIP, QuaRot).

    Parameters
    ----------
    n : int
        An order of `fwht`.
    seed : int or None
        Of the signs; None: all +1.

    Examples
    --------
    >>> rotation, x, W = Rotation(12, seed=1), np.arange(12.0), np.ones((2, 12))
    >>> bool(np.allclose(rotation.weights(W) @ rotation(x), W @ x))
    True
    """

    def __init__(self, n: int, seed: int | None = 0) -> None:
        where = "telamon.quant.Rotation"
        self.n = as_whole(where, "n", n, 1)
        _factor(where, self.n)
        rng = np.random.default_rng(seed)
        self.signs = np.ones(self.n) if seed is None else rng.choice([-1.0, 1.0], self.n)

    def __call__(self, x: ArrayLike) -> Array:
        """R' x of the last axis (..., n): of inputs."""
        array = np.asarray(x)
        return fwht(array * self.signs.astype(array.dtype))

    def inverse(self, x: ArrayLike) -> Array:
        """R x of the last axis (..., n)."""
        array = fwht(x, transpose=True)
        result: Array = array * self.signs.astype(array.dtype)
        return result

    def weights(self, W: ArrayLike) -> Array:
        """W R of (rows, n)."""
        return self(W)

    def hessian(self, H: ArrayLike) -> Array:
        """R' H R of a symmetric (n, n), symmetric to the bit."""
        rotated = self(self(H).T)
        result: Array = (rotated + rotated.T) / 2
        return result


@functools.cache
def hadamard(n: int) -> Array:
    """A Hadamard matrix, +-1 with H H' = n I, in int8: Sylvester's for powers of two, Paley's else.

    Paley (1933): for a prime q = 3 mod 4 one of order q + 1 from the quadratic residues mod q; for a prime q = 1 mod 4
    one of order 2 (q + 1).
    """
    where = "telamon.quant.hadamard"
    m = _factor(where, as_whole(where, "n", n, 1))
    paley = _paley_one(m - 1) if m > 1 and _is_paley_one(m) else _paley_two(m // 2 - 1) if m > 1 else np.ones((1, 1))
    matrix: Array = paley.astype(np.int8)
    for _ in range((n // m).bit_length() - 1):
        matrix = np.kron(matrix, np.array([[1, 1], [1, -1]], np.int8))
    matrix.flags.writeable = False
    return matrix


def _factor(where: str, n: int) -> int:
    """The order m of a matrix of Paley's such that n/m is a power of two; 1 for powers of two."""
    if n < 1:
        raise ValueError(f"{where}: n is {n}; pass at least 1")
    odd = n // (n & -n)
    if odd == 1:
        return 1
    m = 4 * odd
    while m <= min(n, _MOST_FACTOR):
        if n % m == 0 and (_is_paley_one(m) or (m % 4 == 0 and (m // 2 - 1) % 4 == 1 and _is_prime(m // 2 - 1))):
            return m
        m *= 2
    raise ValueError(
        f"{where}: there is no Hadamard matrix here of order {n} = {n // odd} * {odd}; orders are 2^k times 1, 12, "
        "20, 28, 36, 44, 60, 68, 76, 84, 108, ...; pad with zeros to one of them"
    )


def _is_paley_one(m: int) -> bool:
    return m % 4 == 0 and _is_prime(m - 1)


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def _residues(q: int) -> Array:
    """chi(i - j) with the quadratic character chi mod q."""
    character = np.full(q, -1)
    character[[i * i % q for i in range(1, q)]] = 1
    character[0] = 0
    matrix: Array = character[np.subtract.outer(np.arange(q), np.arange(q)) % q]
    return matrix


def _bordered(q: int, sign: int) -> Array:
    """[[0, 1], [sign, Q]], whose product with its transpose is q I."""
    matrix = np.zeros((q + 1, q + 1), int)
    matrix[0, 1:], matrix[1:, 0], matrix[1:, 1:] = 1, sign, _residues(q)
    return matrix


def _paley_one(q: int) -> Array:
    matrix: Array = _bordered(q, -1) + np.eye(q + 1, dtype=int)
    return matrix


def _paley_two(q: int) -> Array:
    # Each 0 becomes one 2 by 2 block, each +-1 another.
    conference = _bordered(q, 1)
    matrix: Array = np.kron(conference, [[1, 1], [1, -1]]) + np.kron(np.eye(q + 1, dtype=int), [[1, -1], [-1, -1]])
    return matrix
