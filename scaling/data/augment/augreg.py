"""The augmentation settings of "How to train your ViT?"."""

from __future__ import annotations

from typing import Literal

from scaling.base.config import Config
from scaling.data.augment.mixup import MixUp
from scaling.data.augment.randaugment import RandAugment

SETTINGS = {  # operations an image and magnitude of RandAugment, alpha of MixUp
    "none": (0, 0, 0.0),
    "light1": (2, 0, 0.0),
    "light2": (2, 10, 0.2),
    "medium1": (2, 15, 0.2),
    "medium2": (2, 15, 0.5),
    "strong1": (2, 20, 0.5),
    "strong2": (2, 20, 0.8),
}


class AugReg(Config):
    """RandAugment and MixUp by one of seven names; a run has the two in its place.

    | setting | `randaugment` layers, magnitude | `mixup` alpha |
    |---|---|---|
    | none | | |
    | light1 | 2, 0 | |
    | light2 | 2, 10 | 0.2 |
    | medium1 | 2, 15 | 0.2 |
    | medium2 | 2, 15 | 0.5 |
    | strong1 | 2, 20 | 0.5 |
    | strong2 | 2, 20 | 0.8 |

    Source: Steiner et al. 2022, "How to train your ViT?", section 3.3, whose figures call the last
    two heavy1 and heavy2; big_vision, `configs/vit_i21k.py`.
    """

    kind: Literal["augreg"] = "augreg"
    setting: Literal["none", "light1", "light2", "medium1", "medium2", "strong1", "strong2"]
    """How much; magnitude 0 of light1 still changes images."""

    def parts(self) -> tuple[RandAugment | MixUp, ...]:
        """What it stands for."""
        layers, magnitude, alpha = SETTINGS[self.setting]
        found: list[RandAugment | MixUp] = []
        if layers:
            found.append(RandAugment(layers=layers, magnitude=magnitude))
        if alpha:
            found.append(MixUp(alpha=alpha))
        return tuple(found)
