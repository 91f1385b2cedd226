"""atomic_write and atomic_open: the new file or the old one, whatever happens in between."""

# What raises is the body of atomic_open, of several lines; names are compared as text.
# ruff: noqa: PT012, PTH208

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from enum import Enum
from pathlib import Path

import pytest

from outlive import PublishedNotDurableError, atomic_batch, atomic_open, atomic_write

pytestmark = pytest.mark.usefixtures("both_ways")
TEMPORARY = ".outlive-tmp"
ENDINGS = (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit)


def run_python(code, *args):
    """Run code in an interpreter of its own, for what belongs to a process: umask, user, death."""
    command = [sys.executable, "-I", "-c", f"import os, sys\n{code}", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def calls(monkeypatch, tmp_path):  # noqa: ARG001 - making tmp_path unlinks something itself
    """Record the calls that matter, in order, with what was true when they were made."""
    seen = []
    fchmod, fsync, replace, unlink = os.fchmod, os.fsync, os.replace, os.unlink

    def record_fchmod(descriptor, mode):
        seen.append(("fchmod", mode))
        fchmod(descriptor, mode)

    def record_fsync(descriptor):
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            seen.append(("fsync directory", status.st_ino))
        else:
            seen.append(("fsync file", Path(f"/proc/self/fd/{descriptor}").read_bytes()))
        fsync(descriptor)

    def record_replace(source, target, *, dst_dir_fd=None, **directory):
        where = Path() if dst_dir_fd is None else Path(f"/proc/self/fd/{dst_dir_fd}").readlink()
        seen.append(("replace", str(where / target)))
        replace(source, target, dst_dir_fd=dst_dir_fd, **directory)

    def record_unlink(path, **options):
        seen.append(("unlink", path))
        unlink(path, **options)

    monkeypatch.setattr(os, "fchmod", record_fchmod)
    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    monkeypatch.setattr(os, "unlink", record_unlink)
    return seen


def test_order_of_system_calls(calls, tmp_path):
    """The whole content and the mode reach the disk, then the name, then the directory; no unlink."""
    target = tmp_path / "out"
    target.write_bytes(b"old")
    target.chmod(0o640)
    atomic_write(target, b"new" * 1000)
    assert calls == [
        ("fchmod", 0o640),
        ("fsync file", b"new" * 1000),
        ("replace", str(target)),
        ("fsync directory", tmp_path.stat().st_ino),
    ]


def test_not_durable_is_still_a_rename(calls, tmp_path):
    """Without durability both fsyncs are gone, and nothing else."""
    target = tmp_path / "out"
    target.write_bytes(b"old")
    target.chmod(0o600)
    atomic_write(target, "new", durable="none")
    assert calls == [("fchmod", 0o600), ("replace", str(target))]
    assert target.read_bytes() == b"new"


def test_durable_file_saves_the_fsync_of_the_directory(calls, tmp_path):
    """With "file" the content is on the disk before the name, and no more is waited for."""
    atomic_write(tmp_path / "out", "new", durable="file")
    assert calls == [("fsync file", b"new"), ("replace", str(tmp_path / "out"))]


def test_durability_as_a_member_of_an_enumeration(calls, tmp_path):
    """What is equal to a word is that word, and saves no fsync that the word does not."""

    class Level(str, Enum):  # noqa: UP042 - whose str() is not its value
        FULL = "full"

    atomic_write(tmp_path / "out", "new", durable=Level.FULL)
    atomic_write(tmp_path / "other", "new", durable=Level.FULL, overwrite=False)
    assert [call[0] for call in calls].count("fsync directory") == 2


@pytest.mark.parametrize(
    ("durable", "message"),
    [
        (True, "durable=True is not one of 'full', 'file', 'none'; give 'full'"),
        (False, "durable=False is not one of 'full', 'file', 'none'; give 'none'"),
        ("ful", "durable='ful' is not one of 'full', 'file', 'none'"),
        (None, "durable=None is not one of 'full', 'file', 'none'"),
        ([], r"durable=\[\] is not one of 'full', 'file', 'none'"),
    ],
)
def test_bad_durable(tmp_path, durable, message):
    """What is no word for durability is refused before anything is made."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        atomic_write(tmp_path / "out", "new", durable=durable)
    assert os.listdir(tmp_path) == []


def test_file_is_closed_when_it_is_renamed(monkeypatch, tmp_path):
    """The rename sees a closed file, as Windows asks, and nothing can be written after the fsync."""
    closed = []
    replace = os.replace

    def check(source, target):
        closed.append(file.closed)
        replace(source, target)

    monkeypatch.setattr(os, "replace", check)
    with atomic_open(tmp_path / "out") as file:
        file.write("x")
    assert closed == [True]


def test_old_content_stands_until_the_body_ends(tmp_path):
    """A reader sees the old file, whole, for as long as the body writes, and the new one after it."""
    target = tmp_path / "out"
    target.write_text("old")
    with atomic_open(target) as file:
        for _ in range(100):
            file.write("x" * 1000)
            file.flush()
            assert target.read_text() == "old"
    assert target.read_text() == "x" * 100_000
    assert os.listdir(tmp_path) == ["out"]


def test_temporary_file_is_recognisable_and_beside(tmp_path):
    """The temporary file is hidden, and named after the destination."""
    with atomic_open(tmp_path / "report.csv", "wb") as file:
        assert os.listdir(tmp_path) == [f".report.csv.0{TEMPORARY}"]
        assert Path(file.name) == tmp_path / f".report.csv.0{TEMPORARY}"
        file.write(b"1")


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444, 0o000])
def test_what_replaces_a_file_is_private_until_it_is_finished(tmp_path, mode):
    """Nobody but its owner may read the new content of a file before it has that file's mode."""
    target = tmp_path / "out"
    target.touch()
    target.chmod(mode)
    with atomic_open(target) as file:
        assert mode_of(Path(file.name)) == 0o600
        file.write("new")
    assert mode_of(target) == mode


@pytest.mark.parametrize("old", [None, 0o600, 0o644])
@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o666, 0o400, 0])
def test_permissions_that_are_asked_for(tmp_path, old, permissions):
    """The file has them whatever the umask is and the old file has, and is private until it is finished."""
    target, batched = tmp_path / "out", tmp_path / "batched"
    for path in (target, batched):
        if old is not None:
            path.touch()
            path.chmod(old)
    before = os.umask(0o077)
    try:
        atomic_write(target, "1", permissions=permissions)
        assert mode_of(target) == permissions
        with atomic_open(target, permissions=permissions) as file:
            assert mode_of(Path(file.name)) == 0o600
        assert mode_of(target) == permissions
        with atomic_batch() as batch:
            batch.write(batched, "1", permissions=permissions)
            with batch.open(tmp_path / "second", permissions=permissions):
                pass
        assert mode_of(batched) == mode_of(tmp_path / "second") == permissions
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("permissions", "kind", "said"),
    [
        ("600", TypeError, r"^permissions='600' is not a whole number, such as 0o600"),
        (True, TypeError, r"^permissions=True is not"),
        (0o1600, ValueError, r"^permissions=0o1600 is not from 0 to 0o777"),
        (-1, ValueError, r"^permissions=-0o1 is not"),
    ],
)
def test_permissions_that_are_none(tmp_path, permissions, kind, said):
    """They are refused before anything is made."""
    for write in (
        lambda: atomic_write(tmp_path / "out", "1", permissions=permissions),
        lambda: atomic_open(tmp_path / "out", permissions=permissions).__enter__(),
    ):
        with pytest.raises(kind, match=said):
            write()
    with pytest.raises(kind, match=said), atomic_batch() as batch:
        batch.write(tmp_path / "out", "1", permissions=permissions)
    assert os.listdir(tmp_path) == []


