"""A table for a person: its head in bold on a screen, plain aligned text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[str] = ()
) -> None:
    """Prints to standard output; columns of numbers are flush right, those named in `left` left."""
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
