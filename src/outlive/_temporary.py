"""Temporary files and directories: where they are, how a live one is told from a dead one's, and their end.

A temporary of `report.csv` is `.report.csv.0.outlive-tmp` beside it; if that is taken, number 1, and so on.
Its writer holds a lock on it (flock(2)), which the kernel takes away when the process ends, however it
ends. A temporary whose lock can be had is therefore an orphan. As the names are few and known, the next
write to the same destination comes upon it and removes it, and never has to search the directory.

Two moments need care. A writer makes its file and then locks it: in between, another may take it for an
orphan. So the writer looks, once it has the lock, whether the name still stands for its file, and if not
makes another. And who removes an orphan looks likewise, lock in hand, before it does.

Locks are believed only on Linux, and on file systems of one machine. On a network (NFS, SMB, 9p, FUSE,
virtiofs, Lustre) a lock may say nothing of other machines: there temporaries are removed by their writers
alone, and once a killed one has left its own under the first number, the next number is taken. So it is
where nothing tells what file system it is, as in a chroot; there locks are taken all the same, for others.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._durable import synced_directory
from ._place import checked_path, shown

if TYPE_CHECKING:
    from collections.abc import Callable

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None

SUFFIX = ".outlive-tmp"
#: Names that are looked at before one is drawn at random: more writers of one destination at a time.
_LABELS = tuple(map(str, range(16)))
_LONGEST_NAME = 255  # bytes, NAME_MAX of Linux and macOS
_LONGEST_LABEL = 16  # bytes, of a number or a random part
_LONGEST_CHARACTER = 4  # bytes, in UTF-8
_ROOM = _LONGEST_NAME - len("..") - _LONGEST_LABEL - len(SUFFIX)
#: Characters of a name that is never too long for its temporary's.
SHORT = _ROOM // _LONGEST_CHARACTER
_NAME = re.compile(r"\..+\.(?:[0-9]{1,2}|[0-9a-f]{16})" + re.escape(SUFFIX), re.DOTALL)
#: It is gone, or not ours to remove, or deeper than Python's stack or than there are descriptors.
_NOT_REMOVED = (OSError, RecursionError)
_LOOKS = 20
_BETWEEN_LOOKS = 0.01  # seconds
#: File systems of which one kernel knows all locks. Overlays count: each has an upper layer of its own.
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "nilfs2", "overlay"}
    | {"ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
#: Device numbers of file systems whose locks are believed: to look it up costs more than a lock. Where they
#: are not, it is looked up each time: a number may be given to another file system later.
_believed: set[int] = set()

_Identity = tuple[int, int]


class Temporary:
    """A temporary file or directory of this process.

    Attributes:
        path: where it is.
        descriptor: it, open; this holds the lock. -1 for a directory on Windows.
        process: who made it, and alone may remove it.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        #: what it was when it was made
        self.status = os.lstat(path) if descriptor < 0 else os.fstat(descriptor)
        self._identity = _identity(self.status)
        self.process = os.getpid()
        self._is_held = True

    def __del__(self) -> None:
        # An interrupt between its making and the block that takes care of it.
        if getattr(self, "_is_held", False):
            self.discard()

    def is_ours(self) -> bool:
        """Tell whether this process made it. A child that was forked since did not."""
        return os.getpid() == self.process

    def is_at(self, path: str) -> bool:
        """Tell whether a name stands for it."""
        try:
            return _identity(os.lstat(path)) == self._identity
        except OSError:
            return False

    def discard(self) -> None:
        """Remove it, unless it has gone to its destination: its name may then be another's."""
        if self.is_ours() and self.is_at(self.path):
            with suppress(*_NOT_REMOVED):
                _remove(self.path, self.descriptor)
        self.release()

    def stands_for(self, made: int) -> bool:
        """Tell whether it is the file that was made, and has its name still."""
        # Not by the number of its links: there are file systems on which that is always 0.
        return self.is_at(self.path) and (made < 0 or _identity(os.fstat(made)) == self._identity)

    def release(self) -> None:
        """Let go of the lock, also for children that were forked meanwhile and have the descriptor too."""
        descriptor, self.descriptor, self._is_held = self.descriptor, -1, False
        if descriptor < 0:
            return
        try:
            if self.is_ours():
                unlock(descriptor)
        finally:
            os.close(descriptor)


def refuse_child(process: int) -> None:
    """Raise in a process that was forked in the body: what it was forked from publishes, or does not."""
    if os.getpid() != process:
        raise RuntimeError("this process was forked in the body; only the one that entered it can end it")


def refuse_lost(temporary: str, made: os.stat_result, path: str, *, names: int | None = None) -> None:
    """Raise if what stands under a temporary's name is not what its writer made there.

    No writer removes another's; but a person may, or a program that tidies up. What another writer has made
    there since would be published in the place of it.

    Args:
        temporary: The name.
        made: What its writer made.
        path: The destination, for the message.
        names: Of a name without a directory: that, open.

    Raises:
        FileNotFoundError: It is not that.
    """
    try:
        there = os.lstat(temporary, dir_fd=names)
    except FileNotFoundError:
        pass
    else:
        if there.st_ino == made.st_ino and there.st_dev == made.st_dev:
            return
    message = f"destination={path!r} was not written: somebody removed its temporary file"
    raise FileNotFoundError(errno.ENOENT, message, path)


