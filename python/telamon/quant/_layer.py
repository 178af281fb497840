"""One layer: its weights and Hessians to a matrix of few bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _gptq, _grids, _lnq, _native, _nupes, _sparse
from ._check import as_choice, as_hessian, as_matrix, as_number, as_whole
from ._matrix import QuantizedMatrix
from ._outliers import Outliers

Array = NDArray[Any]

__all__ = ["layer_objective", "quantize_layer"]

METHODS = ("lnq", "gptq", "kmeans", "squeezellm", "rtn", "hqq", "nupes")
_NEEDS_H = ("lnq", "gptq")
_LARGEST_HALF = 65504.0


class Settings(NamedTuple):
    """What `quantize_layer` was asked for, checked."""

    bits: int
    method: str
    group_size: int | None
    iterations: int
    cycles: int
    start: str
    act_order: bool
    damping: float
    outliers: float
    dtype: Any


def quantize_layer(
    W: ArrayLike,
    H: ArrayLike | None = None,
    *,
    bits: int = 4,
    method: str = "lnq",
    group_size: int | None = None,
    Hs: Sequence[ArrayLike] | None = None,
    row_groups: Sequence[int] | None = None,
    guidance: float = 0.0,
    iterations: int = 2,
    cycles: int = 4,
    start: str = "gptq",
    act_order: bool = True,
    damping: float | None = None,
    sensitivities: ArrayLike | None = None,
    outliers: float = 0.0,
    codebook_dtype: Any = np.float16,
    bias: ArrayLike | None = None,
) -> QuantizedMatrix:
    """Quantise the weights of one linear layer.

    .. math:: \\min_{\\hat W} \\sum_j (\\hat w_j - w_j)' H_{k(j)} (\\hat w_j - w_j), \\qquad \\hat w_{ji} = c_{j q_{ji}}

    over a codebook c_j of 2^bits numbers and the codes q_j of each row (output channel) j. With H = X'X of calibration
    inputs X this is the squared error of the layer's outputs. A pure function: the same arguments give the same bits,
    on any number of threads.

    Parameters
    ----------
    W : array_like (rows, inputs)
        One row an output channel, as in PyTorch. Computed from float32.
    H : array_like (inputs, inputs), optional
        X'X, as `HessianAccumulator` gives. "lnq" and "gptq" need it or `Hs`. May be singular: fewer tokens than inputs,
        and inputs that never occur, are no trouble.
    bits : int
        1 to 8.
    method : {"lnq", "gptq", "kmeans", "squeezellm", "rtn", "hqq", "nupes"}
        "lnq": k-means with the weights that GPTQ gives to errors, GPTQ's codes on that grid, then codebooks and codes
        by turns; the others are baselines. "gptq": a uniform grid from the least to the largest weight. "kmeans": by
        the diagonal of H where it is given, else unweighted. "squeezellm": k-means weighted by `sensitivities`. "rtn":
        the nearest on the uniform grid. "hqq": the same with a zero point chosen by half-quadratic splitting. "nupes":
        a power function with one exponent for the layer, searched for without data, and learned with the codes where H
        is given; from 2 bits on, without groups.
    group_size : int, optional
        A codebook for so many consecutive inputs of a row, in place of one for all. "lnq" then goes through the groups
        one after the other, each with what the others leave it: the compiled kernel knows one codebook a row, and this
        keeps its steps exact and the objective falling.
    Hs : sequence of array_like (inputs, inputs), optional
        The Hessians of consecutive groups of rows, those of guided quantisation.
    row_groups : sequence of int, optional
        How many rows each of `Hs` is for; equally many where not given.
    guidance : float
        From 0 to 1: H_k = tr(H) (g Hs_k/tr(Hs_k) + (1 - g) H/tr(H)). Where Hs_k is 0 all over, H alone is taken.
    iterations, cycles : int
        Of "lnq": how often codebook and codes are made, and cycles of coordinate descent over the codes in each.
    start : {"gptq", "kmeans"}
        Of "lnq": where codes start from.
    act_order : bool
        Of GPTQ: inputs in the order of falling H_ii, or for the start of "lnq" of H_ii/(H^-1)_ii. Costs nothing in
        products.
    damping : float, optional
        Of GPTQ: so much of the mean diagonal is added to the diagonal before H is factorised. 0.01 where not given, as
        in GPTQ's own code, and 0.001 for the start of "lnq", which mends by itself what it overfits.
    sensitivities : array_like (inputs,) or (rows, inputs), optional
        Of "squeezellm": the weights' diagonal Fisher information, mean squared gradients. The diagonal of the Hessian
        where not given.
    outliers : float
        So large a fraction of the weights, 0.0045 in SqueezeLLM, is corrected by a sparse matrix: the largest
        H_ii w_i^2, with the values that serve the objective best. Each takes 6 bytes.
    codebook_dtype : {numpy.float16, numpy.float32}
        The type in which codebooks are stored; codes are fitted to the rounded ones.
    bias : array_like (rows,), optional
        Stored with the result.

    Returns
    -------
    QuantizedMatrix
        With `trace`, `objective`, `row_objectives` and `relative_objective`, where there is a Hessian.

    Raises
    ------
    TypeError, ValueError
        If weights or Hessians are NaN, H is not symmetric or not positive semi-definite, or sizes do not go together.

    Notes
    -----
    LNQ is GuidedQuant's (arXiv:2505.07004); the start is our own. K-means there is weighted by r_pp^2, r the Cholesky
    factor of H in GPTQ's order: what GPTQ's objective multiplies squared roundings by.
    GPTQ: arXiv:2210.17323. SqueezeLLM: arXiv:2306.07629.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> W, X = rng.standard_normal((8, 32)), rng.standard_normal((100, 32)) @ rng.standard_normal((32, 32))
    >>> Q = quantize_layer(W, X.T @ X, bits=3)
    >>> Q.shape, Q.bits, bool((np.diff(Q.trace) <= 0).all())
    ((8, 32), 3, True)
    """
    where = "telamon.quant.quantize_layer"
    as_choice(where, "method", method, METHODS)
    as_choice(where, "start", start, ("gptq", "kmeans"))
    w = as_matrix(where, "W", W)
    settings = Settings(
        as_whole(where, "bits", bits, 1, 8),
        method,
        None if group_size is None else as_whole(where, "group_size", group_size, 1),
        as_whole(where, "iterations", iterations, 0),
        as_whole(where, "cycles", cycles, 0),
        start,
        bool(act_order),
        as_number(where, "damping", {"lnq": 0.001}.get(method, 0.01) if damping is None else damping, 0),
        as_number(where, "outliers", outliers, 0, 0.5),
        as_storage(where, w, codebook_dtype),
    )
    if settings.group_size is not None and settings.group_size >= w.shape[1]:
        settings = settings._replace(group_size=None)
    masses = _as_sensitivities(where, sensitivities, w.shape)
    parts = hessians(where, w.shape, H, Hs, row_groups, guidance)
    if parts[0][1] is None and method in _NEEDS_H:
        raise ValueError(f'{where}: method "{method}" needs H = X\'X of calibration inputs; "hqq" and "rtn" need none')
    if method == "nupes" and (settings.bits < 2 or settings.group_size is not None or len(parts) > 1):
        raise ValueError(
            f'{where}: method "nupes" takes bits from 2 on, no group_size and one Hessian; its exponent is the layer\'s'
        )
    made = [_rows(where, w[rows], h, None if masses is None else masses[rows], settings) for rows, h in parts]
    apart = None
    if settings.outliers:
        masks, values = [part.mask for part in made], [part.values for part in made]
        apart = Outliers.at(np.concatenate(masks), np.concatenate(values), settings.dtype)
    trace = None if made[0].trace is None else np.sum([part.trace for part in made if part.trace is not None], axis=0)
    result = QuantizedMatrix.from_codes(
        np.concatenate([part.codes for part in made]),
        np.concatenate([part.books for part in made]).astype(settings.dtype),
        bits=settings.bits,
        group_size=settings.group_size,
        outliers=apart,
        bias=bias,
        facts={"method": method, "trace": trace, "exponent": made[0].exponent},
    )
    return with_objective(result, w, parts)


def layer_objective(W: ArrayLike, What: ArrayLike | QuantizedMatrix, H: ArrayLike, *, relative: bool = False) -> float:
    """sum_j e_j' H e_j with e = What - W, in double precision; relative to sum_j w_j' H w_j if so asked.

    Parameters
    ----------
    W, What : array_like (rows, inputs)
        What may be a `QuantizedMatrix`.
    H : array_like (inputs, inputs)
    relative : bool

    Returns
    -------
    float
        Not negative. NaN where it is relative and W gives no output at all.
    """
    where = "telamon.quant.layer_objective"
    w = as_matrix(where, "W", W)
    values = as_matrix(where, "What", What.dequantize() if isinstance(What, QuantizedMatrix) else What)
    if w.shape != values.shape:
        raise ValueError(f"{where}: W is {w.shape}, What {values.shape}; pass matrices of one shape")
    h = as_hessian(where, "H", H, w.shape[1])
    total = float(_forms(values.astype(np.float64) - w, h).sum())
    if not relative:
        return total
    scale = float(_forms(w.astype(np.float64), h).sum())
    return total / scale if scale > 0 else float("nan")


def _forms(rows: Array, h: Array) -> Array:
    """r' H r of each row; not negative, whatever rounding makes of it."""
    forms: Array = np.einsum("ri,ri->r", rows @ h, rows)
    return np.maximum(forms, 0)


