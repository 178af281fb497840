"""What the adapters of `telamon.quant` for PyTorch, JAX and CUDA share: shapes of packed matrices, and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PRECISIONS = ("exact", "fast")
TILE = 64  # inputs whose codes are packed together


def whole(where: str, name: str, value: Any, low: int, high: int | None = None) -> int:
    """The value as an int from `low` to `high`."""
    good = isinstance(value, int) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):
        wanted = f"a whole number from {low} to {high}" if high is not None else f"a whole number of at least {low}"
        raise (ValueError if good else TypeError)(f"{where}: {name} is {value!r}; pass {wanted}")
    return int(value)


def row_bytes(inputs: int, bits: int) -> int:
    """The bytes of a packed row."""
    return (inputs + TILE - 1) // TILE * 8 * bits


def groups_of(inputs: int, group: int) -> int:
    """The codebooks of a row; group 0 is the whole row."""
    return 1 if group == 0 else -(-inputs // group)


def parts(bits: int) -> list[tuple[int, int]]:
    """(bits, lowest bit in the code) of the parts that a tile of codes is made of, in order."""
    if bits == 8:
        return [(8, 0)]
    found, low = [], 0
    for part in (4, 2, 1):
        if bits & part:
            found.append((part, low))
            low += part
    return found


def group_of(where: str, group_size: int | None) -> int:
    """The inputs of a codebook, 0 for the whole row."""
    return 0 if group_size is None else whole(where, "group_size", group_size, 1)


def check_precision(where: str, precision: Any) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"{where}: precision is {precision!r}; pass 'exact' or 'fast'")


def check_matrix(
    where: str, codes: Sequence[int], codebooks: Sequence[int], bits: int, group: int, inputs: int
) -> None:
    """Refuse shapes of codes and codebooks that contradict the rest."""
    whole(where, "bits", bits, 1, 8)
    whole(where, "inputs", inputs, 1)
    rows = codes[0] if len(codes) else 0
    want, books = (rows, row_bytes(inputs, bits)), (rows, groups_of(inputs, group), 1 << bits)
    if tuple(codes) != want or tuple(codebooks) != books:
        raise ValueError(
            f"{where}: codes and codebooks have shapes {tuple(codes)} and {tuple(codebooks)}; {inputs} inputs of "
            f"{bits} bits in groups of {group or inputs} take {want} and {books}"
        )


def inputs_of(where: str, x: Sequence[int]) -> int:
    """The last dimension of x."""
    if len(x) < 1 or x[-1] < 1:
        raise ValueError(f"{where}: x has shape {tuple(x)}; pass (..., inputs)")
    return int(x[-1])