def test_text_that_its_encoding_does_not_hold(tmp_path):
    """The error says what to give instead, and that writes what the text was made from."""
    name = os.fsdecode(b"caf\xe9")
    with pytest.raises(UnicodeEncodeError) as caught:
        atomic_write(tmp_path / "out", name)
    assert caught.value.__notes__ == ["data=... was not written; give bytes: data.encode(encoding, errors)"]
    atomic_write(tmp_path / "out", name.encode("utf-8", "surrogateescape"))
    assert (tmp_path / "out").read_bytes() == b"caf\xe9"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_exception_in_the_body(tmp_path, ending, old, mode):
    """Whatever ends the body early, the destination is as it was, and no temporary file is left."""
    target = tmp_path / "out"
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(ending) as caught, atomic_open(target, mode) as file:
        file.write("new" if mode == "w" else b"new")
        raise ending
    assert caught.value.__notes__ == [f"destination={str(target)!r} was not written"]
    assert os.listdir(tmp_path) == ([] if old is None else ["out"])
    assert old is None or target.read_bytes() == old


def test_interrupt_by_a_real_signal(tmp_path, request):
    """Ctrl-C in the body publishes nothing and leaves nothing."""
    # A test run that was started in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with pytest.raises(KeyboardInterrupt), atomic_open(tmp_path / "out") as file:
        file.write("new")
        signal.raise_signal(signal.SIGINT)
    assert os.listdir(tmp_path) == []


