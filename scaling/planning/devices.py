"""Devices that a study may be trained on: what a plan needs to know of each kind. Knows no JAX.

Memory, peak and bandwidths are the makers' own; how much of the peak a training reaches is not
here but in `published.py` and `calibration.py`.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.base.machine import processor
from scaling.planning.described import LIMITS, OWN, described
from scaling.planning.slices import slice_sides

GIB = 2**30
Platform: TypeAlias = Literal["tpu", "gpu", "cpu"]
JAX_TAKES = 0.75  # of a GPU's memory, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise
MOST_DEVICES = int(LIMITS["count"][1])


@dataclass(frozen=True, kw_only=True)
class DeviceKind:
    """One kind of device, as JAX counts devices: a core of TPU v2 and v3, a chip of later ones.

    Fields:
      name: as in a topology's name.
      platform: of JAX.
      jax_names: what JAX calls such a device, in lower case; of a GPU, how that begins.
      pod: chips of the largest pod along each dimension; () where devices are counted.
      cores: devices a chip.
      hbm: bytes that a program can use.
      peak: FLOP/s of bf16 products; None: not known, as of a CPU.
      bandwidth: bytes/s between the device and its memory; None: not known.
      link: bytes/s that a device sends in a ring of all devices, while it receives as many; None:
        not known.
      source: where the numbers are from.
      efficiency: share of the peak that training reaches, where a user gave it.
    """

    name: str
    platform: Platform
    hbm: float
    jax_names: tuple[str, ...] = ()
    pod: tuple[int, ...] = ()
    cores: int = 1
    peak: float | None = None
    bandwidth: float | None = None
    link: float | None = None
    source: str = "as given"
    efficiency: float | None = None

    def is_called(self, name: str) -> bool:
        """Whether JAX names a device of this kind so; a processor has its model's name."""
        lower = name.lower()
        if self.platform == "gpu":
            return any(re.match(rf"{re.escape(each)}\b", lower) for each in self.jax_names)
        return lower in self.jax_names


def _tpu(
    name: str,
    *jax_names: str,
    pod: tuple[int, ...],
    gib: float,
    tflops: float,
    gb_s: float,
    link_gb_s: float,
    cores: int = 1,
) -> DeviceKind:
    """A kind of TPU: all numbers are of one device."""
    return DeviceKind(
        name=name,
        platform="tpu",
        jax_names=jax_names,
        pod=pod,
        cores=cores,
        hbm=gib * GIB,
        peak=tflops * 1e12,
        bandwidth=gb_s * 1e9,
        link=link_gb_s * 1e9,
        source="Google Cloud, TPU system architecture; Austin et al. 2025, How to Scale Your Model",
    )


# v3's memory is what the compiler of libtpu 0.0.52 allows; that of the others is the capacity.
# A link is one axis of the torus, to both neighbours; the two cores of a v2 or v3 chip share it.
# Pods: Google Cloud, TPU system architecture, a page of each kind.
_TPUS = (
    _tpu("v2", "tpu v2", pod=(16, 16), cores=2, gib=8, tflops=22.5, gb_s=350, link_gb_s=62),
    _tpu("v3", "tpu v3", pod=(32, 32), cores=2, gib=15.48, tflops=61.5, gb_s=450, link_gb_s=82),
    _tpu("v4", "tpu v4", pod=(16, 16, 16), gib=32, tflops=275, gb_s=1200, link_gb_s=90),
    _tpu(
        "v5e",
        "tpu v5 lite",
        "tpu v5e",
        pod=(16, 16),
        gib=16,
        tflops=197,
        gb_s=819,
        link_gb_s=90,
    ),
    _tpu(
        "v5p",
        "tpu v5",
        "tpu v5p",
        pod=(16, 20, 28),
        gib=95,
        tflops=459,
        gb_s=2765,
        link_gb_s=180,
    ),
    _tpu(
        "v6e",
        "tpu v6 lite",
        "tpu v6e",
        pod=(16, 16),
        gib=32,
        tflops=918,
        gb_s=1640,
        link_gb_s=180,
    ),
)


def _gpu(
    name: str, jax_name: str, gib: float, tflops: float, gb_s: float, both_ways_gb_s: float
) -> DeviceKind:
    """A kind of GPU: dense products of 16 bits summed in float32. Data sheets add up what its
    links send and what they receive; it sends half of that."""
    return DeviceKind(
        name=name,
        platform="gpu",
        jax_names=(jax_name,),
        hbm=gib * GIB,
        peak=tflops * 1e12,
        bandwidth=gb_s * 1e9,
        link=both_ways_gb_s / 2 * 1e9,
        source="NVIDIA, data sheet",
    )


