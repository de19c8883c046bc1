"""The base of everything a study file can say: frozen, keyword-only, checked where it is born.

Also `contents`, what an id is the hash of. Knows nothing of what the configurations mean.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen, checked configuration; unknown keys are errors, defaults live here only."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def contents(value: Any) -> Any:
    """What decides `value`, as plain JSON: fields that equal their default are left out.

    A field added later, with a default that means "as before", so disturbs no old id. The `kind`
    of a union's member is always kept, because it says which defaults are meant.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: contents(getattr(value, name))
            for name, field in fields.items()
            if name == "kind"
            or getattr(value, name) != field.get_default(call_default_factory=True)
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: contents(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: contents(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [contents(item) for item in value]
    return value


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that name `value`'s contents."""
    text = json.dumps(contents(value), sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
