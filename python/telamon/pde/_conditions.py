"""Boundary, initial and inflow conditions, and how they become rows: functionals of one axis, with data on a face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ._domain import Array, Domain, sample
from ._operators import Operator

#: A number, a function of all coordinates, or an array of the face's shape.
Data: TypeAlias = "ArrayLike | Callable[..., Any]"


@dataclass(frozen=True)
class Dirichlet:
    """u = value at an end of an axis, or at both."""

    value: Data = 0.0


@dataclass(frozen=True)
class Neumann:
    """du/dx_i = value, the derivative along the axis and so not the outward one at the lower end."""

    value: Data = 0.0


@dataclass(frozen=True)
class Periodic:
    """u and its derivatives below the operator's order agree at both ends."""


@dataclass(frozen=True)
class Initial:
    """u = value at the lower end of the time axis and, for equations of second order in time, du/dt = velocity."""

    value: Data = 0.0
    velocity: Data | None = None


@dataclass(frozen=True)
class Inflow:
    """u = value where the flow enters: at the lower end of the axis, or the upper one for negative speeds."""

    value: Data = 0.0
    end: str = "low"

    def __post_init__(self) -> None:
        if self.end not in ("low", "high"):
            raise ValueError(f"'end' must be 'low' or 'high', got {self.end!r}.")


#: (end, order, sign) of each value that a functional adds up, end 0 or -1
Parts: TypeAlias = tuple[tuple[int, int, float], ...]
Condition: TypeAlias = "Dirichlet | Neumann | Periodic | Initial | Inflow"
_KINDS = (Dirichlet, Neumann, Periodic, Initial, Inflow)


@dataclass(frozen=True)
class Row:
    """A functional of one axis, ``sum sign d^order u (x[end])``, and what it must be on the face across that axis."""

    parts: Parts
    value: Any
    data: Array  #: of the shape of the grid without this axis

    @property
    def keeps_constants(self) -> bool:
        """Whether a constant may be added to u."""
        return sum(sign for _, order, sign in self.parts if order == 0) == 0


def _plain(entry: Any) -> Any:
    """A condition as it is; anything else is Dirichlet data."""
    return entry if isinstance(entry, _KINDS) or entry is None else Dirichlet(entry)


def _parts(axis: int, entry: Any, order: int) -> list[tuple[Parts, Any]]:
    """The rows of what the user wrote for one axis, without data."""
    if isinstance(entry, (tuple, list)):
        if len(entry) != 2:
            raise ValueError(
                f"'boundary' of axis {axis} must be one condition for both ends or a pair (low, high), "
                f"got {len(entry)} entries."
            )
        out: list[tuple[Parts, Any]] = []
        for end, at_end in zip((0, -1), entry, strict=True):
            several = at_end if isinstance(at_end, list) and order > 2 else [at_end]
            for condition in map(_plain, several):
                if isinstance(condition, (Dirichlet, Neumann)):
                    out.append((((end, int(isinstance(condition, Neumann)), 1.0),), condition.value))
                elif condition is not None:
                    raise ValueError(
                        f"'boundary' of axis {axis}: {type(condition).__name__} is for a whole axis; "
                        f"write it alone, not in a pair."
                    )
        return out
    condition = _plain(entry)
    if condition is None:
        return []
    if isinstance(condition, (Dirichlet, Neumann)):
        return _parts(axis, (condition, condition), order)
    if isinstance(condition, Inflow):
        return [(((0 if condition.end == "low" else -1, 0, 1.0),), condition.value)]
    if isinstance(condition, Periodic):
        return [(((0, m, 1.0), (-1, m, -1.0)), 0.0) for m in range(order)]
    rows: list[tuple[Parts, Any]] = [(((0, 0, 1.0),), condition.value)]
    if condition.velocity is not None:
        rows.append((((0, 1, 1.0),), condition.velocity))
    return rows


def _by_axis(boundary: Any, dimension: int) -> list[Any]:
    """One entry an axis."""
    if isinstance(boundary, Mapping):
        wrong = [key for key in boundary if key not in range(dimension)]
        if wrong:
            raise ValueError(f"'boundary' has keys {wrong}; the axes are 0 to {dimension - 1}.")
        return [boundary.get(axis) for axis in range(dimension)]
    if isinstance(boundary, Sequence) and not isinstance(boundary, str):
        if dimension == 1 and len(boundary) == 2:
            return [tuple(boundary)]
        if len(boundary) != dimension:
            raise ValueError(f"'boundary' must have an entry for each of the {dimension} axes, got {len(boundary)}.")
        return list(boundary)
    return [boundary] * dimension


def rows(boundary: Any, operator: Operator, domain: Domain) -> list[list[Row]]:
    """The rows of each axis, as many as the operator's order along it."""
    out = []
    for axis, entry in enumerate(_by_axis(boundary, domain.dimension)):
        order = operator.orders[axis]
        parts = _parts(axis, entry, order)
        if len(parts) != order:
            need = {0: "none", 1: "one: Initial or Inflow", 2: "two: both ends, Periodic, or Initial with velocity"}
            need[4] = "four: a pair of lists, such as ([Dirichlet(), Neumann()], [Dirichlet(), Neumann()]), or Periodic"
            raise ValueError(
                f"'boundary' gives {len(parts)} condition(s) on axis {axis}, where the operator has a derivative of "
                f"order {order}; it takes {need.get(order, order)}."
            )
        built = []
        for functional, value in parts:
            face = [np.array([a[functional[0][0]]]) if i == axis else a for i, a in enumerate(domain.axes)]
            data = sample(value, face, f"boundary of axis {axis}", axis)
            built.append(Row(functional, value, data))
        if len({row.parts for row in built}) < len(built):
            raise ValueError(f"'boundary' gives the same condition on axis {axis} twice.")
        out.append(built)
    return out
