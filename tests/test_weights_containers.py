"""Files of arrays: what is written is read, what is damaged is said, memory stays in bounds."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from weights_cases import GAP, assert_same, random_params

from models.weights import npz, safetensors
from models.weights.containers import opened
from models.weights.reading import read
from models.weights.safetensors import DTYPES, table
from models.weights.tensors import FLOATS, Spec, Unusable, pieces
from models.weights.writing import write

MIB = 2**20


def written(path, arrays, metadata=None):
    container = npz if path.suffix == ".npz" else safetensors
    specs = {name: Spec(array.shape, array.dtype) for name, array in arrays.items()}
    container.write(path, specs, arrays.__getitem__, metadata or {})
    return path


# What is written is read


@pytest.mark.parametrize("extension", [".npz", ".safetensors"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (1, 1, 2, 3, 2)])
def test_arrays_of_every_type_and_shape_come_back(tmp_path, extension, dtype, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(FLOATS[dtype])
    with opened(written(tmp_path / f"a{extension}", {"x": array, "y/z": array.T})) as file:
        assert file.specs == {
            "x": Spec(shape, FLOATS[dtype]),
            "y/z": Spec(shape[::-1], FLOATS[dtype]),
        }
        for name, wanted in (("x", array), ("y/z", array.T)):
            found = file.read(name)
            np.testing.assert_array_equal(found, wanted)
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)


def test_numpy_reads_what_is_written_and_the_same_weights_are_the_same_bytes(tmp_path):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "c": np.ones(2, "f4")}
    path = written(tmp_path / "a.npz", arrays)
    found = np.load(path, allow_pickle=False)
    assert found.files == ["a/b", "c"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert path.read_bytes() == written(tmp_path / "b.npz", arrays).read_bytes()


def test_a_safetensors_is_a_length_a_table_and_the_bytes(tmp_path):
    arrays = {"b": np.arange(3, dtype="f4"), "a": np.ones((1, 2), ml_dtypes.bfloat16)}
    whole = written(tmp_path / "a.safetensors", arrays, {"format": "pt"}).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    assert length % 8 == 0
    assert json.loads(whole[8 : 8 + length]) == {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        "a": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [12, 16]},
    }
    assert whole[8 + length :] == arrays["b"].tobytes() + arrays["a"].tobytes()


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)),
    st.integers(1, 64),
)
def test_pieces_are_the_bytes_in_order_whatever_their_size(array, size):
    with mock.patch("models.weights.tensors.PIECE", size):
        found = list(pieces(array.T, np.dtype("f4")))
    assert b"".join(found) == np.ascontiguousarray(array.T).tobytes()
    assert all(len(piece) <= max(size, 4) for piece in found)


# The table of a safetensors

ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPES, "F8", 3]),
        "shape": st.lists(st.integers(-1, 4), max_size=3) | st.none(),
        "data_offsets": st.lists(st.integers(-2, 60), min_size=1, max_size=3),
    }
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRIES | JSON)


@pytest.mark.slow
@given(
    st.binary(max_size=60) | (TABLES | JSON).map(lambda x: json.dumps(x).encode()),
    st.integers(0, 99),
)
def test_any_table_is_understood_or_refused_and_never_points_outside(text, size):
    try:
        specs, places, _ = table(text, size)
    except ValueError:
        return
    filled = sorted((places[name], places[name] + spec.bytes) for name, spec in specs.items())
    ends = [0, *(end for _, end in filled)]
    assert [begin for begin, _ in filled] == ends[:-1]
    assert ends[-1] == size


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(list(DTYPES)), st.lists(st.integers(0, 5), max_size=4)),
        max_size=6,
    )
)
def test_every_right_table_is_understood(wanted):
    end, said = 0, {}
    for name, (dtype, shape) in wanted.items():
        size = int(np.prod(shape, dtype=int)) * DTYPES[dtype].itemsize
        said[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    specs, places, _ = table(json.dumps(said).encode(), end)
    assert specs == {name: Spec(tuple(s), DTYPES[d]) for name, (d, s) in wanted.items()}
    assert places == {name: said[name]["data_offsets"][0] for name in said}


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"a": entry(offsets=(0, 4))}, r"a is \[2\] float32: 8 bytes, but 4 are given"),
        ({"a": entry(offsets=(4, 12))}, "a begins at byte 4, but 0 is next"),
        ({"a": entry(), "b": entry(offsets=(4, 12))}, "b begins at byte 4, but 8 is next"),
        ({"a": entry(shape=(3,), offsets=(0, 12))}, "take 12 bytes, 8 are there: it is cut short"),
        ({"a": entry(dtype="F8_E4M3")}, "a has dtype 'F8_E4M3'; known are F64, F32"),
        ({"a": entry(shape=(-2,), offsets=(0, -8))}, "cannot be"),
        ({"a": entry(shape=(True, 2))}, "cannot be"),
        ({"a": {"dtype": "F32"}}, "a does not say dtype, shape and data_offsets"),
        ({"__metadata__": {"a": 1}}, "__metadata__ is not a table of texts"),
        ([], "not a JSON object"),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_words(said, words):
    with pytest.raises(ValueError, match=words):
        table(json.dumps(said).encode(), 8)


def test_a_name_that_stands_twice_in_a_table_is_refused():
    text = json.dumps({"a": entry(), "b": entry()}).replace('"b"', '"a"')
    with pytest.raises(ValueError, match="names something twice"):
        table(text.encode(), 8)


# What is damaged


@pytest.mark.parametrize("extension", [".npz", ".safetensors"])
def test_a_file_cut_short_anywhere_is_said_to_be_unusable(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    write(path, random_params(GAP, 5), GAP)
    whole = path.read_bytes()
    for keep in np.linspace(0, len(whole) - 1, 25, dtype=int):
        path.write_bytes(whole[:keep])
        with pytest.raises(Unusable, match=rf"^.*a\{extension}"):
            read(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_no_flipped_byte_of_an_npz_is_read_as_other_numbers(tmp_path, compressed):
    params = random_params(GAP, 5)
    write(tmp_path / "a.npz", params, GAP)
    if compressed:
        np.savez_compressed(tmp_path / "a.npz", **dict(np.load(tmp_path / "a.npz")))
    whole = (tmp_path / "a.npz").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(120):
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        (tmp_path / "b.npz").write_bytes(flipped)
        try:
            _, found = read(tmp_path / "b.npz")
        except Unusable:
            refused += 1
        else:
            assert_same(found, params)
    assert refused > 60


def test_pickled_objects_are_not_read_and_no_code_runs(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "a.npz", params=np.array([Trap()], object))
    with pytest.raises(Unusable, match="params is a pickled Python object, which could run code"):
        read(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x04.")
    with pytest.raises(Unusable, match=r"PyTorch's own format, a pickle, .*Save .* as \.safeten"):
        read(tmp_path / "b.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "head", ["(((", "'''", "{[]: 1}", "{1: 2, 'shape': 3}", "-" * 5000 + "1", "{'descr': '|O'"]
)
def test_a_head_of_an_array_that_is_no_head_is_said_to_be_damaged(tmp_path, head):
    begin = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", begin + head.encode())
    with pytest.raises(Unusable, match=r"a\.npz: x cannot be read \(.*damaged or cut short"):
        read(tmp_path / "a.npz")


def test_a_file_under_the_wrong_name_is_said_to_be_what_it_is(tmp_path):
    write(tmp_path / "a.npz", random_params(GAP, None), GAP)
    write(tmp_path / "b.safetensors", random_params(GAP, None), GAP)
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.npz").read_bytes())
    (tmp_path / "d.npz").write_bytes((tmp_path / "b.safetensors").read_bytes())
    np.save(tmp_path / "e.npy", np.zeros(3))
    (tmp_path / "e.npy").rename(tmp_path / "e.npz")
    (tmp_path / "f.npz").write_bytes(b"\x80\x04\x95")
    (tmp_path / "g.safetensors").write_bytes(b"")
    for name, words in [
        ("c.safetensors", "begins like a zip archive"),
        ("d.npz", "begins like a .safetensors"),
        ("e.npz", "begins like a single NumPy array"),
        ("f.npz", "begins like a Python pickle, which could run code"),
        ("g.safetensors", "cut short: it begins with no table"),
    ]:
        with pytest.raises(Unusable, match=words):
            read(tmp_path / name)
    with pytest.raises(Unusable, match=r"b\.pt does not end in"):
        read(tmp_path / "b.pt")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing.npz")


def test_a_zip_that_claims_to_grow_beyond_what_deflate_can_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", bytes(5 * MIB))
    with pytest.raises(Unusable, match="5_242_880 bytes cannot have been so small"):
        read(tmp_path / "a.npz")


def test_an_array_that_stands_twice_in_a_zip_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(Unusable, match=r"a\.npz holds x twice"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("extension", [".npz", ".safetensors"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, extension):
    path = written(tmp_path / f"a{extension}", {"x": np.ones(3)})
    old = path.read_bytes()

    def fail(name):
        raise MemoryError

    container = npz if extension == ".npz" else safetensors
    with pytest.raises(MemoryError):
        container.write(path, {"x": Spec((3,), FLOATS["float32"])}, fail, {})
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("extension", [".npz", ".safetensors"])
def test_a_file_that_cannot_be_made_is_called_by_its_own_name(tmp_path, extension):
    path = tmp_path / "nowhere" / f"a{extension}"
    with pytest.raises(FileNotFoundError) as error:
        write(path, random_params(GAP, None), GAP)
    assert error.value.filename == str(path)


def test_a_link_is_written_through(tmp_path):
    old = written(tmp_path / "real.npz", {"x": np.ones(3)})
    (tmp_path / "a.npz").symlink_to(old)
    written(tmp_path / "a.npz", {"x": np.zeros(3)})
    assert (tmp_path / "a.npz").is_symlink()
    np.testing.assert_array_equal(np.load(old)["x"], np.zeros(3))


# Memory

PEAK = """
import sys
from pathlib import Path
import models.weights.reading, models.weights.writing, scaling.zoo.convert
from models.weights.facts import About

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

