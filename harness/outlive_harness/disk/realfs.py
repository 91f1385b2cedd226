"""Ground truth: the same crash points on a real file system.

The box is the root of a file system whose image is a file in memory. While an op is stopped the image is
copied; the copy, mounted later, holds what that file system leaves after a power cut at that moment: the page
cache is lost, the journal is replayed.

Needs root, loop devices (loop(4)) and mkfs. All mounts are in this process's own mount namespace (unshare(2),
CLONE_NEWNS), so they end with it, and ``mount -o loop`` frees the devices (LO_FLAGS_AUTOCLEAR).
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

from outlive_harness import abi

from .mounts import below

#: Attempts to copy an image while nothing is written to it, and seconds between two.
_ATTEMPTS, _PAUSE = 200, 0.01
_LIMIT = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A file system.

    Attributes:
        name: its name for mount(8).
        make: the command that makes one.
        size: bytes of an image; a hole until something is written there.
        options: options of the mount.
        package: Debian's package of the command.
    """

    name: str
    make: tuple[str, ...]
    size: int
    options: str
    package: str


KINDS = {
    kind.name: kind
    for kind in (
        # By default a small file system gets small blocks, unlike the ones in use.
        Kind("ext4", ("mkfs.ext4", "-q", "-F", "-b", "4096"), 64 << 20, "", "e2fsprogs"),
        # A copy has the UUID of the original.
        Kind("xfs", ("mkfs.xfs", "-q", "-f"), 300 << 20, ",nouuid", "xfsprogs"),
        Kind("btrfs", ("mkfs.btrfs", "-q", "-f"), 128 << 20, "", "btrfs-progs"),
    )
}


class RealFsError(RuntimeError):
    """A real file system cannot be made or mounted, or failed; the message says why."""


@cache
def missing(name: str) -> str:
    """Return what this machine lacks to make a file system and mount it; "" if nothing."""
    kind = KINDS[name]
    conditions: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: sys.platform == "linux", "only Linux can mount these file systems"),
        (lambda: os.geteuid() == 0, "only root may mount file systems"),
        (_may_mount, "root lacks CAP_SYS_ADMIN here, as in most containers, and may not mount file systems"),
        (
            lambda: shutil.which(kind.make[0]) is not None,
            f"{kind.make[0]} is not installed: Debian has it in the package {kind.package}",
        ),
        (lambda: os.path.exists("/dev/loop-control"), "there are no loop devices (/dev/loop-control)"),
        (lambda: _knows(name), f"this kernel has no {name}"),
    )
    return next((lack for is_met, lack in conditions if not is_met()), "")


def _may_mount() -> bool:
    """Return whether this process has the capability that mount(2) and unshare(2) need."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return bool(effective >> abi.CAP_SYS_ADMIN & 1)


def _knows(name: str) -> bool:
    """Return whether the kernel has a file system, or a module for it."""
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
    """Give this process its own mount namespace, once: no other process sees its mounts.

    Raises:
        RealFsError: the kernel, or a container, refuses.
    """
    if _libc.unshare(abi.CLONE_NEWNS) or _libc.mount(b"none", b"/", None, abi.MS_REC | abi.MS_PRIVATE, None):
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
    """Mount an image on a directory while the body runs.

    btrfs knows file systems by their UUID: an image and its copy cannot be mounted at the same time.

    Args:
        name: the file system: a name of KINDS.
        image: the image.
        where: the directory; it is made.
        options: more options of the mount, such as ``,noatime``.

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
    """Unmount a directory; one that stays in use is detached, and unmounted once it is free."""
    for _ in range(_ATTEMPTS):
        try:
            _run("umount", str(where))
        except RealFsError:
            time.sleep(_PAUSE)
        else:
            return
    _run("umount", "--lazy", str(where))


class RealFs:
    """A new, empty file system, mounted while its body runs.

    Args:
        name: the file system: a name of KINDS.
        image: the file for its image; it is overwritten.
        where: the directory to mount it on.

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
        _run("fallocate", "--dig-holes", str(self._image))  # each copy would copy the zeros of an empty log
        with contextlib.ExitStack() as mount:
            mount.enter_context(mounted(self._kind.name, self._image, self._where))
            self._device = device_of(self._where)
            with contextlib.suppress(FileNotFoundError):
                (self._where / "lost+found").rmdir()  # e2fsck makes it again when it is needed
            self._mount = mount.pop_all()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._mount.close()

    def sync(self) -> None:
        """Make all files durable."""
        fd = os.open(self._where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _libc.syncfs(fd) != 0:
                raise RealFsError(f"syncfs: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(fd)

    def commit(self) -> None:
        """Have the journal written, as its timer or another program's fsync would: names, not data.

        The fsync of a file without a name commits the whole running transaction (ext4, xfs; btrfs logs the
        file apart).
        """
        fd = os.open(self._where, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"x")
            os.fsync(fd)
        finally:
            os.close(fd)

    def snapshot(self, copy: Path) -> None:
        """Copy the image as it is now, while no process changes files.

        Write-back may still go on. A copy made while the device wrote shows no single moment of the disk: it
        is made again.

        Raises:
            RealFsError: the disk was written to all the time.
            OSError: there is no room for the copy.
        """
        for _ in range(_ATTEMPTS):
            # A write sets the image's time before its data arrives, the device's counters after.
            time_before, before = os.stat(self._image).st_ctime_ns, self._activity()
            if before[0] == 0:
                copy_sparse(self._image, copy)
                if (os.stat(self._image).st_ctime_ns, self._activity()) == (time_before, before):
                    return
            time.sleep(_PAUSE)
        raise RealFsError(f"the file system on {self._device} was written to all the time")

    def _activity(self) -> tuple[int, ...]:
        """Return the requests under way, and the counts of what was written, discarded and flushed.

        Source: ``Documentation/block/stat.rst``.
        """
        with open(f"/sys/block/{self._device}/stat", encoding="ascii") as stat:
            numbers = [int(word) for word in stat.read().split()]
        return tuple(numbers[place] for place in (8, 4, 6, 11, 13, 15) if place < len(numbers))


def device_of(where: Path) -> str:
    """Return the name of the block device that is mounted on a directory.

    Raises:
        RealFsError: nothing is mounted there.
    """
    point = os.path.realpath(where)
    for mount in below(where):
        if mount.point == point:
            return os.path.basename(mount.source)
    raise RealFsError(f"nothing is mounted on {where}")


def copy_sparse(source: Path, copy: Path) -> None:
    """Copy a file, holes as holes."""
    with open(source, "rb", buffering=0) as old, open(copy, "wb", buffering=0) as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        end = 0
        while end < size:
            try:
                start = os.lseek(old.fileno(), end, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole follows
                return
            end = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            os.lseek(new.fileno(), start, os.SEEK_SET)
            at = start
            while at < end:
                at += os.sendfile(new.fileno(), old.fileno(), at, end - at)
