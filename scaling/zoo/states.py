"""Training states as a person names them: by a run, by a trunk, or by their own folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fits.base.errors import UserError
from scaling.runs.damage import DamagedRun
from scaling.runs.run_file import NAME, read_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder
from scaling.training import checkpoints
from scaling.training.checkpoint_manifest import MANIFEST
from scaling.training.run import Run


class StateFolder(NamedTuple):
    """A training state on a disk.

    Fields:
      run: which was trained to it; of a trunk, one of those that share it.
      of_trunk: whether it was named as the trunk's, which may be none of that run's.
    """

    run: Run
    step: int
    folder: Path
    of_trunk: bool

    @property
    def name(self) -> str:
        """The run's id at its end; before that, or on a trunk, whose step it is."""
        if self.step == self.run.steps and not self.of_trunk:
            return self.run.id
        return f"{self.run.trunk if self.of_trunk else self.run.id}@{self.step}"

    @property
    def moment(self) -> str:
        """In words."""
        if self.of_trunk:
            return f"trunk, step {self.step:_}"
        end = "" if self.step == self.run.steps else ", not its end"
        return f"run, step {self.step:_} of {self.run.steps:_}{end}"


def state_at(path: Path) -> StateFolder:
    """The state that a folder is, or the last one of the run or trunk whose folder it is.

    Raises:
      UserError: it is none of these, or is damaged; or there is no state yet.
    """
    typed, path = path, path.absolute()
    try:
        if (path / NAME).exists():
            return _of_run(path)
        if (path / MANIFEST).exists():
            return _itself(path)
        if path.parent.name == "trunks" and (there := checkpoints.found(path)):
            return _of_trunk(path, *there[-1])
    except DamagedRun as damage:
        raise UserError([str(damage)]) from damage
    inside = next(_inside(typed), None)
    remedy = f" Did you mean {inside}?" if inside else ""
    raise UserError([f"{typed} is no run's folder: it has no run.json.{remedy}"])


def _inside(folder: Path) -> Iterator[Path]:
    """What can be named instead of a folder of several: files of weights, runs, states, trunks."""
    yield from folder.glob("*.safetensors")
    yield from folder.glob("*.npz")
    yield from (path.parent for path in folder.glob(f"*/{NAME}"))
    yield from (path.parent for path in folder.glob(f"*/{MANIFEST}"))
    yield from (path.parents[1] for path in folder.glob(f"*/*/{MANIFEST}"))


def _of_run(path: Path) -> StateFolder:
    folder = RunFolder(path)
    run, _ = folder.read()
    own = checkpoints.found(folder.checkpoints)
    trunk = checkpoints.found(TrunkFolder.of(folder, run).path)
    there = own or [each for each in trunk if each[0] <= run.branch_step]
    if not there:
        raise UserError([f"{path} has no checkpoint yet; train it: `scaling run {path}`."])
    return StateFolder(run, *there[-1], of_trunk=False)


def _itself(path: Path) -> StateFolder:
    """One of a run's checkpoints/, or of a trunk."""
    step = next((step for step, folder in checkpoints.found(path.parent) if folder == path), 0)
    if (path.parents[1] / NAME).exists():
        run = read_run_file(path.parents[1]).run
        return StateFolder(run, step, path, of_trunk=False)
    return _of_trunk(path.parent, step, path)


def _of_trunk(trunk: Path, step: int, state: Path) -> StateFolder:
    runs = trunk.parents[1]
    for file in sorted(runs.glob(f"*/{NAME}")):
        try:
            run = read_run_file(file.parent).run
        except (DamagedRun, FileNotFoundError):
            continue  # another may say the same
        if run.trunk == trunk.name:
            return StateFolder(run, step, state, of_trunk=True)
    raise UserError(
        [
            f"{state}: no run in {runs} says what this is a training state of; leave it where "
            "`scaling launch` has put it, beside the folders of its runs."
        ]
    )
