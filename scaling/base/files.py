"""Files that a process killed at any moment cannot half-write, and locks that die with it.

Knows nothing of runs or studies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Puts `text` at `path`: a reader, or a restart after a kill, finds the old or the new text.

    Args:
      path: where; its folder exists.
      text: everything the file will hold.
      durable: also wait until a power cut could not undo it.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(aside, path)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)  # the new name must reach the disk too
        os.fsync(folder)
        os.close(folder)


def set_aside(path: Path) -> Path:
    """Renames a damaged file or folder to `<name>.damaged-1`, -2, ...; returns the new path."""
    n = 1
    while (kept := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    return path.rename(kept)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock file `path` and holds it; the kernel frees it if the process dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Holds the lock file `path` if nobody else does, and says whether."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock file `path`; leaves nothing behind."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)
