"""A study as its runs were begun: it goes on so, whatever machine looks at it."""

from __future__ import annotations

from pathlib import Path

from models.precision import Compute
from scaling.runs.compute_dtype import in_begun_dtype
from scaling.runs.recalled import recalled
from scaling.study.study import Study


def as_begun(study: Study, runs: Path, default: Compute = "float32") -> Study:
    """The study in the dtype of the runs in `runs`, and with the teachers that they had, where
    those are gone.

    Args:
      default: dtype where none was begun.
    """
    return recalled(in_begun_dtype(study, runs, default), runs)
