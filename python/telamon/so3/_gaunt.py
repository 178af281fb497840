"""Products of functions on the sphere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._so3_shapes import (
    GROUPS,
    LAYOUTS,
    METHODS,
    NORMALIZATIONS,
    PARITIES,
    channels_of,
    choice,
    lmax_of,
    lmax_out_of,
    whole,
)
from ._arrays import FloatArray, Output, as_features, as_float, broadcast_leading, component_scales, flat, spread

__all__ = ["GauntTable", "gaunt_coefficients", "gaunt_conv", "gaunt_monomial", "gaunt_power", "gaunt_product"]

Weights = tuple["ArrayLike | None", "ArrayLike | None", "ArrayLike | None"]


class GauntTable(NamedTuple):
    """The nonzero real Gaunt coefficients of three degrees: ``value[n]`` belongs to the components i[n], j[n], k[n].

    Components are counted from 0, m = -l, inside each degree.
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    k: NDArray[np.int64]
    value: NDArray[np.float64]


def gaunt_coefficients(l1: int, l2: int, l3: int) -> GauntTable:
    """The nonzero integrals of three real spherical harmonics over the sphere.

    .. math:: G_{ijk} = \\int Y_{l_1 m_1} Y_{l_2 m_2} Y_{l_3 m_3} \\, d\\Omega
              = \\pm \\sqrt{\\tfrac{(2l_1+1)(2l_2+1)(2l_3+1)}{4\\pi}}
                \\begin{pmatrix} l_1 & l_2 & l_3 \\\\ 0 & 0 & 0 \\end{pmatrix} w_{ijk}

    for orthonormal ("integral") harmonics, with w the real Wigner 3j symbol; nonzero only for even l1 + l2 + l3 and
    \\|l1 - l2\\| <= l3 <= l1 + l2 (DLMF 34.3.22).

    Parameters
    ----------
    l1, l2, l3 : int
        Degrees, from 0 on.

    Returns
    -------
    GauntTable
        Empty where all coefficients are zero. Absolute error below 1e-14 up to degree 10.

    Raises
    ------
    TypeError, ValueError
        If a degree is no int, or negative.

    Examples
    --------
    >>> gaunt_coefficients(1, 1, 0).value * np.sqrt(4 * np.pi)      # the scalar product
    array([1., 1., 1.])
    """
    where = "telamon.so3.gaunt_coefficients"
    a, b, c = (whole(where, name, l, 0) for name, l in (("l1", l1), ("l2", l2), ("l3", l3)))
    i, j, k, value = _core.so3_coefficients(a, b, c)
    return GauntTable(i, j, k, value / math.sqrt(4 * math.pi))


def _degree_weights(
    where: str, name: str, w: ArrayLike | None, lmax: int, channels: int, dtype: np.dtype[Any]
) -> FloatArray | None:
    """Weights as an array (ranks, lmax + 1, channels)."""
    if w is None:
        return None
    array = as_float(where, f"weights[{name}]", w)
    full = array
    if array.ndim == 1:
        full = array[None, :, None]
    elif array.ndim == 2:
        full = array[None]
    if full.ndim != 3 or full.shape[1] != lmax + 1 or full.shape[2] not in (1, channels):
        raise ValueError(
            f"{where}: weights[{name}] has shape {array.shape}; pass ({lmax + 1},), ({lmax + 1}, {channels}) or, for a "
            f"sum of R products, (R, {lmax + 1}, 1 or {channels})"
        )
    return np.broadcast_to(full.astype(dtype, copy=False), (full.shape[0], lmax + 1, channels))


def _scaled(w: FloatArray | None, scales: FloatArray | None, channels: int) -> FloatArray | None:
    """Weights times the change of normalisation."""
    if scales is None:
        return w
    column = np.broadcast_to(scales[:, None], (len(scales), channels))
    return column[None] if w is None else w * column


