"""Partial differential equations on grids by Gaussian processes, after Fang et al., ICLR 2024 (GP-HM).

`GridPDE`, `PDESolution`
    An equation on the grid of a box, by a direct solve, by marginal likelihood, or by the paper's objective; and its
    solution, a function that can be evaluated and differentiated anywhere.
`Poisson`, `Helmholtz`, `AllenCahn`, `Advection`, `Heat`, `Wave`, `Burgers`, `Operator`, `Term`, `Nonlinearity`
    Operators, and what they are made of.
`Dirichlet`, `Neumann`, `Periodic`, `Initial`, `Inflow`
    Conditions.
`BandWarning`, `BoundaryWarning`, `ConvergenceWarning`
    What may be amiss.
"""

from ._automatic import BandWarning
from ._conditions import Dirichlet, Inflow, Initial, Neumann, Periodic
from ._direct import BoundaryWarning, ConvergenceWarning
from ._grid import GridPDE
from ._operators import Advection, AllenCahn, Burgers, Heat, Helmholtz, Nonlinearity, Operator, Poisson, Term, Wave
from ._solution import PDESolution, relative_error

__all__ = [
    "Advection",
    "AllenCahn",
    "BandWarning",
    "BoundaryWarning",
    "Burgers",
    "ConvergenceWarning",
    "Dirichlet",
    "GridPDE",
    "Heat",
    "Helmholtz",
    "Inflow",
    "Initial",
    "Neumann",
    "Nonlinearity",
    "Operator",
    "PDESolution",
    "Periodic",
    "Poisson",
    "Term",
    "Wave",
    "relative_error",
]
