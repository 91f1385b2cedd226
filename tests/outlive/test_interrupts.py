"""An interrupt (Ctrl-C, a time limit by SIGALRM) loses nothing, leaves nothing, and keeps nothing open."""

# Names are compared as text.
# ruff: noqa: PTH208

import contextlib
import gc
import opcode
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

import outlive
from outlive import (
    Checkpoints,
    atomic_batch,
    atomic_directory,
    atomic_open,
    atomic_path,
    atomic_write,
    remove_orphans,
    run_lock,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc"),
    # The standard library's scandir says that it is closed by the collector; the descriptor is closed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
PACKAGE = str(Path(outlive.__file__).parent)
#: CPython runs signal handlers after a call and at the head of a function or a loop, and nowhere else.
CHECKED = {number for name, number in opcode.opmap.items() if name.startswith("CALL")}
CHECKED |= {opcode.opmap[name] for name in ("RESUME", "JUMP_BACKWARD")}


class Interrupt(BaseException):
    """What a signal handler raises."""


@pytest.fixture
def tmp_path(tmp_path):
    """Give a directory in memory, where there is one: what is tested here is done a thousand times."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="interrupts-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _light_collector():
    """Keep the collector, which each look calls, from what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def struck(work, number):
    """Do some work, interrupted at the n-th place in the library where it can be; False if there is none.

    An interrupt that does not come out of the work was swallowed, which fails the test.
    """
    left = [number]

    def trace(frame, _event, _argument):
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE) and name != contextlib.__file__:
            return None
        frame.f_trace_opcodes = True
        code, last = frame.f_code.co_code, None

        def at_opcode(frame, event, _argument):
            nonlocal last
            if event == "opcode":
                left[0] -= last in CHECKED
                last = code[frame.f_lasti]
                if left[0] == 0:
                    sys.settrace(None)
                    left[0] = -1
                    raise Interrupt
            elif event == "exception":  # a call that raises is not followed by the check
                last = None
            return at_opcode

        return at_opcode

    sys.settrace(trace)
    try:
        work()
    except Interrupt:
        return True
    finally:
        sys.settrace(None)
    assert left[0] > 0, f"interrupt {number} was swallowed"
    return False


