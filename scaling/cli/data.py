"""Images for studies: what is there, whether it can be read, and how to bring one's own.

\b
    scaling data prepare FROM --name NAME   a folder or an archive as ArrayRecord
    scaling data prepare FROM --folder OUT  the same as files OUT/train/<class>/
    scaling data convert FOLDER             TFRecords of TFDS as ArrayRecord
    scaling data show    STUDY|NAME         a contact sheet of what a network will see
    scaling data check   STUDY|NAME         decode every image, name every bad one

Nothing of TensorFlow is needed. docs/data/sources.md works through each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.base.console import complain, say
from scaling.base.files import expanded

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)

What = Annotated[
    str,
    typer.Argument(
        metavar="STUDY|NAME|FILES",
        help="A study; a data set of TFDS (cifar10:1.0.0); a folder of train/<class>/, of Parquet "
        "files or of WebDataset archives; archives ('data/test-{000..127}.tar'); or an .npz.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where data sets of TFDS are kept; else $TFDS_DATA_DIR or ~/tensorflow_datasets."
    ),
]
Resolution = Annotated[
    int, typer.Option(min=1, max=8192, help="Side of an image, pixels, where no study says it.")
]
SHEET = 2000  # images that are looked for examples of each class
TILE = 64  # pixels of a sheet that an image fills, at least
SHOWN = 1000  # bad images of a set that are printed before the rest is counted


@app.command()
def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FROM",
            help="A folder or tar archive of train/<class>/<image>, or published archives.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="What the data set is to be called; a published one by TFDS's name."),
    ] = None,
    data_dir: DataDir = None,
    folder: Annotated[
        Path | None, typer.Option(help="Write files here instead of a data set.")
    ] = None,
) -> None:
    """Make a data set that the source `tfds` opens of images that you have: DATA_DIR/NAME/1.0.0/.

    FROM is a folder, or a tar archive (.tar, .tar.gz, .tar.bz2, .tar.xz), laid out as
    train/<class>/<image> and test/<class>/<image>; the binary version of CIFAR-10 or CIFAR-100; or
    a folder with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar. Images that have no place in
    that layout are counted and named.

    Or FROM is a folder with what the authors of a data set publish, packed or not, and NAME is
    what TFDS calls it: oxford_flowers102, oxford_iiit_pet, caltech101, caltech_birds2011,
    imagenet_v2, imagenet_a, imagenet_r; or imagenet21k, an archive nXXXXXXXX.tar a class. Splits
    and classes are those of TFDS. docs/data/sources.md names the files.

    Encoded images are kept byte for byte (raw CIFAR becomes PNG); each file is read back and
    compared. Start again after a kill and it goes on. With --folder the same images as files, for
    the source `folder`.
    """
    from scaling.data.prepare.prepare import prepare as make
    from scaling.data.prepare.prepare import table_of, unpack

    if (name is None) == (folder is None):
        raise UserError(["give --name for a data set, or --folder for files; one of them."])
    if folder is not None:
        print(f"{folder}: {counted(unpack(source, folder, say), 'image', form='_')}")
        return
    assert name is not None
    done = make(source, name, _root(data_dir), say)
    print(f"{done}\n")
    print(table_of(name, done.folder, _root(data_dir)))


@app.command()
def convert(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="A version that TFDS has prepared."),
    ] = None,
    data_dir: DataDir = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILES", help="Plain TFRecords of a split; once a split."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --split: of the data set.")] = None,
    image_key: Annotated[str | None, typer.Option(help="With --split: the image.")] = None,
    label_key: Annotated[str | None, typer.Option(help="With --split: the label.")] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="With --split; else by the largest label.")
    ] = None,
) -> None:
    """Copy TFRecords into ArrayRecord, record for record, without TensorFlow.

    FOLDER is a version that TFDS has prepared, such as ~/tensorflow_datasets/cifar10/3.0.2; copies
    go beside its TFRecords, or with --data-dir to a data set of the same name there. Plain TFRecord
    files of tf.train.Example are named by --split, as --split 'train=data/train-*', and go to
    DATA_DIR/NAME/1.0.0/. Every checksum is checked, every file is read back and compared. Start
    again after a kill and it goes on.
    """
    from scaling.data.prepare.convert import convert_prepared
    from scaling.data.prepare.examples import convert_examples

    if folder is not None:
        plain: dict[str, object] = {"--split": split, "--name": name, "--image-key": image_key}
        plain |= {"--label-key": label_key, "--classes": classes}
        if given := [option for option, value in plain.items() if value is not None]:
            raise UserError([f"{', '.join(given)}: for plain files, without FOLDER."])
        print(convert_prepared(expanded(folder).absolute(), data_dir, say))
        return
    if name is None:
        raise UserError(["give FOLDER, or --split and --name for plain TFRecord files."])
    parts = [each.partition("=") for each in split or ()]
    wrong = [f"--split {a}: give NAME=FILES." for a, _, b in parts if not b]
    names = [a for a, _, _ in parts]
    wrong += [
        f"--split {a}: is given {names.count(a)} times; name all its files by one pattern."
        for a in dict.fromkeys(names)
        if names.count(a) > 1
    ]
    if wrong:
        raise UserError(wrong)
    done = convert_examples(
        {a: b for a, _, b in parts},
        name,
        _root(data_dir),
        say,
        image_key=image_key,
        label_key=label_key,
        classes=classes,
    )
    print(done)


@app.command()
def show(
    what: What,
    out: Annotated[Path, typer.Option(help="Folder that the sheet is written to.")] = Path(
        "results"
    ),
    run: Annotated[
        str | None, typer.Option(help="Of a study: id of a run, or how it begins; else the first.")
    ] = None,
    data_dir: DataDir = None,
    resolution: Resolution = 64,
) -> None:
    """Draw what a network will see, a row a class, into OUT/<name>.seen.png.

    Of a study these are the images of a run's first steps, after crop, augmentation and mixing, the
    very pixels that it is trained on. Of a data set or a folder, its training images, or those to
    measure on where it has no others.
    """
    from scaling.data.contact_sheet import contact_sheet
    from scaling.data.source import Images
    from scaling.data_meant import meant
    from scaling.data_seen import Seen

    found = meant(what, data_dir, resolution)
    if run is not None and not found.runs:
        raise UserError([f"--run {run}: {what} is no study, and has no runs; leave it out."])
    path = out / f"{found.name}.seen.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        images: Images
        if found.runs:
            chosen = [each for each in found.runs if each.id.startswith(run or "")]
            if not chosen:
                raise UserError([f"--run {run}: {what} has no such run."])
            images = Seen(chosen[0], SHEET)
        else:
            source = found.sources[0]
            images = source.heldout() if source.heldout_only else source.train()
        scale = max(1, -(-TILE // images.resolution))
        contact_sheet(images, path, scale=scale, looked_at=SHEET)
    except ValueError as error:  # an image that cannot be decoded, a cache that cannot be kept
        raise error if isinstance(error, UserError) else UserError([str(error)]) from error
    print(path)


@app.command()
def check(what: What, data_dir: DataDir = None) -> None:
    """Decode every image of STUDY, NAME or FILES once, and name every one that cannot be read.

    All sets of a study are looked at, its evaluations' too. Files that are damaged as a whole are
    named, and the images of the others are looked at. What is found is kept in
    ~/.cache/vit-scaling-laws, and the next check of the same files is quick. Exit status 1 when an
    image or a file cannot be read.
    """
    from scaling.data_check import check_all_images
    from scaling.data_meant import meant

    bad = 0
    sources = meant(what, data_dir, 64, contents_needed=False).sources
    for each in check_all_images(sources, complain):
        bad += len(each.bad)
        for name, why in list(each.bad.items())[:SHOWN]:
            say(f"{name}: {why}")
        if len(each.bad) > SHOWN:
            say(f"... and {len(each.bad) - SHOWN:_} more of {each.name}.")
        there = "" if each.images is None else f"{counted(each.images, 'image', form='_')}, "
        say(f"{each.name}: {there}{len(each.bad):_} cannot be read")
    raise typer.Exit(1 if bad else 0)


def _root(data_dir: Path | None) -> Path:
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return expanded(data_dir or Path(default)).absolute()
