"""Bad input to telamon.kron: TypeError for types, ValueError for shapes and ranges; the message names the function, the
argument, what came and what fits."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from kron_support import covariance

from telamon import kron
from telamon.kron import (
    Dense,
    Diagonal,
    Identity,
    KroneckerEig,
    KroneckerOperator,
    KroneckerSystem,
    Matern,
    SumOperator,
    Toeplitz,
    cg,
    dask_matmul,
    kronecker_sum,
    slq_logdet,
)

A, B = covariance(40), covariance(31)
K = KroneckerOperator([A, B])
WIDE = np.ones((2, 3))
EIG = KroneckerEig([A, B])
SYSTEM = KroneckerSystem([A, B], 0.1)
MASK = np.zeros((40, 31), bool)
MASK[0] = True
GAPS = KroneckerSystem([A, B], 0.1, MASK)
Y = np.ones((40, 31))
HOLED = np.where(MASK, np.nan, 1.0)
READ_ONLY = np.ones((40, 31))
READ_ONLY.flags.writeable = False


def changed(value, *index):
    a = A.copy()
    a[index] = value
    return a


# what is wrong: call, error, the message after "telamon.kron."
BAD = {
    # factors
    "integers": (
        lambda: Dense(np.eye(3, dtype=int)),
        TypeError,
        r"Dense: a has dtype int64; pass a.astype\(np.float64\)",
    ),
    "complex numbers": (lambda: Dense(np.eye(3) * 1j), TypeError, r"Dense: a has dtype complex128"),
    "a vector for a matrix": (lambda: Dense(np.ones(3)), ValueError, r"Dense: a has shape \(3,\); pass a matrix"),
    "an empty matrix": (lambda: Dense(np.ones((0, 3))), ValueError, r"Dense: a has shape \(0, 3\)"),
    "an empty column": (lambda: Toeplitz(np.empty(0)), ValueError, r"Toeplitz: column has shape \(0,\)"),
    "NaN in a column": (lambda: Toeplitz(np.array([1, np.nan])), ValueError, r"Toeplitz: column .* NaN"),
    "another corner": (
        lambda: Toeplitz(np.array([1.0, 2]), np.array([3.0, 2])),
        ValueError,
        r"Toeplitz: row starts with 3.0, column with 1.0; they share",
    ),
    "a matrix for a diagonal": (
        lambda: Diagonal(np.eye(2)),
        ValueError,
        r"Diagonal: d has shape \(2, 2\); pass a vector",
    ),
    "no identity": (lambda: Identity(0), ValueError, r"Identity: n is 0; pass at least 1"),
    "half an identity": (lambda: Identity(2.5), TypeError, r"Identity: n is 2.5; pass a whole number"),
    "an identity of ints": (lambda: Identity(2, np.int32), TypeError, r"Identity: dtype is int32"),
    "unsorted points": (
        lambda: Matern(np.array([0, 2, 1.0])),
        ValueError,
        r"Matern: x is not increasing; pass np.unique",
    ),
    "a point twice": (lambda: Matern(np.array([0, 1, 1.0])), ValueError, r"Matern: x is not increasing"),
    "a point that is NaN": (lambda: Matern(np.array([0, np.nan])), ValueError, r"Matern: x .* NaN"),
    "no such smoothness": (lambda: Matern(np.arange(3.0), 2), ValueError, r"Matern: nu is 2; pass 0.5, 1.5 or 2.5"),
    "no length": (lambda: Matern(np.arange(3.0), 0.5, 0.0), ValueError, r"Matern: lengthscale is 0.0; .* above 0"),
    "negative variance": (lambda: Matern(np.arange(3.0), 0.5, 1, -1), ValueError, r"Matern: variance is -1.0"),
    "a name for a length": (
        lambda: Matern(np.arange(3.0), 0.5, "a"),
        TypeError,
        r"Matern: lengthscale is 'a'; pass a num",
    ),
    "axis": (lambda: Dense(WIDE).matmul_axis(np.ones((3, 4)), 2), ValueError, r"Dense.matmul_axis: axis is 2, x has 2"),
    "length of an axis": (
        lambda: Dense(WIDE).matmul_axis(np.ones((3, 4)), 1),
        ValueError,
        r"Dense.matmul_axis: x has 4 entries along axis 1, the factor has 3 columns",
    ),
    # operators
    "no factors": (lambda: KroneckerOperator([]), ValueError, r"KroneckerOperator: factors is empty"),
    "a single matrix": (
        lambda: KroneckerOperator(A),
        TypeError,
        r"KroneckerOperator: factors is a single matrix; pass a l",
    ),
    "a number": (lambda: KroneckerOperator(3), TypeError, r"KroneckerOperator: factors is a int; pass a list"),
    "a factor of ints": (
        lambda: KroneckerOperator([A, [[1, 2]]]),
        TypeError,
        r"KroneckerOperator: factors\[1\] has dtype int",
    ),
    "a factor with three axes": (
        lambda: KroneckerOperator([A, np.ones((2, 2, 2))]),
        ValueError,
        r"KroneckerOperator: factors\[1\] has shape \(2, 2, 2\); pass a matrix, or a telamon.kron.Factor",
    ),
    "length of x": (
        lambda: K @ np.ones(1200),
        ValueError,
        r"KroneckerOperator: x has shape \(1200,\), the factors span 40\*31 = 1240; pass \(1240,\) or \(1240, R\)",
    ),
    "a grid for a vector": (lambda: K @ Y, ValueError, r"KroneckerOperator: x .*; pass .* or matmul_grid"),
    "x of ints": (lambda: K @ np.ones(1240, int), TypeError, r"KroneckerOperator: x has dtype int64"),
    "a block for a vector": (
        lambda: K.matvec(np.ones((1240, 2))),
        ValueError,
        r"KroneckerOperator.matvec: x .*use matmat",
    ),
    "a vector for a block": (lambda: K.matmat(np.ones(1240)), ValueError, r"KroneckerOperator.matmat: x .*use matvec"),
    "a vector for a grid": (
        lambda: K.matmul_grid(np.ones((2, 1240))),
        ValueError,
        r"KroneckerOperator.matmul_grid: x has shape \(2, 1240\), the factors span 40\*31 = 1240; .*\(2, 40, 31\)",
    ),
    "another grid": (
        lambda: K.matmul_grid(np.ones((31, 40))),
        ValueError,
        r"KroneckerOperator.matmul_grid: x has shape \(31, 40\), .*; pass an array \(40, 31\), or with batches",
    ),
    "out of another shape": (
        lambda: K.matmul_grid(Y, out=np.ones((2, 40, 31))),
        ValueError,
        r"KroneckerOperator.matmul_grid: out has shape \(2, 40, 31\); pass an array of shape \(40, 31\)",
    ),
    "out of another dtype": (
        lambda: K.matmul_grid(Y, out=np.ones((40, 31), "f")),
        TypeError,
        r".*: out has dtype float32",
    ),
    "out that is a list": (lambda: K.matmul_grid(Y, out=[]), TypeError, r".*: out is a list; pass a NumPy array"),
    "out that is read-only": (lambda: K.matmul_grid(Y, out=READ_ONLY), ValueError, r".*: out is read-only"),
    "out that has gaps": (
        lambda: K.matmul_grid(Y, out=np.ones((40, 62))[:, ::2]),
        ValueError,
        r".*: out .* C-contiguous",
    ),
    "diagonal of a rectangle": (
        lambda: KroneckerOperator([A, WIDE]).diagonal(),
        ValueError,
        r"KroneckerOperator.diagonal: factors\[1\] is 2x3; pass squares",
    ),
    "trace of a rectangle": (
        lambda: KroneckerOperator([WIDE]).trace(),
        ValueError,
        r"KroneckerOperator.trace: .* is 2x3",
    ),
    "operators that do not meet": (
        lambda: K @ KroneckerOperator([B, A]),
        ValueError,
        r"KroneckerOperator: the left operator takes grids \(40, 31\), the right one gives \(31, 40\)",
    ),
    "sums of different grids": (
        lambda: K + KroneckerOperator([B, A]),
        ValueError,
        r"SumOperator: terms\[1\] takes grids \(31, 40\) .*; sum operators of one grid",
    ),
    "a sum with a matrix": (lambda: SumOperator([K, A]), TypeError, r"SumOperator: terms .* wrap factors"),
    "an empty sum": (lambda: SumOperator([]), TypeError, r"SumOperator: terms"),
    "a Kronecker sum of rectangles": (
        lambda: kronecker_sum([A, WIDE]),
        ValueError,
        r"kronecker_sum: factors\[1\] is 2x3",
    ),
    # eigen-decompositions
    "a rectangle": (lambda: KroneckerEig([A, WIDE]), ValueError, r"KroneckerEig: factors\[1\] is 2x3; pass symmetric"),
    "not symmetric": (
        lambda: KroneckerEig([changed(5.0, 0, 1)]),
        ValueError,
        r"KroneckerEig: factors\[0\] is not symmetric; pass \(a \+ a.T\) / 2",
    ),
    "a factor with NaN": (
        lambda: KroneckerEig([A, changed(np.nan, 2, 2)]),
        ValueError,
        r"KroneckerEig: factors\[1\] .* NaN",
    ),
    "a factor with infinity": (
        lambda: KroneckerEig([changed(np.inf, 2, 2)]),
        ValueError,
        r"KroneckerEig: factors\[0\] .* NaN or",
    ),
    "clip": (lambda: KroneckerEig([A], clip="quiet"), ValueError, r"KroneckerEig: clip is 'quiet'; pass \"warn\", "),
    "entries of y": (
        lambda: EIG.solve(np.ones(1200), 0.1),
        ValueError,
        r"KroneckerEig.solve: y has 1200 entries, the factors span 40\*31 = 1240; pass an array \(40, 31\)",
    ),
    "y that is flat": (
        lambda: EIG.solve(np.ones(1240), 0.1),
        ValueError,
        r".*: y has 1240 entries, .* y.reshape\(40, 31\)",
    ),
    "y of ints": (lambda: EIG.solve(np.ones((40, 31), int), 0.1), TypeError, r"KroneckerEig.solve: y has dtype int64"),
    "negative noise": (lambda: EIG.solve(Y, -1), ValueError, r"KroneckerEig.solve: noise is -1.0; .* at least 0"),
    "noise that is NaN": (lambda: EIG.logdet(np.nan), ValueError, r"KroneckerEig.logdet: noise is nan"),
    "noise that is an array": (
        lambda: EIG.log_likelihood(Y, Y),
        TypeError,
        r"KroneckerEig.log_likelihood: noise is a nd",
    ),
    "singular": (
        lambda: KroneckerEig([np.zeros((2, 2))]).solve(np.ones(2)),
        ValueError,
        r"KroneckerEig.solve: noise is 0 and the smallest eigenvalue 0: .* pass more noise",
    ),
    "no function of numbers": (
        lambda: EIG.apply(lambda lam: lam.sum(axis=0), Y),
        ValueError,
        r"KroneckerEig.apply: function returns shape .*; pass one of single numbers",
    ),
    "out for solve": (lambda: EIG.solve(Y, 1, out=np.ones(3)), ValueError, r"KroneckerEig.solve: out has shape \(3,\)"),
    "shape of d": (
        lambda: EIG.with_diag(np.ones(1240)),
        ValueError,
        r"KroneckerEig.with_diag: d .*; pass an array \(40, 31\)",
    ),
    # systems
    "a mask of ints": (
        lambda: KroneckerSystem([A, B], 1, np.ones((40, 31))),
        TypeError,
        r"KroneckerSystem: mask has dtype f",
    ),
    "a mask of another shape": (
        lambda: KroneckerSystem([A, B], 1, np.ones((31, 40), bool)),
        ValueError,
        r"KroneckerSystem: mask has shape \(31, 40\), the factors span 40\*31 = 1240; pass \(40, 31\)",
    ),
    "nothing observed": (
        lambda: KroneckerSystem([A], 1, np.zeros(40, bool)),
        ValueError,
        r".*: mask is False everywhere",
    ),
    "no noise": (lambda: KroneckerSystem([A], 0.0), ValueError, r"KroneckerSystem: noise is 0.0; .* above 0"),
    "a noise grid with zero": (
        lambda: KroneckerSystem([A], np.arange(40.0)),
        ValueError,
        r".*: noise is 0.0 somewhere",
    ),
    "a noise grid with NaN": (lambda: KroneckerSystem([A, B], HOLED), ValueError, r".*: noise is not finite somewhere"),
    "a noise grid of another shape": (
        lambda: KroneckerSystem([A, B], np.ones(40)),
        ValueError,
        r"KroneckerSystem: noise has shape \(40,\), .*; pass a number, an array \(40, 31\), or a tuple",
    ),
    "a list of noises": (
        lambda: KroneckerSystem([A, B], [np.ones(40)]),
        TypeError,
        r".*: noise is a list; pass a tuple",
    ),
    "vectors of noise": (
        lambda: KroneckerSystem([A, B], (np.ones(40), np.ones(30))),
        ValueError,
        r"KroneckerSystem: noise has vectors of shapes \(40,\), \(30,\); pass one for each axis of \(40, 31\)",
    ),
    "a vector of noise with zero": (
        lambda: KroneckerSystem([A], (np.zeros(40),)),
        ValueError,
        r".*: noise is 0.0 somew",
    ),
    "an asymmetric factor": (
        lambda: KroneckerSystem([changed(5.0, 0, 1)], 1),
        ValueError,
        r"KroneckerSystem: .*not symm",
    ),
    "free eigenvalues": (
        lambda: KroneckerSystem(EIG.with_diag(Y), 1),
        TypeError,
        r".*: factors is a KroneckerDiagonal",
    ),
    "negative eigenvalues": (
        lambda: KroneckerSystem(KroneckerEig([-A], clip="none"), 1),
        ValueError,
        r"KroneckerSystem: factors have negative eigenvalues; decompose them with clip=\"warn\"",
    ),
    "y for a system": (lambda: SYSTEM.solve(np.ones(1200)), ValueError, r"KroneckerSystem.solve: y has 1200 entries, "),
    "y for a masked system": (
        lambda: GAPS.solve(np.ones(30)),
        ValueError,
        r"KroneckerSystem.solve: y has shape \(30,\), .* of which 31 are observed; pass \(40, 31\), .*or \(31,\)",
    ),
    "y with NaN": (lambda: SYSTEM.solve(HOLED), ValueError, r".*: y is NaN or infinite .*; pass mask=np.isfinite\(y\)"),
    "y with NaN where observed": (lambda: GAPS.log_likelihood(HOLED), ValueError, r".*log_likelihood: y is NaN"),
    "method": (
        lambda: SYSTEM.solve(Y, method="best"),
        ValueError,
        r".*: method is 'best'; pass one of 'auto', 'exact', 'cg'",
    ),
    "rtol": (lambda: SYSTEM.solve(Y, rtol=-1), ValueError, r"KroneckerSystem.solve: rtol is -1.0"),
    "maxiter": (
        lambda: SYSTEM.solve(Y, maxiter=1.5),
        TypeError,
        r"KroneckerSystem.solve: maxiter is 1.5; pass a whole",
    ),
    # iterations
    "shape of b": (
        lambda: cg(A, np.ones((40, 1, 1))),
        ValueError,
        r"cg: b has shape \(40, 1, 1\); pass \(N,\) or \(N, R\)",
    ),
    "b with NaN": (lambda: cg(A, np.full(40, np.nan)), ValueError, r"cg: b has entries that are NaN"),
    "operator's shape": (
        lambda: cg(A, np.ones(31)),
        ValueError,
        r"cg: operator has shape \(40, 40\), .* shape \(31, 31\)",
    ),
    "preconditioner's shape": (
        lambda: cg(A, A, preconditioner=B),
        ValueError,
        r"cg: preconditioner has shape \(31, 31\)",
    ),
    "no operator": (
        lambda: cg("A", np.ones(3)),
        TypeError,
        r"cg: operator is a str; pass an operator with @, or a function",
    ),
    "operator's result": (
        lambda: cg(lambda x: x[:2], np.ones(3)),
        ValueError,
        r"cg: operator returns \(2,\) of \(3,\)",
    ),
    "x0": (lambda: cg(A, np.ones(40), x0=np.ones((40, 1))), ValueError, r"cg: x0 has shape \(40, 1\), b \(40,\)"),
    "probes": (lambda: slq_logdet(A, 40, probes=1), ValueError, r"slq_logdet: probes is 1; pass at least 2"),
    "steps": (lambda: slq_logdet(A, 40, steps=0), ValueError, r"slq_logdet: steps is 0; pass at least 1"),
    "n": (lambda: slq_logdet(A, 31), ValueError, r"slq_logdet: matvec has shape \(40, 40\); pass .* \(31, 31\)"),
    "no matvec": (lambda: slq_logdet(3, 31), TypeError, r"slq_logdet: matvec is a int"),
    "matvec's result": (
        lambda: slq_logdet(lambda x: x[:2], 5),
        ValueError,
        r"slq_logdet: matvec returns shape \(2, 16\)",
    ),
    "an indefinite matrix": (
        lambda: slq_logdet(-A, 40),
        ValueError,
        r"slq_logdet: the operator is not positive definite",
    ),
    # dask
    "no dask array": (
        lambda: dask_matmul([A, B], Y),
        TypeError,
        r"dask_matmul: x is a ndarray; pass a dask array, or use",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, message = BAD[name]
    if name == "no dask array":
        pytest.importorskip("dask")
    with pytest.raises(error, match=r"^telamon\.kron\." + message):
        call()


def test_bad_dask_arrays():
    da = pytest.importorskip("dask.array")
    told = r"^telamon\.kron\.dask_matmul: x has shape \(31, 40\), the factors span 40\*31 = 1240; pass \(..., 40, 31\)"
    with pytest.raises(ValueError, match=told):
        dask_matmul([A, B], da.ones((31, 40)))
    with pytest.raises(TypeError, match=r"^telamon\.kron\.dask_matmul: x has dtype int64"):
        dask_matmul([A], da.ones(40, dtype=int))


def test_dask_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"dask is not installed; pip install 'dask\[array\]'"):
        dask_matmul([A], Y)


def test_not_positive_definite_to_rounding():
    smooth = covariance(60, "rbf", 0.5)
    with pytest.raises(
        ValueError, match=r"^telamon\.kron\.KroneckerSystem: .* not positive definite to rounding; pass more"
    ):
        KroneckerSystem([smooth], 1e-20, np.arange(60) > 5).solve(np.ones(60))
    line = Matern(np.arange(40) * 1e-9, 2.5)
    with pytest.raises(
        ValueError, match=r"^telamon\.kron\.KroneckerSystem: .* not positive definite to rounding; pass more"
    ):
        KroneckerSystem([line], 1e-30).solve(np.ones(40))


def test_the_package_needs_numpy_alone():
    import subprocess

    code = "import sys, telamon.kron; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"scipy", "dask", "torch", "jax", "sklearn"} & set(loaded)


def test_docstring_examples_hold():
    import doctest
    import importlib
    import math

    pytest.importorskip("dask")
    tried = 0
    for name in ("_operator", "_eig", "_cg", "_slq", "_system", "_dask"):
        module = importlib.import_module(f"telamon.kron.{name}")
        names = {**vars(kron), "np": np, "math": math}
        failed, attempted = doctest.testmod(module, extraglobs=names)
        assert not failed
        tried += attempted
    assert tried >= 20
