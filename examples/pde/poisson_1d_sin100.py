"""Poisson's equation in one dimension: a high frequency."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson

PROBLEM = Problem(
    name="1D Poisson, sin 100x",
    operator=Poisson(1),
    domain=(0.0, 2 * np.pi),
    points=400,
    u=lambda x: np.sin(100 * x),
    f=lambda x: -1e4 * np.sin(100 * x),
    paper={"gaussian": (4.0e-7, 1329), "student": (6.5e-7, 1665)},
    learned=True,
)

if __name__ == "__main__":
    run(PROBLEM)
