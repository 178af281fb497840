"""Poisson's equation in two dimensions: a product of high frequencies."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson


def u(x, y):
    """The solution."""
    return np.sin(100 * x) * np.sin(100 * y)


PROBLEM = Problem(
    name="2D Poisson, sin 100x sin 100y",
    operator=Poisson(2),
    domain=(0.0, 2 * np.pi),
    points=400,
    u=u,
    f=lambda x, y: -2e4 * u(x, y),
    paper={"gaussian": (6.5e-5, 5586), "student": (6.9e-5, 8209)},
)

if __name__ == "__main__":
    run(PROBLEM)
