"""The command `scaling duplicates`: it parses and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.options import Out, StudyName


def duplicates(
    study: StudyName,
    out: Out = Path("results"),
    distance: Annotated[
        int, typer.Option(min=0, max=32, help="Bits of 64 in which two hashes differ, at most.")
    ] = 4,
    network: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Compare features too, by the network of a finished run."),
    ] = None,
    cosine: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of two images' features, at least.")
    ] = 0.95,
) -> None:
    """Find training images of STUDY that look like images it is measured on.

    By a perceptual hash of whole images, mirrored or not, and with --network by features. The
    study's own training images are never compared with themselves. Prints how many there are for
    each set, and writes OUT/<study>.duplicates-<digest>.json: data of kind "without" leaves
    those images out.
    """
    from fits.base.files import folder_made
    from scaling.base.console import note
    from scaling.duplicates import Alike, features_of, find, report
    from scaling.study.parse import read_study

    found = read_study(study)
    features = None if network is None else features_of(network)
    wanted = Alike(distance, features, cosine, None if network is None else str(network))
    with folder_made(out):  # before hours of work, not after
        left_out, rows = find(found, wanted, note)
        written = left_out.write(out, f"{found.name}.duplicates") if left_out.kept else None
    report(found, rows, left_out, written)
