"""The kernel's numbers: system calls by architecture, flags, requests and magic values.

Python's own modules (os, stat, errno, signal, socket, fcntl) name the others. Sources: ``asm/unistd_64.h``,
``asm-generic/unistd.h`` and the headers of Linux 6.x that stand above each group.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

_X86_64 = {
    "write": 1, "open": 2, "stat": 4, "fstat": 5, "lstat": 6, "mmap": 9, "ioctl": 16, "pwrite64": 18,
    "writev": 20,
    "access": 21, "sendfile": 40, "connect": 42, "sendto": 44, "sendmsg": 46, "bind": 49, "execve": 59,
    "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "chdir": 80,
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
    "brk": 12, "gettimeofday": 96, "arch_prctl": 158, "time": 201, "futex": 202, "sched_getaffinity": 204,
    "set_tid_address": 218, "timer_settime": 223, "clock_gettime": 228, "clock_nanosleep": 230,
    "mq_timedsend": 242, "mq_timedreceive": 243, "timerfd_settime": 286,
}  # fmt: skip
_ARM64 = {
    "io_setup": 0, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
    "fremovexattr": 16, "ioctl": 29, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36,
    "linkat": 37, "renameat": 38, "mount": 40, "pivot_root": 41, "truncate": 45, "ftruncate": 46,
    "fallocate": 47, "chroot": 51, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
    "openat": 56, "write": 64, "writev": 66, "pwrite64": 68, "pwritev": 70, "sendfile": 71, "splice": 76,
    "faccessat": 48, "chdir": 49, "newfstatat": 79, "fstat": 80,
    "sync": 81, "fsync": 82, "fdatasync": 83, "sync_file_range": 84, "utimensat": 88, "bind": 200,
    "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "connect": 203, "sendto": 206,
    "sendmsg": 211, "execve": 221, "mmap": 222, "mprotect": 226, "rt_tgsigqueueinfo": 240,
    "open_by_handle_at": 265, "syncfs": 267, "setns": 268, "sendmmsg": 269, "renameat2": 276, "seccomp": 277,
    "execveat": 281, "copy_file_range": 285, "pwritev2": 287, "pkey_mprotect": 288, "statx": 291,
    "timerfd_settime": 86, "set_tid_address": 96, "futex": 98, "timer_settime": 110, "clock_gettime": 113,
    "clock_nanosleep": 115, "sched_getaffinity": 123, "gettimeofday": 169, "mq_timedsend": 182,
    "mq_timedreceive": 183, "brk": 214,
}  # fmt: skip
#: From 5.1 on, new calls have the same number on every architecture.
SHARED_NUMBERS = {
    "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsmount": 432, "openat2": 437,
    "faccessat2": 439, "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467,
    "pidfd_send_signal": 424, "pidfd_getfd": 438, "futex_waitv": 449, "futex_wait": 455,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Abi:
    """One architecture.

    Attributes:
        audit: the architecture word that seccomp sees (``linux/audit.h``).
        numbers: system call numbers by name.
        foreign_from: numbers from here on belong to another ABI with the same architecture word (x32); 0 for
            none.
    """

    audit: int
    numbers: dict[str, int]
    foreign_from: int


ABIS = {
    "x86_64": Abi(0xC000003E, _X86_64 | SHARED_NUMBERS, 0x40000000),
    "aarch64": Abi(0xC00000B7, _ARM64 | SHARED_NUMBERS, 0),
}


def native() -> Abi | None:
    """Return the table of this machine's architecture; None if it is not supported."""
    return ABIS.get({"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine()))


# linux/fcntl.h, fcntl.h
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
#: Only this bit tells O_TMPFILE: Python's os.O_TMPFILE holds O_DIRECTORY as well.
O_TMPFILE_BIT = 0o20000000
#: An open with none of these flags changes nothing.
OPEN_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | O_TMPFILE_BIT
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
#: linux/openat2.h
RESOLVE_IN_ROOT = 0x10
#: linux/stat.h: the times that utimensat(2) takes for "now" and "leave it".
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
#: linux/xattr.h
XATTR_CREATE, XATTR_REPLACE = 1, 2
#: linux/posix_acl_xattr.h: the attribute that holds an access control list, its version, and the tags of its
#: entries for the owner, the group and all others.
ACL_ACCESS = "system.posix_acl_access"
ACL_VERSION, ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER = 2, 0x01, 0x04, 0x20
#: Bytes of a list without entries; setting it removes the list that is there.
ACL_EMPTY = 4

# asm-generic/mman.h
PROT_WRITE = 2
MAP_SHARED = 1
MAP_ANONYMOUS = 0x20

# linux/fs.h: flags of pwritev2(2), of sync_file_range(2); what one read(2) or write(2) moves at most.
RWF_DSYNC, RWF_SYNC = 2, 4
RWF_APPEND = 0x10
RWF_NOAPPEND = 0x20
SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WAIT_AFTER = 2, 4
MAX_RW_COUNT = 0x7FFFF000
#: linux/limits.h, linux/uio.h
PATH_MAX = 4096
UIO_MAXIOV = 1024
#: Symbolic links that one path may lead through (path_resolution(7)).
MAX_SYMLINKS = 40
#: The kernel's loff_t is signed.
MAX_LOFF = (1 << 63) - 1

# linux/falloc.h: modes of fallocate(2).
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE_RANGE = 1, 2, 8
FALLOC_ZERO_RANGE, FALLOC_INSERT_RANGE, FALLOC_UNSHARE_RANGE = 16, 32, 64

# linux/fs.h, linux/falloc.h, linux/loop.h: requests of ioctl(2).
FICLONE = 0x40049409
FICLONERANGE = 0x4020940D
#: Requests that do what fallocate(2) does, and its mode: FS_IOC_RESVSP and FS_IOC_UNRESVSP (each in two
#: widths), FS_IOC_ZERO_RANGE.
RESERVATIONS = {
    0x40305828: 0,
    0x4030582A: 0,
    0x40305829: FALLOC_PUNCH_HOLE,
    0x4030582B: FALLOC_PUNCH_HOLE,
    0x40305839: FALLOC_ZERO_RANGE,
}
#: Requests of one file system that change contents or names, and are not decoded.
#: xfs: EXCHANGE_RANGE, SWAPEXT, and before 5.17 ALLOCSP and FREESP in two widths; ext4: MOVE_EXT, SWAP_BOOT;
#: btrfs: subvolumes and snapshots made and removed, ENCODED_WRITE.
UNKNOWN_CHANGES = (
    0x40285881, 0xC0C0586D, 0x4030580A, 0x4030580B, 0x40305824, 0x40305825, 0xC028660F, 0x00006611,
    0x50009401, 0x5000940E, 0x5000940F, 0x50009417, 0x50009418, 0x5000943F, 0x40809440,
)  # fmt: skip
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
#: Requests that set flags of an inode: FS_IOC_SETFLAGS in two widths, FS_IOC_FSSETXATTR (ioctl_iflags(2)).
FLAG_CHANGES = (FS_IOC_SETFLAGS, 0x40046602, 0x401C5820)
FS_SYNC_FL, FS_IMMUTABLE_FL, FS_APPEND_FL, FS_NODUMP_FL = 0x8, 0x10, 0x20, 0x40
FS_COMPR_FL, FS_NOATIME_FL, FS_NOTAIL_FL, FS_DIRSYNC_FL, FS_NOCOW_FL = 0x4, 0x80, 0x8000, 0x10000, 0x800000
#: Requests that put a loop device on a file (loop(4)).
LOOP_SET_FD, LOOP_CHANGE_FD, LOOP_CONFIGURE = 0x4C00, 0x4C06, 0x4C0A

# linux/magic.h: file systems, as statfs(2) gives them.
TMPFS_MAGIC, RAMFS_MAGIC = 0x01021994, 0x858458F6
EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, XFS_SUPER_MAGIC = 0xEF53, 0x9123683E, 0x58465342
BCACHEFS_SUPER_MAGIC, OCFS2_SUPER_MAGIC = 0xCA451A4E, 0x7461636F

# linux/mount.h, linux/sched.h, linux/capability.h
CLONE_NEWNS = 0x20000
OPEN_TREE_CLONE = 1
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
#: Flags of a mount(2) that moves nothing: MS_REMOUNT, and the propagation types.
MS_IN_PLACE = 0x20 | 0xF << 17
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CAP_SYS_CHROOT = 18
CAP_SYS_ADMIN = 21

# linux/prctl.h, linux/pidfd.h
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
#: A flag of pidfd_open(2), Linux 6.9.
PIDFD_THREAD = os.O_EXCL
PIDFD_SIGNAL_PROCESS_GROUP = 4

# bits/socket.h, linux/vm_sockets.h
AF_UNIX, AF_INET, AF_INET6, AF_VSOCK = 1, 2, 10, 40
#: Bytes of struct sockaddr_un and of struct sockaddr_storage, the longest.
SOCKADDR_UN, SOCKADDR_STORAGE = 110, 128
#: Bytes of struct msghdr and of struct mmsghdr.
MSGHDR, MMSGHDR = 56, 64

# linux/bpf_common.h, and offsets in struct seccomp_data.
BPF_LD_W_ABS, BPF_JEQ_K, BPF_JGE_K, BPF_JSET_K, BPF_RET_K = 0x20, 0x15, 0x35, 0x45, 0x06
SECCOMP_DATA_NR, SECCOMP_DATA_ARCH, SECCOMP_DATA_ARGS = 0, 4, 16

# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
#: With the direction bits from before 5.17; every later kernel takes them too.
SECCOMP_IOCTL_NOTIF_ID_VALID = 0x80082102
SECCOMP_IOCTL_NOTIF_SET_FLAGS = 0x40082104
SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP = 1
