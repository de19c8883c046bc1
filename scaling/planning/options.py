"""Options of `scaling plan`. Loads nothing but typer: every command's start waits for it."""

from __future__ import annotations

from typing import Annotated

import typer

Table = Annotated[
    str | None,
    typer.Option(metavar="FILE|-", help="Its runs as CSV, one a line: fit-laws next takes it."),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICES",
        help="Plan its steps for a slice of TPUs as v3:2x2, for gpu:h100 or gpu:h100x8, for cpu, "
        "or for device:memory=24GiB,peak=165e12[,bandwidth=,link=,efficiency=,count=].",
    ),
]
ImagesPerDevice = Annotated[
    int | None,
    typer.Option(min=1, max=10**6, help="With --on: instead of the study's batches."),
]
Update = Annotated[
    str | None, typer.Option(metavar="plain|fused", help="With --on: not chosen but given.")
]
Rematerialise = Annotated[
    str | None,
    typer.Option(metavar="none|dots|full|offload", help="With --on: not chosen but given."),
]
Fsdp = Annotated[
    int | None,
    typer.Option(min=1, help="With --on: devices that share the state; not chosen but given."),
]
Tensor = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --on: devices that see the same images and share features; 1 unless given.",
    ),
]
ClosedForm = Annotated[
    bool,
    typer.Option("--closed-form", help="With --on: compile nothing; memory by the closed form."),
]
Search = Annotated[
    bool,
    typer.Option("--search", help="With --on: also compile the largest batch; takes long."),
]
Price = Annotated[
    str | None,
    typer.Option(
        metavar="USD|FILE",
        help="With --on: US dollars a device-hour, or a TOML file with a line such as v3 = 0.5.",
    ),
]
