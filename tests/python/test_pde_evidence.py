"""telamon.pde, method "evidence": covariances, the likelihood's gradient, what is learned, and honest uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from telamon.gp import RBF, SpectralMixture
from telamon.pde import (
    Advection,
    AllenCahn,
    ConvergenceWarning,
    GridPDE,
    Inflow,
    Initial,
    Neumann,
    Operator,
    Periodic,
    Poisson,
    Term,
    _blocks,
    _conditions,
    _evidence,
    relative_error,
)
from telamon.pde._domain import Domain, sample

pytest.importorskip("scipy")


def mixture(rng, spectrum, q=3):
    return SpectralMixture(rng.uniform(0.3, 1, q), rng.uniform(0, 2, q), rng.uniform(0, 1, q), spectrum)


CASES = {
    "poisson 1d": (Poisson(1), [(0.2, Neumann(0.4))], (9,)),
    "varying": (Operator(1, [Term(0, 2, lambda x: 1 + x), Term(0, 1, np.sin), Term(0, 0, 2.0)]), 0.3, (9,)),
    "periodic": (Poisson(1), Periodic(), (9,)),
    "poisson 2d": (Poisson(2), lambda x, y: x + y, (5, 6)),
    "advection": (Advection(3.0), [Inflow(0.3), Initial(lambda x, t: x)], (5, 6)),
    "allen-cahn": (AllenCahn(2), 0.1, (5, 6)),
}


def likelihood(case, spectrum, noise=1e-2):
    operator, boundary, shape = CASES[case]
    rng = np.random.default_rng(2)
    domain = Domain([np.sort(rng.uniform(0, 1, n)) for n in shape])
    f = sample(lambda *x: sum(np.sin(3 * c) for c in x), domain.axes, "f")
    rows = _conditions.rows(boundary, operator, domain)
    around = GridPDE(operator, domain.axes, kernel=RBF(0.5)).solve(f, boundary) if operator.nonlinear else None
    blocks = _evidence._blocks_of(operator, domain, f, rows, around, (1.0, 1.0))
    kernels = [mixture(rng, spectrum) for _ in shape]
    return _evidence._Likelihood(kernels, blocks, noise), kernels, blocks


@pytest.mark.filterwarnings("ignore::telamon.pde.BandWarning")  # a handful of points is enough for algebra
@pytest.mark.filterwarnings("ignore::telamon.pde.BoundaryWarning")
@pytest.mark.parametrize("spectrum", ["gaussian", "student"])
@pytest.mark.parametrize("case", CASES)
def test_gradient_is_that_of_differences(case, spectrum):
    target, kernels, _ = likelihood(case, spectrum)
    theta = np.concatenate([k.theta for k in kernels])
    gradient = target(theta)[1]
    rng = np.random.default_rng(4)
    for _ in range(3):
        direction = rng.normal(size=theta.size)
        slopes = []
        for h in (2e-3, 1e-3):
            slopes.append((target(theta + h * direction)[0] - target(theta - h * direction)[0]) / (2 * h))
        want = (4 * slopes[1] - slopes[0]) / 3  # Richardson: h^4 and the rounding are left
        assert abs(gradient @ direction - want) <= 1e-5 * np.linalg.norm(gradient)


def test_covariance_is_that_of_the_functionals():
    # the covariance of L u with B u is L and B applied to k by finite differences of the process' own covariance
    target, kernels, blocks = likelihood("varying", "gaussian")
    covariance = _blocks.covariance(kernels, blocks)
    x = blocks[-1].parts[0].points[0]
    k = kernels[0]
    value = k.derivative(x, x[[0]])[:, 0]
    first, second = (k.derivative(x, x[[0]], dx=m)[:, 0] for m in (1, 2))
    want = (1 + x) * second + np.sin(x) * first + 2 * value
    assert np.abs(covariance[2:, 0] - want).max() <= 1e-13 * np.abs(want).max()
    assert np.linalg.eigvalsh(covariance).min() > -1e-10 * np.trace(covariance)  # PSD
    assert target.data.size == len(covariance)


def test_kernels_without_free_hyperparameters_are_left_alone():
    def u(x):
        return np.sin(6 * x)

    kernel = RBF(0.3, 2.0, fixed=("lengthscale", "variance"))
    pde = GridPDE(Poisson(1), domain=(0, 1), shape=30, kernel=kernel, method="evidence")
    solution = pde.solve(lambda x: -36 * u(x), u)
    assert solution.kernels[0] == kernel
    assert solution.iterations == 0
    # noise of 1e-6 in f, whose lowest mode L^-1 divides by pi^2 / 36 of its size
    assert relative_error(solution, u) < 1e-5


def test_the_frequency_of_the_solution_is_learned():
    def u(x):
        return np.sin(40 * x + 0.3)

    pde = GridPDE(Poisson(1), domain=(0, 1), shape=45, method="evidence", components=8)
    solution = pde.solve(lambda x: -1600 * u(x), u)
    assert relative_error(solution, u) < 1e-5
    # The equation sees u'': what its low frequencies weigh is left to the data at the ends, and to rounding.
    learned = solution.frequencies[0]
    seen = learned.weight * learned.frequency**4
    frequency = learned.frequency[np.argmax(seen)] * 2 * np.pi
    assert abs(frequency - 40) < np.pi  # half a cycle along the axis
    assert np.isfinite(solution.log_marginal_likelihood)
    assert solution.history == sorted(solution.history)


def test_two_axes_and_a_nonlinearity():
    def u(x, y):
        return np.sin(6 * x) * np.cos(5 * y)

    pde = GridPDE(AllenCahn(2), domain=(0, 1), shape=(12, 11), method="evidence", components=3, max_iterations=3)
    with pytest.warns(ConvergenceWarning, match="max_iterations"):
        solution = pde.solve(lambda x, y: -61 * u(x, y) + u(x, y) * (u(x, y) ** 2 - 1), u)
    assert relative_error(solution, u, 21) < 1e-3  # 12 points an axis, and learning cut short
    deviation = solution.std([[0.5, 0.5], [0.0, 0.3]])
    assert deviation.shape == (2,)
    assert solution.std().shape == (12, 11)
    assert np.all(deviation >= 0)


def test_uncertainty_is_calibrated():
    # u and f from the prior, f and the ends with noise: |u - mean| / std must be a standard normal's
    rng = np.random.default_rng(5)
    kernel = RBF(0.15, 1.0, fixed=("lengthscale", "variance"))
    x = np.linspace(0, 1, 25)
    inside = np.linspace(0.03, 0.97, 12)
    noise = 0.05
    joint = np.block(
        [
            [kernel(x), kernel.derivative(x, x, dy=2), kernel(x, inside)],
            [kernel.derivative(x, x, dx=2), kernel.derivative(x, x, dx=2, dy=2), kernel.derivative(x, inside, dx=2)],
            [kernel(inside, x), kernel.derivative(inside, x, dy=2), kernel(inside)],
        ]
    )
    values, vectors = np.linalg.eigh(joint)
    root = vectors * np.sqrt(np.maximum(values, 0))
    scores = []
    domain = Domain([x])
    for _ in range(60):
        draw = root @ rng.normal(size=len(root))
        u, f, truth = draw[:25], draw[25:50], draw[50:]
        f = f + noise * 60 * rng.normal(size=25)
        ends = u[[0, -1]] + noise * rng.normal(size=2)
        rows = _conditions.rows([tuple(ends)], Poisson(1), domain)
        blocks = _evidence._blocks_of(Poisson(1), domain, f, rows, None, (1.0, 60.0))
        target = _evidence._Likelihood([kernel], blocks, noise)
        lower, solved, _ = target.factor([kernel])
        mean = _blocks.cross([kernel], inside[:, None], blocks) @ solved
        deviation = _evidence._Deviation([kernel], blocks, lower)([inside])
        scores.append((truth - mean) / deviation)
    scores = np.array(scores)
    # 60 independent draws of 12 correlated scores: the mean square has a standard deviation of about sqrt(2/60)
    assert abs(np.mean(scores**2) - 1) < 3 * np.sqrt(2 / 60)
    assert 0.9 < np.mean(np.abs(scores) < 2) < 0.995


def test_large_grids_and_rough_kernels_are_refused():
    with pytest.raises(ValueError, match=r"evidence.*8\d+ rows.*direct"):
        GridPDE(Poisson(2), domain=(0, 1), shape=(80, 100), method="evidence", max_frequency=3.0).solve(0.0, 0.0)
    from telamon.gp import Matern

    with pytest.raises(ValueError, match=r"'kernel' of axis 0 has 2 derivatives.*needs 4"):
        GridPDE(Poisson(1), domain=(0, 1), shape=10, kernel=Matern(1.5), method="evidence")
