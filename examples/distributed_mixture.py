"""A mixture fitted where the data are: EM on a dask cluster, with only sufficient statistics on the wire.

    python examples/distributed_mixture.py [--workers 2] [--parts 8] [--rows 5000]

Every part is made on a worker and stays there. One iteration sends the parameters out (components x d numbers), and
adds up what comes back (as many again), whatever the number of rows. `--scheduler tcp://...` takes your own cluster.
"""

import argparse
import sys
import time

import numpy as np

try:
    from dask.distributed import Client, LocalCluster
except ImportError:
    sys.exit("this example needs dask: pip install 'dask[distributed]'")

from telamon.stats import VonMisesFisherMixture, vonmises_fisher

DIMENSION, KAPPAS, SHARES = 256, (60.0, 150.0, 400.0), (0.5, 0.3, 0.2)


def truth() -> np.ndarray:
    """Mean directions, the same on every worker."""
    mu = np.random.default_rng(0).standard_normal((len(KAPPAS), DIMENSION))
    return mu / np.linalg.norm(mu, axis=1, keepdims=True)


def draw(seed: int, rows: int) -> np.ndarray:
    """One part of the data, in float32."""
    rng = np.random.default_rng(seed + 1)
    counts = rng.multinomial(rows, SHARES)
    parts = zip(truth(), KAPPAS, counts, strict=True)
    x = np.concatenate([vonmises_fisher(m, k).rvs(int(c), rng, dtype=np.float32) for m, k, c in parts])
    return rng.permutation(x)


def run(client: Client, n_parts: int, rows: int) -> None:
    parts = client.map(draw, range(n_parts), rows=rows)
    model = VonMisesFisherMixture(len(KAPPAS), random_state=0)
    model.initialize(parts[0].result()[:2000])  # a start needs a few rows only

    print("iteration   log likelihood a row    seconds")
    before = -np.inf
    for iteration in range(1, 51):
        start = time.perf_counter()
        stats = client.map(model.partial_stats, parts, pure=False)  # E step, one task a part
        model.m_step(client.submit(sum, stats).result())  # added up on a worker, M step here
        print(f"{iteration:9}   {model.lower_bound_:20.6f}   {time.perf_counter() - start:8.2f}")
        if abs(model.lower_bound_ - before) < 1e-6:
            break
        before = model.lower_bound_

    print(f"\n{n_parts * rows:,} rows in {DIMENSION} dimensions")
    print("kappa drawn with   fitted   share   angle between mean directions")
    for mu, kappa, share in zip(truth(), KAPPAS, SHARES, strict=True):
        k = int(np.argmax(model.means_ @ mu))
        angle = 2 * np.arcsin(np.linalg.norm(model.means_[k] - mu) / 2)
        print(f"{kappa:16.1f} {model.kappas_[k]:8.2f}   {share:.2f} -> {model.weights_[k]:.4f}   {angle:.4f} rad")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scheduler", help="address of a running cluster; default: start one here")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--rows", type=int, default=5000, help="of each part")
    args = parser.parse_args()
    if args.scheduler:
        with Client(args.scheduler) as client:
            run(client, args.parts, args.rows)
        return
    # One thread a worker: BLAS and telamon bring their own.
    with (
        LocalCluster(n_workers=args.workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        run(client, args.parts, args.rows)


if __name__ == "__main__":  # workers are started by importing this file again
    main()
