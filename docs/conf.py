"""Sphinx's configuration. Built by `python -m sphinx -W docs build/docs`, wherever telamon and its extra `docs` are."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import telamon
from telamon import special

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results"

project = "telamon"
author = "The telamon developers"
copyright = f"2026, {author}"
version = release = telamon.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
default_role = "py:obj"  # single backquotes in the docstrings
html_theme = "furo"
html_title = f"telamon {release}"

# Optional at run time, so optional here.
autodoc_mock_imports = [name for name in ("torch", "jax", "sklearn") if find_spec(name) is None]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it in words
napoleon_google_docstring = False
napoleon_use_rtype = False

# ---- ufuncs: autodoc knows functions, whose first docstring line may be the signature


def _as_function(ufunc):
    def function(): ...

    function.__name__ = function.__qualname__ = ufunc.__name__
    function.__module__ = "telamon.special"
    function.__doc__ = ufunc.__doc__
    return function


for _name in special.__all__:
    setattr(special, _name, _as_function(getattr(special, _name)))


def number_references(app, what, name, obj, options, lines):
    """``.. [1]`` in many docstrings of one page would be one footnote defined many times; a list says the same."""
    lines[:] = [re.sub(r"^\.\. \[\d+\] ", "#. ", line) for line in lines]


# ---- what `telamon bench` and bench/gpu.sh left in bench/results, if anything


def _results():
    """Every result as a section, with its plots."""
    sections = []
    for file in sorted(RESULTS.glob("*.md")):
        body = file.read_text(encoding="utf-8").replace("\n## ", "\n### ")
        title = re.match(r"# (.*)\n", body)  # bench/gpu.sh writes one
        plots = [
            f"![{plot.stem}](../bench/results/{plot.name})" for plot in sorted(RESULTS.glob(f"{file.stem}-*.png"))
        ]
        name = title[1] if title else file.stem
        sections.append("\n\n".join([f"## {name}", body[title.end() if title else 0 :].strip(), *plots]))
    return "\n\n".join(sections) or "No results are stored in this checkout."


def _errors():
    """The largest errors of the first stored result."""
    for file in sorted(RESULTS.glob("special-*.json")):
        rows = json.loads(file.read_text(encoding="utf-8")).get("errors") or []
        lines = ["| function | type | metric | largest, eps | at v | at x | points |", "| --- " * 7 + "|"]
        for row in rows:
            place = [f"{float(row[key]):.6g}" if key in row else "-" for key in ("v", "x")]
            cells = [f"`{row['function']}`", row["dtype"], row["metric"], f"{float(row['max']):.3g}", *place]
            lines.append("| " + " | ".join([*cells, str(row["points"])]) + " |")
        if rows:
            return "\n".join([f"From `bench/results/{file.name}`:", "", *lines])
    return "No results are stored in this checkout; `telamon bench special` measures them."


def insert_results(app, docname, source):
    for marker, text in (("<!-- results -->", _results), ("<!-- errors -->", _errors)):
        if marker in source[0]:
            source[0] = source[0].replace(marker, text())


def setup(app):
    app.connect("autodoc-process-docstring", number_references, priority=100)  # before napoleon
    app.connect("source-read", insert_results)
