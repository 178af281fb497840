"""telamon.pde, the direct solver: manufactured solutions of every operator under every kind of condition."""

from __future__ import annotations

import numpy as np
import pytest

from telamon.gp import RBF, SpectralMixture
from telamon.pde import (
    Advection,
    AllenCahn,
    Burgers,
    Dirichlet,
    GridPDE,
    Heat,
    Helmholtz,
    Inflow,
    Initial,
    Neumann,
    Nonlinearity,
    Operator,
    Periodic,
    Poisson,
    Term,
    Wave,
    relative_error,
)

TWO_PI = 2 * np.pi
# Solutions are analytic, so errors are those of the rounding, amplified by derivatives near the ends: 1e-16 times the
# square of the number of modes or its fourth power, 1e-9 at the sizes here.
SMOOTH = 1e-8


def waves(k, phase):
    """Derivatives of sin(k x + phase), by order."""
    return lambda x, m=0: k**m * np.sin(k * x + phase + m * np.pi / 2)


def manufactured(operator, u):
    """L u + N(u) from u(coordinates, orders=...), so that every operator is tested by its own definition."""

    def f(*x):
        d = operator.dimension
        total = 0.0
        for term in operator.terms:
            orders = [term.order if i == term.axis else 0 for i in range(d)]
            shape = x[term.axis].shape
            total = total + term.on(x[term.axis].ravel()).reshape(shape) * u(*x, orders=orders)
        for part in operator.nonlinear:
            total = total + part.value(*(u(*x, orders=o) for o in part.arguments(d)))
        return total

    return f


def product(*factors):
    """u = a product of waves, one an axis, with derivatives."""

    def u(*x, orders=None):
        orders = orders or [0] * len(factors)
        out = 1.0
        for f, coordinate, m in zip(factors, x, orders, strict=True):
            out = out * f(coordinate, m)
        return out

    return u


def velocity(u, axis):
    return lambda *x: u(*x, orders=[int(i == axis) for i in range(len(x))])


def solve(operator, u, boundary, shape=48, **options):
    pde = GridPDE(operator, domain=(0.0, 1.0), shape=shape, **options)
    return pde.solve(manufactured(operator, u), boundary)


ONE, TWO, THREE = waves(9.0, 0.3), waves(7.0, 1.1), waves(5.0, 0.2)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("make", [Poisson, lambda d: Helmholtz(d, 4.0), AllenCahn], ids=["poisson", "helmholtz", "ac"])
def test_dirichlet(make, dimension):
    u = product(*(ONE, TWO, THREE)[:dimension])
    solution = solve(make(dimension), u, u, shape=32 if dimension == 3 else 48)
    assert solution.converged
    assert relative_error(solution, u, 37) < SMOOTH


@pytest.mark.parametrize("dimension", [1, 2])
def test_neumann_and_dirichlet(dimension):
    u = product(*(ONE, TWO)[:dimension])
    boundary = [(Neumann(velocity(u, i)), Dirichlet(u)) for i in range(dimension)]
    assert relative_error(solve(Poisson(dimension), u, boundary), u, 37) < SMOOTH


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_neumann_alone_leaves_a_constant(dimension):
    u = product(*(waves(k, np.pi / 2) for k in (TWO_PI, 2 * np.pi, np.pi)[:dimension]))  # of mean 0
    boundary = [Neumann(velocity(u, i)) for i in range(dimension)]
    solution = solve(Poisson(dimension), u, boundary, shape=32)
    assert relative_error(solution, u, 37) < SMOOTH


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_periodic(dimension):
    u = product(*(waves(k * TWO_PI, 0.4 * k) for k in (1, 2, 1)[:dimension]))
    assert relative_error(solve(Poisson(dimension), u, Periodic(), shape=32), u, 37) < SMOOTH


def test_advection_from_inflow_and_initial_data():
    def u(x, t, orders=(0, 0)):
        return (-5.0) ** orders[1] * waves(8.0, 0.1)(x - 5 * t, sum(orders))

    # where the grid's fastest waves in x travel, time is not resolved: that costs two digits at 80 points
    assert relative_error(solve(Advection(5.0), u, [Inflow(u), Initial(u)], shape=80), u, 37) < 1e-6
    back = Advection(-5.0)

    def v(x, t, orders=(0, 0)):
        return 5.0 ** orders[1] * waves(8.0, 0.1)(x + 5 * t, sum(orders))

    assert relative_error(solve(back, v, [Inflow(v, end="high"), Initial(v)], shape=80), v, 37) < 1e-6


