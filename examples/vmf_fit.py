"""A statistician's question: how concentrated are these unit vectors, and how sure can I be?

    python examples/vmf_fit.py                  # draws its own data in 32768 dimensions
    python examples/vmf_fit.py features.npy     # rows of an array, one vector each; normalised here

Prints the maximum-likelihood kappa of the von Mises-Fisher distribution with its standard error, the estimate with the
bias of maximum likelihood taken out, and what follows from them; SciPy's answer beside it where SciPy is installed.
"""

import sys
from statistics import NormalDist

import numpy as np

try:
    from telamon.stats import vonmises_fisher
except ImportError:
    sys.exit("this example needs telamon: pip install . in the repository")


def made_up(d: int = 32768, kappa: float = 29605.0, n: int = 400) -> np.ndarray:
    """Exact draws around a random direction; kappa is what VGG16's features of small pictures have."""
    rng = np.random.default_rng(7)
    mu = rng.standard_normal(d)
    print(f"no file given: {n} draws with kappa = {kappa:g} in {d} dimensions")
    return vonmises_fisher(mu / np.linalg.norm(mu), kappa).rvs(n, random_state=rng, dtype=np.float32)


def main() -> None:
    x = np.load(sys.argv[1]) if len(sys.argv) > 1 else made_up()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    n, d = x.shape

    plain = vonmises_fisher.fit(x)
    fit = vonmises_fisher.fit(x, bias_correction=True)
    z = NormalDist().inv_cdf(0.975)
    print(f"mean resultant length    {plain.resultant_length:.6f}")
    print(f"kappa, likelihood        {plain.kappa:.2f} +- {plain.kappa_se:.2f}")
    print(f"kappa, bias corrected    {fit.kappa:.2f} +- {fit.kappa_se:.2f}")
    print(f"  95% interval           {fit.kappa - z * fit.kappa_se:.1f} .. {fit.kappa + z * fit.kappa_se:.1f}")
    print(f"mean direction           known to {fit.mu_se:.2g} rad along each of {d - 1} tangents")

    model = vonmises_fisher(fit.mu, fit.kappa)
    uniform = vonmises_fisher(fit.mu, 0)
    print(
        f"entropy                  {model.entropy():.3f} nats; {uniform.entropy() - model.entropy():.3f} below uniform"
    )
    half = [vonmises_fisher.fit(part, bias_correction=True) for part in (x[: n // 2], x[n // 2 :])]
    print(f"kappa of the two halves  {half[0].kappa:.1f} and {half[1].kappa:.1f}")

    try:
        from scipy import stats
    except ImportError:
        print("(pip install scipy to see what scipy.stats.vonmises_fisher.fit makes of this)")
        return
    with np.errstate(all="ignore"):
        theirs = stats.vonmises_fisher.fit(x.astype(np.float64))[1]
    print(f"SciPy's kappa            {theirs:g}")


if __name__ == "__main__":
    main()
