"""The augmentations of SimCLR and of BYOL, under one name each."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from scaling.base.config import Config
from scaling.data.augment.blur import Blur
from scaling.data.augment.chance import Probability
from scaling.data.augment.colour_jitter import ColourJitter
from scaling.data.augment.flip import Flip
from scaling.data.augment.grey import Grey
from scaling.data.augment.inception_crop import InceptionCrop
from scaling.data.augment.resized_crop import ResizedCrop
from scaling.data.augment.solarise import Solarise

OfViews: TypeAlias = InceptionCrop | ResizedCrop | Flip | ColourJitter | Grey | Blur | Solarise


class SimCLRViews(Config):
    """What SimCLR does to both views; a run has these in its place.

    | | |
    |---|---|
    | `inception_crop` | `area_min` to the whole image, aspect ratio 3/4 to 4/3 |
    | `flip` | half of them |
    | `colour_jitter` | 0.8, 0.8, 0.8, 0.2 times `strength`, brightness a factor; probability 0.8 |
    | `grey` | probability 0.2 |
    | `blur` | probability `blur` |

    Source: `data_util.py` in google-research/simclr, whose brightness is that of SimCLR's second
    version. Its README trains CIFAR-10 with `strength = 0.5` and `blur = 0`. Images are resized by
    the source's filter (`decode`); there it is bicubic.
    """

    kind: Literal["simclr_views"] = "simclr_views"
    area_min: float = Field(default=0.08, gt=0, le=1)
    """Smallest area of a crop, a share of the image's; 1: images are not cropped."""
    strength: float = Field(default=1.0, ge=0, le=10)
    """Of the colour jitter; 0: none."""
    blur: Probability = (0.5,)
    """Probability of an image to be blurred."""

    def parts(self) -> tuple[OfViews, ...]:
        """What it stands for."""
        crop = InceptionCrop(area_min=self.area_min, aspect_min=3 / 4, aspect_max=4 / 3)
        jitter = ColourJitter(
            brightness=0.8,
            contrast=0.8,
            saturation=0.8,
            hue=0.2,
            strength=self.strength or 1.0,
            brightness_by="scaling",
        )
        return (
            *((crop,) if self.area_min < 1 else ()),
            Flip(),
            *((jitter,) if self.strength else ()),
            Grey(),
            *((Blur(probability=self.blur),) if any(self.blur) else ()),
        )


class BYOLViews(Config):
    """What BYOL does to its two views, which it treats differently; a run has these in its place.

    | | view 1 | view 2 |
    |---|---|---|
    | `resized_crop` | `area_min` to the whole image, aspect ratio 3/4 to 4/3 | the same |
    | `flip` | half of them | the same |
    | `colour_jitter` | 0.4, 0.4, 0.2 and 0.1 times `strength`; probability 0.8 | the same |
    | `grey` | probability 0.2 | the same |
    | `blur` | probability 1 | probability 0.1 |
    | `solarise` | never | probability 0.2 |

    Source: `augment_config` in `byol/utils/augmentations.py` and `_decode_and_random_crop` in
    `byol/utils/dataset.py` (google-deepmind/deepmind-research).
    """

    kind: Literal["byol_views"] = "byol_views"
    area_min: float = Field(default=0.08, gt=0, le=1)
    """Smallest area of a crop, a share of the image's; 1: images are not cropped."""
    strength: float = Field(default=1.0, ge=0, le=10)
    """Of the colour jitter; 0: none."""
    blur: Probability = (1.0, 0.1)
    """Probability of an image to be blurred."""
    solarise: Probability = (0.0, 0.2)
    """Probability of an image to be solarised."""

    def parts(self) -> tuple[OfViews, ...]:
        """What it stands for."""
        return (
            *((ResizedCrop(area_min=self.area_min),) if self.area_min < 1 else ()),
            Flip(),
            *((ColourJitter(strength=self.strength),) if self.strength else ()),
            Grey(),
            *((Blur(probability=self.blur),) if any(self.blur) else ()),
            *((Solarise(probability=self.solarise),) if any(self.solarise) else ()),
        )
