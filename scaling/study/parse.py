"""From a study file to a Study, or to every mistake in it, named at once.

The schema checks each key on its own (`study_file.py`); here keys are checked against each
other, against the zoo, and against the data that is really there. Whatever can be checked is
checked, whatever else is wrong.
"""

from __future__ import annotations

import itertools
from importlib.resources import files
from pathlib import Path

from fits.base.errors import UserError
from models.shapes import Shape, ViTShape
from scaling.data.augment import crop_problem
from scaling.study import networks
from scaling.study.axes import Data, check_axes, part
from scaling.study.evaluations import check_evaluations, check_source
from scaling.study.mistakes import listed, near_names
from scaling.study.networks import network, with_mup
from scaling.study.objectives import check_objectives, objectives_of, settings_of
from scaling.study.privacy import check_privacy, check_spent
from scaling.study.reading import Reading
from scaling.study.study import Study
from scaling.study.study_file import Grid, MuPKeys, StudyFile
from scaling.study.toml_lines import KeyPath
from scaling.study.trainings import check_trainings
from scaling.training.initial import Init, problems
from scaling.training.placement_checks import batch_mistakes, network_mistakes, objective_mistakes
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run, check_noise, check_whole_batches

NOISE = {"dropout", "stochastic_depth"}
COOLDOWN = {"cooldown_steps", "cooldown_fraction"}  # either replaces the other


def read_study(
    name_or_path: str | Path, *, data_needed: bool = True, planned: bool = False
) -> Study:
    """The study that comes with the project under this name, or that of a file.

    Args:
      name_or_path: what a person types.
      data_needed: whether to look at the data. Who only looks at results need not have it.
      planned: whether nothing will be trained, so that images may be private.

    Raises:
      UserError: there is no such study, or all that is wrong with it.
    """
    file = Reading(*find(str(name_or_path)))
    file.check_keys()
    data = check_source(file, ("data",), data_needed, planned)
    check_evaluations(file, data, data_needed, planned)
    shapes = networks.check(file, data.resolution)
    for grid in file.tables("grid"):
        _check_family(file, grid, shapes[grid])
        check_axes(file, grid, data)
        _check_crop(file, grid, data)
        if data_needed and data.resolution is not None:
            _check_init(file, grid, shapes[grid])
        check_objectives(file, grid, shapes[grid], data)
        check_privacy(
            file,
            grid,
            _known_recipe(file, grid, {"privacy", "clip_norm"}),
            [objective for _, objective in objectives_of(file, grid) if objective is not None],
            settings_of(file, grid, shapes[grid], data),
        )
        _check_durations(file, grid)
        _check_placement(file, grid, shapes[grid])
    file.raise_mistakes()
    study = _study(file.parse())
    if data_needed:
        check_trainings(file, study)
        check_spent(file, study)
        file.raise_mistakes()
    return study


def _study(file: StudyFile) -> Study:
    """A file without mistakes as a study; a run that several grids name is kept once."""
    runs = [run for grid in file.grid for run in _runs(file, grid)]
    once = {run.id: run for run in runs}
    return Study(
        name=file.name,
        question=file.question,
        runs=tuple(once.values()),
        evaluate=file.evaluate,
        placement=file.placement,
        checkpoints=file.checkpoints,
        launcher=file.launcher.model_dump(exclude_unset=True),
        compute_open=file.compute == "auto",
    )


def _runs(file: StudyFile, grid: Grid) -> list[Run]:
    recipe = _changed(file.recipe, grid.recipe)
    shapes = {
        model: network(model, file.models.get(model), file.data.resolution, grid.mup)
        for model in grid.model
    }
    return [
        Run(
            model=shapes[model],
            objective=objective or file.objective,
            data=part(file.data, subset),
            data_size=data_size,
            resample=resample,
            recipe=recipe,
            images_seen=images_seen,
            compute="float32" if file.compute == "auto" else file.compute,
            augment=grid.augment,
            batch=batch,
            seed=seed,
            init=grid.init,
        )
        for model, subset, data_size, resample, images_seen, batch, seed, objective in (
            itertools.product(
                grid.model,
                grid.subset,
                grid.data_size,
                grid.resample,
                grid.images_seen,
                grid.batch,
                grid.seed,
                grid.objective,
            )
        )
    ]


def _changed(recipe: Recipe, changes: Recipe) -> Recipe:
    """`recipe` with every key that was written down in `changes`."""
    new = {key: getattr(changes, key) for key in changes.model_fields_set}
    old = {key: getattr(recipe, key) for key in recipe.model_fields_set}
    if new.keys() & COOLDOWN:
        old = {key: value for key, value in old.items() if key not in COOLDOWN}
    return Recipe(**old | new)


