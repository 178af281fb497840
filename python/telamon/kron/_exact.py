"""Ways to solve with K + noise on observed cells that need no iteration. Arrays are (B, N), zero where missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from . import _native
from ._check import FloatArray
from ._eig import KroneckerEig, outer
from ._factors import Factor, Identity
from ._structured import Matern

__all__ = ["DenseSystem", "ExactSystem", "LongAxisSystem", "SchurSystem", "SeparableSystem", "StateSpaceSystem"]

_WHERE = "telamon.kron.KroneckerSystem"
_PANEL = 128  # columns of a triangular matrix at a time
_ELEMENTS = 1 << 22  # numbers of a panel of eigenvectors, 32 MB


class ExactSystem(Protocol):
    def solve(self, y: FloatArray) -> FloatArray: ...
    def logdet(self) -> float: ...


class Cholesky:
    """A = L L', and products with A^-1 by panels, since NumPy has no triangular solver."""

    def __init__(self, a: FloatArray) -> None:
        try:
            self.l = np.linalg.cholesky(a)
        except np.linalg.LinAlgError:
            raise ValueError(f"{_WHERE}: the matrix is not positive definite to rounding; pass more noise") from None
        self.inverses = [np.linalg.inv(self.l[i : i + _PANEL, i : i + _PANEL]) for i in range(0, len(a), _PANEL)]

    def solve(self, b: FloatArray) -> FloatArray:
        """A^-1 b of columns b (n, R)."""
        x: FloatArray = b.copy()
        panels = [slice(i, i + _PANEL) for i in range(0, len(b), _PANEL)]
        for part, inverse in zip(panels, self.inverses, strict=True):
            x[part] = inverse @ (x[part] - self.l[part, : part.start] @ x[: part.start])
        for part, inverse in zip(reversed(panels), reversed(self.inverses), strict=True):
            x[part] = inverse.T @ (x[part] - self.l[part.stop :, part].T @ x[part.stop :])
        return x

    def logdet(self) -> float:
        return 2 * float(np.log(self.l.diagonal()).sum())


class DenseSystem:
    """Of few observed cells: their covariance, entry by entry, in double precision."""

    def __init__(
        self, factors: tuple[Factor, ...], noise_grid: FloatArray | None, noise: Any, mask: FloatArray | None
    ) -> None:
        grid = tuple(factor.shape[0] for factor in factors)
        self.cells = np.arange(math.prod(grid)) if mask is None else np.flatnonzero(mask)
        a: FloatArray | float = 1.0
        for factor, index in zip(factors, np.unravel_index(self.cells, grid), strict=True):
            seen, place = np.unique(index, return_inverse=True)
            a = a * factor.submatrix(seen, seen).astype(np.float64, copy=False)[np.ix_(place, place)]
        assert isinstance(a, np.ndarray)
        a.reshape(-1)[:: len(a) + 1] += noise if noise_grid is None else noise_grid.reshape(-1)[self.cells]
        self.cholesky = Cholesky(a)

    def solve(self, y: FloatArray) -> FloatArray:
        x = np.zeros_like(y)
        x[:, self.cells] = self.cholesky.solve(y[:, self.cells].T.astype(np.float64)).T
        return x

    def logdet(self) -> float:
        return self.cholesky.logdet()


class SeparableSystem:
    """All observed, noise a number or separable: S^1/2 (K~ + shift I) S^1/2 with factors S_i^-1/2 A_i S_i^-1/2."""

    def __init__(self, factors: tuple[Factor, ...], noise: Any, eig: KroneckerEig | None) -> None:
        self.roots: list[FloatArray] | None = None
        self.shift = 1.0 if isinstance(noise, tuple) else float(noise)
        if isinstance(noise, tuple):
            self.roots = [np.sqrt(s).astype(f.dtype) for s, f in zip(noise, factors, strict=True)]
            eig = KroneckerEig([f.scaled_both(1 / r) for f, r in zip(factors, self.roots, strict=True)])
        assert eig is not None
        self.eig = eig

    def scale(self, x: FloatArray) -> None:
        """x S^-1/2, in place."""
        if self.roots is None:
            return
        grids, d = x.reshape(len(x), *self.eig.grid), len(self.roots)
        for i, root in enumerate(self.roots):
            grids /= root.astype(x.dtype).reshape([-1 if j == i + 1 else 1 for j in range(d + 1)])

    def solve(self, y: FloatArray) -> FloatArray:
        x: FloatArray = y.copy()
        self.scale(x)
        grids = x.reshape(len(x), *self.eig.grid)
        self.eig.solve(grids, self.shift, out=grids)
        self.scale(x)
        return x

    def log_scale(self) -> FloatArray | None:
        """log S as a grid, or None where it is 0."""
        if self.roots is None:
            return None
        total: FloatArray = np.zeros(())
        for root in self.roots:
            total = np.add.outer(total, 2 * np.log(root, dtype=np.float64))
        return total

    def logdet(self) -> float:
        scale = self.log_scale()
        return self.eig.logdet(self.shift) + (0.0 if scale is None else float(scale.sum()))


