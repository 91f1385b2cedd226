"""The temporary directory, and all outside of the box, is another file system to the program."""

import errno
import subprocess
import sys

import pytest

from outlive_harness.results.verdicts import Verdict

MOVES = {
    "rename": "os.rename(tmp, 'out')",
    "replace over another": "open('out', 'w').write('old'); os.replace(tmp, 'out')",
    "link": "os.link(tmp, 'out')",
    "back": "open('out', 'w').write('x'); os.rename('out', tmp)",
    "a directory": "os.mkdir(tmp + '.d'); os.rename(tmp + '.d', 'out')",
    "by descriptors": "d = os.open(os.path.dirname(tmp), os.O_RDONLY); "
    "os.rename(os.path.basename(tmp), 'out', src_dir_fd=d)",
    "through a link": "os.symlink(os.path.dirname(tmp), 'l'); os.rename('l/' + os.path.basename(tmp), 'out')",
    "exchange": "open('out', 'w').write('x'); exchange(tmp, 'out')",
    "a file without a name": "f = os.open(os.path.dirname(tmp), os.O_TMPFILE | os.O_WRONLY); "
    "os.link(f'/proc/self/fd/{f}', 'out', src_dir_fd=0, follow_symlinks=True)",
    "what is not there": "os.rename(tmp + '.no', 'out')",
}
PROGRAM = """
import ctypes, os, sys, tempfile
def exchange(one, other):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, one.encode(), -100, other.encode(), 2):
        raise OSError(ctypes.get_errno(), "renameat2")
fd, tmp = tempfile.mkstemp(**WHERE)
os.write(fd, b"x")
try:
    MOVE
except OSError as error:
    print(error.errno, flush=True)
"""


def errors(observe, move, where, **wish):
    """Return the errno that a move ends with, 0 where it succeeds."""
    program = PROGRAM.replace("MOVE", MOVES[move]).replace("WHERE", repr(where))
    said = observe(sys.executable, "-c", program, **wish).stdout.split()
    return int(said[0]) if said else 0


@pytest.mark.parametrize("move", MOVES)
def test_nothing_moves_between_the_temporary_directory_and_the_box(observe, box, move):
    """Whatever the call is, it fails with EXDEV, as between any two file systems."""
    (box / ".tmp").mkdir()
    assert errors(observe, move, {"dir": str(box / ".tmp")}, tmp=".tmp") == errno.EXDEV


@pytest.mark.parametrize("move", MOVES)
def test_nothing_moves_between_the_box_and_elsewhere(observe, tmp_path, move):
    """A directory outside of the box is another file system in any case."""
    assert errors(observe, move, {"dir": str(tmp_path)}) == errno.EXDEV


@pytest.mark.parametrize("move", [name for name in MOVES if name != "what is not there"])
def test_what_is_one_file_system_stays_one(observe, box, move):
    """Beside the destination all of these calls succeed; so they do from TMPDIR where the user says so."""
    (box / ".tmp").mkdir()
    for where, wish in (((box / "d"), {"tmp": ".tmp"}), ((box / ".tmp"), {})):
        where.mkdir(exist_ok=True)
        assert errors(observe, move, {"dir": str(where)}, **wish) == 0
        if (box / "out").is_dir():
            (box / "out").rmdir()
        for name in ("out", "l"):
            (box / name).unlink(missing_ok=True)


def test_a_missing_directory_is_told_before(observe, box):
    """Errors that the kernel finds first stay what they are: no such directory, a link to what exists."""
    (box / ".tmp").mkdir()
    program = """
import os, tempfile
fd, tmp = tempfile.mkstemp(dir=".tmp")
open("there", "w").close()
for call, one, other in ((os.rename, tmp, "no/out"), (os.link, tmp, "there"), (os.link, "no", ".tmp/x")):
    try:
        call(one, other)
    except OSError as error:
        print(error.errno, flush=True)
"""
    seen = observe(sys.executable, "-c", program, tmp=".tmp")
    assert list(map(int, seen.stdout.split())) == [errno.ENOENT, errno.EEXIST, errno.ENOENT]


COPIES = {
    "mv": 't=$(mktemp); seq 500 > "$t"; mv "$t" out',
    "shutil.move": f"""{sys.executable} -c '
import os, shutil, tempfile
fd, tmp = tempfile.mkstemp()
os.write(fd, b"x" * 9000)
shutil.move(tmp, "out")'""",
}


@pytest.mark.parametrize("how", COPIES)
def test_a_move_that_copies_is_cut_in_half(one, how):
    """Where rename fails, mv and shutil.move copy in place: a crash shows a part of the file."""
    source = (
        f"made = scenario(command=['sh', '-c', {'[ -e out ] || { ' + COPIES[how] + '; }'!r}], outputs='out')"
    )
    result = one(source)
    assert result.verdict is Verdict.VIOLATED
    assert "torn-output" in {one.kind for one in result.violations}
    assert one(source.replace("outputs=", "tmp='same', outputs=")).verdict is Verdict.HELD


def test_a_program_that_fails_of_it_is_told_what_to_do(tmp_path):
    """os.replace from TMPDIR does not work between file systems: the verdict says it, with the option."""
    program = tmp_path / "p.py"
    program.write_text(
        "import os, tempfile\nfd, tmp = tempfile.mkstemp()\nos.write(fd, b'x')\nos.replace(tmp, 'out')\n"
    )
    for options, status in (((), 3), (("--tmp", "same"), 0)):
        argv = [
            sys.executable,
            "-P",
            "-m",
            "outlive_harness",
            "check",
            *options,
            "--",
            sys.executable,
            "p.py",
        ]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout
        assert ("failed with EXDEV" in done.stdout) == ("--tmp same" in done.stdout) == (not options)


def test_copies_between_the_file_systems_work(observe, box):
    """copy_file_range and sendfile move bytes and no names: they work as ever."""
    (box / ".tmp").mkdir()
    program = """
import os
with open(".tmp/a", "wb") as f:
    f.write(b"abc")
source, target = os.open(".tmp/a", os.O_RDONLY), os.open("b", os.O_WRONLY | os.O_CREAT)
assert os.copy_file_range(source, target, 3) == 3
os.lseek(source, 0, 0)
assert os.sendfile(target, source, None, 3) == 3
"""
    assert observe(sys.executable, "-c", program, tmp=".tmp").code == 0
    assert (box / "b").read_bytes() == b"abcabc"
    assert (box / ".tmp" / "a").read_bytes() == b"abc"
