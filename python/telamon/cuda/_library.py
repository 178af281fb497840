"""libtelamon_cuda: where it is, its functions, its errors, and the stream they run on."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .._info import shared_library


@functools.cache
def library() -> ctypes.CDLL:
    """The library, loaded; RuntimeError where there is none."""
    path = os.environ.get("TELAMON_CUDA_LIBRARY") or shared_library("telamon_cuda")
    if path is None:
        raise RuntimeError(
            "telamon.cuda: this telamon was built without libtelamon_cuda; install it again where nvcc is, with "
            "pip install -C cmake.define.TELAMON_CUDA=ON, or name the library in TELAMON_CUDA_LIBRARY"
        )
    try:
        loaded = ctypes.CDLL(str(Path(path).resolve()))
    except OSError as error:
        raise RuntimeError(f"telamon.cuda: {path} cannot be loaded: {error}") from error
    loaded.telamon_cuda_error_string.restype = ctypes.c_char_p
    return loaded


@functools.cache
def function(name: str, *argtypes: Any) -> Callable[..., int]:
    """The library's function of that name, which returns a cudaError_t."""
    found: Any = getattr(library(), name)
    found.argtypes = argtypes
    result: Callable[..., int] = found
    return result


def check(error: int, what: str) -> None:
    """RuntimeError unless the cudaError_t is none."""
    if error != 0:
        text = library().telamon_cuda_error_string(error).decode()
        raise RuntimeError(f"telamon.cuda.{what}: {text} (CUDA error {error})")


def why_not() -> str | None:
    """What keeps the kernels from running here, or None."""
    try:
        loaded = library()
    except RuntimeError as error:
        return str(error)
    count = ctypes.c_int()
    code = loaded.telamon_cuda_device_count(ctypes.byref(count))
    if code != 0:
        return str(loaded.telamon_cuda_error_string(code).decode())
    return None if count.value > 0 else "no CUDA device"


def is_available() -> bool:
    """Whether libtelamon_cuda was built and there is a GPU to run it.

    Returns
    -------
    bool
    """
    return why_not() is None


def is_torch(a: Any) -> bool:
    """Whether it is a tensor of PyTorch, which nobody need import to ask."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(a, torch.Tensor)


@contextlib.contextmanager
def on_device_of(a: Any) -> Iterator[int]:
    """Make the device of a torch tensor or a CuPy array the current one; the address of its current stream."""
    if is_torch(a):
        import torch

        with torch.cuda.device(a.device):
            yield torch.cuda.current_stream().cuda_stream
    else:
        import cupy

        with a.device:
            yield cupy.cuda.get_current_stream().ptr
