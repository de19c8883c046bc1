"""Files from others: mistaken in every way that a random generator thinks of, and their readers.

A reader may refuse a file in words. It may not end with another exception, hang or take the whole
study with it. `benchmarks/fuzz.py` tries as many inputs as one likes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from launched import UPSTREAM, a_study

from fits.base.errors import UserError
from fits.data.results import Result, write_parquet
from fits.data.tables import read_table
from scaling.evaluate.measured import Measured
from scaling.launch.progress.status import drawn, show_status, statuses
from scaling.report.report import collect
from scaling.runs import lease
from scaling.runs.clean import clean
from scaling.runs.damage import DamagedRun
from scaling.runs.held_run import hold_run
from scaling.runs.metrics_file import MetricsLine, curve
from scaling.runs.run_file import read_run_file, write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import DIVERGED, Divergence, TrunkFolder
from scaling.training import checkpoints
from scaling.training.checkpoint_manifest import MANIFEST, sealed
from scaling.training.checkpoints import Damaged

STUDY = a_study(0)
(RUN,) = STUDY.runs
STRANGE: list[Any] = [
    *(None, True, -1, 0, 10**400, 1e308, float("inf"), float("nan"), -0.0, 2**63),
    *("", "x" * 5000, "\x1b[31m", "\ud800", "../../etc/passwd", "NaN"),
    *([], {}, [[]], {"": None}, ["a", 1, None]),
]


def mistaken(value: Any, chance: random.Random) -> Any:
    """The value with some keys or items changed, lost or added, anywhere."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        found = dict(value)
        key = chance.choice(list(found))
        match chance.randrange(5):
            case 0:
                del found[key]
            case 1:
                found[chance.choice(["", "extra", "\x00", key.upper()])] = chance.choice(STRANGE)
            case _:
                found[key] = mistaken(found[key], chance)
        return found
    if isinstance(value, list) and value and chance.random() < 0.7:
        found_list = list(value)
        place = chance.randrange(len(found_list))
        found_list[place] = mistaken(found_list[place], chance)
        return found_list if chance.random() < 0.8 else found_list + found_list
    return chance.choice(STRANGE)


def bytes_of(value: Any, chance: random.Random) -> bytes:
    """JSON of a mistaken value, or text that is none."""
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        value = mistaken(value, chance)
    text = json.dumps(value).encode("utf-8", "surrogatepass")
    match chance.randrange(10):
        case 0:
            return text[: chance.randrange(len(text) + 1)]
        case 1:
            place = chance.randrange(len(text))
            return text[:place] + bytes([chance.randrange(256)]) + text[place + 1 :]
        case 2:
            return chance.choice([b"", b"[" * 10**5, b'{"a":' * 10**5, b"\xff\xfe\x00", b"null"])
        case _:
            return text


class Place:
    """A folder of runs with one run that is done, and one that is at work beside it."""

    def __init__(self, root: Path):
        self.runs = root
        self.folder = RunFolder(root / RUN.id)
        write_run_file(self.folder.path, RUN, STUDY.evaluate, print)
        with hold_run(self.folder.path) as held:
            found = [Measured(name, 0.25, 100) for name in UPSTREAM.metrics]
            about = {"flops": RUN.flops, "data": [{"train_size": 1000}], "seconds_here": 1.0}
            held.finish([(UPSTREAM, found)], about)
        self.trunk = TrunkFolder.of(self.folder, RUN)
        self.trunk.path.mkdir(parents=True)
        self.kept = root.with_name(root.name + "-kept")
        shutil.copytree(root, self.kept)

    def fresh(self) -> None:
        shutil.rmtree(self.runs)
        shutil.copytree(self.kept, self.runs)


def everything(place: Place) -> None:
    """The commands that read a study's folders; a refusal in words is right."""
    for command in (
        lambda: show_status(STUDY, place.runs),
        lambda: collect(STUDY, place.runs, place.runs.with_name("out")),
        lambda: clean(STUDY, place.runs, dry_run=True),
    ):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(UserError):
            command()


def run_json(place: Place, chance: random.Random) -> None:
    path = place.folder.path / "run.json"
    path.write_bytes(bytes_of(json.loads(path.read_text()), chance))
    with contextlib.suppress(DamagedRun):
        read_run_file(place.folder.path)
    everything(place)


