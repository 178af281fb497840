"""Poisson's equation in two dimensions: a sum of functions of one coordinate each."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson


def wave(x):
    """One summand."""
    return np.sin(6 * x) * np.cos(20 * x)


def curvature(x):
    """Its second derivative."""
    return -436 * np.sin(6 * x) * np.cos(20 * x) - 240 * np.cos(6 * x) * np.sin(20 * x)


PROBLEM = Problem(
    name="2D Poisson, sin 6x cos 20x + sin 6y cos 20y",
    operator=Poisson(2),
    domain=(0.0, 2 * np.pi),
    points=200,
    u=lambda x, y: wave(x) + wave(y),
    f=lambda x, y: curvature(x) + curvature(y),
    paper={"gaussian": (1.1e-3, 6132), "student": (2.2e-4, 19952)},
)

if __name__ == "__main__":
    run(PROBLEM)
