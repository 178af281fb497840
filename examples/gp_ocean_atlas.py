"""The world ocean in four dimensions, two fifths of it missing: months, depths, latitudes, longitudes.

    python examples/gp_ocean_atlas.py [--full]

Temperatures of the World Ocean Atlas, 12 x 19 x 90 x 180 cells, without land and without what lies below the sea floor.
Hyperparameters come from a part of the Pacific that has no gaps, where the likelihood is exact. With them, every other
latitude and longitude of the globe are conditioned on by conjugate gradients, and a tenth of the sea, hidden at random,
is predicted. With --full it is all 3.7 million cells, without deviations, which would take several times as long.
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np

try:
    import netCDF4
except ImportError as error:
    sys.exit(f"this example needs {error.name}: pip install netcdf4")

from telamon.gp import Constant, GridGP, Matern, Periodic

FILE = Path("/usr/share/ferret-vis/data/ocean_atlas_subset.nc")


def load() -> tuple[list[np.ndarray], np.ndarray]:
    """Months, depths in m, latitudes, longitudes; temperatures in degrees Celsius, NaN where there is no sea."""
    if not FILE.exists():
        sys.exit(f"this example needs {FILE}: apt install ferret-datasets (Debian, Ubuntu)")
    with netCDF4.Dataset(FILE) as data:
        temperature = data["TEMP"][:].astype(float).filled(np.nan)
        names = ("ZAXLEVIT19", "YAX_SUBSET", "XAX_SUBSET")
        depth, latitude, longitude = (data[name][:].filled().astype(float) for name in names)
    return [np.arange(12.0), depth, latitude, longitude], temperature


def hyperparameters(axes: list[np.ndarray], y: np.ndarray) -> tuple[list, float]:
    """Fitted in the central Pacific."""
    rows, columns = np.abs(axes[2]) < 20, (axes[3] > 185) & (axes[3] < 255)
    box = y[:, :, rows][:, :, :, columns]
    kernels = [
        Constant(10.0) + Periodic(12.0, 1.0, 1.0, fixed=("period",), limits={"lengthscale": (0.3, 10.0)}),
        Matern(2.5, 1.0),
        Matern(2.5, 10.0),
        Matern(1.5, 30.0),
    ]
    start = time.perf_counter()
    model = GridGP(kernels, noise=0.05, tol=1e-4)
    model.fit([axes[0], axes[1], axes[2][rows], axes[3][columns]], box)
    seconds = time.perf_counter() - start
    print(f"{box.size} cells of the Pacific, {model.solver_}: {model.n_evaluations_} evaluations in {seconds:.0f} s")
    for name, value in zip(model.theta_names_, np.exp(model.theta_), strict=True):
        print(f"    {name:35} {value:9.4g}")
    return model.kernels_, model.noise_


def main(full: bool) -> None:
    axes, y = load()
    print(f"grid {y.shape}: {y.size} cells, {np.isnan(y).mean():.1%} missing")
    axes[1] = np.log1p(axes[1] / 100)  # in which the temperature changes as fast at any depth
    y = y - np.nanmean(y, axis=(0, 2, 3), keepdims=True)
    kernels, noise = hyperparameters(axes, y)

    every = 1 if full else 2
    axes, y = [*axes[:2], axes[2][::every], axes[3][::every]], y[:, :, ::every, ::every]
    rng = np.random.default_rng(0)
    hidden = (rng.random(y.shape) < 0.1) & ~np.isnan(y)
    known = ~np.isnan(y) & ~hidden
    start = time.perf_counter()
    # 0.1 K of noise, since the globe is less even than the Pacific, and tolerances that it drowns
    rtol = 5e-3 if full else 1e-3
    model = GridGP(kernels, max(noise, 0.01), optimizer=None, rtol=rtol, n_probes=2, n_steps=20, n_draws=4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the kernel of axis")  # told once is enough
        model.fit(axes, y, known)
    print(f"{known.sum()} of {y.size} cells, {model.solver_}: conditioned in {time.perf_counter() - start:.0f} s")
    start = time.perf_counter()
    mean, std = (model.predict(), None) if full else model.predict(return_std=True, include_noise=True)
    print(f"predicted everywhere in {time.perf_counter() - start:.0f} s")
    error = (mean - y)[hidden]
    zonal = np.where(known, y, 0.0).sum(axis=3, keepdims=True) / np.maximum(known.sum(axis=3, keepdims=True), 1)
    print(f"{hidden.sum()} hidden cells: root mean square error {np.sqrt(np.mean(error**2)):.3f} K")
    if std is not None:
        print(f"    the model expected {np.sqrt(np.mean(std[hidden] ** 2)):.3f} K")
    print(f"    half of them are within {np.median(np.abs(error)):.3f} K")
    print(f"    the mean of month, depth and latitude is off by {np.sqrt(np.mean((y - zonal)[hidden] ** 2)):.3f} K")


if __name__ == "__main__":
    main("--full" in sys.argv[1:])
