"""Files of records as ArrayRecord: each written aside, read back and compared, then renamed.

`Progress` remembers beside them what is done, so that a killed conversion goes on where it was.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from fits.base.errors import UserError
from fits.base.files import folder_made, write_text, written_aside
from scaling.base.json_file import read_json

PROGRESS, LOCK = "conversion.json", ".conversion.lock"
INFO = "dataset_info.json"  # TFDS's description, written last
AT_ONCE = 64  # records read back together


class Shard(NamedTuple):
    """One file of records that is written and compared."""

    records: int
    bytes: int
    """Of all records together."""
    sha256: str
    """Of all records and their lengths, in order."""


class Tally:
    """Count and checksum of records, as they pass."""

    def __init__(self) -> None:
        self.records = self.bytes = 0
        self._hash = hashlib.sha256()

    def add(self, record: bytes) -> None:
        self.records += 1
        self.bytes += len(record)
        self._hash.update(len(record).to_bytes(8, "little"))
        self._hash.update(record)

    def shard(self) -> Shard:
        return Shard(self.records, self.bytes, self._hash.hexdigest())


def write_shard(target: Path, records: Iterable[bytes]) -> Shard:
    """All `records` into `target`, or nothing.

    Raises:
      UserError: what was read back differs.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    written = Tally()
    with written_aside(target, durable=True) as aside:
        writer = ArrayRecordWriter(str(aside), "group_size:1")  # as TFDS: any record by itself
        try:
            for record in records:
                writer.write(record)
                written.add(record)
            writer.close()
        except RuntimeError as error:  # array_record's, of a full disk
            raise UserError([f"{target} cannot be written: {error}"]) from error
        if (found := read_back(aside)) != written.shard():
            raise UserError(
                [
                    f"{target}: {found.records:_} records came back from the disk with another "
                    f"checksum, of {written.records:_} written. Is the disk full or failing? "
                    "Nothing was kept of this file."
                ]
            )
    return found


def read_back(file: Path) -> Shard:
    """Count and checksum of what lies in an ArrayRecord file; all zeros where it is none."""
    tally = Tally()
    try:
        for record in array_records(file):
            tally.add(record)
    except (RuntimeError, ValueError):
        return Shard(0, 0, "")
    return tally.shard()


def array_records(file: Path) -> Iterator[bytes]:
    """The records of an ArrayRecord file, in order."""
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(file))
    try:
        count = reader.num_records()
        for first in range(0, count, AT_ONCE):
            yield from reader.read(first, min(first + AT_ONCE, count))
    finally:
        reader.close()


class Progress:
    """What is done in one folder, kept in its `conversion.json`.

    One process at a time works in a folder: used with `with`, which also removes what a killed one
    has left half written. Where nothing was made, nothing is left behind, the folder neither.

    Raises:
      UserError: another process is at work there.
    """

    def __init__(self, folder: Path):
        self.folder, self._file = folder, folder / PROGRESS
        self._done: dict[str, Any] = {}
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.enter_context(folder_made(self.folder))
            held.enter_context(self._alone())
            held.callback(self._remove_lock)
            self._held = held.pop_all()
        for aside in self.folder.glob(".*.part"):
            aside.unlink(missing_ok=True)
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _alone(self) -> IO[str]:
        """The lock, held by nobody else."""
        file = self.folder / LOCK
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = file.open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock.fileno()), file.stat()):
                    return lock
            except BlockingIOError:
                words = f"another process writes into {self.folder}; wait for it."
                lock.close()
                raise UserError([words]) from None
            except FileNotFoundError:
                pass
            lock.close()  # whoever held it has just removed it

    def _remove_lock(self) -> None:
        if not self._file.exists():
            (self.folder / LOCK).unlink(missing_ok=True)

    def _read(self) -> None:
        try:
            found = read_json(self._file)
            self._done = found if isinstance(found, dict) else {}
        except (OSError, ValueError):
            pass

    def found(self, name: str, source: Any) -> dict[str, Any] | None:
        """What was kept of the file `name`, when it is there, made of the same `source`."""
        if self._source(name) != source or not (self.folder / name).is_file():
            return None
        kept = self._done[name]
        return kept if kept.get("file_bytes") == (self.folder / name).stat().st_size else None

    def _source(self, name: str) -> Any:
        kept = self._done.get(name)
        return kept.get("source") if isinstance(kept, dict) else None

    def refuse_other(self, wanted: Mapping[str, Any]) -> None:
        """Raise UserError where a finished data set lies that was made of something else.

        Args:
          wanted: source of each file that is to be made.
        """
        finished = (self.folder / INFO).exists()
        if finished and any(self._source(name) != source for name, source in wanted.items()):
            raise UserError(
                [
                    f"{self.folder} holds a data set that was made of something else; remove it, "
                    "or give another name or folder."
                ]
            )

    def keep(self, name: str, source: Any, shard: Shard, **more: Any) -> dict[str, Any]:
        size = (self.folder / name).stat().st_size
        self._done[name] = {"source": source, "file_bytes": size, **shard._asdict(), **more}
        write_text(self._file, json.dumps(self._done, indent=1), durable=True)
        return self._done[name]


def stamp(file: Path) -> list[Any]:
    """What tells a file from its changed self."""
    found = file.stat()
    return [str(file.absolute()), found.st_size, found.st_mtime_ns]
