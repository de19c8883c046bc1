"""`scaling evaluate`: any trained network is measured as a worker measures its own."""

import csv
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet
import pytest
from saved_params import save_params
from test_training import DATA, NANO, RECIPE
from weights_cases import BIT, MAP, MIXER, TOKEN, random_params

from fits.base.errors import UserError
from fits.data.results import COLUMNS
from models.precision import precision_for
from models.weights.facts import About
from models.weights.pixels import pixels_of
from models.weights.writing import write
from scaling.base.storage import publish
from scaling.cli.main import main
from scaling.data.arrays import Digits
from scaling.evaluate import FewShot, Upstream
from scaling.evaluate.trained.outcomes import FOLDER, Outcome, outcome_text
from scaling.evaluate.trained.trainings import Trainings
from scaling.launch import devices
from scaling.objectives.classify import Classify
from scaling.objectives.protocol import Learned
from scaling.runs.lease import hold_if_free
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder
from scaling.training.checkpoint_manifest import MANIFEST
from scaling.training.initial import Init, backbone
from scaling.training.run import Run
from scaling.zoo.measure import measure, prepare
from scaling.zoo.trained import Asked
from scaling.zoo.trained import trained as network_at
from scaling.zoo.tuning import clear

FEW = FewShot(name="digits", data=Digits(resolution=16), shots=(5,), subsets=1)
TASKS = """\
[[evaluate]]
kind = "upstream"

[[evaluate]]
kind = "fewshot"
name = "digits"
data = { kind = "digits", resolution = 16 }
shots = [5]
subsets = 1
"""
OF_DIGITS = """\
[data]
kind = "digits"
resolution = RES

[[evaluate]]
kind = "upstream"
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder with the state of its end, one of its trunk beside it, and both parameters."""
    run = Run(model=NANO, data=DATA, recipe=RECIPE, batch=16, images_seen=160)
    folder = RunFolder(tmp_path_factory.mktemp("runs") / run.id)
    write_run_file(folder.path, run, (), print)
    trunk = TrunkFolder.of(folder, run).path
    params = {step: random_params(NANO, 8, seed=step) for step in (6, 10)}
    save_params(folder.checkpoints / "10", run, 10, params[10])
    save_params(trunk / "6", run, 6, params[6])
    return run, folder.path, trunk, params


@pytest.fixture
def tasks(tmp_path):
    path = tmp_path / "tasks.toml"
    path.write_text(TASKS)
    return path


def of_digits(tmp_path, resolution):
    path = tmp_path / "digits.toml"
    path.write_text(OF_DIGITS.replace("RES", str(resolution)))
    return path


def measured(paths, tasks, **asked):
    """Every number, by the column `run` and by metric."""
    found, what = prepare(paths, tasks, Asked(**asked))
    rows = [row for each in found for row in measure(each, what)]
    return rows, {(row.run, row.metric): row.value for row in rows}


def module_of(run, params):
    built = run.objective.build(run.model, run.data.classes, run_precision())
    return built.module(Learned(jnp_tree(params), {}, {}))


def run_precision():
    return precision_for("cpu")


def jnp_tree(params):
    return jax.tree.map(jnp.asarray, params)


@pytest.mark.slow
def test_a_run_and_its_trunk_are_measured_as_a_worker_measures_them(trained, tasks):
    run, folder, trunk, params = trained
    rows, found = measured([folder, trunk, trunk / "6"], tasks)
    for name, step in ((run.id, 10), (f"{run.trunk}@6", 6)):
        module = module_of(run, params[step])
        for each in (Upstream(), FEW):
            for one in each.measure(module, objective=run.objective, source=run.data):
                assert found[name, one.metric] == one.value
    assert rows[4:8] == rows[8:12]  # a trunk's folder means its last state
    assert {row.images_seen for row in rows} == {160, 96}
    assert rows[0].flops == run.flops
    assert (rows[0].study, rows[0].model, rows[0].seed) == ("tasks", "nano", 0)


