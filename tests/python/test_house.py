"""The house: one version, a light import, the instruction sets, ufuncs that behave, headers that others can use."""

import doctest
import os
import pickle
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import telamon
from telamon import _core, _info, special

ROOT = Path(__file__).parents[2]
CONSUMER = ROOT / "tests" / "cmake_consumer"
UFUNCS = [getattr(special, name) for name in special.__all__]


def run_python(code, **environment):
    """Run code in a fresh interpreter; its output, or the error's."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr


@pytest.fixture
def restore_isa():
    before = telamon.active_isa()
    yield
    telamon.set_isa(before)


# ---- version and import


def test_there_is_one_version():
    text = (ROOT / "CMakeLists.txt").read_text()
    written = re.search(r"project\(telamon VERSION ([0-9.]+)", text)[1]
    assert written == telamon.__version__ == metadata.version("telamon") == _core.build_info()["version"]


def test_import_brings_in_nothing_but_numpy():
    code = "import sys, numpy; before = set(sys.modules); import telamon; print(*(set(sys.modules) - before))"
    loaded = run_python(code).split()
    assert "telamon" in loaded
    heavy = {"scipy", "torch", "jax", "sklearn", "matplotlib", "dask", "threadpoolctl", "cupy"}
    assert not heavy & {name.partition(".")[0] for name in loaded}
    assert not {"telamon.special", "telamon.stats", "telamon.torch", "telamon.jax"} & set(loaded)


def test_submodules_come_when_first_used():
    assert run_python("import telamon; print(telamon.special.__name__)") == "telamon.special"
    assert set(telamon.__all__) <= set(dir(telamon))
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        telamon.nonesuch  # noqa: B018


# ---- instruction sets


def test_baseline_is_available_and_the_best_is_chosen():
    assert telamon.available_isas()[0] == "baseline"
    assert run_python("import telamon; print(telamon.active_isa())", TELAMON_ISA="") == telamon.available_isas()[-1]


@pytest.mark.parametrize("isa", telamon.available_isas())
def test_isa_is_chosen_by_call_and_by_environment(isa, restore_isa):
    telamon.set_isa(isa)
    assert telamon.active_isa() == isa
    assert run_python("import telamon; print(telamon.active_isa())", TELAMON_ISA=isa) == isa


def test_unknown_isa_is_refused(restore_isa):
    with pytest.raises(ValueError, match=r"avx9000.*baseline"):
        telamon.set_isa("avx9000")
    assert re.search(
        "ImportError: TELAMON_ISA .*avx9000.*baseline", run_python("import telamon", TELAMON_ISA="avx9000")
    )


# ---- ufuncs


@pytest.mark.parametrize("ufunc", UFUNCS, ids=special.__all__)
def test_ufunc_has_its_loops_name_and_docstring(ufunc):
    assert (ufunc.nin, ufunc.nout, ufunc.types) == (2, 1, ["ff->f", "dd->d"])
    assert getattr(special, ufunc.__name__) is ufunc
    assert ufunc.__module__ == "telamon.special"
    for section in ("Parameters", "Returns", "Notes"):
        assert f"{section}\n{'-' * len(section)}" in ufunc.__doc__


@pytest.mark.parametrize("ufunc", UFUNCS, ids=special.__all__)
def test_docstring_example_holds(ufunc):
    # doctest looks for functions and classes only, so it would pass over ufuncs.
    example = doctest.DocTestParser().get_doctest(ufunc.__doc__, {}, ufunc.__name__, None, 0)
    assert doctest.DocTestRunner().run(example) == (0, 2)


@pytest.mark.parametrize("ufunc", UFUNCS, ids=special.__all__)
def test_ufunc_pickles_under_its_public_name(ufunc):
    data = pickle.dumps(ufunc)
    assert b"telamon.special" in data
    assert pickle.loads(data) is ufunc


def test_one_list_names_the_functions():
    listed = re.findall(
        r"^TELAMON_SPECIAL_BINARY\((\w+)\)",
        (_info.INCLUDE_DIR / "telamon" / "special" / "functions.inc").read_text(),
        flags=re.M,
    )
    assert sorted(listed) == sorted(special.__all__)


@pytest.mark.parametrize("name", ["log_iv", "log_kv", "log_ive", "log_kve"])
def test_several_derivatives_in_one_pass(name):
    v, x = np.ogrid[1:4:3j, 1:9:4j]
    for suffix in ("grad", "hess"):
        ufunc = getattr(_core, f"{name}_{suffix}")
        assert (ufunc.nin, ufunc.nout, ufunc.types) == (2, 3, ["ff->fff", "dd->ddd"])
        outputs = ufunc(v, x)
        assert [output.shape for output in outputs] == [(3, 4)] * 3
        assert np.all(np.isfinite(outputs))


def test_loops_accept_what_numpy_hands_them():
    rng = np.random.default_rng(1)
    v, x = rng.uniform(0.5, 50, (2, 40_000))
    want = special.log_iv(v, x)
    assert np.array_equal(special.log_iv(v[::-3], x[::-3]), want[::-3])
    assert np.array_equal(special.log_iv(v.reshape(4, 100, 100).T, x.reshape(4, 100, 100).T).T.ravel(), want)
    assert special.log_iv(np.empty((0, 3)), 1.0).shape == (0, 3)
    assert special.log_iv(1, 2).dtype == np.float64
    assert special.log_iv(np.float32(1), 2).dtype == np.float32
    where = rng.random(v.size) < 0.5
    assert np.array_equal(special.log_iv(v, x, out=np.zeros_like(v), where=where), np.where(where, want, 0))
    for operand in (v, x):
        out = operand.copy()
        arguments = (out, x) if operand is v else (v, out)
        assert np.array_equal(special.log_iv(*arguments, out=out), want)
    buffer = np.concatenate([v[:1], v])
    special.log_iv(buffer[:-1], x, out=buffer[1:])  # overlaps, shifted by one
    assert np.array_equal(buffer[1:], special.log_iv(np.concatenate([v[:1], v[:-1]]), x))


def test_accumulate_walks_in_order():
    # Each element needs the one before: neither a block nor a second thread may run ahead.
    x = np.linspace(1, 3, 20_000)
    got = special.log_kv.accumulate(x)
    assert np.array_equal(got[1:], special.log_kv(got[:-1], x[1:]), equal_nan=True)
    assert special.log_kv.reduce(x) == got[-1]


def test_no_floating_point_warnings():
    odd = [0.0, -0.0, -1.0, -0.5, 1e-30, 1e30, np.inf, -np.inf, np.nan]
    for dtype in (np.float32, np.float64):
        x = np.array(odd, dtype)
        with np.errstate(all="raise"):
            for ufunc in UFUNCS:
                ufunc(x[:, None], x)


def test_types_without_a_loop_are_refused():
    with pytest.raises(TypeError, match="not supported for the input types"):
        special.log_iv(1j, 2.0)
    with pytest.raises(TypeError, match="not supported for the input types"):
        special.log_iv("a", 2.0)


# ---- the C++ side


def test_headers_and_package_files_are_installed():
    assert (_info.INCLUDE_DIR / "telamon" / "telamon.hpp").exists()
    assert (_info.INCLUDE_DIR / "telamon" / "core" / "version.hpp").exists()
    assert (_info.CMAKE_DIR / "telamonConfig.cmake").exists()
    assert _info.shared_library("telamon")
    assert _info.shared_library("nonesuch") is None


def test_cmake_project_finds_links_and_runs(tmp_path):
    cmake = shutil.which("cmake")
    if cmake is None or not (shutil.which("c++") or os.environ.get("CXX")):
        pytest.skip("cmake or a C++ compiler is not on the path")
    if _core.build_info()["sanitize"]:
        pytest.skip("a sanitized library needs a sanitized program")
    steps = [
        [cmake, "-S", CONSUMER, "-B", tmp_path, f"-Dtelamon_DIR={_info.CMAKE_DIR}", "-DCMAKE_BUILD_TYPE=Release"],
        [cmake, "--build", tmp_path],
        [cmake, "--build", tmp_path, "--target", "test"],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
