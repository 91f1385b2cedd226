"""How any string is spelt as the name of a file: no two alike, on every file system."""

from __future__ import annotations

from contextlib import suppress

_KEPT = "abcdefghijklmnopqrstuvwxyz0123456789_-"
_LONGEST_STEM = 120  # characters; leaves room for suffixes if names hold 143 bytes (eCryptfs)
#: Names that stand for devices on Windows, in each directory and with any suffix.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)


def is_plain(name: str) -> bool:
    """Return whether all characters of a name, and there are some, stand for themselves."""
    return name != "" and not name.strip(_KEPT)  # no `re`: its import takes long


def stem(name: str) -> str:
    """Return a name's spelling: "%" for the empty one, all bytes but lower-case letters and the like as %xx.

    A long name is cut and ends in "~" and a hash. If the spelling is the name of a device on Windows, its
    first letter is spelt as %xx, on every platform.
    """
    if is_plain(name) and len(name) <= _LONGEST_STEM and name not in _DEVICES:
        return name
    encoded = name.encode("utf-8", "surrogatepass")
    spelt = "".join(chr(byte) if chr(byte) in _KEPT else f"%{byte:02x}" for byte in encoded) or "%"
    if spelt in _DEVICES:
        return f"%{encoded[0]:02x}{spelt[1:]}"
    if len(spelt) <= _LONGEST_STEM:
        return spelt
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    tail = f"~{hashlib.sha256(encoded).hexdigest()}"
    return spelt[: _LONGEST_STEM - len(tail)] + tail


def name_of(spelt: str) -> str | None:
    """Return the name that `stem` spells so; None if the spelling ends in a hash, or is not its own."""
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - only to list marks

    with suppress(UnicodeDecodeError):
        name = unquote_to_bytes("" if spelt == "%" else spelt).decode("utf-8", "surrogatepass")
        if stem(name) == spelt:
            return name
    return None
