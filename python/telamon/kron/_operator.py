"""Kronecker products and their sums as linear operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._apply import apply
from ._check import FloatArray, as_float, as_grid, as_output, contiguous, product_text
from ._factors import Dense, Diagonal, Factor, Identity, as_factors
from ._structured import Matern

__all__ = ["KroneckerOperator", "Operator", "SumOperator", "kronecker_sum"]


class Operator:
    """What Kronecker products and sums of them share: SciPy's LinearOperator protocol, on vectors, blocks and grids.

    Attributes
    ----------
    shape : tuple of int
        (M, N).
    dtype : numpy.dtype
    grid_in, grid_out : tuple of int
        (n_1, ..., n_d) and (m_1, ..., m_d), whose products are N and M.
    T, H : Operator
        The transpose. Entries are real, so both are the same.
    """

    __array_ufunc__ = None  # so that array @ operator and array * operator come to this class

    dtype: np.dtype[Any]
    grid_in: tuple[int, ...]
    grid_out: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return math.prod(self.grid_out), math.prod(self.grid_in)

    @property
    def ndim(self) -> int:
        return 2

    @property
    def T(self) -> Operator:
        raise NotImplementedError

    @property
    def H(self) -> Operator:
        return self.T

    def transpose(self) -> Operator:
        return self.T

    def adjoint(self) -> Operator:
        return self.T

    def diagonal(self) -> FloatArray:
        """The diagonal, a vector; of square factors."""
        raise NotImplementedError

    def trace(self) -> float:
        """The sum of the diagonal; of square factors."""
        return float(self.diagonal().sum(dtype=np.float64))

    def toarray(self) -> FloatArray:
        """The operator as a matrix (M, N)."""
        raise NotImplementedError

    def _apply(self, x: FloatArray, out: FloatArray | None) -> FloatArray:
        """(B, n_1, ..., n_d, R) -> (B, m_1, ..., m_d, R)."""
        raise NotImplementedError

    def matvec(self, x: ArrayLike) -> FloatArray:
        """The product with a vector (N,), or a column (N, 1), in the same form."""
        where = f"{self._where}.matvec"
        array = self._rows(where, x)
        if array.ndim == 2 and array.shape[1] != 1:
            raise ValueError(f"{where}: x has shape {array.shape}; pass a vector, or use matmat")
        return self._flat(array)

    def matmat(self, x: ArrayLike) -> FloatArray:
        """The product with a block (N, R) of vectors."""
        where = f"{self._where}.matmat"
        array = self._rows(where, x)
        if array.ndim != 2:
            raise ValueError(f"{where}: x has shape {array.shape}; pass a matrix (N, R), or use matvec")
        return self._flat(array)

    def rmatvec(self, x: ArrayLike) -> FloatArray:
        """The transpose's product with a vector (M,)."""
        return self.T.matvec(x)

    def rmatmat(self, x: ArrayLike) -> FloatArray:
        """The transpose's product with a block (M, R) of vectors."""
        return self.T.matmat(x)

    def dot(self, x: Any) -> Any:
        """`self @ x`; times a number, `self * x`."""
        return self * x if np.isscalar(x) else self @ x

    def matmul_grid(self, x: ArrayLike, out: FloatArray | None = None) -> FloatArray:
        """The product with grids.

        Parameters
        ----------
        x : array_like (..., n_1, ..., n_d) of float32 or float64
            Batches in front.
        out : numpy.ndarray (..., m_1, ..., m_d), optional
            C-contiguous; written and returned. It may overlap x.

        Returns
        -------
        numpy.ndarray (..., m_1, ..., m_d)
            In the wider of the dtypes of x and the operator.
        """
        where = f"{self._where}.matmul_grid"
        array = as_grid(where, "x", x, self.grid_in)
        dtype = np.result_type(array, self.dtype)
        lead = array.shape[: array.ndim - len(self.grid_in)]
        result = as_output(where, out, (*lead, *self.grid_out), dtype)
        flat = contiguous(array, dtype).reshape(math.prod(lead), *self.grid_in, 1)
        if flat.size and out is not None and np.may_share_memory(flat, out):
            flat = flat.copy()
        if result.size:
            self._apply(flat, result.reshape(math.prod(lead), *self.grid_out, 1))
        return result

    @property
    def _where(self) -> str:
        return f"telamon.kron.{type(self).__name__}"

    def _rows(self, where: str, x: ArrayLike) -> FloatArray:
        array = as_float(where, "x", x)
        if array.ndim not in (1, 2) or array.shape[0] != self.shape[1]:
            hint = " or matmul_grid for an array of grids" if array.shape[-len(self.grid_in) :] == self.grid_in else ""
            raise ValueError(
                f"{where}: x has shape {array.shape}, the factors span {product_text(self.grid_in)}; pass "
                f"({self.shape[1]},) or ({self.shape[1]}, R){hint}"
            )
        return array

    def _flat(self, array: FloatArray) -> FloatArray:
        dtype = np.result_type(array, self.dtype)
        columns = array.shape[1:]
        if array.size == 0:
            return np.empty((self.shape[0], *columns), dtype)
        grid = contiguous(array, dtype).reshape(1, *self.grid_in, math.prod(columns))
        return self._apply(grid, None).reshape(self.shape[0], *columns)

    def __matmul__(self, x: Any) -> Any:
        if isinstance(x, Operator):
            return NotImplemented
        return self._flat(self._rows(self._where, x))

    def __rmatmul__(self, x: Any) -> Any:
        """x @ K = (K' x')'."""
        array = as_float(self._where, "x", x)
        return self.T._flat(self.T._rows(self._where, array.T)).T

    def __add__(self, other: Any) -> SumOperator:
        if not isinstance(other, Operator):
            return NotImplemented
        return SumOperator([*_terms(self), *_terms(other)])

    def __sub__(self, other: Any) -> SumOperator:
        if not isinstance(other, Operator):
            return NotImplemented
        return self + -other

    def __neg__(self) -> Operator:
        return self * -1.0

    def _scaled(self, scale: float) -> Operator:
        raise NotImplementedError

    def __mul__(self, scale: Any) -> Operator:
        if isinstance(scale, Operator) or not np.isscalar(scale) or isinstance(scale, str | bytes | complex):
            return NotImplemented
        return self._scaled(float(scale))

    __rmul__ = __mul__

    def __truediv__(self, scale: Any) -> Operator:
        return self * (1 / scale) if np.isscalar(scale) else NotImplemented  # type: ignore[operator]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shape[0]}x{self.shape[1]}, {self.dtype}>"


