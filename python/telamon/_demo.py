"""``telamon demo``: von Mises-Fisher fits of real image features, by SciPy and by telamon, and two mixtures.

Everything is computed here and now, from photographs and digits that scikit-image and scikit-learn bring along. Takes
well under a minute, needs no network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from telamon import _demo_features as features
from telamon._demo_features import Array

INSTALL = "telamon demo needs {}: pip install 'telamon[demo]' (in a clone: pip install '.[demo]')"


def _timed(call: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call(*args)
    return result, time.perf_counter() - start


def _scipy_fit(x: Array) -> float:
    """Kappa as SciPy returns it; its divisions by an underflowed ive are its own affair."""
    from scipy import stats

    with np.errstate(all="ignore"):
        return float(stats.vonmises_fisher.fit(x.astype(np.float64))[1])


def fit_table(vectors: dict[int, Array]) -> list[dict[str, float]]:
    """Fit every data set by SciPy and by telamon, and print a line each."""
    from telamon.stats import vonmises_fisher

    print(f"{'d':>6} {'n':>5}   {'SciPy kappa':>12} {'time':>8}   {'telamon kappa':>13} {'std. error':>10} {'time':>8}")
    rows = []
    for d, x in vectors.items():
        theirs, their_time = _timed(_scipy_fit, x)
        ours, our_time = _timed(vonmises_fisher.fit, x)
        rows.append({"d": d, "scipy": theirs, "kappa": ours.kappa, "se": ours.kappa_se})
        print(
            f"{d:6} {len(x):5}   {theirs:12.6g} {their_time * 1e3:5.0f} ms   "
            f"{ours.kappa:13.2f} {ours.kappa_se:10.2f} {our_time * 1e3:5.0f} ms"
        )
    return rows


def known_truth(d: int, kappa: float, n: int) -> None:
    """Draw from a distribution whose kappa is known, fit, and print how far off the fit is in standard errors."""
    from telamon.stats import vonmises_fisher

    mu = features.unit(np.random.default_rng(1).standard_normal((1, d)))[0]
    x = vonmises_fisher(mu, kappa).rvs(n, random_state=2)
    ours = vonmises_fisher.fit(x, bias_correction=True)
    print(
        f"A check with a known answer: {n} exact draws with kappa = {kappa:.0f} in {d} dimensions give\n"
        f"{ours.kappa:.1f} +- {ours.kappa_se:.1f}, {(ours.kappa - kappa) / ours.kappa_se:+.1f} standard errors off. "
        f"SciPy's fit: {_scipy_fit(x):.3g}."
    )


def mixture(x: Array, labels: Array, n_components: int, n_init: int) -> tuple[Array, float]:
    """Fit a mixture without the labels, and judge it by them."""
    from telamon.stats import VonMisesFisherMixture

    model = VonMisesFisherMixture(n_components=n_components, n_init=n_init, random_state=0)
    clusters, seconds = _timed(lambda: model.fit(x).predict(x))
    share = features.purity(labels, clusters)
    chance = features.purity(labels, np.random.default_rng(0).permutation(clusters))
    print(f"{x.shape[1]:6} {len(x):5} {n_components:11}   {share:6.1%} (shuffled: {chance:.1%}) {seconds:6.1f} s")
    return np.asarray(clusters), share


def picture(
    path: Path, rows: list[dict[str, float]], tiles: Array, labels: Array, x: Array, clusters: Array, digits: Array
) -> None:
    """One page: the fitted kappas, clusters against photographs, the digits' mean directions, tiles by cluster."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 1.05])[:, 0]
    left, middle, right = upper.subplots(1, 3, width_ratios=[1, 1.15, 1])

    d = [r["d"] for r in rows]
    left.loglog(d, [r["kappa"] for r in rows], "o-", color="tab:blue", label="telamon")
    left.loglog(d, [r["scipy"] for r in rows], "x--", color="tab:red", label="SciPy")
    for r in rows:
        left.annotate(
            f"{r['kappa']:,.0f}", (r["d"], r["kappa"]), xytext=(0, -16), textcoords="offset points", ha="center"
        )
    left.set(title="Concentration of image features", xlabel="dimension", ylabel=r"fitted $\kappa$", ylim=(1e-10, 1e8))
    left.set_xticks(d, [f"{int(k):,}" for k in d])
    left.minorticks_off()
    left.margins(x=0.2)
    left.legend(loc="center right")

    short = {"immunohistochemistry": "tissue", "stereo_motorcycle": "motorcycle", "hubble_deep_field": "deep field"}
    names = [short.get(n, n) for n in features.PHOTOGRAPHS]
    order = np.argsort([np.bincount(labels[clusters == c], minlength=len(names)).argmax() for c in np.unique(clusters)])
    found = np.unique(clusters)[order]
    counts = np.array([np.bincount(labels[clusters == c], minlength=len(names)) for c in found])
    middle.imshow(counts.T, cmap="Blues", aspect="auto")
    for (i, j), count in np.ndenumerate(counts):
        if count:
            middle.text(i, j, str(count), ha="center", va="center", color="w" if count > counts.max() / 2 else "k")
    middle.set(title="Mixture components against photographs", xlabel="component")
    middle.set_xticks(range(len(found)), [str(k + 1) for k in range(len(found))])
    middle.set_yticks(range(len(names)), names)

    grid = np.full((2 * 9 - 1, 5 * 9 - 1), np.nan)
    for k, mean in enumerate(digits[:10]):
        i, j = 9 * (k // 5), 9 * (k % 5)
        grid[i : i + 8, j : j + 8] = mean.reshape(8, 8) / mean.max()
    right.imshow(grid, cmap="gray_r")
    right.set_axis_off()
    right.set_title("Digits: mean directions")

    best = 4  # the tiles nearest to each component's mean direction
    panels = lower.subplots(best, len(found), squeeze=False)
    lower.suptitle("The tiles nearest to each component's mean direction")
    for column, c in enumerate(found):
        members = np.flatnonzero(clusters == c)
        near = members[np.argsort(-(x[members] @ x[members].mean(0)))]
        panels[0][column].set_title(str(column + 1), fontsize=9)
        for row in range(best):
            panels[row][column].set_axis_off()
            if row < len(near):
                panels[row][column].imshow(tiles[near[row]])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def run(folder: Path, fast: bool) -> None:
    """Tell the story."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    start = time.perf_counter()
    tiles, labels = features.tiles(4 if fast else 16, rng)
    bank = features.FilterBank.learn(tiles, rng, 2000 if fast else 20_000)
    dimensions = (2048, 8192) if fast else tuple(features.SIZES)
    vectors = {d: bank.features(tiles, d) for d in dimensions}
    print(
        f"{len(tiles)} tiles of {len(features.PHOTOGRAPHS)} photographs, {features.FILTERS} filters learned from "
        f"them: unit vectors in {', '.join(map(str, dimensions))} dimensions "
        f"({time.perf_counter() - start:.1f} s)"
    )

    print("\nOne von Mises-Fisher distribution, maximum likelihood")
    rows = fit_table(vectors)
    known_truth(dimensions[-1], rows[-1]["kappa"], 50 if fast else 300)

    n_init = 1 if fast else 4
    print("\nMixtures, fitted without the labels: which photograph a tile was cut from")
    print(f"{'d':>6} {'n':>5} {'components':>11}   purity")
    views = {d: features.centred(x) for d, x in vectors.items()}
    results = {d: mixture(x, labels, len(features.PHOTOGRAPHS), n_init) for d, x in views.items()}
    clusters = results[dimensions[0]][0]

    digits = load_digits()
    use = slice(0, 400 if fast else None)
    x, numerals = features.unit(digits.data[use]), digits.target[use]
    print("Handwritten digits, 0 to 9")
    groups, _ = mixture(x, numerals, 10, n_init)
    means = np.array([features.unit(x[groups == c].mean(0, keepdims=True))[0] for c in np.unique(groups)])

    path = folder / "telamon-demo.png"
    picture(path, rows, tiles, labels, views[dimensions[0]], clusters, means)
    print(f"\nPicture: {path}   ({time.perf_counter() - start:.0f} s in all)")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` and run; 1 with an explanation where a package is missing."""
    parser = argparse.ArgumentParser(prog="telamon demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=Path("."), metavar="DIR", help="where the picture goes (default: here)"
    )
    parser.add_argument("--fast", action="store_true", help="fewer tiles, no 32768 dimensions")
    args = parser.parse_args(argv)
    for module, package in {
        "scipy": "scipy",
        "sklearn": "scikit-learn",
        "skimage": "scikit-image",
        "matplotlib": "matplotlib",
    }.items():
        try:
            __import__(module)
        except ImportError:
            print(INSTALL.format(package))
            return 1
    run(args.out, args.fast)
    return 0
