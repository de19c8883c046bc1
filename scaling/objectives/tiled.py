"""What pretext tasks on the tiles of an image have in common: how tiles are cut."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from models.cost import forward_macs
from models.shapes import Shape
from scaling.objectives.config import ObjectiveConfig, Pass, Setting, linear

GRID = 3  # tiles along a side


class Tiled(ObjectiveConfig):
    """Base of those: an image is a grid of 3 x 3 cells, and a smaller tile is cut out of each.

    A tile passes the backbone alone, resized to the resolution of the run (bilinear), so that no
    tile knows another before the head. Cells are resolution // 3 pixels wide; what is left over at
    the right and at the bottom is not used.
    """

    gap: float = Field(default=0.25, ge=0, lt=1)
    """Share of a cell's side that its tile lacks; where in its cell a tile lies is random. Without
    a gap a network may match edges that continue from tile to tile."""
    standardise: bool = True
    """Whether each colour of each tile has mean 0 and variance 1: brightness and tint of a tile
    would tell where it lies."""
    hidden: int | None = Field(default=None, gt=0, le=10**6)
    """Features inside the head, two products with a ReLU between; left out: as many as the
    backbone's."""

    def problems(self, setting: Setting) -> Iterator[str]:
        side = setting.model.resolution
        if tile_side(side, self.gap) < 2:
            yield (
                f"tiles of images of {side} px with gap = {self.gap:g} are less than 2 px wide; "
                "take larger images, or a smaller gap."
            )

    def _passes(self, model: Shape, tiles: int, outputs: int) -> tuple[Pass, ...]:
        """So many tiles of an image through the backbone, then one head on all of them."""
        hidden = self.hidden or model.features
        head = tiles * model.features * hidden + hidden * outputs
        return (
            Pass(forward_macs(model), examples=tiles, shape=model),
            Pass(head, layers=linear(tiles * model.features, hidden) + linear(hidden, outputs)),
        )


def tile_side(side: int, gap: float) -> int:
    """Pixels along a tile of an image of so many."""
    return round((side // GRID) * (1 - gap))
