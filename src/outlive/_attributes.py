"""What a file that replaces another takes over from it, besides its name: owner, extended attributes, mode.

The order matters: chown(2) clears bits of the mode, and an access list that is set sets the mode's group
bits (acl(5)); so the mode comes last.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

#: New content does not come with what the old one was trusted to do (capabilities(7)), or was signed as.
_OF_THE_CONTENT = frozenset(("security.capability", "security.ima", "security.evm"))
#: Access lists that are made of the default one of the directory above; the second of a directory only.
_LISTS = ("system.posix_acl_access", "system.posix_acl_default")
#: What a caller without the right, or a file system without the means, is told.
_CANNOT = frozenset((errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS))
#: The old file, or an attribute of it, was removed meanwhile.
_GONE = frozenset((errno.ENOENT, getattr(errno, "ENODATA", errno.ENOENT)))
_PERMISSIONS = 0o777
_HAS_OWNER, _HAS_EXTENDED = hasattr(os, "fchown"), hasattr(os, "listxattr")
_HAS_MODE = hasattr(os, "fchmod")  # from 3.13 on also on Windows


def keep_attributes(descriptor: int, target: str, old: os.stat_result, new: os.stat_result) -> None:
    """Give an open file or directory, of which the status is *new*, what the one at a path has.

    What the caller has no right to set, or the file system no place for, is left out: the owner for all
    but root, the group for those who are not in it, attributes of `security.*` and `trusted.*`.

    So is the mode where it cannot be set, unless others could do what they could not with the old one.

    Raises:
        FileNotFoundError: The directory of that path is not there any more.
        PermissionError: The mode cannot be set, and allows more.
        OSError: The disk is full, or fails.
    """
    has_group = True
    if _HAS_OWNER and (old.st_uid != new.st_uid or old.st_gid != new.st_gid):
        has_group = _keep_owner(descriptor, old, new)
    if _HAS_EXTENDED:
        _keep_extended(descriptor, target)
    if _HAS_MODE:
        # The set-id bits of a file are a matter of what it holds; those of a directory of what it will.
        bits = old.st_mode & (0o7777 if stat.S_ISDIR(old.st_mode) else _PERMISSIONS)
        if not has_group:  # what its group may do, another one may not, but for what everybody may
            bits &= ~stat.S_IRWXG | bits << 3
        set_mode(descriptor, bits)


def set_mode(descriptor: int, bits: int) -> None:
    """Set the mode of a file or directory; where that cannot be done, it may allow no more than is asked for.

    Raises:
        PermissionError: The mode cannot be set, and allows more.
        OSError: The disk is full, or fails.
    """
    if not _HAS_MODE:
        return
    try:
        os.fchmod(descriptor, bits)
    except OSError as error:
        # On FUSE, and on vfat for all but one user, files have the mode that they have.
        given = os.fstat(descriptor).st_mode & _PERMISSIONS
        if error.errno not in _CANNOT or given & ~bits:
            raise


def _keep_owner(descriptor: int, old: os.stat_result, new: os.stat_result) -> bool:
    """Give what is new the user and group of what is old, as far as may be; tell whether it has the group."""
    user = old.st_uid if old.st_uid != new.st_uid and os.geteuid() == 0 else -1
    group = old.st_gid if old.st_gid != new.st_gid else -1
    if user == group == -1:
        return True
    # Root without the right to give files away may still give one a group that it is in.
    for owner in (user, -1) if -1 not in (user, group) else (user,):
        try:
            os.fchown(descriptor, owner, group)
        except OSError as error:
            # EINVAL: an id that has no meaning in this user namespace.
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
        if error.errno == errno.ENOENT:  # the file alone, or the way to it
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
