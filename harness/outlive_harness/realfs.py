"""Ground truth: the same crash points on a real file system.

The box is the root of a file system whose image is a file in memory. While an op stands still the image
is copied, and the copy, mounted later, has just what that file system leaves after a power cut at that
moment: the page cache is lost, the journal is replayed.

Needs root, loop devices (loop(4)) and mkfs. All mounts are in a mount namespace of this process alone
(unshare(2), CLONE_NEWNS), so that they end with it, and ``mount -o loop`` gives the devices back
(LO_FLAGS_AUTOCLEAR).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

_CAP_SYS_ADMIN = 21
_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
#: Attempts to copy an image while nothing is written to it, and seconds between two.
_ATTEMPTS, _PAUSE = 200, 0.01
_LIMIT = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A file system.

    Attributes:
        name: as mount(8) has it.
        make: the program that makes one, with its options.
        size: bytes of an image; a hole as long as nothing is written there.
        options: of the mount.
        package: Debian's package of the program.
    """

    name: str
    make: tuple[str, ...]
    size: int
    options: str
    package: str


KINDS = {
    kind.name: kind
    for kind in (
        # Small file systems get small blocks by default; those that people have do not.
        Kind("ext4", ("mkfs.ext4", "-q", "-F", "-b", "4096"), 64 << 20, "", "e2fsprogs"),
        # A copy has the UUID of the original.
        Kind("xfs", ("mkfs.xfs", "-q", "-f"), 300 << 20, ",nouuid", "xfsprogs"),
        Kind("btrfs", ("mkfs.btrfs", "-q", "-f"), 128 << 20, "", "btrfs-progs"),
    )
}


class RealFsError(RuntimeError):
    """A real file system cannot be had, or failed; the message says why."""


@cache
def missing(name: str) -> str:
    """Say what this machine lacks to make a file system and mount it; "" if nothing."""
    kind = KINDS[name]
    asked: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: sys.platform == "linux", "file systems are mounted on Linux alone"),
        (lambda: os.geteuid() == 0, "only root may mount file systems"),
        (_may_mount, "root lacks CAP_SYS_ADMIN here, as in most containers, and may not mount file systems"),
        (
            lambda: shutil.which(kind.make[0]) is not None,
            f"{kind.make[0]} is not there: Debian has it in the package {kind.package}",
        ),
        (lambda: os.path.exists("/dev/loop-control"), "there are no loop devices (/dev/loop-control)"),
        (lambda: _knows(name), f"this kernel has no {name}"),
    )
    return next((lack for there, lack in asked if not there()), "")


