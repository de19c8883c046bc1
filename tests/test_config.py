"""Configurations and what ids are made of."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from models.zoo import vit
from scaling.base.config import Config, NoneAs, contents, digest


class Bowl(Config):
    kind: Literal["bowl"] = "bowl"
    fruit: tuple[str, ...] = ("apple",)
    weight: float = 1.0


class Kitchen(Config):
    bowl: Bowl
    shelf: Path = Path("top")
    limit: Annotated[int | None, NoneAs("all")] = 3


def test_a_configuration_cannot_be_changed_or_given_unknown_keys():
    bowl = Bowl()
    with pytest.raises(ValidationError, match="frozen"):
        bowl.weight = 2.0
    with pytest.raises(ValidationError, match="colour"):
        Bowl.model_validate({"colour": "red"})


def test_contents_leave_out_defaults_but_never_the_kind():
    assert contents(Kitchen(bowl=Bowl())) == {"bowl": {"kind": "bowl"}}
    assert contents(Kitchen(bowl=Bowl(weight=2.0), limit=None)) == {
        "bowl": {"kind": "bowl", "weight": 2.0},
        "limit": None,
    }


def test_contents_are_plain_json():
    assert contents(Kitchen(bowl=Bowl(fruit=("fig", "pear")), shelf=Path("a") / "b")) == {
        "bowl": {"kind": "bowl", "fruit": ["fig", "pear"]},
        "shelf": "a/b",
    }
    assert contents({"shape": vit("mu/16")})["shape"]["width"] == 32


def test_a_new_field_at_its_default_leaves_the_digest_as_it_was():
    class BiggerBowl(Bowl):
        colour: str = "white"

    assert digest(BiggerBowl(weight=2.0)) == digest(Bowl(weight=2.0))
    assert digest(BiggerBowl(colour="red")) != digest(Bowl())


def test_a_digest_is_the_same_on_every_machine_and_for_every_order_of_keys():
    assert digest({"a": 1, "b": [2.5, "é"]}) == digest({"b": [2.5, "é"], "a": 1}) == "ad77db9d3957"


def test_numbers_that_json_does_not_know_have_no_digest():
    with pytest.raises(ValueError, match="Out of range"):
        digest({"a": float("nan")})


def test_none_is_written_as_its_word_and_other_values_as_ever():
    field = TypeAdapter(Annotated[int | None, NoneAs("all")])
    assert field.validate_json('"all"', strict=True) is None
    assert field.validate_json("3", strict=True) == 3
    with pytest.raises(ValidationError):
        field.validate_json('"none"', strict=True)
    assert Kitchen.model_json_schema()["properties"]["limit"]["none_as"] == "all"
