"""Smoke tests of `telamon bench kron`: tiny sizes, and no assertion about time."""

import json

import numpy as np
import pytest

import telamon
from telamon import _bench
from telamon._bench import kron as kron_bench
from telamon._bench import kron_likelihood, kron_peers, kron_plots, kron_report, kron_systems

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """What one quick run writes, beside NumPy and SciPy alone: importing the others takes longer than all of it."""
    folder = tmp_path_factory.mktemp("kron")
    threads = telamon.get_num_threads()
    options = ["--quick", "--rounds", "2", "--peers", "numpy,scipy", "--json", str(folder / "a.json")]
    assert _bench.main(["kron", *options, "--markdown", str(folder / "a.md")]) == 0
    assert telamon.get_num_threads() == threads
    return json.loads((folder / "a.json").read_text()), (folder / "a.md").read_text()


def test_result_holds_every_section(result):
    data, markdown = result
    for section in kron_report.SECTIONS:
        header, rows = kron_report.TABLES[section][1](data)
        assert rows
        assert all(len(row) == len(header) for row in rows)
        assert kron_report.TABLES[section][0] in markdown
    assert {row["verdict"] for row in data["must"]} <= {"PASS", "short", "unknown"}
    assert {row["who"] for row in data["values"]} == {"telamon", "NumPy chain", "NumPy rotation", "SciPy"}
    assert all(row["min"] > 0 for section in ("values", "likelihood") for row in data[section])
    assert {row["dtype"] for row in data["values"]} == {"float32", "float64"}
    assert [row["points"] for row in data["growth"]] == [216, 512, 1000]
    assert data["skipped"] == []


def test_must_rows_that_do_not_depend_on_time_pass(result):
    """A broken metric would not be of this size."""
    rows = {row["item"]: row for row in result[0]["must"]}
    for item in ("agreement with dense algebra, float64", "noise of each point, largest residual"):
        assert rows[item]["verdict"] == "PASS"
    errors = [row for item, row in rows.items() if item.endswith(", error")]
    assert {row["key"] for row in result[0]["pde"]} == set(kron_report.PDE)
    assert len(errors) == len(kron_report.PDE)
    assert all(row["verdict"] in ("PASS", "short") for row in errors)  # tiny grids need not reach them
    # What needs GPyTorch, linear_operator, FastKron or 1e8 points is not known here.
    unknown = [item for item, row in rows.items() if row["verdict"] == "unknown"]
    assert len(unknown) == 8
    assert all("GPyTorch" in i or "over telamon" in i or "1e8" in i for i in unknown)


def test_must_rows_judge_what_a_large_run_measures(result):
    """Verdicts of the rows that a tiny run leaves open."""
    data = json.loads(json.dumps(result[0]))
    data["growth"] = [
        {"grid": f"{n}^3", "points": n**3, "seconds": (n / 100) ** 3.9, "bytes": 6e9, "resident": 7.5}
        for n in (100, 215, 464)
    ]
    data["exponents"] = kron_report.exponents(data)
    assert data["exponents"][0]["exponent"] == pytest.approx(1.3)
    peer = {"who": "GPyTorch GridKernel", "kind": "space", "set": "100x100x100", "ratio": {"median": 2.0}}
    data["likelihood"].append(peer)
    rows = {row["item"]: row for row in kron_report.must(data)}
    assert rows["N = 1e8, memory"]["verdict"] == "PASS"
    assert rows["N = 1e8, time"]["verdict"] == "short"
    assert rows["exponent of N, fitted over 1e6..1e8"]["verdict"] == "PASS"
    assert rows["likelihood and gradient, GPyTorch GridKernel over telamon, 100x100x100"]["verdict"] == "short"


@pytest.mark.parametrize("name", ["numpy", "scipy", "linear_operator", "fastkron"])
def test_peers_compute_the_same_products(name):
    package = {"linear_operator": "linear_operator", "fastkron": "pyfastkron"}.get(name, name)
    pytest.importorskip(package)
    found = kron_peers.load([name])[0]
    assert found[0].name == "telamon"
    assert len(found) > 1
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):  # 100 and 40 roundings of results of size 1
        for problem in kron_peers.problems(True, dtype):
            want = np.asarray(found[0].build(problem)()).reshape(len(problem.x), -1)
            offered = [(peer, peer.build(problem)) for peer in found[1:]]
            for peer, call in offered:
                if call is not None:
                    got = np.asarray(call())
                    got = got.reshape(want.shape) if peer.rows else got.reshape(-1, len(want)).T
                    np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max(), rtol=0)


