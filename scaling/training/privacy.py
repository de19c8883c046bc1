"""Differential privacy of a training, as a configuration: DP-SGD.

What a recipe says of it, and what cannot be trained with it, in sentences. `private_gradients.py`
takes the gradients, `accounting.py` says what they spend; this file needs neither JAX nor an
accountant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from scaling.base.config import Clash, Config
from scaling.objectives.config import Setting

LEAST_NOISE = 0.2
FUSED_PRIVATE = (
    'update = "fused": it updates a layer before the gradients of the layers below are known, and '
    'privacy clips by the norm over all of them; say update = "plain".'
)
MARGIN = 4.0
"""Standard deviations of the number of images drawn, by which its mean lies below the batch."""


class Privacy(Config):
    """DP-SGD: the gradient of each image is clipped, and Gaussian noise is added to their sum.

    A step draws every image of the training set independently, with one probability (Poisson
    sampling), and leaves out at random what is more than a batch. Abadi et al. 2016, "Deep learning
    with differential privacy"; De et al. 2022, "Unlocking high-accuracy differentially private
    image classification through scale".
    """

    noise_multiplier: float = Field(ge=0, le=1e6)
    """Standard deviation of the noise on the sum of gradients, in units of `clip_norm`; 0: none,
    and no privacy. `scaling privacy` finds it for an epsilon."""
    delta: float = Field(gt=0, lt=1)
    """Probability with which epsilon may not hold; below 1 / images of the training set."""
    clip_norm: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Largest norm, over all parameters, of one image's gradient."""
    augmentations: int = Field(default=1, ge=1, le=1024)
    """Differently augmented versions of each image in a step, whose gradients are averaged before
    they are clipped: augmentation multiplicity. A step takes so many times the arithmetic."""
    epsilon: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The most that a run may spend, which is checked before it begins; left out, it is told when
    the run is done."""

    def clashes(self) -> Iterator[Clash]:
        if 0 < self.noise_multiplier < LEAST_NOISE:
            yield Clash(
                ("noise_multiplier",),
                f"noise_multiplier={self.noise_multiplier:g}: so little noise protects nothing "
                f"that can be counted; use at least {LEAST_NOISE}, or 0 for clipping alone.",
            )
        if self.epsilon is not None and not self.noise_multiplier:
            yield Clash(
                ("noise_multiplier", "epsilon"),
                "noise_multiplier=0: without noise no epsilon holds; leave epsilon out.",
            )


def mean_images(batch: int) -> float:
    """Images that a step draws on average, m + 4 sqrt(m) = batch: so many that a batch hardly ever
    overflows. Sums of gradients are divided by this, a number that says nothing of the images."""
    return ((math.sqrt(MARGIN**2 + 4 * batch) - MARGIN) / 2) ** 2


def largest_delta(images: int) -> float:
    """1 / images, below which a delta must lie, rounded down to three digits.

    A mechanism that publishes one image, chosen at random, has epsilon 0 at a delta of 1 / images
    (Dwork and Roth 2014, "The algorithmic foundations of differential privacy", section 2.3).
    """
    digits = len(str(images)) + 2
    return float(f"{10**digits // images}e-{digits}")


def problems(
    privacy: Privacy, clip_norm: float | None, objective: Any, setting: Setting
) -> Iterator[str]:
    """Why a run cannot be trained privately, in sentences.

    Args:
      clip_norm: the recipe's own.
      setting: its `data_size` None: not known.
    """
    kind, size, mean = objective.kind, setting.data_size, mean_images(setting.batch)
    if clip_norm is not None:
        yield (
            f"privacy clips the gradient of each image, and clip_norm={clip_norm:g} would clip the "
            'noisy sum of them once more; say clip_norm = "none".'
        )
    if objective.couples_examples:
        yield (
            f"privacy needs the gradient of each image, and the loss {kind} of one depends on the "
            "others of its batch; use an objective of one image each, such as classify."
        )
    elif objective.labelled(size) is not None:
        yield (
            f"privacy draws all images with one probability, and {kind} shows labelled ones more "
            "often; use another objective."
        )
    if objective.keeps_state:
        yield (
            f"privacy adds noise to gradients, and {kind} keeps a state from step to step beside "
            "the parameters, which no noise is added to; use another objective."
        )
    if "mixup" in setting.augment:
        yield "privacy needs images of their own, and mixup mixes two; leave it out of augment."
    if setting.resampled:
        yield "privacy draws all images with one probability; leave resample out."
    if size is not None and size < mean:
        yield (
            f"a private step draws {mean:.1f} images on average into a batch of {setting.batch:_}, "
            f"and there are {size:_}; use a smaller batch."
        )
    if size is not None and privacy.delta >= 1 / size:
        yield (
            f"delta={privacy.delta:g} of {size:_} images protects none of them: whoever publishes "
            "one at random has a delta of 1 / images; use a delta below "
            f"{largest_delta(size):g}."
        )
