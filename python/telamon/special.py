"""Logarithms, ratios and derivatives of modified Bessel functions, as NumPy ufuncs."""

from telamon._core import (
    iv_ratio,
    iv_ratio_c,
    iv_ratioinv,
    kv_ratio,
    log_iv,
    log_iv_dv,
    log_iv_dx,
    log_iv_dxx,
    log_ive,
    log_kv,
    log_kv_dv,
    log_kv_dx,
    log_kv_dxx,
    log_kve,
)

__all__ = [
    "iv_ratio",
    "iv_ratio_c",
    "iv_ratioinv",
    "kv_ratio",
    "log_iv",
    "log_iv_dv",
    "log_iv_dx",
    "log_iv_dxx",
    "log_ive",
    "log_kv",
    "log_kv_dv",
    "log_kv_dx",
    "log_kv_dxx",
    "log_kve",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
