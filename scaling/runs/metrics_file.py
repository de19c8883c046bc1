"""metrics.jsonl: how a training went, one line about every second and at its last step.

A trunk's steps stand in the trunk's folder and a cooldown's in the run's; `curve` joins the two. A
line is appended; what cannot be read, of a process killed while it wrote, counts for nothing. When
a training resumes, lines past its checkpoint are dropped before the first new one is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ConfigDict

from fits.base.files import written_aside
from scaling.base.config import Config
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
        self._path, self._until, self._check = folder / METRICS, until, check
        self._began = False

    def write(self, line: MetricsLine, since: int) -> None:
        """Append a line, which tells of the steps after `since`."""
        if not self._began:
            self._began = True
            self._drop(since)
        self._check()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line.model_dump_json() + "\n")

    def _drop(self, since: int) -> None:
        """Leave out what will be written anew: steps after `since`, up to the stretch's end."""
        kept = [x for x in read_lines(self._path.parent) if not since < x.step <= self._until]
        if not kept and not self._path.exists():
            return
        with written_aside(self._path) as aside:
            aside.write_text("".join(line.model_dump_json() + "\n" for line in kept))
            self._check()


def read_lines(folder: Path) -> list[MetricsLine]:
    """The lines of a folder of a run or of a trunk, in the order of their steps; none where there
    is no such file."""
    try:
        text = (folder / METRICS).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found: dict[int, MetricsLine] = {}
    for line in text.splitlines():
        try:
            read = MetricsLine.model_validate_json(line)
        except ValueError:
            continue  # torn
        found[read.step] = read
    return [found[step] for step in sorted(found)]


def curve(folder: RunFolder, run: Run) -> list[MetricsLine]:
    """A run's whole curve, from its first step to its last so far: its trunk's, then its own."""
    trunk = read_lines(TrunkFolder.of(folder, run).path)
    own = read_lines(folder.path)
    return [
        *(line for line in trunk if line.step <= run.branch_step),
        *(line for line in own if line.step > run.branch_step),
    ]
