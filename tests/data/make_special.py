"""Make tests/data/special_*.npz: the stress grid of telamon.special with Arb's answers as hi + lo pairs of doubles.

    python tests/data/make_special.py [--scale 1.0] [--out tests/data] [--only derivatives]

Needs python-flint and numpy, not telamon: the truth must not depend on what it judges. Takes about five minutes on one
core. The seeds are fixed; tests/python/test_special_accuracy.py recomputes a sample of the stored numbers.

Every file holds float64 columns sorted by (set, v, x):

    special_values.npz       v, x, set; log_iv log_kv log_ive log_kve
    special_derivatives.npz  v, x, set; iv_ratio iv_ratio_c kv_ratio, and for log_iv and log_kv the derivatives
                             _dv _dx _dxx _dvv _dvx, and log_ive_dx log_kve_dx
    special_inverse.npz      v, x (= r), set; iv_ratioinv, scale = r/x dx/dr, the conditioning
    special_negative.npz     v < 0, x, set; log_iv log_ive (NaN where I is negative), scale = |v dL/dv| + |x dL/dx| with
                             L = log I, by how much an ulp in the arguments moves L (for integers just w)

A quantity f takes two columns, f (the double next to the truth; inf or 0 where it overflows or underflows) and f_lo.
`set` indexes the names in `sets`. In about half of each set v and x are float32 numbers, for the float32 kernels.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import pathlib
import sys
import time
from collections.abc import Iterator

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
REFERENCE = HERE.parents[1] / "python" / "telamon" / "reference" / "special.py"

VALUES = ["log_iv", "log_kv", "log_ive", "log_kve"]
RATIOS = ["iv_ratio", "iv_ratio_c", "kv_ratio"]
FIRST = ["log_iv_dv", "log_iv_dx", "log_kv_dv", "log_kv_dx", "log_ive_dx", "log_kve_dx"]
SECOND = ["log_iv_dxx", "log_kv_dxx", "log_iv_dvv", "log_kv_dvv", "log_iv_dvx", "log_kv_dvx"]
DERIVATIVES = RATIOS + FIRST + SECOND

BORDERS = [0.25, 0.5, 1, 2, 4, 8, 9, 10, 12, 16, 18, 20, 25, 35, 50, 100, 300, 500, 1000, 1e4]


def load_reference():
    """The reference as a plain file, so that this script runs where telamon is not built."""
    spec = importlib.util.spec_from_file_location("special_reference", REFERENCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def polar(rng: np.random.Generator, w: np.ndarray, near_axes: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Points at radius w; the angle uniform for a third of them, log-spaced near either axis for the others."""
    n = len(w)
    angle = rng.uniform(0, math.pi / 2, n)
    a, b = np.sin(angle), np.cos(angle)
    if near_axes:
        small = 10.0 ** rng.uniform(-20, 0, n)
        large = np.sqrt(1 - small * small)
        kind = rng.integers(0, 3, n)
        a = np.where(kind == 1, small, np.where(kind == 2, large, a))
        b = np.where(kind == 1, large, np.where(kind == 2, small, b))
    return w * a, w * b


