"""The folder of one run: what was asked, what was measured, and how far it has come.

    run.json        the run and what to measure on it, complete, defaults included
    results.jsonl   one measured number a line; only ever grows
    manifest.json   what decided the numbers; written last, so its presence means done
    failed.txt      why the run failed, in words
    progress.json   how far the process at work has come; a courtesy, never a fact
    run.lock        held while run.json is written
    lock            held by the process at work, freed by the kernel when that dies

A number counts once the manifest confirms it (length and SHA-256 of results.jsonl). Knows nothing
of training or of processes; checkpoints are `scaling.training.checkpoints`'s.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field

from fits.base.files import write_text
from scaling.base.config import Config, digest
from scaling.base.files import is_locked, locked, locked_if_free, set_aside
from scaling.evaluate import Evaluation
from scaling.training.run import Run

if TYPE_CHECKING:
    from scaling.evaluate.measured import Measured

State: TypeAlias = Literal["done", "running", "failed", "waiting"]
Say: TypeAlias = Callable[[str], None]
"""Takes one line for a person."""

SECONDS_BETWEEN_REPORTS = 1.0
NOTE = "note: "
"""Begins a line of a worker's log that its launcher passes on to the person."""


def note(line: str) -> None:
    """A worker's word to the person who launched it: a line of standard error, marked `NOTE`."""
    print(f"{NOTE}{line}", file=sys.stderr, flush=True)


class Damaged(ValueError):
    """Files of a run folder that cannot be believed, and why."""

    def __init__(self, reason: str, *paths: Path):
        super().__init__(reason)
        self.paths = paths


class Order(Config):
    """The contents of run.json."""

    run: Run
    evaluate: tuple[Evaluation, ...]
    format: Literal[1] = 1


class Row(Config):
    """One number measured on a run: a line of results.jsonl."""

    evaluation: str
    """Digest of the `Evaluation` that measured it: other settings, another digest."""
    metric: str
    value: float = Field(allow_inf_nan=False)
    n: int = Field(gt=0)
    """Number of images (or of other trials) that the value is a mean over."""


class Progress(Config):
    """How far a process has come with a run."""

    step: int
    steps: int
    images_per_second: float | None = None
    loss: float | None = None
    phase: str
    """What is being done, in a word: compile, train, cooldown, evaluate."""
    pid: int


