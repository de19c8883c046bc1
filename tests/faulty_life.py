"""The short life of a study's folders, once for every file operation in it that can go wrong.

    python faulty_life.py [--ways kill,ENOSPC,EIO,...] [--every 1] [--offset 0] [--damage STAGES]

Two runs of one trunk are written down, trained with a save every second step, measured, confirmed
and collected, by the project's own code; only the network is replaced, by a chain of sums in which
one step left out or made twice changes all that follow, and Orbax by a writer of two files. Then,
for every file operation of that life, a child process lives it until that operation goes wrong:

- kill: SIGKILL before the operation, after it and, in a write, in its middle;
- ENOSPC, EIO, EROFS, EACCES: it fails with that error, a write half done; once, or with all
  operations after it;
- slow: each operation takes 5 ms longer, and none goes wrong.

What is left has to be sound: everything that was confirmed or kept before is there and is what it
was, nothing that reads as whole is half. Then another process does the rest without a fault: its
tables and curves have to be those of an undisturbed life, byte for byte, with nothing set aside.

With `--damage`, a life is killed at so many moments, and each file that is there then is cut in its
middle, emptied, or has a bit flipped; the life that follows may set it aside, and has to come to
the same tables.

Prints one JSON object: counts by kind and way, and what was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet  # noqa: F401  once, and not in each child
from faults import Operation, watch


@dataclass(frozen=True)
class Progress:
    """Stands for the trainer's."""

    step: int
    steps: int
    loss: float


class Checkpointer:
    """Stands for Orbax's: writes two files, in two steps."""

    def __enter__(self) -> Checkpointer:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def save(self, path: Path, state: str) -> None:
        path.mkdir()
        (path / "array").write_text(state)
        (path / "_METADATA").write_text("{}")

    def close(self) -> None:
        pass

    def metadata(self, _: Path) -> Any:
        return types.SimpleNamespace(item_metadata=types.SimpleNamespace(tree=None))

    def restore(self, path: Path, _: Any) -> str:
        return (path / "array").read_text()


def without_jax() -> None:
    """Have this process, which forks, load neither JAX nor Orbax nor the trainer."""

    def module(name: str, **contents: Any) -> None:
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)

    tree = types.SimpleNamespace(tree_leaves_with_path=lambda _: [])
    module(
        "jax",
        process_index=lambda: 0,
        process_count=lambda: 1,
        default_backend=lambda: "none",
        tree_util=tree,
    )
    module("orbax")
    module("orbax.checkpoint", StandardCheckpointer=Checkpointer)
    module("scaling.training.trainer", Progress=Progress, Trainer=object)


without_jax()

from models.shapes import ViTShape  # noqa: E402
from scaling.base.config import digest  # noqa: E402
from scaling.base.console import Say  # noqa: E402
from scaling.data.procedural.source import Procedural  # noqa: E402
from scaling.evaluate import Upstream  # noqa: E402
from scaling.evaluate.measured import Measured  # noqa: E402
from scaling.report.report import collect  # noqa: E402
from scaling.runs import held_run, lease  # noqa: E402
from scaling.runs.held_run import HeldRun, hold_run  # noqa: E402
from scaling.runs.metrics_file import MetricsLine, MetricsWriter, curve  # noqa: E402
from scaling.runs.run_file import read_run_file, write_run_file  # noqa: E402
from scaling.runs.run_folder import RunFolder  # noqa: E402
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk  # noqa: E402
from scaling.study.study import Study  # noqa: E402
from scaling.training import checkpoints  # noqa: E402
from scaling.training.checkpoints import Checkpoint  # noqa: E402
from scaling.training.loop import CheckpointPaths, train  # noqa: E402
from scaling.training.recipe import Recipe  # noqa: E402
from scaling.training.run import Run  # noqa: E402

held_run.SECONDS_BETWEEN_REPORTS = 0.0  # else a slow life has other operations than a quick one

SHAPE = ViTShape(name="tiny", patch=4, resolution=16, width=32, depth=1, mlp=64, heads=2)
STUDY = Study(
    name="small",
    question="What is lost?",
    runs=tuple(
        Run(
            model=SHAPE,
            data=Procedural(),
            recipe=Recipe(warmup_steps=1, cooldown_fraction=0.5),
            images_seen=steps * 64,
            batch=64,
        )
        for steps in (6, 10)
    ),
    evaluate=(Upstream(images=100),),
)
ERRORS = "ENOSPC", "EIO", "EROFS", "EACCES"
WAYS = "slow", "kill", *ERRORS


