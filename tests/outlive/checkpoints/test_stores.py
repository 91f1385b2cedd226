"""Stores: marker files and the SQLite file mean the same, and what only one of them has."""

import errno
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlive import Checkpoints, run_steps, step
from outlive._checkpoints.sqlite_format import empty_file

STORES = ("files", "sqlite")
NAMES = ["", "clean", "Clean", "a/b", "a\0b", "x" * 300, "\ud800", "日本", "/clean"]


@pytest.fixture
def run(tmp_path):
    """Checkpoints in one SQLite file, in a directory that does not exist yet."""
    return Checkpoints(tmp_path / "marks", store="sqlite")


def the_file(run):
    return Path(run.directory, "marks.sqlite")


def again(run):
    return Checkpoints(run.directory, run_id=run.run_id, store=run.store)


# -- alike ---------------------------------------------------------------------------------------------


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["mark", "clear", "ask", "items", "anew", "clear all", "vouch"]),
        st.sampled_from(NAMES),
        st.booleans(),
    ),
    max_size=15,
)


@given(operations=OPERATIONS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("store", STORES)
def test_any_order_of_calls_means_the_same(tmp_path_factory, store, operations, finish):
    """What is marked, asked, cleared and done item by item is what a set would say, in each store."""
    place = tmp_path_factory.mktemp("model")
    runs = {is_other: Checkpoints(place / "m", run_id="other" * is_other, store=store) for is_other in (0, 1)}
    steps, items = {False: {}, True: {}}, {False: set(), True: set()}
    for what, name, is_other in operations:
        run = runs[is_other]
        if what == "mark":
            run.mark_done(name)
            steps[is_other][name] = None
        elif what == "vouch":
            run.mark_done(name, version="2")
            steps[is_other][name] = "2"
        elif what == "clear":
            run.clear(name)
            steps[is_other].pop(name, None)
            items[is_other] -= {(name, "one"), (name, name)}
        elif what == "clear all":
            run.clear()
            steps[is_other].clear()
            items[is_other].clear()
        elif what == "items":
            wanted = list(dict.fromkeys(["one", name]))
            done = {item for step, item in items[is_other] if step == name}
            assert finish(run.items(name, wanted)) == [item for item in wanted if item not in done]
            items[is_other] |= {(name, item) for item in wanted}
        elif what == "anew":
            runs[is_other] = again(run)
        assert run.step_done(name) == (name in steps[is_other])
        assert run.step_done(name, version="2") == (steps[is_other].get(name) == "2")
        assert run.done() == sorted(steps[is_other])
    for is_other, run in runs.items():
        told = [(one["step"], one.get("item")) for one in again(run).records()]
        expected = [(step, None) for step in steps[is_other]] + list(items[is_other])
        assert sorted(told, key=repr) == sorted(expected, key=repr)
    ids = [run.run_id for is_other, run in runs.items() if steps[is_other] or items[is_other]]
    assert run.runs() == sorted(ids)


def test_what_a_mark_vouches_for(tmp_path, store):
    """An output that is truncated is noticed, one that is put back is believed, in each store."""
    out = tmp_path / "out.csv"
    out.write_text("1,2\n")
    run = Checkpoints(tmp_path / "marks", store=store)
    run.mark_done("make", outputs=out, params={"n": 1}, version="3")
    assert again(run).step_done("make", outputs=out, params={"n": 1}, version="3")
    assert again(run).why("make", params={"n": 2}) == "make will run: its parameter n was 1 and is 2"
    out.write_text("1,")
    assert "out.csv has 2 bytes and had 4" in again(run).why("make")
    out.write_text("1,2\n")
    assert again(run).step_done("make", verify="hash")
    (record,) = run.records()
    assert record["outputs"]["out.csv"][:2] == ["file", 4]
    assert json.loads(json.dumps(record)) == record
    os.utime(out, ns=(1, record["marked_at"]))
    out.write_text("9,9\n")  # as long as it was, and written since
    assert again(run).why("make") == "make will run: its output out.csv has another content"


def test_asking_makes_nothing(tmp_path, store):
    """To ask, to list and to clear leave no trace on the disk."""
    run = Checkpoints(tmp_path / "marks", store=store)
    assert not run.step_done("clean")
    assert (run.done(), run.runs(), list(run.records())) == ([], [], [])
    run.clear("clean")
    run.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_directory_should_be(tmp_path, store):
    """It is named, and nothing is done to it."""
    (tmp_path / "marks").write_text("mine")
    run = Checkpoints(tmp_path / "marks", store=store)
    for call in (run.done, run.runs, lambda: run.mark_done("a"), lambda: run.step_done("a"), run.clear):
        with pytest.raises(NotADirectoryError, match=r"directory='.*marks' cannot hold checkpoints"):
            call()
    assert (tmp_path / "marks").read_text() == "mine"


def test_a_store_that_is_none(tmp_path):
    """The value is shown with what it may be."""
    with pytest.raises(ValueError, match=r"^store='redis' is not one of 'files', 'sqlite'"):
        Checkpoints(tmp_path, store="redis")


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "all"])
def test_a_group_of_a_wrong_size(tmp_path, store, most):
    """The value is shown."""
    with pytest.raises(ValueError, match=r"^most=.* is not a whole number from 1"):
        Checkpoints(tmp_path, store=store).group(most=most)


