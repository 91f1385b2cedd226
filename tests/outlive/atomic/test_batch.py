"""atomic_batch: many files, each whole, made durable together."""

# What raises is the body, of several lines; names are compared as text.
# ruff: noqa: PT012, PTH208

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outlive import IncompleteBatchError, PublishedNotDurableError, atomic_batch, remove_orphans
from outlive._atomic import batch as _batch
from outlive._system import durability as _durability
from outlive._system import renames as _renames

STAGED = ".outlive-batch.0.outlive-tmp"


def texts(folder):
    return {path.name: path.read_text() for path in sorted(Path(folder).iterdir())}


@pytest.mark.parametrize("durable", ["full", "file", "none"])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 30, 300])
def test_all_files_are_written(tmp_path, durable, count):
    """Any number of files is written, more than are kept open too, and nothing else is left."""
    with atomic_batch(durable=durable) as batch:
        for number in range(count):
            batch.write(tmp_path / str(number), str(number))
        assert os.listdir(tmp_path) == ([STAGED] if count else [])
    assert texts(tmp_path) == dict(sorted((str(number), str(number)) for number in range(count)))
    assert batch.published == [str(tmp_path / str(number)) for number in range(count)]


def test_kinds_of_writing(tmp_path):
    """Text, bytes, encodings and newlines are written as atomic_write would, and streams too."""
    with atomic_batch() as batch:
        batch.write(tmp_path / "text", "é\n", encoding="latin-1", newline="\r\n")
        batch.write(tmp_path / "bytes", b"\0")
        with batch.open(tmp_path / "stream", "wb") as file:
            file.write(b"a")
            file.write(b"b")
    read = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert read == {"text": b"\xe9\r\n", "bytes": b"\0", "stream": b"ab"}


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_NOFILE counts otherwise elsewhere")
@pytest.mark.parametrize("way", ["write", "open"])
def test_more_files_than_descriptors(tmp_path, way):
    """Where no descriptor is left, files are brought to the disk before the next one is made."""
    code = """
import os, resource, sys, outlive
os.chdir(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
with outlive.atomic_batch(parents=True) as batch:
    for number in range(50):
        if sys.argv[2] == "write":
            batch.write(f"{number % 3}/{number}", "x")
        else:
            with batch.open(f"{number % 3}/{number}") as file:
                file.write("x")
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path), way], check=True)
    assert [path.read_text() for path in tmp_path.glob("*/*")] == ["x"] * 50
    assert sorted(os.listdir(tmp_path)) == ["0", "1", "2"]


def test_another_batchs_directory_under_the_name(tmp_path):
    """Where somebody removed its directory, what another batch has there by now is not published."""
    (tmp_path / "one").write_text("old")
    with (
        pytest.raises(
            FileNotFoundError, match="two' was not written: another program removed its temporary"
        ) as caught,
        atomic_batch() as batch,
    ):
        batch.write(tmp_path / "one", "new")
        batch.write(tmp_path / "two", "new")
        (tmp_path / STAGED / "2").unlink()
        (tmp_path / STAGED / "2").write_text("half of ano")
    assert caught.value.__notes__ == ["no file of the batch was written"]
    assert texts(tmp_path) == {"one": "old"}


def test_a_file_that_is_still_open_when_the_batch_ends(tmp_path):
    """Nothing is lost without an error: the batch publishes nothing, and the end of the file is too late."""
    with pytest.raises(ValueError, match="slow' is still open") as caught, atomic_batch() as batch:
        batch.write(tmp_path / "fast", "x")
        late = batch.open(tmp_path / "slow")
        late.__enter__().write("x")
    assert caught.value.__notes__ == ["no file of the batch was written"]
    with pytest.raises(ValueError, match="slow' comes too late"):
        late.__exit__(None, None, None)
    assert os.listdir(tmp_path) == []


def test_a_file_that_ends_after_a_batch_that_failed(tmp_path):
    """Its end is an error too, and says nothing of files that are not there any more."""
    with pytest.raises(KeyError), atomic_batch() as batch:
        late = batch.open(tmp_path / "slow")
        late.__enter__()
        raise KeyError
    with pytest.raises(ValueError, match="slow' comes too late"):
        late.__exit__(None, None, None)


@pytest.mark.parametrize("way", ["write", "open"])
def test_a_child_that_is_forked_in_the_body_adds_nothing(tmp_path, way):
    """It is refused before it makes a file, so that the batch it was forked from goes on."""
    with atomic_batch() as batch:
        batch.write(tmp_path / "a", "ours")
        child = os.fork()
        if not child:
            try:
                if way == "write":
                    batch.write(tmp_path / "b", "the child's")
                else:
                    with batch.open(tmp_path / "b") as file:
                        file.write("the child's")
            except RuntimeError as error:
                os._exit(0 if "forked in the body" in str(error) else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        batch.write(tmp_path / "c", "ours")
    assert texts(tmp_path) == {"a": "ours", "c": "ours"}


@pytest.mark.parametrize("moment", ["in a file", "before the first file"])
def test_a_child_that_is_forked_in_the_body_removes_and_publishes_nothing(tmp_path, moment):
    """It is refused also where it comes to the end of a file, or is the first to write one."""
    code = """
