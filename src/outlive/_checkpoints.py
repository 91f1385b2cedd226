"""Which steps are done: one small file each, written whole and brought to the disk.

A marker holds its step's name and its run's id, and what its step declared: sizes and digests of outputs,
parameters, a version. It counts only if it says exactly what it should, and is still so: an empty, cut
or damaged one is a step that is not done. Nothing in it depends on time or place, so
that two runs leave the same bytes.
"""

# As in _atomic.py.

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ._atomic import atomic_write, checked_path, shown, synced_directory
from ._claims import CLAIMS, asked, difference

if TYPE_CHECKING:
    from typing import Literal

    from ._claims import Outputs

    Verify = Literal["stat", "hash"]

_T = TypeVar("_T")

_Identity = tuple[int, int]  # inode and time of the last change, ns: of one marker, and of none after it

_DEFAULT_DIRECTORY = ".checkpoints"
_SCHEMA = 1
_SUFFIX = ".done"
_ITEMS = ".items"
_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
_LONGEST_STEM = 120  # characters; leaves room for suffixes where names hold 143 bytes (eCryptfs)


def step_done(
    name: str,
    *,
    run_id: str = "",
    outputs: Outputs | None = None,
    params: Mapping[str, object] | None = None,
    version: str | None = None,
    verify: Verify = "stat",
) -> bool:
    """Tell whether a step is marked in `.checkpoints` of the current directory; see `Checkpoints`."""
    run = Checkpoints(run_id=run_id)
    return run.step_done(name, outputs=outputs, params=params, version=version, verify=verify)


def mark_done(
    name: str,
    *,
    run_id: str = "",
    outputs: Outputs | None = None,
    params: Mapping[str, object] | None = None,
    version: str | None = None,
) -> None:
    """Mark a step in `.checkpoints` of the current directory, durably; see `Checkpoints`."""
    Checkpoints(run_id=run_id).mark_done(name, outputs=outputs, params=params, version=version)


