"""Sections of docs/reliability.md that benchmarks write: their numbers come from nowhere else."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"


def write_section(name: str, text: str) -> None:
    """Put `text` between the marks of a section of the page, which has them."""
    begin, end = f"<!-- {name}: written by its benchmark -->\n", f"<!-- end of {name} -->\n"
    before, mark, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, other, after = rest.partition(end)
    if not mark or not other:
        raise SystemExit(f"{PAGE} has no section {name}.")
    PAGE.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def versions(*packages: str) -> str:
    """Of Python, the system and packages, in a line."""
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"Python {platform.python_version()}, {names}, {platform.system()}."
