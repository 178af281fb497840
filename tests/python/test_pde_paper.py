"""telamon.pde, method "paper": the authors' objective against one written anew in torch, its gradient, and ADAM."""

from __future__ import annotations

import numpy as np
import pytest

from telamon.gp import SpectralMixture
from telamon.pde import (
    Advection,
    AllenCahn,
    Burgers,
    GridPDE,
    Heat,
    Inflow,
    Initial,
    Neumann,
    Poisson,
    Wave,
    _conditions,
    _paper,
)
from telamon.pde._domain import Domain, sample

WEIGHT, JITTER = 200.0, 1e-6  # the authors'
SHAPES = {1: (14,), 2: (9, 8)}


def objective(operator, boundary, f, spectrum, seed=0):
    """The objective on a small irregular grid, and random parameters."""
    rng = np.random.default_rng(seed)
    axes = [np.sort(np.r_[0.0, 1.0, rng.uniform(0.05, 0.95, n - 2)]) for n in SHAPES[operator.dimension]]
    domain = Domain(axes)
    kernels = [
        SpectralMixture(rng.uniform(0.2, 1, 4), rng.uniform(0, 3, 4), rng.uniform(1, 3, 4), spectrum) for _ in axes
    ]
    rows = _conditions.rows(boundary, operator, domain)
    target = _paper.Objective(operator, domain, sample(f, axes, "f"), rows, kernels, WEIGHT, JITTER)
    parameters = target.start()
    count = target.size + 2
    parameters[:count] = 0.3 * rng.normal(size=count)
    return target, parameters, axes


CASES = {
    "poisson 1d": (Poisson(1), 0.3, lambda x: np.sin(9 * x)),
    "allen-cahn 1d": (AllenCahn(1), (0.1, -0.4), lambda x: np.sin(9 * x)),
    "poisson 2d": (Poisson(2), lambda x, y: x * y + 1, lambda x, y: np.sin(9 * x) * y),
    "allen-cahn 2d": (AllenCahn(2), 0.2, lambda x, y: np.sin(9 * x) * y),
    "advection": (Advection(20.0), [Inflow(0.5), Initial(lambda x, t: np.cos(x))], 0.0),
}
MORE = {
    "neumann": (Poisson(2), [(Neumann(0.3), 0.2), 0.1], lambda x, y: x + y),
    "heat": (Heat(0.1), [0.0, Initial(1.0)], 0.5),
    "wave": (Wave(1.2), [0.0, Initial(1.0, 0.3)], 0.5),
    "burgers": (Burgers(0.1), [0.0, Initial(lambda x, t: np.sin(3 * x))], 0.5),
}


@pytest.mark.parametrize("spectrum", ["gaussian", "student"])
@pytest.mark.parametrize("case", {**CASES, **MORE})
def test_gradient_is_that_of_differences(case, spectrum):
    target, parameters, _ = objective(*{**CASES, **MORE}[case], spectrum)
    gradient = target(parameters)[1]
    rng = np.random.default_rng(1)
    kinds = [slice(0, target.size), slice(target.size, target.size + 2), slice(target.size + 2, None)]
    for kind in kinds:  # a direction among the values of U, the precisions, the hyperparameters
        direction = np.zeros_like(parameters)
        direction[kind] = rng.normal(size=direction[kind].size)
        slopes = []
        for h in (2e-4, 1e-4):
            up, down = target(parameters + h * direction)[0], target(parameters - h * direction)[0]
            slopes.append((up - down) / (2 * h))
        # Richardson's extrapolation leaves h^4 and the rounding of the values, which K's condition 1e7 amplifies
        want = (4 * slopes[1] - slopes[0]) / 3
        size = max(abs(want), float(np.linalg.norm(gradient[kind])))
        assert abs(gradient @ direction - want) <= 2e-5 * size


