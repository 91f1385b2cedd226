"""What a marker says of its step's files, and whether they still are what it says.

A digest decides. It is not computed anew where an output has the size that it had, and was last written
before its marker was: whatever writes a file sets its time of modification (stat(2)), and equal times
count as later. Who sets times back, as `cp -p` and `rsync -t` do, is seen by `verify="hash"` alone.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from ._durable import open_to_sync, sync_file, sync_tree, synced_directory

#: Bytes in which a digest is given: enough that no two contents share one (BLAKE2, RFC 7693).
_DIGEST = 16


class Facts(NamedTuple):
    """What is recorded of an input or an output.

    Attributes:
        kind: "file" or "directory".
        size: Bytes of the file, or of all files below.
        digest: Of its content; of a directory also of all names below, with what they are.
    """

    kind: str
    size: int
    digest: str


def recorded(path: str) -> Facts:
    """Bring an output to the disk, and return what is to be recorded of it.

    Raises:
        FileNotFoundError: It is not there.
        OSError: It is neither a file nor a directory, or cannot be read or brought to the disk.
    """
    where = os.path.realpath(path)
    found = facts(where)
    _bring_to_disk(where, found.kind)
    return found


def _bring_to_disk(path: str, kind: str) -> None:
    """Bring to the disk what is there by now, and its name."""
    if kind == "directory":
        sync_tree(path, "full")
    else:
        descriptor = open_to_sync(path)
        try:
            sync_file(descriptor, "full")
        finally:
            os.close(descriptor)
    with synced_directory(os.path.dirname(path)):
        pass


def changed(path: str, then: Facts, *, since: int, verify: str) -> str:
    """Say how an output differs from what was recorded of it; "" if it does not.

    Args:
        path: The output.
        then: What was recorded.
        since: When the marker was written, in ns; what was last written before that is not read again.
        verify: "stat", or "hash" to read it in any case.

    Raises:
        OSError: It cannot be read.
    """
    how, is_rewritten = _difference(path, then, since, verify)
    if is_rewritten and not how:  # somebody wrote it again, and perhaps nobody brought it to the disk
        _bring_to_disk(os.path.realpath(path), then.kind)
    return how


def another(path: str, then: Facts, *, since: int, verify: str) -> str:
    """Say how an input differs from what was recorded of it; "" if it does not, or is not there any more.

    What a step was made from may go once the step is done. The arguments are those of `changed`.

    Raises:
        OSError: It cannot be read.
    """
    return _difference(path, then, since, verify)[0] if os.path.exists(path) else ""


def _difference(path: str, then: Facts, since: int, verify: str) -> tuple[str, bool]:
    """Say how a file differs from what was recorded of it, and whether it was written since."""
    where = os.path.realpath(path)
    try:
        kind, size, written = _outside(where)
    except FileNotFoundError:
        return "is missing", False
    if kind != then.kind:
        return f"is a {kind} and was a {then.kind}", False
    if size != then.size:
        return f"has {size} bytes and had {then.size} when the step was marked", False
    if verify == "stat" and written < since:
        return "", False
    if facts(where).digest != then.digest:
        return "has another content", False
    return "", written >= since


def signature(path: str) -> object:
    """Return what differs once a file, or one below a directory, was changed or removed (stat(2))."""
    where = os.path.realpath(path)
    if not os.path.exists(where):
        return None
    several = [where, *(_below(where) if os.path.isdir(where) else ())]
    return [(one, (s := os.lstat(one)).st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for one in several]


def _outside(path: str) -> tuple[str, int, int]:
    """Return an output's kind, size, and when it was last written, without reading it."""
    status = os.stat(path)
    if stat.S_ISREG(status.st_mode):
        return "file", status.st_size, status.st_mtime_ns
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, "an output must be a file or a directory", path)
    size, written = 0, status.st_mtime_ns
    for one in map(os.lstat, _below(path)):
        written = max(written, one.st_mtime_ns)
        size += one.st_size if stat.S_ISREG(one.st_mode) else 0
    return "directory", size, written


def facts(path: str) -> Facts:
    """Return what is to be recorded of an input.

    Raises:
        FileNotFoundError: It is not there.
        OSError: It is neither a file nor a directory, or cannot be read.
    """
    path = os.path.realpath(path)
    kind, size, _ = _outside(path)
    if kind == "file":
        return Facts(kind, size, _digest_of_file(path))
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    whole = hashlib.blake2b(digest_size=_DIGEST)
    for one in _below(path):
        mode = os.lstat(one).st_mode
        content = ""
        if stat.S_ISREG(mode):
            content = f"file {_digest_of_file(one)}"
        elif stat.S_ISLNK(mode):
            content = f"link {os.readlink(one)!r}"
        elif stat.S_ISDIR(mode):
            content = "directory"
        whole.update(f"{os.path.relpath(one, path)!r} {content}\n".encode("utf-8", "surrogatepass"))
    return Facts(kind, size, whole.hexdigest())


def _digest_of_file(path: str) -> str:
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST)).hexdigest()


def _below(top: str) -> list[str]:
    """Return all paths below a directory, in an order of their own."""
    found = []
    for where, directories, files in os.walk(top):
        found += [os.path.join(where, name) for name in (*directories, *files)]
    return sorted(found)
