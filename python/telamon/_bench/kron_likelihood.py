"""The log marginal likelihood of a Gaussian process on a grid and its gradient, by telamon, NumPy and GPyTorch.

An RBF kernel of its own length scale on each axis of [0, 1], fixed variance 1, noise. The gradient is in the length
scales and the noise. Run as a program, it measures one of them in a process of its own, which is how memory is
measured:

    python -m telamon._bench.kron_likelihood telamon 100x100x100 3
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from telamon import gp, kron

from .kron_peers import Array, chain, one_thread, say
from .machine import version_of

Shape = tuple[int, ...]
Evaluate = Callable[[Array], tuple[float, list[float]]]  # y, on the grid, to value and gradient
LENGTHSCALE, NOISE = 0.1, 0.1


@dataclass(frozen=True)
class Model:
    """``build(axes)`` returns a function of y: the log-likelihood, and its gradient.

    The gradient is in whatever parameters the library has: log length scales and noise for telamon and NumPy.
    """

    name: str
    version: str
    how: str
    build: Callable[[list[Array]], Evaluate] = field(repr=False)
    uniform: bool = True  # False: it gets irregular axes, on which a kernel's matrix has no structure


def axes_of(shape: Shape, uniform: bool = True) -> list[Array]:
    """Points of [0, 1], evenly spaced or not."""
    return [np.linspace(0.0, 1.0, n) ** (1.0 if uniform else 1.1) for n in shape]


def data(shape: Shape) -> Array:
    """White noise: what y is does not change the work."""
    return np.random.default_rng(0).standard_normal(shape)


# ---------------------------------------------------------------------------------------------------------------------
# telamon


def _kernel() -> gp.Kernel:
    return gp.RBF(LENGTHSCALE, fixed=("variance",))


def toeplitz(axes: list[Array]) -> Evaluate:
    """telamon.kron on evenly spaced axes."""
    kernel, lags = _kernel(), [x - x[0] for x in axes]

    def evaluate(y: Array) -> tuple[float, list[float]]:
        eig = kron.KroneckerEig([kron.Toeplitz(kernel.profile(d)) for d in lags], clip="silent")
        value, gradients, noise = eig.log_likelihood_gradient(y, NOISE, columns=True)
        pairs = zip(lags, gradients, strict=True)
        return value, [*(float(kernel.profile_gradient(d)[0] @ g) for d, g in pairs), noise]

    return evaluate


def dense(axes: list[Array]) -> Evaluate:
    """telamon.kron on any axes; the matrices are made in place, so that memory is the decomposition's."""

    def squares(x: Array) -> Array:
        d = np.subtract.outer(x, x)
        d /= LENGTHSCALE
        d *= d
        return d

    def covariance(x: Array) -> Array:
        k = squares(x)
        k *= -0.5
        return np.exp(k, out=k)

    def evaluate(y: Array) -> tuple[float, list[float]]:
        matrices = [covariance(x) for x in axes]
        value, gradients, noise = kron.KroneckerEig(matrices, clip="silent").log_likelihood_gradient(y, NOISE)
        found = []
        for x, k, g in zip(axes, matrices, gradients, strict=True):
            g *= k
            found.append(float(np.vdot(g, squares(x))))
        return value, [*found, noise]

    return evaluate


def grid_gp(axes: list[Array]) -> Evaluate:
    """telamon.gp, as its optimiser calls it."""
    fitted: list[Any] = []  # the last y, and its model

    def evaluate(y: Array) -> tuple[float, list[float]]:
        if not fitted or fitted[0] is not y:
            fitted[:] = y, gp.GridGP([_kernel() for _ in axes], noise=NOISE, optimizer=None).fit(axes, y)
        value, gradient = fitted[1].log_marginal_likelihood(eval_gradient=True)
        return float(value), [*map(float, gradient[:-1]), float(gradient[-1]) / NOISE]

    return evaluate


# ---------------------------------------------------------------------------------------------------------------------
# NumPy


def numpy_formulas(axes: list[Array]) -> Evaluate:
    """The formulas of docs/kron.md in plain NumPy."""
    squares = [np.subtract.outer(x, x) ** 2 / LENGTHSCALE**2 for x in axes]

    def evaluate(y: Array) -> tuple[float, list[float]]:
        matrices = [np.exp(-0.5 * s) for s in squares]
        pairs = [np.linalg.eigh(k) for k in matrices]
        values, vectors = [np.maximum(w, 0) for w, _ in pairs], [q for _, q in pairs]
        rotated = chain([q.T for q in vectors], y[None]).reshape(y.shape)
        inverse = values[0]
        for w in values[1:]:
            inverse = np.multiply.outer(inverse, w)
        inverse += NOISE
        logdet = float(np.log(inverse).sum())
        np.reciprocal(inverse, out=inverse)
        a = rotated * inverse
        value = -0.5 * (float(np.vdot(a, rotated)) + logdet + y.size * math.log(2 * math.pi))
        noise = 0.5 * (float(np.vdot(a, a)) - float(inverse.sum()))
        gradient = []
        for i, (q, k, s) in enumerate(zip(vectors, matrices, squares, strict=True)):
            others = np.ones(())
            for j, w in enumerate(values):
                others = np.multiply.outer(others, np.ones(1) if j == i else w)
            unfolded = np.moveaxis(a, i, 0).reshape(len(q), -1)
            weighted = np.moveaxis(a * others, i, 0).reshape(len(q), -1)
            inner = unfolded @ weighted.T
            sums = (inverse * others).sum(axis=tuple(j for j in range(a.ndim) if j != i))
            inner[np.diag_indices(len(q))] -= sums
            gradient.append(0.5 * float(np.vdot(q @ inner @ q.T, k * s)))
        return value, [*gradient, noise]

    return evaluate


