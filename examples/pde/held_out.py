"""Random one-dimensional problems that no default was chosen by: `--evidence` learns the kernels as well.

The noise and the range of weights of method "evidence", and the thresholds of the automatic kernel, were chosen while
looking at the errors of the paper's problems. These have other lengths, grids, frequencies, amplitudes and phases.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np

from telamon.pde import GridPDE, Poisson, relative_error


def main() -> None:
    """Errors of eight problems."""
    rng = np.random.default_rng(2024)
    warnings.simplefilter("ignore")
    methods = [{}]
    if "--evidence" in sys.argv:
        methods += [{"method": "evidence", "spectrum": spectrum} for spectrum in ("gaussian", "student")]
    for _ in range(8):
        length, n = rng.uniform(1, 6), int(rng.integers(200, 401))
        nyquist = (n - 1) / (2 * length)
        count = int(rng.integers(1, 4))
        k = 2 * np.pi * nyquist * rng.uniform(0.05, 0.45, count)
        amplitude, phase = 10 ** rng.uniform(-1.5, 0, count), rng.uniform(0, 6, count)

        def u(x, k=k, a=amplitude, p=phase):
            return np.sin(np.multiply.outer(x, k) + p) @ a

        def f(x, k=k, a=amplitude, p=phase):
            return np.sin(np.multiply.outer(x, k) + p) @ (-a * k * k)

        errors = []
        for options in methods:
            grid = GridPDE(Poisson(1), domain=(0.0, length), shape=n, **options)
            errors.append(f"{relative_error(grid.solve(f, u), u):.1e}")
        print(f"{n} points, {count} waves up to {k.max() / (2 * np.pi * nyquist):.2f} of Nyquist:", *errors)


if __name__ == "__main__":
    main()
