"""`scaling plan --on`: its JSON, its words, and what it says of a user's mistakes."""

import csv
import importlib.util
import json
import subprocess
import sys

import jsonschema
import pytest
from typer.testing import CliRunner

from fits.base.errors import UserError
from scaling.cli.main import app
from scaling.planning import calibration, compiled, gpu_compiler
from scaling.study.parse import read_study
from scaling.study.variants import variants

STUDY = """
name = "two"
question = "?"
compute = "bfloat16"

[data]
kind = "private"
name = "P"
classes = 1000
images = 1000000
heldout_images = 100

[recipe]
warmup_steps = 0

[[evaluate]]
kind = "upstream"

[[grid]]
model = ["Ti/16", "G/14"]
images_seen = [640, 1280]
batch = 64
"""

NUMBER, TEXT = {"type": "number"}, {"type": "string"}
STEP = {
    "type": "object",
    "required": [
        *("model", "variant", "images_per_device", "update", "remat", "microbatches"),
        *("sharding", "hbm_gib", "fits"),
        *("largest_images_per_device", "flops", "seconds", "rate", "device_hours", "memory"),
    ],
    "properties": {
        "model": TEXT,
        "variant": {"type": "string"},
        "images_per_device": {"type": "integer", "minimum": 1},
        "update": {"enum": ["plain", "fused"]},
        "remat": {"enum": ["none", "dots", "full", "offload"]},
        "microbatches": {"type": "integer", "minimum": 1},
        "sharding": {
            "type": "object",
            "required": ["fsdp", "tensor"],
            "properties": {
                "fsdp": {"type": "integer", "minimum": 1},
                "tensor": {"type": "integer", "minimum": 1},
            },
            "additionalProperties": False,
        },
        "hbm_gib": {"type": "number", "exclusiveMinimum": 0},
        "fits": {"type": "boolean"},
        "largest_images_per_device": {"type": "integer", "minimum": 0},
        "flops": {"type": "integer", "minimum": 1},
        "largest": {"enum": ["compiled", "closed form"]},
        "memory": {"enum": ["compiled", "closed form"]},
        "closed_form_gib": NUMBER,
        "seconds": {"type": "number", "exclusiveMinimum": 0},
        "bound": {"enum": ["arithmetic", "memory", "communication"]},
        "rate": {
            "type": "object",
            "required": ["tflops_a_device", "basis", "source", "measurements"],
            "properties": {
                "basis": {"enum": ["measured", "published", "given", "assumed"]},
                "measurements": {"type": "integer", "minimum": 0},
            },
        },
        "device_hours": NUMBER,
        "would_fit": {"type": "array", "items": TEXT},
    },
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "required": ["topology", "steps", "device_hours"],
    "properties": {
        "study": TEXT,
        "topology": TEXT,
        "devices": {"type": "integer", "minimum": 1},
        "hbm_gib": NUMBER,
        "steps": {"type": "array", "items": STEP, "minItems": 1},
        "device_hours": {"type": "number", "exclusiveMinimum": 0},
        "dollars_a_device_hour": {"type": ["number", "null"]},
        "remarks": {"type": "array", "items": {"type": "string"}},
        "dollars": {"type": ["number", "null"]},
    },
    "additionalProperties": False,
}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """`scaling plan two.toml ARGS...`: what it prints where no compiler for GPUs is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_compiler, "installed_version", lambda name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "two.toml").write_text(STUDY)

    def run(*arguments):
        found = CliRunner().invoke(app, ["plan", "two.toml", *arguments], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.stdout

    return run


def as_json(text):
    found = json.loads(text)
    jsonschema.validate(found, SCHEMA)
    return found


@pytest.mark.parametrize(
    "on", ["v3:2x2", "v5e:4x4", "gpu:h100x8", "device:memory=24GiB,peak=165e12,count=4"]
)
def test_a_plan_as_json_has_the_same_keys_on_whatever_devices(plan, on):
    found = as_json(plan("--on", on, "--closed-form", "--images-per-device", "8", "--json", "-"))
    assert [step["model"] for step in found["steps"]] == ["Ti/16", "G/14"]
    assert {step["memory"] for step in found["steps"]} == {"closed form"}
    assert found["device_hours"] == pytest.approx(sum(s["device_hours"] for s in found["steps"]))
    assert found["dollars"] is None


OBJECTIVES = """
name = "two"
question = "Which objective?"

