"""Lines that are appended one by one: to a file, or to objects, which cannot be appended to.

    metrics.jsonl  metrics.2.jsonl  metrics.3.jsonl ...    in a bucket, `LINES` lines each

In a bucket new lines wait in memory for at most `SECONDS` and until `flush`, and then the last part
is put anew. A part is small, so that a day's training writes no more a minute at its end than at
its beginning; what a kill takes with it is later than the last checkpoint, before which `flush` is
called, and so is done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Protocol

from fits.base.files import disk_named, written_aside
from scaling.base.storage import ObjectPath, is_object

LINES = 1000  # of a part
SECONDS = 10.0  # that lines wait, at most, while others follow


class Lines(Protocol):
    """Where lines are appended, while `check` lets it: that raises where it must not be."""

    def append(self, line: str) -> None:
        """Add a line, which ends in a newline."""

    def keep(self, kept: Callable[[str], str]) -> None:
        """Replace the text, or each part of it, by what `kept` makes of it."""

    def flush(self) -> None:
        """Until all that was appended can be read by others."""


def lines_in(path: Path, check: Callable[[], None]) -> Lines:
    """Those of this file, or of the objects whose first has this name."""
    return ObjectLines(path, check) if is_object(path) else FileLines(path, check)


def text_in(path: Path) -> str:
    """All lines; some may be torn. "" where there are none."""
    if is_object(path):
        return "".join(_text(part) for part in _parts(path))
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


class FileLines:
    """Appended at once."""

    def __init__(self, path: Path, check: Callable[[], None]):
        self._path, self._check = path, check

    def append(self, line: str) -> None:
        self._check()
        with disk_named(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line)

    def keep(self, kept: Callable[[str], str]) -> None:
        text = kept(text_in(self._path))
        if not text and not self._path.exists():
            return
        with written_aside(self._path) as aside:
            aside.write_text(text)
            self._check()

    def flush(self) -> None:
        pass


class ObjectLines:
    """Kept back for a while, then put as the last part. `flush` may come from another thread."""

    def __init__(self, path: ObjectPath, check: Callable[[], None]):
        self._path, self._check = path, check
        self._lock = Lock()
        self._part: ObjectPath | None = None
        self._lines: list[str] = []
        """Of the last part, those that wait included."""
        self._waiting, self._since = False, 0.0

    def append(self, line: str) -> None:
        with self._lock:
            if self._part is None:
                self._open()
            if not self._waiting:
                self._waiting, self._since = True, time.monotonic()
            self._lines.append(line)
            full = len(self._lines) >= LINES
            if full or time.monotonic() - self._since >= SECONDS:
                self._put()
            if full:
                self._part, self._lines = _next(self._path, self._part), []

    def keep(self, kept: Callable[[str], str]) -> None:
        for part in list(_parts(self._path)):
            old = _text(part)
            new = kept(old)
            if new != old:
                self._check()
                part.write_bytes(new.encode())

    def flush(self) -> None:
        with self._lock:
            if self._waiting:
                self._put()

    def _open(self) -> None:
        """Go on with the last part that is there."""
        self._part = self._path
        for part in _parts(self._path):
            self._part, self._lines = part, _text(part).splitlines(keepends=True)
        if len(self._lines) >= LINES:
            self._part, self._lines = _next(self._path, self._part), []

    def _put(self) -> None:
        assert self._part is not None
        self._check()
        self._part.write_bytes("".join(self._lines).encode())
        self._waiting = False


def _parts(path: ObjectPath) -> Iterator[ObjectPath]:
    """Those that are there, in their order."""
    part = path
    while part.exists():
        yield part
        part = _next(path, part)


def _next(path: ObjectPath, part: ObjectPath | None) -> ObjectPath:
    number = 1 if part in (None, path) else int(part.stem.rpartition(".")[2])  # type: ignore
    return path.with_name(f"{path.stem}.{number + 1}{path.suffix}")


def _text(part: ObjectPath) -> str:
    return part.read_text(errors="replace")
