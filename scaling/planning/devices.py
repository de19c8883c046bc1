"""Devices that a study may be trained on: what a plan needs to know of each kind. Knows no JAX."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from fits.base.errors import UserError
from fits.base.names import did_you_mean

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class DeviceKind:
    """One kind of device, as JAX counts devices: a core of TPU v2 and v3, a chip of later ones.

    Fields:
      name: as in a topology's name.
      platform: of JAX.
      dimensions: of a topology's name, 2 for AxB.
      cores: devices a chip.
      hbm: bytes that a program can use.
      peak: FLOP/s of bf16 products.
      source: where the peak is from.
    """

    name: str
    platform: str
    dimensions: int
    cores: int
    hbm: float
    peak: float
    source: str


def _tpu(name: str, dimensions: int, cores: int, gib: float, tflops: float) -> DeviceKind:
    """A kind of TPU: memory and peak of one device."""
    return DeviceKind(
        name=name,
        platform="tpu",
        dimensions=dimensions,
        cores=cores,
        hbm=gib * GIB,
        peak=tflops * 1e12,
        source="Google Cloud, TPU system architecture",
    )


# v3's memory is what the compiler of libtpu 0.0.52 allows; that of the others is the capacity.
_TPUS = (
    _tpu("v2", dimensions=2, cores=2, gib=8, tflops=22.5),
    _tpu("v3", dimensions=2, cores=2, gib=15.48, tflops=61.5),
    _tpu("v4", dimensions=3, cores=1, gib=32, tflops=275),
    _tpu("v5e", dimensions=2, cores=1, gib=16, tflops=197),
    _tpu("v5p", dimensions=3, cores=1, gib=95, tflops=459),
    _tpu("v6e", dimensions=2, cores=1, gib=32, tflops=918),
)
KINDS = {kind.name: kind for kind in _TPUS}


@dataclass(frozen=True)
class Topology:
    """A slice of devices, say v3:2x2, which has 4 chips and 8 devices."""

    name: str
    kind: DeviceKind
    devices: int


def topology(name: str) -> Topology:
    """The slice of this name.

    Raises:
      UserError: there is no such kind, or its slices have other dimensions.
    """
    kind_name, _, shape = name.partition(":")
    kind = KINDS.get(kind_name)
    if kind is None:
        raise UserError(
            [
                f"--on: no devices '{kind_name}' are known. {did_you_mean(kind_name, KINDS)}"
                f"There are {', '.join(KINDS)}; write v3:2x2."
            ]
        )
    example = "x".join("2" * kind.dimensions)
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)" + f"{{{kind.dimensions - 1}}}", shape):
        raise UserError(
            [
                f"--on: '{name}' is no slice of {kind.name}, which has {kind.dimensions} "
                f"dimensions. Write {kind.name}:{example}."
            ]
        )
    chips = math.prod(map(int, shape.split("x")))
    return Topology(name, kind, chips * kind.cores)
