"""Programs compiled once: JAX's persistent compilation cache, where every worker finds it.

    ~/.cache/vit-scaling-laws/xla/<processor>/    one file a program; sums.json: their CRC-32;
                                                  *.lock: held by who compiles that step

JAX names an entry by the program's text, its options and the versions and devices it is for, so
that a cached program is the one that would be compiled, and computes the same digits. A program for
a CPU uses the instructions of that CPU, and a home directory may be shared: each kind of processor
has a folder of its own. The folder may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path

from fits.base.files import write_text
from scaling.base.machine import cache_folder

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
FOLDER = "jax_compilation_cache_dir"  # of JAX's configuration
ENTRIES = "*-cache"
SUMS = "sums.json"
SMALLEST = 0.1  # seconds to compile; what takes less is not worth a file
BEING_WRITTEN = 60.0  # seconds for which an entry may be incomplete because somebody writes it
LONGEST = 900.0  # seconds to wait for another process's compilation before compiling as well
ZLIB, ZSTANDARD = b"\x78", b"\x28\xb5\x2f\xfd"  # what an entry begins with, by how JAX packs it


def use_compilation_cache() -> Path | None:
    """Keep compiled programs on disk and take them from there, in this process from now on.

    Call it before anything is compiled. A user's own `JAX_COMPILATION_CACHE_DIR` wins: None is
    returned then. Where nothing can be written, programs are compiled as without a cache.
    """
    import jax

    # an entry that cannot be read or written is compiled, or not kept: nobody's mistake
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache")
    if os.environ.get(VARIABLE):
        return None
    folder = cache_folder() / "xla" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drop_damaged(folder)
    except OSError:
        return None
    jax.config.update(FOLDER, str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SMALLEST)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)  # no lower limit
    return folder


@contextmanager
def compiled_by_one(name: str) -> Iterator[None]:
    """Around the first call of a program: processes that come here with one name take turns, so
    that the first compiles it and the others read what it kept.

    Nobody waits where no cache is in use, or where several processes train together, which may have
    to compile together; nor for ever: a process that was stopped while it compiled keeps its turn.
    """
    import jax

    folder = getattr(jax.config, FOLDER)
    with ExitStack() as stack:
        if folder and jax.process_count() == 1:
            with suppress(OSError):  # of a cache that can only be read, or on a disk without locks
                lock = stack.enter_context(open(Path(folder) / f"{name}.lock", "w"))
                _take(lock.fileno(), time.monotonic() + LONGEST)
        yield


def _take(lock: int, until: float) -> None:
    """Take the lock of an open file as soon as nobody has it; give up in silence at `until`."""
    while time.monotonic() < until:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.1)


def drop_damaged(folder: Path) -> None:
    """Delete entries that are not what was written, so that they are compiled again.

    JAX writes an entry in place and never replaces one: of a process killed while it wrote, a torn
    file would stay. An entry seen for the first time must be whole; its CRC-32 is kept, and later
    it must be the same.
    """
    known, found = _sums(folder), {}
    for entry in folder.glob(ENTRIES):
        try:
            content, age = entry.read_bytes(), time.time() - entry.stat().st_mtime
        except FileNotFoundError:
            continue  # another worker was faster
        crc = zlib.crc32(content)
        if crc == known.get(entry.name) or (entry.name not in known and _is_whole(content)):
            found[entry.name] = crc
        elif entry.name in known or age > BEING_WRITTEN:
            entry.unlink(missing_ok=True)
    if found != known:
        write_text(folder / SUMS, json.dumps(found))


def _sums(folder: Path) -> dict[str, int]:
    try:
        found = json.loads((folder / SUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_whole(content: bytes) -> bool:
    """Whether an entry can be unpacked, as far as this Python can tell."""
    try:
        if content.startswith(ZLIB):
            zlib.decompress(content)
        elif content.startswith(ZSTANDARD):
            import_module("compression.zstd").decompress(content)
    except ImportError:
        return True
    except Exception:  # zlib's and zstd's own
        return False
    return bool(content)


def _processor() -> str:
    """Names this kind of processor: its model and its instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    telling = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    text = "\n".join([platform.machine(), platform.processor(), *sorted(telling)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