def test_advection_in_two_dimensions_of_space():
    u = product(waves(3.0, 0.3), waves(2.0, 1.1), waves(2.0, 0.2))
    solution = solve(Advection([1.0, 2.0]), u, [Inflow(u), Inflow(u), Initial(u)], shape=40)
    assert relative_error(solution, u, 23) < 1e-6  # as above


@pytest.mark.parametrize("side", [Dirichlet, Periodic, Neumann])
def test_heat(side):
    u = product(waves(TWO_PI, 0.4), lambda t, m=0: (-1.5) ** m * np.exp(-1.5 * t))
    space = {Dirichlet: u, Periodic: Periodic(), Neumann: Neumann(velocity(u, 0))}[side]
    assert relative_error(solve(Heat(0.05), u, [space, Initial(u)]), u, 37) < SMOOTH


def test_heat_in_two_dimensions_of_space():
    u = product(ONE, TWO, lambda t, m=0: (-1.5) ** m * np.exp(-1.5 * t))
    assert relative_error(solve(Heat(0.05, 2), u, [u, u, Initial(u)], shape=28), u, 23) < 1e-7


@pytest.mark.parametrize("side", [Dirichlet, Neumann])
def test_wave(side):
    u = product(ONE, TWO)
    space = u if side is Dirichlet else Neumann(velocity(u, 0))
    solution = solve(Wave(1.5), u, [space, Initial(u, velocity(u, 1))])
    assert relative_error(solution, u, 37) < 1e-6  # conditions at one end only, so twice the amplification


def test_burgers():
    u = product(ONE, lambda t, m=0: (-1.0) ** m * np.exp(-t))
    solution = solve(Burgers(0.1), u, [u, Initial(u)])
    assert solution.converged
    assert relative_error(solution, u, 37) < 1e-6


def test_coefficients_that_vary_and_orders_of_one_axis():
    operator = Operator(2, [Term(0, 2, lambda x: 1 + x), Term(0, 1, np.sin), Term(1, 2), Term(1, 0, -3.0)])
    u = product(ONE, TWO)
    assert relative_error(solve(operator, u, u), u, 37) < SMOOTH


def test_initial_value_problem_of_one_axis():
    oscillator = Operator(1, [Term(0, 2), Term(0, 0, 100.0)])
    solution = GridPDE(oscillator, domain=(0.0, 4.0), shape=200).solve(0.0, [Initial(0.0, 10.0)])
    assert relative_error(solution, lambda t: np.sin(10 * t)) < SMOOTH
    decay = Operator(1, [Term(0, 1), Term(0, 0, 2.0)])
    solution = GridPDE(decay, domain=(0.0, 4.0), shape=60).solve(0.0, [Initial(3.0)])
    assert relative_error(solution, lambda t: 3 * np.exp(-2 * t)) < SMOOTH


def test_fourth_order():
    u = product(THREE)
    clamped = [Dirichlet(u), Neumann(velocity(u, 0))]
    solution = solve(Operator(1, [Term(0, 4), Term(0, 0, 2.0)]), u, [(clamped, clamped)])
    assert relative_error(solution, u) < SMOOTH
    with pytest.raises(ValueError, match=r"gives 2 condition.*order 4.*takes four"):
        solve(Operator(1, [Term(0, 4)]), u, u)
    plate = Operator(2, [Term(0, 4), Term(1, 4)])
    v = product(waves(TWO_PI, 0.3), waves(TWO_PI, 1.0))
    assert relative_error(solve(plate, v, [([v, Neumann(velocity(v, 0))],) * 2, Periodic()]), v, 37) < 1e-6


def test_own_nonlinearity():
    bratu = Operator(
        2, [Term(0, 2), Term(1, 2)], [Nonlinearity(lambda u: 2 * np.exp(u), lambda u: (2 * np.exp(u),))], name="Bratu"
    )
    u = product(ONE, TWO)
    assert relative_error(solve(bratu, u, u), u, 37) < SMOOTH


@pytest.mark.parametrize("kernel", [RBF(0.15), SpectralMixture.init(20, 6.0), SpectralMixture.init(20, 6.0) + RBF(0.1)])
def test_kernels_of_ones_own(kernel):
    u = product(ONE, TWO)
    solution = solve(Poisson(2), u, u, kernel=kernel)
    assert solution.kernels == [kernel, kernel]
    assert relative_error(solution, u, 37) < 1e-7


def test_irregular_axes():
    rng = np.random.default_rng(3)
    axes = [np.sort(np.r_[0.0, 1.0, rng.uniform(0, 1, 60)]), np.linspace(0, 1, 41) ** 1.2]
    u = product(ONE, TWO)
    solution = GridPDE(Poisson(2), axes).solve(manufactured(Poisson(2), u), u)
    assert relative_error(solution, u, 37) < 1e-6  # random points leave gaps of 8 times the mean distance
