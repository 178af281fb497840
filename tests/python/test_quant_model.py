"""Whole models: calibration against sums over all tokens, layers as by quantize_layer, what is asked for wrongly."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="whole models need the extra quant: torch")
transformers = pytest.importorskip("transformers", reason="whole models need the extra quant: transformers")
pytest.importorskip("joblib", reason="whole models need the extra quant: joblib")

from quant_model_support import VOCABULARY, text, tiny  # noqa: E402

from telamon.quant import quantize_layer  # noqa: E402
from telamon.quant._model import perplexity, quantize_model  # noqa: E402
from telamon.quant._model_blocks import find_blocks, linears, record  # noqa: E402
from telamon.quant._model_collect import block_hessians, row_groups, saliences  # noqa: E402
from telamon.quant._model_tokens import as_batches  # noqa: E402
from telamon.torch import QuantLinear  # noqa: E402


def collect(model: torch.nn.Module, batches: list, groups: int = 1) -> tuple[dict, dict]:
    blocks = find_blocks("test", model)
    listed = linears(blocks, lambda name: False)
    every = {name: m for block in listed for name, m in block.items()}
    s, _ = saliences(model, batches, every, groups, lambda done: None)
    hidden, calls = record(model, blocks, batches)
    found: dict = {}
    for index, block in enumerate(blocks.modules):
        found |= block_hessians(block, listed[index], index, hidden, calls, batches, s)
    return found, s


def by_hand(model: torch.nn.Module, batches: list, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and output gradients of a layer, real tokens only, one ordinary backward pass a batch."""
    layer, xs, gradients = model.get_submodule(name), [], []
    for batch in batches:
        kept: list[torch.Tensor] = []

        def keep_both(module: torch.nn.Module, args: tuple, out: torch.Tensor, kept: list = kept) -> None:
            out.retain_grad()
            kept.extend([args[0], out])

        handle = layer.register_forward_hook(keep_both)
        mask = torch.ones_like(batch.ids) if batch.mask is None else batch.mask.long()
        logits = model(input_ids=batch.ids, attention_mask=mask).logits
        keep = mask.bool()
        pairs = keep[:, 1:] & keep[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits[:, :-1][pairs], batch.ids[:, 1:][pairs], reduction="sum")
        loss.backward()
        handle.remove()
        xs.append(kept[0].detach()[keep].double().numpy())
        gradients.append(kept[1].grad[keep].double().numpy())
    return np.concatenate(xs), np.concatenate(gradients)


@pytest.mark.parametrize("padded", [False, True])
def test_hessians_are_those_of_all_tokens(padded: bool) -> None:
    model = tiny()
    tokens: object = text(96).reshape(4, 24)
    if padded:
        mask = np.ones((4, 24), int)
        mask[0, 15:] = 0
        mask[2, :6] = 0  # on the left
        tokens = {"input_ids": tokens, "attention_mask": mask}
    batches = as_batches("test", "tokens", tokens, 24, VOCABULARY)
    found, _ = collect(model, batches, groups=3)
    for name in ("model.layers.0.self_attn.k_proj", "model.layers.1.mlp.up_proj", "model.layers.1.mlp.down_proj"):
        x, gradients = by_hand(model, batches, name)
        assert found[name].tokens == len(x) == (96 if not padded else 96 - 9 - 6)
        h = x.T @ x
        # Products in float32: sqrt(tokens) roundings of the largest entry.
        np.testing.assert_allclose(found[name].hessian, h, atol=2e-6 * np.abs(h).max())
        sizes = row_groups(gradients.shape[1], 3)
        for guided, part in zip(found[name].guided, np.split(gradients, np.cumsum(sizes)[:-1], axis=1), strict=True):
            s = np.square(part).mean(1)
            want = (x * s[:, None]).T @ x
            # Scaled by the mean of s over all groups; gradients are float32 through the whole model.
            np.testing.assert_allclose(
                guided / np.trace(guided), want / np.trace(want), atol=1e-4 * np.abs(want).max() / np.trace(want)
            )


def test_layers_with_one_input_share_its_hessian() -> None:
    found, _ = collect(tiny(), as_batches("test", "tokens", text(48), 24, VOCABULARY))
    block = "model.layers.0"
    q, k, v = (found[f"{block}.self_attn.{kind}_proj"] for kind in "qkv")
    assert q.hessian is k.hessian is v.hessian
    assert not np.array_equal(q.guided[0], k.guided[0])
    assert found[f"{block}.mlp.gate_proj"].hessian is found[f"{block}.mlp.up_proj"].hessian
    assert found[f"{block}.self_attn.o_proj"].hessian is not q.hessian
    assert 1 <= q.effective_samples <= q.tokens == 48