[data]
kind = "procedural"
resolution = 32
caption = "class"

[models.a]
patch = 8
width = 32
depth = 1
mlp = 64
heads = 2

[recipe]
warmup_steps = 2
cooldown_steps = 2

[[evaluate]]
kind = "fewshot"
name = "digits"
data = { kind = "digits", resolution = 32 }

[[grid]]
model = "a"
images_seen = [640, 1_280]
batch = 64
seed = [0, 1]
recipe = { warmup_steps = 2 }
objective = [
  { kind = "classify" }, { kind = "simclr" }, { kind = "jigsaw" }, { kind = "clip" },
]

[[grid]]
model = "a"
images_seen = [640, 1_280]
batch = 64
recipe = { warmup_steps = 3 }
objective = { kind = "clip" }
"""
KINDS = ("classify", "simclr", "jigsaw", "clip")


def test_each_objective_has_a_row_of_its_own_with_its_own_flops(plan, tmp_path):
    """In the words of a dry run, in JSON, in the printed plan and in the table of runs."""
    (tmp_path / "two.toml").write_text(OBJECTIVES)
    runs = read_study(str(tmp_path / "two.toml")).runs
    words = variants(runs)
    found = json.loads(plan("--json", "-"))
    assert [model["name"] for model in found["models"]] == ["a"] * 5
    variants_of = [*((kind, 2) for kind in KINDS), ("clip", 3)]
    assert [model["variant"] for model in found["models"]] == [
        f"objective={kind}, recipe.warmup_steps={steps}" for kind, steps in variants_of
    ]
    for model in found["models"]:
        mine = [run for run in runs if words[run.id] == model["variant"]]
        assert model["runs"] == len(mine)
        assert model["flops_alone"] == sum(run.flops for run in mine)
    assert sum(model["flops"] for model in found["models"]) == found["flops"]
    printed = plan().splitlines()
    assert printed[2].split()[:3] == ["model", "variant", "params"]
    for model, line in zip(found["models"], printed[3:], strict=False):
        assert line.split("  ")[0] == "a"
        assert f" {model['variant']} " in line
    rows = list(csv.DictReader(plan("--table", "-").splitlines()))
    assert {row["run"]: row["variant"] for row in rows} == words


def test_steps_of_several_objectives_are_told_apart_by_what_their_runs_agree_in(plan, tmp_path):
    """CLIP's runs of two warm-ups take one step: the warm-up is no part of its variant."""
    (tmp_path / "two.toml").write_text(OBJECTIVES)
    on = "--on", "v3:2x2", "--closed-form"
    steps = as_json(plan(*on, "--json", "-"))["steps"]
    told = [f"objective={kind}, recipe.warmup_steps=2" for kind in KINDS[:-1]]
    assert [step["variant"] for step in steps] == [*told, "objective=clip"]
    assert len({step["flops"] for step in steps}) == 4
    printed = plan(*on).splitlines()
    assert printed[2].split()[:3] == ["model", "variant", "images"]
    for step, line in zip(steps, printed[3:], strict=False):
        assert line.startswith("a ")
        assert f" {step['variant']} " in line


def test_a_step_that_does_not_fit_is_named_with_its_variant(plan, tmp_path):
    (tmp_path / "two.toml").write_text(OBJECTIVES)
    printed = plan("--on", "device:memory=1MiB,peak=1e12")
    assert "\na (objective=clip) does not fit: " in printed


def test_a_study_of_one_variant_is_printed_without_a_column_for_it(plan):
    assert "variant" not in plan()
    assert "variant" not in plan("--on", "v3:2x2", "--closed-form")
    assert {step["variant"] for step in json.loads(plan("--json", "-"))["models"]} == {""}


def test_the_giant_is_fused_on_a_slice_of_v3(plan):
    found = as_json(
        plan("--on", "v3:2x2", "--closed-form", "--images-per-device", "8", "--json", "-")
    )
    tiny, giant = found["steps"]
    assert (tiny["update"], tiny["remat"]) == ("plain", "none")
    assert (giant["update"], giant["remat"], giant["fits"]) == ("fused", "full", True)
    assert giant["hbm_gib"] < 11.4


def test_a_study_that_leaves_its_dtype_open_is_planned_in_that_of_the_devices(plan, tmp_path):
    (tmp_path / "two.toml").write_text(STUDY.replace('compute = "bfloat16"\n', ""))
    opened = as_json(plan("--on", "gpu:h100", "--json", "-"))
    (tmp_path / "two.toml").write_text(STUDY)
    assert opened == as_json(plan("--on", "gpu:h100", "--json", "-"))


