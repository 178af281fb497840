"""Fit the smoothness and the length scale of a Matern covariance by maximum likelihood, with telamon.jax.

    python examples/jax_matern.py [--n 200]

The covariance at distance r is s^2 2^(1-nu)/Gamma(nu) z^nu K_nu(z) with z = sqrt(2 nu) r / l. Its logarithm needs
log K_nu alone, and the gradient in nu is the derivative of log K in its order, so that nu need not be one of 1/2, 3/2,
5/2: jax.value_and_grad and jit do the rest.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import gammaln

import telamon.jax as tj

jax.config.update("jax_enable_x64", True)

NOISE = 1e-4


def matern(r: jax.Array, nu: jax.Array, length: jax.Array) -> jax.Array:
    """The correlation at distance r; r = 0 is set apart, since its gradient is that of a constant."""
    z = jnp.sqrt(2 * nu) * jnp.where(r > 0, r, 1.0) / length
    log = (1 - nu) * jnp.log(2.0) - gammaln(nu) + nu * jnp.log(z) + tj.log_kv(nu, z)
    return jnp.where(r > 0, jnp.exp(log), 1.0)


@jax.jit
@jax.value_and_grad
def negative_log_likelihood(log_parameters: jax.Array, r: jax.Array, y: jax.Array) -> jax.Array:
    nu, length = jnp.exp(log_parameters)
    factor = jnp.linalg.cholesky(matern(r, nu, length) + NOISE * jnp.eye(y.size))
    white = solve_triangular(factor, y, lower=True)
    return 0.5 * white @ white + jnp.log(jnp.diag(factor)).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="the number of points")
    n = parser.parse_args().n

    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (n, 2))
    r = jnp.asarray(np.linalg.norm(points[:, None] - points, axis=-1))
    true = np.array([1.2, 0.3])
    y = np.linalg.cholesky(matern(r, *true) + NOISE * np.eye(n)) @ rng.standard_normal(n)

    # Gradient steps in the logarithms, each halved until it descends (Armijo's rule).
    at = jnp.log(jnp.array([0.6, 0.1]))
    value, slope = negative_log_likelihood(at, r, y)
    step = 0.1
    for _ in range(200):
        step = min(4 * step, 1.0 / float(jnp.linalg.norm(slope)))
        while (new := negative_log_likelihood(at - step * slope, r, y))[0] > value - 1e-4 * step * slope @ slope:
            step /= 2
            if step < 1e-12:
                break
        if step < 1e-12 or float(jnp.linalg.norm(slope)) < 1e-6:
            break
        at, (value, slope) = at - step * slope, new

    nu, length = np.exp(at)
    print(f"smoothness    true {true[0]:.3f}   fitted {nu:.3f}")
    print(f"length scale  true {true[1]:.3f}   fitted {length:.3f}")
    print(f"-log likelihood {value:.4f}, gradient {np.linalg.norm(slope):.1e}")


if __name__ == "__main__":
    main()
