"""Programs are compiled once: for every seed of a study, by one of its workers."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest

from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.training import compilation_cache
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.compilation_cache import (
    compiled_by_one,
    drop_damaged,
    use_compilation_cache,
)
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
RUN = Run(
    model=ViTShape(name="nano", patch=8, resolution=16, width=8, depth=2, mlp=16, heads=2),
    data=Procedural(classes=8),
    recipe=Recipe(learning_rate=1e-2, warmup_steps=2, dropout=0.1),
    images_seen=320,
    batch=16,
)
STUDY = """
name = "small"
question = "Is the cache filled?"
[data]
kind = "procedural"
classes = 4
resolution = 16
[models.nano]
patch = 8
width = 16
depth = 2
mlp = 32
heads = 2
pool = "gap"
[recipe]
learning_rate = 1e-2
warmup_steps = 2
optimizer = "adam"
[[evaluate]]
kind = "upstream"
images = 100
[[grid]]
model = "nano"
images_seen = [160, 320]
batch = 16
seed = [0, 1, 2]
"""
TRAINING = f"""
import hashlib, json, sys
import jax
import numpy as np
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.compilation_cache import use_compilation_cache
from scaling.training.trainer import Trainer
from scaling.training.run import Run

written = []
def listen(event, **_):
    if event.endswith("cache_misses"):
        written.append(event)
jax.monitoring.register_event_listener(listen)
use_compilation_cache()
found = {{}}
for seed in sys.argv[1:]:
    run = Run.model_validate_json({RUN.model_dump_json()!r}).model_copy(update=dict(seed=int(seed)))
    trainer = Trainer(run)
    end = trainer.advance(trainer.start(), 5, total_steps=None, keep=None, spec=CheckpointSpec(),
                          tell=lambda _: None)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(end.state):
        digest.update(np.asarray(leaf).tobytes())
    found[seed] = digest.hexdigest()
print(json.dumps([found, len(written)]))
"""


def other(**changes):
    return RUN.model_copy(update=changes)


def trained(trainer, run=RUN):
    end = trainer.advance(
        trainer.start(), 5, total_steps=None, keep=None, spec=CheckpointSpec(), tell=lambda _: None
    )
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(end.state)]


@pytest.fixture
def processes(tmp_path):
    """Starts trainings of the given seeds with a cache of the test's own; gives each one's digests
    and number of programs that it compiled and kept."""

    def start(*seeds, **environment):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", TRAINING, *map(str, seeds)],
            cwd=ROOT,
            env={**clean, "XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu", **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ended(process):
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return json.loads(out)

    return start, ended


@pytest.mark.slow
def test_a_study_compiles_its_step_once_and_a_second_worker_compiles_nothing(processes, tmp_path):
    start, ended = processes
    without, _ = ended(start(0, 1, 2, JAX_ENABLE_COMPILATION_CACHE="false"))
    first, compiled = ended(start(0, 1))
    steps = list(tmp_path.rglob("jit_step-*-cache"))
    assert len(steps) == 1
    assert compiled >= 1
    second, again = ended(start(2))
    assert again == 0
    assert first | second == without  # bit for bit


@pytest.mark.slow
def test_of_two_workers_at_once_one_compiles_and_a_damaged_entry_changes_no_digit(
    processes, tmp_path
):
    start, ended = processes
    both = [ended(each) for each in (start(0), start(1))]
    digests = [found for found, _ in both]
    assert min(compiled for _, compiled in both) == 0
    (entry,) = tmp_path.rglob("jit_step-*-cache")
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-100])  # torn, just now: somebody may be writing it
    assert ended(start(0))[0] == digests[0]
    os.utime(entry, (0, 0))
    again, compiled = ended(start(1))
    assert (again, compiled) == (digests[1], 1)
    flipped = bytearray(entry.read_bytes())
    ended(start(1))  # remembers its sum
    flipped[len(flipped) // 2] ^= 1
    entry.write_bytes(flipped)
    assert ended(start(0)) == [digests[0], 1]


def test_entries_that_changed_or_are_torn_are_deleted_and_the_others_kept(tmp_path):
    old = time.time() - 1000
    for name in ("good", "flipped", "torn", "young"):
        entry = tmp_path / f"jit_{name}-cache"
        packed = zlib.compress(name.encode() * 100)
        entry.write_bytes(packed[:-3] if name in ("torn", "young") else packed)
        if name != "young":
            os.utime(entry, (old, old))
    drop_damaged(tmp_path)
    left = {path.name for path in tmp_path.glob("*-cache")}
    assert left == {"jit_good-cache", "jit_flipped-cache", "jit_young-cache"}
    flipped = tmp_path / "jit_flipped-cache"
    flipped.write_bytes(zlib.compress(b"another program"))
    drop_damaged(tmp_path)
    left = {path.name for path in tmp_path.glob("*-cache")}
    assert left == {"jit_good-cache", "jit_young-cache"}


@pytest.fixture
def cache(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_processes_take_turns_at_the_first_call_of_a_program(cache):
    code = """
