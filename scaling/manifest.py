"""What decided the numbers of a run, beside its configuration: for manifest.json."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from scaling.base.machine import installed_version, processor
from scaling.evaluate import Evaluation
from scaling.evaluate.user_files import checksums
from scaling.study.sources import sources_of
from scaling.training.accounting import spent
from scaling.training.initial import provenance
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
DESCRIBE = ["describe", "--always", "--dirty", "--abbrev=12"]


def manifest_of(run: Run, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """What decided the numbers, as plain JSON; the configuration itself stands in run.json."""
    device = jax.devices()[0]
    return {
        "run": run.id,
        "trunk": run.trunk,
        "seed": run.seed,
        "params": run.params,
        "flops": run.flops,
        "images_seen": run.images_seen,
        "data": [source.provenance() for source in sources_of(run, evaluations)],
        "evaluate": checksums(evaluations),
        "objective": run.objective.provenance(run.data),
        "init": None if run.init is None else provenance(run.init),
        "privacy": None if (private := spent(run)) is None else private.as_json(),
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
        },
        "machine": {"platform": platform.platform(), "cpu": processor()},
        "revision": _revision(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {
            "python": platform.python_version(),
            **{name: installed_version(name) for name in PACKAGES},
        },
    }


def _revision() -> str | None:
    """The commit of this code, marked if it was changed since; None where no git checkout has it,
    such as in a virtual environment that lies within somebody's own."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        for command in (["ls-files", "--error-unmatch", Path(__file__).name], DESCRIBE):
            found = subprocess.run([*git, *command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
