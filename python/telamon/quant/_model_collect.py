"""Calibration: the Hessians of a model's linear layers, block by block, and the squared gradients that guide them.

H = sum_t x_t x_t' over the inputs x_t of a layer, and for guidance (GuidedQuant, arXiv:2505.07004)
Hbar_k = sum_t s_k[t] x_t x_t' with s_k[t] the mean of (dl/dz_tj)^2 over the outputs j of group k. The gradients of all
layers come from one backward pass over the model, which keeps only s: one number a token, layer and group. The Hessians
are then summed block by block, so that there are those of one block at a time. Inputs are those of the unquantized
model. Layers that share their input share H.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._hessian import HessianAccumulator
from ._model_blocks import Blocks, Calls, Hidden, call, replay
from ._model_tokens import Batch, negative_log_likelihood

__all__ = ["Inputs", "Saliences", "block_hessians", "head_hessian", "row_groups", "saliences"]

# (tokens, groups) for each layer.
Saliences = dict[str, NDArray[np.float32]]


class Inputs(NamedTuple):
    """What calibration says of a layer.

    hessian (n, n), shared by all layers of `names` that read the same input; guided, one (n, n) a group of rows, or
    empty; tokens; effective_samples, (sum s)^2 / sum s^2, averaged over groups, or the tokens without guidance.
    """

    hessian: NDArray[np.float64] | None
    guided: list[NDArray[np.float64]]
    tokens: int
    effective_samples: float


def row_groups(rows: int, groups: int) -> list[int]:
    """The sizes of `groups` runs of consecutive rows, as equal as they can be."""
    return [len(part) for part in np.array_split(np.arange(rows), groups)]


@contextmanager
def _hooks(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Within, gradients flow to the outputs of layers, not to parameters."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    training = model.training
    handle = model.get_input_embeddings().register_forward_hook(lambda m, args, out: out.requires_grad_(True))  # type: ignore[operator]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        handle.remove()
        model.train(training)
        for parameter in wanted:
            parameter.requires_grad_(True)


def saliences(
    model: nn.Module,
    batches: Sequence[Batch],
    layers: Mapping[str, nn.Linear],
    groups: int,
    step: Callable[[int], None],
) -> tuple[Saliences, float]:
    """s of each layer, scaled to a mean of 1, and the mean negative log-likelihood of the tokens.

    One forward and one backward pass a batch; between batches only s is kept.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    mask: list[Tensor | None] = [None]

    def watch(name: str) -> Callable[..., None]:
        def after(module: nn.Module, args: Any, out: Tensor) -> None:
            sizes = row_groups(out.shape[-1], groups)
            place = len(found[name])  # a layer called twice sees its gradients in the reverse order of its inputs
            found[name].append(_real(torch.zeros(out.shape[:-1].numel(), groups), mask[0], name))

            def squares(gradient: Tensor) -> None:
                g = gradient.reshape(-1, gradient.shape[-1]).float()
                parts = torch.stack([part.square().mean(1) for part in torch.split(g, sizes, dim=1)], dim=1)
                found[name][place] = _real(parts, mask[0], name).cpu()

            out.register_hook(squares)  # type: ignore[no-untyped-call]

        return after

    total, predicted = 0.0, 0
    handles = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    with _hooks(handles), _frozen(model), torch.enable_grad():
        device = next(model.parameters()).device
        for index, batch in enumerate(batches):
            mask[0] = batch.mask
            attention = None if batch.mask is None else batch.mask.to(device).long()
            logits = model(input_ids=batch.ids.to(device), attention_mask=attention, use_cache=False).logits
            loss, count = negative_log_likelihood(logits, batch)
            torch.autograd.backward(loss * 1e3)  # squares of small gradients would be denormal
            total, predicted = total + float(loss.detach()), predicted + count
            del logits, loss
            step(index + 1)
    joined = {name: torch.cat(parts).numpy() for name, parts in found.items() if parts}
    scaled: Saliences = {name: s / np.float32(max(float(s.mean()), 1e-30)) for name, s in joined.items()}
    return scaled, total / max(predicted, 1)


