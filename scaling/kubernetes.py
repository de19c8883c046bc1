"""A Kubernetes manifest that trains a study: `kubectl apply -f -` takes the JSON.

Talks to no cluster. Workers share the runs by their leases, so a Job of any number of equal pods
is all that is needed; only a run that several hosts train together needs a JobSet, which gives its
pods names that they find each other by.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from fits.base.errors import UserError
from scaling.base.config import Config

GRACE = 60  # seconds from SIGTERM to SIGKILL; a worker keeps a checkpoint and leaves within 10
RETRIES = 1_000  # of a pod, or of all that train a run together; preemptions of a pod do not count
CHIPS_PER_HOST = 4  # of a TPU slice of several hosts, as GKE makes them
NAME = re.compile(r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?")
TOPOLOGY = re.compile(r"[1-9]\d*x[1-9]\d*(x[1-9]\d*)?")
OTHERS = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")  # names of what is there


MISTAKE = {
    "name": "mistake",
    "action": "FailJobSet",
    "onJobFailureReasons": ["PodFailurePolicy"],
}


class KubernetesSpec(Config):
    """What the manifest is made of."""

    name: str
    """Of the Job or JobSet."""
    study: str
    """As `scaling work` takes it: a built-in name, or a path within the pods."""
    image: str = Field(min_length=1)
    """Container image in which the project is installed."""
    claim: str = Field(min_length=1)
    """PersistentVolumeClaim, ReadWriteMany, with the folder of runs."""
    queue: str | None = None
    """Kueue's LocalQueue; None: not queued."""
    workers: int = Field(1, ge=1)
    """Pods, or with several hosts groups of pods, that share the study."""
    hosts: int = Field(1, ge=1)
    """Pods that train a run together."""
    gpus: int = Field(0, ge=0)
    """NVIDIA GPUs of a pod."""
    tpu_accelerator: str | None = None
    """As GKE labels nodes, such as tpu-v5-lite-podslice."""
    tpu_topology: str | None = None
    """Of the slice, such as 4x4."""


def manifest(spec: KubernetesSpec) -> dict[str, Any]:
    """A Job, or a JobSet where several pods train a run together.

    Raises:
      UserError: all that Kubernetes would refuse, or that does not fit together.
    """
    if mistakes := _mistakes(spec):
        raise UserError(mistakes)
    labels = {"kueue.x-k8s.io/queue-name": spec.queue} if spec.queue else {}
    meta = {"name": spec.name, "labels": {"app.kubernetes.io/name": "scaling", **labels}}
    suspend = {"suspend": True} if spec.queue else {}  # Kueue lets it begin
    if spec.hosts == 1:
        job = _job(spec, pods=spec.workers)
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": job | suspend}
    group = {
        "name": "workers",
        "replicas": spec.workers,
        "template": {"spec": _job(spec, pods=spec.hosts)},
    }
    # One host lost ends the training of all: its group begins again, at the last checkpoint.
    whole = {
        "failurePolicy": {"maxRestarts": RETRIES, "rules": [MISTAKE]},
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "replicatedJobs": [group],
    }
    if spec.tpu_topology:
        key = "alpha.jobset.sigs.k8s.io/exclusive-topology"
        meta["annotations"] = {key: "cloud.google.com/gke-nodepool"}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": meta,
        "spec": whole | suspend,
    }


def worker_command(spec: KubernetesSpec) -> Sequence[str]:
    """What each pod runs. One shell line where pods have to learn their number."""
    work = ["scaling", "work", spec.study, "--runs", "/runs"]
    if spec.hosts > 1:  # a group whose runs failed is at its end, and would only begin again
        work.append("--exit-zero")
    if spec.tpu_topology:
        return [*work, "--cluster", "tpu"] if spec.hosts > 1 else work
    if spec.hosts == 1:
        return work
    first = f"{spec.name}-workers-$JOB_INDEX-0.{spec.name}:8476"
    by_hand = f"--coordinator {first} --processes {spec.hosts} --process $JOB_COMPLETION_INDEX"
    # The study is handed over as an argument: no shell reads it.
    return ["sh", "-c", f'exec scaling work "$0" --runs /runs --exit-zero {by_hand}', spec.study]


