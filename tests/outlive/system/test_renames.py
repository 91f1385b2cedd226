"""Renames with flags and what stands in for them, on Linux for real and elsewhere with stand-ins."""

# What raises is the body, of several lines; names are compared as text.
# ruff: noqa: PT012, PTH208

import asyncio
import ctypes
import errno
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from outlive import (
    Checkpoints,
    atomic_batch,
    atomic_directory,
    atomic_open,
    atomic_path,
    atomic_write,
)
from outlive._system import durability as _durability
from outlive._system import renames as _renames

#: What a system without a call, a file system without a flag, or a container's filter says.
UNKNOWN = [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM]


@pytest.fixture(params=[0, *UNKNOWN], ids=lambda code: errno.errorcode.get(code, "renameat2"))
def with_and_without(request, monkeypatch):
    """Run a test with renameat2, and with each way in which it can be missing."""
    if request.param:
        monkeypatch.setattr(_renames, "_call_rename", lambda *_: request.param)


@pytest.mark.usefixtures("with_and_without")
def test_new_file_replaces_nothing(tmp_path):
    """A name that is free is taken, one that is not is left as it is, and no temporary is left."""
    atomic_write(tmp_path / "a", "first", overwrite=False)
    with pytest.raises(FileExistsError, match="exists, and overwrite=False"):
        atomic_write(tmp_path / "a", "second", overwrite=False)
    new = atomic_open(tmp_path / "b", overwrite=False)
    with pytest.raises(FileExistsError, match="exists by now") as caught, new as file:
        file.write("second")
        (tmp_path / "b").write_text("first")
    assert caught.value.filename == str(tmp_path / "b")
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_link_counts_as_a_file(tmp_path):
    """A symbolic link, also one that leads nowhere, is not replaced or written through."""
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        atomic_write(tmp_path / "link", "new", overwrite=False)
    assert os.listdir(tmp_path) == ["link"]


@pytest.mark.parametrize("call", ["renameat2", "link"])
def test_of_many_processes_one_wins(tmp_path, call):
    """Processes that race for a name: one gets it, all others are told, and the content is the winner's."""
    code = """
import errno, sys, outlive
from outlive._system import renames as _renames
target, call = sys.argv[1:]
if call == "link":
    _renames._call_rename = lambda *_: errno.ENOSYS
_renames._call_rename(b"", b"", 0, 0)
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    try:
        outlive.atomic_write(f"{target}{number}", "x" * 1000, overwrite=False, durable="none")
        print(number)
    except FileExistsError:
        pass
"""
    command = [sys.executable, "-I", "-c", code, f"{tmp_path}/out", call]
    writers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 4
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    won = [line for writer in writers for line in writer.communicate(timeout=60)[0].split()]
    assert sorted(won, key=int) == [str(number) for number in range(30)]
    assert sorted(os.listdir(tmp_path)) == sorted(f"out{number}" for number in range(30))


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is of Linux")
@pytest.mark.parametrize("by", ["function", "number"])
def test_renameat2_for_real(monkeypatch, tmp_path, by):
    """Through the C library's function, or by its number where there is none."""
    if by == "number":
        real = ctypes.CDLL(None, use_errno=True)
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: types.SimpleNamespace(syscall=real.syscall))
    for name in "ab":
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        _renames.rename_new(f"{tmp_path}/a", f"{tmp_path}/b")
    assert _renames.exchange(f"{tmp_path}/a", f"{tmp_path}/b")
    assert [(tmp_path / name).read_text() for name in "ab"] == ["b", "a"]
    _renames.rename_new(f"{tmp_path}/a", f"{tmp_path}/c")
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]
    with pytest.raises(FileNotFoundError):
        _renames.exchange(f"{tmp_path}/a", f"{tmp_path}/b")


def test_renamex_np_of_macos(monkeypatch):
    """On macOS the call is renamex_np, with flags of its own; its error is told."""
    asked = []

    def renamex_np(source, target, flags):
        asked.append((source, target, flags.value))
        ctypes.set_errno(errno.EEXIST)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: types.SimpleNamespace(renamex_np=renamex_np))
    with pytest.raises(FileExistsError):
        _renames.rename_new("a", "b")
    with pytest.raises(FileExistsError):
        _renames.exchange("a", "b")
    assert asked == [(b"a", b"b", 4), (b"a", b"b", 2)]


