"""File operations of this process that go wrong: an error, or the process killed around one.

`watch` calls a function before and after every rename, link, deletion, fsync, write, folder made
and file opened to be written below a folder. What C++ writes by itself, as Orbax and Arrow do, is
not seen. Knows nothing of runs.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ONE_PATH = "unlink", "remove", "rmdir", "mkdir", "utime"
TWO_PATHS = "rename", "replace", "link"


class Operation(NamedTuple):
    """A file operation.

    Fields:
      kind: rename, replace, link, unlink, rmdir, mkdir, utime, fsync, open or write.
      path: what it is done to; for a rename and a link, the new name.
    """

    kind: str
    path: str


class Watcher(Protocol):
    """Is called around file operations; what it raises is what the operation raises."""

    def before(self, operation: Operation) -> None: ...

    def half(self, operation: Operation) -> None:
        """A write, half of which has come to the file."""

    def after(self, operation: Operation) -> None: ...


def _path(handle: Any) -> str:
    """Of a path, or of what a file descriptor leads to."""
    if isinstance(handle, int):
        return os.readlink(f"/proc/self/fd/{handle}")
    return os.path.abspath(os.fspath(handle))


class _Written:
    """An open file that tells of what is written to it."""

    def __init__(self, file: Any, path: str, watcher: Watcher):
        self._file, self._operation, self._watcher = file, Operation("write", path), watcher

    def write(self, content: Any) -> int:
        self._watcher.before(self._operation)
        middle = len(content) // 2
        self._file.write(content[:middle])
        self._file.flush()
        self._watcher.half(self._operation)
        self._file.write(content[middle:])
        self._file.flush()
        self._watcher.after(self._operation)
        return len(content)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def install(root: Path, watcher: Watcher) -> Callable[[], None]:
    """Watch what this process does below `root`; returns what ends that."""
    inside, real = f"{Path(root).resolve()}{os.sep}", dict[tuple[Any, str], Any]()

    def around(kind: str, path: str, call: Callable[[], Any]) -> Any:
        if not path.startswith(inside):
            return call()
        operation = Operation("unlink" if kind == "remove" else kind, path)
        watcher.before(operation)
        try:
            found = call()
        except FileNotFoundError:
            if operation.kind == "unlink":  # of what may be missing: done all the same
                watcher.after(operation)
            raise
        watcher.after(operation)
        return found

    def patched(name: str, place: int, wanted: Callable[..., bool] = lambda *_, **__: True) -> None:
        function = real[os, name] = getattr(os, name)

        @functools.wraps(function)
        def call(*args: Any, **keys: Any) -> Any:
            whole = functools.partial(function, *args, **keys)
            at = keys.get("src_dir_fd") or keys.get("dir_fd")
            if len(args) <= place or not wanted(*args, **keys):
                return whole()
            path = args[place]
            if at is not None and isinstance(path, str | bytes):
                path = os.path.join(os.readlink(f"/proc/self/fd/{at}"), os.fsdecode(path))
            return around(name, _path(path), whole)

        setattr(os, name, call)

    for name in ONE_PATH:
        patched(name, 0)
    for name in TWO_PATHS:
        patched(name, 1)
    patched("fsync", 0)
    patched("open", 0, lambda path, flags, *_, **__: bool(flags & WRITES))

    real_open = real[builtins, "open"] = real[io, "open"] = io.open

    @functools.wraps(real_open)
    def opened(file: Any, mode: str = "r", *args: Any, **keys: Any) -> Any:
        whole = functools.partial(real_open, file, mode, *args, **keys)
        if not set(mode) & set("wax+"):
            return whole()
        path = _path(file)
        if not path.startswith(inside):
            return whole()
        made = whole() if isinstance(file, int) else around("open", path, whole)
        return _Written(made, path, watcher)

    builtins.open = io.open = opened  # type: ignore[assignment]

    def end() -> None:
        for (module, name), function in real.items():
            setattr(module, name, function)

    return end


@contextmanager
def watch(root: Path, watcher: Watcher) -> Iterator[None]:
    """As `install`, for as long as the block lasts."""
    end = install(root, watcher)
    try:
        yield
    finally:
        end()
