"""UserError of a study file in words a person can act on: where, what was found, what is allowed.

Pydantic finds them; its JSON schema says what would have been right. Knows no study: the same
words describe any schema, and `scaling.study.schema` writes the documentation with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails

from fits.base.names import near_names
from scaling.study.toml_lines import KeyPath

LARGEST_EXACT = 2**53  # whole numbers beyond may differ from the float that was written
BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
OF_UNIONS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}  # pydantic's own names beside an anyOf


class Schema:
    """A configuration's JSON schema, asked for by place.

    Args:
      generator: makes it, as pydantic has it.
    """

    def __init__(
        self, config: type[BaseModel], generator: type[GenerateJsonSchema] = GenerateJsonSchema
    ):
        self.root = config.model_json_schema(schema_generator=generator)

    def node(self, schema: dict[str, Any]) -> dict[str, Any]:
        """`schema` itself, not a reference to it; where it may be null, what else it may be; of
        whole and other numbers, numbers."""
        if "$ref" in schema:
            return self.named(schema["$ref"])
        some = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
        if len(some) == 1:
            return self.node(some[0])
        if some and all(option.get("type") in ("integer", "number") for option in some):
            return {**schema, "type": "number"}
        return schema

    def named(self, reference: str) -> dict[str, Any]:
        return self.root["$defs"][reference.rpartition("/")[2]]

    def follow(self, loc: Sequence[str | int]) -> tuple[KeyPath, dict[str, Any]]:
        """Pydantic's `loc` as a place in the file, and the schema of what stands there.

        `loc` also names the member of each union it passes through; the file does not.
        """
        place: KeyPath = ()
        schema = self.root
        for step in loc:
            around = self.node(schema)
            if "discriminator" in around:
                schema = self.named(around["discriminator"]["mapping"][step])
                continue
            if "anyOf" in around:  # what the member wants is no better than what any does
                continue
            place += (step,)
            inside = around.get("properties", {}).get(step) or around.get("items")
            schema = inside or around.get("additionalProperties") or {}
        return place, schema

    def wanted(self, schema: dict[str, Any]) -> str:
        """What may stand there: "a whole number > 0"."""
        words = self._wanted(self.node(schema))
        return f"{words}, or {show(schema['none_as'])}" if "none_as" in schema else words

    def _wanted(self, node: dict[str, Any]) -> str:
        bounds = " and ".join(
            f"{sign} {node[key]:_}" for key, sign in (BOUNDS | OF_UNIONS).items() if key in node
        )
        match node:
            case {"const": only}:
                return show(only)
            case {"enum": several}:
                return f"one of {listed(several)}"
            case {"type": "integer"}:
                return f"a whole number {bounds}".strip()
            case {"type": "number"}:
                return f"a number {bounds}".strip()
            case {"type": "boolean"}:
                return "true or false"
            case {"type": "string", "format": "path"}:
                return "the path of a file or folder, in quotes"
            case {"type": "string", "in_words": words}:
                return str(words)
            case {"type": "string", "pattern": pattern}:
                return f"text that matches {pattern}"
            case {"type": "string"}:
                return "text"
            case {"type": "array", "axis": True, "items": items}:
                return f"{self.wanted(items)}, or a list of several"
            case {"type": "array", "items": items}:
                each = self.wanted(items)
                return "a list of tables" if each == "a table" else f"a list, each of it {each}"
            case {"anyOf": options}:
                several = [self.wanted(each) for each in options if each.get("type") != "null"]
                return f"{', '.join(several[:-1])} or {several[-1]}"
        return "a table"


def explain(error: ErrorDetails, schema: Schema) -> tuple[KeyPath, str]:
    """One of pydantic's errors as a place and a sentence of our own."""
    place, there = schema.follow(error["loc"])
    node = schema.node(there)
    found = error["input"]
    match error["type"]:
        case "missing":
            return place, f"is missing; give {schema.wanted(there)}."
        case "extra_forbidden":
            around = schema.node(schema.follow(error["loc"][:-1])[1])
            return place, f"unknown key; {nearest(str(place[-1]), around['properties'])}"
        case "union_tag_not_found":
            kinds = node["discriminator"]["mapping"]
            return (*place, "kind"), f"is missing; give one of {listed(kinds)}."
        case "union_tag_invalid":
            kinds = node["discriminator"]["mapping"]
            return (*place, "kind"), f"there is no {show(found['kind'])}; " + (
                f"{nearest(str(found['kind']), kinds)}"
            )
        case "value_error":
            return place, str(error["ctx"]["error"])
        case "literal_error" if isinstance(found, str):
            allowed = node["enum"] if "enum" in node else [node["const"]]
            return place, f"there is no {show(found)}; {nearest(found, allowed)}"
        case "too_short":
            return place, "is an empty list; put at least one value into it."
        case "too_long":
            most = error["ctx"]["max_length"]
            return place, f"is a list of {len(found):_} values; put at most {most} into it."
        case "string_too_short":
            return place, "is empty; write something."
    if node.get("type") == "integer" and isinstance(found, float) and found > LARGEST_EXACT:
        return place, f"{show(found)} is too large; give {schema.wanted(there)}."
    return place, f"{show(found)} is not {schema.wanted(there)}.{_remedy(found, node, place)}"


def _remedy(found: Any, node: dict[str, Any], place: KeyPath) -> str:
    """What to do about a value of the wrong type, where that can be guessed."""
    if isinstance(found, str) and node.get("type") in ("integer", "number") and _is_number(found):
        return " Leave out the quotes."
    if isinstance(found, dict) and node.get("type") == "array" and not node.get("axis"):
        if len(place) > 1:
            return f" Put it in brackets: {place[-1]} = [{{ ... }}]."
        return f" Write [[{place[-1]}]] above it, not [{place[-1]}]."
    return ""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The words "did you mean ...?", or all that is allowed where nothing is near."""
    if near := near_names(name, allowed):
        return f"did you mean {' or '.join(map(show, near))}?"
    return f"allowed: {listed(allowed)}."


def listed(values: Iterable[Any]) -> str:
    return ", ".join(map(show, values))


def show(value: Any) -> str:
    """A value as a study file would write it; tables and long lists by their kind alone."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return f"{value:_}"
        case str():
            return f'"{value}"'
        case dict():
            return "a table"
        case list() | tuple():
            return "a list" if value else "an empty list"
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
