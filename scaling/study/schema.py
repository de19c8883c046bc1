"""Writes docs/study-file.md from the schema of the study file, so that the two cannot differ.

python -m scaling.study.schema > docs/study-file.md
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from scaling.study.mistakes import Schema, show
from scaling.study.study_file import StudyFile

EXAMPLE = """\
name = "example"
question = "How do small ViTs improve with compute on a task of known irreducible error?"

[data]
kind = "procedural"
label_noise = 0.1

[models.nano]
patch = 4
width = 32
depth = 2
mlp = 128
heads = 2

[objective]
kind = "classify"
loss = "softmax"

[recipe]
learning_rate = 1e-3
warmup_steps = 50
timescale_steps = 100
cooldown_fraction = 0.2

[[evaluate]]
kind = "upstream"
images = 8192

[[evaluate]]
kind = "fewshot"
name = "digits"
data = { kind = "digits", resolution = 16 }

[[grid]]
model = ["nano", "mu/4"]
data_size = [10_000, "all"]
images_seen = [25_600, 51_200, 102_400]
batch = 128

[[grid]]
model = "Ti/8"
images_seen = 102_400
batch = 128
recipe = { learning_rate = 5e-4 }
"""

MODELS = """\
[models.nano]  # a ViT
patch = 4
width = 32
depth = 2
mlp = 128
heads = 2

[models.nano-mean]  # mu/4 as it is, but for what is said
like = "mu/4"
depth = 2
pool = "gap"
position = "sincos"

[models.nano-resnet]  # a BiT
stages = [1, 2]
width = 32

[models.nano-mixer]
patch = 4
width = 32
depth = 2
mlp_tokens = 16
mlp = 128
"""

EXAMPLES = {"models": MODELS}
"""Below the title of a table."""

OWN = {"protocol"}
"""Keys whose tables, told apart by `kind`, are described nowhere else."""

TITLES = {
    "ViT": "A ViT by its sizes",
    "like": "A ViT of the zoo with changes",
    "BiT": "A BiT by its sizes",
    "Mixer": "A Mixer by its sizes",
}
"""Of the tables that no key `kind` tells apart."""

PAGE = """\
# The study file

