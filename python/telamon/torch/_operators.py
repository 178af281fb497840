"""How a kernel becomes a differentiable function of tensors, for every core's adapter.

`register` adds a kernel with its gradient formula, for tensors that are already checked and brought to one dtype and
device. It is then callable as `lib.<name>`, which takes one of three ways:

- the operator torch.ops.telamon.<name>, which torch.compile, torch.export and tracers put into their graphs;
- a torch.autograd.Function around the operator under torch.func's transforms, where an operator's own formula does
  not work;
- otherwise a torch.autograd.Function straight around the kernel, since PyTorch's dispatcher costs more than a small
  kernel does.

A formula is composed of functions of the namespace that it is given, so it can be differentiated in the same way
again. There is no forward mode: torch.compile rejects a Function with a jvp, and forward over forward would silently
be 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
FULL = (torch.float32, torch.float64)

lib = SimpleNamespace(where=torch.where)
# The same for formulas that run under torch.func's transforms, and for the rules of torch.vmap.
_transformed = SimpleNamespace(where=torch.where)
_operators = SimpleNamespace(where=torch.where)
_Library: Any = torch.library.Library  # PyTorch has no types for it
_library = _Library("telamon", "FRAGMENT")
_PLAIN = (Tensor, torch.nn.Parameter)
BUILTINS = (str, int, bool, type(None))  # asked for by type, since PyTorch makes isinstance of its tensors slow


def register(
    name: str,
    schema: str,
    run: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    batched: Callable[..., tuple[Any, Any]],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
    variadic: bool = False,
) -> None:
    """Add a kernel to both namespaces.

    Parameters
    ----------
    name, schema : str
        The operator's name, and its arguments and results as in ``"(Tensor x, int n) -> Tensor"``.
    run, fake
        The kernel on real tensors, and on those that have a shape only.
    batched : callable (namespace, info, in_dims, *args) -> (result, out_dims)
        The rule of torch.vmap.
    setup_context, backward
        As in torch.autograd.Function; `backward` is called with the namespace to work in, ctx, which of the inputs
        need a gradient, and the gradients.
    variadic : bool
        The first argument is a list of tensors, as are the first of `needed` and of the results of `backward`.
    """
    _library.define(name + schema)
    _library.impl(name, run, "CompositeExplicitAutograd")
    qualified = f"telamon::{name}"
    torch.library.register_fake(qualified, fake, lib=_library)
    torch.library.register_vmap(qualified, partial(batched, _operators), lib=_library)
    torch.library.register_autograd(
        qualified,
        lambda ctx, *grads: backward(lib, ctx, ctx.needs_input_grad, *grads),
        setup_context=setup_context,
        lib=_library,
    )
    op = getattr(torch.ops.telamon, name).default

    # A Function sees no tensors in a list among its arguments: it takes (length, *list, *others).
    def pack(args: Any) -> Any:
        return (len(args[0]), *args[0], *args[1:]) if variadic else args

    def unpack(args: Any) -> Any:
        return (list(args[1 : 1 + args[0]]), *args[1 + args[0] :]) if variadic else args

    def save(ctx: Any, inputs: Any, output: Any) -> None:
        setup_context(ctx, unpack(inputs), output)
        ctx.length = inputs[0] if variadic else None

    def formula(namespace: SimpleNamespace, ctx: Any, *grads: Any) -> Any:
        if not variadic:
            return backward(namespace, ctx, ctx.needs_input_grad, *grads)
        result = backward(namespace, ctx, unpack((ctx.length, *ctx.needs_input_grad[1:])), *grads)
        return (None, *pack(result)[1:])

    class Transformed(torch.autograd.Function):
        generate_vmap_rule = True  # by the operators' own rules

        @staticmethod
        def forward(*args: Any) -> Any:
            return op(*unpack(args))

        setup_context = staticmethod(save)
        backward = staticmethod(partial(formula, _transformed))

    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            # PyTorch spends twice the time on a Function that leaves this to setup_context.
            output = run(*unpack(args))
            save(ctx, args, output)
            return output

        backward = staticmethod(partial(formula, lib))

    apply_transformed: Any = Transformed.apply
    apply_eager: Any = Eager.apply

    def transformed(*args: Any) -> Any:
        return apply_transformed(*pack(args))

    def call(*args: Any) -> Any:
        if is_traced():
            return op(*args)
        if torch._C._are_functorch_transforms_active():
            return transformed(*args)
        needed = False
        for a in pack(args) if variadic else args:
            if type(a) in _PLAIN:
                if a.is_meta:
                    return op(*args)
                needed = needed or a.requires_grad
            elif type(a) not in BUILTINS and isinstance(a, Tensor):  # a subclass, which may have ways of its own
                return op(*args)
        if needed and torch.is_grad_enabled():
            return apply_eager(*pack(args))
        return run(*args)

    setattr(_operators, name, op)
    setattr(_transformed, name, transformed)
    setattr(lib, name, call)


def is_traced() -> bool:
    """Whether a compiler or another mode of dispatch watches, which must see operators."""
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def is_watched(*tensors: Tensor) -> bool:
    """Whether a formula must be composed of `lib`'s functions: its derivative may be wanted, or a tracer watches."""
    return (
        torch.is_grad_enabled()
        or is_traced()
        or torch._C._are_functorch_transforms_active()
        or any(type(t) not in _PLAIN for t in tensors)
    )


def batch_first(info: Any, dim: int | None, t: Tensor) -> Tensor:
    """A tensor as torch.vmap hands it to a rule, with its batch dimension in front; a constant one is repeated."""
    return t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)


def numpy_view(t: Tensor) -> Any:
    """The CPU tensor's memory as a NumPy array, whatever its strides."""
    if t.requires_grad:
        t = t.detach()
    return t.resolve_neg().numpy() if t.is_neg() else t.numpy()
