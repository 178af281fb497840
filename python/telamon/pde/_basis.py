"""The functions of one axis in which a solution is sought: those which the kernel spans on the grid. Internal.

A Gaussian process on points X with kernel k has its mean in the span of k(., X). With K = V diag(s^2) V', the functions
phi(x) = k(x, X) V / s^2 have the orthonormal values V on the grid, and coefficients s times a standard normal under the
prior. Modes whose s^2 is below the rounding of K are dropped.

For kernels with a Gaussian spectrum that loses half of the digits, and needlessly: Poisson's summation formula gives
k(x - y) = sum_j S(j / T) / T cos(2 pi j (x - y) / T) up to 1e-16 as soon as the kernel has decayed at T minus the axis'
length, so K = P P' with P cosines and sines, and the singular values of P are s itself. Then modes down to
s = 1e-13 max(s) are kept instead of 3e-7, and the functions are evaluated from P to full precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from telamon.gp import RBF, Constant, Kernel, Product, SpectralMixture, Sum

from ._domain import Array

#: exp(-_DECAY^2) = 1e-16
_DECAY = 6.07
_FEATURE_CUTOFF = 1e-13
_EIGEN_CUTOFF = 1e-13


def _lines(kernel: Kernel) -> list[tuple[float, float, float]] | None:
    """(weight, frequency, standard deviation) of the Gaussians in a kernel's spectrum; None if it has another."""
    if isinstance(kernel, RBF):
        return [(float(kernel.variance), 0.0, 1 / (2 * math.pi * float(kernel.lengthscale)))]
    if isinstance(kernel, SpectralMixture) and kernel.spectrum == "gaussian":
        weights, frequencies, scales = map(np.asarray, (kernel.weights, kernel.frequencies, kernel.log_scales))
        widths = np.sqrt(2 * np.exp(scales)) / (2 * math.pi)
        return list(zip(weights.tolist(), np.abs(frequencies).tolist(), widths.tolist(), strict=True))
    if isinstance(kernel, Constant):
        return [(float(kernel.variance), 0.0, 0.0)]
    if isinstance(kernel, (Sum, Product)):
        one, two = _lines(kernel.k1), _lines(kernel.k2)
        if one is None or two is None:
            return None
        if isinstance(kernel, Sum):
            return one + two
        return [
            (0.5 * w * v, f, math.hypot(s, t)) for w, mu, s in one for v, nu, t in two for f in (abs(mu - nu), mu + nu)
        ]
    return None


class Waves:
    """Cosines and sines P(x), with P P' = K."""

    def __init__(self, kernel: Kernel, x: Array) -> None:
        lines = _lines(kernel) or []
        self.middle = 0.5 * (x[0] + x[-1])
        length = x[-1] - x[0]
        frequencies, powers = [np.zeros(1)], [np.zeros(1)]
        broad = [(w, mu, s) for w, mu, s in lines if s > 0]
        if broad:
            weight, centre, width = (np.array(part)[:, None] for part in zip(*broad, strict=True))
            narrowest = float(width.min())
            period = length + _DECAY / (math.sqrt(2) * math.pi * narrowest)
            f = np.arange(1, math.ceil(float((centre + 12 * width).max()) * period) + 1) / period
            scale = weight / (width * math.sqrt(2 * math.pi) * period)
            with np.errstate(under="ignore"):
                bumps = np.exp(-0.5 * ((f - centre) / width) ** 2) + np.exp(-0.5 * ((f + centre) / width) ** 2)
                powers[0] += np.sum(scale * np.exp(-0.5 * (centre / width) ** 2))
            frequencies.append(f)
            powers.append(np.sum(scale * bumps, axis=0))
        for w, mu, s in lines:
            if s == 0:
                frequencies.append(np.array([mu]))
                powers.append(np.array([w]))
        frequency, power = np.concatenate(frequencies), np.concatenate(powers)
        keep = power > 1e-33 * power.max()
        self.omega = 2 * math.pi * frequency[keep]
        self.amplitude = np.sqrt(power[keep])

    @staticmethod
    def count(kernel: Kernel, length: float) -> int | None:
        """How many frequencies it takes; None where the spectrum is not made of Gaussians."""
        lines = _lines(kernel)
        if lines is None:
            return None
        widths = [s for _, _, s in lines if s > 0]
        if not widths:
            return len(lines)
        top = max(mu + 12 * s for _, mu, s in lines)
        return math.ceil(top * (length + _DECAY / (math.sqrt(2) * math.pi * min(widths)))) + len(lines)

    def halves(self, x: Array, order: int) -> tuple[Array, Array]:
        """The derivatives of the cosines and of the sines."""
        angle = np.multiply.outer(x - self.middle, self.omega)
        scale = self.amplitude * self.omega**order
        c, s = np.cos(angle), np.sin(angle)
        even, odd = ((c, s), (-s, c), (-c, -s), (s, -c))[order % 4]
        return even * scale, odd * scale

    def __call__(self, x: Array, order: int = 0) -> Array:
        """P^(order)(x), shape (points, 2 frequencies)."""
        return np.hstack(self.halves(x, order))