class KroneckerOperator(Operator):
    """The Kronecker product of matrices as a linear operator, never formed.

    .. math:: K = A_1 \\otimes \\dots \\otimes A_d, \\qquad (K x)_{i_1 \\dots i_d} = \\sum A_{1, i_1 j_1} \\cdots
              A_{d, i_d j_d}\\, x_{j_1 \\dots j_d}

    A product costs 2 N (n_1 + ... + n_d) operations for square factors, as matrix products along each axis; rectangular
    ones go in the cheapest order. Vectors are grids in C order, the last axis fastest, as `numpy.kron` has them.
    SciPy's `aslinearoperator` and iterative solvers accept the operator as it is.

    Parameters
    ----------
    factors : list of array_like (m_i, n_i) or Factor
        Matrices of float32 or float64, or `Dense`, `Toeplitz`, `Diagonal`, `Identity`, `Matern`.

    Raises
    ------
    TypeError, ValueError
        If a factor is no matrix of float32 or float64.

    Examples
    --------
    >>> a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> K = KroneckerOperator([a, b])
    >>> K @ np.array([1.0, 2.0, 3.0, 4.0])
    array([10.,  7., 22., 15.])
    >>> bool(np.all(K.toarray() == np.kron(a, b)))
    True
    """

    def __init__(self, factors: Any) -> None:
        self.factors = as_factors("telamon.kron.KroneckerOperator", factors)
        self.dtype = np.result_type(*(f.dtype for f in self.factors))
        self.grid_out = tuple(f.shape[0] for f in self.factors)
        self.grid_in = tuple(f.shape[1] for f in self.factors)

    @property
    def T(self) -> KroneckerOperator:
        return KroneckerOperator([f.T for f in self.factors])

    def _apply(self, x: FloatArray, out: FloatArray | None) -> FloatArray:
        return apply(self.factors, x, out)

    def diagonal(self) -> FloatArray:
        self._require_square("diagonal")
        result = self.factors[0].diagonal()
        for factor in self.factors[1:]:
            result = np.multiply.outer(result, factor.diagonal()).reshape(-1)
        return np.array(result, self.dtype)

    def trace(self) -> float:
        self._require_square("trace")
        return math.prod(float(f.diagonal().sum(dtype=np.float64)) for f in self.factors)

    def toarray(self) -> FloatArray:
        result = self.factors[0].toarray()
        for factor in self.factors[1:]:
            result = np.kron(result, factor.toarray())
        return np.array(result, self.dtype)

    def _require_square(self, what: str) -> None:
        for i, factor in enumerate(self.factors):
            if factor.shape[0] != factor.shape[1]:
                raise ValueError(
                    f"{self._where}.{what}: factors[{i}] is {factor.shape[0]}x{factor.shape[1]}; pass squares"
                )

    def _scaled(self, scale: float) -> KroneckerOperator:
        """One factor carries the number: the smallest, and one that keeps its form if there is such."""
        cost = [(isinstance(f, Identity | Matern) and scale != 1, f.shape[0] * f.shape[1]) for f in self.factors]
        chosen = min(range(len(cost)), key=cost.__getitem__)
        return KroneckerOperator([f.scaled(scale) if i == chosen else f for i, f in enumerate(self.factors)])

    def __matmul__(self, x: Any) -> Any:
        """Of two Kronecker products whose factors fit, the Kronecker product of the factors' products."""
        if not isinstance(x, KroneckerOperator):
            return super().__matmul__(x)
        if self.grid_in != x.grid_out:
            raise ValueError(
                f"{self._where}: the left operator takes grids {self.grid_in}, the right one gives {x.grid_out}; "
                "apply one after the other"
            )
        return KroneckerOperator([_product(a, b) for a, b in zip(self.factors, x.factors, strict=True)])


