"""The kinds of ops. A new kind is a line in this table, and its effect on the disk model."""

from __future__ import annotations

from typing import NamedTuple


class OpKind(NamedTuple):
    """The traits of a kind of op.

    Attributes:
        name: the kind.
        writes: it writes bytes into a file.
        resizes: it changes the content of a file without writing bytes.
        installs: it gives its second path a whole file in one step.
        makes: it can create its path.
        removes: it removes its path.
        attributes: it changes only extended attributes or inode flags, which stat(2) does not show.
        times: it changes only times.
        syncs: it changes nothing that a process can see, and makes earlier ops durable.
        syncs_all: it does so for a whole file system.
        syncs_data_only: it leaves attributes out.
        syncs_range: it only starts the write-back of a range, or waits for it, and promises nothing.
        needs_room: it needs room on the disk, on any file system.
        can_fail: the system call can fail.
        about_directory: its path is a directory.
        names_anything: its second path is a text, or a path that need not be in the box.
    """

    name: str
    writes: bool = False
    resizes: bool = False
    installs: bool = False
    makes: bool = False
    removes: bool = False
    attributes: bool = False
    times: bool = False
    syncs: bool = False
    syncs_all: bool = False
    syncs_data_only: bool = False
    syncs_range: bool = False
    needs_room: bool = False
    can_fail: bool = True
    about_directory: bool = False
    names_anything: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        OpKind("open", makes=True),
        OpKind("write", writes=True, makes=True, needs_room=True),
        OpKind("copy", writes=True, makes=True, needs_room=True, names_anything=True),
        OpKind("truncate", resizes=True, makes=True),
        OpKind("fallocate", resizes=True, needs_room=True),
        OpKind("mkdir", makes=True, needs_room=True, about_directory=True),
        OpKind("mknod", makes=True, needs_room=True),
        OpKind("symlink", makes=True, needs_room=True, names_anything=True),
        OpKind("link", installs=True, needs_room=True),
        OpKind("rename", installs=True),
        OpKind("unlink", removes=True),
        OpKind("rmdir", removes=True, about_directory=True),
        OpKind("chmod"),
        OpKind("chown"),
        OpKind("utime", times=True),
        OpKind("setxattr", attributes=True, needs_room=True),
        OpKind("removexattr", attributes=True),
        OpKind("setflags", attributes=True),
        OpKind("fsync", syncs=True),
        OpKind("fdatasync", syncs=True, syncs_data_only=True),
        OpKind("sync_file_range", syncs=True, syncs_range=True),
        OpKind("syncfs", syncs=True, syncs_all=True),
        OpKind("sync", syncs=True, syncs_all=True, can_fail=False),
    )
}