class Checkpoints:
    """The markers of one run: which of its steps are done.

    Mark a step when its outputs are in place, and keep the directory apart from the outputs: it says
    what happened, and is none of the results.

    The run's id is part of a marker's identity. Two runs with two ids know nothing of one another; with
    the same id, or none, the second goes on where the first stopped, and skips all if that finished.
    A pipeline that runs once a day over new input thus takes the day as its id, and one that runs
    several times a day takes something finer.

    Any string is a name or an id. Lower-case ASCII letters, digits, `_` and `-` stand for themselves in
    the names of files, all other bytes as `%xx`; what is too long ends in a hash. So `clean` is
    `clean.done`, and in the run `monday` it is `monday/clean.done`; no two names share a marker, also
    where the file system ignores case, and none lies outside the directory.

    Args:
        directory: Where the markers are. It is made when the first step is marked; its own parent must
            exist. A relative path is resolved here: a later chdir redirects nothing.
        run_id: Which run this is. The empty string is the run that needs no id.

    Raises:
        TypeError: The directory is no path, or the id no string.
        ValueError: The directory is empty or no possible name.
    """

    def __init__(self, directory: str | os.PathLike[str] = _DEFAULT_DIRECTORY, *, run_id: str = "") -> None:
        self.directory = os.path.abspath(checked_path("directory", directory))
        self.run_id = _checked_string("run_id", run_id)
        self._lasting: dict[str, _Identity] = {}

    def __repr__(self) -> str:
        return f"Checkpoints({self.directory!r}, run_id={self.run_id!r})"

    def step_done(
        self,
        name: str,
        *,
        outputs: Outputs | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
        verify: Verify = "stat",
    ) -> bool:
        """Tell whether a step of this run is marked; once this says yes, a power cut does not take it back.

        The run that marked it may have been killed before its marker was on the disk. A pipeline that
        skips the step may remove what the step was made from, so the marker is brought to the disk first.

        What the marker says of outputs is verified, whether or not they are named here: a step is not done
        whose output is missing, truncated or altered. Of outputs, parameters and version, what is given
        must also be what was given when the step was marked.

        Args:
            name: The step's.
            outputs: The paths that the step is to have made.
            params: What it was to be made with.
            version: Of the step's code, as its author counts.
            verify: "stat" reads an output only where its size is right and it was last written after its
                marker, or at the same time; "hash" reads it always.

        Raises:
            TypeError: The name is no string, or another argument not what it should be.
            ValueError: The verification is none.
            NotADirectoryError: A file stands where the markers' directory should be.
            OSError: The marker or an output is there and cannot be read, or the markers' directory cannot be
                fsynced.
        """
        marker = self._marker(name)
        if self._doubt(name, marker, outputs, params, version, verify):
            return False
        self._make_lasting(marker)
        return True

    def why(
        self,
        name: str,
        *,
        outputs: Outputs | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
        verify: Verify = "stat",
    ) -> str:
        """Say in one sentence why a step will run, or will not; the arguments are `step_done`'s.

        Raises:
            TypeError, ValueError, OSError: As `step_done`.
        """
        doubt = self._doubt(name, self._marker(name), outputs, params, version, verify)
        return f"{name} will run: {doubt}" if doubt else f"{name} will not run: it is done"

    def mark_done(
        self,
        name: str,
        *,
        outputs: Outputs | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
    ) -> None:
        """Mark a step of this run; once this returns, a power cut does not take it back.

        Outputs that are named are brought to the disk first, each with its name, and the marker records their
        sizes and digests: it vouches for them. A marker that is there, also a damaged one, is replaced.

        Args:
            name: The step's.
            outputs: The paths that the step has made: files, or directories with all that is below.
            params: What it was made with: data that JSON can hold.
            version: Of the step's code, as its author counts.

        Raises:
            TypeError: The name is no string, or another argument not what it should be.
            FileNotFoundError: An output is not there; or the directory does not exist that the markers'
                directory is to be made in.
            NotADirectoryError: A file stands where the markers' directory should be.
            IsADirectoryError: A directory stands where the marker should be.
            OSError: The operating system refuses.
        """
        marker = self._marker(name)
        _refuse_irregular(marker, name)
        claims = asked(outputs, params, version)
        if "outputs" in claims:
            claims["outputs"] = self._recorded(claims["outputs"])
        _make_directory(self.directory)
        if self.run_id:
            _make_directory(os.path.dirname(marker))
        atomic_write(marker, self._content(name, claims))

    def todo(self, name: str, items: Iterable[_T], *, key: Callable[[_T], str] | None = None) -> Iterator[_T]:
        """Yield the items of a step that are not done yet; one is done when the loop asks for the next.

        So a body that raises, a `break` and a process that is killed leave the item pending, and what it
        had done to it is done again. When the loop has ended, mark the step itself.

        Args:
            name: The step's.
            items: What it has to do.
            key: Gives an item's name, which must be its own and the same in each run; without it the items
                are strings, which are their names.

        Raises:
            TypeError: A name is no string.
            ValueError: Two items have one name.
            OSError: As `step_done` and `mark_done`.
        """
        markers = Checkpoints(self._items(name), run_id="")
        seen: dict[str, int] = {}
        is_made = False
        for position, item in enumerate(items):
            own = _checked_string(f"items[{position}]" if key is None else "key", key(item) if key else item)
            if own in seen:
                raise ValueError(f"items[{position}] has the name of items[{seen[own]}]: {shown(own)}")
            seen[own] = position
            if markers.step_done(own):
                continue
            yield item
            if not is_made:
                _make_directory(self.directory)
                _make_directory(os.path.dirname(markers.directory))
                is_made = True
            markers.mark_done(own)

    def done(self) -> list[str]:
        """Return the names of this run's marked steps, sorted. Files that are no markers are ignored.

        Their outputs are not looked at.

        Raises:
            NotADirectoryError: A file stands where the markers' directory should be.
            OSError: The directory or a marker is there and cannot be read.
        """
        names = []
        for marker in self._marker_files():
            content = _read_regular(marker)
            fields = _fields(content)
            name = fields.get("step")
            # A marker that was copied or renamed speaks of a step that is not its own.
            if isinstance(name, str) and marker == self._marker(name) and self._is_own(name, content, fields):
                names.append(name)
        return sorted(names)

    def clear(self, name: str | None = None) -> None:
        """Forget one step of this run, or with no name all of them, durably, and their items.

        No marker is no error. To forget all is to remove every `.done` file of the run, damaged ones too,
        and nothing else.

        Raises:
            TypeError: The name is no string.
            NotADirectoryError: A file stands where the markers' directory should be.
            IsADirectoryError: A directory stands where the marker should be.
            OSError: The operating system refuses.
        """
        if name is None:
            markers = self._marker_files()
        else:
            markers = [self._marker(name)]
            _refuse_irregular(markers[0], name)
        folder = self._folder()
        if os.path.isdir(folder):
            # Also if no marker is there: whoever removed it may have been killed before the fsync.
            with synced_directory(folder):
                for marker in markers:
                    with suppress(FileNotFoundError):
                        os.unlink(marker)
        for directory in self._entries(_ITEMS) if name is None else [self._items(name)]:
            if os.path.isdir(directory):
                Checkpoints(directory).clear()

    def _doubt(
        self,
        name: str,
        marker: str,
        outputs: Outputs | None,
        params: Mapping[str, object] | None,
        version: str | None,
        verify: str,
    ) -> str:
        """Say why a step does not count as done; "" if it does."""
        if verify not in ("stat", "hash"):
            raise ValueError(f"verify={shown(verify)} is not one of 'stat', 'hash'")
        wish = asked(outputs, params, version)
        content = _read_regular(marker)
        if content == self._content(name) and not wish:  # as most are
            return ""
        mode = _mode(marker)
        if content is None:
            what = "a directory" if stat.S_ISDIR(mode) else "what is no file"
            return f"{what} stands where its marker should be" if mode else "it is not marked"
        fields = _fields(content)
        schema = fields.get("schema")
        if isinstance(schema, int) and schema > _SCHEMA:
            return f"its marker was written by a newer version of outlive (schema {schema})"
        if not self._is_own(name, content, fields):
            return "its marker is damaged"
        if "outputs" in wish:
            wish["outputs"] = sorted(self._spelt(path) for path in wish["outputs"])
        since = os.lstat(marker).st_mtime_ns
        return difference(fields, wish) or self._altered(fields.get("outputs", {}), since, verify)

    def _altered(self, recorded: dict[str, list[object]], since: int, verify: str) -> str:
        """Say which output is not what its marker says; "" if all are."""
        if recorded:
            from ._outputs import Facts, changed  # noqa: PLC0415 - for those who declare outputs

            for path, facts in recorded.items():
                try:
                    then = Facts(*facts)  # type: ignore[arg-type]  # a marker is what its bytes say
                except TypeError:
                    return "its marker is damaged"
                how = changed(os.path.join(self._base, path), then, since=since, verify=verify)
                if how:
                    return f"its output {path} {how}"
        return ""

    def _recorded(self, outputs: list[str]) -> dict[str, list[object]]:
        """Bring outputs to the disk, and return what is recorded of them."""
        from ._outputs import recorded  # noqa: PLC0415 - for those who declare outputs

        return {self._spelt(path): list(recorded(path)) for path in sorted(outputs)}

    @property
    def _base(self) -> str:
        return os.path.dirname(self.directory)

    def _spelt(self, path: str) -> str:
        """Return an output's path as markers have it: from where their directory is, if it is below that."""
        whole = os.path.abspath(path)
        inside = os.path.relpath(whole, self._base)
        return whole if inside.split(os.sep)[0] == os.pardir else inside

    def _is_own(self, name: str, content: bytes | None, fields: dict[str, Any]) -> bool:
        """Tell whether a marker is, to the byte, what this run writes for a step."""
        claims = {key: fields[key] for key in CLAIMS if key in fields}
        return content == self._content(name, claims) and isinstance(claims.get("outputs", {}), dict)

    def _items(self, name: str) -> str:
        """Return the directory of a step's items. No run's directory has a dot, and no marker this suffix."""
        return os.path.join(self._folder(), _stem(_checked_string("name", name)) + _ITEMS)

    def _make_lasting(self, marker: str) -> None:
        """Bring the names in a marker's directory to the disk, once for all markers that are there now."""
        if self._lasting.get(marker) == _identity(marker) is not None:
            return
        # Looked at before the fsync: what comes in between is not vouched for.
        seen = [marker] if self._lasting else self._marker_files()
        found = {path: _identity(path) for path in seen}
        with synced_directory(os.path.dirname(marker)):
            pass
        self._lasting |= {path: identity for path, identity in found.items() if identity is not None}

    def _folder(self) -> str:
        """Return this run's directory, which need not exist, or refuse what is no directory."""
        # A run's directory holds no dot, and each marker does: neither can stand in the other's way.
        folder = os.path.join(self.directory, _stem(self.run_id)) if self.run_id else self.directory
        for directory in (self.directory, folder):
            if os.path.lexists(directory) and not os.path.isdir(directory):
                message = f"directory={self.directory!r} cannot hold checkpoints: this is not a directory"
                raise NotADirectoryError(errno.ENOTDIR, message, directory)
        return folder

    def _marker(self, name: str) -> str:
        return os.path.join(self._folder(), _stem(_checked_string("name", name)) + _SUFFIX)

    def _marker_files(self) -> list[str]:
        return [path for path in self._entries(_SUFFIX) if stat.S_ISREG(_mode(path))]

    def _entries(self, suffix: str) -> list[str]:
        """Return what this run's directory holds under names that end so, sorted."""
        folder = self._folder()
        try:
            entries = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        return [os.path.join(folder, entry) for entry in entries if entry.endswith(suffix)]

    def _content(self, name: str, claims: Mapping[str, object] | None = None) -> bytes:
        import json  # noqa: PLC0415 - keeps `import outlive` light

        # Not as ASCII: \u escapes would give a pair of lone surrogates and the character they make one form.
        fields = {"schema": _SCHEMA, "run_id": self.run_id, "step": name, **(claims or {})}
        return f"{json.dumps(fields, ensure_ascii=False)}\n".encode("utf-8", "surrogatepass")


