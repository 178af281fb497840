"""Polarizability tensors of molecules by an equivariant network, with and without features of degree 2.

    pip install torch matplotlib qm9pack         # QM9, 100 MB
    pip install e3nn                             # to compare the time of an epoch
    python examples/qm9_polarizability.py [--quick] [--plot FILE]

A polarizability is a symmetric 3x3 tensor: its trace is a scalar (0e), the rest has degree 2 (2e). The network is made
of two operations of telamon.torch: `gaunt_conv` sends messages along edges, the product of features with spherical
harmonics of the edge's direction, weighted by a function of its length; `gaunt_product` multiplies features at each
atom. Features hold degrees 0 to L. All networks end in a convolution that makes degree 2 from whatever they hold, so
L = 0 and L = 1 can fit a tensor too: as a sum of bonds whose weights know the surroundings. The test is whether
features of degree 2 inside help.

The time of an epoch is also measured with e3nn's TensorProduct in place of telamon's, for the same paths ("uuu",
even), scaled so that both give the same numbers.
"""

import argparse
import itertools
import math
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

# Threads of OpenMP that spin while they wait make an epoch ten times longer where anything else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

try:
    import torch
    from torch import Tensor, nn
except ImportError:
    sys.exit("this example needs PyTorch: pip install torch")

import qm9

import telamon
import telamon.torch as tt

CUTOFF = 3.5  # Angstrom
RADIAL = 8  # functions of the distance


class Batch(NamedTuple):
    species: Tensor  # (atoms,), 0..4
    molecule: Tensor  # (atoms,)
    vectors: Tensor  # (edges, 3)
    senders: Tensor
    receivers: Tensor
    target: Tensor  # (molecules, 9): degree 0, nothing, degree 2; as features are


# ---- tensors as features: for traceless A, r^T A r = sum_m t_m Y_2m(r) times a constant


def tensor_basis() -> np.ndarray:
    """(9, 3, 3), orthonormal in Frobenius' sense: the part of degree 0, three zeros, the part of degree 2."""
    r = np.random.default_rng(0).standard_normal((20, 3))
    y = telamon.torch.spherical_harmonics(2, torch.from_numpy(r), normalize=False).numpy()
    squares = (r[:, :, None] * r[:, None, :]).reshape(-1, 9)
    basis = np.zeros((9, 3, 3))
    basis[0] = np.eye(3) / math.sqrt(3)
    basis[4:] = np.linalg.lstsq(squares, y, rcond=None)[0].T.reshape(5, 3, 3)
    basis[4:] = (basis[4:] + basis[4:].transpose(0, 2, 1)) / 2
    return basis / np.maximum(np.linalg.norm(basis, axis=(1, 2), keepdims=True), 1e-9)


def batches(molecules: list[qm9.Molecule], size: int, generator: np.random.Generator | None = None) -> Iterator[Batch]:
    order = np.arange(len(molecules)) if generator is None else generator.permutation(len(molecules))
    basis = tensor_basis()
    for start in range(0, len(order), size):
        chosen = [molecules[i] for i in order[start : start + size]]
        senders, receivers, vectors, offset = [], [], [], 0
        for m in chosen:
            difference = m.positions[None, :] - m.positions[:, None]
            distance = np.linalg.norm(difference, axis=-1)
            i, j = np.nonzero((distance < CUTOFF) & (distance > 0))
            vectors.append(difference[i, j])
            receivers.append(i + offset)
            senders.append(j + offset)
            offset += len(m.numbers)
        numbers = np.concatenate([m.numbers for m in chosen])
        yield Batch(
            torch.from_numpy(np.searchsorted([1, 6, 7, 8, 9], numbers)),
            torch.from_numpy(np.repeat(np.arange(len(chosen)), [len(m.numbers) for m in chosen])),
            torch.from_numpy(np.concatenate(vectors).astype(np.float32)),
            torch.from_numpy(np.concatenate(senders)),
            torch.from_numpy(np.concatenate(receivers)),
            torch.from_numpy(np.stack([np.einsum("kab,ab->k", basis, m.polarizability) for m in chosen])).float(),
        )


# ---- the two operations, by telamon and by e3nn


