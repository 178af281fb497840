"""Shared by all tests: the matrix of instruction sets and thread counts, hypothesis' settings, and stored truth."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import telamon

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"

# No deadline, since these machines are shared; derandomised, so that a failure is there again on the next run.
settings.register_profile(
    "telamon", deadline=None, derandomize=True, max_examples=200, suppress_health_check=list(HealthCheck)
)
settings.load_profile("telamon")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked slow run only where -m asks for them."""
    if "slow" in (config.getoption("-m") or ""):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow; run with -m slow"))


@pytest.fixture(params=telamon.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once for each instruction set of this machine."""
    before = telamon.active_isa()
    telamon.set_isa(request.param)
    yield request.param
    telamon.set_isa(before)


@pytest.fixture(params=[1, 2], ids=["1thread", "2threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The test runs on one thread, then on two."""
    before = telamon.get_num_threads()
    telamon.set_num_threads(request.param)
    yield request.param
    telamon.set_num_threads(before)


@pytest.fixture
def x64() -> Iterator[None]:
    """JAX with float64."""
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


class Truth(NamedTuple):
    """Points (v, x) with the true value hi + lo, the name of each point's set, and for some tables a scale."""

    v: np.ndarray
    x: np.ndarray
    hi: np.ndarray
    lo: np.ndarray
    label: np.ndarray
    scale: np.ndarray | None

    def only(self, keep: np.ndarray) -> Truth:
        return Truth(*(None if column is None else column[keep] for column in self))

    def representable(self, dtype: type) -> Truth:
        """The points whose arguments are exactly numbers of this dtype, so that the kernel gets the true input."""
        if dtype is np.float64:
            return self
        with np.errstate(over="ignore", under="ignore"):
            return self.only((self.v == self.v.astype(dtype)) & (self.x == self.x.astype(dtype)))


@functools.cache
def _stored(file: str) -> dict[str, np.ndarray]:
    with np.load(DATA / f"special_{file}.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="session")
def truth():
    """truth("values", "log_iv") is the stored table of a quantity; tests/data/make_special.py says what there is."""

    def load(file: str, name: str) -> Truth:
        columns = _stored(file)
        label = columns["sets"][columns["set"]]
        return Truth(columns["v"], columns["x"], columns[name], columns[name + "_lo"], label, columns.get("scale"))

    return load
