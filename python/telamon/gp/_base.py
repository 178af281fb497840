"""What all kernels of one axis share: hyperparameters, matrices of derivatives, and their gradients. Internal."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from . import _axes
from ._axes import Array

MAX_ORDER = 4
_BLOCK = 1 << 22


class Kernel:
    r"""A covariance k(x, y) of one axis, with derivatives in x, y and its hyperparameters.

    Hyperparameters are constructor arguments. The free ones make up `theta`, by which `GridGP` optimises: positive ones
    enter as their natural logarithm, the others as they are.

    Parameters
    ----------
    fixed : sequence of str
        Names of hyperparameters that stay as they are.
    limits : mapping of str to pair of float, optional
        Lowest and highest value of a hyperparameter, in its own units. Without, `GridGP` chooses from the data.

    Notes
    -----
    ``k1 + k2``, ``k1 * k2`` and ``2.0 * k`` are kernels. Everything is computed in float64.
    """

    #: Hyperparameters in the order of theta, and those of them which enter theta as they are.
    _parameters: ClassVar[tuple[str, ...]] = ()
    _linear: ClassVar[frozenset[str]] = frozenset()
    fixed: Sequence[str]
    limits: Mapping[str, tuple[float, float]] | None

    # ---- hyperparameters

    def _check(self) -> None:
        """Called by every constructor. Arguments are stored as given, so that scikit-learn's clone takes them."""
        if isinstance(self.fixed, str):
            raise ValueError(f"'fixed' must be a sequence of names, got {self.fixed!r}; pass ({self.fixed!r},).")
        for name in (*self.fixed, *(self.limits or {})):
            if name not in self._parameters:
                raise ValueError(f"{type(self).__name__} has no hyperparameter {name!r}; it has {self._parameters}.")
        for name in self._parameters:
            value = self._value(name)
            if name not in self._linear and not (value > 0).all():
                raise ValueError(f"'{name}' must be positive, got {getattr(self, name)!r}.")
            low, high = self._limits(name)
            if not low < high or (name not in self._linear and not high > 0):
                raise ValueError(f"limits of '{name}' must increase and reach above 0, got {(low, high)}.")

    def _limits(self, name: str) -> tuple[float, float]:
        low, high = (self.limits or {}).get(name, (-math.inf, math.inf))
        return float(low), float(high)

    def _value(self, name: str) -> Array:
        try:
            value = np.asarray(getattr(self, name), dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"'{name}' must be a real number, got {getattr(self, name)!r}.") from None
        if value.ndim or np.isnan(value):
            raise ValueError(f"'{name}' must be a real number, got {getattr(self, name)!r}.")
        return value.reshape(1)

    def _free(self) -> list[str]:
        return [name for name in self._parameters if name not in self.fixed]

    @property
    def theta(self) -> Array:
        """Free hyperparameters, positive ones as logarithms."""
        parts = [self._value(n) if n in self._linear else np.log(self._value(n)) for n in self._free()]
        return np.concatenate([np.zeros(0), *parts])

    @property
    def names(self) -> list[str]:
        """What the entries of theta are: ``lengthscale``, ``weights[3]``, ``k1__variance``."""
        out = []
        for name in self._free():
            value = self._value(name)
            scalar = np.ndim(getattr(self, name)) == 0
            out += [name] if scalar else [f"{name}[{i}]" for i in range(value.size)]
        return out

    @property
    def bounds(self) -> Array:
        """Lower and upper bounds of theta from `limits`, shape (p, 2); infinite where none were given."""
        rows = []
        for name in self._free():
            low, high = self._limits(name)
            if name not in self._linear:
                low, high = (math.log(v) if v > 0 else -math.inf for v in (low, high))
            rows += [[low, high]] * self._value(name).size
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    @property
    def logarithmic(self) -> Array:
        """Which entries of theta are logarithms, shape (p,)."""
        flags = [[name not in self._linear] * self._value(name).size for name in self._free()]
        return np.array([flag for part in flags for flag in part], dtype=bool)

    def with_theta(self, theta: ArrayLike) -> Any:
        """The same kernel with other free hyperparameters."""
        theta = np.asarray(theta, dtype=np.float64)
        if theta.shape != self.theta.shape:
            raise ValueError(f"'theta' must have shape {self.theta.shape} for {self.names}, got {theta.shape}.")
        values, start = {}, 0
        for name in self._free():
            part = theta[start : start + self._value(name).size]
            start += part.size
            part = part if name in self._linear else np.exp(part)
            values[name] = float(part[0]) if np.ndim(getattr(self, name)) == 0 else part.copy()
        return type(self)(**{**self.get_params(deep=False), **values})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments; with `deep`, those of the kernels inside too, as ``k1__lengthscale``."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        params = {name: getattr(self, name) for name in names}
        if deep:
            for name, value in list(params.items()):
                if isinstance(value, Kernel):
                    params.update({f"{name}__{key}": inner for key, inner in value.get_params().items()})
        return params

    def set_params(self, **params: Any) -> Any:
        """Set constructor arguments; returns self."""
        known = self.get_params()
        nested: dict[str, dict[str, Any]] = {}
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"Invalid parameter {name!r} of {type(self).__name__}; valid are {sorted(known)}.")
            head, _, tail = name.partition("__")
            if tail:
                nested.setdefault(head, {})[tail] = value
            else:
                setattr(self, name, value)
        for head, inner in nested.items():
            getattr(self, head).set_params(**inner)
        self._check()
        return self

    def clone(self) -> Any:
        """A copy that shares nothing with this kernel."""
        params = {k: v.clone() if isinstance(v, Kernel) else v for k, v in self.get_params(deep=False).items()}
        return type(self)(**params)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        parts = []
        for name, value in self.get_params(deep=False).items():
            value = value.tolist() if isinstance(value, np.ndarray) else value
            value = value.item() if isinstance(value, np.generic) else value
            if name in self._parameters or isinstance(value, Kernel) or value != defaults[name].default:
                parts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __add__(self, other: Any) -> Any:
        from ._compose import Sum, as_kernel

        return Sum(self, as_kernel(other)) if isinstance(other, (Kernel, int, float)) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        from ._compose import Product, as_kernel

        return Product(as_kernel(other), self) if isinstance(other, (int, float)) else self._times(other)

    def _times(self, other: Any) -> Any:
        from ._compose import Product

        return Product(self, other) if isinstance(other, Kernel) else NotImplemented

    __radd__, __rmul__ = __add__, __mul__

    # ---- what subclasses provide

    @property
    def stationary(self) -> bool:
        """Whether k(x, y) depends on x - y alone, so that `profile` exists."""
        return True

    @property
    def smoothness(self) -> float:
        """The highest dx + dy for which the derivative exists; inf for smooth kernels."""
        return math.inf

    def max_frequency(self) -> float | None:
        """The frequency, in cycles per unit of x, up to which the kernel has most of its power; None if it has none."""
        return None

    def _profile(self, d: Array, order: int) -> Array:
        raise NotImplementedError

    def _profile_gradient(self, d: Array, order: int) -> list[Array]:
        """For each free hyperparameter, an array of shape (size,) + d.shape."""
        raise NotImplementedError

    def _matrix(self, x: Array, y: Array, dx: int, dy: int) -> Array:
        raise NotImplementedError

    def _matrix_gradient(self, x: Array, y: Array, dx: int, dy: int) -> list[Array]:
        raise NotImplementedError

    # ---- values and derivatives

    def _order(self, *orders: int) -> int:
        for order in orders:
            if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 0:
                raise ValueError(f"orders of derivatives must be integers >= 0, got {order!r}.")
        total = int(sum(orders))
        if total > MAX_ORDER:
            raise ValueError(f"derivatives go to order {MAX_ORDER} in total, got {' + '.join(map(str, orders))}.")
        if total > self.smoothness:
            raise ValueError(
                f"{self!r} has derivatives up to order {self.smoothness:g}, got {' + '.join(map(str, orders))}; "
                f"take a smoother kernel."
            )
        return total

    def profile(self, d: ArrayLike, order: int = 0) -> Array:
        """k^(order)(d) of a stationary kernel at differences d = x - y of any shape."""
        self._order(order)
        self._require_stationary()
        return np.asarray(self._profile(np.asarray(d, dtype=np.float64), order))

    def profile_gradient(self, d: ArrayLike, order: int = 0) -> Array:
        """The derivative of `profile` in theta, shape (p,) + d.shape."""
        self._order(order)
        self._require_stationary()
        d = np.asarray(d, dtype=np.float64)
        return np.concatenate([np.zeros((0, *d.shape)), *self._profile_gradient(d, order)])

    def _require_stationary(self) -> None:
        if not self.stationary:
            raise ValueError(f"{self!r} is not stationary, so it has no profile; use derivative and gradient.")

    def __call__(self, x: ArrayLike, y: ArrayLike | None = None) -> Array:
        """The covariance matrix k(x_i, y_j), shape (n, m); y is x by default."""
        return self.derivative(x, y)

    def diag(self, x: ArrayLike, dx: int = 0) -> Array:
        """d^dx/dx^dx d^dx/dy^dx k(x, y) at y = x: the prior variance of the dx-th derivative, shape (n,)."""
        self._order(dx, dx)
        x = _axes.points(x, "x")
        if self.stationary:
            return np.full(x.size, (-1) ** dx * self._profile(np.zeros(1), 2 * dx)[0])
        return np.array([self._matrix(p, p, dx, dx)[0, 0] for p in x[:, None]])

    def derivative(self, x: ArrayLike, y: ArrayLike | None = None, dx: int = 0, dy: int = 0) -> Array:
        """d^dx/dx^dx d^dy/dy^dy k at all pairs of x and y, shape (n, m), for dx + dy <= 4."""
        order = self._order(dx, dy)
        same = y is None
        x = _axes.points(x, "x")
        y = x if y is None else _axes.points(y, "y")
        if not self.stationary:
            return np.asarray(self._matrix(x, y, dx, dy))
        sign = (-1.0) ** dy
        lags = _axes.lags(x, y)
        if lags is not None:
            return _axes.toeplitz(sign * self._profile(lags, order), x.size, y.size)
        if not same:
            return np.asarray(sign * self._profile(np.subtract.outer(x, y), order))
        upper = np.triu_indices(x.size)  # the other half by k^(m)(-d) = (-1)^m k^(m)(d)
        out = np.empty((x.size, x.size))
        out[upper] = sign * self._profile(x[upper[0]] - x[upper[1]], order)
        out.T[upper] = (-1.0) ** order * out[upper]
        return out

    def gradient(self, x: ArrayLike, y: ArrayLike | None = None, dx: int = 0, dy: int = 0) -> Array:
        """The derivative of `derivative` in theta, shape (p, n, m)."""
        order = self._order(dx, dy)
        x = _axes.points(x, "x")
        y = x if y is None else _axes.points(y, "y")
        empty = np.zeros((0, x.size, y.size))
        if not self.stationary:
            return np.concatenate([empty, *self._matrix_gradient(x, y, dx, dy)])
        lags = _axes.lags(x, y)
        if lags is not None:
            return _axes.toeplitz((-1.0) ** dy * self.profile_gradient(lags, order), x.size, y.size)
        return (-1.0) ** dy * self.profile_gradient(np.subtract.outer(x, y), order)

    def contract(self, weights: ArrayLike, x: ArrayLike, y: ArrayLike | None = None, dx: int = 0, dy: int = 0) -> Array:
        """The sums ``sum_ij weights_ij gradient_pij``, shape (p,), in little memory.

        For a stationary kernel on evenly spaced points this takes n + m - 1 evaluations instead of n m.
        """
        order, same = self._order(dx, dy), y is None
        x = _axes.points(x, "x")
        y = x if y is None else _axes.points(y, "y")
        weights = np.asarray(weights, dtype=np.float64)
        if weights.shape != (x.size, y.size):
            raise ValueError(f"'weights' must have shape {(x.size, y.size)}, got {weights.shape}.")
        count = self.theta.size
        lags = _axes.lags(x, y) if self.stationary else None
        if lags is not None:
            return np.asarray((-1.0) ** dy * self.profile_gradient(lags, order) @ _axes.diagonal_sums(weights))
        total = np.zeros(count)
        if same and self.stationary:
            i, j = np.triu_indices(x.size)
            pairs = weights[i, j] + np.where(i == j, 0.0, (-1.0) ** order * weights[j, i])
            size = max(1, _BLOCK // max(1, count))
            for start in range(0, i.size, size):
                some = slice(start, start + size)
                total += self.profile_gradient(x[i[some]] - x[j[some]], order) @ pairs[some]
            return (-1.0) ** dy * total
        rows = max(1, _BLOCK // max(1, count * y.size))
        for start in range(0, x.size, rows):
            block = slice(start, start + rows)
            part = self.gradient(x[block], y, dx, dy).reshape(count, -1)
            total += part @ weights[block].reshape(-1)
        return total
