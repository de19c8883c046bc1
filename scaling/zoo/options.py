"""Options of `scaling models`, `scaling convert` and `scaling evaluate`. Loads nothing but typer:
every command's start waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fits.base.errors import UserError

if TYPE_CHECKING:
    from models.weights.facts import About

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
COLOURS = "R,G,B"
Mean = Annotated[
    str | None,
    typer.Option(
        metavar=COLOURS,
        help="Of the pixels, 0 .. 1, that the network was trained on; goes before what a "
        "config.json says. One number stands for three.",
    ),
]
Std = Annotated[
    str | None, typer.Option(metavar=COLOURS, help="By which pixels less --mean were divided.")
]
Dtype = Annotated[
    str | None,
    typer.Option(metavar="float32|bfloat16", help="Of OUT.", show_default="as IN"),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List what becomes of what; write nothing.")
]


def about(heads: int | None, sincos: bool, mean: str | None, std: str | None) -> About:
    """What a person says of weights. Raises UserError where it cannot be."""
    from models.weights.facts import About
    from models.weights.pixels import pixels_of

    try:
        pixels = pixels_of(mean, std, "--mean and --std")
    except ValueError as error:
        raise UserError([str(error)]) from None
    return About(heads=heads, sincos=sincos, pixels=pixels)
