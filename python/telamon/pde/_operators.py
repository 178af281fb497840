"""Partial differential operators: sums of derivatives along axes, and nonlinearities of u and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._domain import Array

MAX_ORDER = 4


@dataclass(frozen=True)
class Term:
    """coefficient * d^order u / dx_axis^order; the coefficient is a number or a function of that axis' coordinate."""

    axis: int
    order: int
    coefficient: float | Callable[[Array], ArrayLike] = 1.0

    def __post_init__(self) -> None:
        for name in ("axis", "order"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
                raise ValueError(f"'{name}' of a term must be an integer >= 0, got {value!r}.")
        if self.order > MAX_ORDER:
            raise ValueError(f"'order' of a term goes up to {MAX_ORDER}, got {self.order}.")
        if not callable(self.coefficient) and not np.isfinite(_number(self.coefficient, "coefficient")):
            raise ValueError(f"'coefficient' must be finite, got {self.coefficient!r}.")

    def on(self, x: Array) -> Array:
        """The coefficient at points of its axis, shape (n,)."""
        value = self.coefficient(x) if callable(self.coefficient) else self.coefficient
        out = np.asarray(value, dtype=np.float64)
        if out.shape not in ((), x.shape) or not np.isfinite(out).all():
            raise ValueError(
                f"'coefficient' of the term on axis {self.axis} must be finite, a number or of shape {x.shape}, "
                f"got shape {out.shape}."
            )
        return np.broadcast_to(out, x.shape)


@dataclass(frozen=True)
class Nonlinearity:
    """A function of u and derivatives of u at the same point.

    Parameters
    ----------
    value : callable
        Takes the arrays named by `derivatives`, returns an array.
    gradient : callable
        The same arguments; returns a tuple of the partial derivatives of `value`, one for each.
    derivatives : tuple of tuple of int, optional
        For each argument, the orders of derivative along the axes; u alone by default.
    """

    value: Callable[..., Any]
    gradient: Callable[..., Any]
    derivatives: tuple[tuple[int, ...], ...] = ()

    def arguments(self, dimension: int) -> tuple[tuple[int, ...], ...]:
        """`derivatives`, with its default."""
        return self.derivatives or ((0,) * dimension,)


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"'{name}' must be a real number, got {value!r}.") from None


class Operator:
    """L u = sum of terms + nonlinearities.

    Parameters
    ----------
    dimension : int
        Number of axes; where time is one, it is the last by custom.
    terms : sequence of Term
    nonlinear : sequence of Nonlinearity
    name : str

    Examples
    --------
    >>> from telamon.pde import Operator, Term
    >>> Operator(1, [Term(0, 2), Term(0, 1, lambda x: x), Term(0, 0, 3.0)], name="Hermite").orders
    (2,)
    """

    def __init__(
        self, dimension: int, terms: Sequence[Term], nonlinear: Sequence[Nonlinearity] = (), name: str = "Operator"
    ) -> None:
        if isinstance(dimension, bool) or not isinstance(dimension, (int, np.integer)) or dimension < 1:
            raise ValueError(f"'dimension' must be an integer >= 1, got {dimension!r}.")
        if not terms:
            raise ValueError("'terms' is empty; an operator needs at least one derivative.")
        for term in terms:
            if not isinstance(term, Term):
                raise ValueError(f"'terms' must hold Term objects, got {term!r}.")
            if term.axis >= dimension:
                raise ValueError(f"a term is on axis {term.axis}, but 'dimension' is {dimension}.")
        for part in nonlinear:
            if not isinstance(part, Nonlinearity):
                raise ValueError(f"'nonlinear' must hold Nonlinearity objects, got {part!r}.")
            if any(len(orders) != dimension for orders in part.arguments(dimension)):
                raise ValueError(f"'derivatives' of a nonlinearity must have {dimension} orders each.")
        self.dimension, self.terms, self.nonlinear, self.name = int(dimension), tuple(terms), tuple(nonlinear), name

    @property
    def orders(self) -> tuple[int, ...]:
        """The highest order of derivative along each axis, which is the number of conditions it takes."""
        return tuple(max([t.order for t in self.terms if t.axis == i], default=0) for i in range(self.dimension))

    @property
    def linear(self) -> bool:
        """Whether there is no nonlinearity."""
        return not self.nonlinear

    @property
    def keeps_constants(self) -> bool:
        """Whether L(u + c) = L u."""
        return self.linear and all(term.order for term in self.terms)

    def __add__(self, other: Any) -> Operator:
        if not isinstance(other, Operator):
            return NotImplemented
        if other.dimension != self.dimension:
            raise ValueError(f"operators of {self.dimension} and {other.dimension} axes do not add.")
        name = f"{self.name} + {other.name}"
        return Operator(self.dimension, self.terms + other.terms, self.nonlinear + other.nonlinear, name)

    def __repr__(self) -> str:
        return f"<{self.name}, {self.dimension} axes, orders {self.orders}>"


