"""Being told to leave: by SIGTERM, SIGINT, SIGHUP or SIGUSR2, from a person, a terminal that
closes, or a scheduler that wants the machine (submitit has Slurm send SIGUSR2 before a time limit).

A training then keeps a checkpoint after the step that it is in, and leaves. What cannot answer a
signal, as a compiler that runs for minutes, is ended when `SECONDS` have passed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2")
    if hasattr(signal, name)
)
TRY_AGAIN = 75  # EX_TEMPFAIL: exit status of one that leaves runs to others, or to a later attempt
SECONDS = 9.0  # in which a process has left: schedulers and launchers kill it after ten or more


class Left(Exception):
    """The training was left at `step`, where a checkpoint was kept."""

    def __init__(self, step: int):
        super().__init__(f"left at step {step:_}, as this process was told to.")
        self.step = step


def never() -> bool:
    """Of a training that nobody tells to leave."""
    return False


class Leaving:
    """Whether this process was told to leave, and what it does then."""

    def __init__(self) -> None:
        self.status: int | None = None
        """The exit status that the signal asks for; None while there was none."""
        self._steps = 0

    def asked(self) -> bool:
        """Whether it was told to."""
        return self.status is not None

    @contextmanager
    def after_a_step(self) -> Iterator[Callable[[], bool]]:
        """Around what asks, after each of its steps, whether to leave. Anything else is left at
        once, by SystemExit."""
        self._steps += 1
        try:
            yield self.asked
        finally:
            self._steps -= 1
        self.leave_if_told()

    def tell(self, number: int, _: object = None) -> None:
        """As a signal's handler."""
        self.status = 128 + number
        if not self._steps:
            self.leave_if_told()

    def leave_if_told(self) -> None:
        """With the status that the signal asks for."""
        if self.status is not None:
            raise SystemExit(self.status)


@contextmanager
def leaving_on_signals() -> Iterator[Leaving]:
    """Signals are told to what this yields, save those that this process was started to ignore.

    In the main thread alone: in others no signal is told.
    """
    leaving = Leaving()
    if threading.current_thread() is not threading.main_thread():
        yield leaving
        return
    _reset_in_children()
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, leaving.tell) for number in heard}
    read, write = os.pipe()
    os.set_blocking(write, False)
    others = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    ended = threading.Event()
    watchdog = threading.Thread(target=_end_unless, args=(ended, read, heard), daemon=True)
    watchdog.start()
    try:
        yield leaving
    except SystemExit:
        leaving.leave_if_told()  # libraries in between put a status of their own in its place
        raise
    finally:
        ended.set()
        signal.set_wakeup_fd(others)
        os.close(write)
        for number, handler in before.items():
            signal.signal(number, handler)


@cache
def _reset_in_children() -> None:
    """A process that is forked from here, as a data loader's, answers signals as any other does."""

    def reset() -> None:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)

    os.register_at_fork(after_in_child=reset)


def _end_unless(ended: threading.Event, read: int, heard: Sequence[int]) -> None:
    """End this process `SECONDS` after its first signal, unless it has `ended` what it did.

    The interpreter writes each signal's number to a pipe at once, while handlers wait for the main
    thread.
    """
    with os.fdopen(read, "rb", buffering=0) as pipe:
        while number := pipe.read(1):
            if number[0] in heard and not ended.wait(SECONDS):
                os._exit(128 + number[0])
