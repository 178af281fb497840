"""The Matern covariance of any smoothness, with derivatives in the smoothness, the length scale and the distance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from telamon import special

from . import _debye, _validation
from ._validation import Array

_BLOCK = 1 << 16


class MaternGradient(NamedTuple):
    """What `matern_grad` returns: arrays of one shape and dtype."""

    value: Array
    dnu: Array
    dlength_scale: Array
    dr: Array


def _digamma(x: Array) -> Array:
    """psi(x), 0 < x <= 2.5: DLMF 5.5.2 up to x >= 12, then 5.11.2."""
    shift = np.zeros_like(x)
    for j in range(12):
        shift = shift + 1 / (x + j)
    y = 1 / (x + 12) ** 2
    tail = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * 691 / 32760)))))
    psi: Array = np.log(x + 12) - 0.5 / (x + 12) - tail - shift
    return psi


def _low_order(nu: Array, s: Array, gradient: bool) -> tuple[Array, Array]:
    """log M and, with `gradient`, its derivative in nu at fixed s; nu < 50, s > 0.

    M_b(z) with b = nu - n in (0, 2.5] comes from log K_b; then n steps of the recurrence 10.29.1, which reads
    M_{nu+1} = M_nu + z^2 / (4 nu (nu - 1)) M_{nu-1} and has positive terms. It runs on rho = M_nu / M_{nu-1}, which
    cannot underflow.
    """
    steps = np.maximum(np.ceil(nu - 2.5), 0.0)
    base = nu - steps
    z = np.sqrt(2 * nu) * s
    log_z = np.log(z)
    log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])(base)
    log_m = (1 - base) * math.log(2) - log_gamma + base * log_z - z + special.log_kve(base, z)
    slope = np.zeros_like(z)
    if gradient:
        dv = special.log_kv_dv(base, z)
        slope = dv + log_z - (math.log(2) + _digamma(base))
    if steps.any():
        start = np.where(steps > 0, base, 2.0)
        rho = z * special.kv_ratio(start, z) / (2 * (start - 1))
        rho_slope = np.zeros_like(z)  # of log rho
        if gradient:
            rho_slope = dv - special.log_kv_dv(start - 1, z) - 1 / (start - 1)
        for i in range(int(steps.max())):
            order = start + i
            product = order * (order - 1)
            part = 0.25 * z * (z / product) / rho
            rho = 1 + part
            active = i < steps
            log_m = np.where(active, log_m + np.log1p(part), log_m)
            if gradient:
                rho_slope = -(part / rho) * ((2 * order - 1) / product + rho_slope)
                slope = np.where(active, slope + rho_slope, slope)
    if gradient:
        slope = slope - z / (2 * nu * special.kv_ratio(nu, z))
    return log_m, slope


def _high_order(nu: Array, s: Array, gradient: bool) -> tuple[Array, Array]:
    """The same for nu >= 50, from Debye's expansion less its limit at s = 0; nu = inf is the Gaussian."""
    a = s * np.sqrt(2 / nu)
    tau = np.hypot(1.0, a)
    u = 0.5 * a * (a / (1 + tau))
    finite = np.where(np.isinf(nu), 1.0, nu)
    log_m = finite * (_debye.log1pmx(u) - u) - 0.5 * np.log1p(2 * u) + _debye.difference(finite, u, -1)
    slope = _debye.log1pmx(u) + u / tau * ((1 + u) / tau) / finite
    if gradient:
        slope = slope + _debye.difference_dorder(finite, u, -1)
    gaussian = np.isinf(nu)
    return np.where(gaussian, -0.5 * s * s, log_m), np.where(gaussian, 0.0, slope)


