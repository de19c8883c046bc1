"""The story of a launch, whatever the launcher: prepare the run folders, have the runs done, say
what became of them.

Any process may be killed at any moment: what is finished stays finished, and launching again does
the rest. Knows no JAX.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fits.base.errors import UserError
from scaling.base.console import Say
from scaling.launch.dry_run import DryRun
from scaling.launch.jobs import Job, jobs
from scaling.launch.launch_file import write_launch_file
from scaling.launch.launch_spec import DEFAULT, LaunchSpec, chosen, ordered
from scaling.launch.progress.display import Display, display
from scaling.launch.progress.events import Conclusion, describe
from scaling.launch.progress.tally import Tally
from scaling.launch.reasons import reasons
from scaling.launch.stopping import Stopping
from scaling.runs.begun import as_begun
from scaling.runs.held_run import hold_run_if_free
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import Look, RunFolder
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk_if_free
from scaling.study.study import Study
from scaling.study.variants import variants
from scaling.training.leaving import leaving_on_signals
from scaling.training.run import Run

if TYPE_CHECKING:
    from scaling.launch.protocol import StartsWorkers


@dataclass(frozen=True)
class Launch:
    """What a launcher is to have done.

    Fields:
      study: the runs that are meant.
      whole: all runs of the study.
      file: describes it to processes elsewhere (`scaling.launch.launch_file`).
      tally: what is left of it.
    """

    study: Study
    whole: tuple[Run, ...]
    runs: Path
    spec: LaunchSpec
    file: Path
    tally: Tally

    def stopping(self) -> Stopping:
        """Who judges its runs, by the frontier of the whole study."""
        return Stopping(self.spec.stop, self.whole, self.runs)


class AtWork(Protocol):
    """The workers of one launch."""

    def work(self) -> None:
        """Have the runs done, until none is left.

        Raises:
          Detached: they go on without this process.
        """

    def stop(self) -> None:
        """Have every worker keep a checkpoint and leave, and return when all have."""


class Detached(Exception):
    """The workers do the rest without this process; says which they are."""


def launch(study: Study, runs: Path, spec: LaunchSpec, launcher: StartsWorkers) -> bool:
    """Train what is not done yet, show how far it is, and name at the end what failed.

    Args:
      study: its runs, and what to measure on each.
      runs: the folder of run folders, made if need be; other studies may share it.
      spec: which of them, and how much.

    Returns:
      Whether all of them are done, or left to workers that need this process no
      more. A signal to leave raises SystemExit(128 + its number).

    Raises:
      UserError: what a run is to be trained on is not there, or no run is meant.
    """
    began = time.monotonic()
    launcher.places(study, spec)  # raises where there is none for them
    whole = _as_begun(study, runs, launcher)
    study, spec = chosen(whole, spec)
    with display(json_lines=spec.json_lines) as screen:
        at_work, tally, looks = _begin(study, whole.runs, runs, spec, launcher, screen)
        try:
            with leaving_on_signals():
                at_work.work()
        except Detached as words:
            screen.say(str(words))
            return True
        except SystemExit:
            at_work.stop()
            screen.say(
                f"Stopped: {tally.done} of {tally.count} runs are done and stay done; "
                f"launch again to resume the others."
            )
            raise
        finally:
            at_work.stop()
    end = conclusion(study, runs, looks, tally.unfinished, time.monotonic() - began)
    screen.conclude(end)
    return end.is_done


def _begin(
    study: Study,
    whole: tuple[Run, ...],
    runs: Path,
    spec: LaunchSpec,
    launcher: StartsWorkers,
    screen: Display,
) -> tuple[AtWork, Tally, dict[str, Look]]:
    """The folders prepared, and workers that are not at work yet."""
    looks = prepare(study, runs, retry=spec.retry, say=screen.say)
    tally = Tally(study, runs, queue(study, looks, spec), looks=looks, tell=screen.tell)
    file = write_launch_file(study, runs, spec)
    meant = Launch(study, whole, runs, spec, file, tally)
    return launcher.workers_of(meant, screen), tally, looks


def dry_run(study: Study, runs: Path, spec: LaunchSpec, launcher: StartsWorkers) -> DryRun:
    """What `launch` would do: who gets what. Writes nothing, and raises as `launch` does."""
    launcher.places(study, spec)  # raises where there is none for them
    whole = _as_begun(study, runs, launcher)
    study, spec = chosen(whole, spec)
    todo, failed = set(), {}
    for run in study.runs:
        folder = RunFolder(runs / run.id)
        state = folder.status(study.evaluate)
        if state in ("waiting", "running") or (spec.retry and state == "failed"):
            todo.add(run.id)
        elif state == "failed":
            failed[run] = folder.failure() or ""
    return DryRun(
        study,
        launcher.places(study, spec),
        ordered(jobs(study.runs, todo), spec),
        reasons(whole, runs, todo),
        variants(whole.runs),
        failed,
        spec.budget,
    )


def _as_begun(study: Study, runs: Path, launcher: StartsWorkers) -> Study:
    """The study in the dtype that the devices compute in."""
    compute = launcher.computes_in()
    if study.compute_open and compute is None:
        raise UserError(
            [
                f"{study.name} leaves the dtype to the devices, which --on {launcher.kind} does "
                'not see from here: say compute = "bfloat16" or "float32" in the study.'
            ]
        )
    return as_begun(study, runs, compute or "float32")


def check_batches(study: Study, devices: int) -> None:
    """Raise UserError, with the nearest that can, where batches cannot be split over devices."""
    mistakes = []
    for batch in sorted({run.batch for run in study.runs if run.batch % devices}):
        below = batch // devices * devices
        near = f"{below} or {below + devices}" if below else f"{devices}"
        mistakes.append(
            f"a batch of {batch} cannot be split over {devices} devices; use {near}, or another "
            "number of devices."
        )
    if mistakes:
        raise UserError(mistakes)


def check_detached(spec: LaunchSpec) -> None:
    """Raise UserError where a launch that leaves its jobs to themselves is asked for what it would
    have to look after."""
    mistakes = []
    if spec.budget is not None:
        mistakes.append("--budget: nobody stops the jobs after --detach; leave one of them out.")
    if spec.stop:
        mistakes.append("--stop: nobody judges the runs after --detach; leave one of them out.")
    if mistakes:
        raise UserError(mistakes)


def prepare(study: Study, runs: Path, *, retry: bool, say: Say) -> dict[str, Look]:
    """Write and repair the folders of a study's runs; returns how each run then stands."""
    looks = {}
    for run in study.runs:
        folder = RunFolder(runs / run.id)
        write_run_file(folder.path, run, study.evaluate, say, study.placement, study.checkpoints)
        if folder.is_untouched():
            looks[run.id] = Look("waiting", (), None, None)
            continue
        look = folder.look(study.evaluate)
        if look.state != "done" or folder.has_progress():
            failed = look.state == "failed"
            stopped = folder.stopped() is not None
            if folder.needs_repair() or stopped or (retry and failed):
                _mend(folder, run, retry and failed, say)
                look = folder.look(study.evaluate)
            if look.state == "running":
                say(f"{describe(run)} is being trained by another process.")
        looks[run.id] = look
    return looks


