"""Weights of linear layers in few bits, and products with them.

===========================  ========================================================================================
`quantize_layer`             weights and a Hessian to a matrix of 1 to 8 bits: LNQ, and the baselines RTN, k-means,
                             SqueezeLLM, GPTQ and HQQ
`QuantizedMatrix`            packed codes and codebooks: products, storage in safetensors files
`HessianAccumulator`         X'X of calibration inputs, and the Hessians guided by gradients
`PowerQuantizer`             weights and activations rounded as powers; `nupes_exponent`, `power_levels`
`fwht`, `Rotation`           Walsh-Hadamard transforms, and layers rotated by them; `hadamard` matrices
`IntegerLinear`              a layer of such powers by integers alone
`capacity`, `lloyd_max`      how well a format fits a Gaussian
`layer_objective`            the squared error of a layer's outputs, in double precision
===========================  ========================================================================================

Rows of weights are output channels. Needs NumPy only.
"""

from ._capacity import Capacity, capacity, lloyd_max
from ._hadamard import Rotation, fwht, hadamard
from ._hessian import HessianAccumulator
from ._integer import IntegerLinear
from ._layer import layer_objective, quantize_layer
from ._matrix import QuantizedMatrix
from ._nupes import PowerQuantizer, nupes_exponent, power_levels
from ._outliers import Outliers
from ._safetensors import load_safetensors, save_safetensors

__all__ = [
    "Capacity",
    "HessianAccumulator",
    "IntegerLinear",
    "Outliers",
    "PowerQuantizer",
    "QuantizedMatrix",
    "Rotation",
    "capacity",
    "fwht",
    "hadamard",
    "layer_objective",
    "lloyd_max",
    "load_safetensors",
    "nupes_exponent",
    "power_levels",
    "quantize_layer",
    "save_safetensors",
]
