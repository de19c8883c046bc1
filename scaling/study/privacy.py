"""Private training in a study file: what it cannot be of, and what it would spend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fits.base.errors import UserError
from scaling.data.source import SourceConfig
from scaling.evaluate.privacy import Privacy
from scaling.objectives.config import ObjectiveConfig, Setting
from scaling.study.reading import Reading
from scaling.study.study import Study
from scaling.study.toml_lines import KeyPath
from scaling.training.accounting import check_installed, spent
from scaling.training.privacy import FUSED_PRIVATE, problems
from scaling.training.recipe import Recipe
from scaling.training.run import Run

PRIVACY = ("recipe", "privacy")


def check_privacy(
    file: Reading,
    grid: KeyPath,
    recipe: Recipe | None,
    objectives: Iterable[ObjectiveConfig],
    settings: Iterable[Setting],
) -> None:
    """Notes why a grid cannot be trained as privately as its recipe says.

    Args:
      recipe: of the grid; None: what it says of privacy is in doubt.
      objectives, settings: of the grid.
    """
    if recipe is None or recipe.privacy is None:
        return
    settings = list(_counted(settings))
    found = dict.fromkeys(
        problem
        for objective in objectives
        for setting in settings
        for problem in problems(recipe.privacy, recipe.clip_norm, objective, setting)
    )
    if any(setting.data_size is None for setting in settings):
        found["privacy: there is no end to the training images; give a data_size."] = None
    if file.at(("placement",)).get("update") == "fused":
        found[FUSED_PRIVATE] = None
    for problem in found:
        file.mistake(_place(file, grid), problem)


def _counted(settings: Iterable[Setting]) -> Iterator[Setting]:
    """The same with the images that there are where no `data_size` is given; None: no end."""
    sizes: dict[SourceConfig, int | None] = {}
    for setting in settings:
        if setting.data_size is None and (source := setting.source) is not None:
            if source not in sizes:
                sizes[source] = source.sizes()[0]
            setting = setting._replace(data_size=sizes[source])
        yield setting


def check_spent(file: Reading, study: Study) -> None:
    """Notes what the private runs of a study without mistakes would spend beyond what they may."""
    private = [run for run in study.runs if run.recipe.privacy is not None]
    try:
        if private:
            check_installed()
    except UserError as error:
        file.mistake(PRIVACY, " ".join(error.mistakes))
        return
    for words in dict.fromkeys(_beyond(private)):
        file.mistake(PRIVACY, words)
    for place, evaluation in zip(file.tables("evaluate"), study.evaluate, strict=True):
        if isinstance(evaluation, Privacy) and not all(map(_spends, study.runs)):
            file.mistake(
                place,
                "is measured of every run, and some of this study's add no noise, so that no "
                "epsilon holds of them; leave this out (manifest.json tells that of private "
                "ones), or give them a study of their own.",
            )


def _beyond(runs: Iterable[Run]) -> Iterator[str]:
    for run in runs:
        if run.recipe.privacy is not None and run.recipe.privacy.epsilon is not None:
            try:
                spent(run)
            except UserError as error:
                yield " ".join(error.mistakes)


def _spends(run: Run) -> bool:
    """Whether an epsilon holds of it."""
    return run.recipe.privacy is not None and run.recipe.privacy.noise_multiplier > 0


def _place(file: Reading, grid: KeyPath) -> KeyPath:
    """Where a grid's privacy is written."""
    own = file.at((*grid, "recipe"))
    return (*grid, *PRIVACY) if isinstance(own, dict) and "privacy" in own else PRIVACY
