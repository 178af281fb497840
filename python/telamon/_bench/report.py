"""Tables as text and Markdown, and JSON that is never seen half-written."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from . import machine
from .timing import Row

Cells = tuple[list[str], list[list[str]]]  # header, rows
Table = tuple[str, Callable[[Row], Cells]]  # its title, and what makes it of a result


def write_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write under a temporary name beside ``path``, then rename: a reader sees the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name, suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_json(path: str | os.PathLike[str], result: Row) -> None:
    """Write a result; rounds are kept to four figures, which is more than a timing holds."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.4g}") if value == value and abs(value) != float("inf") else str(value)
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return value

    write_atomically(path, json.dumps(plain(result), indent=1) + "\n")


def add_arguments(parser: argparse.ArgumentParser, core: str, plots: str) -> None:
    """Where results go: the options that write_files carries out."""
    parser.add_argument("--json", metavar="FILE", help="write every round and error")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables as a Markdown fragment")
    parser.add_argument("--plots", metavar="DIR", help=plots)
    parser.add_argument("--results", metavar="DIR", help=f"all three, as DIR/{core}-<cpu>.json, .md and -*.png")


def write_files(
    args: argparse.Namespace, core: str, result: Row, markdown: str, draw: Callable[[Path, str], object]
) -> None:
    """What --json, --markdown, --plots and --results ask for; draw(folder, stem) makes the plots."""
    json_file, markdown_file, plots, stem = args.json, args.markdown, args.plots, core
    if args.results:
        stem = f"{core}-{machine.slug(result['machine']['cpu'])}"
        json_file = json_file or Path(args.results, f"{stem}.json")
        markdown_file = markdown_file or Path(args.results, f"{stem}.md")
        plots = plots or args.results
    if json_file:
        write_json(json_file, result)
    if markdown_file:
        write_atomically(markdown_file, markdown)
    if plots:
        draw(Path(plots), stem)


def machine_lines(result: Row) -> list[str]:
    """What ran, and where."""
    m = result["machine"]
    libraries = ", ".join(f"{p['name']} {p['version']} ({p['how']})" for p in result["peers"]) or "none"
    return [
        f"{m['cpu']}, {m['cores']} cores, load {m['load']}; instruction set {m['isa']}, {m['threads']} thread(s).",
        f"telamon {m['telamon']}, NumPy {m['numpy']}, Python {m['python']}, {m['date']}. Peers: {libraries}.",
    ]


def number(value: float | None) -> str:
    """Three significant figures without an exponent where that reads well."""
    if value is None or value != value:
        return "-"
    if value == 0 or 0.01 <= abs(value) < 1e6:
        digits = 3 - len(str(int(abs(value)))) if abs(value) >= 1 else 2
        return f"{value:,.{max(digits, 0)}f}"
    return f"{value:.1e}"


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns padded for a terminal; the first column to the left, the others to the right."""
    body = [list(r) for r in rows]
    widths = [max(len(r[i]) for r in [list(header), *body]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, body)])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same as a pipe table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" + " ---: |" * (len(header) - 1)]
    lines += ["| " + " | ".join(str(c).replace("|", "\\|") for c in r) + " |" for r in rows]
    return "\n".join(lines)


def must_table(result: Row) -> Cells:
    """The design's demands and the verdicts."""
    header = ["item", "must", "measured", "verdict"]
    return header, [[r["item"], r["must"], number(r["got"]), r["verdict"]] for r in result["must"]]


def _parts(
    result: Row,
    heading: list[str],
    tables: Iterable[Table],
    table: Callable[[list[str], list[list[str]]], str],
    title: Callable[[str], str],
) -> list[str]:
    parts = ["\n".join([*heading, *(["This was --quick: a look, not a result."] if result["quick"] else [])])]
    for name, make in tables:
        header, rows = make(result)
        if rows:
            parts.append(f"{title(name)}\n\n{table(header, rows)}")
    if result.get("skipped"):
        parts.append(title("Left out") + "\n\n" + "\n".join(f"- {line}" for line in result["skipped"]))
    return parts


def text(result: Row, heading: list[str], tables: Iterable[Table]) -> str:
    """The whole result for a terminal."""
    parts = _parts(result, heading, tables, text_table, str)
    passed = sum(r["verdict"] == "PASS" for r in result["must"])
    short = [r["item"] for r in result["must"] if r["verdict"] == "short"]
    parts.append(f"{passed} of {len(result['must'])} rows pass." + (f" Short: {'; '.join(short)}." if short else ""))
    return "\n\n".join(parts)


def markdown(core: str, result: Row, heading: list[str], tables: Iterable[Table]) -> str:
    """The same as a fragment that a page includes under a heading of its own (so: bold titles, no headings)."""
    first = f"<!-- written by `telamon bench {core}`; do not edit -->"
    return "\n\n".join([first, *_parts(result, heading, tables, markdown_table, "**{}**".format)]) + "\n"
