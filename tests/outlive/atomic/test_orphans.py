"""What killed writers leave is removed, and what live ones write never is."""

# Names are compared as text.
# ruff: noqa: PTH208

import contextlib
import errno
import fcntl
import functools
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import types

import pytest

import outlive
from outlive import atomic_directory, atomic_open, atomic_path, atomic_write, remove_orphans
from outlive._atomic import fast_write as _fast_write
from outlive._atomic import orphans as _orphans
from outlive._atomic import temporary as _temporary
from outlive._system import locks as _locks

SUFFIX = ".outlive-tmp"
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="orphans are removed on Linux only"),
    pytest.mark.usefixtures("both_ways"),
]

KILLED = """
import os, sys, outlive
way, target = sys.argv[1:]
with getattr(outlive, way)(target) as given:
    if way == "atomic_open":
        given.write("half")
        given.flush()
    elif way == "atomic_path":
        given.write_text("half")
    else:
        (given / "half").write_text("half")
    os.kill(os.getpid(), 9)
"""
LIVE = """
import ctypes, os, pathlib, sys, outlive
if len(sys.argv) > 3:
    os.chroot(sys.argv[3])
    os.chdir("/")
with getattr(outlive, sys.argv[1])(sys.argv[2]) as given:
    print("writing", flush=True)
    sys.stdin.readline()
    if sys.argv[1] == "atomic_open":
        given.write("live")
    elif sys.argv[1] == "atomic_path":
        given.write_text("live")
"""
every_way = pytest.mark.parametrize("way", ["atomic_open", "atomic_path", "atomic_directory"])


def killed(way, target):
    command = [sys.executable, "-I", "-c", KILLED, way, str(target)]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL


