"""Spherical harmonics, their gradients, and rotations of coefficients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._so3_shapes import LAYOUTS, NORMALIZATIONS, choice, degree_scales, lmax_of, sh_degrees, whole
from ._arrays import FloatArray, aligned, as_features, as_float, broadcast_leading, flat

__all__ = ["GradientTable", "gradient_table", "rotate", "spherical_harmonics", "spherical_harmonics_grad", "wigner_D"]

_CHUNK = 1 << 16  #: elements of a work array, 512 KiB in float64
_ORTHOGONAL = 1e-4  #: max |R^T R - 1| up to which R counts as a rounded orthogonal matrix


def spherical_harmonics(
    l: int | Sequence[int], r: ArrayLike, normalize: bool = True, normalization: str = "component"
) -> NDArray[Any]:
    r"""Real spherical harmonics :math:`Y_{lm}(r/|r|)`, in e3nn's convention.

    With y the polar axis, :math:`\theta = \arccos(y/|r|)` and :math:`\phi = \operatorname{atan2}(x, z)`,

    .. math:: Y_{lm} = \sqrt{(2l+1) \tfrac{(l-|m|)!}{(l+|m|)!}}\, P_l^{|m|}(\cos\theta)
              \{\sqrt2 \sin|m|\phi,\ 1,\ \sqrt2 \cos m\phi\} \quad\text{for } m < 0,\ = 0,\ > 0,

    without the Condon-Shortley phase: :math:`Y_1 = \sqrt3\,(x, y, z)/|r|`.

    Parameters
    ----------
    l : int or sequence of int
        The degree, or degrees, whose components stand one after the other in the order given. Any degree up to 800.
    r : array (..., 3)
        Vectors x, y, z. float32 or float64.
    normalize : bool
        False leaves the length: the solid harmonics :math:`|r|^l Y_{lm}(r/|r|)`, homogeneous polynomials in x, y, z.
    normalization : {"component", "integral", "norm"}
        Mean square 1 over the sphere, as above; orthonormal on the sphere; or :math:`\sum_m Y_{lm}^2 = 1`.

    Returns
    -------
    array (..., sum of 2l + 1)
        Of the dtype of r. The error is at most :math:`(1.5 + l/12)\,\epsilon \max|Y_l|` in float64 up to degree 64, and
        one rounding in float32; r/\|r\| is not rounded on the way, and lengths from the smallest number to the largest
        are taken as they are. Where r = 0, degree 0 has its constant and the others are 0.

    Raises
    ------
    TypeError
        If r is neither float32 nor float64, or l is no int.
    ValueError
        If r is not of shape (..., 3), a degree is negative, or normalization is unknown.

    Notes
    -----
    DLMF 14.10.3, rewritten for the poles; the head of ``telamon/so3/harmonics.hpp`` has the recurrence.

    Examples
    --------
    >>> spherical_harmonics(1, np.array([0.0, 2.0, 0.0]), normalization="norm")
    array([0., 1., 0.])
    """
    where = "telamon.so3.spherical_harmonics"
    degrees = sh_degrees(where, l)
    choice(where, "normalization", normalization, NORMALIZATIONS)
    vectors, lead = _vectors(where, r)
    lmax = max(degrees)
    out = np.empty((len(vectors), _size(degrees)), vectors.dtype)
    if degrees == list(range(lmax + 1)):
        _core.so3_harmonics(vectors, out, normalize=bool(normalize))
    else:
        columns = _columns(degrees)
        for rows in _chunks(len(vectors), (lmax + 1) ** 2):
            work = np.empty((rows.stop - rows.start, (lmax + 1) ** 2), vectors.dtype)
            _core.so3_harmonics(vectors[rows], work, normalize=bool(normalize))
            np.take(work, columns, axis=1, out=out[rows], mode="clip")  # "clip" writes to `out` without a buffer
    scales = _scales(degrees, normalization)
    if scales is not None:
        out *= scales.astype(out.dtype)
    return out.reshape(*lead, out.shape[1])


def spherical_harmonics_grad(
    l: int | Sequence[int], r: ArrayLike, normalize: bool = True, normalization: str = "component"
) -> NDArray[Any]:
    r"""Derivatives of `spherical_harmonics` in x, y and z.

    The gradient of a solid harmonic is made of solid harmonics of the degree below (`gradient_table`), and

    .. math:: \nabla Y_l(r/|r|) = \frac1{|r|} \left( (\nabla S_l)(u) - l\, u\, Y_l(u) \right), \qquad u = r/|r|,

    where :math:`S_l(r) = |r|^l Y_l(r/|r|)`.

    Parameters
    ----------
    l, r, normalize, normalization
        As in `spherical_harmonics`.

    Returns
    -------
    array (..., 3, sum of 2l + 1)
        Of the dtype of r, computed in float64. The error is at most :math:`(4 + l/4)\,\epsilon\, l \max|Y_l|/|r|`.
        With normalize=True there is no derivative at r = 0; the result there is 0.

    Raises
    ------
    TypeError, ValueError
        As `spherical_harmonics`.

    Examples
    --------
    >>> spherical_harmonics_grad(1, np.array([1.0, 2.0, 3.0]), normalize=False, normalization="norm")
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    where = "telamon.so3.spherical_harmonics_grad"
    degrees = sh_degrees(where, l)
    choice(where, "normalization", normalization, NORMALIZATIONS)
    vectors, lead = _vectors(where, r)
    lmax = max(degrees)
    columns, every = _columns(degrees), (lmax + 1) ** 2
    degree = np.repeat(degrees, [2 * d + 1 for d in degrees])
    source, value = (part[..., columns] for part in gradient_table(lmax))
    scales = _scales(degrees, normalization)
    if scales is not None:
        value = value * scales
    out = np.empty((len(vectors), 3, len(columns)), vectors.dtype)
    for rows in _chunks(len(vectors), 4 * every):
        work = np.empty((every, rows.stop - rows.start))  # samples last, so that components are picked row by row
        part = vectors[rows].astype(np.float64)
        _core.so3_harmonics(part, work.T, normalize=bool(normalize))
        with np.errstate(all="ignore"):  # vectors of NaN and infinity give NaN
            gradient = work[source[0]] * value[0, :, :, None] + work[source[1]] * value[1, :, :, None]
            if normalize:
                unit, length = _unit(part.T)
                radial = work[columns] * (degree if scales is None else degree * scales)[:, None]
                gradient -= unit[:, None, :] * radial
                gradient /= length
            out[rows] = gradient.transpose(2, 0, 1)
    return out.reshape(*lead, 3, len(columns))


