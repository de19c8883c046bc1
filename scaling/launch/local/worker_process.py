"""One worker of a pool: a process on the devices of a slot, its log, and the reason it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from scaling.launch.devices import Slot
from scaling.launch.jobs import Job
from scaling.launch.local import process_guard
from scaling.training.hanging import HangTimer, Sign
from scaling.training.leaving import SIGNALS, TRY_AGAIN

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
# XLA asks for its work space anew each step; in 4 KiB pages, a third of a CPU step is spent on
# that. Needs glibc 2.35; anything else ignores it. Moves no digit.
HUGE_PAGES = "glibc.malloc.hugetlb=1"
IN_ORDER = {TRY_AGAIN, *(128 + number for number in SIGNALS)}

Command: TypeAlias = Callable[[Sequence[Path]], list[str]]
"""Run folders -> the command that works through them."""


class WorkerProcess:
    """A process at work on a job; killed when this process dies, on Linux."""

    def __init__(
        self,
        job: Job,
        slot: Slot,
        command: Sequence[str],
        log: Path,
        hang_after: float | None = None,
    ):
        """
        Args:
          log: is appended to; lost without harm where it cannot be written.
          hang_after: as `HangTimer` takes it.
        """
        self.job, self.slot = job, slot
        self._log, self._read, self._last_words, self._is_logged = log, 0, "", True
        self.began = time.time()
        """Seconds since 1970."""
        self._began = time.monotonic()
        self._timer, self._hung = HangTimer(hang_after), False
        if sys.platform == "linux":
            guard = [sys.executable, "-I", "-S", process_guard.__file__, str(os.getpid())]
            command = [*guard, ",".join(map(str, slot.cores)), *command]
        tunables = ":".join(filter(None, [os.environ.get("GLIBC_TUNABLES"), HUGE_PAGES]))
        environment = {**os.environ, **ONE_THREAD, "GLIBC_TUNABLES": tunables}
        output = self._open()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, **slot.environment},
            )
        finally:
            os.close(output)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill_if_hanging(self, sign: Sign | None) -> None:
        """Kill it where `sign`, the last of what it does, has stood for too long."""
        if self._timer.hangs(sign):
            self._hung = True
            self._process.kill()

    def device_seconds(self) -> float:
        """Its time so far, times the devices it has."""
        return (time.monotonic() - self._began) * len(self.slot.devices)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def ended_in_order(self) -> bool:
        """Whether it left runs over because others are at them, they are to be tried once more, or
        somebody told it to leave."""
        return self._process.returncode in IN_ORDER

    def terminate(self) -> None:
        """Ask it to keep a checkpoint and leave."""
        self._process.terminate()

    def end_by(self, deadline: float) -> None:
        """Wait for its end until `deadline`, by `time.monotonic`, and kill it then."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def new_lines(self) -> Iterator[str]:
        """Whole lines that came to the log since the last call; none where it was lost."""
        if not self._is_logged:  # an old log may be there
            return
        try:
            with self._log.open("rb") as log:
                log.seek(self._read)
                whole = log.read().rpartition(b"\n")[0]
        except OSError:
            return
        if whole:
            self._read += len(whole) + 1
            for line in whole.decode(errors="replace").splitlines():
                self._last_words = line.strip() or self._last_words
                yield line

    def exit_reason(self) -> str:
        """Why it ended."""
        status = self._process.returncode
        if self._hung:
            return f"its worker made no step for {self._timer.after:g} s and was killed"
        if status < 0:
            hint = ", as when memory runs out" if -status == signal.SIGKILL else ""
            return f"its worker was killed by signal {-status}{hint}"
        if status > 0:
            return f"its worker ended with exit status {status} ({self._last_words or self._log})"
        return f"its worker ended without finishing it (see {self._log})"

    def _open(self) -> int:
        """A handle of the log, at its end."""
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            self._last_words = f"{self._log} cannot be written: {error.strerror}"
            self._is_logged = False
            return os.open(os.devnull, os.O_WRONLY)
        self._read = os.fstat(handle).st_size
        return handle
