"""Kronecker algebra."""

from ._eig import ClippingWarning, KroneckerDiagonal, KroneckerEig
from ._factors import Dense, Diagonal, Factor, Identity, Matern, Toeplitz
from ._operator import KroneckerOperator, Operator, SumOperator, kronecker_sum

__all__ = [
    "ClippingWarning",
    "Dense",
    "Diagonal",
    "Factor",
    "Identity",
    "KroneckerDiagonal",
    "KroneckerEig",
    "KroneckerOperator",
    "Matern",
    "Operator",
    "SumOperator",
    "Toeplitz",
    "kronecker_sum",
]