class Telamon:
    """As they come."""

    product = staticmethod(tt.gaunt_product)

    @staticmethod
    def conv(x: Tensor, w: Tensor, lmax_out: int, b: Batch, atoms: int) -> Tensor:
        return tt.gaunt_conv(x, b.vectors, w, lmax_out, senders=b.senders, receivers=b.receivers, num_receivers=atoms)


class E3nn:
    """Clebsch-Gordan products over the same paths, with their weights chosen so that the numbers are telamon's."""

    def __init__(self, channels: int) -> None:
        self.channels, self.products = channels, dict[tuple[int, int, int], Any]()

    def _tensor_product(self, l1: int, l2: int, l3: int) -> Any:
        from e3nn import o3

        if (l1, l2, l3) not in self.products:
            irreps = [o3.Irreps([(self.channels, (l, (-1) ** l)) for l in range(top + 1)]) for top in (l1, l2, l3)]
            paths = []
            for a, b, c in itertools.product(range(l1 + 1), range(l2 + 1), range(l3 + 1)):
                if abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0:
                    # The mean of Y_a0 Y_b0 Y_c0 is this times w3j(0 0 0), which fixes it.
                    scale = (2 * a + 1) * (2 * b + 1) * (2 * c + 1) * float(o3.wigner_3j(a, b, c)[a, b, c]) ** 2
                    paths.append((a, b, c, "uuu", False, scale))
            self.products[l1, l2, l3] = o3.TensorProduct(
                *irreps, paths, irrep_normalization="none", path_normalization="none"
            )
        return self.products[l1, l2, l3]

    def product(self, x: Tensor, y: Tensor, lmax_out: int) -> Tensor:
        l1, l2 = (math.isqrt(a.shape[1]) - 1 for a in (x, y))
        z = self._tensor_product(l1, l2, lmax_out)(_to_mul_ir(x), _to_mul_ir(y))
        parts = z.split([self.channels * (2 * l + 1) for l in range(lmax_out + 1)], dim=1)
        return torch.cat([p.reshape(len(z), self.channels, -1).transpose(1, 2) for p in parts], dim=1)

    def conv(self, x: Tensor, w: Tensor, lmax_out: int, b: Batch, atoms: int) -> Tensor:
        lmax = w.shape[1] - 1
        degrees = torch.repeat_interleave(torch.arange(lmax + 1), 2 * torch.arange(lmax + 1) + 1)
        y = tt.spherical_harmonics(range(lmax + 1), b.vectors)[..., None] * w[:, degrees]
        z = self.product(x[b.senders], y, lmax_out)
        return z.new_zeros(atoms, *z.shape[1:]).index_add(0, b.receivers, z)


def _to_mul_ir(x: Tensor) -> Tensor:
    top = math.isqrt(x.shape[1])
    return torch.cat([x[:, l * l : (l + 1) ** 2].transpose(1, 2).flatten(1) for l in range(top)], dim=1)


# ---- the network


class Mix(nn.Module):
    """A matrix of channels for each degree: the linear maps that commute with rotations."""

    def __init__(self, lmax: int, channels: int, out: int | None = None) -> None:
        super().__init__()
        out = channels if out is None else out
        self.weight = nn.Parameter(torch.randn(lmax + 1, channels, out) / channels**0.5)
        sizes = 2 * torch.arange(lmax + 1) + 1
        self.register_buffer("degrees", torch.repeat_interleave(torch.arange(lmax + 1), sizes))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nkc,kcd->nkd", x, self.weight[self.degrees])


class Conv(nn.Module):
    """Messages along edges; the weight of each degree and channel of the filter is a function of the distance."""

    def __init__(self, lmax: int, lmax_out: int, channels: int) -> None:
        super().__init__()
        self.lmax_out, self.lmax_filter = lmax_out, max(lmax, lmax_out)
        self.radial = nn.Sequential(
            nn.Linear(RADIAL, 32), nn.SiLU(), nn.Linear(32, (self.lmax_filter + 1) * channels, bias=False)
        )
        self.before, self.after = Mix(lmax, channels), Mix(lmax_out, channels)

    def forward(self, x: Tensor, radial: Tensor, b: Batch, ops: Any) -> Tensor:
        w = self.radial(radial).unflatten(1, (self.lmax_filter + 1, -1))
        messages = ops.conv(self.before(x), w, self.lmax_out, b, len(x))
        return self.after(messages / 4)  # an atom has about 16 neighbours


