"""How smooth is a mountain range? A Gaussian process with its smoothness nu fitted, not picked from 1/2, 3/2 and 5/2.

    python examples/matern_any_smoothness.py

Elevations along lines of the Jacksboro fault (a sample that ships with matplotlib), as independent Gaussian processes
with a Matern covariance. Its derivative in nu is exact, so quasi-Newton finds nu like any other parameter, and the
curvature there gives a standard error.
"""

import sys

import numpy as np

try:
    from matplotlib import cbook
    from scipy import linalg, optimize
except ImportError as error:
    sys.exit(f"this example needs {error.name}: pip install matplotlib scipy")

from telamon.stats import matern_grad


def transects(every: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Distances along a line in grid steps, and elevations in km less each line's trend, shape (points, lines)."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as data:
        elevation = data["elevation"][::every, ::2].T / 1000.0
    t = 2.0 * np.arange(len(elevation))
    trend = np.polynomial.polynomial.polyvander(t / t[-1], 1)
    return t, elevation - trend @ np.linalg.lstsq(trend, elevation, rcond=None)[0]


def negative_log_likelihood(log_parameters, t, y, fixed_nu=None):
    """Value and gradient in log(nu, length scale, variance, noise variance)."""
    nu, length, variance, noise = np.exp(log_parameters)
    nu = fixed_nu or nu
    k = matern_grad(np.abs(t[:, None] - t), nu, length, variance)
    covariance = k.value + noise * np.eye(len(t))
    factor = linalg.cho_factor(covariance, lower=True)
    weights = linalg.cho_solve(factor, y)
    lines = y.shape[1]
    value = 0.5 * np.sum(y * weights) + lines * np.log(np.diag(factor[0])).sum() + 0.5 * y.size * np.log(2 * np.pi)
    # d value = (1/2) sum((lines K^-1 - w w') * dK)
    sensitivity = lines * linalg.cho_solve(factor, np.eye(len(t))) - weights @ weights.T
    slopes = (nu * k.dnu, length * k.dlength_scale, k.value, noise * np.eye(len(t)))
    gradient = np.array([0.5 * np.sum(sensitivity * s) for s in slopes])
    if fixed_nu:
        gradient[0] = 0.0
    return value, gradient


def fit(t, y, fixed_nu=None):
    """Minimise from a sensible start."""
    start = np.log([1.0, 20.0, y.var(), 1e-4 * y.var()])
    bounds = [(np.log(0.1), np.log(20.0)), (0.0, 8.0), (-15.0, 5.0), (-25.0, 0.0)]
    arguments = (t, y, fixed_nu)
    return optimize.minimize(negative_log_likelihood, start, arguments, "L-BFGS-B", jac=True, bounds=bounds)


def standard_error_of_nu(log_parameters, t, y) -> float:
    """From the Hessian in all four parameters, by differences of the exact gradient."""
    h = 1e-4
    rows = []
    for step in h * np.eye(4):
        up, down = (negative_log_likelihood(log_parameters + s, t, y)[1] for s in (step, -step))
        rows.append((up - down) / (2 * h))
    hessian = 0.5 * (np.array(rows) + np.array(rows).T)
    return float(np.exp(log_parameters[0]) * np.sqrt(np.linalg.inv(hessian)[0, 0]))


def main() -> None:
    t, y = transects()
    print(f"{y.shape[1]} lines of {y.shape[0]} elevations")
    print(f"{'nu':>14}   log likelihood   length scale   evaluations")
    best = fit(t, y)
    for nu in (0.5, 1.5, 2.5):
        fixed = fit(t, y, nu)
        print(f"{nu:14}   {-fixed.fun:14.1f}   {np.exp(fixed.x[1]):12.1f}   {fixed.nfev:11}")
    nu, error = np.exp(best.x[0]), standard_error_of_nu(best.x, t, y)
    print(f"{nu:.3f} +- {error:.3f}   {-best.fun:14.1f}   {np.exp(best.x[1]):12.1f}   {best.nfev:11}")


if __name__ == "__main__":
    main()