class GradientTable(NamedTuple):
    """Derivatives of solid harmonics as sums of two solid harmonics, each array (2, 3, (lmax + 1)^2).

    ``dS[k]/dr[axis] = value[0, axis, k] S[source[0, axis, k]] + value[1, axis, k] S[source[1, axis, k]]``, axis 0, 1, 2
    for x, y, z. Where there are fewer terms, value is 0 and source is 0.
    """

    source: NDArray[np.int64]
    value: NDArray[np.float64]


def gradient_table(lmax: int) -> GradientTable:
    r"""How solid harmonics :math:`S_{lm}(r) = |r|^l Y_{lm}(r/|r|)` differentiate: into those of degree l - 1.

    With complex :math:`R_{lm} = |r|^l P_l^m(\cos\theta) e^{im\phi}`, which is a polynomial, m >= 0 and no
    Condon-Shortley phase,

    .. math:: \partial_y R_{lm} = (l+m) R_{l-1,m}, \quad
              (\partial_z + i\partial_x) R_{lm} = -R_{l-1,m+1}, \quad
              (\partial_z - i\partial_x) R_{lm} = (l+m)(l+m-1) R_{l-1,m-1}.

    Second derivatives are the table applied twice, and so on.

    Parameters
    ----------
    lmax : int
        The highest degree.

    Returns
    -------
    GradientTable
        For "component" normalisation. For others, multiply `value` by what Y of component k is multiplied by, and
        divide by that of its source.

    Raises
    ------
    TypeError, ValueError
        If lmax is no int, or negative.

    Examples
    --------
    >>> gradient_table(1).value[0, 0] ** 2                              # d/dx of 1, sqrt(3) x, sqrt(3) y, sqrt(3) z
    array([0., 3., 0., 0.])
    """
    lmax = whole("telamon.so3.gradient_table", "lmax", lmax, 0)
    k = np.arange((lmax + 1) ** 2)
    l = np.sqrt(k + 0.5).astype(np.int64)
    m = k - l * (l + 1)
    p, cosine = np.abs(m), m >= 0
    ratio = (2 * l + 1) / np.maximum(2 * l - 1, 1)  # degree 0 has no terms anyhow
    # Towards |m| - 1 and |m| + 1: of the same kind, sine or cosine, under d/dz, of the other under d/dx. sqrt(2) comes
    # in where m = 0 is left or reached; there is no sine of m = 0.
    along = np.sqrt(ratio * (l - p) * (l + p))
    down = 0.5 * np.sqrt(ratio * (l + p) * (l + p - 1) * np.where(p == 1, 2, 1)) * (p > 0)
    up = 0.5 * np.sqrt(ratio * (l - p) * (l - p - 1) * np.where(p == 0, 2, 1))
    zero = np.zeros_like(up)
    to = np.array(
        [
            [np.where(cosine, 1 - p, p - 1), m, np.where(cosine, p - 1, 1 - p)],
            [np.where(cosine, -p - 1, p + 1), m, np.where(cosine, p + 1, -p - 1)],
        ]
    )
    value = np.array(
        [
            [np.where(cosine, -down * (p > 1), down), along, np.where(cosine, down, down * (p > 1))],
            [np.where(cosine, -up, up), zero, -up],
        ]
    )
    source = np.where(value == 0, 0, (l - 1) * l + to)
    return GradientTable(source, value + 0.0)  # no -0


