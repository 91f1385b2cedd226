"""atomic_directory: the new tree or the old one, whatever happens in between."""

# What raises is the body, of several lines; names are compared as text.
# ruff: noqa: PT012, PTH208

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from outlive import PublishedNotDurableError, atomic_directory, remove_orphans
from outlive._atomic import directory as _directory
from outlive._atomic import orphans as _orphans
from outlive._atomic import temporary as _temporary
from outlive._system import locks as _locks
from outlive._system import renames as _renames

SUFFIX = ".outlive-tmp"


def contents(folder):
    """Return all that is below a directory: text of files, targets of links, None for directories."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}"
        if path.is_symlink()
        else None
        if path.is_dir()
        else path.read_text()
        for path in sorted(Path(folder).rglob("*"))
    }


def make(target, text="old", **options):
    with atomic_directory(target, **options) as folder:
        (folder / "file").write_text(text)
        (folder / "sub").mkdir()
        (folder / "sub" / text).write_text(text)


@pytest.fixture
def no_exchange(monkeypatch):
    """Let names not be swapped, as on NFS."""
    monkeypatch.setattr(_renames, "exchange", lambda *_: False)


@pytest.fixture(params=["exchange", "two renames"])
def each_way(request):
    """Run a test with a swap of names, and without."""
    if request.param == "two renames":
        request.getfixturevalue("no_exchange")


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("durable", ["full", "file", "none"])
def test_whole_tree_is_made_and_replaced(tmp_path, durable):
    """A directory appears whole, is replaced whole, and nothing else is left."""
    for text in ("old", "new"):
        make(tmp_path / "tree", text, durable=durable)
        assert contents(tmp_path) == {
            "tree": None, "tree/file": text, "tree/sub": None, f"tree/sub/{text}": text,
        }  # fmt: skip


def test_old_tree_stands_until_the_body_ends(tmp_path):
    """A reader sees the old tree for as long as the body writes, and the new one beside it is hidden."""
    make(tmp_path / "tree")
    with atomic_directory(tmp_path / "tree") as folder:
        assert folder == tmp_path / f".tree.0{SUFFIX}"
        assert os.listdir(folder) == []
        (folder / "file").write_text("new")
        assert contents(tmp_path / "tree") == {"file": "old", "sub": None, "sub/old": "old"}
    assert contents(tmp_path / "tree") == {"file": "new"}


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [True, False])
def test_exception_in_the_body(tmp_path, ending, old):
    """Whatever ends the body early, the destination is as it was, and no other directory is left."""
    if old:
        make(tmp_path / "tree")
    before = contents(tmp_path)
    with pytest.raises(ending) as caught, atomic_directory(tmp_path / "tree") as folder:
        (folder / "file").write_text("new")
        raise ending
    assert caught.value.__notes__ == [f"destination={str(tmp_path / 'tree')!r} was not written"]
    assert contents(tmp_path) == before


def run_killed(tmp_path, patch):
    """Replace a tree in a process that is killed where a patch says."""
    code = f"""
import os, sys, outlive
from outlive._atomic import directory as _directory
from outlive._atomic import destination as _destination
from outlive._system import renames as _renames
def die(*_arguments, **_options):
    os.kill(os.getpid(), 9)
{patch}
with outlive.atomic_directory(sys.argv[1]) as folder:
    (folder / "file").write_text("new")
"""
    command = [sys.executable, "-I", "-c", code, str(tmp_path / "tree")]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are removed on Linux only")
def test_old_tree_that_a_killed_run_left(tmp_path):
    """Killed after the swap, before the old tree is gone: the new one is there, the next call tidies up."""
    make(tmp_path / "tree")
    run_killed(tmp_path, "_directory.remove_replaced = die")
    assert contents(tmp_path / "tree") == {"file": "new"}
    assert contents(tmp_path / f".tree.0{SUFFIX}") == {"file": "old", "sub": None, "sub/old": "old"}
    make(tmp_path / "tree", "newer")
    assert os.listdir(tmp_path) == ["tree"]


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are removed on Linux only")
def test_killed_between_two_renames(tmp_path, no_exchange):  # noqa: ARG001 - as the killed process
    """Without a swap, a kill in between leaves no directory; the next call brings the old one back first."""
    make(tmp_path / "tree")
    patch = """