class Layer(nn.Module):
    """A convolution, then a product of features, both added to what was there; gates make it nonlinear."""

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.lmax, self.conv = lmax, Conv(lmax, lmax, channels)
        self.left, self.right, self.out = (Mix(lmax, channels) for _ in range(3))
        self.gate = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, (lmax + 1) * channels))

    def forward(self, x: Tensor, radial: Tensor, b: Batch, ops: Any) -> Tensor:
        x = x + self.conv(x, radial, b, ops)
        gates = torch.sigmoid(self.gate(x[:, 0])).unflatten(1, (self.lmax + 1, -1))[:, self.out.degrees]
        product = ops.product(self.left(x), self.right(x), self.lmax)
        return x + gates * self.out(product)


class Network(nn.Module):
    def __init__(self, lmax: int, channels: int, layers: int = 2) -> None:
        super().__init__()
        self.lmax = lmax
        self.embedding = nn.Embedding(5, channels)
        self.layers = nn.ModuleList(Layer(lmax, channels) for _ in range(layers))
        self.conv = Conv(lmax, 2, channels)
        self.gate = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 3 * channels))
        self.readout = Mix(2, channels, 1)
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("by_element", torch.zeros(5))
        self.register_buffer("keep", torch.tensor([[1.0] + 8 * [0.0], [1.0] + 3 * [0.0] + 5 * [1.0]]))

    def fit_scales(self, data: list[qm9.Molecule]) -> None:
        """Start from a sum over elements; what is left has the size of one."""
        everything = next(batches(data, len(data)))
        counts = torch.zeros(len(data), 5).index_put((everything.molecule, everything.species), torch.ones(()), True)
        self.by_element.copy_(torch.linalg.lstsq(counts, everything.target[:, :1]).solution[:, 0])
        self.scale[0] = (everything.target[:, 0] - counts @ self.by_element).std()
        self.scale[2] = everything.target[:, 4:].std()

    def forward(self, b: Batch, ops: Any) -> Tensor:
        distance = b.vectors.norm(dim=1)
        centres = torch.linspace(0.8, CUTOFF, RADIAL)
        radial = torch.exp(-(((distance[:, None] - centres) / 0.4) ** 2))
        radial = radial * (0.5 + 0.5 * torch.cos(math.pi * distance / CUTOFF))[:, None]
        scalars = self.embedding(b.species)[:, None]
        x = torch.cat([scalars, scalars.new_zeros(len(scalars), (self.lmax + 1) ** 2 - 1, scalars.shape[2])], dim=1)
        for layer in self.layers:
            x = layer(x, radial, b, ops)
        gates = self.gate(x[:, 0]).unflatten(1, (3, -1))[:, self.readout.degrees]
        atoms = self.readout(gates * self.conv(x, radial, b, ops))[:, :, 0] / 4  # a molecule has about 18
        atoms = atoms * self.scale[self.readout.degrees] + self.by_element[b.species, None] * self.keep[0]
        total = atoms.new_zeros(len(b.target), 9).index_add(0, b.molecule, atoms)
        return total * self.keep[1]


def loss_of(network: Network, b: Batch, ops: Any) -> Tensor:
    error = (network(b, ops) - b.target) / network.scale[network.readout.degrees]
    return nn.functional.huber_loss(error, torch.zeros_like(error))  # the three of degree 1 are zero in both


@torch.no_grad()
def errors(network: Network, data: list[qm9.Molecule], ops: Any) -> tuple[float, float]:
    """Mean absolute error of the mean polarizability, and mean Frobenius norm of the rest's error, in bohr^3."""
    difference = torch.cat([network(b, ops) - b.target for b in batches(data, 100)])
    return float(difference[:, 0].abs().mean() / math.sqrt(3)), float(difference[:, 4:].norm(dim=1).mean())


