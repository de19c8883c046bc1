"""How long a plan says steps take: measured, published, given or assumed; and what it costs."""

import math
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from jax.extend.core import jaxprs_in_params
from test_calibration import a_measurement

from fits.base.errors import UserError
from models.precision import precision_for
from models.zoo import vit
from scaling.data.procedural.source import Procedural
from scaling.planning.calibration import read
from scaling.planning.devices import GPUS, TPUS, peak_flops, topology
from scaling.planning.given import dollars
from scaling.planning.pace import record_pace
from scaling.planning.published import CORE_DAYS, interpolated, published_rates, without
from scaling.planning.roofline import efficiency, sent, step_time
from scaling.study.parse import read_study
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.step import SEED, abstract_batch, program

PLAIN = PlacementSpec()


def run_of(name="B/16", batch=64, compute="bfloat16"):
    return Run(
        model=vit(name),
        data=Procedural(resolution=224, classes=8),
        recipe=Recipe(warmup_steps=0),
        images_seen=batch * 10,
        batch=batch,
        compute=compute,
    )


def test_a_device_is_known_by_what_jax_calls_it():
    assert TPUS["v5e"].is_called("TPU v5 lite")
    assert not TPUS["v5p"].is_called("TPU v5 lite")
    assert TPUS["v5p"].is_called("TPU v5p")
    assert GPUS["h100"].is_called("NVIDIA H100 80GB HBM3")
    assert not GPUS["h200"].is_called("NVIDIA H100 80GB HBM3")
    assert not topology("device:memory=1GiB,peak=1e12").kind.is_called("NVIDIA L4")
    assert peak_flops("NVIDIA H200") == 989.4e12
    assert peak_flops("cpu") is None


def test_a_rate_is_taken_from_a_measurement_before_a_publication():
    run, on = run_of(), topology("v3:2x2")
    published = efficiency(run, on, PLAIN)
    assert (published.basis, published.count) == ("published", 0)
    measured = efficiency(run, on, PLAIN, [a_measurement()])
    assert (measured.basis, measured.count) == ("measured", 1)
    assert measured.flops_a_second == pytest.approx(8e12)


def test_the_published_rates_are_those_of_the_paper():
    """Images a second a core, from core-days of 1000 steps of 4096 images: Figure 2."""
    rates = {
        rate.model: rate.flops_a_second / rate.flops_an_image
        for rate in published_rates()
        if rate.kind == "v3"
    }
    expected = {"s/28": 3551, "Ti/16": 1099, "B/16": 232, "L/16": 75, "g/14": 17.5, "G/14": 8.6}
    for name, images in expected.items():
        assert rates[name] == pytest.approx(images, rel=0.01)
    assert rates.keys() == CORE_DAYS.keys()


def test_leaving_a_model_out_leaves_its_own_rate_out():
    rates = published_rates()
    assert {rate.model for rate in rates} - {rate.model for rate in without(rates, "B/16")} == {
        "B/16"
    }


def test_a_rate_between_two_is_their_geometric_mean_half_way():
    assert interpolated([(1.0, 1.0), (100.0, 4.0)], 10.0) == pytest.approx(2.0)
    assert interpolated([(1.0, 1.0), (100.0, 4.0)], 1e9) == 4.0
    assert interpolated([(1.0, 3.0)], 0.1) == 3.0


@pytest.mark.parametrize(
    ("on", "basis"),
    [
        ("v3:2x2", "published"),
        ("v5e:4x4", "assumed"),
        ("gpu:h100", "published"),
        ("gpu:rtx4090", "assumed"),
        ("device:memory=24GiB,peak=165e12", "assumed"),
        ("device:memory=24GiB,peak=165e12,efficiency=0.35", "given"),
    ],
)
def test_a_plan_says_how_it_knows_a_rate(on, basis):
    assert efficiency(run_of(), topology(on), PLAIN).basis == basis


def test_the_published_rate_of_a_gpu_is_met_where_it_was_published():
    """ViT-g/14 on H100: 28.9 % of the peak (NeMo)."""
    found = efficiency(run_of("g/14"), topology("gpu:h100x8"), PLAIN)
    assert found.flops_a_second == pytest.approx(0.289 * 989.4e12, rel=0.01)


def test_a_processor_without_measurements_is_judged_by_its_products():
    found = efficiency(run_of(), topology("cpu"), PLAIN, products=lambda: 1e11)
    assert found.flops_a_second == pytest.approx(0.4e11)
    assert "100 GFLOP/s of matrix products" in found.source


def test_a_step_takes_the_longer_of_arithmetic_and_memory_then_communication():
    on = topology("device:memory=80GiB,peak=1e15,bandwidth=1e10,link=1e9,efficiency=1,count=8")
    run = run_of()
    found = step_time(run, on, PLAIN)
    assert found.memory > found.arithmetic
    assert found.communication == pytest.approx(sent(run, on, PLAIN) / 1e9)
    assert found.seconds == pytest.approx(found.memory + found.communication)
    alone = step_time(run_of(batch=8), replace(on, devices=1), PLAIN)
    assert alone.communication == 0


def test_gpus_without_nvlink_send_at_the_rate_of_one_way_of_pci_express():
    """Version 4, 16 lanes: 32 GB/s each way."""
    on, run = topology("gpu:rtx4090x8"), run_of()
    assert step_time(run, on, PLAIN).communication == pytest.approx(sent(run, on, PLAIN) / 32e9)


def test_gradients_of_n_devices_are_sent_two_times_less_their_nth():
    on, run = topology("v5e:4x4"), run_of()
    size = 4 * (run.params + 8 * 769)
    assert sent(run, on, PLAIN) == pytest.approx(2 * 15 / 16 * size)
    assert sent(run, on, PlacementSpec(fsdp=16)) == pytest.approx(3 * 15 / 16 * size)


