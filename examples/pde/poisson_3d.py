"""Poisson's equation in three dimensions, a million points; not in the paper."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson


def u(x, y, z):
    """The solution."""
    return np.sin(20 * x) * np.sin(20 * y) * np.sin(20 * z)


PROBLEM = Problem(
    name="3D Poisson, sin 20x sin 20y sin 20z",
    operator=Poisson(3),
    domain=(0.0, 1.0),
    points=100,
    u=u,
    f=lambda x, y, z: -1200 * u(x, y, z),
)

if __name__ == "__main__":
    run(PROBLEM)
