"""Devices that a study may be trained on: what a plan needs to know of each kind. Knows no JAX."""

from __future__ import annotations

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


TPU_PAGES = "Google Cloud, TPU system architecture"
KINDS = {
    kind.name: kind
    for kind in (
        # `hbm` of v3 is what the compiler of libtpu 0.0.52 allows; of the others, the capacity.
        DeviceKind(
            name="v2",
            platform="tpu",
            dimensions=2,
            cores=2,
            hbm=8 * GIB,
            peak=22.5e12,
            source=TPU_PAGES,
        ),
        DeviceKind(
            name="v3",
            platform="tpu",
            dimensions=2,
            cores=2,
            hbm=15.48 * GIB,
            peak=61.5e12,
            source=TPU_PAGES,
        ),
        DeviceKind(
            name="v4",
            platform="tpu",
            dimensions=3,
            cores=1,
            hbm=32 * GIB,
            peak=275e12,
            source=TPU_PAGES,
        ),
        DeviceKind(
            name="v5e",
            platform="tpu",
            dimensions=2,
            cores=1,
            hbm=16 * GIB,
            peak=197e12,
            source=TPU_PAGES,
        ),
        DeviceKind(
            name="v5p",
            platform="tpu",
            dimensions=3,
            cores=1,
            hbm=95 * GIB,
            peak=459e12,
            source=TPU_PAGES,
        ),
        DeviceKind(
            name="v6e",
            platform="tpu",
            dimensions=2,
            cores=1,
            hbm=32 * GIB,
            peak=918e12,
            source=TPU_PAGES,
        ),
    )
}


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
    chips = 1
    for side in shape.split("x"):
        chips *= int(side)
    return Topology(name, kind, chips * kind.cores)
