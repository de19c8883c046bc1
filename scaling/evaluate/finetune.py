"""Fine-tuning of the whole network on one task, and beside it the same task from scratch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scaling.evaluate.measured import Measured
from scaling.evaluate.trained.protocols import Protocol, Steps, ViTProtocol
from scaling.evaluate.trained.trains import Find, Trains, chosen
from scaling.evaluate.trained.transfer import Task, Transfer, Upstream


class FineTune(Trains, Task):
    """Top-1 error on the test images of a task, after training the whole network on it.

    `<name>_finetune_error`, n = test images, and `<name>_finetune_learning_rate`, the one that was
    taken, n = held-out training images that chose it. See docs/evaluation/finetune.md.
    """

    kind: Literal["finetune"] = "finetune"
    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        json_schema_extra={"in_words": "a name of small letters, digits and _"},
    )
    """Names the metrics."""
    protocol: Protocol = ViTProtocol()
    """How, and what is to be otherwise in it; left out: `{ kind = "vit" }`."""
    images: int | None = Field(None, gt=1)
    """How many of the training images, drawn once and for all; left out: all."""
    scratch_steps: tuple[Steps, ...] = ()
    """Lengths, in steps, for which the same task is trained from random parameters, by the same
    protocol, its learning rate chosen anew: `<name>_scratch_<steps>steps_error` (He et al. 2019,
    "Rethinking ImageNet Pre-training": compare at convergence)."""

    @property
    def metrics(self) -> tuple[str, ...]:
        return (f"{self.name}_finetune_error", *(f"{self._scratch(n)}_error" for n in self.lengths))

    @property
    def errors(self) -> tuple[str, ...]:
        return self.metrics

    @property
    def lengths(self) -> tuple[int, ...]:
        """Those from scratch, each once."""
        return tuple(dict.fromkeys(self.scratch_steps))

    def transfers(self, upstream: Upstream) -> tuple[Transfer, ...]:
        return tuple(
            Transfer(
                label=self.name,
                upstream=upstream,
                task=self,
                protocol=self.protocol,
                images=self.images,
                scratch_steps=steps,
            )
            for steps in (None, *self.lengths)
        )

    def found(self, upstream: Upstream, find: Find) -> list[Measured]:
        names = [f"{self.name}_finetune", *map(self._scratch, self.lengths)]
        measured = []
        for name, transfer in zip(names, self.transfers(upstream), strict=True):
            end = chosen(transfer, find)
            measured.append(Measured(f"{name}_error", end.error, end.n))
            measured.append(Measured(f"{name}_learning_rate", end.learning_rate, end.heldout))
        return measured

    def _scratch(self, steps: int) -> str:
        return f"{self.name}_scratch_{steps}steps"
