"""The kinds of ops, a line each. A new kind is a line here, and its effect in disk/model."""

from __future__ import annotations

from typing import NamedTuple


class OpKind(NamedTuple):
    """The traits of a kind of op.

    Attributes:
        name: the kind.
        writes: it puts bytes into a file.
        resizes: it changes the content of a file without bytes of its own.
        installs: it gives its second path a whole file in one step.
        makes: it makes its path, or may.
        removes: it takes its path away.
        attributes: it changes only what stat(2) of a tree does not show here: extended attributes, inode
            flags.
        times: it changes only times.
        syncs: it changes nothing that a process sees; it makes earlier ops durable.
        syncs_all: it does so for a whole file system.
        syncs_data_only: it leaves attributes out.
        syncs_range: it only starts the write-back of a range, or waits for it, and promises nothing.
        needs_room: it takes room on the disk, whatever the file system.
        can_fail: the kernel can let it fail.
        about_directory: its path is a directory.
        names_anything: its second path is a text, or lies anywhere; it is not a name in the box.
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
