"""Follows the runs of a study and tells a writer what is new: `scaling export`.

It reads the folder of runs as any reader does, in a process of its own: whatever a tool, its
network or its login does, training knows nothing of it. A file beside the tool's own says how far
each run was told, so that the command may be killed and started again.
"""

from __future__ import annotations

import fcntl
import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import TypeAdapter

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.files import write_text
from fits.base.names import did_you_mean
from scaling.base.config import Config
from scaling.base.console import complain, say
from scaling.runs.begun import as_begun
from scaling.runs.metrics_file import curve
from scaling.runs.run_folder import RunFolder
from scaling.study.study import Study
from scaling.training.run import Run
from scaling.writers.protocol import Sink, Writer, about, numbers
from scaling.writers.tensorboard import TensorBoard
from scaling.writers.trackio import Trackio
from scaling.writers.wandb import WeightsAndBiases

WRITERS: dict[str, tuple[type[Writer], str]] = {
    "tensorboard": (TensorBoard, "tensorboardX"),
    "trackio": (Trackio, "trackio"),
    "wandb": (WeightsAndBiases, "wandb"),
}
"""By name: the writer, and the package that it needs."""
SECONDS = 30.0  # between two looks, with --watch


class Told(Config):
    """How far a tool knows a run."""

    step: int = 0
    results: tuple[str, ...] = ()
    """Metrics that were told."""


_TOLD = TypeAdapter(dict[str, Told])


def writer_of(name: str, folder: Path) -> Writer:
    """The writer of that name.

    Raises:
      UserError: there is none, or its package is not installed.
    """
    if name not in WRITERS:
        raise UserError(
            [f"--to {name}: no such tool. {did_you_mean(name, WRITERS)}Use {', '.join(WRITERS)}."]
        )
    kind, package = WRITERS[name]
    if importlib.util.find_spec(package) is None:
        raise UserError([f"--to {name}: needs the package {package}: pip install {package}."])
    return kind(folder)


def export(study: Study, runs: Path, name: str, out: Path, *, watch: bool = False) -> None:
    """Tell a tool what it does not know yet of the runs of a study; says how much that was.

    Args:
      name: of the writer.
      out: its files are written to OUT/<name>/<study>/.
      watch: look again until all runs are done. What goes wrong is said once, and tried again.

    Raises:
      UserError: no such writer, another process tells it, or, without `watch`, it failed.
    """
    folder = out / name / study.name
    writer = writer_of(name, folder)
    with _alone(folder):
        follower = Follower(study, runs, writer, folder / "told.json")
        said = None
        try:
            while True:
                try:
                    follower.look(keep_open=watch)
                    said = None
                except ToolFailed as failure:
                    if not watch:
                        raise UserError([f"--to {name}: {failure}"]) from failure
                    if str(failure) != said:
                        complain(f"{name}: {failure}")
                    said = str(failure)
                if not watch or (said is None and follower.all_ended):
                    break
                time.sleep(SECONDS)
        finally:
            follower.close()
            written = counted(follower.lines, "line"), counted(follower.results, "result")
            say(f"{' and '.join(written)} to {name}: {folder}")


class ToolFailed(Exception):
    """Whatever a tool raised, in words."""


class Follower:
    """Tells one writer of the runs of one study."""

    def __init__(self, study: Study, runs: Path, writer: Writer, told: Path):
        """
        Args:
          told: the file that says how far the writer knows each run.
        """
        self._study, self._runs, self._writer, self._path = study, runs, writer, told
        self._told = _read(told)
        self._open: dict[str, Sink] = {}
        self._done: set[str] = set()
        self.lines = self.results = 0

    @property
    def all_ended(self) -> bool:
        """Whether every run was done at the last look and is told to its end, or has failed."""
        runs = as_begun(self._study, self._runs).runs
        left = (run.id for run in runs if run.id not in self._done)
        return all(RunFolder(self._runs / name).failure() is not None for name in left)

    def look(self, *, keep_open: bool) -> None:
        """Tell what is new.

        Args:
          keep_open: leave runs open that are not done.

        Raises:
          ToolFailed: nothing more was told, and what was not noted will be told again.
        """
        study = as_begun(self._study, self._runs)
        for run in study.runs:
            if run.id in self._done:
                continue
            seen = RunFolder(self._runs / run.id).look(study.evaluate)
            done = seen.state == "done"  # before the lines are read: then these are all
            found = {row.metric: row.value for row in seen.rows} if done else {}
            self._tell(study, run, found)
            if done or not keep_open:
                self._close(run.id)
            if done:
                self._done.add(run.id)

    def _tell(self, study: Study, run: Run, found: dict[str, float]) -> None:
        told = self._told.get(run.id, Told())
        lines = [x for x in curve(RunFolder(self._runs / run.id), run) if x.step > told.step]
        results = {name: value for name, value in found.items() if name not in told.results}
        if not lines and not results:
            return
        with _in_words():
            if run.id not in self._open:
                self._open[run.id] = self._writer.open(about(study, run), told.step)
            sink = self._open[run.id]
            for line in lines:
                sink.line(line.step, numbers(run, line))
            if results:
                sink.results(run.steps, results)
            sink.flush()
        step = lines[-1].step if lines else told.step
        self._told[run.id] = Told(step=step, results=(*told.results, *results))
        write_text(self._path, _TOLD.dump_json(self._told).decode())
        self.lines += len(lines)
        self.results += len(results)

    def _close(self, run: str) -> None:
        if (sink := self._open.pop(run, None)) is not None:
            with _in_words():
                sink.close()

    def close(self) -> None:
        """Close what is open, as far as the tool lets it be closed."""
        for run in list(self._open):
            with suppress(ToolFailed):
                self._close(run)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a tool's own, or its network's
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ToolFailed(
            f"{reason.rstrip('.')}. Training is not affected; export again to go on."
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                [f"{folder}: another process exports to it; stop that first."]
            ) from None
        yield


def _read(path: Path) -> dict[str, Told]:
    """What was told; nothing where there is no such file, or none of ours."""
    try:
        return _TOLD.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise UserError(
            [f"{path}: is damaged; delete its folder, and all is exported anew."]
        ) from None
