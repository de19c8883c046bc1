"""Damaged files and folders, kept aside. Knows nothing of runs or studies."""

from __future__ import annotations

from pathlib import Path


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder to `<name>.damaged-1`, -2, ...; returns the new path."""
    n = 1
    while (kept := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    return path.rename(kept)
