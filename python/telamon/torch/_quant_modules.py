"""Linear layers of few bits as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .. import _quant_shapes as shapes
from ._operators import HALF, is_traced, lib
from ._quant import quant_dequantize

if TYPE_CHECKING:
    from ..quant import QuantizedMatrix

__all__ = ["QuantLinear"]


class QuantLinear(nn.Module):
    """A linear layer whose weights are packed codes of few bits: x W' + bias, with the gradient in x.

    All zeros to begin with, to be filled by `load_state_dict`; `from_matrix` takes what `telamon.quant.quantize_layer`
    made. The codes are fixed: only x has a gradient. Codebooks keep their type when the module is cast to another.

    Parameters
    ----------
    in_features, out_features : int
    bits : int
        1 to 8.
    bias : bool
    group_size : int or None
        Inputs with a codebook of their own; None: all of a row.
    precision : {"fast", "exact"}
        As in `telamon.quant.QuantizedMatrix.matmul`, on the CPU; on a GPU products are exact.
    device : optional
        Of the buffers.

    Attributes
    ----------
    codes : Tensor (out_features, ceil(in_features/64) 8 bits) of uint8
    codebooks : Tensor (out_features, groups, 2^bits) of float16
        Or of float32, from a matrix with such.
    bias : Tensor (out_features,) or None
        All three are buffers.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from telamon.quant import QuantizedMatrix
    >>> w = QuantizedMatrix.from_codes([[0, 1, 1, 0]], [[-1.0, 2.0]], bits=1, bias=[0.5])
    >>> QuantLinear.from_matrix(w, precision="exact")(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([5.5000])
    """

    codes: Tensor
    codebooks: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bits: int,
        bias: bool = True,
        group_size: int | None = None,
        precision: str = "fast",
        *,
        device: Any = None,
    ) -> None:
        super().__init__()
        where = "telamon.torch.QuantLinear"
        self.in_features = shapes.whole(where, "in_features", in_features, 1)
        self.out_features = shapes.whole(where, "out_features", out_features, 0)
        self.bits = shapes.whole(where, "bits", bits, 1, 8)
        self.group_size, self._group = group_size, shapes.group_of(where, group_size)
        shapes.check_precision(where, precision)
        self.precision = precision
        rows, groups = out_features, shapes.groups_of(in_features, self._group)
        codes = torch.zeros(rows, shapes.row_bytes(in_features, bits), dtype=torch.uint8, device=device)
        self.register_buffer("codes", codes)
        codebooks = torch.zeros(rows, groups, 1 << bits, dtype=torch.float16, device=device)
        self.register_buffer("codebooks", codebooks)
        self.register_buffer("bias", torch.zeros(rows, device=device) if bias else None)
        self._single: tuple[Tensor, int, Tensor] | None = None

    @classmethod
    def from_matrix(cls, matrix: QuantizedMatrix, bias: Any = None, precision: str = "fast") -> QuantLinear:
        """A module with a copy of the matrix' arrays.

        Parameters
        ----------
        matrix : telamon.quant.QuantizedMatrix
            Without outliers.
        bias : array_like (rows,), optional
            By default the matrix' own.
        precision : {"fast", "exact"}

        Raises
        ------
        ValueError
            If the matrix has outliers, or the bias is not one number a row.
        """
        where = "telamon.torch.QuantLinear.from_matrix"
        if matrix.outliers is not None:
            raise ValueError(f"{where}: the matrix has outliers, for which modules have no place; quantize without")
        rows, inputs = matrix.shape
        bias = matrix.bias if bias is None else bias
        made = cls(inputs, rows, matrix.bits, bias is not None, matrix.group_size, precision, device="cpu")
        made.codes = torch.from_numpy(matrix.packed.copy())
        made.codebooks = torch.from_numpy(matrix.codebooks.copy())
        if bias is not None:
            made.bias = torch.as_tensor(bias).detach().clone()
            if made.bias.shape != (rows,):
                raise ValueError(f"{where}: bias has shape {tuple(made.bias.shape)}; pass one number a row, ({rows},)")
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x W' + bias, (..., out_features), in x's dtype; float16 and bfloat16 are computed in float32."""
        if x.dtype != torch.float32 and x.dtype not in HALF:
            raise TypeError(f"telamon.torch.QuantLinear: x has dtype {x.dtype}; pass x.to(torch.float32)")
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(f"telamon.torch.QuantLinear: x has shape {tuple(x.shape)}; pass (..., {self.in_features})")
        if x.device != self.codes.device:
            raise ValueError(
                f"telamon.torch.QuantLinear: x is on {x.device}, the module on {self.codes.device}; move one"
            )
        numbers = self.bits, self._group, self.in_features, self.precision
        out: Tensor = lib.quant_matmul(x.float(), self.codes, self._books(), *numbers)
        if self.bias is not None:
            out = out + self.bias.float()
        return out.to(x.dtype)

    def dequantize(self) -> Tensor:
        """The weights (out_features, in_features) in float32."""
        return quant_dequantize(
            self.codes, self.codebooks, bits=self.bits, inputs=self.in_features, group_size=self.group_size
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bits={self.bits}, "
            f"bias={self.bias is not None}, group_size={self.group_size}, precision={self.precision!r}"
        )

    def _books(self) -> Tensor:
        """The codebooks in float32, made anew when they have changed."""
        books = self.codebooks
        # A change of an inference tensor leaves no trace, and compilers look for one themselves.
        if is_traced() or books.is_inference():
            return books.float()
        if self._single is None or self._single[0] is not books or self._single[1] != books._version:
            self._single = books, books._version, books.float()
        return self._single[2]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantLinear:
        # Codebooks follow to other devices, but not to bfloat16, which would round them once more.
        books = self.codebooks
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.codebooks.dtype != books.dtype:
            self.codebooks = books.to(self.codebooks.device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_single": None}