_renames.exchange = lambda *_: False
rename = os.rename
os.rename = lambda source, target: die() if target == sys.argv[1] else rename(source, target)
"""
    run_killed(tmp_path, patch)
    assert not (tmp_path / "tree").exists()
    assert remove_orphans(tmp_path) == [str(tmp_path / f".tree.0{SUFFIX}")]  # and not the old tree
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "tree"):
        assert contents(tmp_path / "tree") == {"file": "old", "sub": None, "sub/old": "old"}
        raise ZeroDivisionError
    assert contents(tmp_path / "tree") == {"file": "old", "sub": None, "sub/old": "old"}
    make(tmp_path / "tree", "new")
    assert os.listdir(tmp_path) == ["tree"]


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are removed on Linux only")
def test_killed_after_two_renames(tmp_path, no_exchange, calls):  # noqa: ARG001 - as the killed process
    """Without a swap, the next call brings both renames to the disk before it takes the old tree apart."""
    make(tmp_path / "tree")
    run_killed(tmp_path, "_renames.exchange = lambda *_: False\n_destination.sync_directory = die")
    calls.clear()
    make(tmp_path / "tree", "newer")
    assert calls[:3] == [f"fsync {tmp_path.name}", "rmdir sub", f"rmdir .tree.old{SUFFIX}"]
    assert os.listdir(tmp_path) == ["tree"]


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are removed on Linux only")
def test_tree_that_is_set_aside_just_now(tmp_path, no_exchange, monkeypatch):  # noqa: ARG001 - two renames
    """Without a swap, a tree that another writer set aside since it was seen in its place is brought back."""
    make(tmp_path / "tree")
    place = _directory.directory_destination

    def and_then_set_aside(*arguments, **options):
        found = place(*arguments, **options)
        if not (tmp_path / f".tree.old{SUFFIX}").exists():
            (tmp_path / "tree").rename(tmp_path / f".tree.old{SUFFIX}")
        return found

    monkeypatch.setattr(_directory, "directory_destination", and_then_set_aside)
    with pytest.raises(FileNotFoundError), atomic_directory(tmp_path / "tree"):
        raise FileNotFoundError
    kept = f".tree.old{SUFFIX}"  # set aside once more, by the patch
    assert os.listdir(tmp_path) == [kept]
    assert contents(tmp_path / kept) == {"file": "old", "sub": None, "sub/old": "old"}


@pytest.fixture(params=["local", "network"])
def each_disk(request, monkeypatch):
    """Run a test where locks are believed, and where they are not."""
    if request.param == "network":
        monkeypatch.setattr(_temporary, "believes", lambda *_: False)


@pytest.mark.usefixtures("no_exchange", "each_disk")
def test_another_tree_is_set_aside_before_an_old_one_is_removed(tmp_path, monkeypatch):
    """Without a swap, who removes what was replaced spares what another writer has set aside since."""
    make(tmp_path / "tree")
    aside = tmp_path / f".tree.old{SUFFIX}"
    aside.mkdir()  # as a killed writer left it
    remove = _directory.remove_replaced

    def in_between(*arguments):
        aside.rmdir()  # another writer, which removes it
        (tmp_path / "tree").rename(aside)  # and sets the tree aside
        remove(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_directory, "remove_replaced", in_between)
        with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "tree"):
            raise ZeroDivisionError
    assert contents(aside) == {"file": "old", "sub": None, "sub/old": "old"}  # the only copy
    make(tmp_path / "tree", "new")
    assert contents(tmp_path) == {"tree": None, "tree/file": "new", "tree/sub": None, "tree/sub/new": "new"}


@pytest.mark.usefixtures("no_exchange", "each_disk")
def test_tree_that_is_brought_back_and_set_aside_again(tmp_path, monkeypatch):
    """Without a swap, a tree that was seen aside and in its place is not taken for one that was replaced."""
    make(tmp_path / "tree")
    aside = tmp_path / f".tree.old{SUFFIX}"
    (tmp_path / "tree").rename(aside)  # by a writer that was killed
    lstat, looks = os.lstat, []

    def meanwhile(path, **options):
        found = lstat(path, **options)
        if path == str(aside) and not looks:
            looks.append(aside.rename(tmp_path / "tree"))
        elif path == str(tmp_path / "tree") and len(looks) == 1:
            looks.append((tmp_path / "tree").rename(aside))
        return found

    monkeypatch.setattr(os, "lstat", meanwhile)
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "tree"):
        raise ZeroDivisionError
    (kept,) = tmp_path.iterdir()
    assert contents(kept) == {"file": "old", "sub": None, "sub/old": "old"}


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are removed on Linux only")
def test_long_names_that_begin_alike(tmp_path, no_exchange):  # noqa: ARG001 - two renames
    """Without a swap, what is set aside of one tree is not taken for what was set aside of another."""
    monday, tuesday = (tmp_path / ("n" * 240 + day) for day in ("monday", "tuesday"))
    for tree in (monday, tuesday):
        make(tree)
    places = [
        _directory.directory_destination(str(one), "none", overwrite=True, parents=False)
        for one in (monday, tuesday)
    ]
    aside = {_directory._aside(place) for place in places}
    assert len(aside) == 2
    assert all(len(os.path.basename(one)) <= 255 for one in aside)  # noqa: PTH119 - text


def test_second_rename_fails(monkeypatch, tmp_path, no_exchange):  # noqa: ARG001 - no swap
    """Without a swap, if the new tree cannot be renamed the old one is put back."""
    make(tmp_path / "tree")
    rename = os.rename

    def fail(source, target):
        if source.endswith(f".0{SUFFIX}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    before = contents(tmp_path)
    with pytest.raises(OSError, match="Input/output error"):
        make(tmp_path / "tree", "new")
    assert contents(tmp_path) == before


@pytest.fixture
def calls(monkeypatch):
    """Record fsyncs and renames, in order, by the last part of their paths."""
    seen = []
    fsync, rename, exchange, rmdir = os.fsync, os.rename, _renames.exchange, os.rmdir

    def record_fsync(descriptor):
        seen.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def record_exchange(one, other):
        seen.append(f"exchange {Path(other).name}")
        return exchange(one, other)

    def record_rename(source, target):
        seen.append(f"rename {Path(target).name}")
        rename(source, target)

    def record_rmdir(path, **options):
        seen.append(f"rmdir {Path(path).name}")
        rmdir(path, **options)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    monkeypatch.setattr(os, "rmdir", record_rmdir)
    monkeypatch.setattr(_renames, "exchange", record_exchange)
    return seen


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc to see what is fsynced")
@pytest.mark.parametrize("durable", ["full", "file", "none"])
def test_order_of_system_calls(calls, tmp_path, durable):
    """Files, directories from the lowest up, the swap, its directory, and only then the old tree goes."""
    temporary = f".tree.0{SUFFIX}"
    inside = ["fsync old", "fsync file", "fsync sub", f"fsync {temporary}"]
    above = f"fsync {tmp_path.name}"
    make(tmp_path / "tree", "old", durable=durable)
    first = {
        "full": [*inside, "rename tree", above],
        "file": [*inside, "rename tree"],
        "none": ["rename tree"],
    }
    assert calls == first[durable]
    calls.clear()
    make(tmp_path / "tree", "old", durable=durable)
    gone = ["rmdir sub", f"rmdir {temporary}"]
    again = {
        "full": [*inside, "exchange tree", above, *gone, above],
        "file": [*inside, "exchange tree", above, *gone],
        "none": ["exchange tree", *gone],
    }
    assert calls == again[durable]


@pytest.mark.parametrize("kind", ["file", "sub"])
def test_failed_fsync_below_is_fatal(monkeypatch, tmp_path, kind):
    """If a file or a directory below cannot be brought to the disk, the old tree stays, and alone."""
    make(tmp_path / "tree")
    before, fsync = contents(tmp_path), os.fsync

    def fail(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == kind:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        make(tmp_path / "tree", "new")
    assert type(caught.value) is OSError
    assert caught.value.outlive_durability
    assert contents(tmp_path) == before


def test_failed_fsync_before_an_old_tree_is_removed(monkeypatch, tmp_path):
    """If the names cannot be brought to the disk on entry, that is no error of what was published."""
    make(tmp_path / "tree")
    (tmp_path / f".tree.old{SUFFIX}").mkdir()
    before = contents(tmp_path)

    def fail(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        make(tmp_path / "tree", "new")
    assert type(caught.value) is OSError
    assert caught.value.filename == str(tmp_path)
    assert contents(tmp_path) == before


def test_failed_fsync_of_the_directory_above(monkeypatch, tmp_path):
    """When only the last fsync fails the new tree is there, and the old one is kept."""
    make(tmp_path / "tree")
    fsync, above = os.fsync, tmp_path.stat().st_ino

    def fail(descriptor):
        if os.fstat(descriptor).st_ino == above:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PublishedNotDurableError):
        make(tmp_path / "tree", "new")
    assert (tmp_path / "tree" / "file").read_text() == "new"
    assert (tmp_path / f".tree.0{SUFFIX}" / "file").read_text() == "old"


def test_overwrite_false(tmp_path):
    """What is there is not replaced: neither what was there before, nor what came meanwhile."""
    with (
        pytest.raises(FileExistsError, match="exists by now"),
        atomic_directory(tmp_path / "tree", overwrite=False) as folder,
    ):
        (folder / "file").write_text("second")
        make(tmp_path / "tree", "first", overwrite=False)
    with pytest.raises(FileExistsError, match="exists, and overwrite=False"):
        make(tmp_path / "tree", "third", overwrite=False)
    assert (tmp_path / "tree" / "file").read_text() == "first"
    assert os.listdir(tmp_path) == ["tree"]


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("meanwhile", ["made", "removed", "emptied"])
def test_destination_that_changes_in_the_body(tmp_path, meanwhile):
    """A directory that comes or goes while the body writes is replaced, or not missed."""
    target = tmp_path / "tree"
    if meanwhile != "made":
        make(target)
    with atomic_directory(target) as folder:
        (folder / "file").write_text("new")
        if meanwhile == "made":
            target.mkdir()
            (target / "other").touch()
        else:
            target.rename(tmp_path / "moved")
            if meanwhile == "emptied":
                target.mkdir()
    assert contents(target) == {"file": "new"}
    assert set(os.listdir(tmp_path)) <= {"tree", "moved"}


def test_tree_too_deep_to_be_removed(monkeypatch, tmp_path):
    """What the body raised is told, and not that its tree could not be removed; that one stays."""

    def too_deep(*_arguments, **_options):
        raise RecursionError

    monkeypatch.setattr(_orphans, "_empty", too_deep)
    with pytest.raises(KeyError), atomic_directory(tmp_path / "tree"):
        raise KeyError
    make(tmp_path / "tree")
    make(tmp_path / "tree", "new")
    assert remove_orphans(tmp_path) == []
    monkeypatch.undo()
    assert len(remove_orphans(tmp_path)) == 2 * (sys.platform == "linux")
    assert os.listdir(tmp_path) == ["tree"]


def test_read_only_directories_in_a_tree():
    """Who is not root removes trees with such: those that are given up, replaced, or left by a killed run."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    code = """
