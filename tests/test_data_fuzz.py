"""Files of images with bytes changed at random: words, or what is there, never anything else."""

import random
import tarfile

import pytest
import test_parquet
import test_tfds_examples
import test_webdataset

from fits.base.errors import UserError
from scaling.data.files.version import FileVersion
from scaling.data.parquet.faults import wrong_column
from scaling.data.parquet.files import Keys, copied, header
from scaling.data.parquet.labels import labels
from scaling.data.prepare import examples
from scaling.data.prepare.tfrecord import tfrecords
from scaling.data.webdataset.index import _read_headers

TRIALS = 300


def changed(contents, chance):
    """Cut off, or with some bytes replaced, or with some put in."""
    found = bytearray(contents)
    if chance.random() < 0.2:
        return bytes(found[: chance.randrange(len(found))])
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        found[chance.randrange(len(found))] = chance.randrange(256)
    if chance.random() < 0.2:
        at = chance.randrange(len(found))
        found[at:at] = chance.randbytes(chance.randrange(600))
    return bytes(found)


def read_tar(file):
    _read_headers(file, "cls", None)


def read_examples(file):
    for record in tfrecords(file):
        keys = examples.Keys("image/encoded", "image/class/label")
        examples.label_of(record, keys, str(file))


def read_parquet(file):
    described = FileVersion.of(file)
    columns = header(described, "label").columns
    if any(wrong_column(file, columns, key, key) for key in ("image", "label")):
        return
    labels(described, "label")
    copied(described, Keys("image", "label"))


def write_tar(form):
    def write(file):
        members = test_webdataset.members(range(3))
        long = "x" * 120 if form != tarfile.USTAR_FORMAT else ""
        test_webdataset.write(file, [(long + name, data) for name, data in members], form)

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_tar(tarfile.USTAR_FORMAT), read_tar),
        (write_tar(tarfile.PAX_FORMAT), read_tar),
        (write_tar(tarfile.GNU_FORMAT), read_tar),
        (lambda f: test_tfds_examples.write(f, [test_tfds_examples.example(1, 2)]), read_examples),
        (lambda f: test_parquet.write(f, range(6)), read_parquet),
    ],
    ids=["ustar", "pax", "gnu", "tfrecord", "parquet"],
)
def test_changed_bytes_are_answered_in_words(tmp_path, monkeypatch, write, read):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "good")
    good, chance = (tmp_path / "good").read_bytes(), random.Random(1)
    unnamed, refused = [], 0
    read(tmp_path / "good")
    for trial in range(TRIALS):
        file = tmp_path / f"bad-{trial}"
        file.write_bytes(changed(good, chance))
        try:
            read(file)
        except (UserError, ValueError) as error:
            refused += 1
            if str(file) not in str(error):
                unnamed.append(str(error))
    assert unnamed == []
    assert refused > TRIALS // 3
