"""What the adapters of `telamon.kron` for PyTorch, JAX and CUDA share: shapes of factors and grids, and refusals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Shape = tuple[int, ...]


def listed(where: str, factors: Any) -> list[Any]:
    """The factors as a list, of at least one."""
    if not isinstance(factors, (list, tuple)):
        raise TypeError(f"{where}: factors is a {type(factors).__name__}; pass a list with one matrix for each axis")
    if not factors:
        raise ValueError(f"{where}: factors is empty; pass one matrix for each axis")
    return list(factors)


def check_matrix(where: str, name: str, shape: Sequence[int], square: bool) -> None:
    if len(shape) != 2 or 0 in shape or (square and shape[0] != shape[1]):
        wanted = "(n, n), symmetric, with n >= 1" if square else "(m, n) with m, n >= 1"
        raise ValueError(f"{where}: {name} has shape {tuple(shape)}; pass {wanted}")


def batch_of(where: str, name: str, shape: Sequence[int], sizes: Sequence[int | None]) -> Shape:
    """The leading dimensions of a grid (..., n_1, ..., n_d); a size that is None fits any."""
    d = len(sizes)
    if len(shape) >= d and all(n is None or n == m for n, m in zip(sizes, shape[len(shape) - d :], strict=True)):
        return tuple(shape[: len(shape) - d])
    grid = ", ".join("any" if n is None else str(n) for n in sizes)
    text = f"{where}: {name} has shape {tuple(shape)}, the factors span a grid ({grid}); pass "
    if None not in sizes and math.prod(shape) == math.prod(n for n in sizes if n is not None):
        raise ValueError(f"{text}{name}.reshape({grid})")
    raise ValueError(f"{text}(..., {grid})")


def check_separable(where: str, noise: Sequence[Any], sizes: Sequence[int]) -> None:
    """Refuse noise variances that are not one array for each axis, of that axis' length."""
    shapes = [tuple(a.shape) for a in noise]
    if shapes != [(n,) for n in sizes]:
        wanted = ", ".join(f"({n},)" for n in sizes)
        raise ValueError(f"{where}: noise has arrays of shapes {shapes}; pass a number, or one for each axis: {wanted}")