# -- marker files --------------------------------------------------------------------------------------


def test_records_of_markers_that_are_none(tmp_path, finish):
    """A damaged marker and one of a newer version are told of, with their file; a long name is read back."""
    run = Checkpoints(tmp_path, run_id="r" * 200)
    run.mark_done("cut")
    run.mark_done("newer")
    assert finish(run.items("s" * 200, ["one"])) == ["one"]
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    (folder / "cut.done").write_text("")
    (folder / "newer.done").write_text('{"schema": 99}')
    cut, newer, item = run.records()
    assert cut == {
        "run_id": "r" * 200,
        "step": "cut",
        "file": str(folder / "cut.done"),
        "doubt": "damaged",
    }
    assert newer["doubt"] == "of a newer version"
    assert (item["step"], item["item"]) == ("s" * 200, "one")
    assert run.runs() == ["r" * 200]


class Stage(str, Enum):  # noqa: UP042 - a StrEnum is its value in an f-string, too
    """Names as many a program has them: f"{Stage.CLEAN}" is none of them."""

    CLEAN = "clean"


def test_a_name_of_a_class_of_its_own_is_the_string_that_it_is(tmp_path, store, finish):
    """Of a run, a step, an item and what comes after: by each method it is the step of the plain name."""
    run = Checkpoints(tmp_path / "marks", run_id=Stage.CLEAN, store=store)
    plain = Checkpoints(tmp_path / "marks", run_id="clean", store=store)
    run.mark_done(Stage.CLEAN, version="1")
    assert plain.done() == ["clean"]
    assert run.step_done(Stage.CLEAN)
    assert run.why(Stage.CLEAN) == "clean will not run: it is done"
    assert finish(run.items(Stage.CLEAN, [Stage.CLEAN])) == [Stage.CLEAN]
    assert finish(plain.items("clean", ["clean"])) == []
    run.clear(Stage.CLEAN)
    assert list(plain.records()) == []
    steps = [(Stage.CLEAN, print), step(name="next", after=Stage.CLEAN)(lambda: None)]
    run_steps(steps, checkpoints=run, report=str)
    plain.clear("clean")
    told = run_steps([("clean", print)], checkpoints=plain, report=str)
    assert [str(one) for one in told] == ["ran clean"]
    assert plain.done() == ["clean"]


# -- the SQLite file -----------------------------------------------------------------------------------


def test_a_group_is_one_commit(run):
    """Marks of a group are in the file when it ends, or when there are enough of them, and not before."""
    run.mark_done("first")

    def in_file():
        with closing(sqlite3.connect(the_file(run))) as db:
            return db.execute("SELECT count(*) FROM marks").fetchone()[0]

    with run.group(most=3):
        for count, name in enumerate("abcd", 1):
            run.mark_done(name)
            assert in_file() == (1 if count < 3 else 4)
        with run.group():
            run.mark_done("e")
            assert in_file() == 4
        assert in_file() == 6  # also what the outer one held back
        run.mark_done("f")
        assert in_file() == 6
    assert in_file() == 7
    with suppress(KeyError), run.group():
        run.mark_done("g")
        raise KeyError
    assert again(run).step_done("g")


