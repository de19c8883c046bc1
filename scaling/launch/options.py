"""Options of `scaling launch` and `scaling work`. Loads nothing but typer: every command's start
waits for it."""

from __future__ import annotations

from typing import Annotated

import typer

INSTEAD = "Instead of the study's [placement]."

Where = Annotated[
    str,
    typer.Option(
        "--on", metavar="LAUNCHER", help="Where to train: local is this machine; ray a cluster."
    ),
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
    int, typer.Option(min=1, help="Runs side by side on one GPU, each with a share of it.")
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
    float | None, typer.Option(help="On ray: cores of a seat, on each host.", show_default="1")
]
Gpus = Annotated[
    float | None,
    typer.Option(
        help="On ray: GPUs of a seat, on each host; 0.5 has two share one.", show_default="0"
    ),
]
Resource = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=AMOUNT",
        help="On ray: a further resource of a seat, as nodes name it; may be given several times.",
    ),
]
Hosts = Annotated[
    int | None,
    typer.Option(min=1, help="On ray: nodes that train a run together.", show_default="1"),
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
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL=VALUE",
        help="Of runs with that alone: run, model, data_size, images_seen, batch, seed or trunk; "
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
        "training, or 12h of devices.",
    ),
]
HangAfter = Annotated[
    float | None,
    typer.Option(
        min=1.0,
        metavar="SECONDS",
        help="Kill a worker that makes no step and compiles nothing new for so long, and try its "
        "run again.",
        show_default="never",
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