def state_at(step: int, cooled: int = 0) -> str:
    """The chain of sums after so many steps, the last `cooled` of them of a cooldown."""
    state = ""
    for k in range(step):
        state = after(state, k, step if k >= step - cooled else None)
    return state


def after(state: str, step: int, total: int | None) -> str:
    return hashlib.sha256(f"{state} {step} {total}".encode()).hexdigest()


class Trainer:
    """Stands for the compiled step."""

    def __init__(self, run: Run):
        self.trunk = run.trunk

    def like(self) -> None:
        return None

    def start(self) -> Checkpoint:
        return Checkpoint(step=0, seconds=0.0, state="")

    def stored(self, checkpoint: Checkpoint) -> Checkpoint:
        return checkpoint

    def restored(self, checkpoint: Checkpoint) -> Checkpoint:
        return checkpoint

    def advance(
        self,
        checkpoint: Checkpoint,
        until: int,
        *,
        total_steps: int | None,
        keep: Callable[[Checkpoint], None],
        tell: Callable[[Progress], None],
        **_: Any,
    ) -> Checkpoint:
        state = checkpoint.state
        for step in range(checkpoint.step, until):
            state = after(state, step, total_steps)
            done = step + 1
            tell(Progress(done, 1, int(state[:8], 16) / 2**32))
            if done % 2 == 0 and done < until:
                keep(Checkpoint(step=done, seconds=float(done), state=state))
        return Checkpoint(step=until, seconds=float(until), state=state)


def live(root: Path, say: Say | None = None) -> None:
    """From the study to its tables, as a launch, its workers and `collect` do it.

    Args:
      say: is told of what is damaged; None: nothing may be.
    """
    runs, say = root / "runs", say or complain
    for run in STUDY.runs:
        write_run_file(runs / run.id, run, STUDY.evaluate, say)
    for run in STUDY.runs:
        with hold_run(runs / run.id) as held:
            work(held, say)
    with contextlib.redirect_stdout(io.StringIO()):
        collect(STUDY, runs, root / "out")


def complain(line: str) -> None:
    raise AssertionError(f"said: {line}")


def work(held: HeldRun, say: Say) -> None:
    """What a worker does with a run; the machine's errors are written down, and end it."""
    try:
        held.repair(say)
        there = read_run_file(held.path)
        if held.is_done(there.evaluate):
            return
        trunk_folder = TrunkFolder.of(held, there.run)
        with hold_trunk(trunk_folder.path) as trunk:
            held.clear_stop()

            def guard() -> None:
                held.check()
                trunk.check()

            run = there.run
            writers = (
                MetricsWriter(trunk.path, run.branch_step, guard),
                MetricsWriter(held.path, run.steps, guard),
            )

            def tell(progress: Progress) -> None:
                on_trunk = progress.step <= run.branch_step
                writers[0 if on_trunk else 1].write(line_of(progress), since=progress.step - 1)
                phase = "train" if on_trunk else "cooldown"
                held.report(step=progress.step, steps=run.steps, phase=phase)

            paths = CheckpointPaths(trunk.path, held.checkpoints, say=say, guard=guard)
            end = train(Trainer(run), run, paths, tell)  # type: ignore[arg-type]
            value = int(end.state[:12], 16) / 16**12
            confirmed = {row.evaluation for row in held.results()}
            measured = [
                (each, [Measured(name, value, 100) for name in each.metrics])
                for each in there.evaluate
                if digest(each) not in confirmed
            ]
            about = {"flops": run.flops, "data": [{"train_size": 1000}], "seconds_here": 1.0}
            held.finish(measured, about)
    except OSError as error:
        held.stop(str(error))
        raise


def line_of(progress: Progress) -> MetricsLine:
    return MetricsLine(
        step=progress.step,
        images_seen=progress.step * 64,
        loss=progress.loss,
        learning_rate=1e-3,
        gradient_norm=None,
        images_per_second=None,
        mfu=None,
        memory_bytes=None,
        seconds=float(progress.step),
    )


# What goes wrong


class Counting:
    """Lists the operations of an undisturbed life."""

    def __init__(self) -> None:
        self.found: list[Operation] = []

    def before(self, operation: Operation) -> None:
        self.found.append(operation)

    def half(self, operation: Operation) -> None:
        pass

    def after(self, operation: Operation) -> None:
        pass


