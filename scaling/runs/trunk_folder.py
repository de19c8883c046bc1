"""The folder of a trunk, which runs that differ only in `images_seen` share.

0, 800, ...      checkpoints, by step
diverged.json    from which step on the loss was not finite
lease/           who may write in here (`scaling.runs.lease`)
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fits.base.printable import printable
from scaling.base.config import Config
from scaling.base.storage import publish
from scaling.base.trained_folder import named_in
from scaling.evaluate.trained.outcomes import steps_done
from scaling.runs import lease
from scaling.runs.damage import DamagedRun, text_of
from scaling.runs.run_file import NAME, read_run_file
from scaling.runs.run_folder import LEASE, RunFolder
from scaling.training import checkpoints
from scaling.training.checkpoint_manifest import MANIFEST
from scaling.training.run import Run

DIVERGED = "diverged.json"


class Divergence(Config):
    """The contents of diverged.json."""

    step: int
    """By which the loss was not finite."""
    reason: str


class TrunkFolder:
    """A trunk's folder, as anybody may read it."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def of(cls, folder: RunFolder, run: Run) -> TrunkFolder:
        """The trunk of `run`, beside the folders of its runs."""
        return cls(folder.path.parent / "trunks" / run.trunk)

    def has_branch(self, step: int) -> bool:
        """Whether a run that leaves the trunk at `step` can begin, whoever trains the trunk."""
        return (self.path / str(step) / MANIFEST).exists()

    def start_of(self, folder: RunFolder, run: Run) -> int:
        """The step of the checkpoint from which the run would be trained on; 0: from none. What
        evaluations have trained since counts too."""
        own = [step for step, _ in checkpoints.found(folder.checkpoints)]
        before = [step for step, _ in checkpoints.found(self.path) if step <= run.branch_step]
        return max(own + before, default=0) + steps_done(folder.path)

    def divergence(self, until: int) -> str | None:
        """Why the trunk cannot be trained up to step `until`; None when nothing speaks against."""
        try:
            diverged = Divergence.model_validate_json(text_of(self.path / DIVERGED), strict=True)
        except (FileNotFoundError, ValueError):
            return None  # unreadable: the training itself will tell
        return printable(diverged.reason) if diverged.step <= until else None

    def unneeded(
        self, branches: Collection[int], named: Collection[Path], *, keep_last: bool = False
    ) -> list[Path]:
        """Checkpoints from which no run has still to start.

        A run that is not done starts at the last checkpoint that is not past its branch.

        Args:
          branches: steps at which runs have still to leave the trunk.
          named: whole paths that other runs begin with or learn from.
          keep_last: whether the last one is needed too, for longer runs that may be added.
        """
        there = checkpoints.found(self.path)
        needed = {
            max((step for step, _ in there if step <= branch), default=0) for branch in branches
        }
        if keep_last and there:
            needed.add(there[-1][0])
        return [
            folder
            for step, folder in there
            if step not in needed and folder.absolute() not in named
        ]


class HeldTrunk(TrunkFolder):
    """A trunk whose lease this process holds. Whatever writes may raise `LeaseLost`."""

    def __init__(self, path: Path, held: lease.Lease):
        super().__init__(path)
        self._lease = held

    def check(self) -> None:
        """Raise `LeaseLost` unless this process may still write."""
        self._lease.check()

    def diverge(self, step: int, reason: str) -> None:
        """Remember that the loss stopped being finite by `step`, so that none tries it again."""
        text = Divergence(step=step, reason=reason).model_dump_json() + "\n"
        publish(self.path / DIVERGED, text.encode(), durable=True, check=self.check)

    def clear_divergence(self) -> None:
        """Forget the divergence, so that the trunk is tried again."""
        self.check()
        (self.path / DIVERGED).unlink(missing_ok=True)

    def delete_unneeded(self, run: Run) -> None:
        """Delete the checkpoints from which no run in the folder of runs has still to start.

        Args:
          run: one of the trunk's.
        """
        for folder in self.unneeded(*_branches_of(self.path.parent.parent, run)):
            self.check()
            checkpoints.delete(folder)


_OF_OTHERS = defaultdict[tuple[Path, str], dict[str, tuple[Path, ...]]](dict)
"""Folder of runs and trunk -> ids of runs that this process has found to be of another trunk, with
the networks that they begin with or learn from; an id never changes them."""


def _branches_of(runs: Path, run: Run) -> tuple[set[int], set[Path]]:
    """The steps at which runs that are not done leave the trunk of `run`, and the networks that
    runs of other trunks name.

    Of a run of another trunk no more is read than tells it apart, and that once: a worker asks
    after each run that it has done.
    """
    others, found = _OF_OTHERS[runs, run.trunk], set[int]()
    for path in runs.glob(f"*/{NAME}"):
        if path.parent.name in others:
            continue
        try:
            said = json.loads(text_of(path))
            if said.get("trunk", run.trunk) != run.trunk:
                others[path.parent.name] = _named(said.get("run"))
                continue
            there = read_run_file(path.parent)
        except (DamagedRun, FileNotFoundError, ValueError, AttributeError, RecursionError):
            continue  # a launch writes it anew; at worst its trunk is trained again
        if there.run.trunk != run.trunk:
            others[path.parent.name] = _named(said["run"])
        elif not RunFolder(path.parent).is_done(there.evaluate):
            found.add(there.run.branch_step)
    return found, {each for paths in others.values() for each in paths}


def _named(run: Any) -> tuple[Path, ...]:
    """The networks that a run begins with or learns from, by their whole paths."""
    return tuple(path.absolute() for path in named_in(run))


class ToCome(NamedTuple):
    """What runs that are not done still need of the folder of runs, whatever study they are of.

    Fields:
      branches: the steps at which they leave each trunk.
      named: the networks that they begin with or learn from, by their whole paths.
    """

    branches: defaultdict[str, set[int]]
    named: set[Path]


def to_come(runs: Path) -> ToCome:
    """By their run.json."""
    found = ToCome(defaultdict(set), set())
    for path in runs.glob(f"*/{NAME}"):
        try:
            there = read_run_file(path.parent)
        except (DamagedRun, FileNotFoundError):
            continue  # a launch writes it anew; at worst its trunk is trained again
        if not RunFolder(path.parent).is_done(there.evaluate):
            found.branches[there.run.trunk].add(there.run.branch_step)
            found.named.update(_named(there.run.model_dump(mode="json")))
    return found


@contextmanager
def hold_trunk(path: Path) -> Iterator[HeldTrunk]:
    """Wait until no other process trains the trunk, then keep others waiting."""
    with lease.hold(path / LEASE) as held:
        yield HeldTrunk(path, held)


@contextmanager
def hold_trunk_if_free(
    path: Path, watch: lease.LeaseWatch | None = None
) -> Iterator[HeldTrunk | None]:
    """As `hold_trunk`, but without waiting: None where another process trains it, or may.

    Args:
      watch: as `lease.hold_if_free` takes it.
    """
    with lease.hold_if_free(path / LEASE, watch) as held:
        yield None if held is None else HeldTrunk(path, held)
