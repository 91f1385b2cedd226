"""A tree of files as it stands on the disk: names, types, modes, sizes, digests, link targets."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from .flags import FIXED, copy_flags, flags_of, get_flags, set_flags
from .mounts import below

#: Written into digests in place of the box's own path, so that outputs that name it compare equal.
BOX_MARK = b"\0{box}\0"
#: Files of this size or more are digested in pieces, and a mention of the box in them stays.
WHOLE = 1 << 24
#: Files of this size or more are copied by the file system itself, where it can.
_SHARED = 1 << 16
#: Directories in each other that are removed from the inside out: each takes a descriptor.
_DEEP = 100
#: How a directory is opened, and no link to one.
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Entry(NamedTuple):
    """One name of a tree.

    Attributes:
        kind: ``file``, ``dir``, ``link``, or ``special`` (a FIFO, socket or device).
        mode: permission bits.
        size: bytes of a file; 0 otherwise.
        digest: of a file its content's, of a link its target, of a special its type.
    """

    kind: str
    mode: int
    size: int
    digest: str


class Linked(Entry):
    """The entry of a file that has several names in its tree; it equals one that has one name.

    Attributes:
        first: the first of these names.
    """

    first = ""


Tree = dict[str, Entry]


def mark_links(tree: Tree, names: Iterable[Sequence[str]]) -> None:
    """Mark entries of a tree whose paths are *names* of one file each."""
    for several in names:
        for path in several if len(several) > 1 else ():
            tree[path] = linked = Linked(*tree[path])
            linked.first = min(several)


def digest_bytes(content: bytes, box: bytes = b"") -> str:
    """Return the digest of a content; *box* is the path of the box it was made in."""
    if box and box in content:
        content = content.replace(box, BOX_MARK)
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_file(path: str | Path, box: bytes = b"", *, opens: bool = True) -> str:
    """Return the digest of a file's content, as digest_bytes() gives it.

    Files over 16 MiB are read in pieces, and a mention of the box in them is left as it is.

    Raises:
        OSError: the file cannot be read, even by its owner.
    """
    with readable(path, opens=opens), open(path, "rb", buffering=0) as file:
        content = file.read(WHOLE)
        if len(content) < WHOLE:
            return digest_bytes(content, box)
        running = hashlib.blake2b(content, digest_size=16)
        while content := file.read(WHOLE):
            running.update(content)
        return running.hexdigest()


@contextlib.contextmanager
def readable(path: str | Path, *, opens: bool = True) -> Iterator[None]:
    """Let the owner read what the pipeline closed to itself, and put the mode back.

    Without *opens* nothing is changed: it is the user's, and cannot be read.
    """
    if not opens or os.access(path, os.R_OK):
        yield
        return
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    os.chmod(path, mode | 0o700)
    try:
        yield
    finally:
        os.chmod(path, mode)


class Known(Protocol):
    """Digests of files that need not be read again."""

    def digest(self, path: str, info: os.stat_result) -> str | None:
        """Return the digest of a file, if it is known."""

    def digested(self, path: str, info: os.stat_result, digest: str) -> None:
        """Take the digest of a file."""


def scan(
    root: Path,
    *,
    box: bytes = b"",
    skip: Callable[[str], bool] | None = None,
    known: Known | None = None,
    opens: bool = True,
) -> Tree:
    """Read the tree below *root*.

    Args:
        root: the directory; it is not an entry itself.
        box: the path to replace in contents before they are digested.
        skip: says of a relative path whether to leave it, and all below it, out.
        known: digests, by relative path.
        opens: whether what is closed to its owner is opened for a moment; never in a directory of the user's.

    Raises:
        OSError: something cannot be read.
    """
    tree: Tree = {}
    names: dict[tuple[int, int], list[str]] = {}
    _scan(str(root), "", tree, names, box, skip, known, opens=opens)
    mark_links(tree, names.values())
    return tree


def _scan(
    root: str,
    prefix: str,
    tree: Tree,
    names: dict[tuple[int, int], list[str]],
    box: bytes,
    skip: Callable[[str], bool] | None,
    known: Known | None,
    *,
    opens: bool,
) -> None:
    with readable(root, opens=opens), os.scandir(root) as listing:
        for item in listing:
            name = prefix + item.name
            if skip is not None and skip(name):
                continue
            info = item.stat(follow_symlinks=False)
            mode = stat.S_IMODE(info.st_mode)
            if stat.S_ISREG(info.st_mode):
                digest = known.digest(name, info) if known is not None else None
                if digest is None:
                    digest = digest_file(item.path, box, opens=opens)
                    if known is not None:
                        known.digested(name, info, digest)
                tree[name] = Entry("file", mode, info.st_size, digest)
                if info.st_nlink > 1:
                    names.setdefault((info.st_dev, info.st_ino), []).append(name)
            elif stat.S_ISDIR(info.st_mode):
                tree[name] = Entry("dir", mode, 0, "")
                _scan(item.path, name + "/", tree, names, box, skip, known, opens=opens)
            elif stat.S_ISLNK(info.st_mode):
                target = os.fsencode(os.readlink(item.path)).replace(box or b"\0", BOX_MARK)
                tree[name] = Entry("link", 0, 0, os.fsdecode(target))
            else:
                tree[name] = Entry("special", mode, 0, f"{stat.S_IFMT(info.st_mode):o}")


def attributes(root: Path, tree: Tree) -> dict[str, list[tuple[str, bytes]]]:
    """Return what else a program may set of a tree's files: attributes (xattr(7)), flags of the inode."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for path in tree:
        if flags := flags_of(root / path):
            found[path] = [("flags", b"%x" % flags)]
        with contextlib.suppress(OSError):  # none here, or it was closed to its owner
            where = root / path
            names = [name for name in os.listxattr(where, follow_symlinks=False) if name.startswith("user.")]
            if names:
                found.setdefault(path, []).extend(
                    (name, os.getxattr(where, name, follow_symlinks=False)) for name in sorted(names)
                )
    return found


