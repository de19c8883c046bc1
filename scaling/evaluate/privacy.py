"""What a private training spent, as a row of the results. Looks at no image and no network."""

from __future__ import annotations

import math
from typing import Literal

from scaling.base.config import Config
from scaling.evaluate.measured import Measured
from scaling.training.accounting import spent
from scaling.training.run import Run, RunData


class Privacy(Config):
    """`epsilon`, what a private run spends at the delta of its recipe (docs/training/privacy.md);
    n is the number of its training images."""

    kind: Literal["privacy"] = "privacy"

    @property
    def name(self) -> str:
        return self.kind

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""
        return ("epsilon",)

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""
        return ()

    def source(self, trained_on: RunData | None) -> RunData | None:
        """Whose images are looked at: none beside those that the run is trained on."""
        return trained_on

    def of_run(self, run: Run) -> list[Measured]:
        """The number, for a run that is private.

        Raises:
          ValueError: it is not.
        """
        found = spent(run)
        if found is None or not math.isfinite(found.epsilon):
            raise ValueError("this run is not private, and spends without bound.")
        return [Measured("epsilon", found.epsilon, found.images)]
