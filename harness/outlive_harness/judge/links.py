"""Outputs behind symbolic links: an output's path may lead to a file that is not itself an output.

With ``current -> releases/7`` and the outputs ``current/**``, a reader of ``current/data`` reads
``releases/7/data``, which no pattern names. Such files are judged under the paths that readers use.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from outlive_harness import abi
from outlive_harness.disk.tree import BOX_MARK, Tree
from outlive_harness.results.ops import Op

_BOX = os.fsdecode(BOX_MARK)


def through(tree: Tree, is_output: Callable[[str], bool]) -> dict[str, str]:
    """Return the outputs that readers find through links: the path that they use, and the file's own path.

    Files that are outputs under their own paths are left out.
    """
    found: dict[str, str] = {}
    pending = [(path, path, 0) for path, entry in tree.items() if entry.kind == "link"]
    paths = sorted(tree) if pending else []
    while pending:
        used, link, depth = pending.pop()
        target = _resolved(tree, link)
        if target is None or depth > abi.MAX_SYMLINKS:
            continue
        if target and tree[target].kind != "dir":
            several: Sequence[str] = [target]
        elif not target or f"{link}/".startswith(f"{target}/"):
            continue  # a link to a directory above itself shows nothing new
        else:
            several = list(_below(paths, target))
        for path in several:
            alias = used + path[len(target) :]
            if tree[path].kind == "link":
                pending.append((alias, path, depth + 1))
            elif tree[path].kind == "file" and is_output(alias) and not is_output(path):
                found.setdefault(alias, path)
    return found


def seen(tree: Tree, is_output: Callable[[str], bool]) -> Tree:
    """Return the files that readers find through links, by the path that they use."""
    return {alias: tree[path] for alias, path in through(tree, is_output).items()}


def leading_out(tree: Tree, is_output: Callable[[str], bool]) -> dict[str, str]:
    """Return the outputs that are links out of the box, each with the link's text."""
    links = (path for path, entry in tree.items() if entry.kind == "link" and is_output(path))
    return {path: tree[path].digest for path in links if _is_outside(path, tree[path].digest)}


def targets(tree: Tree, ops: Iterable[Op], box: str) -> frozenset[str]:
    """Return the paths that links may lead to at any time of a run: links in a tree, and those made by ops.

    Args:
        tree: the files before the run.
        ops: the run's ops.
        box: the path of the run's box.
    """
    links = {path: entry.digest for path, entry in tree.items() if entry.kind == "link"}
    found = {_target(path, text) for path, text in links.items()}
    for op in ops:
        if op.kind == "symlink":
            links[op.path] = op.target.replace(box, _BOX)
        elif op.traits.installs and op.path in links:
            links[op.target] = links[op.path]
        else:
            continue
        made = op.path if op.kind == "symlink" else op.target
        found.add(_target(made, links[made]))
    return frozenset(path for path in found if path)


def _resolved(tree: Tree, path: str) -> str | None:
    """Return the path that a path of the box leads to; None if that is outside the box or does not exist."""
    todo = path.split("/")[::-1]
    here, links = "", 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if not here:
                return None
            here = here.rpartition("/")[0]
            continue
        candidate = f"{here}/{name}" if here else name
        entry = tree.get(candidate)
        if entry is None:
            return None
        if entry.kind != "link":
            here = candidate
            continue
        links += 1
        text = entry.digest
        if links > abi.MAX_SYMLINKS or (text.startswith("/") and not _is_in_box(text)):
            return None
        if _is_in_box(text):
            here, text = "", text[len(_BOX) :]
        todo += text.split("/")[::-1]
    return here


def _below(paths: Sequence[str], directory: str) -> Iterator[str]:
    for at in range(bisect_left(paths, f"{directory}/"), len(paths)):
        if not paths[at].startswith(f"{directory}/"):
            return
        yield paths[at]


def _is_in_box(text: str) -> bool:
    return text == _BOX or text.startswith(f"{_BOX}/")


def _is_outside(link: str, text: str) -> bool:
    if text.startswith("/"):
        return True
    path = os.path.normpath(os.path.join(os.path.dirname(link), text))
    return not _is_in_box(text) and path.split("/", 1)[0] == os.pardir


def _target(link: str, text: str) -> str:
    """Return the path of the box that a link names, ignoring other links on the way; "" if there is none."""
    if _is_outside(link, text):
        return ""
    if _is_in_box(text):
        return text[len(_BOX) + 1 :].rstrip("/")
    path = os.path.normpath(os.path.join(os.path.dirname(link), text))
    return "" if path == "." else path
