"""The folder of one run, as anybody may read it at any time.

    run.json        the run and what to measure on it, complete, defaults included
    results.jsonl   one measured number a line; only ever grows
    metrics.jsonl   how the cooldown went (`scaling.runs.metrics_file`)
    manifest.json   what decided the numbers; written last, so its presence means done
    failed.txt      why the run failed
    stopped.txt     why the last process to work on it left it unfinished, where the machine was at
                    fault: memory, disk
    progress.json   how far the process at work has come; informative only
    checkpoints/    training states of the cooldown
    finetune/       what an evaluation that trains has done so far (`evaluate/trained/trainings.py`)
    lease/          who may write in here (`scaling.runs.lease`)

Writing takes the lease: `scaling.runs.held_run`. Knows nothing of training or of processes;
checkpoints are `scaling.training.checkpoints`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import Field

from fits.base.printable import printable
from scaling.base.config import Config
from scaling.evaluate import Evaluation
from scaling.runs import lease
from scaling.runs.damage import DamagedRun, text_of
from scaling.runs.results_file import (
    MANIFEST,
    RESULTS,
    ResultRow,
    confirmed_rows,
    expected,
    parse_rows,
    read_manifest,
)
from scaling.runs.run_file import NAME as RUN
from scaling.runs.run_file import read_run_file
from scaling.training.run import Run

RunState: TypeAlias = Literal["done", "running", "failed", "waiting"]

LEASE, FAILED, STOPPED, PROGRESS = "lease", "failed.txt", "stopped.txt", "progress.json"


class RunProgress(Config):
    """The contents of progress.json: how far a process has come with a run."""

    step: int = Field(ge=0, lt=2**63)
    steps: int = Field(ge=0, lt=2**63)
    images_per_second: float | None = None
    pace: float | None = None
    """Images/s of this process since its step was compiled."""
    loss: float | None = None
    gradient_norm: float | None = None
    mfu: float | None = None
    memory_bytes: int | None = Field(None, ge=0, lt=2**63)
    phase: str = Field(pattern=r"^[\w ]*$")
    """What is being done: check, compile, train, cooldown, evaluate, and how far an evaluation's
    own training is: "finetune nano on pets 120 of 500"."""
    phase_began: float = Field(allow_inf_nan=False)
    """When that began, in seconds since 1970 by the worker's clock."""
    pid: int
    host: str
    """On which that process is."""


class Look(NamedTuple):
    """What a run's folder said at one moment.

    Fields:
      rows: confirmed, of the evaluations that were asked for.
      manifest: None: there is none, or it cannot be believed.
      damage: of results or manifest, which then count for nothing.
    """

    state: RunState
    rows: tuple[ResultRow, ...]
    manifest: dict[str, Any] | None
    damage: DamagedRun | None


class RunFolder:
    """One run's folder, named by the run's id."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    def is_untouched(self) -> bool:
        """Whether no worker has ever been in here, as far as its files tell."""
        try:
            return {path.name for path in self.path.iterdir()} <= {RUN}
        except OSError:
            return False

    @property
    def checkpoints(self) -> Path:
        """Where the run's own training states lie, from where it left its trunk."""
        return self.path / "checkpoints"

    def read(self) -> tuple[Run, tuple[Evaluation, ...]]:
        """The run, and what to measure on it; `DamagedRun` when run.json cannot be believed."""
        found = read_run_file(self.path)
        return found.run, found.evaluate

    def look(self, evaluate: Sequence[Evaluation]) -> Look:
        """What the folder says at this moment of the run and of what `evaluate` measures on it."""
        manifest, rows, damage = None, tuple[ResultRow, ...](), None
        try:
            manifest = read_manifest(self.path)
            rows = confirmed_rows(self.path, manifest)
        except FileNotFoundError:
            pass
        except DamagedRun as found:
            manifest, damage = None, found
        wanted = expected(tuple(evaluate))
        named = {name for name, _ in wanted}
        rows = tuple(row for row in rows if row.evaluation in named)
        if manifest is not None and wanted <= {(row.evaluation, row.metric) for row in rows}:
            return Look("done", rows, manifest, damage)
        state: RunState = "waiting"
        if lease.is_held(self.path / LEASE):
            state = "running"
        elif (self.path / FAILED).exists():
            state = "failed"
        return Look(state, rows, manifest, damage)

    def results(self, evaluate: Sequence[Evaluation] | None = None) -> tuple[ResultRow, ...]:
        """Confirmed rows, none while the run is not done; of `evaluate` alone where it is given.

        Raises `DamagedRun` when results.jsonl is not what the manifest confirmed.
        """
        try:
            rows = confirmed_rows(self.path, self.manifest())
        except FileNotFoundError:
            return ()
        if evaluate is None:
            return rows
        named = {name for name, _ in expected(tuple(evaluate))}
        return tuple(row for row in rows if row.evaluation in named)

    def manifest(self) -> dict[str, Any]:
        """What decided the numbers; FileNotFoundError while there is none.

        Raises `DamagedRun` when the file is not what was written.
        """
        return read_manifest(self.path)

    def is_done(self, evaluate: Sequence[Evaluation]) -> bool:
        """Whether every metric of `evaluate` is confirmed; damaged files count for nothing."""
        return (self.path / MANIFEST).exists() and self.look(evaluate).state == "done"

    def status(self, evaluate: Sequence[Evaluation]) -> RunState:
        """Done, or else at work, or else failed, or else waiting for its turn."""
        return self.look(evaluate).state

    def failure(self) -> str | None:
        """Why the run failed; None when it did not."""
        try:
            text = (self.path / FAILED).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        return printable(text.strip()) or "no reason was written"

    def stopped(self) -> str | None:
        """Why the run was left unfinished; None when it was not."""
        try:
            text = (self.path / STOPPED).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        return printable(text.strip())

    def has_progress(self) -> bool:
        """Whether there is a last report; a run that ended in good order has none."""
        return (self.path / PROGRESS).exists()

    def progress(self) -> RunProgress | None:
        """The last report; None when there is none that can be read."""
        try:
            return RunProgress.model_validate_json(text_of(self.path / PROGRESS), strict=True)
        except (FileNotFoundError, ValueError):
            return None

    def damage(self) -> DamagedRun | None:
        """What is wrong with results and manifest; None when they can be believed."""
        results = self.path / RESULTS
        if not results.exists() and not (self.path / MANIFEST).exists():
            return None
        try:
            self.results()
            if results.exists() and not (self.path / MANIFEST).exists():
                parse_rows(results, results.read_bytes())  # nothing confirms any of it
        except DamagedRun as damage:
            return damage
        return None

    def needs_repair(self) -> bool:
        """Whether something in here would be set aside by `HeldRun.repair`."""
        unreadable = self.has_progress() and self.progress() is None
        return unreadable or self.damage() is not None
