"""Whole language models, by layers. What needs torch is imported when called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._model_settings import as_settings

if TYPE_CHECKING:
    from ._report import ModelReport

__all__ = ["perplexity", "quantize_model", "register_transformers"]


def quantize_model(
    model: Any,
    tokens: Any = None,
    *,
    bits: int = 3,
    method: str = "guided",
    guidance: float | None = None,
    groups: int = 1,
    group_size: int | None = None,
    context: int = 512,
    iterations: int = 2,
    cycles: int = 4,
    start: str = "gptq",
    skip: Sequence[str] = (),
    head_bits: int | None = None,
    embedding_bits: int | None = None,
    executor: Any = None,
    n_jobs: int | None = None,
    out_dir: str | os.PathLike[str] | None = None,
    tokenizer: Any = None,
    evaluate: Any = None,
    progress: bool = False,
) -> ModelReport:
    """Quantize the linear layers of a causal language model's blocks, in place.

    Each layer is calibrated on what the unquantized model feeds it. Memory beyond the model: the Hessians of one block,
    the hidden states of the calibration tokens, and the quantized layers. The model changes at the very end: where a
    run fails or is interrupted it is as before, and with `out_dir` the layers that were finished are not calculated
    again by a run with the same weights, tokens and settings.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model whose blocks hold nn.Linear: the longest module list of such blocks is taken.
    tokens : array_like of int, list of array_like, or dict
        For calibration: (tokens,) is cut into windows of `context`; (sequences, length), a list of sequences, and a
        tokenizer's dict of "input_ids" and "attention_mask" are taken as they are, without padding. "rtn", "hqq" and
        "nupes" need none.
    bits : int
        1 to 8.
    method : {"guided", "lnq", "gptq", "squeezellm", "kmeans", "rtn", "hqq", "nupes"}
        Of `quantize_layer`; "guided" is "lnq" with `guidance` 0.5 where it is not given. "squeezellm" weights by the
        diagonal of X'X.
    guidance : float, optional
        From 0, the plain Hessian, to 1, the one weighted by squared gradients of the loss; costs a backward pass.
    groups : int
        Groups of consecutive output channels with a guided Hessian each. They need not divide the rows.
    group_size : int, optional
        Inputs that share a codebook; a row where not given. Need not divide the inputs.
    context : int
        Tokens of a window.
    iterations, cycles, start
        Of `quantize_layer`.
    skip : sequence of str
        Patterns (fnmatch) of full names of layers to keep: "*.mlp.down_proj".
    head_bits, embedding_bits : int, optional
        Quantize output and input embeddings too. Where both were one tied tensor, they become two.
    executor : object, optional
        Where layers of a block run in parallel: anything with `submit` (concurrent.futures, dask.distributed) or `map`
        (ray.util.multiprocessing), or the module ray. joblib where not given.
    n_jobs : int, optional
        Of joblib; one where not given, since the kernels use all threads by themselves.
    out_dir : path, optional
        Where finished layers go, and at the end the model, its report and the tokenizer.
    tokenizer : transformers.PreTrainedTokenizer, optional
        Saved with the model.
    evaluate : like tokens, or dict of str to tokens, optional
        Held-out texts whose perplexity is calculated before and after.
    progress : bool
        Show what is done and how much time is left, on stderr.

    Returns
    -------
    ModelReport

    Raises
    ------
    ImportError
        If torch, transformers or joblib is missing; pip install 'telamon[quant]'.
    TypeError, ValueError
        If the tokens are not of the model's vocabulary, the model predicts them worse than chance (another tokenizer),
        a block occurs twice, or settings do not go together.
    OSError
        If out_dir cannot be written or has no room.

    Notes
    -----
    Layers of q, k and v, and of gate and up, share X'X. Sources: see `quantize_layer` and `HessianAccumulator`.
    """
    where = "telamon.quant.quantize_model"
    settings = as_settings(
        where,
        bits=bits,
        method=method,
        guidance=guidance,
        groups=groups,
        group_size=group_size,
        iterations=iterations,
        cycles=cycles,
        start=start,
        skip=skip,
        head_bits=head_bits,
        embedding_bits=embedding_bits,
    )
    run = _needs(where, "._model_run").Run(where, model, tokens, settings, context, executor, n_jobs, out_dir, progress)
    report: ModelReport = run.quantize(tokenizer, evaluate)
    return report


def perplexity(model: Any, tokens: Any, context: int = 512) -> float:
    """exp of the mean of -log p(next token), over windows of `context` tokens that do not overlap.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    tokens : array_like of int, list of array_like, or dict
        As in `quantize_model`. The first token of a window, and padding, are not predicted.
    context : int

    Returns
    -------
    float

    Raises
    ------
    ImportError
        If torch is missing.
    TypeError, ValueError
        If there are fewer than two tokens, or some outside the model's vocabulary.
    """
    value: float = _needs("telamon.quant.perplexity", "._model_run").perplexity(model, tokens, context)
    return value


def register_transformers() -> None:
    """Make `from_pretrained` of transformers read models that telamon wrote; also done by `quantize_model`."""
    _needs("telamon.quant.register_transformers", "._hf")


def _needs(where: str, module: str) -> Any:
    try:
        return import_module(module, __package__)
    except ImportError as error:
        if error.name and error.name.partition(".")[0] in ("torch", "transformers", "accelerate"):
            raise ImportError(f"{where}: {error.name} is not installed; pip install 'telamon[quant]'") from None
        raise


def as_texts(evaluate: Any) -> dict[str, Any]:
    """Held-out texts by name."""
    if evaluate is None:
        return {}
    if isinstance(evaluate, Mapping) and "input_ids" not in evaluate:
        return dict(evaluate)
    return {"held-out": evaluate}
