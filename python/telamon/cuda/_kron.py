"""`telamon.kron` on arrays of a GPU: products, eigen-decompositions, solutions and likelihoods."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

from .. import _kron_shapes as shapes
from . import _kron_kernels as kernels
from ._library import is_torch

__all__ = ["kron_eigh", "kron_log_likelihood", "kron_logdet", "kron_matmul", "kron_solve"]


# ---- arguments


def _where(function: str) -> str:
    return f"telamon.cuda.{function}"


def _in_torch(where: str, named: dict[str, Any]) -> bool:
    """Whether the arguments are torch CUDA tensors; otherwise they are arrays for CuPy."""
    tensors = {name: a for name, a in named.items() if is_torch(a)}
    for name, a in tensors.items():
        if a.device.type != "cuda" and not (name == "noise" and a.ndim == 0):
            raise ValueError(f"{where}: {name} is on {a.device}; pass {name}.cuda()")
    if tensors:
        return True
    for name, a in named.items():
        if not hasattr(a, "__cuda_array_interface__") and not (name == "noise" and isinstance(a, numbers.Real)):
            raise TypeError(
                f"{where}: {name} is a {type(a).__name__}; pass an array on the GPU, such as cupy.asarray({name}); "
                "telamon.kron takes arrays on the CPU"
            )
    return False


def _cupy(where: str) -> Any:
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise RuntimeError(f"{where}: arrays of other libraries than PyTorch need CuPy") from error
    return cupy


def _named(factors: Sequence[Any], **others: Any) -> dict[str, Any]:
    """The arguments that are arrays or numbers, by the names that messages use."""
    named = {f"factors[{i}]": a for i, a in enumerate(factors) if a is not None}
    for name, value in others.items():
        if isinstance(value, (list, tuple)):
            named.update({f"{name}[{i}]": a for i, a in enumerate(value)})
        elif value is not None:
            named[name] = value
    return named


def _arrays(where: str, named: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The arguments as CuPy arrays of one type, numbers too, and the type."""
    cupy = _cupy(where)
    arrays = {name: a if isinstance(a, numbers.Real) else cupy.asarray(a) for name, a in named.items()}
    wide = [a for a in arrays.values() if not isinstance(a, numbers.Real) and a.ndim]
    for name, a in arrays.items():
        if not isinstance(a, numbers.Real) and a.dtype.name not in ("float32", "float64"):
            raise TypeError(f"{where}: {name} has dtype {a.dtype}; pass {name}.astype(cupy.float64), or float32")
    if len({a.device.id for a in wide}) > 1:
        raise ValueError(f"{where}: the arrays are on different devices; copy them to one")
    dtype = "float64" if any(a.dtype.name == "float64" for a in wide) else "float32"
    typed = {name: cupy.asarray(a, dtype=dtype) for name, a in arrays.items()}
    # Not a 0-dimensional one, which would get a dimension.
    return {name: cupy.ascontiguousarray(a) if a.ndim else a for name, a in typed.items()}, dtype


def _multiply(factors: Sequence[Any], x: Any) -> Any:
    shape = [n if a is None else a.shape[0] for a, n in zip(factors, x.shape[1:-1], strict=True)]
    out = kernels.empty(x, (x.shape[0], *shape, 1))
    if math.prod(out.shape):
        kernels.matmul(factors, x, out)
    return out


