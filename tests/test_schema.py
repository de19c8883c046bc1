"""The docs of the study file and the schema that checks it."""

from pathlib import Path

import pytest

from scaling.study.schema import page

DOCS = Path(__file__).resolve().parents[1] / "docs" / "study-file.md"


def test_the_docs_are_those_of_today_s_schema():
    assert DOCS.read_text(encoding="utf-8") == page(), (
        "The schema has changed: python -m scaling.study.schema > docs/study-file.md"
    )


def test_every_key_has_a_meaning():
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    for key, *_, meaning in rows:
        assert meaning.strip(" |"), f"{key} has no docstring"


@pytest.mark.parametrize(
    "row",
    [
        "| `batch` | a whole number > 0 and <= 1_000_000_000, or a list of several | **needed** |",
        "| `labelled_images` | a number > 0 | `0.1` | Images whose labels are shown",
        '| `clip_norm` | a number > 0, or "none" | `1.0` |',
        '| `loss` | one of "sigmoid", "softmax" | `"sigmoid"` |',
        "| `shots` | a list, each of it a whole number > 0 and <= 1_000_000 | `[1, 5, 10]` |",
        '<= 1_000_000_000_000_000, or "all", or a list of several | `"all"` | Number of different',
    ],
)
def test_a_row_says_what_is_allowed_and_what_is_assumed(row):
    assert row in page()


def test_what_is_kept_of_a_folder_of_images_is_said():
    assert "Decoded images are kept in `~/.cache/vit-scaling-laws`" in page()
