"""Marks as small files, one each: to be seen, searched and removed by hand.

A marker holds its run's id, its step's name and its item's, and what its step declared. It counts only if
it says exactly what it should: an empty, cut or damaged one is a step that is not done. Nothing in it
depends on time or place, so that two runs leave the same bytes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ._atomic import atomic_write
from ._claims import CLAIMS, FILES
from ._descriptor import opened
from ._durable import synced_directory
from ._place import shown
from ._stores import PLAIN, SCHEMA, UNMARKED, Seen, make_directory, refuse_no_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_SUFFIX = ".done"
_ITEMS = ".items"
_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
_PLAIN = re.compile("[a-z0-9_-]+").fullmatch
_LONGEST_STEM = 120  # characters; leaves room for suffixes where names hold 143 bytes (eCryptfs)
#: Names that stand for devices on Windows, in each directory and with any suffix.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)

#: A link is no marker, and neither a pipe, which nobody may write, nor a socket (open(2)).
_READ = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _READ |= getattr(os, _flag, 0)
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR)

_encoder: Callable[[object], str] | None = None

_Identity = tuple[int, int]  # inode and time of the last change, ns: of one marker, and of none after it


class MarkerFiles:
    """The markers of one run's steps, or of one step's items."""

    def __init__(self, directory: str, run_id: str, *, step: str | None = None) -> None:
        self._directory, self._run_id, self._step = directory, run_id, step
        # A run's directory holds no dot, a marker and a step's items do: none can stand in another's way.
        self._folders = [directory, *([os.path.join(directory, stem(run_id))] if run_id else [])]
        if step is not None:
            self._folders.append(os.path.join(self._folders[-1], stem(step) + _ITEMS))
        self._made: tuple[int, int] | None = None
        self._lasting: dict[str, _Identity] = {}
        self._looked: tuple[str, _Identity | None] = "", None  # the marker that was read last
        self._around: tuple[bytes, bytes] | None = None  # what stands before and after a plain name
        self.known: frozenset[str] = frozenset()  # a file may be removed by hand: it is looked at each time

    def look(self, name: str) -> Seen:
        marker = self._marker(name)
        content, status = _read_regular(marker)
        self._looked = marker, None if status is None else (status.st_ino, status.st_ctime_ns)
        if content == self._content(name, {}):  # as most are
            return PLAIN
        if content is None:
            self._folder()
            mode = _mode(marker)
            what = "a directory" if stat.S_ISDIR(mode) else "what is no file"
            return Seen(f"{what} stands where its marker should be", {}) if mode else UNMARKED
        fields = _fields(content)
        schema = fields.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            return Seen(f"its marker was written by a newer version of outlive (schema {schema})", {})
        if not self._is_own(name, content, fields):
            return Seen("its marker is damaged", {})
        return Seen("", _claims(fields), status.st_mtime_ns if status else 0)

    def refresh(self) -> None:
        """Do nothing: each marker is looked at when it is asked for."""

    def settle(self, name: str) -> None:
        marker = self._marker(name)
        looked, identity = self._looked
        if looked != marker:  # another thread looks as well
            identity = _identity(marker)
        if self._lasting.get(marker) == identity is not None:
            return
        # Looked at before the fsync: what comes in between is not vouched for.
        found = {} if self._lasting else _identities(self._folder())
        with synced_directory(self._folders[-1]):
            pass
        self._lasting |= found
        if identity is not None:
            self._lasting[marker] = identity

    def check(self, name: str) -> None:
        """Raise if something stands at a marker's path that no checkpoint made: it is not ours to replace."""
        marker = os.path.join(self._folder(), stem(name) + _SUFFIX)
        mode = _mode(marker)
        if mode and not stat.S_ISREG(mode):
            kind, code = ("a directory", errno.EISDIR) if stat.S_ISDIR(mode) else ("not a file", errno.EINVAL)
            message = f"name={shown(name)} cannot be marked or cleared: what stands at its marker is {kind}"
            raise OSError(code, message, marker)

    def put(self, name: str, claims: Mapping[str, Any]) -> None:
        for is_last in (False, True):
            self._make_folders()
            try:
                atomic_write(self._marker(name), self._content(name, claims))
            except FileNotFoundError:  # somebody removed one just now, for it was empty
                if is_last:
                    raise
            else:
                return

    @contextmanager
    def group(self, most: int) -> Iterator[None]:  # noqa: ARG002 - each marker is on the disk by itself
        yield

    def names(self) -> list[str]:
        found = (self._told(marker) for marker in self._marker_files())
        return sorted(name for name, fields in found if fields)

    def forget(self, name: str | None) -> None:
        folder = self._folder()
        # First the items: killed in between, a step without a mark would have its old ones.
        for items in self._entries(_ITEMS) if name is None else [os.path.join(folder, stem(name) + _ITEMS)]:
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
        refuse_no_directory(self._directory, self._directory)
        folders = [one for one in _entries(self._directory, "") if "." not in os.path.basename(one)]
        ids = [""] if _holds_marks(self._directory) else []
        return sorted(ids + [_whose(one, "run_id") for one in folders if _holds_marks(one)])

    def records(self) -> Iterator[dict[str, Any]]:
        for marker in self._marker_files():
            yield self._record(marker)
        if self._step is None:
            for folder in self._entries(_ITEMS):
                yield from self.items(_whose(folder, "step")).records()

    def _record(self, marker: str) -> dict[str, Any]:
        content, status = _read_regular(marker)
        name, fields = self._told(marker)
        record: dict[str, Any] = {"run_id": self._run_id, "step": name if self._step is None else self._step}
        if self._step is not None:
            record["item"] = name
        if fields:
            return {**record, **_claims(fields), "marked_at": status.st_mtime_ns if status else 0}
        schema = _fields(content).get("schema")
        is_newer = isinstance(schema, int) and schema > SCHEMA
        return {**record, "file": marker, "doubt": "of a newer version" if is_newer else "damaged"}

    def _told(self, marker: str) -> tuple[str, dict[str, Any]]:
        """Return whose marker this is, and what it says; nothing if it is none, or speaks of another."""
        content, _ = _read_regular(marker)
        fields = _fields(content)
        name = fields.get("step" if self._step is None else "item")
        # A marker that was copied or renamed speaks of a step that is not its own.
        if isinstance(name, str) and marker == self._marker(name) and self._is_own(name, content, fields):
            return name, fields
        spelt = os.path.basename(marker).removesuffix(_SUFFIX)
        return _unspelt(spelt) or spelt, {}

    def _make_folders(self) -> None:
        """Make the directories that last, once for each time that they come to be."""
        folder = self._folders[-1]
        if self._made is None or self._made != _place_of(folder):
            for one in self._folders:
                make_directory(one)
            self._made = _place_of(folder)

    def _folder(self) -> str:
        """Return where the markers are, which need not exist, or refuse what is no directory."""
        for folder in self._folders:
            refuse_no_directory(self._directory, folder)
        return self._folders[-1]

    def _marker(self, name: str) -> str:
        return f"{self._folders[-1]}{os.sep}{stem(name)}{_SUFFIX}"

    def _marker_files(self) -> list[str]:
        return _markers(self._folder())

    def _entries(self, suffix: str) -> list[str]:
        return _entries(self._folder(), suffix)

    def _is_own(self, name: str, content: bytes | None, fields: dict[str, Any]) -> bool:
        """Tell whether a marker is, to the byte, what is written here under a name."""
        claims = _claims(fields)
        is_whole = all(isinstance(claims.get(field, {}), dict) for field in FILES)
        return content == self._content(name, claims) and is_whole

    def _content(self, name: str, claims: Mapping[str, object]) -> bytes:
        if not claims and _PLAIN(name):  # as most are: to encode them costs as much as to read them
            if self._around is None:
                before, _, after = self._encoded("@", {}).rpartition(b"@")
                self._around = before, after
            return self._around[0] + name.encode() + self._around[1]
        return self._encoded(name, claims)

    def _encoded(self, name: str, claims: Mapping[str, object]) -> bytes:
        whose = {"step": name} if self._step is None else {"step": self._step, "item": name}
        text = _encode({"schema": SCHEMA, "run_id": self._run_id, **whose, **claims})
        return f"{text}\n".encode("utf-8", "surrogatepass")


