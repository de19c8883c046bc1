"""metrics.jsonl: how a training went, one line about every second and at its last step.

A trunk's steps stand in the trunk's folder and a cooldown's in the run's; `curve` joins the two. A
line is appended; what cannot be read, of a process killed while it wrote, counts for nothing. When
a training resumes, lines past its checkpoint are dropped before the first new one is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ConfigDict

from scaling.base.config import Config
from scaling.runs.metrics_parts import lines_in, text_in
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder
from scaling.training.run import Run

METRICS = "metrics.jsonl"


class MetricsLine(Config):
    """What was seen at one look; columns that a later version adds are not read."""

    model_config = ConfigDict(extra="ignore")

    step: int
    """Updates made."""
    images_seen: int
    loss: float | None
    """Mean over the steps since the line before, nats."""
    learning_rate: float
    """That the last of these steps was made with."""
    gradient_norm: float | None
    """Global norm of the last gradient, before clipping."""
    layer_gradient_norms: tuple[float | None, ...] | None = None
    """Of each block, the lowest first."""
    images_per_second: float | None
    """Since the line before, of all devices together; None in the first line of a process, which
    may have compiled in between."""
    mfu: float | None
    """Model FLOPs utilisation, a fraction; None where the devices' peak is not known."""
    memory_bytes: int | None
    """Most in use at once on a device of the first process; None where none are counted."""
    seconds: float
    """Of training that led here, by whatever processes."""


class MetricsWriter:
    """Writes the lines of one stretch of a training, up to its last step, as long as `check` lets
    it."""

    def __init__(self, folder: Path, until: int, check: Callable[[], None]):
        """
        Args:
          until: the step at which the stretch ends; lines past it are another run's and stay.
          check: raises where another process has taken over the folder.
        """
        self._lines, self._until = lines_in(folder / METRICS, check), until
        self._began = False

    def write(self, line: MetricsLine, since: int) -> None:
        """Append a line, which tells of the steps after `since`."""
        if not self._began:
            self._began = True
            self._drop(since)
        self._lines.append(_text([line]))
        if line.step == self._until:
            self._lines.flush()

    def flush(self) -> None:
        """Until all lines are there for others: to be called before a checkpoint counts."""
        self._lines.flush()

    def _drop(self, since: int) -> None:
        """Leave out what will be written anew: steps after `since`, up to the stretch's end."""
        self._lines.keep(
            lambda text: _text(x for x in _read(text) if not since < x.step <= self._until)
        )


def read_lines(folder: Path) -> list[MetricsLine]:
    """The lines of a folder of a run or of a trunk, in the order of their steps; none where there
    is no such file."""
    return _read(text_in(folder / METRICS))


def _read(text: str) -> list[MetricsLine]:
    """Those of its lines that can be read, in the order of their steps, the last of each."""
    found: dict[int, MetricsLine] = {}
    for line in text.splitlines():
        try:
            read = MetricsLine.model_validate_json(line)
        except ValueError:
            continue  # torn
        found[read.step] = read
    return [found[step] for step in sorted(found)]


def _text(lines: Iterable[MetricsLine]) -> str:
    return "".join(line.model_dump_json() + "\n" for line in lines)


def curve(folder: RunFolder, run: Run) -> list[MetricsLine]:
    """A run's whole curve, from its first step to its last so far: its trunk's, then its own."""
    trunk = read_lines(TrunkFolder.of(folder, run).path)
    own = read_lines(folder.path)
    return [
        *(line for line in trunk if line.step <= run.branch_step),
        *(line for line in own if line.step > run.branch_step),
    ]
