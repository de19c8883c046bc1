"""From names and shapes to a network: which layout a file has, and which shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from models.shapes import Shape
from models.weights import flax_rows, sizes, torch_rows
from models.weights.facts import About, Facts, has_token
from models.weights.flax_rows import OLDER_BIT, OLDER_VIT, Rules, renamed
from models.weights.layouts import rows
from models.weights.rows import TensorRow
from models.weights.tensors import Spec, Unusable

GOOGLE = tuple(f"{a}{b}" for a in ("", "params/", "opt/target/") for b in ("", "img/"))
"""Before the names of big_vision: of the parameters in a training state, of the image tower."""
OPEN_CLIP = "visual.trunk."
"""Before the names of timm, in files of both towers."""
SKIPPED = (
    (r"opt/(?!target/)", "optimizer state"),
    (r"chrono/", "training clock"),
    (r"((params|opt/target)/)?txt/|text(_model)?\.", "text tower"),
    (r"((params|opt/target)/)?[tb]$|logit_(scale|bias)$", "joins the two towers"),
    (r".*\.position_ids$", "counts 0, 1, 2, ..."),
)
"""What stands beside an image network and is no part of it."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """How to know the files of one layout and one kind of network.

    Fields:
      sign: how some of its names begin.
      classifier: how the names of its classifier begin.
      prefixes: what may stand before all of its names.
      older: rules that turn names of older files into those of `rows`.
      beside: further names, and why they are skipped, where there is a classifier.
    """

    layout: str
    sign: str
    shape: Callable[[Facts, About], Shape]
    rows: Callable[[Facts, Shape], list[TensorRow]]
    classifier: str
    prefixes: tuple[str, ...] = ("",)
    older: Rules = ()
    beside: tuple[str, str] | None = None


@dataclass(frozen=True)
class Recognised:
    """What a file was taken for.

    Fields:
      shape: the network, as most of the file has it.
      rows: the layout's table for a network of its kind.
      names: in the file, by their name in that table.
      called: how a name of that table would be in the file, were it there.
      skipped: names in the file, and why.
    """

    layout: str
    shape: Shape
    classes: int | None
    rows: Callable[[Shape], list[TensorRow]]
    names: dict[str, str]
    called: Callable[[str], str]
    skipped: dict[str, str]


def recognise(specs: Mapping[str, Spec], about: About) -> Recognised:
    """What these arrays are.

    Raises:
      Unusable: no known layout; two names for one thing; nothing tells the heads.
      ValueError: sizes that cannot be.
    """
    for family in FAMILIES:
        for prefix in family.prefixes:
            sign = re.compile(re.escape(prefix) + family.sign)
            if any(sign.match(name) for name in specs):
                return _recognise(specs, about, family, prefix)
    some = ", ".join(list(specs)[:3]) or "nothing at all"
    raise Unusable([f"these are not the names of any known layout ({some}, ...)."])


def _recognise(specs: Mapping[str, Spec], about: About, family: Family, prefix: str) -> Recognised:
    classifies = any(re.match(re.escape(prefix) + family.classifier, name) for name in specs)
    names, skipped = _sorted(specs, family, prefix, classifies)
    facts = Facts({new: specs[name].shape for new, name in names.items()})
    layout = family.layout
    if layout == "big_vision" and facts.any(flax_rows.BLOCKS + "/"):
        layout = "big_vision-scan"
    elif any("/MlpBlock_3/" in name for name in names.values()):
        layout = "augreg"
    older = flax_rows.AS_AUGREG if layout == "augreg" else ()
    return Recognised(
        layout,
        shape=family.shape(facts, about),
        classes=_classes(facts, family.classifier) if classifies else None,
        rows=partial(family.rows, facts),
        names=names,
        called=lambda name: prefix + renamed(name, older),
        skipped=skipped,
    )


def _sorted(
    specs: Iterable[str], family: Family, prefix: str, classifies: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Names of the network, by what they are called now, and the others, each with why."""
    names: dict[str, str] = {}
    skipped: dict[str, str] = {}
    doubled = []
    beside = (family.beside,) if family.beside and classifies else ()
    for name in specs:
        why = next((why for pattern, why in SKIPPED + beside if re.match(pattern, name)), None)
        if why is not None:
            skipped[name] = why
            continue
        new = renamed(name.removeprefix(prefix), family.older)
        if names.setdefault(new, name) != name:
            doubled.append(f"{names[new]} and {name} are two names for one thing.")
    if doubled:
        raise Unusable(doubled)
    return names, skipped


