"""What a reader needs to judge a number: processor, instruction set, threads, versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

import numpy as np

import telamon

from .timing import Row


def cpu_name() -> str:
    """Return the processor's name as the system gives it, or the architecture where it gives none."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def slug(name: str) -> str:
    """Return a file-name form: ``AMD EPYC 7B13`` becomes ``amd-epyc-7b13``."""
    name = re.sub(r"\((r|tm|c)\)|\bcpu\b|@.*|\b\d+-core processor\b", "", name.lower())
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-") or "unknown"


def version_of(package: str) -> str | None:
    """Return an installed package's version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe(threads: int) -> Row:
    """Return the header of every result: a flat dict of strings and numbers."""
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "isa": telamon.active_isa(),
        "threads": threads,
        "telamon": telamon.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": sys.platform,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }
