"""The plain truth about products of functions on the sphere: what `telamon.so3` should return.

Two independent ways, each the readable twin of the function of the same name in `telamon.so3`:

- exact: Wigner 3j symbols as square roots of rationals (integer arithmetic), turned to real harmonics, rounded once;
- grid: functions evaluated on Gauss-Legendre x equidistant nodes, multiplied there, integrated; any degree, float64.

Conventions, those of e3nn: y is the polar axis, theta = acos y, phi = atan2(x, z); component k = l^2 + l + m; no
Condon-Shortley phase: Y_lm = N P_l^|m|(cos theta) {sqrt 2 sin |m| phi, 1, sqrt 2 cos m phi} for m < 0, = 0, > 0.
"component" normalisation, in which everything here is computed, has mean square 1 for each Y_lm.

The bracket is {f, g} = (f_theta g_phi - f_phi g_theta) / sin theta = r . (grad f x grad g): on linear functions
{a.r, b.r} = (a x b).r, so {y, z} = x.

Slow and meant to be: nothing in telamon calls it but tests and benchmarks. It needs NumPy alone.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "analysis",
    "bracket_coefficients",
    "coupling",
    "coupling_tensor",
    "gaunt_coefficients",
    "gaunt_conv",
    "gaunt_monomial",
    "gaunt_power",
    "gaunt_product",
    "minimal_nodes",
    "rotate",
    "spherical_harmonics",
    "spherical_harmonics_grad",
    "synthesis",
    "wigner_3j",
    "wigner_D",
]

Array = Any  # whatever np.asarray takes, and the float64 arrays that come back

# ---------------------------------------------------------------------------------------------------------------------
# Exact couplings. A number +-sqrt(q) with q rational is kept as the Fraction +-q, its "signed square".


def wigner_3j(l1: int, l2: int, l3: int, m1: int, m2: int, m3: int) -> Fraction:
    """Signed square of the Wigner 3j symbol, Racah's sum (DLMF 34.2.4) written with binomial coefficients."""
    a, b, c = l1 + l2 - l3, l1 - l2 + l3, -l1 + l2 + l3
    if m1 + m2 + m3 or min(a, b, c) < 0 or abs(m1) > l1 or abs(m2) > l2 or abs(m3) > l3:
        return Fraction(0)
    total = (-1) ** abs(l1 - l2 - m3) * sum(
        (-1) ** t * math.comb(a, t) * math.comb(b, l1 - m1 - t) * math.comb(c, l2 + m2 - t)
        for t in range(min(a, l1 - m1, l2 + m2) + 1)
    )
    f = math.factorial
    top = math.prod(f(l + m) * f(l - m) for l, m in ((l1, m1), (l2, m2), (l3, m3)))
    return Fraction(total * abs(total) * top, f(l1 + l2 + l3 + 1) * f(a) * f(b) * f(c))


def _complex_parts(m: int) -> list[tuple[int, complex]]:
    """Real Y_m as sum of (m', u): u / sqrt 2 times the complex Y_m' with Condon-Shortley phase; for m = 0 just Y_0."""
    if m == 0:
        return [(0, 1)]
    sign = (-1) ** abs(m)
    return [(m, sign), (-m, 1)] if m > 0 else [(-m, -1j * sign), (m, 1j)]


