"""Steps planned for GPUs that are not there: what the compiler is told, and what it says."""

import os
import re
import subprocess
import sys
from functools import partial
from importlib.metadata import version

import jax
import jax.numpy as jnp
import pytest
from test_plan_command import STUDY, as_json, plan  # noqa: F401
from test_plan_devices import PretendCompiler, study_of

from fits.base.errors import UserError
from models.layers import fused_attention
from scaling.planning import compiled, gpu_compiler
from scaling.planning.compiled import compile_step, compiler_of, peak_bytes
from scaling.planning.devices import GPUS, topology
from scaling.planning.gpu_targets import GPU_TARGETS
from scaling.planning.steps import plan_steps, words

H100 = topology("gpu:h100")
needs_plugin = pytest.mark.skipif(
    not gpu_compiler.can_compile(H100), reason=str(gpu_compiler.why_not(H100))
)


@pytest.fixture
def with_plugin(monkeypatch):
    monkeypatch.setattr(gpu_compiler, "installed_version", lambda name: version("jax"))


@pytest.mark.parametrize("name", GPU_TARGETS)
def test_the_target_says_what_the_table_of_devices_says(name):
    """Bandwidths of makers are rounded; a driver keeps a few hundred MiB of memory."""
    kind, target = GPUS[name], GPU_TARGETS[name]
    assert kind.is_called(target.name)
    assert target.bandwidth == pytest.approx(kind.bandwidth, rel=0.02)
    assert target.memory == pytest.approx(kind.hbm, rel=0.02)


def test_the_target_is_a_text_proto_with_what_the_driver_of_an_h100_tells():
    """xla/backends/gpu/target_config/specs/h100_sxm.txtpb."""
    text = GPU_TARGETS["h100"].text
    found = dict(re.findall(r"^  (\w+): (\S+)$", text, flags=re.M))
    assert found["shared_memory_per_core"] == "233472"
    assert found["shared_memory_per_block_optin"] == "232448"
    assert found["core_count"] == "132"
    assert found["l2_cache_size"] == "52428800"
    assert found["memory_bandwidth"] == "3352320000000"
    assert found["device_memory_size"] == "84942979072"
    assert "cuda_compute_capability { major: 9 minor: 0 feature_extension:" in text
    assert text.count("{") == text.count("}")


def test_an_older_gpu_has_no_accelerated_features():
    assert "cuda_compute_capability { major: 8 minor: 6 }" in GPU_TARGETS["rtx3090"].text


def test_gpus_are_compiled_for_where_the_plugin_is_of_jaxs_version(monkeypatch):
    for found, expected in ((None, None), ("0.1", None), (version("jax"), compile_step)):
        monkeypatch.setattr(gpu_compiler, "installed_version", lambda name, v=found: v)
        assert compiler_of(H100) is expected


def test_gpus_that_no_description_knows_keep_the_closed_form(with_plugin):
    for name in ("gpu:v100", "gpu:t4", "device:memory=24GiB,peak=165e12"):
        assert compiler_of(topology(name)) is None
    assert "no bfloat16" in gpu_compiler.why_not(topology("gpu:t4"))


def test_without_the_plugin_a_line_says_how_to_have_a_step_compiled(plan):  # noqa: F811
    line = f"pip install 'jax-cuda12-plugin=={version('jax')}'."
    assert line in plan("--on", "gpu:h100")
    assert line not in plan("--on", "gpu:h100", "--closed-form")
    assert line not in plan("--on", "device:memory=24GiB,peak=165e12")


def test_jax_traces_cudnns_attention_without_that_library():
    """And asks where the planner answers, as it must with every new version of JAX."""
    x = jax.ShapeDtypeStruct((2, 4, 16, 64), jnp.bfloat16)

    def total(q, k, v):
        return fused_attention(q, k, v, 0.125).astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(total)).trace
    with gpu_compiler.cudnn_pretended():
        text = traced(x, x, x).lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaSoftmaxBackward" in text


def test_a_verdict_is_kept_under_all_that_decides_it(tmp_path, monkeypatch):
    class Lowered:
        def as_text(self):
            return "program"

    kept = partial(compiled._kept_at, tmp_path)
    plain = kept(H100, Lowered())
    assert plain == kept(H100, Lowered())
    others = [kept(topology(name), Lowered()) for name in ("gpu:h100x8", "gpu:h200", "cpu")]
    for module, name, changed in (
        (compiled, "installed_version", lambda package: "0"),
        (gpu_compiler, "target", lambda on: "another"),
        (gpu_compiler, "OPTIONS", {}),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, changed)
            others.append(kept(H100, Lowered()))
    assert len({plain, *others}) == 7


