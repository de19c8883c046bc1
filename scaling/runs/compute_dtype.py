"""The dtype that a study's runs compute in, where its file leaves that to the machine."""

from __future__ import annotations

from pathlib import Path

from models.precision import Compute
from scaling.runs.recalled import recalled
from scaling.runs.run_file import NAME
from scaling.study.study import Study


def decided(study: Study, runs: Path, default: Compute = "float32") -> Study:
    """The study with the dtype in which the most of its runs were begun in `runs`, and with what
    those that are done say of teachers that are gone.

    So a study goes on as it began, whatever machine looks at it.

    Args:
      default: where none was begun.
    """
    return recalled(_in_dtype(study, runs, default), runs)


def _in_dtype(study: Study, runs: Path, default: Compute) -> Study:
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
