"""More files from others, beside those of a run's training: what a launch leaves, a study, a saved
law, weights. Readers as in `untrusted`."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from saved_laws import RUNS, saved_law
from toml_text import toml
from untrusted import RUN, STUDY, Place, bytes_of, everything, mistaken
from weights_cases import GAP, random_params

from fits.base.errors import UserError
from fits.saved.law_file import read_law
from models.weights.reading import read
from models.weights.tensors import Unusable
from models.weights.writing import write
from scaling.data.prepare.convert import convert_prepared
from scaling.data.tfds.source import Tfds
from scaling.data_meant import meant
from scaling.duplicates import features_of
from scaling.evaluate.trained.outcomes import (
    FOLDER,
    Outcome,
    outcome_text,
    read_outcome,
    steps_done,
)
from scaling.launch.launch_file import read_launch_file, write_launch_file
from scaling.launch.launch_spec import LaunchSpec
from scaling.objectives.teacher import Teacher
from scaling.runs.attempts import Attempts, read_attempts
from scaling.runs.rule_file import RULE, StoppedByRule, Verdict, check_rules
from scaling.study.parse import read_study
from scaling.training.checkpoint_manifest import sealed
from scaling.training.initial import Init, problems, shape_of

TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
STUDY_FILE: dict[str, Any] = {
    "name": "small",
    "question": "Does it end?",
    "data": {"kind": "procedural", "heldout_size": 1000},
    "recipe": {"learning_rate": 1e-2, "warmup_steps": 10},
    "models": {"a": {"patch": 4, "width": 8, "depth": 1, "mlp": 32, "heads": 1}},
    "evaluate": [
        {"kind": "upstream", "images": 100},
        {"kind": "fewshot", "name": "digits", "data": {"kind": "digits", "resolution": 16}},
    ],
    "grid": [{"model": ["a"], "images_seen": [6400, 12800], "batch": 64, "seed": [0, 1]}],
    "checkpoints": {"every_seconds": 300},
    "placement": {"fsdp": 1},
    "launcher": {"kind": "slurm", "time": "4h", "sbatch": ["reservation=big"]},
}


def attempts(place: Place, chance: random.Random) -> None:
    (place.folder.path / "manifest.json").unlink()
    about = Attempts(step=3, reasons=("its worker was killed.",)).model_dump(mode="json")
    (place.folder.path / "attempts.json").write_bytes(bytes_of(about, chance))
    read_attempts(place.folder.path).after("again", 3)
    everything(place)


def verdict(place: Place, chance: random.Random) -> None:
    about = Verdict(rule="behind", step=3, reason="it is behind").model_dump()
    (place.folder.path / RULE).write_bytes(bytes_of(about, chance))
    with contextlib.suppress(StoppedByRule):
        check_rules(place.folder.path)
    everything(place)


def launched(place: Place, chance: random.Random) -> None:
    path = write_launch_file(STUDY, place.runs, LaunchSpec())
    path.write_bytes(bytes_of(json.loads(path.read_text()), chance))
    with contextlib.suppress(UserError):
        read_launch_file(path)


def outcome(place: Place, chance: random.Random) -> None:
    about = Outcome(
        run=RUN.id, model="tiny", learning_rate=0.1, steps=10, images_seen=640, flops=1.0,
        seconds=1.0, error=0.5, n=100,
    )  # fmt: skip
    path = place.folder.path / FOLDER / f"{RUN.id}.json"
    path.parent.mkdir()
    if chance.random() < 0.5:  # with a sum that is right
        found = mistaken(about.model_dump(), chance)
        path.write_text(sealed(found) if isinstance(found, dict) else json.dumps(found))
    else:
        path.write_bytes(bytes_of(json.loads(outcome_text(about)), chance))
    read_outcome(path)
    steps_done(place.folder.path)
    everything(place)


def study_file(place: Place, chance: random.Random) -> None:
    value = STUDY_FILE
    for _ in range(chance.choice([0, 1, 1, 2, 5])):
        found = mistaken(value, chance)
        value = found if isinstance(found, dict) else value
    try:
        text = toml(value)[0].encode("utf-8", "surrogatepass")
    except (TypeError, AttributeError, KeyError):  # null, which TOML has not
        text = toml(STUDY_FILE)[0].encode()
    if chance.random() < 0.3:
        text = _changed(text, chance)
    path = place.runs / "study.toml"
    path.write_bytes(text)
    with contextlib.suppress(UserError):
        read_study(str(path))


@cache
def _law() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        found: dict[str, Any] = json.loads(saved_law(Path(folder) / "runs.csv", RUNS))
    return found


def law(place: Place, chance: random.Random) -> None:
    path = place.runs / "LAW.json"
    path.write_bytes(bytes_of(_law(), chance))
    with contextlib.suppress(UserError):
        read_law(path)


def weights(place: Place, chance: random.Random) -> None:
    path = place.runs / chance.choice(["a.npz", "a.safetensors"])
    write(path, random_params(GAP, 5), GAP)
    path.write_bytes(_changed(path.read_bytes(), chance))
    with contextlib.suppress(Unusable, UserError):
        read(path)


def begun_with(place: Place, chance: random.Random) -> None:
    """A run that a training begins with, that teaches, or whose features tell images apart: by its
    folder or by that of a checkpoint, its own or its trunk's."""
    path = place.folder.path
    path.joinpath("run.json").write_bytes(
        bytes_of(json.loads((path / "run.json").read_text()), chance)
    )
    states = path / "checkpoints" / "1", path.parent / "trunks" / RUN.trunk / "1"
    for state in states:
        state.mkdir(parents=True, exist_ok=True)
        (state / "checkpoint.json").touch()
    for named in (path, *states):
        list(problems(Init.model_validate({"from": named}), RUN.model))
        with contextlib.suppress(ValueError):
            shape_of(named)
        with contextlib.suppress(ValueError):
            Teacher.model_validate({"from": named}).known()
    with contextlib.suppress(UserError):
        features_of(path)


