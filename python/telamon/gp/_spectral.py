"""Spectral mixture kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _matern
from ._axes import Array
from ._base import Kernel

#: Elements of a work array of components times distances.
_BLOCK = 1 << 17
#: A component with less than this share of the weight does not count for the kernel's band.
_NEGLIGIBLE = 1e-3


class SpectralMixture(Kernel):
    r"""A mixture of modulated envelopes, :math:`k(d) = \sum_q w_q\, g_q(d) \cos(2\pi\mu_q d)`.

    The envelope has a Gaussian spectrum, :math:`g = e^{-d^2 e^s}`, or that of a Student t with five degrees of freedom,
    which is Matern's with nu = 5/2, :math:`g = (1 + r + r^2/3) e^{-r}`, :math:`r = \sqrt5\, e^s |d|`.

    Parameters
    ----------
    weights : array_like, shape (Q,)
        w, > 0: the variance of each component.
    frequencies : array_like, shape (Q,)
        mu, in cycles per unit of the axis.
    log_scales : array_like, shape (Q,)
        s. The component's spectrum has the standard deviation ``sqrt(2 e^s) / (2 pi)`` if Gaussian, and the scale
        ``e^s / (2 pi)`` if Student's t.
    spectrum : {"gaussian", "student"}
        The latter has four derivatives, the former all.
    fixed, limits
        As in `Kernel`. theta is [log w, mu, s].

    References
    ----------
    .. [1] A. G. Wilson and R. P. Adams, Gaussian process kernels for pattern discovery and extrapolation, ICML 2013.
    .. [2] Solving high frequency and multi-scale PDEs with Gaussian processes, ICLR 2024, arXiv:2311.04465.

    Examples
    --------
    >>> from telamon.gp import SpectralMixture
    >>> k = SpectralMixture.init(30, fmax=20.0)
    >>> round(float(k.profile(0.0)), 12), k.theta.size
    (1.0, 90)
    """

    _parameters = ("weights", "frequencies", "log_scales")
    _linear = frozenset({"frequencies", "log_scales"})

    def __init__(
        self,
        weights: ArrayLike,
        frequencies: ArrayLike,
        log_scales: ArrayLike,
        spectrum: str = "gaussian",
        *,
        fixed: Sequence[str] = (),
        limits: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.weights, self.frequencies, self.log_scales = weights, frequencies, log_scales
        self.spectrum, self.fixed, self.limits = spectrum, fixed, limits
        self._check()

    @classmethod
    def init(
        cls,
        q: int = 30,
        fmax: float = 20.0,
        spectrum: str = "gaussian",
        *,
        width: float = 0.3,
        log_scale: float | None = None,
        variance: float = 1.0,
        **options: Any,
    ) -> SpectralMixture:
        """Equal weights at `q` frequencies from 0 to `fmax`.

        Parameters
        ----------
        q : int
        fmax : float
            Highest frequency, in cycles per unit of the axis: above the data's band, below the grid's Nyquist
            frequency.
        spectrum : str
        width : float
            Width of each component's spectrum, as a fraction of the frequencies' spacing; 0.2 to 0.4 leaves no gap.
        log_scale : float, optional
            Scale of every component instead; the paper has 0, which leaves gaps where ``fmax / q`` is large.
        variance : float
            Sum of the weights.
        **options
            `fixed` and `limits`.
        """
        if q < 1 or not fmax > 0:
            raise ValueError(f"'q' must be >= 1 and 'fmax' positive, got {q} and {fmax}.")
        if log_scale is None:
            rate = 2 * math.pi * width * fmax / max(1, q - 1)
            log_scale = math.log(0.5 * rate * rate) if spectrum == "gaussian" else math.log(rate)
        frequencies = np.linspace(0.0, 1.0, q) * fmax if q > 1 else np.array([fmax])
        return cls(np.full(q, variance / q), frequencies, np.full(q, float(log_scale)), spectrum, **options)

    def _check(self) -> None:
        if self.spectrum not in ("gaussian", "student"):
            raise ValueError(f"'spectrum' must be 'gaussian' or 'student', got {self.spectrum!r}.")
        super()._check()
        sizes = {name: self._value(name).size for name in self._parameters}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"'weights', 'frequencies' and 'log_scales' must have one length, got {sizes}.")

    def _value(self, name: str) -> Array:
        value = np.asarray(getattr(self, name), dtype=np.float64)
        if value.ndim != 1 or not value.size or np.isnan(value).any():
            raise ValueError(f"'{name}' must be a vector of real numbers, got {getattr(self, name)!r}.")
        return value

    @property
    def smoothness(self) -> float:
        """4 for Student's t, inf for the Gaussian."""
        return 4.0 if self.spectrum == "student" else math.inf

    def max_frequency(self) -> float:
        """Frequency plus width of the highest component that has a thousandth of the weight."""
        w, mu, s = (self._value(name) for name in self._parameters)
        width = np.sqrt(2 * np.exp(s)) if self.spectrum == "gaussian" else np.exp(s)
        return float(np.max((np.abs(mu) + width / (2 * math.pi))[w >= _NEGLIGIBLE * w.sum()]))

    def _envelopes(self, d: Array, highest: int) -> list[Array]:
        """g_q, g_q', .. at the distances, each of shape (Q, n)."""
        a = np.exp(self._value("log_scales"))[:, None]
        with np.errstate(under="ignore"):
            if self.spectrum == "student":
                rate = math.sqrt(5) * a
                z, sign = rate * np.abs(d), np.sign(d)
                decay = np.exp(-z)
                values = (np.polynomial.polynomial.polyval(z, _matern._polynomial(2.5, m)) for m in range(highest + 1))
                return [rate**m * sign ** (m % 2) * p * decay for m, p in enumerate(values)]
            out = [np.exp(-a * d * d)]
            for m in range(highest):
                out.append(-2 * a * (d * out[m] + (m * out[m - 1] if m else 0.0)))
            return out

    def _waves(self, d: Array, highest: int, sine: bool = False) -> list[Array]:
        """cos(2 pi mu_q d), or the sine, and derivatives, each of shape (Q, n)."""
        w = 2 * math.pi * self._value("frequencies")[:, None]
        c, s = np.cos(w * d), np.sin(w * d)
        cycle = (s, c, -s, -c) if sine else (c, -s, -c, s)
        return [w**m * cycle[m % 4] for m in range(highest + 1)]

    def _blocks(self, d: Array) -> list[slice]:
        size = max(1, _BLOCK // self._value("weights").size)
        return [slice(start, start + size) for start in range(0, d.size, size)]

    def _profile(self, d: Array, order: int) -> Array:
        flat = d.reshape(-1)
        out = np.empty(flat.size)
        weights = self._value("weights")
        for block in self._blocks(flat):
            part = flat[block]
            out[block] = weights @ _leibniz(self._envelopes(part, order), self._waves(part, order), order)
        return out.reshape(d.shape)

    def _profile_gradient(self, d: Array, order: int) -> list[Array]:
        flat = d.reshape(-1)
        weights = self._value("weights")[:, None]
        free = self._free()
        out = {name: np.empty((weights.size, flat.size)) for name in free}
        share = 1.0 if self.spectrum == "student" else 0.5  # of the envelope's log scale in that of the distance
        for block in self._blocks(flat):
            part = flat[block]
            envelopes = self._envelopes(part, order + 1)
            waves = self._waves(part, order)
            if "weights" in free:
                out["weights"][:, block] = weights * _leibniz(envelopes, waves, order)
            if "frequencies" in free:
                # the derivative of cos(2 pi mu d) is -2 pi d sin(2 pi mu d)
                sines = self._waves(part, order, sine=True)
                slope = part * _leibniz(envelopes, sines, order)
                if order:
                    slope += order * _leibniz(envelopes, sines, order - 1)
                out["frequencies"][:, block] = -2 * math.pi * weights * slope
            if "log_scales" in free:
                slopes = [share * (m * envelopes[m] + part * envelopes[m + 1]) for m in range(order + 1)]
                out["log_scales"][:, block] = weights * _leibniz(slopes, waves, order)
        return [out[name].reshape(-1, *d.shape) for name in free]


def _leibniz(f: list[Array], g: list[Array], order: int) -> Array:
    """The derivative of a product from those of its factors."""
    return np.asarray(sum(comb(order, i) * f[i] * g[order - i] for i in range(order + 1)))
