"""Weights & Biases. The key is WANDB_API_KEY of the environment, or what `wandb login` kept; with
WANDB_MODE=offline nothing is sent, and `wandb sync` does that later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.writers.protocol import About, Sink


class WeightsAndBiases:
    """A project a study; a run's id there is its id here, by which it is resumed."""

    def __init__(self, folder: Path):
        self._folder = folder

    def open(self, about: About, after: int) -> Sink:
        import wandb

        del after  # steps that a run there has come past are ignored
        self._folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
        )
        run = wandb.init(
            project=about.study,
            id=about.run,
            name=about.name,
            config=about.config,
            dir=str(self._folder),
            resume="allow",
            reinit="create_new",  # several runs are open at a time
            settings=quiet,
        )
        return _WandbRun(run)


class _WandbRun:
    def __init__(self, run: Any):
        self._run = run

    def line(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def results(self, step: int, numbers: Mapping[str, float]) -> None:
        del step
        self._run.summary.update(dict(numbers))

    def flush(self) -> None:
        """Its own process has the lines, and sends them."""

    def close(self) -> None:
        self._run.finish()