@dataclass
class Fault:
    """What goes wrong with operation number `at`, and when: before, half or after; an error that
    `lasts` comes to all operations that follow as well."""

    at: int
    way: str
    when: str
    lasts: bool
    count: int = -1

    def before(self, operation: Operation) -> None:
        self.count += 1
        if self.way == "slow":
            time.sleep(0.005)
        self._go_wrong("before", operation)

    def half(self, operation: Operation) -> None:
        self._go_wrong("half", operation)

    def after(self, operation: Operation) -> None:
        note_what_is_there(operation)
        self._go_wrong("after", operation)

    def _go_wrong(self, when: str, operation: Operation) -> None:
        if self.way == "slow":
            return
        if self.way == "kill":
            if self.count >= self.at and when == self.when:
                os.kill(os.getpid(), signal.SIGKILL)
        elif (self.count == self.at and when == self.when) or (self.lasts and self.count > self.at):
            number = getattr(errno, self.way)
            raise OSError(number, os.strerror(number), operation.path)


KEPT: list[str] = []
"""Of this process, where it tells what is there from now on: a file that is open."""


def note_what_is_there(operation: Operation) -> None:
    path = Path(operation.path)
    confirmed = operation.kind == "replace" and path.name == "manifest.json"
    kept = operation.kind == "rename" and path.suffix == "" and path.parent.name != "lease"
    if confirmed or kept:
        told = f"{'confirmed' if confirmed else 'kept'} {path}\n"
        os.write(int(KEPT[0]), told.encode())


def faults(operations: list[Operation], ways: list[str]) -> Iterator[Fault]:
    if "slow" in ways:
        yield Fault(0, "slow", "", lasts=False)
    for at, operation in enumerate(operations):
        for way in ways:
            if way == "slow":
                continue
            if way == "kill":
                yield Fault(at, way, "before", lasts=False)
                yield Fault(at, way, "after", lasts=False)
            if operation.kind == "write":
                yield Fault(at, way, "half", lasts=False)
            elif way != "kill":
                yield Fault(at, way, "before", lasts=False)
            if way != "kill":
                yield Fault(at, way, "before", lasts=True)


# What has to hold


def in_a_child(do: Callable[[], None]) -> int:
    """Exit status of a forked process that does it; 1 after an error that is printed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        do()
    except OSError:
        os._exit(2)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def check_what_is_left(root: Path, told: list[str]) -> None:
    """Nothing that was confirmed or kept is gone, and nothing that reads as whole is half."""
    for run in STUDY.runs:
        folder = RunFolder(root / "runs" / run.id)
        looked = folder.look(STUDY.evaluate)
        assert looked.damage is None, looked.damage
        assert not folder.needs_repair()
        if any(line.startswith(f"confirmed {folder.path}") for line in told):
            assert looked.state == "done"
        if looked.state == "done":
            value = int(state_at(run.steps, run.steps - run.branch_step)[:12], 16) / 16**12
            assert {row.value for row in looked.rows} == {value}
        there = check_checkpoints(folder.checkpoints, run)
        assert there or not any(f"kept {folder.checkpoints}" in line for line in told)
    trunk = TrunkFolder.of(folder, run)
    there = check_checkpoints(trunk.path, run)
    assert there or not any(f"kept {trunk.path}" in line for line in told)


def check_checkpoints(parent: Path, run: Run) -> list[int]:
    """Each is what a training comes to at its step."""
    there = []
    for step, path in checkpoints.found(parent):
        checkpoints.verify(path)
        cooled = step - run.branch_step if parent.name == "checkpoints" else 0
        chain = state_at(run.branch_step) if cooled else ""
        for k in range(step - cooled if cooled else 0, step):
            chain = after(chain, k, run.steps if cooled else None)
        assert (path / "array").read_text() == chain, f"{path} is not step {step}"
        there.append(step)
    return there


def outcome(root: Path) -> dict[str, str]:
    """Tables and curves; fails where something was set aside or left behind for good."""
    found = {path.name: path.read_bytes().hex() for path in (root / "out").iterdir()}
    found = {name: text for name, text in found.items() if not name.startswith(".")}
    for run in STUDY.runs:
        folder = RunFolder(root / "runs" / run.id)
        assert folder.failure() is None
        found[run.id] = "\n".join(line.model_dump_json() for line in curve(folder, run))
    aside = [str(path) for path in (root / "runs").rglob("*.damaged*")]
    assert not aside, aside
    return found


def try_fault(root: Path, fault: Fault, wanted: dict[str, str]) -> str | None:
    """What was wrong after this fault."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    with tempfile.TemporaryFile() as told:

        def suffer() -> None:
            KEPT[:] = [str(told.fileno())]
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            with watch(root, fault):
                live(root)

        def mend() -> None:
            lease.EXPIRY, lease.POLL = 0.02, 0.005  # of one that had not yet said who it is
            told.seek(0)
            check_what_is_left(root, told.read().decode().splitlines())
            live(root)
            assert outcome(root) == wanted, "another outcome"

        ended = in_a_child(suffer)
        if fault.way == "kill" and ended != -signal.SIGKILL:
            return f"the child ended with {ended}"
        if fault.way == "slow" and ended:
            return f"the child ended with {ended}"
        if ended == 1:
            return "the child ended by an error that names no file"
        return f"exit status {bad}" if (bad := in_a_child(mend)) else None


