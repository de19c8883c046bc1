"""Writes TOML for tests, and remembers the line of each key and element."""

import json


def toml(value):
    """A nested dict as TOML, list elements on lines of their own; also place -> line."""
    out, where = [], {}
    for key, item in value.items():
        _key(key, (), out, where)
        _write(item, (key,), out, where)
        out.append("\n")
    return "".join(out), where


def _key(key, path, out, where):
    where[(*path, key)] = 1 + "".join(out).count("\n")
    out.append(f"{json.dumps(key)} = ")


def _write(value, path, out, where):
    match value:
        case bool():
            out.append(str(value).lower())
        case int() | float():
            out.append(str(value))
        case str():
            out.append(json.dumps(value))
        case list():
            out.append("[ # a list\n")
            for i, item in enumerate(value):
                where[(*path, i)] = 1 + "".join(out).count("\n")
                _write(item, (*path, i), out, where)
                out.append(",\n")
            out.append("]")
        case dict():
            out.append("{ ")
            for n, (key, item) in enumerate(value.items()):
                out.append(", " if n else "")
                _key(key, path, out, where)
                _write(item, (*path, key), out, where)
            out.append(" }")
