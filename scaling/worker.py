"""What a worker does with the run folders it is given: train, measure, write down.

Works through them in order, compiling once for all that share a trunk. Whatever goes wrong with
one run is written into its folder and stops none of the others.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from scaling.base.config import digest
from scaling.data.source import SourceConfig
from scaling.evaluate import Evaluation
from scaling.runs.run_folder import Damaged, RunFolder, TrunkFolder, note
from scaling.training.initial import provenance
from scaling.training.loop import CheckpointPaths, Diverged, Progress, Trainer, train
from scaling.training.run import Run

PACKAGES = (
    "vit-scaling-laws",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
)


def work(paths: Sequence[Path]) -> bool:
    """Bring every run to its end; True when all of them got there.

    A run that is done is left alone; one that fails gets a `failed.txt` with the reason.
    """
    trainers: dict[str, Trainer] = {}
    finished = True
    for path in paths:
        folder = RunFolder(path)
        try:
            run, evaluations = folder.read()
            trunk = TrunkFolder.of(folder, run)
            with trunk.lock(), folder.lock():  # whoever was here before may have done the work
                folder.repair(note)
                _, evaluations = folder.read()  # another study may have added some meanwhile
                if not folder.is_done(evaluations):
                    _carry_out(folder, trunk, run, evaluations, trainers)
        except Exception as error:
            finished = False
            if not isinstance(error, Diverged | Damaged):
                traceback.print_exc()  # into the worker's log; the folder gets the reason alone
            _write_down(folder, error)
    return finished


def _write_down(folder: RunFolder, error: Exception) -> None:
    """Why a run ended early: as a failure, unless the machine is at fault and not the run."""
    reason = _reason(error)
    if isinstance(error, OSError | MemoryError) or "RESOURCE_EXHAUSTED" in reason:
        note(
            f"{folder.id} stopped: {reason} Fix this and launch again: training resumes from the "
            "last checkpoint."
        )
        return
    _say(f"{folder.id} failed: {reason}")
    try:
        folder.fail(reason)
    except OSError as trouble:
        note(f"{folder.id} failed: {reason} (which could not be written down: {trouble})")


def _carry_out(
    folder: RunFolder,
    trunk: TrunkFolder,
    run: Run,
    evaluations: Sequence[Evaluation],
    trainers: dict[str, Trainer],
) -> None:
    reason = trunk.divergence(run.branch_step)
    if reason is not None:
        raise Diverged(reason, step=run.branch_step)
    began = time.monotonic()
    folder.report(step=0, steps=run.steps, phase="compile")
    if run.trunk not in trainers:
        trainers[run.trunk] = Trainer(run)
    trainer = trainers[run.trunk]

    def tell(progress: Progress) -> None:
        folder.report(
            step=progress.step,
            steps=run.steps,
            phase="train" if progress.step <= run.branch_step else "cool down",
            images_per_second=progress.images_per_second,
            loss=progress.loss,
        )

    places = CheckpointPaths(trunk=trunk.path, own=folder.path / "checkpoints", say=note)
    try:
        end = train(trainer, run, places, tell)
    except Diverged as error:
        if error.step <= run.branch_step:
            trunk.diverge(error.step, str(error))
        raise
    folder.report(step=run.steps, steps=run.steps, phase="evaluate")
    measured = []
    confirmed = {row.evaluation for row in folder.results()}
    module = trainer.module(end.state)
    for evaluation in evaluations:
        if digest(evaluation) not in confirmed:
            found = evaluation.measure(module, objective=run.objective, source=run.data)
            measured.append((evaluation, found))
    manifest = _manifest(run, evaluations)
    manifest["seconds"] = round(end.seconds, 3)
    manifest["seconds_here"] = round(time.monotonic() - began, 3)
    folder.finish(measured, manifest)


def _manifest(run: Run, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """What decided the numbers, as plain JSON; the configuration itself stands in run.json."""
    transfers = [getattr(each, "data", None) for each in evaluations]
    sources = [run.data, *(each for each in transfers if isinstance(each, SourceConfig))]
    device = jax.devices()[0]
    return {
        "run": run.id,
        "trunk": run.trunk,
        "seed": run.seed,
        "params": run.params,
        "flops": run.flops,
        "images_seen": run.images_seen,
        "data": [source.provenance() for source in sources],
        "init": None if run.init is None else provenance(run.init),
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
        },
        "machine": {"platform": platform.platform(), "cpu": _cpu()},
        "revision": _revision(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        },
    }


def _cpu() -> str:
    """The processor's model, whose instructions decide the last digits on a CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def _revision() -> str | None:
    """The commit of this code, marked if it was changed since; None outside a git checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    """The installed version; None where the package is not there, as grain need not be."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, Diverged | Damaged):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip() or 'no further word'}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
