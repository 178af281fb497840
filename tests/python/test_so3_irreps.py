"""e3nn's irreps strings and its flattened layout, to and from telamon's."""

from __future__ import annotations

import numpy as np
import pytest
from so3_support import DTYPES, features, same_bits

from telamon import so3


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("1x0e", [(1, 0, 1)]),
        ("0e", [(1, 0, 1)]),
        ("32x0e+32x1o+32x2e", [(32, 0, 1), (32, 1, -1), (32, 2, 1)]),
        ("8x0e + 4x1o + 1e + 2x10o", [(8, 0, 1), (4, 1, -1), (1, 1, 1), (2, 10, -1)]),
    ],
)
def test_parse(text, want):
    assert [tuple(t) for t in so3.parse_irreps(text)] == want


@pytest.mark.parametrize("bad", ["", "2x1q", "x0e", "1x", "-1x0e", "3x-1o", "1x0e++1x1o", "1x0e 1x1o", "one", "1.5x0e"])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match=r"telamon\.so3\.parse_irreps: "):
        so3.parse_irreps(bad)


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_move_to_their_places(dtype):
    """e3nn: for each degree a block (mul, 2l+1), flattened; each number of the test is l, m and channel in digits."""
    blocks = [
        np.array([[100 * l + 10 * m + c for m in range(2 * l + 1)] for c in range(4)], dtype).ravel() for l in range(4)
    ]
    flat = np.concatenate(blocks)
    x = so3.from_mul_ir(flat, "4x0e+4x1o+4x2e+4x3o")
    assert x.shape == (16, 4)
    assert x.dtype == dtype
    for l in range(4):
        for m in range(2 * l + 1):
            np.testing.assert_array_equal(x[l * l + m], 100 * l + 10 * m + np.arange(4))
    assert same_bits(so3.to_mul_ir(x, "4x0e+4x1o+4x2e+4x3o"), flat)


def test_round_trip_with_leading_dimensions():
    irreps = "5x0e+5x1o+5x2e"
    x = features(0, 2, 5, (2, 3), np.float32)
    flat = so3.to_mul_ir(x, irreps)
    assert flat.shape == (2, 3, 45)
    assert same_bits(so3.from_mul_ir(flat, irreps), x)
    assert same_bits(so3.from_mul_ir(flat[::-1, :, :], irreps), x[::-1])
    assert so3.from_mul_ir(flat[:0], irreps).shape == (0, 3, 9, 5)


@pytest.mark.parametrize(
    "irreps",
    ["4x0e+3x1o", "4x1o", "4x0e+4x2e", "4x1o+4x0e", "4x0e+4x0e"],
    ids=["other multiplicity", "no degree 0", "a gap", "another order", "a degree twice"],
)
def test_what_has_no_common_channels_is_refused(irreps):
    size = sum(mul * (2 * l + 1) for mul, l, _ in so3.parse_irreps(irreps))
    with pytest.raises(ValueError, match=r"telamon\.so3\.from_mul_ir: .*irreps"):
        so3.from_mul_ir(np.zeros((2, size)), irreps)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match=r"telamon\.so3\.from_mul_ir: x .*17.*16"):
        so3.from_mul_ir(np.zeros((2, 17)), "4x0e+4x1o")
    with pytest.raises(ValueError, match=r"telamon\.so3\.to_mul_ir: x .*9.*4"):
        so3.to_mul_ir(np.zeros((2, 9, 4)), "4x0e+4x1o")
    with pytest.raises(ValueError, match=r"telamon\.so3\.to_mul_ir: x .*5.*4"):
        so3.to_mul_ir(np.zeros((2, 4, 5)), "4x0e+4x1o")
