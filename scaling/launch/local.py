"""Trains a study's runs on this machine: a process a device, or else a core, each with a job of
runs.

Any process may be killed at any moment: what is finished stays finished, and launching again does
the rest. Knows no JAX: a worker is `python -m scaling run FOLDER ...`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from fits.base.errors import UserError
from models.precision import compute_for
from scaling.base.config import Config
from scaling.base.console import Say, say
from scaling.launch.devices import Machine, Slot, deal, find_machine
from scaling.launch.display import describe, display, duration
from scaling.launch.dry_run import DryRun
from scaling.launch.jobs import jobs
from scaling.launch.launch_spec import DEFAULT, LaunchSpec, selected
from scaling.launch.pool import Pool
from scaling.launch.reasons import reasons
from scaling.launch.worker_process import Command
from scaling.runs.compute_dtype import decided
from scaling.runs.held_run import hold_run_if_free
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk_if_free
from scaling.study.study import Study
from scaling.training.leaving import leaving_on_signals
from scaling.training.run import Run


def worker_command(folders: Sequence[Path]) -> list[str]:
    """What starts a worker. -P: no file of the folder that this runs in is taken for a module."""
    return [sys.executable, "-P", "-m", "scaling", "run", "--no-wait", *map(str, folders)]


class Local(Config):
    """This machine's GPUs or TPU chips, or else its cores, dealt out to workers."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(None, gt=0)
    """Processes at the same time, at most; left out: as many as there are devices for."""
    runs_per_device: int = Field(1, gt=0)
    """Runs that are trained side by side on one GPU."""

    def launch(
        self,
        study: Study,
        runs: Path,
        spec: LaunchSpec = DEFAULT,
        *,
        command: Command = worker_command,
    ) -> bool:
        """As `scaling.launch.protocol.StartsWorkers` says.

        On a CPU each worker computes with one thread on one core, however many there are, so that
        a study's digits do not depend on it.

        Args:
          command: what a worker is.
        """
        began = time.monotonic()
        machine, slots = self._dealt(study)
        study = decided(study, runs, compute_for(machine.kind, machine.what))
        study = selected(study, spec.only)
        with display() as screen:
            if machine.remark:
                screen.say(machine.remark)
            todo = prepare(study, runs, retry=spec.retry, say=screen.say)
            pool = Pool(
                study,
                runs,
                jobs(study.runs, todo),
                slots=slots,
                command=command,
                screen=screen,
                budget=spec.budget,
                hang_after=spec.hang_after,
            )
            try:
                with leaving_on_signals():
                    pool.work()
            except SystemExit:
                pool.stop()
                screen.say(
                    f"Stopped: {pool.done} of {pool.count} runs are done and stay done; "
                    f"launch again to resume the others."
                )
                raise
            finally:
                pool.stop()
        return conclude(study, runs, pool.unfinished, time.monotonic() - began)

    def dry_run(self, study: Study, runs: Path, spec: LaunchSpec = DEFAULT) -> DryRun:
        """As `scaling.launch.protocol.StartsWorkers` says."""
        machine, slots = self._dealt(study)
        study = decided(study, runs, compute_for(machine.kind, machine.what))
        study = selected(study, spec.only)
        todo = set()
        for run in study.runs:
            state = RunFolder(runs / run.id).status(study.evaluate)
            if state in ("waiting", "running") or (spec.retry and state == "failed"):
                todo.add(run.id)
        why = reasons(study, runs, todo)
        return DryRun(study, machine, slots, jobs(study.runs, todo), why)

    def _dealt(self, study: Study) -> tuple[Machine, list[Slot]]:
        """What there is, and how it is dealt out.

        Raises:
          UserError: it cannot be.
        """
        devices = study.placement.devices_per_run
        check_batches(study, devices // study.placement.tensor)
        machine = find_machine()
        slots = deal(machine, devices, runs_per_device=self.runs_per_device, workers=self.workers)
        return machine, slots


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


def prepare(study: Study, runs: Path, *, retry: bool, say: Say) -> set[str]:
    """Write and repair the folders of a study's runs; returns the ids of those to train."""
    todo = set()
    for run in study.runs:
        folder = RunFolder(runs / run.id)
        write_run_file(folder.path, run, study.evaluate, say, study.placement, study.checkpoints)
        state = folder.status(study.evaluate)
        if state == "done" and not folder.has_progress():
            continue
        failed = folder.failure() is not None
        if folder.needs_repair() or (retry and failed):
            _mend(folder, run, retry and failed, say)
            state = folder.status(study.evaluate)
        if state in ("waiting", "running"):
            todo.add(run.id)
        if state == "running":
            say(f"{describe(run)} is being trained by another process.")
    return todo


def _mend(folder: RunFolder, run: Run, clear_failure: bool, say: Say) -> None:
    """Set aside damaged files and forget a failure, unless a worker is in there."""
    with hold_run_if_free(folder.path) as held:
        if held is None:
            return
        held.repair(say)
        if clear_failure:
            with hold_trunk_if_free(TrunkFolder.of(folder, run).path) as trunk:
                if trunk is None:
                    say(f"{describe(run)} is not tried again: its trunk is being trained.")
                    return
                trunk.clear_divergence()
            held.clear_failure()


def conclude(study: Study, runs: Path, unfinished: dict[str, str], seconds: float) -> bool:
    """Print the state of the study after a launch; returns whether it is done."""
    named = {run.id: run for run in study.runs}
    folders = {name: RunFolder(runs / name) for name in named}
    done = {name for name in named if folders[name].is_done(study.evaluate)}
    failed = {n: f.failure() for n, f in folders.items() if n not in done and f.failure()}
    left = {n: why for n, why in unfinished.items() if n not in done and n not in failed}
    line = f"{study.name}: {len(done)} of {len(named)} runs done"
    line += f", {len(failed)} failed" if failed else ""
    line += f", {len(left)} unfinished" if left else ""
    say(f"{line}, in {duration(seconds)}.")
    for name, why in failed.items():
        say(f"failed: {describe(named[name])}: {why}")
    for name, why in left.items():
        say(f"unfinished: {describe(named[name])}: {why}")
    if left:
        say("Launch again to resume what is unfinished.")
    if failed:
        say("Launch with --retry to try again what failed.")
    return len(done) == len(named)
