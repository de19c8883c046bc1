"""Text from files, made fit for a terminal: what is printed must not be able to drive it."""

from __future__ import annotations

KEPT = "\n\t"
CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]  # C0, DEL and C1: escape sequences begin with these
DIRECTIONS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # these reorder what a person reads
UNSEEN = [0xAD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF]  # by which names differ that look alike
_ESCAPED = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (*CONTROLS, *DIRECTIONS, *UNSEEN)
    if chr(code) not in KEPT
}


def printable(text: str) -> str:
    r"""The text with its control characters spelled out, as `\x1b`; newlines and tabs stay.

    Carriage returns are spelled out too: they overwrite what stands before them on the line.
    """
    return text.translate(_ESCAPED)
