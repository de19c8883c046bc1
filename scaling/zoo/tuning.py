"""Fine-tunes a trained network of any origin, as a worker does it for a run, without a study.

    WORK/<id of the network>/finetune/...    as `scaling.evaluate.trained.outcomes` says
    WORK/<id of the network>/lease/          who fine-tunes it now

All of it is deleted once the command has measured everything.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fits.base.errors import UserError
from scaling.base.console import note
from scaling.evaluate.measured import Measured
from scaling.evaluate.trained.outcomes import FOLDER, outcomes
from scaling.evaluate.trained.trainings import Trainings
from scaling.evaluate.trained.trains import InTraining, NotMeasured, Trains
from scaling.planning.out_of_memory import is_out_of_memory
from scaling.runs.lease import LeaseLost, hold_if_free
from scaling.training.leaving import leaving_on_signals
from scaling.training.loop import CheckpointPaths
from scaling.training.placement_spec import DEFAULT
from scaling.zoo.trained import Trained

LEASE = "lease"
EVERY = 30.0  # seconds between two notes of a training


class Notes:
    """Tells a person how far a fine-tuning is."""

    def __init__(self, label: str):
        self._label, self._last = label, -EVERY

    def phase(self, name: str, step: int = 0) -> None:
        """Nothing: `beside` says it."""

    def beside(self, name: str, step: int, steps: int) -> None:
        if time.monotonic() - self._last >= EVERY:
            note(f"{self._label}: {name}, step {step:_} of {steps:_}")
            self._last = time.monotonic()


def fine_tuned(
    network: Trained, evaluations: Sequence[Trains], params: Any, work: Path
) -> Iterator[Measured]:
    """What each of these evaluations finds, after all trainings that it asks for.

    Args:
      params: of its backbone, NumPy arrays in nested dicts.
      work: where checkpoints are kept, and what was found before.

    Raises:
      UserError: nothing can be found, in words.
    """
    folder = work / network.run
    with _held(folder, network.label) as guard, _in_words(network.label):
        if known := outcomes(folder):
            note(f"{network.label}: {len(known)} of its trainings stand in {folder}; kept.")
        with leaving_on_signals() as leaving:
            find = Trainings(
                folder=folder,
                params=params,
                paths=CheckpointPaths(folder, folder, say=note, guard=guard),
                spec=DEFAULT,
                leaving=leaving,
                watch=Notes(network.label),
            )
            for each in evaluations:
                yield from each.found(network.upstream, find)


def clear(networks: Iterable[Trained], work: Path) -> None:
    """Delete what is left of the trainings of these networks, now that all is measured, but for
    those of another process that has begun since."""
    for network in networks:
        folder = work / network.run
        if not folder.is_dir():
            continue
        with hold_if_free(folder / LEASE) as lease:
            if lease is None:
                continue
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
        shutil.rmtree(folder / LEASE, ignore_errors=True)
        with suppress(OSError):  # another's lies there
            folder.rmdir()
    with suppress(OSError):
        work.rmdir()


@contextmanager
def _held(folder: Path, label: str) -> Iterator[Any]:
    """What raises where another process has taken over."""
    folder.mkdir(parents=True, exist_ok=True)
    with hold_if_free(folder / LEASE) as lease:
        if lease is None:
            raise UserError(
                [
                    f"{label}: another process fine-tunes it in {folder}; wait for that one, or "
                    "give another folder by --work."
                ]
            )
        yield lease.check


@contextmanager
def _in_words(label: str) -> Iterator[None]:
    try:
        yield
    except (NotMeasured, LeaseLost) as error:
        raise UserError([f"{label}: {error}"]) from error
    except InTraining as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            [
                f"{label}: fine-tuning {error.run.model.name} does not fit into the device's "
                f"memory; give a smaller batch than {error.run.batch:_} in its protocol, or "
                "measure it on another device."
            ]
        ) from error
