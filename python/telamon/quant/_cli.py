"""The commands ``telamon quantize``, ``telamon eval`` and ``telamon generate``: whole models from the command line."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ._model import perplexity, quantize_model, register_transformers
from ._model_settings import GUIDANCE, METHODS

__all__ = ["evaluate", "generate", "quantize"]


def quantize(argv: Sequence[str]) -> int:
    """``telamon quantize MODEL_DIR OUT_DIR``."""
    parser = argparse.ArgumentParser(
        prog="telamon quantize",
        description="Quantize the linear layers of a causal language model. An interrupted run is resumed by the same "
        "command.",
    )
    parser.add_argument("model", metavar="MODEL_DIR", help="a folder that save_pretrained wrote, with its tokenizer")
    parser.add_argument("out", metavar="OUT_DIR", help="a folder for the quantized model and its report")
    parser.add_argument("--bits", type=int, default=3, help="1 to 8 (default %(default)s)")
    parser.add_argument("--method", choices=METHODS, default="guided", help="default %(default)s")
    parser.add_argument("--calibration", nargs="+", metavar="FILE", default=[], help="texts to calibrate on")
    parser.add_argument("--tokens", type=int, default=8192, help="of calibration, evenly from all files (%(default)s)")
    parser.add_argument("--context", type=int, default=512, help="tokens of a window (default %(default)s)")
    parser.add_argument(
        "--guidance", type=float, help=f"0, the plain Hessian, to 1; method guided takes {GUIDANCE} by default"
    )
    parser.add_argument("--groups", type=int, default=1, help="groups of rows with a guided Hessian each (%(default)s)")
    parser.add_argument("--group-size", type=int, metavar="N", help="inputs that share a codebook (default: a row)")
    parser.add_argument("--head-bits", type=int, metavar="BITS", help="quantize the output embeddings too")
    parser.add_argument("--embedding-bits", type=int, metavar="BITS", help="quantize the input embeddings too")
    parser.add_argument("--skip", nargs="+", metavar="PATTERN", default=[], help="layers to keep: '*.down_proj'")
    parser.add_argument("--eval", nargs="+", metavar="FILE", default=[], help="held-out texts, measured twice")
    parser.add_argument("--eval-tokens", type=int, default=4096, help="of each held-out text (default %(default)s)")
    parser.add_argument("--jobs", type=int, help="layers at a time, in processes of joblib (default 1)")
    parser.add_argument("--plot", metavar="FILE", help="draw the layers' objectives; needs matplotlib")
    args = parser.parse_args(argv)

    def run() -> int:
        if Path(args.model).resolve() == Path(args.out).resolve():
            raise ValueError("OUT_DIR is MODEL_DIR; pass another folder, so that the model's weights are kept")
        model, tokenizer = _load(args.model)
        tokens = _calibration(tokenizer, args.calibration, args.tokens, args.context)
        report = quantize_model(
            model,
            tokens,
            bits=args.bits,
            method=args.method,
            guidance=args.guidance,
            groups=args.groups,
            group_size=args.group_size,
            context=args.context,
            skip=args.skip,
            head_bits=args.head_bits,
            embedding_bits=args.embedding_bits,
            n_jobs=args.jobs,
            out_dir=args.out,
            tokenizer=tokenizer,
            evaluate={file: _encode(tokenizer, file)[: args.eval_tokens] for file in args.eval},
            progress=True,
        )
        seconds = report.seconds["total"]
        print(f"{len(report.layers)} layers in {report.bits_per_weight:.2f} bits a weight, {seconds:.0f} s")
        print(f"{report.nbytes_before / 1e6:.1f} MB before, {report.nbytes / 1e6:.1f} MB after")
        for name, before in report.perplexity_before.items():
            print(f"perplexity {before:.3f} before, {report.perplexity_after[name]:.3f} after: {name}")
        print(f"report: {Path(args.out) / 'quantize_report.md'}")
        if args.plot:
            report.plot(args.plot)
        return 0

    return _reported("quantize", run)


def evaluate(argv: Sequence[str]) -> int:
    """``telamon eval MODEL --text FILE``."""
    parser = argparse.ArgumentParser(prog="telamon eval", description="The perplexity of texts under a model.")
    parser.add_argument("model", metavar="MODEL", help="a folder, quantized or not")
    parser.add_argument("--text", nargs="+", metavar="FILE", required=True)
    parser.add_argument("--context", type=int, default=512, help="tokens of a window (default %(default)s)")
    parser.add_argument("--tokens", type=int, help="no more than so many of each text")
    args = parser.parse_args(argv)

    def run() -> int:
        model, tokenizer = _load(args.model)
        for file in args.text:
            tokens = _encode(tokenizer, file)[: args.tokens]
            start = time.perf_counter()
            value = perplexity(model, tokens, args.context)
            rate = len(tokens) / (time.perf_counter() - start)
            print(f"{file}: perplexity {value:.3f}, context {args.context}, {len(tokens)} tokens, {rate:.0f} tokens/s")
        return 0

    return _reported("eval", run)


def generate(argv: Sequence[str]) -> int:
    """``telamon generate MODEL --prompt TEXT``."""
    parser = argparse.ArgumentParser(prog="telamon generate", description="Continue a text, and say how fast.")
    parser.add_argument("model", metavar="MODEL", help="a folder, quantized or not")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--tokens", type=int, default=64, help="new tokens at most (default %(default)s)")
    parser.add_argument(
        "--chat", action="store_true", help="the prompt is a user's message, put into the chat template"
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token (default)")
    parser.add_argument("--seed", type=int, default=0, help="of sampling (default %(default)s)")
    args = parser.parse_args(argv)

    def run() -> int:
        model, tokenizer = _load(args.model)
        import torch

        if args.chat:
            message = [{"role": "user", "content": args.prompt}]
            prompt = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        else:
            prompt = args.prompt
        ids = tokenizer(prompt, return_tensors="pt")
        sampling: dict[str, Any] = {"do_sample": False}
        if args.temperature > 0:
            sampling = {"do_sample": True, "temperature": args.temperature}
        torch.manual_seed(args.seed)
        with torch.inference_mode():
            model.generate(**ids, max_new_tokens=1, do_sample=False)  # so that what is done once is not timed
            start = time.perf_counter()
            out = model.generate(**ids, max_new_tokens=args.tokens, **sampling)
        seconds = time.perf_counter() - start
        new = out[0, ids["input_ids"].shape[1] :]
        print(tokenizer.decode(new, skip_special_tokens=True))
        print(f"{len(new)} tokens in {seconds:.2f} s, {len(new) / seconds:.1f} tokens/s", file=sys.stderr)
        return 0

    return _reported("generate", run)


def _reported(command: str, run: Callable[[], int]) -> int:
    """What a user can mend is a line, not a traceback."""
    try:
        return run()
    except KeyboardInterrupt:
        print(
            f"telamon {command}: interrupted; layers that were finished are kept, the same command resumes",
            file=sys.stderr,
        )
        return 130
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(f"telamon {command}: {error}", file=sys.stderr)
        return 1


def _load(folder: str) -> tuple[Any, Any]:
    """Model and tokenizer of a folder on this machine; nothing is looked up elsewhere, and nothing unpickled."""
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder} has no config.json; pass a folder that save_pretrained wrote")
    register_transformers()
    transformers = importlib.import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    common = {"local_files_only": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", use_safetensors=True, **common)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **common)
    size = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > size:
        raise ValueError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens and the model {size}; they do not belong together"
        )
    return model.eval(), tokenizer


def _encode(tokenizer: Any, file: str) -> Any:
    import numpy as np

    with open(file, encoding="utf-8", errors="replace") as opened:
        text = opened.read()
    return np.asarray(tokenizer(text, verbose=False)["input_ids"], np.int64)


def _calibration(tokenizer: Any, files: Sequence[str], count: int, context: int) -> Any:
    """Windows (n, context) spread evenly over the files, a share of each; None without files."""
    import numpy as np

    if not files:
        return None
    shares = [len(part) for part in np.array_split(np.arange(max(count // context, 1)), len(files))]
    windows = []
    for file, share in zip(files, shares, strict=True):
        tokens = _encode(tokenizer, file)
        if len(tokens) < context:
            raise ValueError(f"{file} has {len(tokens)} tokens, fewer than one window of {context}; pass more text")
        starts = np.unique(np.linspace(0, len(tokens) - context, share).astype(int))
        windows += [tokens[start : start + context] for start in starts]
    return np.array(windows)
