"""The dtype that a study's runs compute in, where its file leaves that to the machine."""

from __future__ import annotations

from pathlib import Path

from models.precision import Compute
from scaling.runs.run_file import NAME
from scaling.study.study import Study


def in_begun_dtype(study: Study, runs: Path, default: Compute) -> Study:
    """The study with the dtype in which the most of its runs were begun in `runs`.

    Args:
      default: where none was begun.
    """
    if not study.compute_open:
        return study
    if not runs.is_dir():
        return study.computed_in(default)
    single = study.computed_in("float32")
    begun = _begun(single, runs)
    if 2 * begun >= len(study.runs):  # the others cannot be more
        return single
    half = study.computed_in("bfloat16")
    begun_half = _begun(half, runs)
    if not begun and not begun_half:
        return study.computed_in(default)
    return half if begun_half > begun else single


def _begun(study: Study, runs: Path) -> int:
    """How many of the study's runs have a folder."""
    return sum((runs / run.id / NAME).exists() for run in study.runs)