before = peak()
if sys.argv[2] == "read":
    params = models.weights.reading.read(sys.argv[1])
else:
    scaling.zoo.convert.convert(
        Path(sys.argv[1]), Path(sys.argv[2]), to=None, shape=None, resolution=None,
        given=About(), dtype=None, dry_run=False,
    )
print(peak() - before)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """76 MiB, most of it in three stacked arrays: the hardest case for reading one at a time."""
    folder = tmp_path_factory.mktemp("large")
    shape = replace(GAP, patch=16, resolution=224, width=640, depth=4, mlp=2560, heads=8)
    params = random_params(shape, 1000)
    write(folder / "a.npz", params, shape, "big_vision-scan")
    write(folder / "a.safetensors", params, shape, "timm")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's VmHWM")
@pytest.mark.parametrize(
    ("source", "target"),
    [("a.npz", "read"), ("a.npz", "b.safetensors"), ("a.safetensors", "b.npz")],
)
def test_reading_and_converting_need_at_most_a_fifth_more_memory_than_the_file(
    large, source, target
):
    words = [str(large / source), target if target == "read" else str(large / target)]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words], check=True, capture_output=True, text=True
    )
    peak, size = int(done.stdout.split()[-1]), (large / source).stat().st_size
    assert size > 70 * MIB
    assert peak < 1.2 * size, f"{peak / size:.2f} times the file"