@overload
def gaunt_product(
    x: ArrayLike, y: ArrayLike, lmax_out: int | None = ..., *, weights: Weights | None = ..., normalization: str = ...,
    layout: str = ..., method: str = ..., out: NDArray[Any] | None = ...,
) -> NDArray[Any]: ...  # fmt: skip
@overload
def gaunt_product(
    x: ArrayLike, y: ArrayLike, lmax_out: int | None = ..., *, weights: Weights | None = ..., parity: str,
    group: str = ..., normalization: str = ..., layout: str = ..., method: str = ..., out: Any = ...,
) -> Any: ...  # fmt: skip
def gaunt_product(
    x: ArrayLike,
    y: ArrayLike,
    lmax_out: int | None = None,
    *,
    weights: Weights | None = None,
    parity: str = "even",
    group: str = "O3",
    normalization: str = "component",
    layout: str = "channels_last",
    method: str = "auto",
    out: Any = None,
) -> Any:
    """The Gaunt tensor product: coefficients of the product of two functions on the sphere.

    With S(x) = sum_lm x_lm Y_lm the function of the coefficients x, and A its inverse, which keeps degrees up to
    lmax_out,

    .. math:: z = A[S(x) S(y)], \\qquad z_{l_3 m_3} = \\sum G\\, x_{l_1 m_1} y_{l_2 m_2}

    in every channel: a tensor product of irreps that costs O(L^3), not O(L^6), a coefficient pair. All paths
    (l1, l2) -> l3 of even l1 + l2 + l3 are summed, with Gaunt's coefficients as weights; it is not a tensor product
    with a weight for each path.

    Parameters
    ----------
    x : array (..., (l1 + 1)^2, C)
        Coefficients in e3nn's order and convention: y is the polar axis, component l^2 + l + m. float32 or float64.
    y : array (..., (l2 + 1)^2, C)
        Leading dimensions broadcast with those of x; C may be 1 in either.
    lmax_out : int, optional
        The highest degree of the result, at most l1 + l2; the larger of l1 and l2 unless given.
    weights : (w1, w2, w3), optional
        Factors on the degrees of x, of y and of the result, each None, (l + 1,) or (l + 1, C); or (R, l + 1, 1 or C)
        for a sum of R weighted products, path weights of rank R.
    parity : {"even", "complete"}
        "complete" adds the odd paths, which the product of functions lacks: the Poisson bracket
        (f_theta g_phi - f_phi g_theta)/sin(theta), as arXiv:2605.15073 has it.
    group : {"O3", "SO3"}
        For parity "complete": the even and the odd result apart, since the odd one is made of pseudo-tensors, or, where
        reflections do not matter, their sum.
    normalization : {"component", "integral", "norm"}
        Of the harmonics that x, y and the result are coefficients of, as in e3nn: mean square 1, orthonormal on the
        sphere, or sum over m of Y_lm^2 = 1. In "component", the constant 1 is (1, 0, 0, ...).
    layout : {"channels_last", "channels_first"}
        "channels_first" takes and gives (..., C, components), at some cost.
    method : {"auto", "sparse", "grid", "fourier"}
        "sparse" adds up the nonzero coefficients; "grid" goes through Gauss-Legendre parallels and convolves Fourier
        coefficients on each; "fourier" is the two-dimensional Fourier form of arXiv:2401.10216. All are exact; "auto"
        takes the fastest, sparse up to degree 4 and grid above. "fourier" has no odd paths.
    out : array, optional
        Where the result is written; for parity "complete" of group "O3" a pair of arrays.

    Returns
    -------
    array (..., (lmax_out + 1)^2, C)
        Of the promoted dtype. Largest error 1e-12 (float64) or 1e-6 (float32) of the largest coefficient, up to degree
        64. For parity "complete" of group "O3", the pair (even, odd). NaN and infinities stay in their sample and
        channel.

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64.
    ValueError
        If a number of components is no square, shapes do not broadcast, lmax_out is out of range, or a word unknown.

    Notes
    -----
    S. Luo, T. Chen, A. S. Krishnapriyan, "Enabling Efficient Equivariant Operations in the Fourier Basis via Gaunt
    Tensor Products", ICLR 2024 (arXiv:2401.10216). What the sum over paths gives up: arXiv:2506.13523.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1000, 9, 32))     # degrees 0 to 2, 32 channels
    >>> gaunt_product(x, x, 4).shape
    (1000, 25, 32)
    """
    where = "telamon.so3.gaunt_product"
    choice(where, "parity", parity, PARITIES)
    choice(where, "group", group, GROUPS)
    choice(where, "normalization", normalization, NORMALIZATIONS)
    choice(where, "layout", layout, LAYOUTS)
    choice(where, "method", method, METHODS)
    if method == "fourier" and parity != "even":
        raise ValueError(
            f"{where}: method 'fourier' has no odd paths, parity is {parity!r}; pass method 'grid' or 'auto'"
        )
    a, b = as_features(where, "x", x, layout), as_features(where, "y", y, layout)
    l1, l2 = lmax_of(where, "x", a.shape[-2]), lmax_of(where, "y", b.shape[-2])
    l3 = lmax_out_of(where, lmax_out, max(l1, l2), l1 + l2, "l1 + l2")
    channels = channels_of(where, "x", a.shape[-1], "y", b.shape[-1])
    lead = broadcast_leading(where, x=a.shape[:-2], y=b.shape[:-2])
    dtype = a.dtype if a.dtype == b.dtype else np.result_type(a, b)
    shape = (*lead, (l3 + 1) ** 2, channels)

    if weights is not None and not isinstance(weights, (tuple, list)):
        raise TypeError(f"{where}: weights is a {type(weights).__name__}; pass (w1, w2, w3), each an array or None")
    if weights is not None and len(weights) != 3:
        raise ValueError(f"{where}: weights has {len(weights)} entries; pass 3, (w1, w2, w3), each an array or None")
    given = (None, None, None) if weights is None else weights
    all_weights = []
    for n, (w, lmax) in enumerate(zip(given, (l1, l2, l3), strict=True)):
        full = _degree_weights(where, str(n), w, lmax, channels, dtype)
        scales = component_scales(lmax, normalization, dtype)
        all_weights.append(_scaled(full, 1 / scales if n == 2 and scales is not None else scales, channels))
    ranks = sorted({len(w) for w in all_weights if w is not None} - {1})
    if len(ranks) > 1:
        raise ValueError(f"{where}: weights have {' and '.join(map(str, ranks))} ranks; pass as many in each")

    pair = parity == "complete" and group == "O3"
    if pair and out is not None and (not isinstance(out, (tuple, list)) or len(out) != 2):
        raise TypeError(
            f"{where}: out is a {type(out).__name__}; pass a pair of arrays, for the even and the odd result"
        )
    even, odd = (out if out is not None else (None, None)) if pair else (out, None)
    results = [Output(where, even, shape, dtype, layout, [a, b], "out[0]" if pair else "out")]
    if pair:
        results.append(Output(where, odd, shape, dtype, layout, [a, b, results[0].array], "out[1]"))
    kind = "even" if parity == "even" else "complete" if pair else "sum"
    fx, fy = flat(a, lead, channels, dtype), flat(b, lead, channels, dtype)
    count = ranks[0] if ranks else 1
    if count == 0:
        for result in results:
            result.flat[...] = 0
    for r in range(count):
        w1, w2, w3 = (None if w is None else w[r if len(w) > 1 else 0] for w in all_weights)
        odd_flat = results[1].flat if pair else None
        _core.so3_product(fx, fy, results[0].flat, odd_flat, kind, method, r > 0, w1, w2, w3)
    finished = [result.finish() for result in results]
    return tuple(finished) if pair else finished[0]


