"""Run: one training, fully decided. Knows no study, no evaluation and no folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, TypeAlias

from pydantic import Field, field_validator, model_validator

from fits.base.printable import printable
from models.cost import parameters
from models.precision import Compute
from models.shapes import BiTShape, MuP, Shape, ViTShape
from scaling.base.config import Config, contents, digest_of
from scaling.data import Source
from scaling.data.around.part import Part
from scaling.data.augment import (
    Augment,
    check_augment,
    crop_problem,
    of_batches,
    spelled_out,
    views_problem,
)
from scaling.data.order import Resampling
from scaling.objectives import DEFAULT, Objective
from scaling.objectives.config import Pass, Setting
from scaling.training import privacy
from scaling.training.initial import Init
from scaling.training.recipe import Recipe

NOT_IN_STEP = {"seed", "data_size", "resample", "images_seen", "augment", "init"}
SCHEDULE = {
    "schedule",
    "warmup_steps",
    "stairs",
    "stair_factor",
    "timescale_steps",
    "cooldown_steps",
    "cooldown_fraction",
}
"""Fields of a recipe that reach the step as its argument `rate`."""
RunData: TypeAlias = Annotated[Source | Part, Field(discriminator="kind")]
"""What a study file may say, and what a search for a learning rate trains on."""


class Run(Config):
    """One training, fully decided: everything that its numbers depend on, and nothing else."""

    model: Shape
    """The network's shape, spelled out; its resolution is the data's."""
    objective: Objective = DEFAULT
    """What is minimised."""
    data: RunData
    """Where images come from."""
    data_size: int | None = Field(None, gt=0, lt=2**63)
    """Number of different training images; None: every image the source has (endless, if it is)."""
    resample: Resampling | None = None
    """By which rule images of rare classes are shown more often (`order.resampled`); None: all are
    shown equally often."""
    recipe: Recipe = Recipe()
    """Optimizer and schedule."""
    images_seen: int = Field(gt=0, lt=2**63)
    """Training images shown in all, repeats counted."""
    compute: Compute = "float32"
    """Dtype of the blocks' products and of the residual stream; parameters are float32."""
    augment: tuple[Augment, ...] = ()
    """What is done to images before they are shown, in this order; presets are spelled out."""
    batch: int = Field(gt=0, lt=2**63)
    """Images a step."""
    seed: int = Field(0, ge=0)
    """Decides the initial parameters and the order of the images."""
    init: Init | None = None
    """The backbone's parameters to begin with; None: drawn as the seed decides."""

    @property
    def id(self) -> str:
        """Names the run's contents; fields at their default leave it unchanged."""
        return self.digests[0]

    @property
    def trunk(self) -> str:
        """Names what the run shares with those that differ only in `images_seen`."""
        return self.digests[1]

    @cached_property
    def digests(self) -> tuple[str, str]:
        """Its id and its trunk: the contents are listed once for both."""
        whole = contents(self)
        trunk = {k: v for k, v in whole.items() if k != "images_seen"}
        return digest_of(whole), digest_of(trunk)

    @cached_property
    def step_digest(self) -> str:
        """Names what the run's step is compiled from: equal for runs that differ only in seed,
        data and its order, duration, schedule, weights to begin with, and in what is done to images
        before the step."""
        kept = {k: v for k, v in contents(self).items() if k not in NOT_IN_STEP}
        recipe = {k: v for k, v in kept.get("recipe", {}).items() if k not in SCHEDULE}
        mixed = contents(of_batches(self.augment))
        data = contents(self.data.of if isinstance(self.data, Part) else self.data)
        return digest_of({**kept, "data": data, "recipe": recipe, "augment": mixed})

    @property
    def steps(self) -> int:
        """Optimizer steps from the first image to the last."""
        return self.images_seen // self.batch

    @property
    def branch_step(self) -> int:
        """The step at which the cooldown begins and the run leaves its trunk."""
        return self.steps - self.recipe.cooldown(self.steps)

    @property
    def setting(self) -> Setting:
        """What its objective must suit."""
        return setting(
            self.model,
            self.data,
            self.batch,
            self.data_size,
            self.augment,
            begins_trained=self.init is not None,
            resampled=self.resample is not None,
        )

    @property
    def model_name(self) -> str:
        """The model's name in results and tables, by which runs are told apart: "Ti/16 muP64".

        Two grids may train one shape with and without `mup`, which are different models: what is
        set of it follows the shape's name, base width first, then only what is not the default.
        """
        mup = self.model.mup if isinstance(self.model, ViTShape) else None
        name = printable(self.model.name)
        return f"{name} {_mup_name(mup)}" if mup else name

    @cached_property
    def params(self) -> int:
        """Parameters of the backbone, its pool included, classifier left out."""
        return parameters(self.model)

    @property
    def augmentations(self) -> int:
        """Times that each of the objective's views is made, differently augmented."""
        return 1 if self.recipe.privacy is None else self.recipe.privacy.augmentations

    @property
    def views(self) -> int:
        """Versions of each image in a batch: those of the objective's first view, then those of its
        second."""
        return self.objective.views * self.augmentations

    @property
    def plain_views(self) -> tuple[int, ...]:
        """Those of the views, counted from 0, that no augmentation of images touches."""
        many = self.augmentations
        return tuple(v * many + k for v in self.objective.plain_views for k in range(many))

    @property
    def images_drawn(self) -> float | None:
        """Images that a step draws on average, where it draws each by chance; None: it shows a
        batch of them, in epochs."""
        return None if self.recipe.privacy is None else privacy.mean_images(self.batch)

    @cached_property
    def passes(self) -> tuple[Pass, ...]:
        """What each image of a batch is sent through, all its augmentations counted."""
        found = self.objective.passes(self.model, self.data.classes)
        return tuple(each._replace(examples=each.examples * self.augmentations) for each in found)

    @cached_property
    def flops(self) -> int:
        """Training FLOPs as if trained alone, as the objective counts them."""
        once = self.objective.flops(self.model, self.images_seen, self.data.classes)
        return once * self.augmentations

    @field_validator("augment")
    @classmethod
    def _without_presets(cls, augment: tuple[Augment, ...]) -> tuple[Augment, ...]:
        return spelled_out(augment)

    @model_validator(mode="after")
    def _whole_batches(self) -> Run:
        check_whole_batches(self.images_seen, self.batch)
        self.recipe.check(self.steps)
        check_noise(self.model, self.recipe)
        check_augment(self.augment)
        if problem := crop_problem(self.augment, self.data.resolution):
            raise ValueError(problem)
        if problem := views_problem(self.augment, self.objective.views):
            raise ValueError(problem)
        if found := list(self.objective.problems(self.setting)):
            raise ValueError(" ".join(found))
        if found := list(private_problems(self)):
            raise ValueError(" ".join(found))
        return self


