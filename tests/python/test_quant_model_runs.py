"""Runs over whole models: executors with two processes, and runs that were interrupted."""

from __future__ import annotations

import concurrent.futures
import multiprocessing

import pytest

torch = pytest.importorskip("torch", reason="whole models need the extra quant: torch")
pytest.importorskip("transformers", reason="whole models need the extra quant: transformers")
joblib = pytest.importorskip("joblib", reason="whole models need the extra quant: joblib")

from quant_model_support import text, tiny, weights  # noqa: E402

import telamon  # noqa: E402
from telamon.quant import _model_run  # noqa: E402
from telamon.quant._model import quantize_model  # noqa: E402


@pytest.mark.parametrize("kind", ["joblib", "threads", "processes", "pool", "dask"])
def test_two_processes_give_the_same_bits(kind: str) -> None:
    want, model = tiny(), tiny()
    quantize_model(want, text(96), bits=3, method="lnq", context=24)
    arguments = {"bits": 3, "method": "lnq", "context": 24}
    if kind == "joblib":
        quantize_model(model, text(96), n_jobs=2, **arguments)
    elif kind == "threads":
        before = telamon.get_num_threads()
        with joblib.parallel_config(backend="threading", n_jobs=2):
            quantize_model(model, text(96), **arguments)
        assert telamon.get_num_threads() == before
    elif kind == "processes":
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as executor:
            quantize_model(model, text(96), executor=executor, **arguments)
    elif kind == "pool":
        with multiprocessing.get_context("spawn").Pool(2) as executor:
            quantize_model(model, text(96), executor=executor, **arguments)
    else:
        distributed = pytest.importorskip("distributed", reason="dask's executor needs dask.distributed")
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            quantize_model(model, text(96), executor=client, **arguments)
    for name, tensor in weights(want).items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_ray_is_called_by_its_module() -> None:
    class Ray:
        """What is used of the module, run at once."""

        @staticmethod
        def remote(function):
            return type("Remote", (), {"remote": staticmethod(function)})

        @staticmethod
        def get(values):
            return values

    model = tiny()
    assert len(quantize_model(model, text(48), executor=Ray, context=24).layers) == 14
    with pytest.raises(TypeError, match="without submit or map"):
        quantize_model(tiny(), text(48), executor=object(), context=24)
    with pytest.raises(ValueError, match="n_jobs is for joblib"):
        quantize_model(tiny(), text(48), executor=Ray, n_jobs=2, context=24)


# ---- interruption


class Interrupting:
    """An executor that is stopped after some jobs."""

    def __init__(self, after: int) -> None:
        self.left, self.ran = after, 0

    def map(self, function, jobs):
        for job in jobs:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.ran += 1
            yield function(job)


@pytest.mark.parametrize("method", ["lnq", "guided"])
def test_an_interrupted_run_resumes(method: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, want = tiny(), tiny()
    arguments = {"bits": 3, "method": method, "context": 24}
    before = weights(model)
    with pytest.raises(KeyboardInterrupt):
        quantize_model(model, text(96), out_dir=tmp_path, executor=Interrupting(9), **arguments)
    for name, tensor in before.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert len(list(tmp_path.glob("layers/model*"))) == 7  # those of the first block

    damaged = tmp_path / "layers" / "model.layers.0.mlp.up_proj.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    if method == "guided":
        monkeypatch.setattr(_model_run, "saliences", lambda *args: pytest.fail("gradients are there already"))
    executor = Interrupting(100)
    report = quantize_model(model, text(96), out_dir=tmp_path, executor=executor, **arguments)
    assert executor.ran == 8
    assert sum(layer.resumed for layer in report.layers) == 6
    monkeypatch.undo()
    quantize_model(want, text(96), **arguments)
    for name, tensor in weights(want).items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert not (tmp_path / "layers").exists()
    names = {path.name for path in tmp_path.iterdir()}
    files = {"config.json", "generation_config.json", "model.safetensors"}
    assert names == files | {"quantize_report.json", "quantize_report.md"}


def test_other_settings_or_tokens_start_anew(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        quantize_model(tiny(), text(96), bits=3, context=24, out_dir=tmp_path, executor=Interrupting(9))
    for changes in ({"bits": 2}, {"guidance": 0.25}, {"context": 12}):
        with pytest.raises(KeyboardInterrupt):
            quantize_model(
                tiny(),
                text(96),
                out_dir=tmp_path,
                executor=(stopped := Interrupting(7)),
                **{"bits": 3, "context": 24, **changes},
            )
        assert stopped.ran == 7, changes
    executor = Interrupting(100)
    quantize_model(tiny(), text(96, seed=1), bits=3, context=24, out_dir=tmp_path, executor=executor)
    assert executor.ran == 14
