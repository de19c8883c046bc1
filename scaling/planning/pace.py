"""What a training's steps took, for the calibration file that plans read."""

from __future__ import annotations

import math

from scaling.base.machine import installed_version, processor
from scaling.planning import calibration
from scaling.planning.calibration import Measurement
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

VERSIONS = "vit-scaling-laws", "jax", "jaxlib", "libtpu"
LEAST_SECONDS = 3.0  # of steps, below which a rate says little


def record_pace(
    run: Run, spec: PlacementSpec, images_per_second: float | None, seconds: float
) -> bool:
    """Append what a training measured; False where that says too little, or the file cannot be
    written. Never raises for the file's sake.

    Args:
      images_per_second: of all devices together, compilation left out; None: not measured.
      seconds: that it was measured for.
    """
    if images_per_second is None or seconds < LEAST_SECONDS:
        return False
    if not 0 < images_per_second < math.inf:
        return False
    return calibration.record(measurement(run, spec, images_per_second))


def measurement(run: Run, spec: PlacementSpec, images_per_second: float) -> Measurement:
    """Of the devices of this process and those that it trains with.

    Args:
      images_per_second: of all devices together.
    """
    import jax

    device, devices = jax.local_devices()[0], jax.device_count()
    on_cpu = device.platform == "cpu"
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use")
    versions = {name: installed_version(name) for name in VERSIONS}
    return Measurement(
        device_kind=processor() if on_cpu else device.device_kind,
        platform=device.platform,
        model=run.model_name,
        compute=run.compute,
        remat=spec.recomputed,
        update=spec.update,
        fsdp=spec.fsdp,
        images_per_device=run.batch / devices,
        devices=devices,
        flops_an_image=run.flops / run.images_seen,
        seconds=run.batch / images_per_second,
        peak_bytes=None if memory is None else float(memory),
        versions={name: found for name, found in versions.items() if found is not None},
    )
