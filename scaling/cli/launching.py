"""The commands that have other processes train: `scaling launch`, and `scaling kubernetes`, which
prints a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fits.base.errors import UserError
from scaling.cli.options import Runs, StudyName
from scaling.cli.output import write_json
from scaling.launch import options as training


def launch(
    study: StudyName,
    runs: Runs = Path("runs"),
    on: training.Where = None,
    workers: training.Workers = None,
    devices_per_run: training.DevicesPerRun = None,
    runs_per_device: training.RunsPerDevice = None,
    address: training.Address = None,
    resource: training.Resource = None,
    hosts: training.Hosts = None,
    tpu: training.Tpu = None,
    update: training.Update = None,
    remat: training.Rematerialise = None,
    microbatches: training.Microbatches = None,
    fsdp: training.Fsdp = None,
    tensor: training.Tensor = None,
    only: training.Only = None,
    first: training.First = None,
    max_parallel: training.MaxParallel = None,
    budget: training.Spend = None,
    hang_after: training.HangAfter = None,
    stop: training.Stop = None,
    partition: training.Partition = None,
    account: training.Account = None,
    qos: training.Qos = None,
    time: training.Time = None,
    gpus: training.Gpus = None,
    cpus: training.Cpus = None,
    memory: training.Memory = None,
    constraint: training.Constraint = None,
    sbatch: training.Sbatch = None,
    requeue: training.Requeue = None,
    detach: training.Detach = None,
    retry: training.Retry = False,
    json_lines: training.JsonLines = False,
    dry_run: training.DryRun = False,
    json_file: training.DryRunJson = None,
) -> None:
    """Train and measure every run of STUDY that is not done.

    It may be stopped at any moment, by Ctrl-C or a kill. Launch again and each run resumes from its
    last checkpoint and ends with the same numbers, bit for bit. Any number of launches may share
    RUNS, from several machines too: each trains what nobody is at. SIGTERM and Ctrl-C make workers
    keep a checkpoint and leave. A run whose worker dies is tried again, three times in all. Writes
    RUNS/<run>/, RUNS/trunks/ and RUNS/logs/. Exit status 1 when a run failed: the reason is
    printed, and in RUNS/<run>/failed.txt.

    Each worker is shown the devices it may use and no others: a GPU or a TPU chip each, or as many
    as --devices-per-run says, else a core. How a run is computed is no part of its id, and may
    change between launches: docs/training/devices.md. On a cluster (--on slurm:
    docs/training/slurm.md) this asks for jobs, watches the folders and replaces jobs that end
    early.
    """
    if json_file is not None and not dry_run:
        raise UserError([f"--json {json_file}: is for --dry-run; add that, or leave it out."])
    from scaling.launch import launch as launching
    from scaling.launch.launch_spec import Budget, LaunchSpec
    from scaling.launch.protocol import launcher, placed
    from scaling.launch.stopping import rules_named
    from scaling.study.parse import read_study

    where = {
        "workers": workers,
        "runs_per_device": runs_per_device,
        "partition": partition,
        "account": account,
        "qos": qos,
        "time": time,
        "gpus": gpus,
        "cpus": cpus,
        "memory": memory,
        "constraint": constraint,
        "sbatch": sbatch or None,
        "requeue": requeue,
        "detach": detach,
        "address": address,
        "resource": resource or None,
        "hosts": hosts,
        "tpu": tpu,
    }
    given = {
        "update": update,
        "remat": remat,
        "microbatches": microbatches,
        "fsdp": fsdp,
        "tensor": tensor,
        "devices": devices_per_run,
    }
    spend = None if budget is None else Budget.parse(budget)
    spec = LaunchSpec(
        retry=retry,
        only=tuple(only or ()),
        first=tuple(first or ()),
        max_parallel=max_parallel,
        budget=spend,
        hang_after=hang_after,
        stop=rules_named(stop or ()),
        json_lines=json_lines,
    )
    wanted = placed(read_study(study), given)
    chosen = launcher(on, where, wanted.launcher)
    if dry_run:
        found = launching.dry_run(wanted, runs, spec, chosen)
        if json_file is not None:
            write_json(found.as_json(), json_file)
        if json_file != "-":
            found.show()
        return
    done = launching.launch(wanted, runs, spec, chosen)
    raise typer.Exit(0 if done else 1)


def kubernetes(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Built-in study, or a path within the pods.")
    ],
    image: Annotated[str, typer.Option(help="Container image that has this project.")],
    claim: Annotated[str, typer.Option(help="PersistentVolumeClaim with the folder of runs.")],
    name: Annotated[str, typer.Option(help="Of the Job or JobSet.")] = "scaling",
    queue: Annotated[str | None, typer.Option(help="Kueue's LocalQueue.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Pods, or groups of --hosts.")] = 1,
    hosts: Annotated[int, typer.Option(min=1, help="Pods that train a run together.")] = 1,
    gpus: Annotated[int, typer.Option(min=0, help="NVIDIA GPUs of a pod.")] = 0,
    tpu_accelerator: Annotated[
        str | None, typer.Option(help="GKE's name, as tpu-v5-lite-podslice.")
    ] = None,
    tpu_topology: Annotated[str | None, typer.Option(help="Of the slice, as 4x4.")] = None,
) -> None:
    """Print a Kubernetes manifest that trains STUDY, as JSON for `kubectl apply -f -`.

    A Job of equal pods that share the runs of a volume, or with --hosts a JobSet whose pods train
    a run together. Talks to no cluster and writes nothing: docs/training/kubernetes.md.
    """
    from scaling.kubernetes import KubernetesSpec, manifest

    spec = KubernetesSpec(
        name=name,
        study=study,
        image=image,
        claim=claim,
        queue=queue,
        workers=workers,
        hosts=hosts,
        gpus=gpus,
        tpu_accelerator=tpu_accelerator,
        tpu_topology=tpu_topology,
    )
    write_json(manifest(spec), "-")