def test_killed_in_the_body(tmp_path):
    """A process killed in the body leaves the old file whole, and a file that the next write removes."""
    target = tmp_path / "out"
    target.write_text("old")
    code = """
from outlive import atomic_open
with atomic_open(sys.argv[1]) as file:
    file.write("half")
    file.flush()
    os.kill(os.getpid(), 9)
"""
    assert run_python(code, target).returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert set(os.listdir(tmp_path)) - {"out"} == {f".out.0{TEMPORARY}"}
    atomic_write(target, "new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_body_that_closes_the_file(calls, tmp_path, mode):
    """A body that closes the file, as compressors do, has it fsynced and published all the same."""
    with atomic_open(tmp_path / "out", mode) as file:
        file.write("x" if mode == "w" else b"x")
        file.close()
    assert [call[0] for call in calls] == ["fsync file", "replace", "fsync directory"]
    assert (tmp_path / "out").read_text() == "x"


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_body_that_takes_the_file_away(tmp_path, mode):
    """A file that somebody else may still write to is not published."""
    with pytest.raises(ValueError, match="detached"), atomic_open(tmp_path / "out", mode) as file:
        file.write("x" if mode == "w" else b"x")
        detached = file.detach()
    detached.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("durable", ["full", "none"])
def test_disk_is_full_while_buffers_are_written(tmp_path, durable):
    """An error that comes only with the flush is raised as it is, and nothing is lost."""
    target = tmp_path / "out"
    target.write_text("old")
    code = """
import resource, signal, outlive
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    outlive.atomic_write(sys.argv[1], "x" * 5000, durable=sys.argv[2])
except OSError as error:
    print(error.errno, *error.__notes__)
"""
    done = run_python(code, target, durable)
    assert done.stdout == f"{errno.EFBIG} destination={str(target)!r} was not written\n", done.stderr
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EINVAL])
def test_failed_fsync_is_fatal(refuse_fsync, tmp_path, code):
    """A failed fsync of the file is tried once, publishes nothing and leaves nothing."""
    target = tmp_path / "out"
    target.write_text("old")
    tried = refuse_fsync(on_directory=False, code=code)
    with pytest.raises(OSError, match="was not written") as caught:
        atomic_write(target, "new")
    assert caught.value.errno == code
    assert tried == ["file"]
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_failed_fsync_of_the_directory(refuse_fsync, tmp_path):
    """When only the last fsync fails the error says that the change was made, and where."""
    tried = refuse_fsync(on_directory=True)
    with pytest.raises(PublishedNotDurableError, match="the change was made") as caught:
        atomic_write(tmp_path / "out", "new")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    assert tried == ["file", "directory"]
    assert (tmp_path / "out").read_text() == "new"


def test_failed_fsync_above_a_directory_that_is_made(refuse_fsync, tmp_path):
    """A missing directory whose name does not last is an error of durability, and nothing was published."""
    refuse_fsync(on_directory=True)
    with pytest.raises(OSError, match="has no directory, and none can be made") as caught:
        atomic_write(tmp_path / "sub" / "out", "new", parents=True)
    assert type(caught.value) is OSError
    assert caught.value.outlive_durability
    assert caught.value.filename == str(tmp_path.parent)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_file_system_without_fsync_of_directories(refuse_fsync, tmp_path, code):
    """Where directories have no fsync, its absence is no failure."""
    tried = refuse_fsync(on_directory=True, code=code)
    atomic_write(tmp_path / "out", "new")
    assert tried == ["file", "directory"]
    assert os.listdir(tmp_path) == ["out"]


