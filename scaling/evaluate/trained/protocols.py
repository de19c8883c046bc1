"""How a network is fine-tuned, as the papers have it: every number a field, its default theirs.

A protocol turns a network and what is known of a task into a `Setting`, which decides all. Knows no
run, no folder and no JAX.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from models.cost import trunk_parameters
from models.shapes import Shape
from scaling.base.config import Clash, Config, NoneAs
from scaling.data.augment import Augment, MixUp
from scaling.evaluate.trained.shown import Shown
from scaling.objectives.classify import Classify
from scaling.training.recipe import Decay, Norm, Recipe

Rate: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Steps: TypeAlias = Annotated[int, Field(gt=0, le=10**9)]
Side: TypeAlias = Annotated[int, Field(gt=0, le=8192)]
SOFTMAX = Classify(loss="softmax")
VIT_G = 1_500_000_000
"""Parameters, without pool and classifier, between those of g/14 (1.01e9) and of G/14 (1.84e9)."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a protocol looks at in a task.

    Fields:
      images: labelled ones to train on.
      area: height times width of an image as it is stored, pixels; None: not known.
      flips, crops: whether they leave the label what it is.
    """

    images: int
    area: int | None
    flips: bool
    crops: bool


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One task and one network's fine-tuning, fully decided save for the learning rate.

    Fields:
      learning_rates: to choose from on held-out training images; one alone is taken as it is.
      validation: share of the training images that are held out for that.
      recipe: with the first of the learning rates.
    """

    shown: Shown
    steps: int
    batch: int
    learning_rates: tuple[float, ...]
    validation: float
    recipe: Recipe
    objective: Classify
    augment: tuple[Augment, ...]


class AsViT(Config):
    """What the two protocols of "Scaling Vision Transformers" have in common."""

    resolution: Side = 384
    """Side of the images, pixels, whatever `data` says; learned positions are resized to it."""
    large_resolution: Side = 518
    """The same of large networks, g and G in the paper."""
    large_params: int = Field(1_000_000_000, gt=0)
    """Parameters, without pool and classifier, from which a network is large."""
    steps: Steps = 20_000
    """Of each training."""
    warmup_steps: int = Field(500, ge=0)
    """Steps over which the learning rate grows linearly from 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up."""
    batch: int = Field(512, gt=0)
    """Images a step."""
    learning_rates: tuple[Rate, ...] = Field((0.03, 0.01), min_length=1)
    """Each is tried without the held-out training images; the one of least error there is taken to
    train on all of them. One alone is not tried."""
    validation: float = Field(0.02, gt=0, lt=1)
    """Share of the training images that are held out."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of SGD, heavy-ball, kept in float32."""
    clip_norm: Annotated[Norm | None, NoneAs("none")] = 1.0
    """Largest global norm of the gradient; none: no clipping."""
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Of every kernel, multiplied by learning rate and schedule."""
    polyak: Annotated[Decay | None, NoneAs("none")] = None
    """Polyak averaging, as in `[recipe]`: the average is what is tested."""
    objective: Classify = SOFTMAX
    """What is minimised, as in `[objective]`; left out: softmax."""

    def setting(self, model: Shape, task: Facts) -> Setting:
        """How this network is fine-tuned on such a task."""
        large = trunk_parameters(model) >= self.large_params
        side = self.large_resolution if large else self.resolution
        recipe = Recipe(
            optimizer="sgd",
            learning_rate=self.learning_rates[0],
            weight_decay_head=self.weight_decay,
            weight_decay_body=self.weight_decay,
            beta1=self.momentum,
            clip_norm=self.clip_norm,
            warmup_steps=self.warmup_steps,
            schedule=self.schedule,
            polyak=self.polyak,
        )
        shown = Shown(side=side, flips=task.flips, crops="inception" if task.crops else None)
        return Setting(
            shown=shown,
            steps=self.steps,
            batch=self.batch,
            learning_rates=self.learning_rates,
            validation=self.validation,
            recipe=recipe,
            objective=self.objective,
            augment=shown.augment,
        )


class ViTProtocol(AsViT):
    """As "Scaling Vision Transformers" fine-tunes (Zhai et al. 2022, appendix D).

    Its ViT-G has `schedule = "constant"` and Polyak averaging besides, which a network of that size
    is reminded of. The paper names no loss, no
    momentum and no augmentation: softmax and 0.9 are those of ViT (Dosovitskiy et al. 2021) and of
    big_vision's transfers, which flip and crop.
    """

    kind: Literal["vit"] = "vit"

    def remark(self, model: Shape) -> str | None:
        """What the paper does otherwise with a network of this size; None: nothing."""
        if trunk_parameters(model) < VIT_G or (self.schedule == "constant" and self.polyak):
            return None
        return (
            f"{model.name} is as large as ViT-G, which the paper fine-tunes with schedule = "
            '"constant" and Polyak averaging: write these two into protocol, polyak = 0.9999 as '
            "ViT had it."
        )


class Vtab1kProtocol(AsViT):
    """As "Scaling Vision Transformers" fine-tunes on VTAB-1k: one learning rate for all tasks.

    What the paper does not say of it is as in `vit`.
    """

    kind: Literal["vtab1k"] = "vtab1k"
    steps: Steps = 2500
    """Of each training."""
    learning_rates: tuple[Rate, ...] = Field((0.01,), min_length=1)
    """As in `vit`."""


class SizeClass(Config):
    """What BiT-HyperRule does with tasks of some size."""

    name: str
    """What it is called."""
    below: int | None = Field(None, gt=0)
    """Labelled images, of which such a task has fewer; left out: any number."""
    steps: Steps
    """Of fine-tuning."""
    mixup: float | None = Field(None, gt=0, le=100)
    """MixUp's alpha; left out: none."""