def tree_digest(tree: Tree, rename: Callable[[str], str] = lambda name: name) -> str:
    """Return one digest for a whole tree: equal trees are one crash state.

    Args:
        tree: the tree.
        rename: gives the name that a path counts under (random parts folded).
    """
    first: dict[str, str] = {}
    for name, entry in tree.items():
        if isinstance(entry, Linked):
            first[entry.first] = min(first.get(entry.first, rename(name)), rename(name))
    lines = sorted(
        (rename(name), *entry, *([first[entry.first]] if isinstance(entry, Linked) else []))
        for name, entry in tree.items()
    )
    text = repr(lines).encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def copy_tree(
    source: Path,
    destination: Path,
    *,
    copies: Mapping[str, str] | None = None,
    skip: Callable[[str], bool] | None = None,
    opens: bool = True,
) -> None:
    """Copy what is below *source* into the existing *destination*: modes, times, owners, links, devices.

    Args:
        source: the directory.
        destination: the other one.
        copies: copies of single files that are there already, by relative path; they are moved in.
        skip: says of a relative path whether to leave it, and all below it, out.
        opens: whether what is closed to its owner is opened for a moment, and owners are kept; never in a
            directory of the user's.

    Raises:
        OSError: something could not be copied; the message names it. Devices take a right to make them.
    """
    _copy(str(source), str(destination), "", {}, copies or {}, skip, opens=opens)


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
            elif stat.S_ISSOCK(info.st_mode):  # nobody listens there any more, but its name is taken
                with contextlib.suppress(PermissionError):
                    os.mknod(target, info.st_mode)
            else:
                os.mknod(target, info.st_mode, info.st_rdev)
                _give(target, info, opens=opens)
                os.chmod(target, stat.S_IMODE(info.st_mode))


def _give(target: str, info: os.stat_result, *, opens: bool) -> None:
    """Give a copy to the file's owner, where that may be; what is the user's becomes the pipeline's own."""
    if opens and (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)


def _give_status(source: str, target: str, *, opens: bool) -> None:
    """Give a copy its source's mode, times and attributes; and the flags, of what the pipeline made."""
    shutil.copystat(source, target)
    if opens:
        copy_flags(source, target)


