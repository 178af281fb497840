#!/usr/bin/env python3
"""Writes csrc/include/telamon/special/tables.hpp: every coefficient that the special core evaluates.

Two kinds of tables, both derived here and nowhere typed in by hand:

* exact rational polynomials of the Debye expansions (DLMF 10.41.9-10), after taking the formal logarithm of the series
  and, for the ratios, after shifting the order by one half (see `log_debye` and `ratio_debye`);
* bivariate Chebyshev interpolants of smooth functions, computed with Arb balls at 320 bits, truncated where a
  coefficient is below TOL and rewritten as polynomials in variables scaled to [-1, 1].

Needs python-flint and NumPy. Run: python tools/make_special_tables.py > csrc/include/telamon/special/tables.hpp
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from flint import acb, arb, ctx

ctx.prec = 320
TOL = 1.5e-18

# --------------------------------------------------------------------------- exact Debye polynomials
# A polynomial in q = v^2/w^2 is a list of Fractions, lowest power first.


def p_add(a, b):
    n = max(len(a), len(b))
    return [(a[i] if i < len(a) else 0) + (b[i] if i < len(b) else 0) for i in range(n)]


def p_mul(a, b):
    out = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            out[i + j] += x * y
    return out


def p_scale(a, c):
    return [x * c for x in a]


def p_diff(a):
    return [i * x for i, x in enumerate(a)][1:] or [Fraction(0)]


def debye_u(n_max):
    """u_k of DLMF 10.41.9 as u_k(p) = p^k poly_k(p^2); returns poly_k, so that u_k(v/w)/v^k = w^-k poly_k(q)."""
    full = [[Fraction(1)]]  # u_k as a polynomial in p
    for _ in range(n_max):
        u = full[-1]
        d = p_diff(u)
        first = p_mul([0, 0, Fraction(1, 2), 0, Fraction(-1, 2)], d)
        integrand = p_mul([Fraction(1, 8), 0, Fraction(-5, 8)], u)
        integral = [Fraction(0)] + [c / (i + 1) for i, c in enumerate(integrand)]
        full.append(p_add(first, integral))
    return [[u[k + 2 * j] if k + 2 * j < len(u) else Fraction(0) for j in range(k + 1)] for k, u in enumerate(full)]


def log_debye(n_max):
    """D_k with log(1 + sum u_k) = sum_k w^-k D_k(q): n D_n = n u_n - sum_{j<n} j D_j u_{n-j}."""
    u = debye_u(n_max)
    d = [[Fraction(0)]]
    for n in range(1, n_max + 1):
        s = p_scale(u[n], Fraction(n))
        for j in range(1, n):
            s = p_add(s, p_scale(p_mul(d[j], u[n - j]), Fraction(-j)))
        d.append(p_scale(s, Fraction(1, n))[: n + 1])
    return d


def ratio_debye(n_max):
    """P_k of log(I_{n+1/2}/I_{n-1/2}) = -asinh(n/x) + n sum_{k>=2} w^-k P_k(q), with w^2 = n^2 + x^2.

    The half-shift is a Taylor series in the order, sum_j g^(2j+1)(n) / (4^j (2j+1)!), of the formal logarithm
    g = lead - log(w)/2 + sum D_k w^-k. Terms are w^-k P(q) (even in n) or n w^-k P(q) (odd); d/dn swaps them.
    """
    d = log_debye(n_max)

    def diff_even(k, p):  # d/dn [w^-k P] = n w^-(k+2) (-k P + 2(1-q) P')
        return k + 2, p_add(p_scale(p, Fraction(-k)), p_mul([2, -2], p_diff(p)))

    def diff_odd(k, p):  # d/dn [n w^-k P] = w^-k (P + q (-k P + 2(1-q) P'))
        return k, p_add(p, [Fraction(0), *p_add(p_scale(p, Fraction(-k)), p_mul([2, -2], p_diff(p)))])

    out = {}
    # first derivatives: that of -log(w)/2 is -n/(2 w^2); that of the lead is -asinh, kept apart, its next is -1/w
    odd = [(2, [Fraction(-1, 2)])] + [diff_even(k, d[k]) for k in range(1, n_max + 1)]
    even_lead = (1, [Fraction(-1)])
    factor, j = Fraction(1), 0
    while True:
        for k, p in odd:
            if k <= n_max + 1:
                out[k] = p_add(out.get(k, [Fraction(0)]), p_scale(p, factor))
        odd = [diff_even(*diff_odd(k, p)) for k, p in odd if k <= n_max + 1]
        if even_lead is not None:
            odd.append(diff_even(*even_lead))
            even_lead = None
        j += 1
        factor = Fraction(1, 4**j * _factorial(2 * j + 1))
        odd = [(k, p) for k, p in odd if k <= n_max + 1]
        if not odd:
            break
    rows = []
    for k in range(2, n_max + 2):
        p = out[k]
        while len(p) > 1 and p[-1] == 0:
            p = p[:-1]
        rows.append(p)
    return rows


def _factorial(n):
    return 1 if n < 2 else n * _factorial(n - 1)


# --------------------------------------------------------------------------- Chebyshev interpolants


def chebyshev_matrix(n):
    m = np.empty((n, n), dtype=object)
    for k in range(n):
        for i in range(n):
            m[k, i] = (arb(k * (2 * i + 1)) / (2 * n) * arb.pi()).cos() * 2 / n / (2 if k == 0 else 1)
    return m


def nodes(n, a, b):
    return [(a + b) / 2 + (b - a) / 2 * (arb(2 * k + 1) / (2 * n) * arb.pi()).cos() for k in range(n)]


def chebyshev_to_power(c):
    """Power coefficients of sum c_k T_k, by the recurrence of T_k; c is a list of arb (or arb rows)."""
    n = len(c)
    out = [arb(0)] * n
    t0, t1 = [arb(1)], [arb(0), arb(1)]
    for k in range(n):
        t = t0
        for i, x in enumerate(t):
            out[i] = out[i] + c[k] * x
        t0, t1 = (
            t1,
            [2 * (t1[i - 1] if i > 0 else arb(0)) - (t0[i] if i < len(t0) else arb(0)) for i in range(len(t1) + 1)],
        )
    return out


def fit(f, s_range, t_range, n=28, m=28, tol=TOL):
    """Rows (power of s) of coefficients (powers of t) of f on a box, both variables scaled to [-1, 1]."""
    s_nodes, t_nodes = nodes(n, *s_range), nodes(m, *t_range)
    values = np.array([[f(s, t) for t in t_nodes] for s in s_nodes], dtype=object)
    c = chebyshev_matrix(n).dot(values).dot(chebyshev_matrix(m).T)
    mag = np.array([[abs(float(x.mid())) for x in row] for row in c])
    assert mag[-1].max() < tol, mag[-1].max()
    assert mag[:, -1].max() < tol, mag[:, -1].max()
    keep = np.zeros_like(mag, dtype=bool)  # a staircase that contains every coefficient above tol
    for i in range(n):
        for j in range(m):
            keep[i, j] = (mag[i:, j:] > tol).any()
    c = np.where(keep, c, arb(0))
    rows = [chebyshev_to_power(list(r)) for r in c]  # in t, for each T_i(s)
    cols = [chebyshev_to_power([rows[i][j] for i in range(n)]) for j in range(m)]
    out = []
    for i in range(n):
        width = int(keep[i].sum())
        if width:
            out.append([float(cols[j][i].mid()) for j in range(width)])
    return out


def fit1(f, t_range, m=40, tol=TOL):
    c = chebyshev_matrix(m).dot(np.array([f(t) for t in nodes(m, *t_range)], dtype=object))
    mag = [abs(float(x.mid())) for x in c]
    width = max(i for i, x in enumerate(mag) if x > tol) + 1
    assert width < m
    return [[float(x.mid()) for x in chebyshev_to_power(list(c[:width]))]]


# --------------------------------------------------------------------------- the functions that are fitted


def bi(v, x):
    return arb(x).bessel_i(arb(v))


def bk(v, x):
    return arb(x).bessel_k(arb(v))


def lead(v, x, w):
    return w - v * ((v + w) / x).log()


def log_i_rest(p, u):
    """log I_v(x) - lead + log(2 pi w)/2 with p = v/w, u = 1/w."""
    w = 1 / u
    v, x = p * w, w * ((1 - p) * (1 + p)).sqrt()
    return bi(v, x).log() - lead(v, x, w) + (2 * arb.pi() * w).log() / 2


def k_of_square(q, x):
    """K_v(x) as the entire function of q = v^2 that it is: real for negative q too."""
    return bk(q.sqrt(), x) if q > 0 else acb(x).bessel_k(acb(q).sqrt()).real


def log_k_rest(q, u):
    """log K_v(x) + x + log(2 x / pi)/2 with q = v^2, u = 1/x."""
    x = 1 / u
    return k_of_square(q, x).log() + x + (2 * x / arb.pi()).log() / 2


def log_k_far_rest(q, u):
    """log K_v(x) + lead - log(pi/(2w))/2 with q = v^2/w^2, u = 1/w: Debye's series resummed."""
    w = 1 / u
    v, x = q.sqrt() * w, w * (1 - q).sqrt()
    return bk(v, x).log() + lead(v, x, w) - (arb.pi() / (2 * w)).log() / 2