def manifest(place: Place, chance: random.Random) -> None:
    path = place.folder.path / "manifest.json"
    value = json.loads(path.read_text())
    if chance.random() < 0.5:
        path.write_bytes(bytes_of(value, chance))
    else:  # with a sum that is right: anybody can compute it
        value = mistaken({k: v for k, v in value.items() if k != "sha256"}, chance)
        if isinstance(value, dict):
            text = json.dumps(value, sort_keys=True)
            value["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        path.write_text(json.dumps(value))
    everything(place)


def results(place: Place, chance: random.Random) -> None:
    path = place.folder.path / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    text = b"\n".join(bytes_of(line, chance) for line in lines) + b"\n"
    path.write_bytes(text)
    if chance.random() < 0.5:
        about = place.folder.path / "manifest.json"
        value = {k: v for k, v in json.loads(about.read_text()).items() if k != "sha256"}
        value |= {"results_bytes": len(text), "results_sha256": hashlib.sha256(text).hexdigest()}
        value["sha256"] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        about.write_text(json.dumps(value))
    everything(place)


def progress(place: Place, chance: random.Random) -> None:
    (place.folder.path / "manifest.json").unlink()
    with hold_run(place.folder.path) as held:
        held.report(step=3, steps=10, phase="compile", loss=0.5, mfu=0.1, images_per_second=2.0)
        path = place.folder.path / "progress.json"
        path.write_bytes(bytes_of(json.loads(path.read_text()), chance))
        everything(place)
        drawn(STUDY, statuses(STUDY, place.runs), 80)


def metrics(place: Place, chance: random.Random) -> None:
    line = MetricsLine(
        step=1, images_seen=64, loss=1.0, learning_rate=1e-3, gradient_norm=None,
        images_per_second=None, mfu=None, memory_bytes=None, seconds=1.0,
    )  # fmt: skip
    text = b"\n".join(bytes_of(line.model_dump(), chance) for _ in range(3))
    (place.folder.path / "metrics.jsonl").write_bytes(text)
    curve(place.folder, RUN)


def checkpoint(place: Place, chance: random.Random) -> None:
    own = place.folder.checkpoints / "10"
    own.mkdir(parents=True)
    (own / "data").write_bytes(b"x")
    about: Any = {"step": 10, "seconds": 1.0, "files": {"data": [1, 2363233923]}}
    if chance.random() < 0.5:  # with a sum that is right
        about = mistaken(about, chance)
        if isinstance(about, dict):
            (own / MANIFEST).write_text(sealed(about))
        else:
            (own / MANIFEST).write_text(json.dumps(about))
    else:
        (own / MANIFEST).write_bytes(bytes_of(about, chance))
    found = checkpoints.found(own.parent)
    assert all(isinstance(step, int) for step, _ in found)
    with contextlib.suppress(Damaged):
        checkpoints.verify(own)
    everything(place)


def diverged(place: Place, chance: random.Random) -> None:
    text = Divergence(step=3, reason="the loss was nan.").model_dump()
    (place.trunk.path / DIVERGED).write_bytes(bytes_of(text, chance))
    found = place.trunk.divergence(10)
    assert found is None or isinstance(found, str)


def held(place: Place, chance: random.Random) -> None:
    path = place.folder.path / "lease" / "7.held"
    about = {"host": "a", "pid": 1, "machine": None, "started": None}
    path.write_bytes(bytes_of(about, chance))
    lease.is_held(path.parent)
    with lease.hold_if_free(path.parent):
        pass
    everything(place)


def parquet(place: Place, chance: random.Random) -> None:
    path = place.runs / "table.parquet"
    row = Result(
        study="s", run="r", model="m", params=1, flops=1.0, images_seen=1, data_size=1, seed=0,
        metric="e", value=0.5, n=1,
    )  # fmt: skip
    write_parquet(path, [row] * 3)
    if chance.random() < 0.5:
        content = bytearray(path.read_bytes())
        for _ in range(chance.choice([1, 3, 30])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(bytes(content[: chance.randrange(1, len(content) + 1)]))
    else:
        kinds = [
            pa.array([None, None]), pa.array([[1], [2]]), pa.array([{"a": 1}, {"a": 2}]),
            pa.array([b"\xff", b""]), pa.array([float("nan"), float("inf")]),
            pa.array(np.array(["2020-01-01", "NaT"], "datetime64[s]")), pa.array(["a", "\ud7ff"]),
            pa.array(["x", "y"]).dictionary_encode(), pa.array([True, None]),
        ]  # fmt: skip
        names = chance.choices(["value", "run", "", "value", "\x00"], k=3)
        pq.write_table(pa.Table.from_arrays(chance.choices(kinds, k=3), names=names), path)
    with contextlib.suppress(UserError, OSError):
        read_table(path)


READERS: dict[str, Callable[[Place, random.Random], None]] = {
    "run.json": run_json,
    "manifest.json": manifest,
    "results.jsonl": results,
    "progress.json": progress,
    "metrics.jsonl": metrics,
    "checkpoint.json": checkpoint,
    "diverged.json": diverged,
    "a lease": held,
    "a Parquet table": parquet,
}
