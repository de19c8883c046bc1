"""Files that lie in a folder or in an archive, by name, size and place; none of them is read."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, NamedTuple

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.files import folder_made
from scaling.base.console import complain
from scaling.data.files.tar_members import COMPRESSED, TarMember, tar_members

IMAGES = (".jpg", ".jpeg", ".png")
ZIP = b"PK\x03\x04"
ASIDE = ".decompressed-"  # how a file begins that is there while an archive is read


class Entry(NamedTuple):
    """One file."""

    name: str
    """Below the folder or within the archive, its parts joined by /; a folder's ends with one."""
    size: int
    place: Any
    """Where it lies, and what tells it from its changed self; for JSON."""

    @property
    def parts(self) -> list[str]:
        folder, _, file = self.name.rpartition("/")
        return [*_parts(folder), file]

    @property
    def hidden(self) -> bool:
        """Begins with a dot, as what a desktop leaves behind; or leads out of its archive."""
        folder, _, file = self.name.rpartition("/")
        return file.startswith(".") or _is_hidden(folder)

    @property
    def is_trace(self) -> bool:
        """A folder, or a hidden file in one that is not: no image, but a class was meant."""
        folder, _, file = self.name.rpartition("/")
        return (not file or file.startswith(".")) and not _is_hidden(folder)

    @property
    def is_image(self) -> bool:
        return self.name.lower().endswith(IMAGES)


@lru_cache(1 << 16)
def _parts(folder: str) -> tuple[str, ...]:
    return tuple(part for part in folder.split("/") if part not in ("", "."))


@lru_cache(1 << 16)
def _is_hidden(folder: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in _parts(folder))


def files_below(
    root: Path, folders: list[str] | None = None
) -> Iterator[tuple[str, os.stat_result]]:
    """Name and state of every file below a folder, in order; links are followed, rings are not.

    Args:
      folders: takes the names of the folders, of which some are classes.

    Raises:
      UserError: images, or classes, that are links to nothing, when all else was told.
    """
    broken = []
    for folder, below, files in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        below[:] = sorted(each for each in below if not _is_above(Path(folder, each), here))
        if folders is not None:
            folders += [Path(folder, each).relative_to(root).as_posix() for each in below]
        for file in sorted(files):
            path = Path(folder, file)
            if path.is_file():
                yield path.relative_to(root).as_posix(), path.stat()
            elif path.is_symlink() and not os.path.exists(path):
                is_image = path.name.lower().endswith(IMAGES)
                if is_image or (folders is not None and _may_be_class(path, root)):
                    kind = "image" if is_image else "folder"
                    broken.append(f"{path} is a link to nothing; restore the {kind}, or remove it.")
    if broken:
        raise UserError(broken)


def _may_be_class(link: Path, root: Path) -> bool:
    """Whether a link to nothing lies where the folder of a class may: in a folder of `root`."""
    return link.parent != root and not link.name.startswith(".")


def _is_above(folder: Path, here: str) -> bool:
    """Whether a link leads to a folder that it lies in."""
    return folder.is_symlink() and Path(here).is_relative_to(os.path.realpath(folder))


def members(
    archive: Path,
    called: str,
    within: TarMember | None = None,
    folders: list[str] | None = None,
) -> list[TarMember]:
    """As `tar_members`, with what is wrong said of `called`; images that are links are counted."""
    links: list[str] = []
    try:
        found = list(tar_members(archive, within, links, folders))
    except ValueError as error:
        words = str(error).replace(str(archive), called)
        needed = "" if "cut off" in words else ". A folder or a tar archive is needed"
        raise UserError([f"{words}{needed}."]) from error
    if images := [name for name in links if name.lower().endswith(IMAGES)]:
        count = counted(len(images), "image that is a link", "images that are links", form="_")
        verb = "is" if len(images) == 1 else "are"
        complain(f"{called}: {count} {verb} left out, the first {images[0]}; unpack it instead.")
    return found


@contextmanager
def plain_archive(path: Path, room: Path) -> Iterator[Path]:
    """The archive itself, or, of a compressed one, what it decompresses to, for as long as needed.

    Args:
      room: folder for what is decompressed.

    Raises:
      UserError: it is cut off, or compressed with zstd.
    """
    with path.open("rb") as stream:
        begins = stream.read(6)
        if not begins.startswith(COMPRESSED):
            yield path
            return
        stream.seek(0)
        with _room(room) as plain:
            decompress(stream, str(path), plain)
            yield Path(plain.name)


@contextmanager
def zipped_archive(path: Path, name: str, room: Path) -> Iterator[Path]:
    """As `plain_archive`, of the archive called `name` that lies in a zip file.

    Raises:
      UserError: the zip file is damaged or has no such file.
    """
    with _room(room) as plain:
        _unzip(path, name, plain)
        yield Path(plain.name)


def _unzip(path: Path, name: str, plain: IO[bytes]) -> None:
    import zipfile

    try:
        with zipfile.ZipFile(path) as zipped:
            inner = [each for each in zipped.namelist() if each.split("/")[-1] == name]
            if not inner:
                raise UserError([f"{path} has no {name}; get it again."])
            with zipped.open(inner[0]) as stream:
                decompress(stream, f"{path}, {inner[0]},", plain)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError([_damaged(str(path), error)]) from error


@contextmanager
def _room(room: Path) -> Iterator[IO[bytes]]:
    """A file in `room`, locked for as long as it is there. Those that killed processes have left
    are removed."""
    with folder_made(room):
        for left in room.glob(f"{ASIDE}*.part"):
            _remove_unless_locked(left)
        with NamedTemporaryFile(dir=room, prefix=ASIDE, suffix=".part") as plain:
            with suppress(OSError):  # a disk without locks
                fcntl.flock(plain, fcntl.LOCK_EX)
            yield plain


def _remove_unless_locked(file: Path) -> None:
    with suppress(OSError), file.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()


def decompress(stream: IO[bytes], called: str, plain: IO[bytes]) -> None:
    """Copy what `stream` holds, decompressed where it is compressed."""
    import bz2
    import gzip
    import lzma
    import shutil
    import zipfile
    import zlib

    opens: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
    damaged = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)
    try:
        begins = stream.read(6)
        stream.seek(0)
        if begins.startswith(b"\x28\xb5\x2f\xfd"):
            raise UserError([f"{called} is compressed with zstd; decompress it (zstd -d)."])
        found = next((how for magic, how in opens.items() if begins.startswith(magic)), None)
        if found is None:
            shutil.copyfileobj(stream, plain, 1 << 20)
        else:
            with found(stream, "rb") as source:
                shutil.copyfileobj(source, plain, 1 << 20)
    except damaged as error:
        raise UserError([_damaged(called, error)]) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise UserError([_damaged(called, error)]) from error
    plain.flush()


def _damaged(called: str, error: Exception) -> str:
    return f"{called} is cut off or damaged: {error}; get the file again."


def is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == ZIP