import concurrent.futures, ctypes, os, pathlib, sys, outlive
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.chdir(sys.argv[1])
def fill(tree):
    (tree / "sub" / "below").mkdir(parents=True)
    (tree / "sub" / "below" / "file").touch()
    for path in (tree / "sub" / "below", tree / "sub", tree):
        path.chmod(0o555)
try:
    with outlive.atomic_directory("tree") as tree:
        fill(tree)
        raise KeyError
except KeyError:
    print(os.listdir())
for _ in range(2):
    with outlive.atomic_directory("tree") as tree:
        fill(tree)
print(os.listdir())
os.rename("tree", ".tree.0.outlive-tmp")
print(outlive.remove_orphans(), os.listdir())
"""
    command = [sys.executable, "-c", code, str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(folder)
    assert not ran.stderr
    assert ran.stdout.splitlines() == ["[]", "['tree']", "['./.tree.0.outlive-tmp'] []"]


def test_body_that_takes_the_directory_away(tmp_path):
    """A directory that is not there at the end is not published, nor is another in its place."""
    make(tmp_path / "tree")
    for replace in (False, True):
        with (
            pytest.raises(FileNotFoundError, match="the body removed"),
            atomic_directory(tmp_path / "tree") as folder,
        ):
            folder.rename(tmp_path / f"moved{replace}")
            if replace:
                folder.mkdir()
    assert (tmp_path / "tree" / "file").read_text() == "old"


def test_links_pipes_and_unreadable_files(tmp_path):
    """Links are kept as they are, a pipe blocks nothing, and a file that only root may read is there."""
    with atomic_directory(tmp_path / "tree") as folder:
        (folder / "link").symlink_to("nowhere")
        (folder / "to-dir").symlink_to("/")
        os.mkfifo(folder / "pipe")
        (folder / "many").mkdir()
        for number in range(50):
            (folder / "many" / str(number)).write_text(str(number))
    assert (tmp_path / "tree" / "link").readlink() == Path("nowhere")
    assert stat.S_ISFIFO((tmp_path / "tree" / "pipe").stat().st_mode)
    assert len(os.listdir(tmp_path / "tree" / "many")) == 50
    with atomic_directory(tmp_path / "tree"):
        pass
    assert contents(tmp_path) == {"tree": None}


def test_symbolic_link_is_followed(tmp_path):
    """The link stays, and the directory that it names is replaced, beside itself."""
    (tmp_path / "real").mkdir()
    make(tmp_path / "real" / "tree")
    (tmp_path / "link").symlink_to("real/tree")
    with atomic_directory(f"{tmp_path}/link/") as folder:
        assert folder.parent == tmp_path / "real"
        (folder / "file").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == {"tree": None, "tree/file": "new"}


def test_chdir_and_parents(monkeypatch, tmp_path):
    """Missing directories are made if that is asked for, and a chdir in the body redirects nothing."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="create it, or give parents=True"):
        make("a/b/tree")
    with atomic_directory("a/b/tree", parents=True) as folder:
        os.chdir("/")
        (folder / "file").write_text("new")
    assert (tmp_path / "a" / "b" / "tree" / "file").read_text() == "new"


