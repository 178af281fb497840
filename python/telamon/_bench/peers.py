"""The other implementations of log I_v(x) and log K_v(x), each as it is best used.

A peer is a dict of functions ``f(v, x, out)`` on contiguous float64 arrays, with its version. A peer that is not
installed is left out, with a line that says so.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .machine import version_of

Array = NDArray[Any]
Function = Callable[[Array, Array, Array], object]
COMPILED = ("boost", "gsl", "libstdcxx")
NAMES = ("scipy", *COMPILED, "tfp")


@dataclass(frozen=True)
class Peer:
    """One library. ``float32`` says whether it takes float32 arrays too; ``max_n`` bounds an array where sizes cost."""

    name: str
    version: str
    how: str
    functions: Mapping[str, Function] = field(repr=False)
    float32: bool = False
    max_n: int = 1 << 16


def _say(message: str) -> None:
    print(f"telamon bench: {message}", file=sys.stderr)


def scipy() -> Peer | None:
    """SciPy: the logarithm of the scaled functions, in place, as its own documentation suggests."""
    try:
        from scipy import special
    except ImportError:
        _say("no SciPy to compare with; pip install scipy")
        return None

    def log_iv(v: Array, x: Array, out: Array) -> None:
        special.ive(v, x, out=out)
        np.log(out, out=out)
        np.add(out, x, out=out)

    def log_kv(v: Array, x: Array, out: Array) -> None:
        special.kve(v, x, out=out)
        np.log(out, out=out)
        np.subtract(out, x, out=out)

    def iv_ratio(v: Array, x: Array, out: Array) -> None:
        special.ive(v, x, out=out)
        np.divide(out, special.ive(v - 1, x), out=out)

    functions = {"log_iv": log_iv, "log_kv": log_kv, "iv_ratio": iv_ratio}
    return Peer("SciPy", version_of("scipy") or "?", "log(ive) + x, log(kve) - x", functions, float32=True)


def tfp() -> Peer | None:
    """TensorFlow Probability on JAX, jitted, in double precision; compiles for a while, so on request only."""
    try:
        jax: Any = importlib.import_module("jax")
        tfm: Any = importlib.import_module("tensorflow_probability.substrates.jax.math")
    except ImportError:
        _say("no TFP to compare with; pip install tfp-nightly jax")
        return None
    jax.config.update("jax_enable_x64", True)
    log_i = jax.jit(lambda v, x: tfm.log_bessel_ive(v, x) + x)
    log_k = jax.jit(lambda v, x: tfm.log_bessel_kve(v, x) - x)

    def wrap(f: Callable[[Array, Array], Any]) -> Function:
        def call(v: Array, x: Array, out: Array) -> None:
            out[...] = f(v, x)

        return call

    version = version_of("tensorflow-probability") or version_of("tfp-nightly") or "?"
    functions = {"log_iv": wrap(log_i), "log_kv": wrap(log_k)}
    # Every further size is compiled anew, for ten seconds.
    return Peer("TFP on JAX", version, "log_bessel_ive + x, jitted", functions, max_n=2048)


# ---------------------------------------------------------------------------------------------------------------------
# C++ libraries, through peers_special.cpp


def _cache_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "telamon" / "bench"


def _compile() -> Path | None:
    """Build peers_special.cpp once per source and compiler; return the shared library, or None with a reason said."""
    source = Path(__file__).with_name("peers_special.cpp")
    compiler = os.environ.get("CXX") or next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
    if compiler is None:
        _say("no C++ compiler, so no Boost, GSL or libstdc++ to compare with")
        return None
    banner = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    key = hashlib.sha256(source.read_bytes() + banner.encode()).hexdigest()[:16]
    library = _cache_folder() / f"peers-{key}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    _say("compiling the C++ peers, once (about ten seconds)")
    # With GSL's headers but no GSL to link, the second attempt goes without.
    for extra in (["-lgsl", "-lgslcblas"], ["-DTELAMON_BENCH_NO_GSL"]):
        handle, temporary = tempfile.mkstemp(suffix=".so", dir=library.parent)
        os.close(handle)
        command = [compiler, "-O3", "-std=c++17", "-shared", "-fPIC", str(source), "-o", temporary, *extra]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            os.replace(temporary, library)
            return library
        os.unlink(temporary)
    _say(f"the C++ peers do not compile, so they are left out:\n{done.stderr.strip()[-400:]}")
    return None


def compiled(names: Iterable[str]) -> list[Peer]:
    """Boost.Math, GSL and libstdc++, where the compiler finds them."""
    path = _compile()
    if path is None:
        return []
    library = ctypes.CDLL(str(path))
    titles = {"boost": "Boost", "gsl": "GSL", "libstdcxx": "libstdc++"}
    how = {
        "boost": "log(cyl_bessel_i), no promotion",
        "gsl": "log(Inu_scaled) + x, lnKnu",
        "libstdcxx": "log(std::cyl_bessel_i)",
    }
    peers = []
    for name in names:
        version = getattr(library, f"telamon_bench_{name}_version")
        version.restype = ctypes.c_char_p
        if (found := version()) is None:
            _say(f"{titles[name]} was not found by the compiler")
            continue
        functions = {f: _wrap(getattr(library, f"telamon_bench_{name}_{f}")) for f in ("log_iv", "log_kv")}
        peers.append(Peer(titles[name], found.decode().replace("_", "."), how[name], functions))
    return peers


def _wrap(c_function: Any) -> Function:
    c_function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    c_function.restype = None

    def call(v: Array, x: Array, out: Array) -> None:
        c_function(v.ctypes.data, x.ctypes.data, out.ctypes.data, out.size)

    return call


def load(names: Iterable[str]) -> list[Peer]:
    """Return the peers in ``names`` that are there, in the order of NAMES."""
    wanted = {n for n in names if n}
    if unknown := wanted.difference(NAMES):
        raise SystemExit(f"telamon bench: no peer is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    peers: list[Peer | None] = []
    if "scipy" in wanted:
        peers.append(scipy())
    if in_cxx := [n for n in COMPILED if n in wanted]:
        peers += compiled(in_cxx)
    if "tfp" in wanted:
        peers.append(tfp())
    return [p for p in peers if p is not None]


def returning(f: Function) -> Callable[[Array, Array], Array]:
    """Return ``f`` in the form ``f(v, x) -> out``, for arrays of any layout."""

    def call(v: Array, x: Array) -> Array:
        v, x = np.ascontiguousarray(v), np.ascontiguousarray(x)
        out = np.empty_like(v)
        f(v, x, out)
        return out

    return call
