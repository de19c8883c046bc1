"""Every path in a study file may begin with `~`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import AfterValidator
from study_texts import GOOD, read

from scaling.base.config import Config, expanded
from scaling.data import Folder, Parquet, Tfds, Without
from scaling.data.tokens import FileTokens
from scaling.evaluate import Classification
from scaling.objectives.teacher import Teacher
from scaling.study.study_file import StudyFile
from scaling.training.initial import Init

WHERE_OPENED = {
    (Folder, "path"),
    (Parquet, "path"),
    (Tfds, "data_dir"),
    (Without, "file"),
    (FileTokens, "path"),
}
"""Keys whose `~` stands in ids, and is expanded by whoever opens the path."""

DIGITS = 'data = { kind = "digits", resolution = 16 }'
PROCEDURAL = 'kind = "procedural"\nresolution = 16\n'
OTHER = 'of = { kind = "procedural", resolution = 16 }\n'
FEWSHOT = f'kind = "fewshot"\nname = "digits"\n{DIGITS}'


def configs(config: type[Config] = Config) -> Iterator[type[Config]]:
    for each in config.__subclasses__():
        yield each
        yield from configs(each)


def parts(annotation: Any) -> Iterator[Any]:
    """Everything that an annotation is put together of."""
    yield annotation
    for each in get_args(annotation):
        yield from parts(each)


def test_every_key_for_a_path_expands_the_home():
    kept = set()
    for config in configs():
        if not config.__module__.startswith("scaling."):
            continue  # a test's own
        for name, field in config.model_fields.items():
            said = [*parts(field.annotation), *field.metadata]
            if Path in said and AfterValidator(expanded) not in said:
                kept.add((config, name))
    assert kept == WHERE_OPENED
    assert issubclass(StudyFile, Config)
    for config, name in ((Init, "from_"), (Teacher, "from_"), (Classification, "labels")):
        assert (config, name) not in kept
        assert name in config.model_fields


@pytest.mark.parametrize("home", ["~", "~nobody-is-called-so"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (PROCEDURAL, 'kind = "arrays"\nresolution = 16\npath = "PATH.npz"\n'),
        (PROCEDURAL, 'kind = "folder"\nresolution = 16\npath = "PATH"\n'),
        (PROCEDURAL, 'kind = "parquet"\nresolution = 16\npath = "PATH"\n'),
        (
            PROCEDURAL,
            'kind = "webdataset"\nresolution = 16\nclasses = 2\ntrain_shards = "PATH-0.tar"\n'
            'heldout_shards = "PATH-1.tar"\n',
        ),
        (PROCEDURAL, f'kind = "without"\nfile = "PATH-0.json"\n{OTHER}'),
        (PROCEDURAL, f'kind = "hierarchy"\nparents = "PATH.txt"\n{OTHER}'),
        (FEWSHOT, 'kind = "classify"\nname = "real"\nlabels = "PATH.json"'),
        (FEWSHOT, 'kind = "classify"\nname = "v2"\nclass_map = "PATH.toml"'),
        (FEWSHOT, 'kind = "corruptions"\nname = "c"\nreference = "PATH.csv"'),
        ("batch = 128\n", 'batch = 128\ninit = { from = "PATH.npz" }\n'),
        (
            "[recipe]\n",
            '[objective]\nkind = "distill"\nteacher = { from = "PATH.npz" }\n\n[recipe]\n',
        ),
        (
            "[recipe]\n",
            '[objective]\nkind = "clip"\ntokens = { kind = "file", path = "PATH.json" }\n\n'
            "[recipe]\n",
        ),
    ],
    ids=lambda text: text.partition("PATH")[0].replace("\n", " ")[-24:],
)
def test_a_path_below_ones_home_is_looked_for_there(
    mistakes, tmp_path, monkeypatch, old, new, home
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    said = " ".join(mistakes((old, new.replace("PATH", f"{home}/none"))))
    assert f"{tmp_path / 'home' if home == '~' else home}/none" in said


def test_a_home_and_the_whole_path_are_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "above.txt").write_text("1 0\n")
    texts = [
        GOOD.replace(PROCEDURAL, f'kind = "hierarchy"\nparents = "{folder}/above.txt"\n{OTHER}')
        for folder in ("~", tmp_path)
    ]
    short, long = ([run.id for run in read(tmp_path, text).runs] for text in texts)
    assert short == long
