"""One run of `quantize_model`: what is left to do, block by block, and what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from . import _hf
from ._matrix import QuantizedMatrix
from ._model import as_texts
from ._model_blocks import find_blocks, linears, record
from ._model_collect import Inputs, Saliences, block_hessians, head_hessian, row_groups, saliences
from ._model_jobs import Job, run_jobs
from ._model_settings import Settings
from ._model_store import Store, check_folder, fingerprint
from ._model_tokens import as_batches, count_tokens, negative_log_likelihood, vocabulary
from ._report import LayerReport, ModelReport, Progress

__all__ = ["Run", "perplexity"]


@torch.inference_mode()
def perplexity(model: Any, tokens: Any, context: int, name: str = "tokens") -> float:
    """See `telamon.quant.perplexity`."""
    batches = as_batches("telamon.quant.perplexity", name, tokens, context, vocabulary(model))
    total, predicted = 0.0, 0
    with _evaluating(model):
        for batch in batches:
            loss, count = _loss(model, batch)
            total, predicted = total + loss, predicted + count
    return math.exp(min(total / max(predicted, 1), 700.0))


def _loss(model: Any, batch: Any) -> tuple[float, int]:
    device = next(iter(model.parameters())).device
    mask = None if batch.mask is None else batch.mask.to(device).long()
    logits = model(input_ids=batch.ids.to(device), attention_mask=mask, use_cache=False).logits
    loss, count = negative_log_likelihood(logits, batch)
    return float(loss), count


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _nbytes(model: nn.Module) -> int:
    """Of parameters and buffers that are saved, each storage once."""
    tensors = {t.data_ptr(): t.numel() * t.element_size() for t in model.state_dict(keep_vars=True).values()}
    return sum(tensors.values())


class Run:
    """The steps of `quantize_model`."""

    def __init__(
        self,
        where: str,
        model: Any,
        tokens: Any,
        settings: Settings,
        context: int,
        executor: Any,
        n_jobs: int | None,
        out_dir: Any,
        progress: bool,
    ) -> None:
        self.where, self.model, self.settings, self.context = where, model, settings, context
        self.executor, self.n_jobs = executor, n_jobs
        self.progress = Progress(progress)
        if getattr(model, "is_quantized", False):
            raise ValueError(f"{where}: the model is quantized already; pass the one with weights of full precision")
        self.blocks = find_blocks(where, model)
        self.layers = linears(self.blocks, settings.keeps)
        self.every: dict[str, nn.Linear] = {name: m for block in self.layers for name, m in block.items()}
        if not self.every:
            raise ValueError(f"{where}: skip leaves no layer to quantize; the first is {self.blocks.name}.0...")
        self.head = self._head()
        if self.head is not None:
            self.every[self.head[0]] = self.head[1]
        if settings.groups > 1:
            name, least = min(((n, m.out_features) for n, m in self.every.items()), key=lambda item: item[1])
            if settings.groups > least:
                raise ValueError(f"{where}: groups is {settings.groups}, and {name} has {least} rows; pass fewer")
        if tokens is None:
            if settings.needs_tokens:
                raise ValueError(f'{where}: method "{settings.method}" needs calibration tokens; "hqq" does not')
            self.batches = []
        else:
            self.batches = as_batches(where, "tokens", tokens, context, vocabulary(model))
        folder = None if out_dir is None else Path(out_dir)
        if folder is not None:
            check_folder(where, folder, 2 * self._size())
        self.store = Store(folder, fingerprint(model, self.batches, settings.to_dict()))
        self.report = ModelReport(
            {**settings.to_dict(), "context": context, "tokens": count_tokens(self.batches)}, self.store.fingerprint
        )
        self.done: dict[str, QuantizedMatrix] = {}

    def _head(self) -> tuple[str, nn.Linear] | None:
        head = self.model.get_output_embeddings()
        if self.settings.head_bits is None or head is None:
            return None
        name = next(name for name, module in self.model.named_modules() if module is head)
        if not isinstance(head, nn.Linear):
            raise ValueError(f"{self.where}: head_bits is given, and {name} is a {type(head).__name__}, not nn.Linear")
        return name, head

    def _bits(self, name: str) -> int:
        if self.head is not None and name == self.head[0]:
            assert self.settings.head_bits is not None
            return self.settings.head_bits
        return self.settings.bits

    def _size(self) -> int:
        """Bytes that the result takes, roughly: whole tensors, and codes with codebooks."""
        packed = sum(m.weight.numel() * self._bits(n) // 8 + 64 * m.out_features for n, m in self.every.items())
        kept = _nbytes(self.model) - sum(m.weight.numel() * m.weight.element_size() for m in self.every.values())
        return packed + max(kept, 0)

    def quantize(self, tokenizer: Any, evaluate: Any) -> ModelReport:
        """All of it."""
        started = time.perf_counter()
        seconds = self.report.seconds = dict.fromkeys(("gradients", "hessians", "layers", "perplexity"), 0.0)
        texts = as_texts(evaluate)
        self.report.nbytes_before = _nbytes(self.model)
        self._note_shared()
        for name in self.every:
            matrix = self.store.load(name)
            if matrix is not None:
                self._finish(name, matrix, resumed=True)
        with _evaluating(self.model):
            self._check_tokenizer()
            self.report.perplexity_before = self._perplexities(texts)
            self._calibrate()
        embeddings = self._embeddings()
        self.report.layers.sort(
            key=lambda layer: list(self.every).index(layer.name) if layer.name in self.every else -1
        )
        self._untie()
        _hf.place(self.model, {name: self.done[name] for name in self.every}, embeddings)
        self.report.nbytes = _nbytes(self.model)
        self.report.perplexity_after = self._perplexities(texts)
        seconds["total"] = time.perf_counter() - started
        if self.store.folder is not None:
            with self.store.finish() as folder:
                self.model.save_pretrained(folder)
                if tokenizer is not None:
                    tokenizer.save_pretrained(folder)
                self.report.save(folder)
        return self.report

    def _note_shared(self) -> None:
        owners: dict[int, str] = {}
        for name, layer in self.every.items():
            other = owners.setdefault(layer.weight.data_ptr(), name)
            if other != name:
                self.report.notes.append(
                    f"{name} shared its weights with {other}; each now has its own, fitted to its inputs."
                )

    @torch.no_grad()
    def _check_tokenizer(self) -> None:
        """A model that is worse than a coin with as many sides as it has tokens has not been trained on these."""
        if not self.batches:
            return
        loss, count = _loss(self.model, self.batches[0])
        chance = math.log(vocabulary(self.model))
        if not math.isfinite(loss):
            raise ValueError(f"{self.where}: the model's loss on the calibration tokens is {loss}; see to its weights")
        if loss / max(count, 1) > chance + 0.5:
            raise ValueError(
                f"{self.where}: the model's loss on the calibration tokens is {loss / count:.2f} nats, where chance "
                f"is {chance:.2f}; the tokens come from another model's tokenizer"
            )

    def _perplexities(self, texts: Mapping[str, Any]) -> dict[str, float]:
        start = time.perf_counter()
        found = {name: perplexity(self.model, tokens, self.context, name) for name, tokens in texts.items()}
        self.report.seconds["perplexity"] += time.perf_counter() - start
        return found

    def _saliences(self) -> Saliences:
        if self.settings.guidance == 0 or all(name in self.done for name in self.every):
            return {}
        found = self.store.load_saliences()
        if found is None:
            start = time.perf_counter()
            step = self.progress.phase("gradients", len(self.batches))
            found = saliences(self.model, self.batches, self.every, self.settings.groups, step)
            self.store.save_saliences(*found)
            self.report.seconds["gradients"] += time.perf_counter() - start
        return found[0]

    def _calibrate(self) -> None:
        """The blocks in their order, up to the last one that has a layer to do, and the head."""
        if not self.batches:
            self._layers({name: Inputs(None, [], 0, 0.0) for name in self.every if name not in self.done})
            return
        weights = self._saliences()
        todo = [{name: m for name, m in block.items() if name not in self.done} for block in self.layers]
        head = self.head if self.head is not None and self.head[0] not in self.done else None
        last = len(todo) if head is not None else max((i + 1 for i, block in enumerate(todo) if block), default=0)
        if last == 0:
            return
        hidden, calls = record(self.model, self.blocks, self.batches)
        step = self.progress.phase("blocks", last)
        for index in range(last):
            start = time.perf_counter()
            inputs = block_hessians(
                self.blocks.modules[index], todo[index], index, hidden, calls, self.batches, weights
            )
            self.report.seconds["hessians"] += time.perf_counter() - start
            self._layers(inputs)
            step(index + 1)
        if head is not None:
            self._layers({head[0]: head_hessian(self.model, self.blocks, head, hidden, calls, self.batches, weights)})

    def _layers(self, inputs: Mapping[str, Inputs]) -> None:
        start = time.perf_counter()
        jobs = [self._job(name, found) for name, found in inputs.items()]
        for result in run_jobs(self.where, jobs, self.executor, self.n_jobs):
            self.store.save(result.name, result.matrix)
            self._finish(result.name, result.matrix, inputs[result.name], result.seconds)
        self.report.seconds["layers"] += time.perf_counter() - start

    def _job(self, name: str, found: Inputs) -> Job:
        weight = self.every[name].weight.detach().float().cpu().numpy()
        options = self.settings.options(self._bits(name))
        hessian = found.hessian
        if found.tokens == 0 and self.batches:
            self.report.notes.append(f"{name} saw no calibration token; its weights count equally.")
            hessian = np.eye(weight.shape[1])
        if found.guided:
            sizes = row_groups(weight.shape[0], self.settings.groups)
            options |= {"Hs": found.guided, "row_groups": sizes, "guidance": self.settings.guidance}
        return Job(name, weight, hessian, options)

    def _finish(
        self,
        name: str,
        matrix: QuantizedMatrix,
        found: Inputs | None = None,
        seconds: float = 0.0,
        resumed: bool = False,
    ) -> None:
        self.done[name] = matrix
        trace = [] if matrix.trace is None else [float(value) for value in matrix.trace]
        self.report.layers.append(
            LayerReport(
                name,
                matrix.shape,
                matrix.bits,
                matrix.bits_per_weight,
                matrix.nbytes,
                matrix.objective,
                matrix.relative_objective,
                [value / trace[0] for value in trace] if trace and trace[0] > 0 else [],
                0 if found is None else found.tokens,
                None if found is None else found.effective_samples,
                seconds,
                resumed,
            )
        )

    def _embeddings(self) -> dict[str, QuantizedMatrix]:
        """The input embeddings, each of whose rows is a token's: nothing to calibrate on."""
        if self.settings.embedding_bits is None:
            return {}
        module = self.model.get_input_embeddings()
        name = next(name for name, m in self.model.named_modules() if m is module)
        options = {"bits": self.settings.embedding_bits, "method": "kmeans", "group_size": self.settings.group_size}
        job = Job(name, module.weight.detach().float().cpu().numpy(), None, options)
        (result,) = run_jobs(self.where, [job], self.executor, self.n_jobs)
        self._finish(name, result.matrix, seconds=result.seconds)
        return {name: self.done[name]}

    def _untie(self) -> None:
        """Where one of two tied embeddings is quantized, they are tied no longer, and config.json must say so."""
        head, table = self.model.get_output_embeddings(), self.model.get_input_embeddings()
        if head is None or head.weight is not table.weight:
            return
        if self.settings.head_bits is None and self.settings.embedding_bits is None:
            return
        if self.settings.head_bits is None:
            head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
        self.model.config.get_text_config().tie_word_embeddings = False
        self.model.config.tie_word_embeddings = False
        self.model.all_tied_weights_keys = {}
        self.report.notes.append("Input and output embeddings were tied; they are two tensors now.")
