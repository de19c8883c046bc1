"""What real training steps took on real devices: a file of measurements that plans read.

One line of JSON a measurement. A line is appended by a single write, so that workers that end at
the same time do not mix theirs; a line that is damaged, or says what no training can have taken, is
passed over. Knows no JAX.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scaling.base.machine import cache_folder
from scaling.planning.published import interpolated

FILE = "calibration.jsonl"
HEADS = 0.1  # of FLOPs an image, by which heads of other classes may tell equal networks apart
Positive: TypeAlias = Annotated[float, Field(ge=1e-12, le=1e30)]
"""Far beyond what there is, and near enough that rates and their ratios are finite and above 0."""
Count: TypeAlias = Annotated[int, Field(ge=1, le=10**9)]


class Measurement(BaseModel):
    """One training step as it was timed; checked where it is born.

    Fields:
      device_kind: as JAX names it; of a CPU, the processor's model.
      platform: of JAX.
      model: its name.
      compute: dtype of the blocks.
      remat, update, fsdp: how the step is computed.
      images_per_device: of a batch.
      devices: that trained together.
      flops_an_image: useful ones, of training on one image.
      seconds: a step; the median of many.
      peak_bytes: most memory in use on a device; None: the device does not tell.
      versions: of the packages that decide it.

    Raises:
      ValidationError: a field of another type, or a number that is not finite or not above 0.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    device_kind: str
    platform: str
    model: str
    compute: str
    remat: str
    update: str
    images_per_device: Positive
    devices: Count
    flops_an_image: Positive
    seconds: Positive
    fsdp: Count = 1
    peak_bytes: Annotated[float, Field(ge=0)] | None = None
    versions: dict[str, str] = {}

    @property
    def flops_a_second(self) -> float:
        """Useful ones, of one device."""
        return self.flops_an_image * self.images_per_device / self.seconds


def calibration_file() -> Path:
    """Where measurements are kept."""
    return cache_folder() / FILE


def record(found: Measurement, path: Path | None = None) -> bool:
    """Append a measurement; True when it was written.

    A full disk or a folder that cannot be written loses the measurement, and nothing else.

    Args:
      path: None: `calibration_file`.
    """
    path = calibration_file() if path is None else path
    line = found.model_dump_json() + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def read(path: Path | None = None) -> list[Measurement]:
    """All measurements of a file, in their order; damaged lines are passed over."""
    try:
        text = (calibration_file() if path is None else path).read_text(errors="replace")
    except OSError:
        return []
    return [found for line in text.splitlines() if (found := _measurement(line)) is not None]


def _measurement(line: str) -> Measurement | None:
    try:
        return Measurement.model_validate_json(line)
    except ValidationError:
        return None


@dataclass(frozen=True)
class Measured:
    """A rate from measurements.

    Fields:
      flops_a_second: useful ones, of one device.
      count: of the measurements it is the median of.
      same_model: whether the model itself was measured; False: interpolated between others.
    """

    flops_a_second: float
    count: int
    same_model: bool


def nearest(
    measurements: Sequence[Measurement],
    *,
    is_called: Callable[[str], bool],
    compute: str,
    model: str,
    flops_an_image: float,
    preferred: dict[str, Any],
) -> Measured | None:
    """The median of the measurements that are most like a step; None: none is of such a device.

    The device and the dtype must be the same. Then the same model, by its name and about as many
    FLOPs an image, and of those the ones that also agree in what is preferred, if there are any;
    without the model, straight lines in logarithms between the medians of other models.

    Args:
      is_called: whether the name of a device is that of the right kind.
      preferred: fields of a measurement and their values.
    """
    there = [
        each for each in measurements if is_called(each.device_kind) and each.compute == compute
    ]
    if not there:
        return None
    by_model: dict[tuple[str, float], list[Measurement]] = {}
    for each in there:
        by_model.setdefault((each.model, each.flops_an_image), []).append(each)
    named = (each for each in there if each.model == model)
    same = [x for x in named if math.isclose(x.flops_an_image, flops_an_image, rel_tol=HEADS)]
    if same:
        for key, value in preferred.items():
            same = [each for each in same if getattr(each, key) == value] or same
        return Measured(_median(same), len(same), True)
    medians = [(flops, _median(group)) for (_, flops), group in by_model.items()]
    return Measured(interpolated(medians, flops_an_image), len(there), False)


def _median(group: Sequence[Measurement]) -> float:
    return statistics.median(each.flops_a_second for each in group)