def _may_mount() -> bool:
    """Tell whether this process has the capability that mount(2) and unshare(2) ask for."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return bool(effective >> _CAP_SYS_ADMIN & 1)


def _knows(name: str) -> bool:
    """Tell whether the kernel has a file system, or a module for it."""
    with open("/proc/filesystems", encoding="ascii") as listing:
        if name in listing.read().split():
            return True
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["modprobe", "-q", name], check=False, timeout=_LIMIT)
        return done.returncode == 0
    return False


_libc = ctypes.CDLL(None, use_errno=True)


@cache
def seclude() -> None:
    """Give this process its own mount namespace, once; nothing that it mounts is seen by others.

    Raises:
        RealFsError: the kernel, or a container, refuses.
    """
    if _libc.unshare(_CLONE_NEWNS) or _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        why = os.strerror(ctypes.get_errno())
        raise RealFsError(f"this process cannot have a mount namespace of its own: {why}")


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_LIMIT)
    except (OSError, subprocess.SubprocessError) as error:
        raise RealFsError(f"{argv[0]}: {error}") from error
    if done.returncode:
        raise RealFsError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")


@contextlib.contextmanager
def mounted(name: str, image: Path, where: Path, options: str = "") -> Iterator[Path]:
    """Mount an image on a directory, for as long as the body runs.

    Args:
        name: which file system: a name of KINDS.
        image: what is mounted.
        where: the directory; it is made.
        options: of the mount, beside those that it needs, as ``,noatime``.

    Of btrfs no two images that come of one another may be mounted at a time: it knows them by their id.

    Raises:
        RealFsError: it cannot be mounted: it is damaged, the kernel refuses, ...
    """
    seclude()
    where.mkdir(exist_ok=True)
    _run("mount", "-t", name, "-o", f"loop{KINDS[name].options}{options}", str(image), str(where))
    try:
        yield where
    finally:
        _unmount(where)
        where.rmdir()


def _unmount(where: Path) -> None:
    """Unmount a directory; one that is still in use is let go of as soon as it is not."""
    for _ in range(_ATTEMPTS):
        try:
            _run("umount", str(where))
        except RealFsError:
            time.sleep(_PAUSE)
        else:
            return
    _run("umount", "--lazy", str(where))


class RealFs:
    """A new, empty file system, mounted for as long as its body runs.

    Args:
        name: which: a name of KINDS.
        image: the file that it is in; it is made anew.
        where: the directory that it is mounted on.

    Raises:
        RealFsError: it cannot be made or mounted.
    """

    def __init__(self, name: str, image: Path, where: Path) -> None:
        self._kind, self._image, self._where = KINDS[name], image, where
        self._mount = contextlib.ExitStack()
        self._device = ""

    def __enter__(self) -> Self:
        with open(self._image, "wb") as file:
            file.truncate(self._kind.size)
        _run(*self._kind.make, str(self._image))
        _run(
            "fallocate", "--dig-holes", str(self._image)
        )  # an empty log is zeros, which each copy would copy
        self._mount.enter_context(mounted(self._kind.name, self._image, self._where))
        self._device = device_of(self._where)
        with contextlib.suppress(FileNotFoundError):
            (self._where / "lost+found").rmdir()  # it is e2fsck's, and made again when it is needed
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._mount.close()

    def sync(self) -> None:
        """Make all that is there durable."""
        fd = os.open(self._where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _libc.syncfs(fd) != 0:
                raise RealFsError(f"syncfs: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(fd)

    def commit(self) -> None:
        """Have the journal written, as its timer or another program's fsync would: names, and no data.

        A file without a name is fsynced: that takes along what else is in the running transaction
        (ext4, xfs; btrfs logs it apart).
        """
        fd = os.open(self._where, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"x")
            os.fsync(fd)
        finally:
            os.close(fd)

    def snapshot(self, copy: Path) -> None:
        """Copy what is on the disk now; who changes files meanwhile must stand still.

        Write-back may go on by itself. A copy during which the device wrote is no moment of the disk: it
        is thrown away and made again.

        Raises:
            RealFsError: the disk never came to rest.
            OSError: there is no room for the copy.
        """
        for _ in range(_ATTEMPTS):
            # The image's own time is set before data comes in, the device's counters after.
            time_before, before = os.stat(self._image).st_ctime_ns, self._activity()
            if before[0] == 0:
                copy_sparse(self._image, copy)
                if (os.stat(self._image).st_ctime_ns, self._activity()) == (time_before, before):
                    return
            time.sleep(_PAUSE)
        raise RealFsError(f"the file system on {self._device} was written to all the time")

    def _activity(self) -> tuple[int, ...]:
        """Return how many requests are under way, and what was written, discarded and flushed so far.

        ``Documentation/block/stat.rst``.
        """
        with open(f"/sys/block/{self._device}/stat", encoding="ascii") as stat:
            numbers = [int(word) for word in stat.read().split()]
        return tuple(numbers[place] for place in (8, 4, 6, 11, 13, 15) if place < len(numbers))


def device_of(where: Path) -> str:
    """Return the block device that is mounted on a directory."""
    number = os.stat(where).st_dev
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            words = line.split()
            if words[4] == str(where):
                return os.path.basename(words[words.index("-") + 2])
    raise RealFsError(f"nothing is mounted on {where} (device {number})")


def copy_sparse(source: Path, copy: Path) -> None:
    """Copy a file and leave its holes out."""
    with open(source, "rb", buffering=0) as old, open(copy, "wb", buffering=0) as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        end = 0
        while end < size:
            try:
                start = os.lseek(old.fileno(), end, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole
                return
            end = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            os.lseek(new.fileno(), start, os.SEEK_SET)
            at = start
            while at < end:
                at += os.sendfile(new.fileno(), old.fileno(), at, end - at)
