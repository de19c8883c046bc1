"""Rates of training that others have measured and published. Knows no JAX.

A rate is that of useful arithmetic: 3 forward passes an image, 2 FLOPs a multiply-add, whatever was
computed again, over the seconds of a step, a device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from models.cost import forward_macs
from models.zoo import vit

DAY = 86400.0
IMAGES_A_STEP = 4096  # of the steps that the paper counts
JFT_CLASSES = 29_593

CORE_DAYS = {
    "s/28": 0.01335,
    "S/32": 0.03068,
    "s/16": 0.03363,
    "Ti/16": 0.04312,
    "S/16": 0.07927,
    "B/32": 0.07957,
    "B/28": 0.08047,
    "B/16": 0.20465,
    "L/16": 0.63633,
    "g/14": 2.712,
    "G/14": 5.502,
}
"""TPUv3 core-days of 1000 steps of 4096 images, 224 px: read off the vector markers of Zhai et al.
2022, Figure 2, where they are proportional to steps for each model. What was rematerialised, and on
how many cores, the paper does not say; whatever both cost is part of the numbers."""


@dataclass(frozen=True)
class Rate:
    """Useful arithmetic of one device in a second.

    Fields:
      kind: of devices.
      model: what was trained.
      flops_an_image: of training it.
      flops_a_second: useful ones, of one device.
      source: where it was published.
    """

    kind: str
    model: str
    flops_an_image: float
    flops_a_second: float
    source: str


def _core_day_rate(model: str, core_days: float) -> Rate:
    flops = 6 * forward_macs(vit(model), JFT_CLASSES)
    images = 1000 * IMAGES_A_STEP
    return Rate(
        "v3", model, flops, flops * images / (core_days * DAY), "Zhai et al. 2022, Figure 2"
    )


def published_rates() -> list[Rate]:
    """All of them."""
    paper = [_core_day_rate(model, core_days) for model, core_days in CORE_DAYS.items()]
    g14 = 6 * forward_macs(vit("g/14"), 1000)
    others = [
        Rate("a100", "g/14", g14, 0.445 * 312e12, "NVIDIA NeMo, ViT-g/14 on 8 A100"),
        Rate("h100", "g/14", g14, 0.289 * 989.4e12, "NVIDIA NeMo, ViT-g/14 on 8 H100"),
        Rate("v4", "22B", VIT_22B, 0.55 * 275e12, "Dehghani et al. 2023 (ViT-22B)"),
    ]
    return paper + others


VIT_22B = 3 * 2 * 21.7e9 * 256
"""FLOPs of training on an image: parameters times tokens, attention's products left out."""


def interpolated(rates: Iterable[tuple[float, float]], flops_an_image: float) -> float:
    """A rate for a model of so many FLOPs an image: straight lines in logarithms between the known
    ones, and the nearest of them beyond the first and the last.

    Args:
      rates: pairs of FLOPs an image and a rate, at least one.
    """
    known = sorted(rates)
    if flops_an_image <= known[0][0]:
        return known[0][1]
    for (x0, y0), (x1, y1) in pairwise(known):
        if flops_an_image <= x1:
            share = math.log(flops_an_image / x0) / math.log(x1 / x0)
            return y0 * (y1 / y0) ** share
    return known[-1][1]


def without(rates: Sequence[Rate], model: str) -> list[Rate]:
    """All rates but those of one model."""
    return [rate for rate in rates if rate.model != model]
