"""The end of what a program prints, and the lines of it that acknowledge something."""

from __future__ import annotations

import os
import re

_KEEP = 64 * 1024
#: What Python's codec unicode_escape makes of characters.
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4})|([nrt\\]))", re.ASCII
)
_SHORT_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Tail:
    """The last 64 KiB of a stream: what a report shows of a program that may print gigabytes."""

    def __init__(self, pattern: str = "") -> None:
        self._parts = bytearray()
        self._pattern = re.compile(pattern) if pattern else None
        self._line = b""
        #: what lines matched the pattern, in order: the first group, or all of the match
        self.matches: list[str] = []

    def drain(self, fd: int) -> bool:
        """Take what is there now; False at the end of the stream."""
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
            if len(self._parts) > 2 * _KEEP:
                del self._parts[:-_KEEP]

    def _match(self, pattern: re.Pattern[str], part: bytes) -> None:
        *lines, line = (self._line + part).split(b"\n")
        self._line = line[:_KEEP]  # what is longer is no line that acknowledges anything
        for line in lines:
            found = pattern.search(line.decode(errors="surrogateescape"))
            if found is not None:
                value = found[1] if pattern.groups else found[0]
                if value is None:  # a group that took no part
                    continue
                self.matches.append(_unescaped(value) if "escaped" in pattern.groupindex else value)

    def text(self) -> str:
        """Return what was kept, undecodable bytes escaped."""
        return bytes(self._parts[-_KEEP:]).decode(errors="backslashreplace")


def _unescaped(text: str) -> str:
    """Take back the escapes in a line; those of characters that no file could hold stay as they are."""

    def character(match: re.Match[str]) -> str:
        return _SHORT_ESCAPES.get(match[4]) or chr(int(match[1] or match[2] or match[3], 16))

    plain = _ESCAPE.sub(character, text)
    try:
        os.fsencode(plain)
    except UnicodeEncodeError:
        return text
    return plain
