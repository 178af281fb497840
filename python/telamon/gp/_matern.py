r"""Derivatives of the Matern covariance of any smoothness in its distance and its smoothness. Internal.

With P_j(z) = 2^{1-nu}/Gamma(nu) z^{nu-j} K_{nu-j}(z), P_0 is the covariance, and DLMF 10.29.4 reads P_j' = -z P_{j+1}.
So each derivative of P_0 is a sum of terms c z^e P_j with 2 j - e its order. Near 0, P_j is finite for j < nu and as
z^{2(nu-j)} for j > nu, so a term vanishes there as long as its order is below 2 nu.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np

from telamon import special
from telamon.stats import matern, matern_grad
from telamon.stats._matern import _digamma

from ._axes import Array

#: Half-integer orders up to here are a polynomial times exp(-z).
_MAX_HALF_INTEGER = 7.5
#: Below this order z^v K_v(z) is not normalised: Gamma(v) has its pole at 0.
_SMALL_ORDER = 0.01


@cache
def _terms(order: int) -> tuple[tuple[int, int, int], ...]:
    """The triples (c, e, j) of the derivative of the given order."""
    if order == 0:
        return ((1, 0, 0),)
    out: dict[tuple[int, int], int] = {}
    for c, e, j in _terms(order - 1):
        if e:
            out[e - 1, j] = out.get((e - 1, j), 0) + c * e
        out[e + 1, j + 1] = out.get((e + 1, j + 1), 0) - c
    return tuple((c, e, j) for (e, j), c in sorted(out.items()))


@cache
def _polynomial(nu: float, order: int) -> tuple[float, ...]:
    """Coefficients of q in P_0^(order) = q(z) exp(-z), nu = p + 1/2; DLMF 10.49.12, then q' - q."""
    p = round(nu - 0.5)
    scale = Fraction(math.factorial(p), math.factorial(2 * p))
    q = [
        scale * Fraction(math.factorial(2 * p - k) * 2**k, math.factorial(k) * math.factorial(p - k))
        for k in range(p + 1)
    ]
    for _ in range(order):
        q = [(k + 1) * q[k + 1] - q[k] if k < p else -q[k] for k in range(p + 1)]
    return tuple(float(c) for c in q)


def _closed_form(nu: float) -> bool:
    return nu <= _MAX_HALF_INTEGER and (2 * nu) % 2 == 1


def _falling(nu: float, j: int) -> float:
    """prod_{i=1..j} 2 (nu - i), by which z^{nu-j} K_{nu-j} differs from the Matern covariance of order nu - j."""
    return math.prod(2 * (nu - i) for i in range(1, j + 1))


def _term(z: Array, nu: float, e: int, j: int) -> Array:
    """z^e P_j(z) for z >= 0."""
    order = nu - j
    if order > _SMALL_ORDER:
        return np.asarray(z**e * matern(z, order, math.sqrt(2 * order)) / _falling(nu, j))
    inner = z > 0
    x = np.where(inner, z, 1.0)
    log_scale = (1 - nu) * math.log(2) - math.lgamma(nu)
    with np.errstate(
        over="ignore"
    ):  # only in odd derivatives past the last one that exists, where the caller has z > 0
        value = np.exp(log_scale + (e + order) * np.log(x) + special.log_kv(abs(order), x))
    at_zero = 1 / _falling(nu, j) if order > 0 and e == 0 else 0.0
    return np.where(inner, value, at_zero)


def _term_slope(z: Array, nu: float, e: int, j: int) -> Array:
    """The derivative of z^e P_j(z) in nu at fixed z."""
    order = nu - j
    if order > _SMALL_ORDER:
        grad = matern_grad(z, order, math.sqrt(2 * order))
        inner = (z > 0) & (z < np.inf)
        at_fixed_z = grad.dnu - np.where(inner, z, 0.0) * np.where(inner, grad.dr, 0.0) / (2 * order)
        harmonic = sum(1 / (nu - i) for i in range(1, j + 1))
        return np.asarray(z**e * (at_fixed_z - harmonic * grad.value) / _falling(nu, j))
    inner = z > 0
    x = np.where(inner, z, 1.0)
    digamma = float(_digamma(np.array(nu)))
    slope = math.copysign(1.0, order) * special.log_kv_dv(abs(order), x) if order else 0.0
    at_zero = -sum(1 / (nu - i) for i in range(1, j + 1)) if order > 0 else 0.0
    log_slope = np.where(inner, np.log(x) + slope - math.log(2) - digamma, at_zero)
    return _term(z, nu, e, j) * log_slope


def derivative(z: Array, nu: float, order: int, power: int = 0) -> Array:
    """z^power times the derivative in z >= 0 of the given order; order - power must be below 2 nu."""
    if _closed_form(nu):
        with np.errstate(under="ignore"):
            return np.asarray(z**power * np.polynomial.polynomial.polyval(z, _polynomial(nu, order)) * np.exp(-z))
    total = np.zeros_like(z)
    for c, e, j in _terms(order):
        total += c * _term(z, nu, e + power, j)
    return total


def order_slope(z: Array, nu: float, order: int) -> Array:
    """The derivative in nu, at fixed z, of the derivative in z of the given order."""
    total = np.zeros_like(z)
    for c, e, j in _terms(order):
        total += c * _term_slope(z, nu, e, j)
    return total
