"""`telamon.kron` on JAX arrays, differentiable in factors, right-hand side and noise; documented in `telamon.jax`."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .. import _kron_shapes as shapes
from ._kron_rules import along, logdet, multiply, quadratic, solve

__all__ = ["kron_log_likelihood", "kron_logdet", "kron_matmul", "kron_solve"]

_finfo: Any = jnp.finfo  # JAX has no types for it


# ---- arguments


def _where(function: str) -> str:
    return f"telamon.jax.{function}"


def _arrays(where: str, named: dict[str, Any]) -> tuple[list[Any], Any]:
    """The arguments as arrays of the compute type, and the type of the result."""
    arrays = []
    for name, value in named.items():
        array = jnp.asarray(float(value) if isinstance(value, numbers.Real) else value)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{where}: {name} has dtype {array.dtype}; pass {name}.astype(float)")
        arrays.append(array)
    wide = [a for a in arrays if a.ndim] or arrays  # a number does not widen arrays
    dtype = jnp.result_type(*wide)
    compute = jnp.promote_types(dtype, jnp.float32)
    return [a.astype(compute) for a in arrays], dtype


def _is_known(a: Any) -> bool:
    return not isinstance(a, jax.core.Tracer)


def _symmetric(where: str, name: str, a: Any) -> Any:
    out = (a + a.T) / 2
    if _is_known(a):  # a traced one has no numbers
        tolerance = math.sqrt(_finfo(a.dtype).eps)
        if bool(jnp.max(jnp.abs(a - out)) > tolerance * jnp.max(jnp.abs(a))):
            raise ValueError(f"{where}: {name} is not symmetric; pass ({name} + {name}.T) / 2")
    return out


class _System:
    """(K + noise) with its factors decomposed; separable noise is scaled to an identity.

    With noise = D_1 kron .. kron D_d, diagonal, K + noise = D^1/2 (kron of D_i^-1/2 F_i D_i^-1/2 + I) D^1/2.
    """

    def __init__(self, function: str, factors: Any, noise: Any, y: Any = None) -> None:
        where = _where(function)
        factors = shapes.listed(where, factors)
        d = len(factors)
        named = {f"factors[{i}]": a for i, a in enumerate(factors)}
        separable = isinstance(noise, (list, tuple))
        named.update({f"noise[{i}]": a for i, a in enumerate(noise)} if separable else {"noise": noise})
        if y is not None:
            named["y"] = y
        arrays, self.dtype = _arrays(where, named)
        for i, a in enumerate(arrays[:d]):
            shapes.check_matrix(where, f"factors[{i}]", a.shape, square=True)
        self.sizes = tuple(a.shape[0] for a in arrays[:d])
        self.y: Any = None if y is None else arrays[-1]
        self.batch = () if y is None else shapes.batch_of(where, "y", arrays[-1].shape, self.sizes)

        symmetric = [_symmetric(where, f"factors[{i}]", a) for i, a in enumerate(arrays[:d])]
        self.roots: list[Any] = []
        self.shift: Any = 0.0  # log det of the scaling
        if separable:
            variances = arrays[d : d + len(noise)]
            shapes.check_separable(where, variances, self.sizes)
            self.roots = [jnp.sqrt(a) for a in variances]
            symmetric = [a / jnp.outer(r, r) for a, r in zip(symmetric, self.roots, strict=True)]
            count = math.prod(self.sizes)
            self.shift = sum(jnp.sum(jnp.log(a)) * (count // len(a)) for a in variances)
            self.noise = jnp.ones((), symmetric[0].dtype)
        else:
            self.noise = arrays[d]
            if self.noise.ndim != 0:
                raise ValueError(
                    f"{where}: noise has shape {self.noise.shape}; pass a number, or a list with one array of "
                    "variances for each axis"
                )
            if _is_known(self.noise) and not self.noise >= 0:
                raise ValueError(f"{where}: noise is {float(self.noise)}; pass a variance of at least 0")
        pairs = [jnp.linalg.eigh(jax.lax.stop_gradient(a), symmetrize_input=False) for a in symmetric]
        self.parts = (symmetric, [w for w, _ in pairs], [q for _, q in pairs])

    def scaled(self, y: Any) -> Any:
        """y divided by the noise's standard deviations, where these differ."""
        for i, root in enumerate(self.roots):
            y = y / along(root, i, len(self.sizes))
        return y


# ---- functions