def _classes(facts: Facts, head: str) -> int | None:
    """Outputs of the classifier whose names begin with `head`, from any of its arrays."""
    return (
        facts.length(f"{head}bias", -1)
        or facts.length(f"{head}kernel", -1)
        or facts.length(f"{head}weight", 0)
    )


def _rows_of(layout: str) -> Callable[[Facts, Shape], list[TensorRow]]:
    return lambda facts, shape: rows(layout, shape, None)


FAMILIES = (
    Family(
        layout="big_vision",
        sign="Transformer/encoderblock",
        shape=sizes.big_vision_vit,
        rows=lambda facts, shape: flax_rows.vit(
            scan=facts.any(flax_rows.BLOCKS + "/"),
            token_in_table=has_token(facts.length("pos_embedding", 1)),
        ),
        classifier="head/",
        prefixes=GOOGLE,
        older=OLDER_VIT,
    ),
    Family(
        layout="big_vision",
        sign=r"MixerBlock_\d+/",
        shape=sizes.big_vision_mixer,
        rows=_rows_of("big_vision"),
        classifier="head/",
        prefixes=GOOGLE,
    ),
    Family(
        layout="bit",
        sign=r"resnet/block\d+/",
        shape=sizes.bit(
            narrow=r"resnet/(?:root_block|block1/unit\d+/[ab])/standardized_conv2d/kernel",
            unit=r"resnet/block{stage}/unit0*(\d+)/",
            first=1,
        ),
        rows=_rows_of("bit"),
        classifier="resnet/head/conv2d/",
        older=OLDER_BIT,
    ),
    Family(
        layout="big_vision",
        sign=r"block\d+/unit\d+/conv",
        shape=sizes.bit(
            narrow=r"(?:root_block/conv_root|block1/unit\d+/conv[12])/kernel",
            unit=r"block{stage}/unit0*(\d+)/",
            first=1,
        ),
        rows=_rows_of("big_vision"),
        classifier="head/",
        prefixes=GOOGLE,
    ),
    Family(
        layout="timm",
        sign=r"blocks\.\d+\.attn\.",
        shape=sizes.timm_vit,
        rows=lambda facts, shape: torch_rows.timm_vit(
            token_in_table=has_token(facts.length("pos_embed", 1))
        ),
        classifier=r"head\.",
        prefixes=("", OPEN_CLIP),
    ),
    Family(
        layout="timm",
        sign=r"blocks\.\d+\.mlp_tokens\.",
        shape=sizes.timm_mixer,
        rows=_rows_of("timm"),
        classifier=r"head\.",
    ),
    Family(
        layout="timm",
        sign=r"stages\.\d+\.blocks\.\d+\.conv",
        shape=sizes.bit(
            narrow=r"(?:stem|stages\.0\.blocks\.\d+)\.conv[12]?\.weight",
            unit=r"stages\.{stage}\.blocks\.(\d+)\.",
            first=0,
        ),
        rows=_rows_of("timm"),
        classifier=r"head\.fc\.",
    ),
    Family(
        layout="huggingface",
        sign=r"(vit\.)?encoder\.layer\.\d+\.attention\.",
        shape=sizes.huggingface_vit,
        rows=_rows_of("huggingface"),
        classifier=r"classifier\.",
        older=((r"^(embeddings|encoder|layernorm|pooler)\.", r"vit.\1."),),
        beside=(r"vit\.pooler\.", "transformers' classifier does not read it"),
    ),
    Family(
        layout="huggingface",
        sign=r"(vision_model\.)?encoder\.layers\.\d+\.",
        shape=sizes.huggingface_siglip,
        rows=_rows_of("huggingface"),
        classifier=r"classifier\.",
        older=((r"^(embeddings|encoder|post_layernorm|head)\.", r"vision_model.\1."),),
        beside=(r"vision_model\.head\.", "transformers' classifier does not read it"),
    ),
    Family(
        layout="huggingface",
        sign=r"(bit\.)?encoder\.stages\.\d+\.layers\.",
        shape=sizes.bit(
            narrow=r"bit\.(?:embedder\.convolution|encoder\.stages\.0\.layers\.\d+\.conv[12])"
            r"\.weight",
            unit=r"bit\.encoder\.stages\.{stage}\.layers\.(\d+)\.",
            first=0,
        ),
        rows=_rows_of("huggingface"),
        classifier=r"classifier\.1\.",
        older=((r"^(embedder|encoder|norm)\.", r"bit.\1."),),
    ),
)
