"""What makes crash states two: what is left, and what was visible; and never which worker came there."""

import os

import pytest

from outlive_harness.results.verdicts import Verdict


def kinds(result):
    return {violation.kind for violation in result.violations}


def test_what_was_visible_on_the_way_to_a_known_state_counts(one):
    """A fault that is handled in place, and ends as another one did, is judged by what was visible."""
    source = """
TEXT = "a,b\\n" * 3000

@scenario(outputs="out", faults="eio")
def it():
    with open("r", "w") as report:
        report.write(TEXT)
        report.flush()
        try:
            os.fsync(report.fileno())
        except OSError:
            pass
    try:
        os.rename("r", "out")
    except OSError:
        with open("out", "w") as report:
            for start in range(0, len(TEXT), 4000):
                report.write(TEXT[start:start + 4000])
                report.flush()
        os.unlink("r")
"""
    assert kinds(one(source)) == {"torn-output"}


def test_what_is_installed_whole_after_a_fault_is_whole(one):
    """A handler that writes another text beside an output and renames it there shows nothing half-written."""
    source = """
@scenario(outputs="out", faults="term")
def it():
    import signal

    def put_whole(text):
        Path("s").write_text(text)
        os.rename("s", "out")

    def stop(*_):
        put_whole("interrupted\\n")
        os._exit(143)

    signal.signal(signal.SIGTERM, stop)
    for name in "ab":
        put("part" + name, "x")
    put_whole("done\\n")
"""
    assert one(source).verdict is Verdict.HELD


SECOND_START = """
def given():
    Path("out").write_text("old")

def repaired(stale):
    if stale:  # the last run crashed: it is put right in place, where it is seen half-written
        with open("out", "w") as f:
            f.write("new")
    else:
        Path("x").write_text("new")
        os.rename("x", "out")

@scenario(outputs="out", faults="kill", depth=2, setup=given)
def by_socket():
    import socket
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.bind("run.sock")
        except OSError:
            repaired(True)
        else:
            repaired(False)
        os.unlink("run.sock")

@scenario(outputs="out", faults="kill", depth=2, restarts=2, setup=given)
def at_the_first_start():
    if Path("repaired").exists():
        os.unlink("repaired")
    elif Path("lock").exists():
        for _ in range(3):
            os.utime("lock")
        repaired(True)
        os.rename("lock", "repaired")
        sys.exit(1)
    else:
        Path("lock").touch(exist_ok=False)
        repaired(False)
        os.unlink("lock")
"""


def test_a_deeper_crash_starts_from_all_that_was_left_and_strikes_the_first_start(explored):
    """A socket's name is left as a file's is; of several starts after a crash the first is struck."""
    for result in explored(SECOND_START).scenarios:
        assert kinds(result) == {"torn-output"}, result.name


def test_what_a_recovery_does_out_of_sight_is_unknown_where_it_is_to_be_struck(one):
    """An output that only a recovery stores to through memory is as little known as one of a golden run."""
    source = """
def given():
    Path("out").write_bytes(b"a" * 8192)

@scenario(outputs="out", faults="kill", depth=DEPTH, setup=given)
def it():
    import mmap
    if Path("out").read_bytes()[:1] == b"b":
        return
    if Path("started").exists():
        with open("out", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            m[:] = b"b" * 8192
        return
    Path("started").touch()
    Path("new").write_bytes(b"b" * 8192)
    os.rename("new", "out")
"""
    assert one(source.replace("DEPTH", "1")).verdict is Verdict.HELD
    result = one(source.replace("DEPTH", "2"))
    assert result.verdict is Verdict.UNKNOWN
    assert "stores through memory to out" in result.reason


