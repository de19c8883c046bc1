"""What a task of Ray does on its node: one command of this program, until it ends or the task is
cancelled. The command dies with Ray's worker.

Loads nothing of this project, nor Ray, so that what is sent to a node is little.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scaling.launch.local import process_guard

SECONDS_TO_LEAVE = 10.0
SECONDS_BETWEEN_LOOKS = 0.2  # between which Ray can interrupt the task
STALE = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
OTHERS = ("RAY_", "MEGASCALE_")
"""How variables begin that are of Ray's worker alone, or would have the command join a training
which is not its own, as `STALE` would: MEGASCALE_*, left by a preempted training of several slices,
makes a slice wait for hosts that are gone (ray issue 62893)."""


def run_in_task(
    arguments: Sequence[str], log: str, environment: Mapping[str, str], folder: str
) -> str:
    """Run `python ARGUMENTS`; says how it ended, "" where that was in order.

    Args:
      log: is appended to; that it exists says that the task is at work.
      environment: of the command, beside what Ray has granted.
      folder: in which the command runs, where relative paths of a study begin; a node that has no
        such folder runs it where Ray was started.

    A cancelled task has the command keep a checkpoint and leave, and kills it after 10 s.
    """
    output = _open(log)
    try:
        process = subprocess.Popen(
            [*_guard(), sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_own(os.environ) | dict(environment),
            cwd=folder if os.path.isdir(folder) else None,
        )
    finally:
        os.close(output)
    try:
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        _end(process)
    status = process.returncode
    if status == 0:
        return ""
    reason = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    last = _last_line(log)
    return f"{reason} ({last})" if last else reason


def _guard() -> list[str]:
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", process_guard.__file__, str(os.getpid()), ""]


def _own(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what is of Ray's worker alone, or of another training."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(OTHERS) and name not in STALE
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _open(log: str) -> int:
    """A handle of the log, at its end; lost without harm where it cannot be written."""
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _last_line(log: str) -> str:
    try:
        lines = Path(log).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
