"""Where a folder of runs may lie: on a disk, or in a bucket of an object store, s3:// or gs://.

`place` turns the command line's words into a path: a `pathlib.Path`, or an `ObjectPath`, which has
as many of its methods as run folders need. The few functions below do what differs: a file is
published by renaming it in, an object by one PUT; a file is created exclusively by its open mode,
an object by a PUT with a precondition (`If-None-Match: *`, `ifGenerationMatch=0`). Nothing of a
listing is ever cached: others write there too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, cast

from fits.base.errors import UserError
from fits.base.files import written_aside

EXTRAS = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}  # scheme -> package, extra that brings it
NOT_CREATED = {"PreconditionFailed", "ConditionalRequestConflict", "409", "412"}


class ObjectStat(NamedTuple):
    """What is known of an object, as `os.stat_result` calls it."""

    st_size: int
    st_mtime: float
    """By the store's clock, in seconds since 1970."""


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object, or what lies below a name, with the methods of `pathlib.Path` that are needed.

    Every error is an OSError that names the path. Folders are no objects: to make one does nothing,
    and `exists` is about an object of exactly this name.
    """

    scheme: str
    key: str
    """Bucket and name, with slashes between."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.scheme, f"{self.key}/{name}")

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.scheme, self.key.rpartition("/")[0])

    def absolute(self) -> ObjectPath:
        return self

    def with_name(self, name: str) -> ObjectPath:
        return self.parent / name

    def with_suffix(self, suffix: str) -> ObjectPath:
        return self.parent / f"{self.stem}{suffix}"

    def exists(self) -> bool:
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    is_file = exists

    def is_dir(self) -> bool:
        """Whether objects lie below this name."""
        return next(iter(self._children()), None) is not None

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        pass

    def stat(self) -> ObjectStat:
        with _said(self) as store:
            about = store.info(self.key)
        if about["type"] != "file":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return _stat(about)

    def read_bytes(self) -> bytes:
        with _said(self) as store:
            return store.cat_file(self.key)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, content: bytes) -> None:
        """One PUT: readers find what was there before, or all of it."""
        with _said(self) as store:
            store.pipe_file(self.key, content)

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            with _said(self) as store:
                store.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def iterdir(self) -> Iterator[ObjectPath]:
        for about in self._children():
            yield ObjectPath(self.scheme, about["name"].rstrip("/"))

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Objects whose names below this one match, part by part; found by one flat listing."""
        wanted = pattern.split("/")
        for path, _ in self.below():
            parts = path.key[len(self.key) + 1 :].split("/")
            if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
                yield path

    def below(self) -> list[tuple[ObjectPath, ObjectStat]]:
        """Every object below this name."""
        with _said(self) as store:
            found = store.find(self.key, detail=True)
        return [
            (ObjectPath(self.scheme, key), _stat(about))
            for key, about in sorted(found.items())
            if key.startswith(f"{self.key}/") and about["type"] == "file"
        ]

    def _children(self) -> list[dict[str, Any]]:
        try:
            with _said(self) as store:
                found = store.ls(self.key, detail=True)
        except FileNotFoundError:
            return []
        return [each for each in found if each["name"].startswith(f"{self.key}/")]


def place(words: str | Path) -> Path:
    """The path that a command line names.

    An `ObjectPath` is handed out as what it stands in for.

    Raises:
      UserError: another kind of URL, a package that is not installed, no such bucket, or no way
        to it.
    """
    scheme, separator, key = str(words).partition("://")
    if not separator:
        return Path(words)
    if scheme not in EXTRAS:
        raise UserError([f"{words}: a folder of runs is a path, s3://BUCKET/... or gs://..."])
    key = key.strip("/")
    bucket = key.partition("/")[0]
    if not bucket or any(part in ("", ".", "..") for part in key.split("/")):
        raise UserError([f"{words}: names no place in a bucket, as {scheme}://BUCKET/runs does."])
    _check_bucket(scheme, bucket)
    return cast(Path, ObjectPath(scheme, key))


def is_object(path: object) -> TypeGuard[ObjectPath]:
    """Whether a path lies in a bucket."""
    return isinstance(path, ObjectPath)


def publish(
    path: Path, content: bytes, *, durable: bool = False, check: Callable[[], None] = lambda: None
) -> None:
    """Put `content` in the place of `path`, whole or not at all.

    Args:
      durable: as `written_aside` takes it; an object always is.
      check: called right before; raises where it must not be.
    """
    if is_object(path):
        check()
        path.write_bytes(content)
        return
    with written_aside(path, durable=durable) as aside:
        aside.write_bytes(content)
        check()


def create(path: ObjectPath, content: bytes) -> bool:
    """Write an object unless there is one; whether it was written. One of several who try, does.

    Args:
      content: that nobody else writes there, by which an answer that was lost is made up for.
    """
    try:
        with _said(path) as store:
            store.pipe_file(path.key, content, mode="create")
    except FileExistsError:
        try:  # the store may have written it, and been asked a second time when its answer was lost
            return path.read_bytes() == content
        except FileNotFoundError:
            return False
    return True


def check_exclusive(there: ObjectPath) -> None:
    """Raise UserError where the store writes over an object in spite of the precondition.

    Asked once a process and bucket.

    Args:
      there: an object that this process alone has to do with; overwritten by such a store.
    """
    bucket = there.scheme, there.key.partition("/")[0]
    if bucket in _exclusive:
        return
    if create(there, b"another"):
        raise UserError(
            [
                f"{there.scheme}://{bucket[1]}: this store writes over objects that exist, though "
                "asked not to (If-None-Match), so two workers could train one run. Use another."
            ]
        )
    _exclusive.add(bucket)


_exclusive: set[tuple[str, str]] = set()


def upload(files: Sequence[tuple[Path, ObjectPath]]) -> None:
    """Copy files into a bucket, several at a time."""
    if files:
        with _said(files[0][1].parent) as store:
            store.put([str(file) for file, _ in files], [path.key for _, path in files])


def download(files: Sequence[tuple[ObjectPath, Path]]) -> None:
    """Copy objects to a disk, several at a time."""
    for _, file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    if files:
        with _said(files[0][0].parent) as store:
            store.get([path.key for path, _ in files], [str(file) for _, file in files])


def move(old: ObjectPath, new: ObjectPath) -> None:
    """Copy an object, or all below a name, then delete the old: interrupted, both are there."""
    there = [path for path, _ in old.below()] or [old]
    for path in there:
        with _said(path) as store:
            store.cp_file(path.key, new.key + path.key[len(old.key) :])
    for path in there:
        path.unlink(missing_ok=True)


def delete_below(
    folder: ObjectPath, keep: Callable[[ObjectPath], bool] = lambda path: False
) -> None:
    """Delete every object below a name that is not to be kept."""
    for path, _ in folder.below():
        if not keep(path):
            path.unlink(missing_ok=True)


@cache
def _store(scheme: str) -> Any:
    """The client of a store; ImportError where its package is not installed."""
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False)


@cache
def _check_bucket(scheme: str, bucket: str) -> None:
    package, extra = EXTRAS[scheme]
    url = f"{scheme}://{bucket}"
    try:
        _store(scheme)
    except ImportError:
        raise UserError(
            [f"{url}: needs {package}: pip install 'vit-scaling-laws[{extra}]'."]
        ) from None
    except Exception as error:  # as no credentials make Google's client say
        raise UserError([f"{url}: {_first_line(error)}."]) from error
    try:
        with _said(ObjectPath(scheme, bucket)) as store:
            store.info(bucket)
    except FileNotFoundError:
        raise UserError([f"{url}: there is no such bucket."]) from None
    except PermissionError as error:
        if scheme == "s3":  # of gs, who may write objects need not be allowed to look at the bucket
            raise UserError([f"{url}: {error.strerror}."]) from error
    except OSError as error:
        raise UserError([f"{url}: {error.strerror}.{_hint(error)}"]) from error


def _hint(error: OSError) -> str:
    if type(error.__cause__).__name__ != "NoCredentialsError":
        return ""
    return " Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."


@contextmanager
def _said(path: ObjectPath) -> Iterator[Any]:
    """The path's store, whatever goes wrong with it an OSError that names the path."""
    try:
        yield _store(path.scheme)
    except FileNotFoundError:
        number = errno.ENOENT
        raise FileNotFoundError(number, os.strerror(number), str(path)) from None
    except PermissionError as error:
        raise PermissionError(errno.EACCES, _first_line(error), str(path)) from error
    except Exception as error:  # of s3fs, gcsfs, their clients, and the network below them
        if isinstance(error, FileExistsError) or _code(error) in NOT_CREATED:
            number = errno.EEXIST
            raise FileExistsError(number, os.strerror(number), str(path)) from None
        raise OSError(errno.EIO, _first_line(error), str(path)) from error


def _code(error: Exception) -> str:
    """What an S3 store or Google's calls the error, where it answered."""
    response = getattr(error.__cause__, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code"))
    return str(getattr(error, "code", ""))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _stat(about: dict[str, Any]) -> ObjectStat:
    when = about.get("LastModified") or about.get("mtime")
    return ObjectStat(int(about["size"]), when.timestamp() if when else 0.0)
