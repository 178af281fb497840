"""Kernels of one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import comb

import numpy as np

from . import _matern
from ._axes import Array
from ._base import Kernel

_Limits = Mapping[str, tuple[float, float]] | None


class _Scaled(Kernel):
    """variance * f(d / scale): the gradient in the logarithm of the scale is -(m k^(m) + d k^(m+1))."""

    _scale = "lengthscale"
    variance: float

    def _stretched(self, d: Array, order: int) -> Array:
        """d k^(order+1)(d), which exists wherever k^(order) does."""
        return np.asarray(d * self._profile(d, order + 1))

    def _slope(self, name: str, d: Array, order: int) -> Array:
        """The gradient of the profile in the logarithm of another hyperparameter."""
        raise NotImplementedError

    def _profile_gradient(self, d: Array, order: int) -> list[Array]:
        value = self._profile(d, order)
        out = []
        for name in self._free():
            if name == "variance":
                slope = value
            elif name == self._scale:
                slope = -(order * value + self._stretched(d, order))
            else:
                slope = self._slope(name, d, order)
            out.append(slope[None])
        return out


class RBF(_Scaled):
    r"""The Gaussian (squared exponential) kernel :math:`k(d) = \sigma^2 e^{-d^2 / (2 \ell^2)}`.

    Parameters
    ----------
    lengthscale, variance : float
        l in units of the axis, and sigma^2 in units of the data squared, both > 0.
    fixed, limits
        As in `Kernel`.

    Notes
    -----
    ``k^(m)(d) = variance (-1)^m l^-m He_m(d/l) e^{-d^2/(2 l^2)}``, DLMF 18.5.5.

    Examples
    --------
    >>> from telamon.gp import RBF
    >>> RBF(2.0, 3.0)([0.0, 2.0]).round(6).tolist()
    [[3.0, 1.819592], [1.819592, 3.0]]
    """

    _parameters = ("lengthscale", "variance")

    def __init__(
        self, lengthscale: float = 1.0, variance: float = 1.0, *, fixed: Sequence[str] = (), limits: _Limits = None
    ) -> None:
        self.lengthscale, self.variance, self.fixed, self.limits = lengthscale, variance, fixed, limits
        self._check()

    def _profile(self, d: Array, order: int) -> Array:
        t = d / self.lengthscale
        below, here = np.zeros_like(t), np.ones_like(t)
        for m in range(order):  # He_{m+1} = t He_m - m He_{m-1}, with the sign of the derivative
            below, here = here, -t * here - m * below
        with np.errstate(under="ignore"):
            return np.asarray(self.variance * self.lengthscale ** float(-order) * here * np.exp(-0.5 * t * t))

    def max_frequency(self) -> float:
        """The spectrum's standard deviation, 1 / (2 pi l)."""
        return 1 / (2 * math.pi * self.lengthscale)


