"""The end of what a program prints, and its lines that acknowledge something."""

from __future__ import annotations

import os
import re

#: Bytes at the end of a stream that are kept.
KEEP = 64 * 1024
#: Escapes of Python's codec unicode_escape.
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4})|([nrt\\]))", re.ASCII
)
_SHORT_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Tail:
    """The end of a stream: a program may print gigabytes.

    Args:
        pattern: of the lines that acknowledge something; "" for none.
        keep: how many bytes are kept.

    Attributes:
        matches: what the pattern matched, in order: its first group, or the whole match.
    """

    def __init__(self, pattern: str = "", keep: int = KEEP) -> None:
        self._keep = keep
        self._parts = bytearray()
        self._pattern = re.compile(pattern) if pattern else None
        self._line = b""
        self.matches: list[str] = []

    def drain(self, fd: int) -> bool:
        """Read what there is now; return False at the end of the stream."""
        while True:
            try:
                part = os.read(fd, 1 << 16)
            except BlockingIOError:
                return True
            if not part:
                return False
            self._parts += part
            if self._pattern is not None:
                self._match(self._pattern, part)
            if len(self._parts) > 2 * self._keep:
                del self._parts[: -self._keep]

    def _match(self, pattern: re.Pattern[str], part: bytes) -> None:
        *lines, line = (self._line + part).split(b"\n")
        self._line = line[:KEEP]  # a longer line acknowledges nothing
        for line in lines:
            found = pattern.search(line.decode(errors="surrogateescape"))
            if found is not None:
                value = found[1] if pattern.groups else found[0]
                if value is None:  # a group that did not take part in the match
                    continue
                self.matches.append(_unescaped(value) if "escaped" in pattern.groupindex else value)

    def text(self) -> str:
        """Return what is kept, undecodable bytes escaped."""
        return bytes(self._parts[-self._keep :]).decode(errors="backslashreplace")


def _unescaped(text: str) -> str:
    """Return a text with its escapes decoded; as it is if a decoded character cannot be encoded."""

    def character(match: re.Match[str]) -> str:
        return _SHORT_ESCAPES.get(match[4]) or chr(int(match[1] or match[2] or match[3], 16))

    plain = _ESCAPE.sub(character, text)
    try:
        os.fsencode(plain)
    except UnicodeEncodeError:
        return text
    return plain
