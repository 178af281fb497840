"""The folder that a quantized model is written to: layers as they are finished, so that an interrupted run resumes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ._matrix import QuantizedMatrix
from ._model_tokens import Batch, digest
from ._safetensors import load_safetensors, save_safetensors

__all__ = ["Store", "check_folder", "fingerprint"]

_VERSION = 1  # of what is calculated: raised when the same inputs give other layers


def fingerprint(model: nn.Module, batches: Sequence[Batch], settings: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of all weights, tokens and settings: layers of equal fingerprints are interchangeable."""
    h = hashlib.sha256(json.dumps([_VERSION, dict(settings)], sort_keys=True, default=str).encode())
    h.update(digest(batches))
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_meta:
            raise ValueError(f"telamon.quant: {name} is on the meta device; load the weights before quantizing")
        raw = tensor.detach().cpu().contiguous()
        h.update(f"{name} {tuple(raw.shape)} {raw.dtype};".encode())
        h.update(memoryview(raw.reshape(-1).view(torch.uint8).numpy()))
    return h.hexdigest()


def check_folder(where: str, folder: Path, needed: int) -> None:
    """That the folder can be made, written to, and has room: before hours of work, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
            pass
    except OSError as error:
        raise type(error)(
            error.errno, f"{where}: cannot write to the folder ({error.strerror}); pass another out_dir", str(folder)
        ) from None
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{where}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB free; make room, or pass another out_dir",
            str(folder),
        )


class Store:
    """Layers in `folder`/layers, a safetensors file each, marked by the run's fingerprint; nowhere without a folder."""

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self.folder = folder
        self.layers = None if folder is None else folder / "layers"
        self.fingerprint = fingerprint

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, str]] | None:
        """What an earlier run with the same fingerprint left, unless it is damaged."""
        if self.layers is None:
            return None
        try:
            arrays, metadata = load_safetensors(self.layers / f"{name}.safetensors")
        except (OSError, ValueError):
            return None
        return (arrays, metadata) if metadata.get("fingerprint") == self.fingerprint else None

    def _write(self, name: str, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
        if self.layers is not None:
            self.layers.mkdir(exist_ok=True)
            path = self.layers / f"{name}.safetensors"
            save_safetensors(path, arrays, {**metadata, "fingerprint": self.fingerprint})

    def load(self, name: str) -> QuantizedMatrix | None:
        """A finished layer."""
        found = self._read(name)
        if found is None:
            return None
        try:
            return QuantizedMatrix.from_arrays(found[0], json.loads(found[1]["config"]))
        except (KeyError, ValueError):
            return None

    def save(self, name: str, matrix: QuantizedMatrix) -> None:
        """A layer, whole or not at all."""
        arrays, config = matrix.to_arrays()
        self._write(name, arrays, {"config": json.dumps(config)})

    def load_saliences(self) -> tuple[dict[str, NDArray[np.float32]], float] | None:
        """The squared gradients, which are as long to come by as all the rest."""
        found = self._read("saliences")
        return None if found is None else (found[0], float(found[1]["loss"]))

    def save_saliences(self, saliences: Mapping[str, NDArray[np.float32]], loss: float) -> None:
        """For a run that resumes."""
        self._write("saliences", saliences, {"loss": repr(loss)})

    @contextmanager
    def finish(self) -> Iterator[Path]:
        """A folder to save the model in; at the end its files move to their place, config.json last."""
        assert self.folder is not None
        partial = Path(tempfile.mkdtemp(prefix=".saving-", dir=self.folder))
        try:
            yield partial
            for path in sorted(partial.iterdir(), key=lambda path: path.name == "config.json"):
                path.chmod(0o644)
                os.replace(path, self.folder / path.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        if self.layers is not None:
            for path in self.layers.glob("*.safetensors"):
                path.unlink()
            with contextlib.suppress(OSError):  # somebody else's files stay
                self.layers.rmdir()
