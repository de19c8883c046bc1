"""What a plan counts of objectives: their arrays, their passes, and the gradients of each image."""

import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from objective_cases import CASES, NANO
from test_private_gradients import private_run

from models.cost import attention_macs, forward_macs
from models.precision import Precision
from models.zoo import vit
from scaling.data.procedural.source import Procedural
from scaling.objectives.built.contrastive import pairwise_sigmoid
from scaling.objectives.byol import BYOL
from scaling.objectives.classify import Classify
from scaling.objectives.clip import Clip
from scaling.objectives.config import Pass
from scaling.objectives.image_text import AT_ONCE
from scaling.objectives.lit import Lit
from scaling.objectives.s4l import S4L
from scaling.objectives.siglip import SigLip
from scaling.objectives.simclr import SimCLR
from scaling.planning.arrays import all_arrays, arrays_of, moments, outputs
from scaling.planning.compiled import compiled_parts
from scaling.planning.devices import topology
from scaling.planning.disk import state_bytes
from scaling.planning.memory import _similarities, predicted
from scaling.planning.roofline import _again, sent, step_time
from scaling.planning.steps import ladder
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import SEED, abstract_batch, program

ON = topology("v3:2x2")


def run_of(objective=None, model="S/16", batch=64, **recipe):
    run = Run(
        model=vit(model),
        data=Procedural(resolution=224, classes=100),
        recipe=Recipe(warmup_steps=0, **recipe),
        images_seen=batch * 10,
        batch=batch,
        compute="bfloat16",
    )
    return run if objective is None else run.model_copy(update={"objective": objective})


def numbers(arrays):
    return sum(math.prod(each.whole) for each in arrays)


def shapes(tree):
    """Of all arrays but counters, whole numbers."""
    return sorted(x.shape for x in jax.tree.leaves(tree) if x.dtype == jnp.float32)


