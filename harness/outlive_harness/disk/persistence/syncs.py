"""What a completed sync makes durable on a disk with a profile, and what it leaves in a log."""

from __future__ import annotations

from collections.abc import Iterator

from outlive_harness import abi
from outlive_harness.disk.model.files import ATTRIBUTE, BLOCK_OF, ENTRY, SIZE
from outlive_harness.disk.profiles import Profile

from .micro import History, Key, Micro, Sync, aspects, is_below, until


def is_one_step(history: History, profile: Profile, op: int) -> bool:
    """Return whether a rename's two entries change at once."""
    if profile.one_step_rename != "directory":
        return profile.one_step_rename == "always"
    directories = {change.node for part in history.parts(op) for change in history.micros[part].changes}
    moved = history.micros[history.parts(op)[-1]].changes[0].after
    exchange = history.ops[op - 1].flags & abi.RENAME_EXCHANGE
    return bool(exchange) or len(directories) == 1 or history.files.nodes[moved].kind == "dir"


def is_metadata(micro: Micro) -> bool:
    """Return whether an ordered disk persists a micro-op by its journal: names, attributes, set sizes."""
    return micro.what in ("name", "move", "size", "free", "attribute")


def durable(history: History, profile: Profile, sync: Sync) -> Iterator[int]:
    """Yield the micro-ops that a completed sync makes durable, together with all that they need."""
    if sync.node is None:
        yield from range(history.end[sync.op])
        return
    past = history.end[sync.op]
    covered = list(_covered(history, sync, past))
    if profile.fsync_commits == "names":
        # The names as they are now, not the steps that led to them.
        yield from (number for number in covered if ENTRY not in aspects(history.micros[number]))
        yield from named_by_log(history, profile, sync)
        yield from _entries(history, sync.node, past)
        return
    for number in covered:
        yield number
        op = history.micros[number].op
        if history.micros[number].what == "move" and is_one_step(history, profile, op):
            yield from history.parts(op)  # syncing either directory persists the whole rename
    if profile.fsync_commits == "journal":
        yield from _committed(history, sync, past, covered)


def last_change(history: History, key: Key, past: int) -> list[int]:
    """Return the last micro-op before *past* that changed one thing, in a list that is empty if none did."""
    return until(history.chains.get(key, []), past)[-1:]


def _covered(history: History, sync: Sync, past: int) -> Iterator[int]:
    """Yield the micro-ops on the file itself that a sync persists."""
    assert sync.node is not None
    wanted = {SIZE, BLOCK_OF, ENTRY} if sync.data_only else {SIZE, BLOCK_OF, ENTRY, ATTRIBUTE}
    last_size = past if not sync.is_own else _size_for(history, sync)
    for number in until(history.own[sync.node], past):
        micro = history.micros[number]
        changed = aspects(micro) & wanted
        if sync.is_own and (micro.op != sync.op or micro.what == "edge"):
            # A synchronous write persists no other data, and no more of the size than it needs.
            changed -= {BLOCK_OF} if number == last_size else {BLOCK_OF, SIZE}
        if changed:
            yield number


def _size_for(history: History, sync: Sync) -> int:
    """Return the micro-op that made the file long enough for a write's data; -1 if it always was."""
    assert sync.node is not None
    parts = map(history.micros.__getitem__, history.parts(sync.op))
    stop = max((micro.stop for micro in parts if micro.what == "data"), default=0)
    edges: dict[int, int] = {}
    for number in reversed(until(history.chains.get((SIZE, sync.node, 0), []), history.end[sync.op])):
        micro = history.micros[number]
        if is_below(micro):
            edges |= {micro.stop: number} if micro.stop >= stop else {}
        elif any(change.aspect == SIZE and change.before < stop for change in micro.changes):
            return edges[min(edges)] if edges else number
    return -1


def _committed(history: History, sync: Sync, past: int, covered: list[int]) -> Iterator[int]:
    """Yield all metadata up to the last change of the file: that transaction must be in the journal.

    Later metadata need not be: an fsync of an unchanged file commits nothing (seen on ext4: a rename, then
    the fsync of a file that did not change, and the rename is lost). An fdatasync counts only changes of the
    size, and the creation.
    """
    assert sync.node is not None
    names = until(history.namings[sync.node], past)
    if sync.data_only:
        names = [] if sync.node in history.given else names[:1]
    own = [number for number in covered if aspects(history.micros[number]) != {BLOCK_OF}]
    last = max([*own, *names], default=-1)
    if last >= 0:
        end = history.end[history.micros[last].op]
        yield from (number for number in range(end) if is_metadata(history.micros[number]))


def _named(history: History, node: int, past: int) -> Iterator[int]:
    """Yield the micro-ops that gave a file its names, and likewise for the directories of these names."""
    waiting, done = [node], set()
    while waiting:
        one = waiting.pop()
        if one in done:
            continue
        done.add(one)
        keys = {
            change.key
            for number in until(history.namings.get(one, []), past)
            for change in history.micros[number].changes
        }
        for key in sorted(keys):
            for number in last_change(history, key, past):
                if any(change.after == one for change in history.micros[number].changes):
                    yield number
                    waiting.append(key[1])


def _entries(history: History, directory: int, past: int) -> Iterator[int]:
    for name in history.names.get(directory, ()):
        yield from last_change(history, (ENTRY, directory, name), past)


def named_by_log(history: History, profile: Profile, sync: Sync) -> Iterator[int]:
    """Yield the names that a sync persists with their file, not with their directory.

    They are only in the log: see superseded().
    """
    if profile.fsync_commits == "names" and sync.node is not None:
        yield from _named(history, sync.node, history.end[sync.op])


def lasting(history: History, profile: Profile, sync: Sync) -> Iterator[int]:
    """Yield the names that a sync commits for good, or logs with their directory."""
    if sync.node is None:
        yield from range(history.end[sync.op])
    elif profile.fsync_commits == "names":
        yield from _entries(history, sync.node, history.end[sync.op])


def superseded(history: History, op: int, by_log: set[int]) -> dict[int, int]:
    """Return the names that are only in the log and have changed since, each with its last change.

    The next sync writes the log without them, and need not write what replaced them. Seen on Linux 6.18: a
    file is made and fsynced, another renamed over it, a third fsynced: no file has that name.
    """
    past = history.end[op - 1]
    latest = {
        number: last_change(history, history.micros[number].changes[0].key, past)[0] for number in by_log
    }
    return {number: last for number, last in latest.items() if last != number}


def keeps_a_log(profile: Profile, sync: Sync) -> bool:
    """Return whether anything may persist out of order from this sync on, because it starts a log.

    A log tree of btrfs holds more than the model follows: the file, its names, their directories and new
    entries, and files that had one of these names before. A later rename of the file goes into it too
    (btrfs_log_new_name()), and any fsync writes it: seen on Linux 6.18, a rename without what was made
    before.
    """
    return profile.fsync_commits == "names" and sync.node is not None
