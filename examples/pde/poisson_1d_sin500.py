"""Poisson's equation in one dimension: a high frequency on a parabola."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson

PROBLEM = Problem(
    name="1D Poisson, sin 500x - 2 (x - .5)^2",
    operator=Poisson(1),
    domain=(0.0, 1.0),
    points=400,
    u=lambda x: np.sin(500 * x) - 2 * (x - 0.5) ** 2,
    f=lambda x: -2.5e5 * np.sin(500 * x) - 4,
    paper={"gaussian": (1.8e-3, 4033), "student": (4.2e-4, 5705)},
    learned=True,
)

if __name__ == "__main__":
    run(PROBLEM)
