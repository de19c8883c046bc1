# ruff: noqa: F811  fixtures are named as what they give
"""TFRecords copied into ArrayRecord: every byte, whatever interrupts it; damage is named."""

import json
import shutil
import struct

import numpy as np
import pytest
from tensorboardX.record_writer import RecordWriter
from test_tfds import pixels, prepared, specks  # noqa: F401  the fixtures

from fits.base.errors import UserError
from scaling.data.prepare import convert, shards
from scaling.data.prepare.convert import convert_prepared
from scaling.data.prepare.shards import array_records, write_shard
from scaling.data.prepare.tfrecord import masked_crc, tfrecords


def quiet(line):
    del line


def write_tfrecords(file, records):
    """By TensorBoard's writer, which knows nothing of ours."""
    writer = RecordWriter(str(file))
    for record in records:
        writer.write(record)
    writer.close()


@pytest.fixture
def tfrecord(prepared, tmp_path):
    """The folder of specks:1.0.0, prepared as TFRecord in several files a split."""
    folder = tmp_path / "tfds" / "specks" / "1.0.0"
    folder.mkdir(parents=True)
    whole = prepared / "specks" / "1.0.0"
    for file in whole.glob("*.[jt][sx]*"):
        shutil.copyfile(file, folder / file.name)
    info = json.loads((whole / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    for split, count in (("train", 3), ("test", 1)):
        (file,) = whole.glob(f"specks-{split}.array_record*")
        parts = np.array_split(np.array(list(array_records(file)), object), count)
        for i, part in enumerate(parts):
            name = f"specks-{split}.tfrecord-{i:05d}-of-{count:05d}"
            write_tfrecords(folder / name, part)
        (described,) = (each for each in info["splits"] if each["name"] == split)
        described["shardLengths"] = [str(len(part)) for part in parts]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def records_of(folder, pattern="*.array_record-*"):
    return {file.name: list(array_records(file)) for file in sorted(folder.glob(pattern))}


def test_the_checksum_is_that_of_the_crc_catalogue_masked():
    crc = 0xE3069283  # CRC-32C of these nine digits
    assert masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def test_records_that_another_program_wrote_are_read(tmp_path):
    records = [b"", b"a", b"b" * 100_000, bytes(range(256))]
    write_tfrecords(tmp_path / "x", records)
    assert list(tfrecords(tmp_path / "x")) == records


def test_a_data_set_is_copied_beside_its_tfrecords_and_the_source_opens_it(tfrecord):
    assert "scaling data convert" in specks(tfrecord.parents[1]).problem()
    done = convert_prepared(tfrecord, None, quiet)
    assert (done.folder, done.files, done.records) == (tfrecord, 4, 36)
    source = specks(tfrecord.parents[1])
    assert source.problem() is None
    images, labels = source.train().batch(np.arange(30))
    written = {pixels(i).tobytes(): i for i in range(30)}
    found = [written[image.tobytes()] for image in images]
    assert sorted(found) == list(range(30))
    np.testing.assert_array_equal(labels, np.array(found) % 3)


def test_every_record_is_the_same_bytes_in_the_same_file(tfrecord):
    convert_prepared(tfrecord, None, quiet)
    for name, copied in records_of(tfrecord).items():
        source = tfrecord / name.replace("array_record", "tfrecord")
        assert copied == list(tfrecords(source))


def test_a_copy_elsewhere_carries_the_description_and_stands_alone(tfrecord, tmp_path):
    done = convert_prepared(tfrecord, tmp_path / "new", quiet)
    assert done.folder == tmp_path / "new" / "specks" / "1.0.0"
    shutil.rmtree(tfrecord)
    source = specks(tmp_path / "new")
    assert source.problem() is None
    assert (source.classes, source.train().size) == (3, 30)
    assert json.loads((done.folder / "dataset_info.json").read_text())["fileFormat"] == (
        "array_record"
    )
    assert (done.folder / "label.labels.txt").read_text().split() == ["ant", "bee", "cat"]


def test_a_killed_conversion_goes_on_with_the_files_that_are_left(tfrecord, monkeypatch):
    copied = []

    def killed_at_the_third(target, records):
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(target.name)
        return write_shard(target, records)

    monkeypatch.setattr(convert, "write_shard", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        convert_prepared(tfrecord, None, quiet)
    assert "array_record" not in (tfrecord / "dataset_info.json").read_text()
    again = []
    monkeypatch.setattr(convert, "write_shard", write_shard)
    assert convert_prepared(tfrecord, None, again.append).records == 36
    assert len(again) == 2
    assert not any(name in line for name in copied for line in again)
    assert not list(tfrecord.glob(".*.part"))


def test_a_conversion_that_is_done_is_not_done_again(tfrecord):
    convert_prepared(tfrecord, None, quiet)
    again = []
    convert_prepared(tfrecord, None, again.append)
    assert again == []


def test_a_file_that_has_changed_since_is_copied_again(tfrecord):
    convert_prepared(tfrecord, None, quiet)
    source = tfrecord / "specks-train.tfrecord-00001-of-00003"
    records = list(tfrecords(source))[::-1]
    write_tfrecords(source, records)
    convert_prepared(tfrecord, None, quiet)
    assert records_of(tfrecord)["specks-train.array_record-00001-of-00003"] == records


def test_what_comes_back_otherwise_from_the_disk_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "read_back", lambda file: shards.Shard(2, 2, "another"))
    with pytest.raises(UserError, match="2 records came back from the disk with another checksum"):
        write_shard(tmp_path / "x", [b"a", b"b"])
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_keeps_its_folder(tfrecord, tmp_path):
    info = json.loads((tfrecord / "dataset_info.json").read_text())
    (tfrecord / "dataset_info.json").write_text(json.dumps(info | {"configName": "large"}))
    done = convert_prepared(tfrecord, tmp_path / "new", quiet)
    assert done.folder == tmp_path / "new" / "specks" / "large" / "1.0.0"
    assert specks(tmp_path / "new", name="specks/large").train().size == 30


# Bad input


@pytest.mark.parametrize("left", [5, 12, 20, -1, -4, -20])
def test_a_truncated_file_is_named_with_its_record_and_byte(tfrecord, left):
    source = tfrecord / "specks-train.tfrecord-00000-of-00003"
    source.write_bytes(source.read_bytes()[:left])
    number = "0 at byte 0" if left > 0 else r"9 at byte [\d_]+"
    with pytest.raises(UserError, match=rf"{source}, record {number}: the file is cut off"):
        convert_prepared(tfrecord, None, quiet)
    assert records_of(tfrecord) == {}
    assert "array_record" not in (tfrecord / "dataset_info.json").read_text()


def test_a_flipped_bit_of_a_record_is_named(tfrecord):
    source = tfrecord / "specks-test.tfrecord-00000-of-00001"
    contents = bytearray(source.read_bytes())
    (length,) = struct.unpack("<Q", contents[:8])
    contents[12 + length + 4 + 12 + 7] ^= 4  # in the second record
    source.write_bytes(contents)
    words = rf"{source}, record 1 at byte {16 + length:_}: its bytes have another checksum"
    with pytest.raises(UserError, match=words):
        convert_prepared(tfrecord, None, quiet)


def test_a_flipped_bit_of_a_length_reads_nothing_that_is_not_there(tmp_path):
    write_tfrecords(tmp_path / "x", [b"abc", b"def"])
    contents = bytearray((tmp_path / "x").read_bytes())
    contents[19 + 6] ^= 1  # the second record is now said to be 2**48 bytes longer
    (tmp_path / "x").write_bytes(contents)
    with pytest.raises(UserError, match="record 1 at byte 19: its length has another checksum"):
        list(tfrecords(tmp_path / "x"))


def test_a_length_beyond_the_file_is_not_believed_though_its_checksum_is_right(tmp_path):
    header = struct.pack("<Q", 2**60)
    (tmp_path / "x").write_bytes(header + struct.pack("<I", masked_crc(header)) + b"abc")
    with pytest.raises(UserError, match="is cut off, there are 3 bytes of 1_152_9"):
        list(tfrecords(tmp_path / "x"))


def test_a_compressed_file_is_said_to_be_one(tmp_path):
    (tmp_path / "x").write_bytes(b"\x1f\x8b\x08\x00" + bytes(100))
    with pytest.raises(UserError, match="is compressed; decompress it"):
        list(tfrecords(tmp_path / "x"))


def test_another_number_of_records_than_the_description_has_is_refused(tfrecord):
    source = tfrecord / "specks-train.tfrecord-00002-of-00003"
    write_tfrecords(source, list(tfrecords(source))[:-1])
    with pytest.raises(
        UserError, match=r"00002-of-00003: 9 records, and dataset_info.json says 10"
    ):
        convert_prepared(tfrecord, None, quiet)
    assert not (tfrecord / "specks-train.array_record-00002-of-00003").exists()


def test_missing_files_are_all_named_before_anything_is_written(tfrecord, tmp_path):
    for name in ("specks-train.tfrecord-00000-of-00003", "specks-test.tfrecord-00000-of-00001"):
        (tfrecord / name).unlink()
    with pytest.raises(UserError) as wrong:
        convert_prepared(tfrecord, tmp_path / "new", quiet)
    assert len(wrong.value.mistakes) == 2
    assert not (tmp_path / "new").exists()


def test_what_is_no_prepared_data_set_is_said(tmp_path):
    with pytest.raises(UserError, match=r"has no dataset_info\.json"):
        convert_prepared(tmp_path, None, quiet)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", '{"fileFormat": "tfrecord", "splits": [1]}'),
        '{"fileFormat": "tfrecord", "splits": [{"name": "a", "shardLengths": ["x"]}]}',
        '{"fileFormat": "tfrecord", "splits": [{"name": "a", "shardLengths": ["1"]}]}',
    ],
)
def test_a_damaged_description_is_said(tfrecord, text):
    (tfrecord / "dataset_info.json").write_text(text)
    with pytest.raises(UserError, match="is not as TFDS >= 4 writes it"):
        convert_prepared(tfrecord, None, quiet)


@pytest.mark.parametrize("name", ["../../other", "/etc/x", "a/b"])
def test_a_description_cannot_name_files_elsewhere(tfrecord, tmp_path, name):
    info = json.loads((tfrecord / "dataset_info.json").read_text())
    (tfrecord / "dataset_info.json").write_text(json.dumps(info | {"name": name}))
    with pytest.raises(UserError, match="that is not in its folder"):
        convert_prepared(tfrecord, tmp_path / "new", quiet)
    assert not (tmp_path / "new").exists()


def test_another_format_is_not_converted(tfrecord):
    info = json.loads((tfrecord / "dataset_info.json").read_text())
    (tfrecord / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "riegeli"}))
    with pytest.raises(UserError, match="is prepared as riegeli, not as tfrecord"):
        convert_prepared(tfrecord, None, quiet)
