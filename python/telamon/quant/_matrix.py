"""Matrices of few bits: their storage, and products with them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from ._check import as_choice, as_whole
from ._outliers import Outliers
from ._safetensors import load_safetensors, save_safetensors

Array = NDArray[Any]

__all__ = ["QuantizedMatrix"]

_FORMAT, _VERSION = "telamon.quant", 1
_KEPT = ("method", "objective", "relative_objective", "trace", "row_objectives", "exponent")


class QuantizedMatrix:
    """The weights (rows, inputs) of a linear layer, as codes of few bits and codebooks.

    .. math:: \\hat W_{ji} = c_{j, g(i), q_{ji}} + S_{ji}

    with codes q of `bits` bits, for each row j and group g of `group_size` inputs a codebook c of 2^bits numbers, and
    where outliers are kept apart a sparse matrix S.

    Made by `quantize_layer`, `from_codes`, `from_arrays` or `load`. Nothing of it is meant to be changed afterwards; it
    pickles.

    Parameters
    ----------
    packed : numpy.ndarray (rows, ceil(inputs/64) 8 bits) of uint8
        The codes, packed as `telamon/quant.hpp` describes.
    codebooks : numpy.ndarray (rows, groups, 2^bits) of float16 or float32
    bits : int
        1 to 8.
    inputs : int
    group_size : int or None
        Inputs with a codebook of their own, groups = ceil(inputs/group_size); None: all of a row.
    outliers : Outliers, optional
    bias : array_like (rows,), optional
        Added by `matmul` and `matvec`, not by `@`.
    facts : dict, optional
        What is known of how it came about: "method", "objective", "relative_objective", "trace", "row_objectives",
        "exponent". They are its attributes of the same names, and stored with it; those unknown are None.

    Attributes
    ----------
    shape : tuple of int
        (rows, inputs).
    method : str
    objective : float
        sum_j e_j' H e_j of the matrix as it is stored, rounded codebooks included.
    relative_objective : float
        The same over sum_j w_j' H w_j.
    row_objectives : numpy.ndarray (rows,)
    trace : numpy.ndarray (steps,)
        The objective after each step of LNQ, never rising; then codebooks are rounded to their storage type.
    exponent : float
        Of NUPES.

    Raises
    ------
    TypeError, ValueError
        If the arrays contradict each other, or hold numbers that are not finite.

    Examples
    --------
    >>> w = QuantizedMatrix.from_codes([[0, 1, 1, 0]], [[-1.0, 2.0]], bits=1)
    >>> w @ np.array([1.0, 2.0, 3.0, 4.0])
    array([5.], dtype=float32)
    >>> w.dequantize()
    array([[-1.,  2.,  2., -1.]], dtype=float32)
    """

    method: str | None
    objective: float | None
    relative_objective: float | None
    row_objectives: Array | None
    trace: Array | None
    exponent: float | None

    def __init__(
        self,
        packed: Array,
        codebooks: Array,
        *,
        bits: int,
        inputs: int,
        group_size: int | None = None,
        outliers: Outliers | None = None,
        bias: ArrayLike | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        where = "telamon.quant.QuantizedMatrix"
        self.bits = as_whole(where, "bits", bits, 1, 8)
        n = as_whole(where, "inputs", inputs, 1)
        self.group_size = None if group_size is None else as_whole(where, "group_size", group_size, 1)
        groups = 1 if self.group_size is None else -(-n // self.group_size)
        self.packed, self.codebooks = np.ascontiguousarray(packed), np.ascontiguousarray(codebooks)
        if self.packed.dtype != np.uint8 or self.codebooks.dtype not in (np.float16, np.float32):
            raise TypeError(
                f"{where}: packed and codebooks have dtypes {self.packed.dtype} and {self.codebooks.dtype}; pass uint8 "
                "and float16 or float32"
            )
        rows = self.packed.shape[0] if self.packed.ndim else 0
        want, books = (rows, _native.row_bytes(n, self.bits)), (rows, groups, 1 << self.bits)
        if self.packed.shape != want or self.codebooks.shape != books:
            raise ValueError(
                f"{where}: packed and codebooks have shapes {self.packed.shape} and {self.codebooks.shape}; {n} inputs "
                f"of {self.bits} bits in groups of {self.group_size or n} take {want} and {books}"
            )
        if not np.isfinite(self.codebooks).all():
            raise ValueError(f"{where}: codebooks hold numbers that are not finite")
        self.shape = (rows, n)
        self.outliers = outliers
        if outliers is not None:
            outliers.check(where, rows, n)
        self.bias = None if bias is None else np.ascontiguousarray(bias, np.float32)
        if self.bias is not None and self.bias.shape != (rows,):
            raise ValueError(f"{where}: bias has shape {self.bias.shape}; pass one number a row, ({rows},)")
        facts = facts or {}
        for name in _KEPT:
            setattr(self, name, facts.get(name))
        for name in ("trace", "row_objectives"):
            if getattr(self, name) is not None:
                setattr(self, name, np.asarray(getattr(self, name), np.float64))
        self._single: Array | None = None

    @classmethod
    def from_codes(cls, codes: ArrayLike, codebooks: ArrayLike, *, bits: int, **arguments: Any) -> QuantizedMatrix:
        """From codes (rows, inputs) below 2^bits, and codebooks (rows, groups, 2^bits) or (rows, 2^bits).

        Codebooks become float16 unless they are float32; the other arguments are those of the class.
        """
        where = "telamon.quant.QuantizedMatrix.from_codes"
        bits = as_whole(where, "bits", bits, 1, 8)
        q, books = np.asarray(codes), np.asarray(codebooks)
        if q.dtype.kind not in "iu" or q.ndim != 2:
            raise TypeError(f"{where}: codes have dtype {q.dtype} and shape {q.shape}; pass integers (rows, inputs)")
        if q.size and not (q.min() >= 0 and q.max() < 1 << bits):
            raise ValueError(
                f"{where}: codes lie in [{q.min()}, {q.max()}]; those of {bits} bits in [0, {(1 << bits) - 1}]"
            )
        if books.dtype != np.float32:
            with np.errstate(over="ignore"):
                books = books.astype(np.float16)
        if books.ndim == 2:
            books = books[:, None]
        packed = _native.pack(np.ascontiguousarray(q, np.uint8), bits)
        return cls(packed, books, bits=bits, inputs=q.shape[1], **arguments)

    # ---- what is stored

    def codes(self) -> Array:
        """The codes (rows, inputs), uint8."""
        return _native.unpack(self.packed, self.bits, self.shape[1])

    def dequantize(self) -> Array:
        """The matrix (rows, inputs) in float32, outliers included."""
        dense = _native.dequantize(self.packed, self.bits, self._books(), self.group_size or 0, self.shape[1])
        if self.outliers is not None:
            self.outliers.add_to(dense)
        return dense

    @property
    def nbytes(self) -> int:
        """The bytes of what is stored: codes, codebooks, outliers and bias."""
        parts = [self.packed, self.codebooks, self.outliers, self.bias]
        return sum(part.nbytes for part in parts if part is not None)

    @property
    def bits_per_weight(self) -> float:
        """8 nbytes / (rows inputs)."""
        return 8 * self.nbytes / max(1, self.shape[0] * self.shape[1])

    def _books(self) -> Array:
        if self._single is None:
            self._single = self.codebooks.astype(np.float32, copy=False)
        return self._single

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_single": None}

    def __repr__(self) -> str:
        rows, inputs = self.shape
        return f"QuantizedMatrix({rows}, {inputs}; {self.bits} bits, {self.bits_per_weight:.2f} stored)"

    # ---- products

    def matmul(self, x: ArrayLike, *, precision: str = "exact") -> Array:
        """x W' + bias, as a linear layer.

        Parameters
        ----------
        x : array_like (..., inputs)
            Computed in float32.
        precision : {"exact", "fast"}
            "exact" multiplies the codebooks' numbers, rounded in float32 only. "fast" rounds codebooks and blocks of 64
            inputs to 14 bits and a sign, with an error of at most 2^-14 times the sum over blocks of
            max\\|x\\| sum\\|w\\| + max\\|c\\| sum\\|x\\|, as a rule 6e-5 of the result's norm; where it
            is not there (more than 4 bits, groups that are no multiple of 64, 32 or more rows of x, no AVX2) the
            product is exact.

        Returns
        -------
        numpy.ndarray (..., rows) of float32
        """
        where = "telamon.quant.QuantizedMatrix.matmul"
        as_choice(where, "precision", precision, ("exact", "fast"))
        array = np.asarray(x)
        if array.ndim < 1 or array.shape[-1] != self.shape[1] or array.dtype.kind not in "fiu":
            raise ValueError(
                f"{where}: x has shape {array.shape} and dtype {array.dtype}; pass real numbers (..., {self.shape[1]})"
            )
        out = self._product(array.reshape(-1, self.shape[1]), precision)
        if self.bias is not None:
            out += self.bias
        return out.reshape(*array.shape[:-1], self.shape[0])

    def _product(self, x: Array, precision: str) -> Array:
        tokens = np.ascontiguousarray(x, np.float32)
        out = _native.matmul(self.packed, self.bits, self._books(), self.group_size or 0, tokens, precision)
        if self.outliers is not None:
            self.outliers.add_product(tokens, out)
        return out

    def matvec(self, x: ArrayLike, *, precision: str = "exact") -> Array:
        """W x + bias of a vector (inputs,): (rows,), float32; see `matmul`."""
        if np.ndim(x) != 1:
            raise ValueError(
                f"telamon.quant.QuantizedMatrix.matvec: x has shape {np.shape(x)}; pass a vector ({self.shape[1]},)"
            )
        return self.matmul(x, precision=precision)

    def __matmul__(self, x: ArrayLike) -> Array:
        """W x of (inputs,) or (inputs, columns), exact, without the bias."""
        array = np.asarray(x)
        if array.ndim not in (1, 2) or array.shape[0] != self.shape[1] or array.dtype.kind not in "fiu":
            raise ValueError(
                f"telamon.quant.QuantizedMatrix: W is {self.shape}, x is {array.shape} of {array.dtype}; W @ x takes "
                f"real numbers ({self.shape[1]},) or ({self.shape[1]}, columns)"
            )
        out: Array = self._product(array[None] if array.ndim == 1 else array.T, "exact")
        result: Array = out[0] if array.ndim == 1 else out.T
        return result

    # ---- storage

    def to_arrays(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What `from_arrays` takes: a dictionary of arrays, and one of what JSON can hold."""
        arrays = {"codes": self.packed, "codebooks": self.codebooks}
        if self.outliers is not None:
            arrays["outlier_starts"] = self.outliers.starts
            arrays["outlier_inputs"] = self.outliers.inputs
            arrays["outlier_values"] = self.outliers.values
        if self.bias is not None:
            arrays["bias"] = self.bias
        config: dict[str, Any] = {
            "format": _FORMAT,
            "version": _VERSION,
            "shape": list(self.shape),
            "bits": self.bits,
            "group_size": self.group_size,
        }
        for name in _KEPT:
            value = getattr(self, name)
            if value is not None:
                config[name] = value.tolist() if isinstance(value, np.ndarray) else value
        return arrays, config

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], config: Mapping[str, Any]) -> QuantizedMatrix:
        """The inverse of `to_arrays`. Checks all that memory and products depend on.

        Raises
        ------
        ValueError
            If something is missing, contradicts the rest, or is of a later version.
        """
        where = "telamon.quant.QuantizedMatrix.from_arrays"
        if config.get("format") != _FORMAT or config.get("version") != _VERSION:
            kind = f"{config.get('format')!r}, version {config.get('version')!r}"
            raise ValueError(f"{where}: the format is {kind}; {_FORMAT!r}, version {_VERSION}, is read")
        names = {"outlier_starts", "outlier_inputs", "outlier_values"}
        shape = config.get("shape")
        missing = {"codes", "codebooks", *(names if names & set(arrays) else ())} - set(arrays)
        if missing or not isinstance(shape, list | tuple) or len(shape) != 2:
            raise ValueError(f"{where}: {', '.join(sorted(missing)) or 'the shape'} is missing")
        outliers = (
            Outliers(*(arrays[name] for name in sorted(names, key=_ORDER.index))) if names & set(arrays) else None
        )
        facts = {name: config.get(name) for name in _KEPT}
        try:
            matrix = cls(
                arrays["codes"],
                arrays["codebooks"],
                bits=config.get("bits"),  # type: ignore[arg-type]
                inputs=shape[1],
                group_size=config.get("group_size"),
                outliers=outliers,
                bias=arrays.get("bias"),
                facts=facts,
            )
        except TypeError as error:  # a file is wrong by its values, whatever their types
            raise ValueError(str(error)) from None
        if matrix.shape != tuple(shape):
            raise ValueError(f"{where}: the shape is {list(shape)}, the codes have {matrix.shape[0]} rows")
        return matrix

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a safetensors file, atomically."""
        arrays, config = self.to_arrays()
        save_safetensors(path, arrays, {_FORMAT: json.dumps(config)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> QuantizedMatrix:
        """Read what `save` wrote; a truncated or damaged file raises ValueError."""
        arrays, metadata = load_safetensors(path)
        try:
            config = json.loads(metadata.get(_FORMAT, ""))
        except (ValueError, RecursionError):
            config = None
        if not isinstance(config, dict):
            raise ValueError(f"{os.fspath(path)} holds no matrix of telamon.quant")
        try:
            return cls.from_arrays(arrays, config)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None


_ORDER = ["outlier_starts", "outlier_inputs", "outlier_values"]
