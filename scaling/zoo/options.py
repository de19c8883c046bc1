"""Options of `scaling models` and `scaling convert`. Loads nothing but typer: every command's start
waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...", help="Such as Ti/16 or BiT-R50x1; by default the whole zoo."
    ),
]
Resolution = Annotated[
    int | None,
    typer.Option(min=1, max=8192, help="Side of the images, pixels.", show_default="224"),
]
Classes = Annotated[
    int | None,
    typer.Option(min=1, max=10**9, help="Count a linear classifier for so many classes."),
]
Budget = Annotated[
    float | None,
    typer.Option(metavar="FLOPS", help="Propose shapes for a training of so many FLOPs: 1e18."),
]
Patch = Annotated[
    int | None,
    typer.Option(
        min=1, max=8192, help="Side of a patch, pixels; with --budget.", show_default="14"
    ),
]
Source = Annotated[
    Path, typer.Argument(metavar="IN", help="An .npz or .safetensors, or a folder RUNS/ID.")
]
Converted = Annotated[
    Path, typer.Argument(metavar="OUT", help="An .npz or .safetensors; replaced if there.")
]
To = Annotated[
    str | None,
    typer.Option(
        metavar="LAYOUT",
        help="big_vision, big_vision-scan, augreg or bit for .npz; timm or huggingface for "
        ".safetensors.",
        show_default="big_vision or timm",
    ),
]
Shape = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Sizes that IN must have, such as B/16."),
]
Heads = Annotated[int | None, typer.Option(min=1, help="Attention heads, where IN does not tell.")]
Positions = Annotated[
    int | None,
    typer.Option(min=1, max=8192, help="Resize learned positions to images of that side, px."),
]
Sincos = Annotated[
    bool,
    typer.Option("--sincos", help="IN stores no positions: they are fixed sine-cosine ones."),
]
Dtype = Annotated[
    str | None,
    typer.Option(metavar="float32|bfloat16", help="Of OUT.", show_default="as IN"),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List what becomes of what; write nothing.")
]