def test_rename_that_fails(tmp_path):
    """If the destination becomes a directory meanwhile, the rename's error is raised and nothing is left."""
    target = tmp_path / "out"
    with pytest.raises(IsADirectoryError, match="was not written"), atomic_open(target) as file:
        file.write("new")
        target.mkdir()
    assert os.listdir(tmp_path) == ["out"]


def test_no_descriptor_is_left_open(tmp_path):
    """Neither success nor failure leaks a descriptor."""
    folder = Path("/dev/fd")
    before = len(list(folder.iterdir()))
    for number in range(5):
        atomic_write(tmp_path / "out", str(number))
        with pytest.raises(UnicodeEncodeError):
            atomic_write(tmp_path / "out", "\ud800")
    assert len(list(folder.iterdir())) == before
    assert (tmp_path / "out").read_text() == "4"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077, 0o777])
def test_new_file_has_the_mode_that_open_gives(tmp_path, umask):
    """A new file's mode is that of a plain open under the same umask, also after the umask changed."""
    code = """
from outlive import atomic_write
os.chdir(sys.argv[1])
atomic_write("before", "")
os.umask(int(sys.argv[2]))
open("plain", "w").close()
atomic_write("atomic", "")
print(os.stat("plain").st_mode, os.stat("atomic").st_mode)
"""
    plain, atomic = run_python(code, tmp_path, umask).stdout.split()
    assert atomic == plain


def test_umask_is_not_touched(monkeypatch, tmp_path):
    """The umask is never set, not for a moment: another thread may be making a file."""
    monkeypatch.setattr(os, "umask", lambda _mask: pytest.fail("the umask was set"))
    for _ in range(2):
        atomic_write(tmp_path / "out", "")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o666, 0o400, 0o000])
def test_replaced_file_keeps_its_permissions(tmp_path, mode):
    """A file that replaces another has its permission bits, whatever the umask is."""
    target = tmp_path / "out"
    target.write_text("old")
    target.chmod(mode)
    atomic_write(target, "new")
    assert mode_of(target) == mode
    assert target.stat().st_size == 3


def test_set_user_id_is_not_inherited(tmp_path):
    """New content does not get the old content's set-user-id bit, as with a plain write."""
    target = tmp_path / "out"
    target.write_text("old")
    target.chmod(0o4755)
    atomic_write(target, "new")
    assert mode_of(target) == 0o755


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127 + "x", "日" * 85, "." * 255, "a.b c"])
def test_long_names(tmp_path, name):
    """A name as long as a name may be can be written, and its temporary name is cut between characters."""
    target = tmp_path / name
    for content in ("first", "second"):
        with atomic_open(target) as file:
            (temporary,) = (entry for entry in os.listdir(tmp_path) if entry.endswith(TEMPORARY))
            assert len(os.fsencode(temporary)) <= 255
            assert name.startswith(temporary[1:].rsplit(".", 3)[0])
            file.write(content)
        assert target.read_text() == content
    assert os.listdir(tmp_path) == [name]


def test_symbolic_link_is_followed(tmp_path):
    """The link stays, the file that it names is replaced, and the temporary file is beside that file."""
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link"
    link.symlink_to("../real/file")
    for content in ("first", "second"):
        with atomic_open(link) as file:
            assert os.listdir(tmp_path / "links") == ["link"]
            assert any(name.endswith(TEMPORARY) for name in os.listdir(tmp_path / "real"))
            file.write(content)
        assert link.is_symlink()
        assert (tmp_path / "real" / "file").read_text() == content


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the directory that it has open")
def test_a_link_on_the_way_that_is_turned_elsewhere_redirects_nothing(monkeypatch, tmp_path):
    """What is opened to be fsynced, what is written and what is renamed is all in one directory."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    link, opens = tmp_path / "link", os.open
    link.symlink_to("here")

    def turned(path, flags, *rest, **directory):
        descriptor = opens(path, flags, *rest, **directory)
        if flags & os.O_DIRECTORY:
            link.unlink()
            link.symlink_to("there")
        return descriptor

    monkeypatch.setattr(os, "open", turned)
    atomic_write(link / "out", "x")
    assert os.listdir(tmp_path / "here") == ["out"]
    assert os.listdir(tmp_path / "there") == []


def test_chdir_in_the_body_redirects_nothing(monkeypatch, tmp_path):
    """A relative destination is where it was when the body was entered."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with atomic_open("out") as file:
        file.write("x")
        os.chdir("elsewhere")
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "out"]
    assert os.listdir(tmp_path / "elsewhere") == []


