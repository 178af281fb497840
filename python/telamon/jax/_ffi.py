"""telamon's C++ as custom calls of XLA on the CPU, where telamon was built beside JAX."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import jax

from .._info import shared_library

# JAX has no types for these.
_ffi: Any = jax.ffi
_pure_callback: Any = jax.pure_callback

_path = shared_library("telamon_jax")
_library = None if _path is None else ctypes.CDLL(str(_path))

#: Whether XLA calls telamon's C++ directly on the CPU.
USES_FFI: bool = _library is not None


def register(*names: str) -> None:
    """Make handlers telamon_jax_<name> known to XLA as telamon_<name>; nothing where this build has none."""
    if _library is not None:
        for name in names:
            handler = _ffi.pycapsule(getattr(_library, f"telamon_jax_{name}"))
            _ffi.register_ffi_target(f"telamon_{name}", handler, platform="cpu")


def call(name: str, result: Any, on_host: Callable[..., Any], *args: Any, **attributes: Any) -> Any:
    """The handler's result on the CPU, `on_host`'s elsewhere and in builds without handlers.

    Under jax.vmap all arguments get the batch dimension in front, and so must the result.
    """

    def by_callback(*args: Any) -> Any:
        return _pure_callback(on_host, result, *args, vmap_method="broadcast_all")

    def by_ffi(*args: Any) -> Any:
        return _ffi.ffi_call(f"telamon_{name}", result, vmap_method="broadcast_all")(*args, **attributes)

    if USES_FFI:
        return jax.lax.platform_dependent(*args, cpu=by_ffi, default=by_callback)
    return by_callback(*args)
