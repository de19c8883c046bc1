"""One small run of every objective, for what all of them promise (`test_every_objective.py`).

A new objective adds one line to `CASES`.
"""

from collections.abc import Callable
from pathlib import Path

from captions import Captions
from weights_cases import random_params

from models.shapes import Shape, ViTShape
from models.weights.writing import write
from scaling.data.augment import Flip
from scaling.data.procedural.source import Procedural
from scaling.data.tokens import TrainedTokens
from scaling.objectives.byol import BYOL
from scaling.objectives.classify import Classify
from scaling.objectives.clip import Clip
from scaling.objectives.distill import Distill
from scaling.objectives.exemplar import Exemplar
from scaling.objectives.jigsaw import Jigsaw
from scaling.objectives.lit import Lit
from scaling.objectives.relative_patch import RelativePatch
from scaling.objectives.rotation import Rotation
from scaling.objectives.s4l import S4L
from scaling.objectives.siglip import SigLip
from scaling.objectives.simclr import SimCLR
from scaling.training.initial import Init
from scaling.training.recipe import Recipe
from scaling.training.run import Run

NANO = ViTShape(name="nano", patch=8, resolution=16, width=8, depth=2, mlp=16, heads=2)
TINY = ViTShape(name="tiny", patch=8, resolution=16, width=8, depth=1, mlp=16, heads=2, pool="gap")
"""Compiled in half of the time that `NANO` takes."""
BATCH = 16


def small(**changes) -> Run:
    """A run of 24 steps, 2 of them cooldown."""
    fields = {
        "model": NANO,
        "data": Procedural(classes=4),
        "data_size": 320,
        "augment": (Flip(),),
        "recipe": Recipe(
            optimizer="adam", learning_rate=1e-3, warmup_steps=2, cooldown_steps=2, clip_norm=None
        ),
        "images_seen": 24 * BATCH,
        "batch": BATCH,
    }
    return Run(**{**fields, **changes})


def captioned(**changes) -> Run:
    """The same of pictures with captions, which no study file names."""
    objective = changes.pop("objective")
    data = small(**changes).model_copy(update={"data": Captions(), "objective": objective})
    assert not list(objective.problems(data.setting))
    return data


def lit(folder: Path, model: ViTShape = NANO) -> Run:
    """Locked: a drawn image tower, from a file of weights."""
    path = folder / f"{model.name}.npz"
    if not path.exists():
        write(path, random_params(model, 4), model)
    return captioned(model=model, objective=Lit(tokens=TOKENS), init=Init(from_=path))


TOKENS = TrainedTokens(vocabulary=300, length=10)
TEACHER = ViTShape(name="tutor", patch=8, resolution=24, width=16, depth=1, mlp=16, heads=2)


def teacher(folder: Path, model: Shape = TEACHER, classes: int = 4) -> dict[str, Path]:
    """A file of weights with a classifier, of random numbers: the same each time."""
    path = folder / "tutor.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write(path, random_params(model, classes), model)
    return {"from": path}


# Below a batch normalisation biases have no gradient but rounding, which Adam enlarges.
SGD = Recipe(optimizer="sgd", learning_rate=0.1, warmup_steps=2, cooldown_steps=2)

CASES: dict[str, Callable[[Path], Run]] = {
    "classify": lambda folder: small(objective=Classify(loss="softmax")),
    "distill": lambda folder: small(objective=Distill(teacher=teacher(folder))),
    "simclr": lambda folder: small(objective=SimCLR(projection=8), recipe=SGD),
    "simclr, no norm": lambda folder: small(objective=SimCLR(projection=8, norm="none")),
    "byol": lambda folder: small(
        objective=BYOL(projection=8, momentum=0.9, rises_over=12), recipe=SGD
    ),
    "byol, layer": lambda folder: small(objective=BYOL(projection=8, norm="layer")),
    "clip": lambda folder: captioned(objective=Clip(tokens=TOKENS, width=6)),
    "siglip": lambda folder: captioned(objective=SigLip(tokens=TOKENS, width=6)),
    "lit": lit,
    "exemplar": lambda folder: small(objective=Exemplar(copies=3, projection=8)),
    "jigsaw": lambda folder: small(objective=Jigsaw(permutations=12)),
    "relative_patch": lambda folder: small(objective=RelativePatch()),
    "s4l": lambda folder: small(objective=S4L(entropy=0.1, pseudo_labels=0.1)),
    "s4l, exemplar and vat": lambda folder: small(objective=S4L(task="exemplar", vat=0.5)),
    "rotation": lambda folder: small(objective=Rotation()),
}
"""By name, what makes a run, given a folder for files that it needs."""


def tiny(name: str, folder: Path) -> Run:
    """The case `name` of the smallest network."""
    if name == "lit":
        return lit(folder, TINY)
    return CASES[name](folder).model_copy(update={"model": TINY})
