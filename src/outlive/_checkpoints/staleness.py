"""Whether a mark still counts: the declaration is the same, and the files are what the mark recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from outlive._system.arguments import shown

from .declaration import EMPTY, containing_marks, stored_path
from .store import FILES

if TYPE_CHECKING:
    from typing import Literal

    from .declaration import Declaration
    from .store import StoredMark

    Verify = Literal["stat", "hash"]

_VERIFY = ("stat", "hash")


def check_verify(verify: object) -> None:
    """Refuse an unknown way to verify files.

    Raises:
        ValueError: The way is unknown.
    """
    if verify not in _VERIFY:
        raise ValueError(f"verify={shown(verify)} is not one of {', '.join(map(repr, _VERIFY))}")


def why_stale(mark: StoredMark, declaration: Declaration, directory: str, verify: str) -> str:
    """Return in words why a mark does not count for a declaration; "" if it does.

    Args:
        mark: The mark.
        declaration: What is declared now.
        directory: The directory of the marks.
        verify: "stat" or "hash".

    Raises:
        OSError: A file cannot be read.
    """
    if mark.problem or (declaration is EMPTY and not mark.record):
        return mark.problem
    base = os.path.dirname(directory)
    return _other_declaration(mark.record, declaration, base) or changed_file(mark, directory, verify)


def changed_file(mark: StoredMark, directory: str, verify: str) -> str:
    """Return in words which recorded input or output has changed; "" if none has.

    Raises:
        OSError: A file cannot be read.
    """
    for field in FILES:
        for path, then in mark.record.get(field, {}).items():
            from . import file_facts  # noqa: PLC0415 - only to verify files

            look = file_facts.output_change if field == "outputs" else file_facts.input_change
            where = os.path.join(os.path.dirname(directory), path)
            try:
                facts = file_facts.Facts(*then)
            except TypeError:
                return "its marker is damaged"
            if facts.kind == "directory" and any(containing_marks([where], directory)):
                return f"its {field[:-1]} {path} contains the marks"
            how = look(where, facts, file_facts.Marker(mark.written_at, directory), verify)
            if how:
                return f"its {field[:-1]} {path} {how}"
    return ""


def _other_declaration(then: Mapping[str, Any], now: Declaration, base: str) -> str:
    """Return in words how the recorded declaration differs from what is declared now; "" if it does not."""
    for field, paths in (("inputs", now.inputs), ("outputs", now.outputs)):
        if paths is not None:
            known, wanted = sorted(then.get(field, {})), sorted({stored_path(path, base) for path in paths})
            if known != wanted:
                return f"its {field} were {known} and are {wanted}"
    if isinstance(now.params, dict):
        known_params = then.get("params")
        if not isinstance(known_params, dict):
            return "no parameters were recorded when it was marked"
        for name in sorted({*known_params, *now.params}):
            both = [[some[name]] if name in some else [] for some in (known_params, now.params)]
            if repr(both[0]) != repr(both[1]):  # to Python, 1 and 1.0 and True are equal
                before, after = (shown(one[0]) if one else "not given" for one in both)
                return f"its parameter {name} was {before} and is {after}"
    if now.version is not None and then.get("version") != now.version:
        return f"its version was {shown(then.get('version'))} and is {shown(now.version)}"
    return ""
