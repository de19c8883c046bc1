"""Robustness to common corruptions, made on the fly."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from fits.base.names import did_you_mean
from scaling.base.config import Clash, HomePath
from scaling.data import Source
from scaling.evaluate.frozen.own_head import HeadFault, OwnHead
from scaling.evaluate.frozen.tasks import NAME
from scaling.evaluate.measured import Measured
from scaling.evaluate.metrics import labelled, mean_corruption_error, top_error
from scaling.training.run import RunData

if TYPE_CHECKING:
    from flax import nnx

    from scaling.training.placement import Placement

Kind: TypeAlias = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]
ALL: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
HEADER = ["corruption", "error"]


class Corruptions(OwnHead):
    """Top-1 error of the network's own classifier on corrupted held-out images.

    `<name>_<corruption>_error` is the mean over severities, `<name>_error` that of all corruptions,
    and with a `reference` `<name>_mce` is the mean corruption error, in multiples of the
    reference's (Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common
    corruptions and perturbations"). Images are corrupted at the network's resolution as
    they are looked at, by the formulas of docs/evaluation/metrics.md: they are not the published
    ImageNet-C, and `frost` is a stand-in.
    """

    kind: Literal["corruptions"] = "corruptions"
    name: str = NAME
    """Names the metrics."""
    data: Source | None = None
    """Whose held-out images; left out, those of `[data]`."""
    corruptions: tuple[Kind, ...] = Field(ALL, min_length=1)
    """Which."""
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field((1, 2, 3, 4, 5), min_length=1)
    """How strong, from 1 to 5."""
    reference: HomePath | None = None
    """A .csv (`corruption,error`) or .toml (`fog = 0.82`) with the mean error over these severities
    of another network on each corruption, in 0 .. 1. Left out, there is no `<name>_mce`."""

    def clashes(self) -> Iterator[Clash]:
        for key in ("corruptions", "severities"):
            given = getattr(self, key)
            if len(set(given)) < len(given):
                yield Clash((key,), f"{key} names one twice; write it once.")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""
        relative = () if self.reference is None else (f"{self.name}_mce",)
        return (*self.errors, *relative)

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""
        return (f"{self.name}_error", *(f"{self.name}_{each}_error" for each in self.corruptions))

    def source(self, trained_on: RunData | None) -> RunData | None:
        return self.data or trained_on

    def faults(
        self, source: RunData, classes: int, names: Sequence[str] | None = None
    ) -> Iterator[HeadFault]:
        yield from super().faults(source, classes, names)
        try:
            if self.reference is not None:
                read_reference(self.reference, self.corruptions)
        except ValueError as error:
            yield HeadFault(("reference",), str(error))

    def measure(
        self,
        module: nnx.Module,
        *,
        objective: Any,
        source: RunData,
        placement: Placement | None = None,
    ) -> list[Measured]:
        """Each error, n = images of one corruption and severity: those that have a label."""
        from scaling.data.source import sample
        from scaling.evaluate.corrupted import Corrupted
        from scaling.evaluate.frozen.forward import scores

        shown = self.source(source)
        assert shown is not None
        heldout = shown.heldout()
        count = self.images or heldout.size
        assert count is not None  # held-out images come to an end
        chosen = sample(heldout, count)
        errors: dict[str, float] = {}
        n = 0
        for corruption in self.corruptions:
            found = []
            for severity in self.severities:
                images = Corrupted(heldout, corruption, severity)
                said, labels = scores(module, objective, images, chosen, placement)
                found.append(top_error(said, labels))
                n = int(np.count_nonzero(labelled(labels)))
            errors[corruption] = fmean(found)
        rows = [Measured(f"{self.name}_error", fmean(errors.values()), n)]
        rows += [Measured(f"{self.name}_{each}_error", error, n) for each, error in errors.items()]
        if self.reference is not None:
            reference = read_reference(self.reference, self.corruptions)
            rows.append(Measured(f"{self.name}_mce", mean_corruption_error(errors, reference), n))
        return rows


def read_reference(path: Path, corruptions: tuple[str, ...]) -> dict[str, float]:
    """The errors of a reference network, by corruption.

    Raises:
      ValueError: what is wrong with the file, in words.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        given = _of_csv(text) if path.suffix.lower() == ".csv" else tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be understood: {error}") from None
    if strange := [name for name in given if name not in ALL]:
        meant = did_you_mean(strange[0], ALL)
        raise ValueError(f"{path}: there is no corruption {strange[0]!r}. {meant}".rstrip())
    if missing := [name for name in corruptions if name not in given]:
        raise ValueError(f"{path}: has no error for {', '.join(missing)}.")
    for name, rate in given.items():
        if type(rate) not in (int, float) or not 0 < rate <= 1:
            raise ValueError(f"{path}: {name} is {rate}; give an error above 0 and at most 1.")
    return {name: float(given[name]) for name in corruptions}


def _of_csv(text: str) -> dict[str, Any]:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not rows or rows[0] != HEADER or any(len(row) != 2 for row in rows):
        raise ValueError(f"its lines are {','.join(HEADER)}, the first of them in these words.")
    return {name.strip(): float(error) for name, error in rows[1:]}
