"""Truths 1, 3 and 4: the files of a crash state, and of its recovery, beside those of the golden run."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from outlive_harness.disk.tree import Entry, Tree

from .contents import described_file, in_bytes

#: Bytes of each file that are compared for a person.
_SHOWN = 64 * 1024


class Boxes(NamedTuple):
    """Where the files of trees are.

    Attributes:
        here: the box of the crash state.
        golden: the files that the golden run left.
        initial: the files before the run.
        own: returns a content in which the box that it was made in has this one's path.
    """

    here: Path
    golden: Path
    initial: Path
    own: Callable[[bytes], bytes] = bytes


def torn_outputs(
    state: Tree,
    golden: Tree,
    versions: Mapping[str, set[str]],
    boxes: Boxes,
    is_append_only: Callable[[str], bool],
) -> list[str]:
    """Truth 1: return each output that is neither absent nor whole.

    An append-only output may be a prefix of itself, or of another one that it is renamed to when it is full.

    Args:
        state: the crash state; a directory counts as one output if it has versions.
        golden: the golden run's files.
        versions: the digests of whole contents, or values, by output. A temporary file is not an output yet.
        boxes: where the files are.
        is_append_only: returns whether an output only grows.
    """
    torn = []
    for path, entry in sorted(state.items()):
        if entry.kind not in ("file", "dir") or path not in versions or entry.digest in versions[path]:
            continue
        if is_append_only(path):
            logs = [path, *(other for other in golden if other != path and is_append_only(other))]
            if any(is_record_prefix(boxes.here / path, boxes.golden / log, boxes.own) for log in logs):
                continue
        torn.append(path)
    return torn


def described_torn(path: str, state: Tree, golden: Tree, boxes: Boxes) -> tuple[str, str]:
    """Return what is visible of an output that is not whole, and how it differs from the golden one."""
    what = described_file(boxes.here / path, boxes.golden / path, boxes.initial / path, boxes.own)
    return what, describe_difference(path, golden, state, boxes.golden, boxes.here)


def is_record_prefix(part: Path, whole: Path, own: Callable[[bytes], bytes] = bytes) -> bool:
    """Return whether a file is a prefix of another, and ends where a line ends."""
    try:
        have, full = own(part.read_bytes()), own(whole.read_bytes())
    except OSError:
        return False
    return full.startswith(have) and (not have or have.endswith(b"\n") or len(have) == len(full))


def differing(golden: Tree, after: Tree, is_output: Callable[[str], bool]) -> list[str]:
    """Truth 3: return the golden outputs that are missing, or differ in type, mode, target or content."""
    return sorted(path for path, entry in golden.items() if is_output(path) and after.get(path) != entry)


def surplus(golden: Tree, after: Tree) -> list[str]:
    """Truth 4: return the paths that the golden run does not leave."""
    return sorted(path for path in after if path not in golden)


def first_difference(golden: Tree, after: Tree, is_output: Callable[[str], bool]) -> str | None:
    """Return the first output in which two trees differ; None if there is none."""
    extra = [path for path in surplus(golden, after) if is_output(path)]
    return min([*differing(golden, after, is_output), *extra], default=None)


def describe_difference(path: str, golden: Tree, after: Tree, golden_box: Path, box: Path) -> str:
    """Return a few lines on how a path differs from the golden one: sizes, first byte, a short diff."""
    old, new = golden.get(path), after.get(path)
    if new is None:
        return f"golden: {described(old)}\nhere:   absent"
    lines = [f"golden: {described(old)}", f"here:   {described(new)}"]
    if old is not None and old.kind == new.kind == "file" and old.digest != new.digest:
        lines += _content_difference(golden_box / path, box / path)
    return "\n".join(lines)


def described(entry: Entry | None) -> str:
    """Return a few words on what is at a path."""
    if entry is None:
        return "absent"
    if entry.kind == "file":
        return f"file of {in_bytes(entry.size)}, mode {entry.mode:04o}"
    if entry.kind == "link":
        return f"symbolic link to {entry.digest}"
    return f"{'directory' if entry.kind == 'dir' else 'special file'}, mode {entry.mode:04o}"


def _content_difference(golden: Path, here: Path) -> list[str]:
    try:
        with golden.open("rb") as one, here.open("rb") as other:
            old, new = one.read(_SHOWN), other.read(_SHOWN)
    except OSError as error:
        return [f"(cannot be read: {error.strerror})"]
    at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    if at == len(old) == len(new):
        return ["the first difference lies past the first 64 KiB"]
    if at == len(new):
        return [f"here it ends after byte {at}" if at else "here it is empty"]
    lines = [f"first difference at byte {at}"]
    try:
        before, after = (part.decode().splitlines()[:400] for part in (old, new))
    except UnicodeDecodeError:
        start = max(0, at - 8)
        return [
            *lines,
            f"golden: {old[start : at + 16].hex(' ')}",
            f"here:   {new[start : at + 16].hex(' ')}",
        ]
    diff = list(difflib.unified_diff(before, after, "golden", "here", n=1, lineterm=""))
    shown = [line if len(line) <= 160 else line[:157] + "..." for line in diff[:12]]
    return lines + shown + (["..."] if len(diff) > len(shown) else [])
