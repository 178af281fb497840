"""Shared by the tests of whole models: a tiny one, and tokens for it."""

from __future__ import annotations

import numpy as np
import torch
import transformers

VOCABULARY = 97


def tiny(tied: bool = False, seed: int = 0, **changes: object) -> torch.nn.Module:
    """A Llama of two blocks with random weights, large enough that layers differ in what they feed the next."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "vocab_size": VOCABULARY}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    config = transformers.LlamaConfig(
        **{**sizes, **heads, "initializer_range": 0.15, "tie_word_embeddings": tied, **changes}
    )
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight *= 0.3  # close to chance, not worse than it
    return model


def text(n: int = 160, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, VOCABULARY, n)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
