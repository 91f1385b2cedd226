"""A notification becomes an op: which file of the box, and what is about to happen to it."""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Collection
from dataclasses import replace

import psutil

from outlive_harness.trace import NOW, OMIT, Content, Detail, Op, Seen

from . import abi, signals
from .filter import CONTACTS, INTERCEPTED, LOOKS, PROTECTIONS
from .lookup import Found, Keeper, Lookup, holds_files
from .peers import addresses, is_outside
from .rewritten import Rewritten
from .task import (
    MOST,
    behind,
    descriptor_info,
    descriptor_path,
    directory_of,
    file_system,
    is_capable,
    locate,
    open_source,
    program_of,
    read_file,
    read_iovecs,
    read_memory,
    read_parts,
    read_string,
    shared_maps,
    umask,
)

Arguments = tuple[int, int, int, int, int, int]

#: File systems of the kernel's own making, and such as begin empty: mounted elsewhere they hide no file.
_HARMLESS = frozenset(
    {b"proc", b"sysfs", b"tmpfs", b"ramfs", b"devpts", b"devtmpfs", b"mqueue", b"cgroup", b"cgroup2"}
)
_AF_UNIX = 1
_HOW_TO_SEND = "let the command start what it sends signals to, for example by sh -c"
#: The list of who may access a file, as linux/posix_acl_xattr.h has it: a version, then tag, bits and id of
#: each entry. The tags are those of the owner, the group and all others.
_ACCESS = "system.posix_acl_access"
_MINIMAL, _ACL_VERSION, _MINIMAL_TAGS = struct.Struct("<I HHI HHI HHI"), 2, (0x01, 0x04, 0x20)
#: Bits of a mode that no list holds: set-user-id, set-group-id, sticky.
_SPECIAL = 0o7000
_UTIME_NOW, _UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
#: Modes of fallocate(2) that file systems know; one that is not listed is taken to know all.
_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE, _ZERO, _INSERT = 1, 2, 8, 16, 32
_TMPFS, _EXT4, _BTRFS, _XFS = 0x01021994, 0xEF53, 0x9123683E, 0x58465342
_BCACHEFS, _OCFS2 = 0xCA451A4E, 0x7461636F
_FALLOCATE = {
    _TMPFS: _KEEP_SIZE | _PUNCH_HOLE,
    _BTRFS: _KEEP_SIZE | _PUNCH_HOLE | _ZERO,
    _EXT4: _KEEP_SIZE | _PUNCH_HOLE | _ZERO | _COLLAPSE | _INSERT,
}
#: File systems in which files can share blocks (ioctl_ficlone(2)).
_CLONING = frozenset({_BTRFS, _XFS, _BCACHEFS, _OCFS2})