def grid(rng: np.random.Generator, scale: float) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The stress grid of the design page: name, v, x."""

    def n(count: int) -> int:
        return max(8, int(count * scale))

    def log_uniform(low: float, high: float, count: int) -> np.ndarray:
        return 10.0 ** rng.uniform(low, high, count)

    # catches overflow of squares, of (v+w)/x, of the leading term, and wrong region choice
    yield "polar", *polar(rng, log_uniform(-300, 300, n(1600)))
    yield "plane", log_uniform(-300, 300, n(800)), log_uniform(-300, 300, n(800))
    yield "polar_middle", *polar(rng, log_uniform(-8, 8, n(1600)))
    for name, high in (("A", 150), ("S", 20), ("B", 1e4)):
        yield name, rng.uniform(0, high, n(1400)), rng.uniform(0, high, n(1400))
    # every region border of any sensible scheme, on both sides
    w = np.repeat(BORDERS, n(60))
    v, x = polar(rng, w * (1 + rng.integers(-3, 4, len(w)) * 2.0**-52))
    yield "borders_w", v, x
    edge = np.repeat(BORDERS, n(24)) * (1 + rng.integers(-2, 3, len(BORDERS) * n(24)) * 2.0**-52)
    yield (
        "borders_x",
        rng.uniform(0, 2, len(edge)) * edge * rng.integers(0, 2, len(edge)) + rng.uniform(0, 3, len(edge)),
        edge,
    )
    yield "borders_v", edge, rng.uniform(0, 2, len(edge)) * edge
    # orders where mu = v - round(v) is 0 or +-1/2, and next to them (Temme's guards)
    integers = rng.integers(0, 60, n(700)).astype(float)
    yield "integers", integers, rng.uniform(0, 30, n(700))
    yield "half_integers", integers + 0.5, rng.uniform(0, 30, n(700))
    near = rng.integers(0, 30, n(700)) / 2 + rng.choice([-1.0, 1.0], n(700)) * log_uniform(-17, -1, n(700))
    yield "near_half_integers", np.abs(near), log_uniform(-3, 2, n(700))
    diagonal = log_uniform(-3, 6, n(500))
    yield "diagonal", diagonal, diagonal * (1 + rng.normal(size=n(500)) * log_uniform(-16, -1, n(500)))
    # the zero line of the leading term and the zeros of log I, log K themselves
    v = log_uniform(-2, 8, n(500))
    yield "lead_zero", v, 0.6627434193491816 * v * (1 + rng.normal(size=n(500)) * log_uniform(-16, -1, n(500)))
    yield "zero_log_i", *zeros(rng, 1, n(250))
    yield "zero_log_k", *zeros(rng, -1, n(250))
    # d/dv log I is exponentially small in x at v = 0, log K is even in v
    yield (
        "order_zero",
        np.where(rng.integers(0, 8, n(900)) == 0, 0.0, log_uniform(-300, -0.3, n(900))),
        log_uniform(-3, math.log10(700), n(900)),
    )
    yield "order_small", log_uniform(-20, 0, n(500)), log_uniform(-3, 3, n(500))
    half = 0.5 + rng.choice([-1.0, 1.0], n(400)) * log_uniform(-17, -1, n(400))
    yield "order_half", np.where(rng.integers(0, 8, n(400)) == 0, 0.5, half), log_uniform(-3, 3, n(400))
    # log1p(S-1), lgamma1p, and Temme at the corner
    yield "corner", log_uniform(-300, 0, n(500)), log_uniform(-300, 0, n(500))
    yield "corner_near", log_uniform(-10, 0.5, n(500)), log_uniform(-10, 0.5, n(500))
    yield "x_one", rng.uniform(0, 25, n(300)), 1 + rng.normal(size=n(300)) * log_uniform(-16, -0.5, n(300))
    yield "x_two", rng.uniform(0, 25, n(300)), 2 + rng.normal(size=n(300)) * log_uniform(-16, -0.5, n(300))
    yield (
        "x_tiny",
        np.concatenate([rng.uniform(0, 40, n(150)), log_uniform(-3, 6, n(150))]),
        log_uniform(-300, -1, 2 * n(150)),
    )
    subnormal = rng.integers(1, 2**52, n(60)) * 5e-324
    subnormal[:4] = [5e-324, 1e-323, 2.2250738585072014e-308, 2.225073858507201e-308]
    yield "x_subnormal", rng.uniform(0, 30, n(60)), subnormal
    yield "v_subnormal", rng.permutation(subnormal), log_uniform(-2, 2, n(60))
    # single numbers where float32 loses everything if a constant is wrong
    yield "v_zero", np.zeros(n(300)), log_uniform(-10, 4, n(300))
    yield "large_both", log_uniform(3, 8, n(400)), log_uniform(3, 8, n(400))


def zeros(rng: np.random.Generator, sign: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Doubles within a few ulp, and within a few percent, of log I = 0 or log K = 0 (Newton's method in doubles)."""
    reference = load_reference()
    value, slope = ("log_iv", "log_iv_dx") if sign > 0 else ("log_kv", "log_kv_dx")
    v = np.sort(10.0 ** rng.uniform(-4, 3, count))
    x = np.empty(count)
    for i, order in enumerate(v):
        guess = max(0.66 * order, 0.05 if sign > 0 else 0.4)
        for _ in range(60):
            step = getattr(reference, value)(order, guess) / getattr(reference, slope)(order, guess)
            guess -= float(np.clip(step, -0.5 * guess, guess))
            if abs(step) < 1e-15 * guess:
                break
        x[i] = guess
    return v, x * (1 + rng.integers(0, 2, count) * rng.normal(size=count) * 10.0 ** rng.uniform(-16, -2, count))