def _check_family(file: Reading, grid: KeyPath, trained: dict[KeyPath, Shape | None]) -> None:
    """Keys of a grid that are for some families are not asked of the others."""
    recipe = _known_recipe(file, grid, NOISE)
    for place, shape in trained.items():
        try:
            if recipe is not None and shape is not None:
                check_noise(shape, recipe)
        except ValueError as error:
            file.mistake(place, str(error))
    keys, known = file.at(grid), [shape for shape in trained.values() if shape is not None]
    if "mup" not in keys or file.lost((*grid, "mup")) or len(known) < len(keys.get("model", ())):
        return
    if not any(isinstance(shape, ViTShape) for shape in known):
        file.mistake((*grid, "mup"), "is for ViTs, and this grid has none; leave it out.")


def _check_init(file: Reading, grid: KeyPath, trained: dict[KeyPath, Shape | None]) -> None:
    """What a grid's networks are to begin with is there, and fits each of them."""
    place = (*grid, "init")
    init = file.part(Init, place) if "init" in file.at(grid) else None
    if init is None or file.doubtful(place, Init) or file.spoilt((*grid, "mup")):
        return
    mup = file.part(MuPKeys, (*grid, "mup")) if "mup" in file.at(grid) else None
    for shape in trained.values():
        if shape is not None:
            for problem in problems(init, with_mup(shape, mup)):
                file.mistake(place, problem)


def _check_crop(file: Reading, grid: KeyPath, data: Data) -> None:
    """A grid's crop can be cut out of images of the data's resolution."""
    known = file.part(Grid, grid) if "augment" in file.at(grid) else None
    if known is None or data.resolution is None or "augment" in file.doubtful(grid, Grid):
        return
    if problem := crop_problem(known.augment, data.resolution):
        file.mistake((*grid, "augment"), problem)


def _check_durations(file: Reading, grid: KeyPath) -> None:
    """Each number of images is whole batches, and long enough for warm-up and cooldown."""
    recipe = _known_recipe(file, grid, {"warmup_steps", "schedule", "stairs", *COOLDOWN})
    durations = list(file.values(grid, "images_seen"))
    for (place, images_seen), (_, batch) in itertools.product(
        durations, list(file.values(grid, "batch"))
    ):
        try:
            check_whole_batches(images_seen, batch)
        except ValueError as error:
            file.mistake(place, str(error))
        try:
            if recipe is not None and images_seen >= batch:
                recipe.check(images_seen // batch)
        except ValueError as error:
            file.mistake(place, str(error))


def _check_placement(file: Reading, grid: KeyPath, trained: dict[KeyPath, Shape | None]) -> None:
    """Networks have the step that `[placement]` names, and batches divide as it says."""
    spec = file.part(PlacementSpec, ("placement",))
    if spec is None or file.doubtful(("placement",), PlacementSpec):
        return
    for place, shape in trained.items():
        for mistake in network_mistakes(spec, shape) if shape is not None else ():
            file.mistake(place, mistake)
    for place, objective in objectives_of(file, grid):
        if objective is None or file.doubtful(place, type(objective)):
            continue
        for mistake in objective_mistakes(spec, objective):
            file.mistake(place, mistake)
    for place, batch in file.values(grid, "batch"):
        for mistake in batch_mistakes(spec, batch) if isinstance(batch, int) else ():
            file.mistake(place, mistake)


def _known_recipe(file: Reading, grid: KeyPath, keys: set[str]) -> Recipe | None:
    """The recipe of a grid, if what it says of these keys is beyond doubt."""
    places = (("recipe",), (*grid, "recipe"))
    recipe, changes = (file.part(Recipe, place) for place in places)
    if recipe is None or changes is None:
        return None
    doubtful = set().union(*(file.doubtful(place, Recipe) for place in places))
    return None if doubtful & keys else _changed(recipe, changes)


def find(name: str) -> tuple[str, str]:
    """Label and text of the built-in study of this name, or else of the file of this path."""
    folder = files("scaling").joinpath("studies")
    built_in = sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".toml"))
    if name in built_in:
        return f"{name}.toml", folder.joinpath(f"{name}.toml").read_text(encoding="utf-8")
    path = Path(name)
    try:
        return name, path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
    except FileNotFoundError:
        near = near_names(name, [*built_in, *map(str, path.parent.glob("*.toml"))])
        raise UserError(
            [
                f"{name} is neither a study that comes with the project ({listed(built_in)}) "
                f"nor a file." + (f" Did you mean {listed(near)}?" if near else "")
            ]
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            [f"{name}: byte {error.start} is not UTF-8; this is no text file."]
        ) from None
    except OSError as error:
        raise UserError([f"{name} cannot be read: {error.strerror}."]) from None