class Decoder(Lookup):
    """Turns the calls of one run into ops, and keeps what lies outside the box or out of sight.

    Args:
        box: the real path of the box.
        data: whether ops carry the bytes that they write, and all else that the model of the disk
            needs; where the bytes are to be kept, if not in the ops themselves.
        places: whether writes carry where in the file they go: to find out costs half of an op's time.
        reads: whether to keep what is read outside the box.
        guarded: real paths outside the box that must not be changed: a call that would is to fail.
        tmp: see Lookup.
        spared: children of this process that are no part of the run, and get no signal from it.
    """

    def __init__(
        self,
        box: bytes,
        *,
        data: bool | Keeper = False,
        places: bool = True,
        reads: bool = False,
        guarded: Collection[bytes] = (),
        tmp: str = "",
        spared: Collection[int] = (),
    ) -> None:
        super().__init__(box, data=data, guarded=guarded, tmp=tmp)
        self._places = places
        self._spared = spared
        # To ask for writers is to open and close a file, which on a real disk changes what it asks for.
        self._rewritten = Rewritten(self.box) if self._data and file_system(self.box) == _TMPFS else None
        #: paths outside the box that were opened, and programs that ran, as an ordered set
        self.reads: dict[str, None] | None = {} if reads else None
        #: addresses outside the run's processes that it connected or sent to, and by how many calls
        self.effects: dict[str, int] = {}
        #: paths in the box that were to be read, or asked for, whether they are there or not
        self.looked: dict[str, None] = {}
        #: (path, or "" for all of the box; what was out of sight there), as an ordered set.
        self.blind: dict[tuple[str, str], None] = {}
        #: whether a file of the box was mapped to be read, by a descriptor that would let it be written to
        self._is_mapped = False
        table = abi.native()
        assert table is not None
        self._audit = table.audit
        self._foreign_from = table.foreign_from
        self._decoders: dict[int, tuple[str, Callable[[str, int, Arguments], Op | None]]] = {
            table.numbers[name]: (name, getattr(self, "_" + _FAMILY[name]))
            for name in (*INTERCEPTED, *CONTACTS, *LOOKS)
            if name in table.numbers
        }

    def op(self, tid: int, number: int, audit: int, arguments: Arguments) -> Op | None:
        """Return the op that a call is, or None if it is not about the box.

        Raises:
            OSError: the task cannot be read: it died, or the kernel does not allow it.
        """
        if self.made.awaited:
            self.made.settle(tid)
        if audit != self._audit or (self._foreign_from and number >= self._foreign_from):
            self.blind["", "calls of a foreign architecture (32-bit or x32 code) were not understood"] = None
            return None
        try:
            name, decode = self._decoders[number]
        except KeyError:  # no call has such a number, and the kernel says so: ENOSYS
            return None
        op = decode(name, tid, arguments)
        if self._rewritten is not None and op is not None and op.detail is not None:
            closed = self._rewritten.closed_before(op)
            if closed:
                op.detail = replace(op.detail, closed=closed)
        return op

    # -- writing -------------------------------------------------------------------------------------

    def _write(self, name: str, tid: int, a: Arguments) -> Op | None:
        if not self._places:
            inside = self._name_of(tid, a[0])
            if inside is None or (self._has_pipes and self._is_pipe(tid, a[0])):
                return None
            length = sum(size for _, size in read_iovecs(tid, a[1], a[2])) if "v" in name else a[2]
            return Op("write", name, inside, "", tid, 0, length)
        found = self._by_fd(tid, a[0])
        if found.inside is None or (self._has_pipes and self._is_pipe(tid, a[0])):
            return None
        parts = read_iovecs(tid, a[1], a[2]) if "v" in name else [(a[1], a[2])]
        length = sum(size for _, size in parts)
        position, flags = descriptor_info(tid, a[0])
        how = a[5] if name == "pwritev2" else 0
        if name.startswith("pw") and not (name == "pwritev2" and a[3] == (1 << 64) - 1):
            position = a[3]
        if (flags & os.O_APPEND and not how & abi.RWF_NOAPPEND) or how & abi.RWF_APPEND:
            position = -1
        seen = found.place.look() if self._data or position < 0 else None
        end = seen.size if seen is not None and position < 0 else -1
        if not self._data:
            return Op("write", name, found.inside, "", tid, position, length, flags, begin=end)
        unknown = ""
        data: bytes | None = None
        blob: Content | None = None
        fails = 0 if flags & os.O_ACCMODE else errno.EBADF
        try:
            data, blob = self._payload(read_parts(tid, parts))
        except OSError as error:
            unknown = f"its memory could not be read: {error.strerror or error}"
        detail = Detail(seen, opened=flags, how=how, blob=blob, fails=fails, unknown=unknown)
        return Op("write", name, found.inside, "", tid, position, length, flags, 0, data, detail, end)

    def _copy(self, name: str, tid: int, a: Arguments) -> Op | None:
        out = {"sendfile": a[0], "ioctl": a[0]}.get(name, a[2])
        found = self._by_fd(tid, out)
        if found.inside is None or (self._has_pipes and self._is_pipe(tid, out)):
            return None
        position, flags = descriptor_info(tid, out)
        source, start, length = a[0], -1, a[4]
        if name == "sendfile":
            source, length = a[1], a[3]
            start = _offset(tid, a[2], start)
        elif name != "ioctl":
            start = _offset(tid, a[1], start)
            position = _offset(tid, a[3], position)
        else:
            source, start, length, position = _clone(tid, a)
        source &= 0xFFFFFFFF
        origin = os.fsdecode(descriptor_path(tid, source))
        there = behind(tid, source).look()
        begin = start
        if there is None or not stat.S_ISREG(there.mode):
            # How much a pipe holds is known when it is read; of what else it is, nothing.
            length = min(length, MOST) if there is not None and is_from_pipe(name, there) else 0
        else:
            if begin < 0:
                begin = descriptor_info(tid, source)[0]
            rest = max(0, there.size - begin)
            length = rest if name == "ioctl" and not length else min(length, MOST, rest)
        if not self._data:
            return Op("copy", name, found.inside, origin, tid, position, length, flags, begin=begin)
        data: bytes | None = None
        blob: Content | None = None
        seen = found.place.look()
        fails, unknown = self._can_copy(name, flags, seen, there, found.place.where)
        if not fails and not unknown and there is not None:
            try:
                fd = open_source(tid, source)
                try:
                    data, blob = self._payload(read_file(fd, begin, length))
                finally:
                    os.close(fd)
            except OSError as error:
                unknown = f"{origin} could not be read: {error.strerror or error}"
        detail = Detail(seen, there, opened=flags, blob=blob, fails=fails, unknown=unknown)
        return Op("copy", name, found.inside, origin, tid, position, length, flags, 0, data, detail, begin)

    def _can_copy(
        self, name: str, flags: int, seen: Seen | None, there: Seen | None, where: bytes
    ) -> tuple[int, str]:
        """Tell how copying between descriptors fails, and else why the bytes cannot be known."""
        own = name in ("copy_file_range", "ioctl")
        if seen is None or there is None or not flags & os.O_ACCMODE:
            return errno.EBADF, ""
        if flags & os.O_APPEND:
            return errno.EINVAL, ""  # none of these calls appends
        if not stat.S_ISREG(there.mode):
            return (
                errno.EINVAL if own else 0,
                "it copies from a pipe, socket or device: that is read only once",
            )
        if own and seen.dev != there.dev:
            return errno.EXDEV, ""
        if name == "ioctl" and self._file_system(seen, where) not in _CLONING:
            return errno.EOPNOTSUPP, ""
        return 0, ""

    def _truncate(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "ftruncate":
            found = self._by_fd(tid, a[0])
        else:
            found = self._by_name(tid, abi.AT_FDCWD, a[0], follow=True)
        if found.inside is None:
            return None
        detail = self._through(tid, a[0], found, errno.EINVAL) if name == "ftruncate" else self._seen(found)
        return Op("truncate", name, found.inside, tid=tid, length=a[1], detail=detail)

    def _through(self, tid: int, fd: int, found: Found, code: int) -> Detail | None:
        """Look at what a descriptor is open on; one that is not open for writing gives the error *code*."""
        if not self._data:
            return None
        flags = descriptor_info(tid, fd)[1]
        return Detail(found.place.look(), opened=flags, fails=0 if flags & os.O_ACCMODE else code)

    def _fallocate(self, name: str, tid: int, a: Arguments) -> Op | None:
        found = self._by_fd(tid, a[0])
        return None if found.inside is None else self._allocate(name, tid, found, a)

    def _allocate(self, name: str, tid: int, found: Found, a: Arguments) -> Op:
        """Return the op of a call with the arguments of fallocate(2), whatever it is."""
        detail = self._through(tid, a[0], found, errno.EBADF)
        if detail is not None and detail.seen is not None and not detail.fails:
            known = _FALLOCATE.get(self._file_system(detail.seen, found.place.where), ~0)
            if a[1] & ~known:
                detail = Detail(detail.seen, opened=detail.opened, fails=errno.EOPNOTSUPP)
        inside = found.inside or ""
        return Op("fallocate", name, inside, tid=tid, offset=a[2], length=a[3], flags=a[1], detail=detail)

    def _ioctl(self, name: str, tid: int, a: Arguments) -> Op | None:
        request = a[1] & 0xFFFFFFFF
        if request in (abi.FICLONE, abi.FICLONERANGE):
            return self._copy(name, tid, a)
        if request in (abi.LOOP_SET_FD, abi.LOOP_CHANGE_FD, abi.LOOP_CONFIGURE):
            configured = request == abi.LOOP_CONFIGURE  # which takes a struct that begins with the descriptor
            fd = int.from_bytes(read_memory(tid, a[2], 4), sys.byteorder) if configured else a[2]
            path = self._by_fd(tid, fd).inside
            if path is not None:
                self.blind[path, f"writes to {path} through a loop device were not seen"] = None
            return None
        found = self._by_fd(tid, a[0])
        if found.inside is None:
            return None
        if request in abi.FLAG_CHANGES:
            return Op("setflags", name, found.inside, tid=tid, detail=self._seen(found))
        if request in abi.RESERVATIONS:
            mode = abi.RESERVATIONS[request] | _KEEP_SIZE
            start, length = self._reserved(tid, a, found)
            return None if start < 0 else self._allocate(name, tid, found, (a[0], mode, start, length, 0, 0))
        reason = f"files changed by ioctl {request:#x}, which is not understood"
        self.blind["", reason] = None
        return None

    def _reserved(self, tid: int, a: Arguments, found: Found) -> tuple[int, int]:
        """Return the range that a struct space_resv names; (-1, 0) where the call fails."""
        raw = read_memory(tid, a[2], 48)
        if len(raw) < 48:
            return -1, 0
        whence, start, length = struct.unpack_from("=2xh4xqq", raw)
        if whence == os.SEEK_CUR:
            start += descriptor_info(tid, a[0])[0]
        elif whence == os.SEEK_END:
            seen = found.place.look()
            start += seen.size if seen is not None else 0
        elif whence != os.SEEK_SET:
            return -1, 0
        return (start, length) if start >= 0 and length > 0 else (-1, 0)

    # -- opening -------------------------------------------------------------------------------------

    def _open(self, name: str, tid: int, a: Arguments) -> Op | None:
        dirfd, address, flags, mode = abi.AT_FDCWD, a[0], a[1], a[2]
        is_rooted = False  # an absolute path begins at the descriptor
        if name == "creat":
            flags, mode = os.O_CREAT | os.O_WRONLY | os.O_TRUNC, a[1]
        elif name == "openat":
            dirfd, address, flags, mode = a[:4]
        elif name == "openat2":
            raw = read_memory(tid, a[2], 24) if a[3] >= 24 else b""
            if len(raw) < 24:
                return None  # the call fails
            how = memoryview(raw).cast("Q")
            dirfd, address, flags, mode = a[0], a[1], how[0], how[1]
            is_rooted = bool(how[2] & abi.RESOLVE_IN_ROOT)
        if not flags & abi.OPEN_CHANGES:
            if self.reads is not None:
                self._note_read(tid, dirfd, read_string(tid, address))
            return None
        flags &= 0xFFFFFFFF
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        raw = read_string(tid, address)
        raw = raw.lstrip(b"/") if is_rooted else raw
        follow, is_sure = not (flags & os.O_NOFOLLOW or exclusive), bool(flags & os.O_TRUNC)
        found = self._by_text(tid, dirfd, raw, follow=follow, is_sure=is_sure)
        if found.inside is None:
            if self.reads is not None and flags & (os.O_ACCMODE | os.O_TRUNC) == os.O_RDWR:
                self._note_read(tid, dirfd, raw)
            return None
        detail = self._making(tid, found) if flags & (os.O_CREAT | abi.O_TMPFILE_BIT) else self._seen(found)
        self._note_pipe(found.place.look() if detail is None else detail.seen)
        return Op("open", name, found.inside, tid=tid, flags=flags, mode=mode & 0o7777, detail=detail)

    def _note_read(self, tid: int, dirfd: int, raw: bytes) -> None:
        """Keep a path as it was given: where its links lead may change, and that counts too."""
        assert self.reads is not None
        self.reads[os.fsdecode(program_of(tid))] = None
        raw = os.path.normpath(self._note_look(tid, dirfd, raw))
        if not self._is_of_the_box(raw) and holds_files(raw):
            self.reads[os.fsdecode(raw)] = None

    def _is_of_the_box(self, path: bytes) -> bool:
        """Tell whether a path is the box, in it, or one of the two directories above a worker's box."""
        parent = os.path.dirname(self.box)
        return path.startswith(self._inside) or path in (self.box, parent, os.path.dirname(parent))

    def _note_look(self, tid: int, dirfd: int, raw: bytes) -> bytes:
        """Keep a path if it is in the box, there or not; return it from the root on."""
        if not raw.startswith(b"/"):
            raw = directory_of(tid, dirfd) + b"/" + raw
        if raw.startswith(self._inside):
            self.looked[os.path.relpath(os.fsdecode(raw), os.fsdecode(self.box))] = None
        return raw

    def _look(self, name: str, tid: int, a: Arguments) -> None:
        dirfd, address = (abi.AT_FDCWD, a[0]) if name in ("stat", "lstat", "access") else (a[0], a[1])
        raw = read_string(tid, address) if address else b""
        if raw:  # otherwise it asks for what a descriptor is open on
            self._note_look(tid, dirfd, raw)

    def _execute(self, name: str, tid: int, a: Arguments) -> None:
        """Keep what is executed: a program that is linked statically opens nothing by itself."""
        if self.reads is None:
            return
        dirfd, address, flags = (a[0], a[1], a[4]) if name == "execveat" else (abi.AT_FDCWD, a[0], 0)
        raw = read_string(tid, address)
        if raw:
            self._note_read(tid, dirfd, raw)
        elif flags & abi.AT_EMPTY_PATH:
            self._note_read(tid, abi.AT_FDCWD, descriptor_path(tid, dirfd & 0xFFFFFFFF))

    def _contact(self, name: str, tid: int, a: Arguments) -> None:
        """Keep whom the run talks to: what it does there is in no crash state."""
        for address in addresses(name, tid, a):
            path = os.fsencode(address.path)
            if path.startswith(self._inside):
                continue  # bound by the run itself: there is nobody else in the box
            tree = [child.pid for child in psutil.Process().children(recursive=True)]
            if is_outside(tid, address, tree):
                self.effects[address.text] = self.effects.get(address.text, 0) + 1

    def _making(self, tid: int, found: Found) -> Detail | None:
        return Detail(found.place.look(), umask=umask(tid)) if self._data else None

    def _handle(self, _name: str, _tid: int, a: Arguments) -> Op | None:
        if a[2] & abi.OPEN_CHANGES:
            reason = "a file was opened for writing by handle (open_by_handle_at): its path is not known"
            self.blind["", reason] = None
        return None

    # -- names ---------------------------------------------------------------------------------------

    def _make(self, name: str, tid: int, a: Arguments) -> Op | None:
        at = name.endswith("at")
        dirfd, address, mode = a[:3] if at else (abi.AT_FDCWD, a[0], a[1])
        found = self._by_name(tid, dirfd, address)
        if found.inside is None:
            return None
        kind = name.removesuffix("at")
        flags = mode & 0xF000 if kind == "mknod" else 0  # the type of what is made
        detail = self._making(tid, found)
        return Op(kind, name, found.inside, tid=tid, flags=flags, mode=mode & 0o7777, detail=detail)

    def _bind(self, name: str, tid: int, a: Arguments) -> Op | None:
        address = read_memory(tid, a[1], min(a[2] & 0xFFFFFFFF, 110))
        raw = address[2:].partition(b"\0")[0]
        if int.from_bytes(address[:2], sys.byteorder) != _AF_UNIX or not raw:
            return None  # of another family, or with a name that is no path
        found = self._by_text(tid, abi.AT_FDCWD, raw)
        if found.inside is None:
            return None
        detail = self._making(tid, found)
        return Op("mknod", name, found.inside, tid=tid, flags=stat.S_IFSOCK, mode=0o777, detail=detail)

    def _remove(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "unlinkat":
            found = self._by_name(tid, a[0], a[1])
            kind = "rmdir" if a[2] & abi.AT_REMOVEDIR else "unlink"
        else:
            found, kind = self._by_name(tid, abi.AT_FDCWD, a[0]), name
        if found.inside is None:
            return None
        return Op(kind, name, found.inside, tid=tid, detail=self._seen(found))

    def _rename(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "rename":
            a = (abi.AT_FDCWD, a[0], abi.AT_FDCWD, a[1], 0, 0)
        flags = a[4] if name == "renameat2" else 0
        source = self._found(tid, a[0], read_string(tid, a[1]))
        target = self._found(tid, a[2], read_string(tid, a[3]))
        # The kernel compares the mounts before it looks whether the last names are there (fs/namei.c).
        if source.place.path and target.place.path and self._crosses(source, target):
            self._refuse_crossing("rename", tid, source, target)
            return None
        return self._pair("rename", name, tid, source, target, flags)

    def _link(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "link":
            a = (abi.AT_FDCWD, a[0], abi.AT_FDCWD, a[1], 0, 0)
        source = self._found(
            tid,
            a[0],
            read_string(tid, a[1]),
            follow=bool(a[4] & abi.AT_SYMLINK_FOLLOW),
            empty=bool(a[4] & abi.AT_EMPTY_PATH),
        )
        target = self._found(tid, a[2], read_string(tid, a[3]))
        # Here it looks first whether the one is there and the other is not: those errors come before.
        if self._crosses(source, target) and source.place.look() and target.place.path:
            if target.place.look() is None:
                self._refuse_crossing("link", tid, source, target)
            return None
        return self._pair("link", name, tid, source, target, a[4])

    def _pair(self, kind: str, name: str, tid: int, source: Found, target: Found, flags: int) -> Op | None:
        if source.inside is None or target.inside is None:
            # One that has a name in the box and one that has not cannot succeed: its directory is not there.
            if source.inside is None and target.inside is None:
                self._noted(tid, source)
                self._noted(tid, target)
            return None
        if not self._data:
            return Op(kind, name, source.inside, target.inside, tid, flags=flags)
        detail = Detail(source.place.look(), target.place.look())
        return Op(kind, name, source.inside, target.inside, tid, flags=flags, detail=detail)

    def _symlink(self, name: str, tid: int, a: Arguments) -> Op | None:
        dirfd, address = (a[1], a[2]) if name == "symlinkat" else (abi.AT_FDCWD, a[1])
        found = self._by_name(tid, dirfd, address)
        if found.inside is None:
            return None
        target = os.fsdecode(read_string(tid, a[0]))
        return Op("symlink", name, found.inside, target, tid, detail=self._seen(found))

    # -- attributes ----------------------------------------------------------------------------------

    def _attribute(self, name: str, tid: int, a: Arguments) -> Op | None:
        kind = "chmod" if "chmod" in name else "chown" if "chown" in name else "utime"
        at = name.endswith(("at", "at2"))
        if name in ("fchmod", "fchown") or (at and not a[1]):  # a null path means the descriptor itself
            found = self._by_fd(tid, a[0])
        elif at:
            flags = a[4] if kind == "chown" else a[3] if name in ("utimensat", "fchmodat2") else 0
            found = self._by_name(
                tid,
                a[0],
                a[1],
                follow=not flags & abi.AT_SYMLINK_NOFOLLOW,
                empty=bool(flags & abi.AT_EMPTY_PATH),
            )
        else:
            found = self._by_name(tid, abi.AT_FDCWD, a[0], follow=name != "lchown")
        if found.inside is None:
            return None
        first = 2 if at else 1
        mode = a[first] & 0o7777 if kind == "chmod" else 0
        detail = None
        if self._data:
            owner = (_id(a[first]), _id(a[first + 1])) if kind == "chown" else (-1, -1)
            times = _times(name, tid, a[first]) if kind == "utime" else None
            detail = Detail(found.place.look(), owner=owner, times=times)
        return Op(kind, name, found.inside, tid=tid, mode=mode, detail=detail)

    def _xattr(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name.startswith("f"):
            found = self._by_fd(tid, a[0])
        elif name.endswith("at"):
            found = self._by_name(
                tid,
                a[0],
                a[1],
                follow=not a[2] & abi.AT_SYMLINK_NOFOLLOW,
                empty=bool(a[2] & abi.AT_EMPTY_PATH),
            )
        else:
            found = self._by_name(tid, abi.AT_FDCWD, a[0], follow=not name.startswith("l"))
        kind = "removexattr" if "remove" in name else "setxattr"
        if found.inside is None:
            return None
        at = name.endswith("at")
        label, value, flags, fails = "", b"", 0, 0
        try:
            label = os.fsdecode(read_string(tid, a[3] if at else a[1]))
            if kind == "setxattr":
                address, size, flags = a[2], a[3], a[4]
                if at:
                    address, size, flags = struct.unpack("=QII", read_memory(tid, a[4], 16))
                value = read_memory(tid, address, min(size, 65536))
        except (OSError, struct.error):
            fails = errno.EFAULT
        mode = _minimal_mode(value) if label == _ACCESS else -1
        seen = found.place.look() if self._data or mode >= 0 else None
        if mode >= 0 and seen is not None:
            kind, mode = "chmod", mode | (seen.mode & _SPECIAL)
        op = Op(kind, name, found.inside, tid=tid, flags=flags & 3, mode=max(mode, 0))
        if self._data:
            op.data, op.detail = value, Detail(seen, name=label, fails=fails)
        return op

    # -- what paths mean -----------------------------------------------------------------------------

    def _view(self, name: str, tid: int, a: Arguments) -> Op | None:
        wanted = abi.CAP_SYS_CHROOT if name == "chroot" else abi.CAP_SYS_ADMIN
        if is_capable(tid, wanted) and self._changes_paths(name, tid, a):
            reason = f"it changed what its paths mean ({name}): its files were not all recognised"
            self.blind["", reason] = None
        return None

    def _changes_paths(self, name: str, tid: int, a: Arguments) -> bool:
        """Tell whether a file of the box may get another path, or its path another file, for a task."""
        if name == "chroot":
            return locate(tid, abi.AT_FDCWD, read_string(tid, a[0]), follow=True).path != b"/"
        if name in ("open_tree", "open_tree_attr"):
            return bool(a[2] & abi.OPEN_TREE_CLONE)
        if name == "setns":
            kind = descriptor_path(tid, a[0] & 0xFFFFFFFF)
            return kind.startswith(b"mnt:") or (not kind.startswith(b"/") and bool(a[1] & abi.CLONE_NEWNS))
        if name != "mount":
            return True
        if a[3] & abi.MS_IN_PLACE:
            return False
        there = locate(tid, abi.AT_FDCWD, read_string(tid, a[1]), follow=True)
        is_above = self._inside.startswith(there.path.rstrip(b"/") + b"/")
        kind = read_string(tid, a[2]) if a[2] else b""
        is_alias = a[3] & (abi.MS_BIND | abi.MS_MOVE) != 0 or kind not in _HARMLESS
        return is_alias or is_above or self._relative(there) is not None

    def _signal(self, name: str, tid: int, a: Arguments) -> None:
        whom = signals.outsider(name, tid, a, self._spared)
        if whom:
            number = signals.name_of(a[signals.CALLS[name]])
            self.refuse(errno.EPERM, f"was not let send {number} to {whom}, outside the run; {_HOW_TO_SEND}")

    # -- syncs and memory ----------------------------------------------------------------------------

    def _sync(self, name: str, tid: int, a: Arguments) -> Op | None:
        if name == "sync":
            return Op(name, name, "", tid=tid)
        inside = self._name_of(tid, a[0])
        if inside is None:
            return None
        if not self._data:
            return Op(name, name, inside, "", tid, flags=0 if self._is_open(tid, a[0]) else os.O_PATH)
        fd = a[0] & 0xFFFFFFFF
        opened = descriptor_info(tid, fd)[1]
        # By such a descriptor nothing can be done to what it names (open(2)).
        fails = errno.EBADF if opened & os.O_PATH else 0
        start, length, how = a[1:4] if name == "sync_file_range" else (0, 0, 0)
        detail = Detail(behind(tid, fd).look(), opened=opened, how=how, fails=fails)
        return Op(name, name, inside, "", tid, start, length, opened & os.O_PATH, detail=detail)

    def _is_open(self, tid: int, fd: int) -> bool:
        """Tell whether a descriptor can be read or written, by the rights of its link (proc_pid_fd(5))."""
        table = self._tables.get(tid)
        name = b"%d" % (fd & 0xFFFFFFFF)
        try:
            if table is None:
                return bool(os.lstat(b"/proc/%d/fd/%s" % (tid, name)).st_mode & 0o600)
            return bool(os.stat(name, dir_fd=table, follow_symlinks=False).st_mode & 0o600)
        except FileNotFoundError:
            return False  # it was closed meanwhile: the kernel knows

    def _mmap(self, _name: str, tid: int, a: Arguments) -> Op | None:
        fd = a[4] & 0xFFFFFFFF
        path = self._by_fd(tid, fd).inside
        if path is not None and descriptor_info(tid, fd)[1] & os.O_ACCMODE == os.O_RDWR:
            if a[2] & abi.PROT_WRITE:
                self._note_stores(path)
            else:
                self._is_mapped = True
        return None

    def _protect(self, _name: str, tid: int, a: Arguments) -> Op | None:
        """Look for files of the box in memory that may be written to from now on, wherever that was moved."""
        if self._is_mapped:
            for place in shared_maps(tid, a[0], a[0] + a[1]):
                path = self._relative(place)
                if path is not None:
                    self._note_stores(path)
        return None

    def _note_stores(self, path: str) -> None:
        self.blind[path, f"stores through memory to {path} (mmap, MAP_SHARED) were not seen"] = None


def is_from_pipe(name: str, source: Seen) -> bool:
    """Tell whether a copy takes what is in a pipe."""
    return name == "splice" and stat.S_ISFIFO(source.mode)


def _minimal_mode(value: bytes) -> int:
    """Return the permission bits that an access control list is, with which it is set; -1 if it is more.

    One of owner, group and others alone is a mode by another name (posix_acl_equiv_mode()): GNU's cp -p,
    cp -a, install and sed -i set it so.
    """
    if len(value) != _MINIMAL.size:
        return -1
    version, *entries = _MINIMAL.unpack(value)
    tags, bits = tuple(entries[::3]), entries[1::3]
    if version != _ACL_VERSION or tags != _MINIMAL_TAGS or any(one > 7 for one in bits):
        return -1
    return int(bits[0] << 6 | bits[1] << 3 | bits[2])


def _id(register: int) -> int:
    """Read a user or group id; all bits set means: leave it."""
    number = register & 0xFFFFFFFF
    return -1 if number == 0xFFFFFFFF else number


def _offset(tid: int, pointer: int, otherwise: int) -> int:
    """Read an offset that a call takes by reference; without one the descriptor's own counts."""
    try:
        raw = read_memory(tid, pointer, 8) if pointer else b""
    except OSError:
        raw = b""  # the call fails
    return int.from_bytes(raw, "little", signed=True) if len(raw) == 8 else otherwise


def _clone(tid: int, a: Arguments) -> tuple[int, int, int, int]:
    """Return source descriptor, source offset, length (0: to the end) and offset of a clone."""
    if a[1] & 0xFFFFFFFF != abi.FICLONE:
        try:
            source, start, length, position = struct.unpack("=qQQQ", read_memory(tid, a[2], 32))
        except (OSError, struct.error):
            return -1, 0, 0, 0  # the call fails
        return source, start, length, position
    return a[2], 0, 0, 0


def _times(name: str, tid: int, pointer: int) -> tuple[int, int] | None:
    """Read the times that a call of the utime family sets, in ns."""
    if not pointer:
        return NOW, NOW
    try:
        words = read_memory(tid, pointer, 16 if name == "utime" else 32)
        first, first_part, second, second_part = struct.unpack("=qqqq", words.ljust(32, b"\0"))
    except (OSError, struct.error):
        return None  # the call fails
    if name == "utime":
        return first * 10**9, first_part * 10**9
    if name != "utimensat":
        return first * 10**9 + first_part * 1000, second * 10**9 + second_part * 1000

    def time(seconds: int, part: int) -> int:
        return {_UTIME_NOW: NOW, _UTIME_OMIT: OMIT}.get(part, seconds * 10**9 + part)

    return time(first, first_part), time(second, second_part)


_FAMILY = {
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2"), "write"),
    **dict.fromkeys(("sendfile", "copy_file_range", "splice"), "copy"),
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
    **dict.fromkeys(("fsync", "fdatasync", "sync", "syncfs", "sync_file_range"), "sync"),
    "fallocate": "fallocate",
    "ioctl": "ioctl",
    "open_by_handle_at": "handle",
    "bind": "bind",
    **dict.fromkeys(
        (
            "chroot",
            "pivot_root",
            "mount",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "fsmount",
            "setns",
        ),
        "view",
    ),
    "mmap": "mmap",
    **dict.fromkeys(("execve", "execveat"), "execute"),
    **dict.fromkeys(("connect", "sendto", "sendmsg", "sendmmsg"), "contact"),
    **dict.fromkeys(signals.CALLS, "signal"),
    **dict.fromkeys(PROTECTIONS, "protect"),
    **dict.fromkeys(LOOKS, "look"),
}
