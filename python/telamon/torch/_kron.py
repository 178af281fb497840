"""`telamon.kron` on tensors, differentiable in factors, right-hand side and noise; documented in `telamon.torch`."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .. import _kron_shapes as shapes
from . import _kron_evidence, _kron_operators  # noqa: F401  they register the kernels
from ._operators import FULL, HALF, lib

__all__ = ["kron_log_likelihood", "kron_logdet", "kron_matmul", "kron_solve"]

Noise: TypeAlias = "Tensor | float | Sequence[Tensor]"


# ---- arguments


def _where(function: str) -> str:
    return f"telamon.torch.{function}"


def _tensors(where: str, named: dict[str, Tensor]) -> torch.dtype:
    """Check types, dtypes and devices; the dtype of the result."""
    first, dtype = "", None
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{where}: {name} is a {type(value).__name__}; pass a tensor")
        if value.dtype not in FULL and value.dtype not in HALF:
            raise TypeError(f"{where}: {name} has dtype {value.dtype}; pass {name}.to(torch.float64), or float32")
        if dtype is None:
            first, dtype = name, value.dtype
        if value.device != named[first].device and not (name == "noise" and value.ndim == 0):
            raise ValueError(
                f"{where}: {first} is on {named[first].device} and {name} on {value.device}; move them to one device"
            )
        # As everywhere in PyTorch, a 0-dimensional tensor does not widen the others.
        dtype = dtype if value.ndim == 0 else torch.promote_types(dtype, value.dtype)
    assert dtype is not None
    return dtype


def _compute(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in HALF else dtype


def _named(factors: Sequence[Any]) -> dict[str, Any]:
    return {f"factors[{i}]": a for i, a in enumerate(factors) if a is not None}


class _System:
    """(K + noise) with its factors decomposed; separable noise is scaled to an identity.

    With noise = D_1 kron .. kron D_d, diagonal, K + noise = D^1/2 (kron of D_i^-1/2 F_i D_i^-1/2 + I) D^1/2.
    """

    def __init__(self, function: str, factors: Any, noise: Any, y: Tensor | None = None) -> None:
        where = _where(function)
        factors = shapes.listed(where, factors)
        named = {f"factors[{i}]": a for i, a in enumerate(factors)}
        if y is not None:
            named["y"] = y
        separable = isinstance(noise, (list, tuple))
        if separable:
            named.update({f"noise[{i}]": a for i, a in enumerate(noise)})
        elif isinstance(noise, Tensor):
            named["noise"] = noise
        elif not isinstance(noise, numbers.Real) or isinstance(noise, bool):
            raise TypeError(
                f"{where}: noise is a {type(noise).__name__}; pass a number, a tensor, or one for each axis"
            )
        self.dtype = _tensors(where, named)
        compute = _compute(self.dtype)
        for i, a in enumerate(factors):
            shapes.check_matrix(where, f"factors[{i}]", a.shape, square=True)
        self.sizes = [a.shape[0] for a in factors]
        self.batch = () if y is None else shapes.batch_of(where, "y", y.shape, self.sizes)

        made: dict[int, Tensor] = {}  # a factor that serves several axes is decomposed once
        parts = [made[id(a)] if id(a) in made else made.setdefault(id(a), _symmetric(a, compute)) for a in factors]
        self.roots: list[Tensor] = []
        self.shift: Any = 0.0  # log det of the scaling
        if separable:
            shapes.check_separable(where, noise, self.sizes)
            variances = [a.to(compute) for a in noise]
            self.roots = [a.sqrt() for a in variances]
            parts = [a / torch.outer(r, r) for a, r in zip(parts, self.roots, strict=True)]
            count = math.prod(self.sizes)
            self.shift = sum(a.log().sum() * (count // len(a)) for a in variances)
            self.noise = parts[0].new_ones(())
        elif isinstance(noise, Tensor):
            if noise.ndim != 0:
                raise ValueError(
                    f"{where}: noise has shape {tuple(noise.shape)}; pass a number, a 0-dimensional tensor, or a list "
                    "with one tensor of variances for each axis"
                )
            self.noise = noise.to(parts[0])
        else:
            self.noise = torch.full((), float(noise), dtype=compute, device=parts[0].device)
        decomposed: dict[int, Any] = {}
        for a in parts:
            if id(a) not in decomposed:
                decomposed[id(a)] = lib.kron_eigh(a)
        pairs = [decomposed[id(a)] for a in parts]
        self.parts = [*parts, *(w for w, _ in pairs), *(q for _, q in pairs)]

    def scaled(self, y: Tensor) -> Tensor:
        """y divided by the noise's standard deviations, where these differ."""
        d = len(self.sizes)
        for i, root in enumerate(self.roots):
            y = y / root.reshape((-1, *(1,) * (d - 1 - i)))
        return y

    def flat(self, y: Tensor) -> Tensor:
        """(B, n_1, ..., n_d, 1)."""
        y = self.scaled(y.to(self.parts[0].dtype))
        return y.reshape(math.prod(self.batch), *self.sizes, 1)


def _symmetric(a: Tensor, dtype: torch.dtype) -> Tensor:
    result: Tensor = lib.kron_symmetric(a.to(dtype))
    return result


# ---- functions


