"""Numerical kernels to their full precision, for NumPy, PyTorch, JAX, C++ and CUDA.

==================  ============================================================
``telamon.special``  logarithms, ratios and derivatives of modified Bessel functions
``telamon.stats``    von Mises-Fisher distributions and mixtures, Matern covariances
``telamon.torch``    the functions of ``special`` on PyTorch tensors, differentiable
``telamon.jax``      the same on JAX arrays
``telamon.cuda``     the same on any array that lives on an NVIDIA GPU
==================  ============================================================

The submodules are imported when first used, so ``import telamon`` costs little more than NumPy.
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

from telamon._core import __version__, active_isa, available_isas, get_num_threads, set_isa, set_num_threads
from telamon._info import register_threadpoolctl, show_config

__all__ = [
    "__version__",
    "active_isa",
    "available_isas",
    "get_num_threads",
    "register_threadpoolctl",
    "set_isa",
    "set_num_threads",
    "show_config",
]

_SUBMODULES = ("special", "stats", "torch", "jax", "cuda", "reference")


def __getattr__(name: str) -> _ModuleType:
    if name in _SUBMODULES:
        return _import_module(f"telamon.{name}")
    raise AttributeError(f"module 'telamon' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])