def test_hard_link_keeps_the_old_content(tmp_path):
    """A second name of the old file is not written through."""
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    atomic_write(tmp_path / "a", "new")
    assert (tmp_path / "b").read_text() == "old"


def test_threads_on_one_destination(tmp_path):
    """Threads that write one file never show a mixture, and leave one whole content and nothing else."""
    target = tmp_path / "out"
    contents = {str(thread) * (1000 + 5000 * thread) for thread in range(6)}
    atomic_write(target, min(contents))
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            seen.add(target.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    writers = [
        threading.Thread(
            target=lambda text=text: [atomic_write(target, text, durable="none") for _ in range(25)]
        )
        for text in contents
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    reader.join()
    assert seen <= contents
    assert target.read_text() in contents
    assert os.listdir(tmp_path) == ["out"]


def bad_destinations(folder):
    """Return what a destination must not be, with the error, its filename and its message."""
    (folder / "file").write_text("old")
    (folder / "dir").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "astray").symlink_to("missing/file")
    os.mkfifo(folder / "fifo")
    return {
        "directory": (folder / "dir", IsADirectoryError, folder / "dir", "is a directory"),
        "slash": (f"{folder}/new/", IsADirectoryError, f"{folder}/new/", "names a directory"),
        "dot": (f"{folder}/file/.", IsADirectoryError, f"{folder}/file/.", "names a directory"),
        "no parent": (
            folder / "no" / "x",
            FileNotFoundError,
            folder / "no",
            "; create it, or",
        ),
        "up from nothing": (
            f"{folder}/no/../x",
            FileNotFoundError,
            f"{folder}/no/..",
            "; create it, or",
        ),
        "astray": (
            folder / "astray",
            FileNotFoundError,
            folder / "missing",
            "; create it, or",
        ),
        "in a file": (folder / "file" / "x", NotADirectoryError, folder / "file" / "x", "cannot be reached"),
        "loop": (folder / "loop", OSError, folder / "loop", "cannot be reached"),
        "too long": (folder / ("x" * 256), OSError, folder / ("x" * 256), "cannot be reached"),
        "fifo": (folder / "fifo", OSError, folder / "fifo", "not a regular file"),
        "empty": ("", ValueError, None, "is empty"),
        "NUL": (f"{folder}/a\0b", ValueError, None, "contains a NUL"),
        "surrogate": (f"{folder}/\ud800", ValueError, None, "cannot be encoded as the name of a file"),
        "bytes": (b"out", TypeError, None, "is not a path"),
        "number": (3, TypeError, None, "is not a path"),
        "none": (None, TypeError, None, "is not a path"),
    }


BAD_DESTINATIONS = """directory|slash|dot|no parent|up from nothing|astray|in a file|loop|too long|fifo
empty|NUL|surrogate|bytes|number|none""".replace("\n", "|").split("|")


@pytest.mark.parametrize("case", BAD_DESTINATIONS)
def test_bad_destination(tmp_path, case):
    """A destination that cannot be replaced is refused by name before anything is made."""
    destination, kind, filename, message = bad_destinations(tmp_path)[case]
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(kind, match=message) as caught:
        atomic_write(destination, "new")
    value = destination if isinstance(destination, str | bytes | int | None) else str(destination)
    said = caught.value.strerror if isinstance(caught.value, OSError) else str(caught.value)
    assert said.startswith(f"destination={value!r} ")
    if filename is not None:
        assert isinstance(caught.value.errno, int)
        assert caught.value.filename == str(filename)
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "file").read_text() == "old"


def test_every_bad_destination_is_tried(tmp_path):
    """The list of cases and the table of cases are one."""
    assert sorted(bad_destinations(tmp_path)) == sorted(BAD_DESTINATIONS)


