"""A launch as a file, RUNS/launches/NAME.json: all that a process needs to work on it, wherever it
is. A path to it is what travels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fits.base.errors import UserError
from scaling.base.config import Config, digest
from scaling.base.storage import publish
from scaling.evaluate import Evaluation
from scaling.launch.launch_spec import LaunchSpec
from scaling.runs.damage import DamagedRun, text_of
from scaling.runs.run_file import read_run_file
from scaling.study.study import Study
from scaling.training.checkpoint_spec import DEFAULT as CHECKPOINTS
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.placement_spec import DEFAULT, PlacementSpec

FOLDER = "launches"


class LaunchFile(Config):
    """The contents of such a file."""

    study: str
    """Its name."""
    question: str
    runs: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")], ...]
    """Ids of the runs to be done; each is described in the run.json of its folder."""
    evaluate: tuple[Evaluation, ...]
    """What is to be measured on each."""
    placement: PlacementSpec = DEFAULT
    checkpoints: CheckpointSpec = CHECKPOINTS
    turns: dict[str, int] = Field(default_factory=dict)
    """By the ids of runs, as `LaunchSpec.turns` has them."""
    hang_after: float | None = None
    """Seconds, as `LaunchSpec.hang_after` has them."""
    format: Literal[1] = 1

    @property
    def spec(self) -> LaunchSpec:
        """What decides how it is done."""
        return LaunchSpec(turns=self.turns, hang_after=self.hang_after)


def write_launch_file(study: Study, runs: Path, spec: LaunchSpec) -> Path:
    """Its path, which its contents decide: launching the same again writes the same file."""
    content = LaunchFile(
        study=study.name,
        question=study.question,
        runs=tuple(dict.fromkeys(run.id for run in study.runs)),
        evaluate=study.evaluate,
        placement=study.placement,
        checkpoints=study.checkpoints,
        turns=dict(spec.turns),
        hang_after=spec.hang_after,
    )
    path = runs / FOLDER / f"{study.name}-{digest(content)}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, (content.model_dump_json(indent=1) + "\n").encode())
    return path


def read_launch_file(path: Path) -> tuple[Study, LaunchSpec]:
    """The study of a launch, with its runs as their folders describe them; and how it is done.

    Raises:
      UserError: there is no such file, or it or a run's is not what a launch writes.
    """
    try:
        content = LaunchFile.model_validate_json(text_of(path))
        found = [read_run_file(runs_of(path) / name).run for name in content.runs]
    except FileNotFoundError as error:
        raise UserError([f"{error.filename}: there is no such file; launch again."]) from None
    except DamagedRun as damage:
        raise UserError([f"{damage} Launch again: that writes it anew."]) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            [f"{path} is not what a launch writes ({place}: {first['msg']}). Launch again."]
        ) from None
    study = Study(
        name=content.study,
        question=content.question,
        runs=tuple(found),
        evaluate=content.evaluate,
        placement=content.placement,
        checkpoints=content.checkpoints,
    )
    return study, content.spec


def runs_of(path: Path) -> Path:
    """The folder of run folders that a launch file is of."""
    return path.parent.parent
