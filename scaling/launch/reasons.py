"""Why each run is to be done; for one that an edit of the study made new, which field changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from scaling.base.config import digest, flat
from scaling.runs.damage import DamagedRun
from scaling.runs.run_file import NAME
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder
from scaling.study.study import Study
from scaling.training import checkpoints
from scaling.training.run import Run

Fields = Mapping[str, Any]
"""A run's fields as plain JSON, by their paths: recipe.learning_rate."""
FEW = 3  # fields that two runs may differ in to be taken for one before and after an edit
AXES = "model.name", "data_size", "images_seen", "batch", "seed"  # that an edit mostly leaves
COMPARED = 100  # other runs that one run is compared with, at most


def reasons(study: Study, runs: Path, todo: Collection[str]) -> dict[str, str]:
    """By the id of each run in `todo`, in words.

    Args:
      study: the whole of it, so that its other runs are not taken for those before an edit.
    """
    wanted = [run for run in study.runs if run.id in todo]
    new = {run.id for run in wanted if not (runs / run.id / NAME).exists()}
    outside = _RunsByPlace(dict(_runs_outside(study, runs)) if new else {})
    return {
        run.id: _new(run, outside)
        if run.id in new
        else _begun(run, study, RunFolder(runs / run.id))
        for run in wanted
    }


class _RunsByPlace:
    """Fields of runs, by their ids; the runs at one place of the grid are found together."""

    def __init__(self, fields: Mapping[str, Fields]):
        self.fields = fields
        self._at: dict[tuple[Any, ...], list[str]] = {}
        for name, each in fields.items():
            self._at.setdefault(_place(each), []).append(name)

    def near(self, own: Fields) -> Iterator[tuple[str, Fields]]:
        """Those at the same place of the grid; where there is none, some."""
        names = self._at.get(_place(own)) or self.fields
        for name in islice(names, COMPARED):
            yield name, self.fields[name]


def _place(fields: Fields) -> tuple[Any, ...]:
    return tuple(map(fields.get, AXES))


def _begun(run: Run, study: Study, folder: RunFolder) -> str:
    """Of a run that was launched before."""
    if (damage := folder.damage()) is not None:
        return f"damaged: {damage}"
    try:
        confirmed = {(each.evaluation, each.metric) for each in folder.results(study.evaluate)}
    except DamagedRun as damage:
        return f"damaged: {damage}"
    missing = [
        name
        for each in study.evaluate
        for name in each.metrics
        if (digest(each), name) not in confirmed
    ]
    if confirmed or folder.results():
        return f"to be measured: {', '.join(missing)}"
    if (why := folder.failure()) is not None:
        return f"failed before: {why}"
    kept = [step for step, _ in checkpoints.found(folder.checkpoints)]
    where = f", has come to step {max(kept):_} of {run.steps:_}" if kept else ""
    if (why := folder.stopped()) is not None:
        return f"left unfinished{where}: {why}"
    if kept:
        return f"begun{where}"
    start = TrunkFolder.of(folder, run).start_of(folder, run)
    return f"waits; its trunk has come to step {start:_} of {run.steps:_}" if start else "waits"


def _new(run: Run, outside: _RunsByPlace) -> str:
    """Of a run that was never launched: what it is like, and is not."""
    own = dict(flat(run.model_dump(mode="json")))
    nearest, fewest = None, FEW + 1
    for name, fields in outside.near(own):
        changed = sum(fields.get(key) != value for key, value in own.items())
        changed += sum(key not in own for key in fields)
        if changed < fewest:
            nearest, fewest = name, changed
    if nearest is None:
        return "new"
    there = outside.fields[nearest]
    keys = [key for key in {**own, **there} if own.get(key) != there.get(key)]
    words = [f"{key} is {_shown(own.get(key))}, was {_shown(there.get(key))}" for key in keys]
    return f"new: {', '.join(words)} in {nearest}"


def _runs_outside(study: Study, runs: Path) -> Iterator[tuple[str, Fields]]:
    """Ids and fields of the runs in the folder that are not of the study, such as those that it had
    before an edit."""
    own = {run.id for run in study.runs}
    for path in sorted(runs.glob(f"*/{NAME}")):
        if path.parent.name not in own:
            try:
                run = json.loads(path.read_text(encoding="utf-8"))["run"]
                yield path.parent.name, dict(flat(run))
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                continue  # no run that can be believed


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
