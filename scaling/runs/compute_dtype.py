"""The dtype that a study's runs compute in, where its file leaves that to the machine."""

from __future__ import annotations

from pathlib import Path

from models.precision import Compute
from scaling.runs.run_file import NAME
from scaling.study.study import Study


def decided(study: Study, runs: Path, default: Compute = "float32") -> Study:
    """The study with the dtype in which the most of its runs were begun in `runs`.

    So a study goes on as it began, whatever machine looks at it.

    Args:
      default: where none was begun.
    """
    if not study.compute_open:
        return study
    choices = [study.computed_in(compute) for compute in ("float32", "bfloat16")]
    begun = [sum((runs / run.id / NAME).exists() for run in each.runs) for each in choices]
    if not any(begun):
        return study.computed_in(default)
    return choices[begun[1] > begun[0]]
