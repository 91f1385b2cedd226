"""Marks as small files, one each, to be seen, searched and removed by hand.

A marker holds the id of its run, the name of its step and item, and what the step declared. It counts only if
it has exactly the content that it should have: if it is empty, cut or damaged, the step is not done. Nothing
in it depends on time or place, so that two runs leave the same bytes.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from outlive._atomic.files import atomic_write
from outlive._system.arguments import shown
from outlive._system.descriptor import opened
from outlive._system.durability import synced_directory

from .names import is_plain, name_of, stem
from .store import (
    FILES,
    PLAIN,
    RECORD,
    SCHEMA,
    UNMARKED,
    StoredMark,
    make_directory,
    refuse_other_than_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SUFFIX = ".done"
ITEMS = ".items"

#: A link is not a marker, nor is a pipe, which may block, nor a socket (open(2)).
_READ = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _READ |= getattr(os, _flag, 0)
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR)

_encoder: Callable[[object], str] | None = None

_Identity = tuple[int, int]  # inode and time of the last change in ns: of one marker, and of none after it


class MarkerFiles:
    """The markers of one run's steps, or of one step's items."""

    def __init__(self, directory: str, run_id: str, *, step: str | None = None) -> None:
        self._directory, self._run_id, self._step = directory, run_id, step
        # The name of a run's directory has no dot; those of markers and of items' directories have one.
        self._folders = [directory, *([os.path.join(directory, stem(run_id))] if run_id else [])]
        if step is not None:
            self._folders.append(os.path.join(self._folders[-1], stem(step) + ITEMS))
        self._made: tuple[int, int] | None = None
        self._lasting: dict[str, _Identity] = {}
        self._looked: tuple[str, _Identity | None] = "", None  # the marker that was read last
        self._around: tuple[bytes, bytes] | None = None  # what stands before and after a plain name
        self.known: frozenset[str] = frozenset()  # a file may be removed by hand, so each is read every time

    def look(self, name: str) -> StoredMark:
        marker = self._marker(name)
        content, status = _read_regular(marker)
        self._looked = marker, None if status is None else (status.st_ino, status.st_ctime_ns)
        if content == self._content(name, {}):  # the most frequent case
            return PLAIN
        if content is None:
            self._folder()
            mode = _mode(marker)
            what = "a directory" if stat.S_ISDIR(mode) else "something else than a file"
            return StoredMark(f"{what} stands where its marker should be", {}) if mode else UNMARKED
        fields = _fields(content)
        schema = fields.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            return StoredMark(f"its marker was written by a newer version of outlive (schema {schema})", {})
        if not self._is_own(name, content, fields):
            return StoredMark("its marker is damaged", {})
        return StoredMark("", _record(fields), status.st_mtime_ns if status else 0)

    def refresh(self) -> None:
        """Do nothing: each marker is read when it is looked for."""

    def settle(self, name: str) -> None:
        marker = self._marker(name)
        looked, identity = self._looked
        if looked != marker:  # another thread has read one meanwhile
            identity = _identity(marker)
        if self._lasting.get(marker) == identity is not None:
            return
        # Before the fsync, which does not cover what is made after it.
        found = {} if self._lasting else _identities(self._folder())
        with synced_directory(self._folders[-1]):
            pass
        self._lasting |= found
        if identity is not None:
            self._lasting[marker] = identity

    def check(self, name: str) -> None:
        """Refuse a marker's path at which something stands that no checkpoint made, and may not be replaced.

        Raises:
            OSError: Something else than a regular file stands there.
        """
        marker = os.path.join(self._folder(), stem(name) + SUFFIX)
        mode = _mode(marker)
        if mode and not stat.S_ISREG(mode):
            kind, code = ("a directory", errno.EISDIR) if stat.S_ISDIR(mode) else ("not a file", errno.EINVAL)
            message = f"name={shown(name)} cannot be marked or cleared: what stands at its marker is {kind}"
            raise OSError(code, message, marker)

    def put(self, name: str, record: Mapping[str, Any]) -> None:
        for is_last in (False, True):
            self._make_folders()
            try:
                atomic_write(self._marker(name), self._content(name, record))
            except FileNotFoundError:  # another process removed a directory just now, because it was empty
                if is_last:
                    raise
            else:
                return

    @contextmanager
    def group(self, most: int) -> Iterator[None]:  # noqa: ARG002 - each marker is brought to the disk by itself
        yield

    def names(self) -> list[str]:
        found = (self._read(marker, _read_regular(marker)[0]) for marker in self._marker_files())
        return sorted(name for name, fields in found if fields)

    def forget(self, name: str | None) -> None:
        folder = self._folder()
        # The items first: a kill in between must not leave them without their step's mark.
        for items in self._entries(ITEMS) if name is None else [os.path.join(folder, stem(name) + ITEMS)]:
            _remove(items, _markers(items))
            _remove_empty(items)
        markers = self._marker_files() if name is None else [self._marker(name)]
        _remove(folder, markers)
        if name is None and folder != self._directory and os.path.isdir(folder):
            with synced_directory(self._directory):
                _remove_empty(folder)

    def items(self, name: str) -> MarkerFiles:
        return MarkerFiles(self._directory, self._run_id, step=name)

    def runs(self) -> list[str]:
        refuse_other_than_directory(self._directory, self._directory)
        folders = [one for one in _entries(self._directory, "") if "." not in os.path.basename(one)]
        ids = [""] if _has_marks(self._directory) else []
        return sorted(ids + [_owner(one, "run_id") for one in folders if _has_marks(one)])

    def records(self) -> Iterator[dict[str, Any]]:
        for marker in self._marker_files():
            yield self._described(marker)
        if self._step is None:
            for folder in self._entries(ITEMS):
                yield from self.items(_owner(folder, "step")).records()

    def _described(self, marker: str) -> dict[str, Any]:
        content, status = _read_regular(marker)
        name, fields = self._read(marker, content)
        described: dict[str, Any] = {
            "run_id": self._run_id,
            "step": name if self._step is None else self._step,
        }
        if self._step is not None:
            described["item"] = name
        if fields:
            return {**described, **_record(fields), "marked_at": status.st_mtime_ns if status else 0}
        schema = _fields(content).get("schema")
        is_newer = isinstance(schema, int) and schema > SCHEMA
        return {**described, "file": marker, "doubt": "of a newer version" if is_newer else "damaged"}

    def _read(self, marker: str, content: bytes | None) -> tuple[str, dict[str, Any]]:
        """Return the name that a marker is for, and its fields: none if it is damaged or of another name."""
        fields = _fields(content)
        name = fields.get("step" if self._step is None else "item")
        # A marker that was copied or renamed holds the name of another step.
        if isinstance(name, str) and marker == self._marker(name) and self._is_own(name, content, fields):
            return name, fields
        spelt = os.path.basename(marker).removesuffix(SUFFIX)
        return name_of(spelt) or spelt, {}

    def _make_folders(self) -> None:
        """Make the directories, durably, each time that they come to be."""
        folder = self._folders[-1]
        if self._made is None or self._made != _place_of(folder):
            for one in self._folders:
                make_directory(one)
            self._made = _place_of(folder)

    def _folder(self) -> str:
        """Return the directory of the markers, which need not exist.

        Raises:
            NotADirectoryError: Something else stands there.
        """
        for folder in self._folders:
            refuse_other_than_directory(self._directory, folder)
        return self._folders[-1]

    def _marker(self, name: str) -> str:
        return f"{self._folders[-1]}{os.sep}{stem(name)}{SUFFIX}"

    def _marker_files(self) -> list[str]:
        return _markers(self._folder())

    def _entries(self, suffix: str) -> list[str]:
        return _entries(self._folder(), suffix)

    def _is_own(self, name: str, content: bytes | None, fields: dict[str, Any]) -> bool:
        """Return whether a marker is, to the byte, what this version writes under a name."""
        record = _record(fields)
        is_whole = all(isinstance(record.get(field, {}), dict) for field in FILES)
        return content == self._content(name, record) and is_whole

    def _content(self, name: str, record: Mapping[str, object]) -> bytes:
        if not record and is_plain(name):  # the most frequent case: encoding takes as long as reading
            if self._around is None:
                before, _, after = self._encoded("@", {}).rpartition(b"@")
                self._around = before, after
            return self._around[0] + name.encode() + self._around[1]
        return self._encoded(name, record)

    def _encoded(self, name: str, record: Mapping[str, object]) -> bytes:
        whose = {"step": name} if self._step is None else {"step": self._step, "item": name}
        text = _encode({"schema": SCHEMA, "run_id": self._run_id, **whose, **record})
        return f"{text}\n".encode("utf-8", "surrogatepass")


def _owner(folder: str, field: str) -> str:
    """Return the run's id or the step's name that a folder is for; its spelling if nothing shows the name."""
    spelt = os.path.basename(folder).removesuffix(ITEMS)
    known = name_of(spelt)
    if known is not None:
        return known
    for marker in (path for one in _with_items(folder) for path in _markers(one)):
        name = _fields(_read_regular(marker)[0]).get(field)
        if isinstance(name, str) and stem(name) == spelt:
            return name
    return spelt


def _encode(fields: Mapping[str, object]) -> str:
    global _encoder  # noqa: PLW0603 - made once, for the first marker
    if _encoder is None:
        import json  # noqa: PLC0415 - keeps `import outlive` light

        # Not as ASCII: \u escapes would write a pair of lone surrogates as the character that they form.
        _encoder = json.JSONEncoder(ensure_ascii=False).encode
    return _encoder(fields)


def _record(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: fields[key] for key in RECORD if key in fields}


def _fields(content: bytes | None) -> dict[str, Any]:
    """Return the fields of a marker; none if it is damaged."""
    import json  # noqa: PLC0415 - keeps `import outlive` light

    try:
        fields = json.loads((content or b"").decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _remove(folder: str, markers: list[str]) -> None:
    """Remove markers of one folder, which need not exist, durably."""
    if os.path.isdir(folder):
        # Even if no marker is there: the process that removed it may have been killed before its fsync.
        with synced_directory(folder):
            for marker in markers:
                with suppress(FileNotFoundError):
                    os.unlink(marker)


def _remove_empty(folder: str) -> None:
    """Remove a directory if it is empty; the caller brings that to the disk."""
    with suppress(OSError):  # it does not exist, or holds other files
        os.rmdir(folder)


def _has_marks(folder: str) -> bool:
    return any(map(_markers, _with_items(folder)))


def _with_items(folder: str) -> list[str]:
    return [folder, *_entries(folder, ITEMS)]


def _markers(folder: str) -> list[str]:
    return [path for path in _entries(folder, SUFFIX) if stat.S_ISREG(_mode(path))]


def _entries(folder: str, suffix: str) -> list[str]:
    """Return the paths of a folder, which need not exist, that end in a suffix, sorted."""
    try:
        return [os.path.join(folder, entry) for entry in sorted(os.listdir(folder)) if entry.endswith(suffix)]
    except (FileNotFoundError, NotADirectoryError):  # it has no entries
        return []


def _identity(path: str) -> _Identity | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns


def _place_of(path: str) -> tuple[int, int] | None:
    """Return the device and inode of a directory; None if it does not exist."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _identities(folder: str) -> dict[str, _Identity]:
    """Return the identities of the markers in a folder, which need not exist."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    status = entry.stat(follow_symlinks=False)
                    found[f"{folder}{os.sep}{entry.name}"] = status.st_ino, status.st_ctime_ns
    except FileNotFoundError:  # another process clears them; each one is looked at later
        pass
    return found


def _mode(path: str) -> int:
    """Return the mode of what stands at a path, by lstat; 0 if nothing does."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _read_regular(path: str) -> tuple[bytes | None, os.stat_result | None]:
    """Return the content and the status of a regular file; None for anything else, such as a pipe."""
    try:
        descriptor = opened(path, _READ)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None, None
        raise
    try:
        number = descriptor.fileno()
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            return None, None
        content = os.read(number, status.st_size + 1)
        while len(content) < status.st_size and (more := os.read(number, status.st_size)):
            content += more
        return content, status
    finally:
        descriptor.close()
