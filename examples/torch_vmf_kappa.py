"""Fit the concentration of a von Mises-Fisher distribution by gradient descent, with telamon.torch.

    python examples/torch_vmf_kappa.py [--dim 2048] [--kappa 1500] [--n 500]

The density on the unit sphere of R^d is C exp(kappa mu.x), log C = v log kappa - log I_v(kappa) - (d/2) log 2 pi with
v = d/2 - 1. In high dimension I_v(kappa) underflows float64 long before kappa reaches the values that real features
have; log I_v does not, and its gradient comes with it. The direction mu has a closed form, the concentration does not:
here it is a parameter among others, as it would be inside a network, and a Newton step from the second derivative
shows that the result is the maximum.
"""

import argparse

import numpy as np
import torch

import telamon.torch as tt
from telamon.stats import vonmises_fisher


def negative_log_likelihood(kappa: torch.Tensor, dim: int, resultant: torch.Tensor) -> torch.Tensor:
    """Of one observation on average, without the constant; `resultant` is the mean of mu.x."""
    v = dim / 2 - 1
    return tt.log_iv(v, kappa) - v * torch.log(kappa) - kappa * resultant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--kappa", type=float, default=1500.0)
    parser.add_argument("--n", type=int, default=500, help="the number of observations")
    options = parser.parse_args()

    mu = np.zeros(options.dim)
    mu[0] = 1
    sample = vonmises_fisher(mu, options.kappa).rvs(options.n, random_state=np.random.default_rng(0))
    resultant = torch.linalg.norm(torch.as_tensor(sample).mean(dim=0))

    # kappa > 0, so its logarithm is what is optimised; L-BFGS asks for gradients only.
    log_kappa = torch.tensor(np.log(options.dim / 2.0), requires_grad=True)
    optimiser = torch.optim.LBFGS([log_kappa], max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = negative_log_likelihood(log_kappa.exp(), options.dim, resultant)
        loss.backward()
        return loss

    optimiser.step(closure)

    kappa = log_kappa.detach().exp().requires_grad_()
    loss = negative_log_likelihood(kappa, options.dim, resultant)
    (slope,) = torch.autograd.grad(loss, kappa, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, kappa)
    newton = kappa.detach() - slope.detach() / curvature
    exact = tt.iv_ratioinv(options.dim / 2, resultant)
    error = (options.n * curvature) ** -0.5  # from the Fisher information
    print(f"true kappa        {options.kappa:.6f}")
    print(f"by L-BFGS         {kappa.item():.6f}")
    print(f"one Newton step   {newton.item():.6f}")
    print(f"closed form       {exact.item():.6f}   I_v/I_(v-1) inverted")
    print(f"standard error    {error.item():.6f}")


if __name__ == "__main__":
    main()
