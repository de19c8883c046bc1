"""Checkpoints in a bucket: files under a random name, and one object that makes them a checkpoint.

    800/checkpoint.json      put last, by one PUT, which publishes or replaces the checkpoint
    800/5f0c6a1e/...         the files it names; others below 800/ are left over

So nothing is renamed, and a process that lost its lease has overwritten nothing when its guard
stops it. Copied to a disk as it is, the folder is a checkpoint there too.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scaling.base.storage import ObjectPath, delete_below, download, upload
from scaling.training.checkpoint_manifest import MANIFEST, sealed

INSIDE = "inside"  # its key of the name below which Orbax's files lie; absent: beside it


def put(local: Path, folder: ObjectPath, guard: Callable[[], None]) -> None:
    """Copy the whole checkpoint `local` to `folder`, and delete what was there before.

    Args:
      guard: called right before it is published.
    """
    about = json.loads((local / MANIFEST).read_text())
    inside = uuid.uuid4().hex[:8]
    files = {f"{inside}/{name}": sums for name, sums in about["files"].items()}
    try:
        upload([(local / name, folder / inside / name) for name in about["files"]])
        guard()
        text = sealed({**about, INSIDE: inside, "files": files})
        (folder / MANIFEST).write_bytes(text.encode())
    except BaseException:
        delete_below(folder / inside)
        raise
    delete_below(folder, keep=lambda path: _name(path, folder) in {MANIFEST, *files})


def get(folder: ObjectPath, local: Path) -> None:
    """Copy the checkpoint `folder` to a disk, all that it names and is there.

    Raises:
      FileNotFoundError: it is none, or is being deleted.
    """
    text = (folder / MANIFEST).read_bytes()
    local.mkdir(parents=True)
    (local / MANIFEST).write_bytes(text)
    try:
        named = set(json.loads(text)["files"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return  # as `verify` will say
    there = {_name(path, folder): path for path, _ in folder.below()}
    download([(there[name], local / name) for name in named & set(there) if _is_below(name)])


def delete(folder: ObjectPath) -> None:
    """Delete a checkpoint; its manifest first, so that half a deletion is no checkpoint."""
    (folder / MANIFEST).unlink(missing_ok=True)
    delete_below(folder)


def inside(about: Mapping[str, Any]) -> str:
    """Below what name Orbax's files lie, as checkpoint.json says; "" beside it.

    Raises:
      ValueError: it cannot be such a name.
    """
    found = about.get(INSIDE, "")
    if not isinstance(found, str) or not re.fullmatch("[0-9a-f]*", found):
        raise ValueError(f"{INSIDE} is {found!r}")
    return found


def _name(path: ObjectPath, folder: ObjectPath) -> str:
    return path.key[len(folder.key) + 1 :]


def _is_below(name: str) -> bool:
    """Whether a file of this name stays in the folder it is copied to, and replaces no manifest."""
    return name != MANIFEST and not any(part in ("", ".", "..") for part in name.split("/"))