def independent(torch, case, target, parameters, axes):
    """The authors' loss from the paper's formulas, differentiated by torch; Gaussian spectrum."""
    operator = CASES[case][0]
    p = torch.tensor(parameters, requires_grad=True)
    u = p[: target.size].reshape(target.domain.shape)
    log_tau, log_v = p[target.size], p[target.size + 1]
    matrices, firsts, seconds = [], [], []
    for i, a in enumerate(axes):
        n = len(a)
        log_w, mu, log_s = p[target.size + 2 + 12 * i : target.size + 14 + 12 * i].reshape(3, 4)
        x = torch.tensor(a).repeat_interleave(n).requires_grad_(True)
        d = (x - torch.tensor(a).repeat(n))[:, None]
        k = torch.sum(torch.exp(log_w - d**2 * torch.exp(log_s)) * torch.cos(2 * torch.pi * d * mu), 1)
        first = torch.autograd.grad(k.sum(), x, create_graph=True)[0]
        second = torch.autograd.grad(first.sum(), x, create_graph=True)[0]
        matrices.append(k.reshape(n, n) + JITTER * torch.eye(n))
        firsts.append(first.reshape(n, n))
        seconds.append(second.reshape(n, n))

    def apply(k, i):
        solved = torch.linalg.solve(matrices[i], u if i == 0 else u.T)
        out = k[i] @ solved
        return out if i == 0 else out.T

    f = torch.tensor(target.f)
    if operator.name == "Advection":
        gap = 20.0 * apply(firsts, 0) + apply(firsts, 1) - f
        faces = [(u[0, :], 0.5 * np.ones(len(axes[1]))), (u[:, 0], np.cos(axes[0]))]
    else:
        gap = sum(apply(seconds, i) for i in range(len(axes))) - f
        if operator.name == "Allen-Cahn":
            gap = gap + u * (u**2 - 1)
        data = {
            "poisson 1d": lambda x: 0.3 + 0 * x,
            "allen-cahn 1d": lambda x: np.where(x == 0, 0.1, -0.4),
            "poisson 2d": lambda x, y: x * y + 1,
            "allen-cahn 2d": lambda x, y: 0.2 + 0 * x * y,
        }[case](*np.meshgrid(*axes, indexing="ij"))
        data = np.asarray(data, dtype=np.float64)
        if len(axes) == 1:
            faces = [(u[[0]], data[[0]]), (u[[-1]], data[[-1]])]
        else:
            faces = [(u[0, :], data[0]), (u[-1, :], data[-1]), (u[:, 0], data[:, 0]), (u[:, -1], data[:, -1])]
    boundary = sum(torch.sum((a - torch.tensor(b)) ** 2) for a, b in faces)
    count = sum(len(b) for _, b in faces)

    logdet = sum(target.size / len(a) * torch.linalg.slogdet(k)[1] for a, k in zip(axes, matrices, strict=True))
    white = torch.linalg.solve(matrices[0], u)
    if len(axes) == 2:
        white = torch.linalg.solve(matrices[1], white.T).T
    prior = -0.5 * logdet - 0.5 * torch.sum(u * white)
    inside = 0.5 * target.size * log_v - 0.5 * torch.exp(log_v) * torch.sum(gap**2)
    edge = 0.5 * count * log_tau - 0.5 * torch.exp(log_tau) * boundary
    loss = -(prior + WEIGHT * edge + inside)
    return loss.item(), torch.autograd.grad(loss, p)[0].numpy()


@pytest.mark.parametrize("case", CASES)
def test_objective_is_the_authors(case):
    torch = pytest.importorskip("torch")
    target, parameters, axes = objective(*CASES[case], "gaussian")
    value, gradient = target(parameters)
    want, want_gradient = independent(torch, case, target, parameters, axes)
    # K's condition is 1e7, and differences of solves are squared
    assert abs(value - want) <= 1e-8 * abs(want)
    assert np.linalg.norm(gradient - want_gradient) <= 1e-7 * np.linalg.norm(want_gradient)


def test_adam_descends_and_the_last_epoch_is_reported():
    def u(x):
        return np.sin(10 * x)

    pde = GridPDE(Poisson(1), domain=(0.0, 1.0), shape=20, method="paper", max_frequency=4.0, max_iterations=300)
    solution = pde.solve(lambda x: -100 * u(x), u)
    assert solution.history[-1] < solution.history[0]
    assert solution.iterations == 300
    assert solution.frequencies[0].weight.size == 30
    assert np.array_equal(solution.values, solution(solution.axes[0]))


def test_a_diverging_run_says_so():
    pde = GridPDE(Poisson(1), domain=(0, 1), shape=10, method="paper", learning_rate=1e3, max_frequency=4.0)
    with np.errstate(all="ignore"), pytest.raises((ValueError, np.linalg.LinAlgError)):
        pde.solve(1.0, 0.0)
