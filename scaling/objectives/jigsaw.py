"""Jigsaw: in which order are the tiles of an image? Needs no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scaling.objectives.config import Pass
from scaling.objectives.tiled import GRID, Tiled

if TYPE_CHECKING:
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.objectives.built.tiles import JigsawObjective


class Jigsaw(Tiled):
    """The nine tiles of an image, in one of `permutations` orders; a head says in which.

    The mean cross-entropy, nats. Each image has one order, drawn anew at each step. Noroozi and
    Favaro 2016, "Unsupervised learning of visual representations by solving jigsaw puzzles"; the
    number of permutations is the task's hardness in Goyal et al. 2019, "Scaling and benchmarking
    self-supervised visual representation learning".
    """

    kind: Literal["jigsaw"] = "jigsaw"
    permutations: int = Field(default=100, ge=2, le=10_000)
    """Orders that are told apart, of the 362,880 there are: one after another, each the one that
    differs in most places from those before, summed over them. So the smaller sets lie inside the
    larger."""

    def build(self, model: Shape, classes: int, precision: Precision) -> JigsawObjective:
        from scaling.objectives.built.tiles import JigsawObjective

        del classes
        return JigsawObjective(self, model, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """Nine tiles, at the resolution of the run each, and the head."""
        del classes
        return self._passes(model, GRID**2, self.permutations)
