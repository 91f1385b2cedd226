"""What a user may add to a declaration so that it can be judged: options, each with its reason."""

from __future__ import annotations

import json
import os
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from outlive_harness.results.keywords import KEYWORD
from outlive_harness.results.reader_names import split
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.results.value_kinds import instant, patterns, readers, regexes, seconds, variables


class Cure(NamedTuple):
    """One keyword of scenario(), which is an option of ``check`` too, with a value that would help.

    Attributes:
        keyword: its name; "" for a pattern of files that no keyword names, and that are then not judged.
        value: its value; one of them, if it takes several.
        why: the reason, for people.
    """

    keyword: str
    value: str
    why: str = ""


def in_words(spec: RunSpec, cures: Sequence[Cure]) -> str:
    """Return cures as the user would write them: options to paste, or keywords of a scenario in a file."""
    cures = [one for one in cures if one.keyword]
    if spec.is_typed:
        return " ".join(map(_as_option, cures))
    return ", ".join(as_keywords(cures))


def as_keywords(cures: Iterable[Cure]) -> list[str]:
    """Return cures as keywords of scenario(), in Python."""
    values: dict[str, list[str]] = defaultdict(list)
    for one in cures:
        values[one.keyword].append(one.value)
    return [f"{name}={_as_python(name, several)}" for name, several in values.items()]


def _as_option(cure: Cure) -> str:
    flag = f"--{KEYWORD[cure.keyword].flag}"
    return flag if cure.keyword == "freeze" else f"{flag} {shlex.quote(cure.value)}"


def _as_python(name: str, values: Iterable[str]) -> str:
    if KEYWORD[name].kind is seconds:
        return next(iter(values))
    if KEYWORD[name].kind is instant:
        return "True"
    if KEYWORD[name].kind is variables:
        return repr(dict(value.split("=", 1) for value in values)).replace("'", '"')
    if KEYWORD[name].kind is readers:
        return json.dumps(dict(map(split, values)))
    literals = [json.dumps(value) if value.isprintable() else repr(value) for value in values]
    is_list = KEYWORD[name].kind in (patterns, regexes) and len(literals) > 1
    return f"[{', '.join(literals)}]" if is_list else literals[0]


def directory(spec: RunSpec, keyword: str, place: str) -> Cure:
    """Return a cure that names a directory, relative to that of the scenario file or of the user."""
    return Cure(keyword, os.path.relpath(place, spec.home))
