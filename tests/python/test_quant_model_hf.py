"""Models on disk: transformers' save_pretrained and from_pretrained, and the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="whole models need the extra quant: torch")
transformers = pytest.importorskip("transformers", reason="whole models need the extra quant: transformers")
pytest.importorskip("joblib", reason="whole models need the extra quant: joblib")
tokenizers = pytest.importorskip("tokenizers", reason="whole models need the extra quant: transformers")

from telamon.quant import _cli  # noqa: E402
from telamon.quant._model import quantize_model, register_transformers  # noqa: E402
from telamon.torch import QuantLinear  # noqa: E402

WORDS = [*"abcdefghijklmnop", "the", "of", "and", "he", "shall", "lord", "unto", "they"]


def make(folder, tied: bool = False, bias: bool = False, words: list[str] = WORDS):
    """A folder with a tiny Llama of random weights and a tokenizer of whole words."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(WORDS) + 2,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        attention_bias=bias,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    if bias:
        with torch.no_grad():
            for layer in model.model.layers:
                layer.self_attn.q_proj.bias.normal_()
    model.save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate(["<s>", "</s>", *words])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="</s>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>", pad_token="</s>").save_pretrained(
        folder
    )
    return model


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")


@pytest.fixture
def text(tmp_path) -> str:
    path = tmp_path / "text.txt"
    path.write_text(" ".join(np.random.default_rng(0).choice(WORDS, 600)))
    return str(path)


IDS = torch.arange(2, 24)[None]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("extra", [{}, {"head_bits": 4}, {"embedding_bits": 4}, {"head_bits": 4, "embedding_bits": 3}])
def test_round_trip(tmp_path, tied: bool, extra: dict) -> None:
    model = make(tmp_path / "in", tied, bias=True)
    tokens = np.random.default_rng(1).integers(2, 26, 96)
    quantize_model(model, tokens, bits=3, context=24, group_size=32, out_dir=tmp_path / "out", **extra)
    with torch.no_grad():
        want = model(input_ids=IDS).logits
        read = load(tmp_path / "out")
        assert torch.equal(read(input_ids=IDS).logits, want)
        read.save_pretrained(tmp_path / "again")
        again = load(tmp_path / "again")
        assert torch.equal(again(input_ids=IDS).logits, want)
    q = read.model.layers[0].self_attn.q_proj
    assert isinstance(q, QuantLinear)
    assert q.codebooks.dtype == torch.float16
    assert q.bits == 3
    assert q.bias is not None
    assert read.config.tie_word_embeddings == (tied and not extra)
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    assert read.generate(IDS, max_new_tokens=3, do_sample=False).shape == (1, 25)


def test_bfloat16_keeps_codebooks(tmp_path) -> None:
    model = make(tmp_path / "in")
    quantize_model(model, np.random.default_rng(1).integers(2, 26, 96), context=24, out_dir=tmp_path / "out")
    half = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    layer = half.model.layers[0].self_attn.q_proj
    assert layer.codebooks.dtype == torch.float16
    assert torch.equal(layer.codebooks, model.model.layers[0].self_attn.q_proj.codebooks)
    with torch.no_grad():
        got, want = half(input_ids=IDS).logits.float(), model(input_ids=IDS).logits
    assert (got - want).abs().max() <= 0.05 * want.abs().max()  # 8 bits of mantissa through two blocks


def test_files_of_another_model_are_refused(tmp_path) -> None:
    model = make(tmp_path / "in")
    quantize_model(model, method="rtn", bits=4, out_dir=tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    layers = config["quantization_config"]["layers"]
    layers["model.layers.7.mlp.up_proj"] = layers["model.layers.0.mlp.up_proj"]
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"layers\.7\.mlp\.up_proj is quantized"):
        load(tmp_path / "out")
    config["quantization_config"] = {"quant_method": "telamon", "version": 2}
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="format 2"):
        load(tmp_path / "out")
    register_transformers()  # a second time does no harm


