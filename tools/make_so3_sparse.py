"""Write csrc/include/telamon/so3/sparse_kernels.hpp: straight-line products by the nonzero Gaunt coefficients.

Run it where telamon is installed with python-flint: ``python tools/make_so3_sparse.py > csrc/include/...``. The
coefficients are exact (telamon.reference), rounded once when they are printed. Each kernel goes through the outputs
by their order m, so that the few sums of one m stay in registers, and takes x_i y_j + x_j y_i once for all of them.
"""

from __future__ import annotations

import math
from collections import defaultdict

from telamon.reference import so3 as reference

LMAX = {"even": 4, "odd": 5}  # beyond, parallels are faster

HEAD = """// Written by tools/make_so3_sparse.py. Products of equal degrees, straight from the nonzero
// coefficients: even ones symmetric in x and y, odd ones antisymmetric. x(k) and y(k) give component k, out(k, z) takes
// the result; "component" normalisation.
// clang-format off
#pragma once

#include <telamon/core/config.hpp>

namespace telamon::so3::detail {
"""


def entries(lmax: int, odd: bool) -> dict[tuple[int, int, int], float]:
    """{(i, j, k): coefficient} of all degrees up to lmax, zeros left out."""
    tensor = reference.coupling_tensor(lmax, lmax, lmax, odd)
    return {(int(i), int(j), int(k)): float(tensor[i, j, k]) for i, j, k in zip(*tensor.nonzero(), strict=True)}


def order_of(k: int) -> int:
    l = math.isqrt(k)
    return k - l * l - l


def kernel(lmax: int, odd: bool) -> str:
    name = f"{'odd' if odd else 'even'}_product_{lmax}"
    lines = [
        "template <class T, class X, class Y, class Out>",
        f"TELAMON_HD TELAMON_INLINE void {name}(X x, Y y, Out out) noexcept {{",
        "  using V = decltype(x(0) * y(0));",
        "  V p;",
    ]
    groups: dict[int, dict[tuple[int, int], list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for (i, j, k), value in entries(lmax, odd).items():
        if i <= j:
            groups[order_of(k)][i, j].append((k, value))
    for m in sorted(groups):
        outputs = sorted({k for terms in groups[m].values() for k, _ in terms})
        started: set[int] = set()
        for (i, j), terms in sorted(groups[m].items()):
            both = f"x({i}) * y({i})" if i == j else f"x({i}) * y({j}) {'-' if odd else '+'} x({j}) * y({i})"
            sums = []
            for k, value in sorted(terms):
                term = "p" if value == 1 else f"T({value!r}) * p"
                sums.append(f"z{k} += {term};" if k in started else f"V z{k} = {term};")
                started.add(k)
            lines.append(f"  p = {both}; {' '.join(sums)}")
        lines.extend(f"  out({k}, z{k});" for k in outputs)
    never = set(range((lmax + 1) ** 2)) - {k for g in groups.values() for terms in g.values() for k, _ in terms}
    lines.extend(f"  out({k}, V{{}});" for k in sorted(never))
    return "\n".join([*lines, "}", ""])


def dispatch() -> str:
    limits = ", ".join(f"straight_{parity}_until = {highest}" for parity, highest in LMAX.items())
    lines = [
        f"inline constexpr int {limits};",
        "",
        "// The product of degrees up to L, by the kernel above that it has.",
        "template <int L, bool Odd, class T, class X, class Y, class Out>",
        "TELAMON_HD TELAMON_INLINE void straight_product(X x, Y y, Out out) noexcept {",
        "  static_assert(1 <= L && L <= (Odd ? straight_odd_until : straight_even_until));",
    ]
    for parity, highest in LMAX.items():
        for lmax in range(1, highest + 1):
            chosen = f"L == {lmax} && {'' if parity == 'odd' else '!'}Odd"
            lines.append(f"  if constexpr ({chosen}) {parity}_product_{lmax}<T>(x, y, out);")
    return "\n".join([*lines, "}", ""])


def main() -> None:
    print(HEAD)
    for parity, highest in LMAX.items():
        for lmax in range(1, highest + 1):
            print(kernel(lmax, parity == "odd"))
    print(dispatch())
    print("}  // namespace telamon::so3::detail")


if __name__ == "__main__":
    main()
