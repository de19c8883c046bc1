"""The commands that look at the images of a study: `scaling sheet` and `scaling duplicates`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fits.base.errors import UserError
from scaling.cli.options import Out, StudyName


def sheet(study: StudyName, out: Out = Path("results")) -> None:
    """Draw training images of STUDY, a row a class, into OUT/<study>.sheet.png."""
    from scaling.data.contact_sheet import contact_sheet
    from scaling.study.parse import read_study

    found = read_study(study)
    path = out / f"{found.name}.sheet.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        contact_sheet(found.runs[0].data.train(), path)
    except ValueError as error:  # an image that cannot be decoded, a cache that cannot be kept
        raise UserError([str(error)]) from error
    print(path)


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

    By a perceptual hash, mirrored or not, and with --network by features. Prints how many there are
    for each set, and writes OUT/<study>.duplicates-<digest>.json: data of kind "without" leaves
    those images out.
    """
    from scaling.base.console import note
    from scaling.duplicates import Alike, features_of, find, report
    from scaling.study.parse import read_study

    found = read_study(study)
    features = None if network is None else features_of(network)
    wanted = Alike(distance, features, cosine, None if network is None else str(network))
    left_out, rows = find(found, wanted, note)
    report(rows, left_out, left_out.write(out, f"{found.name}.duplicates") if rows else None)