def queue(study: Study, looks: Mapping[str, Look], spec: LaunchSpec = DEFAULT) -> list[Job]:
    """What is to be done, in the order in which it is taken."""
    todo = {name for name, look in looks.items() if look.state in ("waiting", "running")}
    return ordered(jobs(study.runs, todo), spec)


def _mend(folder: RunFolder, run: Run, clear_failure: bool, say: Say) -> None:
    """Set aside damaged files and forget why the run ended before, unless a worker is in there."""
    with hold_run_if_free(folder.path) as held:
        if held is None:
            return
        held.repair(say)
        held.clear_stop()
        if clear_failure:
            with hold_trunk_if_free(TrunkFolder.of(folder, run).path) as trunk:
                if trunk is None:
                    say(f"{describe(run)} is not tried again: its trunk is being trained.")
                    return
                trunk.clear_divergence()
            held.clear_failure()


def conclusion(
    study: Study,
    runs: Path,
    before: Mapping[str, Look],
    unfinished: Mapping[str, str],
    seconds: float,
) -> Conclusion:
    """How the study stands after a launch.

    Args:
      before: how the runs stood when it began.
      unfinished: why runs were left unfinished, by id.
      seconds: that it took.
    """
    named = {run.id: run for run in study.runs}
    done, failed = set(), {}
    for name, run in named.items():
        folder = RunFolder(runs / name)
        if before[name].state == "done" or folder.is_done(study.evaluate):
            done.add(name)
        elif (why := folder.failure()) is not None:
            failed[run] = why
    left = {
        named[name]: why
        for name, why in unfinished.items()
        if name not in done and named[name] not in failed
    }
    return Conclusion(study.name, len(named), len(done), seconds, failed, left)
