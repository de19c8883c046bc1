"""Frees the disk of training states that nothing needs any more.

Kept are the last point of each trunk, from which longer runs would go on, the points from which
runs have still to start, the ends of runs, which `scaling convert`, `init` and a teacher's `from`
read, and whatever a run that is not done begins with or learns from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scaling.base.storage import is_object
from scaling.evaluate.trained.outcomes import FOLDER
from scaling.runs.begun import as_begun
from scaling.runs.lease import hold_if_free, is_held
from scaling.runs.run_folder import LEASE, RunFolder
from scaling.runs.trunk_folder import TrunkFolder, to_come
from scaling.study.study import Study
from scaling.training import checkpoints
from scaling.training.run import Run


@dataclass(frozen=True)
class Unneeded:
    """A folder that nothing needs.

    Fields:
      path: of a training state, or of what an interrupted save left of one.
      bytes: that it takes.
    """

    path: Path
    bytes: int


def clean(study: Study, runs: Path, *, ends: bool = False, dry_run: bool = False) -> list[Unneeded]:
    """Delete what nothing needs of the study's runs and trunks; those at work are left alone.

    Args:
      ends: also the last states of runs that are done; they can then be neither exported nor gone
        on with.
      dry_run: delete nothing.

    Returns:
      What was deleted, or would be.
    """
    study = as_begun(study, runs)
    found, needed = [], to_come(runs)
    for run in study.runs:
        folder = RunFolder(runs / run.id)
        if not folder.checkpoints.is_dir():
            continue
        with _alone(folder.path, dry_run) as check:
            if check is not None:
                done = folder.is_done(study.evaluate)
                for path in _of_run(run, folder, done, ends):
                    if not _is_named(path, folder.path, run, needed.named):
                        found.append(_take(path, dry_run, check))
    for name in dict.fromkeys(run.trunk for run in study.runs):
        trunk = TrunkFolder(runs / "trunks" / name)
        if not trunk.path.is_dir():
            continue
        with _alone(trunk.path, dry_run) as check:
            if check is not None:
                unneeded = trunk.unneeded(needed.branches[name], needed.named, keep_last=True)
                for path in (*_left_over(trunk.path), *unneeded):
                    found.append(_take(path, dry_run, check))
    return found


@contextmanager
def _alone(folder: Path, dry_run: bool) -> Iterator[Callable[[], None] | None]:
    """What raises once another process is at the folder; None where one is. A dry run takes no
    lease: it writes nothing."""
    if dry_run:
        yield None if is_held(folder / LEASE) else lambda: None
        return
    with hold_if_free(folder / LEASE, on_full_disk=True) as held:
        yield None if held is None else held.check


def _of_run(run: Run, folder: RunFolder, done: bool, ends: bool) -> Iterator[Path]:
    """What nothing needs among a run's own states, and those of its evaluations."""
    if done and (folder.path / FOLDER).is_dir():
        yield folder.path / FOLDER
    yield from _left_over(folder.checkpoints)
    end = folder.checkpoints / str(run.steps)
    for _, path in checkpoints.found(folder.checkpoints):
        if done and (path != end or ends):
            yield path


def _left_over(parent: Path) -> list[Path]:
    """What interrupted saves and deletions left in a folder of states, and what was set aside as
    damaged. To be deleted before the states themselves, with which it would go."""
    whole = {path for _, path in checkpoints.found(parent)}
    there = (path for path in sorted(parent.iterdir()) if path not in whole and path.is_dir())
    return [path for path in there if _is_called_as_a_state(path.name)]


def _is_called_as_a_state(name: str) -> bool:
    """Or as what a save of one leaves beside it: 800, passing.0a1b2c3d.partial, 16.damaged-2."""
    first, _, _ = name.partition(".")
    return first.isdecimal() or first == checkpoints.PASSING


def _is_named(path: Path, folder: Path, run: Run, named: Collection[Path]) -> bool:
    """Whether a run that is not done begins with this state or learns from it; the run's folder
    stands for its end."""
    if path.absolute() in named:
        return True
    return path.name == str(run.steps) and folder.absolute() in named


def _take(path: Path, dry_run: bool, check: Callable[[], None]) -> Unneeded:
    """Deletes it, unless `dry_run`; `check` raises where another process is at the folder."""
    if is_object(path):
        size = sum(stat.st_size for _, stat in path.below())
    else:
        size = sum(each.stat().st_size for each in _files(path))
    if not dry_run:
        check()
        checkpoints.delete(path)
    return Unneeded(path, size)


def _files(path: Path) -> Iterable[Path]:
    return (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
