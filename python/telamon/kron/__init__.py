"""Kronecker algebra: matrices that are Kronecker products, on grids of any size, never formed.

=====================================  ==============================================================================
`KroneckerOperator`                    the product as a linear operator in SciPy's protocol; `SumOperator` of several,
                                       `kronecker_sum`
`Dense`, `Toeplitz`, `Diagonal`,       factors, each with its cheapest product and decomposition
`Identity`, `Matern`
`KroneckerEig`                         the eigen-decomposition: solves, determinants, functions, samples, likelihoods
                                       with gradients; `with_diag` frees the eigenvalues
`KroneckerSystem`                      a covariance with noise of any kind and missing cells: solve, logdet
`cg`, `slq_logdet`                     conjugate gradients, and log-determinants of what has products only
`dask_matmul`                          the product with a dask array
=====================================  ==============================================================================

A grid is an array (..., n_1, ..., n_d) of float32 or float64, batches in front; as a vector it is in C order, the last
axis fastest. Needs NumPy only.
"""

from ._basis import KroneckerDiagonal
from ._cg import CGResult, ConvergenceWarning, cg
from ._dask import dask_matmul
from ._eig import Clipped, ClippingWarning, KroneckerEig
from ._factors import Dense, Diagonal, Factor, Identity
from ._operator import KroneckerOperator, Operator, SumOperator, kronecker_sum
from ._slq import LogDeterminant, slq_logdet
from ._structured import Matern, Toeplitz
from ._system import KroneckerSystem

__all__ = [
    "CGResult",
    "Clipped",
    "ClippingWarning",
    "ConvergenceWarning",
    "Dense",
    "Diagonal",
    "Factor",
    "Identity",
    "KroneckerDiagonal",
    "KroneckerEig",
    "KroneckerOperator",
    "KroneckerSystem",
    "LogDeterminant",
    "Matern",
    "Operator",
    "SumOperator",
    "Toeplitz",
    "cg",
    "dask_matmul",
    "kronecker_sum",
    "slq_logdet",
]