def sin_over_pi(v):
    return (arb.pi() * v).sin() / arb.pi()


def even_i(v, x):
    """(I_v + I_-v)/2 = I_v + sin(pi v) K_v / pi: the part of I that is even in the order."""
    return bi(v, x) + sin_over_pi(v) * bk(v, x)


def even_i_slope(q, u):
    """d/dv log(even_i) / v with q = v^2, u = 1/x, by a central difference at 2^-70 (error 2^-140)."""
    x, v, h = 1 / u, q.sqrt(), arb(2) ** -70
    return (even_i(v + h, x).log() - even_i(v - h, x).log()) / (2 * h) / v


def even_ratio(q, u):
    """-log(even_i(n + 1/2) / even_i(n - 1/2)) / n with q = n^2, u = 1/x."""
    x, n = 1 / u, q.sqrt()
    return -(even_i(n + arb(1) / 2, x) / even_i(n - arb(1) / 2, x)).log() / n


def reciprocal_gamma_parts(mu, k):
    """Even part and odd part over mu of 1/Gamma(k + 1 + mu)."""
    a, b = 1 / (k + 1 + mu).gamma(), 1 / (k + 1 - mu).gamma()
    return ((a + b) / 2).real, ((a - b) / (2 * mu)).real


def k_corner(part, derivative):
    """P_e - 1 (part 0) and P_o (part 1) of K_mu = P_e sinh(mu l)/mu - P_o cosh(mu l), l = log(2/x); or their d/dy."""

    def f(q, y):
        mu = acb(q).sqrt()  # imaginary for q < 0, where both parts stay real
        s, term = arb(0), arb(1)
        for k in range(14):
            s += term * reciprocal_gamma_parts(mu, arb(k + derivative))[part]
            term = term * y / (k + 1)
        value = s * (arb.pi() * mu / (arb.pi() * mu).sin()).real
        return value - 1 if (part, derivative) == (0, 0) else value

    return f


