"""What a plan says would fit: only what the planner says fits, and nothing that was tried."""

import re

import pytest
from test_plan_devices import PretendCompiler, study_of

from scaling.planning.advice import what_would_fit
from scaling.planning.compiled import Verdict
from scaling.planning.devices import topology
from scaling.planning.memory import predicted
from scaling.planning.steps import plan_steps

FUSED = {"update": "fused", "fsdp": 1}


def in_closed_form(run, on, spec):
    found = predicted(run, spec, on).peak
    return Verdict(found, found <= on.kind.hbm, "closed form")


def planned(model, on, images, given, compiler=in_closed_form):
    """The one step of a study of one model."""
    study = study_of(model)
    (step,) = plan_steps(study, topology(on), compiler, images_per_device=images, given=given)
    return step


def other_kind(step, on):
    """Devices of another kind among what would fit, as --on takes them; None: none."""
    words = "\n".join(what_would_fit(step, topology(on)))
    found = re.search(
        r"^fused on (\S+) of \S+ GiB, \d+ images a device$", words, flags=re.MULTILINE
    )
    return None if found is None else found[1]


@pytest.mark.parametrize(
    ("model", "images"), [("B/16", 1500), ("L/16", 1500), ("g/14", 128), ("G/14", 8), ("G/14", 128)]
)
def test_a_device_that_is_named_is_one_that_a_plan_says_fits(model, images):
    """With 75 % of a GPU's memory, as every plan for one."""
    step = planned(model, "device:memory=2GiB,peak=1e13", images, FUSED)
    assert not step.verdict.fits
    named = other_kind(step, "device:memory=2GiB,peak=1e13")
    assert planned(model, named, images, FUSED).verdict.fits


def test_a_gpu_that_would_hold_a_step_with_all_of_its_memory_is_not_named():
    """G/14 fused, 160 images a device: more than 75 % of the 24 GiB of an L4, and less than all."""
    size = planned("G/14", "device:memory=1GiB,peak=1e13", 160, FUSED).verdict.gib
    assert 18 < size < 0.97 * 24
    step = planned("G/14", "device:memory=16GiB,peak=1e13", 160, FUSED)
    assert other_kind(step, "device:memory=16GiB,peak=1e13") == "gpu:a100-40g"


@pytest.mark.parametrize(
    ("model", "on", "images"),
    [
        ("Ti/16", "v2:1x1", 8),
        ("G/14", "v3:1x1", 8),
        ("G/14", "gpu:l4", 120),
        ("G/14", "v5e:1x1", 8),
    ],
)
@pytest.mark.parametrize("remat", ["none", "full"])
def test_neither_the_kind_nor_the_step_that_was_planned_is_named(model, on, images, remat):
    """A compiler found that it does not fit, where the closed form says that it does."""
    given = {**FUSED, "remat": remat}
    step = planned(model, on, images, given, PretendCompiler(lambda images, spec: 1000.0))
    kind = on.partition(":1x1")[0]
    found = what_would_fit(step, topology(on))
    assert not [words for words in found if words.startswith(f"fused on {kind} of")]
    assert other_kind(step, on) != on
    assert f"fused, {images} images a device" not in found


def test_a_gpu_without_bfloat16_is_not_named_for_a_step_in_bfloat16():
    step = planned("Ti/16", "v2:1x1", 8, FUSED, PretendCompiler(lambda images, spec: 1000.0))
    assert other_kind(step, "v2:1x1") not in (None, "gpu:t4", "gpu:v100")