def _block(nu: Array, s: Array, gradient: bool) -> tuple[Array, ...]:
    """M, dM/dnu and dM/ds for one block of distances s; nu has the shape of s or (1,)."""
    inner = (s > 0) & (s < 1e150)
    x = np.where(inner, s, 1.0)
    high = nu >= _debye.MIN_ORDER
    low_nu = np.where(high, 1.0, nu)
    log_m, slope = np.zeros_like(x), np.zeros_like(x)
    with np.errstate(over="ignore"):
        if not high.all():
            log_m, slope = _low_order(low_nu, x, gradient)
        if high.any():
            high_log, high_slope = _high_order(np.where(high, nu, 100.0), x, gradient)
            log_m, slope = np.where(high, high_log, log_m), np.where(high, high_slope, slope)
    value = np.exp(log_m)
    if not gradient:
        return (np.where(inner, value, s == 0),)
    finite = np.where(np.isinf(nu), 1.0, nu)
    root = np.sqrt(2 * finite)
    ds = np.where(np.isinf(nu), -x, -root / special.kv_ratio(finite, root * x))
    # at s = 0 the slope is 0 for nu > 1/2, -1 for the exponential covariance and -inf below
    at_zero = np.where(nu > 0.5, 0.0, np.where(nu == 0.5, -1.0, -np.inf))
    outer = np.where(s == 0, at_zero, 0.0)
    return np.where(inner, value, s == 0), np.where(inner, value * slope, 0.0), np.where(inner, value * ds, outer)


def _positive(value: ArrayLike, name: str, allow_zero: bool = False, allow_inf: bool = False) -> Array:
    array = _validation.real_array(value, name)
    good = (array >= 0 if allow_zero else array > 0) & ((array < np.inf) | allow_inf)
    if not good.all():
        sign = "non-negative" if allow_zero else "positive"
        bad = array[~good].flat[0] if array.ndim else array
        raise ValueError(f"'{name}' must be {sign}{'' if allow_inf else ' and finite'}, got {bad}.")
    return array.astype(np.float64, copy=False)


def _evaluate(r: ArrayLike, nu: ArrayLike, length_scale: ArrayLike, variance: ArrayLike, gradient: bool) -> list[Any]:
    arrays = (
        _positive(r, "r", allow_zero=True, allow_inf=True),
        _positive(nu, "nu", allow_inf=True),
        _positive(length_scale, "length_scale"),
        _positive(variance, "variance", allow_zero=True),
    )
    given = (r, nu, length_scale, variance)
    common = np.result_type(*(value if isinstance(value, (int, float)) else np.asarray(value) for value in given))
    dtype = np.float32 if common in (np.float32, np.float16) else np.float64
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(
            f"'r', 'nu', 'length_scale', 'variance' do not broadcast; their shapes are {shapes}."
        ) from None

    def flat(array: Array) -> Array:
        return array.reshape(1) if array.size == 1 else np.broadcast_to(array, shape).reshape(-1)

    def part(array: Array, block: slice) -> Array:
        return array if array.size == 1 else array[block]

    size = math.prod(shape)
    distance, order, lengths, variances = (flat(array) for array in arrays)
    out = [np.empty(size, dtype) for _ in range(4 if gradient else 1)]
    for block in _validation.chunks(size, 1, _BLOCK):
        n, length, scale = (part(array, block) for array in (order, lengths, variances))
        with np.errstate(over="ignore"):
            s = np.broadcast_to(part(distance, block) / length, (block.stop - block.start,))
        results = _block(n, s, gradient)
        out[0][block] = scale * results[0]
        if gradient:
            _, dnu, ds = results
            out[1][block] = scale * dnu
            inner = (s > 0) & (s < np.inf)
            out[2][block] = scale * np.where(inner, s, 0.0) * np.where(inner, -ds, 0.0) / length
            out[3][block] = scale * ds / length
    return [array.reshape(shape)[()] for array in out]


def matern(r: ArrayLike, nu: ArrayLike, length_scale: ArrayLike = 1.0, variance: ArrayLike = 1.0) -> Any:
    r"""Matern covariance of any smoothness.

    .. math:: k(r) = \sigma^2 \frac{2^{1-\nu}}{\Gamma(\nu)} z^\nu K_\nu(z), \qquad z = \sqrt{2\nu}\, r / \ell

    with the exponential covariance at nu = 1/2 and ``variance * exp(-r^2 / (2 l^2))`` at nu = inf. The factors are
    combined in logarithms, so nothing overflows, and for nu >= 50 by the difference of Debye's uniform expansion and
    its limit at r = 0, so nothing cancels.

    Parameters
    ----------
    r : array_like of real numbers
        Distances, >= 0; inf gives 0.
    nu : array_like
        Smoothness, > 0; inf allowed.
    length_scale : array_like
        l, > 0.
    variance : array_like
        sigma^2, >= 0, the value at r = 0. All four broadcast.

    Returns
    -------
    ndarray or scalar
        float32 if every array given is float32, else float64. Computed in float64.

    Raises
    ------
    ValueError
        If an argument is not real, is NaN or outside its range, or the shapes do not broadcast; the message names it.

    Notes
    -----
    Relative error against balls of 90 bits, nu = 1e-3 .. 1e6 and r / l = 1e-10 .. 1e3: within
    ``1e-14 max(1, |log(k / variance)|)``; the last factor is the conditioning of the exponential.

    References
    ----------
    .. [1] M. L. Stein, Interpolation of Spatial Data: Some Theory for Kriging, Springer, 1999.
    .. [2] NIST Digital Library of Mathematical Functions, 10.25, 10.29 and 10.41, https://dlmf.nist.gov/10.25

    Examples
    --------
    >>> from telamon.stats import matern
    >>> matern([0.0, 1.0, 2.0], nu=1.5).round(6).tolist()
    [1.0, 0.483358, 0.139731]
    """
    return _evaluate(r, nu, length_scale, variance, False)[0]