def wigner_D(l: int, R: ArrayLike) -> NDArray[Any]:
    r"""The matrix of a rotation in degree l: :math:`Y_l(R r) = D^l(R)\, Y_l(r)`, in any normalisation.

    :math:`D^1 = R` and :math:`D^l(R_1 R_2) = D^l(R_1) D^l(R_2)`. Improper R, of determinant -1, act with the parity of
    spherical harmonics: :math:`D^l(-1) = (-1)^l`. There are no Euler angles, so no rotation is singular.

    Parameters
    ----------
    l : int
        The degree.
    R : array (..., 3, 3)
        Orthogonal matrices acting on (x, y, z). float32 or float64. Deviations up to 1e-4 are taken for rounding: the
        nearest orthogonal matrix is used.

    Returns
    -------
    array (..., 2l + 1, 2l + 1)
        Of the dtype of R. Errors of at most :math:`(2 + l)\,\epsilon` in float64 and one rounding in float32, for the
        nearest orthogonal matrix.

    Raises
    ------
    TypeError
        If R is neither float32 nor float64, or l is no int.
    ValueError
        If R is not of shape (..., 3, 3) or not orthogonal, or l is negative.

    Notes
    -----
    Recursion in l with the coefficients of J. Ivanic and K. Ruedenberg, J. Phys. Chem. 100 (1996) 6342 and A 102 (1998)
    9099, applied to both sides, which is what keeps it accurate at high degrees.

    Examples
    --------
    >>> wigner_D(1, np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    array([[ 0., -1.,  0.],
           [ 1.,  0.,  0.],
           [ 0.,  0.,  1.]])
    """
    where = "telamon.so3.wigner_D"
    l = whole(where, "l", l, 0)
    rotations = _rotations(where, R)
    lead = rotations.shape[:-2]
    out = np.empty((math.prod(lead), 2 * l + 1, 2 * l + 1), rotations.dtype)
    _core.so3_wigner(np.ascontiguousarray(rotations.reshape(len(out), 3, 3)), out, l)
    return out.reshape(*lead, 2 * l + 1, 2 * l + 1)