# ---------------------------------------------------------------------------------------------------------------------
# GPyTorch


def _torch() -> tuple[Any, Any]:
    torch: Any = importlib.import_module("torch")
    return torch, importlib.import_module("gpytorch")


def gpytorch_kronecker(axes: list[Array]) -> Evaluate:
    """A kernel for each axis, KroneckerProductLinearOperator, log_prob of a MultivariateNormal, backward."""
    torch, gpytorch = _torch()
    operators: Any = importlib.import_module("linear_operator.operators")
    points = [torch.from_numpy(x) for x in axes]
    kernels = [gpytorch.kernels.RBFKernel().double() for _ in axes]
    for kernel in kernels:
        kernel.lengthscale = LENGTHSCALE
    noise = torch.nn.Parameter(torch.tensor(NOISE, dtype=torch.float64))
    parameters = [*(kernel.raw_lengthscale for kernel in kernels), noise]

    def evaluate(y: Array) -> tuple[float, list[float]]:
        target = torch.from_numpy(y.reshape(-1))
        product = operators.KroneckerProductLinearOperator(*(k(x) for k, x in zip(kernels, points, strict=True)))
        distribution = gpytorch.distributions.MultivariateNormal(torch.zeros_like(target), product.add_diagonal(noise))
        value = distribution.log_prob(target)
        return float(value), [float(g) for g in torch.autograd.grad(value, parameters)]

    return evaluate


def gpytorch_grid(axes: list[Array]) -> Evaluate:
    """GridKernel in an ExactGP; without its Toeplitz option, with which it is slower on a CPU."""
    torch, gpytorch = _torch()
    base = gpytorch.kernels.RBFKernel().double()
    base.lengthscale = LENGTHSCALE
    kernel = gpytorch.kernels.GridKernel(base, grid=[torch.from_numpy(x) for x in axes])
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = NOISE

    class Process(gpytorch.models.ExactGP):  # type: ignore[name-defined]
        def __init__(self, y: Any) -> None:
            super().__init__(kernel.full_grid, y, likelihood)
            self.mean, self.kernel = gpytorch.means.ZeroMean(), kernel

        def forward(self, x: Any) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))

    prepared: list[Any] = []  # the last y, and its model

    def evaluate(y: Array) -> tuple[float, list[float]]:
        if not prepared or prepared[0] is not y:
            prepared[:] = y, Process(torch.from_numpy(y.reshape(-1))).double()
        model = prepared[1]
        target, parameters = model.train_targets, list(model.parameters())
        objective = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
        with gpytorch.settings.use_toeplitz(False):
            value = objective(model(kernel.full_grid), target)
            gradients = torch.autograd.grad(value, parameters)
        return float(value) * y.size, [float(g.sum()) * y.size for g in gradients]

    return evaluate


def load(names: list[str]) -> tuple[list[Model], list[str]]:
    """telamon's models, then those of the peers named that are installed; and why others are missing."""
    version = version_of("telamon") or "?"
    found = [
        Model("telamon", version, "KroneckerEig of Toeplitz factors", toeplitz),
        Model("telamon, dense", version, "KroneckerEig of dense factors, irregular axes", dense, uniform=False),
        Model("telamon.gp", version, "GridGP.log_marginal_likelihood", grid_gp),
    ]
    missing = []
    if "numpy" in names:
        found.append(Model("NumPy", np.__version__, "the same formulas", numpy_formulas))
    if "gpytorch" in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs, not ours
                _torch()
        except ImportError as error:
            missing.append(f"gpytorch: not measured, {error.name} is not installed; pip install gpytorch torch")
            say(missing[-1])
            return found, missing
        version = version_of("gpytorch") or "?"
        found += [
            Model("GPyTorch Kronecker", version, "a kernel for each axis, autograd", gpytorch_kronecker),
            Model("GPyTorch GridKernel", version, "ExactMarginalLogLikelihood, autograd", gpytorch_grid),
        ]
    return found, missing


# ---------------------------------------------------------------------------------------------------------------------
# Memory, in a process of its own


def _status(key: str) -> float:
    """Bytes that the kernel counts for this process; NaN where there is no /proc."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines[key].split()[0]) * 1024.0
    except (OSError, KeyError):
        return math.nan


def in_this_process(name: str, shape: Shape, repeats: int) -> dict[str, Any]:
    """Seconds of `repeats` calls, and the most memory that y and the first call hold at a time."""
    # After a small call of the same kind, so that libraries and their scratch do not count.
    peers = [peer for peer in ("numpy", "gpytorch") if peer in name.lower()]
    model = next(m for m in load(peers)[0] if m.name == name)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = tuple(min(n, 64) for n in shape) if len(shape) < 3 else tuple(min(n, 12) for n in shape)
        model.build(axes_of(small, model.uniform))(data(small))
        axes = axes_of(shape, model.uniform)
        gc.collect()
        resident = _status("VmRSS")
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")  # forget the peak so far
        except OSError:
            resident = math.nan
        tracemalloc.start()
        start = time.perf_counter()
        y = data(shape)
        evaluate = model.build(axes)
        made = time.perf_counter()
        value, _ = evaluate(y)
        seconds = [time.perf_counter() - made]
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        resident = _status("VmHWM") - resident
        for _ in range(repeats - 1):
            begin = time.perf_counter()
            evaluate(y)
            seconds.append(time.perf_counter() - begin)
    return {"value": value, "seconds": seconds, "traced": traced, "resident": resident, "setup": made - start}


if __name__ == "__main__":
    print(json.dumps(in_this_process(sys.argv[1], tuple(map(int, sys.argv[2].split("x"))), int(sys.argv[3]))))
