"""telamon.pde: the solution as a function, the automatic kernel, and what is refused."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from telamon import pde
from telamon.gp import RBF, Matern, SpectralMixture
from telamon.pde import (
    Advection,
    AllenCahn,
    BandWarning,
    BoundaryWarning,
    Burgers,
    ConvergenceWarning,
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
    _automatic,
    _basis,
    _inverse,
    relative_error,
)


def u(x, y):
    return np.sin(9 * x + 0.3) * np.cos(7 * y)


def f(x, y):
    return -130 * u(x, y)


@pytest.fixture(scope="module")
def solution():
    return GridPDE(Poisson(2), domain=(0, 1), shape=(44, 40)).solve(f, u)


# ---- evaluation


def test_points_grids_and_grid_values_agree(solution):
    axes = (np.linspace(0, 1, 7), np.linspace(0, 1, 5))
    grid = solution(axes)
    points = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")], axis=1)
    assert grid.shape == (7, 5)
    assert np.abs(solution(points) - grid.ravel()).max() < 1e-11  # the same sums in another order
    assert np.array_equal(solution(solution.axes), solution.values)
    assert solution(np.zeros((0, 2))).shape == (0,)
    assert solution([[0.3, 0.7], [0.1, 0.2]]).shape == (2,)  # a list of lists is a list of points


def test_derivatives_are_those_of_differences(solution):
    points = np.random.default_rng(0).uniform(0.1, 0.9, (20, 2))
    h = 1e-4
    for axis in range(2):
        step = h * np.eye(2)[axis]
        orders = np.eye(2, dtype=int)[axis]
        up, middle, down = (solution(points + s * step) for s in (1, 0, -1))
        scale = 9.0
        # h^2 / 6 times the third derivative, and 1e-12 of rounding over h
        assert np.abs(solution.derivative(orders, points) - (up - down) / (2 * h)).max() < 2e-6 * scale
        second = (up - 2 * middle + down) / h**2
        assert np.abs(solution.derivative(2 * orders, points) - second).max() < 1e-3 * scale**2
    mixed = solution.derivative((1, 1), points)
    want = -63 * np.cos(9 * points[:, 0] + 0.3) * np.sin(7 * points[:, 1])
    assert np.abs(mixed - want).max() < 1e-6 * 63
    assert solution.derivative((1, 0)).shape == (44, 40)


def test_residual_on_and_off_the_grid(solution):
    assert np.abs(solution.residual()).max() < 1e-4  # of f's 130
    assert np.abs(solution.residual((np.linspace(0, 1, 9), np.linspace(0, 1, 8)))).max() < 1e-4
    points = np.random.default_rng(0).uniform(0, 1, (9, 2))
    assert np.abs(solution.residual(points)).max() < 1e-4
    fixed = GridPDE(Poisson(2), domain=(0, 1), shape=30).solve(np.ones((30, 30)), lambda x, y: 0.25 * (x**2 + y**2))
    with pytest.raises(ValueError, match=r"'at'.*f to solve as a function"):
        fixed.residual(points)
    constant = GridPDE(Poisson(2), domain=(0, 1), shape=30).solve(1.0, lambda x, y: 0.25 * (x**2 + y**2))
    assert np.abs(constant.residual(points)).max() < 1e-6


def test_attributes(solution):
    assert solution.method == "direct"
    assert solution.converged
    assert repr(solution) == "<PDESolution of Poisson on 44x40, direct>"
    frequency, weight = solution.frequencies[0]
    assert frequency.shape == weight.shape == (30,)
    assert solution.log_marginal_likelihood is None
    with pytest.raises(ValueError, match="std needs method='evidence'"):
        solution.std()


def test_outside_the_box(solution):
    with pytest.warns(UserWarning, match="leaves the box along axis 1"):
        solution([[0.5, 1.5]])


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_plot(dimension):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    drawn = GridPDE(Poisson(dimension), domain=(0, 1), shape=12, max_frequency=1.0).solve(1.0, 0.0).plot()
    assert drawn.get_xlabel()
    pyplot.close("all")


# ---- the basis


@pytest.mark.parametrize("n", [40, 41])
@pytest.mark.parametrize(
    "kernel",
    [
        RBF(0.3, 2.0),
        SpectralMixture.init(6, 5.0),
        SpectralMixture([0.2, 0.5], [2.5, 0.1], [3.0, 2.0]) * RBF(0.2),
        RBF(0.3) + 3.0 * RBF(0.1),
    ],
)
def test_waves_are_a_square_root_of_the_kernel(kernel, n):
    x = np.linspace(-0.4, 1.3, n)
    for points in (x, np.sort(np.random.default_rng(0).uniform(0, 1, n))):
        basis = _basis.Basis(kernel, points)
        between = np.linspace(points[0], points[-1], 57)
        for order in range(3):
            got = basis.prior(between, order) @ basis.prior(points).T
            want = kernel.derivative(between, points, dx=order)
            assert np.abs(got - want).max() < 1e-13 * (20 * np.pi) ** order * kernel(points).max()
        # orthonormal on the grid, down to modes of which rounding leaves 1e-13 / 1e-16 = 3 digits
        assert np.abs(basis(points).T @ basis(points) - np.eye(basis.rank)).max() < 0.1
        assert np.abs(basis(points)[:, :10].T @ basis(points)[:, :10] - np.eye(10)).max() < 1e-10


def test_a_rough_kernel_has_the_eigenvectors_of_its_matrix():
    x = np.linspace(0, 1, 30)
    basis = _basis.Basis(Matern(2.5, 0.3), x)
    assert basis.waves is None
    assert np.abs(basis.prior(x) @ basis.prior(x).T - Matern(2.5, 0.3)(x)).max() < 1e-12


@pytest.mark.parametrize("shape", [(7,), (5, 6), (4, 5, 3)])
@pytest.mark.parametrize("well", [1e6, 0.0], ids=["eigenvectors", "schur"])
def test_inverse_of_a_kronecker_sum(shape, well, monkeypatch):
    pytest.importorskip("scipy")
    monkeypatch.setattr(_inverse, "_WELL", well)
    rng = np.random.default_rng(1)
    matrices = [rng.normal(size=(n, n)) + 3 * np.eye(n) for n in shape]
    z = rng.normal(size=shape)
    right = sum(_inverse.along(m, z, i) for i, m in enumerate(matrices)) + 0.5 * z
    assert np.abs(_inverse.KroneckerSumInverse(matrices).solve(right, 0.5) - z).max() < 1e-12


def test_gmres():
    rng = np.random.default_rng(1)
    a = np.eye(30) + 0.1 * rng.normal(size=(30, 30))
    b = rng.normal(size=(5, 6))
    x, steps = _inverse.gmres(lambda v: (a @ v.ravel()).reshape(5, 6), lambda v: v, b, 1e-10)
    assert np.linalg.norm(a @ x.ravel() - b.ravel()) <= 1e-9 * np.linalg.norm(b)
    assert 1 < steps <= 30


# ---- the automatic kernel


def test_the_band_of_the_source_is_found():
    solution = GridPDE(Poisson(1), domain=(0, 2), shape=200).solve(lambda x: np.sin(2 * np.pi * 17 * x), 0.0)
    assert 17 < solution.frequencies[0].frequency.max() < 19


def test_spectra_of_even_and_uneven_points_agree():
    even = np.linspace(-1, 2, 201)
    uneven = even + 1e-7 * np.random.default_rng(0).uniform(-1, 1, 201)
    values = np.stack([np.sin(40 * even), np.exp(-(even**2))], axis=1)
    one, two = (_automatic.spectrum(x, values) for x in (even, uneven))
    # the uneven axis has a lower Nyquist frequency, by its widest step; 1e-7 of a step moves phases by 1e-5
    count = two[0].size
    assert one[0].size - count <= 1
    assert np.abs(one[1][:count] - two[1]).max() < 1e-4


@pytest.mark.filterwarnings("ignore:.*residual on the grid:telamon.pde.BandWarning")  # which is then large, too
def test_a_band_beyond_the_grid_warns():
    def source(x):
        return np.sin(2 * np.pi * 60 * x)

    with pytest.warns(BandWarning, match=r"up to 6\d.* cycles per unit along axis 0.*take 1\d\d points"):
        GridPDE(Poisson(1), domain=(0, 1), shape=100).solve(source, 0.0)
    with pytest.warns(BandWarning, match="kernel of axis 0 reaches"):
        GridPDE(Poisson(1), domain=(0, 1), shape=50, kernel=RBF(0.001)).solve(1.0, 0.0)


def test_student_spectrum():
    # the functions are no smoother than |x|^5, so that errors fall like a power of the distance between points
    errors = []
    for n in (40, 120):
        solution = GridPDE(Poisson(2), domain=(0, 1), shape=n, spectrum="student").solve(f, u)
        errors.append(relative_error(solution, u, 50))
    assert errors[1] < errors[0]
    assert max(errors) < 1e-3


# ---- warnings of conditions


@pytest.mark.filterwarnings("ignore::telamon.pde.BandWarning")  # a jump has no band
def test_conditions_that_disagree_warn():
    with pytest.warns(BoundaryWarning, match="axes 0 and 1 disagree"):
        GridPDE(Poisson(2), domain=(0, 1), shape=30).solve(0.0, [0.0, 1.0])
    with pytest.warns(BoundaryWarning, match="up to a constant"):
        GridPDE(Poisson(2), domain=(0, 1), shape=30).solve(1.0, Periodic())


def test_newton_that_fails_warns():
    # u'' = -(1 + 50 e^u) has no solution beyond u'' + 3.51 e^u = 0
    operator = Operator(1, [Term(0, 2)], [Nonlinearity(lambda u: 50 * np.exp(u), lambda u: (50 * np.exp(u),))])
    problem = GridPDE(operator, domain=(0, 1), shape=40, max_frequency=2.0)
    with np.errstate(all="ignore"), pytest.warns((ConvergenceWarning, BandWarning)):
        problem.solve(-1.0, 0.0)


def test_newton_starts_where_told():
    solution = GridPDE(AllenCahn(2), domain=(0, 1), shape=(44, 40)).solve(
        lambda x, y: f(x, y) + u(x, y) * (u(x, y) ** 2 - 1), u, guess=u
    )
    assert solution.iterations <= 3
    assert relative_error(solution, u) < 1e-8


# ---- refusals

G = {"domain": (0.0, 1.0), "shape": 20}
P1, P2 = Poisson(1), Poisson(2)


def build(*args, **options):
    return lambda: GridPDE(*args, **options)


def solving(operator, source, boundary, **options):
    return lambda: GridPDE(operator, **{**G, **options}).solve(source, boundary)


BAD = {
    # the grid
    "no grid": (build(P1), r"either 'axes' or 'domain'"),
    "both": (build(P1, [np.arange(9.0)], **G), r"either 'axes' or 'domain'"),
    "axes and shape": (build(P1, [np.arange(9.0)], shape=9), r"'shape' goes with 'domain'"),
    "no shape": (build(P1, domain=(0, 1)), r"'shape' is missing"),
    "a shape of 1": (build(P1, domain=(0, 1), shape=1), r"'shape' must be 1 integers >= 2"),
    "a shape of floats": (build(P1, domain=(0, 1), shape=9.5), r"'shape' must"),
    "too many numbers": (build(P2, domain=(0, 1), shape=(9, 9, 9)), r"'shape' must be 2 integers"),
    "an empty interval": (build(P1, domain=(1, 1), shape=9), r"'domain' must .*low < high"),
    "three intervals": (build(P2, domain=[(0, 1)] * 3, shape=9), r"'domain' must"),
    "one axis of two": (build(P2, [np.arange(9.0)]), r"'axes' must have 2 entries.*got 1"),
    "decreasing": (build(P1, [np.arange(9.0)[::-1]]), r"'axes\[0\]' must increase.*np.unique"),
    "duplicates": (build(P1, [[0.0, 1.0, 1.0]]), r"'axes\[0\]' must increase"),
    "NaN": (build(P1, [[0.0, np.nan, 1.0]]), r"'axes\[0\]' contains NaN"),
    "a matrix": (build(P1, [np.ones((3, 3))]), r"'axes\[0\]' must be a vector"),
    "text": (build(P1, [["a", "b"]]), r"'axes\[0\]' must hold real numbers"),
    # options
    "operator": (build("poisson", **G), r"'operator' must be an Operator"),
    "method": (build(P1, method="magic", **G), r"'method' must be one of .*'direct', 'evidence', 'paper'.*'magic'"),
    "spectrum": (build(P1, spectrum="cauchy", **G), r"'spectrum' must be 'gaussian' or 'student'"),
    "components": (build(P1, components=0, **G), r"'components' must be an integer >= 1"),
    "iterations": (build(P1, max_iterations=2.5, **G), r"'max_iterations' must"),
    "tolerance": (build(P1, tolerance=0, **G), r"'tolerance' must be positive"),
    "noise": (build(P1, noise=-1.0, **G), r"'noise' must be positive.*-1"),
    "rate": (build(P1, learning_rate="fast", **G), r"'learning_rate' must be positive"),
    "jitter": (build(P1, jitter=np.inf, **G), r"'jitter' must be positive and finite"),
    "frequency": (build(P1, max_frequency=-3.0, **G), r"'max_frequency' must be a positive number"),
    "frequencies": (build(P2, max_frequency=[1, 2, 3], **G), r"'max_frequency' must be a positive number or 2"),
    "kernel": (build(P1, kernel="rbf", **G), r"'kernel' must be one kernel"),
    "kernels": (build(P2, kernel=[RBF(1.0)], **G), r"'kernel' must be one kernel of telamon.gp, or 2"),
    "rough": (build(P1, kernel=Matern(0.5), **G), r"'kernel' of axis 0 has 0 derivatives.*needs 2"),
    "rough for the order": (build(Operator(1, [Term(0, 4)]), spectrum="student", **G), r"spectrum='student' .*order 4"),
    "order of evidence": (build(Operator(1, [Term(0, 3)]), method="evidence", **G), r"method='evidence' .*order 3"),
    # data
    "f shape": (solving(P1, np.ones(19), 0.0), r"'f' must have shape \(20,\), got \(19,\)"),
    "f NaN": (solving(P1, lambda x: x / 0, 0.0), r"'f' contains NaN or infinity"),
    "f arguments": (solving(P2, lambda x: x, 0.0), r"'f' must be a function of 2 coordinate arrays"),
    "f text": (solving(P1, "sin", 0.0), r"'f' must hold real numbers"),
    "data shape": (solving(P2, 0.0, np.ones(3)), r"'boundary of axis 0' must have shape \(20,\)"),
    "data NaN": (solving(P2, 0.0, np.nan), r"'boundary of axis 0' contains NaN"),
    # conditions
    "one end": (solving(P1, 0.0, [(0.0, None)]), r"gives 1 condition.*axis 0.*order 2.*takes two"),
    "none": (solving(P2, 0.0, {0: 0.0}), r"gives 0 condition.*axis 1"),
    "too many": (solving(Heat(), 0.0, 0.0), r"gives 2 condition.*axis 1.*order 1.*takes one"),
    "no velocity": (solving(Wave(), 0.0, [0.0, Initial(0.0)]), r"gives 1 condition.*axis 1.*velocity"),
    "an axis that is not": (solving(P2, 0.0, {2: 0.0}), r"'boundary' has keys \[2\]; the axes are 0 to 1"),
    "three entries": (
        solving(P2, 0.0, [0.0, 0.0, 0.0]),
        r"'boundary' must have an entry for each of the 2 axes, got 3",
    ),
    "three ends": (solving(P2, 0.0, [(0.0, 0.0, 0.0), 0.0]), r"'boundary' of axis 0 .*pair.*got 3"),
    "periodic end": (solving(P2, 0.0, [(Periodic(), 0.0), 0.0]), r"Periodic is for a whole axis"),
    "text as data": (solving(P1, 0.0, "zero"), r"'boundary of axis 0' must hold real numbers"),
    "inflow end": (lambda: Inflow(0.0, end="left"), r"'end' must be 'low' or 'high'"),
    "too few points": (solving(Heat(), 0.0, [0.0, Initial(0.0)], shape=2), r"axis 0 has 2 points.*take more points"),
    # operators
    "no terms": (lambda: Operator(1, []), r"'terms' is empty"),
    "no Term": (lambda: Operator(1, [2]), r"'terms' must hold Term"),
    "axis beyond": (lambda: Operator(1, [Term(1, 2)]), r"on axis 1, but 'dimension' is 1"),
    "order": (lambda: Term(0, 5), r"'order' of a term goes up to 4"),
    "negative axis": (lambda: Term(-1, 2), r"'axis' of a term must be an integer >= 0"),
    "coefficient": (lambda: Term(0, 2, np.nan), r"'coefficient' must be finite"),
    "coefficient text": (lambda: Term(0, 2, "c"), r"'coefficient' must be a real number"),
    "coefficient shape": (
        solving(Operator(1, [Term(0, 2, lambda x: x[:3])]), 0.0, 0.0),
        r"'coefficient' of the term on axis 0",
    ),
    "nonlinear": (lambda: Operator(1, [Term(0, 2)], [np.sin]), r"'nonlinear' must hold Nonlinearity"),
    "derivatives": (
        lambda: Operator(1, [Term(0, 2)], [Nonlinearity(np.sin, np.cos, ((0, 0),))]),
        r"'derivatives' .* must have 1 orders",
    ),
    "dimension": (lambda: Poisson(0), r"'dimension' must be an integer >= 1"),
    "sums": (lambda: Poisson(1) + Poisson(2), r"operators of 1 and 2 axes do not add"),
    "speed": (lambda: Advection(0.0), r"'speed' must hold finite numbers other than 0"),
    "viscosity": (lambda: Burgers(-1.0), r"'viscosity' must be positive"),
    "wavenumber": (lambda: Helmholtz(1, "k"), r"'wavenumber' must be a real number"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the divisions that bring the NaN about
@pytest.mark.filterwarnings("ignore::telamon.pde.BandWarning")  # of two points an axis
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (np.zeros(3), r"'at' must be points of shape \(m, 2\)"),
        (np.zeros((3, 3)), r"'at' must be points"),
        ((np.zeros(3),), r"'at' must be points"),
        ([[np.nan, 0.0]], r"'at' contains NaN or infinity along axis 0"),
    ],
)
def test_bad_points_are_refused(solution, at, message):
    with pytest.raises(ValueError, match=message):
        solution(at)


@pytest.mark.parametrize("orders", [1, (1,), (1, 5), (-1, 0), (1.5, 0)])
def test_bad_orders_are_refused(solution, orders):
    with pytest.raises(ValueError, match="'orders' must be 2 integers from 0 to 4"):
        solution.derivative(orders)


def test_sums_of_operators_and_their_texts():
    operator = Poisson(1) + Operator(1, [Term(0, 0, -2.0)], name="decay")
    assert repr(operator) == "<Poisson + decay, 1 axes, orders (2,)>"
    assert repr(GridPDE(operator, **G)) == "<GridPDE Poisson + decay on 20, method='direct'>"
    assert Dirichlet(1.0) == Dirichlet(1.0) != Neumann(1.0)


def test_docstring_examples_hold():
    finder = doctest.DocTestFinder()
    for thing in (GridPDE, Operator):
        for example in finder.find(thing, thing.__name__, globs={}):
            assert doctest.DocTestRunner().run(example).failed == 0
    assert set(pde.__all__) <= set(dir(pde))
