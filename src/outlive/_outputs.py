"""What a marker says of its step's files, and whether they still are what it says.

A digest decides. It is not computed anew where an output has the size that it had, and was last changed
before its marker was written: whatever writes a file, renames it or puts it in another's place, and whatever
turns a link, sets a time of change (inode(7)) that no `utimes` sets back. Equal times count as later. So a
file is also read that was copied, linked or given other rights since. Windows has no such time: there it is
that of modification, which `cp -p` and `rsync -t` set back.

What no time tells is seen by `verify="hash"` alone: stores through a memory mapping where the file system
notes none (tmpfs), a directory above the output that is exchanged as a whole, what was damaged before a copy
that gives markers a new time (`cp -r`), and what happens while the clock is behind where it was.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ._durable import open_to_sync, sync_file, sync_tree, synced_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Bytes in which a digest is given: enough that no two contents share one (BLAKE2, RFC 7693).
_DIGEST = 16
#: How far the clocks of two file systems may be apart, in ns: FAT counts in two seconds.
_COARSE = 2 * 10**9
#: Links that a path may lead over (path_resolution(7)).
_MOST_LINKS = 40
_NOT_THERE = (FileNotFoundError, NotADirectoryError)
#: What is said of an output that cannot be looked at, for these reasons.
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
        digest: Of its content; of a directory also of all names below, with what they are. A link below is
            where it leads to, and not what is there.
    """

    kind: str
    size: int
    digest: str


class Mark(NamedTuple):
    """A marker that speaks of files.

    Attributes:
        since: When it was written, in ns; what was last changed before that is not read again.
        directory: Where the markers are.
    """

    since: int
    directory: str


class _Outside(NamedTuple):
    """What is known of a file or directory without reading it.

    Attributes:
        kind: "file" or "directory"; "" if it is neither.
        size: Bytes of the file, or of all files below.
        changed: When it was last changed, or anything below, in ns.
        device: Of its file system.
    """

    kind: str
    size: int
    changed: int
    device: int


def recorded(paths: list[str], base: str) -> dict[str, Facts]:
    """Bring outputs to the disk, each with its name, and return what is to be recorded of them.

    Args:
        paths: The outputs.
        base: The directory that markers lie below, which was there before.

    Raises:
        FileNotFoundError: One is not there.
        OSError: One is neither a file nor a directory, or cannot be read or brought to the disk.
    """
    found = {path: facts(path) for path in paths}
    _bring_to_disk(paths, base)
    return found


def _bring_to_disk(paths: Iterable[str], base: str) -> None:
    """Bring to the disk what is there by now, and all names that lead to it."""
    known, base = links(base, os.path.realpath(base)), os.path.realpath(base)
    named: dict[str, bool] = {}  # directories, each with whether it must be one that can be opened
    for path in paths:
        where = os.path.realpath(path)
        if os.path.isdir(where):
            sync_tree(where, "full")
        else:
            _sync_content(where)
        for one in (where, *(link for link in links(path, where) if link not in known)):
            for number, directory in enumerate(_directories_above(one, base)):
                named[directory] = named.get(directory, False) or number == 0
    for directory in sorted(named, key=len, reverse=True):  # what is inside another comes before it
        try:
            with synced_directory(directory):
                pass
        except PermissionError:  # who may not read a directory far above has hardly made one in it
            if named[directory]:
                raise


def _sync_content(path: str) -> None:
    descriptor = open_to_sync(path)
    try:
        sync_file(descriptor.fileno(), "full")
    finally:
        descriptor.close()


def _directories_above(path: str, base: str) -> Iterator[str]:
    """Yield the directories that may hold a new name on the way to a real path, from the lowest up.

    The last is one that the base is, or is below, or what a file system is mounted on.
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


def changed(path: str, then: Facts, mark: Mark, verify: str) -> str:
    """Say how an output differs from what was recorded of it; "" if it does not.

    Args:
        path: The output.
        then: What was recorded.
        mark: By what marker.
        verify: "stat", or "hash" to read it in any case.

    Raises:
        OSError: It cannot be read.
    """
    how, is_rewritten = _difference(path, then, mark, verify)
    if is_rewritten and not how:  # somebody wrote it again, and perhaps nobody brought it to the disk
        _bring_to_disk([path], os.path.dirname(mark.directory))
    return how


def another(path: str, then: Facts, mark: Mark, verify: str) -> str:
    """Say how an input differs from what was recorded of it; "" if it does not, or is not there any more.

    What a step was made from may go once the step is done. The arguments are those of `changed`.

    Raises:
        OSError: It cannot be read, or nobody can tell whether it is there.
    """
    try:
        os.stat(path)
    except _NOT_THERE:
        return ""
    return _difference(path, then, mark, verify)[0]


def _difference(path: str, then: Facts, mark: Mark, verify: str) -> tuple[str, bool]:
    """Say how a file differs from what was recorded of it, and whether it was changed since."""
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
    if verify == "stat" and _is_older(last, now.device, mark):
        return "", False
    if facts(where).digest != then.digest:
        return "has another content", False
    return "", last >= mark.since


def _is_older(when: int, device: int, mark: Mark) -> bool:
    """Tell whether what was changed then was so before a marker was written."""
    if when + _COARSE < mark.since:
        return True
    return when < mark.since and device == os.stat(mark.directory).st_dev


def _changed_at(status: os.stat_result) -> int:
    # On Windows st_ctime is when the file was made.
    return status.st_mtime_ns if os.name == "nt" else max(status.st_mtime_ns, status.st_ctime_ns)


def state(path: str) -> object:
    """Return what differs once a file, or one below a directory, was changed; None if it is not there."""
    where = os.path.realpath(path)
    try:
        status = os.stat(where)
        several = [where, *(_below(where) if stat.S_ISDIR(status.st_mode) else ())]
        return list(map(_state_of, several))
    except _NOT_THERE:
        return None


def _state_of(path: str) -> tuple[object, ...]:
    found = os.lstat(path)
    # Where a file system counts in seconds, another content may have the same times.
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
        FileNotFoundError: It is not there.
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
    """Return what no other text gives."""
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).hexdigest()


def digest_of_file(path: str) -> str:
    """Return what no other content gives; it is read a piece at a time."""
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST)).hexdigest()


def _below(top: str) -> list[str]:
    """Return all paths below a directory, in an order of their own.

    Raises:
        OSError: A directory cannot be read.
    """
    found = []
    for where, directories, files in os.walk(top, onerror=_raise):
        found += [os.path.join(where, name) for name in (*directories, *files)]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
