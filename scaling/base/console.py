"""What a person reads: tables, and the notes that a worker hands to its launcher.

Text that comes out of files cannot drive the terminal: control characters are spelled out.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TextIO, TypeAlias

from fits.base.printable import printable
from fits.base.streams import lead_nowhere

Say: TypeAlias = Callable[[str], None]
"""Takes one line for a person."""

NOTE = "note: "
"""Begins a line of a worker's log that its launcher passes on to the person."""


def note(line: str) -> None:
    """Write a line of standard error, marked `NOTE`: the person who launched the worker sees it."""
    complain(f"{NOTE}{line}")


def say(line: str) -> None:
    """Print a line at once. Where standard output has gone, as after `| head`, or its disk is full,
    the process goes on and writes nothing more there."""
    lost = _print(line, sys.stdout)
    if lost is not None and lost.errno != errno.EPIPE:
        complain(f"standard output: {lost.strerror}; going on without.")


def complain(line: str) -> None:
    """As `say`, to standard error."""
    _print(line, sys.stderr)


def _print(line: str, stream: TextIO) -> OSError | None:
    """What went wrong, after which the stream leads nowhere: else Python would end with status 120
    for what is left in its buffer."""
    try:
        print(printable(line), file=stream, flush=True)
    except OSError as error:
        lead_nowhere(stream)
        return error
    return None


def clock(seconds: float) -> str:
    """Minutes and seconds, as 1:14; 0:00 where another machine's clock is ahead."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02}"


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[str] = ()
) -> None:
    """Print to standard output: its head in bold on a screen, plain aligned text in a pipe.

    Columns of numbers are flush right, those named in `left` flush left.
    """
    table = [[printable(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    align = [str.ljust if heading in left else str.rjust for heading in headings]
    lines = [
        "  ".join(pad(cell, n) for pad, cell, n in zip(align, row, widths, strict=True)).rstrip()
        for row in table
    ]
    if sys.stdout.isatty():
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    print("\n".join(lines))