def test_what_is_computed_again_takes_a_third_more_where_the_efficiency_is_given():
    on = topology("device:memory=80GiB,peak=1e14,efficiency=0.5")
    plain, full = (
        step_time(run_of(), on, spec).seconds for spec in (PLAIN, PlacementSpec(remat="full"))
    )
    assert full == pytest.approx(plain * 4 / 3)


def products_flops(jaxpr):
    """FLOPs of all matrix products of a program; loops times their length, of branches the least,
    which of a step that clips by the previous norm is that of every step but the first."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [products_flops(each) for each in jaxprs_in_params(equation.params)]
        name, times = equation.primitive.name, equation.params.get("length", 1)
        assert not (name == "while" and any(inner)), "its length is not known"
        total += min(inner) if name == "cond" else times * sum(inner)
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            sides = [equation.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * math.prod(sides) * math.prod(equation.outvars[0].aval.shape)
    return total


def traced_flops(run, spec):
    """Of the step that trains, traced on abstract values: nothing is compiled."""
    precision = precision_for("cpu", run.compute, spec.remat)
    start, step = program(run, run.objective.build(run.model, 8, precision), spec)
    state = jax.eval_shape(start, SEED)
    rate = jax.ShapeDtypeStruct((), "float32")

    def keyed(state, batch, rate):
        return step(state, batch, rate, jax.random.key(0))

    return products_flops(jax.make_jaxpr(keyed)(state, abstract_batch(run), rate).jaxpr)


@pytest.mark.slow
@pytest.mark.parametrize("clip_by", ["previous", "current"])
def test_a_fused_step_is_priced_by_the_arithmetic_it_has(clip_by):
    """A pass that takes norms goes first where it clips by its own norm: docs/training/fused.md."""
    recipe, fused = Recipe(warmup_steps=0, clip_by=clip_by), PlacementSpec(update="fused")
    run = run_of("Ti/16", batch=8).model_copy(update={"recipe": recipe})
    on = topology("device:memory=80GiB,peak=1e14,efficiency=0.5")
    priced = step_time(run, on, fused).seconds / step_time(run, on, PLAIN).seconds
    assert priced == pytest.approx(traced_flops(run, fused) / traced_flops(run, PLAIN), rel=0.03)


def test_a_published_rate_is_seven_quarters_slower_where_a_pass_takes_norms_first():
    on, fused = topology("v3:2x2"), PlacementSpec(update="fused")
    run = run_of()
    previous = run.model_copy(update={"recipe": Recipe(warmup_steps=0, clip_by="previous")})
    ratio = step_time(run, on, fused).seconds / step_time(previous, on, fused).seconds
    assert ratio == pytest.approx(7 / 4)


def test_a_training_leaves_the_rate_that_it_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = run_of(compute="float32")
    assert record_pace(run, PLAIN, images_per_second=64.0, seconds=3.0)
    (found,) = read()
    assert (found.platform, found.model, found.seconds) == ("cpu", "B/16", 1.0)
    assert found.flops_an_image == run.flops / run.images_seen
    assert efficiency(run, topology("cpu"), PLAIN, [found]).basis == "measured"


@pytest.mark.parametrize(
    ("rate", "seconds"), [(None, 10.0), (64.0, 2.0), (0.0, 10.0), (math.inf, 10.0)]
)
def test_a_training_of_a_moment_leaves_no_measurement(tmp_path, monkeypatch, rate, seconds):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not record_pace(run_of(), PLAIN, rate, seconds)
    assert read() == []


def test_a_price_is_a_number_or_a_line_of_a_file(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('v3 = 0.5\n"gpu:h100" = 2\n')
    assert dollars(None, "v3") is None
    assert dollars("1.2", "v3") == 1.2
    assert dollars(str(path), "v3") == 0.5
    assert dollars(str(path), "gpu:h100") == 2.0


@pytest.mark.parametrize(
    ("price", "kind", "said"),
    [
        ("nowhere.toml", "v3", "neither a number of US dollars a device-hour nor a file"),
        ("-1", "v3", "no number of US dollars"),
        ("nan", "v3", "no number of US dollars"),
        ("prices.toml", "v5e", r"no price of v5e. Did you mean 'v5p'\? Add a line v5e = 1.2"),
        ("prices.toml", "v4", "no number of US dollars"),
        ("broken.toml", "v4", "--price broken.toml: "),
        (".", "v4", r"--price .: Is a directory. Give a number of US dollars a device-hour or a"),
        ("a" * 300, "v4", "--price a+: File name too long. Give a number"),
        ("deep.toml", "v4", "--price deep.toml: too deeply nested"),
    ],
)
def test_a_price_that_is_none_is_said(price, kind, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("prices.toml").write_text('v5p = 1.2\nv4 = "cheap"\n')
    Path("broken.toml").write_text("v4 = \n")
    Path("deep.toml").write_text("v4 = " + "[" * 100_000)
    with pytest.raises(UserError, match=said):
        dollars(price, kind)


@pytest.mark.slow
def test_the_study_of_the_paper_costs_about_what_its_figure_says():
    """Each model's rate predicted from the others' alone."""
    on, rates = topology("v3:2x2"), published_rates()
    for model, core_days in CORE_DAYS.items():
        runs = read_study("zhai2022", planned=True).runs
        run = next(run for run in runs if run.model.name == model)
        time = step_time(run, on, PLAIN, rates=without(rates, model))
        predicted = time.seconds * on.devices * 1000 / 86400
        assert predicted == pytest.approx(core_days, rel=0.5)