def private_problems(run: Run) -> Iterator[str]:
    """Why a run cannot be trained as privately as it says, in sentences."""
    recipe = run.recipe
    if recipe.privacy is not None:
        yield from privacy.problems(recipe.privacy, recipe.clip_norm, run.objective, run.setting)


def setting(
    model: Shape,
    data: RunData,
    batch: int,
    data_size: int | None,
    augment: Sequence[Augment],
    *,
    begins_trained: bool,
    resampled: bool,
) -> Setting:
    """What an objective must suit, of a run with these."""
    return Setting(
        model=model,
        classes=data.classes,
        batch=batch,
        data_size=data_size,
        labels_each=data.labels_each,
        augment=tuple(each.kind for each in spelled_out(augment)),
        captioned=data.captioned,
        begins_trained=begins_trained,
        labelled=data.labelled,
        resampled=resampled,
    )


def _mup_name(mup: MuP) -> str:
    """Different for every other `mup`: "muP64", "muP64-head32-depth4-exponent1.0"."""
    plain = MuP(base_width=mup.base_width)
    rest = ("base_head", "base_depth", "depth_exponent")
    said = [
        f"-{key.rpartition('_')[2]}{getattr(mup, key)}"
        for key in rest
        if getattr(mup, key) != getattr(plain, key)
    ]
    return f"muP{mup.base_width}{''.join(said)}"


def check_whole_batches(images_seen: int, batch: int) -> None:
    """Raise ValueError when the last batch would be a part of one."""
    if images_seen % batch:
        below = images_seen - images_seen % batch
        near = f"{below:_} or {below + batch:_}" if below else f"{batch:_}"
        raise ValueError(
            f"images_seen={images_seen:_} is not a whole number of batches of {batch:_}; "
            f"use {near}."
        )


def check_noise(model: Shape, recipe: Recipe) -> None:
    """Raise ValueError when a recipe asks for noise that the model's family does not have."""
    asked = [key for key in ("dropout", "stochastic_depth") if getattr(recipe, key)]
    if isinstance(model, BiTShape) and asked:
        raise ValueError(
            f"{model.name} is a BiT, which has no {' and no '.join(asked)}; train it with "
            f"{', '.join(f'{key} = 0' for key in asked)}."
        )
