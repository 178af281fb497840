"""e3nn's irreps strings, and its flattened layout to and from telamon's."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._so3_shapes import lmax_of
from ._arrays import as_features, as_float

__all__ = ["from_mul_ir", "parse_irreps", "to_mul_ir"]

_TERM = re.compile(r"\s*(?:(\d+)\s*x\s*)?(\d+)([eo])\s*", re.ASCII)


def parse_irreps(irreps: str) -> list[tuple[int, int, int]]:
    """Multiplicities, degrees and parities of an irreps string as e3nn writes it.

    Parameters
    ----------
    irreps : str
        Terms ``multiplicity x degree parity``, joined by "+", parity "e" or "o"; without "x" the multiplicity is 1.

    Returns
    -------
    list of (mul, l, p)
        p is 1 for "e" and -1 for "o".

    Raises
    ------
    TypeError, ValueError
        If irreps is no str, or a term is not of that form.

    Examples
    --------
    >>> parse_irreps("32x0e + 32x1o + 2e")
    [(32, 0, 1), (32, 1, -1), (1, 2, 1)]
    """
    return _parse("telamon.so3.parse_irreps", irreps)


def from_mul_ir(x: ArrayLike, irreps: str) -> NDArray[Any]:
    """Features in e3nn's layout as features (..., (lmax + 1)^2, C).

    Parameters
    ----------
    x : array (..., size)
        For each degree a block (mul, 2l + 1), flattened, one block after the other. float32 or float64.
    irreps : str
        The degrees 0, 1, ..., lmax, each once, in this order and with the same multiplicity C, such as
        "32x0e+32x1o+32x2e". Parities may be any.

    Returns
    -------
    array (..., (lmax + 1)^2, C)
        A new array.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64, or irreps is no str.
    ValueError
        If irreps is no such string, or x has another size.

    Examples
    --------
    >>> from_mul_ir(np.arange(8.0), "2x0e+2x1o")
    array([[0., 1.],
           [2., 5.],
           [3., 6.],
           [4., 7.]])
    """
    where = "telamon.so3.from_mul_ir"
    lmax, channels = _uniform(where, irreps)
    array = as_float(where, "x", x)
    components = (lmax + 1) ** 2
    if array.ndim < 1 or array.shape[-1] != components * channels:
        raise ValueError(
            f"{where}: x has shape {array.shape}; {irreps!r} has {components * channels} numbers, "
            f"pass an array (..., {components * channels})"
        )
    out = np.empty((*array.shape[:-1], components, channels), array.dtype)
    for l in range(lmax + 1):
        block = array[..., channels * l * l : channels * (l + 1) ** 2]
        out[..., l * l : (l + 1) ** 2, :] = block.reshape(*block.shape[:-1], channels, 2 * l + 1).swapaxes(-1, -2)
    return out


def to_mul_ir(x: ArrayLike, irreps: str) -> NDArray[Any]:
    """Features (..., (lmax + 1)^2, C) in e3nn's layout; the inverse of `from_mul_ir`.

    Parameters
    ----------
    x : array (..., (lmax + 1)^2, C)
        float32 or float64.
    irreps : str
        As in `from_mul_ir`.

    Returns
    -------
    array (..., size)
        A new array.

    Raises
    ------
    TypeError
        If x is neither float32 nor float64, or irreps is no str.
    ValueError
        If irreps is no such string, or x has another shape.

    Examples
    --------
    >>> to_mul_ir(np.array([[0.0, 1.0], [2.0, 5.0], [3.0, 6.0], [4.0, 7.0]]), "2x0e+2x1o")
    array([0., 1., 2., 3., 4., 5., 6., 7.])
    """
    where = "telamon.so3.to_mul_ir"
    lmax, channels = _uniform(where, irreps)
    array = as_features(where, "x", x, "channels_last")
    components = (lmax + 1) ** 2
    if array.shape[-2:] != (components, channels):
        raise ValueError(
            f"{where}: x has shape {array.shape}, {array.shape[-2]} components and {array.shape[-1]} channels; "
            f"{irreps!r} wants an array (..., {components}, {channels})"
        )
    lmax_of(where, "x", array.shape[-2])
    blocks = []
    for l in range(lmax + 1):
        block = array[..., l * l : (l + 1) ** 2, :].swapaxes(-1, -2)
        blocks.append(block.reshape(*array.shape[:-2], channels * (2 * l + 1)))
    return np.concatenate(blocks, axis=-1)


def _parse(where: str, irreps: str) -> list[tuple[int, int, int]]:
    if not isinstance(irreps, str):
        raise TypeError(f"{where}: irreps is a {type(irreps).__name__}; pass a str, such as '32x0e+32x1o'")
    terms = []
    for term in irreps.split("+"):
        match = _TERM.fullmatch(term)
        if match is None:
            raise ValueError(
                f"{where}: irreps {irreps!r} has the term {term!r}; write terms like '32x1o', joined by '+'"
            )
        mul, l, p = match.groups()
        terms.append((1 if mul is None else int(mul), int(l), 1 if p == "e" else -1))
    return terms


def _uniform(where: str, irreps: str) -> tuple[int, int]:
    """lmax and the common multiplicity of the degrees 0, ..., lmax."""
    terms = _parse(where, irreps)
    if [l for _, l, _ in terms] != list(range(len(terms))) or len({mul for mul, _, _ in terms}) != 1:
        raise ValueError(
            f"{where}: irreps are {irreps!r}; pass the degrees 0, 1, ..., each once, in this order and with the same "
            "multiplicity, such as '32x0e+32x1o+32x2e'"
        )
    return len(terms) - 1, terms[0][0]
