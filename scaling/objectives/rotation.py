"""Rotation: by how many right angles is an image turned? Needs no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from models.cost import forward_macs
from scaling.objectives.config import ObjectiveConfig, Pass

if TYPE_CHECKING:
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.objectives.built.rotation import RotationObjective

TURNS = 4


class Rotation(ObjectiveConfig):
    """Every image is shown turned by 0, 90, 180 and 270 degrees; a linear head says by which.

    The mean cross-entropy of four classes, over all images and turns, nats. Gidaris et al. 2018,
    "Unsupervised representation learning by predicting image rotations".
    """

    kind: Literal["rotation"] = "rotation"

    def build(self, model: Shape, classes: int, precision: Precision) -> RotationObjective:
        from scaling.objectives.built.rotation import RotationObjective

        del classes
        return RotationObjective(model, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """All four turns of an image through backbone and head."""
        del classes
        return (Pass(forward_macs(model, TURNS), examples=TURNS, shape=model),)
