"""Where in a TOML document each key and each list element stands.

`tomllib` gives values without places; a mistake in a study file should come with its line. Only
for text that `tomllib` has accepted: the grammar is not checked a second time.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the top of the document, as in ("grid", 0, "model", 2)."""

TOKEN = re.compile(
    r'''(?P<skip>[ \t\r]+|\#[^\n]*)
    |(?P<text>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')
    |(?P<word>[\w-]+)
    |(?P<mark>.)''',
    re.DOTALL | re.VERBOSE,
)


class Token(NamedTuple):
    kind: str
    text: str
    line: int


def lines(toml: str) -> dict[KeyPath, int]:
    """Line, from 1, of every table, key and list element of a valid TOML document."""
    return _Scanner(toml).document()


class _Scanner:
    """Reads tokens from left to right and notes where each path begins."""

    def __init__(self, toml: str):
        self.tokens = list(_tokens(toml))
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.elements: dict[KeyPath, int] = {}  # of each [[list of tables]] so far

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self.peek().kind != "end":
            if self.skip("\n"):
                continue
            if self.skip("["):
                table = self.header()
            else:
                self.pair(table)
        return self.lines

    def header(self) -> KeyPath:
        """[a.b] or [[a.b]], its first bracket behind us. A key on the way may name a list."""
        many = self.skip("[")
        path: KeyPath = ()
        line = self.peek().line
        keys = self.keys()
        for i, key in enumerate(keys):
            path += (key,)
            self.lines.setdefault(path, line)
            if many and i == len(keys) - 1:
                self.elements[path] = self.elements.get(path, 0) + 1
            if path in self.elements:
                path += (self.elements[path] - 1,)
                self.lines.setdefault(path, line)
        self.skip("]")
        self.skip("]")
        return path

    def pair(self, table: KeyPath) -> None:
        """key = value, where the key may be dotted."""
        line = self.peek().line
        for key in self.keys():
            table += (key,)
            self.lines.setdefault(table, line)
        self.skip("=")
        self.value(table)

    def keys(self) -> list[str]:
        keys = [self.key()]
        while self.skip("."):
            keys.append(self.key())
        return keys

    def key(self) -> str:
        token = self.next()
        return tomllib.loads(f"key = {token.text}")["key"] if token.kind == "text" else token.text

    def value(self, path: KeyPath) -> None:
        if self.skip("["):
            self.array(path)
        elif self.skip("{"):
            while not self.skip("}"):
                if not (self.skip(",") or self.skip("\n")):
                    self.pair(path)
        else:  # a scalar: several tokens where it is a float or a date
            while self.peek().kind != "end" and self.peek().text not in ("\n", ",", "]", "}"):
                self.next()

    def array(self, path: KeyPath) -> None:
        index = 0
        while not self.skip("]"):
            if self.skip("\n") or self.skip(","):
                continue
            self.lines[(*path, index)] = self.peek().line
            self.value((*path, index))
            index += 1

    def peek(self) -> Token:
        return self.tokens[self.at]

    def next(self) -> Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def skip(self, mark: str) -> bool:
        found = self.peek().kind == "mark" and self.peek().text == mark
        self.at += found
        return found


def _tokens(toml: str) -> Iterator[Token]:
    line = 1
    for match in TOKEN.finditer(toml):
        text = match.group()
        if match.lastgroup != "skip":
            yield Token(match.lastgroup or "", text, line)
        line += text.count("\n")
    yield Token("end", "", line)
