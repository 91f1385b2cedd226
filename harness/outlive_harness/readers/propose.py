"""What would make two versions of a file equal that differ from run to run: a reader, keys, or a mask."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from outlive_harness.results.reader_names import UNPACKING, WITH_KEYS, Step

from .formats import FORMATS, likely, start_of
from .kinds import Absent, ReadError
from .table import read_by
from .values import differences
from .view import View

#: Times, durations, random names: what differs from run to run in most reports and logs.
MASKS = (
    (
        r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? ([A-Z][a-z]{2} [ \d]\d|\d+ [A-Z][a-z]{2} \d{4})"
        r" \d\d:\d\d:\d\d( [A-Z]{3,4}| [+-]\d{4})?( \d{4})?"
    ),
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?",
    r"\d{4}-\d\d-\d\d",
    r"\d\d:\d\d:\d\d([.,]\d+)?",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    r"\d+(\.\d+)? ?(ns|us|µs|ms|s|sec|seconds|min)\b",
    r"\b1[5-9]\d{8}(\.\d+)?\b",
)
#: How many differences are looked at, and keys proposed.
_LOOKED, _KEYS = 200, 6


def propose(golden: Path, here: Path, view: View) -> dict[str, Any]:
    """Return ``{"reader": ..., "masks": [...]}``, or ``{}`` if nothing that is known makes the two equal."""
    start = start_of(golden) if golden.is_file() else b""
    for name in likely(golden.name, start):
        found = _with(name, golden, here, view)
        if found is not None:
            return found
    return _masked(golden, here, view) or {}


def _with(name: str, golden: Path, here: Path, view: View) -> dict[str, Any] | None:
    """Return what to say if one reader makes two files equal, perhaps without some keys or with masks."""
    for steps in _chains(name, golden):
        try:
            values = [read_by(steps, path) for path in (golden, here)]
        except (ReadError, ImportError):
            continue
        if any(isinstance(one, Absent) for one in values):
            continue
        text = "+".join(step.name for step in steps)
        plain = [view.of(one) for one in values]
        found = [one for one, _ in zip(differences(*plain), range(_LOOKED), strict=False)]
        if not found:
            return {"reader": text, "masks": []}
        if steps[-1].name in WITH_KEYS and all(one.keys for one in found):
            for keys in _left_out([one.keys for one in found]):
                if _is_equal((*steps[:-1], Step(steps[-1].name, keys)), golden, here, view):
                    return {"reader": f"{text}:{','.join(f'-{key}' for key in keys)}", "masks": []}
        masks = _least_masks(values[0], values[1], view)
        if masks:
            return {"reader": text, "masks": masks}
    return None


def _left_out(paths: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield few keys to leave out: those that differ, or else what holds several, as the times of a cell."""
    several = Counter(path[:-1] for path in set(paths))
    for chosen in (paths, [path[:-1] if several[path[:-1]] > 1 and path[1:] else path for path in paths]):
        keys = tuple(sorted({".".join(path) for path in chosen}))
        if len(keys) <= _KEYS and not any("," in key for key in keys):
            yield keys


def _chains(name: str, path: Path) -> Iterator[tuple[Step, ...]]:
    """Yield the reader alone, and with that of the file inside it."""
    if name in UNPACKING:
        for inner in likely(path.name.removesuffix(".gz"), b""):
            if FORMATS[inner].ends:
                yield (Step(name), Step(inner))
    yield (Step(name),)


def _is_equal(steps: tuple[Step, ...], golden: Path, here: Path, view: View) -> bool:
    one, other = (view.of(read_by(steps, path)) for path in (golden, here))
    return not any(True for _ in differences(one, other))


def _masked(golden: Path, here: Path, view: View) -> dict[str, Any] | None:
    """Return the masks that make two texts equal; None if none do, or the files are no texts."""
    if not (golden.is_file() and here.is_file()):
        return None
    contents = golden.read_bytes(), here.read_bytes()
    try:
        texts = [one.decode() for one in contents]
    except UnicodeDecodeError:
        return None
    masks = _least_masks(texts[0], texts[1], view)
    return {"reader": "", "masks": masks} if masks else None


def _least_masks(golden: Any, here: Any, view: View) -> list[str]:  # noqa: ANN401
    """Return the fewest masks that make two values equal; none if even all of them do not."""

    def are_equal(masks: list[str]) -> bool:
        with_masks = View((*view.masks, *masks), view.boxes)
        return not any(True for _ in differences(with_masks.of(golden), with_masks.of(here)))

    masks = list(MASKS)
    if not are_equal(masks):
        return []
    for mask in MASKS[::-1]:
        fewer = [one for one in masks if one != mask]
        if fewer and are_equal(fewer):
            masks = fewer
    return masks


assert all(re.compile(mask) for mask in MASKS)
