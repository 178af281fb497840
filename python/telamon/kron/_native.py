"""The compiled kernels of this core, by their names without the prefix."""

from .._core import kron_eigh as eigh
from .._core import kron_eigh_toeplitz as eigh_toeplitz
from .._core import kron_gram as gram
from .._core import kron_matmul as matmul
from .._core import kron_spectral as spectral
from .._core import kron_statespace_factor as statespace_factor
from .._core import kron_statespace_matmul as statespace_matmul
from .._core import kron_statespace_solve as statespace_solve

__all__ = [
    "eigh",
    "eigh_toeplitz",
    "gram",
    "matmul",
    "spectral",
    "statespace_factor",
    "statespace_matmul",
    "statespace_solve",
]
