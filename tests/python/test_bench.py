"""Smoke tests of `telamon bench` and bench/compare.py: tiny sizes, and no assertion about time."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import telamon
from telamon import _bench
from telamon._bench import (
    accuracy,
    machine,
    peers,
    report,
    so3_accuracy,
    so3_peers,
    so3_plots,
    so3_report,
    special_plots,
    special_report,
    timing,
)
from telamon._bench import so3 as so3_bench

COMPARE = Path(__file__).parents[2] / "bench" / "compare.py"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """What one quick run writes."""
    pytest.importorskip("scipy")
    folder = tmp_path_factory.mktemp("bench")
    threads = telamon.get_num_threads()
    options = ["--quick", "--rounds", "2", "--peers", "scipy", "--json", str(folder / "a.json")]
    assert _bench.main(["special", *options, "--markdown", str(folder / "a.md")]) == 0
    assert telamon.get_num_threads() == threads
    assert sorted(p.name for p in folder.iterdir()) == ["a.json", "a.md"]  # no temporary file is left
    return json.loads((folder / "a.json").read_text()), (folder / "a.md").read_text(), folder


def test_result_holds_every_section(result):
    data, markdown, _ = result
    for section in special_report.SECTIONS:
        if section == "errors" and not data["errors"]:
            continue  # neither the stored tables nor python-flint are here
        assert data[section]
        assert special_report.TABLES[section][0] in markdown
    assert {row["verdict"] for row in data["must"]} <= {"PASS", "short", "unknown"}
    assert data["machine"]["isa"] == telamon.active_isa()
    assert all(len(row["ns"]) == 2 and row["min"] > 0 for row in data["values"])
    assert {row["who"] for row in data["values"]} == {"telamon", "SciPy"}


def test_accuracy_rows_are_judged(result):
    """From the stored tables of this checkout. That they pass is for test_special_accuracy.py to say."""
    rows = [r for r in result[0]["must"] if "eps" in r["unit"] or r["unit"] == "results" or "relative" in r["item"]]
    assert len(rows) == 6
    assert all(row["verdict"] in ("PASS", "short") for row in rows)
    # A metric that divides by the wrong thing gives numbers without sense.
    assert all(r["max"] < 1e4 for r in result[0]["errors"])


def test_compare_bold_only_beyond_the_noise(result, capsys):
    data, _, folder = result
    faster = json.loads(json.dumps(data))
    faster["values"][0]["ns"] = [t / 2 for t in data["values"][0]["ns"]]
    (folder / "b.json").write_text(json.dumps(faster))
    compare = runpy.run_path(str(COMPARE))
    assert compare["main"]([str(folder / "a.json"), str(folder / "b.json")]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == sum(len(data[s]) for s in ("values", "others", "kappa"))
    assert lines[0].count("**") == 6
    assert "0.50" in lines[0]
    assert not any("**" in line for line in lines[1:])


def test_interleave_times_every_task_once_a_round():
    calls = []

    def make(name):
        return lambda n: lambda: calls.append(name)

    times = timing.interleave({k: timing.Task(make(k), 1, 1) for k in "ab"}, rounds=3, seconds=1e-6)
    assert all(len(t["ns"]) == 3 for t in times.values())
    assert set(calls) == {"a", "b"}
    same = timing.ratio(times["a"]["ns"], times["a"]["ns"])
    assert same == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_json_is_renamed_into_place_or_not_written(tmp_path):
    file = tmp_path / "deep" / "r.json"
    report.write_json(file, {"a": [1.23456789, float("inf")], "b": {"c": "d"}})
    assert json.loads(file.read_text()) == {"a": [1.235, "inf"], "b": {"c": "d"}}
    with pytest.raises(TypeError):
        report.write_json(file, {"a": object()})
    assert json.loads(file.read_text())["b"] == {"c": "d"}
    assert [p.name for p in file.parent.iterdir()] == ["r.json"]


def test_numbers_and_slugs_read_well():
    assert [report.number(x) for x in (None, 0.0, 8.123, 56.78, 1234.5, 1e-15, 0.5)] == [
        "-",
        "0.00",
        "8.12",
        "56.8",
        "1,234",
        "1.0e-15",
        "0.50",
    ]
    assert machine.slug("AMD EPYC 7B13 64-Core Processor") == "amd-epyc-7b13"
    assert machine.slug("Intel(R) Xeon(R) CPU @ 2.20GHz") == "intel-xeon"


def test_worst_counts_what_is_not_finite():
    table = {"v": np.array([1.0, 2.0, 3.0]), "x": np.ones(3), "f": np.array([1.0, 2.0, np.inf]), "f_lo": np.zeros(3)}
    got = accuracy.worst(lambda v, x: np.where(v == 2, np.nan, v * (1 + 2**-51)), table, "f", accuracy.relative)
    assert got == {"max": 2.0, "v": 1.0, "x": 1.0, "points": 2, "nonfinite": 1}


def test_unknown_peer_is_named():
    with pytest.raises(SystemExit, match="no peer is called maple"):
        peers.load(["scipy", "maple"])


def test_plots(tmp_path):
    pytest.importorskip("matplotlib")
    functions = {"telamon": {name: getattr(telamon.special, name) for name in special_plots.NAMES}}
    maps = special_plots.speed_maps(functions, 2, (-1, 1), rounds=1)
    special_plots._panels(maps, functions, "ns", "time", (1, 1000), tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 1000
    pytest.importorskip("flint")
    maps = special_plots.error_maps(functions, 3, (-1, 1))
    assert np.nanmax(maps["telamon", "log_iv"]) <= 2  # eps, M2


# ---- so3


@pytest.fixture(scope="module")
def so3_result(tmp_path_factory):
    """What one quick run writes, beside what is there of torch alone: the others compile for half a minute."""
    folder = tmp_path_factory.mktemp("so3")
    threads = telamon.get_num_threads()
    options = ["--quick", "--rounds", "2", "--peers", "gemm", "--json", str(folder / "a.json")]
    assert _bench.main(["so3", *options, "--markdown", str(folder / "a.md")]) == 0
    assert telamon.get_num_threads() == threads
    return json.loads((folder / "a.json").read_text()), (folder / "a.md").read_text()


def test_so3_result_holds_every_section(so3_result):
    data, markdown = so3_result
    for section in so3_report.SECTIONS:
        header, rows = so3_report.TABLES[section][1](data)
        assert all(len(row) == len(header) for row in rows)
        if rows:
            assert so3_report.TABLES[section][0] in markdown
    assert {row["verdict"] for row in data["must"]} <= {"PASS", "short", "unknown"}
    assert {row["who"] for row in data["values"]} >= {"telamon", "telamon, out="}
    assert {row["who"] for row in data["methods"]} == set(so3_accuracy.METHODS)
    assert all(row["min"] > 0 for section in ("values", "edges", "parity", "others") for row in data[section])
    assert [row["l"] for row in data["growth"]] == [8, 12, 16]


def test_so3_accuracy_rows_are_judged(so3_result):
    """That they pass is for the tests of so3 to say; a broken metric would not be of this size."""
    rows = [row for row in so3_result[0]["must"] if row["unit"] == "max|z|"]
    assert len(rows) == 5
    assert all(row["verdict"] == "PASS" for row in rows)


def test_so3_names_what_is_missing(monkeypatch):
    def absent():
        raise ImportError("no module", name="e3nn")

    monkeypatch.setattr(so3_peers, "e3nn", absent)
    found, missing = so3_peers.load(["e3nn"])
    assert all(c.name.startswith("telamon") for c in found)
    assert missing == ["e3nn: not measured, e3nn is not installed; pip install e3nn"]
    with pytest.raises(SystemExit, match="no peer is called maple"):
        so3_peers.load(["maple"])


def test_so3_skips_what_would_not_fit_or_end(monkeypatch):
    speed = so3_bench.Speed([candidate(floats=1e6)], rounds=1, seconds=1e-6)
    assert speed.measure([(1, 1000, 32)]) == []
    assert speed.skipped == ["slow, forward, L = 1, 1,000 x 32: it would hold about 128.0 GB"]
    speed = so3_bench.Speed([candidate(floats=1)], rounds=1, seconds=1e-6)
    speed.known["slow", 1, "forward"] = 1e9
    assert speed.measure([(1, 2, 5)]) == []
    assert speed.skipped == ["slow, forward, L = 1, 2 x 5: one call would take about 10 s"]


def candidate(floats):
    degrees = {"forward": frozenset({1}), "training": frozenset()}
    return so3_peers.Candidate("slow", "0", "", degrees, lambda l, what: floats, lambda i: {"forward": lambda: None})


@pytest.mark.filterwarnings("ignore:.*lpmn_values:DeprecationWarning")  # which e3nn-jax calls
@pytest.mark.parametrize("name", ["gemm", "e3nn", "e3nn-jax"])
def test_so3_peers_compute_the_same_product(name):
    """The three matrix products and e3nn-jax's grid return what telamon does; every call of every peer runs."""
    pytest.importorskip("torch" if name == "gemm" else name.replace("-", "_"))
    data = so3_peers.inputs(2, 3, 4)
    rows = so3_peers.Inputs(*(np.ascontiguousarray(a) for a in (data.x, data.y, data.g))).rows()
    want = telamon.so3.gaunt_product(rows[0][..., None], rows[1][..., None])[..., 0]
    for peer in so3_peers.load([name])[0]:
        if peer.name.startswith("telamon"):
            continue
        calls = peer.build(data)
        assert set(calls) == {"forward", "training"}
        assert calls["training"]() is not None
        got = np.asarray(calls["forward"]())
        if peer.name in ("three GEMMs", "e3nn-jax grid"):
            # 1e-6 is what float32 is held to.
            np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max(), rtol=0)


def test_so3_plots(so3_result, tmp_path):
    pytest.importorskip("matplotlib")
    so3_plots.draw(so3_result[0], tmp_path, "so3")
    assert all((tmp_path / f"so3-{name}.png").stat().st_size > 1000 for name in ("time", "growth"))