def test_a_layer_called_twice_counts_both() -> None:
    class Twice(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
            return self.inner(self.inner(x, *args, **kwargs), *args, **kwargs)

    model = tiny()
    model.model.layers[0] = Twice(model.model.layers[0])
    batches = as_batches("test", "tokens", text(48), 24, VOCABULARY)
    found, s = collect(model, batches)
    name = "model.layers.0.inner.mlp.down_proj"
    assert found[name].tokens == 96
    assert s[name].shape == (96, 1)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(module: torch.nn.Module, args: tuple, out: torch.Tensor) -> None:
        out.retain_grad()
        seen.append((args[0], out))

    handle = model.get_submodule(name).register_forward_hook(keep)
    for batch in batches:
        model(input_ids=batch.ids, labels=batch.ids, use_cache=False).loss.backward()
    handle.remove()
    x = np.concatenate([a[0].detach().double().numpy() for a, _ in seen])
    squares = np.concatenate([b.grad[0].double().square().mean(1).numpy() for _, b in seen])
    want = (x * squares[:, None]).T @ x
    got = found[name].guided[0]
    np.testing.assert_allclose(
        got / np.trace(got), want / np.trace(want), atol=1e-4 * np.abs(want).max() / np.trace(want)
    )


def test_a_layer_is_quantized_as_quantize_layer_does() -> None:
    model, reference = tiny(), tiny()
    tokens = text(240)
    report = quantize_model(model, tokens, bits=3, method="guided", guidance=0.4, groups=3, context=24)
    found, _ = collect(reference, as_batches("test", "tokens", tokens, 24, VOCABULARY), groups=3)
    for name, inputs in found.items():
        w = reference.get_submodule(name).weight.detach().numpy()
        sizes = row_groups(len(w), 3)
        want = quantize_layer(w, inputs.hessian, bits=3, Hs=inputs.guided, row_groups=sizes, guidance=0.4, method="lnq")
        np.testing.assert_array_equal(model.get_submodule(name).dequantize().numpy(), want.dequantize())
    assert [layer.name for layer in report.layers] == list(found)
    assert all(a >= b for layer in report.layers for a, b in zip(layer.trace, layer.trace[1:], strict=False))
    assert report.settings["tokens"] == 240


def test_more_bits_come_closer() -> None:
    tokens, logits = text(480), {}
    ids = torch.from_numpy(text(24, seed=1))[None]
    exact = tiny()(input_ids=ids).logits.detach()
    for bits in (2, 4, 8):
        model = tiny()
        report = quantize_model(model, tokens, bits=bits, method="lnq", context=24)
        with torch.no_grad():
            logits[bits] = float((model(input_ids=ids).logits - exact).square().mean() / exact.square().mean())
        assert report.bits_per_weight > bits
    assert logits[8] < logits[4] < logits[2]
    assert (
        logits[8] < 1e-3
    )  # 256 free values for rows of 48 to 80 weights: only half precision and 14 bits of x are left


@pytest.mark.parametrize("method", ["rtn", "hqq", "nupes", "kmeans", "squeezellm", "gptq", "lnq", "guided"])
def test_every_method_and_ragged_groups(method: str) -> None:
    model = tiny()
    tokens = None if method in ("rtn", "hqq", "nupes") else text(96)
    group = None if method == "nupes" else 32  # of 48 and 80 inputs
    report = quantize_model(model, tokens, bits=4, method=method, group_size=group, context=24)
    assert len(report.layers) == 14
    assert math.isfinite(perplexity(model, text(48), 24))
    assert model.model.layers[0].mlp.down_proj.codebooks.shape == (48, 3 if group else 1, 16)


def test_guided_gptq_and_groups_that_do_not_divide_rows() -> None:
    model = tiny()
    report = quantize_model(model, text(96), bits=4, method="gptq", guidance=1.0, groups=5, context=24)
    assert all(layer.relative_objective < 1 for layer in report.layers)
    with pytest.raises(ValueError, match=r"k_proj has 24 rows; pass fewer"):
        quantize_model(tiny(), text(96), groups=25, context=24)


def test_perplexity_is_that_of_the_loss() -> None:
    model, tokens = tiny(), text(75)
    ids = torch.from_numpy(tokens[:72].reshape(3, 24))
    want = math.exp(float(model(input_ids=ids, labels=ids).loss.detach()))
    assert perplexity(model, tokens, 24) == pytest.approx(want, rel=1e-5)  # float32 logits
    padded = np.concatenate([ids.numpy(), np.zeros((3, 8), int)], axis=1)
    mask = (np.arange(32) < 24)[None].repeat(3, 0)
    assert perplexity(model, {"input_ids": padded, "attention_mask": mask}) == pytest.approx(want, rel=1e-5)
    assert perplexity(model, list(ids.numpy()), 24) == pytest.approx(want, rel=1e-5)


# ---- what is asked for wrongly


def test_unwritable_folder_and_full_disk(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        with pytest.raises(OSError, match="cannot write to the folder"):
            quantize_model(tiny(), text(48), context=24, out_dir=folder)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("telamon.quant._model_store.shutil.disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="make room"):
        quantize_model(tiny(), text(48), context=24, out_dir=tmp_path / "new")


def test_tokens_of_another_tokenizer() -> None:
    with pytest.raises(ValueError, match=r"token id 97 .* tokenizer that belongs"):
        quantize_model(tiny(), np.arange(98), context=24)
    with pytest.raises(ValueError, match="token id -1"):
        perplexity(tiny(), np.arange(-1, 50), 24)
    model = tiny()
    with torch.no_grad():
        model.lm_head.weight *= 100  # very sure, and wrong
    with pytest.raises(ValueError, match="another model's tokenizer"):
        quantize_model(model, text(48), context=24)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"tokens": None}, ValueError, "needs calibration tokens"),
        ({"tokens": np.zeros(0, int)}, ValueError, "fewer than two tokens"),
        ({"tokens": np.zeros(30)}, TypeError, "integers"),
        ({"tokens": np.zeros((2, 2, 2), int)}, ValueError, "shape"),
        ({"context": 1}, ValueError, "context is 1"),
        ({"bits": 9}, ValueError, "1 to 8"),
        ({"method": "magic"}, ValueError, "method"),
        ({"method": "rtn", "guidance": 0.5}, ValueError, "guidance is 0.5"),
        ({"guidance": 1.5}, ValueError, "0 to 1"),
        ({"skip": "*"}, TypeError, r"pass a list of patterns"),
        ({"skip": ["*"]}, ValueError, "leaves no layer"),
    ],
)
def test_arguments(changes: dict, error: type[Exception], match: str) -> None:
    arguments = {"tokens": text(48), "context": 24, **changes}
    with pytest.raises(error, match=match):
        quantize_model(tiny(), **arguments)


