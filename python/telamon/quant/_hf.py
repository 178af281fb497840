"""telamon for Hugging Face transformers: quantized embeddings, and the "telamon" quantizer for from_pretrained.

The quantizer swaps modules before weights are loaded, and config.json says which: `quantization_config` holds "layers",
name to {"bits", "group_size"}, and the same for "embeddings". Only safetensors files are read and written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ..torch import QuantLinear, quant_dequantize
from ._matrix import QuantizedMatrix
from ._native import row_bytes

__all__ = ["QuantEmbedding", "QuantLinear", "TelamonConfig", "TelamonQuantizer", "install", "place"]

_VERSION = 1


class QuantEmbedding(nn.Module):
    """Embeddings of few bits: the rows that are asked for are dequantized.

    Buffers codes (num_embeddings, bytes) uint8 and codebooks (num_embeddings, groups, 2^bits) float16, as in
    `telamon.torch.QuantLinear`.
    """

    codes: Tensor
    codebooks: Tensor

    def __init__(
        self, num_embeddings: int, embedding_dim: int, bits: int, group_size: int | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.bits, self.group_size = bits, group_size
        self.dtype = dtype or torch.get_default_dtype()
        groups = 1 if group_size is None else -(-embedding_dim // group_size)
        rows = num_embeddings
        self.register_buffer("codes", torch.zeros(rows, row_bytes(embedding_dim, bits), dtype=torch.uint8))
        self.register_buffer("codebooks", torch.zeros(rows, groups, 1 << bits, dtype=torch.float16))

    @classmethod
    def from_matrix(cls, matrix: QuantizedMatrix, dtype: Any = None) -> QuantEmbedding:
        """From what `quantize_layer` made."""
        made = cls(*matrix.shape, matrix.bits, matrix.group_size, dtype)
        made.codes = torch.from_numpy(matrix.packed.copy())
        made.codebooks = torch.from_numpy(matrix.codebooks.copy())
        return made

    def forward(self, ids: Tensor) -> Tensor:
        wanted, places = torch.unique(ids.reshape(-1), return_inverse=True)
        rows = quant_dequantize(
            self.codes[wanted],
            self.codebooks[wanted],
            bits=self.bits,
            inputs=self.embedding_dim,
            group_size=self.group_size,
        )
        return rows.to(self.dtype)[places].reshape(*ids.shape, self.embedding_dim)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantEmbedding:
        # As in QuantLinear: codebooks follow to other devices, not to bfloat16, which would round them once more.
        books = self.codebooks
        apply: Any = super()._apply  # torch leaves it without types
        apply(fn, recurse)
        if self.codebooks.dtype != books.dtype:
            self.codebooks = books.to(self.codebooks.device)
        return self

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, bits={self.bits}, group_size={self.group_size}"


@register_quantization_config("telamon")
class TelamonConfig(QuantizationConfigMixin):
    """The quantization_config of config.json.

    layers, embeddings : dict of str to dict
        Names of nn.Linear and nn.Embedding modules, with "bits" and "group_size".
    precision : {"fast", "exact"}
        How products are computed.
    """

    def __init__(
        self,
        layers: Mapping[str, Mapping[str, Any]] | None = None,
        embeddings: Mapping[str, Mapping[str, Any]] | None = None,
        precision: str = "fast",
        version: int = _VERSION,
        **kwargs: Any,
    ) -> None:
        if version > _VERSION:
            raise ValueError(f"telamon.quant: the model is of format {version}, this telamon reads up to {_VERSION}")
        self.quant_method: Any = "telamon"
        self.version, self.precision = version, precision
        self.layers = {name: dict(entry) for name, entry in (layers or {}).items()}
        self.embeddings = {name: dict(entry) for name, entry in (embeddings or {}).items()}


@register_quantizer("telamon")
class TelamonQuantizer(HfQuantizer):
    """Reads models that `telamon.quant.quantize_model` wrote."""

    requires_calibration = True
    quantization_config: TelamonConfig

    def validate_environment(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is asked for beyond telamon.torch."""

    def update_dtype(self, dtype: Any) -> Any:
        """float32 where nobody says otherwise, which is what products are computed in."""
        return torch.float32 if dtype is None else dtype

    def _process_model_before_weight_loading(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        config = self.quantization_config
        with torch.device("meta"):
            for name, entry in config.layers.items():
                old = _module(model, name, nn.Linear)
                bits, group = int(entry["bits"]), entry.get("group_size")
                new = QuantLinear(
                    old.in_features, old.out_features, bits, old.bias is not None, group, config.precision
                )
                model.set_submodule(name, new)
            for name, entry in config.embeddings.items():
                old = _module(model, name, nn.Embedding)
                bits, group = int(entry["bits"]), entry.get("group_size")
                dtype = old.weight.dtype
                model.set_submodule(name, QuantEmbedding(old.num_embeddings, old.embedding_dim, bits, group, dtype))
        return model

    def is_serializable(self, *args: Any, **kwargs: Any) -> bool:
        """Always."""
        return True

    @property
    def is_trainable(self) -> bool:
        return False


def _module(model: nn.Module, name: str, kind: type[nn.Module]) -> Any:
    try:
        found = model.get_submodule(name)
    except AttributeError:
        found = None
    if not isinstance(found, kind):
        raise ValueError(
            f"telamon.quant: config.json says that {name} is quantized, and {type(model).__name__} has no such "
            f"{kind.__name__}; the file belongs to another model"
        )
    return found


def place(model: Any, layers: Mapping[str, QuantizedMatrix], embeddings: Mapping[str, QuantizedMatrix]) -> None:
    """Swap modules of a model for quantized ones, and have save_pretrained say so."""
    for name, matrix in layers.items():
        model.set_submodule(name, QuantLinear.from_matrix(matrix, model.get_submodule(name).bias))
    for name, matrix in embeddings.items():
        dtype = model.get_submodule(name).weight.dtype
        model.set_submodule(name, QuantEmbedding.from_matrix(matrix, dtype))
    install(model, layers, embeddings)


def install(model: Any, layers: Mapping[str, QuantizedMatrix], embeddings: Mapping[str, QuantizedMatrix]) -> None:
    """Mark a transformers model as quantized by telamon."""
    if not hasattr(model, "save_pretrained"):
        return

    def entries(matrices: Mapping[str, QuantizedMatrix]) -> dict[str, dict[str, Any]]:
        return {name: {"bits": m.bits, "group_size": m.group_size} for name, m in matrices.items()}

    config = TelamonConfig(entries(layers), entries(embeddings))
    model.hf_quantizer = TelamonQuantizer(config, pre_quantized=True)
    model.config.quantization_config = config
    model.is_quantized, model.quantization_method = True, config.quant_method