def with_objective(matrix: QuantizedMatrix, w: Array, parts: Sequence[tuple[slice, Array | None]]) -> QuantizedMatrix:
    """The matrix, told its objective."""
    if parts[0][1] is None:
        return matrix
    values = matrix.dequantize().astype(np.float64)
    each, scale = np.empty(len(w)), 0.0
    for rows, h in parts:
        assert h is not None
        each[rows] = _forms(values[rows] - w[rows], h)
        scale += float(_forms(w[rows].astype(np.float64), h).sum())
    matrix.row_objectives, matrix.objective = each, float(each.sum())
    matrix.relative_objective = matrix.objective / scale if scale > 0 else 0.0
    return matrix


def as_storage(where: str, w: Array, dtype: Any) -> Any:
    """float16 or float32, the former where weights fit into it."""
    if np.dtype(dtype) not in (np.float16, np.float32):
        raise TypeError(f"{where}: codebook_dtype is {np.dtype(dtype)}; pass numpy.float16 or numpy.float32")
    largest = float(np.abs(w).max())
    if np.dtype(dtype) == np.float16 and largest > _LARGEST_HALF:
        raise ValueError(
            f"{where}: W reaches {largest:.3g}, float16 {_LARGEST_HALF:g}; pass codebook_dtype=numpy.float32"
        )
    return np.dtype(dtype).type


