"""Arguments and options that several commands of `scaling` share. Loads nothing but typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scaling.base.storage import place

StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name of a built-in study, or path of a study file.")
]
Runs = Annotated[
    Any,  # a Path, or what stands in for one in a bucket: typer would make a Path of that
    typer.Option(
        parser=str,
        callback=place,
        metavar="PATH|URL",
        help="Folder of run folders; studies may share it. Or s3://... or gs://...",
    ),
]
Out = Annotated[Path, typer.Option(help="Folder that tables and figures are written to.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="As JSON; - is standard output.")
]
