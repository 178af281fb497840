"""Layers of powers by integers alone: tables in the place of powers, and comparisons in the place of rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._check import as_number, as_whole
from ._matrix import QuantizedMatrix
from ._nupes import LEAST, MOST, PowerQuantizer, power_levels

Array = NDArray[Any]

__all__ = ["IntegerLinear"]


class IntegerLinear:
    """A layer whose weights, inputs and outputs are codes of power quantisers, computed with integers alone.

    .. math:: z_{rt} = \\sum_i T_w[q_{ri}]\\, T_x[p_{ti}], \\qquad
              T[q] = \\mathrm{round}\\big(2^k \\mathrm{sign}(q) (|q|/N)^{1/a}\\big)

    are integers, and the output s_w s_x 4^-k z. Its codes come by comparing z with integer thresholds, row by row. Sums
    of z stay below 2^53, so that the float definition, the same formulas in double precision (`reference`), gives the
    same integers: not one bit differs. Against numbers that are not rounded to k bits the sum is off by at most

    .. math:: |4^{-k} z - \\sum w x| \\le 2^{-k-1} \\sum_i (|w_i| + |x_i|) + n\\, 4^{-k-1}

    with w and x in units of their scales (`bound`).

    Parameters
    ----------
    weights : QuantizedMatrix
        Of method "nupes", without outliers: its codes, exponent and scales, the last levels of its codebooks.
    inputs : PowerQuantizer
        How inputs were rounded; their scale is `input_scale`, one for all.
    input_scale : float
    outputs : PowerQuantizer, optional
        How outputs are rounded, with `output_scale`; without it only `accumulate` and `values` are there.
    output_scale : float, optional
    table_bits : int
        k, up to 14: tables fit in int16.

    Examples
    --------
    >>> from telamon.quant import quantize_layer
    >>> W = np.random.default_rng(0).standard_normal((3, 16))
    >>> layer = IntegerLinear(quantize_layer(W, method="nupes"), PowerQuantizer(8, 0.5), 1.0)
    >>> codes, _ = PowerQuantizer(8, 0.5).quantize(np.linspace(-1, 1, 16), scale=1.0)
    >>> bool(np.array_equal(layer.accumulate(codes), layer.reference(codes)))
    True
    """

    def __init__(
        self,
        weights: QuantizedMatrix,
        inputs: PowerQuantizer,
        input_scale: float,
        outputs: PowerQuantizer | None = None,
        output_scale: float | None = None,
        *,
        table_bits: int = 14,
    ) -> None:
        where = "telamon.quant.IntegerLinear"
        if weights.exponent is None or weights.outliers is not None or weights.codebooks.shape[1] != 1:
            raise ValueError(f'{where}: weights are {weights!r}; pass what quantize_layer(method="nupes") made')
        as_number(where, "exponent of inputs", inputs.exponent, LEAST, MOST)
        self.k = as_whole(where, "table_bits", table_bits, 1, 14)
        self.weights, self.inputs, self.outputs = weights, inputs, outputs
        levels = power_levels(weights.bits, weights.exponent)
        self._w = np.concatenate([levels[:1], levels])  # by code: 0 repeats the lowest level
        self._x = power_levels(inputs.bits, inputs.exponent)  # by code + N
        self._table_w, self._table_x = (np.rint(part * 2**self.k).astype(np.int64) for part in (self._w, self._x))
        self._codes = weights.codes()
        scale = as_number(where, "input_scale", input_scale, 0)
        self.scales = weights.codebooks[:, 0, -1].astype(np.float64) * scale
        self.thresholds: Array | None = None
        if outputs is not None:
            if output_scale is None or not output_scale > 0:
                raise ValueError(f"{where}: output_scale is {output_scale}; pass the outputs' largest number")
            self.thresholds = self._thresholds(outputs, as_number(where, "output_scale", output_scale, 0))

    def _thresholds(self, outputs: PowerQuantizer, scale: float) -> Array:
        """The least z (rows, N) that has the code 1 ... N or above."""
        n = (1 << (outputs.bits - 1)) - 1
        edges = scale * ((np.arange(n) + 0.5) / n) ** (1 / outputs.exponent)
        unit = np.where(self.scales > 0, self.scales, np.inf) * 4.0**-self.k
        with np.errstate(divide="ignore", over="ignore"):
            least = np.ceil(np.where(np.isfinite(unit), 1 / unit, np.inf)[:, None] * edges)
        return np.minimum(least, 2.0**62).astype(np.int64)

    def accumulate(self, codes: ArrayLike) -> Array:
        """z (..., rows), int64, of input codes (..., inputs), int8, in integer arithmetic."""
        q = self._as_codes("telamon.quant.IntegerLinear.accumulate", codes)
        result: Array = self._table_x[q] @ self._table_w[self._codes].T
        return result

    def reference(self, codes: ArrayLike) -> Array:
        """The same by its definition in double precision: powers, rounded, times powers, rounded."""
        q = self._as_codes("telamon.quant.IntegerLinear.reference", codes)
        x, w = np.rint(self._x[q] * 2.0**self.k), np.rint(self._w[self._codes] * 2.0**self.k)
        result: Array = (x @ w.T).astype(np.int64)
        return result

    def bound(self, codes: ArrayLike) -> Array:
        """How far 4^-k z may be from the sum of unrounded products, (..., rows)."""
        q = self._as_codes("telamon.quant.IntegerLinear.bound", codes)
        x, w = np.abs(self._x[q]).sum(axis=-1), np.abs(self._w[self._codes]).sum(axis=-1)
        result: Array = 2.0 ** (-self.k - 1) * np.add.outer(x, w) + q.shape[-1] * 4.0 ** (-self.k - 1)
        return result

    def values(self, codes: ArrayLike) -> Array:
        """The outputs (..., rows) as numbers, float64: the scales times 4^-k z."""
        result: Array = self.accumulate(codes) * (self.scales * 4.0**-self.k)
        return result

    def __call__(self, codes: ArrayLike) -> Array:
        """Output codes (..., rows), int8, of input codes (..., inputs), without one number that is no integer."""
        if self.thresholds is None:
            raise ValueError(
                "telamon.quant.IntegerLinear: there is no quantiser of outputs; pass outputs, output_scale"
            )
        z = self.accumulate(codes)
        size, out = np.abs(z), np.empty(z.shape, np.int8)
        for row, edges in enumerate(self.thresholds):
            out[..., row] = np.searchsorted(edges, size[..., row], side="right")
        result: Array = (np.sign(z) * out).astype(np.int8)
        return result

    def _as_codes(self, where: str, codes: ArrayLike) -> Array:
        q = np.asarray(codes)
        n = (1 << (self.inputs.bits - 1)) - 1
        if q.dtype.kind not in "iu" or q.ndim < 1 or q.shape[-1] != self.weights.shape[1]:
            raise ValueError(f"{where}: codes are {q.shape} of {q.dtype}; pass integers (..., {self.weights.shape[1]})")
        if q.size and not (q.min() >= -n and q.max() <= n):
            raise ValueError(f"{where}: codes lie in [{q.min()}, {q.max()}]; those of inputs in [{-n}, {n}]")
        return q.astype(np.int64) + n