class _System:
    """(K + noise) of CuPy arrays, decomposed; separable noise is scaled to an identity, as in telamon.torch."""

    def __init__(self, where: str, factors: Sequence[Any], noise: Any, y: Any = None) -> None:
        cupy = _cupy(where)
        arrays, dtype = _arrays(where, _named(factors, noise=noise, y=y))
        matrices = [arrays[f"factors[{i}]"] for i in range(len(factors))]
        for i, a in enumerate(matrices):
            shapes.check_matrix(where, f"factors[{i}]", a.shape, square=True)
        self.sizes = [a.shape[0] for a in matrices]
        matrices = [(a + a.T) / 2 for a in matrices]
        self.y = arrays.get("y")
        self.batch = () if y is None else shapes.batch_of(where, "y", arrays["y"].shape, self.sizes)
        self.roots: list[Any] = []
        self.shift: Any = 0.0  # log det of the scaling
        if isinstance(noise, (list, tuple)):
            variances = [arrays[f"noise[{i}]"] for i in range(len(noise))]
            shapes.check_separable(where, variances, self.sizes)
            self.roots = [cupy.sqrt(v) for v in variances]
            matrices = [a / (r[:, None] * r) for a, r in zip(matrices, self.roots, strict=True)]
            count = math.prod(self.sizes)
            self.shift = sum(cupy.log(v).sum() * (count // len(v)) for v in variances)
            self.noise = cupy.ones((), dtype=dtype)
        else:
            self.noise = arrays["noise"]
            if isinstance(noise, numbers.Real) and not float(noise) >= 0:
                raise ValueError(f"{where}: noise is {noise}; pass a variance of at least 0")
            if self.noise.ndim != 0:
                raise ValueError(
                    f"{where}: noise has shape {self.noise.shape}; pass a number, a 0-dimensional array, or a list "
                    "with one array of variances for each axis"
                )
        pairs = [kernels.eigh(a) for a in matrices]
        self.values, self.vectors = [w for w, _ in pairs], [q for _, q in pairs]

    def scaled(self, y: Any) -> Any:
        """y divided by the noise's standard deviations, where these differ."""
        for i, root in enumerate(self.roots):
            y = y / root.reshape((-1, *(1,) * (len(self.sizes) - 1 - i)))
        return y

    def rotated(self) -> Any:
        """Q'y, as (B, n_1, ..., n_d, 1)."""
        flat = self.scaled(self.y).reshape((math.prod(self.batch), *self.sizes, 1))
        return _multiply([q.T for q in self.vectors], flat)

    def divided(self, b: Any, out: Any) -> Any:
        """The three sums; out = b/(lam + noise)."""
        if b is not None and not math.prod(b.shape):
            b = out = None
        return kernels.spectral(self.values, self.noise, b, out, None)


def _dispatch(function: str, factors: Any, noise: Any, y: Any, with_cupy: Callable[[str, list[Any]], Any]) -> Any:
    where = _where(function)
    factors = shapes.listed(where, factors)
    if noise is None:
        raise TypeError(f"{where}: noise is None; pass a number, or one array of variances for each axis")
    named = _named(factors, noise=noise, y=y)
    if _in_torch(where, named):
        from .. import torch as adapter

        arguments = (factors, noise) if y is None else (factors, y, noise)
        return getattr(adapter, function)(*arguments)
    _cupy(where)
    if not hasattr(factors[0], "__cuda_array_interface__"):
        raise TypeError(f"{where}: factors[0] is a {type(factors[0]).__name__}; pass an array on the GPU")
    with _cupy(where).asarray(factors[0]).device:
        return with_cupy(where, factors)


# ---- functions


def kron_matmul(factors: Sequence[Any], x: Any) -> Any:
    """(A_1 kron ... kron A_d) x on the GPU, for arrays on a grid.

    Parameters
    ----------
    factors : sequence of array or None
        One matrix (m_i, n_i) for each axis of the grid, of float32 or float64; None is the identity.
    x : array (..., n_1, ..., n_d)
        Grids with any batch dimensions in front: shape a vector by ``x.reshape(n_1, ..., n_d)``.

    Returns
    -------
    array (..., m_1, ..., m_d)
        A torch tensor for tensors, with its gradient, as `telamon.torch.kron_matmul`; otherwise a CuPy array. Not yet
        computed: it follows on the current stream.

    Raises
    ------
    TypeError
        If an argument is not on the GPU, or of another type than these.
    ValueError
        If shapes do not fit, or arrays lie on different devices.
    RuntimeError
        If telamon was built without CUDA, cuBLAS or cuSOLVER are not installed, or CUDA reports an error.
    """
    where = _where("kron_matmul")
    factors = shapes.listed(where, factors)
    named = _named(factors, x=x)
    if _in_torch(where, named):
        from .. import torch as adapter

        return adapter.kron_matmul(factors, x)
    with _cupy(where).asarray(x).device:
        arrays, _ = _arrays(where, named)
        full = [None if a is None else arrays[f"factors[{i}]"] for i, a in enumerate(factors)]
        for name, a in arrays.items():
            if name != "x":
                shapes.check_matrix(where, name, a.shape, square=False)
        grid = arrays["x"]
        batch = shapes.batch_of(where, "x", grid.shape, [None if a is None else a.shape[1] for a in full])
        out = _multiply(full, grid.reshape((math.prod(batch), *grid.shape[len(batch) :], 1)))
        return out.reshape((*batch, *out.shape[1:-1]))


def kron_eigh(factors: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The eigenvalues and eigenvectors of symmetric factors, of which those of their Kronecker product are made.

    Parameters
    ----------
    factors : sequence of array (n_i, n_i)
        The mean of the lower and the upper half counts.

    Returns
    -------
    values, vectors : list of array
        For each factor (n_i,), ascending, and (n_i, n_i), in columns. Torch tensors come without gradients.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As in `kron_matmul`.
    """
    where = _where("kron_eigh")
    factors = shapes.listed(where, factors)
    named = _named(factors)
    if _in_torch(where, named):
        arrays = {name: a.detach() for name, a in named.items()}
    else:
        arrays, _ = _arrays(where, named)
    for name, a in arrays.items():
        shapes.check_matrix(where, name, a.shape, square=True)
    pairs = [kernels.eigh((a + a.T) / 2) for a in arrays.values()]
    return [w for w, _ in pairs], [q for _, q in pairs]


def kron_solve(factors: Sequence[Any], y: Any, noise: Any) -> Any:
    """(K + noise)^-1 y on the GPU, K the Kronecker product of symmetric factors.

    Parameters
    ----------
    factors : sequence of array (n_i, n_i)
        Symmetric and positive semi-definite; the mean of the lower and the upper half counts.
    y : array (..., n_1, ..., n_d)
        Grids with any batch dimensions in front.
    noise : float or 0-dimensional array, or sequence of array
        The variance that is added to the diagonal; or one array (n_i,) for each axis, where it is their outer product.

    Returns
    -------
    array
        Of y's shape; a torch tensor, with its gradient, or a CuPy array, as in `kron_matmul`. Without meaning, or NaN,
        where K + noise is not positive definite: to look would mean to wait.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As in `kron_matmul`.
    """

    def with_cupy(where: str, factors: list[Any]) -> Any:
        system = _System(where, factors, noise, y)
        b = system.rotated()
        system.divided(b, b)
        z = _multiply(system.vectors, b).reshape((*system.batch, *system.sizes))
        return system.scaled(z)

    return _dispatch("kron_solve", factors, noise, y, with_cupy)


def kron_logdet(factors: Sequence[Any], noise: Any) -> Any:
    """log det(K + noise) on the GPU.

    Parameters
    ----------
    factors, noise
        As in `kron_solve`.

    Returns
    -------
    array
        0-dimensional, on the device.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As in `kron_matmul`.
    """

    def with_cupy(where: str, factors: list[Any]) -> Any:
        system = _System(where, factors, noise)
        return (system.divided(None, None)[1] + system.shift).astype(system.values[0].dtype)

    return _dispatch("kron_logdet", factors, noise, None, with_cupy)


def kron_log_likelihood(factors: Sequence[Any], y: Any, noise: Any) -> Any:
    """log N(y; 0, K + noise) on the GPU, of a Gaussian process observed on a whole grid.

    Parameters
    ----------
    factors, noise
        As in `kron_solve`.
    y : array (..., n_1, ..., n_d)
        Observations, without their mean: one grid, or any batch of independent ones.

    Returns
    -------
    array (...)
        One number for each grid, on the device. Torch tensors have gradients, as `telamon.torch.kron_log_likelihood`.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As in `kron_matmul`.
    """

    def with_cupy(where: str, factors: list[Any]) -> Any:
        system = _System(where, factors, noise, y)
        b = system.rotated()
        a = kernels.empty(b, b.shape)
        sums = system.divided(b, a)
        quad = (a * b).reshape((len(b), math.prod(system.sizes))).sum(1, dtype="float64")
        value = -0.5 * (quad + (sums[1] + system.shift + math.prod(system.sizes) * math.log(2 * math.pi)))
        return value.reshape(system.batch).astype(b.dtype)

    return _dispatch("kron_log_likelihood", factors, noise, y, with_cupy)
