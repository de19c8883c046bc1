"""Standard output that is lost: its disk is full, or its reader has gone."""

from __future__ import annotations

import os
from typing import TextIO


def lead_nowhere(stream: TextIO) -> None:
    """Drop what a stream is still to write and all that follows: at exit Python would try again,
    and end with status 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def place_of(error: OSError, stream: TextIO) -> str:
    """The file that an error names; one that names none is of `stream`, which then leads
    nowhere."""
    if error.filename is not None or error.strerror is None:
        return str(error.filename or "a file")
    lead_nowhere(stream)
    return "standard output"