DESCRIBED = {  # as TFDS does, of what is looked at before records are
    "dataset_info.json": {
        "name": "specks",
        "version": "1.0.0",
        "fileFormat": "array_record",
        "splits": [
            {"name": name, "shardLengths": ["30"], "numBytes": "100", "filepathTemplate": TEMPLATE}
            for name in ("train", "test")
        ],
    },
    "features.json": {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {
            "features": {
                "image": {"pythonClassName": "x.Image", "image": {"shape": {}, "dtype": "uint8"}},
                "label": {"pythonClassName": "x.ClassLabel", "classLabel": {"numClasses": "4"}},
            }
        },
    },
}


def described(place: Place, chance: random.Random) -> None:
    folder = place.runs / "specks" / "1.0.0"
    folder.mkdir(parents=True)
    damaged = chance.choice(list(DESCRIBED))
    for name, about in DESCRIBED.items():
        whole = json.dumps(about).encode()
        (folder / name).write_bytes(bytes_of(about, chance) if name == damaged else whole)
    Tfds(name="specks", data_dir=place.runs, resolution=16).problem()
    for command in (
        lambda: meant(str(folder), None, 16),
        lambda: convert_prepared(folder, place.runs / "copy", print),
    ):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(UserError):
            command()


def _changed(contents: bytes, chance: random.Random) -> bytes:
    """Cut off, or with some bytes replaced, the first ones more often: they describe the rest."""
    found = bytearray(contents)
    if chance.random() < 0.2:
        return bytes(found[: chance.randrange(len(found) + 1)])
    for _ in range(chance.choice([1, 3, 30]) if found else 0):
        found[chance.randrange(chance.choice([len(found), min(len(found), 300)]))] = (
            chance.randrange(256)
        )
    return bytes(found)


MORE_READERS: dict[str, Callable[[Place, random.Random], None]] = {
    "attempts.json": attempts,
    "rule.json": verdict,
    "a launch's file": launched,
    "a fine-tuning's outcome": outcome,
    "a study file": study_file,
    "LAW.json": law,
    "weights": weights,
    "a run that others begin with": begun_with,
    "a data set of TFDS": described,
}
