"""Stores: marker files and the SQLite file mean the same, and what only one of them has."""

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlive import Checkpoints

STORES = ("files", "sqlite")
NAMES = ["", "clean", "Clean", "a/b", "a\0b", "x" * 300, "\ud800", "日本", "/clean"]


@pytest.fixture(params=STORES)
def store(request):
    """Each of the stores."""
    return request.param


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
def test_any_order_of_calls_means_the_same(tmp_path_factory, store, operations):
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
            assert list(run.todo(name, wanted)) == [item for item in wanted if item not in done]
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
    with pytest.raises(ValueError, match=r"^most=.* is no whole number from 1"):
        Checkpoints(tmp_path, store=store).group(most=most)


# -- marker files --------------------------------------------------------------------------------------


def test_records_of_markers_that_are_none(tmp_path):
    """A damaged marker and one of a newer version are told of, with their file; a long name is read back."""
    run = Checkpoints(tmp_path, run_id="r" * 200)
    run.mark_done("cut")
    run.mark_done("newer")
    assert list(run.todo("s" * 200, ["one"])) == ["one"]
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
        with run.group():  # belongs to the one around it
            run.mark_done("e")
        assert in_file() == 4
    assert in_file() == 6
    with suppress(KeyError), run.group():
        run.mark_done("f")
        raise KeyError
    assert again(run).step_done("f")


def test_what_is_held_back_is_brought_to_the_disk_when_it_is_asked_for(run):
    """Once step_done says yes, the mark is in the file, also in a group."""
    with run.group():
        run.mark_done("a")
        for item in run.todo("b", ["x", "y"]):
            assert item in "xy"
        assert not again(run).step_done("a")
        assert run.step_done("a")
        assert again(run).step_done("a")
        assert list(again(run).todo("b", ["x", "y"])) == []


def test_killed_in_a_group(run):
    """SIGKILL takes what was held back, and nothing else."""
    program = """
import os, signal, sys
from outlive import Checkpoints
run = Checkpoints(sys.argv[1], store="sqlite")
run.mark_done("before")
with run.group(most=2):
    for item in run.todo("copy", "abcde"):
        if item == "d":
            os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program, run.directory], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert run.step_done("before")
    assert list(run.todo("copy", "abcde")) == ["c", "d", "e"]


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
    with pytest.raises(ValueError, match=r"^directory='.*': its marks.sqlite is none of outlive's"):
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
    monkeypatch.setattr("outlive._sqlite_file.is_local", lambda _directory: False)
    with pytest.warns(RuntimeWarning, match="is on a network file system"):
        run.mark_done("a")
    connection = run._store._database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (3,)
    monkeypatch.undo()
    other = again(run)
    assert other.step_done("a")
    assert other._store._database._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_commit_is_fsynced(run):
    """On a local disk it is an append to the log, with an fsync."""
    run.mark_done("a")
    connection = run._store._database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_file_appears_whole(run):
    """A run that is killed while it makes the file leaves none, or one with its table."""
    program = """
import os, signal, sys
from outlive import Checkpoints
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