def kron_matmul(factors: Sequence[Any], x: Any) -> Any:
    """(A_1 kron ... kron A_d) x, for arrays on a grid. Differentiable to every order.

    Parameters
    ----------
    factors : sequence of array_like or None
        One matrix (m_i, n_i) for each axis of the grid; None is the identity.
    x : array_like (..., n_1, ..., n_d)
        Grids with any batch dimensions in front: shape a vector of length n_1 ... n_d by ``x.reshape(n_1, ..., n_d)``.
        The last axis runs fastest, as in ``jax.numpy.kron``.

    Returns
    -------
    jax.Array (..., m_1, ..., m_d)
        In the promoted dtype; float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If an argument is not of floating point.
    ValueError
        If shapes do not fit.
    """
    where = _where("kron_matmul")
    factors = shapes.listed(where, factors)
    named = {f"factors[{i}]": a for i, a in enumerate(factors) if a is not None}
    (x, *matrices), dtype = _arrays(where, {"x": x, **named})
    for name, a in zip(named, matrices, strict=True):
        shapes.check_matrix(where, name, a.shape, square=False)
    rest = iter(matrices)
    full = [None if a is None else next(rest) for a in factors]
    shapes.batch_of(where, "x", x.shape, [None if a is None else a.shape[1] for a in full])
    return multiply(full, x).astype(dtype)


def kron_solve(factors: Sequence[Any], y: Any, noise: Any) -> Any:
    """(K + noise)^-1 y, K the Kronecker product of symmetric factors. Differentiable to every order.

    By the factors' eigenvectors, but not through them: gradients are as precise where eigenvalues coincide.

    Parameters
    ----------
    factors : sequence of array_like
        A symmetric, positive semi-definite matrix (n_i, n_i) for each axis of the grid.
    y : array_like (..., n_1, ..., n_d)
        Grids with any batch dimensions in front: shape a vector by ``y.reshape(n_1, ..., n_d)``.
    noise : float, or sequence of array_like
        The variance that is added to the diagonal; or an array (n_i,) for each axis, where it is their outer product.

    Returns
    -------
    jax.Array
        Of y's shape, in the promoted dtype. Without meaning, or NaN, where K + noise is not positive definite.

    Raises
    ------
    TypeError
        If an argument is not of floating point.
    ValueError
        If shapes do not fit; and, for arrays that are not traced, if a factor is not symmetric or noise is negative. Of
        traced factors the mean of the lower and the upper half counts.
    """
    system = _System("kron_solve", factors, noise, y)
    z = system.scaled(solve(system.parts, system.scaled(system.y), system.noise))
    return z.astype(system.dtype)


def kron_logdet(factors: Sequence[Any], noise: Any) -> Any:
    """log det(K + noise), K the Kronecker product of symmetric factors. Differentiable twice.

    Parameters
    ----------
    factors, noise
        As in `kron_solve`.

    Returns
    -------
    jax.Array
        0-dimensional, in the factors' promoted dtype.

    Raises
    ------
    TypeError, ValueError
        As in `kron_solve`.
    NotImplementedError
        For a third derivative.
    """
    system = _System("kron_logdet", factors, noise)
    return (logdet(system.parts, system.noise) + system.shift).astype(system.dtype)


def kron_log_likelihood(factors: Sequence[Any], y: Any, noise: Any) -> Any:
    """log N(y; 0, K + noise), of a Gaussian process observed on a whole grid. Differentiable twice.

    -1/2 y' (K + noise)^-1 y - 1/2 log det(K + noise) - N/2 log 2 pi, with the gradient of
    `telamon.torch.kron_log_likelihood`: all hyperparameters together cost about as much as the value.

    Parameters
    ----------
    factors, noise
        As in `kron_solve`.
    y : array_like (..., n_1, ..., n_d)
        Observations, without their mean: one grid, or any batch of independent ones.

    Returns
    -------
    jax.Array (...)
        One number for each grid, in the promoted dtype.

    Raises
    ------
    TypeError, ValueError
        As in `kron_solve`.
    NotImplementedError
        For a third derivative.
    """
    system = _System("kron_log_likelihood", factors, noise, y)
    flat = system.scaled(system.y).reshape(math.prod(system.batch), *system.sizes)
    quad = jax.vmap(lambda one: quadratic(system.parts, one, system.noise))(flat)
    constant = math.prod(system.sizes) * math.log(2 * math.pi)
    value = -0.5 * (quad + (logdet(system.parts, system.noise) + system.shift + constant))
    return value.reshape(system.batch).astype(system.dtype)
