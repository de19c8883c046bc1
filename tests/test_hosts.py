"""Several processes of one training: they agree, and one of them writes."""

import json
import socket
import subprocess
import sys

import pytest
from simulated import simulated

from scaling.training.hosts import agreed, agreed_word, all_processes, is_first
from scaling.training.trainer import LOOK_EVERY, steps_until_look

PROCESS = """
import hashlib, json, sys, time
from pathlib import Path
import jax, numpy as np

number, port, root, every = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
jax.distributed.initialize(f"localhost:{port}", 2, number)

from scaling.training import checkpoints, loop, trainer
from scaling.training.hosts import agreed, agreed_word, all_processes
from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.data.augment import Flip
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.loop import CheckpointPaths, train
from scaling.training.trainer import Trainer
from scaling.training.recipe import Recipe
from scaling.training.run import Run

assert jax.process_count() == 2
assert agreed(10 + number, number == 0) == (10, True)
assert agreed_word(["", "trunk-ü"][1 - number]) == "trunk-ü"
assert not all_processes(number == 0)
assert all_processes(True)

run = Run(
    model=ViTShape(
        name="nano", patch=8, resolution=16, width=8, depth=2, mlp=16, heads=2, pool="gap"
    ),
    data=Procedural(classes=4),
    augment=(Flip(),),
    recipe=Recipe(learning_rate=1e-2, warmup_steps=2, optimizer="adam"),
    images_seen=16 * 20,
    batch=16,
)
clock = time.monotonic
time.monotonic = lambda: clock() * (1 + 3 * number)  # the second process's clock runs fast
trainer.LOOK_EVERY = 0.01
writes, said, looks = [], [], []


def counted(write):
    return lambda path, *args, **named: writes.append(path.name) or write(path, *args, **named)


loop.set_aside = counted(loop.set_aside)
checkpoints.write_text = counted(checkpoints.write_text)
spec = CheckpointSpec(every_seconds=every)
paths = CheckpointPaths(root / "trunk", root / "own", spec, say=said.append)
end = train(Trainer(run), run, paths, lambda progress: looks.append(progress.step))
params = b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(end.state))
print(json.dumps({
    "hash": hashlib.sha256(params).hexdigest(),
    "writes": len(writes),
    "said": said,
    "looks": looks,
    "kernel": np.asarray(end.state.params["head"]["kernel"]).ravel().tolist(),
}))
"""


def two_processes(root, every):
    """What each of two processes of one training printed last."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", PROCESS]
    processes = [
        subprocess.Popen(
            [*command, str(number), port, str(root), str(every)],
            env=simulated(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]
    try:
        ends = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, ends, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(out.splitlines()[-1]) for out, _ in ends]


@pytest.mark.slow
def test_two_processes_train_one_run_and_the_first_alone_writes(tmp_path):
    """With clocks that disagree, checkpoints at every look, and all damaged meanwhile, so that
    they train it once more, without one on the way."""
    first, second = two_processes(tmp_path / "a", every=1e-9)
    assert first["hash"] == second["hash"]
    assert first["looks"] == second["looks"]
    assert first["writes"] > 3
    assert second["writes"] == 0
    left = {path.name for path in (tmp_path / "a" / "own").iterdir()}
    assert left == {"20"}

    kept = [path.parent for path in (tmp_path / "a").rglob("checkpoint.json")]
    for folder in kept:
        victim = max(
            (path for path in folder.rglob("*") if path.is_file()),
            key=lambda path: path.stat().st_size,
        )
        victim.write_bytes(b"\0" + victim.read_bytes()[1:])
    again, other = two_processes(tmp_path / "a", every=1e9)
    assert again["hash"] == other["hash"] == first["hash"]
    assert len(again["said"]) == len(kept) > 1
    assert all("changed after it was written" in line for line in again["said"])
    assert again["writes"] == len(kept) + 2  # set aside, and then the branch and the end
    assert other["said"] == []


def test_a_lone_process_agrees_with_itself_and_is_the_first():
    assert agreed(7, True) == (7, True)
    assert agreed_word("16") == "16"
    assert not all_processes(False)
    assert is_first()


@pytest.mark.parametrize(
    ("steps", "seconds", "ahead"),
    [(1, 20.0, 1), (1, 0.01, 2), (64, 0.64, 100), (100, 2.0, 50), (3, 0.0, 6)],
)
def test_the_loss_is_read_about_once_a_second_and_its_distance_at_most_doubles(
    steps, seconds, ahead
):
    assert LOOK_EVERY == 1.0
    assert steps_until_look(steps, seconds) == ahead
