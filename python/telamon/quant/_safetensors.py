"""The safetensors format: eight bytes with the length of a header, the header in JSON, and the tensors' bytes.

Source: the format's own description (huggingface/safetensors, README.md). A file that is not what it says raises
ValueError before anything is read from it: nothing here trusts a length or an offset. Written atomically: a file is
there as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["load_safetensors", "save_safetensors", "write_atomically"]

_TYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "BF16": np.uint16,  # becomes float32 when read
}
_NAMES = {np.dtype(dtype): name for name, dtype in _TYPES.items() if name != "BF16"}
_MOST_HEADER = 100_000_000  # as in the format's own implementation


def save_safetensors(path: str | os.PathLike[str], tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write tensors and a dictionary of texts to a safetensors file, atomically.

    Parameters
    ----------
    path : path
        Its folder must exist.
    tensors : dict of str to numpy.ndarray
        Of numbers or bool. They are written in C order, little-endian, the widest types first so that all are aligned.
    metadata : dict of str to str

    Raises
    ------
    TypeError
        If a dtype has no place in the format.
    OSError
        If the file cannot be written; what was at `path` is still there.
    """
    arrays = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in tensors.items()}
    header: dict[str, Any] = {}
    if metadata:
        header["__metadata__"] = {str(key): str(value) for key, value in metadata.items()}
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    offset = 0
    for name in names:
        array = arrays[name]
        if array.dtype.newbyteorder("=") not in _NAMES:
            raise TypeError(f"telamon.quant: tensor {name!r} has dtype {array.dtype}, which safetensors does not store")
        end = offset + array.nbytes
        kind = _NAMES[array.dtype.newbyteorder("=")]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    parts: list[bytes | Array] = [len(text).to_bytes(8, "little"), text]
    for name in names:
        array = arrays[name]
        parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8))
    write_atomically(path, parts)


def write_atomically(path: str | os.PathLike[str], parts: list[bytes | Array]) -> None:
    """Write the parts one after the other to a new file beside `path`, then give it that name."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "xb") as file:
            for part in parts:
                file.write(part)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def load_safetensors(path: str | os.PathLike[str], *, copy: bool = True) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors of a safetensors file and its metadata.

    Parameters
    ----------
    path : path
    copy : bool
        False maps the file in place of reading it: the arrays are read-only, and pages come from the disk when touched.
        bfloat16 becomes float32, and so is copied always.

    Returns
    -------
    tensors : dict of str to numpy.ndarray
    metadata : dict of str to str

    Raises
    ------
    ValueError
        If the file is truncated, too long, or its header contradicts itself; the text says how.
    OSError
        If it cannot be opened.
    """
    size = os.path.getsize(path)
    if size < 8:
        raise _invalid(path, f"it has {size} bytes, fewer than the length of a header takes")
    data = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(size - 8, _MOST_HEADER):
        raise _invalid(path, f"it says that its header has {length} bytes, of {size} altogether")
    header = _read_header(path, data[8 : 8 + length].tobytes())
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        raise _invalid(path, "its metadata is not a dictionary of texts")
    body = data[8 + length :]
    tensors, spans = {}, []
    for name, entry in header.items():
        kind, shape, begin, end = _read_entry(path, name, entry)
        if end > len(body):
            raise _invalid(path, f"tensor {name!r} ends at byte {end} of {len(body)}: the file is truncated")
        spans.append((begin, end))
        little = np.dtype(_TYPES[kind]).newbyteorder("<")
        # A copy starts at an address that is aligned for every type; where the mapped bytes do not, one is made anyway.
        part = body[begin:end]
        aligned = begin % little.itemsize == 0 and (8 + length) % little.itemsize == 0
        array = (part.copy() if copy or not aligned else part).view(np.ndarray).view(little).reshape(shape)
        if kind == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise _invalid(path, f"its tensors overlap or leave a gap at byte {at}")
        at = end
    if at != len(body):
        raise _invalid(path, f"its tensors end at byte {at} of {len(body)}")
    return tensors, texts


def _read_header(path: str | os.PathLike[str], text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            raise KeyError
        return names

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except KeyError:
        raise _invalid(path, "its header names something twice") from None
    except (ValueError, RecursionError):  # no UTF-8, no JSON, or integers and nesting beyond Python's limits
        raise _invalid(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _invalid(path, "its header is not a JSON object")
    return header


def _read_entry(path: str | os.PathLike[str], name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    def whole(values: Any) -> bool:
        return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)

    if not isinstance(entry, dict) or not whole(entry.get("shape")) or not whole(entry.get("data_offsets")):
        raise _invalid(path, f"tensor {name!r} lacks a shape or offsets")
    kind, shape, offsets = entry.get("dtype"), tuple(entry["shape"]), entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _invalid(path, f"tensor {name!r} is of the type {kind!r}; {', '.join(_TYPES)} are read")
    want = math.prod(shape) * np.dtype(_TYPES[kind]).itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != want or len(shape) > 32:
        raise _invalid(path, f"tensor {name!r} of shape {list(shape)} takes {want} bytes, and lies at {offsets}")
    return kind, shape, offsets[0], offsets[1]


def _invalid(path: str | os.PathLike[str], text: str) -> ValueError:
    return ValueError(f"{os.fspath(path)} is not a valid safetensors file: {text}")