import sys, time
import jax
from scaling.training.compilation_cache import compiled_by_one
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
with compiled_by_one("step"):
    print("mine", flush=True)
    sys.stdin.readline()
"""
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(cache)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdout.readline() == "mine\n"
    began = []
    waiting = threading.Thread(target=lambda: began.append(enter("step")))
    waiting.start()
    enter("another")  # at once
    waiting.join(0.5)
    assert began == []
    first.kill()  # and with it its turn
    waiting.join(60)
    assert began == ["step"]
    first.communicate()


def test_nobody_waits_for_ever_for_a_process_that_was_stopped(cache, monkeypatch):
    monkeypatch.setattr(compilation_cache, "LONGEST", 0.2)
    with open(cache / "step.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert enter("step") == "step"


def test_without_a_cache_or_in_one_that_cannot_be_written_nobody_takes_turns(cache):
    jax.config.update("jax_compilation_cache_dir", str(cache / "absent"))
    assert enter("step") == "step"
    jax.config.update("jax_compilation_cache_dir", None)
    assert enter("step") == "step"
    assert list(cache.iterdir()) == []


def enter(name):
    with compiled_by_one(name):
        return name


def test_a_cache_that_the_user_has_set_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    assert use_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir == before
    assert list(tmp_path.iterdir()) == []


def test_without_room_for_a_cache_there_is_none(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    (tmp_path / "vit-scaling-laws").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert use_compilation_cache() is None


def test_processors_with_other_instructions_share_no_programs(monkeypatch):
    before = compilation_cache._processor()
    monkeypatch.setattr(compilation_cache.platform, "machine", lambda: "another")
    assert compilation_cache._processor() != before


def test_runs_that_differ_in_seed_data_duration_and_schedule_have_one_step():
    recipe = RUN.recipe.model_copy(update={"warmup_steps": 3, "cooldown_fraction": 0.5})
    same = [other(seed=1), other(data_size=100), other(images_seen=640), other(recipe=recipe)]
    assert {run.step_digest for run in same} == {RUN.step_digest}
    faster = RUN.recipe.model_copy(update={"learning_rate": 2e-2})
    others = [other(batch=32), other(recipe=faster), other(compute="bfloat16")]
    assert RUN.step_digest not in {run.step_digest for run in others}


@pytest.mark.slow
def test_a_trainer_gives_its_compiled_step_to_another_trunk_which_trains_as_with_its_own():
    trainer, run = Trainer(RUN), other(seed=1, data_size=64)
    trained(trainer)
    borrowed = trainer.of(run)
    assert trained(borrowed) == trained(Trainer(run))
    assert trainer._step._cache_size() == 1


def test_a_step_computed_in_another_way_is_another_step():
    trainer = Trainer(RUN)
    assert trainer.makes(other(seed=1), DEFAULT)
    assert not trainer.makes(RUN, PlacementSpec(microbatches=2))
    assert not trainer.makes(other(batch=32), DEFAULT)


@pytest.mark.slow
def test_a_plan_on_this_processor_compiles_the_step_that_a_launch_takes(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    for command in (["plan", "--on", "cpu"], ["launch", "--workers", "1"]):
        done = subprocess.run(
            [sys.executable, "-m", "scaling", *command, str(study)],
            cwd=tmp_path,
            env={**clean, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(list(tmp_path.rglob("jit_step-*-cache"))) == 1
