"""Few patterns that stand for many names: the reverse of globs.py."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator

from .globs import matcher

#: With more patterns than that, wider ones are chosen.
_FEW = 6
#: How many files directly in the box are named one by one.
_NAMED = 3
#: A month or a day, perhaps with a time, or seconds since 1970, perhaps with a fraction: parts of names that
#: are others the next time.
_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])(?:\1(?:0[1-9]|[12]\d|3[01]))?"
    r"(?:[-_T.]?(?:[01]\d|2[0-3])(?:[-_:.]?[0-5]\d){1,2}Z?)?|1[5-9]\d{8}(?:[.]?\d{3,9})?)(?!\d)"
)


def globs(paths: Collection[str], others: Collection[str], unchanged: Collection[str] = ()) -> list[str]:
    """Return few patterns that match all of the paths and, if possible, none of the others.

    Args:
        paths: paths to match.
        others: paths not to match.
        unchanged: paths not to match either, if that needs no other patterns than without them.
    """
    tops: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        tops[path.split("/", 1)[0] if "/" in path else ""].append(path)
    patterns: list[str] = []
    for _, several in sorted(tops.items()):
        candidates = [one for one in _candidates(sorted(several)) if all(map(matcher(one), several))]
        for keep_off in ({*others, *unchanged}, others):
            clear = [one for one in candidates if not any(map(matcher(one), keep_off))]
            if clear:
                patterns += clear[0]
                break
        else:
            patterns += candidates[-1]
    if len(patterns) > _FEW:
        endings = sorted({os.path.splitext(path)[1] for path in paths})
        wide = [f"**/*{literal(ending)}" for ending in endings]
        is_whole = all(endings) and all(map(matcher(wide), paths))
        if is_whole and len(wide) <= _FEW and not any(map(matcher(wide), others)):
            return wide
    return patterns


def undated(patterns: Collection[str], others: Collection[str]) -> list[str]:
    """Return patterns with a star for each date in them, unless it would match one of the others."""
    kept = []
    for pattern in patterns:
        wide = _DATE.sub("*", pattern)
        kept.append(pattern if any(map(matcher([wide]), others)) else wide)
    return list(dict.fromkeys(kept))


def _candidates(paths: list[str]) -> Iterator[list[str]]:
    """Yield lists of patterns that match the paths of one top directory, the best first."""
    directories = sorted({os.path.dirname(path) for path in paths})
    by_kind = sorted({(os.path.dirname(path), os.path.splitext(path)[1]) for path in paths})
    literals = [literal(path) for path in paths]
    same_kind = [f"{below(directory)}*{literal(ending)}" for directory, ending in by_kind if ending]
    if directories == [""] and len(paths) <= _NAMED:
        yield literals
    if len(same_kind) == len(by_kind) <= (_NAMED if len(directories) == 1 else 1):
        yield same_kind
    common = os.path.commonpath(directories) if directories != [""] else ""
    if common:
        yield _all_of(common, paths) if len(directories) == 1 else [f"{below(common)}**"]
    if common and len(directories) > 1:
        endings = sorted({ending for _, ending in by_kind})
        if all(endings) and len(endings) <= _NAMED:
            yield [f"{below(common)}**/*{literal(ending)}" for ending in endings]
        names = {os.path.basename(path) for path in paths}
        if len(names) == 1:
            yield [f"{below(common)}**/{literal(name)}" for name in names]
    if len(same_kind) == len(by_kind) <= _FEW:
        yield same_kind
    if len(paths) <= _FEW:
        yield literals
    yield _all_of(common, paths) if len(directories) == 1 else [f"{below(common)}**"]


def _all_of(directory: str, paths: Collection[str]) -> list[str]:
    """Return patterns of all of a directory's entries: a star matches no hidden name."""
    hidden = {os.path.basename(path).startswith(".") for path in paths}
    return [f"{below(directory)}{'.*' if is_hidden else '*'}" for is_hidden in sorted(hidden)]


def below(directory: str) -> str:
    """Return the beginning of a pattern of a directory's entries; "" is the box itself."""
    return f"{literal(directory)}/" if directory else ""


def literal(path: str) -> str:
    """Return a pattern that matches just one path, whatever characters are in it."""
    return re.sub(r"[*?[]", lambda found: "?" if found[0] == "[" else f"[{found[0]}]", path)