@contextlib.contextmanager
def live(way, target, *root):
    """Give a process that has begun to write; it goes on when it is told to, or when this ends."""
    command = [sys.executable, "-I", "-c", LIVE, way, str(target), *map(str, root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.communicate("\n", timeout=60)
    assert process.returncode == 0


def write(way, target):
    """Write a destination once, whole."""
    if way == "atomic_directory":
        with atomic_directory(target) as folder:
            (folder / "file").write_text("new")
    elif way == "atomic_path":
        with atomic_path(target) as path:
            path.write_text("new")
    else:
        atomic_write(target, "new")


@every_way
def test_next_write_removes_what_a_killed_one_left(tmp_path, way):
    """After a real SIGKILL one thing is left, and the next write of the destination removes it."""
    killed(way, tmp_path / "out")
    assert os.listdir(tmp_path) == [f".out.0{SUFFIX}"]
    write(way, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


@every_way
def test_next_write_need_not_be_of_the_same_way(tmp_path, way):
    """A file's write removes a directory that was left, and the other way round."""
    killed(way, tmp_path / "out")
    write("atomic_directory" if way == "atomic_open" else "atomic_open", tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


@every_way
def test_live_writer_is_left_alone(tmp_path, way):
    """While another process writes, nobody takes its temporary away, and both publish."""
    with live(way, tmp_path / "out"):
        assert remove_orphans(tmp_path) == []
        write(way, tmp_path / "out")
        assert sorted(os.listdir(tmp_path)) == [f".out.0{SUFFIX}", "out"]
    assert os.listdir(tmp_path) == ["out"]


def test_orphans_behind_a_live_writer(tmp_path):
    """An orphan whose number is not the first one is found too, when a write comes upon it."""
    with live("atomic_open", tmp_path / "out"):
        killed("atomic_open", tmp_path / "out")
        assert sorted(os.listdir(tmp_path)) == [f".out.0{SUFFIX}", f".out.1{SUFFIX}"]
        write("atomic_open", tmp_path / "out")
        assert sorted(os.listdir(tmp_path)) == [f".out.0{SUFFIX}", "out"]


@every_way
def test_orphans_of_several_writers(tmp_path, way):
    """One write that finds an orphan removes those under the next numbers too, up to one that is free."""
    for number in (0, 1, 3, 5):
        (tmp_path / f".out.{number}{SUFFIX}").touch()
    with live(way, tmp_path / "out"):  # which does so as well
        left = [f".out.{number}{SUFFIX}" for number in (0, 3, 5)]
        assert sorted(os.listdir(tmp_path)) == left
        for number in (1, 2):
            (tmp_path / f".out.{number}{SUFFIX}").touch()
        write(way, tmp_path / "out")
        assert sorted(os.listdir(tmp_path)) == [f".out.0{SUFFIX}", f".out.5{SUFFIX}", "out"]


def test_remove_orphans(tmp_path):
    """All that dead writers left in a directory is removed and told, and nothing else."""
    for way, name in (("atomic_open", "a.csv"), ("atomic_path", "b.csv"), ("atomic_directory", "c")):
        killed(way, tmp_path / name)
    others = [
        f".x{SUFFIX}",
        f"x.0{SUFFIX}",
        f".x.0{SUFFIX}.csv",
        f".x.123{SUFFIX}",
        "plain",
        f".y.new{SUFFIX}",
    ]
    for name in others:
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / f".pipe.0{SUFFIX}")
    (tmp_path / f".link.0{SUFFIX}").symlink_to("plain")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f".a.0{SUFFIX}").touch()
    left = sorted([*others, "below", f".pipe.0{SUFFIX}", f".link.0{SUFFIX}"])
    with live("atomic_open", tmp_path / "live"):
        removed = remove_orphans(tmp_path)
        assert removed == [str(tmp_path / f".{name}.0{SUFFIX}") for name in ("a.csv", "b.csv", "c")]
        assert sorted(os.listdir(tmp_path)) == sorted([*left, f".live.0{SUFFIX}"])
    assert sorted(os.listdir(tmp_path)) == sorted([*left, "live"])
    assert (tmp_path / "below" / f".a.0{SUFFIX}").exists()


def test_remove_orphans_of_nothing(tmp_path):
    """A directory that is not there, or no path at all, is an error that says so."""
    with pytest.raises(FileNotFoundError, match=r"directory=.* cannot be read"):
        remove_orphans(tmp_path / "no")
    with pytest.raises(TypeError, match="directory=3 is not a path"):
        remove_orphans(3)


@pytest.fixture
def before_locks(monkeypatch):
    """Do something before a writer locks what it has made; what removes orphans is not told of it."""
    lock, actions = _temporary.lock, []

    def locked(descriptor):
        if actions:
            actions.pop()(descriptor)
        return lock(descriptor)

    monkeypatch.setattr(_temporary, "lock", locked)
    monkeypatch.setattr(_fast_write, "lock", locked)
    return actions.append


def test_file_that_is_taken_for_an_orphan_before_it_is_locked(before_locks, tmp_path):
    """A writer whose file is removed between its making and its lock makes another, and publishes that."""
    removed = []
    before_locks(lambda _: removed.append(_orphans.remove_orphan(str(tmp_path / f".out.0{SUFFIX}"))))
    atomic_write(tmp_path / "out", "new")
    assert removed == [True]
    assert (tmp_path / "out").read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_file_that_is_another_writers_before_it_is_locked(before_locks, tmp_path):
    """A writer whose file is removed, and whose name another takes, never publishes the other's file."""
    removed, path = [], tmp_path / f".out.0{SUFFIX}"

    def replace(_descriptor):
        removed.append(_orphans.remove_orphan(str(path)))
        path.write_text("another's")
        fcntl.flock(others.enter_context(path.open()), fcntl.LOCK_EX)

    with contextlib.ExitStack() as others:
        before_locks(replace)
        atomic_write(tmp_path / "out", "new")
    assert removed == [True]
    assert (tmp_path / "out").read_text() == "new"
    assert (tmp_path / ".out.0.outlive-tmp").read_text() == "another's"


def test_an_old_tree_whose_publisher_still_holds_its_lock(tmp_path):
    """It is waited for, as whoever published it lets go once its name is on the disk."""
    old = tmp_path / ".tree.0.outlive-tmp"
    old.mkdir()
    descriptor = os.open(old, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    publisher = threading.Timer(0.03, os.close, [descriptor])
    publisher.start()
    _orphans.remove_replaced(str(old), old.lstat())
    publisher.join()
    assert not old.exists()


LONGEST = 143  # bytes of a name on eCryptfs


@pytest.mark.parametrize("character", ["a", "ä", "字", "\U0001f4be", "\udcff"])
def test_names_as_long_as_can_be(tmp_path, character):
    """No temporary has a name that is too long where a destination's may have 143 bytes (eCryptfs)."""
    width = len(os.fsencode(character))
    for count in range(1, LONGEST // width + 1):
        name = character * count
        for label in (*_orphans.LABELS, os.urandom(8).hex(), "old-0123456789ab"):
            temporary = os.fsencode(_orphans.temporary_name(name, label))
            assert len(temporary) <= LONGEST
            temporary.decode("utf-8", "surrogateescape" if character == "\udcff" else "strict")
    target = tmp_path / name
    killed("atomic_open", target)
    for way in ("atomic_open", "atomic_path", "atomic_directory"):
        write(way, target)
        assert os.listdir(tmp_path) == [name]
        shutil.rmtree(target) if target.is_dir() else target.unlink()


def test_no_name_is_free(monkeypatch, tmp_path):
    """Where every temporary name is taken there is an error in the end, and no search without end."""
    monkeypatch.setattr(_temporary, "LABELS", ("0", "1"))
    monkeypatch.setattr(os, "urandom", lambda _count: b"\2")
    for number in ("0", "1", "02"):
        (tmp_path / f".out.{number}{SUFFIX}").symlink_to("nowhere")
    with pytest.raises(OSError, match=r"accepts no new file .no temporary name is free") as caught:
        atomic_write(tmp_path / "out", "new", overwrite=False)
    assert not isinstance(caught.value, FileExistsError)  # it would say that the destination is there


def test_file_system_that_counts_no_links(monkeypatch, tmp_path):
    """Where every file has 0 links, as on some of FUSE, each is written, and known by its name."""
    fstat, lstat, stat = os.fstat, os.lstat, os.stat

    def without_links(look):
        return lambda *given, **more: os.stat_result([*(was := look(*given, **more))[:3], 0, *was[4:]], {})

    for name, look in (("fstat", fstat), ("lstat", lstat), ("stat", stat)):
        monkeypatch.setattr(os, name, without_links(look))
    for text in ("old", "new"):
        atomic_write(tmp_path / "out", text)
    monkeypatch.undo()
    assert (tmp_path / "out").read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_file_that_is_being_looked_at_when_it_is_locked(tmp_path, before_locks):
    """A writer that finds its new file locked by somebody who takes it for an orphan makes another."""
    held = []

    def look(descriptor):
        held.append(os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY))
        fcntl.flock(held[0], fcntl.LOCK_EX)

    before_locks(look)
    atomic_write(tmp_path / "out", "new")
    os.close(held[0])
    assert (tmp_path / "out").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == [f".out.0{SUFFIX}", "out"]  # to be removed by who holds it


def test_name_that_is_another_file_when_the_lock_is_had(monkeypatch, tmp_path):
    """Who has the lock of an orphan, and finds another file under the name, leaves that alone."""
    path = tmp_path / f".out.0{SUFFIX}"
    path.touch()
    lock = _orphans.lock

    def replace(descriptor):
        path.rename(tmp_path / "moved")
        path.write_text("another's")
        return lock(descriptor)

    monkeypatch.setattr(_orphans, "lock", replace)
    assert not _orphans.remove_orphan(str(path))
    assert path.read_text() == "another's"


@pytest.fixture
def mounts(monkeypatch):
    """Set what /proc says: the number of a directory's mount, and all mounts; None for no /proc."""

    def say(number, lines):
        def opened(path, _mode):
            if lines is None:
                raise OSError(errno.ENOENT, "as in a chroot")
            facts = f"pos:\t0\nflags:\t012000000\nmnt_id:\t{number}\nino:\t5\n".encode()
            return io.BytesIO(facts if "/fdinfo/" in path else lines)

        monkeypatch.setattr(_locks, "open", opened, raising=False)
        for known in ("_of_disks", "_of_others"):
            monkeypatch.setattr(_locks, known, {})

    return say


NETWORK = b"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /net rw,x - nfs4 server:/ rw\n"


@pytest.mark.parametrize("gone", ["mounts", "network", "locks"])
def test_where_locks_are_not_believed(monkeypatch, mounts, tmp_path, gone):
    """Without locks, on a network, or where that cannot be told, nothing is removed, and writes go on."""
    if gone == "locks":
        monkeypatch.setattr(_locks, "_fcntl", None)
    else:
        mounts(2, None if gone == "mounts" else NETWORK)
    (tmp_path / f".out.0{SUFFIX}").touch()
    with atomic_open(tmp_path / "out"):
        assert sorted(os.listdir(tmp_path)) == [f".out.0{SUFFIX}", f".out.1{SUFFIX}"]
    assert remove_orphans(tmp_path) == []
    assert sorted(os.listdir(tmp_path)) == [f".out.0{SUFFIX}", "out"]


@pytest.fixture
def an_hour_later(monkeypatch):
    """Let the clock of file systems be an hour ahead."""
    time_of = _orphans._time_of
    monkeypatch.setattr(_orphans, "_time_of", lambda directory: time_of(directory) + 3600 * 10**9)


@pytest.mark.usefixtures("an_hour_later")
@pytest.mark.parametrize("where", ["on a network", "without /proc", "on macOS"])
def test_orphans_by_their_age(monkeypatch, mounts, tmp_path, where):
    """Where locks are not believed, what nobody has changed for so long is removed, and nothing else."""
    if where == "on macOS":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        mounts(2, None if where == "without /proc" else NETWORK)
    (tmp_path / f".out.0{SUFFIX}").touch()
    (tmp_path / f".tree.0{SUFFIX}" / "sub").mkdir(parents=True)
    (tmp_path / f".tree.0{SUFFIX}" / "sub" / "leaf").touch()
    (tmp_path / "out").touch()
    names = sorted(os.listdir(tmp_path))
    assert remove_orphans(tmp_path, older_than=3700) == []
    paths = [str(tmp_path / name) for name in names if name != "out"]
    assert remove_orphans(tmp_path, older_than=3500, dry_run=True) == paths
    assert sorted(os.listdir(tmp_path)) == names
    assert remove_orphans(tmp_path, older_than=3500) == paths
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.usefixtures("an_hour_later")
@pytest.mark.parametrize("way", ["file", "directory"])
def test_what_was_changed_last_decides(monkeypatch, mounts, tmp_path, way):
    """A directory is as old as the newest file in it; times that were set back count for nothing."""
    mounts(2, NETWORK)
    top = tmp_path / f".out.0{SUFFIX}"
    if way == "directory":
        (top / "sub").mkdir(parents=True)
        (top / "sub" / "leaf").touch()
    else:
        top.touch()
        os.utime(top, (0, 0))
    newest, lstat = top / "sub" / "leaf" if way == "directory" else top, os.lstat

    def older(path, **options):
        status = lstat(path, **options)
        if os.fspath(path) in (str(newest), top.name):
            return status
        hour = 2 * 3600 * 10**9
        return types.SimpleNamespace(
            **{name: getattr(status, name) for name in ("st_dev", "st_ino", "st_mode")},
            st_mtime_ns=status.st_mtime_ns - hour,
            st_ctime_ns=status.st_ctime_ns - hour,
        )

    monkeypatch.setattr(os, "lstat", older)
    assert remove_orphans(tmp_path, older_than=3700) == []
    assert remove_orphans(tmp_path, older_than=3500) == [str(top)]


def test_age_does_not_matter_where_locks_are_believed(tmp_path):
    """A writer that is alive keeps what it writes, however old that is, and an orphan need not be old."""
    with live("atomic_open", tmp_path / "live"):
        killed("atomic_open", tmp_path / "dead")
        assert remove_orphans(tmp_path, older_than=0, dry_run=True) == [str(tmp_path / f".dead.0{SUFFIX}")]
        assert remove_orphans(tmp_path, older_than=10**6) == [str(tmp_path / f".dead.0{SUFFIX}")]
    assert os.listdir(tmp_path) == ["live"]


def test_a_lock_that_is_held_where_nothing_tells_what_it_is_worth(monkeypatch, mounts, tmp_path):
    """In a chroot without /proc a temporary that is locked is alive, whatever its age."""
    mounts(2, None)
    monkeypatch.setattr(_orphans, "_time_of", lambda _directory: 2**62)
    with live("atomic_open", tmp_path / "out"):
        assert remove_orphans(tmp_path, older_than=0) == []
    assert os.listdir(tmp_path) == ["out"]


def test_a_writer_whose_temporary_was_removed_by_its_age(monkeypatch, mounts, tmp_path):
    """It gets an error, and the destination stays as it was."""
    mounts(2, NETWORK)
    monkeypatch.setattr(_orphans, "_time_of", lambda _directory: 2**62)
    (tmp_path / "out").write_text("old")
    with pytest.raises(FileNotFoundError, match="another program removed its temporary"):  # noqa: SIM117, PT012
        with atomic_open(tmp_path / "out") as file:
            file.write("new")
            remove_orphans(tmp_path, older_than=60)
    assert (tmp_path / "out").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_the_time_of_a_file_system(tmp_path):
    """It is that of a file that is made just then, which is not left there."""
    (tmp_path / "before").touch()
    now = _orphans._time_of(str(tmp_path))
    (tmp_path / "after").touch()
    assert (tmp_path / "before").stat().st_mtime_ns <= now <= (tmp_path / "after").stat().st_mtime_ns
    assert sorted(os.listdir(tmp_path)) == ["after", "before"]


@pytest.mark.parametrize(
    ("age", "kind", "said"),
    [
        ("1h", TypeError, r"^older_than='1h' is not a number of seconds"),
        (True, TypeError, r"^older_than=True is not a number of seconds"),
        (-1, ValueError, r"^older_than=-1 is not a number of seconds from 0"),
        (float("nan"), ValueError, r"^older_than=nan is not"),
        (float("inf"), ValueError, r"^older_than=inf is not"),
    ],
)
def test_an_age_that_is_none(tmp_path, age, kind, said):
    """It is refused by name and value."""
    with pytest.raises(kind, match=said):
        remove_orphans(tmp_path, older_than=age)


@pytest.mark.parametrize(("lines", "is_locked"), [(None, True), (b"", True), (NETWORK, False)])
def test_where_locks_are_taken(mounts, tmp_path, lines, is_locked):
    """A lock is taken where nothing tells what file system it is, and none on a network."""
    mounts(2, lines)
    with atomic_open(tmp_path / "out"):
        descriptor = os.open(tmp_path / f".out.0{SUFFIX}", os.O_RDONLY)
        try:
            assert _orphans.lock(descriptor) is not is_locked
        finally:
            os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
@every_way
def test_writer_in_a_chroot_is_left_alone(tmp_path, way):
    """Who cannot tell what file system it writes is not taken for dead by those outside, who can."""
    with live(way, "/out", tmp_path):
        assert remove_orphans(tmp_path) == []
        write(way, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("mount", "lines", "expected"),
    [
        (1, "1 0 0:1 / / rw - ext4 a rw", True),
        (1, "1 0 0:1 / / rw - nfs4 a rw", False),
        (2, "1 0 0:1 / / rw - nfs4 a rw\n2 1 0:2 / /a rw shared:1 - tmpfs a rw", True),
        (2, "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /a rw - fuse.sshfs a rw", False),
        (2, "2 1 0:2 /x\fy /a\rb rw - fuse.sshfs a rw\n12 1 0:2 / / rw - ext4 a rw", False),
        (1, "", None),
        (1, "12 0 0:1 / / rw - ext4 a rw", None),
    ],
)
def test_which_file_systems_are_local(mounts, tmp_path, mount, lines, expected):
    """The mount that a directory is of decides, by its number; where there is none nothing is known."""
    mounts(mount, lines.encode())
    assert _locks.is_local(str(tmp_path)) is expected


@pytest.mark.parametrize("device", [os.makedev(0, 77), os.makedev(8, 1)], ids=["no disk", "a disk"])
@pytest.mark.parametrize("line", ["ext4 /dev/a", "nfs4 server:/"])
def test_the_mount_table_is_read_once(monkeypatch, mounts, tmp_path, line, device):
    """Whether locks are believed is looked up once, and not for each write, whatever the answer is."""
    mounts(1, f"1 0 0:1 / / rw - {line} rw\n".encode())
    looks, is_local = [], _locks.is_local
    monkeypatch.setattr(_locks, "is_local", lambda folder: looks.append(folder) or is_local(folder))
    answers = {_locks.believes(str(tmp_path), device) for _ in range(5)}
    assert answers == {"ext4" in line}
    assert looks == [str(tmp_path)]


def test_what_is_known_of_mounts_ends_with_a_descriptor_that_somebody_closed(mounts, tmp_path):
    """Mounts are then looked up anew, and what has the number of the descriptor by now stays open."""
    place, device = str(tmp_path), os.makedev(0, 77)
    mounts(1, b"1 0 0:1 / / rw - ext4 /dev/a rw\n")
    assert _locks.believes(place, device)
    number = _locks._watch._table.fileno()
    mounts(1, b"1 0 0:1 / / rw - nfs4 server:/ rw\n")
    os.close(number)
    assert _locks.believes(place, device) is False
    watch = _locks._watch
    others, end = os.pipe()
    os.close(end)
    os.dup2(others, watch._table.fileno())  # a number that is another's, who has an event to tell
    mounts(1, b"1 0 0:1 / / rw - ext4 /dev/a rw\n")
    assert _locks.believes(place, device)
    assert os.path.samestat(os.fstat(watch._table.fileno()), os.fstat(others))
    for one in (others, watch._table.fileno()):
        os.close(one)


def test_a_child_looks_up_mounts_by_itself(mounts, tmp_path):
    """A child that is forked takes no news from its parent, and knows nothing that may be old."""
    place, device = str(tmp_path), os.makedev(0, 77)
    mounts(1, b"1 0 0:1 / / rw - ext4 /dev/a rw\n")
    assert _locks.believes(place, device)
    watch = _locks._watch
    child = os.fork()
    if child == 0:
        mounts(1, b"1 0 0:1 / / rw - nfs4 server:/ rw\n")
        is_right = _locks.believes(place, device) is False and _locks._watch is not watch
        os._exit(not is_right)
    assert os.waitpid(child, 0)[1] == 0
    assert _locks._watch is watch


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_a_number_that_is_given_to_another_file_system(tmp_path):
    """The locks of a file system that is gone are not believed of the next one that has its number."""
    code = """
import os, subprocess, sys
from outlive._system import locks as _locks
os.chdir(sys.argv[1])
os.mkdir("a")
while True:
    subprocess.check_call(["mount", "-t", "tmpfs", "none", "a"])
    device, first = os.stat("a").st_dev, _locks.believes("a", os.stat("a").st_dev)
    subprocess.check_call(["umount", "a"])
    subprocess.check_call(["mount", "-t", "devpts", "-o", "newinstance", "none", "a"])
    if os.stat("a").st_dev == device:  # nobody else took the number meanwhile
        print(first, _locks.believes("a", device))
        break
    subprocess.check_call(["umount", "a"])
"""
    unshare = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", code, str(tmp_path)]
    try:
        ran = subprocess.run(unshare, capture_output=True, text=True, check=True, timeout=60)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no mount namespace here: {error}")
    assert ran.stdout.split() == ["True", "False"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_a_mount_that_another_one_covers(tmp_path):
    """What is mounted over a directory decides, and not what was mounted below that before."""
    code = """
import os, subprocess, sys
from outlive._system import locks as _locks
os.chdir(sys.argv[1])
os.makedirs("a/sys")
subprocess.check_call(["mount", "-t", "tmpfs", "none", "a/sys"])
print(_locks.is_local("a/sys"))
subprocess.check_call(["mount", "-t", "proc", "none", "a"])  # which has such a directory too
print(_locks.is_local("a/sys"))
"""
    unshare = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", code, str(tmp_path)]
    try:
        ran = subprocess.run(unshare, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no mount namespace here: {error}")
    assert ran.stdout.split() == ["True", "False"]


def test_other_things_under_the_temporary_names(tmp_path):
    """Pipes, links and what is locked are passed over, and a write neither waits nor follows."""
    os.mkfifo(tmp_path / f".out.0{SUFFIX}")
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f".out.1{SUFFIX}").symlink_to("precious")
    (tmp_path / f".out.2{SUFFIX}").symlink_to("nowhere")
    atomic_write(tmp_path / "out", "new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert len(os.listdir(tmp_path)) == 5


def test_more_writers_than_numbers(tmp_path):
    """When all numbers are taken names are random, and all writers publish."""
    with contextlib.ExitStack() as stack:
        for number in range(20):
            stack.enter_context(atomic_open(tmp_path / "out")).write(str(number))
        assert len(os.listdir(tmp_path)) == 20
    assert (tmp_path / "out").read_text() == "0"
    assert os.listdir(tmp_path) == ["out"]


def test_writers_that_are_killed_while_others_write(tmp_path):
    """Processes are killed anywhere, beside one that goes on: whole contents, and in the end no litter."""
    code = """
import sys, outlive
while True:
    outlive.atomic_write(sys.argv[1], sys.argv[2] * 5000, durable="none")
"""
    target = tmp_path / "out"
    for _ in range(4):
        writers = [
            subprocess.Popen([sys.executable, "-I", "-c", code, str(target), str(number)])
            for number in range(3)
        ]
        for number in range(200):
            atomic_write(target, "9" * 5000, durable="none")
            text = target.read_text()
            assert len(text) == 5000
            assert len(set(text)) == 1
            if number % 60 == 59:
                writers[number // 60].kill()
        for writer in writers:
            writer.kill()
            writer.wait(timeout=60)
    atomic_write(target, "end")
    remove_orphans(tmp_path)
    assert os.listdir(tmp_path) == ["out"]


def test_published_file_is_not_locked(tmp_path):
    """The lock ends with the write, also if a child that was forked meanwhile lives on."""
    target = tmp_path / "out"
    read, hold = os.pipe()
    with atomic_open(target) as file:
        file.write("new")
        file.flush()
        child = os.fork()
        if child == 0:
            os.close(hold)
            os.read(read, 1)
            os._exit(0)
    with target.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(hold)
    os.close(read)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("way", ["atomic_write", "atomic_open", "atomic_path", "atomic_directory"])
def test_temporary_that_cannot_be_locked_is_taken_back(monkeypatch, tmp_path, way):
    """An error between the making of a temporary and its lock leaves nothing that others were to remove."""

    def refuses(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    # There is no second descriptor, which is to have the lock.
    monkeypatch.setattr(_temporary, "read_flags", refuses)
    monkeypatch.setattr(os, "dup", refuses)
    if way == "atomic_write":
        begin = functools.partial(atomic_write, tmp_path / "out", "x", overwrite=False)
    else:
        begin = getattr(outlive, way)(tmp_path / "out").__enter__
    with pytest.raises(OSError, match="Too many open files"):
        begin()
    assert os.listdir(tmp_path) == []


@every_way
@pytest.mark.parametrize("ending", ["leaves", "raises"])
def test_child_that_is_forked_in_the_body(tmp_path, way, ending):
    """A forked child that comes to the end of the body publishes nothing and removes nothing."""
    code = """
import os, sys, outlive
way, target, ending = sys.argv[1:]
try:
    with getattr(outlive, way)(target) as given:
        if way == "atomic_path":
            given.write_text("new")
        if way == "atomic_open":
            given.write("once")  # which both have in a buffer by now
        child = os.fork()
        if child == 0 and ending == "raises":
            raise KeyboardInterrupt
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert not os.path.exists(target), "the child published"
            assert len(os.listdir(os.path.dirname(target))) == 1, "the child removed the parent's"
except (RuntimeError, KeyboardInterrupt) as error:
    assert child == 0 and (ending == "raises" or "was forked in the body" in str(error)), error
    os._exit(7)
"""
    command = [sys.executable, "-I", "-c", code, way, str(tmp_path / "out"), ending]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["out"]
    if way == "atomic_open":
        assert (tmp_path / "out").read_text() == "once"


def test_threads_that_write_one_destination_leave_no_litter(tmp_path):
    """Threads hold locks against one another too."""
    threads = [
        threading.Thread(
            target=lambda: [atomic_write(tmp_path / "out", "x" * 100, durable="none") for _ in range(50)]
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.listdir(tmp_path) == ["out"]