# A V100 and a T4 have no bf16; their peak is that of float16. Cards without NVLink: PCI Express.
_GPUS = (
    _gpu("t4", "tesla t4", 16, 65, 320, 32),
    _gpu("v100", "tesla v100", 32, 125, 900, 300),
    _gpu("a100-40g", "nvidia a100-sxm4-40gb", 40, 312, 1555, 600),
    _gpu("a100", "nvidia a100", 80, 312, 2039, 600),
    _gpu("a6000", "nvidia rtx a6000", 48, 154.8, 768, 64),
    _gpu("l4", "nvidia l4", 24, 121, 300, 64),
    _gpu("l40s", "nvidia l40s", 48, 362, 864, 64),
    _gpu("rtx3090", "nvidia geforce rtx 3090", 24, 71, 936, 64),
    _gpu("rtx4090", "nvidia geforce rtx 4090", 24, 165.2, 1008, 64),
    _gpu("h100-pcie", "nvidia h100 pcie", 80, 756, 2000, 128),
    _gpu("h100", "nvidia h100", 80, 989.4, 3350, 900),
    _gpu("h200", "nvidia h200", 141, 989.4, 4800, 900),
)
TPUS = {kind.name: kind for kind in _TPUS}
GPUS = {kind.name: kind for kind in _GPUS}
KINDS = TPUS | GPUS


def peak_flops(device_kind: str) -> float | None:
    """FLOP/s of bf16 products of a device that JAX names so; None: no such kind is known."""
    called = (kind.peak for kind in KINDS.values() if kind.is_called(device_kind))
    return next(called, None)


@dataclass(frozen=True)
class Topology:
    """Some devices of a kind: a slice of TPUs, say v3:2x2, which has 4 chips and 8 devices, the
    GPUs of a machine, say gpu:h100x8, or this machine's processor."""

    name: str
    kind: DeviceKind
    devices: int


def topology(name: str) -> Topology:
    """The devices of this name: v3:2x2, gpu:h100, gpu:h100x8, cpu or device:memory=24GiB,...

    Raises:
      UserError: there are no such devices.
    """
    kind_name, _, shape = name.partition(":")
    if name == "cpu":
        return Topology(name, _this_machine(), 1)
    if kind_name == "gpu":
        return _gpus(name, shape)
    if kind_name == "device":
        return _own(name, shape)
    if kind_name not in TPUS:
        raise UserError([_unknown(name)])
    kind = TPUS[kind_name]
    return Topology(name, kind, math.prod(slice_sides(name, kind.pod)) * kind.cores)


def _unknown(name: str) -> str:
    """That there are no devices of this name, and what there is."""
    kind_name = name.partition(":")[0]
    folded = kind_name.lower()
    if folded == "cpu" and ":" in name:
        return f"--on {name}: this machine's processor is one device, all cores; write --on cpu."
    known = [*TPUS, "cpu", "gpu", "device", *(f"gpu:{each}" for each in GPUS)]
    if folded == "tpu":
        near = "A TPU is named by its kind and the shape of its slice. "
    elif folded in known:
        near = f"Did you mean '{folded}'? "
    else:
        near = did_you_mean(f"gpu:{folded}" if folded in GPUS else kind_name, known)
    return (
        f"--on: no devices '{kind_name}' are known. {near}Use a slice of {', '.join(TPUS)}, as "
        f"v3:2x2; gpu:h100 or gpu:h100x8; cpu; or any other device as {OWN}."
    )


def _gpus(name: str, shape: str) -> Topology:
    kind_name, count = shape, "1"
    found = re.fullmatch(r"(.+)x([1-9]\d*)", shape)
    if found and shape not in GPUS:
        kind_name, count = found.groups()
    if kind_name not in GPUS:
        which = f"no GPU '{kind_name}' is known" if kind_name else "which GPU is not said"
        raise UserError(
            [
                f"--on {name}: {which}. {did_you_mean(kind_name, GPUS)}"
                f"There are {', '.join(GPUS)}; give any other as {OWN}."
            ]
        )
    if len(count) > len(str(MOST_DEVICES)) or int(count) > MOST_DEVICES:
        raise UserError([f"--on gpu:{kind_name}: at most {MOST_DEVICES:,} devices are planned."])
    kind = GPUS[kind_name]
    share = _jax_share()
    return Topology(name, replace(kind, hbm=kind.hbm * share), int(count))


def _jax_share() -> float:
    given = os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "")
    try:
        return float(given) if 0 < float(given) <= 1 else JAX_TAKES
    except ValueError:
        return JAX_TAKES


def _this_machine() -> DeviceKind:
    """All cores, which XLA treats as one device, and all memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return DeviceKind(
        name="cpu",
        platform="cpu",
        jax_names=(processor().lower(),),
        hbm=float(memory),
        source="this machine",
    )


def _own(name: str, text: str) -> Topology:
    """A device that a user describes.

    Raises:
      UserError: what is wrong with the description, all of it.
    """
    found = described(text)
    kind = DeviceKind(
        name="device",
        platform="gpu",
        hbm=found["memory"],
        peak=found["peak"],
        bandwidth=found.get("bandwidth"),
        link=found.get("link"),
        efficiency=found.get("efficiency"),
    )
    return Topology(name, kind, int(found.get("count", 1)))