def gaunt_monomial(
    factors: Sequence[ArrayLike],
    powers: Sequence[int] | None = None,
    lmax_out: int | None = None,
    *,
    normalization: str = "component",
    layout: str = "channels_last",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """A product of powers of functions on the sphere, in one pass.

    .. math:: z = A\\Big[\\prod_i S(x_i)^{p_i}\\Big]

    exact: nothing is cut off before the end, as repeated products with a small lmax_out would do.

    Parameters
    ----------
    factors : sequence of arrays (..., (l_i + 1)^2, C)
        At most 15; leading dimensions broadcast, and C may be 1.
    powers : sequence of int, optional
        From 1 on; all 1 unless given.
    lmax_out : int, optional
        At most the sum of all p_i l_i; the largest l_i unless given.
    normalization, layout, out
        As in `gaunt_product`.

    Returns
    -------
    array (..., (lmax_out + 1)^2, C)

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`; also if powers are fewer or more than factors, or below 1.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).standard_normal((2, 100, 4, 8))
    >>> z = gaunt_monomial([x, y], [2, 1], 3)
    >>> np.allclose(z, gaunt_product(gaunt_product(x, x, 2), y, 3))
    True
    """
    return _monomial("telamon.so3.gaunt_monomial", factors, powers, lmax_out, normalization, layout, out)


def _monomial(
    where: str,
    factors: Sequence[ArrayLike],
    powers: Sequence[int] | None,
    lmax_out: int | None,
    normalization: str,
    layout: str,
    out: NDArray[Any] | None,
    names: Sequence[str] | None = None,
) -> NDArray[Any]:
    choice(where, "normalization", normalization, NORMALIZATIONS)
    choice(where, "layout", layout, LAYOUTS)
    if not 1 <= len(factors) <= 15:
        raise ValueError(f"{where}: there are {len(factors)} factors; pass 1 to 15")
    names = [f"factors[{n}]" for n in range(len(factors))] if names is None else names
    powers = [1] * len(factors) if powers is None else [whole(where, "a power", p, 1) for p in powers]
    if len(powers) != len(factors):
        raise ValueError(f"{where}: there are {len(powers)} powers and {len(factors)} factors; pass one for each")
    arrays = [as_features(where, name, x, layout) for name, x in zip(names, factors, strict=True)]
    degrees = [lmax_of(where, name, a.shape[-2]) for name, a in zip(names, arrays, strict=True)]
    total = sum(p * l for p, l in zip(powers, degrees, strict=True))
    l3 = lmax_out_of(where, lmax_out, max(degrees), total, "the sum of all degrees")
    channels = arrays[0].shape[-1]
    for name, a in zip(names, arrays, strict=True):
        channels = channels_of(where, names[0], channels, name, a.shape[-1])
    lead = broadcast_leading(where, **{name: a.shape[:-2] for name, a in zip(names, arrays, strict=True)})
    dtype = np.result_type(*arrays)
    result = Output(where, out, (*lead, (l3 + 1) ** 2, channels), dtype, layout, arrays)
    inputs = []
    for a, lmax in zip(arrays, degrees, strict=True):
        scales = component_scales(lmax, normalization, dtype)
        inputs.append(flat(a if scales is None else a * spread(scales[:, None]), lead, channels, dtype))
    _core.so3_monomial(inputs, list(powers), result.flat)
    scales = component_scales(l3, normalization, dtype)
    if scales is not None:
        result.flat[...] /= spread(scales[:, None])
    return result.finish()


def gaunt_power(
    x: ArrayLike,
    n: int,
    lmax_out: int | None = None,
    *,
    normalization: str = "component",
    layout: str = "channels_last",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The n-th power of a function on the sphere: many-body products in one pass.

    .. math:: z = A[S(x)^n]

    Parameters
    ----------
    x : array (..., (lmax + 1)^2, C)
    n : int
        From 1 on.
    lmax_out : int, optional
        At most n lmax; lmax unless given.
    normalization, layout, out
        As in `gaunt_product`.

    Returns
    -------
    array (..., (lmax_out + 1)^2, C)

    Raises
    ------
    TypeError, ValueError
        As in `gaunt_product`; also if n is no int, or below 1.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((10, 9, 4))
    >>> np.allclose(gaunt_power(x, 3, 2), gaunt_product(gaunt_product(x, x, 4), x, 2))
    True
    """
    where = "telamon.so3.gaunt_power"
    return _monomial(where, [x], [whole(where, "n", n, 1)], lmax_out, normalization, layout, out, ["x"])


def _indices(where: str, name: str, value: ArrayLike | None, edges: int, limit: int | None) -> NDArray[np.int64] | None:
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{where}: {name} has dtype {array.dtype}; pass integers")
    if array.shape != (edges,):
        raise ValueError(f"{where}: {name} has shape {array.shape}; pass one index an edge, shape ({edges},)")
    if edges and (int(array.min()) < 0 or (limit is not None and int(array.max()) >= limit)):
        most = "" if limit is None else f" to {limit - 1}"
        raise ValueError(f"{where}: {name} has indices from {array.min()} to {array.max()}; pass indices from 0{most}")
    return np.ascontiguousarray(array, np.int64)


def gaunt_conv(
    x: ArrayLike,
    directions: ArrayLike,
    filter_weights: ArrayLike | None = None,
    lmax_out: int | None = None,
    *,
    lmax_filter: int | None = None,
    senders: ArrayLike | None = None,
    receivers: ArrayLike | None = None,
    num_receivers: int | None = None,
    normalization: str = "component",
    layout: str = "channels_last",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Messages along edges: products of features with the spherical harmonics of the edges' directions.

    .. math:: z_r = \\sum_{e \\,:\\, r_e = r} A\\big[S(x_{s_e}) S(w_e Y(\\hat d_e))\\big]

    Neither the messages nor the filters are ever stored, and sums are in the order of the edges: the same bits each
    time, whatever the number of threads.

    Parameters
    ----------
    x : array (nodes, (l1 + 1)^2, C)
        Features of the senders; of the edges themselves where `senders` is not given.
    directions : array (E, 3)
        Of any length but zero.
    filter_weights : array (E, l2 + 1, C), (E, l2 + 1) or (l2 + 1,), optional
        Factors on the degrees of the harmonics; ones unless given.
    lmax_out : int, optional
        At most l1 + l2; l1 unless given.
    lmax_filter : int, optional
        l2, where there are no filter_weights; l1 unless given.
    senders, receivers : int array (E,), optional
        The node that each edge reads, and the one that it adds to. In any order; a receiver may have no edge, and gets
        zeros. Without receivers each edge's message is returned.
    num_receivers : int, optional
        The number of nodes x has, unless given.
    normalization, layout, out
        As in `gaunt_product`.

    Returns
    -------
    array (num_receivers or E, (lmax_out + 1)^2, C)

    Raises
    ------
    TypeError
        If arrays are not float32 or float64, or indices no integers.
    ValueError
        If a direction is zero, an index is out of range, or shapes do not fit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, r = rng.standard_normal((5, 4, 8)), rng.standard_normal((20, 3))
    >>> sender, receiver = rng.integers(0, 5, (2, 20))
    >>> gaunt_conv(x, r, lmax_filter=2, senders=sender, receivers=receiver).shape
    (5, 4, 8)
    """
    where = "telamon.so3.gaunt_conv"
    choice(where, "normalization", normalization, NORMALIZATIONS)
    choice(where, "layout", layout, LAYOUTS)
    a, d = as_features(where, "x", x, layout), as_float(where, "directions", directions)
    if a.ndim != 3:
        raise ValueError(f"{where}: x has shape {np.shape(x)}; pass an array of three dimensions, the first for nodes")
    if d.ndim != 2 or d.shape[1] != 3:
        raise ValueError(f"{where}: directions has shape {d.shape}; pass an array (edges, 3)")
    edges, (nodes, _, channels) = d.shape[0], a.shape
    l1 = lmax_of(where, "x", a.shape[1])
    w, l2 = _filter(where, filter_weights, lmax_filter, l1, edges, channels)
    dtype = np.result_type(a, d, w)
    l3 = lmax_out_of(where, lmax_out, l1, l1 + l2, "l1 + l2")
    if senders is None and nodes != edges:
        raise ValueError(f"{where}: x has {nodes} rows, directions {edges}; pass as many, or senders")
    if receivers is None and num_receivers is not None:
        raise ValueError(f"{where}: num_receivers is {num_receivers} without receivers; pass both")
    count = nodes if num_receivers is None else whole(where, "num_receivers", num_receivers, 0)
    sender = _indices(where, "senders", senders, edges, nodes)
    receiver = _indices(where, "receivers", receivers, edges, count)

    unit = _unit(where, d).astype(dtype, copy=False)
    w = w.astype(dtype, copy=False)
    scales = [component_scales(l, normalization, dtype) for l in (l1, l2, l3)]
    features = a.astype(dtype, copy=False)
    if scales[0] is not None and scales[1] is not None:
        features = features * spread(scales[0][:, None])
        w = w * (scales[1] ** 2)[:, None]  # once for the harmonics, once for their coefficients
    shape = (edges if receiver is None else count, (l3 + 1) ** 2, channels)
    result = Output(where, out, shape, dtype, layout, [a, d, w])
    full = np.broadcast_to(w, (edges, l2 + 1, channels))
    _core.so3_conv(flat(features, (nodes,), channels, dtype), unit, full, result.flat, sender, receiver)
    if scales[2] is not None:
        result.flat[...] /= spread(scales[2][:, None])
    return result.finish()


def _unit(where: str, directions: FloatArray) -> FloatArray:
    """The directions with length 1, in double; scaled first, so that no square overflows or vanishes."""
    d = directions.astype(np.float64)
    largest = np.max(np.abs(d), axis=1, initial=0)
    if not np.all(largest != 0):
        raise ValueError(f"{where}: directions[{int(np.argmin(largest != 0))}] is zero; leave out edges of length 0")
    d /= largest[:, None]
    unit: FloatArray = d / np.sqrt(np.sum(d**2, axis=1, keepdims=True))
    return unit


def _filter(
    where: str, weights: ArrayLike | None, lmax: int | None, l1: int, edges: int, channels: int
) -> tuple[FloatArray, int]:
    """The filter's weights, which broadcast to (edges, l2 + 1, channels), and l2."""
    if weights is None:
        l2 = l1 if lmax is None else whole(where, "lmax_filter", lmax, 0)
        return np.ones((1, l2 + 1, 1), np.float32), l2
    array = as_float(where, "filter_weights", weights)
    full = array
    if array.ndim == 1:
        full = array[None, :, None]
    elif array.ndim == 2:
        full = array[:, :, None]
    fits = full.ndim == 3 and full.shape[0] in (1, edges) and full.shape[1] >= 1 and full.shape[2] in (1, channels)
    if not fits or (array.ndim > 1 and full.shape[0] != edges):
        raise ValueError(
            f"{where}: filter_weights has shape {array.shape}; pass ({edges}, l2 + 1, {channels}), ({edges}, l2 + 1) "
            "or (l2 + 1,)"
        )
    l2 = full.shape[1] - 1
    if lmax is not None and lmax != l2:
        raise ValueError(f"{where}: lmax_filter is {lmax}, filter_weights has degrees up to {l2}; pass one of them")
    return full, l2
