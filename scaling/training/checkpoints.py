"""Training states on disk: whole or not there, and checked when they are read back.

A checkpoint is a folder that Orbax wrote plus `checkpoint.json`: its step, the seconds that led
to it, size and CRC-32 of every file, and the CRC-32 of all that, so that a flipped bit is noticed
and not trained on.
Knows nothing of models or runs; a state is any pytree of arrays, in one canonical tree whatever
step made it, and comes back on whatever devices there are. In a bucket: `scaling.training.bucket`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from fits.base.files import write_text
from scaling.base.storage import ObjectPath, is_object
from scaling.training import bucket
from scaling.training.checkpoint_manifest import MANIFEST, sealed, unsealed
from scaling.training.parts import network

PASSING = "passing"  # the one checkpoint that is overwritten as training goes on
SCRATCH = "scaling-checkpoint-"  # temporary folders, on the way into a bucket or out of it
FULL = os.strerror(errno.ENOSPC)
ANOTHER_VERSION = "Another version of this project wrote it; move it away to train that part again."
NOT_THE_FILES_FAULT = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Damaged(Exception):
    """A checkpoint that is not what was written."""


class OtherState(Exception):
    """A sound checkpoint of a state with other arrays than are asked for."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A point of a training: its state after `step` updates and `seconds` of training."""

    step: int
    seconds: float
    state: Any


def save(folder: Path, checkpoint: Checkpoint, guard: Callable[[], None] = lambda: None) -> None:
    """Write `checkpoint` as `folder`, and return when it is there: `begin`, and all the rest."""
    begin(folder, checkpoint, guard)()


def begin(
    folder: Path, checkpoint: Checkpoint, guard: Callable[[], None] = lambda: None
) -> Callable[[], None]:
    """Take the arrays of `checkpoint` off the devices, and return what writes them as `folder`.

    The folder appears only when it is complete. The old one is renamed aside, the new one renamed
    in, and only then is the old one deleted: a process killed at any point leaves at least one
    whole checkpoint, which `found` lists. Several processes of one training call this together; the
    first of them does the renaming.

    Args:
      guard: called right before the renaming; raises where another process has taken over.

    Raises:
      OSError: from either part, as when the disk is full; what was written is deleted, and the
        folder that was there stays.
    """
    if is_object(folder):
        return _begin_in_bucket(folder, checkpoint, guard)
    import jax
    import orbax.checkpoint as ocp

    token = _token()
    partial = folder.with_name(f"{folder.name}.{token}.partial").absolute()
    partial.parent.mkdir(parents=True, exist_ok=True)
    state = checkpoint.state
    if jax.default_backend() == "cpu":  # host and device share memory, which the next step reuses
        state = jax.tree.map(lambda x: x.copy(), state)
    checkpointer = ocp.StandardCheckpointer()
    with _disk_full_said(folder, partial):
        checkpointer.save(partial, state)
    del state
    about = {"step": checkpoint.step, "seconds": checkpoint.seconds}

    def rest() -> None:
        with _disk_full_said(folder, partial):
            checkpointer.close()  # waits until all is written
            if jax.process_index() != 0:
                return
            text = sealed({**about, "files": _sums(partial)})
            write_text(partial / MANIFEST, text, durable=True)
        guard()
        if folder.exists():
            os.rename(folder, folder.with_name(f"{folder.name}.{token}.old"))
        os.rename(partial, folder)
        _delete_leftovers(folder)

    return rest


def _begin_in_bucket(
    folder: ObjectPath, checkpoint: Checkpoint, guard: Callable[[], None]
) -> Callable[[], None]:
    """As `begin`: written to a temporary folder of this machine, and copied from there."""
    scratch = Path(mkdtemp(prefix=SCRATCH))
    try:
        rest = begin(scratch / folder.name, checkpoint)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise

    def rest_and_copy() -> None:
        try:
            rest()
            bucket.put(scratch / folder.name, folder, guard)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    return rest_and_copy