def kron_matmul(factors: Sequence[Tensor | None], x: Tensor) -> Tensor:
    """(A_1 kron ... kron A_d) x, for tensors on a grid. Differentiable to every order.

    Parameters
    ----------
    factors : sequence of Tensor or None
        One matrix (m_i, n_i) for each axis of the grid; None is the identity.
    x : Tensor (..., n_1, ..., n_d)
        Grids with any batch dimensions in front: shape a vector of length n_1 ... n_d by ``x.reshape(n_1, ..., n_d)``.
        The last axis runs fastest, as in ``torch.kron``.

    Returns
    -------
    Tensor (..., m_1, ..., m_d)
        In the promoted dtype: float32 or float64; float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If an argument is no tensor of floating point.
    ValueError
        If shapes do not fit, or tensors lie on different devices.

    Examples
    --------
    >>> a, b = torch.randn(4, 3), torch.randn(5, 2)
    >>> kron_matmul([a, b], torch.randn(7, 3, 2)).shape
    torch.Size([7, 4, 5])
    """
    where = _where("kron_matmul")
    factors = shapes.listed(where, factors)
    named = _named(factors)
    dtype = _tensors(where, {**named, "x": x})
    for name, a in named.items():
        shapes.check_matrix(where, name, a.shape, square=False)
    sizes = [None if a is None else a.shape[1] for a in factors]
    batch = shapes.batch_of(where, "x", x.shape, sizes)
    compute = _compute(dtype)
    axes = [i for i, a in enumerate(factors) if a is not None]
    if not axes:
        return x.clone()
    matrices = [a.to(compute) for a in named.values()]
    out = lib.kron_product(
        matrices, axes, x.to(compute).reshape(math.prod(batch), *x.shape[x.ndim - len(factors) :], 1)
    )
    result: Tensor = out.reshape(*batch, *out.shape[1:-1]).to(dtype)
    return result


def kron_solve(factors: Sequence[Tensor], y: Tensor, noise: Noise) -> Tensor:
    """(K + noise)^-1 y, K the Kronecker product of symmetric factors. Differentiable to every order.

    By the factors' eigenvectors, but not through them: gradients are as precise where eigenvalues coincide.

    Parameters
    ----------
    factors : sequence of Tensor
        A symmetric, positive semi-definite matrix (n_i, n_i) for each axis of the grid.
    y : Tensor (..., n_1, ..., n_d)
        Grids with any batch dimensions in front: shape a vector by ``y.reshape(n_1, ..., n_d)``.
    noise : float or 0-dimensional Tensor, or sequence of Tensor
        The variance that is added to the diagonal; or one tensor (n_i,) for each axis, where it is their outer product.

    Returns
    -------
    Tensor
        Of y's shape, in the promoted dtype.

    Raises
    ------
    TypeError
        If an argument is no tensor of floating point.
    ValueError
        If shapes do not fit or tensors lie on different devices; and, for CPU tensors, if a factor is not symmetric,
        noise is negative, or K + noise is not positive definite. On a GPU the lower half of a factor is not compared
        with the upper, the mean of the two counts, and the result of what is not definite is without meaning or NaN,
        since to look would mean to wait.
    """
    system = _System("kron_solve", factors, noise, y)
    z = lib.kron_solve(system.parts, system.flat(y), system.noise)
    result: Tensor = system.scaled(z.reshape(*system.batch, *system.sizes)).to(system.dtype)
    return result


def kron_logdet(factors: Sequence[Tensor], noise: Noise) -> Tensor:
    """log det(K + noise), K the Kronecker product of symmetric factors. Differentiable twice.

    Parameters
    ----------
    factors, noise
        As in `kron_solve`.

    Returns
    -------
    Tensor
        0-dimensional, in the factors' promoted dtype.

    Raises
    ------
    TypeError, ValueError
        As in `kron_solve`.
    NotImplementedError
        For a third derivative.
    """
    system = _System("kron_logdet", factors, noise)
    nothing = system.parts[0].new_empty(0, *system.sizes, 1)
    _, logdet, _ = lib.kron_evidence(system.parts, nothing, system.noise)
    result: Tensor = (logdet + system.shift).to(system.dtype)
    return result


def kron_log_likelihood(factors: Sequence[Tensor], y: Tensor, noise: Noise) -> Tensor:
    """log N(y; 0, K + noise), of a Gaussian process observed on a whole grid. Differentiable twice.

    -1/2 y' (K + noise)^-1 y - 1/2 log det(K + noise) - N/2 log 2 pi. With the eigenvectors Q of the factors,
    a = (Q'y)/(lam + noise) and L the product of all eigenvalues but those of axis i, its gradient in the i-th factor is
    1/2 Q_i (a diag(L) a' - diag(sum of L/(lam + noise))) Q_i', so that all hyperparameters together cost about as much
    as the value.

    Parameters
    ----------
    factors, noise
        As in `kron_solve`.
    y : Tensor (..., n_1, ..., n_d)
        Observations, without their mean: one grid, or any batch of independent ones.

    Returns
    -------
    Tensor (...)
        One number for each grid, in the promoted dtype.

    Raises
    ------
    TypeError, ValueError
        As in `kron_solve`.
    NotImplementedError
        For a third derivative.

    Examples
    --------
    >>> x, t = torch.linspace(0, 1, 50), torch.linspace(0, 1, 40)
    >>> log_scale = torch.zeros(2, requires_grad=True)
    >>> factors = [torch.exp(-((a[:, None] - a) / s.exp()) ** 2) for a, s in zip((x, t), log_scale)]
    >>> kron_log_likelihood(factors, torch.randn(50, 40), noise=0.1).backward()
    """
    system = _System("kron_log_likelihood", factors, noise, y)
    quad, logdet, _ = lib.kron_evidence(system.parts, system.flat(y), system.noise)
    constant = math.prod(system.sizes) * math.log(2 * math.pi)
    value: Tensor = -0.5 * (quad + (logdet + system.shift + constant))
    return value.reshape(system.batch).to(system.dtype)
