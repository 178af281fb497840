"""The second derivative of log det(K + s I) in the factors and s, in the basis of the factors' eigenvectors.

The first is w_i = sum_{-i} Lam_-i / m in F_i and sum 1/m in s, with m = lam + s. Along a direction V_i, v of these,
with D_i the diagonal of V_i, dlam = sum_i D_i Lam_-i and d(Lam_-i) = sum_{j != i} D_j Lam_-ij, their derivatives are

    diagonal       sum_{-i} [ d(Lam_-i) / m - Lam_-i (dlam + v) / m^2 ]
    elsewhere      -V_i[a, b] sum_{-i} Lam_-i^2 / (m_a m_b)
    in s           -sum (dlam + v) / m^2

since off the diagonal only the product of two resolvents is left. Some grid-sized tensors, in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def _outer(vectors: Sequence[Tensor | None], like: Tensor) -> Tensor:
    """The outer product, of length 1 where a vector is None."""
    d = len(vectors)
    product = torch.ones((1,) * d, dtype=like.dtype, device=like.device)
    for i, v in enumerate(vectors):
        if v is not None:
            product = product * v.reshape([-1 if j == i else 1 for j in range(d)])
    return product


def logdet_hessian(
    values: Sequence[Tensor], noise: Tensor, directions: Sequence[Tensor], v: Tensor
) -> tuple[list[Tensor], Tensor]:
    """The derivatives in the factors, (n_i, n_i) in the basis of their eigenvectors, and in the noise."""
    lam = [w.double() for w in values]
    axes = range(len(lam))
    diagonals = [t.diagonal().double() for t in directions]

    def others(i: int | None, derived: bool) -> Tensor:
        """Lam_-i, or its derivative, or of all eigenvalues."""
        kept = [None if j == i else w for j, w in enumerate(lam)]
        if not derived:
            return _outer(kept, lam[0])
        terms = [_outer([diagonals[k] if k == j else w for k, w in enumerate(kept)], lam[0]) for j in axes if j != i]
        return sum(terms, torch.zeros_like(_outer(kept, lam[0])))

    m = others(None, False) + noise.double()
    change = (others(None, True) + v.double()) / m**2
    results = []
    for i, direction in enumerate(directions):
        rest = others(i, False)
        diagonal = (others(i, True) / m - rest * change).movedim(i, 0).reshape(len(direction), -1).sum(1)
        resolvent = (rest / m).movedim(i, 0).reshape(len(direction), -1)
        matrix = -direction.double() * (resolvent @ resolvent.mT)
        matrix.diagonal().copy_(diagonal)
        results.append(matrix)
    return results, -change.sum()
