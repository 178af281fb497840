"""Hessians of a layer from its calibration inputs, plain and guided by gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._check import as_choice, as_tokens, as_whole

Array = NDArray[Any]

__all__ = ["HessianAccumulator"]

_TOKENS = 1024  # at a time: what is converted to double stays small


class HessianAccumulator:
    """Sums up X'X, and X' diag(s_k) X for groups k of output channels, over batches of calibration tokens.

    .. math:: H = \\sum_i x_i x_i', \\qquad \\bar H_k = \\sum_i s_{ki}\\, x_i x_i', \\qquad
              s_{ki} = \\frac{1}{|J_k|} \\sum_{j \\in J_k} \\Big(\\frac{\\partial \\ell}{\\partial z_{ij}}\\Big)^2

    with J_k the k-th group of consecutive output channels and z the layer's outputs: the guided Hessians of GuidedQuant
    (arXiv:2505.07004). Inputs come in float32 as a rule; products and sums are in double precision, so that neither the
    order of batches nor small gradients matter. 8 n^2 bytes for the plain matrix and for each group.

    Parameters
    ----------
    inputs : int
        n, the layer's inputs.
    groups : int or sequence of int, optional
        So many groups of output channels of equal size, or the sizes of groups, which may differ. None: no guided
        Hessians.
    precision : {"double", "single"}
        "single" multiplies batches in float32 and sums them up in double: twice as fast, with relative errors of about
        1e-6 in each entry.

    Attributes
    ----------
    tokens : int
        Those counted so far, without masked ones.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
    >>> whole, parts = HessianAccumulator(8), [HessianAccumulator(8), HessianAccumulator(8)]
    >>> whole.update(x).tokens
    100
    >>> for accumulator, part in zip(parts, (x[:30], x[30:])):
    ...     _ = accumulator.update(part)
    >>> bool(np.allclose((parts[0] + parts[1]).hessian, whole.hessian, rtol=1e-14))
    True
    """

    def __init__(self, inputs: int, groups: int | Sequence[int] | None = None, *, precision: str = "double") -> None:
        where = "telamon.quant.HessianAccumulator"
        self.inputs = as_whole(where, "inputs", inputs, 1)
        self.precision = as_choice(where, "precision", precision, ("double", "single"))
        self.groups: int | tuple[int, ...] | None
        if groups is None:
            self.groups = None
        elif isinstance(groups, int | np.integer):
            self.groups = as_whole(where, "groups", groups, 1)
        else:
            self.groups = tuple(as_whole(where, "groups", size, 1) for size in groups)
            if not self.groups:
                raise ValueError(f"{where}: groups is empty; pass the sizes of groups, or how many there are")
        self.tokens = 0
        self._outputs: int | None = None if isinstance(self.groups, int | None) else sum(self.groups)
        count = 0 if self.groups is None else self.groups if isinstance(self.groups, int) else len(self.groups)
        self._plain = np.zeros((self.inputs, self.inputs))
        self._guided = np.zeros((count, self.inputs, self.inputs))
        self._moments = np.zeros((2, count))  # the sums of s and of s^2

    def update(
        self, x: ArrayLike, gradients: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> HessianAccumulator:
        """Add a batch of tokens.

        Parameters
        ----------
        x : array_like (..., inputs)
            The layer's inputs.
        gradients : array_like (..., outputs), optional
            Of the loss in the layer's outputs, token by token; asked for where there are groups. Their scale does not
            matter, even where their squares would vanish in float32.
        mask : array_like (...), optional
            True, or not 0, for tokens that count; padding must not.

        Returns
        -------
        HessianAccumulator
            Itself.

        Raises
        ------
        ValueError
            If shapes do not go together, or counted tokens are NaN or infinite; then nothing was added.
        """
        where = "telamon.quant.HessianAccumulator.update"
        leading = np.shape(x)[:-1]
        tokens = as_tokens(where, "x", x)
        if tokens.shape[1] != self.inputs:
            raise ValueError(f"{where}: x has shape {np.shape(x)}; pass (..., {self.inputs})")
        slopes = self._as_gradients(where, gradients, leading)
        if mask is not None:
            counted = np.asarray(mask)
            if counted.shape != leading:
                raise ValueError(f"{where}: mask has shape {counted.shape}, x has tokens {leading}; pass one a token")
            keep = counted.reshape(-1) != 0
            tokens, slopes = tokens[keep], None if slopes is None else slopes[keep]
        for name, values in (("x", tokens), ("gradients", slopes)):
            if values is not None and not np.isfinite(values).all():
                bad = np.count_nonzero(~np.isfinite(values).all(axis=1))
                raise ValueError(
                    f"{where}: {name} is NaN or infinite in {bad} of {len(values)} tokens; mask them, or see where "
                    "the model overflows"
                )
        for first in range(0, len(tokens), _TOKENS):
            part = tokens[first : first + _TOKENS]
            self._add(part, None if slopes is None else self._weights(slopes[first : first + _TOKENS]))
        self.tokens += len(tokens)
        return self

    def _as_gradients(self, where: str, gradients: ArrayLike | None, leading: tuple[int, ...]) -> Array | None:
        if self.groups is None:
            if gradients is not None:
                raise ValueError(f"{where}: there are gradients and no groups; pass HessianAccumulator(inputs, groups)")
            return None
        if gradients is None:
            raise ValueError(f"{where}: guided Hessians need the gradients of the layer's outputs; pass gradients")
        slopes = as_tokens(where, "gradients", gradients)
        if np.shape(gradients)[:-1] != leading:
            raise ValueError(f"{where}: gradients has shape {np.shape(gradients)}, x has tokens {leading}")
        outputs = slopes.shape[1]
        if self._outputs is not None and outputs != self._outputs:
            raise ValueError(
                f"{where}: gradients has {outputs} outputs; groups and batches before have {self._outputs}"
            )
        if isinstance(self.groups, int) and outputs % self.groups:
            raise ValueError(f"{where}: {outputs} outputs are not {self.groups} equal groups; pass groups, their sizes")
        self._outputs = outputs
        return slopes

    def _weights(self, slopes: Array) -> Array:
        """s (groups, tokens)."""
        squares = np.square(slopes, dtype=np.float64)
        sizes = np.array(self.row_groups)
        means: Array = np.add.reduceat(squares, np.cumsum(sizes) - sizes, axis=1) / sizes
        return np.ascontiguousarray(means.T)

    def _add(self, x: Array, weights: Array | None) -> None:
        part = x.astype(np.float64 if self.precision == "double" else np.float32, copy=False)
        self._plain += part.T @ part
        if weights is None:
            return
        self._moments += np.array([weights.sum(axis=1), np.square(weights).sum(axis=1)])
        for guided, s in zip(self._guided, weights, strict=True):
            # The root of s, by its largest, so that float32 holds it; the product is symmetric to the bit.
            largest = float(s.max(initial=0.0))
            if largest > 0:
                scaled = np.sqrt(s / largest)[:, None].astype(part.dtype) * part
                guided += largest * (scaled.T @ scaled).astype(np.float64)

    @property
    def row_groups(self) -> list[int]:
        """How many output channels each group has; after the first batch, where only their number was given."""
        if self.groups is None:
            return []
        if not isinstance(self.groups, int):
            return list(self.groups)
        if self._outputs is None:
            raise ValueError("telamon.quant.HessianAccumulator: the outputs are known after the first batch")
        return [self._outputs // self.groups] * self.groups

    @property
    def hessian(self) -> Array:
        """H = X'X (inputs, inputs), float64."""
        result: Array = self._plain.copy()
        return result

    @property
    def guided(self) -> list[Array]:
        """The guided Hessians of the groups, each (inputs, inputs), float64."""
        return [guided.copy() for guided in self._guided]

    @property
    def effective_samples(self) -> list[float]:
        """(sum s)^2 / sum s^2 of each group: so many tokens of equal weight would tell as much. 0 where all are 0."""
        return [float(s * s / ss) if ss > 0 else 0.0 for s, ss in self._moments.T]

    def __add__(self, other: HessianAccumulator) -> HessianAccumulator:
        where = "telamon.quant.HessianAccumulator"
        if not isinstance(other, HessianAccumulator):
            return NotImplemented
        if (self.inputs, self.groups) != (other.inputs, other.groups) or (
            self._outputs != other._outputs and None not in (self._outputs, other._outputs)
        ):
            raise ValueError(
                f"{where}: {self.inputs} inputs in groups {self.groups} and {other.inputs} in {other.groups} do not add"
            )
        total = HessianAccumulator(self.inputs, self.groups, precision=self.precision)
        total.tokens = self.tokens + other.tokens
        total._outputs = other._outputs if self._outputs is None else self._outputs
        total._plain, total._guided = self._plain + other._plain, self._guided + other._guided
        total._moments = self._moments + other._moments
        return total

    # ---- storage: triangles, since the matrices are symmetric

    def to_arrays(self) -> dict[str, Array]:
        """Triangles of the matrices and what else `from_arrays` needs: half of the memory."""
        below = np.tril_indices(self.inputs)
        groups = self.groups
        sizes = [] if groups is None else [-groups] if isinstance(groups, int) else groups
        return {
            "plain": self._plain[below],
            "guided": self._guided[:, below[0], below[1]],
            "moments": self._moments,
            "groups": np.array(sizes, np.int64),
            "counts": np.array([self.inputs, self.tokens, -1 if self._outputs is None else self._outputs], np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> HessianAccumulator:
        """The inverse of `to_arrays`."""
        inputs, tokens, outputs = (int(value) for value in arrays["counts"])
        sizes = [int(size) for size in arrays["groups"]]
        made = cls(inputs, None if not sizes else -sizes[0] if sizes[0] < 0 else sizes)
        made.tokens, made._outputs = tokens, None if outputs < 0 else outputs
        below = np.tril_indices(inputs)
        for matrix, triangle in zip([made._plain, *made._guided], [arrays["plain"], *arrays["guided"]], strict=True):
            matrix[below] = triangle
            matrix.T[below] = triangle
        made._moments[:] = arrays["moments"]
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.to_arrays(), self.precision)


def _restore(arrays: Mapping[str, Array], precision: str) -> HessianAccumulator:
    made = HessianAccumulator.from_arrays(arrays)
    made.precision = precision
    return made
