"""The blocks of a language model: found, listed, and run one after the other on inputs that were recorded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ._model_tokens import Batch

__all__ = ["Blocks", "Calls", "Hidden", "call", "find_blocks", "linears", "record", "replay"]

# The hidden states of each batch, (sequences, length, width).
Hidden = list[Tensor]


class Blocks(NamedTuple):
    """The blocks of a model in their order, and the name of the list that holds them."""

    name: str
    modules: list[nn.Module]


class Calls(NamedTuple):
    """How the model calls block b on batch i: arguments[b][i] is (args, kwargs), but for the hidden states."""

    arguments: list[list[tuple[tuple[Any, ...], dict[str, Any]]]]
    returns_tuple: bool


def find_blocks(where: str, model: nn.Module) -> Blocks:
    """The module list with the most weights in nn.Linear, which are the model's repeated blocks."""

    def weights(module: nn.Module) -> int:
        return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))

    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    lists = [(name, m) for name, m in lists if all(weights(block) for block in m)]
    if not lists:
        raise ValueError(
            f"{where}: {type(model).__name__} has no nn.ModuleList of blocks with nn.Linear in each; "
            "pass a decoder whose blocks are made of nn.Linear"
        )
    name, found = max(lists, key=lambda item: weights(item[1]))  # the first of equals, which is the outermost
    modules = list(found)
    if len({id(block) for block in modules}) < len(modules):
        raise ValueError(
            f"{where}: {name} holds the same block more than once, so that its layers see different inputs with the "
            "same weights; copy the block (copy.deepcopy) for each place before quantizing"
        )
    return Blocks(name, modules)


def linears(blocks: Blocks, keep: Callable[[str], bool]) -> list[dict[str, nn.Linear]]:
    """For each block its nn.Linear by their full names, without those to keep as they are."""
    listed = []
    for index, block in enumerate(blocks.modules):
        prefix = f"{blocks.name}.{index}"
        named = ((f"{prefix}.{name}" if name else prefix, m) for name, m in block.named_modules())
        listed.append({name: m for name, m in named if type(m) is nn.Linear and not keep(name)})
    return listed


@contextmanager
def _forwards(blocks: Blocks, forward: Callable[[int], Callable[..., Any]]) -> Iterator[None]:
    """Within, block number b runs forward(b). The modules stay, since models read attributes of their blocks."""
    before = [block.__dict__.get("forward") for block in blocks.modules]
    try:
        for index, block in enumerate(blocks.modules):
            block.forward = forward(index)
        yield
    finally:
        for block, own in zip(blocks.modules, before, strict=True):
            if own is None:
                del block.forward
            else:
                block.forward = own


def _forward(model: nn.Module, batch: Batch) -> Any:
    device = next(model.parameters()).device
    mask = None if batch.mask is None else batch.mask.to(device).long()
    return model(input_ids=batch.ids.to(device), attention_mask=mask, use_cache=False)


@torch.no_grad()
def record(model: nn.Module, blocks: Blocks, batches: Sequence[Batch]) -> tuple[Hidden, Calls]:
    """What goes into the first block, and how the model calls each of them. The blocks themselves do not run.

    Masks and positions may differ from block to block, as where sliding windows alternate with full attention.
    """
    hidden: Hidden = []
    arguments: list[list[Any]] = [[] for _ in blocks.modules]
    first = blocks.modules[0].forward
    kind: list[bool] = []

    def forward(index: int) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if not kind:  # once: whether blocks return the hidden states alone
                kind.append(isinstance(first(*args, **kwargs), tuple))
            rest = dict(kwargs)
            x = args[0] if args else rest.pop("hidden_states")
            if index == 0:
                hidden.append(x)
            arguments[index].append((args[1:], rest))
            return (x,) if kind[0] else x

        return run

    with _forwards(blocks, forward):
        for batch in batches:
            base = getattr(model, "base_model", model)  # without the head, whose logits nobody wants here
            _forward(base if base is not None else model, batch)
    return hidden, Calls(arguments, kind[0])


def call(block: nn.Module, x: Tensor, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> Tensor:
    """The hidden states that the block makes of x."""
    args, kwargs = arguments
    out = block(x, *args, **kwargs)
    hidden: Tensor = out[0] if isinstance(out, tuple) else out
    return hidden


@torch.no_grad()
def replay(model: nn.Module, blocks: Blocks, batch: Batch, last: Tensor, calls: Calls) -> Any:
    """The model's output where the blocks end in the hidden states `last`."""

    def forward(index: int) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            x = last if index == len(blocks.modules) - 1 else (args[0] if args else kwargs["hidden_states"])
            return (x,) if calls.returns_tuple else x

        return run

    with _forwards(blocks, forward):
        return _forward(model, batch)
