"""What a training's steps took, for the calibration file that plans read."""

from __future__ import annotations

import statistics
from typing import Any

from scaling.base.machine import installed_version
from scaling.planning import calibration
from scaling.planning.calibration import Measurement
from scaling.planning.devices import processor
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run

WARM_UP = 2  # looks at the rate that count compilation and first steps
LOOKS = 3  # after those, at least
VERSIONS = "vit-scaling-laws", "jax", "jaxlib", "libtpu"


class Pace:
    """Collects the rates of one training, and keeps their median at its end."""

    def __init__(self, run: Run, spec: PlacementSpec):
        self._run, self._spec = run, spec
        self._rates: list[float] = []

    def see(self, progress: dict[str, Any]) -> None:
        """One look of a worker: its rate, if it has one."""
        if "images_per_second" in progress:
            self._rates.append(progress["images_per_second"])

    def record(self) -> bool:
        """Append the measurement; False where there were too few looks, or the file cannot be
        written. Never raises for the file's sake."""
        rates = self._rates[WARM_UP:]
        if len(rates) < LOOKS:
            return False
        return calibration.record(measurement(self._run, self._spec, statistics.median(rates)))


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
