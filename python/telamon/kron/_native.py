"""The compiled kernels of this core, by their names without the prefix."""

from __future__ import annotations

from typing import Any

from .. import _core
from ..reference import kron as _reference


def _kernel(name: str) -> Any:
    """The kernel, or its readable twin in a build that has no kernels yet."""
    return getattr(_core, f"kron_{name}", None) or getattr(_reference, name)


matmul = _kernel("matmul")
gram = _kernel("gram")
spectral = _kernel("spectral")
eigh = _kernel("eigh")
eigh_toeplitz = _kernel("eigh_toeplitz")
statespace_matmul = _kernel("statespace_matmul")
statespace_factor = _kernel("statespace_factor")
statespace_solve = _kernel("statespace_solve")
