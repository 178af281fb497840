"""Handwritten digits as directions: a von Mises-Fisher mixture, how many components it wants, and what it found.

    python examples/mixture_digits.py

1797 images of 8 x 8 pixels, each divided by its norm: brightness is gone, shape is left. The labels are used only to
judge the result.
"""

import sys

import numpy as np

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs scikit-learn: pip install scikit-learn")

from telamon.stats import VonMisesFisherMixture


def main() -> None:
    digits = load_digits()
    x = digits.data / np.linalg.norm(digits.data, axis=1, keepdims=True)

    print("components          BIC   log likelihood an image")
    models = {}
    for k in (5, 10, 15, 20, 30):
        models[k] = VonMisesFisherMixture(n_components=k, n_init=3, random_state=0).fit(x)
        print(f"{k:10} {models[k].bic(x):12.0f} {models[k].score(x):10.3f}")

    groups = models[10].predict(x)
    certain = models[10].predict_proba(x).max(axis=1)
    print("\nTen components: digits in each, and the image in its middle")
    correct = 0
    for g in np.unique(groups):
        counts = np.bincount(digits.target[groups == g], minlength=10)
        correct += counts.max()
        shares = ", ".join(f"{c} x {d}" for d, c in sorted(enumerate(counts), key=lambda p: -p[1])[:3] if c)
        print(f"\ncomponent {g}: {counts.sum()} images ({shares})")
        mean = x[groups == g].mean(axis=0).reshape(8, 8)
        for row in mean / mean.max():
            print("   ", "".join(" .:-=+*#%@"[min(int(10 * v), 9)] * 2 for v in row))
    print(f"\npurity {correct / len(x):.1%}; {np.mean(certain > 0.99):.0%} of images are assigned with over 99%")


if __name__ == "__main__":
    main()
