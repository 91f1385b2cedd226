"""A notification becomes an op: which file of the box, and what is about to happen to it."""

from __future__ import annotations

import os
from collections.abc import Callable

from outlive_harness.trace import Op

from . import abi
from .filter import INTERCEPTED
from .task import descriptor_info, descriptor_path, read_iovecs, read_memory, read_string, resolve

Arguments = tuple[int, int, int, int, int, int]

#: Places that hold no files which outlive a run, or only such as the kernel makes up.
_NO_FILES = (b"/dev/", b"/proc/", b"/sys/")
_DELETED = b" (deleted)"


class Decoder:
    """Turns the calls of one run into ops, and keeps what lies outside the box or out of sight.

    Args:
        box: the real path of the box.
        data: whether ops carry the bytes that they write.
    """

    def __init__(self, box: bytes, *, data: bool = False) -> None:
        self.box = box.rstrip(b"/")
        self._inside = self.box + b"/"
        self._data = data
        self.outside: dict[str, None] = {}
        #: (path, or "" for all of the box; what was out of sight there), as an ordered set.
        self.blind: dict[tuple[str, str], None] = {}
        table = abi.native()
        assert table is not None
        self._audit = table.audit
        self._foreign_from = table.foreign_from
        self._decoders: dict[int, tuple[str, Callable[[str, int, Arguments], Op | None]]] = {
            table.numbers[name]: (name, getattr(self, "_" + _FAMILY[name]))
            for name in INTERCEPTED
            if name in table.numbers
        }

    def op(self, tid: int, number: int, audit: int, arguments: Arguments) -> Op | None:
        """Return the op that a call is, or None if it is not about the box.

        Raises:
            OSError: the task cannot be read: it died, or the kernel does not allow it.
        """
        if audit != self._audit or (self._foreign_from and number >= self._foreign_from):
            self.blind["", "calls of a foreign architecture (32-bit or x32 code) were not understood"] = None
            return None
        name, decode = self._decoders[number]
        return decode(name, tid, arguments)

    # -- where ---------------------------------------------------------------------------------------

    def _relative(self, path: bytes) -> str | None:
        if path.startswith(self._inside):
            return os.fsdecode(path[len(self._inside) :].removesuffix(_DELETED))
        return "" if path == self.box else None

    def _by_fd(self, tid: int, fd: int) -> str | None:
        return self._relative(descriptor_path(tid, fd))

    def _by_name(
        self, tid: int, dirfd: int, address: int, *, follow: bool = False, empty: bool = False
    ) -> str | None:
        path = resolve(tid, dirfd, read_string(tid, address), follow=follow, empty=empty)
        inside = self._relative(path)
        if inside is None and path and not path.startswith(_NO_FILES):
            self._note_outside(path)
        return inside

    def _note_outside(self, path: bytes) -> None:
        # A call that cannot succeed writes nothing: no such file to change, no right to make one.
        where = path if os.path.lexists(path) else os.path.dirname(path)
        if os.access(where, os.W_OK):
            self.outside[os.fsdecode(path)] = None

    # -- writing -------------------------------------------------------------------------------------

    def _write(self, name: str, tid: int, a: Arguments) -> Op | None:
        path = self._by_fd(tid, a[0])
        if path is None:
            return None
        length = a[2] if "v" not in name else 0
        data = None
        if "v" in name:
            parts = read_iovecs(tid, a[1], a[2])
            length = sum(size for _, size in parts)
            if self._data:
                data = b"".join(read_memory(tid, at, size) for at, size in parts)
        elif self._data:
            data = read_memory(tid, a[1], length)
        position, flags = descriptor_info(tid, a[0])
        if name.startswith("pw") and not (name == "pwritev2" and a[3] == (1 << 64) - 1):
            position = a[3]
        if flags & os.O_APPEND:
            position = -1
        return Op("write", name, path, "", tid, position, length, flags, 0, data)

    def _copy(self, name: str, tid: int, a: Arguments) -> Op | None:
        source, out = {"sendfile": (a[1], a[0]), "ioctl": (a[2], a[0])}.get(name, (a[0], a[2]))
        path = self._by_fd(tid, out)
        if path is None:
            return None
        length = {"sendfile": a[3], "ioctl": 0}.get(name, a[4])
        position, flags = descriptor_info(tid, out)
        origin = os.fsdecode(descriptor_path(tid, source)) if name != "ioctl" else ""
        return Op("copy", name, path, origin, tid, position, length, flags)

    def _truncate(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "ftruncate":
            path = self._by_fd(tid, a[0])
        else:
            path = self._by_name(tid, abi.AT_FDCWD, a[0], follow=True)
        return None if path is None else Op("truncate", name, path, tid=tid, length=a[1])

    def _fallocate(self, name: str, tid: int, a: Arguments) -> Op | None:
        path = self._by_fd(tid, a[0])
        if path is None:
            return None
        return Op("fallocate", name, path, tid=tid, offset=a[2], length=a[3], flags=a[1])

    # -- opening -------------------------------------------------------------------------------------

    def _open(self, name: str, tid: int, a: Arguments) -> Op | None:
        dirfd, address, flags, mode = abi.AT_FDCWD, a[0], a[1], a[2]
        if name == "creat":
            flags, mode = os.O_CREAT | os.O_WRONLY | os.O_TRUNC, a[1]
        elif name == "openat":
            dirfd, address, flags, mode = a[:4]
        elif name == "openat2":
            how = memoryview(read_memory(tid, a[2], 24)).cast("Q")
            dirfd, address, flags, mode = a[0], a[1], how[0], how[1]
        if not flags & abi.OPEN_CHANGES:
            return None
        flags &= 0xFFFFFFFF
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        path = self._by_name(tid, dirfd, address, follow=not (flags & os.O_NOFOLLOW or exclusive))
        return None if path is None else Op("open", name, path, tid=tid, flags=flags, mode=mode & 0o7777)

    def _handle(self, _name: str, _tid: int, _a: Arguments) -> Op | None:
        self.blind[
            "", "a file was opened for writing by handle (open_by_handle_at): its path is not known"
        ] = None
        return None

    # -- names ---------------------------------------------------------------------------------------

    def _make(self, name: str, tid: int, a: Arguments) -> Op | None:
        at = name.endswith("at")
        dirfd, address, mode = a[:3] if at else (abi.AT_FDCWD, a[0], a[1])
        path = self._by_name(tid, dirfd, address)
        if path is None:
            return None
        kind = name.removesuffix("at")
        flags = mode & 0xF000 if kind == "mknod" else 0  # the type of what is made
        return Op(kind, name, path, tid=tid, flags=flags, mode=mode & 0o7777)

    def _remove(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "unlinkat":
            path = self._by_name(tid, a[0], a[1])
            kind = "rmdir" if a[2] & abi.AT_REMOVEDIR else "unlink"
        else:
            path, kind = self._by_name(tid, abi.AT_FDCWD, a[0]), name
        return None if path is None else Op(kind, name, path, tid=tid)

    def _rename(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "rename":
            a = (abi.AT_FDCWD, a[0], abi.AT_FDCWD, a[1], 0, 0)
        flags = a[4] if name == "renameat2" else 0
        return self._pair("rename", name, tid, self._by_name(tid, a[0], a[1]), a[2], a[3], flags)

    def _link(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "link":
            a = (abi.AT_FDCWD, a[0], abi.AT_FDCWD, a[1], 0, 0)
        source = self._by_name(
            tid,
            a[0],
            a[1],
            follow=bool(a[4] & abi.AT_SYMLINK_FOLLOW),
            empty=bool(a[4] & abi.AT_EMPTY_PATH),
        )
        return self._pair("link", name, tid, source, a[2], a[3], a[4])

    def _pair(
        self, kind: str, name: str, tid: int, source: str | None, dirfd: int, address: int, flags: int
    ) -> Op | None:
        target = self._by_name(tid, dirfd, address)
        if source is None and target is None:
            return None
        # Into or out of the box: the side outside is written as an absolute path would be.
        return Op(
            kind, name, "/" if source is None else source, "/" if target is None else target, tid, flags=flags
        )

    def _symlink(self, name: str, tid: int, a: Arguments) -> Op | None:
        dirfd, address = (a[1], a[2]) if name == "symlinkat" else (abi.AT_FDCWD, a[1])
        path = self._by_name(tid, dirfd, address)
        if path is None:
            return None
        return Op("symlink", name, path, os.fsdecode(read_string(tid, a[0])), tid)

    # -- attributes ----------------------------------------------------------------------------------

    def _attribute(self, name: str, tid: int, a: Arguments) -> Op | None:
        kind = "chmod" if "chmod" in name else "chown" if "chown" in name else "utime"
        at = name.endswith(("at", "at2"))
        if name in ("fchmod", "fchown") or (at and not a[1]):  # a null path means the descriptor itself
            path = self._by_fd(tid, a[0])
        elif at:
            flags = a[4] if kind == "chown" else a[3] if name in ("utimensat", "fchmodat2") else 0
            path = self._by_name(
                tid,
                a[0],
                a[1],
                follow=not flags & abi.AT_SYMLINK_NOFOLLOW,
                empty=bool(flags & abi.AT_EMPTY_PATH),
            )
        else:
            path = self._by_name(tid, abi.AT_FDCWD, a[0], follow=name != "lchown")
        if path is None:
            return None
        mode = (a[2] if at else a[1]) & 0o7777 if kind == "chmod" else 0
        return Op(kind, name, path, tid=tid, mode=mode)

    def _xattr(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name.startswith("f"):
            path = self._by_fd(tid, a[0])
        elif name.endswith("at"):
            path = self._by_name(
                tid,
                a[0],
                a[1],
                follow=not a[2] & abi.AT_SYMLINK_NOFOLLOW,
                empty=bool(a[2] & abi.AT_EMPTY_PATH),
            )
        else:
            path = self._by_name(tid, abi.AT_FDCWD, a[0], follow=not name.startswith("l"))
        kind = "removexattr" if "remove" in name else "setxattr"
        return None if path is None else Op(kind, name, path, tid=tid)

    # -- syncs and memory ----------------------------------------------------------------------------

    def _sync(self, name: str, tid: int, a: Arguments) -> Op | None:
        path: str | None = ""
        if name not in ("sync", "msync"):
            path = self._by_fd(tid, a[0])
        elif name == "msync":
            return None  # makes stores durable that were unseen in the first place
        return None if path is None else Op(name, name, path, tid=tid)

    def _mmap(self, _name: str, tid: int, a: Arguments) -> Op | None:
        fd = a[4] & 0xFFFFFFFF
        path = self._by_fd(tid, fd)
        if path is not None and descriptor_info(tid, fd)[1] & os.O_ACCMODE == os.O_RDWR:
            self.blind[path, f"stores through memory to {path} (mmap, MAP_SHARED) were not seen"] = None
        return None


_FAMILY = {
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2"), "write"),
    **dict.fromkeys(("sendfile", "copy_file_range", "splice", "ioctl"), "copy"),
    **dict.fromkeys(("truncate", "ftruncate"), "truncate"),
    **dict.fromkeys(("open", "openat", "openat2", "creat"), "open"),
    **dict.fromkeys(("mkdir", "mkdirat", "mknod", "mknodat"), "make"),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), "remove"),
    **dict.fromkeys(("rename", "renameat", "renameat2"), "rename"),
    **dict.fromkeys(("link", "linkat"), "link"),
    **dict.fromkeys(("symlink", "symlinkat"), "symlink"),
    **dict.fromkeys(
        ("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"), "attribute"
    ),
    **dict.fromkeys(("utime", "utimes", "futimesat", "utimensat"), "attribute"),
    **dict.fromkeys(
        (
            "setxattr",
            "lsetxattr",
            "fsetxattr",
            "setxattrat",
            "removexattr",
            "lremovexattr",
            "fremovexattr",
            "removexattrat",
        ),
        "xattr",
    ),
    **dict.fromkeys(("fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"), "sync"),
    "fallocate": "fallocate",
    "open_by_handle_at": "handle",
    "mmap": "mmap",
}
