"""Bad input to telamon.so3: TypeError for types, ValueError for shapes and ranges; the message names the function, the
argument, what came and what fits."""

from __future__ import annotations

import numpy as np
import pytest
from so3_support import features

from telamon import so3

X, Y = features(0, 2, 4), features(1, 3, 4)  # (3, 9, 4), (3, 16, 4)
R = np.eye(3)[[1, 0, 2]] * [1.0, 2.0, 3.0]
EDGES = {"senders": np.array([0, 2, 1]), "receivers": np.array([1, 1, 0]), "num_receivers": 2}
ROTATION = np.eye(3)


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


def replaced(**changes):
    return {**EDGES, **changes}


def read_only(*shape):
    out = zeros(*shape)
    out.flags.writeable = False
    return out


def product(*args, **options):
    return lambda: so3.gaunt_product(*args, **options)


def power(*args, **options):
    return lambda: so3.gaunt_power(*args, **options)


def monomial(*args, **options):
    return lambda: so3.gaunt_monomial(*args, **options)


def conv(*args, **options):
    return lambda: so3.gaunt_conv(*args, **options)


# what is wrong: call, error, the message after "telamon.so3."
BAD = {
    # components and degrees
    "x no square": (product(zeros(3, 10, 4), Y), ValueError, r"gaunt_product: x .*10.*square.*\(lmax\+1\)\^2"),
    "y no square": (product(X, zeros(3, 15, 4)), ValueError, r"gaunt_product: y .*15.*square"),
    "no components": (product(zeros(3, 0, 4), Y), ValueError, r"gaunt_product: x .*0 components"),
    "no square, channels first": (
        product(zeros(3, 4, 10), zeros(3, 4, 9), layout="channels_first"),
        ValueError,
        r"gaunt_product: x .*10.*square",
    ),
    "the wrong layout": (product(X, Y, layout="channels_first"), ValueError, r"gaunt_product: (x|y) "),
    "lmax_out too large": (product(X, Y, 6), ValueError, r"gaunt_product: lmax_out .*6.*5"),
    "lmax_out negative": (product(X, Y, -1), ValueError, r"gaunt_product: lmax_out .*-1"),
    "lmax_out a float": (product(X, Y, 2.0), TypeError, r"gaunt_product: lmax_out .*float"),
    "lmax_out a bool": (product(X, Y, True), TypeError, r"gaunt_product: lmax_out .*bool"),
    # shapes
    "leading dimensions": (product(X, zeros(2, 16, 4)), ValueError, r"gaunt_product: .*\(3,.*\(2,"),
    "channels": (product(X, zeros(3, 16, 5)), ValueError, r"gaunt_product: .*4.*5"),
    "one dimension": (product(zeros(9), Y), ValueError, r"gaunt_product: x .*\(9,\)"),
    # types
    "integers": (product(X.astype(int), Y), TypeError, r"gaunt_product: x .*int64.*float"),
    "complex numbers": (product(X, Y * 1j), TypeError, r"gaunt_product: y .*complex128.*float"),
    "half precision": (product(X.astype(np.float16), Y), TypeError, r"gaunt_product: x .*float16.*float"),
    "booleans": (product(X > 0, Y), TypeError, r"gaunt_product: x .*bool.*float"),
    "objects": (product(X, Y.astype(object)), TypeError, r"gaunt_product: y .*object.*float"),
    "text": (product("x", Y), TypeError, r"gaunt_product: x "),
    "nothing": (product(X, None), TypeError, r"gaunt_product: y "),
    # words
    "parity": (product(X, Y, parity="odd"), ValueError, r"gaunt_product: parity .*'odd'.*'even'.*'complete'"),
    "group": (product(X, Y, group="O(3)"), ValueError, r"gaunt_product: group .*'O\(3\)'.*'O3'.*'SO3'"),
    "normalization": (
        product(X, Y, normalization="norms"),
        ValueError,
        r"gaunt_product: normalization .*'norms'.*'norm'",
    ),
    "layout": (product(X, Y, layout="first"), ValueError, r"gaunt_product: layout .*'first'.*'channels_first'"),
    "method": (product(X, Y, method="fft"), ValueError, r"gaunt_product: method .*'fft'.*'fourier'"),
    "the Fourier form has no odd paths": (
        product(X, Y, method="fourier", parity="complete"),
        ValueError,
        r"gaunt_product: .*fourier.*odd.*grid",
    ),
    # weights
    "one weight": (product(X, Y, weights=zeros(3)), (TypeError, ValueError), r"gaunt_product: weights"),
    "two weights": (product(X, Y, weights=(None, None)), ValueError, r"gaunt_product: weights .*2.*3"),
    "weights of other degrees": (
        product(X, Y, weights=(zeros(3), zeros(3), None)),
        ValueError,
        r"gaunt_product: weights\[1\] .*\(3,\).*\(4,",
    ),
    "weights of other channels": (
        product(X, Y, weights=(zeros(3, 5), None, None)),
        ValueError,
        r"gaunt_product: weights\[0\] .*\(3, 5\).*\(3, 4\)",
    ),
    "ranks differ": (
        product(X, Y, weights=(zeros(2, 3, 4), zeros(3, 4, 4), None)),
        ValueError,
        r"gaunt_product: weights.*2.*3",
    ),
    "weights of four dimensions": (
        product(X, Y, weights=(None, None, zeros(1, 1, 4, 4))),
        ValueError,
        r"gaunt_product: weights\[2\] .*\(1, 1, 4, 4\)",
    ),
    "integer weights": (
        product(X, Y, weights=(np.ones(3, int), None, None)),
        TypeError,
        r"gaunt_product: weights\[0\] .*int64.*float",
    ),
    # out
    "out of another shape": (
        product(X, Y, out=zeros(3, 9, 4)),
        ValueError,
        r"gaunt_product: out .*\(3, 9, 4\).*\(3, 16, 4\)",
    ),
    "out of integers": (
        product(X, Y, out=zeros(3, 16, 4, dtype=np.int64)),
        TypeError,
        r"gaunt_product: out .*int64.*float64",
    ),
    "out a list": (product(X, Y, out=[[0.0]]), TypeError, r"gaunt_product: out .*list"),
    "out read-only": (product(X, Y, out=read_only(3, 16, 4)), ValueError, r"gaunt_product: out .*read-only"),
    "one out for two": (
        product(X, Y, parity="complete", out=zeros(3, 16, 4)),
        (TypeError, ValueError),
        r"gaunt_product: out .*pair",
    ),
    "two outs for one": (
        product(X, Y, out=(zeros(3, 16, 4), zeros(3, 16, 4))),
        (TypeError, ValueError),
        r"gaunt_product: out ",
    ),
    # powers and monomials
    "power zero": (power(X, 0), ValueError, r"gaunt_power: n .*0.*1"),
    "power a float": (power(X, 2.0), TypeError, r"gaunt_power: n .*float"),
    "lmax_out above the power's": (power(X, 3, 7), ValueError, r"gaunt_power: lmax_out .*7.*6"),
    "base no square": (power(zeros(3, 8, 4), 2), ValueError, r"gaunt_power: x .*8.*square"),
    "integer base": (power(X.astype(int), 2), TypeError, r"gaunt_power: x .*int64"),
    "out of a power": (power(X, 2, out=zeros(3, 16, 4)), ValueError, r"gaunt_power: out .*\(3, 16, 4\).*\(3, 9, 4\)"),
    "no factors": (monomial([], []), ValueError, r"gaunt_monomial: .*0 factors"),
    "fewer powers": (monomial([X, Y], [1]), ValueError, r"gaunt_monomial: .*1 powers.*2 factors"),
    "a negative power": (monomial([X, Y], [1, -1]), ValueError, r"gaunt_monomial: .*power.*-1"),
    "a factor no square": (
        monomial([X, zeros(3, 5, 4)], [1, 1]),
        ValueError,
        r"gaunt_monomial: factors\[1\] .*5.*square",
    ),
    "an integer factor": (monomial([X, Y.astype(int)], [1, 1]), TypeError, r"gaunt_monomial: factors\[1\] .*int64"),
    "factors of other channels": (monomial([X, zeros(3, 9, 5)], [1, 1]), ValueError, r"gaunt_monomial: .*4.*5"),
    "factors of other batches": (monomial([X, zeros(2, 9, 4)], [1, 1]), ValueError, r"gaunt_monomial: .*\(3,.*\(2,"),
    "lmax_out of a monomial": (monomial([X, Y], [2, 1], 8), ValueError, r"gaunt_monomial: lmax_out .*8.*7"),
    # convolutions
    "a zero direction": (
        conv(X, R * [[1.0], [0.0], [1.0]], lmax_filter=2, **EDGES),
        ValueError,
        r"gaunt_conv: directions\[1\] .*zero",
    ),
    "directions of two numbers": (
        conv(X, zeros(3, 2), lmax_filter=2),
        ValueError,
        r"gaunt_conv: directions .*\(3, 2\).*3",
    ),
    "integer directions": (conv(X, R.astype(int), lmax_filter=2), TypeError, r"gaunt_conv: directions .*int64"),
    "filters that disagree": (conv(X, R, zeros(3, 4), lmax_filter=2), ValueError, r"gaunt_conv: .*lmax_filter .*2.*3"),
    "a negative filter degree": (conv(X, R, lmax_filter=-1), ValueError, r"gaunt_conv: lmax_filter .*-1"),
    "weights of other edges": (conv(X, R, zeros(2, 3)), ValueError, r"gaunt_conv: filter_weights .*\(2, 3\).*\(3,"),
    "filters of other channels": (
        conv(X, R, zeros(3, 3, 5)),
        ValueError,
        r"gaunt_conv: filter_weights .*\(3, 3, 5\).*4",
    ),
    "integer filters": (conv(X, R, np.ones((3, 3), int)), TypeError, r"gaunt_conv: filter_weights .*int64"),
    "lmax_out of a convolution": (conv(X, R, lmax_filter=2, lmax_out=5), ValueError, r"gaunt_conv: lmax_out .*5.*4"),
    "features of other edges": (conv(X[:2], R, lmax_filter=2), ValueError, r"gaunt_conv: .*2.*3"),
    "senders of other edges": (
        conv(X, R, lmax_filter=2, **replaced(senders=np.array([0, 1]))),
        ValueError,
        r"gaunt_conv: senders .*2.*3",
    ),
    "a sender too many": (
        conv(X, R, lmax_filter=2, **replaced(senders=np.array([0, 3, 1]))),
        ValueError,
        r"gaunt_conv: senders .*3",
    ),
    "a negative sender": (
        conv(X, R, lmax_filter=2, **replaced(senders=np.array([0, -1, 1]))),
        ValueError,
        r"gaunt_conv: senders .*-1",
    ),
    "fractional senders": (
        conv(X, R, lmax_filter=2, **replaced(senders=np.array([0.0, 2.0, 1.0]))),
        TypeError,
        r"gaunt_conv: senders .*float64",
    ),
    "a receiver too many": (
        conv(X, R, lmax_filter=2, **replaced(receivers=np.array([1, 2, 0]))),
        ValueError,
        r"gaunt_conv: receivers .*2",
    ),
    "receivers of other edges": (
        conv(X, R, lmax_filter=2, **replaced(receivers=np.array([[1, 1, 0]]))),
        ValueError,
        r"gaunt_conv: receivers .*\(1, 3\)",
    ),
    "negative number of receivers": (
        conv(X, R, lmax_filter=2, **replaced(num_receivers=-1)),
        ValueError,
        r"gaunt_conv: num_receivers .*-1",
    ),
    "out of a convolution": (
        conv(X, R, lmax_filter=2, out=zeros(3, 9, 4), **EDGES),
        ValueError,
        r"gaunt_conv: out .*\(3, 9, 4\).*\(2, 9, 4\)",
    ),
    # coefficients, harmonics, rotations
    "negative degree": (lambda: so3.gaunt_coefficients(1, -1, 2), ValueError, r"gaunt_coefficients: l2 .*-1"),
    "degree a float": (lambda: so3.gaunt_coefficients(1, 1, 2.0), TypeError, r"gaunt_coefficients: l3 .*float"),
    "harmonics of negative degree": (
        lambda: so3.spherical_harmonics(-1, R),
        ValueError,
        r"spherical_harmonics: l .*-1",
    ),
    "harmonics of a word": (lambda: so3.spherical_harmonics("2", R), TypeError, r"spherical_harmonics: l .*str"),
    "no degrees": (lambda: so3.spherical_harmonics([], R), ValueError, r"spherical_harmonics: l .*empty"),
    "harmonics of pairs": (
        lambda: so3.spherical_harmonics(2, zeros(4, 2)),
        ValueError,
        r"spherical_harmonics: r .*\(4, 2\)",
    ),
    "harmonics of integers": (
        lambda: so3.spherical_harmonics(2, np.ones((4, 3), int)),
        TypeError,
        r"spherical_harmonics: r .*int64",
    ),
    "harmonics of no normalization": (
        lambda: so3.spherical_harmonics(2, R, True, "sphere"),
        ValueError,
        r"spherical_harmonics: normalization .*'sphere'",
    ),
    "gradients of pairs": (
        lambda: so3.spherical_harmonics_grad(2, zeros(4, 2)),
        ValueError,
        r"spherical_harmonics_grad: r .*\(4, 2\)",
    ),
    "not a matrix": (lambda: so3.wigner_D(2, zeros(3)), ValueError, r"wigner_D: R .*\(3,\).*\(\.\.\., 3, 3\)"),
    "D of negative degree": (lambda: so3.wigner_D(-2, ROTATION), ValueError, r"wigner_D: l .*-2"),
    "D of integers": (lambda: so3.wigner_D(2, np.eye(3, dtype=int)), TypeError, r"wigner_D: R .*int64"),
    "not orthogonal": (lambda: so3.wigner_D(2, 2 * ROTATION), ValueError, r"wigner_D: R .*orthogonal"),
    "rotation not orthogonal": (lambda: so3.rotate(X, np.ones((3, 3))), ValueError, r"rotate: R .*orthogonal"),
    "rotations of other batches": (
        lambda: so3.rotate(X, np.broadcast_to(ROTATION, (2, 3, 3))),
        ValueError,
        r"rotate: .*\(3,.*\(2,",
    ),
    "rotated no square": (lambda: so3.rotate(zeros(3, 10, 4), ROTATION), ValueError, r"rotate: x .*10.*square"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused(what):
    call, error, message = BAD[what]
    with pytest.raises(error, match=r"(?s)^telamon\.so3\." + message):
        call()


def test_nothing_is_written_before_the_refusal():
    out = np.full((3, 9, 4), 7.0)
    directions = R.copy()
    directions[2] = 0
    with pytest.raises(ValueError, match="directions"):
        so3.gaunt_conv(X, directions, lmax_filter=2, out=out)
    assert (out == 7).all()
