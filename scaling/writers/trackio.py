"""trackio, which keeps a SQLite file a project: in the folder, or where TRACKIO_DIR says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.writers.protocol import About, Sink


class Trackio:
    """A project a study; a run is resumed by its name, which ends with its id."""

    def __init__(self, folder: Path):
        os.environ.setdefault("TRACKIO_DIR", str(folder.absolute()))  # read when it is imported

    def open(self, about: About, after: int) -> Sink:
        del after
        return _TrackioRun(about)


class _TrackioRun:
    """Finished at every flush, as nothing else waits until all is written."""

    def __init__(self, about: About):
        self._about = about
        self._run: Any = None

    def line(self, step: int, numbers: Mapping[str, float]) -> None:
        if self._run is None:
            import trackio

            self._run = trackio.init(
                project=self._about.study,
                name=f"{self._about.name} {self._about.run}",
                config=self._about.config,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self._run.log(dict(numbers), step=step)

    def results(self, step: int, numbers: Mapping[str, float]) -> None:
        self.line(step, {f"result/{name}": value for name, value in numbers.items()})

    def flush(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None

    def close(self) -> None:
        self.flush()
