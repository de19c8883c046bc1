"""Laws that a paper prints, to lay beside one's own: one row a curve, its source above it."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from fits.laws import Array, saturating


@dataclass(frozen=True)
class Published:
    """A saturating law with the rounded coefficients of its paper; no intervals were given.

    Fields:
      task: what the error is of.
      c, a, d, b: of E = c + a (x + d)^-b, error a fraction, in the paper's order.
      span: smallest and largest x of the paper's own runs.
      resource: what x is, with its unit.
      source: the paper.
    """

    task: str
    c: float
    a: float
    d: float
    b: float
    span: tuple[float, float]
    resource: str
    source: str

    def predict(self, x: ArrayLike) -> Array:
        """Error at `x`, same shape as `x`."""
        return saturating(x, self.a, self.b, self.c, self.d)


_JFT = (0.267, 27_500.0), "pre-training compute, TPUv3 core-days", "Zhai et al. 2022"
_21K = (0.862, 205.0), *_JFT[1:]  # Ti/16 for 20k steps to B/16 for 1M, at their cost in figure 2

# Zhai, Kolesnikov, Houlsby, Beyer 2022, "Scaling Vision Transformers" (arXiv 2106.04560 v2),
# section 2.2, equations in figures 2 and 9: ViTs pre-trained on subsets of JFT-3B; the last row,
# section 2.4 and figure 4: on subsets of ImageNet-21k.
ZHAI_2022 = {
    law.task: law
    for law in (
        #                                c     a     d     b
        Published("ImageNet fine-tuned", 0.09, 0.26, 0.01, 0.35, *_JFT),
        Published("ImageNet 10-shot", 0.12, 0.63, 0.52, 0.32, *_JFT),
        Published("ImageNet 5-shot", 0.14, 0.68, 0.67, 0.32, *_JFT),
        Published("CIFAR-100 10-shot", 0.06, 0.48, 0.03, 0.21, *_JFT),
        Published("CIFAR-100 5-shot", 0.08, 0.53, 0.07, 0.20, *_JFT),
        Published("Pets 10-shot", 0.03, 0.60, 0.75, 0.77, *_JFT),
        Published("Pets 5-shot", 0.04, 0.72, 0.97, 0.72, *_JFT),
        Published("Birds 10-shot", 0.10, 0.62, 0.55, 0.43, *_JFT),
        Published("Birds 5-shot", 0.11, 0.68, 0.65, 0.37, *_JFT),
        Published("ImageNet 10-shot, from ImageNet-21k", 0.24, 0.96, 1.57, 0.61, *_21K),
    )
}