@pytest.mark.parametrize("optimizer", ["adam", "adafactor"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_arrays_are_those_of_the_objective_s_state(name, optimizer, tmp_path):
    """One by one, but for counters of steps; and so are their moments, but for placeholders."""
    run = CASES[name](tmp_path)
    run = run.model_copy(update={"recipe": Recipe(warmup_steps=0, optimizer=optimizer)})
    built = run.objective.build(run.model, run.data.classes, Precision())
    state = jax.eval_shape(program(run, built).start, SEED)
    trained, beside = all_arrays(run)
    assert sorted(each.whole for each in trained) == shapes(state.params)
    assert sorted(each.whole for each in beside) == shapes((state.frozen, state.state))
    large = 64  # numbers; fewer may be a counter or a placeholder
    kept = [each for array in trained for each in moments(array, optimizer)]
    theirs = [
        (x.shape, x.dtype.itemsize)
        for x in jax.tree.leaves(state.optimizer.moments)
        if x.size >= large
    ]
    assert sorted(each for each in kept if math.prod(each[0]) >= large) == sorted(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_compiled_step_holds_the_state_that_is_planned_and_about_the_activations(name, tmp_path):
    """Compiled for this processor: arguments to 0.2 % of the state (its arrays are compared one by
    one above), but for labels, tokens, numbers of images and counters; temporaries between half of
    the closed form and a tenth more."""
    run, on, spec = CASES[name](tmp_path), topology("cpu"), PlacementSpec()
    ours, theirs = predicted(run, spec, on), compiled_parts(run, on, spec)
    built = run.objective.build(run.model, run.data.classes, Precision())
    state = jax.eval_shape(program(run, built, spec).start, SEED)
    beside = [x for x in jax.tree.leaves((state.optimizer, state.state)) if x.size <= 1]
    beside += [x for entry, x in abstract_batch(run).items() if entry != "image"]
    most = sum(x.size * x.dtype.itemsize for x in beside) + 3 * 4  # rate, seed and step
    assert 0 <= theirs.arguments - ours.state - ours.batch <= most + 0.002 * ours.state
    assert 0.5 < theirs.temporary / max(ours.moments.values()) < 1.1


def test_a_classifier_s_arrays_are_exact():
    (layers,) = (arrays_of(Pass(forward_macs(NANO, 10), shape=NANO))[-2:],)
    assert [each.shape for each in layers] == [(8, 10), (10,)]
    assert outputs(Pass(forward_macs(NANO, 10), shape=NANO)) == 10


def test_a_state_on_disk_holds_what_is_frozen_and_what_is_averaged():
    plain, byol = run_of(SimCLR()), run_of(BYOL())
    trained, beside = all_arrays(byol)
    assert not all_arrays(plain)[1]
    assert numbers(beside) > 0.9 * numbers(all_arrays(plain)[0]) / 1.2
    without = state_bytes(byol) - 4 * numbers(beside)
    assert without / numbers(trained) == pytest.approx(6, rel=0.1)  # Adafactor: 4 + 2 a number


def test_two_views_keep_twice_as_much_and_send_the_batch_twice():
    one, two = (
        predicted(
            run_of(each).model_copy(update={"compute": "float32"}), PlacementSpec(), ON
        )  # nothing is cast
        for each in (Classify(), SimCLR())
    )
    assert two.kept == pytest.approx(2 * one.kept, rel=1e-3)
    assert two.batch == 2 * one.batch


def test_a_target_network_is_state_without_moments_and_nothing_is_kept_of_it():
    one, two = (predicted(run_of(each), PlacementSpec(), ON) for each in (SimCLR(), BYOL()))
    assert two.kept == one.kept
    assert two.state > one.state + 4 * 20e6
    assert two.moments["beside"] > one.moments["beside"] == 0


def test_nothing_is_kept_of_the_passes_that_find_a_perturbation():
    """VAT after a task that shows each image four times: what is kept is of 5 images, and each is
    gone through 7 times. To an image a gradient costs what one to parameters does."""
    one, two = (
        predicted(run_of(each).model_copy(update={"compute": "float32"}), PlacementSpec(), ON)
        for each in (S4L(), S4L(vat=1.0))
    )
    assert two.kept == pytest.approx(5 / 4 * one.kept, rel=1e-2)
    assert two.made == pytest.approx(7 / 4 * one.made, rel=1e-2)
    assert one.moments["beside"] == 0
    assert one.kept / 4 < two.moments["beside"] < two.moments["blocks"]
    assert two.state == one.state


def test_blocks_are_computed_again_for_a_gradient_of_images_too():
    """A step with VAT is 3 + 1 + 2 + 3 forward passes, and the products of attention once more; a
    backward pass follows three of the four passes, and computes each again."""
    run = run_of(S4L(task="none", vat=1.0))
    macs, more = forward_macs(run.model, 100), attention_macs(run.model)
    expected = 1 + 3 * macs / (9 * macs + more)
    assert _again(run, PlacementSpec(remat="full")) == pytest.approx(expected)
    assert _again(run, PlacementSpec()) == 1


def test_the_gradients_of_all_images_of_a_part_are_held_at_once():
    sizes = {"clip_norm": None, "privacy": {"noise_multiplier": 1.0, "delta": 1e-5}}
    run = run_of(batch=64, **sizes)
    with pytest.raises(ValueError, match="clip"):
        run_of(batch=64, privacy=sizes["privacy"])
    plain = predicted(run_of(batch=64), PlacementSpec(), ON)
    whole, parts = (predicted(run, PlacementSpec(microbatches=parts), ON) for parts in (1, 8))
    images = 64 // ON.devices
    assert whole.moments["updates"] > images * plain.moments["updates"] * 0.9
    assert whole.kept == plain.kept
    assert parts.moments["updates"] < 0.3 * whole.moments["updates"]
    assert whole.state == plain.state


def test_private_steps_are_tried_in_more_and_more_parts_and_never_fused():
    run = run_of(batch=64, clip_norm=None, privacy={"noise_multiplier": 1.0, "delta": 1e-5})
    specs = list(ladder(run, ON))
    assert {spec.update for spec in specs} == {"plain"}
    assert [spec.microbatches for spec in specs][-1] == 64 // ON.devices
    assert [spec.microbatches for spec in specs] == sorted(spec.microbatches for spec in specs)


def test_a_teacher_s_forward_pass_takes_time_and_its_gradient_is_sent_to_nobody():
    """BYOL: its target is another forward pass of both views, 8 instead of 6 a multiply-add."""
    one, two = run_of(SimCLR(hidden=768, projection=256)), run_of(BYOL())
    assert two.flops / one.flops == pytest.approx(8 / 6, rel=0.02)
    times = [step_time(each, ON, PlacementSpec(), ()).arithmetic for each in (one, two)]
    assert times[1] / times[0] == pytest.approx(8 / 6, rel=0.02)
    assert sent(two, ON, PlacementSpec()) == pytest.approx(sent(one, ON, PlacementSpec()), rel=0.1)


def test_augmentations_are_counted_as_arithmetic():
    one, many = private_run(), private_run(augmentations=4)
    assert many.flops == 4 * one.flops
    assert predicted(many, PlacementSpec(), ON).kept == pytest.approx(
        4 * predicted(one, PlacementSpec(), ON).kept, rel=0.3
    )


def test_sigmoid_losses_hold_the_logits_of_some_captions_and_softmax_those_of_all():
    """Of one device with 64 of 4,096 images: 64 x 1,024 float32 and not 64 x 4,096. A batch of
    1,500 comes in two parts of 750, as `pairwise_sigmoid` makes them; one of 512 is whole."""
    soft, sigmoid = Clip(), SigLip()
    assert (soft.compared_at_once, sigmoid.compared_at_once) == (None, AT_ONCE)
    assert Lit(loss="sigmoid").compared_at_once == AT_ONCE
    assert Lit().compared_at_once is SimCLR().compared_at_once is None
    for batch, rows in ((512, 512), (1500, 750), (4096, 1024)):
        now = batch / ON.devices
        every, some = (_similarities(run_of(each, batch=batch), now) for each in (soft, sigmoid))
        assert every == 4 * now * batch
        assert some == 4 * now * rows


@pytest.mark.slow
def test_a_compiled_sigmoid_loss_takes_no_more_memory_for_more_captions_than_it_compares():
    """Four times the images: four times the logits of a part, and not sixteen times."""
    size, scalar = 8, jax.ShapeDtypeStruct((), jnp.float32)

    def temporary(count):
        vectors = jax.ShapeDtypeStruct((count, size), jnp.float32)
        step = jax.jit(jax.grad(pairwise_sigmoid, argnums=(0, 1)))
        compiled = step.lower(vectors, vectors, scalar, scalar).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    less, more = temporary(AT_ONCE), temporary(4 * AT_ONCE)
    assert less > 4 * AT_ONCE**2
    assert 3 < more / less < 5


PLANS = """
import pickle, sys
from pathlib import Path
from scaling.planning.devices import topology
from scaling.planning.memory import predicted
from scaling.planning.roofline import step_time
from scaling.training.placement_spec import PlacementSpec

on, spec = topology("v3:2x2"), PlacementSpec()
for name, run in pickle.loads(Path(sys.argv[1]).read_bytes()).items():
    print(name, predicted(run, spec, on).peak, step_time(run, on, spec, ()).seconds, sep="|")
assert "jax" not in sys.modules
"""


def test_a_plan_of_objectives_loads_no_jax(tmp_path):
    """Of every objective the numbers that this process finds, which has loaded it."""
    runs = {name: case(tmp_path / "files") for name, case in CASES.items()}
    (tmp_path / "runs").write_bytes(pickle.dumps(runs))
    done = subprocess.run(
        [sys.executable, "-c", PLANS, str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr
    spec = PlacementSpec()
    for line, (name, run) in zip(done.stdout.splitlines(), runs.items(), strict=True):
        named, memory, seconds = line.split("|")
        assert named == name
        assert float(memory) == predicted(run, spec, ON).peak > 0
        assert float(seconds) == step_time(run, ON, spec, ()).seconds > 0
