"""Weekly carbon dioxide at Mauna Loa: one axis, 59 gaps, and a kernel put together from parts.

    python examples/gp_co2.py

A trend, a season that slowly changes shape, and what lasts for months, learned from 1958 to 1994; then the years to
2001 are forecast. The derivative of the trend is the growth rate, with its uncertainty.
"""

import sys
import time

import numpy as np

try:
    from statsmodels.datasets import co2
except ImportError as error:
    sys.exit(f"this example needs {error.name}: pip install statsmodels")

from telamon.gp import RBF, GridGP, Matern, Periodic


def load() -> tuple[np.ndarray, np.ndarray]:
    """Years and ppm; NaN where a week is missing."""
    series = co2.load_pandas().data["co2"]
    days = (series.index - series.index[0]).days.to_numpy()
    return 1958.0 + (87 + days) / 365.2425, series.to_numpy()  # the first week is that of 29 March 1958


def main() -> None:
    t, y = load()
    print(f"{t.size} weeks, {np.isnan(y).sum()} of them missing")
    known = t < 1995
    season = RBF(100.0, 10.0) * Periodic(1.0, 1.0, fixed=("period", "variance"))
    kernel = Matern(2.5, 50.0, 2500.0) + season + Matern(2.5, 1.0, 0.5) + Matern(1.5, 0.1, 0.1)
    start = time.perf_counter()
    half = known & (np.arange(t.size) % 2 == 0)  # every second week tells the hyperparameters, at an eighth of the cost
    model = GridGP([kernel], noise=0.05, mean="constant", dense_limit=2500).fit([t[known]], y[known], half[known])
    seconds = time.perf_counter() - start
    print(f"hyperparameters in {seconds:.0f} s and {model.n_evaluations_} evaluations: {model.message_}")
    print(f"    log marginal likelihood {model.log_marginal_likelihood_value_:.1f}")
    for name, value in zip(model.theta_names_, np.exp(model.theta_), strict=True):
        print(f"    {name:40} {value:10.4g}")

    model.set_params(kernels=model.kernels_, noise=model.noise_, optimizer=None).fit([t[known]], y[known])
    print("forecast, made at the end of 1994:")
    for first, last in ((1995, 1997), (1997, 2002)):
        future = (t >= first) & (t < last) & ~np.isnan(y)
        mean, std = model.predict(t[future], return_std=True, include_noise=True)
        error = y[future] - mean
        inside = np.mean(np.abs(error) < 1.96 * std)
        root_mean_square, expected = np.sqrt(np.mean(error**2)), np.sqrt(np.mean(std**2))
        print(f"    {first} to {last - 1}: root mean square error {root_mean_square:.2f} ppm, expected {expected:.2f}")
        print(f"        {inside:.0%} in the 95% interval; 1994 repeated is off by {naive(t, y, future):.2f} ppm")

    gaps = np.isnan(y) & known
    _, std = model.predict(t[gaps], return_std=True)
    print(f"the {gaps.sum()} missing weeks are known to {np.median(std):.2f} ppm (median)")
    for year in (1960.0, 1975.0, 1990.0):
        # the season has the same phase a year later, so the derivative's mean over a year is the growth rate
        weeks = year + np.arange(52) / 52
        slope, cov = model.predict(weeks, return_cov=True, derivatives=(1,))
        print(f"growth in {year:.0f}: {slope.mean():.2f} +- {np.sqrt(cov.mean()):.2f} ppm a year")


def naive(t: np.ndarray, y: np.ndarray, future: np.ndarray) -> float:
    """Error of the last year repeated."""
    last = (t >= 1994) & (t < 1995) & ~np.isnan(y)
    phase = np.interp(t[future] % 1, t[last] % 1, y[last])
    return float(np.sqrt(np.mean((y[future] - phase) ** 2)))


if __name__ == "__main__":
    main()