def stem(name: str) -> str:
    """Spell any string as a file's name, no two alike: "%" is the empty one, "~" comes before a hash.

    What is a device's name on Windows is spelt with its first letter as %xx, wherever this runs.
    """
    if _PLAIN(name) and len(name) <= _LONGEST_STEM and name not in _DEVICES:
        return name
    encoded = name.encode("utf-8", "surrogatepass")
    spelt = "".join(chr(byte) if byte in _KEPT else f"%{byte:02x}" for byte in encoded) or "%"
    if spelt in _DEVICES:
        return f"%{encoded[0]:02x}{spelt[1:]}"
    if len(spelt) <= _LONGEST_STEM:
        return spelt
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    tail = f"~{hashlib.sha256(encoded).hexdigest()}"
    return spelt[: _LONGEST_STEM - len(tail)] + tail


def _whose(folder: str, field: str) -> str:
    """Return the run's id or the step's name that a folder is for; as it is spelt, if nobody can tell."""
    spelt = os.path.basename(folder).removesuffix(_ITEMS)
    known = _unspelt(spelt)
    if known is not None:
        return known
    for marker in (path for one in _with_items(folder) for path in _markers(one)):
        name = _fields(_read_regular(marker)[0]).get(field)
        if isinstance(name, str) and stem(name) == spelt:
            return name
    return spelt


