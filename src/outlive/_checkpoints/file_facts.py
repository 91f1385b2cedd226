"""What a marker records of its step's files, and whether the files are still so.

A digest decides. It is not computed again for an output that has its recorded size and was last changed
before its marker was written. Writing to a file, renaming it, replacing it and changing a link all set the
time of change (inode(7)), and `utimes` cannot set that back. Equal times count as later. So a file is also
read again after it was copied, linked or given other permissions. Windows has no such time: there it is the
time of modification, which `cp -p` and `rsync -t` set back.

What leaves no time behind is seen by `verify="hash"` alone: stores through a memory mapping on a file system
that notes none (tmpfs), the exchange of a directory above the output as a whole, damage that came before a
copy that gives markers a new time (`cp -r`), and what happens while the clock is behind.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from outlive._system.durability import sync_path, sync_tree, synced_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Bytes of a digest: enough that no two contents share one (BLAKE2, RFC 7693).
_DIGEST = 16
#: The difference in ns that the clocks of two file systems may have: FAT counts in two seconds.
_COARSE = 2 * 10**9
#: The most links that a path may lead over (path_resolution(7)).
_MOST_LINKS = 40
_NOT_THERE = (FileNotFoundError, NotADirectoryError)
#: The words for an output that cannot be examined, by the error.
_MISSING = {
    errno.ENOENT: "is missing",
    errno.ENOTDIR: "is missing",
    errno.ELOOP: "is a link that leads round in a circle",
}


class Facts(NamedTuple):
    """What is recorded of an input or an output.

    Attributes:
        kind: "file" or "directory".
        size: Bytes of the file, or of all files below.
        digest: The digest of the content; for a directory also of all names below, with their kinds. A link
            below counts by its target's path, and not by what is there.
    """

    kind: str
    size: int
    digest: str


class Marker(NamedTuple):
    """A marker that records files.

    Attributes:
        written_at: When it was written, in ns; files that were last changed before are not read again.
        directory: The directory of the markers.
    """

    written_at: int
    directory: str


class _Outside(NamedTuple):
    """What is known of a file or directory without reading it.

    Attributes:
        kind: "file" or "directory"; "" for anything else.
        size: Bytes of the file, or of all files below.
        changed: The last change of it, or of anything below, in ns.
        device: The device number of its file system.
    """

    kind: str
    size: int
    changed: int
    device: int


def recorded(paths: list[str], base: str) -> dict[str, Facts]:
    """Bring outputs to the disk, each with its name, and return what is to be recorded of them.

    Args:
        paths: The outputs.
        base: The existing directory that contains the markers' directory.

    Raises:
        FileNotFoundError: An output does not exist.
        OSError: An output is neither a file nor a directory, or cannot be read or brought to the disk.
    """
    found = {path: facts(path) for path in paths}
    _bring_to_disk(paths, base)
    return found


def _bring_to_disk(paths: Iterable[str], base: str) -> None:
    """Bring outputs to the disk, with all names that lead to them."""
    known, base = links(base, os.path.realpath(base)), os.path.realpath(base)
    named: dict[str, bool] = {}  # directories, each with whether it must be possible to open it
    for path in paths:
        where = os.path.realpath(path)
        if os.path.isdir(where):
            sync_tree(where, "full")
        else:
            sync_path(where)
        for one in (where, *(link for link in links(path, where) if link not in known)):
            for number, directory in enumerate(_directories_above(one, base)):
                named[directory] = named.get(directory, False) or number == 0
    for directory in sorted(named, key=len, reverse=True):  # inner directories first
        try:
            with synced_directory(directory):
                pass
        except PermissionError:  # a process that may not read a directory far above hardly made one in it
            if named[directory]:
                raise


def _directories_above(path: str, base: str) -> Iterator[str]:
    """Yield the directories that may hold a new name on the way to a real path, from the lowest up.

    The last is the one that contains the base, or the one that a file system is mounted on.
    """
    here = path
    while (above := os.path.dirname(here)) != here:
        if here != path and os.stat(here).st_dev != os.stat(above).st_dev:
            return
        yield above
        if os.path.join(base, "").startswith(os.path.join(above, "")):
            return
        here = above


def links(path: str, where: str) -> list[str]:
    """Return the links that a path leads over, each by its real place, in order (path_resolution(7)).

    Args:
        path: The path.
        where: Its real path.
    """
    if os.name == "nt" or where == os.path.abspath(path):
        return []
    found: list[str] = []
    here, left = os.sep, os.path.join(os.getcwd(), path).split(os.sep)[::-1]
    while left and len(found) <= _MOST_LINKS:
        part = left.pop()
        if part == os.pardir:
            here = os.path.dirname(here)
        elif part not in ("", os.curdir):
            one = os.path.join(here, part)
            if os.path.islink(one):
                found.append(one)
                target = os.readlink(one)
                here = os.sep if os.path.isabs(target) else here
                left += target.split(os.sep)[::-1]
            else:
                here = one
    return found


def output_change(path: str, then: Facts, marker: Marker, verify: str) -> str:
    """Return in words how an output differs from its record; "" if it does not.

    Args:
        path: The output.
        then: What was recorded.
        marker: The marker that recorded it.
        verify: "stat", or "hash" to read it in any case.

    Raises:
        OSError: It cannot be read.
    """
    how, is_rewritten = _difference(path, then, marker, verify)
    if is_rewritten and not how:  # a process wrote the same again, and may not have brought it to the disk
        _bring_to_disk([path], os.path.dirname(marker.directory))
    return how


def input_change(path: str, then: Facts, marker: Marker, verify: str) -> str:
    """Return in words how an input differs from its record; "" if it does not, or does not exist any more.

    A step's inputs may be removed once the step is done. The arguments are those of `output_change`.

    Raises:
        OSError: It cannot be read, or nothing shows whether it exists.
    """
    try:
        os.stat(path)
    except _NOT_THERE:
        return ""
    return _difference(path, then, marker, verify)[0]


def _difference(path: str, then: Facts, marker: Marker, verify: str) -> tuple[str, bool]:
    """Return in words how a file differs from its record, and whether it was changed since."""
    where = os.path.realpath(path)
    try:
        now = _outside(where)
        turned = [_changed_at(os.lstat(link)) for link in links(path, where)]
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return _MISSING[error.errno], False
    if now.kind != then.kind:
        kind = f"a {now.kind}" if now.kind else "neither a file nor a directory"
        return f"is {kind} and was a {then.kind}", False
    if now.size != then.size:
        return f"has {now.size} bytes and had {then.size} when the step was marked", False
    last = max(now.changed, *turned, 0)
    if verify == "stat" and _is_older(last, now.device, marker):
        return "", False
    if facts(where).digest != then.digest:
        return "has another content", False
    return "", last >= marker.written_at


def _is_older(when: int, device: int, marker: Marker) -> bool:
    """Return whether a change at a time came before a marker was written."""
    if when + _COARSE < marker.written_at:
        return True
    return when < marker.written_at and device == os.stat(marker.directory).st_dev


def _changed_at(status: os.stat_result) -> int:
    # On Windows st_ctime is the time of creation.
    return status.st_mtime_ns if os.name == "nt" else max(status.st_mtime_ns, status.st_ctime_ns)


def state(path: str) -> object:
    """Return a value that differs once a file, or one below a directory, was changed; None without a file."""
    where = os.path.realpath(path)
    try:
        status = os.stat(where)
        several = [where, *(_below(where) if stat.S_ISDIR(status.st_mode) else ())]
        return list(map(_state_of, several))
    except _NOT_THERE:
        return None


def _state_of(path: str) -> tuple[object, ...]:
    found = os.lstat(path)
    # On a file system that counts in seconds, another content may have the same times.
    is_coarse = stat.S_ISREG(found.st_mode) and found.st_ctime_ns % 10**9 == 0
    content = digest_of_file(path) if is_coarse else ""
    return path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, content


def _outside(path: str) -> _Outside:
    status = os.stat(path)
    if stat.S_ISREG(status.st_mode):
        return _Outside("file", status.st_size, _changed_at(status), status.st_dev)
    if not stat.S_ISDIR(status.st_mode):
        return _Outside("", 0, 0, status.st_dev)
    size, last = 0, _changed_at(status)
    for one in map(os.lstat, _below(path)):
        last = max(last, _changed_at(one))
        size += one.st_size if stat.S_ISREG(one.st_mode) else 0
    return _Outside("directory", size, last, status.st_dev)


def facts(path: str) -> Facts:
    """Return what is to be recorded of an input or output.

    Raises:
        FileNotFoundError: It does not exist.
        OSError: It is neither a file nor a directory, or cannot be read.
    """
    path = os.path.realpath(path)
    kind, size, *_ = _outside(path)
    if not kind:
        raise OSError(errno.EINVAL, "an input or output must be a file or a directory", path)
    if kind == "file":
        return Facts(kind, size, digest_of_file(path))
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    whole = hashlib.blake2b(digest_size=_DIGEST)
    for one in _below(path):
        mode = os.lstat(one).st_mode
        content = ""
        if stat.S_ISREG(mode):
            content = f"file {digest_of_file(one)}"
        elif stat.S_ISLNK(mode):
            content = f"link {os.readlink(one)!r}"
        elif stat.S_ISDIR(mode):
            content = "directory"
        whole.update(f"{os.path.relpath(one, path)!r} {content}\n".encode("utf-8", "surrogatepass"))
    return Facts(kind, size, whole.hexdigest())


def digest(text: str) -> str:
    """Return the digest of a text, which no other text has."""
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).hexdigest()


def digest_of_file(path: str) -> str:
    """Return the digest of a file's content, which no other content has; the file is read in pieces."""
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST)).hexdigest()


def _below(top: str) -> list[str]:
    """Return all paths below a directory, in an order that does not depend on the file system.

    Raises:
        OSError: A directory cannot be read.
    """
    found = []
    for where, directories, files in os.walk(top, onerror=_raise):
        found += [os.path.join(where, name) for name in (*directories, *files)]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