def test_command_line(tmp_path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "in", tied=True)
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    common = ["--context", "32", "--tokens", "256"]
    arguments = [source, out, "--bits", "4", "--calibration", text, "--eval", text, *common]
    assert _cli.quantize(arguments) == 0
    said = capsys.readouterr()
    assert "14 layers in" in said.out
    assert "before" in said.out
    assert "2/2" in said.err
    report = json.loads((tmp_path / "out" / "quantize_report.json").read_text())
    assert report["settings"]["method"] == "guided"
    assert report["settings"]["tokens"] == 256

    assert _cli.evaluate([out, "--text", text, *common]) == 0
    said = capsys.readouterr()
    assert "perplexity" in said.out
    assert "context 32, 256 tokens" in said.out

    assert _cli.generate([out, "--prompt", "the lord", "--tokens", "5"]) == 0
    assert "tokens/s" in capsys.readouterr().err
    assert _cli.generate([out, "--prompt", "the lord", "--tokens", "5", "--temperature", "1"]) == 0


def test_command_line_errors(tmp_path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "in")
    source = str(tmp_path / "in")

    def says(arguments: list[str], expected: str) -> None:
        assert _cli.quantize(arguments) == 1
        said = capsys.readouterr().err
        assert expected in said
        assert "Traceback" not in said

    says([source, source], "OUT_DIR is MODEL_DIR")
    says([str(tmp_path), str(tmp_path / "out")], "no config.json")
    says([source, str(tmp_path / "out")], "needs calibration tokens")
    says([source, str(tmp_path / "out"), "--calibration", str(tmp_path / "none.txt")], "No such file")
    says([source, str(tmp_path / "out"), "--calibration", text, "--context", "5000"], "fewer than one window")
    says([source, str(tmp_path / "text.txt"), "--calibration", text, "--context", "32"], "cannot write to the folder")
    make(tmp_path / "other", words=[*WORDS, "more", "words"])
    says([str(tmp_path / "other"), str(tmp_path / "out"), "--calibration", text], "do not belong together")


def test_an_interrupted_command_says_how_to_go_on(
    tmp_path, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "in")

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_cli, "quantize_model", interrupted)
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--calibration", text, "--context", "32"]
    assert _cli.quantize(arguments) == 130
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Qwen2", {}),  # biases
        ("Gemma3", {"head_dim": 12, "sliding_window": 8}),  # masks and positions that differ from block to block
        ("GPTNeoX", {}),  # attention and MLP side by side
        ("OPT", {"ffn_dim": 80, "word_embed_proj_dim": 48}),  # two-dimensional inputs of its MLP
    ],
)
def test_other_architectures(name: str, changes: dict, tmp_path) -> None:
    sizes = {"hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 4, "num_key_value_heads": 2}
    common = {"num_hidden_layers": 3, "vocab_size": 26, "max_position_embeddings": 64}
    marks = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 1}
    config = getattr(transformers, "Gemma3TextConfig" if name == "Gemma3" else f"{name}Config")
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(config(**sizes, **common, **marks, **changes)).eval()
    tokens = np.random.default_rng(1).integers(2, 26, (4, 24))
    mask = np.ones_like(tokens)
    mask[0, 20:] = 0
    batch = {"input_ids": tokens, "attention_mask": mask}
    report = quantize_model(model, batch, bits=4, out_dir=tmp_path)
    assert {layer.tokens for layer in report.layers} == {92}
    with torch.no_grad():
        assert torch.equal(load(tmp_path)(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_models_without_linear_layers_are_refused() -> None:
    config = transformers.GPT2Config(vocab_size=26, n_embd=48, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=1)
    with pytest.raises(ValueError, match=r"made of nn\.Linear"):
        quantize_model(transformers.GPT2LMHeadModel(config), np.arange(24), context=24)
