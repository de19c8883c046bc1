"""Event files that TensorBoard reads, by tensorboardX, which needs no TensorFlow."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.writers.protocol import About, Sink


class TensorBoard:
    """A folder of event files a run: `tensorboard --logdir FOLDER` shows them all."""

    def __init__(self, folder: Path):
        self._folder = folder

    def open(self, about: About, after: int) -> Sink:
        from tensorboardX import SummaryWriter

        name = re.sub(r"[^\w.-]+", "-", f"{about.name} {about.run}")
        files = SummaryWriter(
            str(self._folder / name),
            # TensorBoard forgets what earlier files say of later steps: none is shown twice.
            purge_step=after + 1 if after else None,
            # tensorboardX names files by the second, and would replace that of this second.
            filename_suffix=f".{time.time_ns()}",
        )
        if not after:
            config = json.dumps(about.config, indent=2)
            files.add_text("run", "\n".join(f"    {each}" for each in config.splitlines()), 0)
        return _Events(files)


class _Events:
    def __init__(self, files: Any):
        self._files = files

    def line(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._files.add_scalar(name, value, step)

    def results(self, step: int, numbers: Mapping[str, float]) -> None:
        self.line(step, {f"result/{name}": value for name, value in numbers.items()})

    def flush(self) -> None:
        self._files.flush()

    def close(self) -> None:
        self._files.close()
