"""A file, and what tells it from its changed self."""

from pathlib import Path
from typing import NamedTuple


class FileVersion(NamedTuple):
    """A file as it was when it was looked at; what is kept of it is kept under this."""

    path: Path
    """Absolute."""
    bytes: int
    modified: int
    """Nanoseconds since 1970."""

    @classmethod
    def of(cls, path: Path) -> "FileVersion":
        stat = path.stat()
        return cls(path.absolute(), stat.st_size, stat.st_mtime_ns)
