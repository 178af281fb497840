"""What the torch and JAX adapters of `telamon.so3` share: degrees, normalisations and the checks of shapes.

Nothing here touches an array, so the numbers may be those that a compiler traces. `where` opens each message, as in
"telamon.torch.gaunt_product".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

PARITIES = ("even", "complete")
GROUPS = ("O3", "SO3")
NORMALIZATIONS = ("component", "integral", "norm")
LAYOUTS = ("channels_last", "channels_first")
METHODS = ("auto", "sparse", "grid", "fourier")


def choice(where: str, name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse what is not among the allowed words."""
    if value not in allowed:
        words = ", ".join(map(repr, allowed))
        raise ValueError(f"{where}: {name} is {value!r}; pass one of {words}")


def lmax_of(where: str, name: str, components: int) -> int:
    """The degree up to which there are that many components."""
    lmax = math.isqrt(components) - 1
    if components < 1 or (lmax + 1) ** 2 != components:
        raise ValueError(f"{where}: {name} has {components} components, which is no square; pass (lmax+1)^2 of them")
    return lmax


def whole(where: str, name: str, value: object, least: int) -> int:
    """An int that is not below `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{where}: {name} is a {type(value).__name__}; pass an int")
    number: int = value.__index__()
    if number < least:
        raise ValueError(f"{where}: {name} is {number}; pass an int of at least {least}")
    return number


def lmax_out_of(where: str, lmax_out: int | None, default: int, most: int, why: str) -> int:
    """The degree of the result; above `most` every component would be zero."""
    if lmax_out is None:
        return min(default, most)
    lmax_out = whole(where, "lmax_out", lmax_out, 0)
    if lmax_out > most:
        raise ValueError(f"{where}: lmax_out is {lmax_out}, above {why} = {most}; pass {most} or less")
    return lmax_out


def degree_scales(lmax: int, normalization: str) -> list[float] | None:
    """Y in this normalisation over Y in "component" normalisation, degree by degree; None where all are 1."""
    if normalization == "component":
        return None
    if normalization == "integral":
        return [1 / math.sqrt(4 * math.pi)] * (lmax + 1)
    return [1 / math.sqrt(2 * l + 1) for l in range(lmax + 1)]


def sh_degrees(where: str, l: int | Sequence[int]) -> list[int]:
    """The argument l of spherical_harmonics as a list."""
    if isinstance(l, str) or (not hasattr(l, "__index__") and not hasattr(l, "__iter__")):
        raise TypeError(f"{where}: l is a {type(l).__name__}; pass an int or a list of ints")
    degrees = list(l) if isinstance(l, Iterable) else [l]
    if not degrees:
        raise ValueError(f"{where}: l is empty; pass at least one degree")
    return [whole(where, "l", degree, 0) for degree in degrees]


def channels_of(where: str, first: str, c1: int, second: str, c2: int) -> int:
    """The common number of channels; 1 fits any."""
    if c1 != c2 and c1 != 1 and c2 != 1:
        raise ValueError(
            f"{where}: {first} has {c1} channels and {second} {c2}; pass as many in both, or 1 in one of them"
        )
    return c2 if c1 == 1 else c1
