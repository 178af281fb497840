"""Advection in one dimension at speed 200, from inflow and initial data alone; the paper prescribes all four edges."""

import numpy as np
from problems import Problem, run

from telamon.pde import Advection, Inflow, Initial


def u(x, t):
    """The solution."""
    return np.sin(x - 200 * t)


PROBLEM = Problem(
    name="1D advection, sin(x - 200t)",
    operator=Advection(200.0),
    domain=(0.0, 1.0),
    points=200,
    u=u,
    f=lambda x, t: np.zeros(np.broadcast_shapes(x.shape, t.shape)),
    boundary=[Inflow(u), Initial(u)],
    paper={"gaussian": (1.35e-3, 9654), "student": (1.4e-4, 11152)},
)

if __name__ == "__main__":
    run(PROBLEM)