def matern_grad(
    r: ArrayLike, nu: ArrayLike, length_scale: ArrayLike = 1.0, variance: ArrayLike = 1.0
) -> MaternGradient:
    r"""`matern` together with its derivatives in nu, length_scale and r.

    .. math:: \frac{\partial k}{\partial r} = -\frac{\sqrt{2\nu}}{\ell} \frac{K_{\nu-1}(z)}{K_\nu(z)} k, \qquad
              \frac{\partial k}{\partial \ell} = -\frac{r}{\ell} \frac{\partial k}{\partial r}

    and the derivative in nu from that of log K in the order, or for nu >= 50 from the differentiated expansion.

    Parameters
    ----------
    r, nu, length_scale, variance
        As in `matern`.

    Returns
    -------
    MaternGradient
        ``(value, dnu, dlength_scale, dr)``. At r = 0: dnu = dlength_scale = 0, and dr is the limit from the right: 0
        for nu > 1/2, -variance / l at nu = 1/2, -inf below. At nu = inf, dnu = 0.

    Raises
    ------
    ValueError
        As in `matern`.

    Notes
    -----
    The derivative in nu has an error within 1e-13 of ``variance`` for nu < 50, and is relatively accurate above.
    """
    return MaternGradient(*_evaluate(r, nu, length_scale, variance, True))


def matern_kernel(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    nu: float = 1.5,
    length_scale: ArrayLike = 1.0,
    variance: float = 1.0,
) -> Array:
    """Matern covariance matrix between the rows of `x` and the rows of `y`.

    Distances are summed from differences of coordinates, so they are accurate between close points.

    Parameters
    ----------
    x : array_like, shape (n, d)
    y : array_like, shape (m, d), optional
        Default `x`.
    nu, variance : float
        As in `matern`.
    length_scale : float or array_like, shape (d,)
        One for all coordinates, or one for each.

    Returns
    -------
    ndarray, shape (n, m)
        float32 if `x` and `y` are float32, else float64.

    Raises
    ------
    ValueError
        As in `matern`, and if `x` or `y` is not a matrix, holds NaN or infinity, or their widths differ.
    """
    x = _validation.real_array(x, "x")
    y = x if y is None else _validation.real_array(y, "y")
    for array, name in ((x, "x"), (y, "y")):
        if array.ndim != 2:
            raise ValueError(f"'{name}' must be two dimensional, got shape {array.shape}.")
        _validation.require_finite(array, name)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"'x' and 'y' must have the same number of columns, got {x.shape[1]} and {y.shape[1]}.")
    scales = _positive(length_scale, "length_scale")
    if scales.ndim > 1 or scales.size not in (1, x.shape[1]):
        raise ValueError(f"'length_scale' must be a number or have {x.shape[1]} entries, got shape {scales.shape}.")
    square = np.zeros((len(x), len(y)))
    for column, other, scale in zip(x.T, y.T, np.broadcast_to(scales, (x.shape[1],)), strict=True):
        difference = np.subtract.outer(column.astype(np.float64) / scale, other.astype(np.float64) / scale)
        difference *= difference
        square += difference
    distance = np.sqrt(square, out=square)
    if np.result_type(x, y) == np.float32:
        distance = distance.astype(np.float32)
    covariance: Array = matern(distance, nu, 1.0, variance)
    return covariance