def test_device(monkeypatch):
    """A device is refused; as root, a rename would put a file in its place for everybody."""
    monkeypatch.setattr(os, "replace", lambda *_paths: pytest.fail("the device was replaced"))
    with pytest.raises(OSError, match="is not a regular file") as caught:
        atomic_write(os.devnull, "new")
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("mode", ["a", "r", "r+", "w+", "x", "wbt", "", 3, None])
def test_bad_mode(tmp_path, mode):
    """A mode that needs the old content, or is none, is refused."""
    with pytest.raises(ValueError, match=f"^mode={mode!r} is not one of".replace("+", r"\+")):
        atomic_open(tmp_path / "out", mode).__enter__()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "options", "kind", "message"),
    [
        (1, {}, TypeError, "data=1 is neither text nor bytes"),
        (None, {}, TypeError, "data=None is neither text nor bytes"),
        (memoryview(b"abcd")[::2], {}, TypeError, "^data=<memory at .*> is not contiguous"),
        (["a"] * 999, {}, TypeError, r"data=\['a'.*\.\.\. is neither text nor bytes"),
        ("a", {"encoding": "no-such"}, ValueError, "encoding='no-such' is not the name of a text encoding"),
        ("a", {"encoding": "hex"}, ValueError, "encoding='hex' is not the name of a text encoding"),
        ("a", {"encoding": ""}, ValueError, "encoding='' is not the name of a text encoding"),
        ("a", {"newline": "x"}, ValueError, "newline='x' is not one of"),
        (b"a", {"encoding": "utf-8"}, ValueError, "encoding='utf-8' is for text, and bytes are written"),
        (b"a", {"newline": "\n"}, ValueError, r"newline='\\n' is for text, and bytes are written"),
        ("\ud800", {}, UnicodeEncodeError, "surrogates not allowed"),
        ("é", {"encoding": "ascii"}, UnicodeEncodeError, "ordinal not in range"),
    ],
)
def test_bad_data(tmp_path, data, options, kind, message):
    """Data or options that cannot be written are refused, and the old file stays."""
    (tmp_path / "out").write_text("old")
    with pytest.raises(kind, match=message):
        atomic_write(tmp_path / "out", data, **options)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out").read_text() == "old"


@pytest.mark.parametrize(("mode", "data"), [("w", b"bytes"), ("wb", "text")])
def test_data_of_the_other_kind(tmp_path, mode, data):
    """Bytes in text mode, and text in bytes mode, fail as with a plain open and publish nothing."""
    with pytest.raises(TypeError), atomic_open(tmp_path / "out", mode) as file:
        file.write(data)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("data", [b"\0\xff", bytearray(b"\0\xff"), memoryview(b"\0\xff")])
def test_kinds_of_bytes(tmp_path, data):
    """Bytes of each kind are written as they are."""
    atomic_write(tmp_path / "out", data)
    assert (tmp_path / "out").read_bytes() == b"\0\xff"


def test_nothing_happens_before_the_body_is_entered(tmp_path):
    """A context manager that is never entered checks nothing and makes nothing."""
    atomic_open(tmp_path / "no" / "out")
    assert os.listdir(tmp_path) == []


@pytest.fixture
def public_folder():
    """Give a directory that any user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("mode", "durable", "said"),
    [
        (0o555, "full", "accepts no new file (Permission denied)"),
        (0o555, "none", "accepts no new file (Permission denied)"),
        (0o000, "full", "cannot be reached (Permission denied)"),
        (0o333, "full", "may not be read, which its fsync requires; give durable='file'"),
        (0o333, "file", None),
        (0o333, "none", None),
    ],
)
def test_directory_without_permission(public_folder, mode, durable, said):
    """A directory that may not be written, searched or fsynced is refused before anything is changed."""
    folder = public_folder / "folder"
    folder.mkdir()
    (folder / "out").write_text("old")
    (folder / "out").chmod(0o666)
    folder.chmod(mode)
    code = """
import tempfile, outlive
if os.geteuid() == 0:
    os.setuid(65534)
try:
    outlive.atomic_write(sys.argv[1], "new", durable=sys.argv[2])
except PermissionError as error:
    print(error)
"""
    done = run_python(code, folder / "out", durable)
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert said is None or said in done.stdout
    assert os.listdir(folder) == ["out"]
    assert (folder / "out").read_text() == ("new" if said is None else "old")
