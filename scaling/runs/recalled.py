"""What a study's finished runs say of files that its objectives need and that are gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.runs.damage import DamagedRun
from scaling.runs.results_file import read_manifest
from scaling.study.study import Study
from scaling.training.run import Run


def recalled(study: Study, runs: Path) -> Study:
    """The study with objectives that know their teachers by manifests, where these are gone.

    A run that is not done knows its teacher by one that is and has learned from the same.
    """
    if not any(_lacks(run) for run in study.runs):
        return study
    said: dict[str, Mapping[str, Any]] = {}
    for run in study.runs:
        if _lacks(run) and _teacher(run) not in said and (found := _written(runs / run.id)):
            said[_teacher(run)] = found
    return study.model_copy(
        update={
            "runs": tuple(
                run.model_copy(update={"objective": run.objective.recalled(said[_teacher(run)])})
                if _lacks(run) and _teacher(run) in said
                else run
                for run in study.runs
            )
        }
    )


def _lacks(run: Run) -> bool:
    teacher = run.objective.teacher
    return teacher is not None and not teacher.from_.exists()


def _teacher(run: Run) -> str:
    """Equal for runs of one teacher."""
    assert run.objective.teacher is not None
    return json.dumps(run.objective.teacher.model_dump(mode="json"), sort_keys=True)


def _written(folder: Path) -> Mapping[str, Any] | None:
    """What the manifest of a run says of its objective; None: the run is not done, or damaged."""
    try:
        found = read_manifest(folder).get("objective")
    except (FileNotFoundError, NotADirectoryError, DamagedRun):
        return None
    return found if isinstance(found, Mapping) else None
