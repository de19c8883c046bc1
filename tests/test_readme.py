"""What the README shows is what the program takes."""

import re
import shlex
from pathlib import Path

import pytest

from fits.base.errors import UserError
from scaling.study.parse import read_study

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def test_the_study_of_ones_own_lacks_nothing_but_the_data_set(tmp_path):
    """Its TFDS data set is not there, and that is the only mistake; with other data it is right."""
    (block,) = blocks("toml")
    path = tmp_path / "flowers.toml"
    path.write_text(block)
    with pytest.raises(UserError) as problem:
        read_study(str(path))
    assert len(str(problem.value).splitlines()) == 1
    assert "oxford_flowers102" in str(problem.value)
    head, rest = block.split("[data]")
    _, tail = rest.split("[recipe]")
    path.write_text(f'{head}[data]\nkind = "procedural"\nresolution = 64\n\n[recipe]{tail}')
    text = path.read_text().replace('kind = "upstream"', 'kind = "upstream"\nimages = 1000')
    path.write_text(text)
    study = read_study(str(path))
    assert len(study.runs) == 3 * 2 * 3


def test_every_command_shown_exists():
    from scaling.cli.main import app

    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    shown = [
        shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()
    ]
    used = {words[1] for words in shown if words and words[0] == "scaling"}
    assert used
    assert used <= names


def test_every_file_linked_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