@pytest.mark.parametrize(
    ("destination", "kind", "message"),
    [
        ("file", NotADirectoryError, "is not a directory"),
        ("file/x", NotADirectoryError, "cannot be reached"),
        (".", OSError, "does not end in the name of a directory"),
        ("/", OSError, "does not end in the name of a directory"),
        ("", ValueError, "is empty"),
        (b"x", TypeError, "is not a path"),
        ("x" * 256, OSError, "cannot be reached"),
    ],
)
def test_bad_destination(monkeypatch, tmp_path, destination, kind, message):
    """A destination that is no directory's is refused by name before anything is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(kind, match=message):
        make(destination)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127 + "x"])
def test_long_names(tmp_path, name):
    """A name as long as a name may be can be written, twice."""
    for text in ("old", "new"):
        make(tmp_path / name, text)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a file system")
def test_mount_point_is_an_error(tmp_path):
    """A mounted file system is never copied into: the rename's error is told, and nothing changes."""
    target = tmp_path / "tree"
    target.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(target)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (target / "file").write_text("old")
        with pytest.raises(OSError, match=r"busy|cross-device") as caught:
            make(target, "new")
        assert caught.value.errno in (errno.EBUSY, errno.EXDEV)
        assert contents(target) == {"file": "old"}
        assert os.listdir(tmp_path) == ["tree"]
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_threads_that_replace_one_tree(tmp_path):
    """Threads that replace one directory leave one whole tree, and readers see whole ones."""
    target = tmp_path / "tree"
    make(target, "0")

    def write(text):
        for _ in range(10):
            make(target, text, durable="none")

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = contents(target)
    assert found == {"file": found["file"], "sub": None, f"sub/{found['file']}": found["file"]}
    assert os.listdir(tmp_path) == ["tree"]


def test_old_tree_is_removed_where_there_are_no_locks(monkeypatch, tmp_path):
    """Where orphans are not removed, a write still tidies up after itself."""
    monkeypatch.setattr(_locks, "_fcntl", None)
    for text in ("old", "new"):
        make(tmp_path / "tree", text)
    assert os.listdir(tmp_path) == ["tree"]