def make(
    directory: str, name: str, create: Callable[[str], int], *, alone: bool = False
) -> tuple[Temporary, int]:
    """Make a temporary for a destination, and remove what dead writers of it left under its names.

    Args:
        directory: Where.
        name: The destination's name.
        create: Makes it at a path where nothing must be, and returns a descriptor, or -1 for none.
        alone: Whether nobody else gets that descriptor. What two share, an fsync of one that failed can
            hide from the other (https://lwn.net/Articles/752063/), so that else the file is opened anew.

    Returns:
        The temporary, locked, and what *create* returned.

    Raises:
        OSError: The operating system refuses.
    """
    for number, label in enumerate(_LABELS, start=1):
        path = f"{directory}{os.sep}{temporary_name(name, label)}"
        try:
            found = _attempt(path, create, alone)
        except FileExistsError:
            if not remove_orphan(path):
                continue
            _remove_further(directory, name, _LABELS[number:])
            try:
                found = _attempt(path, create, alone)
            except FileExistsError:
                continue
        if found is not None:
            return found
    path = os.path.join(directory, temporary_name(name, os.urandom(8).hex()))
    with suppress(FileExistsError):
        if (found := _attempt(path, create, alone)) is not None:
            return found
    # Not FileExistsError, which says of a destination that it may not be replaced.
    raise OSError(errno.EBUSY, "no temporary name is free", directory)


def _remove_further(directory: str, name: str, labels: tuple[str, ...]) -> None:
    """Remove orphans under the next names, up to one that is free: several writers may have been killed."""
    for label in labels:
        path = os.path.join(directory, temporary_name(name, label))
        if not os.path.lexists(path):
            return
        remove_orphan(path)


def make_temporary_directory(directory: str, name: str, mode: int) -> Temporary:
    """Make a temporary directory, as `make` does."""

    def create(path: str) -> int:
        os.mkdir(path, mode)
        return -1

    return make(directory, name, create)[0]


def _attempt(path: str, create: Callable[[str], int], alone: bool) -> tuple[Temporary, int] | None:  # noqa: FBT001 - handed on
    """Make and lock a temporary; return None if somebody took it for an orphan in between."""
    made, is_made = -1, False
    try:
        made = create(path)
        is_made = True
        temporary = _locked(path, made, alone=alone)
    except OSError:
        if is_made:
            _take_back(path, made)
        if made >= 0:
            os.close(made)
        raise
    except BaseException:  # an interrupt, perhaps just after it was made: it is not locked
        if made >= 0:
            os.close(made)
        remove_orphan(path)
        raise
    if temporary is not None:
        return temporary, made
    if made >= 0:
        os.close(made)
    return None


def _take_back(path: str, made: int) -> None:
    """Remove what was made and cannot be used; whoever makes another there and loses it makes one more."""
    with suppress(OSError):
        if made < 0:
            os.rmdir(path)
        elif _identity(os.fstat(made)) == _identity(os.lstat(path)):
            os.unlink(path)


def temporary_name(name: str, label: str) -> str:
    """Return the name of a destination's temporary; a long one is cut between characters."""
    while len(name) > SHORT and len(os.fsencode(name)) > _ROOM:
        name = name[:-1]
    return f".{name}.{label}{SUFFIX}"


def _locked(path: str, made: int, *, alone: bool) -> Temporary | None:
    """Take the lock of what was just made; None if somebody took it for an orphan."""
    if made < 0 and sys.platform == "win32":  # where a directory cannot be opened
        return Temporary(path, -1)
    try:
        temporary = Temporary(path, os.dup(made) if alone else os.open(path, _read_flags()))
    except FileNotFoundError:
        return None
    except PermissionError:  # a umask that leaves its maker no right to read
        if made < 0:
            raise
        return Temporary(path, os.dup(made))
    # Where nothing tells whether locks are believed, others may know, and believe ours. On a network none is
    # taken: SMB would keep the writer's other descriptor from writing.
    if believes(path, temporary.status.st_dev) is not False and lock(temporary.descriptor) is False:
        temporary.release()
        return None
    if not temporary.stands_for(made):
        # Ours was removed. If another's has the name, not yet locked, who made it will give it up.
        temporary.discard()
        return None
    return temporary


def lock(descriptor: int) -> bool | None:
    """Take a lock; return False if another has it, and None where there are no locks."""
    if _fcntl is None:
        return None
    try:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def unlock(descriptor: int) -> None:
    """Let go of a lock."""
    try:
        if _fcntl is not None:
            _fcntl.flock(descriptor, _fcntl.LOCK_UN)
    except OSError:  # no locks here
        pass


