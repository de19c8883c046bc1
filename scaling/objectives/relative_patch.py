"""Relative patch: where does one tile of an image lie, seen from another? Needs no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scaling.objectives.config import Pass
from scaling.objectives.tiled import Tiled

if TYPE_CHECKING:
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.objectives.built.tiles import RelativePatchObjective

NEIGHBOURS = 8


class RelativePatch(Tiled):
    """The tile in the middle of an image and one of the eight around it; a head says which.

    The mean cross-entropy of eight classes, nats. Each image has one neighbour, drawn anew at each
    step. Doersch et al. 2015, "Unsupervised visual representation learning by context prediction".
    """

    kind: Literal["relative_patch"] = "relative_patch"

    def build(self, model: Shape, classes: int, precision: Precision) -> RelativePatchObjective:
        from scaling.objectives.built.tiles import RelativePatchObjective

        del classes
        return RelativePatchObjective(self, model, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """Two tiles, at the resolution of the run each, and the head."""
        del classes
        return self._passes(model, 2, NEIGHBOURS)
