"""Files of a user's that decide what is measured: labels, class maps, reference errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from scaling.base.config import Config


def checksums(evaluations: Iterable[Config]) -> dict[str, str]:
    """SHA-256 of every file that their fields name, by its path; of a folder, of all in it."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for each in evaluations
        for file in _files_of(each)
    }


def _files_of(evaluation: Config) -> Iterator[Path]:
    for name in type(evaluation).model_fields:
        value = getattr(evaluation, name)
        if isinstance(value, Path):
            inside = sorted(value.iterdir()) if value.is_dir() else [value]
            yield from (file for file in inside if file.is_file())
