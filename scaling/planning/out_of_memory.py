"""Words for a step that ran out of a device's memory: what was planned, what was measured, and what
would make it fit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from scaling.planning.devices import GIB, DeviceKind, Topology
from scaling.planning.memory import predicted
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

SIGN = "RESOURCE_EXHAUSTED"
WANTED = re.compile(r"allocat\w* (?:of )?(\d+) bytes|allocat\w* ([\d.]+)\s?([KMGT])i?B")
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def is_out_of_memory(error: Exception) -> bool:
    """Whether this is how JAX says that a device has no memory left."""
    return SIGN in str(error)


def out_of_memory(error: Exception, run: Run, spec: PlacementSpec, devices: int) -> str:
    """What happened, in two sentences: the plan's number beside the measured one, and remedies."""
    from scaling.training.metrics import memory_limit, peak_memory

    parts = [f"planned {_gib(planned(run, spec, devices))} a device"]
    measured, limit, wanted = peak_memory(), memory_limit(), _wanted(str(error))
    if measured is not None:
        parts.append(f"measured {_gib(measured)} in use")
    if wanted is not None:
        parts.append(f"{_gib(wanted)} more asked for")
    if limit is not None:
        parts.append(f"{_gib(limit)} there")
    found = ", ".join(parts)
    remedies = ", ".join(f"{words} ({_gib(least)})" for words, least in _less(run, spec, devices))
    advice = f"Less is needed with {remedies}." if remedies else "Use more devices, with --fsdp."
    return f"{run.model_name} ran out of the device's memory: {found}. {advice}"


def planned(run: Run, spec: PlacementSpec, devices: int) -> float:
    """Bytes of each device, by the closed form for devices that pad no array."""
    here = Topology("here", DeviceKind(name="here", platform="gpu", hbm=math.inf), devices)
    return predicted(run, spec, here).peak


def _less(run: Run, spec: PlacementSpec, devices: int) -> Iterator[tuple[str, float]]:
    """Options of `launch` that need less than `spec`, each with what it is planned to need."""
    changes: list[tuple[str, dict[str, Any]]] = [("--remat full", {"remat": "full"})]
    per_device = run.batch // devices
    parts = [n for n in (2, 4, 8) if per_device % (n * spec.microbatches) == 0]
    if parts and not run.objective.couples_examples and spec.update == "plain":
        number = parts[-1] * spec.microbatches
        changes.append((f"--microbatches {number}", {"microbatches": number}))
    if not hasattr(run.model, "stages") and run.recipe.privacy is None and run.objective.one_pass:
        changes.append(("--update fused", {"update": "fused", "microbatches": 1}))
    more = max(2 * spec.fsdp, devices)
    changes.append((f"--fsdp {more}", {"fsdp": more, "devices": None}))
    now = planned(run, spec, devices)
    for words, change in changes:
        other = PlacementSpec.model_validate({**spec.model_dump(), **change})
        least = planned(run, other, max(devices, other.fsdp))
        if least < now:
            yield words, least


def _wanted(text: str) -> float | None:
    """Bytes that were asked for when there was no room."""
    found = WANTED.search(text)
    if found is None:
        return None
    whole, number, unit = found.groups()
    return float(whole) if whole else float(number) * UNITS[unit]


def _gib(size: float) -> str:
    return f"{size / GIB:.3g} GiB"