def test_models_of_telamon_and_numpy_agree_with_differences():
    axes = kron_likelihood.axes_of((7, 5, 6))
    y = kron_likelihood.data((7, 5, 6))
    models = kron_likelihood.load(["numpy"])[0]
    assert [m.name for m in models] == ["telamon", "telamon, dense", "telamon.gp", "NumPy"]
    results = [model.build(axes)(y) for model in models]
    for value, gradient in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-12)
        # Clipped eigenvalues are of rounding's size, and the noise bounds the condition by 1e4.
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-9)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_models_of_gpytorch_compute_the_same_likelihood():
    pytest.importorskip("gpytorch")
    axes, y = kron_likelihood.axes_of((7, 7)), kron_likelihood.data((7, 7))
    models = kron_likelihood.load(["gpytorch"])[0]
    want, gradient = models[0].build(axes)(y)
    for model in models[3:]:
        value, other = model.build(axes)(y)
        assert value == pytest.approx(want, rel=1e-6)  # its noise is the float32 nearest to 0.1
        if "Kronecker" in model.name:
            assert other[-1] == pytest.approx(gradient[-1], rel=1e-6)


def test_linear_operator_solves_the_same_system_when_asked():
    pytest.importorskip("linear_operator")
    rows = kron_systems.per_point_noise((5, 4, 3), (0.1,), peer=True)
    assert [row["spread"] for row in rows] == list(kron_systems.SPREADS)
    asked = next(row for row in rows if row["spread"] == 10.0)
    assert asked["asked_error"] < 1e-6  # its tolerance of 1e-8, in another norm


def test_names_what_is_missing(monkeypatch):
    def absent():
        raise ImportError("no module", name="pyfastkron")

    monkeypatch.setitem(kron_peers.MAKERS, "fastkron", (absent, "pyfastkron"))
    found, missing = kron_peers.load(["fastkron", "gpytorch"])
    assert [c.name for c in found] == ["telamon"]
    assert missing == ["fastkron: not measured, pyfastkron is not installed; pip install pyfastkron"]
    with pytest.raises(SystemExit, match="no peer is called maple"):
        kron_peers.load(["maple"])


def test_a_library_that_fails_is_left_out():
    def broken(problem):
        raise RuntimeError("no such luck")

    peer = kron_peers.Candidate("broken", "0", "", broken)
    skipped = []
    problem = kron_peers.dense_problem("plane", "3^2", ((3, 3),) * 2, np.float64)
    rows = kron_bench.products([problem], [*kron_peers.telamon_candidates(), peer], 8, (2, 1e-6), skipped)
    assert [row["who"] for row in rows] == ["telamon"]
    assert skipped == ["broken, 3^2, float64: RuntimeError: no such luck"]


def test_memory_of_a_process_of_its_own():
    row = kron_bench.apart("telamon, dense", (20, 20), 1)
    # y, two matrices and their eigenvectors, the rotated y: at least these are alive at a time.
    assert row["traced"] >= 6
    assert row["points"] == 400
    with pytest.raises(RuntimeError, match="maple"):
        kron_bench.apart("maple", (3,), 1)


def test_a_grid_that_is_too_large_is_left_out(monkeypatch):
    def killed(who, shape, repeats):
        raise RuntimeError(f"the measurement of {who} failed:\n")

    monkeypatch.setattr(kron_bench, "apart", killed)
    skipped = []
    assert kron_bench.large_grids([(2, 2)], skipped) == []
    assert skipped == ["the measurement of telamon failed:"]


def test_plots(result, tmp_path):
    pytest.importorskip("matplotlib")
    kron_plots.draw(result[0], tmp_path, "kron")
    assert all((tmp_path / f"kron-{name}.png").stat().st_size > 1000 for name in ("rate", "growth"))
