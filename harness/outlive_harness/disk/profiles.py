"""What disks promise: a table of persistence profiles, a line each.

A profile adds to what holds on any disk (see micro.py). It says which micro-ops must persist before
others, and what a completed fsync persists besides the file that it is about.

Sources, and what was seen on real file systems where they are silent:

* fsync(2), sync(2), sync_file_range(2), open(2) (``O_SYNC``), ``NOTES`` and ``BUGS`` of each.
* Pillai et al., "All File Systems Are Not Created Equal: On the Complexity of Crafting
  Crash-Consistent Applications" (OSDI 2014), table 1: which file systems keep which order.
* ``Documentation/admin-guide/ext4.rst`` (data=ordered, auto_da_alloc, dioread_nolock) and
  ``fs/ext4``: ext4_rename(), ext4_alloc_da_blocks(), mpage_map_and_submit_extent(), ext4_sync_file().
* ``Documentation/filesystems/xfs/xfs-delayed-logging-design.rst`` and ``fs/xfs``: xfs_end_io(),
  xfs_setfilesize(), xfs_file_fsync().
* ``fs/btrfs``: btrfs_sync_file(), btrfs_log_inode_parent(), btrfs_finish_one_ordered().
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from .files import ATTRIBUTE, BLOCK_OF, ENTRY, SIZE
from .micro import History, Key, Micro, Sync, aspects, is_below

RENAME_EXCHANGE = 2


@dataclass(frozen=True, slots=True)
class Profile:
    """What a disk promises beyond the order of the changes of one entry, block or attribute.

    Attributes:
        name: how it is called.
        promise: what it promises, in a sentence.
        one_step_rename: when the two entries of a rename change at once: ``always``, ``never``, or
            ``directory``: within one directory, of a directory, and in an exchange. A file that moves
            to another directory then has its new name first, and may be left with both.
        names_in_order: the changes of one name persist in order, and a file's names one after another.
        ordered: names, attributes and sizes that are set persist in the order of the ops, and of one op
            at once; a write's growth persists only after all of those before it.
        whole_blocks: no write is torn inside a block.
        shrink_frees: a file is cut off and its whole blocks past the end are given back in one step. (The
            rest of the last block is cleared as data, at any time.)
        data_first: a file's growth persists only after the data there: "" never promised, ``fresh``
            in blocks that had nothing yet, ``all``.
        growth_in_order: a file's growths persist in order, unless sync_file_range(2) scattered them.
        replace_flushes: what a rename over an existing name persists first, of the renamed file: ""
            nothing, ``size`` its growths, ``fresh`` and the data of blocks that had nothing yet.
        close_flushes: what the close of a file that was emptied and written anew persists before all that is
            committed later: as replace_flushes.
        whole_writes: what a write of up to 64 KiB puts into blocks that had nothing persists as one, and so
            do the growths for it.
        waits: what sync_file_range(2) waited for is durable, and its growth before all that is committed
            later.
        habits: what it was seen to keep beyond its promises: values of the three fields above. What rests on
            a breach of these alone says so: see rests_on().
        fsync_commits: what an fsync persists besides: "" nothing, ``journal`` all names, attributes and
            set sizes up to the file's own last change, ``names`` the file's names, those of its
            directories, and of a directory what is in it, but of no rename the other half.
    """

    name: str
    promise: str
    one_step_rename: str = "always"
    names_in_order: bool = True
    ordered: bool = False
    whole_blocks: bool = False
    shrink_frees: bool = False
    data_first: str = ""
    growth_in_order: bool = False
    replace_flushes: str = ""
    fsync_commits: str = ""
    close_flushes: str = ""
    whole_writes: bool = False
    waits: bool = False
    habits: tuple[tuple[str, object], ...] = ()

    def keeping(self, *habits: str) -> Profile:
        """Return the profile of a disk that promises some of its habits, too."""
        kept = {name: value for name, value in self.habits if name in habits}
        return replace(self, name=f"{self.name}, {', '.join(kept)}", habits=(), **kept)  # type: ignore[arg-type]


#: Seen of ext4 and xfs on Linux 6.18 in 9,900 images that cuts of a logged disk left: never broken.
_WHOLE = (("whole_writes", True), ("waits", True))
#: What a violation rests on that needs a habit to be broken.
_BROKEN = {
    "whole_writes": "a write of up to 64 KiB that is cut at a page, which no ext4 or xfs was seen to leave "
    "(older kernels, fragmentation and full memory may)",
    "waits": "data that is lost though sync_file_range waited for it, which no ext4 or xfs was seen to leave "
    "(sync_file_range(2) does not promise it)",
    "close_flushes": "a file that is empty though it was written anew and closed, which ext4 leaves only "
    "where somebody else closes the file meanwhile, as a reader does",
}
#: The same of a profile that errs on the side of admitting too much.
_PERMISSIVE = "the model of btrfs, which admits more than a btrfs was seen to leave"

#: From the one that promises least to the one that promises most.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("strict", "not even that a rename is one step", one_step_rename="never"),
        # POSIX says nothing of crashes. On btrfs a file moved to another directory has both names once
        # that directory is fsynced: seen on Linux 6.18; a moved directory and an exchange never did.
        Profile(
            "posix",
            "what fsync(2) says, and that a rename within a directory is one step",
            one_step_rename="directory",
        ),
        # Transactions persist in order; a log tree adds what was fsynced, and its names, to the last
        # one: names as they are then, whatever was between. Sizes can be ahead of the data (no-holes):
        # btrfs_inode_safe_disk_i_size_write().
        Profile(
            "btrfs",
            "transactions in order, and a log of what was fsynced",
            one_step_rename="never",
            names_in_order=False,
            ordered=True,
            whole_blocks=True,
            shrink_frees=True,
            fsync_commits="names",
        ),
        # The log persists in order; a size is logged when the data's I/O is complete. A rename flushes
        # nothing: the new file may be empty.
        Profile(
            "xfs",
            "names in order through the log, sizes after their data",
            ordered=True,
            whole_blocks=True,
            shrink_frees=True,
            data_first="all",
            fsync_commits="journal",
            habits=_WHOLE,
        ),
        # As mounted by default since Linux 5.6 (dioread_nolock, shown as an absent option): blocks are
        # allocated unwritten, so a commit between the start of the write-back and its end leaves a
        # size without data: zeros, even where a rename over an existing name started the write-back.
        # Seen on Linux 6.18: rename over a name, then fsync of the directory: zeros in 4 of 10.
        Profile(
            "ext4",
            "names in order through the journal; a replacing rename comes after its file's size",
            ordered=True,
            whole_blocks=True,
            shrink_frees=True,
            replace_flushes="size",
            fsync_commits="journal",
            habits=(*_WHOLE, ("close_flushes", "size")),
        ),
        # As Documentation/admin-guide/ext4.rst describes data=ordered with auto_da_alloc; mounted with
        # dioread_lock. An append within a block that is on the disk already has no such promise (its
        # size is journaled at once): seen on Linux 6.18, zeros after an fsync of another file.
        Profile(
            "ext4-ordered",
            "as ext4 mounted with dioread_lock: new blocks are written before what refers to them",
            ordered=True,
            whole_blocks=True,
            shrink_frees=True,
            data_first="fresh",
            growth_in_order=True,
            replace_flushes="fresh",
            close_flushes="fresh",
            fsync_commits="journal",
            habits=_WHOLE,
        ),
    )
}


def profile_named(profile: str | Profile) -> Profile:
    """Return a profile of the table.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ValueError(f"no persistence profile {profile!r}; there are {', '.join(PROFILES)}")
    return PROFILES[profile]


