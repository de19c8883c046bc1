"""Launches with workers that only pretend to train: for tests of launching."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.launch.launch import launch
from scaling.launch.launch_spec import LaunchSpec
from scaling.launch.local.launcher import Local
from scaling.runs.run_folder import RunFolder
from scaling.study.study import Study
from scaling.training.recipe import Recipe
from scaling.training.run import Run

PRETEND = Path(__file__).with_name("pretend_worker.py")
DIVERGES, STOPS = 13, 14
UPSTREAM = Upstream(images=100)


def a_run(images_seen=640, seed=0):
    return Run(
        model=ViTShape(name="tiny", patch=4, resolution=16, width=32, depth=1, mlp=64, heads=2),
        data=Procedural(),
        recipe=Recipe(warmup_steps=1),
        images_seen=images_seen,
        batch=64,
        seed=seed,
    )


def a_study(*seeds, durations=(640,)):
    runs = tuple(a_run(images, seed) for seed in seeds for images in durations)
    return Study(name="small", question="Does it end?", runs=runs, evaluate=(UPSTREAM,))


class Pretended(Local):
    """Launches on this machine, with another worker."""

    _command: Any = PrivateAttr(None)

    def with_command(self, command):
        self._command = command
        return self

    def command(self, folders):
        return self._command(folders)


class Place:
    """A runs folder, a pretended worker, and the audit of what it did there."""

    def __init__(self, tmp_path):
        self.runs = tmp_path / "runs"
        self.audit = tmp_path / "audit.jsonl"

    def command(self, pause=0.005, hangs=None):
        return lambda folders: [
            *(sys.executable, str(PRETEND), str(self.audit), f"{pause},{hangs or ''}"),
            *map(str, folders),
        ]

    def launch(self, study, *, workers=2, pause=0.005, hangs=None, **spec):
        """
        Args:
          hangs: a file; the worker that finds it deletes it and hangs.
        """
        local = Pretended(workers=workers).with_command(self.command(pause, hangs))
        return launch(study, self.runs, LaunchSpec(**spec), local)

    def launcher(self, study, *, pause, workers=2, **popen):
        """A launcher in a process of its own.

        It asks for Ctrl-C: a shell's background jobs, and so their children, are born deaf to it.
        """
        code = (
            "import signal\n"
            "import sys\n"
            "from pathlib import Path\n"
            f"sys.path.insert(0, {str(PRETEND.parent)!r})\n"
            "from launched import Pretended, launch\n"
            "from scaling.launch.launch_spec import DEFAULT\n"
            "from scaling.study.study import Study\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"study = Study.model_validate_json({study.model_dump_json()!r})\n"
            f"start = [sys.executable, {str(PRETEND)!r}, {str(self.audit)!r}, {str(pause)!r}]\n"
            "command = lambda folders: start + [str(folder) for folder in folders]\n"
            f"local = Pretended(workers={workers}).with_command(command)\n"
            f"sys.exit(not launch(study, Path({str(self.runs)!r}), DEFAULT, local))\n"
        )
        path = {"PYTHONPATH": str(PRETEND.parents[1])}
        return subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, **path}, **{"text": True, **popen}
        )

    def events(self, kind):
        lines = self.audit.read_text().splitlines() if self.audit.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def all_events(self):
        return list(map(json.loads, self.audit.read_text().splitlines()))

    def wait_for(self, kind, count=1):
        deadline = time.monotonic() + 60
        while len(self.events(kind)) < count:
            assert time.monotonic() < deadline, f"waited a minute for {count} times {kind}"
            time.sleep(0.02)
        return self.events(kind)

    def ended_once(self, study):
        counts = Counter(event["run"] for event in self.events("end"))
        return counts == Counter({run.id: 1 for run in study.runs})

    def results(self, study):
        return {run.id: RunFolder(self.runs / run.id).results() for run in study.runs}


def is_alive(pid):
    """Whether a process is there and not only waits for a slow first process to reap it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