def rotate(x: ArrayLike, R: ArrayLike, *, layout: str = "channels_last") -> NDArray[Any]:
    r"""Coefficients of the rotated function :math:`r \mapsto f(R^{-1} r)`: :math:`D(R)\,x`, degree by degree.

    Parameters
    ----------
    x : array (..., (lmax + 1)^2, C)
        Coefficients of degrees 0 to lmax. float32 or float64.
    R : array (..., 3, 3)
        Orthogonal matrices, as in `wigner_D`. Leading dimensions broadcast with those of x; samples that follow each
        other with the same matrix share the work of making D.
    layout : {"channels_last", "channels_first"}
        "channels_first" takes and gives (..., C, components).

    Returns
    -------
    array (..., (lmax + 1)^2, C)
        Of the promoted dtype.

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64.
    ValueError
        If the number of components is no square, R is not orthogonal, shapes do not broadcast, or layout is unknown.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((10, 16, 8))       # degrees 0 to 3, 8 channels
    >>> np.allclose(rotate(x, -np.eye(3))[:, 1:4], -x[:, 1:4])          # vectors change their sign
    True
    """
    where = "telamon.so3.rotate"
    choice(where, "layout", layout, LAYOUTS)
    features = as_features(where, "x", x, layout)
    lmax_of(where, "x", features.shape[-2])
    rotations = _rotations(where, R)
    lead = broadcast_leading(where, x=features.shape[:-2], R=rotations.shape[:-2])
    dtype = np.result_type(features, rotations)
    components, channels = features.shape[-2:]
    samples = math.prod(lead)
    out = np.empty((*lead, components, channels) if layout == "channels_last" else (*lead, channels, components), dtype)
    if out.size:
        view = out if layout == "channels_last" else out.swapaxes(-1, -2)
        matrices = np.broadcast_to(rotations.astype(dtype, copy=False), (*lead, 3, 3)).reshape(samples, 3, 3)
        _core.so3_rotate(
            np.ascontiguousarray(matrices),
            flat(features, lead, channels, dtype),
            view.reshape(samples, components, channels),
        )
    return out


def _vectors(where: str, r: ArrayLike) -> tuple[FloatArray, tuple[int, ...]]:
    """Vectors as an array (samples, 3), and the shape of the samples."""
    array = as_float(where, "r", r)
    if array.ndim < 1 or array.shape[-1] != 3:
        raise ValueError(f"{where}: r has shape {array.shape}; pass an array (..., 3)")
    return aligned(array.reshape(math.prod(array.shape[:-1]), 3)), array.shape[:-1]


def _rotations(where: str, R: ArrayLike) -> FloatArray:
    array = as_float(where, "R", R)
    if array.ndim < 2 or array.shape[-2:] != (3, 3):
        raise ValueError(f"{where}: R has shape {array.shape}; pass an array (..., 3, 3)")
    with np.errstate(all="ignore"):
        deviation = np.abs(array.swapaxes(-1, -2) @ array - np.eye(3, dtype=array.dtype)).max(axis=(-1, -2))
        wrong = np.argwhere(deviation > _ORTHOGONAL)  # not NaN, which goes through
    if len(wrong):
        first = tuple(wrong[0].tolist())
        which = f"R[{', '.join(map(str, first))}]" if first else "R"
        raise ValueError(
            f"{where}: {which} is not orthogonal: R^T R differs from 1 by {deviation[first]:.2g}; "
            "pass rotations, with or without inversion"
        )
    return array


def _unit(r: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors (3, samples) and lengths; at 0 the vector is 0 and the length infinite: derivatives become 0."""
    largest = np.abs(r).max(axis=0)
    scaled = r / np.where(largest == 0, 1, largest)
    norm = np.sqrt((scaled * scaled).sum(axis=0))
    return scaled / np.where(norm == 0, 1, norm), np.where(largest == 0, np.inf, norm * largest)


def _size(degrees: list[int]) -> int:
    return sum(2 * d + 1 for d in degrees)


def _columns(degrees: list[int]) -> NDArray[np.int64]:
    """The components of these degrees among those of all degrees."""
    return np.concatenate([np.arange(d * d, (d + 1) ** 2) for d in degrees])


def _scales(degrees: list[int], normalization: str) -> NDArray[np.float64] | None:
    """The change of normalisation of each component of these degrees, or None where all are 1."""
    scales = degree_scales(max(degrees), normalization)
    return None if scales is None else np.repeat([scales[d] for d in degrees], [2 * d + 1 for d in degrees])


def _chunks(samples: int, row: int) -> Iterator[slice]:
    """Slices of samples that keep a work array of that many elements a row in cache."""
    step = max(1, _CHUNK // row)
    for start in range(0, samples, step):
        yield slice(start, min(start + step, samples))
