"""SciPy, when it is first needed. Internal."""

from __future__ import annotations

import importlib
from typing import Any


def scipy(module: str) -> Any:
    """A module of SciPy, or how to install it."""
    try:
        return importlib.import_module(f"scipy.{module}")
    except ImportError as error:
        raise ImportError("telamon.gp.GridGP needs SciPy: pip install 'telamon[gp]'") from error
