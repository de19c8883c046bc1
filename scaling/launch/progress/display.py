"""What a person sees while runs are trained: a live table, or plain lines without a terminal.

Knows the progress of a launch, not how it comes about.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import Any, Protocol

from fits.base.printable import printable
from scaling.base.console import clock, say
from scaling.launch.progress.events import AtWork, Conclusion, Event, LaunchProgress, duration
from scaling.runs.run_folder import RunProgress

SECONDS_BETWEEN_LINES = 30.0
BAR = 30  # characters
WITH_A_CLOCK = {"check": "checking images", "compile": "compiling", "evaluate": "evaluating"}
"""Phases in which no step is made."""
HEADINGS = (
    "model",
    "images seen",
    "step",
    "loss",
    "gradient norm",
    "images/s",
    "MFU",
    "GiB",
    "",
)

DROPPED = "gradient norm", "GiB", "MFU", "loss"  # in this order, on a narrow screen


class Display(Protocol):
    """Where a launch shows its progress."""

    def say(self, line: str) -> None:
        """One line that stays."""

    def tell(self, event: Event) -> None:
        """What became of a run."""

    def conclude(self, conclusion: Conclusion) -> None:
        """How it ended; nothing follows."""

    def update(self, launch: LaunchProgress) -> None:
        """The progress now; may be shown or not."""


@contextmanager
def display(*, json_lines: bool = False) -> Iterator[Display]:
    """A live table when standard output is a terminal, plain lines otherwise.

    Args:
      json_lines: an object a line, whatever standard output is.
    """
    if json_lines:
        yield JsonLines()
        return
    if not in_terminal():
        yield PlainLines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False, transient=True) as live:
        yield LiveTable(live)


def in_terminal() -> bool:
    """Whether standard output is a screen on which lines can be drawn over."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class _InWords:
    """Tells all in lines."""

    def say(self, line: str) -> None:
        say(line)

    def tell(self, event: Event) -> None:
        self.say(str(event))

    def conclude(self, conclusion: Conclusion) -> None:
        for line in conclusion.lines():
            say(line)


class PlainLines(_InWords):
    """Lines for a log: what happened, and the progress twice a minute."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def update(self, launch: LaunchProgress) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self.say(in_words(launch))


class JsonLines:
    """For machines: an object a line, each with `event` and `time`, seconds since 1970."""

    def __init__(self) -> None:
        self._last = -SECONDS_BETWEEN_LINES

    def say(self, line: str) -> None:
        self._print({"event": "note", "words": line})

    def tell(self, event: Event) -> None:
        self._print(event.as_json())

    def conclude(self, conclusion: Conclusion) -> None:
        self._print(conclusion.as_json())

    def update(self, launch: LaunchProgress) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._print(launch.as_json())

    def _print(self, content: dict[str, Any]) -> None:
        say(json.dumps({"time": round(time.time(), 3), **content}, allow_nan=False))


class LiveTable(_InWords):
    """One line a worker and one for the whole launch, redrawn in place."""

    def __init__(self, live) -> None:  # type: ignore[no-untyped-def]  # rich loads only when used
        self._live = live

    def say(self, line: str) -> None:
        self._live.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def update(self, launch: LaunchProgress) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0))
        rows = [tuple(map(printable, cells(each))) for each in launch.busy]
        known = _that_fit(rows, self._live.console.width)
        for heading in compress(HEADINGS, known):
            table.add_column(heading, justify="left" if heading in ("model", "") else "right")
        for row in rows:
            table.add_row(*compress(row, known))
        done = launch.flops_done / launch.flops if launch.flops else 1.0
        bar = ("█" * round(BAR * done)).ljust(BAR, "░")
        words = f"{_counts(launch)}{_waits(launch)}{_left(launch)}"
        total = Text(f"{bar} {100 * done:.0f} %  {words}")
        self._live.update(Group(table, total), refresh=True)


def _that_fit(rows: Sequence[tuple[str, ...]], columns: int) -> list[bool]:
    """Which of `HEADINGS` are shown: those that somebody has a value for, without the first of
    `DROPPED` where a line of so many characters has no room for all."""
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(len(HEADINGS))]
    heads = [max(map(len, heading.split()), default=0) for heading in HEADINGS]
    room = [max(pair) + 2 if pair[0] else 0 for pair in zip(widths, heads, strict=True)]
    for heading in DROPPED:
        if sum(room) <= columns:
            break
        room[HEADINGS.index(heading)] = 0
    return [each > 0 for each in room]


def cells(worker: AtWork) -> tuple[str, ...]:
    """A worker's line, as `HEADINGS` says; what is not known is empty."""
    name, images = worker.run.model_name, f"{worker.run.images_seen:_}"
    progress = worker.progress
    if progress is None:
        return name, images, *[""] * (len(HEADINGS) - 3), starting(worker)
    step = f"{progress.step:_}/{progress.steps:_}"
    return name, images, step, *(words for _, words in _seen(progress)), doing(progress)


def starting(worker: AtWork) -> str:
    """That a worker has not reported yet, and for how long."""
    if worker.began is None:
        return "starting"
    return f"starting, {clock(time.time() - worker.began)}"


def doing(progress: RunProgress, now: float | None = None) -> str:
    """What a worker does; where no step tells how far it is, for how long it has.

    Args:
      now: seconds since 1970; None: now.
    """
    words = WITH_A_CLOCK.get(progress.phase)
    if words is None:
        return progress.phase
    return f"{words}, {clock((time.time() if now is None else now) - progress.phase_began)}"


def _seen(progress: RunProgress) -> tuple[tuple[str, str], ...]:
    """Name and value of each number that a worker reports, in the order of `HEADINGS`."""
    p = progress
    memory = None if p.memory_bytes is None else p.memory_bytes / 2**30
    return (
        ("loss {}", "" if p.loss is None else f"{p.loss:.4g}"),
        ("gradient norm {}", "" if p.gradient_norm is None else f"{p.gradient_norm:.3g}"),
        ("{} images/s", "" if p.images_per_second is None else f"{p.images_per_second:_.0f}"),
        ("MFU {}", "" if p.mfu is None else f"{p.mfu:.1%}"),
        ("{} GiB", "" if memory is None else f"{memory:.3g}"),
    )


def seen_of(progress: RunProgress) -> str:
    """The numbers that a worker reports, each after a comma."""
    return "".join(f", {name.format(words)}" for name, words in _seen(progress) if words)


def in_words(launch: LaunchProgress) -> str:
    """One line: how many runs are done, what is being trained, and the time left."""
    line = _counts(launch)
    for worker in launch.busy:
        line += f"; {worker.run.model_name}, {worker.run.images_seen:_} images"
        if worker.progress is None:
            line += f", {starting(worker)}"
        else:
            step = f"step {worker.progress.step:_} of {worker.progress.steps:_}"
            line += f", {doing(worker.progress)}, {step}{seen_of(worker.progress)}"
    return line + _waits(launch) + _left(launch)


def _counts(launch: LaunchProgress) -> str:
    failed = f", {launch.failed} failed" if launch.failed else ""
    return f"{launch.done} of {launch.runs} runs done{failed}"


def _waits(launch: LaunchProgress) -> str:
    if launch.waits_for is None:
        return ""
    return f"; waits for {launch.waits_for}, {clock(launch.waited)}"


def _left(launch: LaunchProgress) -> str:
    if launch.seconds_left is None:
        return ""
    return f"; about {duration(launch.seconds_left)} left"
