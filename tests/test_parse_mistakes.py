"""Study files: what is said of wrong ones, whatever is written in them."""

import copy
import tomllib
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel, Field, ValidationError
from study_texts import FAMILIES, GOOD, read
from toml_text import toml

from fits.base.errors import UserError
from scaling.study.mistakes import Schema, explain
from scaling.study.parse import read_study
from scaling.study.schema import EXAMPLE

S4L = '[objective]\nkind = "s4l"\nlabelled_images = '

# What is said of wrong ones


def test_every_mistake_is_named_at_once_with_its_line(mistakes):
    assert mistakes(
        ('name = "small"', 'name = "small"\nnaem = 3'),
        ("resolution = 16\n", "resolution = 16\nlable_noise = 0.1\n"),
        ("warmup_steps = 10", "warmup_steps = -10"),
        ('["nano", "mu/4"]', '["nano",\n"mi/4"]'),
        ("[2_560, 5_120]", "[2_560, 5_000, -128]"),
        ('data = { kind = "digits"', 'data = { kind = "digit"'),
    ) == [
        '2: naem: unknown key; did you mean "name"?',
        '8: data.lable_noise: unknown key; did you mean "label_noise" or "noise"?',
        "18: recipe.warmup_steps: -10 is not a whole number >= 0.",
        '28: evaluate[1].data.kind: there is no "digit"; did you mean "digits"?',
        "32: grid[0].model[1]: 'mi/4': there is no ViT variant 'mi'; "
        "did you mean 'M/4' or 'Ti/4' or 'mu/4'?",
        "33: grid[0].images_seen[1]: images_seen=5_000 is not a whole number of batches of 128; "
        "use 4_992 or 5_120.",
        "33: grid[0].images_seen[2]: -128 is not a whole number > 0 and <= 1_000_000_000_000_000.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name = ", "nam = ", ["1: nam: unknown key", "name: is missing; give a name of at most"]),
        ('"small"', '"two words"', ['name: "two words" is not a name of at most']),
        ('"Does it read?"', '""', ["question: is empty"]),
        ('"procedural"', '"proceduraal"', ['data.kind: there is no "proceduraal"; did you mean']),
        ('kind = "procedural"\n', "", ['data.kind: is missing; give one of "arrays", "digits"']),
        ("[data]\n", "[data]\nname = 2020-01-01\n", ["data.name: unknown key; allowed: "]),
        ("resolution = 16\n", 'resolution = "16"\n', ['"16" is not a whole number >= 1 and']),
        ("resolution = 16\n", "resolution = true\n", ["resolution: true is not a whole number"]),
        ("resolution = 16\n", "resolution = [16]\n", ["resolution: a list is not a whole number"]),
        ("[data]\n", "[data]\nlabel_noise = 2\n", ["2 is not a number >= 0 and < 1"]),
        ("resolution = 16\n", "resolution = 15\n", ["data: 5 cells of 2 pixels that move by 3"]),
        ("width = 32\n", "", ["nano.width: is missing; give a whole number > 0 and <="]),
        ("heads = 2", "heads = 3", ["models.nano: heads=3 does not divide width=32; use 2 or 4"]),
        ("patch = 4", "patch = 17", ["models.nano: patch=17 px is larger than the image"]),
        ("[models.nano]", '[models."na/no"]', ["a name with a / is the zoo's", 'mean "na/no"?']),
        ("[recipe]", '[objective]\nkind="classify"\nloss="sofmax"\n[recipe]', ['"sofmax"; did']),
        ("[recipe]", f'{S4L}"10%"\n[recipe]', ['labelled_images: "10%" is not a number > 0.']),
        ("[recipe]", f'{S4L}"0.1"\n[recipe]', ['"0.1" is not a number > 0. Leave out the quotes.']),
        ("[recipe]", f"{S4L}[1]\n[recipe]", ["labelled_images: a list is not a number > 0."]),
        ("[recipe]", f"{S4L}0\n[recipe]", ["objective.labelled_images: 0 is not a number > 0."]),
        ("[recipe]", '[recipe]\noptimizer = "lion"', ['"lion"; allowed: "adafactor", "']),
        ("[recipe]", "[recipe]\nlearning_rate = nan", ["nan is not a number > 0"]),
        ("[recipe]", "[recipe]\ncooldown_fraction = 0.1", ["recipe: cooldown_steps=5 and"]),
        ("images = 1000", "images = 0", ["evaluate[0].images: 0 is not a whole number > 0."]),
        ("images = 1000", "images = 10_001", ["10_001 is more than the 10_000 held-out images"]),
        ('name = "small"', f'name = "{101 * "a"}"', ["is not a name of at most 100 letters, dig"]),
        ('name = "digits"', 'name = "Digits"', ['"Digits" is not a name of small letters, digits']),
        ('name = "digits"', 'name = "a"\nshots = [5, 0]', ["shots[1]: 0 is not a whole number"]),
        ('name = "digits"', 'name = "a"\nshots = [5, 5]', ["a_5shot_error is measured twice"]),
        ("resolution = 16 }", "resolution = 8 }", ["resolution: is 8 px where [data] has 16 px"]),
        ('kind = "digits"', 'kind = "procedural"', ["evaluate[1].data: there is no end to these"]),
        (
            "batch = 128",
            'batch = 128\naugment = { kind = "mixup" }',
            ["a table is not a list of tables. Put it in brackets: augment = [{ ... }]."],
        ),
        ("[[grid]]", "[grid]", ["grid: a table is not a list of tables. Write [[grid]] above it"]),
        ('["nano", "mu/4"]', "[]", ["grid[0].model: is an empty list"]),
        ('["nano", "mu/4"]', '["nano", 4]', ["grid[0].model[1]: 4 is not text."]),
        ('"mu/4"]', '"nanno"]', ['grid[0].model[1]: there is no "nanno"; did you mean "nano"?']),
        ('"mu/4"]', '"Ti/4x"]', ["'Ti/4x' does not say its patch side in pixels"]),
        ('"mu/4"]', '"mu/32"]', ["patch=32 px is larger than the image of resolution=16 px"]),
        ('"mu/4"]', '"nano"]', ['grid[0].model[1]: "nano" is there twice']),
        ('["nano", "mu/4"]', '"mu/4"', ["models.nano: no grid trains it"]),
        ("batch = 128", "batch = 128\nseed = [0, 0.0]", ["grid[0].seed[1]: 0 is there twice"]),
        ("batch = 128", "batch = 128\nseed = -1", ["grid[0].seed: -1 is not a whole number >= 0"]),
        ("batch = 128", "", ["grid[0].batch: is missing; give a whole number > 0 and"]),
        ("batch = 128", 'batch = 128\ndata_size = "al"', ['_000, or "all".']),
        ("[2_560, 5_120]", "0.5", ["grid[0].images_seen: 0.5 is not a whole number > 0"]),
        ("[2_560, 5_120]", "[2_560, 64]", ["is not a whole number of batches of 128; use 128."]),
        ("[2_560, 5_120]", "[1_280, 2_560]", ["warmup_steps=10 and a cooldown of 5 steps do not"]),
        ("batch = 128", "batch = 128\nrecipe = { learning_rat = 1 }", ["did you mean"]),
        ("batch = 128", "batch = 128\nrecipe = { warmup_steps = 16 }", ["warmup_steps=16 and"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_what_is_right(mistakes, old, new, said):
    start = GOOD.index(old)  # the first of several
    found = mistakes(text=GOOD[:start] + new + GOOD[start + len(old) :])
    assert len(found) == len(said)
    for each in said:
        assert any(each in line for line in found), found


class Sizes(BaseModel):
    """Unions that no key tells apart."""

    size: Annotated[int | float | None, Field(lt=9)] = None
    where: int | bool | str = 0


def test_a_value_of_a_plain_union_is_told_once_all_that_it_may_be():
    schema = Schema(Sizes)
    with pytest.raises(ValidationError) as caught:
        Sizes.model_validate_json('{"size": [], "where": []}', strict=True)
    assert {explain(each, schema) for each in caught.value.errors()} == {
        (("size",), "an empty list is not a number < 9."),
        (("where",), "an empty list is not a whole number, true or false or text."),
    }


def test_a_mistake_elsewhere_hides_no_other(mistakes):
    """A recipe with a wrong learning rate still says that its warm-up is too long, and so on."""
    found = mistakes(
        ("warmup_steps = 10", 'warmup_steps = 10_000\nlearning_rate = "fast"'),
        ("heads = 2\n", "heads = 2\ncolour = 1\n"),
        ("resolution = 16\n", "resolution = 16\nlabel_nois = 0\n"),
        ("resolution = 16 }", "resolution = 8, colour = 2 }"),
        ("[2_560, 5_120]", '[2_560, "x"]'),
        ('"mu/4"]', '"mu/32"]'),
    )
    assert [line.partition(": ")[2].partition(": ")[0] for line in found] == [
        "data.label_nois",
        "models.nano.colour",
        "recipe.learning_rate",
        "evaluate[1].data.colour",
        "evaluate[1].data.resolution",
        "grid[0].model[1]",
        "grid[0].images_seen[0]",
        "grid[0].images_seen[1]",
    ]


def test_what_a_misspelt_key_may_have_meant_is_not_held_against_the_rest(mistakes):
    assert len(mistakes(("warmup_steps = 10", "warmup_step = 10"))) == 1
    assert len(mistakes(("resolution = 16\n", "resolutoin = 24\n"), ("= 16 }", "= 24 }"))) == 1


def test_the_same_evaluation_twice_is_a_mistake(mistakes):
    found = mistakes(("[[grid]]", '[[evaluate]]\nkind = "upstream"\n\n[[grid]]'))
    assert found == ["28: evaluate[2]: upstream_loss is measured twice; keep one, or rename one."]


def test_a_folder_of_images_that_is_not_there_is_a_mistake_with_the_nearest_name(
    mistakes, tmp_path
):
    (tmp_path / "flowers").mkdir()
    found = mistakes(('kind = "procedural"', 'kind = "folder"\npath = "flower"'))
    assert found == [
        f"6: data.path: there is no {tmp_path}/flower. Did you mean 'flowers'? Unpack the images "
        f"there as train/<class>/ and test/<class>/, or say another path."
    ]


def test_a_missing_data_set_is_placed_at_the_key_that_names_it(mistakes, tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")
    pytest.importorskip("array_record", reason="array-record is not installed")
    keys = 'kind = "tfds"\nname = "flowers"\ndata_dir = "."'
    (found,) = mistakes(('kind = "procedural"', keys))
    assert found.startswith("6: data.name: . holds no data set")
    (found,) = mistakes(('kind = "procedural"', keys.replace('"."', '"nowhere"')))
    assert found.startswith("7: data.data_dir: there is no nowhere.")
    (found,) = mistakes(('kind = "procedural"', 'kind = "arrays"\npath = "own.npz"'))
    assert found.startswith("6: data.path: there is no own.npz.")


def test_results_can_be_asked_for_after_the_data_are_gone(tmp_path, mistakes):
    change = ('kind = "procedural"', 'kind = "folder"\npath = "gone"')
    assert len(mistakes(change)) == 1
    text = GOOD.replace(*change).replace("images = 1000", "")
    (tmp_path / "small.toml").write_text(text)
    assert len(read_study(tmp_path / "small.toml", data_needed=False).runs) == 4


def test_a_data_size_beyond_the_data_set_is_a_mistake(mistakes, tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for i in range(count):
                picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
                picture.save(tmp_path / "pets" / split / name / f"{i}.png")
    found = mistakes(
        ('kind = "procedural"', 'kind = "folder"\npath = "pets"'),
        ("batch = 128", "batch = 128\ndata_size = [6, 7]"),
    )
    assert found == [
        "22: evaluate[0].images: 1_000 is more than the 4 held-out images of [data]; "
        "leave the key out for all of them.",
        "33: grid[0].data_size[1]: 7 is more than the 6 training images of [data]; "
        'use "all", or less.',
    ]


def test_text_that_is_not_toml_is_said_to_be_so_with_line_and_column(mistakes):
    found = mistakes(text='name = "small"\nquestion = what?\n')
    assert found == ["2, column 12: this is not TOML: Invalid value."]
    assert mistakes(text="name = 1\nname = 2\n") == ["2: name has a value already; write it once."]
    assert mistakes(text="name = 1\nname = [\n2]\n") == [
        "3, column 3: this is not TOML: Cannot overwrite a value."
    ]


def test_all_that_the_keys_of_a_table_say_against_each_other_is_said_at_once(mistakes):
    """Also beside a key that is wrong on its own, and nothing of what that key may have meant."""
    data = "resolution = 16\n"
    two = mistakes((data, "resolution = 15\nnoise = 40\n"))
    assert sorted(line.split()[2] for line in two) == ["5", "contrast=96"]
    three = mistakes((data, "resolution = 15\nnoise = 40\ntail = -1\n"))
    assert set(two) < set(three)
    assert any("data.tail: -1 is not" in line for line in three)
    (alone,) = mistakes((data, "resolution = 16\nnoise = -1\ncontrast = 20\n"))
    assert "data.noise" in alone
    recipe = mistakes(("warmup_steps = 10", "warmup_steps = -1\ncooldown_fraction = 0.1"))
    assert any("recipe: cooldown_steps=5 and cooldown_fraction=0.1" in line for line in recipe)
    assert len(recipe) == 2


def test_a_run_of_parts_of_batches_that_is_too_short_is_told_both(mistakes):
    found = mistakes(("[2_560, 5_120]", "[2_560, 1_300]"))
    assert ["whole number of batches" in line for line in found] == [True, False]
    assert "do not fit into a run of 10" in found[1]


def test_an_empty_file_is_told_what_a_study_needs(mistakes):
    (found,) = mistakes(text="# nothing yet\n")
    assert "a study needs name, question, [data], [[evaluate]] and [[grid]]" in found
    assert "docs/study-file.md" in found


def test_a_mark_that_an_editor_puts_in_front_is_passed_over(tmp_path):
    assert read(tmp_path, "\ufeff" + GOOD).runs == read(tmp_path, GOOD).runs


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2024-01-01", "grid[0].model: '2024-01-01': there is no such model"),
        ("07:32:00", "grid[0].model: '07:32:00': there is no such model"),
        ("1" * 5000, "a number has thousands of digits"),
        ("0x" + "f" * 5000, "grid[0].model: 1.797"),
        ("[" * 5000 + "]" * 5000, "lie more than 50 deep"),
        ("[" * 300 + "]" * 300, "lie more than 50 deep"),
        ("[" * 20 + "]" * 20, "grid[0].model[0]: a list is not text"),
    ],
)
def test_what_no_person_would_write_is_answered_in_words(mistakes, value, said):
    found = mistakes(('["nano", "mu/4"]', value))
    assert any(said in line for line in found)
    assert max(map(len, found)) < 300


def test_keys_five_thousand_deep_are_answered_in_words(mistakes):
    assert "more than 50 deep" in mistakes(text=GOOD + ".".join("a" * 5000) + " = 1\n")[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("batch = 128", "batch = 1e300", "1e+300 is too large; give a whole number > 0 and <= 1"),
        ("batch = 128", "batch = 1_000_000_001", "batch: 1_000_000_001 is not a whole number > 0"),
        ("batch = 128", "batch = 128\nseed = 4_294_967_296", "and < 4_294_967_296"),
        ("[2_560, 5_120]", "1e16", "1e+16 is too large"),
        ("width = 32", "width = 1_000_000_000_000", "> 0 and <= 1_000_000."),
        ("[data]\n", "[data]\nheldout_size = 10_000_000_000\n", "<= 1_000_000_000."),
        ("[data]\n", "[data]\nseed = 9_223_372_036_854_775_808\n", "too large; give a whole"),
        ("resolution = 16\n", "resolution = 8193\n", "8_193 is not a whole number >= 1 and <= 8"),
    ],
)  # fmt: skip
def test_absurd_numbers_are_refused_with_the_range_allowed(mistakes, old, new, said):
    (found,) = mistakes((old, new))
    assert said in found


@pytest.mark.parametrize("name", ["smal.toml", "small.tml"])
def test_a_study_that_is_not_there_brings_the_nearest_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(GOOD)
    with pytest.raises(UserError, match=r'nor a file\. Did you mean "small.toml"\?'):
        read_study(name)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "small.toml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match=r"small.toml: byte 0 is not UTF-8"):
        read_study(tmp_path / "small.toml")
    with pytest.raises(UserError, match=r"cannot be read: Is a directory"):
        read_study(tmp_path)


# Whatever is written in a file


JUNK = st.sampled_from(
    [None, -1, 0, 3, 1e6, 0.5, float("nan"), True, "", "x", "all", [], [0], [[]], {}, {"kind": 1}]
)


def _places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from _places(item, (*path, key))


@pytest.mark.slow
@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_junk_anywhere_is_either_right_or_named(tmp_path_factory, data):
    raw = copy.deepcopy(tomllib.loads(data.draw(st.sampled_from([EXAMPLE, FAMILIES]))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(_places(raw))))
        around = raw
        for step in place[:-1]:
            around = around[step]
        junk = data.draw(JUNK)
        if junk is None:
            del around[place[-1]]
        else:
            around[place[-1]] = copy.deepcopy(junk)
    file = tmp_path_factory.mktemp("junk") / "study.toml"
    file.write_text(toml(raw)[0], encoding="utf-8")
    said, runs = (), ()
    try:
        runs = read_study(file).runs
    except UserError as mistakes:
        said = mistakes.mistakes
    assert bool(said) != bool(runs)
    assert all(each.startswith(str(file)) and each.endswith((".", "?")) for each in said)
    assert not any("Input should" in each for each in said)


def test_a_placement_that_a_network_or_a_batch_cannot_have_is_said(mistakes):
    fused = GOOD + '\n[placement]\nupdate = "fused"\nfsdp = 3\n'
    found = mistakes(('"mu/4"]', '"BiT-R50x1"]'), text=fused)
    assert len(found) == 3
    assert "nano has 32 features and 128 hidden ones, and fsdp = 3 divides neither" in found[0]
    assert found[0].endswith("use 2 or 4.")
    assert 'BiT-R50x1 is a BiT, whose blocks differ, and update = "fused"' in found[1]
    assert "128 cannot be split into fsdp = 3 parts; use 126 or 129." in found[2]


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        (
            "tensor = 3",
            "2 heads and 128 hidden features, which tensor = 3 does not divide",
        ),
        ("devices = 24", "128 cannot be split over 24 devices; use 120 or 144."),
        ("microbatches = 5", "128 cannot be split into microbatches = 5 parts; use 125 or 130."),
        ('update = "fused"\nremat = "dots"', "a fused step keeps the input of each block"),
    ],
)
def test_a_placement_that_would_not_do_what_it_says_is_said(mistakes, placement, said):
    found = mistakes(text=f"{GOOD}\n[placement]\n{placement}\n")
    assert said in "\n".join(found)


