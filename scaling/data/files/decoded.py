"""Image files of one folder as squares of pixels.

Small sets are decoded once, by whichever process comes first, into a memory-mapped file under the
user's cache folder; sets beyond `CACHE_LIMIT` are decoded as they are asked for. What was found
wrong with a set, or that nothing was, is kept there too, and how large its images are as stored.
"""

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fits.base.files import write_text, written_aside
from scaling.base.config import contents
from scaling.base.console import Say
from scaling.base.json_file import read_json
from scaling.base.machine import cache_folder
from scaling.data.pixels.crops import Cropper, Crops, crop_of
from scaling.data.pixels.decode import UnreadableImages, check_all, decode_all, sizes_of, together
from scaling.data.pixels.resize import Decode, cut

CACHE_LIMIT = 8 << 30  # bytes of pixels, a set; beyond, a cache costs more disk than is polite
CHUNK = 1024  # images decoded between two writes to a cache
ABANDONED = 24 * 3600  # seconds without a write after which a file is a killed process's


class Member(NamedTuple):
    """One image file, and what tells whether it has changed since."""

    label: int
    name: str
    """Relative to the folder."""
    bytes: int
    modified: int
    """Nanoseconds since 1970."""


class DecodedFiles:
    """Files of one folder, by number; holds no pixels of its own."""

    def __init__(self, folder: Path, members: Sequence[Member], resolution: int, how: Decode):
        """
        Args:
          resolution: side of the squares, pixels.

        Raises:
          UnreadableImages: some cannot be read, which is found out where they are kept.
          ValueError: there is no room to keep them.
        """
        self.folder, self.resolution, self.how = folder, resolution, how
        self.names = [member.name for member in members]
        self.size = len(members)
        self._file = _cache_file(folder, members, resolution, how)
        self._cache: NDArray[np.uint8] | None = None
        if self.size * resolution**2 * 3 <= CACHE_LIMIT:
            self._cache = self._decoded_once(self._file)

    def check(self, say: Say) -> None:
        """Raise UnreadableImages unless all images can be read, which is found out once."""
        if self._cache is not None:
            return
        try:
            with self._first(self._file):
                if _verdict(self._file) is None:
                    say(f"{self.folder}: all {self.size:_} images are checked, this once.")
                    self._in_chunks(check_all)
                    _keep_verdict(self._file, {})
        except OSError:  # nothing can be kept on this machine
            self._in_chunks(check_all)

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> NDArray[np.uint8]:
        """The squares of these numbers, [n, resolution, resolution, 3], in memory of their own."""
        if self._cache is None:
            return self._decoded(indices, crop)
        if crop is None:
            return np.array(self._cache[indices])  # out of the map, into memory
        return self._cropped(self._cache, indices, crop)

    def _cropped(
        self, cache: NDArray[np.uint8], indices: NDArray[np.int64], crop: Cropper
    ) -> NDArray[np.uint8]:
        """Cut out of the squares that are kept, where these are the images as stored; else out of
        the files."""
        sizes = self._sizes[indices]
        crops = crop(sizes)
        stored = (sizes == self.resolution).all(1) & (self.how.resize_to in (None, self.resolution))
        squares = np.empty((len(indices), self.resolution, self.resolution, 3), np.uint8)
        for i in np.flatnonzero(stored).tolist():
            squares[i] = cut(cache[indices[i]], crop_of(crops, i), self.resolution, self.how)
        if not stored.all():
            rest = Crops(*(each[~stored] for each in crops))
            squares[~stored] = self._decoded(indices[~stored], lambda _: rest)
        return squares

    def _decoded(self, indices: NDArray[np.int64], crop: Cropper | None) -> NDArray[np.uint8]:
        files = [self.folder / self.names[i] for i in indices]
        return decode_all(files, [str(file) for file in files], self.resolution, self.how, crop)

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        """Heights and widths as stored, [size, 2], read once on each machine."""
        file = self._file.with_suffix(".sizes.npy")
        found = _mapped(file, (self.size, 2), np.int64)
        if found is None:
            found = sizes_of([self.folder / name for name in self.names])
            with suppress(OSError), written_aside(file) as aside, aside.open("wb") as stream:
                np.save(stream, found)
        return found

    def _in_chunks(self, work: Callable[[Sequence[Path], Sequence[str]], object]) -> None:
        """All files through `work`, in order; what cannot be read is raised when all are done."""
        found: list[UnreadableImages] = []
        for start in range(0, self.size, CHUNK):
            files = [self.folder / name for name in self.names[start : start + CHUNK]]
            try:
                work(files, [str(file) for file in files])
            except UnreadableImages as error:
                found.append(error)
        if found:
            raise together(found)

    @contextmanager
    def _first(self, file: Path) -> Iterator[None]:
        """Keeps processes of one machine that start together waiting for the first of them.

        Raises:
          UnreadableImages: what is found within, which is kept, or what another found before.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if found := _verdict(file):
                raise UnreadableImages(found, lasting=True)
            try:
                yield
            except UnreadableImages as error:
                if error.lasting:
                    _keep_verdict(file, error.why)
                raise

    def _decoded_once(self, file: Path) -> NDArray[np.uint8]:
        """All images as a read-only map of `file`, which is made first where it is not there.

        Processes of one machine that start together wait for the one that makes it. The lock
        only saves their work: each writes to a temporary file with a random name and renames it,
        so that neither a kill nor a second machine on the same folder leaves half a file.
        """
        shape = (self.size, self.resolution, self.resolution, 3)
        try:
            with self._first(file):
                found = _mapped(file, shape)
                if found is None:
                    _remove_abandoned(file)
                    with written_aside(file, durable=True) as aside:
                        self._write(aside, shape)
                    found = _mapped(file, shape)
        except OSError as error:
            raise ValueError(
                f"{self.folder}: its decoded images ({np.prod(shape) / 2**30:.2g} GiB) cannot be "
                f"kept in {file.parent}: {error}. Point XDG_CACHE_HOME to a folder with room."
            ) from error
        assert found is not None
        return found

    def _write(self, file: Path, shape: tuple[int, ...]) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with file.open("wb") as stream:  # not a map: a full disk kills whoever writes to one
            np.lib.format.write_array_header_1_0(stream, header)
            self._in_chunks(
                lambda files, names: stream.write(
                    decode_all(files, names, self.resolution, self.how).data
                )
            )


def _cache_file(folder: Path, members: Sequence[Member], resolution: int, how: Decode) -> Path:
    """Where the decoded images belong: a name that changes with anything that changes them."""
    decides = [str(folder), resolution, how.libraries(), *members]
    if said := contents(how):
        decides.append(said)
    digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    return cache_folder() / f"{folder.parent.name}-{folder.name}-{digest}.npy"


def _verdict(file: Path) -> dict[str, str] | None:
    """What cannot be read of the images that `file` belongs to, and why; None: not known."""
    try:
        found = read_json(file.with_suffix(".checked.json"))
    except (OSError, ValueError):
        return None
    said = isinstance(found, dict) and all(isinstance(why, str) for why in found.values())
    return found if said else None


def _keep_verdict(file: Path, unreadable: dict[str, str]) -> None:
    write_text(file.with_suffix(".checked.json"), json.dumps(unreadable))


def _remove_abandoned(file: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote `file`."""
    for aside in file.parent.glob(f".{file.name}.*.part"):
        if time.time() - aside.stat().st_mtime > ABANDONED:
            aside.unlink(missing_ok=True)


def _mapped(file: Path, shape: tuple[int, ...], dtype: type = np.uint8) -> NDArray[Any] | None:
    """`file` as a read-only map; None when it is not there, or not whole."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == dtype else None