def test_what_a_gpu_holds_is_all_that_xla_allocates():
    """On a GPU the temporaries are one allocation, whatever of it is in use at once."""

    class Found:
        argument_size_in_bytes, output_size_in_bytes, alias_size_in_bytes = 100, 80, 70
        temp_size_in_bytes, peak_memory_in_bytes = 50, 140

        def memory_analysis(self):
            return self

    assert peak_bytes(Found(), "gpu") == peak_bytes(Found(), "cpu") == 160
    assert peak_bytes(Found(), "tpu") == 140


def test_devices_along_a_tensor_axis_see_the_same_images():
    compiler = PretendCompiler(lambda images, spec: 1.0)
    given = {"fsdp": 2, "tensor": 2}
    (step,) = plan_steps(study_of("B/16"), topology("gpu:h100x8"), compiler, given=given)
    assert (step.run.batch, step.images_per_device) == (64, 16)
    assert step.as_json()["sharding"] == {"fsdp": 2, "tensor": 2}
    assert words(step.spec) == "plain, fsdp 2, tensor 2"
    (step,) = plan_steps(
        study_of("B/16"), topology("gpu:h100x8"), compiler, given=given, images_per_device=3
    )
    assert step.run.batch == 12


def test_the_plan_shows_a_column_for_devices_along_a_tensor_axis(plan, tmp_path):  # noqa: F811
    (tmp_path / "two.toml").write_text(STUDY.replace("Ti/16", "S/16"))
    out = plan("--on", "gpu:h100x8", "--tensor", "2", "--closed-form")
    assert out.splitlines()[2].split()[4:6] == ["fsdp", "tensor"]
    assert "tensor" not in plan("--on", "gpu:h100x8", "--closed-form").splitlines()[2]
    found = plan("--on", "gpu:h100x8", "--tensor", "2", "--closed-form", "--json", "-")
    steps = as_json(found)["steps"]
    assert [step["sharding"]["tensor"] for step in steps] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--tensor 3", "--tensor 3 does not divide the 8 devices of gpu:h100x8; use 2 or 4"),
        ("--tensor 16", "--tensor 16: gpu:h100x8 has 8 devices; use at most 8, or a larger"),
        (
            "--fsdp 3 --tensor 2",
            "--fsdp 3 and --tensor 2, 6 together, do not divide the 8 .* use 4 or 8 together",
        ),
        ("--fsdp 8 --tensor 2", "--fsdp 8 and --tensor 2: .* use at most 8 together"),
    ],
)
def test_a_tensor_axis_that_the_devices_do_not_have_is_said_with_what_they_have(
    plan,  # noqa: F811
    arguments,
    said,
):
    with pytest.raises(UserError, match=said):
        plan("--on", "gpu:h100x8", "--closed-form", *arguments.split())


def test_a_batch_is_split_over_groups_along_a_tensor_axis():
    with pytest.raises(
        UserError, match=r"a batch of 30 .* over the 4 groups of 2 devices .* 28 or"
    ):
        plan_steps(
            study_of("S/16", batch=30),
            topology("gpu:h100x8"),
            PretendCompiler(lambda *_: 1.0),
            given={"tensor": 2},
        )


@pytest.mark.skipif(gpu_compiler.can_compile(H100), reason="JAX's CUDA plugin is installed")
def test_where_jax_was_started_without_the_plugin_it_is_said_what_to_set():
    with pytest.raises(UserError, match="Set JAX_PLATFORMS=cpu before, or plan by --closed-form"):
        gpu_compiler.gpu_devices(H100)


@pytest.fixture
def compiled_step(tmp_path):
    """`scaling plan` of one model, in a process of its own: JAX must start there for planning."""

    def run(model, *arguments):
        (tmp_path / "two.toml").write_text(STUDY.replace('["Ti/16", "G/14"]', f'"{model}"'))
        done = subprocess.run(
            [sys.executable, "-m", "scaling", "plan", "two.toml", *arguments, "--json", "-"],
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        (step,) = as_json(done.stdout)["steps"]
        assert step["memory"] == "compiled"
        return step

    return run


@needs_plugin
@pytest.mark.slow
def test_a_step_is_compiled_for_a_gpu_that_is_not_there(compiled_step, tmp_path):
    step = compiled_step("mu/16", "--on", "gpu:h100", "--images-per-device", "8")
    assert step["fits"]
    assert list((tmp_path / "cache" / "vit-scaling-laws" / "plans").glob("*.json"))


@needs_plugin
@pytest.mark.slow
def test_eight_gpus_that_share_the_state_hold_less_with_a_fused_step(compiled_step):
    eight = "--on", "gpu:h100x8", "--images-per-device", "1"
    alone = compiled_step("S/16", *eight, "--remat", "full")
    shared = compiled_step("S/16", *eight, "--update", "fused", "--fsdp", "8")
    assert shared["hbm_gib"] < alone["hbm_gib"] / 2
