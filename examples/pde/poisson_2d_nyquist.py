"""Poisson's equation in two dimensions with two and a half points a wave, a million in all; not in the paper."""

import numpy as np
from problems import Problem, run

from telamon.pde import Poisson


def u(x, y):
    """The solution."""
    return np.sin(400 * x) * np.sin(400 * y)


PROBLEM = Problem(
    name="2D Poisson, sin 400x sin 400y",
    operator=Poisson(2),
    domain=(0.0, 2 * np.pi),
    points=1000,
    u=u,
    f=lambda x, y: -3.2e5 * u(x, y),
)

if __name__ == "__main__":
    run(PROBLEM)
