"""What tells runs of a study apart that a table's own columns do not: augmentation, recipe, batch.

A field makes variants where two runs agree in model, data and duration, and differ in it. One that
goes with the model, as a learning rate that each size has of its own, makes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from scaling.base.config import Config, contents, flat
from scaling.training.run import Run

FIELDS = ("batch", "resample", "augment", "objective", "init", "recipe")


def variants(runs: Sequence[Run]) -> dict[str, str]:
    """By the id of each run what it is a variant by, in words: "augment=random_crop+flip, batch=9".

    "" where nothing but model, data, duration and seed tells runs apart.
    """
    return {run: said([fields]) for run, fields in variant_fields(runs).items()}


def said(several: Sequence[Mapping[str, str]]) -> str:
    """In words, the fields in which these variants agree."""
    first, *others = several
    return ", ".join(
        f"{name}={value}"
        for name, value in first.items()
        if all(each.get(name) == value for each in others)
    )


def variant_fields(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """By the id of each run the fields that it is a variant by, each in words."""
    ordered = sorted(runs, key=_alike)
    groups = [list(group) for _, group in groupby(ordered, key=_alike)]
    differ = [name for name in FIELDS if any(_differ(group, name) for group in groups)]
    if not differ:
        return {run.id: {} for run in runs}
    words = {run.id: _words(run, differ) for run in runs}
    shown = {
        name
        for group in groups
        for name in {name for run in group for name in words[run.id]}
        if len({words[run.id].get(name) for run in group}) > 1
    }
    return {
        run: {name: value for name, value in each.items() if name in shown}
        for run, each in words.items()
    }


def _alike(run: Run) -> tuple[Any, ...]:
    return run.model_name, run.data.subset, run.data_size or 0, run.images_seen


def _differ(runs: Sequence[Run], name: str) -> bool:
    return any(getattr(run, name) != getattr(runs[0], name) for run in runs[1:])


def _words(run: Run, names: Sequence[str]) -> dict[str, str]:
    """The fields of these names, by their paths; a table with a `kind` is one field."""
    found: dict[str, str] = {}
    for name in names:
        value = getattr(run, name)
        if name == "recipe":
            leaves = flat(value.model_dump(mode="json"), name)
            found |= {path: _brief(leaf) for path, leaf in leaves}
        else:
            found[name] = _brief(value)
    return found


def _brief(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_brief, value)) or "none"
    if isinstance(value, Config):
        return _brief(contents(value))
    if isinstance(value, dict):
        said = dict(value)
        kind = said.pop("kind", "")
        inside = ", ".join(f"{name.rstrip('_')}={_brief(each)}" for name, each in said.items())
        return f"{kind}({inside})" if inside else kind
    if isinstance(value, list):
        return "+".join(map(_brief, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
