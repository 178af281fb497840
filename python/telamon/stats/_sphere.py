r"""The normalising constant of the von Mises-Fisher distribution and its derivatives, in every dimension.

With :math:`v = d/2 - 1` and :math:`S_v(\kappa) = {}_0F_1(; v+1; \kappa^2/4)`,

.. math::  I_v(\kappa) = \frac{(\kappa/2)^v}{\Gamma(v+1)} S_v(\kappa), \qquad
           \log C_d(\kappa) = -\log |S^{d-1}| - \log S_v(\kappa).

The textbook form :math:`v\log\kappa - (v+1)\log 2\pi - \log I_v(\kappa)` subtracts numbers of size
:math:`v \log(v/\kappa)`; the form with S adds numbers of the size of the result, and is exact at kappa = 0. The
derivative of log S is the mean resultant length A, and the second derivative the Fisher information of kappa.
"""

from __future__ import annotations

import math

import numpy as np

from telamon import special

from . import _debye
from ._validation import Array

_LOG_PI = math.log(math.pi)


def log_area(d: int) -> float:
    """log of the surface area of the unit sphere in R^d, 2 pi^(d/2) / Gamma(d/2)."""
    half = 0.5 * d
    if d <= 300:  # within range, and good to a few eps also where the logarithm is near 0 (d = 18)
        return math.log(2 * math.pi**half / math.gamma(half))
    return math.log(2) + half * _LOG_PI - math.lgamma(half)


def log_series(d: int, kappa: float | Array) -> tuple[Array, Array]:
    """log S and kappa - log S, both without cancellation. `kappa` is an array of finite float64, >= 0."""
    v = 0.5 * d - 1
    kappa = np.asarray(kappa, dtype=np.float64)
    if v >= _debye.MIN_ORDER:
        w = np.hypot(v, kappa)
        u = 0.5 * (kappa / v) * (kappa / (w + v))
        half_log = 0.5 * np.log1p(2 * u)
        delta = _debye.difference(np.full_like(u, v), u, 1)
        log_s = v * (2 * u - np.log1p(u)) - half_log + delta
        gap = v * np.log1p(u) + 2 * v * (kappa / (kappa + v + w)) + half_log - delta
        return log_s, gap
    small = kappa <= max(8.0, v)
    y = 0.25 * np.where(small, kappa, 0.0) ** 2
    term, total = np.ones_like(y), np.zeros_like(y)
    for j in range(1, 90):
        term = term * y / (j * (v + j))
        total = total + term
        if not (term > 1e-18 * total).any():
            break
    log_s = np.log1p(total)
    gap = kappa - log_s
    if not small.all():
        big = np.where(small, 1.0, kappa)
        gap_big = v * np.log(0.5 * big) - math.lgamma(v + 1) - special.log_ive(v, big)
        log_s, gap = np.where(small, log_s, kappa - gap_big), np.where(small, gap, gap_big)
    return log_s, gap


def mean_resultant(d: int, kappa: float | Array) -> Array:
    """A = I_{d/2}(kappa) / I_{d/2-1}(kappa), the length of the mean vector."""
    a: Array = special.iv_ratio(0.5 * d, np.asarray(kappa, dtype=np.float64))
    return a


def mean_resultant_c(d: int, kappa: float | Array) -> Array:
    """1 - A, without cancellation."""
    c: Array = special.iv_ratio_c(0.5 * d, np.asarray(kappa, dtype=np.float64))
    return c


def information(d: int, kappa: float | Array) -> Array:
    """A'(kappa), the Fisher information of kappa from one observation; positive, 1/d at kappa = 0.

    ``1 - A^2 - (d-1) A / kappa`` cancels at both ends. In high dimension Debye's expansion is differentiated twice. In
    low dimension, up to kappa ~ d, the logarithmic derivative of A and the recurrence give
    ``A' = (A / kappa) (1 - kappa (A - B))`` with B = I_{v+2} / I_{v+1}, where the bracket is close to v / w; beyond,
    ``A' = (log I_v)'' + v / kappa^2``.
    """
    kappa = np.asarray(kappa, dtype=np.float64)
    v = 0.5 * d - 1
    if v >= _debye.MIN_ORDER:
        return _debye.log_series_second(v, kappa)
    low = kappa <= max(2 * v, 1.5)
    x = np.where(low & (kappa > 0), kappa, 1.0)
    a = special.iv_ratio(v + 1, x)
    b = special.iv_ratio(v + 2, x)
    out = np.where(kappa > 0, a / x * (1 - x * (a - b)), 1.0 / d)
    if not low.all():
        x = np.where(low, max(2 * v, 1.5), kappa)
        out = np.where(low, out, special.log_iv_dxx(v, x) + v / x / x)
    return out


def concentration(d: int, r: float | Array, rc: float | Array) -> Array:
    """kappa with A(kappa) = r, from r and rc = 1 - r, each to full relative accuracy; 0 at r = 0.

    Up to r = 1/2 by special.iv_ratioinv. Beyond, 1 - A(kappa) = rc by Newton's method on 1 / (1 - A), which is close to
    linear in kappa, from the start r (d - r^2) / (1 - r^2) of Banerjee et al. (2005).
    """
    r, rc = np.broadcast_arrays(np.asarray(r, dtype=np.float64), np.asarray(rc, dtype=np.float64))
    low = r <= 0.5
    kappa = special.iv_ratioinv(0.5 * d, np.where(low, r, 0.25))
    kappa = np.where(r > 0, kappa, 0.0)
    if not low.all():
        s = np.where(low, 0.5, rc)
        t = np.where(low, 0.5, r)
        x = t * (d - t * t) / (s * (2 - s))
        for _ in range(4):
            ac = mean_resultant_c(d, x)
            x = x - ac * ((s - ac) / s) / information(d, x)
        kappa = np.where(low, kappa, x)
    return kappa


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def bregman(d: int, kappa1: float, kappa2: float) -> float:
    """log S(kappa2) - log S(kappa1) - A(kappa1) (kappa2 - kappa1) >= 0, to full relative accuracy.

    The integral of (kappa2 - t) A'(t) from kappa1 to kappa2: Gauss-Legendre quadrature with 16 nodes on panels that
    double in length. A has its poles at i j_{v,k}, far enough off every panel for an error below eps.
    """
    low, high = min(kappa1, kappa2), max(kappa1, kappa2)
    if low == high:
        return 0.0
    edges = [low]
    while edges[-1] < high:
        edges.append(min(high, max(2 * edges[-1], 0.5 * d)))
    left, right = np.array(edges[:-1])[:, None], np.array(edges[1:])[:, None]
    half = 0.5 * (right - left)
    t = left + half * (1 + _NODES)
    # beyond 1e100, where A' may underflow, it is (d - 1) / (2 t^2)
    near, far = np.minimum(t, 1e100), np.maximum(t, 1e100)
    scaled = np.where(t > 1e100, half / far * (0.5 * (d - 1)) / far, half * information(d, near))
    return float(np.sum(_WEIGHTS * (scaled * np.abs(kappa2 - t))))
