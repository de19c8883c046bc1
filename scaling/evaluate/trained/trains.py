"""What an evaluation that trains is, and what it is given to train with.

A worker that may be killed trains its runs in `trainings.py`: each leaves checkpoints in the folder
of the run that is measured, and what was found of it, once it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from scaling.base.config import Config
from scaling.data.source import SourceConfig
from scaling.evaluate.measured import Measured
from scaling.evaluate.trained.outcomes import Outcome
from scaling.evaluate.trained.transfer import Transfer, Upstream
from scaling.training.run import Run

if TYPE_CHECKING:
    from scaling.training.placement_spec import PlacementSpec


Find: TypeAlias = Callable[[Run], Outcome]
"""Trains a run to its end, begun with the measured network if the run has an `init`, and measures
it; what was done before is not done again."""


class NotMeasured(Exception):
    """An evaluation found no number; its text says why."""


class InTraining(Exception):
    """What JAX raised while an evaluation trained `run`."""

    def __init__(self, run: Run, error: Exception):
        super().__init__(f"{run.model.name}: {error}")
        self.run = run


class Trains(Config, ABC):
    """Base of the evaluations that train runs of their own."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers that say how good the network is."""

    @property
    @abstractmethod
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""

    @abstractmethod
    def transfers(self, upstream: Upstream) -> tuple[Transfer, ...]:
        """All that is trained for this network."""

    @abstractmethod
    def found(self, upstream: Upstream, find: Find) -> list[Measured]:
        """Train and measure.

        Raises:
          NotMeasured: no learning rate led to a number.
        """

    def runs(self, upstream: Upstream) -> tuple[Run, ...]:
        """Every run that is trained for this network, for a plan."""
        return tuple(run for each in self.transfers(upstream) for run in each.runs())

    def sources(self, upstream: Upstream) -> tuple[SourceConfig, ...]:
        """Where images come from, as they are shown."""
        return tuple(each.setting.shown.source(each.task.data) for each in self.transfers(upstream))

    def problems(self, upstream: Upstream, spec: PlacementSpec) -> Iterator[str]:
        """What keeps this from being measured, in words."""
        for each in self.transfers(upstream):
            yield from (f"{each.label}: {said}" for said in each.problems(spec))


class Chosen(NamedTuple):
    """The end of a transfer.

    Fields:
      error: top-1, of `n` test images.
      heldout: training images that chose the learning rate; of one alone, the test images.
    """

    error: float
    n: int
    learning_rate: float
    heldout: int


def chosen(transfer: Transfer, find: Find) -> Chosen:
    """What the learning rate of least held-out error leads to.

    The first of several that are equally good. Test images are looked at once, in the end.

    Raises:
      NotMeasured: each learning rate, or the chosen one in the end, diverged.
    """
    rate, heldout = transfer.setting.learning_rates[0], None
    candidates = [find(run) for run in transfer.candidates()]
    if candidates:
        errors = [(each.error, each) for each in candidates if each.error is not None]
        if not errors:
            raise NotMeasured(
                f"{transfer.label}: fine-tuning diverged at each learning rate: "
                f"{candidates[-1].reason}"
            )
        _, best = min(errors, key=lambda pair: pair[0])
        rate, heldout = best.learning_rate, best.n
    end = find(transfer.final(rate))
    if end.error is None:
        raise NotMeasured(f"{transfer.label}: fine-tuning diverged: {end.reason}")
    return Chosen(end.error, end.n, rate, heldout or end.n)
