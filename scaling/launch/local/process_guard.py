"""Starts a worker that is killed when its launcher dies, on cores of its own.

    python -I -S process_guard.py LAUNCHER_PID CORE[,CORE...] COMMAND [ARGUMENT ...]

An empty list of cores: on whichever.

Started as a file of its own, so that nothing else is loaded and nothing runs between fork and
exec in the launcher. Linux only: elsewhere workers outlive a killed launcher, and leases alone keep
two of them from training the same run.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> None:
    launcher, cores, command = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != launcher:  # it died before the signal was asked for
        sys.exit(1)
    if cores != [""]:
        os.sched_setaffinity(0, set(map(int, cores)))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
