"""(K_1 + .. + K_d + c)^-1 for matrices that act on one axis each, and GMRES. Internal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ._domain import Array

_WELL = 1e6  #: condition of the eigenvectors up to which an axis is diagonalised; two digits are left after refinement


def along(matrix: Array, tensor: Array, axis: int) -> Array:
    """The matrix applied along an axis of a tensor, without a transpose."""
    shape = tensor.shape
    left = int(np.prod(shape[:axis], dtype=np.int64))
    right = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    if right == 1:
        out = tensor.reshape(left, shape[axis]) @ matrix.T
    else:
        out = matrix @ tensor.reshape(left, shape[axis], right)
    return np.asarray(out.reshape(*shape[:axis], matrix.shape[0], *shape[axis + 1 :]))


def along_all(matrices: Sequence[Array | None], tensor: Array) -> Array:
    """A matrix for each axis, None for the identity; those that shrink the tensor most come first."""
    order = sorted(
        (i for i, m in enumerate(matrices) if m is not None),
        key=lambda i: matrices[i].shape[0] / matrices[i].shape[1],  # type: ignore[union-attr]
    )
    for axis in order:
        matrix = matrices[axis]
        assert matrix is not None
        tensor = along(matrix, tensor, axis)
    return tensor


class KroneckerSumInverse:
    """Solves ``sum_i K_i Z + c Z = R`` for square matrices K_i, R a tensor.

    Axes with well-conditioned eigenvectors are diagonalised, so that they cost a division; the others, such as time,
    are brought to Schur form and solved by back substitution, which is backward stable for any matrix.
    """

    def __init__(self, matrices: Sequence[Array]) -> None:
        self._forward: list[Array] = []
        self._backward: list[Array] = []
        self._diagonal: dict[int, Array] = {}
        self._triangular: dict[int, Array] = {}
        done: dict[int, tuple[Array, Array, Array]] = {}
        for axis, matrix in enumerate(matrices):
            if id(matrix) not in done:
                done[id(matrix)] = _decompose(matrix)
            forward, middle, backward = done[id(matrix)]
            self._forward.append(forward)
            self._backward.append(backward)
            (self._diagonal if middle.ndim == 1 else self._triangular)[axis] = middle
        self.shape = tuple(len(m) for m in matrices)

    def solve(self, right: Array, shift: float = 0.0) -> Array:
        """Z for the right-hand side, of the same shape."""
        schur, diagonal = sorted(self._triangular), sorted(self._diagonal)
        tensor = along_all(self._forward, right)
        total = np.asarray(shift, dtype=tensor.dtype)
        for axis in diagonal:
            total = total[..., None] + self._diagonal[axis]
        order = [*schur, *diagonal]
        solved = _substitute([self._triangular[i] for i in schur], tensor.transpose(order), total)
        return np.ascontiguousarray(along_all(self._backward, solved.transpose(np.argsort(order))).real)


def _decompose(matrix: Array) -> tuple[Array, Array, Array]:
    """(forward, middle, backward) with ``matrix = backward middle forward``, middle a vector or upper triangular."""
    values, vectors = np.linalg.eig(matrix)
    try:
        inverse = np.linalg.inv(vectors)
        if np.linalg.norm(vectors) * np.linalg.norm(inverse) <= _WELL * len(matrix):
            return inverse, values, vectors
    except np.linalg.LinAlgError:
        pass
    try:
        from scipy.linalg import schur
    except ImportError:
        raise ImportError("telamon.pde needs SciPy for axes of time or flow; pip install 'telamon[gp]'") from None
    triangle, vectors = schur(matrix, output="complex")
    return vectors.conj().T, triangle, vectors


def _substitute(triangles: list[Array], right: Array, shift: Array) -> Array:
    """Back substitution along the first axes, one for each triangle; the others are diagonal, with sums in shift."""
    if not triangles:
        return np.asarray(right / shift)
    triangle, rest = triangles[0], triangles[1:]
    if not rest and shift.ndim == 0:
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(triangle + shift * np.eye(len(triangle)), right, check_finite=False))
    out = np.empty(right.shape, np.result_type(right, triangle, shift))
    for i in reversed(range(len(triangle))):
        known = np.tensordot(triangle[i, i + 1 :], out[i + 1 :], 1)
        out[i] = _substitute(rest, right[i] - known, shift + triangle[i, i])
    return out


def gmres(
    operator: Callable[[Array], Array],
    preconditioner: Callable[[Array], Array],
    right: Array,
    rtol: float,
    max_iterations: int = 60,
) -> tuple[Array, int]:
    """x with ``operator(x) = right``, by GMRES preconditioned from the right, and the number of iterations."""
    norm = float(np.linalg.norm(right))
    if norm == 0.0:
        return np.zeros_like(right), 0
    basis = [right.reshape(-1) / norm]
    images: list[Array] = []
    h = np.zeros((max_iterations + 1, max_iterations))
    y: Array = np.zeros(0)
    for k in range(max_iterations):
        images.append(preconditioner(basis[k].reshape(right.shape)))
        w = operator(images[k]).reshape(-1)
        for _ in range(2):  # twice is enough to stay orthogonal
            for j, v in enumerate(basis):
                dot = float(v @ w)
                h[j, k] += dot
                w = w - dot * v
        h[k + 1, k] = np.linalg.norm(w)
        target = np.zeros(k + 2)
        target[0] = norm
        y = np.linalg.lstsq(h[: k + 2, : k + 1], target, rcond=None)[0]
        misfit = float(np.linalg.norm(h[: k + 2, : k + 1] @ y - target))
        if misfit <= rtol * norm or h[k + 1, k] <= 1e-15 * norm:
            break
        basis.append(w / h[k + 1, k])
    return np.asarray(sum(c * image for c, image in zip(y, images, strict=True))), len(images)
