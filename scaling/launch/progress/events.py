"""What happens in a launch, in words for a person and as plain JSON for a machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from scaling.runs.run_folder import RunProgress
from scaling.training.run import Run

FEW = 3  # runs that are named each for itself, though they ended for the same reason
RETRY = "Launch with --retry to try again what failed."

What: TypeAlias = Literal["done", "failed", "unfinished", "tried again", "to be stopped"]


@dataclass(frozen=True)
class Event:
    """Something that became of a run.

    Fields:
      reason: None: the run is done.
      error: name and value of the first error rate measured, of a run that is done.
    """

    what: What
    run: Run
    reason: str | None = None
    error: tuple[str, float] | None = None

    def __str__(self) -> str:
        line = f"{self.what}: {describe(self.run)}"
        if self.error is not None:
            return f"{line}, {self.error[0]} {self.error[1]:.4g}"
        return line if self.reason is None else f"{line}: {self.reason}"

    def as_json(self) -> dict[str, Any]:
        error = None if self.error is None else dict([self.error])
        return {"event": self.what, **_facts(self.run), "reason": self.reason, "error": error}


class AtWork(NamedTuple):
    """A worker and the run that it is at.

    Fields:
      progress: None before it has reported any.
      began: when the worker was started, seconds since 1970; None where another launch started it.
    """

    run: Run
    progress: RunProgress | None
    began: float | None = None

    def as_json(self) -> dict[str, Any]:
        if self.progress is not None:
            return {**_facts(self.run), **self.progress.model_dump(mode="json")}
        return {**_facts(self.run), "phase": "starting", "phase_began": self.began}


@dataclass(frozen=True)
class LaunchProgress:
    """How far a launch is at one moment."""

    runs: int
    done: int
    failed: int
    flops: float
    """Of all runs that this launch trains."""
    flops_done: float
    seconds_left: float | None
    busy: tuple[AtWork, ...]
    """One entry a worker."""
    waits_for: str | None = None
    """Why no worker of this launch is at work."""
    waited: float = 0.0
    """Seconds for which none has been."""

    def as_json(self) -> dict[str, Any]:
        return {
            "event": "progress",
            "runs": self.runs,
            "done": self.done,
            "failed": self.failed,
            "flops": self.flops,
            "flops_done": self.flops_done,
            "seconds_left": self.seconds_left,
            "waits_for": self.waits_for,
            "waited": self.waited,
            "at_work": [each.as_json() for each in self.busy],
        }


@dataclass(frozen=True)
class Conclusion:
    """How a study stands after a launch.

    Fields:
      count: of its runs.
      failed, unfinished: runs, each with its reason.
    """

    study: str
    count: int
    done: int
    seconds: float
    failed: Mapping[Run, str] = field(default_factory=dict)
    unfinished: Mapping[Run, str] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether all runs are."""
        return self.done == self.count

    def lines(self) -> Iterator[str]:
        """For a person."""
        line = f"{self.study}: {self.done} of {self.count} runs done"
        line += f", {len(self.failed)} failed" if self.failed else ""
        line += f", {len(self.unfinished)} unfinished" if self.unfinished else ""
        yield f"{line}, in {duration(self.seconds)}."
        yield from by_reason("failed", self.failed)
        yield from by_reason("unfinished", self.unfinished)
        if self.unfinished:
            yield "Launch again to resume what is unfinished."
        if self.failed:
            yield RETRY

    def as_json(self) -> dict[str, Any]:
        return {
            "event": "end",
            "study": self.study,
            "runs": self.count,
            "done": self.done,
            "seconds": self.seconds,
            "failed": {run.id: why for run, why in self.failed.items()},
            "unfinished": {run.id: why for run, why in self.unfinished.items()},
        }


def by_reason(what: str, runs: Mapping[Run, str]) -> Iterator[str]:
    """A line a run; runs that ended for the same reason share one."""
    same: dict[str, list[Run]] = {}
    for run, why in runs.items():
        same.setdefault(why, []).append(run)
    for why, those in same.items():
        if len(those) > FEW:
            shown = f"{describe(those[0])} and {len(those) - 1} more"
            yield f"{what}: {shown}, for one reason: {why}"
        else:
            yield from (f"{what}: {describe(run)}: {why}" for run in those)


def describe(run: Run) -> str:
    """Names a run for a person: its id, model, images seen, data size and seed, and which part of
    the data it has and how it is resampled, where it is."""
    size = "" if run.data_size is None else f" of {run.data_size:_}"
    part = "" if run.data.subset == "all" else f", {run.data.subset}"
    rule = "" if run.resample is None else f", {run.resample}"
    shown = f"{run.images_seen:_} images{size}{part}{rule}"
    return f"{run.id} ({run.model_name}, {shown}, seed {run.seed})"


def duration(seconds: float) -> str:
    """A time for a person: 42 s, 12 min, 3.5 h, 4.2 days."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _facts(run: Run) -> dict[str, Any]:
    """What tells a run from others."""
    return {
        "run": run.id,
        "model": run.model_name,
        "data_size": run.data_size,
        "subset": run.data.subset,
        "images_seen": run.images_seen,
        "seed": run.seed,
    }
