"""Standard output that is lost: its disk is full, or its reader has gone."""

from __future__ import annotations

import errno
import os
from typing import TextIO

FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG


def lead_nowhere(stream: TextIO) -> None:
    """Drop what a stream is still to write and all that follows: at exit Python would try again,
    and end with status 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def told(error: OSError, stream: TextIO) -> str:
    """An error with its place. A full disk under no named file is that of `stream`, standard
    output, which then leads nowhere; other errors without a file, as of a network, are told as
    they are."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror or error}."
    if error.errno in FULL:
        lead_nowhere(stream)
        return f"standard output: {error.strerror}."
    return str(error)
