"""Allen and Cahn's equation in two dimensions: three scales along each axis."""

import numpy as np
from problems import Problem, run

from telamon.pde import AllenCahn


def scales(x):
    """One factor of the solution."""
    return np.sin(x) + 0.1 * np.sin(20 * x) + np.cos(100 * x)


def curvature(x):
    """Its second derivative."""
    return -np.sin(x) - 40 * np.sin(20 * x) - 1e4 * np.cos(100 * x)


def u(x, y):
    """The solution."""
    return scales(x) * scales(y)


PROBLEM = Problem(
    name="2D Allen-Cahn, three scales",
    operator=AllenCahn(2),
    domain=(0.0, 1.0),
    points=400,
    u=u,
    f=lambda x, y: curvature(x) * scales(y) + scales(x) * curvature(y) + u(x, y) * (u(x, y) ** 2 - 1),
    paper={"gaussian": (2.6e-3, 15926), "student": (5.7e-3, 18244)},
)

if __name__ == "__main__":
    run(PROBLEM)
