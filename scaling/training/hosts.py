"""What the processes of one training agree on: whatever a clock or a disk decides, the first does.

A clock differs from process to process, and so may what a shared disk shows; whoever is alone in a
collective waits for ever. Every function here is a collective: all processes call it at the same
point of the same training, and all get the same answer. Only the first process writes.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Literal, TypeAlias

import jax
import numpy as np

from fits.base.errors import UserError

Cluster: TypeAlias = Literal["slurm", "tpu", "hand"]
"""What says which processes make one training: Slurm's step, a TPU slice, or the caller."""

SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


def join(
    cluster: Cluster,
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> None:
    """Make this process one of several of a training; each host calls it before it uses JAX.

    Under Slurm each process takes the GPU of its local number, on a TPU slice the chips of its
    host.

    Args:
      cluster: who knows the other processes.
      coordinator: "host:port" of process 0, reachable by all; with "hand". Of localhost, 127.* and
        [::1], process 0 listens on loopback alone.
      processes: how many; with "hand".
      process: number of this one, 0 .. processes - 1; with "hand".

    Raises:
      UserError: this process is not in such a cluster, or the others cannot be reached.
    """
    if cluster == "slurm" and (unset := [name for name in SLURM if name not in os.environ]):
        raise UserError(
            [
                f"--cluster slurm: {unset[0]} is not set, so srun has not started this process. "
                "Write: srun --nodes 2 --ntasks-per-node 1 scaling work STUDY --cluster slurm"
            ]
        )
    if cluster == "hand":
        _check_by_hand(coordinator, processes, process)
    # JAX's preemption service would take SIGTERM for itself, and nobody would leave (`leaving.py`).
    jax.config.update("jax_enable_preemption_service", False)
    try:
        match cluster:
            case "slurm":
                jax.distributed.initialize(cluster_detection_method="slurm")
            case "tpu":
                jax.distributed.initialize()
            case "hand":
                assert coordinator is not None
                jax.distributed.initialize(
                    coordinator,
                    processes,
                    process,
                    coordinator_bind_address=coordinator if _is_loopback(coordinator) else None,
                )
    except (RuntimeError, ValueError) as error:  # what JAX says of an unreachable coordinator
        reason = str(error).splitlines()[0]
        option = f"--coordinator {coordinator}" if cluster == "hand" else f"--cluster {cluster}"
        raise UserError([f"{option}: the processes did not meet ({reason})."]) from None


def _is_loopback(coordinator: str) -> bool:
    """Whether "host:port" is reached from this machine alone: JAX would listen on all its networks,
    and asks for no password."""
    host = coordinator.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_by_hand(coordinator: str | None, processes: int | None, process: int | None) -> None:
    given = {"coordinator": coordinator, "processes": processes, "process": process}
    if missing := [f"--{name}" for name, value in given.items() if value is None]:
        raise UserError(
            [
                f"{' and '.join(missing)} missing: several processes by hand are told "
                "--coordinator HOST:PORT --processes N --process 0 .. N - 1."
            ]
        )
    assert coordinator is not None
    assert processes is not None
    assert process is not None
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(
            [
                f"--coordinator {coordinator}: is no HOST:PORT, such as 10.0.0.1:1234; "
                "ports go from 1 to 65535."
            ]
        )
    if process >= processes:
        raise UserError(
            [f"--process {process}: of {processes} processes; use 0 to {processes - 1}."]
        )


def platform() -> tuple[str, str]:
    """What this process computes on: "cpu", "gpu" or "tpu", and the name of its first device."""
    return jax.default_backend(), jax.local_devices()[0].device_kind


def is_first() -> bool:
    """Whether this process writes and decides."""
    return jax.process_index() == 0


def agreed(*answers: int) -> tuple[int, ...]:
    """The first process's answers, on every process."""
    if jax.process_count() == 1:
        return answers
    return tuple(map(int, _from_the_first(np.array(answers, np.int32))))


def agreed_word(word: str) -> str:
    """The first process's word, on every process; the others' is not used."""
    if jax.process_count() == 1:
        return word
    encoded = np.array(list(word.encode()), np.uint8)
    size = int(_from_the_first(np.array(len(encoded), np.int32)))
    if not size:
        return ""
    padded = encoded if is_first() else np.zeros(size, np.uint8)
    return _from_the_first(padded).astype(np.uint8).tobytes().decode()


def all_processes(yes: bool) -> bool:
    """Whether every process says yes."""
    if jax.process_count() == 1:
        return yes
    from jax.experimental.multihost_utils import process_allgather

    return bool(np.all(process_allgather(np.array([yes]))))


def _from_the_first(value: np.ndarray) -> np.ndarray:
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return np.asarray(broadcast_one_to_all(value))
