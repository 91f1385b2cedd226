"""Odd characters, which any path or message may hold, escaped for people and for shells."""

from __future__ import annotations

import os
import shlex


def visible(text: str) -> str:
    """Return a text with control characters, and bytes that are not UTF-8, escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def visible_text(text: str) -> str:
    """Return a text of several lines, each safe to show."""
    return "\n".join(visible(line) for line in text.split("\n"))


def visible_lines(text: str) -> list[str]:
    """Return the lines of a text, escaped as by visible(), with spaces for tabs."""
    return [visible(line.replace("\t", " ")) for line in text.split("\n")]


def quoted(text: str) -> str:
    """Return a text quoted for a shell, so that it can be printed and pasted whatever it holds."""
    if text.isprintable():
        return shlex.quote(text)
    # $'...' of bash, ksh and zsh: the only form that holds a newline or a raw byte in one line.
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(plain)}'"