@pytest.mark.parametrize(
    ("placement", "objective", "said"),
    [
        ('update = "fused"', 'kind = "byol"', "once through the blocks of one network, and byol"),
        (
            'update = "fused"',
            'kind = "s4l"\nlabelled_images = 100\nvat = 1.0',
            "and s4l, as it is",
        ),
        ("microbatches = 2", 'kind = "simclr"', "the loss simclr of an image depends on"),
        (
            "microbatches = 2",
            'kind = "s4l"\nlabelled_images = 100\ntask = "exemplar"',
            "the loss s4l of an image depends on the others",
        ),
    ],
)
def test_a_placement_that_an_objective_cannot_have_is_said(mistakes, placement, objective, said):
    text = GOOD.replace('[[evaluate]]\nkind = "upstream"\nimages = 1000\n', "")
    found = mistakes(text=f"{text}\n[objective]\n{objective}\n\n[placement]\n{placement}\n")
    assert len(found) == 1
    assert "objective: " in found[0]
    assert said in found[0]


def test_what_a_file_does_not_say_of_placement_checkpoints_and_dtype_is_the_machines(tmp_path):
    study = read(tmp_path, GOOD)
    assert study.compute_open
    assert {run.compute for run in study.runs} == {"float32"}
    said = 'compute = "bfloat16"\n' + GOOD + "\n[checkpoints]\nevery_steps = 50\n"
    study = read(tmp_path, said)
    assert not study.compute_open
    assert {run.compute for run in study.runs} == {"bfloat16"}
    assert study.checkpoints.every_steps == 50


def test_checkpoints_by_the_clock_and_by_the_step_clash(mistakes):
    both = GOOD + "\n[checkpoints]\nevery_steps = 50\nevery_seconds = 60\n"
    (found,) = mistakes(text=both)
    assert "a state is kept by the clock or by the step; leave one of the two out." in found