def _fields(content: bytes | None) -> dict[str, Any]:
    """Return what a marker says; nothing if it is none."""
    import json  # noqa: PLC0415 - keeps `import outlive` light

    try:
        fields = json.loads((content or b"").decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _stem(name: str) -> str:
    """Spell any string as a file's name, no two alike: "%" is the empty one, "~" comes before a hash."""
    encoded = name.encode("utf-8", "surrogatepass")
    stem = "".join(chr(byte) if byte in _KEPT else f"%{byte:02x}" for byte in encoded) or "%"
    if len(stem) <= _LONGEST_STEM:
        return stem
    import hashlib  # noqa: PLC0415 - keeps `import outlive` light

    tail = f"~{hashlib.sha256(encoded).hexdigest()}"
    return stem[: _LONGEST_STEM - len(tail)] + tail


def _identity(path: str) -> _Identity | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns


def _mode(path: str) -> int:
    """Return what stands at a path, as lstat does; 0 is nothing."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _read_regular(path: str) -> bytes | None:
    """Return a regular file's content, or None: opening a pipe in its place could wait for ever."""
    if not stat.S_ISREG(_mode(path)):
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:  # just cleared by another process
        return None


def _refuse_irregular(marker: str, name: str) -> None:
    """Raise if something stands at a marker's path that no checkpoint made: it is not ours to replace."""
    mode = _mode(marker)
    if mode and not stat.S_ISREG(mode):
        kind, code = ("a directory", errno.EISDIR) if stat.S_ISDIR(mode) else ("not a file", errno.EINVAL)
        message = f"name={shown(name)} cannot be marked or cleared: what stands at its marker is {kind}"
        raise OSError(code, message, marker)


def _make_directory(path: str) -> None:
    """Make a directory that lasts, in a directory that exists.

    The parent is fsynced also if the directory is there already: whoever made it may have been killed
    between the two.
    """
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        message = f"directory={path!r} has no directory to be made in; create it first"
        raise FileNotFoundError(errno.ENOENT, message, parent)
    try:
        with synced_directory(parent), suppress(FileExistsError):  # another process may be faster
            if not os.path.isdir(path):
                os.mkdir(path)
    except PermissionError:
        # A parent that cannot be opened is one that no checkpoint ever made a directory in.
        if not os.path.isdir(path):
            raise


def _checked_string(argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{argument}={shown(value)} is not a string")
    return value
