"""What a lease is made of: files in a folder, or objects in a bucket. Knows no process and no rule.

    7.held    names the holder
    7.free    the same lease after its holder gave it back
    7.beat    in a bucket alone: the heartbeat, rewritten; of a file it is the modification time

An object cannot be renamed, so `7.held` and `7.free` may both be there for a moment, which then
counts as free. A heartbeat is an object of its own, so that one that comes too late, from a holder
that lost its lease, brings no lease back: nobody looks at the heartbeat of an old number.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from fits.base.files import disk_named
from scaling.base.storage import ObjectPath, check_exclusive, create, is_object

FULL = {errno.ENOSPC, errno.EDQUOT}


class Mark(NamedTuple):
    """One lease, given back or not."""

    number: int
    held: bool


class Marks(Protocol):
    """The leases that a folder has seen and not yet forgotten. Everything may raise OSError."""

    def all(self) -> list[Mark]:
        """In no order; none where there is no folder."""

    def create(self, number: int, holder: str, on_full_disk: bool = False) -> bool:
        """Make `number` held; False where another process was faster.

        Args:
          on_full_disk: there too, where the holder cannot be named.
        """

    def undo(self, number: int) -> None:
        """Take back what `create` made."""

    def delete(self, number: int) -> None:
        """Forget a lease of the past, whatever is there of it."""

    def holder(self, number: int) -> str:
        """What its holder wrote about itself."""

    def is_lost(self, number: int) -> bool:
        """Whether its holder no longer has it."""

    def give_back(self, number: int) -> None:
        """From held to free, by its holder."""

    def beat(self, number: int) -> None:
        """A sign of life of its holder; FileNotFoundError, or ESTALE, once the lease is lost."""

    def pulse(self, number: int) -> object:
        """Changes with each sign of life."""

    def last_beat(self, number: int) -> float:
        """When that was, by the clock of who keeps the files; seconds since 1970."""


def marks_of(folder: Path) -> Marks:
    """Those in a folder of this name, which may not exist."""
    return ObjectMarks(folder) if is_object(folder) else FileMarks(folder)


class FileMarks:
    """Of a folder on a disk, of this machine or shared."""

    def __init__(self, folder: Path):
        self._folder = folder

    def all(self) -> list[Mark]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return _marks(names)

    def create(self, number: int, holder: str, on_full_disk: bool = False) -> bool:
        if number == 1:
            self._folder.mkdir(parents=True, exist_ok=True)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            handle = os.open(self._held(number), flags, 0o666)
        except FileExistsError:
            return False
        try:
            with disk_named(self._held(number)), os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(holder)
        except OSError as error:  # of a mark that names nobody others wait for the expiry
            if on_full_disk and error.errno in FULL:
                return True
            with suppress(OSError):
                self.undo(number)
            raise
        return True

    def undo(self, number: int) -> None:
        self._held(number).unlink(missing_ok=True)

    def delete(self, number: int) -> None:
        for state in ("held", "free"):
            (self._folder / f"{number}.{state}").unlink(missing_ok=True)

    def holder(self, number: int) -> str:
        return self._held(number).read_text(encoding="utf-8")

    def is_lost(self, number: int) -> bool:
        os.close(os.open(self._held(number), os.O_RDONLY))  # asks an NFS server, not a cache
        return any(mark.number > number for mark in self.all())

    def give_back(self, number: int) -> None:
        os.rename(self._held(number), self._folder / f"{number}.free")

    def beat(self, number: int) -> None:
        os.utime(self._held(number))

    def pulse(self, number: int) -> object:
        handle = os.open(self._held(number), os.O_RDONLY)
        try:
            return os.fstat(handle).st_mtime_ns
        finally:
            os.close(handle)

    def last_beat(self, number: int) -> float:
        return self._held(number).stat().st_mtime

    def _held(self, number: int) -> Path:
        return self._folder / f"{number}.held"


class ObjectMarks:
    """Of a bucket."""

    def __init__(self, folder: ObjectPath):
        self._folder = folder

    def all(self) -> list[Mark]:
        return _marks(path.name for path, _ in self._folder.below())

    def create(self, number: int, holder: str, on_full_disk: bool = False) -> bool:
        # the random line tells this claim from any other one of the same process
        text = f"{holder}\n{uuid.uuid4().hex}\n"
        if not create(self._path(number, "held"), text.encode()):
            return False
        check_exclusive(self._path(number, "held"))
        return True

    def undo(self, number: int) -> None:
        self._path(number, "held").unlink(missing_ok=True)

    def delete(self, number: int) -> None:
        for state in ("beat", "held", "free"):
            self._path(number, state).unlink(missing_ok=True)

    def holder(self, number: int) -> str:
        return self._path(number, "held").read_text().partition("\n")[0]

    def is_lost(self, number: int) -> bool:
        found = self.all()
        return Mark(number, True) not in found or max(found).number > number

    def give_back(self, number: int) -> None:
        if self.is_lost(number):
            return
        self._path(number, "free").write_bytes(b"")
        self._path(number, "held").unlink(missing_ok=True)

    def beat(self, number: int) -> None:
        self._path(number, "held").stat()
        self._path(number, "beat").write_bytes(f"{time.time()} {uuid.uuid4().hex}\n".encode())

    def pulse(self, number: int) -> object:
        try:
            return self._path(number, "beat").read_bytes()
        except FileNotFoundError:
            return b""

    def last_beat(self, number: int) -> float:
        there = {path.name: stat.st_mtime for path, stat in self._folder.below()}
        seen = [there[name] for name in (f"{number}.held", f"{number}.beat") if name in there]
        return max(seen, default=0.0)

    def _path(self, number: int, state: str) -> ObjectPath:
        return self._folder / f"{number}.{state}"


def _marks(names: Iterable[str]) -> list[Mark]:
    """A number that is given back counts as that, whatever else is there of it.

    A heartbeat alone, which came too late, counts as given back, so that it is deleted with others.
    """
    split = [name.partition(".")[::2] for name in names]
    states = [(int(number), state) for number, state in split if number.isdecimal()]
    free = {number for number, state in states if state == "free"}
    held = {number for number, state in states if state == "held"} - free
    late = {number for number, state in states if state == "beat"} - held
    return [Mark(number, False) for number in free | late] + [Mark(n, True) for n in held]