class SumOperator(Operator):
    """The sum of operators on one grid, as `A + B` makes it.

    Parameters
    ----------
    terms : list of Operator
        Of one grid_in and grid_out.

    Examples
    --------
    >>> eye, a = Identity(2), np.array([[2.0, -1.0], [-1.0, 2.0]])
    >>> laplacian = KroneckerOperator([a, eye]) + KroneckerOperator([eye, a])
    >>> laplacian @ np.ones(4)
    array([2., 2., 2., 2.])
    """

    def __init__(self, terms: Any) -> None:
        self.terms = tuple(terms)
        if not self.terms or not all(isinstance(term, Operator) for term in self.terms):
            raise TypeError(
                f"{self._where}: terms are not all operators of telamon.kron; wrap factors in KroneckerOperator"
            )
        first = self.terms[0]
        self.grid_in, self.grid_out = first.grid_in, first.grid_out
        for i, term in enumerate(self.terms):
            if (term.grid_in, term.grid_out) != (self.grid_in, self.grid_out):
                raise ValueError(
                    f"{self._where}: terms[{i}] takes grids {term.grid_in} to {term.grid_out}, terms[0] {self.grid_in} "
                    f"to {self.grid_out}; sum operators of one grid"
                )
        self.dtype = np.result_type(*(term.dtype for term in self.terms))

    @property
    def T(self) -> SumOperator:
        return SumOperator([term.T for term in self.terms])

    def _apply(self, x: FloatArray, out: FloatArray | None) -> FloatArray:
        result: FloatArray = self.terms[0]._apply(x, out)
        for term in self.terms[1:]:
            result += term._apply(x, None)
        return result

    def diagonal(self) -> FloatArray:
        result: FloatArray = sum(term.diagonal() for term in self.terms)
        return result

    def trace(self) -> float:
        return math.fsum(term.trace() for term in self.terms)

    def toarray(self) -> FloatArray:
        result: FloatArray = sum(term.toarray() for term in self.terms)
        return result

    def _scaled(self, scale: float) -> SumOperator:
        return SumOperator([term._scaled(scale) for term in self.terms])


def kronecker_sum(factors: Any) -> SumOperator:
    """The sum of matrices that act on one axis each, such as a Laplacian.

    .. math:: A_1 \\otimes I \\otimes \\dots \\otimes I + \\dots + I \\otimes \\dots \\otimes I \\otimes A_d

    Parameters
    ----------
    factors : list of array_like (n_i, n_i) or Factor

    Returns
    -------
    SumOperator
    """
    where = "telamon.kron.kronecker_sum"
    listed = as_factors(where, factors)
    for i, factor in enumerate(listed):
        if factor.shape[0] != factor.shape[1]:
            raise ValueError(f"{where}: factors[{i}] is {factor.shape[0]}x{factor.shape[1]}; pass squares")
    eyes = [Identity(f.shape[0]) for f in listed]
    return SumOperator([KroneckerOperator([*eyes[:i], f, *eyes[i + 1 :]]) for i, f in enumerate(listed)])


def _terms(operator: Operator) -> tuple[Operator, ...]:
    return operator.terms if isinstance(operator, SumOperator) else (operator,)


def _product(a: Factor, b: Factor) -> Factor:
    if isinstance(a, Identity):
        return b
    if isinstance(b, Identity):
        return a
    if isinstance(a, Diagonal) and isinstance(b, Diagonal):
        return Diagonal(a.d * b.d)
    return Dense(a.toarray() @ b.toarray())
