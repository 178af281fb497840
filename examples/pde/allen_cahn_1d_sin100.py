"""Allen and Cahn's equation in one dimension: a high frequency."""

import numpy as np
from problems import Problem, run

from telamon.pde import AllenCahn


def u(x):
    """The solution."""
    return np.sin(100 * x)


PROBLEM = Problem(
    name="1D Allen-Cahn, sin 100x",
    operator=AllenCahn(1),
    domain=(0.0, 2 * np.pi),
    points=400,
    u=u,
    f=lambda x: -1e4 * u(x) + u(x) * (u(x) ** 2 - 1),
    paper={"gaussian": (8.1e-7, 299), "student": (1.8e-6, 346)},
    learned=True,
)

if __name__ == "__main__":
    run(PROBLEM)
