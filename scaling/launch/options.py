"""Options of `scaling launch` and `scaling work`. Loads nothing but typer: every command's start
waits for it."""

from __future__ import annotations

from typing import Annotated

import typer

INSTEAD = "Instead of the study's [placement]."

Where = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="local|slurm|ray",
        help="Where to train: on this machine, or in jobs of a cluster.",
        show_default="as [launcher] in the study says, else local",
    ),
]
Partition = Annotated[str | None, typer.Option(help="Of Slurm.")]
Account = Annotated[str | None, typer.Option(help="Of Slurm.")]
Qos = Annotated[str | None, typer.Option(help="Slurm's quality of service.")]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="4h|1-12:00:00",
        help="Limit of each of Slurm's jobs, which then go back to the queue.",
    ),
]
Memory = Annotated[str | None, typer.Option(metavar="64G", help="Of a node.")]
Constraint = Annotated[str | None, typer.Option(help="Features of Slurm's nodes.")]
Sbatch = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=VALUE]",
        help="A further option of sbatch, as reservation=big. May be given several times.",
    ),
]
Requeue = Annotated[
    bool | None,
    typer.Option(
        "--requeue/--no-requeue",
        help="Whether jobs that meet their limit or are preempted go back to Slurm's queue.",
        show_default="requeue",
    ),
]
Detach = Annotated[
    bool | None,
    typer.Option("--detach", help="Ask for the jobs and leave them."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes side by side on a machine.",
        show_default="one a device; without any, a core",
    ),
]
DevicesPerRun = Annotated[
    int | None,
    typer.Option(min=1, help="Devices that a run is trained on; simulated on a CPU."),
]
RunsPerDevice = Annotated[
    int | None,
    typer.Option(
        min=1, help="Runs side by side on one GPU, each with a share of it.", show_default="1"
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="On ray: the cluster's head.",
        show_default="$RAY_ADDRESS, or this machine's cluster",
    ),
]
Cpus = Annotated[
    float | None, typer.Option(help="Cores of each job, on each of its hosts.", show_default="1")
]
Gpus = Annotated[
    float | None,
    typer.Option(
        help="GPUs of each job, on each of its hosts; on ray 0.5 has two share one.",
        show_default="none",
    ),
]
Resource = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=AMOUNT",
        help="On ray: a further resource of a job, as nodes name it; may be given several times.",
    ),
]
Hosts = Annotated[
    int | None,
    typer.Option(min=1, help="Hosts of each job, which train a run together.", show_default="1"),
]
Tpu = Annotated[
    str | None,
    typer.Option(metavar="TYPE", help="On ray: a TPU slice of several hosts, as v5litepod-16."),
]
Update = Annotated[str | None, typer.Option(metavar="plain|fused", help=INSTEAD)]
Rematerialise = Annotated[str | None, typer.Option(metavar="none|dots|full|offload", help=INSTEAD)]
Microbatches = Annotated[int | None, typer.Option(min=1, help=INSTEAD)]
Fsdp = Annotated[int | None, typer.Option(min=1, help=INSTEAD)]
Tensor = Annotated[int | None, typer.Option(min=1, help=INSTEAD)]
Retry = Annotated[bool, typer.Option("--retry", help="Also train runs that failed before.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="End, with status 75, where others are at the rest.")
]
ExitZero = Annotated[
    bool,
    typer.Option(
        "--exit-zero",
        help="End with status 0 though runs failed; for what starts again what fails.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL=VALUE",
        help="Of runs with that alone: run, model, data_size, subset, resample, images_seen, "
        "batch, seed, trunk or variant; "
        "COL!=VALUE for all others. May be given several times.",
    ),
]
First = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL=VALUE",
        help="Jobs with such runs before all others, which are taken longest first. Given several "
        "times: those that meet the first, then the second.",
    ),
]
MaxParallel = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Workers at the same time, at most; on a cluster: jobs.",
        show_default="as many as there is room for",
    ),
]
Spend = Annotated[
    str | None,
    typer.Option(
        metavar="FLOPS|HOURS",
        help="Leave, with a checkpoint of every run, when so much is spent: 1e18 FLOPs of "
        "training of these runs, by whichever launch, or 12h of this launch's devices.",
    ),
]
HangAfter = Annotated[
    float | None,
    typer.Option(
        min=1.0,
        metavar="SECONDS",
        help="Kill a worker that makes no step and compiles nothing new for so long, and try its "
        "run again.",
        show_default="an hour, while it makes steps",
    ),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        metavar="diverged|behind",
        help="Give up runs whose loss stays above the loss they began with; or that will hardly "
        "reach the frontier, by a forecast of their curve. May be given twice.",
        show_default="none",
    ),
]
JsonLines = Annotated[
    bool,
    typer.Option("--json-lines", help="What happens as JSON, an object a line, for machines."),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say who would get what; train nothing, write nothing."),
]
DryRunJson = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="With --dry-run: as JSON.")
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="slurm|tpu", help="Who knows the other processes of this training."),
]
Coordinator = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="By hand: where process 0 is.")
]
Processes = Annotated[
    int | None, typer.Option(min=1, help="By hand: how many processes there are.")
]
Process = Annotated[
    int | None, typer.Option(min=0, help="By hand: the number of this one, from 0.")
]