def open_files():
    """Return what this process has open."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the directory itself
            found[number] = str(Path(f"/proc/self/fd/{number}").readlink())
    return {number: path for number, path in found.items() if not path.startswith("/proc/")}


def struck_everywhere(work, anew, look, *, every=1):
    """Interrupt some work at each place in turn; after each look, begin anew; return how many places.

    Args:
        work: What is interrupted.
        anew: Makes what is there as it was before.
        look: Given the number of the place, looks at what the interrupt left.
        every: Of so many places one is taken.
    """
    struck(work, sys.maxsize)  # what is imported and looked up once is known then
    anew()
    gc.collect()
    known, number = open_files(), 1
    while struck(work, number):
        gc.collect()
        assert open_files() == known, number
        look(number)
        anew()
        struck(work, sys.maxsize)  # what an interrupt made the library, or CPython 3.12 and 3.13, forget
        anew()
        number += every
    return number


def write_whole(target):
    atomic_write(target, "new")


def write_unusual(target):
    atomic_write(target, "new", parents=True)


def write_in_parts(target):
    with atomic_open(target) as file:
        file.write("ne")
        file.flush()
        file.write("w")


def write_by_path(target):
    with atomic_path(target) as path:
        path.write_text("new")


def write_two(target):
    with atomic_batch() as batch:
        batch.write(target, "new")
        with batch.open(f"{target}.more") as file:
            file.write("new")


FILES = [write_whole, write_unusual, write_in_parts, write_by_path, write_two]


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("write", FILES)
def test_a_file_that_is_written(tmp_path, write, old):
    """There is the old file or the new one, whole, no temporary, and no descriptor that is open still."""
    target, found = tmp_path / "out", set()

    def anew():
        for name in os.listdir(tmp_path):
            (tmp_path / name).unlink()
        if old is not None:
            target.write_text(old)

    def look(number):
        found.add(target.read_text() if target.exists() else None)
        assert set(os.listdir(tmp_path)) <= {"out", "out.more"}, number

    anew()
    assert struck_everywhere(lambda: write(target), anew, look) > 10
    assert found == {old, "new"}
    assert target.read_text() == "new"


@pytest.mark.parametrize("old", [None, "old"])
def test_a_directory_that_is_written(tmp_path, old):
    """There is the old tree or the new one; one that was replaced may be left for `remove_orphans`."""
    target, found = tmp_path / "out", set()

    def anew():
        shutil.rmtree(target, ignore_errors=True)
        remove_orphans(tmp_path)
        if old is not None:
            (target / "below").mkdir(parents=True)
            (target / "file").write_text(old)

    def work():
        with atomic_directory(target) as new:
            (new / "file").write_text("new")

    def look(number):
        found.add((target / "file").read_text() if target.exists() else None)
        if found - {"new"} == found:
            assert set(os.listdir(tmp_path)) <= {"out"}, number

    anew()
    assert struck_everywhere(work, anew, look) > 30
    assert found == {old, "new"}
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("store", ["files", "sqlite"])
def test_marks(tmp_path, store):
    """A step is marked or not, and its output's mark can be made and believed the next time."""
    (tmp_path / "out").write_text("1")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "leaf").write_text("1")
    outputs = [tmp_path / "out", tmp_path / "tree"]

    def work():
        run = Checkpoints(tmp_path / "marks", store=store)
        if not run.step_done("make", outputs=outputs):
            run.mark_done("make", outputs=outputs)
        assert run.step_done("make", verify="hash")
        run.clear("make")

    def look(_number):
        run = Checkpoints(tmp_path / "marks", store=store)
        run.mark_done("make", outputs=outputs)
        assert run.step_done("make")

    def anew():
        gc.collect()
        shutil.rmtree(tmp_path / "marks")

    assert struck_everywhere(work, anew, look, every=7) > 100


def test_the_lock_of_a_run(tmp_path):
    """No lock outlives its block."""

    def work():
        with run_lock(tmp_path):
            pass

    def look(_number):
        with run_lock(tmp_path):
            pass

    assert struck_everywhere(work, lambda: None, look) > 10


def test_orphans_that_are_removed(tmp_path):
    """What was not removed yet is removed the next time."""

    def anew():
        (tmp_path / ".file.0.outlive-tmp").touch()
        (tmp_path / ".tree.0.outlive-tmp" / "below").mkdir(parents=True, exist_ok=True)

    def look(_number):
        remove_orphans(tmp_path)
        assert os.listdir(tmp_path) == []

    anew()
    assert struck_everywhere(lambda: remove_orphans(tmp_path), anew, look) > 10


@pytest.mark.parametrize("write", [write_whole, write_in_parts])
def test_a_service_that_bounds_its_writes_by_a_timer(tmp_path, write):
    """Real signals, at moments that are all over a write: no descriptor is lost, and each one is told."""
    rung, told, count = [], 0, 1000

    def stop(_number, _frame):
        rung.append(True)
        raise Interrupt

    def wait(number):
        while len(rung) <= number:
            time.sleep(0.001)

    write(tmp_path / "out")
    began = time.perf_counter()
    for _ in range(20):
        write(tmp_path / "out")
    longest = 1.5 * (time.perf_counter() - began) / 20
    before, known = signal.signal(signal.SIGALRM, stop), open_files()
    try:
        for number in range(count):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + longest * (number % 100) / 100)
                write(tmp_path / "out")
                wait(number)
            except Interrupt:
                told += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    gc.collect()
    assert (len(rung), told) == (count, count)
    assert open_files() == known
    assert os.listdir(tmp_path) == ["out"]