class SchurSystem:
    """Few missing: with B the inverse on the whole grid, the one on the observed cells is B_oo - B_om B_mm^-1 B_mo."""

    def __init__(self, whole: SeparableSystem, mask: FloatArray) -> None:
        self.whole, self.mask = whole, mask.reshape(-1)
        self.cells = np.flatnonzero(~self.mask)
        self.cholesky = Cholesky(self._block())

    def _block(self) -> FloatArray:
        """B_mm of the scaled system: V'V with columns (lam + shift)^-1/2 Q' e, rank one as tensors but for the root."""
        eig = self.whole.eig
        indices = np.unravel_index(self.cells, eig.grid)
        # [k, a] = Q_i[a_i, k] for the missing cells a
        parts = [q[index].T.astype(np.float64, copy=False) for q, index in zip(eig.vectors, indices, strict=True)]
        m = len(self.cells)
        block = np.zeros((m, m))
        self._add(block, np.ones((1, m)), parts, np.ones(1), eig.eigenvalues)
        return block

    def _add(
        self, block: FloatArray, head: FloatArray, parts: list[FloatArray], lam: FloatArray, values: list[FloatArray]
    ) -> None:
        """block += V'V over all indices of `parts`, times what earlier axes have made; V is made in panels."""
        m = len(block)
        size = math.prod(len(part) for part in parts)
        if len(parts) > 1 and size * m > _ELEMENTS:
            for row, value in zip(parts[0], values[0], strict=True):
                self._add(block, head * row, parts[1:], lam * value, values[1:])
            return
        for part, value in zip(parts, values, strict=True):
            head = (head[:, None] * part).reshape(-1, m)
            lam = np.multiply.outer(lam, value).reshape(-1)
        v = head / np.sqrt(lam.astype(np.float64) + self.whole.shift)[:, None]
        block += v.T @ v

    def solve(self, y: FloatArray) -> FloatArray:
        x: FloatArray = y.copy()
        whole = self.whole
        whole.scale(x)
        grids = x.reshape(len(x), *whole.eig.grid)
        whole.eig.solve(grids, whole.shift, out=grids)
        correction = np.zeros_like(x)
        correction[:, self.cells] = self.cholesky.solve(x[:, self.cells].T.astype(np.float64)).T
        grids = correction.reshape(grids.shape)
        whole.eig.solve(grids, whole.shift, out=grids)
        x -= correction
        whole.scale(x)
        x[:, self.cells] = 0
        return x

    def logdet(self) -> float:
        scale = self.whole.log_scale()
        total = self.whole.eig.logdet(self.whole.shift) + self.cholesky.logdet()
        return total if scale is None else total + float(scale.reshape(-1)[self.mask].sum())


class StateSpaceSystem:
    """One axis with a Matern covariance: the Kalman filter over the observed points, in double precision."""

    def __init__(self, factor: Matern, noise_grid: FloatArray | None, noise: Any, mask: FloatArray | None) -> None:
        self.cells = np.arange(factor.shape[0]) if mask is None else np.flatnonzero(mask)
        x = factor.x[self.cells].astype(np.float64)
        seen = Matern(x, factor.nu, factor.lengthscale, factor.variance)
        self.transitions, cov, self.h = seen.statespace
        n = len(x)
        s = np.full(n, noise) if noise_grid is None else noise_grid[self.cells].astype(np.float64)
        self.d, self.w = np.empty(n), np.empty((n, len(self.h)))
        _native.statespace_factor(self.transitions, cov, self.h, s, self.d, self.w)
        if not (self.d > 0).all():
            raise ValueError(f"{_WHERE}: the matrix is not positive definite to rounding; pass more noise")

    def solve(self, y: FloatArray) -> FloatArray:
        b = np.ascontiguousarray(y[:, self.cells, None], np.float64)
        solution = np.empty_like(b)
        _native.statespace_solve(self.transitions, self.h, self.d, self.w, b, solution, "full")
        x = np.zeros_like(y)
        x[:, self.cells] = solution[:, :, 0]
        return x

    def logdet(self) -> float:
        return float(np.log(self.d).sum())


class LongAxisSystem:
    """All observed, noise a number, and one axis, with a Matern covariance, too long to decompose.

    In the other axes' eigenbasis the matrix falls apart into lam_j A + noise, one for each of their eigenvalues, which
    the Kalman filter solves.
    """

    def __init__(self, factors: tuple[Factor, ...], noise: float, axis: int) -> None:
        factor = factors[axis]
        assert isinstance(factor, Matern)
        others = [Identity(f.shape[0]) if i == axis else f for i, f in enumerate(factors)]
        self.eig, self.noise, self.axis = KroneckerEig(others), noise, axis
        x = factor.x.astype(np.float64, copy=False)
        self.transitions, self.cov, self.h = Matern(x, factor.nu, factor.lengthscale, factor.variance).statespace
        head, tail = self.eig.eigenvalues[:axis], self.eig.eigenvalues[axis + 1 :]
        self.lam = np.multiply.outer(outer(head, np.float64), outer(tail, np.float64))

    def _filters(self) -> Iterator[tuple[int, int, FloatArray, FloatArray]]:
        n = len(self.transitions)
        s, d, w = np.full(n, self.noise), np.empty(n), np.empty((n, len(self.h)))
        for (i, j), lam in np.ndenumerate(self.lam):
            _native.statespace_factor(self.transitions, lam * self.cov, self.h, s, d, w)
            yield i, j, d, w

    def solve(self, y: FloatArray) -> FloatArray:
        left, right = self.lam.shape
        x = self.eig._rotate(y.reshape(len(y), *self.eig.grid, 1))
        lines = x.reshape(len(y), left, -1, right)
        for i, j, d, w in self._filters():
            b = np.ascontiguousarray(lines[:, i, :, j, None], np.float64)
            solution = np.empty_like(b)
            _native.statespace_solve(self.transitions, self.h, d, w, b, solution, "full")
            lines[:, i, :, j] = solution[..., 0]
        return self.eig._rotate(x, x, back=True).reshape(y.shape)

    def logdet(self) -> float:
        return math.fsum(float(np.log(d).sum()) for _, _, d, _ in self._filters())
