"""The learning curves of a study's runs as one table, as far as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from fits.base.errors import UserError
from scaling.launch.launch_spec import selected
from scaling.runs.begun import as_begun
from scaling.runs.metrics_file import MetricsLine, curve
from scaling.runs.run_folder import RunFolder
from scaling.study.study import Study

OF_RUN = ("run", "model", "params", "data_size", "batch", "seed")
OF_LOOK = ("step", "images_seen", "flops", *list(MetricsLine.model_fields)[2:])


def as_csv(study: Study, runs: Path, only: Sequence[str] = ()) -> str:
    """A line a look, run after run; what is not known is empty.

    Raises:
      UserError: no run has begun, or `only` chooses none.
    """
    study = selected(as_begun(study, runs), only)
    columns = [each for each in (*OF_RUN, *OF_LOOK) if each != "layer_gradient_norms"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    any_line = False
    for run in study.runs:
        about = {
            "run": run.id,
            "model": run.model_name,
            "params": run.params,
            "data_size": run.data_size,
            "batch": run.batch,
            "seed": run.seed,
        }
        for line in curve(RunFolder(runs / run.id), run):
            any_line = True
            flops = round(run.flops * line.images_seen / run.images_seen)
            writer.writerow({**line.model_dump(), **about, "flops": flops})
    if not any_line:
        raise UserError([f"no run of {study.name} has made a step in {runs}."])
    return text.getvalue()