class Sides(Config):
    """At which sides BiT-HyperRule shows images of some size to networks of some size."""

    area_below: int | None = Field(None, gt=0)
    """Height times width of an image as it is stored, pixels; left out: any."""
    params_from: int = Field(0, ge=0)
    """Parameters of the network, classifier left out."""
    resize: Side
    """Side to which training images are brought, pixels."""
    crop: Side
    """Side of the crop of them that the network sees; test images are resized to it."""


class HyperRule(Config):
    """BiT-HyperRule (Kolesnikov et al. 2020, "Big Transfer", section 3.3): no search at all.

    The paper names no loss; softmax is assumed.
    """

    kind: Literal["hyperrule"] = "hyperrule"
    sizes: tuple[SizeClass, ...] = Field(
        (
            SizeClass(name="small", below=20_000, steps=500),
            SizeClass(name="medium", below=500_000, steps=10_000, mixup=0.1),
            SizeClass(name="large", steps=20_000, mixup=0.1),
        ),
        min_length=1,
    )
    """By labelled images; the first that a task falls under counts. Left out: below 20,000 500
    steps, below 500,000 10,000 steps, else 20,000, the last two with MixUp of alpha 0.1."""
    sides: tuple[Sides, ...] = Field(
        (
            Sides(area_below=96 * 96, resize=160, crop=128),
            Sides(params_from=900_000_000, resize=512, crop=480),  # R152x4
            Sides(resize=448, crop=384),
        ),
        min_length=1,
    )
    """By the area of images and the size of networks; the first that both fall under counts. Left
    out: images below 96 x 96 are brought to 160 and cropped to 128; else to 448 and 384; for R152x4
    to 512 and 480."""
    learning_rate: Rate = 0.003
    """At the beginning."""
    batch: int = Field(512, gt=0)
    """Images a step."""
    stairs: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.3, 0.6, 0.9), min_length=1)
    """Parts of the training after which the learning rate falls."""
    stair_factor: float = Field(0.1, gt=0, lt=1)
    """By which it is multiplied there."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of SGD, heavy-ball, kept in float32."""
    objective: Classify = SOFTMAX
    """What is minimised, as in `[objective]`; left out: softmax."""

    def clashes(self) -> Iterator[Clash]:
        if self.sizes[-1].below is not None:
            yield Clash(("sizes",), "the last is for all that are left: leave its `below` out.")
        if self.sides[-1].area_below is not None or self.sides[-1].params_from:
            yield Clash(
                ("sides",), "the last is for all: leave its `area_below` and `params_from` out."
            )
        for each in self.sides:
            if each.crop > each.resize:
                yield Clash(
                    ("sides",),
                    f"crop = {each.crop} px of images of resize = {each.resize} px; crop is at "
                    "most resize.",
                )

    @property
    def needs_area(self) -> bool:
        """Whether a task's images must say how large they are."""
        return any(each.area_below is not None for each in self.sides)

    def setting(self, model: Shape, task: Facts) -> Setting:
        """How this network is fine-tuned on such a task.

        Raises:
          ValueError: the area is needed, and not known.
        """
        if self.needs_area and task.area is None:
            raise ValueError(
                "hyperrule goes by how large images are, and this source does not say: write "
                "area = HEIGHT * WIDTH, as a number of pixels."
            )
        size = next(each for each in self.sizes if each.below is None or task.images < each.below)
        sides = next(each for each in self.sides if self._are(each, model, task))
        recipe = Recipe(
            optimizer="sgd",
            learning_rate=self.learning_rate,
            weight_decay_head=0.0,
            weight_decay_body=0.0,
            beta1=self.momentum,
            clip_norm=None,
            warmup_steps=0,
            schedule="stairs",
            stairs=self.stairs,
            stair_factor=self.stair_factor,
        )
        shown = Shown(
            side=sides.crop,
            resize=sides.resize,
            flips=task.flips,
            crops="random" if task.crops else None,
        )
        mixup = (MixUp(alpha=size.mixup),) if size.mixup is not None else ()
        return Setting(
            shown=shown,
            steps=size.steps,
            batch=self.batch,
            learning_rates=(self.learning_rate,),
            validation=0.0,
            recipe=recipe,
            objective=self.objective,
            augment=(*shown.augment, *mixup),
        )

    def _are(self, sides: Sides, model: Shape, task: Facts) -> bool:
        small = sides.area_below is None or (task.area is not None and task.area < sides.area_below)
        return small and trunk_parameters(model) >= sides.params_from


Protocol: TypeAlias = Annotated[
    ViTProtocol | Vtab1kProtocol | HyperRule, Field(discriminator="kind")
]
