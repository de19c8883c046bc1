"""What a manifest says of the code that trained."""

import subprocess

import pytest

from scaling import manifest


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Somebody's own, in a folder of which the project is installed; gives a command of git."""

    def git(*words):
        names = ["-c", "user.name=x", "-c", "user.email=x@x"]
        subprocess.run(["git", *names, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "own.py").write_text("")
    git("add", "own.py")
    git("commit", "-m", "own")
    package = tmp_path / "venv" / "scaling"
    package.mkdir(parents=True)
    (package / "manifest.py").write_text("")
    monkeypatch.setattr(manifest, "__file__", str(package / "manifest.py"))
    return git


def test_the_revision_is_none_of_a_repository_that_does_not_hold_this_code(repository):
    assert manifest._revision() is None


def test_the_revision_is_that_of_the_repository_of_this_code(repository):
    repository("add", ".")
    repository("commit", "-m", "code")
    found = manifest._revision()
    assert found is not None
    assert int(found, 16)
