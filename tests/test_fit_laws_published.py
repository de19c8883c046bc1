"""The command fit-laws: the published tables give the published laws."""

from pathlib import Path

import numpy as np
import pytest

from fits.laws.powers import saturating

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


def published(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path.name} of ../shared is absent")
    return path


def curve(group, x):
    return saturating(x, *(group["parameters"][name]["value"] for name in "abcd"))


CORE_DAYS = np.geomspace(0.3, 3e4, 200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shots", "law"), [("inet10", (0.63, 0.32, 0.12, 0.52)), ("inet5", (0.68, 0.32, 0.14, 0.67))]
)
def test_the_published_few_shot_laws_come_back(answer, shots, law):
    path = published("zhai2022/fewshot.csv")
    found, complaints = answer(
        path, "--x", "core_days_fig2", "--y", shots, "--y-is", "accuracy-percent"
    )
    (group,) = found["groups"]
    assert np.abs(curve(group, CORE_DAYS) - saturating(CORE_DAYS, *law)).max() <= 0.008
    floor = group["parameters"]["c"]
    assert floor["low"] < law[2] < floor["high"]
    assert not complaints


@pytest.mark.parametrize(
    ("name", "law", "within"),
    [
        ("inet10", (0.63, 0.32, 0.12, 0.52), 0.008),
        ("finetune", (0.26, 0.35, 0.09, 0.01), 0.01),
    ],
)
def test_the_published_laws_come_back_from_the_tables_of_the_notebooks(answer, name, law, within):
    path = ROOT / "notebooks" / f"zhai2022_{name}.csv"
    found, _ = answer(path, "--x", "core_days", "--y", "error")
    (group,) = found["groups"]
    assert np.abs(curve(group, CORE_DAYS) - saturating(CORE_DAYS, *law)).max() <= within
    floor = group["parameters"]["c"]
    assert floor["low"] < law[2] < floor["high"]


def test_fine_tuning_without_the_largest_models_sees_a_higher_floor(answer):
    path = published("zhai2022/finetune.csv")
    arguments = "--x", "core_days_fig2", "--y", "imagenet", "--y-is", "accuracy-percent"
    found, _ = answer(path, *arguments)
    (group,) = found["groups"]
    within = np.geomspace(0.3, 2500, 100)  # core-days that the table reaches
    paper = saturating(within, 0.26, 0.35, 0.09, 0.01)
    assert np.abs(curve(group, within) - paper).max() <= 0.01
    assert group["parameters"]["c"]["value"] > 0.1


def test_the_floor_of_openclip_is_not_identifiable(answer):
    path = published("openclip/zeroshot_imagenet_retrieval.csv")
    found, complaints = answer(
        path,
        *("--x", "gmacs_total", "--y", "acc1", "--y-is", "accuracy"),
        *("--where", "downstream_dataset=imagenet1k", "--where", "upstream_dataset!=CLIP-WIT"),
    )
    (group,) = found["groups"]
    assert group["runs"] == 29
    assert group["parameters"]["c"]["low"] == 0
    assert group["parameters"]["c"]["high"] == pytest.approx(0.2, abs=0.02)
    assert "the floor is not identifiable: the 90 % interval of c is [0, 0.2]" in complaints
    assert group["parameters"]["b"]["value"] == pytest.approx(0.111, abs=0.002)