def remove_orphans(directory: str | os.PathLike[str] = ".") -> list[str]:
    """Remove the temporary files and directories that killed writers left in a directory.

    A write removes those of its own destination by itself. This is for destinations that nobody writes
    again, as names with a date in them. What a live process still writes, on this machine, stays; so
    does all on network file systems, in a chroot without /proc, and elsewhere than on Linux, where nothing
    tells the two apart. A server that exports a local directory is not told what its clients write there:
    it must write and tidy up in other directories than they.

    Args:
        directory: Where to look; not in what is below.

    Returns:
        The paths that were removed, sorted.

    Raises:
        TypeError: The directory is no path.
        ValueError: It is empty or no possible name.
        OSError: It cannot be read.
    """
    directory = checked_path("directory", directory)
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        message = f"directory={shown(directory)} cannot be read ({error.strerror})"
        raise OSError(error.errno, message, directory) from error
    paths = [os.path.join(directory, name) for name in names if _NAME.fullmatch(name)]
    return [path for path in paths if remove_orphan(path)]


def remove_orphan(path: str) -> bool:
    """Remove a temporary, if it is known that no live process writes it; return whether it was removed.

    A directory may be the old one of an exchange that a killed process did not bring to the disk. It is
    taken apart only when that is done, or a power cut could bring it back in parts.
    """
    if _fcntl is None or sys.platform != "linux":
        return False
    try:
        descriptor = os.open(path, _read_flags())
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        known = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if not known or not is_local(os.path.dirname(path)) or not lock(descriptor):
            return False
        if _identity(status) != _identity(os.lstat(path)):
            return False
        if stat.S_ISDIR(status.st_mode):
            with synced_directory(os.path.dirname(path)):
                pass
        _remove(path, descriptor)
    except _NOT_REMOVED:
        return False
    finally:
        os.close(descriptor)
    return True


def remove_replaced(path: str, old: os.stat_result) -> None:
    """Remove the old directory of an exchange, which is on the disk; what cannot be removed stays.

    Who published it may hold its lock still, for as long as it brings the names to the disk.

    Args:
        path: Where it is.
        old: What it is. What has its name by now may be another, and the only copy of that.
    """
    with suppress(*_NOT_REMOVED):
        for _ in range(_LOOKS):
            if _removed(path, old):
                return
            time.sleep(_BETWEEN_LOOKS)


def _removed(path: str, old: os.stat_result) -> bool:
    """Remove a directory, unless it is another by now; return False if its lock is another's."""
    if sys.platform == "win32":
        if _identity(os.lstat(path)) == _identity(old):
            _remove(path, -1)
        return True
    descriptor = os.open(path, _read_flags())
    try:
        if _identity(os.fstat(descriptor)) != _identity(old):
            return True
        if believes(path, old.st_dev) is not False and lock(descriptor) is False:
            return False
        _remove(path, descriptor)
    finally:
        os.close(descriptor)
    return True


def _remove(path: str, opened: int) -> None:
    """Remove a file, or a directory with all that is in it; no link that somebody puts there is followed.

    Args:
        path: Where it is.
        opened: The directory: another that has its name by now keeps what is in it. Not on Windows.
    """
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
    elif sys.platform == "win32":
        from shutil import rmtree  # noqa: PLC0415 - keeps `import outlive` light

        rmtree(path)
    else:
        try:
            _empty(opened)
        except PermissionError:  # where a directory in it was made read-only
            for *_, where in os.fwalk(os.curdir, dir_fd=opened):
                os.fchmod(where, stat.S_IRWXU)
            _empty(opened)
        os.rmdir(path)


def _empty(opened: int) -> None:
    """Remove what is in a directory that is open."""
    for _, directories, files, where in os.fwalk(os.curdir, topdown=False, dir_fd=opened):
        for name in files:
            os.unlink(name, dir_fd=where)
        for name in directories:
            is_link = stat.S_ISLNK(os.lstat(name, dir_fd=where).st_mode)
            (os.unlink if is_link else os.rmdir)(name, dir_fd=where)


def believes(path: str, device: int) -> bool | None:
    """Tell whether locks are believed where a temporary is, as `is_local`; what is, is looked up once."""
    if _fcntl is None or sys.platform != "linux":
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
    descriptor = os.open(directory or os.curdir, os.O_PATH | os.O_CLOEXEC)
    try:
        # By its number: of two mounts on one place, or one above another, the path says not which is seen.
        with open(f"/proc/thread-self/fdinfo/{descriptor}", "rb") as facts:
            mount = next((line.split()[1] for line in facts if line.startswith(b"mnt_id:")), b"")
        with open("/proc/thread-self/mountinfo", "rb") as mounts:
            for line in mounts:
                if line.split(b" ", 1)[0] == mount:
                    return os.fsdecode(line.partition(b" - ")[2].split(b" ", 1)[0]) in _LOCAL
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES):
            raise
    finally:
        os.close(descriptor)
    return None


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _read_flags() -> int:
    if sys.platform == "win32":  # whose fsync asks for the right to write
        return os.O_RDWR | os.O_BINARY
    return os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
