"""telamon for Hugging Face transformers: quantized modules, and the "telamon" quantizer for from_pretrained.

The quantizer swaps modules before weights are loaded, and config.json says which: `quantization_config` holds "layers",
name to {"bits", "group_size"}, and the same for "embeddings". Only safetensors files are read and written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ._matrix import QuantizedMatrix
from ._native import row_bytes

__all__ = ["QuantEmbedding", "QuantLinear", "TelamonConfig", "TelamonQuantizer", "install", "place"]

_VERSION = 1


class _Packed(nn.Module):
    """Buffers codes (rows, bytes) uint8 and codebooks (rows, groups, 2^bits) float16."""

    codes: Tensor
    codebooks: Tensor
    bias: Tensor | None

    def __init__(self, rows: int, inputs: int, bits: int, bias: bool, group_size: int | None) -> None:
        super().__init__()
        self.rows, self.inputs, self.bits, self.group_size = rows, inputs, bits, group_size
        groups = 1 if group_size is None else -(-inputs // group_size)
        self.register_buffer("codes", torch.zeros(rows, row_bytes(inputs, bits), dtype=torch.uint8))
        self.register_buffer("codebooks", torch.zeros(rows, groups, 1 << bits, dtype=torch.float16))
        self.register_buffer("bias", torch.zeros(rows) if bias else None)
        self._matrix: tuple[Any, QuantizedMatrix] | None = None

    def _take(self, matrix: QuantizedMatrix) -> None:
        self.codes = torch.from_numpy(np.array(matrix.packed))
        self.codebooks = torch.from_numpy(np.array(matrix.codebooks))

    @property
    def matrix(self) -> QuantizedMatrix:
        """The weights, as long as buffers are the same read in place."""
        key = (self.codes.data_ptr(), self.codes._version, self.codebooks.data_ptr(), self.codebooks._version)
        if self._matrix is None or self._matrix[0] != key:
            books = self.codebooks.cpu()
            books = books if books.dtype in (torch.float16, torch.float32) else books.float()
            made = QuantizedMatrix(
                self.codes.cpu().numpy(),
                books.numpy(),
                bits=self.bits,
                inputs=self.inputs,
                group_size=self.group_size,
            )
            self._matrix = key, made
        return self._matrix[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_matrix": None}

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.rows}, bits={self.bits}, group_size={self.group_size}"


class QuantLinear(_Packed):
    """A linear layer of few bits, for inference."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bits: int,
        bias: bool,
        group_size: int | None = None,
        precision: str = "fast",
    ) -> None:
        super().__init__(out_features, in_features, bits, bias, group_size)
        self.in_features, self.out_features, self.precision = in_features, out_features, precision

    @classmethod
    def from_matrix(cls, matrix: QuantizedMatrix, bias: Tensor | None = None, precision: str = "fast") -> QuantLinear:
        """From what `quantize_layer` made."""
        rows, inputs = matrix.shape
        made = cls(inputs, rows, matrix.bits, bias is not None, matrix.group_size, precision)
        made._take(matrix)
        if bias is not None:
            made.bias = bias.detach().clone()
        return made

    def forward(self, x: Tensor) -> Tensor:
        rows = x.detach().reshape(-1, x.shape[-1]).float().cpu().numpy()
        out = torch.from_numpy(self.matrix.matmul(rows, precision=self.precision))
        out = out.to(x.device, x.dtype).reshape(*x.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias.to(x.dtype)


class QuantEmbedding(_Packed):
    """Embeddings of few bits: the rows that are asked for are dequantized."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, bits: int, group_size: int | None = None, dtype: Any = None
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, bits, False, group_size)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.dtype = dtype or torch.get_default_dtype()

    @classmethod
    def from_matrix(cls, matrix: QuantizedMatrix, dtype: Any = None) -> QuantEmbedding:
        """From what `quantize_layer` made."""
        made = cls(*matrix.shape, matrix.bits, matrix.group_size, dtype)
        made._take(matrix)
        return made

    def forward(self, ids: Tensor) -> Tensor:
        wanted, places = torch.unique(ids.reshape(-1), return_inverse=True)
        rows = QuantizedMatrix(
            self.codes[wanted].cpu().numpy(),
            self.codebooks[wanted].cpu().numpy(),
            bits=self.bits,
            inputs=self.inputs,
            group_size=self.group_size,
        ).dequantize()
        return torch.from_numpy(rows).to(ids.device, self.dtype)[places].reshape(*ids.shape, self.embedding_dim)


@register_quantization_config("telamon")
class TelamonConfig(QuantizationConfigMixin):  # type: ignore[misc,no-untyped-call]
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
        self.quant_method = "telamon"
        self.version, self.precision = version, precision
        self.layers = {name: dict(entry) for name, entry in (layers or {}).items()}
        self.embeddings = {name: dict(entry) for name, entry in (embeddings or {}).items()}


@register_quantizer("telamon")
class TelamonQuantizer(HfQuantizer):  # type: ignore[misc]
    """Reads models that `telamon.quant.quantize_model` wrote."""

    requires_calibration = True
    quantization_config: TelamonConfig

    def validate_environment(self, *args: Any, **kwargs: Any) -> None:
        """Nothing but NumPy and torch is asked for."""

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
