"""Kronecker algebra in JAX, with derivatives that never differentiate an eigenvector.

With K the product of the factors F_i, M = K + s I and z = M^-1 y,

    dz = M^-1 (dy - dK z - ds z)          dlogdet = sum_i <Q_i diag(w_i) Q_i', dF_i> + trace(M^-1) ds
    d(y'z) = 2 z'dy - z'dK z - z'z ds     where z'dK z = sum_i <Q_i S_i Q_i', dF_i>

w_i and S_i are those of telamon.kron. Eigenvalues and eigenvectors are handed on, with no tangents of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["along", "logdet", "multiply", "quadratic", "solve"]

# JAX has no types for these.
_linear_solve: Any = jax.lax.custom_linear_solve


# ---- grids (..., n_1, ..., n_d)


def _axis(a: Any, x: Any, axis: int) -> Any:
    """The matrix times x along an axis, which counts from the end."""
    moved = jnp.moveaxis(x, axis, -1)
    return jnp.moveaxis(jnp.matmul(moved, a.T, precision="highest"), -1, axis)


def multiply(factors: Sequence[Any], x: Any) -> Any:
    """The product with all factors; None is the identity."""
    d = len(factors)
    for i, a in enumerate(factors):
        if a is not None:
            x = _axis(a, x, i - d)
    return x


def _rest(factors: Sequence[Any], i: int) -> list[Any]:
    return [None if j == i else a for j, a in enumerate(factors)]


def along(v: Any, i: int, d: int) -> Any:
    """The vector as a grid of d axes that varies along the i-th."""
    return v.reshape((-1, *(1,) * (d - 1 - i)))


def _outer(vectors: Sequence[Any]) -> Any:
    """The outer product; None has length 1."""
    d = len(vectors)
    like = next(v for v in vectors if v is not None) if any(v is not None for v in vectors) else jnp.ones(())
    product = jnp.ones((1,) * d, like.dtype)
    for i, v in enumerate(vectors):
        if v is not None:
            product = product * along(v, i, d)
    return product


def _sum_to(x: Any, i: int) -> Any:
    """The sum over all axes of a grid but the i-th."""
    return jnp.sum(x, axis=tuple(j for j in range(x.ndim) if j != i))


def _gram(x: Any, y: Any, i: int) -> Any:
    """out[j, k], the sum over all other indices of x[..j..] y[..k..]."""
    rows, columns = (jnp.moveaxis(t, i, 0).reshape(t.shape[i], -1) for t in (x, y))
    return jnp.matmul(rows, columns.T, precision="highest")


def _transposed(matrices: Sequence[Any]) -> list[Any]:
    return [a.T for a in matrices]


def _conjugated(vectors: Sequence[Any], inner: Sequence[Any]) -> list[Any]:
    """Q_i A_i Q_i' for each axis."""
    dot = partial(jnp.matmul, precision="highest")
    return [dot(dot(q, a), q.T) for q, a in zip(vectors, inner, strict=True)]


# ---- derivatives by formulas: (factors, values, vectors) make `parts`


def solve(parts: Any, y: Any, s: Any) -> Any:
    """z = M^-1 y. Told that this solves a linear system, JAX makes the derivatives of every order, with M itself."""
    factors, values, vectors = parts

    def solve(_: Any, b: Any) -> Any:
        return multiply(vectors, multiply(_transposed(vectors), b) / (_outer(values) + s))

    return _linear_solve(lambda x: multiply(factors, x) + s * x, y, solve, symmetric=True)


def _weights(values: Sequence[Any], s: Any) -> list[Any]:
    """w_i: the sums over the other axes of Lam_-i/(lam + s)."""
    inverse = 1 / (_outer(values) + s)
    return [_sum_to(_outer(_rest(values, i)) * inverse, i) for i in range(len(values))]


def _logdet_gradient_value(parts: Any, s: Any) -> tuple[list[Any], Any]:
    _, values, vectors = parts
    inner = [jnp.diag(w) for w in _weights(values, s)]
    return _conjugated(vectors, inner), jnp.sum(1 / (_outer(values) + s))


@jax.custom_jvp
def _last(parts: Any, s: Any) -> Any:
    """What second derivatives are made of; it has none."""
    return (*parts[1:], s)