def test_what_is_held_back_is_brought_to_the_disk_when_it_is_asked_for(run, finish):
    """Once step_done says yes, the mark is in the file, also in a group."""
    with run.group():
        run.mark_done("a")
        assert finish(run.items("b", ["x", "y"])) == ["x", "y"]
        assert not again(run).step_done("a")
        assert run.step_done("a")
        assert again(run).step_done("a")
        assert finish(again(run).items("b", ["x", "y"])) == []


@pytest.mark.parametrize("first", [{"params": {"limit": 3}}, {}])
def test_a_group_forgets_marks_together(run, monkeypatch, first, finish):
    """Of items that are done anew, as many as it holds back: who stops and goes back does those again."""
    with run.group():
        assert finish(run.items("fetch", "abcde", **first)) == list("abcde")
        assert finish(run.items("fetch", "fg", version="2")) == list("fg")
    commits = []
    change = run._store._database._change
    monkeypatch.setattr(run._store._database, "_change", lambda what: commits.append(1) or change(what))
    with run.group(most=3):
        pending = iter(run.items("fetch", "fcabde", version="2"))
        assert (next(pending), len(commits)) == ("c", 1)
    anew = finish(again(run).items("fetch", "abcde", **first))
    assert len(anew) == 3
    assert "c" in anew


def test_a_group_forgets_no_mark_that_is_new(run, finish):
    """Two loops that do items of a step anew, side by side, leave one another's alone."""
    assert finish(run.items("fetch", "ab")) == ["a", "b"]
    one = iter(run.items("fetch", "xa", version="2"))
    with run.group():
        assert next(one) == "x"  # by now it knows the old mark of b
        assert finish(again(run).items("fetch", "b", version="2")) == ["b"]
        assert next(one) == "a"
    assert finish(again(run).items("fetch", "b", version="2")) == []


def test_a_group_of_another_thread(run):
    """A mark that is made in no group is in the file at once, and so is each group's when that ends."""
    run.mark_done("first")
    is_inside, may_end = threading.Event(), threading.Event()

    def held():
        with run.group():
            run.mark_done("of another")
            is_inside.set()
            may_end.wait(30)

    other = threading.Thread(target=held)
    other.start()
    try:
        assert is_inside.wait(30)
        run.mark_done("of none")
        assert again(run).step_done("of none")
        with run.group(most=2):
            run.mark_done("one")
            assert not again(run).step_done("one")
            run.mark_done("two")
            assert again(run).step_done("two")
            run.mark_done("three")
        assert again(run).step_done("three")
    finally:
        may_end.set()
        other.join()
    assert again(run).step_done("of another")


def test_groups_that_overlap_on_a_thread(run):
    """When the first of two has ended before the second, no group is left, and marks are in the file."""
    one, two = run.group(), run.group()
    one.__enter__()
    two.__enter__()
    run.mark_done("a")
    one.__exit__(None, None, None)
    run.mark_done("b")
    two.__exit__(None, None, None)
    run.mark_done("c")
    assert again(run).done() == ["a", "b", "c"]


def held_by_another(run):
    """Give a connection that has the file for itself, and let the run's wait for less than a second."""
    run._store._database._connection.execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(the_file(run), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return closing(other)


def test_a_group_that_cannot_be_written_at_first(run):
    """The marks whose calls had returned are written with the next one's; the one that failed is not."""
    run.mark_done("0")
    with run.group(most=3):
        run.mark_done("1")
        run.mark_done("2")
        with held_by_another(run), pytest.raises(TimeoutError):
            run.mark_done("3")
        run.mark_done("4")
        assert again(run).done() == ["0", "1", "2", "4"]
        run.mark_done("5")
    assert again(run).done() == ["0", "1", "2", "4", "5"]


def test_a_group_that_cannot_be_written_in_the_end(run):
    """The error comes from its end, and its marks are not written later, when their work may be undone."""
    run.mark_done("0")
    with held_by_another(run), pytest.raises(TimeoutError), run.group():
        run.mark_done("1")
    run.mark_done("2")
    assert again(run).done() == ["0", "2"]


class Unsynced:
    """A connection whose next commit is not brought to the disk."""

    def __init__(self, run):
        self.database = run._store._database
        self.connection = self.database._connection
        self.database._connection = self

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, query, *values):
        if query == "COMMIT":
            self.database._connection = self.connection
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self.connection.execute(query, *values)


