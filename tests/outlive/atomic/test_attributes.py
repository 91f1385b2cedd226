"""What a file that replaces another takes over: owner, group, mode, extended attributes."""

import errno
import os
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from outlive import atomic_batch, atomic_directory, atomic_open, atomic_path, atomic_write

as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away"
)


def has_attributes():
    """Tell whether files here can have extended attributes."""
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.setxattr(file.name, "user.outlive", b"1")
        except (OSError, AttributeError):
            return False
    return True


with_attributes = pytest.mark.skipif(
    not has_attributes(), reason="no extended attributes on the file system of temporary files"
)


def by_open(target):
    with atomic_open(target) as file:
        file.write("new")


def by_path(target):
    with atomic_path(target) as path:
        path.write_text("new")


def by_batch(target):
    with atomic_batch() as batch:
        batch.write(target, "new")


every_way = pytest.mark.parametrize("write", [by_open, by_path, by_batch])


@as_root
@every_way
def test_root_keeps_the_owner(tmp_path, write):
    """As root, a file that replaces another has its owner and group."""
    target = tmp_path / "out"
    target.write_text("old")
    os.chown(target, 4711, 4712)
    target.chmod(0o640)
    write(target)
    status = target.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4711, 4712, 0o640)
    assert target.read_text() == "new"


@as_root
@every_way
def test_root_that_may_not_give_files_away_keeps_the_group(monkeypatch, tmp_path, write):
    """Where the owner is refused, as without CAP_CHOWN, the group is kept all the same."""
    fchown = os.fchown

    def refuse(descriptor, user, group):
        if user != -1:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        fchown(descriptor, user, group)

    target = tmp_path / "out"
    target.write_text("old")
    os.chown(target, 4711, 4712)
    target.chmod(0o640)
    monkeypatch.setattr(os, "fchown", refuse)
    write(target)
    status = target.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 4712, 0o640)


@as_root
def test_who_is_not_root_keeps_what_may_be_kept():
    """Without root the owner is the writer; the group is kept by those in it, else its rights go with it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    for name, group, mode in (("mine", 4712, 0o664), ("theirs", 4713, 0o664), ("secret", 4713, 0o640)):
        (folder / name).write_text("old")
        os.chown(folder / name, 4711, group)
        (folder / name).chmod(mode)
    code = """
import os, sys, outlive
os.setgroups([4712]); os.setgid(65534); os.setuid(65534)
for name in ("mine", "theirs", "secret"):
    outlive.atomic_write(os.path.join(sys.argv[1], name), "new")
"""
    command = [sys.executable, "-I", "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    owners = {
        name: (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
        for name, status in ((path.name, path.stat()) for path in folder.iterdir())
    }
    assert owners == {
        "mine": (65534, 4712, 0o664),
        "theirs": (65534, 65534, 0o644),
        "secret": (65534, 65534, 0o600),
    }
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@with_attributes
@every_way
def test_extended_attributes_are_kept(tmp_path, write):
    """A file that replaces another has its user attributes, an empty one too."""
    target = tmp_path / "out"
    target.write_text("old")
    os.setxattr(target, "user.origin", b"\0binary\xff")
    os.setxattr(target, "user.empty", b"")
    write(target)
    found = {name: os.getxattr(target, name) for name in os.listxattr(target)}
    assert found == {"user.origin": b"\0binary\xff", "user.empty": b""}


@as_root
@with_attributes
def test_what_speaks_of_the_old_content_is_not_kept(tmp_path):
    """A capability is not handed to new content, and attributes of trusted programs are."""
    target = tmp_path / "out"
    target.write_text("old")
    try:
        os.setxattr(target, "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
        os.setxattr(target, "trusted.kept", b"1")
    except OSError as error:
        pytest.skip(f"no such attributes here: {error}")
    atomic_write(target, "new")
    assert os.listxattr(target) == ["trusted.kept"]


def access_list(*entries):
    """Return the bytes of an access list (acl(5)): (tag, permissions, id) each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


LIST = access_list(
    (1, 6, 0xFFFFFFFF), (2, 4, 4711), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)
)


@with_attributes
@every_way
def test_access_list_is_kept_and_none_is_inherited(tmp_path, write):
    """The old file's access list is the new one's; a directory's default list gives nobody else a right."""
    with_list, without = tmp_path / "with", tmp_path / "without"
    for path in (with_list, without):
        path.write_text("old")
        path.chmod(0o640)
    try:
        os.setxattr(with_list, "system.posix_acl_access", LIST)
        os.setxattr(tmp_path, "system.posix_acl_default", LIST.replace(b"\x67\x12", b"\x68\x12"))
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    for path in (with_list, without):
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.getxattr(with_list, "system.posix_acl_access") == LIST
    assert os.listxattr(without) == []


