"""The two studies of docs/training/recipe.md, trained one after the other."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.shapes import ViTShape
from scaling.data.augment import Flip, MixUp, RandAugment
from scaling.data.augment.augreg import SETTINGS
from scaling.study.parse import read_study
from scaling.training import checkpoints

PAGE = (Path(__file__).resolve().parents[1] / "docs/training/recipe.md").read_text()
LOW, HIGH = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_and_the_program_know_the_same_settings():
    rows = re.findall(r"^\| (\w+) \| (?:(\d+), (\d+))? *\| ([\d.]*) *\|$", PAGE, re.MULTILINE)
    found = {name: (int(n or 0), int(m or 0), float(a or 0)) for name, n, m, a in rows}
    assert found == SETTINGS


def test_the_first_study_is_one_run_with_its_preset_spelled_out(tmp_path):
    path = tmp_path / "low.toml"
    path.write_text(LOW)
    (run,) = read_study(path).runs
    assert run.augment == (Flip(), RandAugment(layers=2, magnitude=10), MixUp(alpha=0.2))
    assert run.objective.label_smoothing == 0.1


@pytest.mark.slow
def test_a_second_study_goes_on_with_the_first_ones_network_at_a_higher_resolution(tmp_path):
    def launched(name, text):
        (tmp_path / f"{name}.toml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "scaling", "launch", f"{name}.toml"],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    launched("low", LOW)
    (first,) = (manifest.parent for manifest in tmp_path.glob("runs/*/manifest.json"))
    launched("high", HIGH.replace("RUN", first.name))
    (second,) = {m.parent for m in tmp_path.glob("runs/*/manifest.json")} - {first}
    manifest = json.loads((second / "manifest.json").read_text())
    assert manifest["init"]["from"] == f"runs/{first.name}"
    before, after = (
        checkpoints.parameters(folder / "checkpoints" / steps)["backbone"]
        for folder, steps in ((first, "40"), (second, "20"))
    )
    assert (before["position"].shape, after["position"].shape) == ((1, 16, 16), (1, 64, 16))
    kernels = (each["blocks"]["mlp"]["into"]["kernel"] for each in (before, after))
    one, other = kernels
    assert 0 < abs(one - other).max() < abs(one).max()  # went on from there
    shape = json.loads((second / "run.json").read_text())["run"]["model"]
    assert ViTShape(**shape).resolution == 32
