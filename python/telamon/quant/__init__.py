"""Weights of linear layers in few bits, and products with them.

===========================  ========================================================================================
`quantize_layer`             weights and a Hessian to a matrix of 1 to 8 bits: LNQ, and the baselines RTN, k-means,
                             SqueezeLLM, GPTQ and HQQ
`QuantizedMatrix`            packed codes and codebooks: products, storage in safetensors files
`HessianAccumulator`         X'X of calibration inputs, and the Hessians guided by gradients
`layer_objective`            the squared error of a layer's outputs, in double precision
===========================  ========================================================================================

Rows of weights are output channels. Needs NumPy only.
"""

from ._hessian import HessianAccumulator
from ._layer import layer_objective, quantize_layer
from ._matrix import QuantizedMatrix
from ._outliers import Outliers
from ._safetensors import load_safetensors, save_safetensors

__all__ = [
    "HessianAccumulator",
    "Outliers",
    "QuantizedMatrix",
    "layer_objective",
    "load_safetensors",
    "quantize_layer",
    "save_safetensors",
]
