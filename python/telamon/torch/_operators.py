"""How a kernel becomes an operator of PyTorch with gradients, for every core's adapter.

A kernel is registered as torch.ops.telamon.<name>, for tensors that are already checked and brought to one dtype and
device. Its gradient formula is attached twice. To the operator, which is what autograd and torch.compile use; and to a
torch.autograd.Function around it, since an operator's own formula does not work under torch.func.grad. The two
namespaces have the same functions, and a formula calls those of its own, so derivatives of derivatives stay in it.

There is no forward mode: torch.compile rejects a Function with a jvp, and forward over forward would silently be 0.
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

_operators = SimpleNamespace(where=torch.where)
_functions = SimpleNamespace(where=torch.where)

_Library: Any = torch.library.Library  # PyTorch has no types for it
_library = _Library("telamon", "FRAGMENT")


def namespace() -> SimpleNamespace:
    """The kernels as they are to be called here: as Functions under torch.func's transforms, else as operators."""
    transformed = torch._C._are_functorch_transforms_active()
    return _functions if transformed and not torch.compiler.is_compiling() else _operators


def register(
    name: str,
    schema: str,
    run: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    batched: Callable[..., tuple[Any, Any]],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
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
        As in torch.autograd.Function; `backward` is called with the namespace to work in, ctx and the gradients.
    """
    _library.define(name + schema)
    # Not torch.library.custom_op, whose checks of every call cost more than a small kernel does.
    _library.impl(name, run, "CompositeExplicitAutograd")
    qualified = f"telamon::{name}"
    torch.library.register_fake(qualified, fake, lib=_library)
    torch.library.register_vmap(qualified, partial(batched, _operators), lib=_library)
    torch.library.register_autograd(qualified, partial(backward, _operators), setup_context=setup_context, lib=_library)
    op = getattr(torch.ops.telamon, name).default
    setattr(_operators, name, op)

    def forward(*args: Any) -> Any:
        return op(*args)

    members = {
        "generate_vmap_rule": True,  # by the operators' own rules
        "forward": staticmethod(forward),
        "setup_context": staticmethod(setup_context),
        "backward": staticmethod(partial(backward, _functions)),
    }
    function: Any = type(name, (torch.autograd.Function,), members)
    setattr(_functions, name, function.apply)


def batch_first(info: Any, dim: int | None, t: Tensor) -> Tensor:
    """A tensor as torch.vmap hands it to a rule, with its batch dimension in front; a constant one is repeated."""
    return t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)


def numpy_view(t: Tensor) -> Any:
    """The CPU tensor's memory as a NumPy array, whatever its strides."""
    return t.detach().resolve_neg().numpy()
