"""A worker that sleeps where a real one trains, and treats the run folders as a real one does.

    python pretend_worker.py AUDIT SECONDS_A_STEP[,HANGS] FOLDER ...

Appends what it does to the file AUDIT. Runs with seed 13 fail, those with seed 14 are left
unfinished. Where the file HANGS is there, it is deleted and the worker hangs. A run that a rule
stops is given up.
"""

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from scaling.base.config import digest
from scaling.base.console import note
from scaling.base.storage import place, publish
from scaling.evaluate.measured import Measured
from scaling.runs.held_run import hold_run_if_free
from scaling.runs.rule_file import StoppedByRule, check_rules
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk_if_free
from scaling.training.checkpoint_manifest import MANIFEST

DIVERGES, STOPS = 13, 14


def main() -> None:
    audit, folders = Path(sys.argv[1]), map(place, sys.argv[3:])
    seconds, _, hangs = sys.argv[2].partition(",")
    pause = float(seconds)

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

    def one(path: Path, leases: ExitStack) -> bool:
        """Whether the run needs nobody any more; not where another is at it or at its trunk."""
        folder = leases.enter_context(hold_run_if_free(path))
        if folder is None:
            return False
        folder.repair(note)
        run, evaluate = folder.read()
        if folder.is_done(evaluate):
            return True
        there = TrunkFolder.of(folder, run)
        trunk_lease = leases.enter_context(ExitStack())
        trunk = trunk_lease.enter_context(hold_trunk_if_free(there.path))
        if trunk is None and not there.has_branch(run.branch_step):
            return False
        folder.clear_stop()
        folder.report(step=0, steps=run.steps, phase="compile")
        enter("begin", run.id)
        if run.seed == STOPS:
            folder.stop("the device is full.")
            return True
        for step in range(0 if trunk else run.branch_step, run.steps):
            speed = {"images_per_second": 64.0, "pace": 64.0}
            folder.report(step=step, steps=run.steps, phase="train", **speed)
            time.sleep(pause)
            try:
                check_rules(path)
            except StoppedByRule as rule:
                folder.fail(str(rule))
                return True
            if hangs and Path(hangs).exists():
                Path(hangs).unlink()
                time.sleep(60)
            if step == run.branch_step and trunk:
                branch = there.path / str(step) / MANIFEST
                branch.parent.mkdir(exist_ok=True)
                publish(branch, json.dumps({"step": step}).encode())
                trunk_lease.close()
        if run.seed == DIVERGES:
            folder.fail("the loss is nan at step 3: training diverged.")
            return True
        value = int(run.id, 16) / 16**12  # as good as measured: decided by the run alone
        confirmed = {row.evaluation for row in folder.results()}
        found = [
            (each, [Measured(name, value, 100) for name in each.metrics])
            for each in evaluate
            if digest(each) not in confirmed
        ]
        about = {"flops": run.flops, "data": [{"train_size": 1000}], "seconds_here": 1.5}
        folder.finish(found, about)
        enter("end", run.id)
        return True

    left = list(folders)
    while left:
        for path in left:
            with ExitStack() as leases:
                if one(path, leases):
                    left.remove(path)
                    break
        else:
            sys.exit(os.EX_TEMPFAIL)


if __name__ == "__main__":
    main()
