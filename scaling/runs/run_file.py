"""run.json: a run, complete, defaults included, and all that any study measures on it.

Knows nothing of results and of training.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fits.base.printable import printable
from scaling.base.config import Config
from scaling.base.console import Say
from scaling.base.files import set_aside
from scaling.base.storage import create, is_object, publish
from scaling.evaluate import Evaluation
from scaling.runs import lease
from scaling.runs.damage import DamagedRun, text_of
from scaling.training.checkpoint_spec import DEFAULT as CHECKPOINTS
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.run import Run

NAME = "run.json"
NO_LINK = {errno.EEXIST, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class RunFile(Config):
    """The contents of run.json."""

    run: Run
    evaluate: tuple[Evaluation, ...]
    placement: PlacementSpec = DEFAULT
    """How the run is computed, as the last launch said; no part of what it is."""
    checkpoints: CheckpointSpec = CHECKPOINTS
    """When its training states are kept, as the last launch said."""
    trunk: str | None = None
    """The folder in `trunks/` whose checkpoints are the run's until its cooldown, for readers who
    do not compute it; it follows from `run`."""
    format: Literal[1] = 1


def read_run_file(folder: Path) -> RunFile:
    """Raises `DamagedRun` when run.json is not what the folder's name says."""
    path = folder / NAME
    found = _parsed(path, text_of(path))
    if found.trunk not in (None, found.run.trunk):
        raise DamagedRun(
            f"{path} says that the trunk is {printable(str(found.trunk))}, and by its run it is "
            f"{found.run.trunk}: it was edited.",
            path,
        )
    if found.run.id != folder.name:
        raise DamagedRun(
            f"{path} describes the run {found.run.id}, but its folder is {folder.name}: "
            f"it was edited or moved.",
            path,
        )
    return found


def _parsed(path: Path, text: str) -> RunFile:
    """Whatever run the file's text describes."""
    try:
        return RunFile.model_validate_json(text)
    except ValueError as error:  # pydantic's and json's
        first = str(error).splitlines()[0]
        raise DamagedRun(f"{path} does not describe a run ({first}).", path) from None


def write_run_file(
    folder: Path,
    run: Run,
    evaluate: Sequence[Evaluation],
    say: Say,
    placement: PlacementSpec = DEFAULT,
    checkpoints: CheckpointSpec = CHECKPOINTS,
) -> None:
    """Make the folder and its run.json, with the evaluations of every study that shares the run.

    Evaluations already there stay, and new ones follow them. The file has a lease of its own, held
    for this alone: two launchers do not lose each other's evaluations, and neither waits for a
    run that is being trained.
    """
    is_new = _made(folder, say)
    whole = RunFile(
        run=run,
        evaluate=tuple(evaluate),
        placement=placement,
        checkpoints=checkpoints,
        trunk=run.trunk,
    )
    if is_new and _created(folder / NAME, whole):
        return
    if _covers(folder, whole) or _created(folder / NAME, whole):
        return
    with lease.hold(folder / f"{NAME}.lease", brief=True) as held:
        there: tuple[Evaluation, ...] = ()
        try:
            there = read_run_file(folder).evaluate
        except FileNotFoundError:
            pass
        except DamagedRun as damage:
            aside = set_aside(folder / NAME).name
            say(f"{damage} Kept aside as {aside} and written anew.")
        new = [each for each in evaluate if each not in there]
        merged = whole.model_copy(update={"evaluate": (*there, *new)})
        publish(folder / NAME, _text(merged).encode(), check=held.check)


def _made(folder: Path, say: Say) -> bool:
    """Whether the folder had to be made; in a bucket that is not known."""
    if is_object(folder):
        return False
    for _ in range(2):
        try:
            folder.mkdir(parents=True)
            return True
        except FileExistsError:
            if folder.is_dir():
                return False
            say(f"{folder} is not a folder; kept aside as {set_aside(folder).name}.")
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _text(file: RunFile) -> str:
    return file.model_dump_json(indent=2) + "\n"


def _created(path: Path, file: RunFile) -> bool:
    """Write the file unless there is one, for which no lease is needed; whether it was written.

    Not where the file system has no hard links.
    """
    if path.exists():
        return False
    if is_object(path):
        return create(path, _text(file).encode())
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        aside.write_text(_text(file), encoding="utf-8")
        os.link(aside, path)
    except OSError as error:
        if error.errno in NO_LINK:
            return False
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        aside.unlink(missing_ok=True)
    return True


def _covers(folder: Path, file: RunFile) -> bool:
    """Whether run.json is whole and says all of this already."""
    try:
        text = text_of(folder / NAME)
        if text == _text(file):  # cheaper to find out than what another text says
            return True
        there = _parsed(folder / NAME, text)
    except (FileNotFoundError, DamagedRun):
        return False
    if there.run != file.run:
        return False
    as_said = (there.placement, there.checkpoints) == (file.placement, file.checkpoints)
    return as_said and all(each in there.evaluate for each in file.evaluate)
