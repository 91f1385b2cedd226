"""Times of files under a lent clock: in one second, in their order, however a program asks."""

import os
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive_harness.intercept.file_times import FileTimes
from outlive_harness.results.verdicts import Verdict

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a clock is lent on Linux only")
SECOND = 10**9
SINCE = time.time_ns() - 40_000 * SECOND


@given(st.lists(st.integers(0, 39_000 * SECOND), min_size=2, max_size=9))
def test_times_keep_their_order_and_share_a_second(ages):
    """No two change places; a file that is much younger is shown younger; older files are left alone."""
    times = FileTimes(SINCE)
    moments = sorted(SINCE + 2 * SECOND + age for age in ages)
    shown = [times.shown(moment) for moment in moments]
    assert shown == sorted(shown)
    assert {moment // SECOND for moment in shown} == {SINCE // SECOND + 1}
    assert times.shown(moments[0]) < times.shown(moments[0] + 100 * SECOND)
    assert [times.shown(moment) for moment in shown] == shown, "the time of a copy is changed again"
    assert times.shown(SINCE - ages[0]) == SINCE - ages[0] < shown[0]


def test_a_time_in_the_future_is_left_alone():
    """It was set by the program, and is no time of the machine's."""
    moment = time.time_ns() + 100 * SECOND
    assert FileTimes(SINCE).shown(moment) == moment


PYTHON = """
    @scenario(outputs="told", freeze=True)
    def it():
        import subprocess
        for number in range(6):  # a zygote pays
            put(f"d/{number}", "x")
        with open("d/0") as f:
            several = [os.stat("d/0"), os.stat(os.path.abspath("d/0")), os.fstat(f.fileno()), os.lstat("d/0")]
        several += [os.stat("0", dir_fd=os.open("d", os.O_RDONLY)), next(os.scandir("d")).stat()]
        seconds = {int(part) for one in several for part in (one.st_mtime, one.st_ctime, one.st_atime)}
        told = subprocess.run(["stat", "-c", "%Y %Z", "d/0"], capture_output=True, text=True).stdout.split()
        assert {str(one) for one in seconds} == set(told), (seconds, told)
        os.utime("d/1", (10, 20))
        assert os.stat("d/1").st_mtime == 20 and os.stat(sys.executable).st_mtime < min(seconds)
        put("told", repr(seconds))
"""


@pytest.mark.parametrize("zygote", [True, False], ids=["zygote", "exec"])
def test_each_way_to_ask_shows_the_same_second(one, zygote):
    """By path, descriptor and directory, in the program and in another one; what it sets itself stays."""
    result = one(PYTHON, zygote=zygote)
    assert result.verdict is Verdict.HELD, (result.reason, result.violations)
    assert result.zygote == zygote


FEWER_RIGHTS = """
import os
os.setuid(65534)
os.chdir("/")
os.stat(os.environ["HERE"] + "/closed/file")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")
def test_who_has_fewer_rights_than_the_harness_sees_no_more(observe, box):
    """A file that its user may not see is not shown by the call that is made for it."""
    (box / "closed").mkdir()
    (box / "closed" / "file").write_text("")
    (box / "closed").chmod(0)
    lent = {"instant": SINCE, "since": SINCE, "env": {"HERE": str(box)}}
    seen = observe(sys.executable, "-c", FEWER_RIGHTS, **lent)
    assert seen.code == 1, seen
    assert "PermissionError" in seen.stderr, seen


ITSELF = """
import ctypes, os
proc = os.open("/proc", os.O_RDONLY)
print(os.stat("self", dir_fd=proc).st_ino == os.stat(str(os.getpid()), dir_fd=proc).st_ino)
libc = ctypes.CDLL(None, use_errno=True)
print(libc.fstatat(-100, ctypes.c_void_p(1), ctypes.create_string_buffer(256), 0), ctypes.get_errno())
"""


def test_what_is_not_the_same_for_the_harness_is_left_to_the_kernel(observe):
    """A name in /proc means the task's own; a path that is not mapped fails, and the clock is lent still."""
    seen = observe(sys.executable, "-c", ITSELF, instant=SINCE, since=SINCE)
    assert seen.stdout.split() == ["True", "-1", "14"], seen
    assert seen.unlent == []


ARCHIVES = """
    @scenario(outputs="out/*", freeze=True)
    def it():
        import gzip, shutil, subprocess, tarfile, zipfile
        os.makedirs("out", exist_ok=True)
        put("rows", "x" * 5000)
        with tarfile.open("t", "w", format=tarfile.GNU_FORMAT) as tar:
            tar.add("rows")
        with zipfile.ZipFile("z", "w") as file:
            file.write("rows")
        subprocess.run(["gzip", "-fk", "rows"], check=True)
        subprocess.run(["tar", "cf", "tt", "rows"], check=True)
        for name in ("t", "z", "rows.gz", "tt"):
            os.replace(name, f"out/{name}")
"""


def test_archives_of_files_are_judged_by_their_bytes(one):
    """tar, zip and gzip copy a file's time in whole seconds; runs in other seconds leave the same."""
    result = one(ARCHIVES)
    assert result.verdict is Verdict.HELD, (result.reason, result.violations)
    bad = one(ARCHIVES.replace('tarfile.open("t"', 'tarfile.open("out/t"').replace('("t", "z"', '("z"'))
    assert {found.path for found in bad.violations} == {"out/t"}


def test_a_workbook_of_packed_files_is_judged_by_its_bytes(one):
    """A workbook of openpyxl packs temporary files, with their times."""
    pytest.importorskip("openpyxl")
    result = one(
        """
        @scenario(outputs="out/*", freeze=True)
        def it():
            import openpyxl
            os.makedirs("out", exist_ok=True)
            book = openpyxl.Workbook()
            book.active["A1"] = 1
            book.save("b.xlsx")
            os.replace("b.xlsx", "out/b.xlsx")
        """
    )
    assert result.verdict is Verdict.HELD, (result.reason, result.violations)


MAKE = """
    RULES = ("out: middle", "\\tcp middle o && mv o out", "middle: source", "\\tcp source m && mv m middle")

    def before():
        put("Makefile", "\\n".join(RULES))
        put("middle", "old")
        os.utime("middle", (5, 5))
        put("out", "old")
        os.utime("out", (6, 6))
        put("source", "new")

    it = scenario(command=["make"], setup=before, outputs="out", freeze=True)
"""


def test_what_is_older_than_its_source_is_made_again(one):
    """A restart after the first of two steps still makes the second."""
    result = one(MAKE)
    assert result.verdict is Verdict.HELD, (result.reason, result.violations)
