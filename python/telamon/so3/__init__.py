"""Functions on the sphere as features: Gaunt tensor products, spherical harmonics and rotations, for E(3)-equivariant
networks.

==========================  =================================================================================
`gaunt_product`             the product of two functions, in O(L^3), even paths or all
`gaunt_power`               the n-th power of one: many-body products in one pass
`gaunt_monomial`            products of powers of several
`gaunt_conv`                products with the harmonics of edge directions, from senders to receivers
`gaunt_coefficients`        the nonzero Gaunt coefficients themselves
`spherical_harmonics`       of any degree, in e3nn's convention; `spherical_harmonics_grad`, `gradient_table`
`wigner_D`, `rotate`        the matrices that rotate coefficients, and their action on features
`from_mul_ir`, `to_mul_ir`  e3nn's layout; `parse_irreps`
==========================  =================================================================================

Features are arrays (..., (lmax + 1)^2, C), component l^2 + l + m of real spherical harmonics with y as the polar axis,
as in e3nn. `telamon.torch` and `telamon.jax` have the same functions, differentiable to every order.
"""

from ._gaunt import GauntTable, gaunt_coefficients, gaunt_conv, gaunt_monomial, gaunt_power, gaunt_product
from ._harmonics import GradientTable, gradient_table, rotate, spherical_harmonics, spherical_harmonics_grad, wigner_D
from ._irreps import from_mul_ir, parse_irreps, to_mul_ir

__all__ = [
    "GauntTable",
    "GradientTable",
    "from_mul_ir",
    "gaunt_coefficients",
    "gaunt_conv",
    "gaunt_monomial",
    "gaunt_power",
    "gaunt_product",
    "gradient_table",
    "parse_irreps",
    "rotate",
    "spherical_harmonics",
    "spherical_harmonics_grad",
    "to_mul_ir",
    "wigner_D",
]
