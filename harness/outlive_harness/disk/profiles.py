"""What disks promise when power is lost: a table of persistence profiles.

A profile adds to what holds on any disk (see persistence/micro.py): which micro-ops must persist before
others, and what a completed fsync persists besides its own file.

Sources; where they are silent, the profiles follow what was seen on real file systems:

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

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Profile:
    """What a disk promises beyond the order of the changes of one entry, block or attribute.

    Attributes:
        name: the profile's name.
        promise: its promise, in a few words.
        one_step_rename: when the two entries of a rename change at once: ``always``, ``never``, or
            ``directory``: within one directory, for a directory, and in an exchange. A file that moves to
            another directory then gets its new name first, and may be left with both.
        names_in_order: whether the changes of one name persist in order, and a file's names one after
            another.
        ordered: whether names, attributes and sizes that are set persist in the order of the ops, those of
            one op at once; a write's growth then persists only after all of those before it.
        whole_blocks: whether no write is torn inside a block.
        shrink_frees: whether a file is cut off and its whole blocks past the end are freed in one step. (The
            rest of the last block is cleared as data, at any time.)
        data_first: where a file's growth persists only after its data: "" nowhere, ``fresh`` in blocks that
            had no data yet, ``all`` everywhere.
        growth_in_order: whether a file's growths persist in order, unless sync_file_range(2) scattered them.
        replace_flushes: what a rename over an existing name first persists of the renamed file: "" nothing,
            ``size`` its growths, ``fresh`` also the data of blocks that had none yet.
        fsync_commits: what an fsync persists besides its file: "" nothing; ``journal`` all names, attributes
            and set sizes up to the file's own last change; ``names`` the file's names, those of its
            directories, and a directory's entries, but not the other half of a rename.
        close_flushes: what the close of a truncated and rewritten file persists before all that is committed
            later: as replace_flushes.
        whole_writes: whether the parts of a write of up to 64 KiB that go into blocks without data persist as
            one, and so do the growths for them.
        waits: whether data that sync_file_range(2) waited for is durable, and its growth persists before all
            that is committed later.
        habits: values of the three fields above that disks of this kind were seen to keep without a promise.
            A violation that needs a habit to be broken says so: see rests_on().
        caveat: why a state that only this profile admits may never occur; "" if that is not known.
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
    caveat: str = ""

    def keeping(self, *habits: str) -> Profile:
        """Return the profile of a disk that also promises some of its habits."""
        kept = {name: value for name, value in self.habits if name in habits}
        return replace(self, name=f"{self.name}, {', '.join(kept)}", habits=(), **kept)  # type: ignore[arg-type]


#: Never broken by ext4 and xfs on Linux 6.18, in 9,900 images left by cuts of a logged disk.
_WHOLE = (("whole_writes", True), ("waits", True))
#: What a violation rests on, by the habit that it needs to be broken.
_BROKEN = {
    "whole_writes": "a write of up to 64 KiB that is cut at a page, which no ext4 or xfs was seen to leave "
    "(older kernels, fragmentation and full memory may)",
    "waits": "data that is lost though sync_file_range waited for it, which no ext4 or xfs was seen to leave "
    "(sync_file_range(2) does not promise it)",
    "close_flushes": "a file that is empty though it was written anew and closed, which ext4 leaves only "
    "where somebody else closes the file meanwhile, as a reader does",
}

#: From the profile that promises least to the one that promises most.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("strict", "not even that a rename is one step", one_step_rename="never"),
        # POSIX does not mention crashes. On btrfs a file moved to another directory has both names once that
        # directory is fsynced (seen on Linux 6.18); a moved directory and an exchange never had.
        Profile(
            "posix",
            "what fsync(2) says, and that a rename within a directory is one step",
            one_step_rename="directory",
        ),
        # Transactions persist in order; a log tree adds fsynced files to the last one, with the names that
        # they have then, whatever came between. Sizes can be ahead of the data (no-holes):
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
            caveat="the model of btrfs, which admits more than a btrfs was seen to leave",
        ),
        # The log persists in order; a size is logged once its data is written. A rename flushes nothing: the
        # new file may be empty.
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
        # The default mount since Linux 5.6 (dioread_nolock, shown as an absent option): blocks are allocated
        # unwritten, so a commit between the start and the end of write-back leaves a size without data:
        # zeros, even if a rename over an existing name started the write-back. Seen on Linux 6.18: rename
        # over a name, then fsync of the directory: zeros in 4 of 10.
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
        # data=ordered with auto_da_alloc (Documentation/admin-guide/ext4.rst), mounted with dioread_lock. An
        # append within a block that is already on the disk has no such promise, since its size is journaled
        # at once: seen on Linux 6.18, zeros after an fsync of another file.
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
    """Return a profile by its name.

    Raises:
        ValueError: there is no such profile.
    """
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ValueError(f"no persistence profile {profile!r}; there are {', '.join(PROFILES)}")
    return PROFILES[profile]


def strongest_first() -> list[Profile]:
    """Return the profiles, from the one that promises most to the one that promises least."""
    return list(PROFILES.values())[::-1]


def weakness(name: str) -> int:
    """Return how little a profile promises: 0 for the one that promises most, and for no name."""
    return strongest_first().index(PROFILES[name]) if name else 0


def rests_on(profile: Profile, keeps: Callable[[Profile], bool]) -> str:
    """Return why a disk may never leave a state that its profile admits; "" if disks were seen to.

    Args:
        profile: the disk's profile.
        keeps: returns whether a disk with another profile admits the state too.
    """
    if profile.caveat:
        return profile.caveat
    names = [name for name, _ in profile.habits]
    for count in range(len(names) + 1):
        for broken in combinations(names, count):
            if keeps(profile.keeping(*(name for name in names if name not in broken))):
                return "; and ".join(_BROKEN[name] for name in broken)
    return ""