def test_an_fsync_that_fails(run):
    """It is an error of durability, which no retry hides, and what it took with it is told of in the end."""
    run.mark_done("0")
    Unsynced(run)
    with pytest.raises(OSError, match="cannot be written") as caught:
        run.mark_done("1")
    assert caught.value.outlive_durability
    group = run.group(most=2)
    group.__enter__()
    run.mark_done("2")
    Unsynced(run)
    with pytest.raises(OSError, match="cannot be written") as caught:
        run.mark_done("3")
    run.mark_done("4")
    with pytest.raises(OSError, match="cannot be written") as again_caught:
        group.__exit__(None, None, None)
    assert again_caught.value is caught.value
    assert again(run).done() == ["0", "4"]


def test_an_interrupt_while_another_process_holds_the_file(run):
    """The transaction that was being opened is given up: this process and all others mark on."""
    run.mark_done("a")
    other = sqlite3.connect(the_file(run), isolation_level=None, check_same_thread=False)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.5, other.execute, ["ROLLBACK"])
        release.start()
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                run.mark_done("b")
        finally:
            signal.signal(signal.SIGALRM, before)
            release.join()
        other.execute("PRAGMA busy_timeout=0")
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    run.mark_done("c")
    assert again(run).done() == ["a", "c"]


@pytest.mark.parametrize("what", ["directory", "file", "renamed"])
def test_the_file_is_removed_while_it_is_open(run, what):
    """The next mark makes it anew, as a first one would, and none goes to a file that nobody finds."""
    run.mark_done("a")
    if what == "directory":
        shutil.rmtree(run.directory)
    elif what == "file":
        the_file(run).unlink()
    else:
        the_file(run).rename(f"{run.directory}/aside")
    assert again(run).done() == run.done() == []
    run.mark_done("b")
    with run.group():
        run.mark_done("c")
    assert again(run).done() == ["b", "c"]
    if what == "renamed":
        other = again(run)
        other.mark_done("d")
        the_file(run).rename(f"{run.directory}/aside")
        other.mark_done("e")  # makes the file anew
        run.mark_done("f")
        other.mark_done("g")
        assert again(run).done() == ["e", "f", "g"]


def test_a_file_that_is_put_aside(run):
    """Its log, which a killed run left beside it, brings nothing back."""
    program = """
import os, signal, sys
from outlive import Checkpoints, run_steps, step
run = Checkpoints(sys.argv[1], store="sqlite")
run.mark_done("a")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program, run.directory], check=False)
    assert Path(f"{the_file(run)}-wal").stat().st_size
    the_file(run).unlink()
    assert run.done() == []
    run.mark_done("b")
    assert again(run).done() == ["b"]


def test_another_process_makes_the_file_first(run):
    """Its log is not taken for what a killed run left."""
    wal = Path(f"{the_file(run)}-wal")
    Path(run.directory).mkdir()
    wal.write_text("of a killed run")
    names = os.open(run.directory, os.O_RDONLY)
    fcntl.flock(names, fcntl.LOCK_EX)  # as who removes what is left there
    marking = threading.Thread(target=run.mark_done, args=("b",))
    marking.start()
    time.sleep(0.3)  # enough to see what is left
    wal.unlink()
    the_file(run).write_bytes(empty_file(is_logged=True))
    with closing(sqlite3.connect(the_file(run))) as db:
        with db:
            db.execute("INSERT INTO marks VALUES (?, ?, ?, 0, NULL)", (b"", b"", b"a"))
        os.close(names)
        marking.join()
        assert again(run).done() == ["a", "b"]


def test_what_is_no_character(tmp_path):
    """Names, parameters and paths with lone surrogates are kept as they are, and cost no group its marks."""
    out = os.fsdecode(bytes(tmp_path) + b"/\xff.csv")
    Path(out).write_text("1")
    run = Checkpoints(os.fsdecode(bytes(tmp_path) + b"/\xfe"), run_id="\udc80", store="sqlite")
    params = {"lone": "\ud800"}
    with run.group():
        run.mark_done("a")
        run.mark_done("\udcff", outputs=out, params=params)
        run.mark_done("b")
    assert again(run).done() == ["a", "b", "\udcff"]
    assert again(run).step_done("\udcff", outputs=out, params=params)
    assert not again(run).step_done("\udcff", params={"lone": "\ud801"})
    assert [one.get("params") for one in again(run).records()] == [None, None, params]


def test_a_directory_that_begins_with_two_slashes(tmp_path):
    """They are no host: the file is where the system finds it."""
    run = Checkpoints(f"/{tmp_path}/marks?#%20", store="sqlite")
    run.mark_done("a")
    assert run.directory.startswith("//")
    assert Path(f"{tmp_path}/marks?#%20/marks.sqlite").is_file()
    assert again(run).done() == ["a"]


def test_killed_in_a_group(run, finish):
    """SIGKILL takes what was held back, and nothing else."""
    program = """
