"""Training states on disk: whole or not there, and checked when they are read back.

A checkpoint is a folder that Orbax wrote plus `checkpoint.json`: its step, the seconds that led
to it, and size and CRC-32 of every file, so that a flipped bit is noticed and not trained on.
Knows nothing of models or runs; a state is any pytree of arrays.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fits.base.files import write_text

MANIFEST = "checkpoint.json"
NOT_THE_FILES_FAULT = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Damaged(Exception):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A point of a training: its state after `step` updates and `seconds` of training."""

    step: int
    seconds: float
    state: Any


def save(folder: Path, checkpoint: Checkpoint, guard: Callable[[], None] = lambda: None) -> None:
    """Write `checkpoint` as `folder`, which appears only when it is complete.

    The old folder is renamed aside, the new one renamed in, and only then is the old one deleted:
    a process killed at any point leaves at least one whole checkpoint, which `found` lists.
    Several processes of one training call this together; the first of them does the renaming.

    Args:
      guard: called right before the renaming; raises where another process has taken over.
    """
    import jax
    import orbax.checkpoint as ocp

    token = _token()
    partial = folder.with_name(f"{folder.name}.{token}.partial").absolute()
    partial.parent.mkdir(parents=True, exist_ok=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(partial, checkpoint.state)
    if jax.process_index() != 0:
        return
    about = {"step": checkpoint.step, "seconds": checkpoint.seconds, "files": _sums(partial)}
    write_text(partial / MANIFEST, json.dumps(about, indent=1), durable=True)
    guard()
    if folder.exists():
        os.rename(folder, folder.with_name(f"{folder.name}.{token}.old"))
    os.rename(partial, folder)
    _delete_leftovers(folder)


def delete(folder: Path) -> None:
    """Delete the checkpoint `folder`, and what interrupted saves left of it."""
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
        about = json.loads((folder / MANIFEST).read_text())
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


def restore(folder: Path, like: Any) -> Checkpoint:
    """The checkpoint saved as `folder`. With several processes all call this, once each of them has
    found the folder sound by `verify`.

    Args:
      like: pytree of `jax.ShapeDtypeStruct` with shardings, of the state's structure.

    Raises:
      Damaged: a file is missing, has changed, or does not hold such a state.
    """
    import orbax.checkpoint as ocp

    about = verify(folder)
    try:
        step, seconds = int(about["step"]), float(about["seconds"])
        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore(folder.absolute(), like)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NOT_THE_FILES_FAULT:
            raise
        # whatever a broken folder makes Orbax say
        raise Damaged(f"{folder} cannot be read back: {str(error).splitlines()[0]}") from error
    return Checkpoint(step=step, seconds=seconds, state=state)


def parameters(folder: Path) -> Any:
    """The parameters in a checkpoint of a training, averaged where they are, on one device.

    Raises:
      Damaged: it is not what was written.
    """
    import jax
    import orbax.checkpoint as ocp

    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            saved = checkpointer.metadata(folder.absolute()).item_metadata.tree
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), saved)
    except Exception as error:  # whatever a broken folder makes Orbax say
        reason = str(error).splitlines()[0]
        raise Damaged(f"{folder} cannot be read back: {reason}") from error
    state = restore(folder, like).state
    return state.get("average") or state["params"]


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
            step = int(json.loads((folder / MANIFEST).read_text())["step"])
        except (ValueError, KeyError, TypeError):
            step = 0
        there.append((step, folder))
    return sorted(there)


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
