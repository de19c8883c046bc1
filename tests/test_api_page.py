"""The API page and the docstrings it is made from."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_api_page_is_what_today_s_docstrings_say():
    spec = importlib.util.spec_from_file_location("make_api", DOCS / "make_api.py")
    make_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_api)
    assert (DOCS / "api.md").read_text(encoding="utf-8") == make_api.page() + "\n", (
        "A docstring has changed: python docs/make_api.py > docs/api.md"
    )
