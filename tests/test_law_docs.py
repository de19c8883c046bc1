"""What docs/laws shows is what fit-laws does: every command there runs, and every link leads on."""

import re
import shlex
from pathlib import Path

import pytest

from fits.fit_laws import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [
    DOCS / "laws" / f"{name}.md"
    for name in ("provenance", "average", "compare", "next", "optimal", "pools", "race")
]
LINKED = [
    *PAGES,
    DOCS / "laws" / "README.md",
    DOCS / "laws" / "fitting.md",
    DOCS / "laws" / "tables.md",
]


SHOWN = re.compile(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands():
    found = []
    for typed, printed in (block for page in PAGES for block in SHOWN.findall(page.read_text())):
        line = typed.replace("\\\n", " ").strip()
        if line.startswith("fit-laws") and "\n" not in line:
            slow = line.split()[1] in {"compare", "optimal"}  # 20 s
            found.append(
                pytest.param(
                    line,
                    printed,
                    id=" ".join(line.split()[:3]),
                    marks=[pytest.mark.slow] if slow else [],
                )
            )
    return found


def numbers(text):
    return [float(each) for each in re.findall(r"(?<![\w.])-?\d+\.\d+(?:e[+-]\d+)?", text)]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "shown"), commands())
def test_a_command_shown_prints_what_is_shown(line, shown, tmp_path, monkeypatch, capsys):
    """The same words, and numbers within what another machine's rounding may do."""
    for folder in ("docs", "notebooks"):
        (tmp_path / folder).symlink_to(DOCS.parent / folder)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)[1:]
    if "--plot" in words:
        words[words.index("--plot") + 1] = "figure.png"
        shown = re.sub(r"written: \S+\.png", "written: figure.png", shown)
    if words == ["check", "law.json"]:
        main(shlex.split("notebooks/zhai2022_inet10.csv --x core_days --y error --save law.json"))
        capsys.readouterr()
    assert main(words) == 0
    printed = capsys.readouterr().out.rstrip() + "\n"
    assert numbers(printed) == pytest.approx(numbers(shown), rel=0.02)
    assert re.sub(r"[\d.e+-]+|\s+", "", printed) == re.sub(r"[\d.e+-]+|\s+", "", shown)


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.stem)
def test_every_file_linked_is_there(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    for target in targets:
        assert (page.parent / target).exists(), target


@pytest.mark.slow
def test_the_python_that_is_shown_prints_what_the_command_prints(monkeypatch, capsys):
    monkeypatch.chdir(DOCS.parent)
    (block,) = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "laws" / "fitting.md").read_text(), re.M | re.S
    )
    exec(block, {})  # the page is a file of this repository
    shown = re.findall(r"^\S+ = .*", capsys.readouterr().out, re.M)
    command = (
        "notebooks/zhai2022_inet10.csv --x core_days --y error --law saturating --predict 100000"
    )
    assert main(shlex.split(command)) == 0
    printed = " ".join(capsys.readouterr().out.split()).replace("E(1e+05)", "E(100000)")
    assert len(shown) >= 5
    for line in shown:
        assert " ".join(line.split()) in printed