def test_marks_in_extended_attributes_are_part_of_a_state(one, tmp_path):
    """Files that differ in nothing but what a program has noted on them are two states."""
    try:
        os.setxattr(tmp_path, "user.try", b"")
    except OSError:
        pytest.skip("no extended attributes here")
    source = """
def given():
    Path("work").write_text("x")

@scenario(outputs="out", faults="kill", setup=given)
def it():
    if "user.done" not in os.listxattr("work"):
        Path("new").write_text("result")
        os.setxattr("work", "user.done", b"1")
        os.rename("new", "out")
"""
    assert kinds(one(source)) == {"diverged"}


@pytest.mark.parametrize(("fault", "states"), [("kill", 3), ("power", 4)])
def test_which_names_are_of_one_file_is_part_of_a_state(one, fault, states):
    """Two equal files, and one with two names: rename(2) of the latter does nothing, and says it was done."""
    source = """
def given():
    Path("a").write_text("same")
    Path("b").write_text("same")

@scenario(outputs="*", faults=FAULT, profile="ext4", setup=given)
def it():
    if os.path.exists("done"):
        return
    if os.path.lexists("t"):
        os.unlink("t")
    os.link("a", "t")
    os.rename("t", "b")
    Path("done").touch()
"""
    result = one(source.replace("FAULT", repr(fault)))
    assert kinds(result) == {"diverged"}
    assert result.faults[fault].states == states


def test_a_log_that_is_rotated_is_whole_at_each_record(one):
    """A prefix of what is renamed to another append-only output counts where it was written."""
    source = """
@scenario(outputs="log*", append_only="log*", faults="kill")
def it():
    def lines():
        return Path("log").read_text().count("\\n") if Path("log").exists() else 0

    def add(first):
        with open("log", "ab", buffering=0) as log:
            for number in range(lines(), 4):
                log.write(b"line %d\\n" % (first + number))

    if not Path("log.1").exists():
        add(0)
        os.rename("log", "log.1")
    add(4)
"""
    assert one(source).verdict is Verdict.HELD


BOXES = """
@scenario(outputs="out/log", append_only="out/log", faults="kill")
def appended():
    os.makedirs("out", exist_ok=True)
    have = Path("out/log").read_text().count("\\n") if Path("out/log").exists() else 0
    with open("out/log", "ab", buffering=0) as log:
        for number in range(have, 20):
            log.write(f"{os.getcwd()}/part-{number:02d}\\n".encode())

@scenario(outputs="out", faults="kill", check=lambda: os.path.abspath("out"))
def checked():
    for number in range(8):
        Path("t").write_text(str(number))
    os.rename("t", "out")
"""


def test_a_box_is_the_same_in_any_worker(explored):
    """Logs that name the directory they are in, and checks that return it, say the same in each box."""
    for _ in range(2):
        assert [result.verdict for result in explored(BOXES).scenarios] == [Verdict.HELD] * 2


FLAGGED = """
import fcntl, struct
@scenario(outputs="out/*", faults=FAULTS, depth=DEPTH)
def it():
    os.makedirs("out", exist_ok=True)
    fd = os.open("out", os.O_RDONLY)
    (flags,) = struct.unpack("l", fcntl.ioctl(fd, 0x80086601, bytes(8)))
    if flags & 0x40:
        return
    os.fsync(fd)
    fcntl.ioctl(fd, 0x40086602, struct.pack("l", flags | 0x40))
    put("out/a", "x")
"""


@pytest.mark.parametrize("depth", [1, 2])
def test_flags_of_an_inode_are_part_of_a_state(one, depth):
    """A program that remembers by `chattr +d` what it has done has another state, with equal files."""
    assert kinds(one(FLAGGED.replace("FAULTS", "'kill'").replace("DEPTH", str(depth)))) == {"diverged"}


def test_what_a_power_cut_leaves_of_flags_is_unknown(one):
    """The model of the disk has no flags, so it says nothing of such a run."""
    result = one(FLAGGED.replace("FAULTS", "'power'").replace("DEPTH", "1"))
    assert result.verdict is Verdict.UNKNOWN
    assert "inode's flags" in result.reason