def lgamma1p_over(v):
    return (1 + v).lgamma() / v


# --------------------------------------------------------------------------- output


def number(x):
    return repr(float(x))


def emit(name, rows, comment, ranges=()):
    flat = [c for r in rows for c in r]
    print(f"// {comment}")
    print(f"struct {name} {{")
    print(f"  static constexpr int rows = {len(rows)};")
    print(f"  static constexpr int width[] = {{{', '.join(str(len(r)) for r in rows)}}};")
    for label, (a, b) in ranges:
        print(f"  static constexpr double {label}_lo = {number(a)}, {label}_hi = {number(b)};")
    print("  static constexpr double c[] = {")
    line = "     "
    for x in flat:
        item = f" {number(x)},"
        if len(line) + len(item) > 118:
            print(line)
            line = "     "
        line += item
    print(line)
    print("  };")
    print("};\n")


def arb_of(r):
    r = Fraction(r)
    return arb(r.numerator) / arb(r.denominator)


def widened(lo, hi, below, above):
    """A table is fitted on a box somewhat larger than its own: derivatives are noisy at a fit's ends."""
    width = hi - lo
    return lo - width * Fraction(below), hi + width * Fraction(above)


def emit_fit(name, f, s_range, t_range, comment, **options):
    box = [tuple(arb_of(end) for end in r) for r in (s_range, t_range)]
    labels = [(label, tuple(float(end) for end in r)) for label, r in (("s", s_range), ("t", t_range))]
    emit(name, fit(f, *box, **options), comment, labels)


