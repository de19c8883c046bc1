"""WebDataset's tar archives, read in any order; what is cut off or alone is named."""

import io
import tarfile

import numpy as np
import pytest
from captions import Captions
from PIL import Image

from fits.base.errors import UserError
from scaling.data.around.hierarchy import Hierarchy
from scaling.data.around.part import members as part_of
from scaling.data.around.subset import Selection, Subset
from scaling.data.files import tar_members as tar_module
from scaling.data.files.tar_members import tar_members
from scaling.data.loader import batches
from scaling.data.order import subset
from scaling.data.pixels.decode import UnreadableImages
from scaling.data.source import Captioned
from scaling.data.webdataset.index import index_of
from scaling.data.webdataset.source import WebDataset, WebDatasetRecords
from scaling.data_check import check_all_images


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index_of.cache_clear()
    return tmp_path / "cache" / "vit-scaling-laws"


def pixels(i):
    return np.random.default_rng(i).integers(0, 256, (6, 6, 3)).astype(np.uint8)


def png(i):
    stream = io.BytesIO()
    Image.fromarray(pixels(i)).save(stream, "png")
    return stream.getvalue()


def members(numbers, label=lambda i: i % 3):
    """As WebDataset's own writer orders them: a key's members beside each other."""
    for i in numbers:
        yield f"n01/{i:06d}.png", png(i)
        yield f"n01/{i:06d}.cls", str(label(i)).encode()
        yield f"n01/{i:06d}.json", b"{}"


def write(file, contents, form=tarfile.GNU_FORMAT):
    with tarfile.open(file, "w", format=form) as tar:
        for name, data in contents:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def root(tmp_path):
    """20 images to learn from in two archives, 5 to measure on."""
    for n in range(2):
        write(tmp_path / f"train-{n:04d}.tar", members(range(10 * n, 10 * n + 10)))
    write(tmp_path / "test-0000.tar", members(range(100, 105)))
    return tmp_path


def source(root, **fields):
    shards = {
        "train_shards": f"{root}/train-{{0000..0001}}.tar",
        "heldout_shards": f"{root}/test-*.tar",
    }
    return WebDataset(**shards | {"classes": 3, "resolution": 6} | fields)


def test_every_image_comes_back_with_its_label(root):
    found = source(root)
    assert found.problem() is None
    assert found.sizes() == (20, 5)
    images, labels = found.train().batch(np.arange(20))
    assert all((images[i] == pixels(i)).all() for i in range(20))
    assert labels.tolist() == [i % 3 for i in range(20)]
    images, labels = found.heldout().batch(np.array([4, 0]))
    assert (images[0] == pixels(104)).all()
    assert (images[1] == pixels(100)).all()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_every_kind_of_tar_and_long_names_are_read(root, form):
    contents = [(("x" * 90 if form else "x") + name, data) for name, data in members(range(5))]
    write(root / "test-0000.tar", contents, form)
    images, _ = source(root).heldout().batch(np.arange(5))
    assert (images[3] == pixels(3)).all()


def test_headers_are_read_once_a_machine(root, monkeypatch):
    source(root).train()
    index_of.cache_clear()
    monkeypatch.setattr("scaling.data.webdataset.index.tar_members", None)
    assert source(root).train().size == 20


def test_a_damaged_index_is_made_again(root, cache):
    source(root).train()
    index_of.cache_clear()
    for file in cache.glob("*.index.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert source(root).train().size == 20


def test_a_changed_archive_is_read_anew(root):
    source(root).train()
    write(root / "train-0001.tar", members(range(50, 57)))
    images = source(root).train()
    assert images.size == 17
    assert (images.batch(np.array([16]))[0][0] == pixels(56)).all()


def test_labels_may_have_another_ending(root):
    for name in ("train-0000", "train-0001", "test-0000"):
        contents = ((name.replace(".cls", ".Label"), data) for name, data in members(range(3)))
        write(root / f"{name}.tar", contents)
    assert source(root, label_key="label").problem() is None


# Bad input


@pytest.mark.parametrize("left", [0.2, 0.5, 0.7])
def test_an_archive_that_is_cut_off_in_the_middle_is_named(root, left):
    file = root / "train-0001.tar"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * left)])
    fault = source(root).fault()
    assert fault.key == "train_shards"
    assert f"{file} is cut off or damaged" in fault.words


