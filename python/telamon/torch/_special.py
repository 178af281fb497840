"""`telamon.special` on tensors, differentiable in the order and in the argument; documented in `telamon.torch`."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .. import _core
from .._derivatives import BINARY, LOGARITHMS, gradient
from ._operators import FULL, HALF, batch_first, lib, numpy_view, register

__all__ = list(BINARY)

_broadcast: Any = torch.broadcast_tensors  # PyTorch has no types for it


def _evaluate(name: str, v: Tensor, x: Tensor, n_outputs: int) -> tuple[Tensor, ...]:
    """Run `_core.<name>`, or its CUDA kernel, into new contiguous tensors."""
    outs = tuple(x.new_empty(x.shape) for _ in range(n_outputs))
    if x.device.type == "cpu":
        getattr(_core, name)(numpy_view(v), numpy_view(x), out=tuple(out.numpy() for out in outs))
    elif x.device.type == "cuda":
        from .. import cuda

        cuda.launch(name, v, x, outs)
    else:
        raise ValueError(f"telamon.torch.{name}: x is on {x.device}; move it to a CPU or CUDA device")
    return outs


def _define(name: str, n_outputs: int, setup_context: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Add a kernel of two tensors of one shape."""

    def run(v: Tensor, x: Tensor) -> Any:
        outs = _evaluate(name, v, x, n_outputs)
        return outs[0] if n_outputs == 1 else outs

    def fake(v: Tensor, x: Tensor) -> Any:
        outs = tuple(x.new_empty(x.shape) for _ in range(n_outputs))
        return outs[0] if n_outputs == 1 else outs

    def batched(lib: SimpleNamespace, info: Any, in_dims: tuple[int | None, ...], v: Tensor, x: Tensor) -> Any:
        v, x = batch_first(info, in_dims[0], v), batch_first(info, in_dims[1], x)
        return getattr(lib, name)(v, x), (0 if n_outputs == 1 else (0,) * n_outputs)

    result = "Tensor" if n_outputs == 1 else f"({', '.join(['Tensor'] * n_outputs)})"
    register(
        name,
        f"(Tensor v, Tensor x) -> {result}",
        run,
        fake=fake,
        batched=batched,
        setup_context=setup_context,
        backward=backward,
    )