def main():
    print("// Generated by tools/make_special_tables.py: do not edit. What each table means stands in that script.")
    print("#pragma once\n")
    print("// clang-format off")
    print("namespace telamon::special::tables {\n")
    emit("debye", log_debye(26)[1:], "D_k(q), k = 1.. : log of Debye's series, sum_k w^-k D_k(q)")
    emit("debye_ratio", ratio_debye(26), "P_k(q), k = 2.. : log of the ratio of orders n +- 1/2, n sum_k w^-k P_k(q)")
    edges = [Fraction(25, 256) * 2**k for k in range(9)]  # 0.09765625 ... 25
    margin = Fraction(1, 12)
    square = (Fraction(0), Fraction(1, 4))  # v^2 for |v| <= 1/2
    for k in range(4):
        lo, hi = edges[4 + k], edges[5 + k]
        u = widened(1 / hi, 1 / lo, margin, margin)
        emit_fit(
            f"log_i_{k}",
            log_i_rest,
            widened(Fraction(0), Fraction(1), Fraction(1, 16), 0),
            u,
            f"log I - lead + log(2 pi w)/2 in p = v/w in [0, 1] (rows) and 1/w, {float(lo)} <= w <= {float(hi)}",
            n=30,
            tol=1e-18,
        )
        emit_fit(
            f"slope_{k}",
            even_i_slope,
            square,
            u,
            f"d/dv log((I_v + I_-v)/2) / v in v^2 in [0, 1/4] (rows) and 1/x, {float(lo)} <= x <= {float(hi)}",
        )
        emit_fit(
            f"even_ratio_{k}",
            even_ratio,
            square,
            u,
            f"-log of the ratio of even parts over n, n^2 in [0, 1/4] (rows), 1/x, {float(lo)} <= x <= {float(hi)}",
        )
    lo, hi = edges[7], edges[8]
    emit_fit(
        "log_k_far",
        log_k_far_rest,
        (Fraction(0), Fraction(1)),
        widened(1 / hi, 1 / lo, 2 * margin, 2 * margin),
        f"log K + lead - log(pi/(2w))/2 in v^2/w^2 in [0, 1] (rows) and 1/w, {float(lo)} <= w <= {float(hi)}",
        n=36,
        tol=1e-18,
    )
    for k in range(7):
        lo, hi = edges[k], edges[k + 1]
        emit_fit(
            f"log_k_{k}",
            log_k_rest,
            widened(Fraction(0), Fraction(1), margin, margin),
            widened(1 / hi, 1 / lo, margin, margin),
            f"log K + x + log(2x/pi)/2 in v^2 in [0, 1] (rows) and 1/x, {float(lo)} <= x <= {float(hi)}",
            n=32,
        )
    for part, derivative, name in [
        (0, 0, "k_corner_even_m1"),
        (1, 0, "k_corner_odd"),
        (0, 1, "k_corner_even_y"),
        (1, 1, "k_corner_odd_y"),
    ]:
        emit_fit(
            name,
            k_corner(part, derivative),
            widened(*square, margin, margin),
            (Fraction(0), edges[0] ** 2 / 4),
            "K_mu = even sinh(mu l)/mu - odd cosh(mu l) (_m1: less 1, _y: d/dy), in mu^2 in [0, 1/4] (rows) and "
            "y = x^2/4, x <= 0.09765625",
            m=12,
            tol=1e-19,
        )
    orders = widened(Fraction(0), edges[4], margin, margin)
    emit(
        "lgamma1p",
        fit1(lgamma1p_over, tuple(map(arb_of, orders))),
        "lgamma(1 + v)/v, 0 <= v <= 1.5625",
        [("t", tuple(map(float, orders)))],
    )
    print("}  // namespace telamon::special::tables")
    print("// clang-format on")


if __name__ == "__main__":
    main()
