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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "checkpoint.json"
NOT_THE_FILES_FAULT = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Damaged(Exception):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A point of a training: its state after `step` updates and `seconds` of training."""

    step: int
    seconds: float
    state: Any


def save(folder: Path, moment: Moment) -> None:
    """Write `moment` as `folder`, which appears only when it is complete.

    Several processes of one training call this together; the first of them does the renaming.
    """
    import jax
    import orbax.checkpoint as ocp

    partial = folder.with_name(folder.name + ".partial").absolute()
    if jax.process_index() == 0 and partial.exists():
        shutil.rmtree(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(partial, moment.state)
    if jax.process_index() != 0:
        return
    about = {"step": moment.step, "seconds": moment.seconds, "files": _sums(partial)}
    with open(partial / MANIFEST, "w") as file:
        json.dump(about, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)


def restore(folder: Path, like: Any) -> Moment:
    """The moment saved as `folder`.

    Args:
      like: pytree of `jax.ShapeDtypeStruct` with shardings, of the state's structure.

    Raises:
      Damaged: a file is missing, has changed, or does not hold such a state.
    """
    import orbax.checkpoint as ocp

    try:
        about = json.loads((folder / MANIFEST).read_text())
        step, seconds = int(about["step"]), float(about["seconds"])
        sums = _sums(folder)
        if sums != about["files"]:
            changed = [
                name
                for name in sorted(set(sums) | set(about["files"]))
                if sums.get(name) != about["files"].get(name)
            ]
            raise Damaged(f"{folder}: {', '.join(changed[:3])} changed after it was written.")
        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore(folder.absolute(), like)
    except (Damaged, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NOT_THE_FILES_FAULT:
            raise
        # whatever a broken folder makes Orbax say
        raise Damaged(f"{folder} cannot be read back: {str(error).splitlines()[0]}") from error
    return Moment(step=step, seconds=seconds, state=state)


def found(parent: Path) -> list[tuple[int, Path]]:
    """Step and folder of every checkpoint below `parent`, by step; nothing is read but its step.

    A folder whose `checkpoint.json` cannot be read counts with step 0, so that whoever restores
    it is told.
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
