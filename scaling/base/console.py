"""What a person reads: tables, and the notes that a worker hands to its launcher."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeAlias

Say: TypeAlias = Callable[[str], None]
"""Takes one line for a person."""

NOTE = "note: "
"""Begins a line of a worker's log that its launcher passes on to the person."""


def note(line: str) -> None:
    """Write a line of standard error, marked `NOTE`: the person who launched the worker sees it."""
    print(f"{NOTE}{line}", file=sys.stderr, flush=True)


def say(line: str) -> None:
    """Print a line at once. Where standard output has gone, as after `| head`, the process goes on
    and writes nothing more there."""
    try:
        print(line, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            print(f"standard output: {error.strerror}; going on.", file=sys.stderr)


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[str] = ()
) -> None:
    """Print to standard output: its head in bold on a screen, plain aligned text in a pipe.

    Columns of numbers are flush right, those named in `left` flush left.
    """
    table = [headings, *rows]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    align = [str.ljust if heading in left else str.rjust for heading in headings]
    lines = [
        "  ".join(pad(cell, n) for pad, cell, n in zip(align, row, widths, strict=True)).rstrip()
        for row in table
    ]
    if sys.stdout.isatty():
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    print("\n".join(lines))
