"""Seats on a cluster of Ray: a task each, or, for a run on several hosts, a placement group of one
bundle a host with a task in each.

Ray is asked where there is room, and whether a task is still there. A task that is lost is not
tried again by Ray: the run folders say what is left, and `Seats` asks for another.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from fits.base.counted import counted
from scaling.launch.ray.task import SECONDS_TO_LEAVE, run_in_task
from scaling.launch.seats import Seat

SECONDS_BETWEEN_REMINDERS = 60.0
SECONDS_TO_FOLLOW = 10.0  # in which the other processes of a training end after the first of them
PORTS = range(20_000, 32_768)  # between those of Ray's workers and the ephemeral ones
SLICE = "ray.io/tpu-slice-name"  # label of a node, and a resource of each host of the slice
Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Demand:
    """What a seat needs.

    Fields:
      bundle: of each host: resources by the names that Ray has for them, "CPU" and "GPU" too.
      hosts: so many, each with a bundle.
      head: resource of a TPU slice's first host, which reserves the slice; None: no slice.
      devices: of the seat, as a budget counts them.
      environment: of each command.
    """

    bundle: Mapping[str, float]
    hosts: int = 1
    head: str | None = None
    devices: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        each = ", ".join(f"{name} {amount:g}" for name, amount in self.bundle.items())
        if self.hosts == 1:
            return f"a node with {each}"
        return f"{self.hosts} nodes with {each} each" + (
            f", one with {self.head}" * bool(self.head)
        )

    def fits(self, nodes: Sequence[Mapping[str, float]]) -> bool:
        """Whether nodes with such resources could satisfy it, were they idle."""
        able = [n for n in nodes if all(n.get(k, 0) >= v for k, v in self.bundle.items())]
        return len(able) >= self.hosts and (self.head is None or any(self.head in n for n in able))


def cluster_nodes() -> list[dict[str, float]]:
    """All resources of each node that is there, in use or not."""
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def at_most(nodes: Sequence[Mapping[str, float]], names: Sequence[str]) -> str:
    """The most that a node of the cluster has of each resource, in words."""
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in names}
    return ", ".join(f"{name} {amount:g}" for name, amount in most.items())


class RayEngine:
    """Asks a cluster, which this process is connected to, for seats."""

    def __init__(self, demand: Demand, arguments: Sequence[str], logs: Path, say: Say):
        """
        Args:
          arguments: of Python, on every host.
          logs: folder of the seats' own logs.
        """
        self._demand, self._arguments, self._logs, self._say = demand, arguments, logs, say
        self._stamp = f"{time.strftime('%m%d-%H%M%S')}-{random.randrange(16**4):04x}"
        self._count = 0
        self._seats: dict[str, TaskSeat] = {}
        """By their names."""
        self._reminded = time.monotonic() - SECONDS_BETWEEN_REMINDERS + 5.0

    def start(self, count: int) -> Sequence[TaskSeat]:
        """As `scaling.launch.seats.Engine` says."""
        found = []
        for _ in range(count):
            self._count += 1
            name = f"ray-{self._stamp}-{self._count}"
            kind = TaskSeat if self._demand.hosts == 1 else GroupSeat
            found.append(kind(name, self._demand, self._arguments, self._logs, self._remind))
        self._seats |= {seat.name: seat for seat in found}
        return found

    def stop(self, seats: Sequence[Seat]) -> None:
        """As `scaling.launch.seats.Engine` says."""
        ours = [self._seats[seat.name] for seat in seats]
        for force, seconds in ((False, SECONDS_TO_LEAVE + 2.0), (True, 5.0)):
            for seat in ours:
                seat.cancel(force=force)
            deadline = time.monotonic() + seconds
            while not all(seat.is_over() for seat in ours) and time.monotonic() < deadline:
                time.sleep(0.2)
        for seat in ours:
            seat.give_back()

    def device_seconds(self, seat: Seat) -> float:
        """As `scaling.launch.seats.Engine` says."""
        began = self._seats[seat.name].began()
        return 0.0 if began is None else (time.monotonic() - began) * self._demand.devices

    def _remind(self) -> None:
        """Say each minute what the seats wait for, where none is at work."""
        now = time.monotonic()
        if now - self._reminded < SECONDS_BETWEEN_REMINDERS:
            return
        self._reminded = now
        if any(seat.began() is not None and not seat.is_over() for seat in self._seats.values()):
            return
        nodes = cluster_nodes()
        names = [*self._demand.bundle, *([self._demand.head] if self._demand.head else [])]
        if self._demand.fits(nodes):
            self._say(f"waits for {self._demand}: there is, and others have it now.")
        else:
            self._say(
                f"waits for {self._demand}: the cluster has none; of its "
                f"{counted(len(nodes), 'node')} one has at most {at_most(nodes, names)}."
            )


class TaskSeat:
    """One task on one node."""

    def __init__(
        self,
        name: str,
        demand: Demand,
        arguments: Sequence[str],
        logs: Path,
        remind: Callable[[], None],
    ):
        """
        Args:
          remind: is called at each look at a seat that waits.
        """
        self.name = name
        self._demand, self._arguments, self._remind = demand, list(arguments), remind
        self._log = logs / f"{name}.log"
        self._began: float | None = None
        self._refs: list[Any] = []
        self._ask()

    def began(self) -> float | None:
        """When it was first seen at work; monotonic, seconds."""
        if self._began is None and self._log.exists():
            self._began = time.monotonic()
        return self._began

    def has_ended(self) -> bool:
        """As `scaling.launch.seats.Seat` says."""
        if self.began() is None:
            self._remind()
        return self.is_over()

    def is_over(self) -> bool:
        """Whether no task of it is there any more."""
        return len(self._ended()) == len(self._refs)

    def last_words(self) -> str:
        """As `scaling.launch.seats.Seat` says."""
        said = next(filter(None, map(_words_of, self._ended())), "there was nothing for it to do")
        return f"{said}; its log: {self._log}" if self._log.exists() else said

    def cancel(self, *, force: bool) -> None:
        """Have its tasks leave; by force: kill their processes."""
        import ray

        for ref in self._refs:
            if ref not in self._ended():
                ray.cancel(ref, force=force)

    def give_back(self) -> None:
        """What was reserved for it: nothing, for a task alone."""

    def _ask(self) -> None:
        self._refs = [self._task(self._arguments, self._log)]

    def _task(self, arguments: Sequence[str], log: Path, **where: Any) -> Any:
        import ray

        needs = dict(self._demand.bundle)
        options = {"num_cpus": needs.pop("CPU", 0), "num_gpus": needs.pop("GPU", 0)}
        remote = ray.remote(run_in_task).options(
            **options, resources=needs, max_retries=0, name=self.name, **where
        )
        environment = dict(self._demand.environment)
        return remote.remote(list(arguments), str(log), environment, os.getcwd())

    def _ended(self) -> list[Any]:
        import ray

        if not self._refs:
            return []
        return ray.wait(self._refs, num_returns=len(self._refs), timeout=0, fetch_local=False)[0]


class GroupSeat(TaskSeat):
    """A task on each of several hosts, which are one training."""

    def _ask(self) -> None:
        from ray.util import placement_group

        self._over = False
        self._follow_until: float | None = None
        self._group: Any = None
        self._head: Any = None
        if self._demand.head is None:
            self._group = self._asked_group({})
        else:
            self._head = placement_group([{self._demand.head: 1}])

    def _asked_group(self, more: Mapping[str, float]) -> Any:
        from ray.util import placement_group

        bundles = [{**self._demand.bundle, **more} for _ in range(self._demand.hosts)]
        return placement_group(bundles, strategy="STRICT_SPREAD", name=self.name)

    def has_ended(self) -> bool:
        """As `scaling.launch.seats.Seat` says; goes on with what was reserved meanwhile."""
        if not self._over:
            self._advance()
        if super().has_ended():
            self.give_back()
        return self._over

    def is_over(self) -> bool:
        return self._over or (bool(self._refs) and super().is_over())

    def cancel(self, *, force: bool) -> None:
        if not self._refs:
            self._over = True
        super().cancel(force=force)

    def give_back(self) -> None:
        from ray.util import remove_placement_group

        self._over = True
        for group in (self._group, self._head):
            if group is not None:
                remove_placement_group(group)
        self._group = self._head = None

    def _advance(self) -> None:
        """A slice's first host, then its others, then the tasks; and an end for all."""
        if self._group is None and (nodes := _nodes_of(self._head)):
            name = nodes[0].get("Labels", {}).get(SLICE)
            self._group = self._asked_group({name: 0.001} if name in nodes[0]["Resources"] else {})
        if self._group is not None and not self._refs and (nodes := _nodes_of(self._group)):
            self._start(nodes[0]["NodeManagerAddress"])
        ended = self._ended()
        if ended and self._follow_until is None:
            self._follow_until = time.monotonic() + SECONDS_TO_FOLLOW
        if self._follow_until is not None and time.monotonic() > self._follow_until:
            self.cancel(force=False)

    def _start(self, host: str) -> None:
        """The tasks, of which the first is the coordinator, on `host`."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        together = ["--coordinator", f"{host}:{random.choice(PORTS)}"]
        together += ["--processes", str(self._demand.hosts), "--process"]
        for number in range(self._demand.hosts):
            there = PlacementGroupSchedulingStrategy(self._group, number)
            log = self._log if number == 0 else self._log.with_suffix(f".{number}.log")
            told = ["--cluster", "tpu"] if self._demand.head else [*together, str(number)]
            self._refs.append(self._task([*self._arguments, *told], log, scheduling_strategy=there))


def _nodes_of(group: Any) -> list[dict[str, Any]]:
    """The nodes of a placement group's bundles, in their order; none before all are reserved."""
    import ray
    from ray.util import placement_group_table

    table = placement_group_table(group)
    if table.get("state") != "CREATED":
        return []
    nodes = {node["NodeID"]: node for node in ray.nodes()}
    return [nodes[node] for _, node in sorted(table["bundles_to_node_id"].items())]


def _words_of(ref: Any) -> str:
    """How a task that is over has ended; "" where in order."""
    import ray

    try:
        return str(ray.get(ref, timeout=5))
    except ray.exceptions.RayTaskError as error:
        return f"{type(error.cause).__name__}: {error.cause}"
    except ray.exceptions.RayError as error:
        first = next(iter(str(error).splitlines()), "")
        return f"{type(error).__name__}: {first}"
