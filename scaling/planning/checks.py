"""What a user asks of devices that they cannot do, each with the nearest that they can."""

from __future__ import annotations

from collections.abc import Iterable

from fits.base.errors import UserError
from scaling.planning.devices import Topology
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run


def check_batches(runs: Iterable[Run], topology: Topology, tensor: int = 1) -> None:
    """
    Args:
      tensor: devices that see the same images.

    Raises:
      UserError: batches that are no whole number of images a device.
    """
    wrong = []
    shares = topology.devices // tensor
    over = f"{shares} devices" if tensor == 1 else f"{shares} groups of {tensor} devices"
    for batch in sorted({run.batch for run in runs}):
        if batch % shares:
            below = batch // shares * shares
            near = f"{below} or {below + shares}" if below else f"{shares}"
            wrong.append(
                f"a batch of {batch} cannot be split over the {over} of {topology.name}; use "
                f"{near}, or say --images-per-device."
            )
    if wrong:
        raise UserError(wrong)


def check_sharding(spec: PlacementSpec, topology: Topology) -> None:
    """
    Raises:
      UserError: the state is to be split over more devices than there are, or over a number that
        does not divide them.
    """
    devices, group = topology.devices, spec.fsdp * spec.tensor
    if devices % group == 0:
        return
    given = {"--fsdp": spec.fsdp, "--tensor": spec.tensor}
    said = " and ".join(f"{name} {n}" for name, n in given.items() if n > 1)
    both = spec.fsdp > 1 and spec.tensor > 1
    together = " together" if both else ""
    if group > devices:
        raise UserError(
            [
                f"{said}: {topology.name} has {devices} {'devices' if devices > 1 else 'device'}; "
                f"use at most {devices}{together}, or a larger slice."
            ]
        )
    divisors = [n for n in range(1, devices + 1) if devices % n == 0]
    near = sorted(sorted(divisors, key=lambda n: abs(n - group))[:2])
    verb = f", {group} together, do" if both else " does"
    raise UserError(
        [
            f"{said}{verb} not divide the {devices} devices of {topology.name}; use "
            f"{' or '.join(map(str, near))}{together}."
        ]
    )