@pytest.mark.slow
def test_a_file_of_weights_is_measured_with_its_head_and_what_is_unknown_is_left_open(tmp_path):
    shape = replace(MAP, patch=4, resolution=16)
    params = random_params(shape, 10)
    write(tmp_path / "a.npz", params, shape)
    rows, found = measured([tmp_path / "a.npz"], of_digits(tmp_path, 16))
    module = Classify().build(shape, 10, run_precision()).module(Learned(jnp_tree(params), {}, {}))
    source = Digits(resolution=16)
    for one in Upstream().measure(module, objective=Classify(), source=source):
        assert found[rows[0].run, one.metric] == one.value
    (row, _) = rows
    assert (row.flops, row.images_seen, row.data_size, row.seed) == (None,) * 4
    assert len(row.run) == 12
    known = measured([tmp_path / "a.npz"], of_digits(tmp_path, 16), images_seen=1000)[0][0]
    assert known.flops == Classify().flops(shape, 1000, 10)


@pytest.mark.slow
def test_the_objective_of_a_file_of_weights_is_said_by_the_tasks(tmp_path):
    shape = replace(MAP, patch=4, resolution=16)
    write(tmp_path / "a.npz", random_params(shape, 10), shape)
    path = of_digits(tmp_path, 16)
    sigmoid = [row.value for row in measured([tmp_path / "a.npz"], path)[0]]
    path.write_text(path.read_text() + '\n[objective]\nloss = "softmax"\n')
    softmax = [row.value for row in measured([tmp_path / "a.npz"], path)[0]]
    assert sigmoid[0] > 2 * softmax[0]
    assert sigmoid[1] == softmax[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("big_vision", replace(MAP, patch=4, resolution=16)),
        ("big_vision", replace(MIXER, patch=4, resolution=12)),
        ("big_vision-scan", replace(MAP, patch=4, resolution=16)),
        ("augreg", replace(TOKEN, patch=4, resolution=16)),
        ("bit", replace(BIT, resolution=32)),
        ("timm", replace(TOKEN, patch=4, resolution=16, gelu="erf")),
        ("huggingface", replace(TOKEN, patch=4, resolution=16, gelu="erf")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name.replace("/", "-"),
)
def test_each_layout_is_measured_as_the_network_that_it_holds(tmp_path, layout, shape):
    path = tmp_path / f"a{'.npz' if layout not in ('timm', 'huggingface') else '.safetensors'}"
    params = random_params(shape, 10)
    write(path, params, shape, layout)
    rows, found = measured(
        [path], of_digits(tmp_path, shape.resolution), resolution=shape.resolution
    )
    module = Classify().build(shape, 10, run_precision()).module(Learned(jnp_tree(params), {}, {}))
    source = Digits(resolution=shape.resolution)
    for one in Upstream().measure(module, objective=Classify(), source=source):
        assert found[rows[0].run, one.metric] == pytest.approx(one.value, rel=1e-5)


def test_a_network_without_a_head_is_measured_by_its_features_alone(tmp_path, tasks):
    shape = replace(MAP, patch=4, resolution=16)
    write(tmp_path / "a.npz", random_params(shape, None), shape)
    with pytest.raises(UserError) as told:
        prepare([tmp_path / "a.npz"], tasks, Asked())
    assert str(told.value).endswith(
        "tasks.toml, line 1: evaluate[0]: "
        f"{tmp_path}/a.npz has no classifier, so that its features alone can be measured: by "
        "fewshot, linear_probe or knn. Leave this out."
    )
    tasks.write_text(TASKS[TASKS.index("[[evaluate]]", 1) :])
    rows, _ = measured([tmp_path / "a.npz"], tasks)
    assert [row.metric for row in rows] == ["digits_5shot_error", "digits_5shot_error_subset0"]


@pytest.mark.slow
def test_another_resolution_resizes_positions_as_an_init_does(trained, tmp_path, tasks):
    folder = trained[1]
    for path in (folder, tmp_path / "a.npz"):
        if path.suffix:
            write(path, random_params(NANO, 8, seed=10), NANO)
        with pytest.raises(UserError, match=r"is 16 px, and .* sees 32 px; use that"):
            prepare([path], tasks, Asked(resolution=32))
        (found,), _ = prepare([path], of_classes(tmp_path), Asked(resolution=32))
        position = found.read()["params"]["backbone"]["position"]
        wanted = backbone(Init(from_=folder, resolution=32), replace(NANO, resolution=32))
        np.testing.assert_array_equal(position, wanted["position"])


def test_at_another_resolution_a_file_has_the_flops_of_its_training_where_its_positions_tell(
    tmp_path,
):
    write(tmp_path / "a.npz", random_params(NANO, 8, seed=10), NANO)
    bare = replace(NANO, position="sincos")
    write(tmp_path / "b.npz", random_params(bare, 8, seed=10), bare)
    for name, resolution, trained_at, variant in (
        ("a.npz", None, 16, ""),
        ("a.npz", 32, 16, "resolution=32"),
        ("b.npz", 32, 32, ""),  # nothing there tells another
    ):
        about = About(sincos=name == "b.npz")
        asked = Asked(resolution=resolution, images_seen=100, about=about)
        found = network_at(tmp_path / name, asked)
        own = replace(NANO, resolution=trained_at)
        assert (found.flops, found.variant) == (Classify().flops(own, 100, 8), variant)


def test_pixels_that_a_person_says_are_a_variant_of_the_network(tmp_path):
    write(tmp_path / "a.npz", random_params(NANO, 8, seed=10), NANO)
    for mean, variant in ((0.5, ""), (0.4, "mean=0.4,0.4,0.4 std=0.5,0.5,0.5")):
        about = About(pixels=pixels_of(mean, 0.5, "--mean and --std"))
        assert network_at(tmp_path / "a.npz", Asked(about=about)).variant == variant


def of_classes(tmp_path):
    path = tmp_path / "large.toml"
    path.write_text(
        '[data]\nkind = "procedural"\nclasses = 8\nresolution = 32\n[[evaluate]]\n'
        'kind = "upstream"\nimages = 64\n'
    )
    return path


@pytest.mark.slow
def test_at_another_resolution_a_run_is_measured_on_images_that_are_given(trained, tmp_path):
    _, folder, _, _ = trained
    rows, _ = measured([folder], of_classes(tmp_path), resolution=32)
    assert [(row.n, row.variant) for row in rows] == [(64, "resolution=32")] * 2
    only = tmp_path / "only.toml"
    only.write_text('[[evaluate]]\nkind = "upstream"\n')
    with pytest.raises(UserError, match="trained on images of 16 px and is to see 32 px; add "):
        prepare([folder], only, Asked(resolution=32))


def test_a_study_says_what_to_measure_too(trained):
    _, folder, _, _ = trained
    with pytest.raises(UserError, match=r"demo\.toml, line \d+: data\.resolution: is .* px, and"):
        prepare([folder], "demo", Asked(resolution=64))


# Bad input


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty: it needs [[evaluate]] tables"),
        ("[[evaluate]\n", "this is not TOML"),
        (TASKS.replace("shots", "shot"), 'line 8: evaluate[1].shot: unknown key; did you mean "s'),
        (TASKS.replace('"fewshot"', '"fewshots"'), 'line 5: evaluate[1].kind: there is no "fewsho'),
        ("[[grind]]\n" + TASKS, "line 1: grind: unknown key"),
        (TASKS.replace("16 }", "8 }"), "line 7: evaluate[1].data.resolution: is 8 px, and "),
        (TASKS + TASKS, "line 10: evaluate[2]: upstream_loss is measured twice"),
        (
            '[[evaluate]]\nkind = "upstream"\nimages = 1_000_000\n',
            "line 3: evaluate[0].images: 1_000_000 is more than the ",
        ),
        ('[data]\nkind = "digits"\n' + TASKS, "knows 8 classes, and the images are of 10; take"),
        ('[data]\nkind = "arrays"\nresolution = 16\npath = "no.npz"\n' + TASKS, "there is no no"),
        (
            '[[evaluate]]\nkind = "finetune"\nname = "d"\ndata = { kind = "digits" }\n'
            "images = 2_000\n",
            "d: 2_000 images to train on and the source has 1_000; take another task, or fewer.",
        ),
    ],
)
def test_what_is_wrong_with_tasks_is_said_with_its_line(trained, tmp_path, text, said):
    (tmp_path / "tasks.toml").write_text(text)
    with pytest.raises(UserError) as told:
        prepare([trained[1]], tmp_path / "tasks.toml", Asked())
    assert said in str(told.value)


