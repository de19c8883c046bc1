"""Many small tasks in three groups, as VTAB-1k has them; the data sets are the user's."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scaling.base.config import Clash
from scaling.evaluate.measured import Measured
from scaling.evaluate.trained.protocols import Protocol, Vtab1kProtocol
from scaling.evaluate.trained.trains import Find, Trains, chosen
from scaling.evaluate.trained.transfer import Task, Transfer, Upstream

GROUPS = ("natural", "specialized", "structured")
NAME = Field(
    pattern=r"^[a-z][a-z0-9_]*$",
    json_schema_extra={"in_words": "a name of small letters, digits and _"},
)
Name: TypeAlias = Annotated[str, NAME]


class VtabTask(Task):
    """One of the tasks."""

    name: Name
    """Names its metric."""
    group: Literal["natural", "specialized", "structured"]
    """With which it is averaged."""


class Vtab(Trains):
    """Fine-tuning on tasks of 1,000 images each; top-1 errors of tasks, groups and all.

    `<name>_error` is the mean over the three groups, `<name>_<group>_error` over the tasks of one,
    and each task has `<name>_<task>_error`. Zhai et al. 2019, "A Large-scale Study of
    Representation Learning with the Visual Task Adaptation Benchmark"; the protocol is that of
    "Scaling Vision Transformers", appendix D.
    """

    kind: Literal["vtab"] = "vtab"
    name: Name = "vtab"
    """Names the metrics."""
    tasks: tuple[VtabTask, ...] = Field(min_length=1)
    """At least one of each group."""
    train: int = Field(800, gt=0)
    """Images of each task to train on, drawn once and for all, while a learning rate is chosen."""
    validation: int = Field(200, gt=0)
    """As many more to choose it by; in the end both are trained on."""
    protocol: Protocol = Vtab1kProtocol()
    """How, the same for all tasks; left out: `{ kind = "vtab1k" }`."""

    def clashes(self) -> Iterator[Clash]:
        if missing := [group for group in GROUPS if not self._of(group)]:
            yield Clash(
                ("tasks",),
                f"none is {' and none '.join(missing)}; the mean is over three groups.",
            )
        names = [each.name for each in self.tasks]
        for name in sorted({*names}):
            if names.count(name) > 1 or name in GROUPS:
                yield Clash(("tasks",), f'"{name}" is the name of another task or group.')

    @property
    def metrics(self) -> tuple[str, ...]:
        names = [*GROUPS, *(each.name for each in self.tasks)]
        return (f"{self.name}_error", *(f"{self.name}_{name}_error" for name in names))

    @property
    def errors(self) -> tuple[str, ...]:
        return self.metrics

    def transfers(self, upstream: Upstream) -> tuple[Transfer, ...]:
        return tuple(
            Transfer(
                label=each.name,
                upstream=upstream,
                task=each,
                protocol=self.protocol,
                images=self.train + self.validation,
                validation=self.validation,
            )
            for each in self.tasks
        )

    def found(self, upstream: Upstream, find: Find) -> list[Measured]:
        transfers = zip(self.tasks, self.transfers(upstream), strict=True)
        ends = {task.name: chosen(transfer, find) for task, transfer in transfers}
        tasks = {
            name: Measured(f"{self.name}_{name}_error", end.error, end.n)
            for name, end in ends.items()
        }
        groups = [
            _mean(f"{self.name}_{group}_error", [tasks[name] for name in self._of(group)])
            for group in GROUPS
        ]
        rates = [
            Measured(f"{self.name}_{name}_learning_rate", end.learning_rate, end.heldout)
            for name, end in ends.items()
        ]
        return [_mean(f"{self.name}_error", groups), *groups, *tasks.values(), *rates]

    def _of(self, group: str) -> list[str]:
        return [each.name for each in self.tasks if each.group == group]


def _mean(name: str, parts: list[Measured]) -> Measured:
    """The plain mean of some errors; n: all images behind them."""
    return Measured(name, fmean(each.value for each in parts), sum(each.n for each in parts))
