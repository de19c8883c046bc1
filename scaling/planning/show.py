"""A plan on some devices as a person reads it: a table, and how each number is known."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from scaling.base.console import print_table
from scaling.planning.closed_form import remarks
from scaling.planning.devices import GIB
from scaling.training.placement_spec import DEFAULT

if TYPE_CHECKING:
    from scaling.planning.on_devices import DevicePlan, PricedStep

BEFORE = "model", "images", "update", "remat", "fsdp"
AFTER = "GiB", "fits", "largest", "FLOPs a step", "seconds", "device-hours"
MOST = "\nlargest: by the closed form, from what was compiled; --search compiles it."
KERNEL = "What cuDNN's attention works in is not counted: its library alone knows how much that is."
SHARE = "The memory of a GPU is the part that JAX takes: 75 %, or XLA_PYTHON_CLIENT_MEM_FRACTION."


def show(plan: DevicePlan) -> None:
    """Prints it."""
    kind, devices = plan.topology.kind, plan.topology.devices
    print(
        f"{plan.study.name} on {plan.topology.name}: {devices} "
        f"{'devices' if devices > 1 else 'device'} of {kind.hbm / GIB:.4g} GiB\n"
    )
    shared = ("tensor",) if any(step.plan.spec.tensor > 1 for step in plan.steps) else ()
    several = any(step.plan.variant for step in plan.steps)
    rows = (_row(step, tensor=bool(shared), variant=several) for step in plan.steps)
    model, *before = BEFORE
    headings = (model, *(["variant"] if several else []), *before, *shared, *AFTER)
    print_table(headings, rows, left=("model", "variant", "update", "remat"))
    print(f"\n{_memory(plan)}\n{_time(plan)}")
    if placed := _placement(plan):
        print(placed)
    money = plan.dollars
    hours = f"{plan.device_hours:.3g} device-hours, predicted"
    if money is not None:
        hours += f", at {plan.price:g} US dollars each: {money:,.2f} US dollars"
    print(f"{hours}.")
    for step in plan.steps:
        if not step.plan.verdict.fits:
            print(_misfit(step, kind.hbm))
    for remark in remarks(plan.study):
        print(remark)


def _row(step: PricedStep, *, tensor: bool, variant: bool) -> tuple[str, ...]:
    plan = step.plan
    return (
        plan.run.model_name,
        *([plan.variant] if variant else []),
        f"{plan.images_per_device}",
        plan.spec.update,
        plan.spec.recomputed,
        f"{plan.spec.fsdp}",
        *([f"{plan.spec.tensor}"] if tensor else []),
        f"{plan.verdict.gib:.2f}",
        "yes" if plan.verdict.fits else "no",
        f"{plan.largest_images_per_device}",
        f"{plan.run.flops // plan.run.steps:.3g}",
        f"{step.time.seconds:.3g}",
        f"{step.device_hours:.3g}",
    )


def _placement(plan: DevicePlan) -> str | None:
    """What has steps trained as they are planned, where the study does not say so; None: it does.

    Also where the study's own [placement] is what was planned.
    """
    if plan.study.placement != DEFAULT:
        return "update, remat, fsdp: as the study's [placement] says, or the command line."
    models: dict[str, list[str]] = {}
    for step in plan.steps:
        spec = step.plan.spec
        said = [
            f"{key} = {json.dumps(value)}"
            for key, value in spec.model_dump(exclude_defaults=True).items()
        ]
        if said:
            models.setdefault(", ".join(said), []).append(step.plan.name)
    if not models:
        return None
    ways = "; ".join(f"{said} for {', '.join(names)}" for said, names in models.items())
    return f"A launch trains these steps where [placement], or its options, say so: {ways}."


def _memory(plan: DevicePlan) -> str:
    compiled = all(step.plan.verdict.basis == "compiled" for step in plan.steps)
    how = "as compiled" if compiled else "predicted, closed form; nothing was compiled"
    searched = all(step.plan.largest_basis == "compiled" for step in plan.steps)
    most = "" if searched or not compiled else MOST
    named = "GiB, fits" if most else "GiB, fits, largest"
    lines = [f"images: a device. {named}: {how}, of one device.{most}"]
    if plan.not_compiled is not None:
        lines.append(plan.not_compiled)
    if plan.topology.kind.platform == "gpu":
        fused = any(step.plan.run.compute == "bfloat16" for step in plan.steps)
        lines += [KERNEL] if compiled and fused else []
        lines += [SHARE] if plan.topology.kind.name != "device" else []
    return "\n".join(lines)


def _time(plan: DevicePlan) -> str:
    """How the rates are known, each way with the number of models that rest on it."""
    sources = Counter(
        (found.basis, found.source, found.count)
        for found in (step.time.efficiency for step in plan.steps)
    )
    lines = []
    for (basis, source, count), models in sources.items():
        of = f", {count} measurement{'s' if count > 1 else ''}" if count else ""
        lines.append(f"  {models} of {len(plan.steps)} {basis}: {source}{of}")
    bounds = Counter(step.time.bound for step in plan.steps)
    bound = ", ".join(f"{count} by {name}" for name, count in bounds.items())
    return (
        f"seconds: a step, predicted by a roofline; bound {bound}. Rates of arithmetic:\n"
        + "\n".join(lines)
    )


def _misfit(step: PricedStep, hbm: float) -> str:
    plan = step.plan
    lacking = plan.verdict.gib - hbm / GIB
    said = f"{plan.name} does not fit: {lacking:.2f} GiB too much."
    if plan.largest_images_per_device:
        said += f" {plan.largest_images_per_device} images a device fit."
    if not step.would_fit:
        return said + " By the closed form nothing tried makes it fit."
    ways = (f"  {way}" for way in step.would_fit)
    return "\n".join([f"{said} By the closed form these would:", *ways])
