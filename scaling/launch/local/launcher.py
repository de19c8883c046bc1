"""Trains a study's runs on this machine: a process a device, or else a core, each with a job of
runs. Knows no JAX: a worker is `python -m scaling run FOLDER ...`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from models.precision import Compute, compute_for
from scaling.base.config import Config
from scaling.launch.devices import Machine, Slot, deal, find_machine
from scaling.launch.dry_run import Places
from scaling.launch.launch import AtWork, Launch, check_batches
from scaling.launch.launch_spec import LaunchSpec
from scaling.launch.local.pool import Pool
from scaling.launch.progress.display import Display
from scaling.study.study import Study


class Local(Config):
    """This machine's GPUs or TPU chips, or else its cores, dealt out to workers."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(None, gt=0)
    """Processes at the same time, at most; left out: as many as there are devices for."""
    runs_per_device: int = Field(1, gt=0)
    """Runs that are trained side by side on one GPU."""
    pin: bool = True
    """Each worker to cores of its own; not where others, unknown, are on this machine."""
    idle_for: float | None = None
    """Seconds without anything to do after which the workers are at an end, though others are still
    at runs that are left; None: never."""

    def computes_in(self) -> Compute:
        """As `scaling.launch.protocol.StartsWorkers` says."""
        machine = find_machine()
        return compute_for(machine.kind, machine.what)

    def places(self, study: Study, spec: LaunchSpec) -> Places:
        """As `scaling.launch.protocol.StartsWorkers` says."""
        machine, slots = self._dealt(study)
        return Places(
            where=f"this machine: {machine}",
            remark=machine.remark,
            kind=machine.kind,
            devices=machine.names,
            slots=slots[: spec.max_parallel],
        )

    def workers_of(self, launch: Launch, screen: Display) -> AtWork:
        """As `scaling.launch.protocol.StartsWorkers` says.

        On a CPU each worker computes with one thread on one core, however many there are, so that
        a study's digits do not depend on it.
        """
        machine, slots = self._dealt(launch.study)
        if machine.remark:
            screen.say(machine.remark)
        return Pool(
            launch.tally,
            slots=slots[: launch.spec.max_parallel],
            command=self.command,
            screen=screen,
            budget=launch.spec.budget,
            hang_after=launch.spec.hang_after,
            idle_for=self.idle_for,
            stopping=launch.stopping(),
        )

    def command(self, folders: Sequence[Path]) -> list[str]:
        """What starts a worker. -P: no file of the folder that this runs in is taken for a
        module."""
        return [sys.executable, "-P", "-m", "scaling", "run", "--no-wait", *map(str, folders)]

    def _dealt(self, study: Study) -> tuple[Machine, list[Slot]]:
        """What there is, and how it is dealt out.

        Raises:
          UserError: it cannot be.
        """
        devices = study.placement.devices_per_run
        check_batches(study, devices // study.placement.tensor)
        machine = find_machine()
        slots = deal(machine, devices, runs_per_device=self.runs_per_device, workers=self.workers)
        return machine, slots if self.pin else [replace(slot, cores=()) for slot in slots]