def step(network: Network, b: Batch, ops: Any, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    loss_of(network, b, ops).backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def train(
    lmax: int, channels: int, data: list[qm9.Molecule], test: list[qm9.Molecule], epochs: int
) -> tuple[Network, list[tuple[float, float]], float]:
    """The network, its errors after each epoch, and the seconds an epoch takes."""
    torch.manual_seed(0)
    network, generator = Network(lmax, channels), np.random.default_rng(0)
    network.fit_scales(data)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    history, seconds = [], []
    for epoch in range(epochs):
        start = time.perf_counter()
        for b in batches(data, 32, generator):
            step(network, b, Telamon, optimiser)
        seconds.append(time.perf_counter() - start)
        schedule.step()
        history.append(errors(network, test, Telamon))
        print(
            f"L = {lmax}, epoch {epoch + 1:3}: {history[-1][0]:6.3f} {history[-1][1]:6.3f} {seconds[-1]:6.1f} s",
            flush=True,
        )
    return network, history, float(np.median(seconds))


def time_with_e3nn(network: Network, channels: int, data: list[qm9.Molecule], count: int) -> float | None:
    """Seconds of an epoch, from `count` batches; after a check that both give the same."""
    try:
        ops = E3nn(channels)
        some = list(itertools.islice(batches(data, 32), count + 2))
        with torch.no_grad():
            difference = (network(some[0], ops) - network(some[0], Telamon)).abs().max()
        print(f"largest difference of results, telamon and e3nn: {difference:.1e} bohr^3")
    except ImportError:
        print("no e3nn to compare with: pip install e3nn")
        return None
    optimiser = torch.optim.Adam(network.parameters(), lr=0.0)
    for b in some[:2]:
        step(network, b, ops, optimiser)  # compiles
    start = time.perf_counter()
    for b in some[2:]:
        step(network, b, ops, optimiser)
    return (time.perf_counter() - start) / len(some[2:]) * math.ceil(len(data) / 32)


def plot(histories: dict[int, list[tuple[float, float]]], path: str) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot without matplotlib: pip install matplotlib")
        return
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for k, panel in enumerate(figure.subplots(1, 2)):
        for lmax, history in histories.items():
            panel.plot(range(1, len(history) + 1), [h[k] for h in history], label=f"features of degrees 0..{lmax}")
        panel.set(yscale="log", xlabel="epoch", ylabel="test error, bohr^3", title=("mean (0e)", "anisotropy (2e)")[k])
        panel.grid(alpha=0.3, which="both")
    panel.legend()
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=4000, help="to train on")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--degrees", type=int, nargs="*", default=[0, 1, 2], help="values of L")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plot", metavar="FILE", default="qm9_polarizability.png")
    parser.add_argument("--quick", action="store_true", help="seconds: few molecules, one epoch")
    args = parser.parse_args()
    if args.quick:
        args.molecules, args.epochs, args.channels = 96, 1, 8

    torch.set_num_threads(args.threads)
    telamon.set_num_threads(args.threads)
    molecules = qm9.load(args.molecules + max(args.molecules // 8, 32))
    data, test = molecules[: args.molecules], molecules[args.molecules :]
    spread = np.mean([np.linalg.norm(m.polarizability - np.trace(m.polarizability) / 3 * np.eye(3)) for m in test])
    print(f"{len(data)} molecules to train on, {len(test)} to test; mean anisotropy {spread:.2f} bohr^3")
    print("test error: mean polarizability, anisotropy (bohr^3)")
    results = {}
    for lmax in args.degrees:
        network, history, seconds = train(lmax, args.channels, data, test, args.epochs)
        results[lmax] = history, seconds
    e3nn_seconds = time_with_e3nn(network, args.channels, data, 1 if args.quick else 6)
    print("\n  L   mean   anisotropy   s an epoch")
    for lmax, (history, seconds) in results.items():
        print(f"{lmax:3} {history[-1][0]:6.3f} {history[-1][1]:12.3f} {seconds:12.1f}")
    if e3nn_seconds:
        print(f"{lmax:3} with e3nn's TensorProduct: {e3nn_seconds:7.1f}")
    plot({lmax: history for lmax, (history, _) in results.items()}, args.plot)


if __name__ == "__main__":
    main()
