"""Sphinx's configuration. Built by `python -m sphinx -W docs build/docs`, wherever telamon and its extra `docs` are."""

import json
import re
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import MagicMock

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

# Imported whole before the mocks below: scikit-learn, loaded beside a mocked torch, takes that for the real one.
import telamon.stats  # noqa: E402

telamon.stats.VonMisesFisherMixture  # noqa: B018

# Optional at run time, so optional here. autodoc's own mocks cannot be base classes given to type().
if find_spec("torch") is None:
    sys.modules["torch"] = MagicMock()
    sys.modules["torch"].autograd.Function = type("Function", (), {"apply": staticmethod(MagicMock())})
    sys.modules["torch"].nn.Module = type("Module", (), {})
_JAX = ("jax", "jax.numpy", "jax.custom_derivatives", "jax.extend.core", "jax.interpreters")
if find_spec("jax") is None:
    sys.modules.update({name: MagicMock() for name in _JAX})
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it in words
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes may be properties, documented apart

# ---- ufuncs: autodoc knows functions, whose first docstring line may be the signature


def _as_function(ufunc):
    def function(): ...

    function.__name__ = function.__qualname__ = ufunc.__name__
    function.__module__ = "telamon.special"
    function.__doc__ = ufunc.__doc__
    return function


for _name in special.__all__:
    setattr(special, _name, _as_function(getattr(special, _name)))


def adapt_docstring(app, what, name, obj, options, lines):
    """What NumPy's style allows and Sphinx takes for something else."""
    text = "\n".join(lines)
    # ``.. [1]`` in many docstrings of one page would be one footnote defined many times; a list says the same.
    text = re.sub(r"^\.\. \[\d+\] ", "#. ", text, flags=re.MULTILINE)
    # scikit-learn's names of attributes, weights_, are no links.
    text = re.sub(r"^(\w+)_ :", r"\1\\_ :", text, flags=re.MULTILINE)
    # A section "Methods" describes them a second time.
    text = re.sub(r"^Methods\n-+\n(?:.+\n)+\n*", "", text, flags=re.MULTILINE)
    # A norm is no substitution, an index such as Lambda_-i or a_(i) no link; nor is [1]_, without its footnote.
    text = re.sub(r"(?<![^\s(])\|(\w[\w -]*)\|(?=[\s.,:;)^])", r"\\|\1\\|", text)
    text = re.sub(r"(?<=\w)_(?=[-(])", r"\\_", text)
    text = re.sub(r"(\[\d+\])_", r"\1", text)
    lines[:] = text.split("\n")


# ---- what `telamon bench` and bench/gpu.sh left in bench/results, if anything


def _results():
    """Every result as a section, with its plots."""
    sections = []
    for file in sorted(RESULTS.glob("*.md")):
        body = file.read_text(encoding="utf-8").replace("\n## ", "\n### ")
        title = re.match(r"# (.*)\n", body)  # bench/gpu.sh writes one
        plots = [f"![{plot.stem}](../bench/results/{plot.name})" for plot in sorted(RESULTS.glob(f"{file.stem}-*.png"))]
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


def _so3_result():
    """The first stored result of so3, and its file."""
    for file in sorted(RESULTS.glob("so3-*.json")):
        return json.loads(file.read_text(encoding="utf-8")), file
    return None, None


NOT_STORED = "No results are stored in this checkout; `telamon bench so3` measures them."


def _so3_errors():
    """Largest errors of so3: one line a truth, type and method, over all its degrees."""
    result, file = _so3_result()
    if result is None:
        return NOT_STORED
    worst = {}
    for row in [*result["errors"], *({**r, "truth": "rotations", "method": "auto"} for r in result["equivariance"])]:
        worst.setdefault((row["truth"], row["dtype"], row["method"]), []).append((float(row["max"]), row["l"]))
    lines = ["| against | type | method | degrees | largest | at L |", "| --- " * 6 + "|"]
    for (truth, dtype, method), found in worst.items():
        degrees = [l for _, l in found]
        cells = [truth, dtype, method, f"{min(degrees)}..{max(degrees)}", f"{max(found)[0]:.1e}", str(max(found)[1])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([f"From `bench/results/{file.name}`:", "", *lines])


def _so3_speed():
    """Nanoseconds a sample and channel by degree, for every implementation, and the plots."""
    result, file = _so3_result()
    if result is None:
        return NOT_STORED
    rows = result["values"]
    names = list(dict.fromkeys(r["who"] for r in rows))
    cpu, size = result["machine"]["cpu"], rows[0]["set"]
    text = f"From `bench/results/{file.name}`: {cpu}, one thread, float32, {size} samples and channels; medians, in"
    parts = [f"{text} nanoseconds a sample and channel. The second table is with both gradients."]
    for what, title in (("forward", "L"), ("training", "L, with gradients")):
        times = {(r["l"], r["who"]): float(r["median"]) for r in rows if r["pass"] == what}
        present = [n for n in names if any(who == n for _, who in times)]
        lines = ["| " + " | ".join([title, *present]) + " |", "| --- " * (len(present) + 1) + "|"]
        for l in sorted({l for l, _ in times}):
            cells = [f"{times[l, n]:,.3g}" if (l, n) in times else "-" for n in present]
            lines.append("| " + " | ".join([str(l), *cells]) + " |")
        parts.append("\n".join(lines))
    plots = sorted(RESULTS.glob(f"{file.stem}-*.png"))
    return "\n\n".join([*parts, *(f"![{plot.stem}](../bench/results/{plot.name})" for plot in plots)])


def _kron(section):
    """A table of kron's first stored result, as `telamon bench kron` makes it, or its plots."""
    from telamon._bench import kron_report, report

    for file in sorted(RESULTS.glob("kron-*.json")):
        if section == "plots":
            plots = sorted(RESULTS.glob(f"{file.stem}-*.png"))
            return "\n\n".join(f"![{plot.stem}](../bench/results/{plot.name})" for plot in plots)
        result = json.loads(file.read_text(encoding="utf-8"))
        title, make = kron_report.TABLES[section]
        where = f"{title}. From `bench/results/{file.name}`: {result['machine']['cpu']}."
        return f"{where}\n\n{report.markdown_table(*make(result))}"
    if section == "plots":
        return ""
    return "No results are stored in this checkout; `telamon bench kron` measures them."


_KRON = ("memory", "noise", "missing", "determinants", "errors", "values", "likelihood", "growth", "plots")

INSERTED = {
    "<!-- results -->": _results,
    "<!-- errors -->": _errors,
    "<!-- so3 errors -->": _so3_errors,
    "<!-- so3 speed -->": _so3_speed,
    **{f"<!-- kron {section} -->": partial(_kron, section) for section in _KRON},
}


def insert_results(app, docname, source):
    for marker, text in INSERTED.items():
        if marker in source[0]:
            source[0] = source[0].replace(marker, text())


def setup(app):
    app.connect("autodoc-process-docstring", adapt_docstring, priority=100)  # before napoleon
    app.connect("source-read", insert_results)
