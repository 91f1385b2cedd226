"""Calls that open a file, run a program or look a path up.

Sources: open(2), openat2(2), open_by_handle_at(2), execve(2), stat(2), access(2).
"""

from __future__ import annotations

import os

from outlive_harness import abi
from outlive_harness.intercept.filter import LOOKS
from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.lookup import holds_files
from outlive_harness.intercept.memory import read_memory, read_string
from outlive_harness.intercept.paths import directory_of, program_of
from outlive_harness.intercept.task import descriptor_path
from outlive_harness.results.ops import Op

from .context import Context, Decode

#: Bytes of struct open_how (openat2(2)).
_OPEN_HOW = 24


def _open(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    dirfd, address, flags, mode = abi.AT_FDCWD, a[0], a[1], a[2]
    is_rooted = False  # an absolute path begins at the descriptor
    if name == "creat":
        flags, mode = os.O_CREAT | os.O_WRONLY | os.O_TRUNC, a[1]
    elif name == "openat":
        dirfd, address, flags, mode = a[:4]
    elif name == "openat2":
        raw = read_memory(tid, a[2], _OPEN_HOW) if a[3] >= _OPEN_HOW else b""
        if len(raw) < _OPEN_HOW:
            return None  # the call fails
        how = memoryview(raw).cast("Q")
        dirfd, address, flags, mode = a[0], a[1], how[0], how[1]
        is_rooted = bool(how[2] & abi.RESOLVE_IN_ROOT)
    if not flags & abi.OPEN_CHANGES:
        if run.reads is not None:
            _note_read(run, tid, dirfd, read_string(tid, address))
        return None
    flags &= 0xFFFFFFFF
    exclusive = flags & os.O_CREAT and flags & os.O_EXCL
    raw = read_string(tid, address)
    raw = raw.lstrip(b"/") if is_rooted else raw
    follow, is_sure = not (flags & os.O_NOFOLLOW or exclusive), bool(flags & os.O_TRUNC)
    found = run.by_path(tid, dirfd, raw, follow=follow, is_sure=is_sure)
    if found.inside is None:
        if run.reads is not None and flags & (os.O_ACCMODE | os.O_TRUNC) == os.O_RDWR:
            _note_read(run, tid, dirfd, raw)
        return None
    makes = flags & (os.O_CREAT | abi.O_TMPFILE_BIT)
    detail = run.detail_of_new(tid, found) if makes else run.detail(found)
    run.note_pipe(found.place.look() if detail is None else detail.seen)
    return Op("open", name, found.inside, tid=tid, flags=flags, mode=mode & 0o7777, detail=detail)


def _handle(run: Context, _name: str, _tid: int, a: Arguments) -> Op | None:
    if a[2] & abi.OPEN_CHANGES:
        reason = "a file was opened for writing by handle (open_by_handle_at): its path is not known"
        run.blind["", reason] = None
    return None


def _look(run: Context, name: str, tid: int, a: Arguments) -> None:
    dirfd, address = (abi.AT_FDCWD, a[0]) if name in ("stat", "lstat", "access", "chdir") else (a[0], a[1])
    raw = read_string(tid, address) if address else b""
    if raw:  # without a path the call is about a descriptor
        _note_look(run, tid, dirfd, raw)


def _execute(run: Context, name: str, tid: int, a: Arguments) -> None:
    """Note the program that is executed: a statically linked one opens no file of its own."""
    if run.reads is None:
        return
    dirfd, address, flags = (a[0], a[1], a[4]) if name == "execveat" else (abi.AT_FDCWD, a[0], 0)
    raw = read_string(tid, address)
    if raw:
        _note_read(run, tid, dirfd, raw)
    elif flags & abi.AT_EMPTY_PATH:
        _note_read(run, tid, abi.AT_FDCWD, descriptor_path(tid, dirfd & 0xFFFFFFFF))


def _note_read(run: Context, tid: int, dirfd: int, raw: bytes) -> None:
    """Note a path as it was given: its links may lead elsewhere next time, and that is a change too."""
    assert run.reads is not None
    run.reads[os.fsdecode(program_of(tid))] = None
    raw = os.path.normpath(_note_look(run, tid, dirfd, raw))
    if not _is_of_the_box(run, raw) and holds_files(raw):
        run.reads[os.fsdecode(raw)] = None


def _is_of_the_box(run: Context, path: bytes) -> bool:
    """Return whether a path is the box, in it, or one of the two directories above a worker's box."""
    parent = os.path.dirname(run.box)
    return path.startswith(run.prefix) or path in (run.box, parent, os.path.dirname(parent))


def _note_look(run: Context, tid: int, dirfd: int, raw: bytes) -> bytes:
    """Note a path in the box, whether it exists or not; return it as an absolute path."""
    if not raw.startswith(b"/"):
        raw = directory_of(tid, dirfd) + b"/" + raw
    if raw.startswith(run.prefix):
        run.looked[os.path.relpath(os.fsdecode(raw), os.fsdecode(run.box))] = None
    return raw


CALLS: dict[str, Decode] = {
    **dict.fromkeys(("open", "openat", "openat2", "creat"), _open),
    "open_by_handle_at": _handle,
    **dict.fromkeys(("execve", "execveat"), _execute),
    **dict.fromkeys(LOOKS, _look),
}
