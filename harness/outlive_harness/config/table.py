"""The keys of ``[tool.outlive]``: keywords that have an option, and the other options of test and check."""

from __future__ import annotations

from pathlib import Path

from outlive_harness.disk.profiles import PROFILES
from outlive_harness.disk.realfs import KINDS
from outlive_harness.faults.table import NAMES
from outlive_harness.golden.similar import SELECTIONS
from outlive_harness.results import value_kinds
from outlive_harness.results.keywords import KEYWORDS, Keyword
from outlive_harness.results.value_kinds import ScenarioError

from . import kinds
from .kinds import Kind

#: Options that are no keywords; a key is named as its option.
SETTINGS: dict[str, Kind] = {
    "real_fs": kinds.choice(tuple(KINDS)),
    "signal": kinds.signal,
    "points": kinds.number(1),
    "select": kinds.choice(SELECTIONS),
    "seed": kinds.number(),
    "budget": kinds.duration,
    "fail_fast": kinds.flag,
    "exhaustive": kinds.flag,
    "zygote": kinds.flag,
    "explain": kinds.choice(("auto", "all", "none")),
    "baseline": kinds.file,
    "memory": kinds.number(0),
    "jobs": kinds.number(1, 1024),
    "box_dir": kinds.directory,
    "only": kinds.names,
    "changed": kinds.flag,
    "json": kinds.target,
    "html": kinds.target,
    "junit": kinds.target,
    "sarif": kinds.target,
    "github": kinds.flag,
}
#: Options of one command line: always given, they would keep each run from judging, or from failing.
ON_THE_LINE = ("update_baseline", "resume", "list")
#: Keywords that have an option.
WITH_OPTION = {one.name: one for one in KEYWORDS if one.doors}
KEYS = (*WITH_OPTION, *SETTINGS)


def checked(key: str, value: object, home: Path) -> object:
    """Return the value of a key as its option or its keyword has it.

    Raises:
        ScenarioError: it is not what it must be; the message begins with key and value.
    """
    if key in SETTINGS:
        return SETTINGS[key](key, value, home)
    return _of_keyword(WITH_OPTION[key], value, home)


def _of_keyword(keyword: Keyword, value: object, home: Path) -> object:
    """Return a value that a keyword of scenario() may have; texts may be as on the command line."""
    name = keyword.name
    if keyword.kind is value_kinds.seconds:
        return kinds.duration(name, value, home)
    if keyword.kind is value_kinds.directory:
        return str(kinds.directory(name, value, home))
    if keyword.kind is value_kinds.profile:
        return kinds.choice(tuple(PROFILES))(name, value, home)
    found = keyword.checked(value)
    if keyword.kind is value_kinds.faults:
        assert isinstance(found, tuple)
        wrong = [fault for fault in found if fault not in NAMES]
        if wrong or not found:
            why = f"{wrong[0]!r} is not one of {', '.join(NAMES)}" if wrong else "there is none"
            raise ScenarioError(f"{name}={value!r} must be faults: {why}")
    return found
