"""What the tests of telamon.so3 share: random features, and the comparison that the design's bounds are written in."""

from __future__ import annotations

import numpy as np

from telamon import so3

# The design's bounds, of max |z|.
LIMIT = {np.float64: 1e-12, np.float32: 1e-6}
# The same after a rotation, which rounds the input, and that of the reference, which is itself only so accurate.
ROTATED = {np.float64: 1e-11, np.float32: 5e-6}
DTYPES = [np.float64, np.float32]
METHODS = ["auto", "sparse", "grid", "fourier"]
ODD_METHODS = ["auto", "sparse", "grid"]  # those that have the bracket; the paper's Fourier form has not
PARITIES = ["even", "complete"]


def components(lmax):
    return (lmax + 1) ** 2


def features(seed, lmax, channels=5, leading=(3,), dtype=np.float64):
    """Standard normal (*leading, K, C), the same numbers for each dtype up to rounding."""
    rng = np.random.default_rng([seed, lmax, channels])
    return rng.normal(size=(*leading, components(lmax), channels)).astype(dtype)


def parts(x, y, lmax_out=None, *, method="auto", **options):
    """(even, odd), or (even,) from the method that has no odd part."""
    if method in ODD_METHODS:
        return so3.gaunt_product(x, y, lmax_out, parity="complete", method=method, **options)
    return (so3.gaunt_product(x, y, lmax_out, method=method, **options),)


def check(got, want, limit, scale=None):
    """|got - want| <= limit * scale everywhere, scale = max |want| unless given; pairs are compared one by one."""
    if isinstance(want, tuple):
        assert isinstance(got, tuple)
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            check(g, w, limit, scale)
        return
    want = np.asarray(want)
    assert got.shape == want.shape
    if not want.size:
        return
    scale = np.abs(want).max() if scale is None else scale
    error = np.abs(got.astype(np.float64) - want)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    assert error[worst] <= limit * scale, (
        f"error {error[worst] / scale if scale else error[worst]:.3g} of max|z|, limit {limit:g}: got {got[worst]!r}, "
        f"want {want[worst]!r} at {tuple(map(int, worst))} of {want.shape}"
    )


def same_bits(a, b):
    """Equal arrays, or pairs of arrays, NaN equal to NaN."""
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(same_bits(x, y) for x, y in zip(a, b, strict=True))
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