import os, signal, sys
from outlive import Checkpoints, run_steps, step
run = Checkpoints(sys.argv[1], store="sqlite")
run.mark_done("before")
with run.group(most=2):
    items = run.items("copy", "abcde")
    for item in items:
        with items.doing(item):
            if item == "d":
                os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program, run.directory], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert run.step_done("before")
    assert finish(run.items("copy", "abcde")) == ["c", "d", "e"]


def test_the_log_is_on_the_disk_before_it_is_believed(run, monkeypatch):
    """What another process committed is fsynced, and its directory, before step_done says yes."""
    other = again(run)
    other.mark_done("a")
    synced = []
    fsync = os.fsync

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    assert run.step_done("a")
    assert synced[-2:] == ["marks.sqlite-wal", "marks"]


def test_a_file_that_is_a_link_has_its_log_where_it_leads(run, tmp_path, monkeypatch):
    """SQLite puts it there: that is fsynced before it is believed, and both directories."""
    run.mark_done("a")
    run._store._database.close()
    (tmp_path / "big").mkdir()
    the_file(run).rename(tmp_path / "big" / "marks.sqlite")
    the_file(run).symlink_to("../big/marks.sqlite")
    run.mark_done("b")
    synced = []
    fsync = os.fsync

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    assert again(run).step_done("b")
    assert synced == [tmp_path / "big" / "marks.sqlite-wal", tmp_path / "big", tmp_path / "marks"]


def test_what_another_thread_is_told_while_marks_are_read(run, monkeypatch):
    """While a thread reads all anew, a marked step stays marked to others, and their new marks are known."""
    run.mark_done("plain")
    run.mark_done("declared", version="1")
    rows, told = run._store._database.rows, []

    def ask():
        told.append(run.step_done("plain"))
        run.mark_done("meanwhile", version="1")

    def during(query, values):
        found = rows(query, values)
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(0.1)  # it may have to wait until the reading has ended
        waiting.append(thread)
        return found

    waiting = []
    monkeypatch.setattr(run._store._database, "rows", during)
    run.done()
    monkeypatch.undo()
    for thread in waiting:
        thread.join()
    assert set(told) == {True}
    assert run.step_done("meanwhile", version="1")
    assert run.step_done("declared", version="1")


def test_a_reading_that_fails_forgets_nothing(run, monkeypatch):
    """What is marked is so still when the marks could not be read anew once."""
    run.mark_done("plain")
    run.mark_done("declared", version="1")

    def refused(*_):
        raise OSError(errno.EMFILE, "no descriptor is left")

    monkeypatch.setattr(run._store._database, "rows", refused)
    with pytest.raises(OSError, match="no descriptor"):
        run.done()
    monkeypatch.undo()
    assert run.step_done("plain")
    assert run.step_done("declared", version="1")


def test_a_child_does_not_use_what_it_inherits(run):
    """After a fork each process has a connection of its own, and what is held back is the parent's."""
    run.mark_done("parent")
    with run.group():
        run.mark_done("held")
        child = multiprocessing.get_context("fork").Process(target=run.mark_done, args=("child",))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert again(run).done() == ["child", "parent"]
    assert again(run).done() == ["child", "held", "parent"]