def _unspelt(spelt: str) -> str | None:
    """Return the name that `stem` spells so; None if it ends in a hash, or is spelt by somebody else."""
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - for those who list what there is

    with suppress(UnicodeDecodeError):
        name = unquote_to_bytes("" if spelt == "%" else spelt).decode("utf-8", "surrogatepass")
        if stem(name) == spelt:
            return name
    return None


def _encode(fields: Mapping[str, object]) -> str:
    global _encoder  # noqa: PLW0603 - made once, when the first marker is looked at
    if _encoder is None:
        import json  # noqa: PLC0415 - keeps `import outlive` light

        # Not as ASCII: \u escapes would give a pair of lone surrogates and the character they make one form.
        _encoder = json.JSONEncoder(ensure_ascii=False).encode
    return _encoder(fields)


def _claims(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: fields[key] for key in CLAIMS if key in fields}


def _fields(content: bytes | None) -> dict[str, Any]:
    """Return what a marker says; nothing if it is none."""
    import json  # noqa: PLC0415 - keeps `import outlive` light

    try:
        fields = json.loads((content or b"").decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _remove(folder: str, markers: list[str]) -> None:
    """Remove markers of one folder, which need not exist, so that it lasts."""
    if os.path.isdir(folder):
        # Also if no marker is there: whoever removed it may have been killed before the fsync.
        with synced_directory(folder):
            for marker in markers:
                with suppress(FileNotFoundError):
                    os.unlink(marker)


def _remove_empty(folder: str) -> None:
    """Remove a directory in which nothing is left; the caller brings that to the disk."""
    with suppress(OSError):  # it was never made, or holds what is not ours
        os.rmdir(folder)


def _holds_marks(folder: str) -> bool:
    return any(map(_markers, _with_items(folder)))


def _with_items(folder: str) -> list[str]:
    return [folder, *_entries(folder, _ITEMS)]


def _markers(folder: str) -> list[str]:
    return [path for path in _entries(folder, _SUFFIX) if stat.S_ISREG(_mode(path))]


def _entries(folder: str, suffix: str) -> list[str]:
    """Return what a folder, which need not exist, holds under names that end so, sorted."""
    try:
        return [os.path.join(folder, entry) for entry in sorted(os.listdir(folder)) if entry.endswith(suffix)]
    except (FileNotFoundError, NotADirectoryError):  # what is no directory holds nothing
        return []


def _identity(path: str) -> _Identity | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns


def _place_of(path: str) -> tuple[int, int] | None:
    """Return which directory stands at a path; None if none does."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _identities(folder: str) -> dict[str, _Identity]:
    """Return which markers a folder, which need not exist, holds now."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    status = entry.stat(follow_symlinks=False)
                    found[f"{folder}{os.sep}{entry.name}"] = status.st_ino, status.st_ctime_ns
    except FileNotFoundError:  # somebody clears them; what is not found is looked at by itself
        pass
    return found


def _mode(path: str) -> int:
    """Return what stands at a path, as lstat does; 0 is nothing."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _read_regular(path: str) -> tuple[bytes | None, os.stat_result | None]:
    """Return what a regular file holds, and what it is; None of anything else: a pipe might never answer."""
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