@pytest.fixture
def calls(monkeypatch):
    """Record the calls on attributes, in order."""
    seen = []

    def record(name):
        call = getattr(os, name)

        def wrapped(*arguments, **options):
            seen.append(name)
            return call(*arguments, **options)

        monkeypatch.setattr(os, name, wrapped)

    for name in ("fchown", "setxattr", "fchmod", "fsync", "replace"):
        record(name)
    return seen


@as_root
@with_attributes
def test_order_of_attributes(calls, tmp_path):
    """The owner comes before the mode, which chown would clear, and all of it before the fsync."""
    target = tmp_path / "out"
    target.write_text("old")
    os.chown(target, 4711, 4711)
    os.setxattr(target, "user.origin", b"1")
    calls.clear()
    atomic_write(target, "new")
    assert calls == ["fchown", "setxattr", "fchmod", "fsync", "replace", "fsync"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_what_cannot_be_kept_is_left_out(monkeypatch, tmp_path, code):
    """Where owner and attributes cannot be set, the file is written all the same."""

    def refuse(*_arguments, **_options):
        raise OSError(code, os.strerror(code))

    target = tmp_path / "out"
    target.write_text("old")
    target.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(target, 4711, 4711)
    for name in ("fchown", "setxattr"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(os, "getxattr", lambda *_: b"1")
    monkeypatch.setattr(os, "listxattr", lambda *_: ["user.origin"])
    atomic_write(target, "new")
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@every_way
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
@pytest.mark.parametrize(
    ("before", "after"), [(0o644, {0o600, 0o644}), (0o600, {0o600}), (0o666, {0o600, 0o644})]
)
def test_mode_that_cannot_be_set(monkeypatch, tmp_path, write, code, before, after):
    """Where no mode can be set, a file has one that allows no more, or it is an error."""

    def refuse(*_arguments):
        raise OSError(code, os.strerror(code))

    target = tmp_path / "out"
    target.write_text("old")
    target.chmod(before)
    monkeypatch.setattr(os, "fchmod", refuse)
    mask = os.umask(0o022)
    try:
        if before == 0o600 and write != by_open:  # these make what they are given with more
            with pytest.raises(OSError, match=os.strerror(code)):
                write(target)
            assert target.read_text() == "old"
        else:
            write(target)
            assert target.read_text() == "new"
    finally:
        os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) in after
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208 - names are compared as text


def test_disk_that_is_full_for_attributes(monkeypatch, tmp_path):
    """Where there is no room for an attribute the old file stays: nothing is lost without a word."""

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "out"
    target.write_text("old")
    monkeypatch.setattr(os, "setxattr", full)
    monkeypatch.setattr(os, "getxattr", lambda *_: b"1")
    monkeypatch.setattr(os, "listxattr", lambda *_: ["user.origin"])
    with pytest.raises(OSError, match="No space left"):
        atomic_write(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@every_way
def test_old_file_that_goes_meanwhile(tmp_path, write):
    """If the file that is to be replaced is removed in the body, the new one takes its place all the same."""
    target = tmp_path / "out"
    target.write_text("old")
    if write is by_open:
        with atomic_open(target) as file:
            target.unlink()
            file.write("new")
    elif write is by_path:
        with atomic_path(target) as path:
            target.unlink()
            path.write_text("new")
    else:
        with atomic_batch() as batch, batch.open(target) as file:
            target.unlink()
            file.write("new")
    assert target.read_text() == "new"


@with_attributes
def test_directory_keeps_mode_and_attributes(tmp_path):
    """A directory that replaces another has its mode, the set-group-id bit too, and its attributes."""
    target = tmp_path / "tree"
    target.mkdir()
    os.setxattr(target, "user.origin", b"1")
    target.chmod(0o2750)
    with atomic_directory(target) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o700
        (folder / "file").touch()
    assert stat.S_IMODE(target.stat().st_mode) == 0o2750
    assert os.getxattr(target, "user.origin") == b"1"


@with_attributes
def test_directory_that_replaces_another_inherits_no_access_list(tmp_path):
    """Files that are made in it later are not open to those whom the default list above it names."""
    target = tmp_path / "tree"
    target.mkdir()
    target.chmod(0o750)
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", LIST)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    with atomic_directory(target):
        pass
    assert os.listxattr(target) == []
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
