"""Where the files of a tar archive lie, so that any of them is read without the others.

Nothing is unpacked. The archive is a plain one: what is compressed has no places to go to.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = 512
AT_ONCE = 8192  # bytes read for a header: little of what lies behind it
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class TarMember(NamedTuple):
    """One file of an archive."""

    name: str
    offset: int
    size: int
    """Bytes, from `offset`."""


def tar_members(
    archive: Path,
    within: TarMember | None = None,
    links: list[str] | None = None,
    folders: list[str] | None = None,
) -> Iterator[TarMember]:
    """The plain files of an archive, in order; links, folders and devices are passed over.

    Args:
      within: a member that is an archive itself, whose files are meant; offsets are the outer's.
      links: takes the names of the links.
      folders: takes the names of the folders.

    Raises:
      ValueError: it is no plain tar archive, or it is cut off: after which file, at which byte.
    """
    start, whole = (within.offset, within.size) if within else (0, archive.stat().st_size)
    with _Part(archive, start, whole) as part, io.BufferedReader(part, AT_ONCE) as stream:
        begins = stream.read(6)
        if begins.startswith(COMPRESSED):
            raise ValueError(f"{archive} is compressed; decompress it")
        stream.seek(0)
        last, seen = "", -1
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # else all headers stay in memory
                    ends = info.offset_data + info.size
                    if info.size < 0 or info.offset <= seen or ends > whole:
                        raise ValueError(_cut(archive, info.name, info.offset))
                    last, seen = info.name, info.offset
                    if info.isreg() and not info.issparse():
                        yield TarMember(info.name, start + info.offset_data, info.size)
                    elif links is not None and (info.islnk() or info.issym()):
                        links.append(info.name)
                    elif folders is not None and info.isdir():
                        folders.append(info.name)
                ends = tar.offset
        except (tarfile.TarError, EOFError, OverflowError) as error:
            if isinstance(error, tarfile.ReadError) and not last:
                raise ValueError(f"{archive} is no tar archive: {error}") from error
            raise ValueError(_cut(archive, last, seen)) from error
        stream.seek(ends)
        if stream.read(BLOCK).rstrip(b"\0") or ends + BLOCK > whole:
            raise ValueError(_cut(archive, last, ends))


class _Part(io.RawIOBase):
    """So many bytes of a file, as a file."""

    def __init__(self, file: Path, start: int, size: int):
        self._stream = file.open("rb", buffering=0)
        self._start, self._size, self._at = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._stream.seek(self._start + self._at)
        data = self._stream.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _cut(archive: Path, last: str, at: int) -> str:
    where = f"at or after {last!r}, byte {at:_}" if last else f"at byte {at:_}"
    return f"{archive} is cut off or damaged {where}; get the file again"


def read_member(archive: Path, offset: int, size: int) -> bytes:
    """The contents of one file. ValueError: there are fewer bytes than there were."""
    with archive.open("rb", buffering=0) as stream:
        stream.seek(offset)
        found = stream.read(size)
    if len(found) != size:
        raise ValueError(f"{archive} has {len(found):_} of its {size:_} bytes")
    return found
