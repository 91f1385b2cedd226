"""Whole files or none: a temporary file, brought to the disk, then renamed over the destination.

The order of the system calls is the whole of it: open (O_EXCL), write, fchown, fsetxattr, fchmod, fsync,
rename, fsync of the directory. Each step that is left out loses data on some file system: T. S.
Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014 (the ALICE study); rename(2) and fsync(2).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, overload

from . import _syscalls
from ._attributes import keep_attributes, set_mode
from ._descriptor import file_of
from ._durable import close_names, open_to_sync, sync_file, sync_names
from ._place import Place, checked_durable, checked_path, checked_permissions, file_place, shown
from ._straight import write_straight
from ._temporary import Temporary, TemporaryDirectory, TemporaryFile, lost, refuse_child, refuse_lost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO, Literal, TextIO

    from ._place import Durable

_MODES = ("w", "wt", "wb")
_NEWLINES = (None, "", "\n", "\r", "\r\n")


def atomic_write(
    destination: str | os.PathLike[str],
    data: str | bytes | bytearray | memoryview,
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
    permissions: int | None = None,
) -> None:
    r"""Replace a file's content as a whole: a reader, or a crash, finds the old content or the new.

    Args:
        destination: The file to write. All that `atomic_open` says of it holds.
        data: The whole new content: text, or bytes.
        encoding: Of text; None is UTF-8. Bytes take none.
        newline: What a `"\n"` in text becomes, as for `open`. Bytes take none.
        durable: What must survive a power cut once this returns: "full", "file" or "none".
        overwrite: Whether a file that is there may be replaced.
        parents: Whether missing directories are made.
        permissions: What the file has, such as 0o600, from its first byte on. None: what the file has that it
            replaces, and what the umask leaves of 0o666 where it replaces none.

    Raises:
        TypeError: The data are neither text nor bytes in one piece, or the destination is no path.
        ValueError: The destination is empty or no possible name, or an option is wrong or out of place; or
            the text holds what its encoding does not (UnicodeEncodeError), such as a lone surrogate of a
            file's name: give `data.encode("utf-8", "surrogateescape")`.
        OSError: As for `atomic_open`.
    """
    path = checked_path("destination", destination)
    content = encoded(data, encoding, newline)
    level, bits = checked_durable(durable), checked_permissions(permissions)
    if overwrite and not parents and bits is None and write_straight(path, content, level):
        return
    place = file_place(path, level, overwrite=overwrite, parents=parents)
    draft = Draft(place._replace(permissions=bits), alone=True)
    try:
        draft.make()
        write_all(draft.temporary.writer, content)
        draft.temporary.close_writer()
        draft.publish()
    except BaseException as error:
        draft.give_up(error)
        raise


def encoded(data: object, encoding: str | None, newline: str | None) -> memoryview:
    """Return the bytes to write, or refuse data or options that cannot be written."""
    if type(data) is bytes and encoding is None is newline:
        return memoryview(data)
    if not isinstance(data, str | bytes | bytearray | memoryview):
        raise TypeError(f"data={shown(data)} is neither text nor bytes")
    if not isinstance(data, str):
        checked_text_options("wb", encoding, newline)
        view = memoryview(data)
        if not view.c_contiguous:
            raise TypeError(f"data={shown(data)} is not in one piece; give bytes(data)")
        return view.cast("B") if view.nbytes else memoryview(b"")
    checked_text_options("w", encoding, newline)
    ending = os.linesep if newline is None else newline or "\n"
    text = data if ending == "\n" else data.replace("\n", ending)
    try:
        return memoryview(text.encode("utf-8" if encoding is None else encoding))
    except UnicodeEncodeError as error:
        error.add_note("data=... was not written; give bytes: data.encode(encoding, errors)")
        raise


@overload
def atomic_open(
    destination: str | os.PathLike[str],
    mode: Literal["w", "wt"] = "w",
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
    permissions: int | None = None,
) -> AbstractContextManager[TextIO]: ...
@overload
def atomic_open(
    destination: str | os.PathLike[str],
    mode: Literal["wb"],
    *,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
    permissions: int | None = None,
) -> AbstractContextManager[BinaryIO]: ...
@contextmanager
def atomic_open(
    destination: str | os.PathLike[str],
    mode: str = "w",
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
    permissions: int | None = None,
) -> Iterator[Any]:
    r"""Open a file that takes its place as a whole: all of what the body writes, or nothing.

    The body writes a temporary file beside the destination, `.NAME.0.outlive-tmp`. When the body ends,
    that file is flushed, given its attributes, brought to the disk and renamed over the destination. An
    exception in the body, Ctrl-C and a cancelled task included, leaves the destination as it was and no
    temporary file. A process that is killed leaves one, which the next write to this destination
    removes; see `remove_orphans` for how a live writer's is told from it. A child that is forked in the
    body publishes nothing and removes nothing.

    A new file gets the permissions that `open` would have given it. One that replaces another gets the
    other's read, write and execute bits, its extended attributes and access list, its group where the
    writer is in it, and its owner where the writer is root. Where it cannot have the group, its own may do
    no more than everybody may. Until it is finished nobody but its owner may
    read it. Not taken over are the set-user-id bits, `security.capability`, `.ima` and `.evm`, which speak
    of the old content, and what the writer has no right to set. Where no mode can be set (some of FUSE, vfat
    that another user mounted) a file has what it was made with, and if that allows more than the old one's
    it is an error. Further hard links to the old file keep the old content. Writing asks permission of the
    directory, as every rename does, and not of the file.

    A symbolic link is followed: the file that it names is replaced, and the link stays. The path is
    resolved once, on entry to the body; a later chdir redirects nothing.

    An fsync that fails is an error and is never tried again: after it the kernel may have dropped the
    data and call the next fsync a success (PostgreSQL's "fsyncgate", 2018). Nothing is ever copied: where
    a rename is refused (EXDEV, EBUSY where a file is mounted at the destination), that is the error. On
    Windows a rename waits up to two seconds for readers that share nothing. What is done for macOS and
    Windows is tested with stand-ins only.

    Args:
        destination: The file to write.
        mode: "w" or "wt" for text, "wb" for bytes.
        encoding: Of text; None is UTF-8. Bytes take none.
        newline: What a `"\n"` becomes in text, as for `open`. Bytes take none.
        durable: What must survive a power cut once the body has ended. "full": the new content. "file":
            either content, whole; it saves the directory's fsync. "none": nothing, it may even leave an
            empty file; it stays atomic for readers and for crashes of the process, and is fastest. On
            macOS, "full" also empties the drive's cache.
        overwrite: Whether a file that is there may be replaced. If not, of several writers at a time one
            wins; a symbolic link counts as a file that is there, wherever it leads. A write that is
            refused on entry removes no orphan.
        parents: Whether missing directories are made, as `os.makedirs` does. With durable="full" their
            names last too, and so does that of the lowest one that was there: one fsync more.
        permissions: What the file has, such as 0o600, whatever the umask is and the old file has.

    Returns:
        A context manager that gives the open file. Nothing is checked or made before it is entered. The
        body may close the file.

    Raises:
        TypeError: The destination is no path.
        ValueError: The destination is empty or no possible name, an option is wrong or out of place, or
            the body has detached the file's buffer.
        FileExistsError: Something is there, and overwrite=False: found on entry, or at the end.
        FileNotFoundError: The destination's directory does not exist; `filename` says which.
        IsADirectoryError: The destination is a directory.
        PermissionError: No file can be made in the destination's directory.
        PublishedNotDurableError: The new content is there, and only the directory's fsync failed.
        OSError: The destination is a pipe or a device, or the operating system refuses for a reason of
            its own.
    """
    path = checked_path("destination", destination)
    text_options = checked_text_options(mode, encoding, newline)
    level, bits = checked_durable(durable), checked_permissions(permissions)
    place = file_place(path, level, overwrite=overwrite, parents=parents)
    draft = Draft(place._replace(permissions=bits))
    try:
        draft.make()
        file = file_of(draft.temporary.writer, mode, **text_options)
        with given(draft.temporary, file):
            yield file
        draft.temporary.close_writer()
        draft.publish()
    except BaseException as error:
        draft.give_up(error)
        raise


def write_all(descriptor: int, content: memoryview) -> None:
    """Write all of it."""
    while content:
        content = content[os.write(descriptor, content) :]


class Draft:
    """A file that is to take its place: made, then written, then published or given up."""

    def __init__(self, place: Place, *, alone: bool = False) -> None:
        self.place = place
        self.temporary = TemporaryFile(alone=alone)

    def make(self) -> None:
        """Make the file under its temporary name.

        Raises:
            OSError: The destination's directory takes none.
        """
        place = self.place
        # What replaces a file may have to be as private as that: nobody else reads it before it is finished.
        mode = 0o666 if place.old is None and place.permissions is None else 0o600
        try:
            self.temporary.make(place.directory, place.name, mode)
        except OSError as error:
            raise refused(place, error) from error

    def publish(self) -> None:
        """Bring what was written to the disk, and give it its name."""
        temporary, place = self.temporary, self.place
        refuse_child(temporary.process)
        status = temporary.status or os.fstat(temporary.descriptor)
        finish(temporary.descriptor, place, status)
        if os.name == "nt":  # which renames no open file, and lets nobody remove one
            temporary.close()
        else:
            refuse_lost(temporary.path, status, place.path)
        rename_into_place(place, temporary.path, status)
        # From here on the temporary name may be another's: it is not touched again.
        temporary.release()
        sync_names(place.names, place.directory)
        close_names(place.names)

    def give_up(self, error: BaseException) -> None:
        """Remove the temporary file, unless the error came when it had its name already."""
        try:
            self.temporary.give_up(error, self.place.path, self.place.target)
        finally:
            close_names(self.place.names)


@contextmanager
def atomic_path(
    destination: str | os.PathLike[str],
    *,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
) -> Iterator[Path]:
    """Give a path for a library that opens files itself; what is there in the end takes its place whole.

    The path has the destination's name, in a directory of its own beside it, `.NAME.0.outlive-tmp`, that
    only its owner may enter. So suffixes are what they should be, and it does not matter how the file
    gets there: written, replaced by a rename, or linked. Nothing is there at first.

    A new file has the permissions that the library gave it, and so has one that is linked under another name
    as well, which keeps its owner too; else all that `atomic_open` says holds.

    A program that was started in the body may outlive a run that is killed, and then writes by that path
    into the next run's file. Start it so that it ends with the run: with PR_SET_PDEATHSIG (prctl(2)), or in
    a process group or a container that is killed as a whole.

    Args:
        destination: The file to write.
        durable: What must survive a power cut once the body has ended: "full", "file" or "none".
        overwrite: Whether a file that is there may be replaced.
        parents: Whether missing directories are made.

    Returns:
        A context manager that gives a `pathlib.Path`.

    Raises:
        FileNotFoundError: The body left no file at the path; or the destination has no directory.
        ValueError: The body left other files beside it, as a database that was not closed does.
        OSError: As for `atomic_open`.
    """
    from pathlib import Path  # noqa: PLC0415 - more than the rest of the import together

    path = checked_path("destination", destination)
    place = file_place(path, checked_durable(durable), overwrite=overwrite, parents=parents)
    with place.synced():
        temporary = TemporaryDirectory()
        inner, is_finished = "", False
        try:
            make_in_place(temporary, place, 0o700)
            inner = os.path.join(temporary.path, place.name)
            yield Path(inner)
            refuse_child(temporary.process)
            made = _finish_path(place, temporary, inner)
            is_finished = True
            rename_into_place(place, inner, made)
            temporary.discard()  # before the directory is brought to the disk
        except BaseException as error:
            if inner and (not is_finished or os.path.lexists(inner)):  # else an interrupt after the rename
                error.add_note(f"destination={place.path!r} was not written")
            temporary.discard()
            raise


def _finish_path(place: Place, temporary: TemporaryDirectory, inner: str) -> os.stat_result:
    """Bring to the disk the file that the body left at the path, and return its status.

    Raises:
        ValueError: There is more than the file.
        OSError: There is no regular file, or it cannot be brought to the disk.
    """
    if not temporary.is_at(temporary.path):
        raise lost(place.path)
    left = sorted(os.listdir(temporary.path))
    if place.name not in left:
        message = (
            f"destination={place.path!r} was not written: the body left no file at the path it was given"
        )
        raise FileNotFoundError(errno.ENOENT, message, inner)
    if left != [place.name]:
        others = ", ".join(repr(name) for name in left if name != place.name)
        raise ValueError(f"destination={place.path!r}: the body left more than the file: {shown(others)}")
    if not stat.S_ISREG(os.lstat(inner).st_mode):
        message = f"destination={place.path!r} was not written: the body left something else than a file"
        raise OSError(errno.EINVAL, message, inner)
    descriptor = open_to_sync(inner)
    try:
        number = descriptor.fileno()
        found = os.fstat(number)
        # What has another name too is not ours to give attributes to.
        finish(number, place._replace(old=None) if found.st_nlink > 1 else place, found)
    finally:
        descriptor.close()
    refuse_lost(inner, found, place.path)  # the directory may have been removed meanwhile
    return found


def checked_text_options(mode: str, encoding: str | None, newline: str | None) -> dict[str, str | None]:
    """Return the options for a text file, none for bytes, or refuse what is wrong or out of place."""
    if mode not in _MODES:
        raise ValueError(f"mode={shown(mode)} is not one of {', '.join(map(repr, _MODES))}")
    if mode == "wb":
        for name, value in (("encoding", encoding), ("newline", newline)):
            if value is not None:
                raise ValueError(f"{name}={shown(value)} is for text, and bytes are written")
        return {}
    if newline not in _NEWLINES:
        raise ValueError(f"newline={shown(newline)} is not one of {', '.join(map(repr, _NEWLINES))}")
    try:
        "a".encode("utf-8" if encoding is None else encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"encoding={shown(encoding)} is not the name of a text encoding") from error
    return {"encoding": "utf-8" if encoding is None else encoding, "newline": newline}


def refused(place: Place, error: OSError) -> OSError:
    """Return the error of a directory that takes no temporary."""
    message = (
        f"destination={place.path!r} cannot be written: its directory takes no new file ({error.strerror})"
    )
    return OSError(error.errno, message, place.directory)


def make_in_place(temporary: TemporaryDirectory, place: Place, mode: int) -> None:
    """Make a temporary directory for a destination.

    Raises:
        OSError: Its directory takes none.
    """
    try:
        temporary.make(place.directory, place.name, mode)
    except OSError as error:
        raise refused(place, error) from error


@contextmanager
def given(temporary: Temporary, file: Any) -> Iterator[Any]:  # noqa: ANN401 - as `open` is typed by its mode
    """Give a file object that writes a temporary, or what is in it, and close it when the body ends."""
    raw = (file.buffer if hasattr(file, "buffer") else file).raw
    raw.name = temporary.path  # libraries ask a file for its name
    try:
        yield file
        refuse_child(temporary.process)
        file.close()
    except BaseException:
        if not temporary.is_ours():  # what is buffered here is buffered in the process that goes on, too
            with suppress(OSError, ValueError):
                os.close(raw.fileno())
        # Closing writes what is still buffered, and may fail as the body did: the first error is told.
        with suppress(OSError, ValueError):
            file.close()
        raise


def finish(descriptor: int, place: Place, made: os.stat_result) -> None:
    """Bring content and attributes to the disk, under the temporary name."""
    if place.old is not None:
        keep_attributes(descriptor, place.target, place.old, made)
    if place.permissions is not None:
        set_mode(descriptor, place.permissions)
    sync_file(descriptor, place.durable)


def rename_into_place(place: Place, source: str, made: os.stat_result) -> None:
    """Give a finished file its name.

    Args:
        place: The destination.
        source: The path of the file.
        made: What it is. Over NFS a rename that is sent twice fails although it was made (rename(2), BUGS).

    Raises:
        OSError: The operating system refuses; FileExistsError if there is one that may not be replaced.
    """
    rename = _syscalls.replace if place.overwrite else _syscalls.rename_new
    try:
        rename(source, place.target)
    except FileNotFoundError:
        if not _stands_at(place.target, made):
            raise
    except FileExistsError as error:
        message = f"destination={place.path!r} exists by now, and overwrite=False"
        raise FileExistsError(errno.EEXIST, message, place.target) from error


def _stands_at(path: str, made: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), made)
    except OSError:
        return False
