"""Token sequences for whole models: what is accepted, how it is cut, and that it is the model's own vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Batch", "as_batches", "count_tokens", "digest", "negative_log_likelihood", "vocabulary"]


class Batch(NamedTuple):
    """Sequences that go through the model together.

    ids (sequences, length) int64; mask of the same shape, True where a token is real, or None where all are.
    """

    ids: Tensor
    mask: Tensor | None

    @property
    def tokens(self) -> int:
        return self.ids.numel() if self.mask is None else int(self.mask.sum())


def vocabulary(model: Any) -> int:
    """The number of rows of the model's input embeddings."""
    return int(model.get_input_embeddings().num_embeddings)


def as_batches(where: str, name: str, tokens: Any, context: int, vocabulary: int) -> list[Batch]:
    """Batches of one sequence each, except where they came as one array with padding.

    Parameters
    ----------
    tokens : array_like of int
        (tokens,): cut into windows of `context` that do not overlap; a shorter rest is left out, unless it is all
        there is. (sequences, length): taken as they are. A list of vectors: a sequence each. A mapping with
        "input_ids" and "attention_mask", as tokenizers return it: padding is masked.
    """
    if context < 2:
        raise ValueError(f"{where}: context is {context}; pass at least 2, since the first token is not predicted")
    mask = None
    if isinstance(tokens, Mapping):
        mask = None if tokens.get("attention_mask") is None else _integers(where, name, tokens["attention_mask"])
        tokens = tokens["input_ids"]
    if isinstance(tokens, Sequence) and tokens and np.ndim(tokens[0]) == 1 and mask is None:
        pieces = [_integers(where, name, piece).reshape(-1) for piece in tokens]
    else:
        array = _integers(where, name, tokens)
        _check_range(where, name, [array], vocabulary)
        if array.ndim == 1:
            whole = len(array) // context
            pieces = list(array[: whole * context].reshape(whole, context)) if whole else [array]
        elif array.ndim == 2:
            pieces = list(array)
        else:
            raise ValueError(f"{where}: {name} has shape {array.shape}; pass (tokens,) or (sequences, length)")
        if mask is not None and mask.shape != array.shape:
            raise ValueError(
                f"{where}: attention_mask has shape {mask.shape} and input_ids {array.shape}; pass equal shapes"
            )
    if mask is not None and not mask.astype(bool).all():
        _check_range(where, name, pieces, vocabulary)
        return [
            Batch(_ids(piece), torch.from_numpy(row.astype(bool))[None])
            for piece, row in zip(pieces, mask, strict=True)
            if row.sum() >= 2
        ]
    pieces = [piece for piece in pieces if len(piece) >= 2]
    _check_range(where, name, pieces, vocabulary)
    return [Batch(_ids(piece), None) for piece in pieces]


def _ids(piece: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(piece, np.int64))[None]


def _integers(where: str, name: str, value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "iub":
        raise TypeError(f"{where}: {name} has dtype {array.dtype}; pass token ids, which are integers")
    return array


def _check_range(where: str, name: str, pieces: list[Any], vocabulary: int) -> None:
    if not sum(piece.size for piece in pieces):
        raise ValueError(f"{where}: {name} has fewer than two tokens; pass more text")
    low, high = min(int(piece.min()) for piece in pieces), max(int(piece.max()) for piece in pieces)
    if low < 0 or high >= vocabulary:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{where}: {name} has the token id {wrong} and the model's vocabulary is 0 to {vocabulary - 1}; "
            "use the tokenizer that belongs to the model"
        )


def count_tokens(batches: Sequence[Batch]) -> int:
    """The number of real tokens."""
    return sum(batch.tokens for batch in batches)


def digest(batches: Sequence[Batch]) -> bytes:
    """Bytes that change with any token, mask or cut."""
    parts: list[bytes] = []
    for batch in batches:
        parts.append(repr(tuple(batch.ids.shape)).encode() + batch.ids.numpy().tobytes())
        parts.append(b"" if batch.mask is None else batch.mask.numpy().tobytes())
    return b"|".join(parts)


def negative_log_likelihood(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Sum of -log p(next token) over real tokens, and how many were predicted.

    The logits are (sequences, length, vocabulary). A token counts where it and the one before it are real.
    """
    predicted = logits[:, :-1].reshape(-1, logits.shape[-1]).float()
    target = batch.ids[:, 1:].reshape(-1).to(logits.device)
    if batch.mask is not None:
        keep = (batch.mask[:, 1:] & batch.mask[:, :-1]).reshape(-1).to(logits.device)
        predicted, target = predicted[keep], target[keep]
    return torch.nn.functional.cross_entropy(predicted, target, reduction="sum"), int(target.numel())
