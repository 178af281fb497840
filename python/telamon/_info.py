"""What a bug report needs, and the library's place in threadpoolctl."""

import ctypes
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from telamon import _core

# Beside the extension module, which is not where the Python files are in an editable installation.
_PREFIX = Path(_core.__file__).parent
INCLUDE_DIR = _PREFIX / "include"
LIB_DIR = _PREFIX / "lib"
CMAKE_DIR = LIB_DIR / "cmake" / "telamon"

_PEERS = ("numpy", "scipy", "scikit-learn", "torch", "jax", "jaxlib", "cupy-cuda12x", "cupy-cuda13x", "threadpoolctl")


def shared_library(stem: str) -> Path | None:
    """Where ``libtelamon`` or ``libtelamon_cuda`` lies, or None where this build has none."""
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    path = LIB_DIR / f"lib{stem}{suffix}"
    return path if path.exists() else None


def _version_of(distribution: str) -> str | None:
    # From the metadata: importing torch or jax would take seconds.
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cuda() -> str:
    library = shared_library("telamon_cuda")
    if library is None:
        return "not built (install with -C cmake.define.TELAMON_CUDA=ON)"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return f"{library}, no NVIDIA driver here"
    return str(library)


def config() -> dict[str, Any]:
    """The facts behind `show_config`, as a dictionary of strings, numbers and None."""
    return {
        "telamon": _core.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "instruction set": f"{_core.active_isa()} (available: {', '.join(_core.available_isas())})",
        "threads": _core.get_num_threads(),
        "cuda": _cuda(),
        "build": _core.build_info(),
        "libraries": {name: _version_of(name) for name in _PEERS},
        "location": str(_PREFIX),
    }


def show_config() -> None:
    """Print the version, the instruction set, threads, CUDA and the libraries found: what a bug report needs."""
    for key, value in config().items():
        if isinstance(value, dict):
            print(f"{key}:")
            for name, item in value.items():
                print(f"  {name:<16}{item if item is not None else '-'}")
        else:
            print(f"{key:<18}{value}")


def register_threadpoolctl() -> None:
    """Make telamon's threads visible to ``threadpoolctl``.

    After this, ``threadpoolctl.threadpool_info()`` lists telamon and ``threadpool_limits(n)`` limits it. ``import
    telamon`` does it when threadpoolctl has been imported before (scikit-learn imports it, for one); call this when
    you import threadpoolctl later. Calling it again does nothing.

    Raises
    ------
    ModuleNotFoundError
        Where threadpoolctl is not installed.
    """
    import threadpoolctl

    # Defined here, since the base class is threadpoolctl's and telamon does not depend on it.
    class TelamonController(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = "telamon"
        internal_api = "telamon"
        filename_prefixes = ("libtelamon.",)
        check_symbols = ("telamon_get_num_threads", "telamon_set_num_threads", "telamon_get_version")

        def get_num_threads(self) -> int:
            return int(self.dynlib.telamon_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.telamon_set_num_threads(num_threads)

        def get_version(self) -> str:
            function = self.dynlib.telamon_get_version
            function.restype = ctypes.c_char_p
            return str(function().decode())

    if not any(c.internal_api == "telamon" for c in threadpoolctl._ALL_CONTROLLERS):
        threadpoolctl.register(TelamonController)
