"""A task, and the runs that a protocol makes of it for one trained network.

Knows no folder and trains nothing: a plan counts the same runs that a worker trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pydantic import Field, ValidationError

from models.precision import Compute
from models.shapes import MixerShape, Shape, ViTShape
from scaling.base.config import Config
from scaling.data import Source
from scaling.data.around.part import Part
from scaling.evaluate.trained.protocols import (
    Facts,
    HyperRule,
    Setting,
    ViTProtocol,
    Vtab1kProtocol,
)
from scaling.training.initial import Init
from scaling.training.margin import unseen_margin
from scaling.training.placement_checks import batch_mistakes
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.run import Run


class Task(Config):
    """A data set to fine-tune on."""

    data: Source
    """Where its images come from. Its `resolution` does not count: the protocol has one."""
    area: int | None = Field(None, gt=0)
    """Height times width of an image as it is stored, pixels, which BiT-HyperRule asks for; left
    out: what the source says of itself, if it does."""
    flips: bool = True
    """Whether a mirrored image keeps its label: false for dSprites' orientation and location, and
    SmallNORB's azimuth, in BiT."""
    crops: bool = True
    """Whether a part of an image keeps its label: false for CLEVR's count and distance, DMLab,
    KITTI's distance and dSprites' location, in BiT."""


class Upstream(Protocol):
    """A trained network, as far as its fine-tuning depends on it. A run is one; weights in a file
    are a `Pretrained`."""

    @property
    def id(self) -> str:
        """Names it: other weights, another id."""

    @property
    def model(self) -> Shape:
        """What it is."""

    @property
    def compute(self) -> Compute:
        """dtype of the blocks' products."""

    @property
    def seed(self) -> int:
        """Of its training, and of the fine-tuning."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """An `Upstream` of which nothing else is known."""

    id: str
    model: Shape
    compute: Compute = "float32"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The fine-tuning of one network on one task.

    Fields:
      label: names task and evaluation in the names of networks.
      upstream: what is fine-tuned.
      images: of the training set, the first of its fixed permutation; None: all.
      validation: of them, held out to choose a learning rate; None: the protocol's share.
      scratch_steps: None: begun with the trained network; else from random parameters, for so
        many steps.
    """

    label: str
    upstream: Upstream
    task: Task
    protocol: ViTProtocol | Vtab1kProtocol | HyperRule
    images: int | None = None
    validation: int | None = None
    scratch_steps: int | None = None

    @property
    def setting(self) -> Setting:
        """What the protocol decides; ValueError: it lacks a fact."""
        facts = Facts(
            images=self.train_images,
            area=self.task.area or self.task.data.area(),
            flips=self.task.flips,
            crops=self.task.crops,
        )
        found = self.protocol.setting(self.upstream.model, facts)
        return found if self.scratch_steps is None else replace(found, steps=self.scratch_steps)

    @property
    def train_images(self) -> int:
        """To train on in the end; ValueError: there is no end to them."""
        count = self.images or self.task.data.sizes()[0]
        if count is None:
            raise ValueError("there is no end to these images; take a finite set.")
        return count

    @property
    def heldout_images(self) -> int:
        """Of the training images, to choose a learning rate by."""
        if self.validation is not None:
            return self.validation
        return round(self.setting.validation * self.train_images)

    def candidates(self) -> tuple[Run, ...]:
        """One run a learning rate, without the held-out training images; none where there is no
        choice."""
        setting = self.setting
        if len(setting.learning_rates) == 1:
            return ()
        part = Part(
            of=setting.shown.source(self.task.data),
            images=self.train_images,
            validation=self.heldout_images,
        )
        return tuple(
            self._run(setting, rate).model_copy(update={"data": part, "data_size": None})
            for rate in setting.learning_rates
        )

    def final(self, rate: float) -> Run:
        """The run on all training images, to be tested."""
        return self._run(self.setting, rate)

    def runs(self) -> tuple[Run, ...]:
        """All that are trained, the last with the first of the learning rates."""
        return *self.candidates(), self.final(self.setting.learning_rates[0])

    def model(self) -> Shape:
        """The network at the task's resolution, named after both; ValueError: it cannot be.

        A pre-logits layer is part of the head, all of which a new linear one replaces (Dosovitskiy
        et al. 2021, "An image is worth 16x16 words").
        """
        there = self.upstream.model
        if isinstance(there, ViTShape):
            there = replace(there, pre_logits=None)
        return replace(
            there, name=f"{there.name} on {self.label}", resolution=self.setting.shown.side
        )

    def problems(self, spec: PlacementSpec = DEFAULT) -> Iterator[str]:
        """What keeps this from being done, in words."""
        try:
            count, setting = self.train_images, self.setting
            there = self.task.data.sizes()[0]
            if there is not None and count > there:
                yield (
                    f"{count:_} images to train on and the source has {there:_}; take another "
                    "task, or fewer."
                )
                return
            model = self.model()
            setting.recipe.check(setting.steps)
            setting.shown.source(self.task.data)
        except ValueError as error:
            yield str(error)
            return
        upstream, side = self.upstream.model, model.resolution
        if isinstance(upstream, MixerShape) and upstream.grid != side // upstream.patch:
            yield (
                f"{upstream.name} mixes the patches of {upstream.resolution} px and no other "
                f"number; fine-tune it at {upstream.resolution} px, or another network."
            )
        if len(setting.learning_rates) > 1 and not 0 < self.heldout_images < count:
            yield (
                f"{self.heldout_images:_} of {count:_} images are held out to choose a learning "
                "rate by; hold out another share, or give one learning rate alone."
            )
        yield from (f"a batch of {said}" for said in batch_mistakes(spec, setting.batch))
        try:
            self.final(setting.learning_rates[0])
        except ValidationError as error:  # what a run itself forbids, such as no labels
            yield from (each["msg"].removeprefix("Value error, ") for each in error.errors())

    def remarks(self) -> Iterator[str]:
        """What is lost where the patch does not divide the resolution, and what the paper does
        otherwise with such a network."""
        if lost := unseen_margin(self.model()):
            yield lost
        if isinstance(self.protocol, ViTProtocol) and (said := self.protocol.remark(self.model())):
            yield said

    def _run(self, setting: Setting, rate: float) -> Run:
        upstream, model = self.upstream, self.model()
        begin = None
        if self.scratch_steps is None:  # named, not found there: whoever trains has it at hand
            begin = Init(from_=Path(upstream.id), resolution=model.resolution)
        return Run(
            model=model,
            objective=setting.objective,
            data=setting.shown.source(self.task.data),
            data_size=self.images,
            recipe=setting.recipe.model_copy(update={"learning_rate": rate}),
            images_seen=setting.steps * setting.batch,
            compute=upstream.compute,
            augment=setting.augment,
            batch=setting.batch,
            seed=upstream.seed,
            init=begin,
        )
