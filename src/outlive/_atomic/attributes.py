"""What a file that replaces another takes over from it, besides its name: owner, extended attributes, mode.

The order matters: chown(2) clears bits of the mode, and an access list, when it is set, sets the mode's group
bits (acl(5)); so the mode comes last.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

#: New content does not inherit the trust that the old content had (capabilities(7)), nor its signatures.
_OF_THE_CONTENT = frozenset(("security.capability", "security.ima", "security.evm"))
#: Access lists that a new file gets from its directory's default list; the second one on directories only.
_LISTS = ("system.posix_acl_access", "system.posix_acl_default")
#: Errors of a caller without the right, or of a file system without the means.
_CANNOT = frozenset((errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS))
#: The old file, or an attribute of it, was removed meanwhile.
_GONE = frozenset((errno.ENOENT, getattr(errno, "ENODATA", errno.ENOENT)))
_PERMISSIONS = 0o777
_HAS_OWNER, _HAS_EXTENDED = hasattr(os, "fchown"), hasattr(os, "listxattr")
_HAS_MODE = hasattr(os, "fchmod")  # from Python 3.13 on also on Windows


def keep_attributes(descriptor: int, target: str, old: os.stat_result, new: os.stat_result) -> None:
    """Give an open file or directory, whose status is *new*, the attributes of what stands at a path.

    An attribute is left out if the caller has no right to set it or the file system cannot hold it: the
    owner, unless the caller is root; the group, unless the caller is a member; attributes of `security.*` and
    `trusted.*`. The mode is left out if it cannot be set and the file's own mode allows no more.

    Raises:
        FileNotFoundError: The directory of that path was removed.
        PermissionError: The mode cannot be set, and the file's own mode allows more.
        OSError: The disk is full, or fails.
    """
    has_group = True
    if _HAS_OWNER and (old.st_uid != new.st_uid or old.st_gid != new.st_gid):
        has_group = _keep_owner(descriptor, old, new)
    if _HAS_EXTENDED:
        _keep_extended(descriptor, target)
    if _HAS_MODE:
        # The set-id bits of a file depend on its content; those of a directory on what will be made in it.
        bits = old.st_mode & (0o7777 if stat.S_ISDIR(old.st_mode) else _PERMISSIONS)
        if not has_group:  # another group may do only what everybody may
            bits &= ~stat.S_IRWXG | bits << 3
        set_mode(descriptor, bits)


def set_mode(descriptor: int, bits: int) -> None:
    """Set the mode of a file or directory; if that is impossible, its own mode may allow no more.

    Raises:
        PermissionError: The mode cannot be set, and the file's own mode allows more.
        OSError: The disk is full, or fails.
    """
    if not _HAS_MODE:
        return
    try:
        os.fchmod(descriptor, bits)
    except OSError as error:
        # On FUSE, and on vfat for all users but one, the mode is fixed.
        given = os.fstat(descriptor).st_mode & _PERMISSIONS
        if error.errno not in _CANNOT or given & ~bits:
            raise


def _keep_owner(descriptor: int, old: os.stat_result, new: os.stat_result) -> bool:
    """Set the old user and group as far as the caller may; return whether the group is the old one."""
    user = old.st_uid if old.st_uid != new.st_uid and os.geteuid() == 0 else -1
    group = old.st_gid if old.st_gid != new.st_gid else -1
    if user == group == -1:
        return True
    # Root without the right to give files away may still set a group that it is a member of.
    for owner in (user, -1) if -1 not in (user, group) else (user,):
        try:
            os.fchown(descriptor, owner, group)
        except OSError as error:
            # EINVAL: an id without a meaning in this user namespace.
            if error.errno not in _CANNOT | {errno.EINVAL}:
                raise
        else:
            return True
    return group == -1


def _keep_extended(descriptor: int, target: str) -> None:
    try:
        names = os.listxattr(target)
        inherited = os.listxattr(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT | _GONE:
            raise
        if error.errno == errno.ENOENT:  # of the file, or of its directory
            os.lstat(os.path.dirname(target))
        return
    for name in names:
        if name not in _OF_THE_CONTENT:
            _copy(name, target, descriptor)
    for name in _LISTS:
        if name in inherited and name not in names:
            with suppress(OSError):
                os.removexattr(descriptor, name)


def _copy(name: str, target: str, descriptor: int) -> None:
    try:
        os.setxattr(descriptor, name, os.getxattr(target, name))
    except OSError as error:
        if error.errno not in _CANNOT | _GONE:
            raise
