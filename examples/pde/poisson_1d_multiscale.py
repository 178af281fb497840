"""Poisson's equation in one dimension: three scales."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson

PROBLEM = Problem(
    name="1D Poisson, sin x + .1 sin 20x + .05 cos 100x",
    operator=Poisson(1),
    domain=(0.0, 1.0),
    points=900,
    u=lambda x: np.sin(x) + 0.1 * np.sin(20 * x) + 0.05 * np.cos(100 * x),
    f=lambda x: -np.sin(x) - 40 * np.sin(20 * x) - 500 * np.cos(100 * x),
    paper={"gaussian": (3.5e-4, 4667), "student": (5.5e-4, 5045)},
    learned=True,
)

if __name__ == "__main__":
    run(PROBLEM)
