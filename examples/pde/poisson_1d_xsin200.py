"""Poisson's equation in one dimension: an amplitude that grows."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson

PROBLEM = Problem(
    name="1D Poisson, x sin 200x",
    operator=Poisson(1),
    domain=(0.0, 2 * np.pi),
    points=900,
    u=lambda x: x * np.sin(200 * x),
    f=lambda x: 400 * np.cos(200 * x) - 4e4 * x * np.sin(200 * x),
    paper={"gaussian": (1.6e-6, 6043), "student": (9.0e-7, 7451)},
    learned=True,
)

if __name__ == "__main__":
    run(PROBLEM)
