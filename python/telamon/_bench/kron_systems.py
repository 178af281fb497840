"""Noise of each point and missing cells: iterations, residuals, log-determinants, beside linear_operator's default."""

from __future__ import annotations

import importlib
import math
import time
import warnings
from typing import Any

import numpy as np

from telamon import kron

from .kron_peers import Array
from .timing import Row

SPREADS = (2.0, 10.0, 100.0, 1e4)
RTOL = 1e-8
LIMIT = 300  # iterations for missing cells


def factors(grid: tuple[int, ...]) -> list[kron.Factor]:
    """Matern-3/2 covariances of length scale 0.2 on [0, 1]."""

    def column(n: int) -> Array:
        a = math.sqrt(3) * np.arange(n) / (n - 1) / 0.2
        return np.asarray((1 + a) * np.exp(-a))

    return [kron.Toeplitz(column(n)) for n in grid]


def draw_noise(grid: tuple[int, ...], level: float, spread: float) -> Array:
    """Variances, log-uniform: the largest is `spread` times the smallest, their geometric mean is about `level`."""
    noise: Array = level * spread ** (np.random.default_rng(1).random(grid) - 0.5)
    return noise


def _observations(eig: kron.KroneckerEig, noise: Array | float) -> Array:
    rng = np.random.default_rng(2)
    return eig.sample(rng=rng) + np.sqrt(noise) * rng.standard_normal(eig.grid)


def _solve(system: kron.KroneckerSystem, y: Array, **how: Any) -> tuple[Row, Array]:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", kron.ConvergenceWarning)  # the row says so
        result = system.solve(y, rtol=RTOL, **how)
    seconds = time.perf_counter() - start
    row = {"iterations": result.iterations, "residual": result.residual, "converged": result.converged}
    return {**row, "seconds": seconds}, result.x


def _linear_operator(parts: list[kron.Factor], noise: Array, y: Array, tolerance: float | None) -> tuple[float, float]:
    """linear_operator's y' (K + D)^-1 y, and seconds; with its default tolerance of 1, or another."""
    torch: Any = importlib.import_module("torch")
    library: Any = importlib.import_module("linear_operator")
    dense = [library.operators.DenseLinearOperator(torch.from_numpy(f.toarray())) for f in parts]
    matrix = library.operators.KroneckerProductLinearOperator(*dense).add_diagonal(torch.from_numpy(noise.reshape(-1)))
    right, settings = torch.from_numpy(y.reshape(-1, 1)), library.settings
    start = time.perf_counter()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, not ours
        if tolerance is None:
            value = matrix.inv_quad_logdet(right, logdet=False)[0]
        else:
            with settings.cg_tolerance(tolerance), settings.max_cg_iterations(2000):
                value = matrix.inv_quad_logdet(right, logdet=False)[0]
    return float(value), time.perf_counter() - start


def per_point_noise(grid: tuple[int, ...], levels: tuple[float, ...], peer: bool) -> list[Row]:
    """Iterations to 1e-8, and how far linear_operator is off in the quadratic form y' (K + D)^-1 y."""
    eig = kron.KroneckerEig(factors(grid), clip="silent")
    rows = []
    for level in levels:
        for spread in SPREADS:
            noise = draw_noise(grid, level, spread)
            y = _observations(eig, noise)
            row, x = _solve(kron.KroneckerSystem(eig, noise), y)
            row.update({"grid": list(grid), "level": level, "spread": spread})
            quadratic = float(np.vdot(y, x))
            # Asked for as small a residual it takes ten seconds, so once.
            asked = [("asked", RTOL)] if (level, spread) == (levels[0], 10.0) else []
            for name, tolerance in [("default", None), *asked] if peer else []:
                value, seconds = _linear_operator(list(eig.factors), noise, y, tolerance)
                row[f"{name}_error"] = abs(value / quadratic - 1)
                row[f"{name}_seconds"] = seconds
            rows.append(row)
    return rows


def masks(grid: tuple[int, ...]) -> dict[str, Array]:
    """True where observed."""
    rng = np.random.default_rng(3)
    block = np.ones(grid, bool)
    block[tuple(slice(n // 4, n - n // 12) for n in grid)] = False  # 0.67^d of the cells
    smooth = kron.KroneckerEig(factors(grid), clip="silent").sample(rng=rng)
    few = np.ones(math.prod(grid), bool)
    few[rng.choice(few.size, max(1, min(200, few.size // 10)), replace=False)] = False
    return {
        "block gap": block,
        "random gaps, 30%": rng.random(grid) > 0.3,
        "like land, 39%": smooth > np.quantile(smooth, 0.39),
        "few": few.reshape(grid),
    }


def missing_cells(grid: tuple[int, ...], levels: tuple[float, ...]) -> list[Row]:
    """Iterations to 1e-8 with and without a preconditioner."""
    eig = kron.KroneckerEig(factors(grid), clip="silent")
    rows = []
    for name, mask in masks(grid).items():
        for level in levels:
            y = _observations(eig, level)
            system = kron.KroneckerSystem(eig, level, mask)
            row, _ = _solve(system, y, maxiter=LIMIT)
            row.update({"mask": name, "grid": list(grid), "observed": int(mask.sum()), "level": level})

            def matvec(x: Array, system: kron.KroneckerSystem = system) -> Array:
                return system.matmul(x)

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", kron.ConvergenceWarning)
                plain = kron.cg(matvec, y[mask], rtol=RTOL, maxiter=LIMIT)
            row["plain"] = plain.iterations if plain.converged else f"> {plain.iterations}"
            rows.append(row)
    return rows


def log_determinants(grid: tuple[int, ...], seeds: int) -> list[Row]:
    """Stochastic Lanczos quadrature against a dense Cholesky decomposition, in its own standard errors."""
    parts = factors(grid)
    dense = kron.KroneckerOperator(parts).toarray()
    gap = np.ones(grid, bool)
    gap[tuple(slice(n // 3) for n in grid)] = False
    every = np.ones(grid, bool)
    cases = [
        *((f"noise spread {s:g}", every, draw_noise(grid, 0.01, s)) for s in (10.0, 100.0, 1e4)),
        ("block gap, noise spread 10", gap, draw_noise(grid, 0.01, 10.0)),
    ]
    rows = []
    for name, mask, noise in cases:
        seen = mask.reshape(-1)
        matrix = dense[np.ix_(seen, seen)]
        matrix[np.diag_indices(len(matrix))] += noise.reshape(-1)[seen]
        truth = float(np.linalg.slogdet(matrix)[1])
        system = kron.KroneckerSystem(parts, noise, mask)
        start = time.perf_counter()
        found = [system.logdet(seed=seed) for seed in range(seeds)]
        seconds = (time.perf_counter() - start) / seeds
        scores = [(value - truth) / error if error else 0.0 for value, error in found]  # 0 where exact
        row = {"case": name, "grid": list(grid), "observed": int(seen.sum()), "truth": truth, "seconds": seconds}
        row["standard_error"] = float(np.mean([error for _, error in found]))
        row["error"] = float(np.sqrt(np.mean([(value - truth) ** 2 for value, _ in found])))
        rows.append({**row, "rms_score": float(np.sqrt(np.mean(np.square(scores)))), "seeds": seeds})
    return rows
