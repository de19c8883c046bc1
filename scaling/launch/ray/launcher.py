"""Trains a study's runs in tasks of a cluster of Ray, each with a pool of workers on one node, or
with one training over several nodes. Ray is an extra, and loaded only when it is used.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from fits.base.counted import counted
from fits.base.errors import UserError
from models.precision import Compute
from scaling.base.config import Clash, Config
from scaling.launch.devices import SHARED
from scaling.launch.dry_run import Places
from scaling.launch.launch import AtWork, Launch, check_batches
from scaling.launch.launch_spec import LaunchSpec
from scaling.launch.progress.display import Display
from scaling.launch.ray.engine import Demand, RayEngine, at_most, cluster_nodes
from scaling.launch.seats import Seats
from scaling.runs.logs import logs_folder
from scaling.study.study import Study

MOST = 1000  # seats at the same time, those that wait counted
SECONDS_TO_DIAL = 5.0
CURRENT = "/tmp/ray/ray_current_cluster"  # where `ray start` writes its address
NOBODYS = "/"  # a folder that every node has, and in which only its administrator writes
TPU = re.compile(r"(v\d+[a-z]*)-(\d+)")
TWO_CORES_A_CHIP = ("v2", "v3", "v4", "v5p")
CHIPS_A_HOST = 4


class Ray(Config):
    """What is asked of a cluster of Ray for each seat, and where the cluster is."""

    kind: Literal["ray"] = "ray"
    address: str = "auto"
    """HOST:PORT of its head; "auto": $RAY_ADDRESS, or the one that this machine is a node of."""
    workers: int | None = Field(None, gt=0)
    """Processes side by side in a seat; left out: one a GPU, or else as its cores allow."""
    runs_per_device: int = Field(1, gt=0)
    """Runs that are trained side by side on one GPU of a seat."""
    cpus: float = Field(1.0, gt=0)
    """Cores of a seat, of each of its hosts."""
    gpus: float = Field(0.0, ge=0)
    """GPUs of a seat, of each of its hosts; 0.5 has two seats share one."""
    resource: dict[str, float] = Field(default_factory=dict)
    """Further resources of a seat, as the nodes name them: {"TPU": 4, "highmem": 1}."""
    hosts: int | None = Field(None, gt=0)
    """Nodes that one run is trained on together; left out: one, or those of the TPU slice."""
    tpu: str | None = None
    """A TPU slice over several hosts, as "v5litepod-16" or "v4-32", for one run at a time."""

    @field_validator("resource", mode="before")
    @classmethod
    def _as_the_command_line_has_them(cls, given: Any) -> Any:
        """From ["NAME=AMOUNT", ...] too."""
        if not isinstance(given, Sequence):
            return given
        found = {}
        for text in given:
            name, _, amount = str(text).partition("=")
            try:
                found[name] = float(amount)
            except ValueError:
                raise ValueError(f"'{text}' is no NAME=AMOUNT, such as TPU=4.") from None
        return found

    @field_validator("resource")
    @classmethod
    def _are_custom(cls, given: dict[str, float]) -> dict[str, float]:
        for name, amount in given.items():
            if name in ("CPU", "GPU", "") or not 0 < amount < 1e9:
                raise ValueError(
                    f"{name}={amount:g}: amounts are above 0, and CPU and GPU are said by cpus and "
                    "gpus."
                )
        return given

    @field_validator("gpus")
    @classmethod
    def _can_be_granted(cls, given: float) -> float:
        if given > 1 and given != int(given):
            raise ValueError(f"{given:g}: above one, use whole GPUs.")
        return given

    @field_validator("tpu")
    @classmethod
    def _is_a_slice(cls, given: str | None) -> str | None:
        if given is not None and not TPU.fullmatch(given):
            raise ValueError(f"'{given}' is no TPU slice; write it as v5litepod-16 or v4-32.")
        return None if given is None else given.replace("v5e-", "v5litepod-")

    def clashes(self) -> Iterator[Clash]:
        """As `Config` says."""
        if self.demand.hosts > 1 and (self.workers is not None or self.runs_per_device > 1):
            words = "several hosts are one training; leave out workers and runs_per_device."
            yield Clash(("hosts", "workers", "runs_per_device"), words)
        if self.tpu is not None and self.gpus:
            yield Clash(("tpu", "gpus"), "a seat is a TPU slice or has GPUs; leave one out.")

    @property
    def demand(self) -> Demand:
        """What each seat needs."""
        bundle = {"CPU": self.cpus, **self.resource}
        if self.gpus:
            bundle["GPU"] = self.gpus
        chips = 0
        hosts = self.hosts or 1
        if self.tpu is not None and (match := TPU.fullmatch(self.tpu)):
            chips = int(match[2]) // (2 if match[1] in TWO_CORES_A_CHIP else 1)
            hosts = self.hosts or max(1, chips // CHIPS_A_HOST)
            bundle["TPU"] = max(1, chips // hosts)
        head = f"TPU-{self.tpu}-head" if self.tpu is not None and hosts > 1 else None
        devices = hosts * (bundle.get("TPU") or self.gpus or self.cpus)
        return Demand(bundle, hosts, head, devices, self._environment(bundle))

    def computes_in(self) -> Compute | None:
        """As `scaling.launch.protocol.StartsWorkers` says: of GPUs, only the task sees which."""
        if "TPU" in self.demand.bundle:
            return "bfloat16"
        return None if self.gpus else "float32"

    def places(self, study: Study, spec: LaunchSpec) -> Places:
        """As `scaling.launch.protocol.StartsWorkers` says; connects to the cluster."""
        devices = study.placement.devices_per_run
        if self.demand.hosts == 1:
            check_batches(study, devices // study.placement.tensor)
        address = connect(self.address)
        nodes = cluster_nodes()
        names = list(dict.fromkeys(["CPU", *self.demand.bundle]))
        remark = None
        if not self.demand.fits(nodes):
            remark = (
                f"No node can have it now: a seat needs {self.demand}, and a node has at most "
                f"{at_most(nodes, names)}. A launch waits for nodes that join."
            )
        asked = {name: f"{amount:g}" for name, amount in self.demand.bundle.items()}
        asked["hosts"] = str(self.demand.hosts)
        asked["seats at a time"] = f"one a trunk, {spec.max_parallel or MOST} at most"
        asked["command"] = " ".join(["python", *self.command(study, "RUNS/launches/NAME.json")])
        return Places(
            f"Ray at {address}: {counted(len(nodes), 'node')}", remark=remark, asked=asked
        )

    def workers_of(self, launch: Launch, screen: Display) -> AtWork:
        """As `scaling.launch.protocol.StartsWorkers` says."""
        command = self.command(launch.study, str(launch.file.absolute()))
        logs = logs_folder(launch.runs).absolute()
        return Seats(
            launch.tally,
            RayEngine(self.demand, command, logs, screen.say),
            screen=screen,
            most=launch.spec.max_parallel or MOST,
            budget=launch.spec.budget,
            stopping=launch.stopping(),
        )

    def command(self, study: Study, file: str) -> list[str]:
        """Arguments of Python in each task. -P: no file of the folder that it runs in is taken for
        a module."""
        scaling = ["-P", "-m", "scaling"]
        if self.demand.hosts > 1:
            return [*scaling, "work", file, "--no-wait"]
        workers = self.workers
        if workers is None and not self._has_accelerators:
            workers = max(1, int(self.cpus) // study.placement.devices_per_run)
        several = [] if workers is None else ["--workers", str(workers)]
        if self.runs_per_device > 1:
            several += ["--runs-per-device", str(self.runs_per_device)]
        return [*scaling, "pool", file, "--no-pin", *several]

    @property
    def _has_accelerators(self) -> bool:
        return bool(self.gpus) or "TPU" in self.resource or self.tpu is not None

    def _environment(self, bundle: dict[str, float]) -> dict[str, str]:
        """Of the command: a seat without devices leaves those of its node to others."""
        if 0 < self.gpus < 1:
            return {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{SHARED * self.gpus:.3f}"}
        if self.gpus or "TPU" in bundle:
            return {}
        return {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def connect(address: str) -> str:
    """Connect this process to a cluster, once; returns the address of the cluster.

    Raises:
      UserError: Ray is not installed, or there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            ["--on ray needs Ray: pip install 'vit-scaling-laws[ray]', here and on every node."]
        ) from None
    if not ray.is_initialized():
        wanted = _dialled(address)
        try:
            # Ray puts the folder that it is called in first on the module path of its workers on
            # every node, where a `scaling.py` of the user's would be taken for this program.
            with contextlib.chdir(NOBODYS):
                ray.init(wanted, log_to_driver=False, logging_level=logging.CRITICAL)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _none_there(address, str(error).splitlines()[0]) from None
    return str(ray.get_runtime_context().gcs_address)


def _dialled(address: str) -> str:
    """The address, if somebody answers there: Ray itself would try for minutes."""
    meant = address
    if address == "auto":
        meant = os.environ.get("RAY_ADDRESS", "")
        if not meant and os.path.exists(CURRENT):
            meant = Path(CURRENT).read_text().strip()
        if not meant:
            raise _none_there(address, "this machine is no node of a cluster")
    host, _, port = meant.rpartition(":")
    if "/" in meant or not host or not port.isdecimal():
        raise _none_there(meant, "it is no HOST:PORT of a cluster's head; port 6379 by default")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_DIAL).close()
    except (OSError, OverflowError) as error:
        raise _none_there(meant, str(error)) from None
    return meant


def _none_there(address: str, reason: str) -> UserError:
    return UserError(
        [
            f"--address {address}: no cluster of Ray there ({reason}). Start one with `ray start "
            "--head`, and launch on one of its nodes."
        ]
    )
