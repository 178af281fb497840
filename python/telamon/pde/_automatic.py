"""A kernel for each axis from the band of the source term and of the boundary data. Internal.

The band's edge along an axis is where the amplitude spectrum of u, which is that of f over the order's power of the
frequency, has fallen below a threshold. Where data are silent, as along the time of a heat equation, the balance of the
operator's terms says how fast the solution varies there: |c_i| (2 pi F_i)^m_i against |c_j| (2 pi F_j)^m_j.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from telamon.gp import Kernel, SpectralMixture

from ._conditions import Row
from ._domain import Array, Domain, sample
from ._operators import Operator

#: Kaiser's window with side lobes below the lower threshold; a wave's main lobe falls below it at 6.5 / length.
_WINDOW = 22.0
_LOBE = 6.5
_FINE, _COARSE = 1e-8, 1e-4
_HIGHEST = 0.88  #: of Nyquist: the most that is asked of a grid
_LINES = 16  #: how many lines along an axis are looked at
_OVERSAMPLED = 4


class BandWarning(UserWarning):
    """The data have frequencies that the grid, or the kernel, cannot represent."""


def nyquist(x: Array) -> float:
    """Half of the lowest sampling rate along an axis, in cycles per unit."""
    return 0.5 / float(np.diff(x).max())


def _comfort(x: Array) -> float:
    """A frequency up to which derivatives near the ends are well conditioned, to about 1e-9.

    A band of width F spans about 2 F length + 18 functions on the grid, of which the last are steep at the ends.
    """
    length = float(x[-1] - x[0])
    return max(1 / length, min(0.5 * nyquist(x), (0.72 * x.size - 18) / (2 * length)))


def spectrum(x: Array, values: Array) -> tuple[Array, Array]:
    """Frequencies from 0 to Nyquist in steps of 1 / (2 length), and the amplitudes of the columns of values there."""
    length = x[-1] - x[0]
    t = 2 * (x - x[0]) / length - 1
    weights = np.gradient(x) * np.i0(_WINDOW * np.sqrt(np.maximum(0.0, 1 - t * t)))
    weights /= weights.sum()
    frequencies = np.arange(int(2 * length * nyquist(x) * (1 + 1e-12)) + 1) / (2 * length)
    steps = np.diff(x)
    if np.ptp(steps) <= 1e-9 * steps.mean():
        transform = np.fft.rfft(weights[:, None] * values, 2 * steps.size, axis=0)
        return frequencies, np.abs(transform[: frequencies.size]).max(axis=1)
    phase = np.exp(-2j * math.pi * np.multiply.outer(frequencies, x - x[0]))
    return frequencies, np.abs(phase @ (weights[:, None] * values)).max(axis=1)


def _edge(frequencies: Array, amplitudes: Array, threshold: float) -> float:
    above = np.flatnonzero(amplitudes > threshold * amplitudes.max())
    return float(frequencies[above[-1]]) if above.size else 0.0


def _thin(size: int) -> Array:
    """Which of the points along the other axes are looked at."""
    return np.unique(np.linspace(0, size - 1, min(size, _LINES)).astype(int))


def _signals(
    domain: Domain, axis: int, source: Any, f: Array, rows: Sequence[Sequence[Row]]
) -> list[tuple[Array, Array]]:
    """(points, columns) of the source and of the data, along an axis."""
    x = domain.axes[axis]
    picks = [_thin(n) for n in domain.shape]
    out = []
    picks[axis] = np.arange(x.size)
    if callable(source):
        x = np.linspace(x[0], x[-1], _OVERSAMPLED * (x.size - 1) + 1)
        points = [x if i == axis else a[picks[i]] for i, a in enumerate(domain.axes)]
        values = sample(source, points, "f")
    else:
        values = f[np.ix_(*picks)]
    out.append((x, np.moveaxis(values, axis, 0).reshape(x.size, -1)))
    for other, conditions in enumerate(rows):
        if other == axis:
            continue
        for row in conditions:
            index = [p for i, p in enumerate(picks) if i != other]
            data = np.moveaxis(row.data[np.ix_(*index)], axis - (other < axis), 0)
            out.append((domain.axes[axis], data.reshape(data.shape[0], -1)))
    return out


def bands(
    operator: Operator, domain: Domain, source: Any, f: Array, rows: Sequence[Sequence[Row]], warn: bool = True
) -> list[float]:
    """The highest frequency to be represented along each axis, in cycles per unit."""
    need, wish = [], []
    for axis, x in enumerate(domain.axes):
        order, limit, length = operator.orders[axis], nyquist(x), float(x[-1] - x[0])
        edge, coarse = 0.0, 0.0
        for k, (points, values) in enumerate(_signals(domain, axis, source, f, rows)):
            if not np.any(values):
                continue
            frequencies, amplitudes = spectrum(points, values)
            if k == 0:  # the source: an amplitude of u costs it the frequency to the order
                amplitudes = amplitudes / (frequencies + 1 / length) ** order
            edge = max(edge, _edge(frequencies, amplitudes, _FINE) - _LOBE / length)
            coarse = max(coarse, _edge(frequencies, amplitudes, _COARSE) - 0.6 * _LOBE / length)
        if warn and coarse > 0.98 * limit:
            points_needed = math.ceil(2.3 * coarse * length) + 20
            warnings.warn(
                f"telamon.pde: the data vary up to {coarse:.4g} cycles per unit along axis {axis}, whose grid of "
                f"{x.size} points represents {limit:.4g}; take {points_needed} points or more, or expect no accuracy.",
                BandWarning,
                stacklevel=4,
            )
        need.append(min(coarse + (1 / length if coarse else 0.0), _HIGHEST * limit))
        wish.append(edge)
    implied = _balanced(operator, domain, wish)
    return [
        max(low, min(max(high, balance) + 1.5 / float(x[-1] - x[0]), _comfort(x)))
        for low, high, balance, x in zip(need, wish, implied, domain.axes, strict=True)
    ]


def _balanced(operator: Operator, domain: Domain, found: list[float]) -> list[float]:
    """The frequency along each axis at which its highest derivative weighs as much as any other term."""
    size: list[dict[int, float]] = [{} for _ in domain.axes]  #: of the coefficients, by axis and order
    for term in operator.terms:
        of_axis = size[term.axis]
        of_axis[term.order] = of_axis.get(term.order, 0.0) + float(np.abs(term.on(domain.axes[term.axis])).max())
    strength = [
        max((c * (2 * math.pi * f) ** m for m, c in s.items()), default=0.0) for s, f in zip(size, found, strict=True)
    ]
    out = []
    for axis, of_axis in enumerate(size):
        order = operator.orders[axis]
        top = of_axis.get(order, 0.0)
        rivals = [(c, order - m) for m, c in of_axis.items() if m < order]
        rivals += [(s, order) for i, s in enumerate(strength) if i != axis and order]
        ratios = [(c / top) ** (1 / power) for c, power in rivals if top > 0]
        out.append(max(ratios, default=0.0) / (2 * math.pi))
    return out


def kernels(domain: Domain, edges: Sequence[float], spectrum: str, components: int) -> list[Kernel]:
    """Spectral mixtures that are flat up to each edge, with widths such that there are no gaps below Nyquist."""
    made: dict[tuple[Any, ...], Kernel] = {}
    out = []
    for x, edge in zip(domain.axes, edges, strict=True):
        # Gaussians reach 11 widths beyond their frequency before they are lost in rounding; Student's spectrum has
        # heavy tails, and so is best narrow
        narrow = edge * (1 + 3.3 / max(1, components - 1)) > 0.9 * nyquist(x)
        width = 0.05 if spectrum == "student" else 0.1 if narrow else 0.3
        key = (edge, width)
        if key not in made:
            made[key] = SpectralMixture.init(components, edge, spectrum, width=width)
        out.append(made[key])
    return out


def scaled(given: Sequence[Kernel], variance: float) -> list[Kernel]:
    """The kernels with their product's variance at this value, that of the first axis' kernel alone."""
    first = given[0]
    assert isinstance(first, SpectralMixture)
    weights = np.asarray(first.weights) * (variance or 1.0)
    return [SpectralMixture(weights, first.frequencies, first.log_scales, first.spectrum), *given[1:]]


def check_kernel(kernel: Kernel, x: Array, axis: int) -> None:
    """Warn where a kernel has power beyond the grid's Nyquist frequency."""
    top = kernel.max_frequency()
    if top is not None and top > nyquist(x):
        warnings.warn(
            f"telamon.pde: the kernel of axis {axis} reaches {top:.4g} cycles per unit, beyond the grid's Nyquist "
            f"frequency {nyquist(x):.4g}; refine the axis, or lower the kernel's frequencies.",
            BandWarning,
            stacklevel=4,
        )
