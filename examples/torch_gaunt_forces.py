"""Train a small interatomic potential on forces: products on the sphere, differentiated twice, with telamon.torch.

    pip install torch
    python examples/torch_gaunt_forces.py [--steps 400] [--molecules 200]

The data are random clusters under a potential with a three-body term, which wants tetrahedral angles. The model sees
the density of an atom's neighbours as a function on the sphere, sum_j R(r_ij) Y(r_ij), by `GauntConv`; multiplies it
with itself by `GauntProduct`; and reads an energy off the invariants, the components of degree 0. Forces are the
gradient of the energy by autograd, and the loss compares forces, so that its own gradient is a second derivative of the
products. Trained with functions of degree 0 alone, which know distances but no angles, and with degrees up to 3.
"""

import argparse
import sys
import time
from collections.abc import Callable

try:
    import torch
    from torch import Tensor, nn
except ImportError:
    sys.exit("this example needs PyTorch: pip install torch")

import telamon.torch as tt

ATOMS = 8
CUTOFF = 2.2


def edges(positions: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs (receiver, sender) of atoms of one molecule within the cutoff; positions (molecules, atoms, 3)."""
    near = (torch.cdist(positions, positions) < CUTOFF) & ~torch.eye(ATOMS, dtype=torch.bool)
    molecule, i, j = near.nonzero().T
    return molecule * ATOMS + i, molecule * ATOMS + j


def fade(r: Tensor) -> Tensor:
    """1 at 0 and 0 at the cutoff, with three derivatives."""
    return (1 - (r / CUTOFF) ** 2).clamp(min=0) ** 4


def true_energy(positions: Tensor) -> Tensor:
    """Repulsion and bonds between pairs, and a penalty on angles that are not tetrahedral, cos = -1/3."""
    r = positions[:, :, None] - positions[:, None, :]
    d = torch.sqrt((r * r).sum(-1) + torch.eye(ATOMS))
    w = fade(d) * (1 - torch.eye(ATOMS))
    cosine = torch.einsum("mijx,mikx->mijk", r, r) / (d[:, :, :, None] * d[:, :, None, :])
    triples = w[:, :, :, None] * w[:, :, None, :] * (1 - torch.eye(ATOMS))
    return (w * (8 * d**-4 - 12)).sum((1, 2)) + 40 * (triples * (cosine + 1 / 3) ** 2).sum((1, 2, 3))


def clusters(count: int, generator: torch.Generator) -> Tensor:
    """The corners of cubes, displaced at random."""
    corners = torch.cartesian_prod(*[torch.tensor([-0.6, 0.6])] * 3)
    return corners + 0.15 * torch.randn(count, ATOMS, 3, generator=generator)


class Potential(nn.Module):
    def __init__(self, lmax: int, channels: int = 16) -> None:
        super().__init__()
        self.lmax, self.channels = lmax, channels
        self.radial = nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, (lmax + 1) * channels))
        self.density = tt.GauntConv(0, lmax, lmax, channels)
        self.square = tt.GauntProduct(lmax, lmax, lmax, channels, weights="degree")
        self.cube = tt.GauntProduct(lmax, lmax, 0, channels, weights="degree")
        self.readout = nn.Sequential(nn.Linear(3 * channels, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, positions: Tensor) -> Tensor:
        """Energies (molecules,)."""
        receivers, senders = edges(positions.detach())
        atoms = positions.reshape(-1, 3)
        vectors = atoms[senders] - atoms[receivers]
        r = torch.linalg.norm(vectors, dim=1, keepdim=True)
        weights = self.radial(torch.exp(-8 * (r - torch.linspace(0.4, CUTOFF, 6)) ** 2)) * fade(r)
        ones = torch.ones(len(atoms), 1, self.channels)
        filters = weights.view(-1, self.lmax + 1, self.channels)
        a = self.density(ones, vectors, filters, senders=senders, receivers=receivers)
        aa = self.square(a, a)
        invariants = torch.cat([a[:, 0], aa[:, 0], self.cube(aa, a)[:, 0]], -1)
        return self.readout(invariants).view(-1, ATOMS).sum(1)


def forces(energy: Callable[[Tensor], Tensor], positions: Tensor, create_graph: bool = False) -> Tensor:
    positions = positions.detach().requires_grad_()
    return -torch.autograd.grad(energy(positions).sum(), positions, create_graph=create_graph)[0]


def train(lmax: int, positions: Tensor, target: Tensor, test: int, steps: int) -> None:
    torch.manual_seed(0)
    model = Potential(lmax)
    scale = target.std()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    start = time.perf_counter()
    for _ in range(steps):
        batch = torch.randint(test, len(positions), (16,))
        optimiser.zero_grad()
        loss = (((forces(model, positions[batch], create_graph=True) - target[batch]) / scale) ** 2).mean()
        loss.backward()
        optimiser.step()
        schedule.step()
    seconds = (time.perf_counter() - start) / steps
    error = (forces(model, positions[:test]) - target[:test]).square().mean().sqrt() / scale
    print(f"degrees 0 to {lmax}: force error {100 * error:5.1f} % of their deviation, {1000 * seconds:.1f} ms a step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--molecules", type=int, default=400, help="to train with; a quarter as many test the result")
    options = parser.parse_args()

    torch.set_num_threads(1)  # batches this small gain nothing from more
    test = max(options.molecules // 4, 1)
    positions = clusters(options.molecules + test, torch.Generator().manual_seed(0))
    target = forces(true_energy, positions)
    for lmax in (0, 3):
        train(lmax, positions, target, test, options.steps)


if __name__ == "__main__":
    main()