def _define_value(name: str) -> None:
    """A function of telamon.special, whose gradient is composed of other functions."""

    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    def backward(lib: SimpleNamespace, ctx: Any, needed: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        v, x, out = ctx.saved_tensors
        dv, dx = gradient(lib, name, v, x, out)
        return grad * dv if needed[0] else None, grad * dx if needed[1] else None

    _define(name, 1, setup_context, backward)


def _define_grad(name: str) -> None:
    """(value, d/dv, d/dx) in one pass. It saves its own derivatives, so that a first backward costs two products."""

    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, *output[1:])
        ctx.set_materialize_grads(False)

    def backward(lib: SimpleNamespace, ctx: Any, needed: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        v, x, dv, dx = ctx.saved_tensors
        by_value, by_dv, by_dx = grads
        terms = [] if by_value is None else [(by_value, dv, dx)]
        if by_dv is not None or by_dx is not None:
            dvv, dvx, dxx = getattr(lib, f"{name}_hess")(v, x)
            terms += [] if by_dv is None else [(by_dv, dvv, dvx)]
            terms += [] if by_dx is None else [(by_dx, dvx, dxx)]
        total_v = sum(g * a for g, a, _ in terms) if terms and needed[0] else None
        total_x = sum(g * b for g, _, b in terms) if terms and needed[1] else None
        return total_v, total_x

    _define(f"{name}_grad", 3, setup_context, backward)


def _define_hess(name: str) -> None:
    """(d2/dv2, d2/dvdx, d2/dx2) in one pass; the end of the chain."""

    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
        pass

    def backward(lib: SimpleNamespace, ctx: Any, needed: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError(f"telamon.torch: derivatives beyond those of {name}_hess are not implemented")

    _define(f"{name}_hess", 3, setup_context, backward)


for _name in LOGARITHMS:
    _define_hess(_name)
    _define_grad(_name)
for _name in BINARY:
    _define_value(_name)


def _prepare(name: str, v: Any, x: Any, second: str) -> tuple[Tensor, Tensor, torch.dtype]:
    """Check the arguments and bring them to one shape, device and compute dtype; also the dtype of the result."""
    if not isinstance(v, Tensor) and not isinstance(x, Tensor):
        raise TypeError(f"telamon.torch.{name}: neither v nor {second} is a tensor; pass torch.as_tensor({second})")
    for label, value in (("v", v), (second, x)):
        if isinstance(value, Tensor):
            if value.dtype not in FULL and value.dtype not in HALF:
                raise TypeError(
                    f"telamon.torch.{name}: {label} has dtype {value.dtype}; pass {label}.to(torch.float64), or float32"
                )
        elif not isinstance(value, (numbers.Real, torch.SymFloat, torch.SymInt)):
            raise TypeError(
                f"telamon.torch.{name}: {label} is a {type(value).__name__}; pass a tensor or a real number"
            )
    if not isinstance(v, Tensor):
        v = x.new_full((), v)
    elif not isinstance(x, Tensor):
        x = v.new_full((), x)
    if v.device != x.device:
        raise ValueError(
            f"telamon.torch.{name}: v is on {v.device} and {second} on {x.device}; move v or {second} to one device"
        )
    if (v.ndim == 0) == (x.ndim == 0):
        dtype = torch.promote_types(v.dtype, x.dtype)
    else:  # as torch.result_type, which the compiler cannot trace
        dtype = x.dtype if v.ndim == 0 else v.dtype
    compute = torch.float32 if dtype in HALF else dtype
    v, x = _broadcast(v.to(compute), x.to(compute))
    return v, x, dtype


def _public(name: str, second: str = "x") -> Callable[[Tensor | float, Tensor | float], Tensor]:
    twice = name in LOGARITHMS

    def call(v: Tensor | float, x: Tensor | float) -> Tensor:
        a, b, dtype = _prepare(name, v, x, second)
        if twice and torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
            out = getattr(lib, f"{name}_grad")(a, b)[0]  # one pass, now that a backward is likely to follow
        else:
            out = getattr(lib, name)(a, b)
        result: Tensor = out.to(dtype)
        return result

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""{BINARY[name]}, elementwise. {"Twice" if twice else "Once"} differentiable in v and {second}.

    Parameters
    ----------
    v, {second} : Tensor or float
        Tensors of float32, float64, float16 or bfloat16 that broadcast, on one device; one of them may be a number.

    Returns
    -------
    Tensor
        Of the broadcast shape and the promoted type. Domain, edge cases and error bounds: `telamon.special.{name}`.

    Raises
    ------
    TypeError
        If an argument is neither a tensor nor a number, or a tensor of another type (integers, bool, complex).
    ValueError
        If the tensors lie on different devices, or on one that is neither CPU nor CUDA.
    """
    return call


log_iv = _public("log_iv")
log_kv = _public("log_kv")
log_ive = _public("log_ive")
log_kve = _public("log_kve")
iv_ratio = _public("iv_ratio")
iv_ratio_c = _public("iv_ratio_c")
kv_ratio = _public("kv_ratio")
log_iv_dv = _public("log_iv_dv")
log_iv_dx = _public("log_iv_dx")
log_kv_dv = _public("log_kv_dv")
log_kv_dx = _public("log_kv_dx")
log_iv_dxx = _public("log_iv_dxx")
log_kv_dxx = _public("log_kv_dxx")

_iv_ratioinv = _public("iv_ratioinv", "r")


def iv_ratioinv(v: Tensor | float, r: Tensor | float) -> Tensor:
    return _iv_ratioinv(v, r)


iv_ratioinv.__doc__ = _iv_ratioinv.__doc__