def _real(x: Tensor, mask: Tensor | None, name: str) -> Tensor:
    """The rows of real tokens."""
    if mask is None:
        return x
    if len(x) != mask.numel():
        raise ValueError(
            f"telamon.quant: {name} sees {len(x)} of {mask.numel()} tokens, so that padding cannot be told apart; "
            "pass sequences without padding"
        )
    return x[mask.reshape(-1).to(x.device)]


class _Collector:
    """Sums Hessians in hooks, one for each distinct input among the layers of a block."""

    def __init__(self, layers: Mapping[str, nn.Linear], weights: Saliences) -> None:
        self.layers, self.weights = layers, weights
        self.mask: Tensor | None = None
        self.plain: dict[str, HessianAccumulator] = {}
        self.guided: dict[str, list[HessianAccumulator]] = {}
        self.leader: dict[str, str] = {}  # the first layer that reads the same input
        self.seen: dict[str, int] = dict.fromkeys(layers, 0)
        self._inputs: list[tuple[Tensor, str, NDArray[np.float32]]] = []
        self.handles = [layer.register_forward_hook(self._watch(name)) for name, layer in layers.items()]

    def _watch(self, name: str) -> Callable[..., None]:
        def after(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            leader, x = self._input(name, args[0])
            start = self.seen[name]
            self.seen[name] = start + len(x)
            if self.leader.setdefault(name, leader) != leader:
                raise RuntimeError(f"telamon.quant: {name} shares its input with another layer only now and then")
            if leader == name:
                self.plain.setdefault(name, HessianAccumulator(x.shape[1], precision="single")).update(x)
            s = self.weights.get(name)
            if s is not None:
                s = s[start : start + len(x)]
                each = self.guided.setdefault(
                    name, [HessianAccumulator(x.shape[1], precision="single") for _ in range(s.shape[1])]
                )
                for k, accumulator in enumerate(each):
                    accumulator.update(x * np.sqrt(s[:, k : k + 1]))

        return after

    def _input(self, name: str, x: Tensor) -> tuple[str, NDArray[np.float32]]:
        for other, leader, rows in self._inputs:
            if other is x:
                return leader, rows
        rows = _real(x.detach().reshape(-1, x.shape[-1]).float(), self.mask, name).cpu().numpy()
        self._inputs.append((x, name, rows))
        return name, rows

    def forget(self) -> None:
        """Drops the inputs of the last batch."""
        self._inputs.clear()

    def result(self) -> dict[str, Inputs]:
        plain = {name: accumulator.hessian for name, accumulator in self.plain.items()}
        found = {}
        for name in self.layers:
            s = self.weights.get(name)
            guided = [accumulator.hessian for accumulator in self.guided.get(name, [])]
            effective = float(self.seen[name])
            if s is not None and guided:
                effective = float(
                    np.mean(s.sum(0, np.float64) ** 2 / np.maximum(np.square(s).sum(0, np.float64), 1e-300))
                )
            found[name] = Inputs(plain.get(self.leader.get(name, name)), guided, self.seen[name], effective)
        return found


@torch.no_grad()
def block_hessians(
    block: nn.Module,
    layers: Mapping[str, nn.Linear],
    index: int,
    hidden: Hidden,
    calls: Calls,
    batches: Sequence[Batch],
    weights: Saliences,
) -> dict[str, Inputs]:
    """Runs one block on all batches, replaces their hidden states in place, and returns its layers' Hessians."""
    collector = _Collector(layers, weights)
    with _hooks(collector.handles):
        for i, batch in enumerate(batches):
            collector.mask = batch.mask
            hidden[i] = call(block, hidden[i], calls.arguments[index][i])
            collector.forget()
    return collector.result()


def head_hessian(
    model: nn.Module,
    blocks: Blocks,
    head: tuple[str, nn.Linear],
    hidden: Hidden,
    calls: Calls,
    batches: Sequence[Batch],
    weights: Saliences,
) -> Inputs:
    """The Hessian of the output embeddings, from the hidden states after the last block."""
    collector = _Collector(dict([head]), weights)
    with _hooks(collector.handles):
        for i, batch in enumerate(batches):
            collector.mask = batch.mask
            replay(model, blocks, batch, hidden[i], calls)
            collector.forget()
    return collector.result()[head[0]]
