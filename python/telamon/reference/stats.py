"""What telamon.stats computes, written as the textbook has it and evaluated in Arb's ball arithmetic (python-flint).

Each function raises the working precision until the ball is narrow enough, so the float returned is correctly rounded
but for ties. Arguments are numbers; nothing here is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_BITS = 90


def _rounded(formula: Callable[[], Any]) -> float:
    """Evaluate a ball-valued formula with precision doubling until it holds 90 bits."""
    import flint

    saved = flint.ctx.prec
    try:
        flint.ctx.prec = 128
        while True:
            ball = formula()
            if ball.is_exact() or ball.rel_accuracy_bits() >= _BITS:
                return float(ball)
            if flint.ctx.prec > 1 << 14:
                raise ArithmeticError(f"no convergence: {ball}")
            flint.ctx.prec *= 2
    finally:
        flint.ctx.prec = saved


def _arb(x: float) -> Any:
    import flint

    return flint.arb(x)


def _log_normalizer(d: int, kappa: float) -> Any:
    pi = _arb(0).acos() * 2
    half = _arb(d) / 2
    if kappa == 0:
        return half.lgamma() - _arb(2).log() - half * pi.log()
    k = _arb(kappa)
    return (half - 1) * k.log() - half * (2 * pi).log() - k.bessel_i(half - 1).log()


def _mean_resultant(d: int, kappa: float) -> Any:
    if kappa == 0:
        return _arb(0)
    k, half = _arb(kappa), _arb(d) / 2
    return k.bessel_i(half) / k.bessel_i(half - 1)


def log_normalizer(d: int, kappa: float) -> float:
    """log C_d(kappa), C = kappa^(d/2-1) / ((2 pi)^(d/2) I_{d/2-1}(kappa)); at kappa = 0 one over the sphere's area."""
    return _rounded(lambda: _log_normalizer(d, kappa))


def log_normalizer_plus_kappa(d: int, kappa: float) -> float:
    """log C_d(kappa) + kappa, the log density at the mean direction."""
    return _rounded(lambda: _log_normalizer(d, kappa) + _arb(kappa))


def mean_resultant(d: int, kappa: float) -> float:
    """A = I_{d/2}(kappa) / I_{d/2-1}(kappa)."""
    return _rounded(lambda: _mean_resultant(d, kappa))


def mean_resultant_c(d: int, kappa: float) -> float:
    """1 - A."""
    return _rounded(lambda: 1 - _mean_resultant(d, kappa))


def information(d: int, kappa: float) -> float:
    """A' = 1 - A^2 - (d - 1) A / kappa; 1/d at kappa = 0."""

    def formula() -> Any:
        a = _mean_resultant(d, kappa)
        return 1 - a * a - (d - 1) * a / _arb(kappa)

    return _rounded(formula) if kappa > 0 else 1.0 / d


def entropy(d: int, kappa: float) -> float:
    """-log C - kappa A."""
    return _rounded(lambda: -_log_normalizer(d, kappa) - _arb(kappa) * _mean_resultant(d, kappa))


def kl_divergence(d: int, kappa1: float, kappa2: float, cosine: float = 1.0) -> float:
    """log C(kappa1) - log C(kappa2) + A(kappa1) (kappa1 - kappa2 mu1.mu2)."""

    def formula() -> Any:
        slope = _arb(kappa1) - _arb(kappa2) * _arb(cosine)
        return _log_normalizer(d, kappa1) - _log_normalizer(d, kappa2) + _mean_resultant(d, kappa1) * slope

    return _rounded(formula)


def cosine_cdf(w: float, d: int, kappa: float) -> float:
    """P(mu.x <= w), by the quadrature of (1 - w^2)^((d-3)/2) e^(kappa w) in the angle."""
    import flint

    k = flint.acb(kappa)

    def mass(angle: Any) -> Any:
        lower = flint.acb(angle)
        value = flint.acb.integral(lambda t, _: t.sin() ** (d - 2) * (k * t.cos()).exp(), lower, flint.acb.pi())
        return value.real

    return float(mass(flint.arb(w).acos()) / mass(0))


def _bessel_k(nu: Any, z: Any) -> Any:
    """K_nu(z) as a ball. Arb gives up on large integer orders at small z: there, a nearby order and a wider ball."""
    import flint

    ball = z.bessel_k(nu)
    if ball.is_finite():
        return ball
    half = flint.ctx.prec // 2
    nearby = z.bessel_k(nu + flint.arb(2) ** -half)
    return nearby * flint.arb(1, flint.arb(2) ** -(half // 2))  # d log K / d nu is far below 2^(half / 2)


def _log_matern(s: float, nu: Any) -> Any:
    z = (2 * nu).sqrt() * _arb(s)
    return (1 - nu) * _arb(2).log() - nu.lgamma() + nu * z.log() + _bessel_k(nu, z).log()


def log_matern(s: float, nu: float) -> float:
    """log of 2^(1-nu) / Gamma(nu) z^nu K_nu(z) with z = sqrt(2 nu) s."""
    return _rounded(lambda: _log_matern(s, _arb(nu))) if s else 0.0


def matern(s: float, nu: float) -> float:
    """2^(1-nu) / Gamma(nu) z^nu K_nu(z) with z = sqrt(2 nu) s, DLMF 10.25; 1 at s = 0."""
    return _rounded(lambda: _log_matern(s, _arb(nu)).exp()) if s else 1.0


def matern_dnu(s: float, nu: float) -> float:
    """Derivative of `matern` in nu: a central difference whose step is far below the precision kept."""
    import flint

    def formula() -> Any:
        h = flint.arb(2) ** (-(flint.ctx.prec // 4))
        high, low = _log_matern(s, _arb(nu) + h), _log_matern(s, _arb(nu) - h)
        slope = (high.exp() - low.exp()) / (2 * h)
        # the truncation error is about h^2 times the third derivative; keep the digits above it
        return flint.arb(slope.mid(), slope.rad() + abs(slope.mid()) * h)

    return _rounded(formula) if s else 0.0


def matern_dr(s: float, nu: float) -> float:
    """Derivative of `matern` in s: -sqrt(2 nu) 2^(1-nu) / Gamma(nu) z^nu K_{nu-1}(z), DLMF 10.29.4."""

    def formula() -> Any:
        nu_ = _arb(nu)
        z = (2 * nu_).sqrt() * _arb(s)
        log_scale = (1 - nu_) * _arb(2).log() - nu_.lgamma() + nu_ * z.log()
        return -(2 * nu_).sqrt() * log_scale.exp() * _bessel_k(abs(nu_ - 1), z)

    return _rounded(formula)
