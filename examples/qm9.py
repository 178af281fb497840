"""QM9's geometries and polarizability tensors from the package qm9pack, brought into one frame.

qm9pack has coordinates as QM9 was published, and tensors as Gaussian printed them: in its "standard orientation",
which is another frame. Where a molecule has no symmetry, that frame has its origin in the centre of nuclear charge
and its axes along the principal axes of the charges, the largest moment along x; y and z point to where the third
moment of the charges, sum Z q^3, is positive, and x makes the frame right-handed. This is inferred from the data, not
documented: a model of atoms and bonds finds it right for four molecules of five, and wrong mostly where the third
moments are small. So only molecules whose moments are well apart and whose third moments are far from zero are given
out, about one in five. Of those, a trained network still finds another choice of signs clearly better for one in
twenty, and that noise is part of every error of the anisotropy.
"""

import csv
import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
TENSOR = ("A_xx", "A_xy", "A_yy", "A_xz", "A_yz", "A_zz")  # bohr^3
GAP = 0.02  # between principal moments, over the largest
LEAN = 0.2  # |sum Z q^3| / sum Z |q|^3 along y and z


class Molecule(NamedTuple):
    numbers: np.ndarray  # (atoms,)
    positions: np.ndarray  # (atoms, 3), Angstrom
    polarizability: np.ndarray  # (3, 3), bohr^3, in the same frame


def folder() -> Path:
    """Where the tables are. The package itself is not imported: it needs pkg_resources, which setuptools dropped."""
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("this example needs QM9 (100 MB): pip install qm9pack")
    return Path(spec.submodule_search_locations[0], "data")


def standard_orientation(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray | None:
    """The positions in Gaussian's frame, or None where the rules leave it open."""
    z = numbers[:, None]
    q = positions - (z * positions).sum(0) / z.sum()
    moments, axes = np.linalg.eigh((z * q).T @ q)
    if np.diff(moments).min() < GAP * moments[-1]:
        return None
    axes = axes[:, ::-1]
    q = q @ axes
    third = (z * q**3).sum(0)
    if (np.abs(third) < LEAN * (z * np.abs(q) ** 3).sum(0))[1:].any():
        return None
    signs = np.sign(third)
    signs[0] = signs[1] * signs[2] * np.sign(np.linalg.det(axes))
    return q * signs


def load(count: int, seed: int = 0) -> list[Molecule]:
    """A random choice of `count` molecules whose frame is certain."""
    data = folder()
    with (data / "qm9_polarizability.csv").open() as file:
        tensors = {row["XYZ_file"]: [float(row[a]) for a in TENSOR] for row in csv.DictReader(file)}
    rows = []
    for part in (1, 2, 3):
        with (data / f"qm9_part{part}.csv").open() as file:
            reader = csv.reader(file)
            header = next(reader)
            columns = [header.index(name) for name in ("XYZ_file", "Elements", "XYZ_Ang")]
            rows += [[row[c] for c in columns] for row in reader]
    found: list[Molecule] = []
    for i in np.random.default_rng(seed).permutation(len(rows)):
        name, elements, coordinates = rows[i]
        numbers = np.array([NUMBERS[e] for e in elements.strip("[]").replace("'", "").split(",")])
        # Mathematica wrote them: 1.5*^-6.
        words = coordinates.replace("*^", "e").replace("[", "").replace("]", "").split(",")
        positions = standard_orientation(numbers, np.array(words, dtype=float).reshape(-1, 3))
        if positions is None:
            continue
        tensor = np.empty((3, 3))
        for value, (a, b) in zip(tensors[name], ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)), strict=True):
            tensor[a, b] = tensor[b, a] = value
        found.append(Molecule(numbers, positions, tensor))
        if len(found) == count:
            return found
    sys.exit(f"QM9 has {len(found)} such molecules, fewer than {count}")