import os, sys, outlive
child = -1
try:
    with outlive.atomic_batch() as batch:
        if sys.argv[2] == "in a file":
            with batch.open(sys.argv[1] + "/a") as file:
                file.write("ours")
                child = os.fork()
                if child:
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        else:
            child = os.fork()
            if child:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            batch.write(sys.argv[1] + "/a", "ours" if child else "the child's")
except RuntimeError as error:
    assert child == 0 and "was forked in the body" in str(error), error
    os._exit(7)
"""
    command = [sys.executable, "-I", "-c", code, str(tmp_path), moment]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert texts(tmp_path) == {"a": "ours"}


@pytest.fixture
def calls(monkeypatch):
    """Record fsyncs and renames, in order."""
    seen = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        status = os.fstat(descriptor)
        seen.append("fsync directory" if stat.S_ISDIR(status.st_mode) else "fsync file")
        fsync(descriptor)

    def record_replace(source, target):
        seen.append(f"rename {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    return seen


def test_order_of_system_calls(calls, tmp_path):
    """All files are on the disk before the first has its name; each directory is fsynced once, at the end."""
    (tmp_path / "b").mkdir()
    names = ["z", "b/1", "a", "b/2", "y", "x"]
    with atomic_batch() as batch:
        for name in names:
            batch.write(tmp_path / name, name)
        assert calls == []
    renames = [f"rename {Path(name).name}" for name in names]
    assert calls == ["fsync file"] * 6 + renames + ["fsync directory"] * 2


@pytest.mark.parametrize(
    ("durable", "expected"), [("file", ["fsync file", "rename a"]), ("none", ["rename a"])]
)
def test_what_is_not_durable_saves_fsyncs(calls, tmp_path, durable, expected):
    """With "file" the directory is not fsynced, with "none" nothing is."""
    with atomic_batch(durable=durable) as batch:
        batch.write(tmp_path / "a", "new")
    assert calls == expected


def test_bad_durable():
    """What is no word for durability is refused."""
    with pytest.raises(ValueError, match=r"^durable=True is not one of"), atomic_batch(durable=True):
        pass


def test_exception_in_the_body(tmp_path):
    """Whatever ends the body early, no file of the batch is published, and nothing is left."""
    (tmp_path / "b").write_text("old")
    with pytest.raises(KeyboardInterrupt) as caught, atomic_batch() as batch:
        for name in "abc":
            batch.write(tmp_path / name, "new")
        raise KeyboardInterrupt
    assert caught.value.__notes__ == ["no file of the batch was written"]
    assert texts(tmp_path) == {"b": "old"}


def test_file_that_fails_is_not_in_the_batch(tmp_path):
    """A file whose writing fails, and is caught, is as it was; the others are written."""
    with atomic_batch() as batch:
        batch.write(tmp_path / "a", "new")
        with pytest.raises(UnicodeEncodeError):
            batch.write(tmp_path / "b", "\ud800")
        with pytest.raises(ZeroDivisionError), batch.open(tmp_path / "c") as file:
            file.write("half")
            raise ZeroDivisionError
        batch.write(tmp_path / "d", "new")
    assert texts(tmp_path) == {"a": "new", "d": "new"}


def test_one_destination_twice(tmp_path):
    """The later of two contents is the one that is there in the end."""
    with atomic_batch() as batch:
        batch.write(tmp_path / "a", "first")
        batch.write(tmp_path / "a", "second")
    assert texts(tmp_path) == {"a": "second"}


def test_rename_that_fails_half_way(monkeypatch, tmp_path):
    """The error says which files are published and which are not; those that are, last; nothing is left."""
    replace, synced, fsync = os.replace, [], os.fsync

    def fail(source, target):
        if target.endswith("c"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    def record(descriptor):
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(os, "fsync", record)
    with (
        pytest.raises(
            IncompleteBatchError, match=r"2 of 4 files of the batch were written .No space"
        ) as caught,
        atomic_batch() as batch,
    ):
        for name in "abcd":
            batch.write(tmp_path / name, "new")
    error = caught.value
    assert (error.errno, error.filename) == (errno.ENOSPC, str(tmp_path / "c"))
    assert error.published == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert error.unpublished == (str(tmp_path / "c"), str(tmp_path / "d"))
    assert synced == [False] * 4 + [True]
    assert texts(tmp_path) == {"a": "new", "b": "new"}


def failing_fsync(monkeypatch, *, number):
    """Let one fsync fail; return the list of the descriptors of all, which grows."""
    tried, fsync = [], os.fsync

    def fail(descriptor):
        tried.append(descriptor)
        if len(tried) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    return tried


def test_failed_fsync_of_a_file(monkeypatch, tmp_path):
    """If one file cannot be brought to the disk, none is published; each fsync is tried once."""
    tried = failing_fsync(monkeypatch, number=3)
    with pytest.raises(OSError, match="Input/output error") as caught, atomic_batch() as batch:
        for number in range(20):
            batch.write(tmp_path / str(number), "new")
    assert caught.value.__notes__ == ["no file of the batch was written"]
    assert len(tried) == 20
    assert os.listdir(tmp_path) == []


def test_a_failed_fsync_is_not_forgotten(monkeypatch, tmp_path):
    """Who catches the error and goes on gets it again: no second fsync calls what is lost a success."""
    tried = failing_fsync(monkeypatch, number=2)
    monkeypatch.setattr(_batch, "_MOST_OPEN", 4)
    refused = []
    with pytest.raises(OSError, match="Input/output error"), atomic_batch() as batch:
        for number in range(8):
            try:
                batch.write(tmp_path / str(number), "new")
            except OSError:
                refused.append(number)
    assert refused == [3, 7]
    assert len(tried) == 2
    assert os.listdir(tmp_path) == []


def test_an_interrupt_does_not_close_what_is_being_fsynced():
    """All that wait for the disk have ended when an interrupt is raised."""
    begun, ended = [], []

    def sync(number):
        begun.append(number)
        if number == 0:
            time.sleep(0.1)
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(KeyboardInterrupt):
        _durability.sync_many(sync, range(8))
    assert sorted(ended) == sorted(begun) == list(range(8))


def test_the_first_error_is_told():
    """Of many that wait for the disk all are tried, and the error is that of the first that failed."""
    tried = []

    def sync(number):
        tried.append(number)
        if number in {41, 25, 90}:
            raise OSError(number, "failed")

    with pytest.raises(OSError, match="failed") as caught:
        _durability.sync_many(sync, range(100))
    assert caught.value.errno == 25
    assert sorted(tried) == list(range(100))


def test_failed_fsync_of_a_directory(refuse_fsync, tmp_path):
    """When only a directory's fsync fails all files are there, and the error says so."""
    refuse_fsync(on_directory=True)
    with pytest.raises(PublishedNotDurableError), atomic_batch() as batch:
        batch.write(tmp_path / "a", "new")
    assert texts(tmp_path) == {"a": "new"}


