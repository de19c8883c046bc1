"""Whose device is whose: what this machine computes on, dealt out to workers before they start.

JAX takes every device that it sees, so a worker is started with an environment in which it sees its
own alone. Knows no JAX.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.machine import ONE_THREAD_XLA, installed_version

CUDA_PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin")
SHARED = 0.9  # of a GPU's memory, divided among the workers that share it; the rest is CUDA's own
GPU = re.compile(r"GPU \d+: (.+) \(UUID: (GPU-[^)]+)\)")
MIG = re.compile(r"\s+MIG (\S+).*\(UUID: (MIG-[^)]+)\)")
CHIP_BOUNDS = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1", 8: "2,4,1"}  # how a worker's chips lie


@dataclass(frozen=True)
class Machine:
    """What there is to compute on.

    Fields:
      kind: of device.
      names: of each GPU, TPU chip or core that may be used, as an environment variable names it.
      what: the same in words, such as "NVIDIA H100 80GB HBM3".
      cores: that may be used.
      each: devices as JAX counts them, in one of `names`: 2 in a chip of TPU v2 and v3.
      remark: for the person, where something that is there is not used.
    """

    kind: Literal["cpu", "gpu", "tpu"]
    names: tuple[str, ...]
    what: str
    cores: tuple[int, ...]
    each: int = 1
    remark: str | None = None

    def __str__(self) -> str:
        units = {"cpu": "core", "gpu": "GPU", "tpu": "TPU chip"}
        count = f"{len(self.names)} {units[self.kind]}{'s' if len(self.names) != 1 else ''}"
        return f"{count} ({self.what})" if self.what else count


@dataclass(frozen=True)
class Slot:
    """Where one worker at a time computes.

    Fields:
      devices: names of its own; several slots may share one.
      cores: on which its process runs.
      environment: what shows it these devices and no others.
    """

    number: int
    devices: tuple[str, ...]
    cores: tuple[int, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "slot": self.number,
            "devices": list(self.devices),
            "cores": list(self.cores),
            "environment": dict(self.environment),
        }


def cores() -> list[int]:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def find_machine() -> Machine:
    """GPUs, else TPU chips, else cores; as `JAX_PLATFORMS` allows, where that is set."""
    allowed = [name for name in os.environ.get("JAX_PLATFORMS", "").split(",") if name]
    have, remark = tuple(cores()), None
    if not allowed or allowed[0] in ("cuda", "gpu"):
        names, what = _gpus()
        if names and any(map(installed_version, CUDA_PLUGINS)):
            return Machine("gpu", names, what, have)
        if names:
            remark = (
                f"{len(names)} GPUs are here ({what}), but the JAX that is installed computes on "
                "the CPU alone: pip install 'jax[cuda13]'."
            )
    if not allowed or allowed[0] == "tpu":
        chips = _tpu_chips()
        if chips and installed_version("libtpu"):
            accelerator = os.environ.get("TPU_ACCELERATOR_TYPE", "")
            each = 2 if accelerator.startswith(("v2", "v3")) else 1
            return Machine("tpu", chips, accelerator, have, each=each)
        if chips:
            remark = (
                f"{len(chips)} TPU chips are here, but the JAX that is installed computes on the "
                "CPU alone: pip install 'jax[tpu]'."
            )
    return Machine("cpu", tuple(map(str, have)), "", have, remark=remark)


def deal(
    machine: Machine, devices: int, *, runs_per_device: int = 1, workers: int | None = None
) -> list[Slot]:
    """The slots of a machine, each with devices of its own.

    Args:
      devices: that a run is trained on, as JAX counts them; simulated ones on a CPU.
      runs_per_device: workers that share one GPU, each with a part of its memory.
      workers: slots, at most; on a CPU, where cores can be shared, just so many. None: as many as
        there are devices for.

    Raises:
      UserError: there are not so many devices, or they cannot be shared so.
    """
    if machine.kind == "cpu":
        if runs_per_device > 1:
            raise UserError(
                [
                    f"--runs-per-device {runs_per_device}: is for GPUs, and this machine has "
                    f"{machine}; --workers says how many runs are trained side by side."
                ]
            )
        return _cpu_slots(machine, devices, workers)
    units = _units(machine, devices, runs_per_device)
    groups = [machine.names[i : i + units] for i in range(0, len(machine.names), units)]
    whole = [group for group in groups if len(group) == units for _ in range(runs_per_device)]
    chosen = whole[:workers]
    share = max(1, len(machine.cores) // len(chosen))
    slots = []
    for number, names in enumerate(chosen):
        first = number * share % len(machine.cores)
        own = machine.cores[first : first + share]
        slots.append(Slot(number, names, own, _environment(machine, names, runs_per_device)))
    return slots


def _cpu_slots(machine: Machine, devices: int, workers: int | None) -> list[Slot]:
    have = machine.cores
    count = workers or max(1, len(have) // devices)
    simulated = f" --xla_force_host_platform_device_count={devices}" if devices > 1 else ""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD_XLA}{simulated}".strip()
    slots = []
    for number in range(count):
        turn = [have[(number * devices + k) % len(have)] for k in range(devices)]
        own = tuple(sorted(set(turn)))
        # XLA has as many threads as cores, or as NPROC says: sums are split among them, so that
        # another number of threads gives other digits.
        environment = {"XLA_FLAGS": flags, "NPROC": str(len(own))}
        slots.append(Slot(number, tuple(map(str, own)), own, environment))
    return slots


def compute_as_workers_do() -> None:
    """On a CPU, give this process one thread a device, as a launch's workers have it: with other
    threads a study has other digits. To be called before JAX is imported; NPROC, where it is set,
    stays."""
    if find_machine().kind != "cpu":
        return
    flags = os.environ.get("XLA_FLAGS", "")
    simulated = re.search(r"--xla_force_host_platform_device_count=(\d+)", flags)
    os.environ["XLA_FLAGS"] = f"{flags} {ONE_THREAD_XLA}".strip()
    os.environ.setdefault("NPROC", simulated[1] if simulated else "1")


def _units(machine: Machine, devices: int, runs_per_device: int) -> int:
    """GPUs or chips that a worker gets."""
    mistakes = []
    units = -(-devices // machine.each)
    if units * machine.each != devices and devices > 1:
        mistakes.append(
            f"{devices} devices a run: a chip of this machine, {machine}, has {machine.each} "
            f"devices; use {units * machine.each}."
        )
    if units > len(machine.names):
        mistakes.append(
            f"{counted(devices, 'device')} a run, but this machine has {machine}: "
            f"{len(machine.names) * machine.each} at most. Say --devices-per-run, or devices in "
            "[placement]."
        )
    if machine.kind == "tpu":
        if units not in CHIP_BOUNDS:
            mistakes.append(f"{units} TPU chips a run: use {', '.join(map(str, CHIP_BOUNDS))}.")
        if runs_per_device > 1:
            mistakes.append(
                f"--runs-per-device {runs_per_device}: a TPU chip has one process at a time."
            )
    elif runs_per_device > 1 and units > 1:
        mistakes.append(
            f"--runs-per-device {runs_per_device}: runs that share a GPU have one each, and these "
            f"have {units}; leave one of the two out."
        )
    if mistakes:
        raise UserError(mistakes)
    return units


def _environment(machine: Machine, names: Sequence[str], sharing: int) -> dict[str, str]:
    listed = ",".join(names)
    if machine.kind == "gpu":
        share = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{SHARED / sharing:.3f}"}
        return {"CUDA_VISIBLE_DEVICES": listed} | (share if sharing > 1 else {})
    return {
        "TPU_VISIBLE_CHIPS": listed,
        "TPU_PROCESS_BOUNDS": "1,1,1",
        "TPU_CHIPS_PER_PROCESS_BOUNDS": CHIP_BOUNDS[len(names)],
    }


def _gpus() -> tuple[tuple[str, ...], str]:
    """Names and a description of NVIDIA's GPUs: those of CUDA_VISIBLE_DEVICES, where it is set."""
    there = _listed_gpus()
    words = ", ".join(dict.fromkeys(what for _, what in there))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(name for name, _ in there), words
    names = []
    for entry in visible.split(","):  # CUDA, too, ignores what follows an entry that is none
        entry = entry.strip()
        if not entry or entry.startswith("-"):
            break
        names.append(entry)
    return tuple(names), words


def _listed_gpus() -> list[tuple[str, str]]:
    """UUID and description of each GPU, or of its MIG parts where it is split, by nvidia-smi."""
    try:
        said = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found: list[tuple[str, str]] = []
    whole = ""  # the last GPU, which its parts replace
    for line in said.splitlines():
        if gpu := GPU.match(line):
            whole = gpu[1]
            found.append((gpu[2], whole))
        elif part := MIG.match(line):
            if found and found[-1][0].startswith("GPU-"):
                found.pop()
            found.append((part[2], f"{whole} MIG {part[1]}"))
    return found


def _tpu_chips() -> tuple[str, ...]:
    """Numbers of the chips of a TPU on this machine."""
    for variable in ("TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES"):
        if visible := os.environ.get(variable):
            return tuple(name.strip() for name in visible.split(","))
    files = glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")
    return tuple(map(str, range(len(files))))