def test_money_is_the_price_of_all_device_hours(plan):
    found = as_json(plan("--on", "gpu:h200", "--price", "2.5", "--json", "-"))
    assert found["dollars"] == pytest.approx(2.5 * found["device_hours"])
    assert "at 2.5 US dollars each" in plan("--on", "gpu:h200", "--price", "2.5")


def test_a_plan_says_what_was_not_compiled_and_how_it_knows_the_rates(plan):
    out = plan("--on", "gpu:h100x8")
    assert "predicted, closed form; nothing was compiled" in out
    assert "2 of 2 published: v3's share of the peak" in out
    assert "device-hours, predicted." in out


def test_a_plan_counts_the_measurements_that_it_rests_on(plan, tmp_path):
    line = {
        "device_kind": "NVIDIA H100 80GB HBM3",
        "platform": "gpu",
        "model": "Ti/16",
        "compute": "bfloat16",
        "remat": "none",
        "update": "plain",
        "images_per_device": 64,
        "devices": 1,
        "flops_an_image": 7.5e9,
        "seconds": 0.01,
    }
    path = tmp_path / "cache" / "vit-scaling-laws" / calibration.FILE
    path.parent.mkdir(parents=True)
    path.write_text(f"{json.dumps(line)}\ndamaged\n{json.dumps(line)}\n")
    out = plan("--on", "gpu:h100")
    assert "1 of 2 measured: calibration.jsonl, 2 measurements" in out
    assert "1 of 2 measured: calibration.jsonl, interpolated between models" in out


def steps_of(out):
    return [(each["update"], each["remat"], each["sharding"]["fsdp"]) for each in out["steps"]]


def test_the_step_that_a_study_says_itself_is_the_one_that_is_planned(plan, tmp_path):
    text = '\n[placement]\nupdate = "fused"\nfsdp = 4\n'
    (tmp_path / "two.toml").write_text(STUDY + text)
    on = "--on", "v3:2x2", "--closed-form"
    assert steps_of(as_json(plan(*on, "--json", "-"))) == [("fused", "full", 4)] * 2
    assert "as the study's [placement] says" in plan(*on)
    found = as_json(plan(*on, "--update", "plain", "--json", "-"))
    assert steps_of(found) == [("plain", "none", 4)] * 2


def test_what_is_chosen_is_said_in_the_words_that_train_it(plan):
    out = plan("--on", "v3:2x2", "--closed-form")
    assert 'say so: update = "fused" for G/14.' in out


def test_what_the_command_line_names_is_kept_and_all_else_is_chosen(plan):
    on = "--on", "v3:2x2", "--closed-form", "--json", "-"
    found = steps_of(as_json(plan(*on, "--fsdp", "8")))
    assert found == [("plain", "none", 8), ("plain", "dots", 8)]
    lean = "--on", "device:memory=4GiB,peak=1e13,count=8", "--closed-form", "--json", "-"
    small, large = steps_of(as_json(plan(*lean, "--fsdp", "8", "--images-per-device", "8")))
    assert small == ("plain", "none", 8)
    assert large in [("plain", "full", 8), ("fused", "full", 8)]
    found = steps_of(as_json(plan(*on, "--remat", "full")))
    assert {update for update, _, _ in found} == {"plain"}
    assert {remat for _, remat, _ in found} == {"full"}


def test_a_plan_prices_no_step_that_a_network_does_not_have(plan, tmp_path):
    (tmp_path / "two.toml").write_text(STUDY.replace('["Ti/16", "G/14"]', '"BiT-R50x1"'))
    with pytest.raises(UserError, match="BiT-R50x1 is a BiT, whose blocks differ"):
        plan("--on", "v3:2x2", "--closed-form", "--update", "fused")