def _laplacian(axes: int, factor: float = 1.0) -> list[Term]:
    if isinstance(axes, bool) or not isinstance(axes, (int, np.integer)) or axes < 1:
        raise ValueError(f"'dimension' must be an integer >= 1, got {axes!r}.")
    return [Term(i, 2, factor) for i in range(axes)]


def _positive(value: Any, name: str) -> float:
    number = _number(value, name)
    if not 0 < number < np.inf:
        raise ValueError(f"'{name}' must be positive and finite, got {value!r}.")
    return number


def Poisson(dimension: int = 2) -> Operator:
    """The Laplacian, so that the equation is u_xx + u_yy + .. = f."""
    return Operator(dimension, _laplacian(dimension), name="Poisson")


def Helmholtz(dimension: int = 2, wavenumber: float = 1.0) -> Operator:
    """u_xx + u_yy + .. + wavenumber^2 u."""
    k = _number(wavenumber, "wavenumber")
    return Operator(dimension, [*_laplacian(dimension), Term(0, 0, k * k)], name="Helmholtz")


def AllenCahn(dimension: int = 2) -> Operator:
    """u_xx + u_yy + .. + u (u^2 - 1), as in the paper."""
    cubic = Nonlinearity(lambda u: u * (u * u - 1), lambda u: (3 * u * u - 1,))
    return Operator(dimension, _laplacian(dimension), [cubic], name="Allen-Cahn")


def Advection(speed: float | Sequence[float] = 1.0) -> Operator:
    """speed . grad u + u_t; axes are those of space, one for each entry of speed, and then time."""
    speeds = np.atleast_1d(np.asarray(speed, dtype=np.float64))
    if speeds.ndim != 1 or not speeds.size or not np.isfinite(speeds).all() or not speeds.all():
        raise ValueError(f"'speed' must hold finite numbers other than 0, got {speed!r}.")
    terms = [Term(i, 1, float(s)) for i, s in enumerate(speeds)]
    return Operator(speeds.size + 1, [*terms, Term(speeds.size, 1)], name="Advection")


def Heat(diffusivity: float = 1.0, dimension: int = 1) -> Operator:
    """u_t - diffusivity (u_xx + ..) in `dimension` axes of space, and then time."""
    terms = _laplacian(dimension, -_positive(diffusivity, "diffusivity"))
    return Operator(dimension + 1, [*terms, Term(dimension, 1)], name="Heat")


def Wave(speed: float = 1.0, dimension: int = 1) -> Operator:
    """u_tt - speed^2 (u_xx + ..) in `dimension` axes of space, and then time."""
    terms = _laplacian(dimension, -(_positive(speed, "speed") ** 2))
    return Operator(dimension + 1, [*terms, Term(dimension, 2)], name="Wave")


def Burgers(viscosity: float) -> Operator:
    """u_t + u u_x - viscosity u_xx; axes x and t."""
    flux = Nonlinearity(lambda u, ux: u * ux, lambda u, ux: (ux, u), ((0, 0), (1, 0)))
    terms = [Term(0, 2, -_positive(viscosity, "viscosity")), Term(1, 1)]
    return Operator(2, terms, [flux], name="Burgers")
