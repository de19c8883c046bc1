"""How the images of a task are shown in fine-tuning: at which side, flipped, cropped.

A protocol says in `Shown` which crop it has and of what; `Shown.source` and `Shown.augment` are all
that runs are made of. Where nothing is cropped, as in tests, images are seen whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scaling.data import Source
from scaling.data.augment import Augment, Flip, InceptionCrop, RandomCrop


@dataclass(frozen=True, kw_only=True)
class Shown:
    """
    Fields:
      side: that the network sees, in training and in tests, pixels.
      resize: side to which training images are brought before a random crop, pixels; that of
        `side` leaves nothing to cut.
      crops: which training images are cut by; None where crops destroy the label.
    """

    side: int
    resize: int | None = None
    flips: bool
    crops: Literal["inception", "random"] | None

    def source(self, data: Source) -> Source:
        """The task's images as the network sees them.

        Raises:
          ValueError: the source has a resolution of its own.
        """
        if data.resolution == self.side:
            return data
        if "resolution" not in type(data).model_fields:
            raise ValueError(
                f'images of the source "{data.kind}" are {data.resolution} px and '
                f"cannot be brought to the {self.side} px of the protocol; write resolution = "
                f"{data.resolution} in it."
            )
        shown = data.model_copy(update={"resolution": self.side})
        for clash in shown.clashes():
            raise ValueError(f"at the {self.side} px of the protocol: {clash.words}")
        return shown

    @property
    def augment(self) -> tuple[Augment, ...]:
        """What is done to each training image."""
        flip = (Flip(),) if self.flips else ()
        match self.crops:
            case None:
                return flip
            case "inception":
                return (InceptionCrop(), *flip)
            case "random" if self.resize == self.side:
                return flip
            case "random":
                return (RandomCrop(resize_to=self.resize), *flip)
