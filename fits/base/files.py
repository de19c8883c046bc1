"""The one atomic writer: a reader, or a restart after a kill, finds the old file or the new one."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG}


@contextmanager
def disk_named(path: Path, aside: Path | None = None) -> Iterator[None]:
    """What goes wrong with writing `path`, or `aside` in its place, is an OSError that names
    `path`: what the disk refuses after a file was opened names none."""
    try:
        yield
    except OSError as error:
        number, there = error.errno, error.filename
        if number is None or (there is None and number not in OF_THE_DISK):
            raise
        if there is not None and there != str(aside):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def written_aside(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """A path to write to that takes the place of `path` once all is written, or not at all.

    A link stays, and what it points to is replaced. What is there and no file, a pipe or a device,
    cannot be replaced: it is written to as it is. The temporary name is random, so that writers in
    two containers that share a folder, and so may share a process id, do not meet.

    Args:
      path: where; its folder exists.
      durable: also wait until a power cut could not undo it.
    """
    said = Path(path)  # as a message names it
    if said.exists() and not said.is_file():
        yield said
        return
    path = said.resolve()
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with disk_named(said, aside):
            yield aside
            if durable:
                _sync(aside)
            os.replace(aside, path)
            if durable:
                _sync(path.parent)  # the new name must reach the disk too
    finally:
        with suppress(OSError):  # whatever went wrong before is what a person has to know
            aside.unlink(missing_ok=True)


@contextmanager
def folder_made(path: Path) -> Iterator[None]:
    """A folder, and those above it, made where they are not there. Those that were made are removed
    at the end where nothing has come into them."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for each in new:  # the innermost first
            try:
                each.rmdir()
            except OSError:  # something is in it
                break


def write_text(path: str | Path, text: str, *, durable: bool = False) -> None:
    """All of `text`, in UTF-8, through `written_aside`."""
    with written_aside(path, durable=durable) as aside:
        aside.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
