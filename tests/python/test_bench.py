"""Smoke tests of `telamon bench` and bench/compare.py: tiny sizes, and no assertion about time."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import telamon
from telamon import _bench
from telamon._bench import accuracy, machine, peers, report, special_plots, special_report, timing

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