def test_a_child_outlives_its_parent(run):
    """What a child marks after its parent has ended is in the file, and so is what others mark meanwhile."""
    program = """
import os, subprocess, sys
from outlive import Checkpoints, run_steps, step
run = Checkpoints(sys.argv[1], store="sqlite")
run.mark_done("parent")
told, tell = os.pipe()
if os.fork() == 0:
    run.mark_done("child before")
    os.close(tell)
    os.read(told, 1)  # until the parent, which has the other end, is no more
    other = "from outlive import *; import sys; Checkpoints(sys.argv[1], store='sqlite').mark_done('other')"
    subprocess.run([sys.executable, "-c", other, sys.argv[1]], check=True)
    with run.group():
        for number in range(2000):
            run.mark_done(f"child after {number:04}")
    os._exit(0)
while "child before" not in run.done():
    pass
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, run.directory], stdout=subprocess.PIPE, check=False
    )
    assert ended.returncode == 0  # and the child too, which had its standard output open
    expected = ["child before", "other", "parent", *(f"child after {number:04}" for number in range(2000))]
    assert again(run).done() == sorted(expected)
    with closing(sqlite3.connect(the_file(run))) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_forks_while_threads_mark(run):
    """A fork waits for what a thread is writing, and both processes mark on, also in the midst of a group."""
    program = """
import os, sys, threading, time, warnings
from outlive import Checkpoints, run_steps, step
warnings.simplefilter("ignore", DeprecationWarning)  # of forks in processes with threads
run, other = (Checkpoints(sys.argv[1], run_id=name, store="sqlite") for name in ("", "other"))
is_over = threading.Event()
def mark(run):
    number = 0
    with run.group(most=5):
        while not is_over.is_set() or number < 50:
            run.mark_done(f"thread {number}")
            number += 1
            time.sleep(0.001)  # SQLite's lock goes to whoever happens to ask
    print(number, flush=True)
threads = [threading.Thread(target=mark, args=(one,)) for one in (run, other)]
for thread in threads:
    thread.start()
for number in range(10):
    with run.group():
        run.mark_done(f"held {number}")
        if (child := os.fork()) == 0:
            run.mark_done(f"child {number}")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
is_over.set()
for thread in threads:
    thread.join()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, run.directory], capture_output=True, check=False, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    counts = sorted(map(int, ended.stdout.split()))
    found = [again(run).done(), Checkpoints(run.directory, run_id="other", store="sqlite").done()]
    by_threads = [sum(name.startswith("thread") for name in names) for names in found]
    assert sorted(by_threads) == counts
    assert len(found[0]) == by_threads[0] + 20


def test_an_interrupt_while_a_fork_waits(run):
    """The child inherits no connection all the same, and the interrupt is reported."""
    program = """
import os, signal, sys, threading, warnings
from outlive import Checkpoints, run_steps, step
warnings.simplefilter("ignore", DeprecationWarning)  # of forks in processes with threads
run = Checkpoints(sys.argv[1], store="sqlite")
run.mark_done("parent")
is_taken, database = threading.Event(), run._store._database
def hold():
    with database._lock:
        is_taken.set()
        threading.Event().wait(0.5)
threading.Thread(target=hold).start()
is_taken.wait()
signal.setitimer(signal.ITIMER_REAL, 0.1)
signal.signal(signal.SIGALRM, signal.default_int_handler)
if (child := os.fork()) == 0:
    assert database._connection is None
    run.mark_done("child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
run.mark_done("parent again")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, run.directory], capture_output=True, check=False, timeout=60
    )
    assert ended.returncode == 0
    assert b"KeyboardInterrupt" in ended.stderr
    assert b"AssertionError" not in ended.stderr
    assert again(run).done() == ["child", "parent", "parent again"]


def test_many_at_once(run):
    """Threads and processes mark at a time, also when the file is made, and none of it is lost."""
    program = (
        "import sys; from outlive import Checkpoints\n"
        "run = Checkpoints(sys.argv[1], store='sqlite')\n"
        "for i in range(20): run.mark_done(sys.argv[2] + str(i))"
    )
    Path(run.directory).mkdir()
    others = [subprocess.Popen([sys.executable, "-c", program, run.directory, name]) for name in ("p", "q")]
    threads = [
        threading.Thread(target=lambda t=t: [run.mark_done(f"{t}{i}") for i in range(20)]) for t in "tuv"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0]
    assert run.done() == sorted(f"{who}{i}" for who in "pqtuv" for i in range(20))


def test_a_newer_version(run):
    """A file that a newer version made is refused, and stays as it is."""
    run.mark_done("a")
    with closing(sqlite3.connect(the_file(run))) as db:
        db.execute("PRAGMA user_version=2")
    for call in (lambda: again(run).step_done("a"), lambda: again(run).mark_done("b"), again(run).clear):
        with pytest.raises(ValueError, match=r"^directory='.*': its marks.sqlite was made by a newer"):
            call()
    with closing(sqlite3.connect(the_file(run))) as db:
        assert db.execute("SELECT name FROM marks").fetchall() == [(b"a",)]


def test_a_database_of_another_program(run):
    """It is refused, and stays as it is."""
    Path(run.directory).mkdir()
    with closing(sqlite3.connect(the_file(run))) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(ValueError, match=r"^directory='.*': its marks.sqlite was not made by outlive"):
        run.mark_done("a")


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_file(run, damage):
    """It is never taken for a list of what is done: the error says what it is, and what to do."""
    for number in range(200):
        run.mark_done(f"{number}" * 20)
    run = again(run)
    content = the_file(run).read_bytes()
    for side in ("-wal", "-shm"):
        Path(f"{the_file(run)}{side}").unlink(missing_ok=True)
    the_file(run).write_bytes(content[:4096] + b"\xff" * 8192 if damage is None else damage)
    with pytest.raises((OSError, ValueError), match=r"^(\[Errno \d+\] )?directory='.*': its marks.sqlite"):
        run.step_done("1")


def test_a_damaged_mark(run):
    """What one mark vouches for cannot be read: the step is not done, and `records` says where it stands."""
    run.mark_done("a", version="1")
    with closing(sqlite3.connect(the_file(run))) as db, db:
        db.execute("UPDATE marks SET claims = '{\"version\": '")
    assert again(run).why("a") == "a will run: its mark is damaged"
    assert again(run).done() == []
    (record,) = again(run).records()
    assert record == {"run_id": "", "step": "a", "file": str(the_file(run)), "doubt": "damaged"}


def test_a_full_disk(run):
    """The mark is not made, the error is the system's, and what was marked before still is."""
    run.mark_done("before")
    connection = run._store._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(OSError, match=r"its marks.sqlite cannot be written .*full") as caught:
        run.mark_done("x" * 100_000)
    assert caught.value.errno == 28
    assert not run.step_done("x" * 100_000)
    assert again(run).done() == ["before"]


