"""Allen and Cahn's equation in one dimension: a product, of frequencies 94 and 106."""

import numpy as np
from problems import Problem, run

from telamon.pde import AllenCahn


def u(x):
    """The solution."""
    return np.sin(6 * x) * np.cos(100 * x)


def f(x):
    """The source."""
    return -10036 * u(x) - 1200 * np.cos(6 * x) * np.sin(100 * x) + u(x) * (u(x) ** 2 - 1)


PROBLEM = Problem(
    name="1D Allen-Cahn, sin 6x cos 100x",
    operator=AllenCahn(1),
    domain=(0.0, 2 * np.pi),
    points=400,
    u=u,
    f=f,
    paper={"gaussian": (9.0e-7, 1185), "student": (8.2e-7, 688)},
    learned=True,
)

if __name__ == "__main__":
    run(PROBLEM)
