"""What the private runs of a study will spend, in a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fits.base.errors import UserError
from scaling.study.study import Study
from scaling.training.accounting import spent
from scaling.training.run import Run


def privacy_remarks(study: Study) -> Iterator[str]:
    """Of the longest run of each noise, batch and set of images: it spends the most."""
    longest: dict[Any, Run] = {}
    for run in study.runs:
        kind = run.recipe.privacy, run.batch, run.data, run.data_size
        if run.recipe.privacy is not None and run.recipe.privacy.noise_multiplier:
            longest[kind] = max(run, longest.get(kind, run), key=lambda each: each.steps)
    for run in longest.values():
        assert run.recipe.privacy is not None
        noise = run.recipe.privacy.noise_multiplier
        try:
            found = spent(run)
        except UserError as error:  # which a launch refuses
            yield " ".join(error.mistakes)
            continue
        assert found is not None
        yield (
            f"Privacy: epsilon = {found.epsilon:.4g} at delta = {found.delta:g} after "
            f"{run.steps:_} steps at noise_multiplier = {noise:g}, batch {run.batch:_}, of "
            f"{found.images:_} images; shorter runs spend less."
        )
