"""A training that makes no step any more: how long is too long, and a thread that ends the process.

Whoever starts workers watches them from outside (`scaling.launch.local.pool`). A process that
nobody watches, as one of several hosts that train a run together, watches itself: Python's threads
go on while the main thread waits for a device or for another host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

HANGS = 3600.0  # seconds without a step, of what makes steps; unless another time is given
STEPS = ("train", "cooldown", "finetune")  # first words of phases that make steps
LOOKS = 20  # in the time that is too long
SECONDS_TO_WRITE = 10.0  # that the reason may take: what hangs may be the disk


class Sign(NamedTuple):
    """What a training did last."""

    run: str
    phase: str
    step: int


class HangTimer:
    """Tells when the last sign has stood for too long."""

    def __init__(self, after: float | None):
        """
        Args:
          after: seconds, of any phase; None: `HANGS`, and only in phases that make steps: a
            compiler may take hours, and nobody has said what is too long.
        """
        self.after = after or HANGS
        """Seconds."""
        self._in_any_phase = after is not None
        self._sign: Sign | None = None
        self._since = time.monotonic()

    def hangs(self, sign: Sign | None) -> bool:
        """Whether `sign`, the last one, has been the last for too long."""
        now = time.monotonic()
        makes_steps = sign is not None and sign.phase.split(" ")[0] in STEPS
        if sign != self._sign or not (makes_steps or self._in_any_phase):
            self._sign, self._since = sign, now
        return now - self._since >= self.after


@contextmanager
def ended_if_hanging(
    last: Callable[[], Sign | None],
    after: float | None,
    *,
    write: Callable[[str], None],
    end: Callable[[], None],
) -> Iterator[None]:
    """Around a training: where it hangs, `write` is given the reason, and then `end` ends it.

    Args:
      last: the last sign; called in another thread.
      after: as `HangTimer` takes it.
      write: has `SECONDS_TO_WRITE`, in a thread of its own.
      end: does not return, if it can help it.
    """
    timer, done = HangTimer(after), threading.Event()

    def watch() -> None:
        while not done.wait(timer.after / LOOKS):
            if timer.hangs(last()):
                reason = f"it made no step for {timer.after:g} s, and its worker was ended."
                writer = threading.Thread(target=write, args=(reason,), daemon=True)
                writer.start()
                writer.join(SECONDS_TO_WRITE)
                end()
                return

    threading.Thread(target=watch, name="hangs", daemon=True).start()
    try:
        yield
    finally:
        done.set()
