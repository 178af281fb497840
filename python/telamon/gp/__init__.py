"""Gaussian processes on grids: kernels of one axis, and regression with gaps, noise and derivatives.

`RBF`, `Matern`, `Periodic`, `RationalQuadratic`, `SpectralMixture`, `Constant`, `Linear`, `Sum`, `Product`
    Kernels, with derivatives to fourth order and gradients in their hyperparameters.
`GridGP`
    Regression, with scikit-learn's conventions. It needs SciPy, and is imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._base import Kernel
from ._compose import Product, Sum
from ._kernels import RBF, Constant, Linear, Matern, Periodic, RationalQuadratic
from ._spectral import SpectralMixture

if TYPE_CHECKING:
    from ._grid import GridGP

__all__ = [
    "RBF",
    "Constant",
    "GridGP",
    "Kernel",
    "Linear",
    "Matern",
    "Periodic",
    "Product",
    "RationalQuadratic",
    "SpectralMixture",
    "Sum",
]


def __getattr__(name: str) -> Any:
    if name == "GridGP":
        from ._grid import GridGP

        return GridGP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