@pytest.mark.parametrize("kind", ["fewshot", "knn", "linear_probe", "finetune"])
def test_a_task_of_one_class_has_nothing_to_tell_apart(trained, tmp_path, kind):
    """As where images lie in train/images/, whose error would be 0."""
    images, labels = np.zeros((40, 16, 16), np.uint8), np.zeros(40, int)
    sets = {"train_images": images, "train_labels": labels}
    np.savez(tmp_path / "one.npz", heldout_images=images, heldout_labels=labels, **sets)
    data = f'{{ kind = "arrays", resolution = 16, path = "{tmp_path}/one.npz" }}'
    (tmp_path / "tasks.toml").write_text(
        f'[[evaluate]]\nkind = "{kind}"\nname = "one"\ndata = {data}\n'
    )
    with pytest.raises(UserError, match=r"line 4: evaluate\[0\]\.data: .* all of one class"):
        prepare([trained[1]], tmp_path / "tasks.toml", Asked())


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs `scaling evaluate` in an empty folder; returns status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "compute_as_workers_do", lambda: None)  # JAX is loaded

    def evaluate(*words):
        monkeypatch.setattr(sys, "argv", ["scaling", "evaluate", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return evaluate


def test_numbers_are_printed_and_written_in_the_columns_of_collect(trained, command, tasks):
    run, folder, _, _ = trained
    write("a.npz", random_params(NANO, 8), NANO)
    words = (folder, "a.npz", "--on", tasks)
    tasks.write_text('[data]\nkind = "procedural"\nclasses = 8\nheldout_size = 1000\n' + TASKS)
    status, said, errors = command(*words, "--table", "t.csv")
    assert status == 0
    assert errors == (
        "note: a.npz: nothing says which loss its classifier was trained with; upstream_loss is "
        "that of a sigmoid. [objective] says another.\n"
    )
    assert f"{folder}: run, step 10 of 10, nano (16 px, pool gap, 2 heads, GELU tanh, 8 c" in said
    assert "a.npz: big_vision, " in said
    assert "table:  t.csv: 8 numbers, 2 networks" in said
    with open("t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["flops"] for row in rows] == [str(float(run.flops))] * 4 + [""] * 4
    assert command(*words, "--table", "t.parquet")[0] == 0
    table = pyarrow.parquet.read_table("t.parquet").to_pylist()
    assert [str(row["value"]) for row in table] == [row["value"] for row in rows]
    assert table[-1]["seed"] is None


def test_numbers_that_were_measured_before_a_network_that_has_none_are_kept(command, tmp_path):
    shape = replace(MAP, patch=4, resolution=16)
    params = random_params(shape, 10)
    write(Path("a.npz"), params, shape)
    params["backbone"]["position"][:] = np.nan
    write(Path("b.npz"), params, shape)
    tasks = of_digits(tmp_path, 16)
    status, said, errors = command("a.npz", "b.npz", "--on", tasks, "--table", "t.csv")
    assert status == 2
    assert "b.npz: upstream_loss is nan" in errors
    with open("t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["metric"] for row in rows] == ["upstream_loss", "upstream_error"]
    for row in rows:
        assert f"{row['metric']}" in said
        assert f"{float(row['value']):.6g}" in said
    assert "table:  t.csv: 2 numbers, 1 network" in said


@pytest.mark.parametrize("part", [False, True], ids=["in the file", "behind a subset"])
def test_a_class_without_images_is_said_before_anything_is_measured(command, tmp_path, part):
    shape = replace(MAP, patch=4, resolution=16)
    write(Path("a.npz"), random_params(shape, 10), shape)
    images = np.zeros((4, 16, 16), np.uint8)
    of = {"train": np.array([0, 0, 2, 2]), "heldout": np.array([0, 1, 2, 2])}
    sets = {f"{name}_images": images for name in of}
    np.savez("gap.npz", **sets, **{f"{name}_labels": labels for name, labels in of.items()})
    data = '{ kind = "arrays", path = "gap.npz", resolution = 16 }'
    if part:  # whose labels are not at hand when the file of tasks is read
        data = f'{{ kind = "subset", of = {data}, select = {{ label_noise = 0.001 }} }}'
    tasks = of_digits(tmp_path, 16)
    probe = f'\n[[evaluate]]\nkind = "linear_probe"\nname = "gap"\ndata = {data}\n'
    tasks.write_text(tasks.read_text() + probe)
    status, said, errors = command("a.npz", "--on", tasks, "--table", "t.csv")
    assert status == 2
    assert "1 of 3 classes has no training image (1), and every class needs one here" in errors
    assert ("digits.toml, line 11: evaluate[1].data: " in errors) is not part
    assert "upstream_error" not in said
    assert not Path("t.csv").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no.npz"], "there is no no.npz; name a run's folder, or a file of weights."),
        (["folder"], "folder is no run's folder: it has no run.json. Did you mean folder/b.npz?"),
        (["all"], "all is no run's folder: it has no run.json. Did you mean all/0123?"),
        (["all/0123/checkpoints"], "has no run.json. Did you mean all/0123/checkpoints/8?"),
        (["all/trunks"], "has no run.json. Did you mean all/trunks/4567?"),
        (["a.npz", "--shape", "BiT-R50x1"], "BiT-R50x1 is a BiT, but the file holds a ViT"),
        (["a.npz", "--shape", "B/16"], "a.npz is not a whole big_vision file of B/16"),
        (["a.npz", "--table", "t.txt"], "--table t.txt: ends in none of .csv, .parquet."),
        (["a.npz", "--table", "no/t.csv"], "--table no/t.csv: there is no folder no; make it"),
        (["damaged.npz"], "is damaged or cut short"),
        (["cut.npz"], "(File is not a zip file): it is damaged, cut short or of another kind."),
        (["a.npz", "--on", "no.toml"], "no.toml is neither a study that comes with the project"),
        (["nan.npz"], "nan.npz: upstream_loss is nan: its weights or its features are no finite"),
        (["mixer.npz", "--resolution", "36"], "mixes 9 patches and no other number"),
        (["a.npz", "nor.npz"], "there is no nor.npz"),
    ],
)
def test_bad_input_is_said_in_words_and_nothing_is_written(command, tmp_path, words, said):
    shape = replace(MAP, patch=4, resolution=16)
    params = random_params(shape, 10)
    write(Path("a.npz"), params, shape)
    whole = Path("a.npz").read_bytes()
    Path("damaged.npz").write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    Path("cut.npz").write_bytes(whole[:-100])
    Path("folder").mkdir()
    Path("folder/b.npz").write_bytes(whole)
    for name in (
        "0123/run.json",
        "0123/checkpoints/8/checkpoint.json",
        "trunks/4567/8/checkpoint.json",
    ):
        (Path("all") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("all") / name).touch()
    params["backbone"]["position"][:] = np.nan
    write(Path("nan.npz"), params, shape)
    small = replace(MIXER, patch=4, resolution=12)
    write(Path("mixer.npz"), random_params(small, 10), small)
    if "--on" not in words:
        words = [*words, "--on", of_digits(tmp_path, 16)]
    before = sorted(tmp_path.iterdir())
    status, _, errors = command(*words)
    assert status == 2
    assert said in errors
    assert "Traceback" not in errors
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_knows_its_shape_and_a_lost_or_damaged_state_is_named(trained, command, tasks):
    run, folder, trunk, _ = trained
    said = command(folder, "--on", tasks, "--heads", 2)[2]
    assert "is a run, which knows its shape and its training" in said
    shutil.copytree(folder.parent, "runs")
    here = Path("runs") / run.id
    for path in (here / "checkpoints" / "10").rglob("*"):
        if path.is_file() and path.name != MANIFEST:
            path.write_bytes(b"")
    status, _, errors = command(here, "--on", tasks)
    assert (status, "Traceback" in errors) == (2, False)
    assert "checkpoints/10: _CHECKPOINT_METADATA, _METADATA, _sharding changed" in errors
    shutil.rmtree(here)
    status, _, errors = command(Path("runs") / "trunks" / trunk.name / "6", "--on", tasks)
    assert status == 2
    assert "says what this is a training state of" in errors


def test_a_resolution_below_the_patch_is_said(trained, tasks, tmp_path):
    write(tmp_path / "a.npz", random_params(NANO, 8), NANO)
    for path in (trained[1], tmp_path / "a.npz"):
        with pytest.raises(UserError) as told:
            measured([path], tasks, resolution=2)
        assert str(told.value).endswith(
            "patch=8 px is larger than the image of resolution=2 px; use a larger resolution, or a "
            "patch of at most 2."
        )


# Fine-tuning

TUNED = """\
[[evaluate]]
kind = "finetune"
name = "d"
data = { kind = "digits" }
protocol = { kind = "vit", resolution = 16, steps = 4, warmup_steps = 1, batch = 16, \
learning_rates = [0.03] }

[[evaluate]]
kind = "knn"
name = "d"
data = { kind = "digits", resolution = 16 }
"""


@pytest.fixture
def tuned(tmp_path):
    path = tmp_path / "tuned.toml"
    path.write_text(TUNED)
    return path


def outcome_of(run, error=0.25):
    return Outcome(
        run=run.id,
        model=run.model_name,
        learning_rate=run.recipe.learning_rate,
        steps=run.steps,
        images_seen=run.images_seen,
        flops=run.flops,
        seconds=1.0,
        error=error,
        n=797,
    )


def test_a_checkpoint_is_fine_tuned_as_it_is_and_what_was_trained_before_a_kill_is_kept(
    command, tuned, tmp_path, monkeypatch
):
    params = random_params(NANO, 8)
    write("a.npz", params, NANO)
    begun = []

    def killed(self, run):
        begun.append((self.folder, run, self._begin(run.model)))
        publish(self.folder / FOLDER / f"{run.id}.json", outcome_text(outcome_of(run)).encode())
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr(Trainings, "_trained", killed)
        (tmp_path / "t.work" / network_at(Path("a.npz"), Asked()).run / FOLDER).mkdir(parents=True)
        assert command("a.npz", "--on", tuned, "--table", "t.csv")[0] == 143
    ((folder, run, backbone_there),) = begun
    assert folder.parent == Path("t.work")
    assert (run.steps, run.model.resolution, run.data) == (4, 16, Digits(resolution=16))
    jax.tree.map(np.testing.assert_array_equal, backbone_there, params["backbone"])
    monkeypatch.setattr(Trainings, "_trained", lambda *_: pytest.fail("trained again"))
    status, said, errors = command("a.npz", "--on", tuned, "--table", "t.csv")
    assert status == 0
    assert "1 of its trainings stand in t.work" in errors
    with open("t.csv", newline="") as file:
        found = {row["metric"]: (row["value"], row["n"]) for row in csv.DictReader(file)}
    assert found["d_finetune_error"] == ("0.25", "797")
    assert {"d_20nn_error", "d_finetune_learning_rate"} < {*found}
    assert "d_finetune_error" in said
    assert not (tmp_path / "t.work").exists()


@pytest.mark.slow
def test_a_checkpoint_that_is_fine_tuned_learns(command, tuned, tmp_path):
    params = jax.tree.map(lambda x: x * np.float32(0.3), random_params(NANO, 8))
    write("a.npz", params, NANO)
    whole = TUNED.replace("steps = 4,", "steps = 150,").replace("0.03", "0.1")
    tuned.write_text(whole.replace('"digits" }', '"digits" }\nflips = false\ncrops = false', 1))
    status, said, _ = command("a.npz", "--on", tuned, "--work", "here")
    assert status == 0
    (line,) = [each for each in said.splitlines() if each.startswith("d_finetune_error")]
    assert float(line.split()[1]) < 0.85
    assert not (tmp_path / "here").exists()


def test_fine_tuning_asks_for_a_place_for_its_checkpoints(command, tuned):
    write("a.npz", random_params(NANO, 8), NANO)
    status, _, errors = command("a.npz", "--on", tuned)
    assert status == 2
    assert "give --table FILE, beside which they lie, or --work FOLDER" in errors


def test_the_folder_of_a_run_is_no_place_for_checkpoints_that_are_deleted(
    command, trained, tuned, tmp_path
):
    run, folder, _, _ = trained
    shutil.copytree(folder.parent, "runs")
    kept = tmp_path / "runs" / run.id / FOLDER / "training"
    kept.mkdir(parents=True)
    status, _, errors = command(Path("runs") / run.id, "--on", tuned, "--work", "runs")
    assert status == 2
    assert f"--work runs: runs/{run.id} is a run's folder, of which what fine-tuning" in errors
    assert kept.is_dir()


def test_positions_are_not_resized_twice_by_fine_tuning(command, tuned):
    write("a.npz", random_params(NANO, 8), NANO)
    status, _, errors = command("a.npz", "--on", tuned, "--resolution", 32, "--work", "here")
    assert status == 2
    assert "measure this without --resolution" in errors


def test_two_processes_do_not_fine_tune_a_network_in_one_folder(command, tuned, tmp_path):
    write("a.npz", random_params(NANO, 8), NANO)
    folder = tmp_path / "here" / network_at(Path("a.npz"), Asked()).run
    folder.mkdir(parents=True)
    with hold_if_free(folder / "lease"):
        status, _, errors = command("a.npz", "--on", tuned, "--work", "here")
    assert status == 2
    assert "another process fine-tunes it in here" in errors


def test_trainings_that_another_process_has_begun_are_not_deleted(tmp_path):
    write(tmp_path / "a.npz", random_params(NANO, 8), NANO)
    network, work = network_at(tmp_path / "a.npz", Asked()), tmp_path / "work"
    theirs = work / network.run / FOLDER / "checkpoint"
    theirs.mkdir(parents=True)
    with hold_if_free(work / network.run / "lease") as lease:
        clear([network], work)
        assert theirs.is_dir()
        lease.check()
    clear([network], work)
    assert not work.exists()
    clear([network], work)  # nothing is there
    assert not work.exists()


def test_a_training_that_began_with_other_pixels_is_not_resumed(tmp_path):
    write(tmp_path / "a.npz", random_params(NANO, 8), NANO)
    ids = {
        network_at(tmp_path / "a.npz", Asked(about=About(pixels=pixels))).upstream.id
        for pixels in (
            None,
            pixels_of("0.5", "0.5", "given"),
            pixels_of("0", "1", "given"),
            pixels_of("0.4", "0.2", "given"),
        )
    }
    assert len(ids) == 3


# The loss of an imported head


CALIBRATED = """\
[data]
kind = "digits"
resolution = 16

[[evaluate]]
kind = "classify"
name = "own"
measures = ["top1_error", "calibration_error"]
"""


def test_the_calibration_of_an_imported_head_asks_which_loss_it_was_trained_with(tmp_path):
    shape = replace(MAP, patch=4, resolution=16)
    write(tmp_path / "a.npz", random_params(shape, 10), shape)
    path = tmp_path / "tasks.toml"
    path.write_text(CALIBRATED)
    with pytest.raises(UserError) as told:
        prepare([tmp_path / "a.npz"], path, Asked())
    assert "line 8: evaluate[0].measures: calibration_error is another number" in str(told.value)
    assert 'add [objective] with loss = "softmax" or loss = "sigmoid".' in str(told.value)
    path.write_text(CALIBRATED + '\n[objective]\nloss = "softmax"\n')
    assert prepare([tmp_path / "a.npz"], path, Asked())[1].objective == Classify(loss="softmax")
    path.write_text(CALIBRATED.replace(', "calibration_error"', ""))
    prepare([tmp_path / "a.npz"], path, Asked())


def test_a_run_knows_its_loss_and_is_calibrated_without_a_word(trained, tmp_path):
    path = tmp_path / "tasks.toml"
    path.write_text(CALIBRATED[CALIBRATED.index("[[") :])
    prepare([trained[1]], path, Asked())


# Pixels


def test_mean_and_std_beside_a_file_or_given_are_said_where_it_is_measured(command, tmp_path):
    task = tmp_path / "few.toml"
    task.write_text(TASKS[TASKS.index("[[evaluate]]", 1) :])
    params = random_params(NANO, None)
    values = {}
    for name, words in (
        ("own", ()),
        ("zero", ("--mean", "0", "--std", "1")),
        ("half", ("--mean", "0.5", "--std", "0.5")),
    ):
        write("a.safetensors", params, NANO)
        status, said, errors = command("a.safetensors", "--on", task, *words)
        assert status == 0
        assert ("are folded into the patch embedding" in errors) == (name == "zero")
        values[name] = said.split("digits_5shot_error")[1].split()[0]
    assert values["own"] == values["half"] != values["zero"]
    status, _, errors = command("a.safetensors", "--on", task, "--mean", "0.5")
    assert (status, errors) == (2, "--mean and --std: mean without std; give both.\n")
