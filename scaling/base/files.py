"""Paths as people write them; damaged files and folders, kept aside. Knows nothing of runs or
studies."""

from __future__ import annotations

import os
from pathlib import Path

from scaling.base.storage import is_object, move


def expanded(path: Path) -> Path:
    """With the home that `~` or `~user` means; as it is where nobody is called so."""
    return Path(os.path.expanduser(path))


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder to `<name>.damaged-1`, -2, ...; returns the new path."""
    n = 1
    while (kept := path.with_name(f"{path.name}.damaged-{n}")).exists() or kept.is_dir():
        n += 1
    if not is_object(path):
        return path.rename(kept)
    move(path, path.with_name(kept.name))
    return kept