def test_models_that_do_not_fit() -> None:
    model = tiny()
    model.model.layers[1] = model.model.layers[0]
    with pytest.raises(ValueError, match="same block more than once"):
        quantize_model(model, text(48), context=24)
    with pytest.raises(ValueError, match=r"no nn\.ModuleList"):
        quantize_model(torch.nn.Sequential(torch.nn.Linear(3, 3)), text(48), context=24)
    model = tiny()
    quantize_model(model, text(48), context=24)
    with pytest.raises(ValueError, match="quantized already"):
        quantize_model(model, text(48), context=24)


def test_shared_weights_become_two() -> None:
    model = tiny()
    first, second = (model.model.layers[i].mlp for i in range(2))
    second.up_proj.weight = first.up_proj.weight
    report = quantize_model(model, text(96), bits=2, context=24)
    assert any("shared its weights" in note for note in report.notes)
    assert not torch.equal(first.up_proj.codes, second.up_proj.codes)


def test_skipped_layers_stay() -> None:
    model = tiny()
    before = model.model.layers[1].mlp.down_proj.weight.clone()
    report = quantize_model(model, text(48), context=24, skip=["*.down_proj", "model.layers.0.*"])
    assert len(report.layers) == 6
    assert torch.equal(model.model.layers[1].mlp.down_proj.weight, before)


def test_a_layer_without_tokens() -> None:
    """An expert that no token was sent to."""
    model = tiny()
    block = model.model.layers[0]
    block.unused = torch.nn.Linear(48, 16)
    report = quantize_model(model, text(48), context=24)
    assert any("saw no calibration token" in note for note in report.notes)
    assert isinstance(block.unused, QuantLinear)


def test_report(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    model = tiny()
    texts = {"a": text(48, seed=2), "b": text(48, seed=3)}
    report = quantize_model(model, text(96), bits=4, context=24, evaluate=texts, progress=True)
    assert set(report.perplexity_before) == set(report.perplexity_after) == {"a", "b"}
    assert 0 < report.nbytes < report.nbytes_before
    report.save(tmp_path)
    stored = json.loads((tmp_path / "quantize_report.json").read_text())
    assert stored["layers"][0]["relative_objective"] == report.layers[0].relative_objective
    assert "| perplexity, a |" in (tmp_path / "quantize_report.md").read_text()
    assert "blocks [####################] 2/2" in capsys.readouterr().err
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    report.plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
