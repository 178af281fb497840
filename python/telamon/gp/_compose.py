"""Sums and products of kernels of one axis."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._axes import Array
from ._base import Kernel
from ._kernels import Constant


def as_kernel(value: Any) -> Kernel:
    """A kernel as it is; a number as a constant one that stays fixed."""
    return value if isinstance(value, Kernel) else Constant(float(value), fixed=("variance",))


class _Pair(Kernel):
    """Two kernels and their hyperparameters, side by side."""

    def __init__(self, k1: Kernel, k2: Kernel) -> None:
        for name, kernel in (("k1", k1), ("k2", k2)):
            if not isinstance(kernel, Kernel):
                raise ValueError(f"'{name}' must be a kernel, got {kernel!r}.")
        self.k1, self.k2 = k1, k2
        self.fixed, self.limits = (), None

    def _pair(self) -> tuple[Kernel, Kernel]:
        return self.k1, self.k2

    @property
    def theta(self) -> Array:
        """That of k1, then that of k2."""
        return np.concatenate([kernel.theta for kernel in self._pair()])

    @property
    def names(self) -> list[str]:
        """``k1__lengthscale`` and so on."""
        return [f"{part}__{name}" for part in ("k1", "k2") for name in getattr(self, part).names]

    @property
    def bounds(self) -> Array:
        """Those of k1, then those of k2."""
        return np.concatenate([kernel.bounds for kernel in self._pair()])

    @property
    def logarithmic(self) -> Array:
        """That of k1, then that of k2."""
        return np.concatenate([kernel.logarithmic for kernel in self._pair()])

    def with_theta(self, theta: ArrayLike) -> Any:
        """The same kernel with other free hyperparameters."""
        theta = np.asarray(theta, dtype=np.float64)
        count = self.k1.theta.size
        if theta.shape != self.theta.shape:
            raise ValueError(f"'theta' must have shape {self.theta.shape} for {self.names}, got {theta.shape}.")
        return type(self)(self.k1.with_theta(theta[:count]), self.k2.with_theta(theta[count:]))

    @property
    def stationary(self) -> bool:
        """Whether both are."""
        return self.k1.stationary and self.k2.stationary

    @property
    def smoothness(self) -> float:
        """That of the rougher one."""
        return min(self.k1.smoothness, self.k2.smoothness)


class Sum(_Pair):
    """k1 + k2, also written so.

    Parameters
    ----------
    k1, k2 : Kernel
    """

    def max_frequency(self) -> float | None:
        """The larger of the two."""
        known = [f for f in (kernel.max_frequency() for kernel in self._pair()) if f is not None]
        return max(known, default=None)

    def _profile(self, d: Array, order: int) -> Array:
        return self.k1._profile(d, order) + self.k2._profile(d, order)

    def _profile_gradient(self, d: Array, order: int) -> list[Array]:
        return [part for kernel in self._pair() for part in kernel._profile_gradient(d, order)]

    def _matrix(self, x: Array, y: Array, dx: int, dy: int) -> Array:
        return self.k1.derivative(x, y, dx, dy) + self.k2.derivative(x, y, dx, dy)

    def _matrix_gradient(self, x: Array, y: Array, dx: int, dy: int) -> list[Array]:
        return [kernel.gradient(x, y, dx, dy) for kernel in self._pair()]

    def contract(self, weights: ArrayLike, x: ArrayLike, y: ArrayLike | None = None, dx: int = 0, dy: int = 0) -> Array:
        """As in `Kernel`; each part in its own way, since one that is stationary alone is the faster for it."""
        if self.stationary:
            return super().contract(weights, x, y, dx, dy)
        return np.concatenate([kernel.contract(weights, x, y, dx, dy) for kernel in self._pair()])


class Product(_Pair):
    """k1 k2, also written ``k1 * k2``, and for a number ``c * k``.

    Parameters
    ----------
    k1, k2 : Kernel
    """

    def max_frequency(self) -> float | None:
        """The sum of the two: spectra are convolved."""
        known = [f for f in (kernel.max_frequency() for kernel in self._pair()) if f is not None]
        return sum(known) if known else None

    def _profile(self, d: Array, order: int) -> Array:
        parts = (comb(order, i) * self.k1._profile(d, i) * self.k2._profile(d, order - i) for i in range(order + 1))
        return np.asarray(sum(parts))

    def _profile_gradient(self, d: Array, order: int) -> list[Array]:
        out = []
        for kernel, other in (self._pair(), self._pair()[::-1]):
            terms = [
                [comb(order, i) * other._profile(d, order - i) * part for part in kernel._profile_gradient(d, i)]
                for i in range(order + 1)
            ]
            out += [np.asarray(sum(column)) for column in zip(*terms, strict=True)]
        return out

    def _orders(self, dx: int, dy: int) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
        for i in range(dx + 1):
            for j in range(dy + 1):
                yield comb(dx, i) * comb(dy, j), (i, j), (dx - i, dy - j)

    def _matrix(self, x: Array, y: Array, dx: int, dy: int) -> Array:
        return np.asarray(
            sum(
                count * self.k1.derivative(x, y, *here) * self.k2.derivative(x, y, *there)
                for count, here, there in self._orders(dx, dy)
            )
        )

    def _matrix_gradient(self, x: Array, y: Array, dx: int, dy: int) -> list[Array]:
        out = []
        for kernel, other in (self._pair(), self._pair()[::-1]):
            terms = (
                count * other.derivative(x, y, *there) * kernel.gradient(x, y, *here)
                for count, here, there in self._orders(dx, dy)
            )
            out.append(np.asarray(sum(terms)))
        return out
