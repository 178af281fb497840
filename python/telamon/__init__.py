"""Numerical kernels to their full precision, for NumPy, PyTorch, JAX, C++ and CUDA.

===================  ===========================================================================
``telamon.special``  logarithms, ratios and derivatives of modified Bessel functions
``telamon.stats``    von Mises-Fisher distributions and mixtures, Matern covariances
``telamon.so3``      Gaunt tensor products, spherical harmonics and rotations
``telamon.kron``     products, solutions and determinants of Kronecker products of matrices
``telamon.gp``       Gaussian processes on grids, with gaps and noise
``telamon.pde``      differential equations on boxes, solved by Gaussian processes (GP-HM)
``telamon.quant``    weights of linear layers in few bits, and products with them
``telamon.torch``    the functions of the cores on PyTorch tensors
``telamon.jax``      the same on JAX arrays
``telamon.cuda``     the same on any array that lives on an NVIDIA GPU
===================  ===========================================================================

The submodules are imported when first used, so ``import telamon`` costs little more than NumPy.
"""

import sys as _sys
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

_SUBMODULES = ("cuda", "gp", "jax", "kron", "pde", "quant", "reference", "so3", "special", "stats", "torch")

# LibController is what releases too old to be extended lack.
if hasattr(_sys.modules.get("threadpoolctl"), "LibController"):
    register_threadpoolctl()


def __getattr__(name: str) -> _ModuleType:
    if name in _SUBMODULES:
        return _import_module(f"telamon.{name}")
    raise AttributeError(f"module 'telamon' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])
