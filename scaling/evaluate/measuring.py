"""One evaluation after another of one network, by the passes that they share."""

from __future__ import annotations

from typing import Any

from scaling.evaluate import Evaluation
from scaling.evaluate.classification import Classification
from scaling.evaluate.frozen.passes import Passes
from scaling.evaluate.frozen.tasks import FrozenTask
from scaling.evaluate.measured import Measured
from scaling.evaluate.privacy import Privacy
from scaling.evaluate.trained.trains import Trains


def measured(evaluation: Evaluation, passes: Passes, source: Any) -> list[Measured]:
    """What an evaluation that does not train finds.

    Args:
      source: what the network was trained on, or is to be measured on instead.
    """
    match evaluation:
        case FrozenTask():
            return evaluation.of_features(passes)
        case Classification():
            return evaluation.of_scores(passes, source)
        case Trains() | Privacy():
            raise TypeError(f"{evaluation.kind} is not measured by passes of images.")
    return evaluation.measure(
        passes.module, objective=passes.objective, source=source, placement=passes.placement
    )
