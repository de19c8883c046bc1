"""Trains a study's runs on this machine: one process a core, each with a lane of runs.

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

from scaling.base.config import Config
from scaling.launch.display import describe, display, duration
from scaling.launch.jobs import lanes
from scaling.launch.pool import Command, Crew, cores
from scaling.runs.run_folder import RunFolder, Say, TrunkFolder
from scaling.study.study import Study


def worker_command(folders: Sequence[Path]) -> list[str]:
    """What starts a worker."""
    return [sys.executable, "-m", "scaling", "run", *map(str, folders)]


class Local(Config):
    """This machine's cores, one worker each."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(None, gt=0)
    """Processes at the same time; left out: one for each core that may be used."""

    def launch(
        self,
        study: Study,
        runs: Path,
        *,
        retry: bool = False,
        command: Command = worker_command,
    ) -> bool:
        """Trains what is not done yet, shows how it goes, and names at the end what went wrong.

        Each worker computes with one thread on one core, however many there are, so that a
        study's digits do not depend on it.

        Args:
          study: its runs, and what to measure on each.
          runs: the folder of run folders, made if need be; other studies may share it.
          retry: also train runs that failed before.
          command: what a worker is.

        Returns:
          Whether all runs of the study are done. Ctrl-C raises SystemExit(130).
        """
        began = time.monotonic()
        with display() as screen:
            todo = prepare(study, runs, retry=retry, say=screen.say)
            crew = Crew(
                study,
                runs,
                lanes(study.runs, todo),
                size=self.workers or len(cores()),
                command=command,
                screen=screen,
            )
            try:
                crew.work()
            except KeyboardInterrupt:
                crew.stop()
                screen.say(
                    f"Stopped: {crew.done} of {crew.count} runs are done and stay done; "
                    f"the same command again resumes the rest."
                )
                raise SystemExit(130) from None
            finally:
                crew.stop()
        return conclude(study, runs, crew.unfinished, time.monotonic() - began)


def prepare(study: Study, runs: Path, *, retry: bool, say: Say) -> set[str]:
    """Writes and repairs the folders of a study's runs; returns the ids of those to train."""
    todo = set()
    for run in study.runs:
        folder = RunFolder(runs / run.id)
        folder.write(run, study.evaluate, say)
        with folder.lock_if_free() as free:
            if free:
                folder.repair(say)
            if free and retry and folder.failure() is not None:
                folder.forgive()
                TrunkFolder.of(folder, run).forgive()
        state = folder.status(study.evaluate)
        if state in ("waiting", "running"):
            todo.add(run.id)
        if state == "running":
            say(f"{describe(run)} is being trained by another process; its end is waited for.")
    return todo


def conclude(study: Study, runs: Path, unfinished: dict[str, str], seconds: float) -> bool:
    """Says how the study stands after a launch; returns whether it is done."""
    named = {run.id: run for run in study.runs}
    folders = {name: RunFolder(runs / name) for name in named}
    done = {name for name in named if folders[name].is_done(study.evaluate)}
    failed = {n: f.failure() for n, f in folders.items() if n not in done and f.failure()}
    left = {n: why for n, why in unfinished.items() if n not in done and n not in failed}
    line = f"{study.name}: {len(done)} of {len(named)} runs done"
    line += f", {len(failed)} failed" if failed else ""
    line += f", {len(left)} unfinished" if left else ""
    print(f"{line}, in {duration(seconds)}.")
    for name, why in failed.items():
        print(f"failed: {describe(named[name])}: {why}")
    for name, why in left.items():
        print(f"unfinished: {describe(named[name])}: {why}")
    if left:
        print("The same command again resumes what is unfinished.")
    if failed:
        print("The same command with --retry tries again what failed.")
    return len(done) == len(named)
