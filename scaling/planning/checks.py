"""What a user asks of devices that they cannot do, each with the nearest that they can."""

from __future__ import annotations

from collections.abc import Iterable

from fits.base.errors import UserError
from scaling.planning.devices import Topology
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run


def check_batches(runs: Iterable[Run], topology: Topology) -> None:
    """
    Raises:
      UserError: batches that are no whole number of images a device.
    """
    wrong = []
    for batch in sorted({run.batch for run in runs}):
        if batch % topology.devices:
            below = batch // topology.devices * topology.devices
            near = f"{below} or {below + topology.devices}" if below else f"{topology.devices}"
            wrong.append(
                f"a batch of {batch} cannot be split over the {topology.devices} devices of "
                f"{topology.name}; use {near}, or say --images-per-device."
            )
    if wrong:
        raise UserError(wrong)


def check_sharding(spec: PlacementSpec, topology: Topology) -> None:
    """
    Raises:
      UserError: the state is to be split over more devices than there are, or over a number that
        does not divide them.
    """
    if topology.devices % spec.fsdp == 0:
        return
    if spec.fsdp > topology.devices:
        raise UserError(
            [
                f"--fsdp {spec.fsdp}: {topology.name} has {topology.devices} "
                f"{'devices' if topology.devices > 1 else 'device'}; use at most "
                f"{topology.devices}, or a larger slice."
            ]
        )
    divisors = [n for n in range(1, topology.devices + 1) if topology.devices % n == 0]
    near = sorted(sorted(divisors, key=lambda n: abs(n - spec.fsdp))[:2])
    raise UserError(
        [
            f"--fsdp {spec.fsdp} does not divide the {topology.devices} devices of "
            f"{topology.name}; use {' or '.join(map(str, near))}."
        ]
    )
