"""The page of a study: what is in the file, and what a browser makes of it."""

import csv
import io
import json
import re
import subprocess
import sys
from html import unescape

import pytest
from chromium import chromium, needs_chromium
from finished_runs import a_run, a_study, finish, grid

from scaling.data.augment import Flip
from scaling.report import page_rows
from scaling.report.page import as_script
from scaling.report.report import report
from scaling.runs.held_run import hold_run
from scaling.runs.metrics_file import METRICS, MetricsLine
from scaling.runs.run_file import write_run_file

OWNED = "document.title='owned'"
EVIL = f'</script></pre><script>{OWNED}</script><img src=x onerror="{OWNED}">'


def write_curve(runs, run, lines=50):
    """A curve on which the loss is 5 at the start and falls as 1 / sqrt of images."""
    folder = runs / run.id
    folder.mkdir(parents=True, exist_ok=True)
    text = ""
    for k in range(1, lines + 1):
        images = 64 * k * max(1, run.images_seen // (64 * lines))
        line = MetricsLine(
            step=run.branch_step + k,
            images_seen=images,
            loss=5 * (images / 64) ** -0.5,
            learning_rate=0.1,
            gradient_norm=1.0,
            images_per_second=100.0,
            mfu=None,
            memory_bytes=None,
            seconds=float(k),
        )
        text += line.model_dump_json() + "\n"
    (folder / METRICS).write_text(text)


def fail(runs, study, run, why):
    write_run_file(runs / run.id, run, study.evaluate, print)
    with hold_run(runs / run.id) as folder:
        folder.fail(why)


def partial_study():
    """Three models, four durations, two data sizes, two seeds."""
    runs = [
        a_run(16 * 2**m, 640 * 2**t, size, seed)
        for m in range(3)
        for t in range(4)
        for size in (1000, None)
        for seed in range(2)
    ]
    return a_study(runs, name="part")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of a study with all but four runs done; of those one failed and one has a curve."""
    folder = tmp_path_factory.mktemp("page")
    study = partial_study()
    *done, failed, going, _, _ = study.runs
    for run in done:
        finish(folder / "runs", study, run)
        write_curve(folder / "runs", run)
    fail(folder / "runs", study, failed, EVIL)
    write_run_file(folder / "runs" / going.id, going, study.evaluate, print)
    write_curve(folder / "runs", going, 20)
    report(study, folder / "runs", folder / "out")
    return folder / "out" / "part.html"


def embedded(page, name):
    """Text of an element that holds data."""
    found = re.search(rf'<pre id="{name}" hidden>\n(.*?)</pre>', page.read_text(), re.DOTALL)
    return unescape(found[1])


def words(page):
    """What a person reads, without charts."""
    text = page.read_text().partition("<main>")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


@pytest.mark.slow
def test_the_table_in_the_page_has_each_run_once_with_its_numbers_and_its_curve(page):
    rows = list(csv.DictReader(io.StringIO(embedded(page, "csv"))))
    study = partial_study()
    assert [row["run"] for row in rows] == [run.id for run in study.runs]
    assert [row["state"] for row in rows[-4:]] == ["failed", "waiting", "waiting", "waiting"]
    assert all(row["upstream_error"] and row["digits_5shot_error"] for row in rows[:-4])
    assert not any(row["upstream_error"] for row in rows[-4:])
    curve = [pair.split(":") for pair in rows[-3]["curve"].split()]
    assert len(curve) == 20
    for images, loss in curve:
        assert float(loss) == pytest.approx(5 * (int(images) / 64) ** -0.5, rel=1e-3)


@pytest.mark.slow
def test_the_page_says_in_words_what_the_charts_show(page):
    said = words(page)
    assert "Provisional: fitted to 44 of 48 runs." in said
    assert "Law saturating: E(x) = " in said
    assert re.search(r"floor 0\.1 \[0\.1, 0\.1\]", said)
    assert EVIL in unescape(page.read_text())
    assert re.search(r"all 48 44 \S+ \S+ [\d.]+ % not known not known", said)
    assert "3 others wait" in said
    assert re.search(r"fit: law saturating", said)


@pytest.mark.slow
def test_text_from_a_run_is_nowhere_in_the_page_as_html(page):
    scripts = re.compile(r"<script>.*?</script>", re.DOTALL)
    assert len(scripts.findall(page.read_text())) == 2
    rest = scripts.sub("", page.read_text())
    assert OWNED not in rest
    for tag in ("<script", "</script", "<img"):
        assert tag not in rest


@pytest.mark.slow
def test_the_page_may_run_its_own_two_scripts_and_load_nothing(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.read_text())[1]
    rules = dict(rule.strip().split(" ", 1) for rule in unescape(policy).split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert re.fullmatch(r"'sha256-\S{44}' 'sha256-\S{44}'", rules["script-src"])


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [600, 1280])
def test_in_a_browser_the_charts_are_drawn_and_a_malicious_reason_does_nothing(
    page, tmp_path, width
):
    with chromium(tmp_path, width) as browser:
        browser.open(page)
        points = "document.querySelectorAll('#frontier-chart .mark-symbol.role-mark path').length"
        assert browser.value(points) >= 44
        assert (
            browser.value("document.querySelectorAll('#curves-chart .mark-line path').length") >= 45
        )
        assert browser.value("document.title") == "part: scaling report"
        assert browser.value("document.body.textContent.includes('owned')")  # as text
        assert "44 of 48 runs shown" in browser.value(
            "document.getElementById('shown').textContent"
        )
        assert not browser.troubles
        assert browser.requests == [page.as_uri()]
        wide = browser.value("document.documentElement.scrollWidth <= innerWidth")
        assert wide, "the page is wider than the window"


@needs_chromium
@pytest.mark.slow
def test_every_choice_can_be_made_with_the_keyboard_alone(page, tmp_path):
    with chromium(tmp_path) as browser:
        browser.open(page)
        count = browser.drawn()
        browser.tab_to("metric")
        assert (
            browser.value("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
        )
        browser.press("ArrowDown")
        count = browser.drawn(count)
        assert browser.value("document.getElementById('metric').value") == "digits_1shot_error"
        assert "digits 1shot error" in browser.text("frontier-chart")
        browser.tab_to("axis")
        browser.press("ArrowDown")
        count = browser.drawn(count)
        assert browser.value("document.getElementById('axis').value") == "images_seen"
        assert "Laws are fitted against FLOPs" in browser.text("shown")
        browser.tab_to("run")
        browser.press("ArrowDown")
        count = browser.drawn(count)
        first = partial_study().runs[0].id
        assert browser.value("document.querySelector('#picked dd').textContent") == first
        browser.tab_to("model")
        browser.press(" ")
        browser.drawn(count)
        assert "28 of 48 runs shown" in browser.text("shown")
        assert not browser.value(
            f"document.getElementById('table').textContent.includes('{first}')"
        )
        for region in ("Runs shown", "Provenance", "Plan and cost"):
            here = f"document.activeElement.getAttribute('aria-label') === '{region}'"
            for _ in range(200):
                if browser.value(here):
                    break
                browser.press("Tab")
            assert browser.value(here)


@needs_chromium
@pytest.mark.slow
def test_a_run_on_the_frontier_tells_its_facts_when_pointed_at_and_keeps_them_when_clicked(
    page, tmp_path
):
    cheapest = min(partial_study().runs, key=lambda run: run.flops)
    where = f"""(() => {{
      const points = [...document.querySelectorAll("#frontier-chart .mark-symbol.role-mark path")];
      const found = points.filter((p) => p.__data__.datum.flops === {cheapest.flops}).pop();
      const box = found.getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2, found.__data__.datum.run];
    }})()"""
    with chromium(tmp_path) as browser:
        browser.open(page)
        count = browser.drawn()
        x, y, run = browser.value(where)
        browser.point_at(x, y)
        told = browser.text("vg-tooltip-element")
        assert run in told
        assert "images seen" in told
        browser.point_at(x, y, click=True)
        browser.drawn(count)
        assert browser.value("document.getElementById('run').value") == run
        assert run in browser.text("picked")


LABELS = """[...document.querySelectorAll('#frontier-chart .role-axis-label')].map(
    (labels) => [...labels.querySelectorAll('text')].map((text) => text.textContent))"""


@needs_chromium
@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_within_less_than_a_decade_every_tick_of_an_axis_has_its_number(tmp_path):
    study = a_study([a_run(16, 640 * k) for k in (12, 13, 14, 15)], name="narrow")
    for run, error in zip(study.runs, (0.797, 0.7, 0.63, 0.566), strict=True):
        finish(tmp_path / "runs", study, run, {"upstream_error": error})
    report(study, tmp_path / "runs", tmp_path / "out")
    with chromium(tmp_path / "browser") as browser:
        browser.open(tmp_path / "out" / "narrow.html")
        x, y = browser.value(LABELS)
        assert browser.troubles == []
    assert len(x) >= 3
    assert len(y) >= 3
    assert all(x + y)


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_paper_in_light_and_in_dark(page, tmp_path, scheme):
    """Contrast of at least 4.5, as WCAG 2.2 asks of text (success criterion 1.4.3)."""
    contrast = """(() => {
      const light = (css) => {
        const [r, g, b] = css.match(/[\\d.]+/g).map((c) => c / 255)
          .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      const of = (e, name) => light(getComputedStyle(e)[name]);
      const words = "main p, th, td, label, a, dt, h2, .provisional";
      const texts = [...document.querySelectorAll(words)];
      const svg = [...document.querySelectorAll(".chart svg text")];
      const all = [...texts.map((e) => of(e, "color")), ...svg.map((e) => of(e, "fill"))];
      return Math.min(...all.map((c) => (Math.max(c, paper) + 0.05) / (Math.min(c, paper) + 0.05)));
    })()"""
    with chromium(tmp_path) as browser:
        browser.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        browser.open(page)
        assert browser.value("matchMedia('(prefers-color-scheme: dark)').matches") == (
            scheme == "dark"
        )
        assert browser.value(contrast) >= 4.5


@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_the_page_of_a_thousand_runs_is_under_2_mb(tmp_path, monkeypatch):
    runs = [
        a_run(16 * (1 + m), 640 * 2**t, size, seed)
        for m in range(10)
        for t in range(5)
        for size in (1000, 8000, None, 2000)
        for seed in range(5)
    ]
    study = a_study(runs, name="thousand")
    assert len(study.runs) == 1000
    for run in study.runs:
        finish(tmp_path / "runs", study, run)
        write_curve(tmp_path / "runs", run, 200)
    report(study, tmp_path / "runs", tmp_path / "out")
    page = tmp_path / "out" / "thousand.html"
    assert page.stat().st_size < 2e6
    rows = list(csv.DictReader(io.StringIO(embedded(page, "csv"))))
    assert all(len(row["curve"].split()) >= 10 for row in rows)


def test_a_thinned_curve_keeps_its_ends_and_is_even_on_a_logarithmic_axis():
    lines = [
        MetricsLine(
            step=k, images_seen=64 * k, loss=1 / k, learning_rate=0.1, gradient_norm=None,
            images_per_second=None, mfu=None, memory_bytes=None, seconds=1.0 * k,
        )
        for k in range(1, 10_001)
    ]  # fmt: skip
    found = [int(pair.split(":")[0]) // 64 for pair in page_rows.packed(lines, 20).split()]
    assert (found[0], found[-1]) == (1, 10_000)
    assert len(found) <= 20
    assert sum(step <= 100 for step in found) == pytest.approx(len(found) / 2, abs=3)


@pytest.mark.parametrize("value", ["7", None, True, float("nan"), float("inf"), -1, [1], {}])
def test_a_number_in_a_manifest_that_is_none_is_not_known(value):
    assert page_rows.number({"seconds": value}, "seconds") is None


def test_provenance_counts_the_runs_that_agree_and_survives_any_manifest():
    study = grid()
    deep = []
    for _ in range(500):
        deep = [deep]
    manifests = [{"versions": {"jax": "1"}}, {"versions": {"jax": "2"}}, {"versions": deep}]
    seen = {
        run.id: page_rows.Look("done", (), manifest, None)
        for run, manifest in zip(study.runs, [*manifests, {"versions": {"jax": "1"}}], strict=False)
    }
    found = {fact.name: fact.values for fact in page_rows.provenance(seen)}
    assert found["versions.jax"] == (("1", 2), ("2", 1))
    assert len(found) == 2


def test_a_script_cannot_end_its_element():
    text = as_script("a = '</script><!-- b';\r\n")
    assert "</script" not in text
    assert "<!--" not in text
    assert "\r" not in text


@pytest.mark.slow
def test_importing_the_report_loads_no_library_of_the_page():
    heavy = ["altair", "vl_convert", "jinja2"]
    script = f"import sys, scaling.report.report; print(sorted(set(sys.modules) & set({heavy})))"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_page_without_a_law_says_so(tmp_path):
    study = grid()
    for run in study.runs[:2]:
        finish(tmp_path, study, run)
    report(study, tmp_path, tmp_path / "out")
    page = tmp_path / "out" / "small.html"
    assert "No fit of 2 runs" in words(page)
    laws = json.loads(embedded(page, "facts"))["laws"]
    assert {law["why"] for parts in laws.values() for law in parts.values()} == {"there is no fit"}


def variants_study():
    """Half of the runs on mirrored images, which cost a tenth more of the error above the floor."""
    plain = grid().runs
    return a_study([*plain, *(run.model_copy(update={"augment": (Flip(),)}) for run in plain)])


@needs_chromium
@pytest.mark.slow
@pytest.mark.usefixtures("no_holdout")
def test_of_several_variants_the_law_of_the_chosen_one_is_drawn(tmp_path):
    study = variants_study()
    for run in study.runs:
        finish(tmp_path / "runs", study, run)
    report(study, tmp_path / "runs", tmp_path / "out")
    page = tmp_path / "out" / "small.html"
    laws = json.loads(embedded(page, "facts"))["laws"]
    assert list(laws["upstream_error"]) == ["augment=none", "augment=flip"]
    with chromium(tmp_path / "browser") as browser:
        browser.open(page)
        count = browser.drawn()
        assert "each subset or variant has its own; choose one" in browser.text("shown")
        browser.tab_to("part")
        browser.press(" ")
        browser.drawn(count)
        assert "20 of 40 runs shown" in browser.text("shown")
        assert "The law is not drawn" not in browser.text("shown")