def _as_sensitivities(where: str, value: ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    if value is None:
        return None
    array = np.ascontiguousarray(value, np.float64)
    if array.shape not in (shape, shape[1:]):
        raise ValueError(f"{where}: sensitivities has shape {array.shape}; pass {shape[1:]} or {shape}")
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(f"{where}: sensitivities are NaN, infinite or negative; pass mean squared gradients")
    return np.broadcast_to(array, shape)


def hessians(
    where: str,
    shape: tuple[int, ...],
    H: ArrayLike | None,
    Hs: Sequence[ArrayLike] | None,
    row_groups: Sequence[int] | None,
    guidance: float,
) -> list[tuple[slice, Array | None]]:
    """Groups of rows and the Hessian of each, blended as asked."""
    rows, inputs = shape
    g = as_number(where, "guidance", guidance, 0, 1)
    h = None if H is None else as_hessian(where, "H", H, inputs)
    if Hs is None:
        if g > 0:
            raise ValueError(f"{where}: guidance is {g}, but there is no Hs; pass the guided Hessians")
        return [(slice(0, rows), h)]
    if not len(Hs):
        raise ValueError(f"{where}: Hs is empty; pass a Hessian for each group of rows")
    if h is None and g < 1:
        raise ValueError(f"{where}: guidance is {g}, but there is no H to blend with; pass it, or guidance=1")
    if row_groups is None:
        if rows % len(Hs):
            raise ValueError(f"{where}: {rows} rows are not {len(Hs)} equal groups; pass row_groups, their sizes")
        row_groups = [rows // len(Hs)] * len(Hs)
    sizes = [as_whole(where, "row_groups", size, 1) for size in row_groups]
    if len(sizes) != len(Hs) or sum(sizes) != rows:
        raise ValueError(
            f"{where}: row_groups has {len(sizes)} sizes, in sum {sum(sizes)}; Hs has {len(Hs)} and W {rows} rows"
        )
    if g == 0:
        return [(slice(0, rows), h)]
    parts: list[tuple[slice, Array | None]] = []
    first = 0
    for k, size in enumerate(sizes):
        parts.append((slice(first, first + size), _blend(as_hessian(where, f"Hs[{k}]", Hs[k], inputs), h, g)))
        first += size
    return parts


def _blend(guided: Array, plain: Array | None, guidance: float) -> Array:
    trace = float(np.trace(guided))
    if plain is None:
        return guided
    whole = float(np.trace(plain))
    if trace == 0 or guidance == 0:
        return plain
    if whole == 0:
        return guided
    return guided * (guidance * whole / trace) + plain * (1 - guidance)


class _Rows(NamedTuple):
    """Rows with one Hessian: codebooks (rows, groups, levels), codes, LNQ's trace, and outliers."""

    books: Array
    codes: Array
    trace: Array | None
    exponent: float | None
    mask: Array
    values: Array


def _rows(where: str, w: Array, h: Array | None, masses: Array | None, settings: Settings) -> _Rows:
    importance = masses if masses is not None and settings.method == "squeezellm" else None
    if importance is None and h is not None:
        importance = h.diagonal().copy()
    if not settings.outliers:
        none = np.zeros((len(w), 0), bool)
        return _Rows(*_dense(where, w, h, importance, settings), none, none)
    mask, dense = _sparse.choose(w, importance, settings.outliers)
    books, codes, trace, exponent = _dense(where, dense, h, importance, settings)
    values = _sparse.best_values(w, _values(books, codes, settings), mask, h)
    if settings.method == "lnq" and settings.iterations:
        # By turns, as codebooks and codes: the codes again for what the outliers leave, and outliers for these codes.
        assert h is not None
        left = w - values.astype(np.float32)
        books, codes, _ = _descend(left, h, books, codes, settings._replace(iterations=1))
        values = _sparse.best_values(w, _values(books, codes, settings), mask, h)
    return _Rows(books, codes, trace, exponent, mask, values)


def _values(books: Array, codes: Array, settings: Settings) -> Array:
    """The numbers (rows, inputs) of codebooks and codes."""
    groups = _gptq.groups_of(codes.shape[1], settings.group_size)
    return np.concatenate(
        [np.take_along_axis(books[:, k], codes[:, group], axis=1) for k, group in enumerate(groups)], axis=1
    )


def _dense(
    where: str, w: Array, h: Array | None, importance: Array | None, settings: Settings
) -> tuple[Array, Array, Array | None, float | None]:
    """Codebooks as they will be stored, codes, LNQ's trace and NUPES' exponent."""
    bits, method, dtype = settings.bits, settings.method, settings.dtype
    if method == "nupes":
        books, codes, exponent = _nupes.fit(w, h, bits, settings.iterations, settings.cycles)
        return books[:, None], codes, None, exponent

    def grid(weights: Array, masses: Array | None) -> Array:
        if method in ("rtn", "gptq"):
            return _grids.stored(_grids.uniform(weights, bits), dtype)
        if method == "hqq":
            return _grids.stored(_grids.hqq(weights, bits), dtype)
        books = _grids.kmeans(weights, masses, bits)
        return books if method == "lnq" else _grids.stored(books, dtype)  # LNQ rounds at its end

    if method == "gptq" or (method == "lnq" and settings.start == "gptq"):
        assert h is not None
        order_by = "given" if not settings.act_order else "both" if method == "lnq" else "diagonal"
        books, codes = _gptq.assign(where, w, h, grid, settings.group_size, order_by, settings.damping)
    else:
        groups = _gptq.groups_of(w.shape[1], settings.group_size)
        parts = [np.ascontiguousarray(w[:, group]) for group in groups]
        masses = [None if importance is None else importance[..., group] for group in groups]
        each = [grid(part, mass) for part, mass in zip(parts, masses, strict=True)]
        codes = np.concatenate([_native.nearest(part, book) for part, book in zip(parts, each, strict=True)], axis=1)
        books = np.stack(each, axis=1)
    if method != "lnq":
        return books, codes, None, None
    assert h is not None
    return *_descend(w, h, books, codes, settings), None


def _descend(w: Array, h: Array, books: Array, codes: Array, settings: Settings) -> tuple[Array, Array, Array]:
    half = settings.dtype is np.float16
    return _lnq.descend(w, h, books, codes, settings.group_size, settings.iterations, settings.cycles, half)