def test_a_model_that_fits_nowhere_is_told_by_how_much_and_what_would_fit(plan):
    out = plan("--on", "device:memory=8GiB,peak=1e13", "--images-per-device", "8")
    assert "G/14 does not fit: " in out
    assert "GiB too much" in out
    assert "By the closed form these would:" in out
    assert "fused, fsdp 2 on 2 such devices, 8 images a device" in out
    assert "fused on v3:1x1 of 15.48 GiB, 8 images a device" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--on v8:2x2", "no devices 'v8' are known"),
        ("--on h100", r"Did you mean 'gpu:h100'"),
        ("--on gpu:h10", r"no GPU 'h10' is known. Did you mean"),
        ("--on gpu:h100x0", "no GPU"),
        ("--on device:memory=24GiB", "peak must be given"),
        ("--on device:memry=24GiB,peak=1e12", r"no 'memry'. Did you mean 'memory'"),
        ("--on device:memory=lots,peak=1e12", "'memory=lots': write a number from 1MiB"),
        ("--on device:memory=1GiB,peak=1e12,efficiency=2", "'efficiency=2'"),
        ("--on device:memory=1GiB,peak=1e12,count=1.5", "a whole number of devices"),
        ("--on gpu:h100x8 --fsdp 3", "does not divide the 8 devices of gpu:h100x8; use 2 or 4"),
        ("--on gpu:h100x8 --fsdp 16", "has 8 devices; use at most 8, or a larger slice"),
        ("--on gpu:h100 --update fussed", r"no 'fussed'. Did you mean 'fused'"),
        ("--on gpu:h100x7", "a batch of 64 cannot be split over the 7 devices .* use 63 or 70"),
        ("--on gpu:h100 --price free", "neither a number of US dollars"),
        ("--fsdp 2", "are for --on"),
        ("--on gpu:h100 --table runs.csv", "--table runs.csv: lists runs"),
        ("--on gpu:h100 --update fused --remat dots", "a fused step keeps the input of each block"),
        ("--price 2", "are for --on"),
        ("--closed-form", "are for --on"),
        ("--search", "are for --on"),
    ],
)
def test_a_mistake_is_said_with_what_would_be_right(plan, arguments, said):
    with pytest.raises(UserError, match=said):
        plan(*arguments.split())


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is here")
def test_without_the_compiler_it_is_said_where_it_comes_from(plan):
    with pytest.raises(UserError, match=r"pip install 'vit-scaling-laws\[tpu\]'.*--closed-form"):
        plan("--on", "v3:2x2")


def test_a_plan_in_closed_form_loads_no_jax(tmp_path):
    (tmp_path / "two.toml").write_text(STUDY)
    code = (
        "import sys\nfrom scaling.planning.on_devices import plan_on\n"
        "plan_on('two.toml', 'v3:2x2', 8, {}, closed_form=True, quiet=True)\n"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_a_step_is_compiled_for_a_slice_that_is_not_there(plan, tmp_path):
    (tmp_path / "two.toml").write_text(STUDY.replace('["Ti/16", "G/14"]', '"mu/16"'))
    (step,) = as_json(plan("--on", "v3:2x2", "--images-per-device", "1", "--json", "-"))["steps"]
    assert step["memory"] == "compiled"


@pytest.mark.slow
def test_on_this_machines_processor_the_step_is_compiled_and_only_once(plan, tmp_path, monkeypatch):
    text = STUDY.replace('["Ti/16", "G/14"]', '"mu/16"').replace("bfloat16", "float32")
    (tmp_path / "two.toml").write_text(text)
    first = plan("--on", "cpu", "--images-per-device", "2", "--json", "-")
    monkeypatch.setattr(compiled, "_verdict", lambda *_: pytest.fail("compiled again"))
    (step,) = as_json(first)["steps"]
    assert (step["memory"], step["fits"]) == ("compiled", True)
    assert "matrix products, measured now" in step["rate"]["source"]
    assert list((tmp_path / "cache" / "vit-scaling-laws" / "plans").glob("*.json"))
    again = plan("--on", "cpu", "--images-per-device", "2", "--json", "-")
    pick = "model", "hbm_gib", "largest_images_per_device"
    steps = [
        [{key: step[key] for key in pick} for step in as_json(out)["steps"]]
        for out in (first, again)
    ]
    assert steps[0] == steps[1]


def test_a_mistake_in_the_table_of_the_launcher_is_said_before_the_launch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.toml").write_text(f'{STUDY}\n[launcher]\nkind = "slurn"\n')
    found = CliRunner().invoke(app, ["plan", "two.toml"])
    assert "[launcher] kind = slurn: no such launcher. Did you mean 'slurm'?" in str(
        found.exception
    )
    (tmp_path / "two.toml").write_text(f'{STUDY}\n[launcher]\nkind = "ray"\n')
    assert CliRunner().invoke(app, ["plan", "two.toml"]).exit_code == 0