class Saver:
    """Saves in the background, one checkpoint at a time: training goes on while files are written.

    An error of a save is raised by the next call, or at the end of the `with` block. A block that
    ends by an error waits for the save as well, and raises its own.
    """

    def __init__(self, guard: Callable[[], None] = lambda: None):
        """
        Args:
          guard: as in `save`; called in another thread.
        """
        self._guard = guard
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._pending: Future[None] | None = None

    def save(
        self, folder: Path, checkpoint: Checkpoint, then: Callable[[], None] = lambda: None
    ) -> None:
        """Begin to save, when the save before is done; the arrays may be used up afterwards.

        Args:
          then: called, in another thread, when the checkpoint is there.
        """
        self.wait()
        rest = begin(folder, checkpoint, self._guard)

        def rest_then() -> None:
            rest()
            then()

        self._pending = self._pool.submit(rest_then)

    def wait(self) -> None:
        """Until what was begun is done."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        pending, self._pending = self._pending, None
        self._pool.shutdown(wait=True)
        if kind is None and pending is not None:
            pending.result()


@contextmanager
def _disk_full_said(folder: Path, partial: Path) -> Iterator[None]:
    """Turns what Orbax says of a full disk into an OSError, and frees what was written of it."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or FULL in str(error):
            for path in partial.parent.glob(f"{partial.name}*"):  # Orbax writes beside it first
                _delete(path)
            raise OSError(errno.ENOSPC, FULL, str(folder)) from error
        raise


def delete(folder: Path) -> None:
    """Delete the checkpoint `folder`, and what interrupted saves left of it."""
    if is_object(folder):
        bucket.delete(folder)
        return
    _delete(folder)
    _delete_leftovers(folder)


def _token() -> str:
    """A random name for one save, the same in all processes of a training."""
    import jax
    import numpy as np

    token = int.from_bytes(os.urandom(4), "big")
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        token = int(multihost_utils.broadcast_one_to_all(np.uint32(token)))
    return f"{token:08x}"


def _delete_leftovers(folder: Path) -> None:
    """Delete what earlier saves of `folder` left beside it, now that `folder` is whole."""
    for path in folder.parent.glob(f"{folder.name}.*"):
        if ".damaged" not in path.name and (".partial" in path.name or path.suffix == ".old"):
            _delete(path)