def test_overwrite_false(tmp_path):
    """A file that may not be replaced stops the batch where it stands in the order."""
    (tmp_path / "b").write_text("old")
    with atomic_batch() as batch:
        with pytest.raises(FileExistsError, match="overwrite=False"):
            batch.write(tmp_path / "b", "new", overwrite=False)
        batch.write(tmp_path / "c", "new", overwrite=False)
    with pytest.raises(IncompleteBatchError) as caught, atomic_batch() as batch:
        batch.write(tmp_path / "d", "new", overwrite=False)
        batch.write(tmp_path / "e", "new", overwrite=False)
        (tmp_path / "e").write_text("another's")
    assert caught.value.published == (str(tmp_path / "d"),)
    assert texts(tmp_path) == {"b": "old", "c": "new", "d": "new", "e": "another's"}


def test_one_directory_by_many_paths(monkeypatch, tmp_path):
    """A directory is the same by whatever path, and each path is what it is when a file is written."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    monkeypatch.chdir(tmp_path / "one")
    with atomic_batch() as batch:
        batch.write(tmp_path / "one" / "a", "a")
        batch.write("b", "b")
        batch.write(link / "c", "c")
        assert os.listdir(".") == [STAGED]
        link.unlink()
        link.symlink_to("two")
        batch.write(link / "d", "d")
        monkeypatch.chdir(tmp_path / "two")
        batch.write("e", "e")
    assert texts(tmp_path / "one") == {"a": "a", "b": "b", "c": "c"}
    assert texts(tmp_path / "two") == {"d": "d", "e": "e"}


def test_parents_chdir_and_modes(monkeypatch, tmp_path):
    """Directories are made where that is asked for, paths are resolved at once, modes are those of open."""
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        with atomic_batch(parents=True) as batch:
            batch.write("a/b/c", "new")
            os.chdir("/")
    finally:
        os.umask(before)
    made = tmp_path / "a" / "b" / "c"
    assert made.read_text() == "new"
    assert stat.S_IMODE(made.stat().st_mode) == 0o640
    with pytest.raises(FileNotFoundError, match="create it, or give parents=True"), atomic_batch() as batch:
        batch.write(tmp_path / "no" / "x", "new")


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are removed on Linux only")
def test_killed_in_the_body(tmp_path):
    """A killed batch publishes nothing, and the next one in the directory removes what it left."""
    code = """
