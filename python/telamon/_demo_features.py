"""Real image features without a download: one convolutional layer, learned from the photographs themselves.

Coates, Lee and Ng, An analysis of single-layer networks in unsupervised feature learning, AISTATS 2011: whitened
6 x 6 x 3 patches, 512 filters from k-means, the triangle activation max(0, mean distance - distance), sums over cells.
Tiles of 32, 64 and 128 pixels give 2 x 2, 4 x 4 and 8 x 8 cells, that is 2048, 8192 and 32768 numbers, the sizes that
VGG16's last convolution has for the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]

# All of these lie inside the wheels of scikit-image and scikit-learn. Textures and scenes that fill their frames:
# which photograph a tile was cut from is then a label that the tile itself shows.
PHOTOGRAPHS = (
    "brick",
    "chelsea",
    "coffee",
    "flower",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "stereo_motorcycle",
    "retina",
)
TILE = 128  # pixels
FILTERS = 512
PATCH = 6
SIZES = {2048: (32, 1, 2), 8192: (64, 2, 4), 32768: (128, 4, 8)}  # d: (pixels, stride, cells a side)


def _photograph(name: str) -> Array:
    from skimage import data
    from sklearn.datasets import load_sample_image

    image = load_sample_image("flower.jpg") if name == "flower" else getattr(data, name)()
    if isinstance(image, tuple):  # a stereo pair and the disparity
        image = image[0]
    image = np.asarray(image, np.float32) / 255
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]


def tiles(per_photograph: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Cut up to so many tiles that do not overlap out of each photograph: (n, 128, 128, 3) in [0, 1], and labels."""
    images: list[Array] = []
    labels: list[int] = []
    for label, name in enumerate(PHOTOGRAPHS):
        photo = _photograph(name)
        height, width = photo.shape[0] // TILE, photo.shape[1] // TILE
        corners = [(TILE * i, TILE * j) for i in range(height) for j in range(width)]
        cut = [photo[i : i + TILE, j : j + TILE] for i, j in corners]
        cut = [tile for tile in cut if tile.std() > 0.02]  # the black corners of the retina show nothing
        keep = np.sort(rng.permutation(len(cut))[:per_photograph])
        images += [cut[k] for k in keep]
        labels += [label] * len(keep)
    return np.stack(images), np.array(labels)


def _shrink(images: Array, pixels: int) -> Array:
    factor = TILE // pixels
    shape = (len(images), pixels, factor, pixels, factor, 3)
    return np.asarray(images.reshape(shape).mean((2, 4)))


def _patches(images: Array, stride: int) -> Array:
    """All patches, flattened, with brightness and contrast taken out of each."""
    windows = sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))[:, ::stride, ::stride]
    flat = windows.reshape(*windows.shape[:3], -1)
    flat = flat - flat.mean(-1, keepdims=True)
    return np.asarray(flat / np.sqrt(flat.var(-1, keepdims=True) + 0.01))


@dataclass(frozen=True)
class FilterBank:
    """Whitening and filters; made by `learn`."""

    mean: Array
    whiten: Array
    filters: Array

    @classmethod
    def learn(cls, images: Array, rng: np.random.Generator, n_patches: int = 20_000) -> FilterBank:
        """Learn from patches of the smallest size, without labels."""
        from sklearn.cluster import MiniBatchKMeans

        patches = _patches(_shrink(images, 32), 1).reshape(-1, 3 * PATCH**2)
        patches = patches[rng.permutation(len(patches))[:n_patches]]
        mean = patches.mean(0)
        values, vectors = np.linalg.eigh(np.cov(patches.T))
        whiten = ((vectors / np.sqrt(values + 0.1)) @ vectors.T).astype(np.float32)
        means = MiniBatchKMeans(FILTERS, n_init=1, batch_size=2048, max_iter=20, random_state=0)
        centres = means.fit((patches - mean) @ whiten).cluster_centers_
        return cls(mean, whiten, centres.astype(np.float32))

    def features(self, images: Array, dimension: int) -> Array:
        """Unit vectors of 2048, 8192 or 32768 numbers, (n, dimension) in float32.

        The square root of the sums is taken before normalisation (Hellinger's geometry: the sums are histograms).
        """
        pixels, stride, cells = SIZES[dimension]
        square = (self.filters**2).sum(1)
        out = np.empty((len(images), dimension), np.float32)
        for k, image in enumerate(_shrink(images, pixels)):
            patches = _patches(image[None], stride)[0]
            side = len(patches)
            z = (patches.reshape(side * side, -1) - self.mean) @ self.whiten
            distance = np.sqrt(np.maximum((z * z).sum(1)[:, None] + square - 2 * z @ self.filters.T, 0))
            active = np.maximum(distance.mean(1, keepdims=True) - distance, 0).reshape(side, side, -1)
            edges = np.linspace(0, side, cells + 1).astype(int)[:-1]
            out[k] = np.add.reduceat(np.add.reduceat(active, edges, 0), edges, 1).ravel()
        return unit(np.sqrt(out))


def unit(x: Array) -> Array:
    """Rows divided by their norms."""
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def centred(x: Array) -> Array:
    """Rows seen from their common mean, as unit vectors: what images share would otherwise hide what they do not."""
    return unit(x - x.mean(0))


def purity(labels: Array, clusters: Array) -> float:
    """Share of rows that carry the commonest label of their cluster."""
    return float(sum(np.bincount(labels[clusters == c]).max() for c in np.unique(clusters)) / len(labels))
