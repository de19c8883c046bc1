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
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(
        width=10_000,  # lines too long for a screen wrap; rich would cut them off
        color_system="auto" if sys.stdout.isatty() else None,
        highlight=False,
        markup=False,
    )
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
