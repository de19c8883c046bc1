"""Writing into a run's folder: only as long as this process holds its lease.

Every write asks the lease right before it is published, so that a process whose lease another has
taken over (it was suspended, or its machine lost the network) gets `LeaseLost` and changes nothing.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.base.console import Say
from scaling.base.files import set_aside
from scaling.base.storage import is_object, publish
from scaling.evaluate import Evaluation
from scaling.runs import lease
from scaling.runs.attempts import ATTEMPTS, TRIES, read_attempts
from scaling.runs.results_file import (
    MANIFEST,
    RESULTS,
    confirmed_text,
    manifest_text,
    parse_rows,
    rows_text,
)
from scaling.runs.rule_file import RULE
from scaling.runs.run_folder import FAILED, LEASE, PROGRESS, STOPPED, RunFolder, RunProgress
from scaling.training.hanging import Sign

if TYPE_CHECKING:
    from scaling.evaluate.measured import Measured

SECONDS_BETWEEN_REPORTS = 1.0
SECONDS_BETWEEN_REPORTS_TO_BUCKET = 5.0  # training waits for each


class HeldRun(RunFolder):
    """A run's folder whose lease this process holds. Whatever writes may raise `LeaseLost`."""

    def __init__(self, path: Path, held: lease.Lease):
        super().__init__(path)
        self._lease = held
        in_bucket = is_object(path)
        self._between = SECONDS_BETWEEN_REPORTS_TO_BUCKET if in_bucket else SECONDS_BETWEEN_REPORTS
        self._reported: tuple[str, float] | None = None  # phase and time of the last report
        self.last_sign: Sign | None = None
        """What this process said last that it does; newer than what is written."""
        self._phase_began = 0.0

    def check(self) -> None:
        """Raise `LeaseLost` unless this process may still write."""
        self._lease.check()

    def finish(
        self,
        measured: Iterable[tuple[Evaluation, Sequence[Measured]]],
        manifest: Mapping[str, Any],
    ) -> None:
        """Append what was measured, then confirm it: from here on the run is done.

        Rows confirmed earlier (by a study that measures something else) stay. A process killed in
        here leaves rows that nothing confirms; the next one replaces them.

        Args:
          measured: what each evaluation found; none of it confirmed already.
          manifest: what decided the numbers (versions, device, seconds, FLOPs, ...), plain JSON.

        Raises:
          DamagedRun: what would be appended to is damaged, or something is measured twice.
          ValueError: a number is not finite; nothing is written then.
        """
        try:
            confirmed = confirmed_text(self.path, self.manifest())
        except FileNotFoundError:
            confirmed = b""
        whole = confirmed + rows_text(measured)
        parse_rows(self.path / RESULTS, whole)
        confirmation = manifest_text(manifest, whole)
        self._write(RESULTS, whole, durable=True)
        self._write(MANIFEST, confirmation.encode(), durable=True)
        self._remove(FAILED)
        self._remove(ATTEMPTS)
        self._remove(RULE)
        self._remove(PROGRESS)

    def fail(self, reason: str) -> None:
        """Write why the run failed; numbers that nothing confirms are dropped."""
        if not (self.path / MANIFEST).exists():
            self._remove(RESULTS)
        self._write(FAILED, (reason.rstrip() + "\n").encode(), durable=True)
        self._remove(PROGRESS)

    def attempt(self, reason: str, step: int) -> bool:
        """Write that a worker was in vain at the run, and why; the last of `TRIES` fails it.

        Args:
          step: of the checkpoint from which it began.

        Returns:
          Whether the run is to be tried again.
        """
        attempts = read_attempts(self.path).after(reason, step)
        self._write(ATTEMPTS, (attempts.model_dump_json() + "\n").encode())
        if len(attempts.reasons) < TRIES:
            return True
        self.fail(f"{reason} Tried {TRIES} times.")
        return False

    def stop(self, reason: str) -> None:
        """Write why this process leaves the run unfinished."""
        self._write(STOPPED, (reason.rstrip() + "\n").encode())

    def clear_stop(self) -> None:
        """Forget why the run was left unfinished, now that somebody works on it again."""
        self._remove(STOPPED)

    def clear_failure(self) -> None:
        """Forget a failure, so that the run is tried again."""
        self._remove(FAILED)
        self._remove(ATTEMPTS)
        self._remove(RULE)

    def report(
        self,
        *,
        step: int,
        steps: int,
        phase: str,
        images_per_second: float | None = None,
        pace: float | None = None,
        loss: float | None = None,
        gradient_norm: float | None = None,
        mfu: float | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """Say how far this process is; cheap to call every step, written once a second."""
        self.last_sign = Sign(self.id, phase, step)
        now = time.monotonic()
        if self._reported is not None:
            last_phase, last = self._reported
            if _kind(phase) == _kind(last_phase) and now - last < self._between:
                return
        if self._reported is None or _kind(self._reported[0]) != _kind(phase):
            self._phase_began = time.time()
        self._reported = phase, now
        progress = RunProgress(
            step=step,
            steps=steps,
            images_per_second=images_per_second,
            pace=pace,
            loss=_finite(loss),
            gradient_norm=_finite(gradient_norm),
            mfu=mfu,
            memory_bytes=memory_bytes,
            phase=phase,
            phase_began=self._phase_began,
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        self._write(PROGRESS, progress.model_dump_json().encode())

    def repair(self, say: Say) -> None:
        """Set aside what cannot be believed, and say so; the run then counts as not done."""
        if (damage := self.damage()) is not None:
            kept = [self._set_aside(path.name) for path in damage.paths if path.exists()]
            say(f"{damage} Kept aside as {' and '.join(kept)}; the run will be done again.")
        progress = self.path / PROGRESS
        if progress.exists() and self.progress() is None:
            say(f"{progress} is not a report. Kept aside as {self._set_aside(PROGRESS)}.")

    def _write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        publish(self.path / name, content, durable=durable, check=self.check)

    def _remove(self, name: str) -> None:
        self.check()
        (self.path / name).unlink(missing_ok=True)

    def _set_aside(self, name: str) -> str:
        self.check()
        return set_aside(self.path / name).name


def _kind(phase: str) -> str:
    """A phase without how far it is: "finetune nano 12 of 50" is one with "finetune nano 13 of
    50"."""
    return phase.partition(" ")[0]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@contextmanager
def hold_run(path: Path) -> Iterator[HeldRun]:
    """Wait until no other process works on the run, then keep others waiting."""
    with lease.hold(path / LEASE) as held:
        yield HeldRun(path, held)


@contextmanager
def hold_run_if_free(path: Path, watch: lease.LeaseWatch | None = None) -> Iterator[HeldRun | None]:
    """As `hold_run`, but without waiting: None where another process works on the run, or may.

    Args:
      watch: as `lease.hold_if_free` takes it.
    """
    with lease.hold_if_free(path / LEASE, watch) as held:
        yield None if held is None else HeldRun(path, held)
