"""Runs a command with what a container's default profile leaves it: ``_profiles.py PROFILE COMMAND...``.

The names below are those that the profiles refuse to a container without further capabilities, as far as
a program like this one could come to call them. Sources: moby/profiles, ``seccomp/default.json`` (June
2026), and containers/common, ``pkg/seccomp/seccomp.json`` (August 2025). Containerd's, and so that of
Kubernetes with ``RuntimeDefault``, refuses what moby's does.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

from outlive_harness import abi

#: Numbers of calls on x86-64 and arm64; from 424 on they are the same.
NUMBERS = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "clone3": (435, 435),
    "fanotify_init": (300, 262), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "futex_waitv": (449, 449), "get_mempolicy": (239, 236),
    "io_pgetevents": (333, 292), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "kcmp": (312, 272), "kexec_load": (246, 104), "keyctl": (250, 219),
    "mbind": (237, 235), "migrate_pages": (256, 238), "mount": (165, 40), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "move_pages": (279, 239), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41), "process_madvise": (440, 440), "quotactl": (179, 60),
    "request_key": (249, 218), "set_mempolicy": (238, 237), "setns": (308, 268), "swapon": (167, 224),
    "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282),
    "vmsplice": (278, 75),
}  # fmt: skip
_NOT_BY_DOCKER = {"clone3", "futex_waitv", "io_pgetevents", "vmsplice"}
_BY_PODMAN = (
    "acct", "bpf", "io_pgetevents", "kcmp", "kexec_load", "migrate_pages", "move_pages", "open_by_handle_at",
    "perf_event_open", "process_madvise", "quotactl", "setns", "swapon", "userfaultfd", "vmsplice",
)  # fmt: skip
_UNKNOWN_TO_PODMAN = (
    "add_key", "futex_waitv", "io_uring_enter", "io_uring_register", "io_uring_setup", "request_key",
)  # fmt: skip
#: What each refuses, with its error.
REFUSED = {
    "docker": dict.fromkeys(NUMBERS.keys() - _NOT_BY_DOCKER, errno.EPERM) | {"clone3": errno.ENOSYS},
    "podman": dict.fromkeys(_BY_PODMAN, errno.EPERM) | dict.fromkeys(_UNKNOWN_TO_PODMAN, errno.ENOSYS),
}
#: Bits of the capabilities that a container's root has: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID,
#: SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
#: Flags of clone(2) that make namespaces.
NEW_NAMESPACES = 0x7E020000
_PR_CAPBSET_DROP, _PR_SET_SECCOMP = 24, 22
_libc = ctypes.CDLL(None, use_errno=True)


def program(profile):
    """Assemble a filter: what is refused, and clone(2) where it makes namespaces; all else is let through."""
    which = 0 if platform.machine() == "x86_64" else 1
    refused = {NUMBERS[name][which]: number for name, number in REFUSED[profile].items()}
    insn = struct.Struct("=HBBI")
    code = insn.pack(0x20, 0, 0, 0)  # the call's number
    for call, number in refused.items():
        code += insn.pack(0x15, 0, 1, call) + insn.pack(0x06, 0, 0, abi.SECCOMP_RET_ERRNO | number)
    if profile == "docker":
        clone = (56, 220)[which]
        code += (
            insn.pack(0x15, 0, 3, clone) + insn.pack(0x20, 0, 0, 16) + insn.pack(0x45, 0, 1, NEW_NAMESPACES)
        )
        code += insn.pack(0x06, 0, 0, abi.SECCOMP_RET_ERRNO | errno.EPERM)
    return code + insn.pack(0x06, 0, 0, abi.SECCOMP_RET_ALLOW)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def enter(profile):
    """Give up what a container does not have: capabilities, which the next exec takes away, and calls."""
    if os.geteuid() == 0:
        for number in range(64):
            if number not in CAPABILITIES:
                _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # the kernel has fewer than there are bits
    assert _libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    code = program(profile)
    asked = ctypes.byref(_Program(len(code) // 8, code))
    assert _libc.prctl(_PR_SET_SECCOMP, 2, asked, 0, 0) == 0, os.strerror(ctypes.get_errno())


if __name__ == "__main__":
    enter(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted
