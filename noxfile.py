"""Tasks of a developer: `nox -l` lists them, `nox -s tests` runs one. .ci/run is what decides."""

from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def tests(session):
    """The Python tests, on an installed telamon."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def frameworks(session):
    """The tests of the torch and JAX adapters."""
    session.install(".[test,test-frameworks]")
    tests = sorted(str(file) for stem in ("torch", "jax") for file in Path("tests/python").glob(f"test_{stem}*.py"))
    session.run("pytest", *(session.posargs or tests))


@nox.session(venv_backend="none")
@nox.parametrize("preset", ["dev", "release", "asan", "tsan"])
def cpp(session, preset):
    """The C++ tests; needs cmake and doctest."""
    session.run("cmake", "--preset", preset, "-DTELAMON_BENCHMARKS=OFF", external=True)
    session.run("cmake", "--build", "--preset", preset, "--parallel", "2", external=True)
    session.run("ctest", "--preset", preset, external=True)


@nox.session
def lint(session):
    """Style of the Python and C++ sources."""
    session.install("pre-commit")
    session.run("pre-commit", "run", "--all-files", *session.posargs)


@nox.session
def types(session):
    """Type annotations, and the extension module's stubs against the module."""
    session.install(".", "mypy")
    session.run("mypy")
    session.run("stubtest", "telamon._core", "--mypy-config-file", "pyproject.toml")


@nox.session
def docs(session):
    """The documentation, warnings as errors."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def dist(session):
    """The source distribution and a wheel."""
    session.install("build")
    session.run("python", "-m", "build")
