"""A worker that sleeps where a real one trains, and treats the run folders as a real one does.

    python pretend_worker.py AUDIT SECONDS_A_STEP FOLDER ...

Appends what it does to the file AUDIT. Runs with seed 13 fail, those with
seed 14 are left unfinished.
"""

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from scaling.base.config import digest
from scaling.base.console import note
from scaling.evaluate.measured import Measured
from scaling.runs.held_run import hold_run
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk

DIVERGES, STOPS = 13, 14


def main() -> None:
    audit, pause, folders = Path(sys.argv[1]), float(sys.argv[2]), map(Path, sys.argv[3:])

    def enter(event: str, run: str) -> None:
        line = {
            "event": event,
            "run": run,
            "pid": os.getpid(),
            "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1,
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "xla": os.environ.get("XLA_FLAGS"),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
        with audit.open("a") as file:
            file.write(json.dumps(line) + "\n")

    for path in folders:
        with ExitStack() as leases:
            folder = leases.enter_context(hold_run(path))
            folder.repair(note)
            run, evaluate = folder.read()
            if folder.is_done(evaluate):
                continue
            leases.enter_context(hold_trunk(TrunkFolder.of(folder, run).path))
            folder.clear_stop()
            folder.report(step=0, steps=run.steps, phase="compile")
            enter("begin", run.id)
            if run.seed == STOPS:
                folder.stop("the device is full.")
                continue
            for step in range(run.steps):
                speed = {"images_per_second": 64.0, "pace": 64.0}
                folder.report(step=step, steps=run.steps, phase="train", **speed)
                time.sleep(pause)
            if run.seed == DIVERGES:
                folder.fail("the loss is nan at step 3: training diverged.")
                continue
            value = int(run.id, 16) / 16**12  # as good as measured: decided by the run alone
            confirmed = {row.evaluation for row in folder.results()}
            found = [
                (each, [Measured(name, value, 100) for name in each.metrics])
                for each in evaluate
                if digest(each) not in confirmed
            ]
            folder.finish(found, {"seconds_here": 1.5})
            enter("end", run.id)


if __name__ == "__main__":
    main()