import os, sys, outlive
with outlive.atomic_batch() as batch:
    batch.write(sys.argv[1] + "/a", "new")
    os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-I", "-c", code, str(tmp_path)]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [STAGED]
    with atomic_batch() as batch:
        batch.write(tmp_path / "b", "new")
        assert remove_orphans(tmp_path) == []
    assert texts(tmp_path) == {"b": "new"}


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a file system")
@pytest.mark.parametrize("way", ["batch", "write", "directory"])
def test_disk_that_is_full(tmp_path, way):
    """On a disk that is really full the old files stay, the error says so, and nothing is left."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    code = """
import os, sys, outlive
os.chdir(sys.argv[1])
try:
    if sys.argv[2] == "batch":
        with outlive.atomic_batch() as batch:
            for number in range(100):
                batch.write(f"f{number}", "x" * 4000)
    elif sys.argv[2] == "write":
        outlive.atomic_write("out", "x" * 100_000)
    else:
        with outlive.atomic_directory("tree") as tree:
            for number in range(100):
                (tree / str(number)).write_text("x" * 4000)
except OSError as error:
    print(error.errno, *error.__notes__, *os.listdir())
"""
    try:
        (tmp_path / "out").write_text("old")
        command = [sys.executable, "-I", "-c", code, str(tmp_path), way]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        note = (
            "no file of the batch"
            if way == "batch"
            else f"destination='{'out' if way == 'write' else 'tree'}'"
        )
        assert done.stdout == f"{errno.ENOSPC} {note} was {'not ' * (way != 'batch')}written out\n", (
            done.stderr
        )
        assert (tmp_path / "out").read_text() == "old"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_directory_that_cannot_be_opened_any_more(monkeypatch, tmp_path):
    """When all has its name, whatever keeps that from the disk is told as what it is."""

    def refuses(*_, **__):
        raise PermissionError(errno.EACCES, "as if its mode had been changed")

    monkeypatch.setattr(_batch, "synced_directory", refuses)
    with pytest.raises(PublishedNotDurableError) as caught, atomic_batch() as batch:
        batch.write(tmp_path / "a", "new")
    assert isinstance(caught.value.__cause__, PermissionError)
    assert texts(tmp_path) == {"a": "new"}


def test_interrupt_just_after_the_first_rename(monkeypatch, tmp_path):
    """It is not said that nothing was written where something was."""
    replace = os.replace

    def interrupted(*paths):
        replace(*paths)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught, atomic_batch() as batch:
        batch.write(tmp_path / "a", "new")
        batch.write(tmp_path / "b", "new")
    assert not getattr(caught.value, "__notes__", [])
    assert texts(tmp_path) == {"a": "new"}


@pytest.mark.parametrize("way", ["write", "open"])
def test_batch_that_has_ended(tmp_path, way):
    """What comes too late is refused, and not lost without a word."""
    with atomic_batch() as batch:
        batch.write(tmp_path / "a", "new")
    with pytest.raises(ValueError, match="comes too late: the batch has ended"):
        if way == "write":
            batch.write(tmp_path / "b", "new")
        else:
            with batch.open(tmp_path / "b"):
                pass
    assert texts(tmp_path) == {"a": "new"}


def test_no_descriptor_is_left_open(tmp_path):
    """Neither success nor failure leaks a descriptor."""
    before = len(os.listdir("/dev/fd"))
    for fails in (False, True):
        try:
            with atomic_batch() as batch:
                for number in range(10):
                    batch.write(tmp_path / str(number), "new")
                assert not fails
        except AssertionError:
            pass
    assert len(os.listdir("/dev/fd")) == before


def test_no_replacing_without_renameat2(monkeypatch, tmp_path):
    """The batch keeps its promise not to replace also where a link has to do."""
    monkeypatch.setattr(_renames, "_call_rename", lambda *_: errno.ENOSYS)
    with atomic_batch() as batch:
        batch.write(tmp_path / "a", "new", overwrite=False)
    assert texts(tmp_path) == {"a": "new"}