def test_another_process_holds_the_file(run):
    """Who waits too long is told so."""
    run.mark_done("a")
    run._store._database._connection.execute("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(the_file(run), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError, match="another process has held it"):
            run.mark_done("b")
    run.mark_done("b")


def test_a_network_file_system(run, monkeypatch):
    """It is warned of, and marks go there by the rollback journal, whose end is fsynced."""
    monkeypatch.setattr("outlive._checkpoints.sqlite_format.is_local", lambda _directory: False)
    with pytest.warns(RuntimeWarning, match="is on a network file system"):
        run.mark_done("a")
    connection = run._store._database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (3,)
    monkeypatch.undo()
    other = again(run)
    assert other.step_done("a")
    other.mark_done("b")
    # The disk is local to this one, and the file is still written by others as well.
    assert other._store._database._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_logged_file_that_is_used_over_a_network(run, monkeypatch):
    """The log is given up: it needs memory that the other machines do not share."""
    run.mark_done("a")
    run._store._database.close()
    monkeypatch.setattr("outlive._checkpoints.sqlite_format.is_local", lambda _directory: False)
    other = again(run)
    with pytest.warns(RuntimeWarning, match="is on a network file system"):
        assert other.step_done("a")
    assert other._store._database._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_commit_is_fsynced(run):
    """On a local disk it is an append to the log, with an fsync that empties the drive's cache on macOS."""
    run.mark_done("a")
    connection = run._store._database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)
    assert connection.execute("PRAGMA checkpoint_fullfsync").fetchone() == (1,)


def test_the_file_appears_whole(run):
    """A run that is killed while it makes the file leaves none, or one with its table."""
    program = """
import os, signal, sys
from outlive import Checkpoints, run_steps, step
fsync, left = os.fsync, ["the directory's parent"]
def killing(descriptor):
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left.pop()
    fsync(descriptor)
os.fsync = killing
Checkpoints(sys.argv[1], store="sqlite").mark_done("a")
"""
    killed = subprocess.run([sys.executable, "-c", program, run.directory], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in Path(run.directory).iterdir()] == [".marks.sqlite.0.outlive-tmp"]
    run.mark_done("a")
    assert [path.name for path in Path(run.directory).iterdir() if "tmp" in path.name] == []
