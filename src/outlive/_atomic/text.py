"""What is written: text with its encoding and line ends, or bytes."""

from __future__ import annotations

import os

from outlive._system.arguments import shown

_MODES = ("w", "wt", "wb")
_NEWLINES = (None, "", "\n", "\r", "\r\n")


def encoded(data: object, encoding: str | None, newline: str | None) -> memoryview:
    """Return the bytes to write.

    Raises:
        TypeError: The data are neither text nor bytes, or their bytes are not contiguous.
        ValueError: An option is wrong, or is for text while the data are bytes.
        UnicodeEncodeError: The encoding has no bytes for a character of the text.
    """
    if type(data) is bytes and encoding is None is newline:
        return memoryview(data)
    if not isinstance(data, str | bytes | bytearray | memoryview):
        raise TypeError(f"data={shown(data)} is neither text nor bytes")
    if not isinstance(data, str):
        checked_text_options("wb", encoding, newline)
        view = memoryview(data)
        if not view.c_contiguous:
            raise TypeError(f"data={shown(data)} is not contiguous; give bytes(data)")
        return view.cast("B") if view.nbytes else memoryview(b"")
    checked_text_options("w", encoding, newline)
    ending = os.linesep if newline is None else newline or "\n"
    text = data if ending == "\n" else data.replace("\n", ending)
    try:
        return memoryview(text.encode("utf-8" if encoding is None else encoding))
    except UnicodeEncodeError as error:
        error.add_note("data=... was not written; give bytes: data.encode(encoding, errors)")
        raise


def checked_text_options(mode: str, encoding: str | None, newline: str | None) -> dict[str, str | None]:
    """Return the options for a text file; none for bytes.

    Raises:
        ValueError: An option is wrong, or is for text while bytes are written.
    """
    if mode not in _MODES:
        raise ValueError(f"mode={shown(mode)} is not one of {', '.join(map(repr, _MODES))}")
    if mode == "wb":
        for name, value in (("encoding", encoding), ("newline", newline)):
            if value is not None:
                raise ValueError(f"{name}={shown(value)} is for text, and bytes are written")
        return {}
    if newline not in _NEWLINES:
        raise ValueError(f"newline={shown(newline)} is not one of {', '.join(map(repr, _NEWLINES))}")
    try:
        "a".encode("utf-8" if encoding is None else encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"encoding={shown(encoding)} is not the name of a text encoding") from error
    return {"encoding": "utf-8" if encoding is None else encoding, "newline": newline}