def points(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """All points of the grid, half of each set rounded to float32, without duplicates, sorted by (set, v, x)."""
    rng = np.random.default_rng(seed)
    names, columns = [], []
    for index, (name, v, x) in enumerate(grid(rng, scale)):
        names.append(name)
        v, x = v.copy(), x.copy()
        short = rng.integers(0, 2, len(v)).astype(bool)
        with np.errstate(over="ignore", under="ignore"):
            v32, x32 = v.astype(np.float32).astype(float), x.astype(np.float32).astype(float)
        short &= np.isfinite(v32) & np.isfinite(x32) & (x32 > 0) & ((v32 > 0) | (v == 0))
        v[short], x[short] = v32[short], x32[short]
        keep = np.isfinite(v) & np.isfinite(x) & (x > 0) & (v >= 0)
        columns.append(np.stack([np.full(keep.sum(), index, float), v[keep], x[keep]]))
    table = np.unique(np.concatenate(columns, axis=1), axis=1)
    return table[1], table[2], table[0].astype(np.uint8), names


def inverse_points(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = max(8, int(500 * scale))
    orders = [
        rng.integers(1, 60, n) / 2,
        10.0 ** rng.uniform(0, 6, n),
        0.5 + 10.0 ** rng.uniform(-16, 2, n),
        2.0 ** rng.integers(0, 15, n),
        10.0 ** rng.uniform(0, 300, n // 8),
    ]
    v = np.concatenate(orders)
    kind = rng.integers(0, 4, len(v))
    r = np.select(
        [kind == 0, kind == 1, kind == 2],
        [rng.uniform(0, 1, len(v)), 10.0 ** rng.uniform(-15, 0, len(v)), 1 - 10.0 ** rng.uniform(-15.9, 0, len(v))],
        10.0 ** rng.uniform(-290, -1, len(v)) ** rng.integers(0, 2, len(v)),
    )
    short = rng.integers(0, 2, len(v)).astype(bool) & (v < 1e37) & (r > 1e-37)
    v[short], r[short] = v[short].astype(np.float32), r[short].astype(np.float32)
    keep = (v >= 0.5) & (r > 0) & (r < 1)
    table = np.unique(np.stack([v[keep], r[keep]]), axis=1)
    return table[0], table[1]


def negative_points(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = max(8, int(500 * scale))
    v = -np.concatenate([rng.uniform(0, 12, n), rng.integers(1, 20, n // 4), rng.uniform(0, 120, n // 2)])
    x = np.concatenate([10.0 ** rng.uniform(-3, 2, n), rng.uniform(0.1, 30, n // 4), rng.uniform(0, 150, n // 2)])
    v32, x32 = v.astype(np.float32).astype(float), x.astype(np.float32).astype(float)
    short = rng.integers(0, 2, len(v)).astype(bool)
    table = np.unique(np.stack([np.where(short, v32, v), np.where(short, x32, x)]), axis=1)
    return table[0], table[1]


def evaluate(names: list[str], v: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    reference = load_reference()
    columns = {}
    for name in names:
        start = time.perf_counter()
        columns[name], columns[name + "_lo"] = getattr(reference, name)(v, x, pair=True)
        print(f"{name:12s} {len(v):6d} points {time.perf_counter() - start:7.1f} s", file=sys.stderr, flush=True)
    return columns


def scale_of(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """|v dL/dv| + |x dL/dx| for L = log I_v(x) at v < 0, by differences of the reference; w for integer v."""
    log_iv = load_reference().log_iv
    h = 2.0**-20
    up, down = 1 + h, 1 - h
    order = np.abs(log_iv(v * up, x) - log_iv(v * down, x)) / (2 * h)
    argument = np.abs(log_iv(v, x * up) - log_iv(v, x * down)) / (2 * h)
    return np.where(v == np.floor(v), np.hypot(v, x), order + argument)


def inverse_scale_of(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """r/x dx/dr = A/(x A') of A = I_v/I_{v-1} at x, by differences of A where it is small, else of 1 - A."""
    reference = load_reference()
    h = 2.0**-12
    up, down = x * (1 + h), x * (1 - h)
    a, c = reference.iv_ratio(v, x), reference.iv_ratio_c(v, x)
    small = (reference.iv_ratio(v, up) - reference.iv_ratio(v, down)) / (2 * h)
    large = (reference.iv_ratio_c(v, down) - reference.iv_ratio_c(v, up)) / (2 * h)
    return a / np.where(c > 0.5, small, large)


def values(scale: float) -> dict[str, np.ndarray]:
    v, x, label, names = points(20260101, scale)
    return {"v": v, "x": x, "set": label, "sets": np.array(names), **evaluate(VALUES, v, x)}


def derivatives(scale: float) -> dict[str, np.ndarray]:
    v, x, label, names = points(20260102, scale * 0.3)
    return {"v": v, "x": x, "set": label, "sets": np.array(names), **evaluate(DERIVATIVES, v, x)}


def one_set(name: str, v: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"v": v, "x": x, "set": np.zeros(len(v), np.uint8), "sets": np.array([name])}


def inverse(scale: float) -> dict[str, np.ndarray]:
    v, r = inverse_points(20260103, scale)
    columns = evaluate(["iv_ratioinv"], v, r)
    return {**one_set("inverse", v, r), **columns, "scale": inverse_scale_of(v, columns["iv_ratioinv"])}


def negative(scale: float) -> dict[str, np.ndarray]:
    v, x = negative_points(20260104, scale)
    return {**one_set("negative", v, x), **evaluate(["log_iv", "log_ive"], v, x), "scale": scale_of(v, x)}


TABLES = {"values": values, "derivatives": derivatives, "inverse": inverse, "negative": negative}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="number of points, relative to the stored tables")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--only", choices=TABLES)
    args = parser.parse_args()
    for name, table in TABLES.items():
        if args.only in (None, name):
            np.savez_compressed(args.out / f"special_{name}.npz", **table(args.scale))


if __name__ == "__main__":
    main()