def test_an_archive_that_is_cut_off_between_two_members_is_named_too(tmp_path):
    write(tmp_path / "x.tar", members(range(3)))
    ends = [m.offset + -(-m.size // 512) * 512 for m in tar_members(tmp_path / "x.tar")]
    (tmp_path / "x.tar").write_bytes((tmp_path / "x.tar").read_bytes()[: ends[2]])
    with pytest.raises(ValueError, match=r"is cut off or damaged at or after 'n01/000000.json'"):
        list(tar_members(tmp_path / "x.tar"))


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    write(tmp_path / "x.tar", members(range(3)))
    contents = bytearray((tmp_path / "x.tar").read_bytes())
    at = contents.index(b"n01/000001.cls")
    contents[at : at + 10] = b"\x01" * 10
    (tmp_path / "x.tar").write_bytes(contents)
    with pytest.raises(ValueError, match="is cut off or damaged"):
        list(tar_members(tmp_path / "x.tar"))


def test_a_member_of_negative_size_ends_the_reading(tmp_path):
    write(tmp_path / "x.tar", members(range(2)))
    contents = bytearray((tmp_path / "x.tar").read_bytes())
    contents[124:136] = b"\xff" * 8 + (2**32 - 1024).to_bytes(4, "big")  # -1024, in base 256
    checksum = sum(contents[:148]) + 8 * 32 + sum(contents[156:512])
    contents[148:156] = b"%06o\0 " % checksum
    (tmp_path / "x.tar").write_bytes(contents)
    with pytest.raises(ValueError, match=r"x\.tar"):
        list(tar_members(tmp_path / "x.tar"))


def test_a_compressed_archive_is_said_to_be_one(root):
    with tarfile.open(root / "test-0000.tar", "w:gz"):
        pass
    assert "test-0000.tar is compressed; decompress it" in source(root).problem()


@pytest.mark.parametrize(
    ("ending", "words"),
    [(".cls", "n01/000002.png: it has no .cls."), (".png", "n01/000002.cls: it has no image.")],
)
def test_lone_members_are_named_with_their_key(root, ending, words):
    contents = [(n, data) for n, data in members(range(4)) if n != f"n01/000002{ending}"]
    write(root / "test-0000.tar", contents)
    assert f"test-0000.tar: {words}" in source(root).problem()


def test_two_images_of_one_key_are_named(root):
    write(root / "test-0000.tar", [*members(range(2)), ("n01/000001.jpg", b"x")])
    said = "n01/000001.jpg: it is a second image of the key 'n01/000001'"
    assert said in source(root).problem()


@pytest.mark.parametrize("label", ["cat", "1.5", "9" * 30, "1 x", "{1}"])
def test_a_label_that_is_no_whole_number_is_named(root, label):
    write(root / "test-0000.tar", members(range(2), lambda i: label))
    said = "n01/000000.png: its .cls holds no class, a whole number from 0."
    assert said in source(root).problem()


def test_labels_beyond_the_classes_are_named(root):
    write(root / "test-0000.tar", members(range(10)))
    problem = source(root, classes=2).problem()
    assert (
        "train-0000.tar: n01/000002.png: its label is 2, and there are 2 classes, 0 .. 1" in problem
    )


def test_mistakes_of_all_archives_are_named_at_once(root):
    write(root / "train-0000.tar", members(range(10), lambda i: 7))
    write(root / "train-0001.tar", members(range(10), lambda i: "cat" if i < 2 else i % 3))
    lone = [each for each in members(range(3)) if each[0] != "n01/000001.png"]
    write(root / "test-0000.tar", [*lone, ("n01/000009.cls", b"dog"), ("n01/000009.png", b"")])
    (root / "test-0001.tar").write_bytes(b"hello" * 1000)
    write(root / "test-0002.tar", members(range(1), lambda i: -1))
    fault = source(root).fault()
    assert fault.key == "train_shards"
    lines = [line.replace(f"{root}/", "") for line in fault.words.splitlines()]
    assert lines[4:8] == [
        "train-0000.tar: n01/000004.png: its label is 7, and there are 3 classes, 0 .. 2.",
        "train-0000.tar: ... and 5 more.",
        "train-0001.tar: n01/000000.png: its .cls holds no class, a whole number from 0.",
        "train-0001.tar: n01/000001.png: its .cls holds no class, a whole number from 0.",
    ]
    whole = "12 keys of 20: correct or remove them, or leave so many out by skip_unreadable."
    assert f"train-{{0000..0001}}.tar, {whole}" in lines
    assert "test-0000.tar: n01/000009.png: its .cls holds no class, a whole number from 0." in lines
    assert "test-0000.tar: n01/000001.cls: it has no image." in lines
    assert any(line.startswith("test-0001.tar is no tar archive") for line in lines)
    assert "test-0002.tar: n01/000000.png: it has no label; use another split." in lines


def test_of_very_many_archives_the_first_are_named_and_the_others_counted(root):
    for n in range(25):
        write(root / f"test-{n:04d}.tar", members(range(1), lambda i: 9))
    lines = source(root).problem().splitlines()
    assert len(lines) == 22
    assert lines[-2] == "... and 5 more archives."
    assert "test-*.tar, 25 keys of 25: correct or remove them" in lines[-1]


def test_labels_are_read_without_the_images(root, monkeypatch):
    noise = np.random.default_rng(0).bytes(300_000)
    for n in range(2):
        contents = [
            (name, noise if name.endswith(".png") else data) for name, data in members(range(8))
        ]
        write(root / f"train-{n:04d}.tar", contents)
    read = []
    part = tar_module._Part.readinto
    monkeypatch.setattr(
        tar_module._Part,
        "readinto",
        lambda self, buffer: read.append(part(self, buffer)) or read[-1],
    )
    monkeypatch.setattr(WebDatasetRecords, "read", None)
    found = source(root)
    assert found.labels().tolist() == [i % 3 for i in range(8)] * 2
    assert found.train().labels_of(np.array([9, 2])).tolist() == [1, 2]
    assert sum(read) < 16 * 30_000, "a tenth of the images"
    some = Subset(of=found, select=Selection(classes=2))
    assert some.problem() is None
    assert some.sizes()[0] in (10, 12)


def test_missing_and_empty_archives_are_said(root):
    assert "there is no" in source(root, train_shards=f"{root}/train-{{0000..0002}}.tar").problem()
    assert "no file is named" in source(root, heldout_shards=f"{root}/x*.tar").problem()
    write(root / "test-0000.tar", [("README", b"x")])
    assert "holds no images" in source(root).problem()


def test_shards_to_learn_from_and_to_measure_on_must_differ():
    words = "train_shards and heldout_shards are both 'x.tar'"
    with pytest.raises(ValueError, match=words):
        WebDataset(train_shards="x.tar", heldout_shards="x.tar", classes=3, resolution=6)


def test_an_archive_of_both_sets_is_refused(root):
    both = source(root, heldout_shards=f"{root}/train-0001*")
    assert "train-0001.tar is one of train_shards too" in both.problem()


def test_images_that_cannot_be_decoded_are_named_and_may_be_skipped(root):
    contents = [(n, b"broken" if n == "n01/000005.png" else d) for n, d in members(range(10))]
    write(root / "train-0000.tar", contents)
    name = f"{root / 'train-0000.tar'}: n01/000005.png"
    with pytest.raises(UnreadableImages) as bad:
        source(root).check(print)
    assert list(bad.value.why) == [name]
    skipping = source(root, skip_unreadable=1)
    skipping.check(print)
    assert skipping.sizes() == (19, 5)
    assert skipping.train().batch(np.arange(19))[1].tolist() == [i % 3 for i in range(20) if i != 5]
    assert list(skipping.provenance()["train_skipped"]) == [name]


def test_an_archive_that_shrinks_while_it_is_read_is_named(root):
    images = source(root).train()
    (root / "train-0001.tar").write_bytes(b"")
    with pytest.raises(UnreadableImages, match=r"train-0001\.tar has 0 of its"):
        images.batch(np.array([3, 15]))


def test_all_images_of_a_source_within_another_are_checked_too(root):
    bad = ("n01/19.png", b"no"), ("n01/19.cls", b"0")
    write(root / "train-0001.tar", [*members(range(10, 19)), *bad])
    inner = source(root)
    (root / "parents.txt").write_text("0 1\n")
    some = Subset(of=inner, select=Selection(classes=2))
    for each in (inner, some, Hierarchy(of=inner, parents=root / "parents.txt")):
        train, heldout = check_all_images([each], print)
        assert (train.images, len(train.bad)) == (20, 1)
        assert (heldout.images, heldout.bad) == (5, {})


def captioned_members(numbers):
    for i in numbers:
        yield f"{i:06d}.png", png(i)
        yield f"{i:06d}.txt", f" image {i}, bunt und gr\u00fcn\n".encode()


@pytest.fixture
def pairs(tmp_path):
    """Images with captions and without labels."""
    for n in range(2):
        write(tmp_path / f"train-{n:04d}.tar", captioned_members(range(10 * n, 10 * n + 10)))
    write(tmp_path / "test-0000.tar", captioned_members(range(100, 105)))
    return tmp_path


PAIRS = {"classes": 1, "label_key": None, "caption_key": "txt"}


def test_pairs_of_image_and_caption_need_no_labels(pairs):
    found = source(pairs, **PAIRS)
    assert found.problem() is None
    assert found.captioned
    assert found.sizes() == (20, 5)
    images, labels = found.train().batch(np.arange(20))
    assert (images[13] == pixels(13)).all()
    assert not labels.any()
    assert found.train().captions_of(np.array([13, 0])) == [
        "image 13, bunt und gr\u00fcn",
        "image 0, bunt und gr\u00fcn",
    ]
    assert found.heldout().captions_of(np.array([4])) == ["image 104, bunt und gr\u00fcn"]


def test_without_the_key_there_are_no_captions(root):
    assert not source(root).captioned
    assert not isinstance(source(root).train(), Captioned)
    assert isinstance(source(root, caption_key="json").train(), Captioned)


def test_images_without_a_caption_are_named(pairs):
    words = source(pairs, **PAIRS | {"caption_key": "caption"}).problem()
    assert "train-0000.tar: 000000.png: it has no .caption." in words
    assert "train-0000.tar: ... and 5 more." in words


def test_a_caption_that_is_no_text_is_named(pairs):
    write(pairs / "test-0000.tar", [("a.png", png(1)), ("a.txt", b"\xff\xfe\xff")])
    with pytest.raises(UserError, match=r"test-0000.tar: a.png: its caption is not UTF-8"):
        source(pairs, **PAIRS).heldout().captions_of(np.array([0]))


def test_every_line_is_a_caption_where_the_source_says_so(pairs):
    write(pairs / "test-0000.tar", [("a.png", png(1)), ("a.txt", b"one \n\n two\n")])
    lines = source(pairs, **PAIRS, caption_lines=True)
    assert lines.heldout().captions_of(np.array([0])) == [("one", "two")]
    assert lines.captions(9, heldout=True) == [("one", "two")]
    whole = source(pairs, **PAIRS).heldout().captions_of(np.array([0]))
    assert whole == ["one \n\n two"]
    write(pairs / "test-0000.tar", [("a.png", png(1)), ("a.txt", b" \n ")])
    with pytest.raises(UserError, match=r"a.png: its captions have no line with a text"):
        source(pairs, **PAIRS, caption_lines=True).heldout().captions_of(np.array([0]))
    with pytest.raises(ValueError, match="there are none; give caption_key"):
        source(pairs, caption_lines=True)


def test_which_caption_is_shown_is_a_function_of_seed_step_and_row(pairs):
    """Whatever the hosts, and as often one as another."""
    for n in range(2):
        members = [
            (f"{i:06d}.{kind}", content)
            for i in range(10 * n, 10 * n + 10)
            for kind, content in (("png", png(i)), ("txt", f"{i} a\n{i} b\n{i} c".encode()))
        ]
        write(pairs / f"train-{n:04d}.tar", members)
    images = source(pairs, **PAIRS, caption_lines=True).train()

    def shown(seed=1, first=0, last=60, rows=None):
        def encode(texts):
            return np.array([[int(t.split()[0]), "abc".index(t.split()[1])] for t in texts])

        said = batches(
            images, seed=seed, batch=8, data_size=None, first_step=first, last_step=last,
            rows=rows, encode=encode,
        )  # fmt: skip
        return list(said)

    whole = shown()
    texts = np.concatenate([batch["text"] for batch in whole])
    counts = np.bincount(texts[:, 1], minlength=3)
    assert (np.abs(counts - 160) < 3 * np.sqrt(480 * 2 / 9)).all()
    halves = [shown(rows=np.arange(k, k + 4)) for k in (0, 4)]
    for one, *parts in zip(whole, *halves, strict=True):
        np.testing.assert_array_equal(one["text"], np.concatenate([x["text"] for x in parts]))
    (alone,) = shown(first=37, last=38)
    np.testing.assert_array_equal(alone["text"], whole[37]["text"])
    other = np.concatenate([batch["text"] for batch in shown(seed=2)])
    assert (other != texts).any()
    for batch in whole:  # the text is its image's
        np.testing.assert_array_equal(batch["text"][:, 0], subset(batch["index"].astype(int), 20))


def test_images_without_labels_are_of_one_class(pairs):
    with pytest.raises(ValueError, match="say classes = 1, not 3"):
        source(pairs, label_key=None)


def test_sources_around_hand_captions_on(root):
    of = source(root, caption_key="json")
    whole = of.train().captions_of(np.arange(20))
    assert whole == ["{}"] * 20
    assert Subset(of=of, select=Selection()).captioned
    part = part_of(of.train(), 3, 5)
    assert isinstance(part, Captioned)
    assert len(part.captions_of(np.arange(5))) == 5


def test_a_subset_s_captions_and_names_are_those_of_its_images(pairs):
    of = Captions(size=64)
    some = Subset.model_construct(of=of, select=Selection(classes=2, seed=3))
    names, images = some.class_names, some.train()
    assert len(names) == 2
    _, labels = images.batch(np.arange(images.size))
    said = images.captions_of(np.arange(images.size))
    assert all(names[label] in caption for label, caption in zip(labels, said, strict=True))


def test_a_manifest_tells_changed_captions(pairs):
    before = source(pairs, **PAIRS).provenance()["heldout_captions"]
    write(pairs / "test-0000.tar", [("a.png", png(1)), ("a.txt", b"another")])
    assert source(pairs, **PAIRS).provenance()["heldout_captions"] != before


def test_a_key_with_a_second_label_or_caption_is_named(tmp_path):
    write(tmp_path / "train-0000.tar", members(range(4)))
    twice = [*members(range(10, 13)), ("n01/000011.cls", b"0")]
    write(tmp_path / "test-0000.tar", twice)
    words = source(tmp_path, train_shards=f"{tmp_path}/train-*.tar").problem()
    assert f"{tmp_path}/test-0000.tar: n01/000011.png: it has two .cls." in words
    captions = [(f"{i}.{end}", png(i) if end == "png" else b"a") for i in range(3) for end in
                ("png", "txt")]  # fmt: skip
    write(tmp_path / "said.tar", [*captions, ("1.txt", b"b")])
    captioned = source(
        *(tmp_path,),
        train_shards=None,
        heldout_shards=f"{tmp_path}/said.tar",
        label_key=None,
        classes=1,
        caption_key="txt",
    )
    assert f"{tmp_path}/said.tar: 1.png: it has two .txt." in captioned.problem(to_train=False)


def test_an_image_whose_key_has_a_dot_is_named_and_not_passed_over(root):
    more = [("n01/a.v2.png", png(7)), ("n01/a.v2.cls", b"1"), ("n01/._a.png", b"of a desktop")]
    write(root / "test-0000.tar", [*members(range(100, 105)), *more])
    words = source(root).problem()
    assert "n01/a.v2.png: its key 'n01/a' ends at the first dot" in words
    assert source(root, skip_unreadable=1).heldout().size == 5


def test_other_views_of_a_key_that_has_its_image_are_passed_over(root):
    views = [("n01/000100.left.png", png(7)), ("n01/000100.right.png", png(8))]
    write(root / "test-0000.tar", [*members(range(100, 105)), *views])
    assert source(root).problem() is None
    assert source(root).heldout().size == 5


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_an_image_that_is_a_link_is_named_and_not_passed_over(root, kind):
    with tarfile.open(root / "test-0000.tar", "a") as tar:
        for end in ("png", "cls"):
            link = tarfile.TarInfo(f"n01/000200.{end}")
            link.type, link.linkname = kind, f"n01/000100.{end}"
            tar.addfile(link)
    words = source(root).problem()
    assert f"{root}/test-0000.tar: n01/000200.png: it is a link; write the archive with" in words
    assert "1 key of 6" in words
    assert source(root, skip_unreadable=1).heldout().size == 5
