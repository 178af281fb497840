"""What a bug report needs, where the C++ parts lie, and the library's place in threadpoolctl."""

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

_PEERS = (
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "jax",
    "jaxlib",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "dask",
    "threadpoolctl",
)


def shared_library(stem: str) -> Path | None:
    """Where for example ``libtelamon_cuda`` lies, or None where this build has none.

    Parameters
    ----------
    stem : str
        The library's name without "lib" and suffix.
    """
    path = LIB_DIR / f"lib{stem}{'.dylib' if sys.platform == 'darwin' else '.so'}"
    return path if path.exists() else None


def _version_of(distribution: str) -> str | None:
    # From the metadata: importing torch or jax would take seconds.
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _devices() -> str:
    """The GPUs, as NVIDIA's driver names them. Asking it directly needs no CUDA toolkit."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver"
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "NVIDIA driver, but no device"
    names = []
    for device in range(count.value):
        name = ctypes.create_string_buffer(128)
        driver.cuDeviceGetName(name, len(name), device)
        names.append(name.value.decode())
    return f"{', '.join(names)}; driver for CUDA {version.value // 1000}.{version.value % 1000 // 10}"


def config() -> dict[str, Any]:
    """The facts behind `show_config`, as a dictionary that JSON can hold."""
    return {
        "telamon": _core.__version__,
        "location": str(_PREFIX),
        "python": f"{platform.python_version()} {platform.python_implementation()}",
        "platform": platform.platform(),
        "processor": _processor(),
        "instruction set": _core.active_isa(),
        "available": ", ".join(_core.available_isas()),
        "threads": _core.get_num_threads(),
        "GPU": _devices(),
        "libtelamon_cuda": "yes" if shared_library("telamon_cuda") else "not built",
        "build": _core.build_info(),
        "libraries": {name: _version_of(name) for name in _PEERS},
    }


def show_config() -> None:
    """Print the version, the instruction set, threads, CUDA and the libraries found: what a bug report needs."""
    for key, value in config().items():
        if isinstance(value, dict):
            print(f"{key}:")
            for name, item in value.items():
                print(f"  {name:<16}{item or '-'}")
        else:
            print(f"{key:<18}{value}")


_registered = False


def register_threadpoolctl() -> None:
    """Make telamon's threads visible to ``threadpoolctl``.

    After this, ``threadpoolctl.threadpool_info()`` lists telamon and ``threadpoolctl.threadpool_limits(n)`` limits it.
    ``import telamon`` does it by itself when threadpoolctl has been imported before, as by scikit-learn; it does not
    import threadpoolctl for it, so call this where that is imported later. Calling it again does nothing.

    Raises
    ------
    ModuleNotFoundError
        If threadpoolctl is not installed.
    """
    global _registered
    if _registered:
        return
    import threadpoolctl

    # Defined here, since the base class is threadpoolctl's, on which telamon does not depend.
    class TelamonController(threadpoolctl.LibController):
        user_api = "telamon"
        internal_api = "telamon"
        filename_prefixes = ("libtelamon.",)  # with the dot: libtelamon_cuda has no threads to limit
        check_symbols = ("telamon_get_num_threads", "telamon_set_num_threads", "telamon_get_version")

        def get_num_threads(self) -> int:
            return int(self.dynlib.telamon_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.telamon_set_num_threads(num_threads)

        def get_version(self) -> str:
            function = self.dynlib.telamon_get_version
            function.restype = ctypes.c_char_p
            return str(function().decode())

    threadpoolctl.register(TelamonController)
    _registered = True
