"""Studies whose images are not on this machine, as where runs were copied to from a cluster."""

import pytest

from fits.base.errors import UserError
from scaling.study.parse import read_study

ABSENT = {
    "folder": 'kind = "folder", path = "nowhere"',
    "parquet": 'kind = "parquet", path = "nowhere"',
    "tfds": 'kind = "tfds", name = "nowhere", data_dir = "nowhere"',
    "arrays": 'kind = "arrays", path = "nowhere.npz"',
    "webdataset": 'kind = "webdataset", train_shards = "a.tar", heldout_shards = "b.tar", '
    "classes = 3",
}


@pytest.mark.parametrize("data", ABSENT.values(), ids=ABSENT)
def test_who_only_looks_at_results_need_not_have_the_images(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "s.toml"
    path.write_text(
        f"""
name = "s"
question = "How much?"
data = {{ {data}, resolution = 16 }}
recipe = {{ warmup_steps = 1 }}
evaluate = [{{ kind = "upstream" }}]
grid = [{{ model = ["a"], images_seen = [640, 1280], batch = 64 }}]

[models]
a = {{ patch = 8, width = 8, depth = 1, mlp = 32, heads = 1 }}
"""
    )
    assert len(read_study(path, data_needed=False).runs) == 2
    with pytest.raises(UserError, match=r"nowhere|a\.tar"):
        read_study(path)
