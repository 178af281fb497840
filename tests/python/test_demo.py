"""Smoke test of `telamon demo --fast`, and of what it computes from photographs."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("skimage")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from telamon import _demo
from telamon import _demo_features as features


def test_demo_tells_its_story_and_saves_a_picture(tmp_path, capsys):
    assert _demo.main(["--fast", "--out", str(tmp_path)]) == 0
    story = capsys.readouterr().out
    assert story.count("1e-08") == 3  # what SciPy finds, twice in the table and once against a known answer
    assert "standard errors off" in story
    assert (tmp_path / "telamon-demo.png").stat().st_size > 10_000


def test_features_are_unit_vectors_of_the_sizes_announced():
    rng = np.random.default_rng(0)
    tiles, labels = features.tiles(1, rng)
    assert tiles.shape == (len(features.PHOTOGRAPHS), 128, 128, 3)
    assert list(labels) == list(range(len(features.PHOTOGRAPHS)))
    bank = features.FilterBank.learn(tiles, rng, n_patches=600)
    for dimension in features.SIZES:
        x = bank.features(tiles[:2], dimension)
        assert x.shape == (2, dimension)
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)  # float32


def test_purity():
    labels = np.array([0, 0, 0, 1, 1])
    assert features.purity(labels, np.array([5, 5, 5, 7, 7])) == 1
    assert features.purity(labels, np.zeros(5, int)) == pytest.approx(0.6)


def test_missing_package_names_the_command(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    assert _demo.main([]) == 1
    assert "pip install 'telamon[demo]'" in capsys.readouterr().out