def _delete(folder: Path) -> None:
    """Delete a checkpoint; its manifest first, so that half a deletion is no checkpoint."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def verify(folder: Path) -> dict[str, Any]:
    """What `checkpoint.json` says of a checkpoint whose files are as they were written.

    Raises:
      Damaged: a file is missing or has changed.
    """
    try:
        about = unsealed((folder / MANIFEST).read_text())
        sums, written = _sums(folder), about["files"]
        changed = [
            name for name in sorted({*sums, *written}) if sums.get(name) != written.get(name)
        ]
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NOT_THE_FILES_FAULT:
            raise
        raise Damaged(f"{folder} cannot be read back: {str(error).splitlines()[0]}") from error
    if changed:
        raise Damaged(f"{folder}: {', '.join(changed[:3])} changed after it was written.")
    return about


@contextmanager
def at_hand(folder: Path) -> Iterator[Path]:
    """The checkpoint as a folder of this machine, verified: itself, or a copy for a while.

    Raises:
      Damaged: a file is missing or has changed.
    """
    if not is_object(folder):
        verify(folder)
        yield folder
        return
    with TemporaryDirectory(prefix=SCRATCH) as scratch:
        copy = Path(scratch) / folder.name
        try:
            bucket.get(folder, copy)
            verify(copy)
            yield copy
        except (Damaged, OtherState) as error:  # which name the copy
            raise type(error)(str(error).replace(str(copy), str(folder))) from error
        except FileNotFoundError as error:
            raise Damaged(f"{folder} cannot be read back: {error}") from error


def restore(folder: Path, like: Any) -> Checkpoint:
    """The checkpoint saved as `folder`. With several processes all call this, once each of them has
    found the folder sound by `verify`.

    Args:
      like: pytree of `jax.ShapeDtypeStruct` with shardings, of the state's structure.

    Raises:
      Damaged: a file is missing or has changed.
      OtherState: it holds other arrays.
    """
    import orbax.checkpoint as ocp

    about = verify(folder)
    try:
        step, seconds = int(about["step"]), float(about["seconds"])
        if not math.isfinite(seconds):
            raise ValueError(f"{seconds} seconds")
        inside = folder.absolute() / bucket.inside(about)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Damaged(f"{folder}: {MANIFEST} names no step ({error}).") from error
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            saved = checkpointer.metadata(inside).item_metadata.tree
            if difference := _difference(_shapes(saved), _shapes(like)):
                raise OtherState(f"{folder} holds another state: {difference}. {ANOTHER_VERSION}")
            state = checkpointer.restore(inside, like)
    except (OSError, MemoryError, OtherState):
        raise
    except Exception as error:  # whatever Orbax says of files that are as they were written
        raise OtherState(
            f"{folder} is whole and cannot be taken: {str(error).splitlines()[0]} {ANOTHER_VERSION}"
        ) from error
    return Checkpoint(step=step, seconds=seconds, state=state)


def parameters(folder: Path) -> Any:
    """The parameters of the network in a checkpoint of a training, averaged where they are, on one
    device: what was trained, and a backbone that was not.

    Raises:
      Damaged: it is not what was written.
    """
    state = whole_state(folder)
    return network(state["params"], state["frozen"])


def whole_state(folder: Path) -> dict[str, Any]:
    """What a checkpoint of a training holds of the network, on one device: `params`, averaged where
    they are, and what else its objective keeps, `frozen` and `state`.

    Raises:
      Damaged: it is not what was written.
    """
    import jax

    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    saved = saved_shapes(folder)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), saved)
    state = restore(folder, like).state
    kept = {name: state.get(name) or {} for name in ("frozen", "state")}
    return {"params": state.get("average") or state["params"], **kept}


def saved_shapes(folder: Path) -> dict[str, Any]:
    """Shape and type of every array of a checkpoint, nested as the state is; reads no numbers.

    Raises:
      Damaged: it is not what was written.
    """
    import jax
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            about = json.loads((folder / MANIFEST).read_text())
            inside = folder.absolute() / bucket.inside(about)
            saved = checkpointer.metadata(inside).item_metadata.tree
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), saved)
    except Exception as error:  # whatever a broken folder makes Orbax say
        verify(folder)  # which names the file that is at fault
        reason = str(error).splitlines()[0]
        raise Damaged(f"{folder} cannot be read back: {reason}") from error


def found(parent: Path) -> list[tuple[int, Path]]:
    """Step and folder of every checkpoint below `parent`, by step; nothing is read but its step.

    What an interrupted save left whole (`.partial`, `.old`) counts too. A folder whose
    `checkpoint.json` cannot be read counts with step 0, so that whoever restores it is told.
    """
    if not parent.is_dir():
        return []
    there = []
    for folder in parent.iterdir():
        if ".damaged" in folder.name or not (folder / MANIFEST).exists():
            continue
        try:
            step = json.loads((folder / MANIFEST).read_text())["step"]
        except FileNotFoundError:  # replaced by its trainer since the look above
            continue
        except OSError:
            if is_object(folder):  # the network is at fault
                raise
            step = 0
        except (ValueError, KeyError, TypeError, RecursionError):
            step = 0
        there.append((step if type(step) is int and step >= 0 else 0, folder))
    return sorted(there)


def _shapes(tree: Any) -> dict[str, str]:
    """Shape and type of every array of a state, by its path; as saved, tuples may be lists."""
    import jax

    def name(entry: Any) -> str:
        return str(next(getattr(entry, k) for k in ("key", "name", "idx") if hasattr(entry, k)))

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(map(name, path)): f"{x.dtype} {list(x.shape)}" for path, x in leaves}


def _difference(saved: dict[str, str], wanted: dict[str, str]) -> str | None:
    """The first array in which two states differ, in words."""
    for name in sorted({*saved, *wanted}):
        there, here = saved.get(name), wanted.get(name)
        if there != here:
            return f"{name} is {there or 'missing'} there and {here or 'not asked for'} here"
    return None


def _sums(folder: Path) -> dict[str, list[int]]:
    """Size and CRC-32 of every file below `folder`, by its path there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            size, crc = 0, 0
            with open(path, "rb") as file:
                while block := file.read(1 << 22):
                    size, crc = size + len(block), zlib.crc32(block, crc)
            found[path.relative_to(folder).as_posix()] = [size, crc]
    return found
