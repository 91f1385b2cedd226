"""The kernel's numbers: system calls by architecture, and constants of seccomp and BPF.

Sources: ``asm/unistd_64.h`` and ``asm-generic/unistd.h``, ``linux/seccomp.h``, ``linux/audit.h``,
``linux/filter.h``, ``linux/fs.h`` of Linux 6.x.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

_X86_64 = {
    "write": 1, "open": 2, "stat": 4, "lstat": 6, "mmap": 9, "ioctl": 16, "pwrite64": 18, "writev": 20,
    "access": 21, "sendfile": 40, "connect": 42, "sendto": 44, "sendmsg": 46, "bind": 49, "execve": 59,
    "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77,
    "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88,
    "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "mknod": 133,
    "pivot_root": 155, "chroot": 161, "sync": 162, "mount": 165, "setxattr": 188, "lsetxattr": 189,
    "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "io_setup": 206,
    "utimes": 235, "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "futimesat": 261,
    "newfstatat": 262, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268,
    "faccessat": 269, "splice": 275,
    "sync_file_range": 277, "utimensat": 280, "fallocate": 285, "pwritev": 296, "open_by_handle_at": 304,
    "syncfs": 306, "sendmmsg": 307, "setns": 308, "renameat2": 316, "seccomp": 317, "execveat": 322,
    "copy_file_range": 326,
    "pwritev2": 328, "statx": 332,
    "kill": 62, "rt_sigqueueinfo": 129, "tkill": 200, "tgkill": 234, "rt_tgsigqueueinfo": 297,
    "mprotect": 10, "pkey_mprotect": 329,
}  # fmt: skip
_ARM64 = {
    "io_setup": 0, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
    "fremovexattr": 16, "ioctl": 29, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36,
    "linkat": 37, "renameat": 38, "mount": 40, "pivot_root": 41, "truncate": 45, "ftruncate": 46,
    "fallocate": 47, "chroot": 51, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
    "openat": 56, "write": 64, "writev": 66, "pwrite64": 68, "pwritev": 70, "sendfile": 71, "splice": 76,
    "faccessat": 48, "newfstatat": 79,
    "sync": 81, "fsync": 82, "fdatasync": 83, "sync_file_range": 84, "utimensat": 88, "bind": 200,
    "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "connect": 203, "sendto": 206,
    "sendmsg": 211, "execve": 221, "mmap": 222, "mprotect": 226, "rt_tgsigqueueinfo": 240,
    "open_by_handle_at": 265, "syncfs": 267, "setns": 268, "sendmmsg": 269, "renameat2": 276, "seccomp": 277,
    "execveat": 281, "copy_file_range": 285, "pwritev2": 287, "pkey_mprotect": 288, "statx": 291,
}  # fmt: skip
# From 5.1 on every architecture takes the same new numbers.
_SHARED = {
    "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsmount": 432, "openat2": 437,
    "faccessat2": 439, "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467,
    "pidfd_send_signal": 424,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Abi:
    """One architecture: the word seccomp sees for it, and its system call numbers."""

    audit: int
    numbers: dict[str, int]
    #: numbers at or above this are another ABI in the same architecture word (x32); 0 for none.
    foreign_from: int


ABIS = {
    "x86_64": Abi(0xC000003E, _X86_64 | _SHARED, 0x40000000),
    "aarch64": Abi(0xC00000B7, _ARM64 | _SHARED, 0),
}


def native() -> Abi | None:
    """Return the table of the machine that this runs on, or None where it is not known."""
    return ABIS.get({"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine()))


AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
RENAME_EXCHANGE = 2
RESOLVE_IN_ROOT = 0x10
PROT_WRITE = 2
MAP_SHARED = 1
MAP_ANONYMOUS = 0x20
RWF_APPEND = 0x10
RWF_NOAPPEND = 0x20
FICLONE = 0x40049409
FICLONERANGE = 0x4020940D
#: Requests of ioctl(2) that do what fallocate(2) does, and its mode: FS_IOC_RESVSP, ..._UNRESVSP (each in two
#: widths) and FS_IOC_ZERO_RANGE of ``linux/falloc.h``.
RESERVATIONS = {0x40305828: 0, 0x4030582A: 0, 0x40305829: 2, 0x4030582B: 2, 0x40305839: 16}
#: Requests of one file system that change contents or names: not understood.
#: xfs: EXCHANGE_RANGE, SWAPEXT, and before 5.17 ALLOCSP and FREESP in two widths; ext4: MOVE_EXT, SWAP_BOOT;
#: btrfs: subvolumes and snapshots made and removed, ENCODED_WRITE.
UNKNOWN_CHANGES = (
    0x40285881, 0xC0C0586D, 0x4030580A, 0x4030580B, 0x40305824, 0x40305825, 0xC028660F, 0x00006611,
    0x50009401, 0x5000940E, 0x5000940F, 0x50009417, 0x50009418, 0x5000943F, 0x40809440,
)  # fmt: skip
#: Requests that set flags of an inode: FS_IOC_SETFLAGS in two widths, FS_IOC_FSSETXATTR (ioctl_iflags(2)).
FLAG_CHANGES = (0x40086602, 0x40046602, 0x401C5820)
#: Requests that put a loop device on a file (loop(4)).
LOOP_SET_FD, LOOP_CHANGE_FD, LOOP_CONFIGURE = 0x4C00, 0x4C06, 0x4C0A
CLONE_NEWNS = 0x20000
OPEN_TREE_CLONE = 1
MS_BIND = 0x1000
MS_MOVE = 0x2000
#: mount(2) that moves nothing: MS_REMOUNT, and which copies a mount's changes reach.
MS_IN_PLACE = 0x20 | 0xF << 17
CAP_SYS_CHROOT = 18
CAP_SYS_ADMIN = 21

# Python's os.O_TMPFILE carries O_DIRECTORY too; only the bit of its own can be tested for.
O_TMPFILE_BIT = 0o20000000
#: An open with none of these can change nothing.
OPEN_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | O_TMPFILE_BIT

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
# The direction bits that it had before 5.17; every later kernel takes them too.
SECCOMP_IOCTL_NOTIF_ID_VALID = 0x80082102
SECCOMP_IOCTL_NOTIF_SET_FLAGS = 0x40082104
SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP = 1