def is_one_step(history: History, profile: Profile, op: int) -> bool:
    """Tell whether a rename's two entries change at once."""
    if profile.one_step_rename != "directory":
        return profile.one_step_rename == "always"
    directories = {change.node for part in history.parts(op) for change in history.micros[part].changes}
    moved = history.micros[history.parts(op)[-1]].changes[0].after
    exchange = history.ops[op - 1].flags & RENAME_EXCHANGE
    return bool(exchange) or len(directories) == 1 or history.files.nodes[moved].kind == "dir"


def is_metadata(micro: Micro) -> bool:
    """Tell whether an ordered disk persists it through its journal: names, attributes, sizes that are set."""
    return micro.what in ("name", "move", "size", "free", "attribute")


def durable(history: History, profile: Profile, sync: Sync) -> Iterator[int]:
    """Yield the micro-ops that a completed sync makes durable; with them, all that they need."""
    if sync.node is None:
        yield from range(history.end[sync.op])
        return
    past = history.end[sync.op]
    covered = list(_covered(history, sync, past))
    if profile.fsync_commits == "names":
        # The names as they are now, not how they came to be.
        yield from (number for number in covered if ENTRY not in aspects(history.micros[number]))
        yield from named_by_log(history, profile, sync)
        yield from _entries(history, sync.node, past)
        return
    for number in covered:
        yield number
        op = history.micros[number].op
        if history.micros[number].what == "move" and is_one_step(history, profile, op):
            yield from history.parts(op)  # either directory stands for the whole rename
    if profile.fsync_commits == "journal":
        yield from _committed(history, sync, past, covered)


def last_change(history: History, key: Key, past: int) -> list[int]:
    """Return the last micro-op that changed one thing, if one did."""
    return list(_below(history.chains.get(key, []), past))[-1:]


def _covered(history: History, sync: Sync, past: int) -> Iterator[int]:
    """Yield what a sync persists of the state of the file itself."""
    assert sync.node is not None
    wanted = {SIZE, BLOCK_OF, ENTRY} if sync.data_only else {SIZE, BLOCK_OF, ENTRY, ATTRIBUTE}
    last_size = past if sync.kind != "own" else _size_for(history, sync)
    for number in _below(history.own[sync.node], past):
        micro = history.micros[number]
        changed = aspects(micro) & wanted
        if sync.kind == "own" and (micro.op != sync.op or micro.what == "edge"):
            # A write that persists itself takes no other data along, and no more of the size than it needs.
            changed -= {BLOCK_OF} if number == last_size else {BLOCK_OF, SIZE}
        if changed:
            yield number