def test_system_with_neither(monkeypatch, tmp_path):
    """Where there is no such call at all, nothing is swapped, and new names are linked."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: types.SimpleNamespace())
    monkeypatch.setattr(_renames, "_NUMBERS", {})
    (tmp_path / "a").touch()
    assert not _renames.exchange(f"{tmp_path}/a", f"{tmp_path}/b")
    _renames.rename_new(f"{tmp_path}/a", f"{tmp_path}/b")
    assert os.listdir(tmp_path) == ["b"]


def sent_twice(monkeypatch, name, answer):
    """Make a call answer as over NFS, where the answer to the first request was lost."""
    call = getattr(os, name)

    def again(*arguments, **options):
        call(*arguments, **options)
        raise answer

    monkeypatch.setattr(os, name, again)


@pytest.fixture
def over_nfs(monkeypatch):
    """Make each call that names something anew answer as when it is sent a second time."""
    monkeypatch.setattr(_renames, "_call_rename", lambda *_: errno.EINVAL)
    sent_twice(monkeypatch, "link", FileExistsError(errno.EEXIST, "File exists"))
    for name in ("rename", "replace"):
        sent_twice(monkeypatch, name, FileNotFoundError(errno.ENOENT, "No such file or directory"))


@pytest.mark.usefixtures("over_nfs", "step_by_step")
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_request_that_is_sent_twice(tmp_path, overwrite):
    """Who has got the name has won, whatever the second answer says, and nothing is left over."""
    atomic_write(tmp_path / "a", "mine", overwrite=overwrite)
    with atomic_open(tmp_path / "b", overwrite=overwrite) as file:
        file.write("mine")
    with atomic_path(tmp_path / "c", overwrite=overwrite) as path:
        path.write_text("mine")
    with atomic_batch() as batch:
        batch.write(tmp_path / "d", "mine", overwrite=overwrite)
    with atomic_directory(tmp_path / "e", overwrite=overwrite) as tree:
        (tree / "leaf").write_text("mine")
    found = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == dict.fromkeys(map(Path, ("a", "b", "c", "d", "e/leaf")), "mine")


@pytest.mark.usefixtures("step_by_step")
def test_a_request_that_was_lost_to_another(monkeypatch, tmp_path):
    """What has the name, and is another file, is still in the way."""
    monkeypatch.setattr(_renames, "_call_rename", lambda *_: errno.EINVAL)

    def link(_source, target, **_options):
        Path(target).write_text("theirs")
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(FileExistsError, match="exists by now"):
        atomic_write(tmp_path / "a", "mine", overwrite=False)
    assert (tmp_path / "a").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a"]


class SharingError(PermissionError):
    """What Windows says while somebody has a file open."""

    winerror = 32


@pytest.fixture
def clock(monkeypatch):
    """Stand in for time: sleeping takes none, and is counted."""
    now = [0.0]
    monkeypatch.setattr(_renames.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(_renames.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


@pytest.mark.usefixtures("step_by_step")
def test_sharing_violation_is_waited_for(monkeypatch, clock, tmp_path):
    """On Windows a rename that a reader is in the way of is tried again, and succeeds."""
    left, replace = [5], os.replace

    def refuse(source, target):
        left[0] -= 1
        if left[0] >= 0:
            raise SharingError
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    atomic_write(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "new"
    assert 0 < clock[0] < 1


@pytest.mark.usefixtures("step_by_step")
def test_sharing_violation_that_stays(monkeypatch, clock, tmp_path):
    """After two seconds it is an error; the old file stays, and there is no copy."""
    (tmp_path / "out").write_text("old")

    def refuse(*_paths):
        raise SharingError

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(SharingError):
        atomic_write(tmp_path / "out", "new")
    assert 2 <= clock[0] < 3
    assert (tmp_path / "out").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("code", [errno.EXDEV, errno.EBUSY, errno.EIO])
def test_refused_rename_is_an_error_at_once(monkeypatch, clock, tmp_path, code):
    """Another file system, or whatever else refuses a rename, is told; nothing is copied or left."""

    def refuse(source, target, **_directories):
        raise OSError(code, os.strerror(code), source, None, target)

    (tmp_path / "out").write_text("old")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match=r".") as caught:
        atomic_write(tmp_path / "out", "new")
    assert (caught.value.errno, clock[0]) == (code, 0)
    assert caught.value.filename == str(tmp_path / ".out.0.outlive-tmp")
    assert caught.value.filename2 == str(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a file")
def test_file_that_is_mounted(tmp_path):
    """A file that is mounted, as in a container, cannot be renamed over, and nothing is copied."""
    (tmp_path / "out").write_text("old")
    (tmp_path / "mounted").write_text("mounted")
    mount = ["mount", "--bind", str(tmp_path / "mounted"), str(tmp_path / "out")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OSError, match="busy") as caught:
            atomic_write(tmp_path / "out", "new")
        assert caught.value.errno == errno.EBUSY
        assert (tmp_path / "out").read_text() == "mounted"
        assert sorted(os.listdir(tmp_path)) == ["mounted", "out"]
    finally:
        subprocess.run(["umount", str(tmp_path / "out")], check=True)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system that is always there")
def test_link_to_another_file_system(tmp_path):
    """The temporary is beside the file that a link names, so that no rename leaves its file system."""
    other = Path(f"/dev/shm/outlive-test-{os.getpid()}")
    (tmp_path / "link").symlink_to(other)
    try:
        atomic_write(tmp_path / "link", "new")
        assert other.read_text() == "new"
        assert (tmp_path / "link").is_symlink()
    finally:
        other.unlink(missing_ok=True)


@pytest.mark.parametrize("code", [0, errno.ENOTSUP, errno.EIO])
def test_drives_cache_on_macos(monkeypatch, tmp_path, code):
    """On macOS the drive's cache is emptied with "full"; fsync is left where that is not known."""
    asked, synced, fsync = [], [], os.fsync

    def fcntl(_descriptor, command):
        asked.append(command)
        if code:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_durability, "_FULL_FSYNC", 51)
    monkeypatch.setattr(_durability._fcntl, "fcntl", fcntl)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor)))
    with (tmp_path / "file").open("w") as file:
        if code == errno.EIO:
            with pytest.raises(OSError, match="Input/output"):
                _durability.sync_file(file.fileno(), "full")
        else:
            _durability.sync_file(file.fileno(), "full")
        assert (asked, len(synced)) == ([51], int(code == errno.ENOTSUP))
        _durability.sync_file(file.fileno(), "file")
        _durability.sync_file(file.fileno(), "none")
        assert (asked, len(synced)) == ([51], int(code == errno.ENOTSUP) + 1)


