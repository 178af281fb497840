from collections.abc import Sequence
from typing import Any

import numpy as np

__version__: str

def build_info() -> dict[str, Any]: ...
def available_isas() -> list[str]: ...
def active_isa() -> str: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...

# Two inputs, one output, loops "ff->f" and "dd->d".
log_iv: np.ufunc
log_kv: np.ufunc
log_ive: np.ufunc
log_kve: np.ufunc
iv_ratio: np.ufunc
iv_ratio_c: np.ufunc
iv_ratioinv: np.ufunc
kv_ratio: np.ufunc
log_iv_dv: np.ufunc
log_iv_dx: np.ufunc
log_iv_dxx: np.ufunc
log_kv_dv: np.ufunc
log_kv_dx: np.ufunc
log_kv_dxx: np.ufunc

# Two inputs, three outputs: the value and its derivatives in v and x; the second derivatives in vv, vx and xx.
log_iv_grad: np.ufunc
log_kv_grad: np.ufunc
log_ive_grad: np.ufunc
log_kve_grad: np.ufunc
log_iv_hess: np.ufunc
log_kv_hess: np.ufunc
log_ive_hess: np.ufunc
log_kve_hess: np.ufunc

# telamon.so3: arrays of float32 or float64, all of one dtype, of any strides; the results are written into `out`.
def so3_product(
    x: np.ndarray,
    y: np.ndarray,
    out: np.ndarray,
    out_odd: np.ndarray | None,
    kind: str,
    method: str,
    accumulate: bool = False,
    w1: np.ndarray | None = None,
    w2: np.ndarray | None = None,
    w3: np.ndarray | None = None,
) -> None: ...
def so3_product_at(  # addresses and strides: (x, y, out), each (address, components, steps in elements)
    is_double: bool,
    kind: str,
    method: str,
    samples: int,
    channels: int,
    products: Sequence[tuple[tuple[int, ...], ...]],  # three of five numbers
) -> None: ...
def so3_monomial(
    factors: Sequence[np.ndarray], powers: Sequence[int], out: np.ndarray, accumulate: bool = False
) -> None: ...
def so3_conv(
    x: np.ndarray,
    directions: np.ndarray,
    w: np.ndarray,
    out: np.ndarray,
    senders: np.ndarray | None,
    receivers: np.ndarray | None,
) -> None: ...
def so3_coefficients(
    l1: int, l2: int, l3: int, kind: str = "even"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]: ...
def so3_harmonics(r: np.ndarray, out: np.ndarray, normalize: bool = False) -> None: ...
def so3_wigner(R: np.ndarray, out: np.ndarray, l: int) -> None: ...
def so3_rotate(R: np.ndarray, x: np.ndarray, out: np.ndarray, transposed: bool = False) -> None: ...

# telamon.kron: contiguous arrays of float32 or float64, all of one dtype; the results are written into `out` and the
# like. x: (batch, n_1, ..., n_d, columns).
def kron_matmul(factors: Sequence[np.ndarray | None], x: np.ndarray, out: np.ndarray) -> None: ...
def kron_gram(
    x: np.ndarray, y: np.ndarray | None, scales: Sequence[np.ndarray] | None, axis: int, out: np.ndarray
) -> None: ...
def kron_spectral(
    values: Sequence[np.ndarray],
    noise: float,
    b: np.ndarray | None = None,
    out: np.ndarray | None = None,
    weights: Sequence[np.ndarray] | None = None,
) -> tuple[float, float, float]: ...
def kron_eigh(a: np.ndarray, w: np.ndarray, q: np.ndarray) -> None: ...
def kron_eigh_toeplitz(column: np.ndarray, w: np.ndarray, q: np.ndarray) -> None: ...
def kron_statespace_matmul(
    transitions: np.ndarray, cov: np.ndarray, h: np.ndarray, x: np.ndarray, out: np.ndarray
) -> None: ...
def kron_statespace_factor(
    transitions: np.ndarray, cov: np.ndarray, h: np.ndarray, noise: np.ndarray, d: np.ndarray, w: np.ndarray
) -> None: ...
def kron_statespace_solve(
    transitions: np.ndarray,
    h: np.ndarray,
    d: np.ndarray,
    w: np.ndarray,
    x: np.ndarray,
    out: np.ndarray,
    part: str = "full",
) -> None: ...

# telamon.quant: contiguous arrays; weights (rows, inputs) and codebooks (rows, levels) of float32, codes (rows, inputs)
# of uint8, h and u (inputs, inputs) of float64; the results are written into what follows the inputs.
def quant_nearest(weights: np.ndarray, codebooks: np.ndarray, codes: np.ndarray) -> None: ...
def quant_kmeans(
    weights: np.ndarray, importance: np.ndarray | None, codebooks: np.ndarray, codes: np.ndarray
) -> None: ...
def quant_gptq(
    weights: np.ndarray, u: np.ndarray, order: np.ndarray, codebooks: np.ndarray, codes: np.ndarray
) -> None: ...
def quant_lnq(
    weights: np.ndarray,
    h: np.ndarray,
    codebooks: np.ndarray,
    codes: np.ndarray,
    iterations: int,
    cycles: int,
    half: bool,
    trace: np.ndarray,
    objectives: np.ndarray,
) -> None: ...
def quant_objective(
    weights: np.ndarray, h: np.ndarray, codebooks: np.ndarray, codes: np.ndarray, objectives: np.ndarray
) -> None: ...
def quant_pack(codes: np.ndarray, bits: int, packed: np.ndarray) -> None: ...
def quant_unpack(packed: np.ndarray, bits: int, codes: np.ndarray) -> None: ...
def quant_dequantize(packed: np.ndarray, bits: int, codebooks: np.ndarray, group: int, out: np.ndarray) -> None: ...
def quant_matmul(
    packed: np.ndarray,
    bits: int,
    codebooks: np.ndarray,
    group: int,
    x: np.ndarray,
    out: np.ndarray,
    precision: str = "exact",
) -> None: ...
def quant_fwht(x: np.ndarray, scale: float = 1.0) -> None: ...
