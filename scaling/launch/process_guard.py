"""A worker's first breath: tie its life to the launcher's, pin it to one core, become the worker.

    python -I -S tether.py LAUNCHER_PID CORE COMMAND [ARGUMENT ...]

Started as a file of its own, so that nothing else is loaded and nothing runs between fork and
exec in the launcher. Linux only: elsewhere workers outlive a killed launcher, and locks alone keep
two of them from training the same thing.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> None:
    launcher, core, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != launcher:  # it died before the tie was made
        sys.exit(1)
    os.sched_setaffinity(0, {core})
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
