"""Slurm's own commands: what they say of this user's jobs, and what they are told.

An answer that does not come, as while slurmctld is restarted, changes nothing: what was known stays
known. Only what a job's state says is read, never its numbers or names. Knows no launch.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator

SECONDS_BETWEEN_QUESTIONS = 2.0  # to slurmctld
SECONDS_FOR_AN_ANSWER = 60.0
ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
OUTER = (
    *("SLURM", "SBATCH_", "SRUN_", "SALLOC_", "SUBMITIT_", "PMI_", "PMIX_", "JAX_LOCAL_DEVICE"),
    "MEGASCALE_",
)
OUTER_NAMES = {
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "JAX_COORDINATOR_ADDRESS",
    "JAX_COORDINATOR_BIND_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
    "ROCR_VISIBLE_DEVICES",
    "TPU_VISIBLE_CHIPS",
    "TPU_VISIBLE_DEVICES",
    "XLA_PYTHON_CLIENT_MEM_FRACTION",
}
KEPT = {"SLURM_CONF", "SLURM_JWT"}  # how Slurm's commands find the cluster


class SlurmQueue:
    """This user's jobs, as squeue last told them; also where no accounting is kept."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[str, str]] = {}
        """Name, as "12" or "12_3" -> state, and the reason of it."""
        self._last: dict[str, str] = {}
        """The last words on each job that was ever there."""
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._asked_at = self._answered_at = float("-inf")

    def has_ended(self, name: str, since: float) -> bool:
        """Whether a job that was there `since`, by `time.monotonic`, is there no more."""
        self._ask()
        if self._answered_at <= since:
            return False
        return name not in self._jobs or self._jobs[name][0] in ENDED

    def words(self, name: str) -> str:
        """What was last said of a job."""
        return self._last.get(name, "Slurm does not know it any more")

    def seconds(self, name: str) -> float:
        """For which a job has been seen to run, before it was requeued too."""
        self._ask()
        return self._seconds[name]

    def _ask(self) -> None:
        now = time.monotonic()
        if now - self._asked_at < SECONDS_BETWEEN_QUESTIONS:
            return
        said = slurm_said(
            "squeue", "--me", "--noheader", "--array", "--states=all", "-o", "%i|%T|%r"
        )
        self._asked_at = time.monotonic()
        if said is None:
            return
        jobs = {}
        for line in said.splitlines():
            name, state, reason = (*line.split("|", 2), "", "")[:3]
            jobs[name.strip()] = (state, reason)
            self._last[name.strip()] = f"{state} ({reason})"
        for name, (state, _) in jobs.items():
            if state == "RUNNING" and self._jobs.get(name, ("", ""))[0] == "RUNNING":
                self._seconds[name] += now - self._answered_at
        self._jobs, self._answered_at = jobs, now


def slurm_said(*words: str) -> str | None:
    """What one of Slurm's commands prints; None where it did not do as it was told."""
    try:
        with own_environment():
            return subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS_FOR_AN_ANSWER,
                check=True,
            ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


@contextlib.contextmanager
def own_environment() -> Iterator[None]:
    """Without what a job, or a training, that this process may be a part of has set: sbatch hands
    the environment on, and lets SBATCH_* take the place of what a script says."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if (name.startswith(OUTER) or name in OUTER_NAMES) and name not in KEPT
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