def _copy_file(source: str, target: str, size: int) -> None:
    """Copy a content; where the file system can share blocks, it does (copy_file_range(2))."""
    if size < _SHARED or not hasattr(os, "copy_file_range"):
        shutil.copyfile(source, target)
        return
    with open(source, "rb", buffering=0) as old, open(target, "xb", buffering=0) as new:
        try:
            while os.copy_file_range(old.fileno(), new.fileno(), 1 << 30):
                pass
        except OSError:  # another file system, or one that does not know it
            old.seek(0)
            new.seek(0)
            shutil.copyfileobj(old, new, 1 << 20)


def remove_tree(root: Path) -> None:
    """Remove a directory and all in it, whatever modes the pipeline left; no error if it is absent.

    It is walked by descriptors, and no link is followed, so that nothing elsewhere is touched: no mode above
    *root*, and no file that one of its names leads to.

    Raises:
        OSError: Something is mounted in it, and nothing was touched; or it cannot be removed: it is a link or
            a file, somebody still writes there, ...
    """
    try:
        fd = open_directory(root)
    except FileNotFoundError:
        return
    try:
        if mounted := below(fd):
            why = "something is mounted there, which would be lost; unmount it"
            raise OSError(errno.EBUSY, why, mounted[0].point)
        empty_directory(fd)
        try:
            os.rmdir(root)
        except PermissionError:
            _open_up(fd)
            os.rmdir(root)
    finally:
        os.close(fd)


def open_directory(path: str | Path, *, within: int | None = None) -> int:
    """Open a directory of ours, whatever its mode, and no link to one.

    Args:
        path: its path.
        within: a descriptor of the directory at which that begins.

    Raises:
        OSError: there is none, it is a link, or nothing can open it.
    """
    try:
        return os.open(path, _DIRECTORY, dir_fd=within)
    except PermissionError:
        if not hasattr(os, "O_PATH"):
            raise
    # Its owner may give it another mode, but by no descriptor that reads it, nor by a name that may change.
    known = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        os.chmod(f"/proc/self/fd/{known}", 0o700)
        return os.open(".", _DIRECTORY, dir_fd=known)
    finally:
        os.close(known)


def empty_directory(fd: int, *, spared: str = "") -> None:
    """Remove all that is in the directory behind a descriptor, but for one name.

    Raises:
        OSError: something in it cannot be removed.
    """
    while not _empty(fd, fd, spared):
        pass


def _empty(fd: int, top: int, spared: str = "", depth: int = 0) -> bool:
    """Empty a directory; False where what lay too deep was moved up to the *top* of its tree."""
    with os.scandir(fd) as listing:
        items = [(item.name, item.is_dir(follow_symlinks=False)) for item in listing]
    is_whole = True
    for name, is_directory in items:
        if not is_directory:
            if name != spared or depth:
                _remove(name, fd)
            continue
        try:
            below_it = open_directory(name, within=fd)
        except FileNotFoundError:
            continue
        try:
            if depth < _DEEP:
                is_whole &= _empty(below_it, top, depth=depth + 1)
                _remove(name, fd, below_it)
            else:
                _open_up(fd)
                _open_up(below_it)
                os.rename(name, secrets.token_hex(8), src_dir_fd=fd, dst_dir_fd=top)
                is_whole = False
        finally:
            os.close(below_it)
    return is_whole


def _remove(name: str, within: int, directory: int | None = None) -> None:
    """Remove a name: of an empty directory where a descriptor of that is given."""
    remove = os.unlink if directory is None else os.rmdir
    try:
        remove(name, dir_fd=within)
    except FileNotFoundError:
        pass
    except PermissionError:  # the mode of what it is in, or what chattr(1) forbids
        _open_up(within)
        _make_mutable_at(name, within) if directory is None else _make_mutable(directory)
        with contextlib.suppress(FileNotFoundError):
            remove(name, dir_fd=within)


def _open_up(directory: int) -> None:
    """Let a directory's owner remove what is in it."""
    _make_mutable(directory)
    with contextlib.suppress(OSError):
        os.fchmod(directory, 0o700)


def _make_mutable_at(name: str, within: int) -> None:
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
            return  # to open a device may do anything
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
        try:
            _make_mutable(fd)
        finally:
            os.close(fd)


def _make_mutable(fd: int) -> None:
    """Take back what `chattr +i` and `+a` forbid (ioctl_iflags(2))."""
    flags = get_flags(fd)
    if flags & FIXED:
        set_flags(fd, flags & ~FIXED)
