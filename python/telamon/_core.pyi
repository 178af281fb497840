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