def make_tree(place):
    with atomic_directory(place / "tree") as new:
        (new / "leaf").touch()


def write_two(place):
    with atomic_batch() as batch:
        for name in "ab":
            batch.write(place / name, name)


FULL_WAYS = {
    "in one row": lambda place: atomic_write(place / "out", "1"),
    "step by step": lambda place: atomic_write(place / "out", "1", overwrite=False),
    "with parents": lambda place: atomic_write(place / "a" / "b" / "out", "1", parents=True),
    "a directory": make_tree,
    "a batch": write_two,
    "a mark": lambda place: Checkpoints(place / "marks").mark_done("s"),
    "a mark that is removed": lambda place: Checkpoints(place / "marks").clear("s"),
}


@pytest.mark.parametrize("way", FULL_WAYS)
def test_names_leave_the_drives_cache_on_macos(monkeypatch, tmp_path, way):
    """Whatever is written, its directory is synced last, and everything by F_FULLFSYNC."""
    (tmp_path / "marks").mkdir()
    calls, rename = [], os.replace

    def noted(what, descriptor):
        calls.append((what, str(Path(f"/proc/self/fd/{descriptor}").readlink())))

    def renamed(*arguments, **options):
        calls.append(("rename", ""))
        rename(*arguments, **options)

    monkeypatch.setattr(_durability, "_FULL_FSYNC", 51)
    monkeypatch.setattr(
        _durability, "_fcntl", types.SimpleNamespace(fcntl=lambda number, _: noted("full", number))
    )
    monkeypatch.setattr(os, "fsync", lambda descriptor: noted("fsync", descriptor))
    monkeypatch.setattr(os, "replace", renamed)
    FULL_WAYS[way](tmp_path)
    assert {what for what, _ in calls} <= {"full", "rename"}
    what, where = calls[-1]
    assert what == "full"
    assert Path(where).is_dir()
    assert where.startswith(str(tmp_path))


@pytest.mark.parametrize("made", [0, 1, 3])
def test_parents_reach_the_disk_from_the_top(monkeypatch, tmp_path, made):
    """Each directory that is made is on the disk before the next; so is the one above them."""
    chain = [tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    for folder in chain[1 : made + 1]:
        folder.mkdir()
    seen, fsync, mkdir = [], os.fsync, os.mkdir

    def record_fsync(descriptor):
        seen.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def record_mkdir(path):
        seen.append(("mkdir", Path(path).name))
        mkdir(path)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "mkdir", record_mkdir)
    atomic_write(chain[-1] / "out", "new", parents=True)
    inodes = [folder.stat().st_ino for folder in (tmp_path.parent, *chain)]
    expected = [("fsync", inodes[made])]
    for number in range(made, 3):
        expected += [("mkdir", "abc"[number]), ("fsync", inodes[number + 1])]
    assert seen[: len(expected)] == expected
    assert seen[-1] == ("fsync", inodes[-1])
    assert len(seen) == len(expected) + 2


def test_parents_that_cannot_be_made(tmp_path):
    """A file in the way of a directory is told, and nothing is made."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file/below/out")
    with pytest.raises(NotADirectoryError, match="destination="):
        atomic_write(tmp_path / "file" / "a" / "out", "new", parents=True)
    with pytest.raises(OSError, match="destination="):
        atomic_write(tmp_path / "link", "new", parents=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_cancelled_task(tmp_path):
    """A task that is cancelled in the body publishes nothing and leaves nothing."""

    async def write():
        with atomic_open(tmp_path / "out") as file:
            file.write("half")
            started.set()
            await asyncio.sleep(600)

    async def main():
        task = asyncio.create_task(write())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = asyncio.Event()
    asyncio.run(main())
    assert os.listdir(tmp_path) == []


def test_handler_of_sigterm_that_raises(tmp_path):
    """A process that ends by an exception on SIGTERM publishes nothing and leaves nothing."""
    code = """
import os, signal, sys, outlive
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
with outlive.atomic_open(sys.argv[1]) as file:
    file.write("half")
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""
    command = [sys.executable, "-I", "-c", code, str(tmp_path / "out")]
    assert subprocess.run(command, timeout=60, check=False).returncode == 3
    assert os.listdir(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is not None
