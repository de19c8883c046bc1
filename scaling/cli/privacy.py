"""The command `scaling privacy`: it parses and prints; `scaling.training.accounting` counts."""

from __future__ import annotations

from typing import Annotated

import typer

from fits.base.errors import UserError
from scaling.cli.options import Json
from scaling.cli.output import write_json


def privacy(
    images: Annotated[int, typer.Option(min=1, help="Images of the training set.")],
    batch: Annotated[int, typer.Option(min=1, help="The run's batch.")],
    steps: Annotated[int, typer.Option(min=1, help="Steps of the longest run.")],
    delta: Annotated[float, typer.Option(help="Probability with which epsilon may not hold.")],
    epsilon: Annotated[float | None, typer.Option(help="What may be spent.")] = None,
    noise_multiplier: Annotated[
        float | None, typer.Option(help="Noise, in units of clip_norm.")
    ] = None,
    json_file: Json = None,
) -> None:
    """What a private training spends, or the noise that spends no more than --epsilon.

    Give --epsilon or --noise-multiplier; the other is found. The noise multiplier goes into a
    study's [recipe] as privacy = { noise_multiplier = N, delta = D }: a part of what its runs are,
    so that those which differ only in images_seen share a trunk. Find it for the longest of them;
    shorter ones spend less. See docs/training/privacy.md.
    """
    from scaling.training.accounting import epsilon_of, noise_for
    from scaling.training.privacy import LEAST_NOISE, largest_delta, mean_images

    mean = mean_images(batch)
    mistakes = []
    if (epsilon is None) == (noise_multiplier is None):
        mistakes.append("give one of --epsilon and --noise-multiplier; the other is found.")
    if not 0 < delta < 1 / images:
        mistakes.append(
            f"--delta {delta:g}: a probability above 0 and below 1 / images, which is "
            f"{largest_delta(images):g} for {images:_}."
        )
    if epsilon is not None and not epsilon > 0:
        mistakes.append(f"--epsilon {epsilon:g}: a number above 0.")
    if noise_multiplier is not None and not LEAST_NOISE <= noise_multiplier <= 1e4:
        mistakes.append(f"--noise-multiplier {noise_multiplier:g}: from {LEAST_NOISE} to 10000.")
    if images < mean:
        mistakes.append(
            f"--batch {batch}: {mean:.1f} images a step on average, and there are {images:_}; use "
            "a smaller batch."
        )
    if mistakes:
        raise UserError(mistakes)
    if noise_multiplier is None:
        assert epsilon is not None
        noise_multiplier = noise_for(epsilon, delta, batch, images, steps)
    found = epsilon_of(noise_multiplier, delta, batch, images, steps)
    if json_file is not None:
        write_json(
            {
                "noise_multiplier": noise_multiplier,
                "epsilon": found,
                "delta": delta,
                "images": images,
                "batch": batch,
                "images_a_step": mean,
                "steps": steps,
            },
            json_file,
        )
    if json_file != "-":
        print(
            f"noise_multiplier = {noise_multiplier:g}: epsilon = {found:.4g} at delta = {delta:g} "
            f"after {steps:_} steps of {mean:.1f} of {images:_} images on average."
        )