class RunFolder:
    """One run's folder, named by the run's id. Whoever works on the run holds `lock()`."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self._reported: tuple[str, float] | None = None  # phase and time of the last report

    @property
    def id(self) -> str:
        return self.path.name

    # What was asked

    def write(self, run: Run, evaluate: Sequence[Evaluation], say: Say) -> None:
        """Makes the folder, and its run.json with all evaluations that any study asks for.

        Evaluations already there stay, and new ones follow them. A lock of its own, held for this
        alone, keeps two studies from losing each other's; a run being trained delays neither.
        """
        if self.path.exists() and not self.path.is_dir():
            say(f"{self.path} is not a folder; kept aside as {set_aside(self.path).name}.")
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / "run.lock"):
            there: tuple[Evaluation, ...] | None = None
            try:
                there = self._order().evaluate
            except FileNotFoundError:
                pass
            except Damaged as damage:
                say(f"{damage} Kept aside as {self.quarantine('run.json')} and written anew.")
            new = [each for each in evaluate if each not in (there or ())]
            if there is None or new:
                order = Order(run=run, evaluate=(*(there or ()), *new))
                text = order.model_dump_json(indent=2) + "\n"
                write_text(self.path / "run.json", text, durable=True)

    def read(self) -> tuple[Run, tuple[Evaluation, ...]]:
        """The run and what to measure on it; `Damaged` when run.json is not what its name says."""
        order = self._order()
        return order.run, order.evaluate

    def _order(self) -> Order:
        path = self.path / "run.json"
        try:
            order = Order.model_validate_json(_text(path))
        except Damaged:
            raise
        except ValueError as error:  # pydantic's and json's
            first = str(error).splitlines()[0]
            raise Damaged(f"{path} does not describe a run ({first}).", path) from None
        if order.run.id != self.id:
            raise Damaged(
                f"{path} describes the run {order.run.id}, but its folder is {self.id}: "
                f"it was edited or moved.",
                path,
            )
        return order

    # What was measured

    def finish(
        self,
        measured: Iterable[tuple[Evaluation, Sequence[Measured]]],
        manifest: Mapping[str, Any],
    ) -> None:
        """Appends what was measured, then confirms it: from here on the run is done.

        Rows confirmed earlier (by a study that measures something else) stay. A process killed in
        here leaves rows that nothing confirms; the next one replaces them.

        Args:
          measured: what each evaluation found; none of it confirmed already.
          manifest: what decided the numbers (versions, device, seconds, FLOPs, ...), plain JSON.
        """
        path = self.path / "results.jsonl"
        rows = [
            Row(evaluation=digest(evaluation), metric=found.metric, value=found.value, n=found.n)
            for evaluation, several in measured
            for found in several
        ]
        text = "".join(row.model_dump_json() + "\n" for row in rows).encode()
        json.dumps(dict(manifest), allow_nan=False)  # fails before anything is written
        confirmed = b""
        if (self.path / "manifest.json").exists():
            self.results()  # raises when what would be appended to is damaged
            confirmed = path.read_bytes()[: self.manifest()["results_bytes"]]
        whole = confirmed + text
        _rows(path, whole)  # raises when something is measured twice
        with path.open("ab") as file:
            file.truncate(len(confirmed))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        confirmation = {
            "results_bytes": len(whole),
            "results_sha256": hashlib.sha256(whole).hexdigest(),
        }
        record = {**manifest, **confirmation}
        record["sha256"] = _sha256(record)
        write_text(self.path / "manifest.json", json.dumps(record, indent=2) + "\n", durable=True)
        (self.path / "failed.txt").unlink(missing_ok=True)
        (self.path / "progress.json").unlink(missing_ok=True)

    def results(self, evaluate: Sequence[Evaluation] | None = None) -> tuple[Row, ...]:
        """Confirmed rows, none while the run is not done; of `evaluate` alone where it is given.

        What lies beyond the confirmed length is not read: the next `finish` overwrites it. Raises
        `Damaged` when results.jsonl is not what the manifest confirmed.
        """
        path = self.path / "results.jsonl"
        try:
            manifest = self.manifest()
        except FileNotFoundError:
            return ()
        try:
            whole = path.read_bytes()
        except OSError as error:
            reason = f"{path} cannot be read ({error.strerror}), though the manifest confirms it."
            raise Damaged(reason, path, self.path / "manifest.json") from None
        confirmed = whole[: manifest["results_bytes"]]
        try:
            if hashlib.sha256(confirmed).hexdigest() != manifest["results_sha256"]:
                raise Damaged(f"{path} is not what its manifest confirmed (SHA-256 differs).", path)
            rows = _rows(path, confirmed)
        except Damaged as damage:
            raise Damaged(str(damage), path, self.path / "manifest.json") from None
        wanted = None if evaluate is None else {digest(evaluation) for evaluation in evaluate}
        return tuple(row for row in rows if wanted is None or row.evaluation in wanted)

    def manifest(self) -> dict[str, Any]:
        """What decided the numbers; FileNotFoundError while there is none.

        Raises `Damaged` when the file is not what `finish` wrote.
        """
        path = self.path / "manifest.json"
        both = path, self.path / "results.jsonl"  # nothing confirms the one without the other
        try:
            manifest = json.loads(_text(path))
            if manifest["sha256"] != _sha256({k: v for k, v in manifest.items() if k != "sha256"}):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Damaged(f"{path} is not what was written there.", *both) from None
        return manifest

    # How it stands

    def is_done(self, evaluate: Sequence[Evaluation]) -> bool:
        """Whether every metric of `evaluate` is confirmed; damaged files count for nothing."""
        if not (self.path / "manifest.json").exists():
            return False
        try:
            confirmed = {(row.evaluation, row.metric) for row in self.results(evaluate)}
        except Damaged:
            return False
        return confirmed >= {(digest(each), name) for each in evaluate for name in each.metrics}

    def status(self, evaluate: Sequence[Evaluation]) -> State:
        """Done, or else at work, or else failed, or else waiting for its turn."""
        if self.is_done(evaluate):
            return "done"
        if is_locked(self.path / "lock"):
            return "running"
        return "failed" if (self.path / "failed.txt").exists() else "waiting"

    def fail(self, reason: str) -> None:
        """Writes why the run failed; numbers that nothing confirms are dropped."""
        if not (self.path / "manifest.json").exists():
            (self.path / "results.jsonl").unlink(missing_ok=True)
        write_text(self.path / "failed.txt", reason.rstrip() + "\n", durable=True)
        (self.path / "progress.json").unlink(missing_ok=True)

    def failure(self) -> str | None:
        """Why the run failed, in words; None when it did not."""
        try:
            text = (self.path / "failed.txt").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        return text.strip() or "no reason was written"

    def forgive(self) -> None:
        """Forgets a failure, so that the run is tried again."""
        (self.path / "failed.txt").unlink(missing_ok=True)

    def report(
        self,
        *,
        step: int,
        steps: int,
        phase: str,
        images_per_second: float | None = None,
        loss: float | None = None,
    ) -> None:
        """Says how far this process is; cheap to call every step, written once a second."""
        now = time.monotonic()
        if self._reported is not None:
            last_phase, last = self._reported
            if phase == last_phase and now - last < SECONDS_BETWEEN_REPORTS:
                return
        self._reported = phase, now
        if loss is not None and not math.isfinite(loss):
            loss = None
        progress = Progress(
            step=step,
            steps=steps,
            images_per_second=images_per_second,
            loss=loss,
            phase=phase,
            pid=os.getpid(),
        )
        write_text(self.path / "progress.json", progress.model_dump_json())

    def progress(self) -> Progress | None:
        """The last report; None when there is none that can be read."""
        try:
            return Progress.model_validate_json(_text(self.path / "progress.json"), strict=True)
        except (FileNotFoundError, ValueError):
            return None

    # Working on it

    def lock(self) -> AbstractContextManager[None]:
        """Waits until no other process works on the run, then keeps others waiting."""
        return locked(self.path / "lock")

    def lock_if_free(self) -> AbstractContextManager[bool]:
        """As `lock`, but does not wait; says whether the lock is held."""
        return locked_if_free(self.path / "lock")

    def quarantine(self, name: str) -> str:
        """Renames a damaged file or folder in here out of the way; returns its new name."""
        return set_aside(self.path / name).name

    def repair(self, say: Say) -> None:
        """Sets aside results that cannot be believed, and says so; the run then counts as not done.

        Only for whoever holds the lock: a process at work is not damage.
        """
        results = self.path / "results.jsonl"
        try:
            self.results()
            if results.exists() and not (self.path / "manifest.json").exists():
                _rows(results, results.read_bytes())  # nothing confirms any of it
        except Damaged as damage:
            kept = [self.quarantine(path.name) for path in damage.paths if path.exists()]
            say(f"{damage} Kept aside as {' and '.join(kept)}; the run will be done again.")
        progress = self.path / "progress.json"
        if progress.exists() and self.progress() is None:
            say(f"{progress} is not a report. Kept aside as {self.quarantine('progress.json')}.")


class TrunkFolder:
    """What runs that differ only in `images_seen` share: checkpoints, and one lock for them all."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @classmethod
    def of(cls, folder: RunFolder, run: Run) -> TrunkFolder:
        """The trunk of `run`, beside the folders of its runs."""
        return cls(folder.path.parent / "trunks" / run.trunk)

    def lock(self) -> AbstractContextManager[None]:
        """Waits until no other process trains the trunk, then keeps others waiting."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path / "lock")

    def diverge(self, step: int, reason: str) -> None:
        """Remembers that the loss stopped being finite by `step`, so that none tries it again."""
        text = json.dumps({"step": step, "reason": reason}) + "\n"
        write_text(self.path / "diverged.json", text, durable=True)

    def divergence(self, until: int) -> str | None:
        """Why the trunk cannot be trained up to step `until`; None when nothing speaks against."""
        try:
            diverged = json.loads(_text(self.path / "diverged.json"))
            return diverged["reason"] if diverged["step"] <= until else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # unreadable: the training itself will tell

    def forgive(self) -> None:
        """Forgets the divergence, so that the trunk is tried again."""
        (self.path / "diverged.json").unlink(missing_ok=True)


def _text(path: Path) -> str:
    """The file's text; `Damaged` when it is there and is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise Damaged(f"{path} is not text.", path) from None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}.", path) from None


def _rows(path: Path, whole: bytes) -> tuple[Row, ...]:
    """The rows of results.jsonl; `Damaged` names the first line that is none."""
    rows: dict[tuple[str, str], Row] = {}
    for number, line in enumerate(whole.splitlines(keepends=True), start=1):
        place = f"{path}, line {number}"
        if not line.endswith(b"\n"):
            raise Damaged(f"{place} is torn: it ends in the middle.", path)
        try:
            row = Row.model_validate_json(line, strict=True)
        except ValueError:
            raise Damaged(f"{place} is not a result.", path) from None
        if rows.setdefault((row.evaluation, row.metric), row) is not row:
            raise Damaged(f"{place} measures {row.metric} a second time.", path)
    return tuple(rows.values())


def _sha256(contents: Mapping[str, Any]) -> str:
    """Names plain JSON, whatever its layout."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