After this page you can write a study of your own: one file with a question and the grid of runs
that answers it. It is written in [TOML](https://toml.io); numbers may be spelled `10000`, `10_000`
or `1e4`. A path may begin with `~`, one's home; a relative one begins at the folder in which the
command is typed. Save it as `my.toml` and type

```
scaling plan my.toml      # all mistakes in it at once, or else what it will cost
scaling launch my.toml    # train
```

This page is generated from the schema that checks the file (`python -m scaling.study.schema`).

## A complete example

Thirteen runs: two small networks, each on two data sizes for three durations, and one larger
network of the zoo for one. Runs that differ only in `images_seen` share a trunk, so that the
longest of them costs little more than its own length, and the others only their cooldowns.

```toml
{example}```

## What must fit together

Checked before anything is written, all of it at once, each mistake with its line and the nearest
right name:

- `images_seen` is a whole number of batches;
- warm-up and cooldown fit into the shortest run;
- `data_size` and the images to evaluate on are no more than the data set, and each `subset` of it,
  holds; `resample` has an end to the images ([labels and subsets](data/labels.md));
- the data set is there;
- patches are no larger than the images, heads divide the width of a ViT, and 32 that of a BiT;
- dropout and stochastic depth are not asked of a BiT, nor `mup` of a grid without a ViT;
- `privacy` has images with an end, a `delta` below 1 / images, an objective of one image each
  without a state, and a plain step, and spends no more than its `epsilon`;
- a transfer task has the resolution of `[data]`, which every network sees, save where the network
  is fine-tuned at another;
- a task to fine-tune on has the images that are asked for, some of them held out where a learning
  rate is chosen, at a resolution that its network can see;
- no two evaluations measure the same metric;
- weights to begin with (`init`) are there and fit every network of their grid;
- no augmentation is listed twice, a crop is listed first and fits the resolution, and what mixes
  whole batches is listed last;
- every `[models.NAME]` is used in a grid.

A run that several grids name is trained once. Runs are known by their contents, not by their
study: what another study has trained already is not trained again.

## Top of the file

{top}
{tables}
"""


class Described(GenerateJsonSchema):
    """Describes every field by the docstring below it.

    Pydantic does so by `use_attribute_docstrings`, at every import, which reads all sources: .4 of
    the 1.5 s that a command takes to start.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        words = {k: v for base in reversed(schema["cls"].__mro__[:-1]) for k, v in _docs(base)}
        for name, field in schema["cls"].model_fields.items():
            if name in words:
                found["properties"][field.alias or name].setdefault("description", words[name])
        return found


@cache
def _docs(config: type) -> tuple[tuple[str, str], ...]:
    """The docstring of every field that the source of a class has, by name."""
    try:
        source = inspect.getsource(config)
    except OSError:  # pydantic makes classes too
        return ()
    (there,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(there, ast.ClassDef)
    found = []
    for field, below in itertools.pairwise(there.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                found.append((name, inspect.cleandoc(words)))
    return tuple(found)


def page() -> str:
    """The whole of docs/study-file.md."""
    schema = Schema(StudyFile, Described)
    keys: dict[str, Any] = schema.root["properties"]
    simple = {key: there for key, there in keys.items() if there.get("type") == "string"}
    top = "\n".join(_rows(schema, simple, set(schema.root["required"])))
    told = set[str]()
    tables = "\n".join(
        "\n".join(_section(schema, key, there, told))
        for key, there in keys.items()
        if key not in simple
    )
    return PAGE.format(example=EXAMPLE, top=top, tables=tables)


def _section(schema: Schema, key: str, there: dict[str, Any], told: set[str]) -> Iterator[str]:
    """One table of the file, or one list of tables; a subsection for each of its kinds."""
    needed = "" if key in schema.root["required"] else ", optional"
    node = schema.node(there)
    title = f"[{key}]"
    if node.get("type") == "array":
        title, node = f"[[{key}]]", schema.node(node["items"])
    elif isinstance(node.get("additionalProperties"), dict):
        title, node = f"[{key}.NAME]", schema.node(node["additionalProperties"])
    yield f"\n## `{title}`{needed}\n\n{there['description']}"
    if example := EXAMPLES.get(key):
        yield f"\n```toml\n{example}```"
    if "discriminator" not in node:
        yield from _table(schema, node, told)
        return
    kinds = node["discriminator"]["mapping"]
    if "propertyName" not in node["discriminator"]:
        yield from _members(schema, kinds, told)
        return
    yield f"\nIts key `kind` says which keys it has besides: {', '.join(f'`{k}`' for k in kinds)}."
    for kind, reference in kinds.items():
        yield f'\n### `kind = "{kind}"`'
        yield from _table(schema, schema.named(reference), told)


def _members(schema: Schema, kinds: dict[str, str], told: set[str]) -> Iterator[str]:
    """A subsection for each kind of table that is known by its keys, and for tables within."""
    for kind, title in TITLES.items():
        yield f"\n### {title}"
        yield from _table(schema, schema.named(kinds[kind]), told)


def _table(schema: Schema, node: dict[str, Any], told: set[str]) -> Iterator[str]:
    """
    Args:
      told: titles of subsections that there are already; more are added.
    """
    if "description" in node:
        yield f"\n{node['description']}"
    keys = {key: there for key, there in node["properties"].items() if key != "kind"}
    if not keys:
        return
    yield ""
    needed = node.get("required", ())
    first = sorted(keys, key=lambda key: key not in needed)  # those that are needed
    yield from _rows(schema, {key: keys[key] for key in first}, set(needed))
    for key in first:
        yield from _inside(schema, key, schema.node(keys[key]), told)


def _inside(schema: Schema, key: str, node: dict[str, Any], told: set[str]) -> Iterator[str]:
    """A subsection for each kind of table that a key holds or lists, if no key before it has."""
    several = node.get("type") == "array"
    inner = schema.node(node["items"]) if several else node
    left, right = ("[{ ", " }]") if several else ("{ ", " }")
    tables: dict[str, dict[str, Any]] = {}
    if "properties" in inner and key not in schema.root["properties"]:
        tables["..."] = inner
    if (several and key not in schema.root["properties"]) or key in OWN:
        kinds = inner.get("discriminator", {}).get("mapping", {})
        tables |= {f'kind = "{kind}"': schema.named(there) for kind, there in kinds.items()}
    for inside, table in tables.items():
        title = f"### `{key} = {left}{inside}{right}`"
        if title not in told:
            told.add(title)
            yield f"\n{title}"
            yield from _table(schema, table, told)


def _rows(schema: Schema, keys: dict[str, Any], required: set[str]) -> Iterator[str]:
    yield "| key | value | if left out | meaning |"
    yield "|---|---|---|---|"
    for key, there in keys.items():
        default = "**needed**" if key in required else _default(schema, there)
        cells = (f"`{key}`", schema.wanted(there), default, there.get("description", ""))
        yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _default(schema: Schema, there: dict[str, Any]) -> str:
    """What a key is when it is left out, as the file would write it."""
    default: Any = there.get("default")
    if "$ref" in there:
        return ""  # a table within a table: its own keys have their defaults
    node = schema.node(there)
    if node.get("axis") and len(default) == 1:
        there, default = node["items"], default[0]
    if default is None:
        return f"`{show(there['none_as'])}`" if "none_as" in there else ""
    if isinstance(default, dict) or (isinstance(default, list) and _tables(default)):
        return ""  # its meaning says it
    if isinstance(default, list):
        return f"`[{', '.join(map(show, default))}]`"
    return f"`{show(default)}`"


def _tables(values: list[Any]) -> bool:
    return any(isinstance(each, dict) for each in values)


if __name__ == "__main__":
    print(page(), end="")
