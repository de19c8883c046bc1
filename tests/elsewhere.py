"""A launcher or a worker that passes for one of another machine, whose clock is wrong.

    python elsewhere.py MACHINE SECONDS_AHEAD launch STUDY.json RUNS AUDIT SECONDS_A_STEP
    python elsewhere.py MACHINE SECONDS_AHEAD work AUDIT SECONDS_A_STEP FOLDER ...

Leases see another machine, so that only heartbeats tell whether it is alive; these are set by its
clock, and come and expire 20 times as fast. The worker is pretend_worker.py.
"""

import os
import runpy
import sys
import time
from pathlib import Path

from scaling.runs import lease

PRETEND = Path(__file__).with_name("pretend_worker.py")
HEARTBEAT, EXPIRY = 0.5, 3.0


def pretend(machine: str, ahead: float) -> None:
    """Be on that machine, with that clock."""
    clock, utime = time.time, os.utime

    def beat(path, times=None, **keys):
        return utime(path, times or (time.time(),) * 2, **keys)

    time.time = lambda: clock() + ahead
    os.utime = beat
    lease._machine = lambda: machine
    lease.HEARTBEAT, lease.EXPIRY = HEARTBEAT, EXPIRY


def launches(study: str, runs: str, audit: str, pause: str) -> int:
    from launched import Pretended

    from scaling.launch.launch import launch
    from scaling.launch.launch_spec import DEFAULT
    from scaling.study.study import Study

    worker = [sys.executable, __file__, *sys.argv[1:3], "work", audit, pause]
    local = Pretended(workers=1).with_command(lambda folders: [*worker, *map(str, folders)])
    wanted = Study.model_validate_json(Path(study).read_text())
    return 0 if launch(wanted, Path(runs), DEFAULT, local) else 1


if __name__ == "__main__":
    pretend(sys.argv[1], float(sys.argv[2]))
    if sys.argv[3] == "launch":
        sys.exit(launches(*sys.argv[4:]))
    sys.argv = [str(PRETEND), *sys.argv[4:]]
    runpy.run_path(str(PRETEND), run_name="__main__")