class Matern(_Scaled):
    r"""The Matern kernel of any smoothness,
    :math:`k(d) = \sigma^2 \frac{2^{1-\nu}}{\Gamma(\nu)} z^\nu K_\nu(z)`, :math:`z = \sqrt{2\nu}\,|d| / \ell`.

    Parameters
    ----------
    nu : float
        Smoothness, > 0; inf is the Gaussian kernel. Derivatives exist to the order below ``2 nu``.
    lengthscale, variance : float
        l in units of the axis, and sigma^2 in units of the data squared, both > 0.
    fixed, limits
        As in `Kernel`; nu is fixed by default, and free with ``fixed=()``.

    Notes
    -----
    Values come from `telamon.stats.matern`, derivatives from DLMF 10.29.4. For nu = 1/2, 3/2, .., 15/2 both are a
    polynomial times an exponential.
    """

    _parameters = ("nu", "lengthscale", "variance")

    def __init__(
        self,
        nu: float = 2.5,
        lengthscale: float = 1.0,
        variance: float = 1.0,
        *,
        fixed: Sequence[str] = ("nu",),
        limits: _Limits = None,
    ) -> None:
        self.nu, self.lengthscale, self.variance, self.fixed, self.limits = nu, lengthscale, variance, fixed, limits
        self._check()
        if math.isinf(nu) and "nu" not in fixed:
            raise ValueError("'nu' must be finite where it is free; start it at 10, say.")

    @property
    def smoothness(self) -> float:
        """The largest integer below 2 nu."""
        return math.inf if math.isinf(self.nu) else float(math.ceil(2 * self.nu) - 1)

    def _gaussian(self) -> RBF:
        return RBF(self.lengthscale, self.variance)

    def _scaled(self, d: Array, order: int) -> tuple[Array, Array]:
        """z, and what a derivative in z is to be multiplied by."""
        rate = math.sqrt(2 * self.nu) / self.lengthscale
        sign = np.sign(d) if order % 2 else 1.0
        return np.abs(d) * rate, np.asarray(self.variance * rate**order * sign)

    def _profile(self, d: Array, order: int) -> Array:
        if math.isinf(self.nu):
            return self._gaussian()._profile(d, order)
        z, factor = self._scaled(d, order)
        return factor * _matern.derivative(z, self.nu, order)

    def _stretched(self, d: Array, order: int) -> Array:
        if math.isinf(self.nu):
            return self._gaussian()._stretched(d, order)
        z, factor = self._scaled(d, order)
        return factor * _matern.derivative(z, self.nu, order + 1, power=1)

    def _slope(self, name: str, d: Array, order: int) -> Array:
        z, factor = self._scaled(d, order)
        at_fixed_z = factor * _matern.order_slope(z, self.nu, order)
        return 0.5 * (order * self._profile(d, order) + self._stretched(d, order)) + self.nu * at_fixed_z

    def max_frequency(self) -> float:
        """1 / (2 pi l), the scale of the spectrum, which is Student's t in the frequency."""
        return 1 / (2 * math.pi * self.lengthscale)


class Periodic(_Scaled):
    r"""The periodic kernel :math:`k(d) = \sigma^2 \exp(-2 \sin^2(\pi d / p) / \ell^2)`.

    Parameters
    ----------
    period : float
        p, in units of the axis, > 0.
    lengthscale : float
        l, without a unit, > 0: the smaller, the more harmonics.
    variance : float
        sigma^2, > 0.
    fixed, limits
        As in `Kernel`.

    References
    ----------
    .. [1] D. J. C. MacKay, Introduction to Gaussian processes, Neural Networks and Machine Learning, 1998.
    """

    _parameters = ("period", "lengthscale", "variance")
    _scale = "period"

    def __init__(
        self,
        period: float = 1.0,
        lengthscale: float = 1.0,
        variance: float = 1.0,
        *,
        fixed: Sequence[str] = (),
        limits: _Limits = None,
    ) -> None:
        self.period, self.lengthscale, self.variance = period, lengthscale, variance
        self.fixed, self.limits = fixed, limits
        self._check()

    def _exponent(self, d: Array, highest: int) -> list[Array]:
        """Derivatives of the exponent (cos(w d) - 1) / l^2 = -2 sin^2(w d / 2) / l^2."""
        w, a = 2 * math.pi / self.period, self.lengthscale**-2.0
        cycles = d / self.period
        phase = math.pi * (cycles - np.rint(cycles))
        cosine, sine = np.cos(2 * phase), np.sin(2 * phase)
        cycle = (cosine, -sine, -cosine, sine)
        return [-2 * a * np.sin(phase) ** 2, *(a * w**m * cycle[m % 4] for m in range(1, highest + 1))]

    def _derivatives(self, exponent: list[Array]) -> list[Array]:
        """k, k', ... by k' = f' k and Leibniz."""
        with np.errstate(under="ignore"):
            out = [self.variance * np.exp(exponent[0])]
        for m in range(len(exponent) - 1):
            out.append(sum((comb(m, i) * exponent[i + 1] * out[m - i] for i in range(m + 1)), np.zeros(1)))
        return out

    def _profile(self, d: Array, order: int) -> Array:
        return np.asarray(self._derivatives(self._exponent(d, order))[order])

    def _slope(self, name: str, d: Array, order: int) -> Array:
        exponent = self._exponent(d, order)
        k = self._derivatives(exponent)
        return np.asarray(-2 * sum(comb(order, i) * exponent[i] * k[order - i] for i in range(order + 1)))

    def max_frequency(self) -> float:
        """One cycle a period; the harmonics above it carry less and less."""
        return 1 / self.period