def _job(spec: KubernetesSpec, *, pods: int) -> dict[str, Any]:
    together = spec.hosts > 1
    gone: dict[str, Any] = {
        "action": "Ignore",  # evicted, preempted, or its node lost: begins again, uncounted
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    # 2: a mistake in the study or on the command line; 1: runs failed, which the same pod would not
    # try again. Neither is better the next time. Other pods go on.
    ended: dict[str, Any] = {
        "action": "FailJob" if together else "FailIndex",
        "onExitCodes": {"operator": "In", "values": [2] if together else [1, 2]},
    }
    return {
        "completionMode": "Indexed",
        "completions": pods,
        "parallelism": pods,
        **({"backoffLimit": 0} if together else {"backoffLimitPerIndex": RETRIES}),
        "podFailurePolicy": {"rules": [ended] if together else [gone, ended]},
        "template": {"spec": _pod(spec)},
    }


def _pod(spec: KubernetesSpec) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "containers": [_container(spec)],
        "volumes": [{"name": "runs", "persistentVolumeClaim": {"claimName": spec.claim}}],
    }
    if spec.tpu_topology:
        pod["nodeSelector"] = {
            "cloud.google.com/gke-tpu-accelerator": spec.tpu_accelerator,
            "cloud.google.com/gke-tpu-topology": spec.tpu_topology,
        }
    return pod


def _container(spec: KubernetesSpec) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "worker",
        "image": spec.image,
        "command": list(worker_command(spec)),
        "volumeMounts": [{"name": "runs", "mountPath": "/runs"}],
    }
    if spec.hosts > 1 and not spec.tpu_topology:
        label = "metadata.labels['jobset.sigs.k8s.io/job-index']"
        container["env"] = [
            {"name": "JOB_INDEX", "valueFrom": {"fieldRef": {"fieldPath": label}}},
        ]
        container["ports"] = [{"containerPort": 8476}]
    devices = {"nvidia.com/gpu": spec.gpus, "google.com/tpu": _chips(spec)}
    if asked := {name: str(count) for name, count in devices.items() if count}:
        container["resources"] = {"limits": asked, "requests": asked}
    return container


def _chips(spec: KubernetesSpec) -> int:
    """TPU chips of one host."""
    return _slice_chips(spec.tpu_topology) // spec.hosts if spec.tpu_topology else 0


def _slice_chips(topology: str) -> int:
    chips = 1
    for side in topology.split("x"):
        chips *= int(side)
    return chips


def _mistakes(spec: KubernetesSpec) -> list[str]:
    found = []
    if not NAME.fullmatch(spec.name):
        found.append(
            f"--name {spec.name}: Kubernetes takes up to 50 small letters, digits and hyphens, a "
            "letter first; say another --name."
        )
    for option, given in (("claim", spec.claim), ("queue", spec.queue)):
        if given is not None and not OTHERS.fullmatch(given):
            found.append(
                f"--{option} {given}: no object of Kubernetes has such a name; it has small "
                "letters, digits, hyphens and points."
            )
    if (spec.tpu_accelerator is None) != (spec.tpu_topology is None):
        found.append("--tpu-accelerator and --tpu-topology: a slice needs both.")
    if spec.gpus and spec.tpu_topology:
        found.append("--gpus and --tpu-topology: a pod has one kind of device; leave one out.")
    if spec.tpu_topology is not None and not TOPOLOGY.fullmatch(spec.tpu_topology):
        found.append(f"--tpu-topology {spec.tpu_topology}: is no topology such as 4x4 or 2x2x4.")
    elif spec.tpu_topology is not None:
        found += _wrong_hosts(spec, _slice_chips(spec.tpu_topology))
    return found


def _wrong_hosts(spec: KubernetesSpec, chips: int) -> list[str]:
    """A slice of up to eight chips may be one host; a larger one has four chips a host."""
    if spec.hosts == 1 and chips <= 2 * CHIPS_PER_HOST:
        return []
    if spec.hosts * CHIPS_PER_HOST == chips:
        return []
    return [
        f"--tpu-topology {spec.tpu_topology}: has {chips} chips, on "
        f"{max(1, chips // CHIPS_PER_HOST)} hosts of {CHIPS_PER_HOST}; --hosts is {spec.hosts}."
    ]
