"""LiT: a text tower learns to read out what a locked image tower sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from scaling.objectives.config import Setting
from scaling.objectives.image_text import ImageText, Loss


class Lit(ImageText):
    """The loss of `clip`, or that of `siglip`, with an image tower that never changes.

    The image tower begins with trained weights, a grid's `init`, and is locked: no gradient is
    taken of it, nothing is added to it, no weight decay acts on it. Its features are compared as
    they are, without a layer on them, so the text tower's layer has as many outputs. Zhai et al.
    2022, "LiT: zero-shot transfer with locked-image text tuning", section 4.
    """

    kind: Literal["lit"] = "lit"
    loss: Literal["softmax", "sigmoid"] = "softmax"
    """How images and captions are compared: as `clip` does, or as `siglip`."""

    @property
    def compared_by(self) -> Loss:
        return self.loss

    @property
    def locked(self) -> bool:
        return True

    @property
    def projects_images(self) -> bool:
        return False

    @property
    def one_pass(self) -> bool:
        """The image tower has no gradient; the text tower is none that a fused step knows."""
        return False

    def problems(self, setting: Setting) -> Iterator[str]:
        if not setting.begins_trained:
            yield (
                "lit locks the image tower as it begins, and at random it has nothing to say; give "
                'the grid init = { from = "WEIGHTS" }.'
            )
        yield from super().problems(setting)