# Damage

HARMS = "cut", "emptied", "one bit flipped"


def harm(path: Path, how: str, seed: int) -> None:
    content = bytearray(path.read_bytes())
    if how == "one bit flipped" and content:
        content[seed % len(content)] ^= 1 << seed % 8
    path.write_bytes({"cut": content[: len(content) // 2], "emptied": b""}.get(how, content))


def kind_of(path: Path) -> str:
    """What a file is, whatever run, step or writer named it."""
    if path.name.endswith(".part"):
        return "unfinished file"
    if path.suffix in (".held", ".free"):
        return "lease"
    whose = "trunk's " if "trunks" in path.parts else ""
    return f"{whose}{path.name}"


def try_damage(place: Path, stages: int, operations: int, wanted: dict[str, str]) -> dict[str, Any]:
    """Every file of every stage, in every way: counts by kind and way, and what was wrong."""
    begun, root = place / "begun", place / "disturbed"
    tried, wrong = Counter[str](), []
    for stage in range(stages):
        fault = Fault(int((stage + 0.5) * operations / stages), "kill", "after", lasts=False)
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir()

        def begin(fault: Fault = fault) -> None:
            KEPT[:] = [str(os.open(os.devnull, os.O_WRONLY))]
            with watch(begun, fault):
                live(begun)

        in_a_child(begin)
        files = [path.relative_to(begun) for path in sorted(begun.rglob("*")) if path.is_file()]
        for number, name in enumerate(files):
            how = HARMS[(stage + number) % len(HARMS)]
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(begun, root)
            harm(root / name, how, seed=1009 * stage + 31 * number)
            tried[f"{kind_of(name)} | {how}"] += 1

            def mend() -> None:
                lease.EXPIRY, lease.POLL = 0.02, 0.005
                live(root, lambda line: None)
                for end in ("csv", "parquet"):
                    table = f"small.{end}"
                    assert (root / "out" / table).read_bytes().hex() == wanted[table], table

            if in_a_child(mend):
                wrong.append(f"stage {stage}: {name} {how}")
    return {"tried": dict(sorted(tried.items())), "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--damage", type=int)
    asked = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as temporary:
        print(json.dumps(try_all(Path(temporary), asked), indent=1))


def try_all(place: Path, asked: argparse.Namespace) -> dict[str, Any]:
    quiet, disturbed = place / "quiet", place / "disturbed"
    counting, listed = Counting(), place / "listed"

    def count() -> None:
        with watch(quiet, counting):
            live(quiet)
        listed.write_text(json.dumps([counting.found, outcome(quiet)]))

    quiet.mkdir()
    if in_a_child(count):
        raise SystemExit("the undisturbed life failed")
    found, wanted = json.loads(listed.read_text())
    operations = [Operation(*each) for each in found]
    if asked.damage is not None:
        return try_damage(place, asked.damage, len(operations), wanted)
    tried, wrong = Counter[str](), []
    for number, fault in enumerate(faults(operations, asked.ways.split(","))):
        if number % asked.every != asked.offset:
            continue
        operation = operations[fault.at]
        way = (
            fault.way if fault.way in ("kill", "slow") else fault.way + (", lasting" * fault.lasts)
        )
        tried["every | slow" if way == "slow" else f"{operation.kind} | {way}"] += 1
        if problem := try_fault(disturbed, fault, wanted):
            wrong.append(f"{fault}: {operation}: {problem}")
    return {
        "operations": Counter(operation.kind for operation in operations),
        "tried": dict(sorted(tried.items())),
        "wrong": wrong,
    }


if __name__ == "__main__":
    main()
