"""`telamon.kron` on JAX arrays, differentiable in factors, right-hand side and noise; documented in `telamon.jax`.

Products and eigen-decompositions are XLA's own. What is here are derivatives that never differentiate an eigenvector,
so that they hold where eigenvalues coincide: with K the product of the factors F_i, M = K + s I and z = M^-1 y,

    dz = M^-1 (dy - dK z - ds z)          dlogdet = sum_i <Q_i diag(w_i) Q_i', dF_i> + trace(M^-1) ds
    d(y'z) = 2 z'dy - z'dK z - z'z ds     where z'dK z = sum_i <Q_i S_i Q_i', dF_i>

w_i and S_i are those of telamon.kron. Eigenvalues and eigenvectors are handed on, with no tangents of their own.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .. import _kron_shapes as shapes

__all__ = ["kron_log_likelihood", "kron_logdet", "kron_matmul", "kron_solve"]

# JAX has no types for these.
_linear_solve: Any = jax.lax.custom_linear_solve
_finfo: Any = jnp.finfo


# ---- grids (..., n_1, ..., n_d)


def _axis(a: Any, x: Any, axis: int) -> Any:
    """The matrix times x along an axis, which counts from the end."""
    moved = jnp.moveaxis(x, axis, -1)
    return jnp.moveaxis(jnp.matmul(moved, a.T, precision="highest"), -1, axis)


def _multiply(factors: Sequence[Any], x: Any) -> Any:
    """The product with all factors; None is the identity."""
    d = len(factors)
    for i, a in enumerate(factors):
        if a is not None:
            x = _axis(a, x, i - d)
    return x


def _rest(factors: Sequence[Any], i: int) -> list[Any]:
    return [None if j == i else a for j, a in enumerate(factors)]


def _along(v: Any, i: int, d: int) -> Any:
    """The vector as a grid of d axes that varies along the i-th."""
    return v.reshape((-1, *(1,) * (d - 1 - i)))


def _outer(vectors: Sequence[Any]) -> Any:
    """The outer product; None has length 1."""
    d = len(vectors)
    like = next(v for v in vectors if v is not None) if any(v is not None for v in vectors) else jnp.ones(())
    product = jnp.ones((1,) * d, like.dtype)
    for i, v in enumerate(vectors):
        if v is not None:
            product = product * _along(v, i, d)
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


def _solve(parts: Any, y: Any, s: Any) -> Any:
    """z = M^-1 y. Told that this solves a linear system, JAX makes the derivatives of every order, with M itself."""
    factors, values, vectors = parts

    def solve(_: Any, b: Any) -> Any:
        return _multiply(vectors, _multiply(_transposed(vectors), b) / (_outer(values) + s))

    return _linear_solve(lambda x: _multiply(factors, x) + s * x, y, solve, symmetric=True)


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
def _logdet(parts: Any, s: Any) -> Any:
    return jnp.sum(jnp.log(_outer(parts[1]) + s))


@_logdet.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (changes, _, _), ds = tangents
    gradients, trace = _logdet_gradient(*primals)
    change = trace * ds
    for g, da in zip(gradients, changes, strict=True):
        change = change + jnp.sum(g * da)
    return _logdet(*primals), change


# y'z = sum a^2 (lam + s), with a = Q'y/(lam + s): the second is handed to the gradient.


def _composed_gradient(parts: Any, y: Any, s: Any, a: Any) -> tuple[list[Any], Any, Any]:
    """The gradient of y'z in factors, y and s, of functions whose derivatives are defined."""
    z = _solve(parts, y, s)
    by_factor = [-_gram(z, _multiply(_rest(parts[0], i), z), i) for i in range(y.ndim)]
    return by_factor, 2 * z, -jnp.sum(z * z)


@jax.custom_jvp
def _quadratic_gradient(parts: Any, y: Any, s: Any, a: Any) -> tuple[list[Any], Any, Any]:
    _, values, vectors = parts
    inner = [-_gram(a * _outer(_rest(values, i)), a, i) for i in range(y.ndim)]
    return _conjugated(vectors, inner), 2 * _multiply(vectors, a), -jnp.sum(a * a)


@_quadratic_gradient.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return _quadratic_gradient(*primals), jax.jvp(_composed_gradient, primals, tangents)[1]


@jax.custom_jvp
def _quadratic(parts: Any, y: Any, s: Any) -> Any:
    return _quadratic_and_solution(parts, y, s)[0]


def _quadratic_and_solution(parts: Any, y: Any, s: Any) -> tuple[Any, Any]:
    b = _multiply(_transposed(parts[2]), y)
    a = b / (_outer(parts[1]) + s)
    return jnp.sum(a * b), a


@_quadratic.defjvp
def _(primals: Any, tangents: Any) -> Any:
    parts, y, s = primals
    (changes, _, _), dy, ds = tangents
    _, a = jax.lax.stop_gradient(_quadratic_and_solution(parts, y, s))  # a compiler joins it with the line below
    gradients, by_y, by_s = _quadratic_gradient(parts, y, s, a)
    change = jnp.sum(by_y * dy) + by_s * ds
    for g, da in zip(gradients, changes, strict=True):
        change = change + jnp.sum(g * da)
    return _quadratic(parts, y, s), change


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
            y = y / _along(root, i, len(self.sizes))
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
    return _multiply(full, x).astype(dtype)


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
    z = system.scaled(_solve(system.parts, system.scaled(system.y), system.noise))
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
    return (_logdet(system.parts, system.noise) + system.shift).astype(system.dtype)


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
    quad = jax.vmap(lambda one: _quadratic(system.parts, one, system.noise))(flat)
    constant = math.prod(system.sizes) * math.log(2 * math.pi)
    value = -0.5 * (quad + (_logdet(system.parts, system.noise) + system.shift + constant))
    return value.reshape(system.batch).astype(system.dtype)
