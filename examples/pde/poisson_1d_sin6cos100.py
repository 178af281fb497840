"""Poisson's equation in one dimension: a product, of frequencies 94 and 106."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson

PROBLEM = Problem(
    name="1D Poisson, sin 6x cos 100x",
    operator=Poisson(1),
    domain=(0.0, 2 * np.pi),
    points=400,
    u=lambda x: np.sin(6 * x) * np.cos(100 * x),
    f=lambda x: -10036 * np.sin(6 * x) * np.cos(100 * x) - 1200 * np.cos(6 * x) * np.sin(100 * x),
    paper={"gaussian": (1.5e-6, None), "student": (5.5e-6, None)},
    learned=True,
)

if __name__ == "__main__":
    run(PROBLEM)
