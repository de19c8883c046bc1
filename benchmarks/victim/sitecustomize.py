"""Python of a process that a benchmark watches, and may kill in the middle of a file operation.

Python imports this by itself in whatever process has this folder in PYTHONPATH; nothing of the
project knows of it. Appends to the file $VICTIM_TRACE a line for each step of a training and each
checkpoint that is there. The file $VICTIM_TRAP, where there is one, names a file operation: the
process that comes to it first deletes the file and gets SIGKILL.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
from faults import Operation, install

TRACE, TRAP, ROOT = (os.environ.get(f"VICTIM_{name}") for name in ("TRACE", "TRAP", "ROOT"))
TRAINER = "scaling.training.trainer"


def trace(event: str, place: str, step: int, **more: Any) -> None:
    """Append a line: the file system keeps lines of several processes apart."""
    if TRACE is not None:
        line = {"event": event, "place": place, "step": step, "pid": os.getpid(), **more}
        handle = os.open(TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (json.dumps(line) + "\n").encode())
        os.close(handle)


class Victim:
    """Tells of checkpoints, and dies where the trap says."""

    def __init__(self) -> None:
        self._count = 0

    def before(self, operation: Operation) -> None:
        self._step_into("before", operation)

    def half(self, operation: Operation) -> None:
        self._step_into("half", operation)

    def after(self, operation: Operation) -> None:
        path = Path(operation.path)
        about = path / "checkpoint.json"
        if operation.kind == "rename" and path.suffix == "" and about.exists():
            own = path.parent.name == "checkpoints"
            place = path.parent.parent.name if own else path.parent.name
            trace("kept", place, json.loads(about.read_text())["step"], name=path.name)
        self._step_into("after", operation)

    def _step_into(self, when: str, operation: Operation) -> None:
        if TRAP is None or not os.path.exists(TRAP):
            return
        try:
            about = json.loads(Path(TRAP).read_text())
        except (OSError, ValueError):
            return
        if not re.search(about["path"], operation.path):
            return
        self._count += 1
        if self._count <= about["after"]:
            return
        try:
            os.unlink(TRAP)  # of several processes one dies
        except OSError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


class Traced(importlib.abc.MetaPathFinder):
    """Has `Trainer.advance` tell of each step, once its module is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != TRAINER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            _trace_steps(module.Trainer)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _trace_steps(trainer: Any) -> None:
    from scaling.base.config import digest

    advance = trainer.advance

    def traced(self: Any, checkpoint: Any, until: int, *, total_steps: Any, **keys: Any) -> Any:
        place = self.trunk
        if total_steps is not None:  # a cooldown: its last step names the run
            run = self._run
            images = {"images_seen": total_steps * run.batch}
            place = digest(run.model_copy(update=images))
        done, leave = checkpoint.step, keys["leave"]
        trace("from", place, done, until=until)

        def asked() -> bool:
            """After each step."""
            nonlocal done
            done += 1
            trace("step", place, done)
            return bool(leave())

        keys["leave"] = asked
        return advance(self, checkpoint, until, total_steps=total_steps, **keys)

    trainer.advance = traced


if ROOT is not None:
    install(Path(ROOT), Victim())
    sys.meta_path.insert(0, Traced())