@_last.defjvp
def _(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError("telamon.jax: third derivatives of log det(K + noise I) are not implemented")


def _logdet_hessian(parts: Any, s: Any, directions: Any, v: Any) -> tuple[list[Any], Any]:
    """The derivative of the gradient along the directions; the formulas stand in torch/_kron_hessian.py."""
    values, vectors, s = _last(parts, s)
    d = len(values)
    symmetric = [(a + a.T) / 2 for a in directions]
    rotated = _conjugated(_transposed(vectors), symmetric)
    diagonals = [jnp.diagonal(a) for a in rotated]

    def derived(i: int | None) -> Any:
        """The derivative of Lam_-i."""
        kept = [None if j == i else w for j, w in enumerate(values)]
        terms = [_outer([diagonals[k] if k == j else w for k, w in enumerate(kept)]) for j in range(d) if j != i]
        return sum(terms[1:], terms[0]) if terms else jnp.zeros((1,) * d, values[0].dtype)

    m = _outer(values) + s
    change = (derived(None) + v) / m**2
    inner = []
    for i, direction in enumerate(rotated):
        rest = _outer(_rest(values, i))
        resolvent = rest / m
        off = -direction * _gram(resolvent, resolvent, i)
        diagonal = _sum_to(derived(i) / m - rest * change, i)
        inner.append(off - jnp.diag(jnp.diagonal(off)) + jnp.diag(diagonal))
    return _conjugated(vectors, inner), -jnp.sum(change)


_logdet_gradient = jax.custom_jvp(_logdet_gradient_value)


@_logdet_gradient.defjvp
def _(primals: Any, tangents: Any) -> Any:
    parts, s = primals
    (changes, _, _), ds = tangents
    return _logdet_gradient(parts, s), _logdet_hessian(parts, s, changes, ds)


@jax.custom_jvp
def logdet(parts: Any, s: Any) -> Any:
    return jnp.sum(jnp.log(_outer(parts[1]) + s))


@logdet.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (changes, _, _), ds = tangents
    gradients, trace = _logdet_gradient(*primals)
    change = trace * ds
    for g, da in zip(gradients, changes, strict=True):
        change = change + jnp.sum(g * da)
    return logdet(*primals), change


# y'z = sum a^2 (lam + s), with a = Q'y/(lam + s): the second is handed to the gradient.


def _composed_gradient(parts: Any, y: Any, s: Any, a: Any) -> tuple[list[Any], Any, Any]:
    """The gradient of y'z in factors, y and s, of functions whose derivatives are defined."""
    z = solve(parts, y, s)
    by_factor = [-_gram(z, multiply(_rest(parts[0], i), z), i) for i in range(y.ndim)]
    return by_factor, 2 * z, -jnp.sum(z * z)


@jax.custom_jvp
def _quadratic_gradient(parts: Any, y: Any, s: Any, a: Any) -> tuple[list[Any], Any, Any]:
    _, values, vectors = parts
    inner = [-_gram(a * _outer(_rest(values, i)), a, i) for i in range(y.ndim)]
    return _conjugated(vectors, inner), 2 * multiply(vectors, a), -jnp.sum(a * a)


@_quadratic_gradient.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return _quadratic_gradient(*primals), jax.jvp(_composed_gradient, primals, tangents)[1]


@jax.custom_jvp
def quadratic(parts: Any, y: Any, s: Any) -> Any:
    return _quadratic_and_solution(parts, y, s)[0]


def _quadratic_and_solution(parts: Any, y: Any, s: Any) -> tuple[Any, Any]:
    b = multiply(_transposed(parts[2]), y)
    a = b / (_outer(parts[1]) + s)
    return jnp.sum(a * b), a


@quadratic.defjvp
def _(primals: Any, tangents: Any) -> Any:
    parts, y, s = primals
    (changes, _, _), dy, ds = tangents
    _, a = jax.lax.stop_gradient(_quadratic_and_solution(parts, y, s))  # a compiler joins it with the line below
    gradients, by_y, by_s = _quadratic_gradient(parts, y, s, a)
    change = jnp.sum(by_y * dy) + by_s * ds
    for g, da in zip(gradients, changes, strict=True):
        change = change + jnp.sum(g * da)
    return quadratic(parts, y, s), change
