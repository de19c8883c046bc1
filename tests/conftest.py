"""Compiled programs are shared by all tests of a run and by the workers they start.

A train step takes JAX seconds to compile and milliseconds to load; many tests train the same few
networks. The cache is keyed by the program, the flags and the version of JAX. Programs are compiled
without XLA's optimisations and without its newer code generator for fused loops, which takes half
of the time; the demo and the notebooks, which CI runs too, have them as a user has.
"""

import json
import os
from importlib.metadata import version
from pathlib import Path

# As many processes run tests as there are cores, so none needs several threads of its own.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pytest
from study_texts import GOOD

from fits.base.errors import UserError
from fits.fit_laws import main
from fits.laws.chinchilla import CHINCHILLA
from fits.laws.powers import saturating
from scaling.study.parse import read_study

QUICK_TO_COMPILE = "--xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):  # later ones end the process at a flag they don't know
    QUICK_TO_COMPILE += " --xla_cpu_use_fusion_emitters=false"
TRUTH = 0.6, 0.35, 0.1, 0.5  # of the saturating law in `table`


def pytest_configure(config):
    cache = Path(config.rootpath) / ".pytest_cache" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")  # 1 by default
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")  # no lower limit
    os.environ.setdefault("XLA_FLAGS", QUICK_TO_COMPILE)


@pytest.fixture
def table(tmp_path):
    """Runs of two models on the same law, a little noisy, and a copy far above the frontier."""
    rng = np.random.default_rng(0)
    compute = np.geomspace(1e-2, 1e3, 24)
    error = saturating(compute, *TRUTH) * np.exp(0.005 * rng.normal(size=24))
    runs = list(zip(compute, error, strict=True))
    lines = ["model,eflop,error"]
    for model, factor in (("S", 1.0), ("B", 1.2)):
        lines += [f"{model},{c:.6g},{min(e * factor, 1):.6f}" for c, e in runs]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of runs, and launches on it with workers that only pretend to train."""
    from launched import PRETEND, Place

    monkeypatch.setenv("PYTHONPATH", str(PRETEND.parents[1]))
    return Place(tmp_path)


@pytest.fixture
def command(capsys):
    """Runs the command; returns its exit status, what it printed, and what it complained of."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def answer(command):
    """Runs the command for JSON and returns it with the complaints."""

    def run(*arguments):
        status, printed, complaints = command(*arguments, "--json", "-")
        assert status == 0, complaints
        return json.loads(printed), complaints

    return run


@pytest.fixture
def no_holdout(monkeypatch):
    """Commands don't try how well each law predicts: most of their work, and no part of a fit."""
    monkeypatch.setattr("fits.observations.Observations.hold_out", lambda self, spec: None)


@pytest.fixture
def surface(tmp_path):
    """Losses of 36 models on a law of two variables, and one run that went wrong."""
    sizes = np.geomspace(1, 32, 6)
    size, data = (axis.ravel() for axis in np.meshgrid(sizes, sizes))
    loss = CHINCHILLA.predict(np.stack([size, data]), 1.7, 0.6, 0.35, 0.8, 0.3)
    loss *= np.exp(0.002 * np.random.default_rng(0).normal(size=36))
    loss[20] *= 1.3
    numbers = enumerate(zip(size, data, loss, strict=True))
    rows = [f"{n:.6g},{d:.6g},{y:.6f},{k % 2}" for k, (n, d, y) in numbers]
    path = tmp_path / "surface.csv"
    path.write_text("\n".join(["params,images,loss,half", *rows]) + "\n")
    return path


@pytest.fixture
def mistakes(tmp_path, monkeypatch):
    """Changes `old` into `new` in a good file (or takes a whole text), and returns what is said."""
    monkeypatch.chdir(tmp_path)

    def said(*changes, text=GOOD):
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / "small.toml").write_text(text, encoding="utf-8")
        with pytest.raises(UserError) as caught:
            read_study("small.toml")
        assert all(each.startswith("small.toml") for each in caught.value.mistakes)
        return [each.removeprefix("small.toml, line ") for each in caught.value.mistakes]

    return said
