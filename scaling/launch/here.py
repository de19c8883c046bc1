"""Trains a study's runs in this process, on all of its devices, or with other hosts together.

What `scaling work` does: no pool and no screen. Where several processes are one training, the first
writes the folders and says which runs are to be done; the others do as it says.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from models.precision import compute_for
from scaling.base.storage import place
from scaling.launch.launch import conclusion, prepare, queue
from scaling.launch.launch_file import read_launch_file, runs_of
from scaling.launch.progress.display import PlainLines
from scaling.runs.begun import as_begun
from scaling.runs.damage import DamagedRun
from scaling.runs.run_file import NAME, read_run_file
from scaling.study.parse import read_study
from scaling.study.study import Study
from scaling.training.leaving import Leaving

CLUSTERS = ("slurm", "tpu")


def together(
    cluster: str | None, coordinator: str | None, processes: int | None, process: int | None
) -> None:
    """Make this process one of several of a training, where any of this is given.

    Args:
      cluster: "slurm" or "tpu", which knows the other processes; None: none does.
      coordinator, processes, process: by hand, as `scaling.training.hosts.join` takes them.

    Raises:
      UserError: mistakes, or the processes do not meet.
    """
    from scaling.training.hosts import join

    by_hand = [coordinator, processes, process] != [None, None, None]
    match cluster:
        case "slurm" | "tpu" if by_hand:
            raise UserError(
                [f"--cluster {cluster}: knows the processes; leave out the other options."]
            )
        case "slurm":
            join("slurm")
        case "tpu":
            join("tpu")
        case None if by_hand:
            join("hand", coordinator=coordinator, processes=processes, process=process)
        case None:
            pass
        case _:
            near = did_you_mean(cluster, CLUSTERS)
            raise UserError([f"--cluster {cluster}: no such cluster. {near}Use slurm or tpu."])


class Meant(NamedTuple):
    """What `scaling work` is to train.

    Fields:
      runs: the folder of run folders.
      hang_after: as the launch said, if it did.
    """

    study: Study
    runs: Path
    hang_after: float | None = None


def meant(what: str, runs: Path) -> Meant:
    """The study whose runs are meant, and the folder of their folders.

    Args:
      what: a study, a launch file, or a folder of run folders.
      runs: the folder, where `what` does not say it.

    Raises:
      UserError: it is none of them.
    """
    path = place(what)
    if path.is_dir():
        return Meant(study_of_folder(path), path)
    if path.suffix == ".json":
        study, spec = read_launch_file(path)
        return Meant(study, runs_of(path), spec.hang_after)
    return Meant(read_study(what), runs)


def study_of_folder(runs: Path) -> Study:
    """Every run that a folder of run folders holds, with all that is to be measured on them.

    Raises:
      UserError: it holds none; or one that cannot be read, or is placed as others are not.
    """
    paths = sorted(path.parent for path in runs.glob(f"*/{NAME}"))
    if not paths:
        raise UserError([f"{runs} holds no run; `scaling launch` writes them."])
    try:
        found = [read_run_file(path) for path in paths]
    except DamagedRun as damage:
        raise UserError([f"{damage} Launch its study again: that writes it anew."]) from None
    kinds = {(each.evaluate, each.placement, each.checkpoints) for each in found}
    if len(kinds) > 1:
        raise UserError(
            [
                f"{runs} holds runs of several studies, measured or placed differently; name a "
                "study, or a file of its folder launches/."
            ]
        )
    evaluate, placement, kept = kinds.pop()
    return Study(
        name=runs.name,
        question="",
        runs=tuple(each.run for each in found),
        evaluate=evaluate,
        placement=placement,
        checkpoints=kept,
    )


def train_here(
    study: Study,
    runs: Path,
    leaving: Leaving,
    *,
    retry: bool = False,
    wait: bool = True,
    hang_after: float | None = None,
) -> bool | None:
    """Train what is not done yet, the longest job first; returns whether all runs are done, None
    where other processes are at the rest.

    Args:
      study: the same in every process.
      runs: the folder of run folders, seen by every process.
      leaving: tells when to keep a checkpoint and leave.
      retry: also train runs that failed before.
      wait: for runs that other processes are at, to do what they leave.
      hang_after: seconds without a step after which this process ends itself, as `HangTimer` takes
        them.

    Raises:
      UserError: the devices there are cannot be shared as the study's placement says.
    """
    from scaling.training.hosts import agreed_word, is_first, platform
    from scaling.training.placement import check_devices
    from scaling.worker import Ended, work

    spec, batches = study.placement, (run.batch for run in study.runs)
    check_devices(spec.fsdp, spec.tensor, batches)
    study = as_begun(study, runs, compute_for(*platform()))
    began = time.monotonic()
    looks = prepare(study, runs, retry=retry, say=print) if is_first() else {}
    names = [s.run.id for job in queue(study, looks) for s in job.segments]
    order = json.loads(agreed_word(json.dumps(names)))
    ended = work(
        [runs / name for name in order],
        wait=wait,
        leaving=leaving,
        ends_itself=True,
        hang_after=hang_after,
    )
    if ended == Ended.TAKEN:
        return None
    if not is_first():
        return ended == Ended.DONE
    end = conclusion(study, runs, looks, {}, time.monotonic() - began)
    PlainLines().conclude(end)
    return end.is_done
