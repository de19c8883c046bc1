"""How a run is optimised, as a configuration, and the learning rate over time.

The defaults are those of Zhai et al. 2022, "Scaling Vision Transformers" (sections 3.1, 3.4, 3.5
and appendix C). `optimizer.py` makes an optimizer of a recipe; this file needs no JAX.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from fits.base.counted import counted
from scaling.base.config import Clash, Config, NoneAs
from scaling.training.privacy import Privacy

Norm: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay: TypeAlias = Annotated[float, Field(gt=0, lt=1)]


class Recipe(Config):
    """Optimizer, weight decay and schedule of one run, all durations in steps."""

    optimizer: Literal["adafactor", "adafactor-f32", "adam", "adam-bf16", "sgd", "sgd-bf16"] = (
        "adafactor"
    )
    """`adafactor`: factored second moment, bf16 momentum, 2 bytes a parameter; `adafactor-f32`:
    its momentum in f32, 4 bytes; `adam`: two f32 moments, 8 bytes; `adam-bf16`: the first of the
    two in bf16, 6 bytes; `sgd`: heavy-ball momentum `beta1` in f32, 4 bytes; `sgd-bf16`: in bf16,
    2 bytes."""
    learning_rate: float = Field(default=8e-4, gt=0, allow_inf_nan=False)
    """Peak learning rate, reached at the end of the warm-up."""
    weight_decay_head: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Decay of the classifier's kernel, multiplied by learning rate and schedule."""
    weight_decay_body: float = Field(default=0.03, ge=0, allow_inf_nan=False)
    """Decay of every other kernel; biases, norms, position table and MAP probe have none."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay a step of the first moment."""
    beta2: float = Field(default=0.999, gt=0, lt=1)
    """Decay a step of the second moment; Adafactor grows towards it as 1 - t^-0.8."""
    clip_norm: Annotated[Norm | None, NoneAs("none")] = 1.0
    """Largest global norm of the gradient; none: no clipping."""
    clip_by: Literal["current", "previous"] = "current"
    """Which norm decides how much is clipped: that of the gradient itself, or that of the previous
    step's (the first step: its own), which a fused step knows before its only backward pass."""
    warmup_steps: int = Field(default=10_000, ge=0)
    """Steps over which the learning rate grows linearly from 0."""
    schedule: Literal["rsqrt", "cosine", "stairs", "constant"] = "rsqrt"
    """After the warm-up. `rsqrt`: falls as 1 / sqrt(step), then linearly to 0 in the cooldown;
    `cosine`: falls to 0 as half a cosine; `stairs`: is multiplied by `stair_factor` at each of
    `stairs`; `constant`: stays. `timescale_steps` and the cooldown are of `rsqrt` alone."""
    stairs: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.3, 0.6, 0.9), min_length=1)
    """Parts of the run, warm-up included, after which `stairs` goes down; BiT-HyperRule's."""
    stair_factor: float = Field(default=0.1, gt=0, lt=1)
    """By which the learning rate is multiplied at each."""
    timescale_steps: int = Field(default=10_000, gt=0)
    """After the warm-up the rate is 1 / sqrt(1 + (step - warmup_steps) / timescale_steps)."""
    cooldown_steps: int | None = Field(default=None, ge=1)
    """Steps of the linear cooldown to 0; instead of `cooldown_fraction`."""
    cooldown_fraction: float | None = Field(default=0.2, gt=0, le=1)
    """The cooldown as a fraction of the run, warm-up included. A grid's durations span decades,
    so a fraction, beyond a fifth of which nothing is gained (Hägele et al. 2024), is the default;
    the paper itself cools for 10_000 steps (runs up to 60_000 steps) or 50_000 (longer runs)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability with which a feature is set to zero in training: of the embedded patches, inside
    each MLP and of each residual branch. The paper's upstream training has none."""
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1)
    """Probability with which a training image skips attention, and MLP, of the last block; it
    grows linearly from 0 in the first block (Huang et al. 2016). The paper has none."""
    polyak: Annotated[Decay | None, NoneAs("none")] = None
    """Polyak averaging: after each update, average = polyak * average + (1 - polyak) * parameters.
    It begins as the parameters do, takes 4 bytes a parameter, and is what evaluations, conversions
    and later runs see. ViT fine-tuning has 0.9999 (Dosovitskiy et al. 2021); the paper averages
    when it fine-tunes ViT-G."""
    privacy: Privacy | None = None
    """Differentially private training, `{ noise_multiplier = 3.0, delta = 1e-5 }`
    (docs/training/privacy.md); left out, none. It needs `clip_norm = "none"`."""

    @model_validator(mode="before")
    @classmethod
    def _steps_replace_the_default_fraction(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("cooldown_steps") is not None:
            return {"cooldown_fraction": None, **given}
        return given

    def clashes(self) -> Iterator[Clash]:
        if (self.cooldown_steps is None) == (self.cooldown_fraction is None):
            yield Clash(
                ("cooldown_steps", "cooldown_fraction"),
                f"cooldown_steps={self.cooldown_steps} and "
                f"cooldown_fraction={self.cooldown_fraction}: give exactly one of the two.",
            )
        if list(self.stairs) != sorted(set(self.stairs)):
            yield Clash(
                ("stairs",),
                f"stairs={list(self.stairs)}: each is to come after the one before it.",
            )

    def cooldown(self, total_steps: int) -> int:
        """Steps at the end of a run of `total_steps` whose learning rate depends on that number,
        >= 1: before them all runs that differ only in duration are one."""
        match self.schedule:
            case "cosine":
                return max(1, total_steps - self.warmup_steps)
            case "stairs":
                return max(1, total_steps - round(self.stairs[0] * total_steps))
            case "constant":
                return 1
        if self.cooldown_steps is not None:
            return self.cooldown_steps
        assert self.cooldown_fraction is not None  # clashes
        return max(1, round(self.cooldown_fraction * total_steps))

    def check(self, total_steps: int) -> None:
        """Raise ValueError when warm-up and cooldown do not both fit into `total_steps`."""
        cooldown = self.cooldown(total_steps)
        room = total_steps - cooldown
        if room < self.warmup_steps:
            remedy = f"warmup_steps <= {room:_}" if room >= 0 else "a shorter cooldown"
            end = "a cooldown" if self.schedule == "rsqrt" else "an end"
            raise ValueError(
                f"warmup_steps={self.warmup_steps:_} and {end} of "
                f"{counted(cooldown, 'step', form='_')} do not fit into a run of "
                f"{total_steps:_}; use {remedy}, or train longer."
            )


def schedule(recipe: Recipe, step: int, total_steps: int | None) -> float:
    """Fraction of the peak learning rate with which update number `step` is applied.

        warm-up   step / warmup_steps
        rsqrt     1 / sqrt(1 + (step - warmup_steps) / timescale_steps), in the cooldown times
                  (total_steps - step) / cooldown
        cosine    (1 + cos(pi (step - warmup_steps) / (total_steps - warmup_steps))) / 2
        stairs    stair_factor ^ (number of stairs s with step >= round(s total_steps))
        constant  1

    Before the last `Recipe.cooldown` steps the value does not depend on `total_steps`, not even in
    its last bit: runs that differ only in duration share everything up to there.

    Args:
      step: updates already made, >= 0; after a warm-up's first, at 0, nothing has changed.
      total_steps: updates in the whole run; None for the trunk, which knows no end.

    Returns:
      A number in [0, 1]; 0 from `total_steps` on, save of `stairs` and `constant`.

    Source: Zhai et al. 2022, section 3.5; big_vision's `create_learning_rate_schedule`.
    """
    if step < recipe.warmup_steps:
        rate = step / recipe.warmup_steps
    elif recipe.schedule == "rsqrt":
        rate = 1 / math.sqrt(1 + (step - recipe.warmup_steps) / recipe.timescale_steps)
    else:
        rate = 1.0
    if total_steps is None:
        return rate
    return rate * _towards_the_end(recipe, step, total_steps)


def _towards_the_end(recipe: Recipe, step: int, total_steps: int) -> float:
    """What a run of so many steps multiplies the trunk's value with."""
    match recipe.schedule:
        case "rsqrt":
            return min(1.0, max(0, total_steps - step) / recipe.cooldown(total_steps))
        case "cosine":
            after = max(0, step - recipe.warmup_steps)
            return (1 + math.cos(math.pi * min(1.0, after / recipe.cooldown(total_steps)))) / 2
        case "stairs":
            passed = sum(step >= round(part * total_steps) for part in recipe.stairs)
            return recipe.stair_factor**passed
        case "constant":
            return 1.0
