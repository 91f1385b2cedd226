"""Copies of trees: contents, modes, times, owners, links, devices and attributes."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from .flags import copy_flags
from .tree import readable

#: Files of this size or more are copied by the file system itself, if it can.
_SHARED = 1 << 16


def copy_tree(
    source: Path,
    destination: Path,
    *,
    copies: Mapping[str, str] | None = None,
    skip: Callable[[str], bool] | None = None,
    opens: bool = True,
) -> None:
    """Copy the files below *source* into the existing directory *destination*.

    Args:
        source: the directory to copy.
        destination: the directory to copy to.
        copies: existing copies of single files, by relative path; they are moved in.
        skip: returns whether to leave out a relative path, and all below it.
        opens: whether the mode of an unreadable file is changed for a moment, and owners are kept; never in a
            user's directory.

    Raises:
        OSError: a file could not be copied; the message names it. Devices take the right to make them.
    """
    _copy(str(source), str(destination), "", {}, copies or {}, skip, opens=opens)


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a regular file to a new name, with its owner if permitted, mode, times, attributes and flags.

    Raises:
        OSError: it cannot be copied.
    """
    info = os.lstat(source)
    with readable(source):
        _copy_file(str(source), str(target), info.st_size)
    _give(str(target), info, opens=True)
    _give_status(str(source), str(target), opens=True)
    os.chmod(target, stat.S_IMODE(info.st_mode))


def _copy(
    source: str,
    destination: str,
    prefix: str,
    linked: dict[tuple[int, int], str],
    copies: Mapping[str, str],
    skip: Callable[[str], bool] | None,
    *,
    opens: bool,
) -> None:
    with readable(source, opens=opens), os.scandir(source) as listing:
        for item in listing:
            if skip is not None and skip(prefix + item.name):
                continue
            info = item.stat(follow_symlinks=False)
            target = f"{destination}/{item.name}"
            if stat.S_ISDIR(info.st_mode):
                os.mkdir(target, 0o700)
                _copy(item.path, target, f"{prefix}{item.name}/", linked, copies, skip, opens=opens)
                _give(target, info, opens=opens)
                _give_status(item.path, target, opens=opens)
            elif stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(item.path), target)
                _give(target, info, opens=opens)
            elif stat.S_ISREG(info.st_mode):
                earlier = linked.setdefault((info.st_dev, info.st_ino), target)
                if earlier != target:
                    os.link(earlier, target)
                    continue
                if prefix + item.name in copies:
                    os.rename(copies[prefix + item.name], target)
                else:
                    with readable(item.path, opens=opens):
                        _copy_file(item.path, target, info.st_size)
                _give(target, info, opens=opens)
                _give_status(item.path, target, opens=opens)
                os.chmod(target, stat.S_IMODE(info.st_mode))
            elif stat.S_ISSOCK(info.st_mode):  # no process listens there any more, but the name exists
                with contextlib.suppress(PermissionError):
                    os.mknod(target, info.st_mode)
            else:
                os.mknod(target, info.st_mode, info.st_rdev)
                _give(target, info, opens=opens)
                os.chmod(target, stat.S_IMODE(info.st_mode))


def _give(target: str, info: os.stat_result, *, opens: bool) -> None:
    """Give a copy its source's owner, if permitted; copies of a user's files belong to the pipeline."""
    if opens and (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)


def _give_status(source: str, target: str, *, opens: bool) -> None:
    """Give a copy its source's mode, times and attributes, and flags unless the source is the user's."""
    shutil.copystat(source, target)
    if opens:
        copy_flags(source, target)


def _copy_file(source: str, target: str, size: int) -> None:
    """Copy a content; a file system that can share blocks does (copy_file_range(2))."""
    if size < _SHARED or not hasattr(os, "copy_file_range"):
        shutil.copyfile(source, target)
        return
    with open(source, "rb", buffering=0) as old, open(target, "xb", buffering=0) as new:
        try:
            while os.copy_file_range(old.fileno(), new.fileno(), 1 << 30):
                pass
        except OSError:  # another file system, or one without this call
            old.seek(0)
            new.seek(0)
            shutil.copyfileobj(old, new, 1 << 20)
