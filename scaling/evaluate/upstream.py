"""Loss and error on held-out images of the training source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.evaluate.frozen.own_head import OwnHead
from scaling.evaluate.measured import Measured

if TYPE_CHECKING:
    from flax import nnx

    from scaling.data.source import SourceConfig
    from scaling.training.placement import Placement


class Upstream(OwnHead):
    """Mean loss (nats) and top-1 error on held-out images of the training source.

    An image that has several labels is right when the largest logit is that of any; one that has
    none is left out, as in big_vision.
    """

    kind: Literal["upstream"] = "upstream"

    @property
    def name(self) -> str:
        return self.kind

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""
        return ("upstream_loss", "upstream_error")

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""
        return ("upstream_error",)

    def measure(
        self,
        module: nnx.Module,
        *,
        objective: Any,
        source: SourceConfig,
        placement: Placement | None = None,
    ) -> list[Measured]:
        """Both numbers, n = images behind each: those that have a label."""
        from scaling.data.source import sample
        from scaling.evaluate.frozen.forward import losses

        heldout = source.heldout()
        count = self.images or heldout.size
        assert count is not None  # a source's held-out images come to an end
        loss, wrong = losses(module, objective, heldout, sample(heldout, count), placement)
        return [
            Measured("upstream_loss", float(loss.mean(dtype=np.float64)), len(loss)),
            Measured("upstream_error", float(wrong.mean(dtype=np.float64)), len(loss)),
        ]
