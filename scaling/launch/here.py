"""Trains a study's runs in this process, on all of its devices, or with other hosts together.

What `scaling work` does: no pool and no screen. Where several processes are one training, the first
writes the folders and says which runs are to be done; the others do as it says.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from models.precision import compute_for
from scaling.launch.jobs import jobs
from scaling.launch.local import conclude, prepare
from scaling.runs.compute_dtype import decided
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


def train_here(study: Study, runs: Path, leaving: Leaving, *, retry: bool = False) -> bool:
    """Train what is not done yet, the longest job first; returns whether all runs are done.

    Args:
      study: the same in every process.
      runs: the folder of run folders, seen by every process.
      leaving: tells when to keep a checkpoint and leave.
      retry: also train runs that failed before.

    Raises:
      UserError: the devices there are cannot be shared as the study's placement says.
    """
    from scaling.training.hosts import agreed_word, is_first, platform
    from scaling.training.placement import check_devices
    from scaling.worker import Ended, work

    spec, batches = study.placement, (run.batch for run in study.runs)
    check_devices(spec.fsdp, spec.tensor, batches)
    study = decided(study, runs, compute_for(*platform()))
    began, names = time.monotonic(), ""
    if is_first():
        todo = prepare(study, runs, retry=retry, say=print)
        order = [each.run.id for job in jobs(study.runs, todo) for each in job.segments]
        names = json.dumps(order)
    order = json.loads(agreed_word(names))
    ended = work([runs / name for name in order], leaving=leaving)
    if not is_first():
        return ended == Ended.DONE
    return conclude(study, runs, {}, time.monotonic() - began)