def coupling(l1: int, l2: int, l3: int, odd: bool = False) -> dict[tuple[int, int, int], Fraction]:
    """Signed squares of the mean over the sphere of Y_1 Y_2 Y_3, or of {Y_1, Y_2} Y_3 if odd, by (m1, m2, m3).

    For complex harmonics (factor sqrt(4 pi) from the normalisation, which is "component"):
      mean Y_1 Y_2 Y_3   = sqrt((2l1+1)(2l2+1)(2l3+1)) 3j(0 0 0) 3j(m1 m2 m3)              (DLMF 34.3.22)
      mean {Y_1, Y_2} Y_3 = i sqrt(l1(l1+1) l2(l2+1)) sqrt((2l1+1)(2l2+1)(2l3+1)) 3j(1 -1 0) 3j(m1 m2 m3) for odd
    l1+l2+l3, since {f, g} = (eth* f  eth g - eth f  eth* g) / 2i with the spin-raising operator eth, and the integral
    of three spin-weighted harmonics is a product of two 3j symbols. The other parity vanishes.
    """
    if (l1 + l2 + l3) % 2 != odd:
        return {}
    if odd:
        common = wigner_3j(l1, l2, l3, 1, -1, 0) * (l1 * (l1 + 1) * l2 * (l2 + 1))
    else:
        common = wigner_3j(l1, l2, l3, 0, 0, 0)
    common *= (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
    result = {}
    for m1, m2 in itertools.product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        for m3 in {s * abs(m1) + t * abs(m2) for s in (1, -1) for t in (1, -1)}:
            # The (at most two) complex terms have 3j symbols of one size, so only their phases add.
            phase, square = 0j, Fraction(0)
            for (n1, u1), (n2, u2), (n3, u3) in itertools.product(*map(_complex_parts, (m1, m2, m3))):
                if term := wigner_3j(l1, l2, l3, n1, n2, n3):
                    phase, square = phase + u1 * u2 * u3 * (1 if term > 0 else -1), abs(term)
            number = int((phase * 1j if odd else phase).real)
            if number and common:
                roots = (m1 != 0) + (m2 != 0) + (m3 != 0)  # of 2
                result[m1, m2, m3] = common * square * number * abs(number) / 2**roots
    return result


def _root(square: Fraction) -> float:
    """The number whose signed square is given, to within half a unit in the last place and 2^-60 of it."""
    n, d = abs(square.numerator), square.denominator
    shift = max(0, 64 - (n.bit_length() - d.bit_length()) // 2)
    return math.copysign(math.ldexp(math.isqrt((n << 2 * shift) // d), -shift), n if square > 0 else -n)


@functools.cache
def _block(l1: int, l2: int, l3: int, odd: bool) -> Array:
    """The couplings of three degrees, rounded. Symmetric in the factors, or antisymmetric if odd: sorted degrees do."""
    degrees = (l1, l2, l3)
    order = sorted(range(3), key=degrees.__getitem__)
    if order != [0, 1, 2]:
        sign = -1.0 if odd and order in ([0, 2, 1], [1, 0, 2], [2, 1, 0]) else 1.0
        return sign * _block(*sorted(degrees), odd).transpose(np.argsort(order))
    block = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for (m1, m2, m3), square in coupling(l1, l2, l3, odd).items():
        block[l1 + m1, l2 + m2, l3 + m3] = _root(square)
    return block


def gaunt_coefficients(l1: int, l2: int, l3: int) -> Array:
    """Integral of Y_1 Y_2 Y_3 over the sphere, orthonormal harmonics: (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    return _block(l1, l2, l3, False) / math.sqrt(4 * math.pi)


def bracket_coefficients(l1: int, l2: int, l3: int) -> Array:
    """Integral of {Y_1, Y_2} Y_3 over the sphere, orthonormal harmonics."""
    return _block(l1, l2, l3, True) / math.sqrt(4 * math.pi)


@functools.cache
def coupling_tensor(lmax1: int, lmax2: int, lmax3: int, odd: bool = False) -> Array:
    """All couplings up to these degrees in component normalisation: (K1, K2, K3), K = (lmax + 1)^2."""
    tensor = np.zeros([(l + 1) ** 2 for l in (lmax1, lmax2, lmax3)])
    for l1, l2 in itertools.product(range(lmax1 + 1), range(lmax2 + 1)):
        for l3 in range(abs(l1 - l2), min(l1 + l2, lmax3) + 1):
            tensor[_degree(l1), _degree(l2), _degree(l3)] = _block(l1, l2, l3, odd)
    tensor.flags.writeable = False  # it is shared
    return tensor


def _degree(l: int) -> slice:
    return slice(l * l, (l + 1) ** 2)


# ---------------------------------------------------------------------------------------------------------------------
# Spherical harmonics


def _lm(lmax: int) -> Iterator[tuple[int, int, int]]:
    """(k, l, m) for every component."""
    return ((l * l + l + m, l, m) for l in range(lmax + 1) for m in range(-l, l + 1))


def _lmax(components: int) -> int:
    lmax = math.isqrt(components) - 1
    if components < 1 or (lmax + 1) ** 2 != components:
        raise ValueError(f"{components} components are no square")
    return lmax


def _legendre(lmax: int, y: Array, rr: Array | float) -> dict[tuple[int, int], Array]:
    """(l, m >= 0): |r|^(l-m) sqrt((2l+1) (l-m)!/(l+m)!) P_l^m(t) / (1 - t^2)^(m/2), t = y/|r|, by recurrence in l."""
    p: dict[tuple[int, int], Array] = {}
    for m in range(lmax + 1):
        p[m, m] = np.ones_like(y) if m == 0 else p[m - 1, m - 1] * math.sqrt((2 * m + 1) / (2 * m))
        for l in range(m + 1, lmax + 1):
            p[l, m] = math.sqrt((4 * l * l - 1) / (l * l - m * m)) * y * p[l - 1, m]
            if l > m + 1:
                b = ((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1) * (4 * l * l - 1) / (l * l - m * m)
                p[l, m] -= math.sqrt(b) * rr * p[l - 2, m]
    return p


def _solid_harmonics(lmax: int, r: Array) -> Array:
    """|r|^l Y_lm(r / |r|), polynomials in r: (..., 3) -> (..., K)."""
    x, y, z = r[..., 0], r[..., 1], r[..., 2]
    cosine, sine = [np.ones_like(x)], [np.zeros_like(x)]  # (z + i x)^m = (|r| sin theta)^m e^(i m phi)
    for _ in range(lmax):
        c, s = cosine[-1], sine[-1]
        cosine.append(c * z - s * x)
        sine.append(s * z + c * x)
    p = _legendre(lmax, y, x * x + y * y + z * z)
    out = np.empty((*x.shape, (lmax + 1) ** 2), r.dtype)
    for k, l, m in _lm(lmax):
        azimuth = math.sqrt(2) * (cosine[m] if m > 0 else sine[-m]) if m else cosine[0]
        out[..., k] = p[l, abs(m)] * azimuth
    return out


def _per_component(lmax: int, normalization: str) -> Array:
    """Y in this normalisation over Y in component normalisation, for each component."""
    l = np.array([l for _, l, _ in _lm(lmax)])
    scales = {"component": 1.0 + 0 * l, "integral": 0 * l + 1 / math.sqrt(4 * math.pi), "norm": 1 / np.sqrt(2 * l + 1)}
    return scales[normalization]


def _harmonics(l: int | Sequence[int], r: Array, normalize: bool, normalization: str) -> Array:
    degrees = [l] if isinstance(l, int) else list(l)
    if normalize:
        norm = np.sqrt((r * r).sum(-1, keepdims=True))
        r = np.divide(r, norm, out=np.zeros_like(r), where=norm != 0)
    every = _solid_harmonics(max(degrees), r) * _per_component(max(degrees), normalization)
    return np.concatenate([every[..., _degree(d)] for d in degrees], -1)


def spherical_harmonics(
    l: int | Sequence[int], r: Array, normalize: bool = True, normalization: str = "component"
) -> Array:
    return _harmonics(l, np.asarray(r, np.float64), normalize, normalization)


def spherical_harmonics_grad(
    l: int | Sequence[int], r: Array, normalize: bool = True, normalization: str = "component"
) -> Array:
    """(..., 3, components): the imaginary part at r + i h e over h, with h too small for rounding and truncation."""
    h = 1e-200
    r = np.asarray(r, np.float64)
    return np.stack([_harmonics(l, r + 1j * h * e, normalize, normalization).imag / h for e in np.eye(3)], -2)


# ---------------------------------------------------------------------------------------------------------------------
# The grid: n_theta Gauss-Legendre nodes in cos theta times n_phi equidistant phi_j = 2 pi (j + 1/2) / n_phi


class _Tables(NamedTuple):
    p: Array  # (2 lmax + 1, n_theta, lmax + 1): Legendre functions by (m, node, l)
    p_theta: Array  # their derivatives
    azimuth: Array  # (n_phi, 2 lmax + 1): sqrt 2 sin |m| phi, 1, sqrt 2 cos m phi
    azimuth_phi: Array
    sine: Array  # (n_theta, 1, 1)
    weight: Array  # (n_theta,): of the mean over the sphere


def _gauss_legendre(n: int) -> tuple[Array, Array]:
    """Nodes and weights, to the precision of long double by Newton's steps: next to a pole, where cos theta says little
    of theta, doubles would cost two digits at degree 64."""
    t: Array = np.polynomial.legendre.leggauss(n)[0].astype(np.longdouble)
    for _ in range(3):
        before, value = np.ones_like(t), t
        for l in range(2, n + 1):
            before, value = value, ((2 * l - 1) * t * value - (l - 1) * before) / l
        slope = n * (before - t * value) / ((1 - t) * (1 + t))
        t = t - value / slope
    return t, 2 / ((1 - t) * (1 + t) * slope * slope)


@functools.lru_cache(8)
def _tables(lmax: int, n_theta: int, n_phi: int) -> _Tables:
    t, weight = _gauss_legendre(n_theta)
    s = np.sqrt((1 - t) * (1 + t))
    q = {(l, m): value * s**m for (l, m), value in _legendre(lmax, t, 1.0).items()}
    p, p_theta = np.zeros((2, 2 * lmax + 1, n_theta, lmax + 1))
    for _, l, m in _lm(lmax):
        a = abs(m)
        p[m + lmax, :, l] = q[l, a]
        # dP_l^m/dtheta = m cot theta P_l^m - P_l^(m+1) (DLMF 14.10.4), in the normalisation of _legendre
        above = math.sqrt((l - a) * (l + a + 1)) * q[l, a + 1] if a < l else 0.0
        p_theta[m + lmax, :, l] = a * t / s * q[l, a] - above
    orders = np.arange(-lmax, lmax + 1)
    angle = np.multiply.outer(2 * np.pi * (np.arange(n_phi) + 0.5) / n_phi, orders)
    azimuth = np.where(orders == 0, 1.0, math.sqrt(2) * np.where(orders < 0, -np.sin(angle), np.cos(angle)))
    azimuth_phi = math.sqrt(2) * orders * np.where(orders < 0, -np.cos(angle), -np.sin(angle))
    return _Tables(p, p_theta, azimuth, azimuth_phi, s[:, None, None].astype(float), (weight / 2).astype(float))


def minimal_nodes(degree: int) -> tuple[int, int]:
    """(n_theta, n_phi), the fewest that integrate every polynomial of this degree on the sphere exactly."""
    return degree // 2 + 1, degree + 1


def synthesis(x: Array, n_theta: int, n_phi: int, derivative: str = "") -> Array:
    """sum_k x_k Y_k at the nodes, or its derivative by "theta" or "phi": (..., K, C) -> (..., n_theta, n_phi, C)."""
    x = np.asarray(x, np.float64)
    lmax = _lmax(x.shape[-2])
    tables = _tables(lmax, n_theta, n_phi)
    triangle = np.zeros((*x.shape[:-2], 2 * lmax + 1, lmax + 1, x.shape[-1]))
    for k, l, m in _lm(lmax):
        triangle[..., m + lmax, l, :] = x[..., k, :]
    rows = (tables.p_theta if derivative == "theta" else tables.p) @ triangle
    azimuth = tables.azimuth_phi if derivative == "phi" else tables.azimuth
    return np.einsum("pm,...mtc->...tpc", azimuth, rows, optimize=True)


def analysis(values: Array, lmax: int) -> Array:
    """mean over the sphere of the function times each Y_k: (..., n_theta, n_phi, C) -> (..., K, C)."""
    values = np.asarray(values, np.float64)
    n_theta, n_phi = values.shape[-3:-1]
    tables = _tables(lmax, n_theta, n_phi)
    rows = np.einsum("pm,...tpc->...mtc", tables.azimuth / n_phi, values, optimize=True)
    triangle = tables.p.transpose(0, 2, 1) @ (rows * tables.weight[:, None])
    out = np.empty((*values.shape[:-3], (lmax + 1) ** 2, values.shape[-1]))
    for k, l, m in _lm(lmax):
        out[..., k, :] = triangle[..., m + lmax, l, :]
    return out


def _grid_product(x: Array, y: Array, lmax_out: int, odd: bool, nodes: tuple[int, int] | None) -> Array:
    nodes = nodes or minimal_nodes(_lmax(x.shape[-2]) + _lmax(y.shape[-2]) + lmax_out)
    if not odd:
        return analysis(synthesis(x, *nodes) * synthesis(y, *nodes), lmax_out)
    x_theta, x_phi = synthesis(x, *nodes, "theta"), synthesis(x, *nodes, "phi")
    y_theta, y_phi = synthesis(y, *nodes, "theta"), synthesis(y, *nodes, "phi")
    sine = _tables(_lmax(x.shape[-2]), *nodes).sine
    return analysis((x_theta * y_phi - x_phi * y_theta) / sine, lmax_out)


def _exact_product(x: Array, y: Array, lmax_out: int, odd: bool) -> Array:
    tensor = coupling_tensor(_lmax(x.shape[-2]), _lmax(y.shape[-2]), lmax_out, odd)
    return np.einsum("...cjk,...jc->...kc", np.tensordot(x, tensor, axes=(-2, 0)), y)


# ---------------------------------------------------------------------------------------------------------------------
# Twins of the functions of telamon.so3


def _channels_last(x: Array, layout: str) -> Array:
    x = np.asarray(x, np.float64)
    return x if layout == "channels_last" else np.swapaxes(x, -1, -2)


def _weighted(x: Array, weight: Array | None, rank: int) -> Array:
    """Components times the weight of their degree; weight (l+1,), (l+1, C or 1) or (R, l+1, C or 1)."""
    if weight is None:
        return x
    weight = np.asarray(weight, np.float64)
    weight = weight[:, None] if weight.ndim == 1 else weight[rank] if weight.ndim == 3 else weight
    degrees = [l for _, l, _ in _lm(len(weight) - 1)]
    return x * weight[degrees]


def gaunt_product(
    x: Array,
    y: Array,
    lmax_out: int | None = None,
    *,
    weights: Sequence[Array | None] | None = None,
    parity: str = "even",
    group: str = "O3",
    normalization: str = "component",
    layout: str = "channels_last",
    method: str = "exact",
    nodes: tuple[int, int] | None = None,
) -> Any:
    """sum_r w3_r A[S(w1_r x) S(w2_r y)]; method "exact" or "grid", the latter with any number of nodes."""
    x, y = _channels_last(x, layout), _channels_last(y, layout)
    l1, l2 = _lmax(x.shape[-2]), _lmax(y.shape[-2])
    l3 = max(l1, l2) if lmax_out is None else lmax_out
    s1, s2, s3 = (_per_component(l, normalization)[:, None] for l in (l1, l2, l3))
    w1, w2, w3 = weights if weights is not None else (None, None, None)
    rank = max([len(w) for w in map(np.asarray, (w1, w2, w3)) if w.ndim == 3], default=1)

    def product(odd: bool) -> Array:
        def one(r: int) -> Array:
            a, b = _weighted(x * s1, w1, r), _weighted(y * s2, w2, r)
            z = _exact_product(a, b, l3, odd) if method == "exact" else _grid_product(a, b, l3, odd, nodes)
            return _weighted(z / s3, w3, r)

        z = sum((one(r) for r in range(1, rank)), one(0))
        return z if layout == "channels_last" else np.swapaxes(z, -1, -2)

    if parity == "even":
        return product(False)
    return (product(False), product(True)) if group == "O3" else product(False) + product(True)


def gaunt_monomial(
    factors: Sequence[Array],
    powers: Sequence[int],
    lmax_out: int | None = None,
    *,
    normalization: str = "component",
    layout: str = "channels_last",
    nodes: tuple[int, int] | None = None,
) -> Array:
    """A[prod_i S(x_i)^p_i] on a grid."""
    arrays = [_channels_last(x, layout) for x in factors]
    degrees = [_lmax(x.shape[-2]) for x in arrays]
    l3 = max(degrees) if lmax_out is None else lmax_out
    nodes = nodes or minimal_nodes(sum(l * p for l, p in zip(degrees, powers, strict=True)) + l3)
    values: Any = 1.0
    for x, l, p in zip(arrays, degrees, powers, strict=True):
        values = values * synthesis(x * _per_component(l, normalization)[:, None], *nodes) ** p
    z = analysis(values, l3) / _per_component(l3, normalization)[:, None]
    return z if layout == "channels_last" else np.swapaxes(z, -1, -2)


def gaunt_power(x: Array, n: int, lmax_out: int | None = None, **options: Any) -> Array:
    return gaunt_monomial([x], [n], lmax_out, **options)


def gaunt_conv(
    x: Array,
    directions: Array,
    filter_weights: Array | None = None,
    lmax_out: int | None = None,
    *,
    lmax_filter: int | None = None,
    senders: Array | None = None,
    receivers: Array | None = None,
    num_receivers: int = 0,
    normalization: str = "component",
    layout: str = "channels_last",
    method: str = "exact",
) -> Array:
    """z_e = gaunt_product(x[senders_e], w_e Y(direction_e)), summed over the edges of each receiver, edge by edge.

    The filter's degree and that of the result are those of x unless given.
    """
    x = _channels_last(x, layout)
    l1 = _lmax(x.shape[-2])
    if senders is not None:
        x = x[np.asarray(senders, np.int64)]
    directions = np.asarray(directions, np.float64)
    if filter_weights is None:
        filter_weights = np.ones((l1 if lmax_filter is None else lmax_filter) + 1)
    w = np.asarray(filter_weights, np.float64)
    w = np.broadcast_to(w, (len(directions), len(w)))[..., None] if w.ndim == 1 else w[..., None] if w.ndim == 2 else w
    l2 = w.shape[1] - 1
    y = spherical_harmonics(range(l2 + 1), directions, True, normalization)[..., None]
    y = y * w[:, [l for _, l, _ in _lm(l2)]]
    z = gaunt_product(x, y, l1 if lmax_out is None else lmax_out, normalization=normalization, method=method)
    if receivers is not None:
        edges, z = z, np.zeros((num_receivers, *z.shape[1:]))
        for receiver, edge in zip(np.asarray(receivers, np.int64), edges, strict=True):
            z[receiver] += edge
    return z if layout == "channels_last" else np.swapaxes(z, -1, -2)


def wigner_D(l: int, R: Array) -> Array:
    """D with Y(R r) = D Y(r): the mean over the sphere of Y(R r) Y(r)^T, by a rule exact for degree 2 l."""
    R = np.asarray(R, np.float64)
    n_theta, n_phi = minimal_nodes(2 * l)
    t, weight = (a.astype(np.float64) for a in _gauss_legendre(n_theta))
    phi = 2 * np.pi * np.arange(n_phi) / n_phi
    s = np.sqrt((1 - t) * (1 + t))
    nodes = np.stack(np.broadcast_arrays(np.outer(s, np.sin(phi)), t[:, None], np.outer(s, np.cos(phi))), -1)
    nodes, weight = nodes.reshape(-1, 3), np.repeat(weight / 2 / n_phi, n_phi)
    before = spherical_harmonics(l, nodes)
    after = spherical_harmonics(l, np.einsum("...ab,nb->...na", R, nodes))
    return np.einsum("n,...ni,nj->...ij", weight, after, before, optimize=True)


def rotate(x: Array, R: Array, *, layout: str = "channels_last") -> Array:
    """D x, degree by degree: the function r -> f(R^-1 r)."""
    x = _channels_last(x, layout)
    blocks = [wigner_D(l, R) @ x[..., _degree(l), :] for l in range(_lmax(x.shape[-2]) + 1)]
    z = np.concatenate(blocks, -2)
    return z if layout == "channels_last" else np.swapaxes(z, -1, -2)