class RationalQuadratic(_Scaled):
    r"""The rational quadratic kernel :math:`k(d) = \sigma^2 (1 + d^2 / (2 \alpha \ell^2))^{-\alpha}`.

    A mixture of Gaussian kernels with many length scales; alpha to infinity is one of them.

    Parameters
    ----------
    alpha, lengthscale, variance : float
        All > 0.
    fixed, limits
        As in `Kernel`.

    Notes
    -----
    Derivatives by the recurrence that ``(D + d^2) k' = -2 alpha d k``, D = 2 alpha l^2, gives on differentiation.
    """

    _parameters = ("alpha", "lengthscale", "variance")

    def __init__(
        self,
        alpha: float = 1.0,
        lengthscale: float = 1.0,
        variance: float = 1.0,
        *,
        fixed: Sequence[str] = (),
        limits: _Limits = None,
    ) -> None:
        self.alpha, self.lengthscale, self.variance = alpha, lengthscale, variance
        self.fixed, self.limits = fixed, limits
        self._check()

    def _derivatives(self, d: Array, highest: int) -> list[Array]:
        a, spread = 2 * self.alpha, 2 * self.alpha * self.lengthscale**2
        below = np.zeros_like(d)
        out = [self.variance * np.exp(-self.alpha * np.log1p(d * d / spread))]
        for m in range(highest):
            here = out[-1]
            out.append(-((2 * m + a) * d * here + m * (m - 1 + a) * below) / (spread + d * d))
            below = here
        return out

    def _profile(self, d: Array, order: int) -> Array:
        return np.asarray(self._derivatives(d, order)[order])

    def _slope(self, name: str, d: Array, order: int) -> Array:
        a, spread = 2 * self.alpha, 2 * self.alpha * self.lengthscale**2
        k = self._derivatives(d, order)
        u = d * d / spread
        slope, below = k[0] * self.alpha * (u / (1 + u) - np.log1p(u)), np.zeros_like(d)
        for m in range(order):  # the recurrence, differentiated in log alpha
            moved = spread * k[m + 1] + a * (d * k[m] + (m * k[m - 1] if m else 0.0))
            after = -((2 * m + a) * d * slope + m * (m - 1 + a) * below + moved) / (spread + d * d)
            slope, below = after, slope
        return np.asarray(slope)

    def max_frequency(self) -> float:
        """1 / (2 pi l)."""
        return 1 / (2 * math.pi * self.lengthscale)


class Constant(_Scaled):
    """The constant kernel k = variance > 0: one level for the whole axis.

    Parameters
    ----------
    variance : float
    fixed, limits
        As in `Kernel`.
    """

    _parameters = ("variance",)

    def __init__(self, variance: float = 1.0, *, fixed: Sequence[str] = (), limits: _Limits = None) -> None:
        self.variance, self.fixed, self.limits = variance, fixed, limits
        self._check()

    def _profile(self, d: Array, order: int) -> Array:
        return np.full(d.shape, 0.0 if order else float(self.variance))


class Linear(Kernel):
    r"""The kernel of straight lines through 0 at `center`, :math:`k(x, y) = \sigma^2 (x - c)(y - c)`. Not stationary.

    Parameters
    ----------
    variance : float
        Prior variance of the slope, > 0.
    center : float
        c, in units of the axis; fixed by default. It enters theta as it is.
    fixed, limits
        As in `Kernel`.
    """

    _parameters = ("variance", "center")
    _linear = frozenset({"center"})

    def __init__(
        self,
        variance: float = 1.0,
        center: float = 0.0,
        *,
        fixed: Sequence[str] = ("center",),
        limits: _Limits = None,
    ) -> None:
        self.variance, self.center, self.fixed, self.limits = variance, center, fixed, limits
        self._check()

    @property
    def stationary(self) -> bool:
        """False."""
        return False

    def _line(self, x: Array, order: int) -> Array:
        return x - self.center if order == 0 else np.full(x.shape, float(order == 1))

    def _matrix(self, x: Array, y: Array, dx: int, dy: int) -> Array:
        return np.asarray(self.variance * np.outer(self._line(x, dx), self._line(y, dy)))

    def _matrix_gradient(self, x: Array, y: Array, dx: int, dy: int) -> list[Array]:
        out = {"variance": self._matrix(x, y, dx, dy)}
        if "center" not in self.fixed:
            shift = np.outer(self._line(x, dx + 1), self._line(y, dy))
            shift += np.outer(self._line(x, dx), self._line(y, dy + 1))
            out["center"] = -self.variance * shift
        return [out[name][None] for name in self._free()]
