"""What a worker writes down while a run is trained: progress.json, and a line of metrics.jsonl
about every second. Whatever writes may raise `LeaseLost`, or `StoppedByRule` where a launcher has
written that the run is to be given up."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Protocol

import jax

from scaling.planning.devices import peak_flops
from scaling.runs.held_run import HeldRun
from scaling.runs.metrics_file import MetricsLine, MetricsWriter
from scaling.runs.rule_file import check_rules
from scaling.runs.trunk_folder import HeldTrunk
from scaling.training.metrics import peak_memory, utilisation
from scaling.training.run import Run
from scaling.training.trainer import Progress


class Watches(Protocol):
    """Is told how a training goes."""

    def phase(self, name: str, step: int = 0) -> None:
        """What is being done from now on."""

    def tell(self, progress: Progress) -> None:
        """About once a second."""

    def beside(self, name: str, step: int, steps: int) -> None:
        """How far an evaluation's own training is; about once a second."""


class Blind:
    """Of a process that writes nothing."""

    def phase(self, name: str, step: int = 0) -> None:
        pass

    def tell(self, progress: Progress) -> None:
        pass

    def beside(self, name: str, step: int, steps: int) -> None:
        pass


class Watch:
    """Of the process that holds the lease of a run, and of its trunk while that is trained."""

    def __init__(self, run: Run, held: HeldRun, trunk: HeldTrunk | None):
        """
        Args:
          trunk: None: another process trains it, and this one writes nothing there.
        """
        self._run, self._held, self._trunk = run, held, trunk
        self._lock = Lock()
        self._of_trunk: MetricsWriter | None = None
        if trunk is not None:
            self._of_trunk = MetricsWriter(trunk.path, run.branch_step, self.guard)
        self._of_run = MetricsWriter(held.path, run.steps, self.guard)
        self._peak = peak_flops(jax.devices()[0].device_kind)
        self.pace: float | None = None
        """Images/s since the step was compiled."""
        self.seconds_of_steps = 0.0
        """Spent in steps, compilation left out."""

    def guard(self) -> None:
        """Raise `LeaseLost` unless this process may write in the run's folder, and in the trunk's
        until that is let go."""
        with self._lock:
            if self._trunk is not None:
                self._trunk.check()
        self._held.check()

    def before_checkpoint(self) -> None:
        """As `guard`, right before a checkpoint counts: the metrics up to it must be there."""
        for writer in (self._of_trunk, self._of_run):
            if writer is not None:
                writer.flush()
        self.guard()

    def let_trunk_go(self, release: Callable[[], None]) -> None:
        """Give the trunk's lease back by `release`: others may train it on, and branch from it."""
        with self._lock:
            self._trunk = None
            release()

    def phase(self, name: str, step: int = 0) -> None:
        self.guard()
        self._held.report(step=step, steps=self._run.steps, phase=name)

    def tell(self, progress: Progress) -> None:
        check_rules(self._held.path)
        run, on_trunk = self._run, progress.step <= self._run.branch_step
        self.pace = progress.pace or self.pace
        if progress.images_per_second is not None:
            self.seconds_of_steps += progress.steps * run.batch / progress.images_per_second
        line = self._line(progress)
        writer = self._of_trunk if on_trunk else self._of_run
        assert writer is not None, "who may not write to the trunk does not train it"
        writer.write(line, since=progress.step - progress.steps)
        self._held.report(
            step=progress.step,
            steps=run.steps,
            phase="train" if on_trunk else "cooldown",
            images_per_second=progress.images_per_second,
            pace=self.pace,
            loss=progress.loss,
            gradient_norm=progress.gradient_norm,
            mfu=line.mfu,
            memory_bytes=line.memory_bytes,
        )

    def beside(self, name: str, step: int, steps: int) -> None:
        check_rules(self._held.path)
        self.phase(f"{name} {step} of {steps}", self._run.steps)

    def _line(self, progress: Progress) -> MetricsLine:
        speed = progress.images_per_second
        mfu = utilisation(self._run, speed, self._peak, jax.device_count())
        layers = progress.layer_gradient_norms
        return MetricsLine(
            step=progress.step,
            images_seen=progress.step * self._run.batch,
            loss=_short(progress.loss),
            learning_rate=_short(progress.learning_rate),
            gradient_norm=_short(progress.gradient_norm),
            layer_gradient_norms=None if layers is None else tuple(map(_short, layers)),
            images_per_second=None if speed is None else round(speed, 1),
            mfu=None if mfu is None else round(mfu, 4),
            memory_bytes=peak_memory(),
            seconds=round(progress.seconds, 3),
        )


def _short(number: float) -> float:
    """As many digits as float32 has."""
    return float(f"{number:.8g}")
