"""Learn the hyperparameters of a Gaussian process on a grid by gradients, with telamon.torch.

    pip install torch
    python examples/torch_kron_gp.py [--size 200] [--steps 60]

A field on a grid of space and time is the sum of a process with covariance K = K_space kron K_time, of a Matern-3/2
kernel in space and a product of a periodic and a slow one in time, and white noise. K has size^4 entries and is never
made: `kron_log_likelihood` takes its two factors, and hands back the gradient in each, from which PyTorch goes on to
whatever made them: here five hyperparameters, and along with them the mean of the process, a front that moves. At the
end the field without its noise is predicted, by `kron_solve` and `kron_matmul`, and compared with the true one; the
second derivative of the likelihood gives the standard errors.
"""

import argparse
import math
import sys
import time

try:
    import torch
    from torch import Tensor
except ImportError:
    sys.exit("this example needs PyTorch: pip install torch")

import telamon.torch as tt

# Positive numbers, by their logarithms: of the covariance, the noise, and the front.
TRUE = {"space": 0.15, "period": 0.25, "shape": 1.0, "memory": 0.8, "noise": 0.3}
FRONT = {"height": 2.0, "slope": 10.0, "start": 0.3, "speed": 0.4}


def covariances(log_parameters: Tensor, x: Tensor, t: Tensor) -> list[Tensor]:
    """The factors for space, with variance 1, and for time."""
    space, period, shape, memory = log_parameters[:4].exp()
    r = math.sqrt(3) * (x[:, None] - x).abs() / space
    d = t[:, None] - t
    cycle = torch.exp(-2 * (torch.sin(math.pi * d / period) / shape) ** 2)
    return [(1 + r) * torch.exp(-r), cycle * torch.exp(-0.5 * (d / memory) ** 2)]


def front(log_parameters: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The mean of the process."""
    height, slope, start, speed = log_parameters[5:].exp()
    return height * torch.tanh(slope * (x[:, None] - start - speed * t))


def draw(log_parameters: Tensor, x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """A sample of the process: the roots of the factors times white noise."""
    roots = []
    for a in covariances(log_parameters, x, t):
        w, q = torch.linalg.eigh(a)
        roots.append(q * w.clamp(min=0).sqrt())
    return tt.kron_matmul(roots, torch.randn(len(x), len(t), generator=generator, dtype=x.dtype))


def log_likelihood(log_parameters: Tensor, y: Tensor, x: Tensor, t: Tensor) -> Tensor:
    residual = y - front(log_parameters, x, t)
    return tt.kron_log_likelihood(covariances(log_parameters, x, t), residual, log_parameters[4].exp() ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=200, help="of each axis of the grid")
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()

    generator = torch.Generator().manual_seed(0)
    x, t = (torch.linspace(0, 1, options.size, dtype=torch.float64) for _ in range(2))
    names = [*TRUE, *FRONT]
    true = torch.tensor([*TRUE.values(), *FRONT.values()], dtype=torch.float64)
    field = draw(true.log(), x, t, generator) + front(true.log(), x, t)
    y = field + TRUE["noise"] * torch.randn(field.shape, generator=generator, dtype=torch.float64)

    start = torch.tensor([0.3, 0.27, 0.7, 0.5, 0.6, 1.0, 5.0, 0.2, 0.3], dtype=torch.float64)
    parameters = start.log().requires_grad_()
    optimiser = torch.optim.LBFGS([parameters], max_iter=options.steps, line_search_fn="strong_wolfe")
    values = []

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -log_likelihood(parameters, y, x, t) / y.numel()
        loss.backward()
        values.append(-loss.item())
        return loss

    clock = time.perf_counter()
    optimiser.step(closure)
    each = 1e3 * (time.perf_counter() - clock) / len(values)
    print(f"{y.numel()} observations, {len(values)} likelihoods with gradients, {each:.0f} ms each")
    print(f"log likelihood of an observation: {values[0]:.3f} at the start, {max(values):.3f} at the end")

    learned = parameters.detach()
    hessian = torch.autograd.functional.hessian(lambda p: -log_likelihood(p, y, x, t), learned)
    errors = torch.linalg.inv(hessian).diagonal().sqrt() * learned.exp()
    print("             true  learned  standard error")
    for name, *row in zip(names, true, learned.exp(), errors, strict=True):
        print(f"{name:8} {row[0]:8.3f} {row[1]:8.3f} {row[2]:10.4f}")

    factors, mean = covariances(learned, x, t), front(learned, x, t)
    predicted = mean + tt.kron_matmul(factors, tt.kron_solve(factors, y - mean, learned[4].exp() ** 2))
    off, raw = ((a - field).square().mean().sqrt() for a in (predicted, y))
    print(f"the field without its noise: off by {off:.3f} rms, where the data are by {raw:.3f}")


if __name__ == "__main__":
    main()
