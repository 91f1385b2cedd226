"""Where locks are believed: on file systems that this kernel alone writes."""

from __future__ import annotations

import errno
import os
import sys

from ._descriptor import opened

#: File systems of which one kernel knows all locks. Overlays count: each has an upper layer of its own.
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "nilfs2", "overlay"}
    | {"ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
#: Device numbers of file systems whose locks are believed: to look it up costs more than a lock. Where they
#: are not, it is looked up each time: a number may be given to another file system later.
_believed: set[int] = set()


def believes(path: str, device: int) -> bool | None:
    """Tell whether locks are believed where a temporary is, as `is_local`; what is, is looked up once."""
    if sys.platform != "linux":
        return False
    if device in _believed:
        return True
    found = is_local(os.path.dirname(path))
    if found:
        _believed.add(device)
    return found


def is_local(directory: str) -> bool | None:
    """Tell whether this kernel alone writes the file system of a directory (proc_pid_mountinfo(5)).

    Returns:
        None where nothing tells: there is no /proc, or the mount is not below the process's root.

    Raises:
        OSError: That cannot be found out now, for want of a descriptor or of memory.
    """
    descriptor = opened(directory or os.curdir, os.O_PATH)
    try:
        # By its number: of two mounts on one place, or one above another, the path says not which is seen.
        with open(f"/proc/thread-self/fdinfo/{descriptor.fileno()}", "rb") as facts:
            mount = b"".join([line.split()[1] for line in facts if line.startswith(b"mnt_id:")])
        with open("/proc/thread-self/mountinfo", "rb") as mounts:
            for line in mounts:
                if line.split(b" ", 1)[0] == mount:
                    return os.fsdecode(line.partition(b" - ")[2].split(b" ", 1)[0]) in _LOCAL
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES):
            raise
    finally:
        descriptor.close()
    return None