def _svd(a: Array) -> tuple[Array, Array, Array]:
    try:
        return np.linalg.svd(a, full_matrices=False)
    except np.linalg.LinAlgError:  # divide and conquer may fail to converge on a matrix and not on its transpose
        u, s, vt = np.linalg.svd(a.T, full_matrices=False)
        return vt.T, s, u.T


def _svd_by_halves(waves: Waves, x: Array) -> tuple[Array, Array, Array]:
    """That of P(x) for points which lie symmetrically: cosines and sines apart, on half of the points each."""
    n = x.size
    half = n // 2
    even, odd = waves.halves(x[: n - half], 0)
    weight = np.full((n - half, 1), math.sqrt(2))
    if n % 2:
        weight[-1] = 1.0
    parts = []
    for values, sign in ((even * weight, 1.0), ((odd * weight)[:half], -1.0)):
        u, s, vt = _svd(values)
        u = u / (weight if sign > 0 else weight[:half])
        full = np.zeros((n, s.size))
        full[: len(u)] = u
        full[n - half :] = sign * u[:half][::-1]
        parts.append((full, s, vt))
    (u0, s0, v0), (u1, s1, v1) = parts
    s = np.concatenate([s0, s1])
    order = np.argsort(-s, kind="stable")
    vt = np.zeros((s.size, v0.shape[1] + v1.shape[1]))
    vt[: s0.size, : v0.shape[1]] = v0
    vt[s0.size :, v0.shape[1] :] = v1
    return np.hstack([u0, u1])[:, order], s[order], vt[order]


class Basis:
    """The functions phi of one axis, orthonormal on its grid x.

    Attributes: `scales`, the prior's standard deviations s of their coefficients, descending; `rank`.
    """

    def __init__(self, kernel: Kernel, x: Array) -> None:
        self.kernel, self.x = kernel, x
        count = Waves.count(kernel, float(x[-1] - x[0]))
        # narrow lines ask for more waves than a dense eigenproblem is worth
        self.waves = Waves(kernel, x) if count is not None and count <= 4 * x.size + 1000 else None
        if self.waves is not None:
            symmetric = np.abs(x + x[::-1] - 2 * self.waves.middle).max() <= 1e-14 * (x[-1] - x[0])
            vectors, s, vt = _svd_by_halves(self.waves, x) if symmetric else _svd(self.waves(x))
            keep = s > _FEATURE_CUTOFF * s[0]
            # between even points as many smooth functions as points oscillate wildly at the ends, as Runge's do
            keep[x.size - (math.isqrt(x.size) if x.size > 9 else 1) :] = False
            self.scales = s[keep]
            self._change = vt[keep].T / self.scales
        else:
            values, vectors = np.linalg.eigh(kernel(x))
            values, vectors = values[::-1], vectors[:, ::-1]
            keep = values > _EIGEN_CUTOFF * values[0]
            self.scales = np.sqrt(values[keep])
            self._change = vectors[:, keep] / values[keep]
        self.vectors = vectors[:, keep]
        self.rank = int(self.scales.size)

    def prior(self, x: Array, order: int = 0) -> Array:
        """Functions whose coefficients are independent standard normals under the prior, shape (points, ..)."""
        return self.waves(x, order) if self.waves is not None else self(x, order) * self.scales

    def __call__(self, x: Array, order: int = 0) -> Array:
        """phi^(order)(x), shape (points, rank)."""
        rows: Any = self.waves(x, order) if self.waves is not None else self.kernel.derivative(x, self.x, dx=order)
        return np.asarray(rows @ self._change)
