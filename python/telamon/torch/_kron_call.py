"""How `telamon.torch` calls the kernels of `telamon.kron`: `_core.kron_*` for CPU tensors, those of `telamon.cuda` for
CUDA tensors.

A grid tensor here is (B, n_1, ..., n_d, 1). `values` and `vectors` are the factors' eigenvalues and eigenvectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _core
from ._operators import numpy_view


def _device(t: Tensor) -> Any:
    """The kernels for the tensor's device, or None for the CPU's."""
    if t.is_cpu:
        return None
    if not t.is_cuda:
        raise ValueError(f"telamon.torch: tensors are on {t.device}; move them to a CPU or CUDA device")
    from ..cuda import _kron_kernels

    return _kron_kernels


def _matrix(a: Tensor) -> Tensor:
    """The matrix with its rows or its columns one after the other."""
    return a if a.is_contiguous() or a.mT.is_contiguous() else a.contiguous()


def matmul(factors: Sequence[Tensor], axes: Sequence[int], x: Tensor) -> Tensor:
    """The product with a factor on each of the axes, and identities on the others."""
    shape = list(x.shape)
    full: list[Tensor | None] = [None] * (x.ndim - 2)
    for axis, a in zip(axes, factors, strict=True):
        full[axis] = _matrix(a)
        shape[axis + 1] = a.shape[0]
    out = x.new_empty(shape)
    if out.numel():
        x, kernels = x.contiguous(), _device(x)
        if kernels is None:
            views = [None if a is None else numpy_view(a) for a in full]
            _core.kron_matmul(views, numpy_view(x), out.numpy())
        else:
            kernels.matmul(full, x, out)
    return out


def gram(x: Tensor, y: Tensor | None, scales: Sequence[Tensor] | None, axis: int) -> Tensor:
    """out[j, k] = the sum over all other indices of x[..j..] y[..k..], times the scales of the other axes."""
    n = x.shape[axis + 1]
    out = x.new_empty(n, n if y is None else y.shape[axis + 1])
    if not x.numel():
        return out.zero_()
    x, y, kernels = x.contiguous(), None if y is None else y.contiguous(), _device(x)
    if kernels is None:
        views = None if scales is None else [numpy_view(s) for s in scales]
        _core.kron_gram(numpy_view(x), None if y is None else numpy_view(y), views, axis, out.numpy())
    else:
        kernels.gram(x, y, scales, axis, out)
    return out


def spectral(
    values: Sequence[Tensor],
    noise: Tensor,
    b: Tensor | None = None,
    out: Tensor | None = None,
    weights: Sequence[Tensor] | None = None,
) -> Tensor:
    """sum b^2/(lam + noise), sum log(lam + noise) and sum 1/(lam + noise) in float64; fills out and weights.

    out = b/(lam + noise) may be b itself; weights[i][k], in float64, sums Lam_-i/(lam + noise) over the other axes.
    """
    if b is not None and not b.numel():
        b = out = None
    kernels = _device(noise)
    if kernels is not None:  # which does not look at values, since that would mean to wait: NaN says it
        sums: Tensor = kernels.spectral(values, noise, b, out, weights)
        return sums
    shift = float(noise.detach())
    _check_definite(values, shift)
    views = None if weights is None else [w.numpy() for w in weights]
    from_b, to = (None if t is None else numpy_view(t) for t in (b, out))
    numbers = _core.kron_spectral([numpy_view(v) for v in values], shift, from_b, to, views)
    return torch.tensor(numbers, dtype=torch.float64)


def _check_definite(values: Sequence[Tensor], noise: float) -> None:
    where = "telamon.torch"
    if not noise >= 0:
        raise ValueError(f"{where}: noise is {noise}; pass a variance of at least 0")
    low = high = 1.0  # of the products of eigenvalues so far
    for v in values:
        ends = [a * float(b) for a in (low, high) for b in (v[0].detach(), v[-1].detach())]
        low, high = min(ends), max(ends)
    if not low + noise > 0:
        raise ValueError(
            f"{where}: the Kronecker product has an eigenvalue {low:.3g}, and noise is {noise:.3g}, so that their "
            "sum is not positive definite; pass positive semi-definite factors and a larger noise"
        )


def eigh(a: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues, ascending, and the eigenvectors in columns."""
    n = a.shape[0]
    kernels = _device(a)
    if kernels is not None:
        decomposed: tuple[Tensor, Tensor] = kernels.eigh(a)
        return decomposed
    w, q = a.new_empty(n), a.new_empty(n, n)
    _core.kron_eigh(numpy_view(a.contiguous()), w.numpy(), q.numpy())
    return w, q
