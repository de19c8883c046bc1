"""Places of keys and values in TOML, against text whose lines are known."""

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st
from toml_text import toml

from scaling.study.toml_lines import lines

# Characters that mean something to TOML, and some that do not.
TEXT = st.text(alphabet="ab \\\"'[]{}#=,.\n-é1", max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_key_and_element_stands_where_it_was_written(value):
    text, expected = toml(value)
    tomllib.loads(text)
    assert lines(text) == expected


def test_tables_belong_to_the_list_element_above_them():
    text = """# a comment with a [table] = 3

[[grid]]
model = "a"   # line 4

[grid.recipe]
rate = -1.5e-3

[[grid]]
when = 1979-05-27 07:32:00
[ a . "b.c" ]
x.y = 1
"""
    assert tomllib.loads(text)["grid"][1].keys() == {"when"}
    found = lines(text)
    assert found["grid", 0, "model"] == 4
    assert found["grid", 0, "recipe"] == 6
    assert found["grid", 0, "recipe", "rate"] == 7
    assert found["grid", 1] == 9
    assert found["grid", 1, "when"] == 10
    assert found["a", "b.c", "x", "y"] == 12


def test_text_of_several_lines_is_one_value():
    quotes = '"""'
    text = f"a = {quotes}\n[no.table]\nb = 3 \\\"{quotes}\"\nc = '''x'\n''y'''\nd = ''\ne = 1\n"
    assert tomllib.loads(text).keys() == {"a", "c", "d", "e"}
    assert lines(text) == {("a",): 1, ("c",): 4, ("d",): 6, ("e",): 7}


def test_windows_line_ends_count_as_one():
    assert lines("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}
