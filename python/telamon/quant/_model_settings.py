"""What `quantize_model` is asked for, checked before anything is calculated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from ._check import as_choice, as_number, as_whole

__all__ = ["Settings", "as_settings"]

# The methods of `quantize_layer`, and LNQ with guidance under its own name.
METHODS = ("guided", "lnq", "gptq", "squeezellm", "kmeans", "rtn", "hqq", "nupes")
_DATA_FREE = ("rtn", "hqq", "nupes")
_GUIDED = ("guided", "gptq", "lnq")

# Chosen on text that is neither for calibration nor for tests: docs/quant_models.md.
GUIDANCE = 0.5


@dataclass(frozen=True)
class Settings:
    """See `quantize_model`."""

    bits: int
    method: str
    guidance: float
    groups: int
    group_size: int | None
    iterations: int
    cycles: int
    start: str
    skip: tuple[str, ...]
    head_bits: int | None
    embedding_bits: int | None

    @property
    def needs_tokens(self) -> bool:
        """Whether calibration inputs are asked for."""
        return self.method not in _DATA_FREE

    def keeps(self, name: str) -> bool:
        """Whether a layer stays as it is."""
        return any(fnmatchcase(name, pattern) for pattern in self.skip)

    def options(self, bits: int) -> dict[str, Any]:
        """Arguments of `quantize_layer`, but for Hessians and guidance."""
        method = "lnq" if self.method == "guided" else self.method
        common = {"bits": bits, "method": method, "group_size": self.group_size}
        if method != "lnq":
            return common
        return {**common, "iterations": self.iterations, "cycles": self.cycles, "start": self.start}

    def to_dict(self) -> dict[str, Any]:
        """For reports and fingerprints."""
        return asdict(self)


def as_settings(
    where: str,
    *,
    bits: int,
    method: str,
    guidance: float | None,
    groups: int,
    group_size: int | None,
    iterations: int,
    cycles: int,
    start: str,
    skip: Sequence[str],
    head_bits: int | None,
    embedding_bits: int | None,
) -> Settings:
    """The settings, or an error that says what is wanted."""
    as_choice(where, "method", method, METHODS)
    if guidance is None:
        guidance = GUIDANCE if method == "guided" else 0.0
    guidance = as_number(where, "guidance", guidance, 0, 1)
    if guidance > 0 and method not in _GUIDED:
        raise ValueError(f'{where}: guidance is {guidance} and method "{method}"; it goes with {", ".join(_GUIDED)}')
    if isinstance(skip, str):
        raise TypeError(f"{where}: skip is a string; pass a list of patterns, as [{skip!r}]")
    return Settings(
        bits=as_whole(where, "bits", bits, 1, 8),
        method=method,
        guidance=guidance,
        groups=as_whole(where, "groups", groups, 1),
        group_size=None if group_size is None else as_whole(where, "group_size", group_size, 1),
        iterations=as_whole(where, "iterations", iterations, 0),
        cycles=as_whole(where, "cycles", cycles, 0),
        start=as_choice(where, "start", start, ("gptq", "kmeans")),
        skip=tuple(skip),
        head_bits=None if head_bits is None else as_whole(where, "head_bits", head_bits, 1, 8),
        embedding_bits=None if embedding_bits is None else as_whole(where, "embedding_bits", embedding_bits, 1, 8),
    )
