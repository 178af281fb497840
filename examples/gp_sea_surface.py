"""Sea surface temperature with a quarter of the grid missing: land, and places held out to be predicted.

    python examples/gp_sea_surface.py [map.png]

54 months of the OSTIA analysis, from 5 S to 5 N. Land is the same in all months, so the model stays exact: time is one
axis, the sea's cells another. A tenth of the sea is hidden at all times, in patches and single cells, predicted, and
compared with the intervals that the model gives. The map shows a month at twice the resolution, with its uncertainty.
"""

import sys
import time
from pathlib import Path

import numpy as np

try:
    import iris_sample_data
    import netCDF4
except ImportError as error:
    sys.exit(f"this example needs {error.name}: pip install iris-sample-data netcdf4")

from telamon.gp import Constant, GridGP, Matern, Periodic


def load() -> tuple[list[np.ndarray], np.ndarray]:
    """Months, latitudes and longitudes; temperatures in degrees Celsius, NaN on land."""
    file = Path(iris_sample_data.__file__).parent / "sample_data" / "ostia_monthly.nc"
    with netCDF4.Dataset(file) as data:
        temperature = data["surface_temperature"][:].astype(float).filled(np.nan) - 273.15
        hours, latitude, longitude = (
            data[name][:].filled().astype(float) for name in ("time", "latitude", "longitude")
        )
    return [np.arange(hours.size) * 1.0, latitude, longitude], temperature


def hide(sea: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tenth of the sea: half of it in patches of 3 latitudes by 5 longitudes, half in single cells."""
    hidden = np.zeros_like(sea)
    while (hidden & sea).sum() < 0.05 * sea.sum():
        i, j = rng.integers(0, sea.shape[0] - 2), rng.integers(0, sea.shape[1] - 4)
        hidden[i : i + 3, j : j + 5] = True
    hidden |= rng.random(sea.shape) < 0.05
    return hidden & sea


def draw(path: str, model: GridGP, axes: list[np.ndarray], y: np.ndarray, hidden: np.ndarray, month: int) -> None:
    """Observations, prediction and standard deviation of a month."""
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        print("no map: pip install matplotlib")
        return
    fine = [axes[0][month : month + 1], np.linspace(-5, 4.44, 35), np.arange(432) * 5 / 6]
    mean, std = model.predict(fine, return_std=True)
    figure, panels = plt.subplots(3, 1, figsize=(12, 5.5), layout="constrained")
    seen = np.where(hidden, np.nan, y[month])
    low, high = np.nanpercentile(seen, [1, 99])
    extent = (0, 360, -5, 4.44)
    for panel, field, title, limits in (
        (panels[0], seen, "observed, degrees Celsius: land and held-out cells are white", (low, high)),
        (panels[1], mean[0], "mean", (low, high)),
        (panels[2], std[0], "standard deviation", (0, None)),
    ):
        image = panel.imshow(field, origin="lower", extent=extent, aspect="auto", vmin=limits[0], vmax=limits[1])
        panel.set(title=title, ylabel="latitude")
        figure.colorbar(image, ax=panel)
    figure.savefig(path, dpi=110)
    print(f"map of month {month}: {path}")


def main(path: str = "sea_surface.png") -> None:
    axes, y = load()
    print(f"grid {y.shape}: {y.size} cells, {np.isnan(y).mean():.1%} missing")
    axes[2], y = axes[2][::2], y[:, :, ::2]
    sea = ~np.isnan(y[0])
    hidden = hide(sea, np.random.default_rng(0))
    known = np.broadcast_to(sea & ~hidden, y.shape)

    season = Periodic(12.0, 1.0, 2.0, fixed=("period",))
    kernels = [
        Constant(3.0) + season + Matern(1.5, 4.0, 1.0),
        Matern(2.5, 5.0),
        Matern(1.5, 30.0),
    ]
    start = time.perf_counter()
    coarse = GridGP(kernels, noise=0.05, mean="constant")
    coarse.fit([axes[0], axes[1], axes[2][::2]], y[:, :, ::2], known[:, :, ::2])
    print(f"hyperparameters at a quarter of the longitudes: {time.perf_counter() - start:.0f} s, {coarse.message_}")
    for name, value in zip(coarse.theta_names_, np.exp(coarse.theta_), strict=True):
        print(f"    {name:35} {value:9.4g}")

    start = time.perf_counter()
    model = GridGP(coarse.kernels_, coarse.noise_, mean="constant", optimizer=None, dense_limit=3000).fit(
        axes, y, known
    )
    print(f"solver at half of them: {model.solver_}, {known.sum()} observations, {time.perf_counter() - start:.0f} s")
    mean, std = model.predict(return_std=True, include_noise=True)
    held = np.broadcast_to(hidden, y.shape)
    error, deviation = (y - mean)[held], std[held]
    months = np.arange(54)
    climate = np.stack([np.nanmean(np.where(known, y, np.nan)[months % 12 == m], axis=(0, 2)) for m in range(12)])
    baseline = (y - climate[months % 12][:, :, None])[held]
    print(f"{held.sum()} held-out values: root mean square error {np.sqrt(np.mean(error**2)):.3f} K")
    print(f"    the mean of the latitude and month is off by {np.sqrt(np.mean(baseline**2)):.3f} K")
    for level, z in ((0.5, 0.6745), (0.8, 1.2816), (0.95, 1.96)):
        print(f"    in the {level:.0%} interval: {np.mean(np.abs(error) < z * deviation):.1%}")
    print(f"    standardized errors have the deviation {np.std(error / deviation):.2f}")
    draw(path, model, axes, y, hidden, 30)


if __name__ == "__main__":
    main(*sys.argv[1:2])
