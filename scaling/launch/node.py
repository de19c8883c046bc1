"""What `scaling pool` does: a pool of workers on one machine, for a launch that a file describes.

In a job of a cluster, on the devices that the job has. Knows no engine and no JAX.
"""

from __future__ import annotations

from pathlib import Path

from scaling.launch.launch import Launch, queue
from scaling.launch.launch_file import read_launch_file, runs_of
from scaling.launch.local.launcher import Local
from scaling.launch.progress.display import display
from scaling.launch.progress.tally import Tally
from scaling.launch.seats import IDLE_FOR
from scaling.runs.run_folder import RunFolder
from scaling.training.leaving import TRY_AGAIN, leaving_on_signals


def work_on(file: Path, workers: int | None, runs_per_device: int, *, pin: bool) -> int:
    """Have runs of the launch done until there is nothing to do; returns the exit status.

    Args:
      workers, runs_per_device: as `Local` has them.
      pin: each worker to cores of its own.

    Raises:
      UserError: the file is none, or the devices cannot be dealt out so.
      SystemExit: as a signal asked for; every worker has kept a checkpoint.
    """
    study, spec = read_launch_file(file)
    runs = runs_of(file)
    looks = {run.id: RunFolder(runs / run.id).look(study.evaluate) for run in study.runs}
    local = Local(workers=workers, runs_per_device=runs_per_device, pin=pin, idle_for=IDLE_FOR)
    with display() as screen:
        tally = Tally(study, runs, queue(study, looks, spec), looks=looks, tell=screen.tell)
        pool = local.workers_of(Launch(study, study.runs, runs, spec, file, tally), screen)
        try:
            with leaving_on_signals():
                pool.work()
        finally:
            pool.stop()
    if tally.left:
        return TRY_AGAIN
    return 1 if tally.failed or tally.unfinished else 0
