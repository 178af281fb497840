"""Products with matrices of few bits, Walsh-Hadamard transforms and regularisers; documented in `telamon.torch`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _quant_shapes as shapes
from . import _quant_operators  # noqa: F401  it registers the kernels
from ._operators import FULL, HALF, lib

__all__ = [
    "cauchy_schwarz_binary",
    "cauchy_schwarz_one_sided",
    "cauchy_schwarz_ternary",
    "fwht",
    "quant_dequantize",
    "quant_matmul",
]


# ---- arguments


def _floating(where: str, name: str, x: Any, dtypes: tuple[torch.dtype, ...]) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{where}: {name} is a {type(x).__name__}; pass a tensor")
    if x.dtype not in dtypes:
        raise TypeError(f"{where}: {name} has dtype {x.dtype}; pass {name}.to(torch.float32)")


def _matrix(where: str, codes: Any, codebooks: Any, bits: int, group_size: int | None, inputs: int) -> int:
    """Check the arrays of a matrix; the inputs of a codebook."""
    _floating(where, "codebooks", codebooks, (torch.float32, *HALF))
    if not isinstance(codes, Tensor) or codes.dtype != torch.uint8:
        kind = codes.dtype if isinstance(codes, Tensor) else type(codes).__name__
        raise TypeError(f"{where}: codes is {kind}; pass packed codes, a tensor of torch.uint8")
    if codebooks.requires_grad:
        raise ValueError(f"{where}: codebooks require a gradient, and there is none; pass codebooks.detach()")
    if codes.device != codebooks.device:
        raise ValueError(
            f"{where}: codes are on {codes.device}, codebooks on {codebooks.device}; move them to one device"
        )
    group = shapes.group_of(where, group_size)
    shapes.check_matrix(where, codes.shape, codebooks.shape, bits, group, inputs)
    return group


# ---- products


def quant_matmul(
    x: Tensor,
    codes: Tensor,
    codebooks: Tensor,
    *,
    bits: int,
    group_size: int | None = None,
    precision: str = "exact",
) -> Tensor:
    """x W', with the rows of W as packed codes of few bits. Differentiable in x, to every order.

    The gradient is g W, exact for either precision. On a GPU, up to 16 vectors are multiplied without writing W out.

    Parameters
    ----------
    x : Tensor (..., inputs) of float32, float16 or bfloat16
        Computed in float32, and rounded back.
    codes : Tensor (rows, ceil(inputs/64) 8 bits) of uint8
        ``QuantizedMatrix.packed``.
    codebooks : Tensor (rows, groups, 2^bits) of float32, float16 or bfloat16
        ``QuantizedMatrix.codebooks``. Fixed: without a gradient.
    bits : int
        1 to 8.
    group_size : int or None
        Inputs with a codebook of their own; None: all of a row.
    precision : {"exact", "fast"}
        As in `telamon.quant.QuantizedMatrix.matmul`, on the CPU; on a GPU products are exact.

    Returns
    -------
    Tensor (..., rows)
        Of x's dtype.

    Raises
    ------
    TypeError
        If a tensor is of another type than these.
    ValueError
        If shapes do not fit, tensors lie on different devices, or codebooks require a gradient.

    Examples
    --------
    >>> from telamon.quant import QuantizedMatrix
    >>> w = QuantizedMatrix.from_codes([[0, 1, 1, 0]], [[-1.0, 2.0]], bits=1)
    >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    >>> quant_matmul(x, torch.from_numpy(w.packed), torch.from_numpy(w.codebooks), bits=1)
    tensor([5.])
    """
    where = "telamon.torch.quant_matmul"
    _floating(where, "x", x, (torch.float32, *HALF))
    shapes.check_precision(where, precision)
    inputs = shapes.inputs_of(where, x.shape)
    group = _matrix(where, codes, codebooks, bits, group_size, inputs)
    if x.device != codes.device:
        raise ValueError(f"{where}: x is on {x.device}, codes on {codes.device}; move them to one device")
    out: Tensor = lib.quant_matmul(x.float(), codes, codebooks.float(), bits, group, inputs, precision)
    return out.to(x.dtype)


def quant_dequantize(
    codes: Tensor, codebooks: Tensor, *, bits: int, inputs: int, group_size: int | None = None
) -> Tensor:
    """The matrix (rows, inputs) in float32 that packed codes and codebooks stand for; without a gradient.

    Parameters and errors are those of `quant_matmul`.
    """
    where = "telamon.torch.quant_dequantize"
    group = _matrix(where, codes, codebooks, bits, group_size, inputs)
    out: Tensor = lib.quant_dequantize(codes, codebooks.float(), bits, group, inputs)
    return out


# ---- the Walsh-Hadamard transform


def fwht(x: Tensor, axis: int = -1, *, normalize: bool = True, transpose: bool = False) -> Tensor:
    """The Walsh-Hadamard transform H x along an axis, as `telamon.quant.fwht`. Differentiable to every order.

    Parameters
    ----------
    x : Tensor (..., n, ...) of float32, float64, float16 or bfloat16
        n = m 2^k with m = 1, 12, 20, 28, 36 or another order of `telamon.quant.hadamard`. Half precision is computed in
        float32 and rounded back.
    axis : int
    normalize : bool
        With the factor n^(-1/2), so that norms stay; else entries of H are +-1.
    transpose : bool
        H' x in the place of H x: the inverse of the normalised transform. For powers of two they are the same.

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If x is no tensor of floating point, or there is no matrix of this order.

    Examples
    --------
    >>> fwht(torch.tensor([1.0, 2.0, 3.0, 4.0]), normalize=False)
    tensor([10., -2., -4.,  0.])
    """
    where = "telamon.torch.fwht"
    _floating(where, "x", x, (*FULL, *HALF))
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{where}: axis is {axis}, x has {x.ndim} dimensions")
    rows = x.movedim(axis, -1)
    rows = rows.float() if x.dtype in HALF else rows
    n = rows.shape[-1]
    out: Tensor = lib.quant_fwht(rows, n**-0.5 if normalize and n else 1.0, transpose)
    return out.movedim(-1, axis).to(x.dtype)


# ---- regularisers


def cauchy_schwarz_binary(x: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """N sum x^4 - (sum x^2)^2: zero where all x are +-a, with any a, and positive elsewhere.

    A Cauchy-Schwarz regulariser (arXiv:2503.01639): abs(g)^2 abs(h)^2 - (g.h)^2, zero where h is a multiple of g, here
    with g = 1 and h = x^2. Computed as abs(g)^2 abs(h - (g.h/abs(g)^2) g)^2, which does not cancel.

    Parameters
    ----------
    x : Tensor of floating point
    dim : int or tuple of int, optional
        What a sum goes over, such as -1 for an a of its own for each row; None: all.

    Returns
    -------
    Tensor
        x's shape without these dimensions; add its sum or mean to a loss.

    Examples
    --------
    >>> cauchy_schwarz_binary(torch.tensor([[1.0, -1.0], [1.0, 3.0]]), dim=-1)
    tensor([ 0., 64.])
    """
    return _cauchy_schwarz("cauchy_schwarz_binary", x, dim, 0)


def cauchy_schwarz_one_sided(x: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """sum x^2 sum x^4 - (sum x^3)^2: zero where all x are 0 or a, with any a; `cauchy_schwarz_binary` says more."""
    return _cauchy_schwarz("cauchy_schwarz_one_sided", x, dim, 1)


def cauchy_schwarz_ternary(x: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """sum x^2 sum x^6 - (sum x^4)^2: zero where all x are 0 or +-a, with any a; `cauchy_schwarz_binary` says more."""
    return _cauchy_schwarz("cauchy_schwarz_ternary", x, dim, 2)


def _cauchy_schwarz(function: str, x: Tensor, dim: int | tuple[int, ...] | None, kind: int) -> Tensor:
    _floating(f"telamon.torch.{function}", "x", x, (*FULL, *HALF))
    wide = x.float() if x.dtype in HALF else x
    over = tuple(range(x.ndim)) if dim is None else dim
    square = wide * wide
    g, h = ((torch.ones_like(wide), square), (wide, square), (wide, square * wide))[kind]
    length = (g * g).sum(over, keepdim=True)
    # Where g is 0, so is h.
    multiple = (g * h).sum(over, keepdim=True) / length.clamp_min(torch.finfo(wide.dtype).tiny)
    residual = h - multiple * g
    value = length * (residual * residual).sum(over, keepdim=True)
    return value.squeeze(over).to(x.dtype) if x.ndim else value.to(x.dtype)
