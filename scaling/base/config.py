"""The base of everything a study file can say: frozen, keyword-only, checked where it is born.

Also `NoneAs`, how a file says None, `HomePath`, a path of a file, and `contents`, what an id is the
hash of. Knows nothing of what the configurations mean.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from scaling.base.files import expanded


class Clash(NamedTuple):
    """Keys that are right one by one and wrong together, and why, in a sentence."""

    keys: tuple[str, ...]
    words: str


class Clashes(ValueError):
    """All that the keys of one configuration say against each other."""

    def __init__(self, config: type[Config], found: Sequence[Clash]):
        self.config, self.found = config, tuple(found)
        super().__init__(" ".join(clash.words for clash in found))


class Config(BaseModel):
    """A frozen, checked configuration; unknown keys are errors, defaults live here only."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    not_in_id: ClassVar[frozenset[str]] = frozenset()
    """Fields that decide no digit of a result, which `contents` leaves out."""

    def clashes(self) -> Iterator[Clash]:
        """What does not fit together, of keys that are right one by one."""
        yield from ()

    @cached_property
    def own_contents(self) -> dict[str, Any]:
        """As `contents` gives them, which is to be asked; kept, as the runs of a grid share most of
        what they are made of."""
        return _of_model(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; the copy computes what follows from its fields itself."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy

    @model_validator(mode="after")
    def _without_clashes(self) -> Self:
        if found := tuple(self.clashes()):
            raise Clashes(type(self), found)
        return self


@dataclass(frozen=True)
class NoneAs:
    """Marks a field that may be None with the word a study file writes for it: TOML has no null.

    As in `clip_norm: Annotated[float | None, NoneAs("none")]`.
    """

    word: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "none_as": self.word}

    def _read(self, value: Any) -> Any:
        return None if value == self.word else value


HomePath: TypeAlias = Annotated[Path, AfterValidator(expanded)]
"""A path in a study file, whose `~` is one's home from the start: ids hold the whole path.

Sources whose ids have always kept the `~` (`folder`, `parquet`, `webdataset`, `tfds`, `without`, a
file of tokens) have a plain Path, and expand it where they open it.
"""


@dataclass(frozen=True)
class MembersByKeys:
    """Names the members of a union that a table's keys tell apart, as a `kind` names others'.

    Pydantic leaves them out of the JSON schema; they are given in the order of the union.
    """

    names: tuple[str, ...]

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        references = (member["$ref"] for member in found["oneOf"])
        mapping = dict(zip(self.names, references, strict=True))
        return {**found, "discriminator": {"mapping": mapping}}


def contents(value: Any) -> Any:
    """What decides `value`, as plain JSON: fields that equal their default are left out.

    A field added later, with a default that means "as before", so disturbs no old id. The `kind`
    of a union's member is always kept, because it says which defaults are meant. Fields that a
    class names in `not_in_id` are left out always.
    """
    if isinstance(value, Config):
        return value.own_contents
    if isinstance(value, BaseModel):
        return _of_model(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: contents(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        }
    if isinstance(value, dict):
        return {key: contents(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [contents(item) for item in value]
    if isinstance(value, PurePath):
        return value.as_posix()
    return value


def _of_model(value: BaseModel) -> dict[str, Any]:
    return {
        name: contents(getattr(value, name))
        for name, default in _defaults(type(value))
        if name == "kind" or getattr(value, name) != default
    }


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of plain JSON, by its path."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from flat(item, f"{path}[{number}]")
    else:
        yield path, value


@cache
def _defaults(config: type[BaseModel]) -> tuple[tuple[str, Any], ...]:
    """Every field that may decide an id, and its default."""
    left_out = config.not_in_id if issubclass(config, Config) else frozenset()
    return tuple(
        (name, field.get_default(call_default_factory=True))
        for name, field in config.model_fields.items()
        if name not in left_out
    )


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that name `value`'s contents."""
    return digest_of(contents(value))


def digest_of(plain: Any) -> str:
    """The same of what `contents` has given."""
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
