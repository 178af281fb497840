"""Debye's uniform expansions, as differences that vanish exactly where the argument does.

With ``w = hypot(v, x)``, ``q = v^2 / w^2`` and the coefficients ``D_k`` of the formal logarithm of DLMF 10.41.3-4,

    log I_v(x) = lead - log(2 pi w) / 2 + sum_k D_k(q) w^-k,        sum_k D_k(1) v^-k = -(Stirling's series).

What statistics needs is never log I_v itself but its ratio to the limit at x -> 0, and there the lead terms and the
sums cancel. So everything here is written in ``u = (w - v) / (2 v)``, which keeps full relative accuracy for every
x >= 0, and in differences ``D_k(q) w^-k - D_k(1) v^-k`` with the factor ``1 - q`` divided out in exact rationals.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np

from ._validation import Array

MIN_ORDER = 50.0  #: smallest order at which `TERMS` terms leave an error below eps / 2
TERMS = 9


def _multiply(a: list[Fraction], b: list[Fraction]) -> list[Fraction]:
    out = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            out[i + j] += x * y
    return out


@functools.cache
def _polynomials() -> list[list[Fraction]]:
    """D_1 .. D_TERMS, ascending powers of q.

    DLMF 10.41.9 in q = p^2: U_n(p) = p^n u_n(q); then n D_n = n u_n - sum_{j<n} j D_j u_{n-j}.
    """
    u = [[Fraction(1)]]
    for n in range(TERMS):
        # U_{n+1} = p^2 (1 - p^2) U_n' / 2 + (1/8) int_0^p (1 - 5 t^2) U_n dt, term by term in p^(n + 2 i)
        new = [Fraction(0)] * (n + 2)
        for i, c in enumerate(u[n]):
            power = n + 2 * i
            new[i] += c * (Fraction(power, 2) + Fraction(1, 8 * (power + 1)))
            new[i + 1] -= c * (Fraction(power, 2) + Fraction(5, 8 * (power + 3)))
        u.append(new)
    d: list[list[Fraction]] = [[]]
    for n in range(1, TERMS + 1):
        total = [n * c for c in u[n]]
        for j in range(1, n):
            for i, c in enumerate(_multiply(d[j], u[n - j])):
                total[i] -= j * c
        d.append([c / n for c in total])
    return d[1:]


@functools.cache
def coefficients() -> list[tuple[float, Array]]:
    """For k = 1..TERMS the pair D_k(1) and R_k, where D_k(q) = D_k(1) - (1 - q) R_k(q), R_k with ascending powers."""
    out = []
    for dk in _polynomials():
        # synthetic division of D_k(q) - D_k(1) by (q - 1), highest power first
        quotient, carry = [], Fraction(0)
        for c in reversed(dk[1:]):
            carry += c
            quotient.append(carry)
        out.append((float(sum(dk)), np.array([float(c) for c in reversed(quotient)])))
    return out


def _horner(coefs: Array, q: Array) -> Array:
    value = np.full_like(q, coefs[-1])
    for c in coefs[-2::-1]:
        value = value * q + c
    return value


def difference(order: Array, u: Array, sign: int) -> Array:
    """sum_k sign^k (D_k(q) w^-k - D_k(1) v^-k) for v = `order`, w = v (1 + 2 u); 0 at u = 0.

    Parameters
    ----------
    order, u : array of float64, order >= MIN_ORDER, u >= 0
    sign : 1 for I_v, -1 for K_v
    """
    tau = 1 + 2 * u
    log_tau = np.log1p(2 * u)
    q = tau**-2.0
    one_minus_q = 4 * (u / tau) * ((1 + u) / tau)
    total = np.zeros_like(tau)
    for k in range(TERMS, 0, -1):
        at_one, r = coefficients()[k - 1]
        shrink = np.expm1(-k * log_tau)  # tau^-k - 1
        total = (total + sign**k * (at_one * shrink - one_minus_q * _horner(r, q) * (1 + shrink))) / order
    return total


def difference_dorder(order: Array, u: Array, sign: int) -> Array:
    """Derivative of `difference` in the order v with x^2 / v held fixed, as the Matern covariance needs it.

    Then d tau / d v = -2 u (1 + u) / (v tau), where tau = w / v = 1 + 2 u.
    """
    tau = 1 + 2 * u
    log_tau = np.log1p(2 * u)
    q = tau**-2.0
    one_minus_q = 4 * (u / tau) * ((1 + u) / tau)
    tau_rate = -2 * u * ((1 + u) / tau)  # v d tau / d v
    total = np.zeros_like(tau)
    for k in range(TERMS, 0, -1):
        at_one, r = coefficients()[k - 1]
        shrink = np.expm1(-k * log_tau)
        r_value = _horner(r, q)
        d_value = at_one - one_minus_q * r_value
        r_slope = _horner(r[1:] * np.arange(1, len(r)), q) if len(r) > 1 else 0.0
        d_slope = r_value - one_minus_q * r_slope  # d D_k / d q
        bracket = at_one * shrink - one_minus_q * r_value * (1 + shrink)
        bracket_slope = -(1 + shrink) * (2 * d_slope * q + k * d_value) / tau  # d bracket / d tau
        total = (total + sign**k * (-k * bracket + bracket_slope * tau_rate)) / order
    return total / order


def log_series_second(order: float, x: Array) -> Array:
    """Second derivative in x of log(I_v(x) / x^v), v = `order` >= MIN_ORDER: positive, and 1 / (2 v + 2) at x = 0.

    The lead gives v / (w (w + v)), -log(w)/2 gives (x^2 - v^2) / (2 w^4), and a term c q^j w^-k = c v^(2 j) w^-m with
    m = k + 2 j gives c q^j w^-k (m (m + 1) (1 - q) - m q) / w^2.
    """
    w = np.hypot(order, x)
    p, s = order / w, x / w
    q, one_minus_q = p * p, s * s
    total = np.zeros_like(w)
    for k in range(TERMS, 0, -1):
        c = np.array([float(c) for c in _polynomials()[k - 1]])
        m = k + 2 * np.arange(k + 1)
        total = (total + one_minus_q * _horner(c * m * (m + 1), q) - q * _horner(c * m, q)) / w
    return (p * (w / (w + order)) + (0.5 * (one_minus_q - q) + total) / w) / w


def log1pmx(u: Array) -> Array:
    """log(1 + u) - u for u >= 0, without cancellation at small u.

    With y = u / (2 + u): log(1 + u) = 2 atanh(y), and 2 y - u = -u^2 / (2 + u).
    """
    small = np.minimum(u, 0.5)
    y = small / (2 + small)
    y2 = y * y
    tail = np.zeros_like(y)
    for k in range(25, 1, -2):
        tail = y2 * (tail + 1.0 / k)
    series = 2 * y * tail - small * y
    with np.errstate(invalid="ignore"):
        return np.where(u <= 0.5, series, np.log1p(u) - u)