def _size_for(history: History, sync: Sync) -> int:
    """Return the micro-op since which the file is long enough for a write's data; -1 if it always was."""
    assert sync.node is not None
    parts = map(history.micros.__getitem__, history.parts(sync.op))
    stop = max((micro.stop for micro in parts if micro.what == "data"), default=0)
    edges: dict[int, int] = {}
    for number in reversed(list(_below(history.chains.get((SIZE, sync.node, 0), []), history.end[sync.op]))):
        micro = history.micros[number]
        if is_below(micro):
            edges |= {micro.stop: number} if micro.stop >= stop else {}
        elif any(change.aspect == SIZE and change.before < stop for change in micro.changes):
            return edges[min(edges)] if edges else number
    return -1


def _below(numbers: list[int], past: int) -> Iterator[int]:
    return (number for number in numbers if number < past)


def _committed(history: History, sync: Sync, past: int, covered: list[int]) -> Iterator[int]:
    """All metadata up to the last change of the file: that transaction must be in the journal.

    Later metadata need not be: with nothing of its own to commit, an fsync commits nothing (seen on
    ext4: a rename, then the fsync of a file that did not change, and the rename is lost). An
    fdatasync looks at changes of its size and at its making alone.
    """
    assert sync.node is not None
    names = list(_below(history.namings[sync.node], past))
    if sync.data_only:
        names = [] if sync.node in history.given else names[:1]
    own = [number for number in covered if aspects(history.micros[number]) != {BLOCK_OF}]
    last = max([*own, *names], default=-1)
    if last >= 0:
        end = history.end[history.micros[last].op]
        yield from (number for number in range(end) if is_metadata(history.micros[number]))


def _named(history: History, node: int, past: int) -> Iterator[int]:
    """What gave a file the names that it has, and the same for the directories that they are in."""
    waiting, done = [node], set()
    while waiting:
        one = waiting.pop()
        if one in done:
            continue
        done.add(one)
        keys = {
            change.key
            for number in _below(history.namings.get(one, []), past)
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
    """Yield the names that a sync persists for the sake of what they name, not of their directory.

    They are in no more than the log: see superseded().
    """
    if profile.fsync_commits == "names" and sync.node is not None:
        yield from _named(history, sync.node, history.end[sync.op])


def lasting(history: History, profile: Profile, sync: Sync) -> Iterator[int]:
    """Yield the names that a sync takes out of the log, or enters there with their directory."""
    if sync.node is None:
        yield from range(history.end[sync.op])
    elif profile.fsync_commits == "names":
        yield from _entries(history, sync.node, history.end[sync.op])


def superseded(history: History, op: int, by_log: set[int]) -> dict[int, int]:
    """Return the names in the log alone that have changed again when a sync is called, and their last change.

    That sync writes the log without them, and need not write what took their place. Seen on Linux 6.18:
    a file is made and fsynced, another renamed over it, a third fsynced: there is no file of that name.
    """
    past = history.end[op - 1]
    latest = {
        number: last_change(history, history.micros[number].changes[0].key, past)[0] for number in by_log
    }
    return {number: last for number, last in latest.items() if last != number}


def keeps_a_log(profile: Profile, sync: Sync) -> bool:
    """Tell whether from this sync on anything may persist out of order: what a log holds is too much to tell.

    A log tree of btrfs holds the file, its names, directories that they are in, what is new there, and
    files that had one of these names before. A later rename of the file goes into it too
    (btrfs_log_new_name()), and anybody's fsync writes it: seen on Linux 6.18, a rename without what was
    made before it.
    """
    return profile.fsync_commits == "names" and sync.node is not None


def strongest_first() -> list[Profile]:
    """Return the profiles, from the one that promises most to the one that promises least."""
    return list(PROFILES.values())[::-1]


def rests_on(profile: Profile, keeps: Callable[[Profile], bool]) -> str:
    """Say what a state that a disk admits rests on, where disks of its kind were not seen to leave it.

    Args:
        profile: of the disk.
        keeps: tells whether a disk with another profile admits the state as well.
    """
    if profile.name == "btrfs":
        return _PERMISSIVE
    names = [name for name, _ in profile.habits]
    for count in range(len(names) + 1):
        for broken in combinations(names, count):
            if keeps(profile.keeping(*(name for name in names if name not in broken))):
                return "; and ".join(_BROKEN[name] for name in broken)
    return ""


__all__ = [
    "PROFILES",
    "RENAME_EXCHANGE",
    "Profile",
    "durable",
    "is_metadata",
    "is_one_step",
    "keeps_a_log",
    "last_change",
    "lasting",
    "named_by_log",
    "profile_named",
    "rests_on",
    "strongest_first",
    "superseded",
]
