"""Gaussian processes on grids: kernels of one axis, and regression with gaps, noise and derivatives.

`RBF`, `Matern`, `Periodic`, `RationalQuadratic`, `SpectralMixture`, `Constant`, `Linear`, `Sum`, `Product`
    Kernels, with derivatives to fourth order and gradients in their hyperparameters.
"""

from __future__ import annotations

from ._base import Kernel
from ._compose import Product, Sum
from ._kernels import RBF, Constant, Linear, Matern, Periodic, RationalQuadratic
from ._spectral import SpectralMixture

__all__ = [
    "RBF",
    "Constant",
    "Kernel",
    "Linear",
    "Matern",
    "Periodic",
    "Product",
    "RationalQuadratic",
    "SpectralMixture",
    "Sum",
]
