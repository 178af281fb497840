"""`telamon.special` for PyTorch: the same functions on tensors, differentiable in the order and in the argument.

Every function takes tensors of float32 or float64 that broadcast, or a Python number for one of the two, and works
under autograd, `torch.func` transforms, `torch.vmap` and `torch.compile(fullgraph=True)`. log_iv, log_kv, log_ive
and log_kve can be differentiated twice, the others once; one more derivative raises NotImplementedError.

CPU tensors are read in place, as NumPy views, without a copy where their strides allow; CUDA tensors stay on their
device, on PyTorch's current stream (see `telamon.cuda`). float16 and bfloat16 are computed in float32 and rounded
back. Types promote as in PyTorch: a 0-dimensional tensor or a number does not widen the other argument.

    >>> import torch, telamon.torch as tt
    >>> x = torch.tensor([0.5, 2.0, 300.0], dtype=torch.float64, requires_grad=True)
    >>> tt.log_iv(1.5, x).sum().backward()
    >>> x.grad        # d/dx log I_v(x)
    tensor([3.0968, 0.9240, 0.9984], dtype=torch.float64)
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from . import _core
from ._derivatives import BINARY, LOGARITHMS, gradient

__all__ = list(BINARY)

_HALF = (torch.float16, torch.bfloat16)
_FULL = (torch.float32, torch.float64)

_broadcast: Any = torch.broadcast_tensors  # PyTorch has no types for it

# The kernels are operators, torch.ops.telamon.<name>, for tensors of one shape, dtype and device.
# Their gradient formulas are attached twice. To the operators, which is what torch.compile traces; and to
# torch.autograd.Functions around them, since an operator's own formula does not work under torch.func.grad. The two
# namespaces have the same functions, and a formula calls those of its own.
#
# There is no forward mode: torch.compile rejects a Function with a jvp, and forward over forward would silently be 0.
_operators = SimpleNamespace(where=torch.where)
_functions = SimpleNamespace(where=torch.where)


def _evaluate(name: str, v: Tensor, x: Tensor, n_outputs: int) -> tuple[Tensor, ...]:
    """Run `_core.<name>`, or its CUDA kernel, into new contiguous tensors."""
    outs = tuple(x.new_empty(x.shape) for _ in range(n_outputs))
    if x.device.type == "cpu":
        arrays = [t.detach().resolve_neg().numpy() for t in (v, x)]
        getattr(_core, name)(*arrays, out=tuple(out.numpy() for out in outs))
    elif x.device.type == "cuda":
        from . import cuda

        cuda.launch(name, v, x, outs)
    else:
        raise ValueError(f"telamon.torch.{name}: x is on {x.device}; move it to a CPU or CUDA device")
    return outs


def _define_operator(name: str, n_outputs: int) -> None:
    """Register torch.ops.telamon.<name>."""

    def run(v: Tensor, x: Tensor) -> Any:
        outs = _evaluate(name, v, x, n_outputs)
        return outs[0] if n_outputs == 1 else outs

    def fake(v: Tensor, x: Tensor) -> Any:
        outs = tuple(x.new_empty(x.shape) for _ in range(n_outputs))
        return outs[0] if n_outputs == 1 else outs

    def batched(info: Any, in_dims: tuple[int | None, int | None], v: Tensor, x: Tensor) -> tuple[Any, Any]:
        # Elementwise: bring the batch dimension of both to the front, and call once.
        v, x = (
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip((v, x), in_dims, strict=True)
        )
        return op(v, x), (0 if n_outputs == 1 else (0,) * n_outputs)

    result = "Tensor" if n_outputs == 1 else f"({', '.join(['Tensor'] * n_outputs)})"
    op = torch.library.custom_op(f"telamon::{name}", run, mutates_args=(), schema=f"(Tensor v, Tensor x) -> {result}")
    op.register_fake(fake)
    op.register_vmap(batched)


def _define(name: str, n_outputs: int, setup_context: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Add the operator and the Function; `backward` takes the namespace to work in, ctx, and the gradients."""
    _define_operator(name, n_outputs)
    op = getattr(torch.ops.telamon, name).default
    torch.library.register_autograd(f"telamon::{name}", partial(backward, _operators), setup_context=setup_context)
    setattr(_operators, name, op)

    def forward(v: Tensor, x: Tensor) -> Any:
        return op(v, x)

    members = {
        "generate_vmap_rule": True,  # by the operators' own rules
        "forward": staticmethod(forward),
        "setup_context": staticmethod(setup_context),
        "backward": staticmethod(partial(backward, _functions)),
    }
    function: Any = type(name, (torch.autograd.Function,), members)
    setattr(_functions, name, function.apply)


def _define_value(name: str) -> None:
    """A function of telamon.special, whose gradient is composed of other functions."""

    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    def backward(lib: SimpleNamespace, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        v, x, out = ctx.saved_tensors
        dv, dx = gradient(lib, name, v, x, out)
        return grad * dv if ctx.needs_input_grad[0] else None, grad * dx if ctx.needs_input_grad[1] else None

    _define(name, 1, setup_context, backward)


def _define_grad(name: str) -> None:
    """(value, d/dv, d/dx) in one pass. It saves its own derivatives, so that a first backward costs two products."""

    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, *output[1:])
        ctx.set_materialize_grads(False)

    def backward(lib: SimpleNamespace, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        v, x, dv, dx = ctx.saved_tensors
        by_value, by_dv, by_dx = grads
        terms = [] if by_value is None else [(by_value, dv, dx)]
        if by_dv is not None or by_dx is not None:
            dvv, dvx, dxx = getattr(lib, f"{name}_hess")(v, x)
            terms += [] if by_dv is None else [(by_dv, dvv, dvx)]
            terms += [] if by_dx is None else [(by_dx, dvx, dxx)]
        total_v = sum(g * a for g, a, _ in terms) if terms and ctx.needs_input_grad[0] else None
        total_x = sum(g * b for g, _, b in terms) if terms and ctx.needs_input_grad[1] else None
        return total_v, total_x

    _define(f"{name}_grad", 3, setup_context, backward)


def _define_hess(name: str) -> None:
    """(d2/dv2, d2/dvdx, d2/dx2) in one pass; the end of the chain."""

    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
        pass

    def backward(lib: SimpleNamespace, ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
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
            if value.dtype not in _FULL and value.dtype not in _HALF:
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
    compute = torch.float32 if dtype in _HALF else dtype
    v, x = _broadcast(v.to(compute), x.to(compute))
    return v, x, dtype


def _public(name: str, second: str = "x") -> Callable[[Tensor | float, Tensor | float], Tensor]:
    twice = name in LOGARITHMS

    def call(v: Tensor | float, x: Tensor | float) -> Tensor:
        a, b, dtype = _prepare(name, v, x, second)
        lib = _operators if torch.compiler.is_compiling() else _functions
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
