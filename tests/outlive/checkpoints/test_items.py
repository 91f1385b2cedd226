"""The items of a step: pending until they are marked, from whatever thread, process or callback."""

import asyncio
import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outlive import Checkpoints, run_steps


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Marker files in a directory of their own, in which the test works."""
    monkeypatch.chdir(tmp_path)
    return Checkpoints()


@pytest.fixture
def marks(tmp_path, monkeypatch, store):
    """Marks in each store."""
    monkeypatch.chdir(tmp_path)
    return Checkpoints(store=store)


def pending(run, name, items, **options):
    """Return what a process that comes later has to do."""
    return list(Checkpoints(run.directory, store=run.store).items(name, items, **options))


# -- what marks an item --------------------------------------------------------------------------------


def test_to_iterate_marks_nothing(marks, tmp_path):
    """However it is done, as often as it is done, all items are given, and nothing is on the disk."""
    items = marks.items("s", "abcde")
    for _ in range(2):
        assert list(items) == list("abcde")
        assert [*items, *itertools.islice(items, 3)] == list("abcdeabc")
        assert next(iter(items)) == "a"
        assert sorted(items, reverse=True) == list("edcba")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(str.upper, items)) == list("ABCDE")
    assert pending(marks, "s", "abcde") == list("abcde")
    assert list(tmp_path.iterdir()) == []


def test_done_marks_one_item(marks):
    """The mark is there for others, and for this object when it iterates again; twice is as good as once."""
    items = marks.items("s", "abc")
    for _ in range(2):
        items.done("b")
        assert pending(marks, "s", "abc") == ["a", "c"]
        assert list(items) == ["a", "c"]


def test_an_item_that_is_none_of_the_step(marks):
    """It is refused before a body runs, and nothing is marked; so is what has no name."""
    items = marks.items("s", "abc")
    for call in (items.done, lambda item: items.doing(item).__enter__()):
        with pytest.raises(ValueError, match=r"^item='x' is not one of the items of step 's'"):
            call("x")
        with pytest.raises(TypeError, match=r"^item=3 is not a string"):
            call(3)
    assert list(items) == list("abc")
    numbers = marks.items("s", [1], key=str)
    numbers._key = lambda item: item  # as one that depends on something
    with pytest.raises(TypeError, match=r"^key\(3\)=3 is not a string"):
        numbers.done(3)


PREFETCHED = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from outlive import Checkpoints, atomic_write

store, last = sys.argv[1:]
items = Checkpoints(store=store).items("s", [str(number) for number in range(10)])

def work(number):
    with items.doing(number):
        if number == last:
            os._exit(9)
        atomic_write(f"out-{number}", "x")

with ThreadPoolExecutor(2) as pool:
    list(pool.map(work, items))
"""


def test_killed_while_a_pool_has_asked_for_all_items(marks, store, tmp_path):
    """No item is done whose output is not there, and the next run makes all the others."""
    names = [str(number) for number in range(10)]
    command = [sys.executable, "-c", PREFETCHED, store]
    for last in ("2", "5", "none"):
        ran = subprocess.run([*command, last], cwd=tmp_path, check=False)
        assert ran.returncode == (0 if last == "none" else 9)
        left = pending(marks, "s", names)
        assert {name for name in names if not Path(f"out-{name}").exists()} <= set(left)
        assert (last in left) == (last != "none")
    assert left == []


PROCESSES = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from outlive import Checkpoints, atomic_write

def name_of(number):
    return str(number)

def work(items, number):
    with items.doing(number):
        if number == 7:
            raise ZeroDivisionError
        atomic_write(f"out-{number}", "x")
    try:
        list(items)
    except TypeError as error:
        return str(error)

if __name__ == "__main__":
    store, method = sys.argv[1:]
    run = Checkpoints(store=store)
    items = run.items("s", range(10), key=name_of, params={"limit": 3})
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        futures = [pool.submit(partial(work, items), number) for number in items]
        said = {future.result() for number, future in enumerate(futures) if number != 7}
        assert len(said) == 1 and "has no list in this process" in said.pop()
        assert isinstance(futures[7].exception(), ZeroDivisionError)
    assert list(items) == [7]
    try:
        run.mark_done("s")
    except RuntimeError as error:
        assert "1 of its 10 items are pending, such as '7'" in str(error), error
    else:
        raise AssertionError
    items.done(7)
    run.mark_done("s")
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_items_that_are_marked_in_a_pool_of_processes(marks, store, tmp_path, method):
    """The object goes along, with what was declared; the parent sees what its children have marked."""
    (tmp_path / "main.py").write_text(PROCESSES)
    command = [sys.executable, "-W", "error", "main.py", store, method]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert pending(marks, "s", map(str, range(10)), params={"limit": 3}) == []
    assert pending(marks, "s", map(str, range(10)), params={"limit": 4}) == [str(one) for one in range(10)]


def test_items_that_are_marked_in_callbacks_and_tasks(marks):
    """A callback of a future runs in the pool's thread; a task is stopped in the middle of its body."""
    items = marks.items("s", "abcd")
    with ThreadPoolExecutor(2) as pool:
        for item in "ab":
            pool.submit(str).add_done_callback(lambda _future, item=item: items.done(item))

    async def fetch(item):
        with items.doing(item):
            await asyncio.sleep(60 if item == "d" else 0)

    async def fetch_all():
        tasks = [asyncio.ensure_future(fetch(item)) for item in items]
        await tasks[0]
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(fetch_all())
    assert isinstance(results[1], asyncio.CancelledError)
    assert pending(marks, "s", "abcd") == ["d"]


def test_many_threads_mark_at_once(marks):
    """Each mark is there, in each store, in a group and outside of one."""
    names = [str(number) for number in range(64)]
    items = marks.items("s", names)
    with marks.group(), ThreadPoolExecutor(8) as pool:
        list(pool.map(items.done, names[:32]))
        for name in names[32:48]:
            items.done(name)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(items.done, names[48:]))
    assert list(items) == pending(marks, "s", names) == []
    marks.mark_done("s")


def test_a_group_holds_back_the_marks_of_items(marks, store):
    """They are written when the group ends, or when it is asked for them; each is known here at once."""
    items = marks.items("s", "abc")
    with marks.group():
        items.done("a")
        held = ["a", "b", "c"] if store == "sqlite" else ["b", "c"]
        assert pending(marks, "s", "abc") == held
        assert list(items) == ["b", "c"]
        items.done("b")
    assert pending(marks, "s", "abc") == ["c"]


def test_a_child_that_is_forked_in_a_body_marks_nothing(marks, tmp_path):
    """The item is its parent's to mark, when that has ended the body."""
    program = """
import os, sys
from outlive import Checkpoints
items = Checkpoints(store=sys.argv[1]).items("s", "a")
try:
    with items.doing("a"):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            os._exit(0)
except RuntimeError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, marks.store]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "this process was forked in the body; only the process that entered it can end it\n"
    assert pending(marks, "s", "a") == ["a"]


def test_what_is_pickled_marks_and_has_no_list(marks):
    """It knows no names, and takes any; what was declared goes with it."""
    items = pickle.loads(pickle.dumps(marks.items("s", ["a", "b"], version="2")))  # noqa: S301 - our own
    with pytest.raises(TypeError, match=r"iterate where Checkpoints\.items was called"):
        iter(items)
    with items.doing("a"):
        assert pending(marks, "s", "ab", version="2") == ["a", "b"]
    items.done("not there")
    assert pending(marks, "s", "ab", version="2") == ["b"]
    assert pending(marks, "s", "ab") == ["a", "b"]


# -- a mark while its item is done anew ----------------------------------------------------------------


def test_no_mark_stands_in_a_body(marks):
    """Of an item that is done already, and of one that was done otherwise, also if nobody iterates."""
    for version in ("1", "1", "2"):
        items = marks.items("s", "a", version=version)
        with items.doing("a"):
            for known in "12":
                assert pending(marks, "s", "a", version=known) == ["a"]
        assert pending(marks, "s", "a", version=version) == []


def test_an_item_that_was_done_otherwise_has_no_mark_once_it_is_given(marks):
    """A pool that asked for it may be killed at any time; what was not asked for yet keeps its mark."""
    for item in "abc":
        marks.items("s", "abc", params={"n": 1}).done(item)
    asked = iter(marks.items("s", "abc", params={"n": 2}))
    assert [next(asked), next(asked)] == ["a", "b"]
    assert pending(marks, "s", "abc", params={"n": 1}) == ["a", "b"]


# -- what an item's mark vouches for -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["done", "doing"])
def test_outputs_of_an_item(marks, how):
    """The item is pending again once one of them is gone, cut or another, and done once it is put back."""
    Path("out").mkdir()
    for item in "ab":
        items = marks.items("s", "ab", version="1")
        if how == "doing":
            with items.doing(item, outputs=[f"out/{item}", f"out/{item}.d"]):
                Path(f"out/{item}").write_text("whole")
                Path(f"out/{item}.d").mkdir()
                os.chdir("out")  # the paths are those of where it began
            os.chdir("..")
        else:
            Path(f"out/{item}").write_text("whole")
            items.done(item, outputs=f"out/{item}")
    assert pending(marks, "s", "ab", version="1") == []
    assert pending(marks, "s", "ab", version="1", verify="hash") == []
    Path("out/a").write_text("who")
    assert pending(marks, "s", "ab", version="1") == ["a"]
    Path("out/b").unlink()
    Path("out/a").write_text("whole")
    assert pending(marks, "s", "ab", version="1") == ["a", "b"]  # the mark of a was forgotten


def test_outputs_are_on_the_disk_before_the_mark(run, tmp_path, monkeypatch):
    """What was written by other means is brought there with its name, and then the mark is made."""
    Path("deep").mkdir()
    Path("deep/out").write_text("1")
    events, fsync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        events.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))
        fsync(descriptor)

    def renamed(*arguments, **options):
        events.append("rename")
        replace(*arguments, **options)

    items = run.items("s", "a")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    items.done("a", outputs="deep/out")
    assert events[:3] == ["deep/out", "deep", "."]
    assert events.index("rename") > 2
    assert events[-1] == ".checkpoints/s.items"


def test_outputs_that_cannot_be_vouched_for(marks, store):
    """What is missing, no path or holds the marks is an error, and the item pending."""
    items = marks.items("s", "a")
    for outputs, kind, said in (
        ("none", FileNotFoundError, "none"),
        (3, TypeError, "^outputs=3 is neither a path nor a list of paths"),
        ([""], ValueError, "^outputs='' is empty"),
        *([(".", ValueError, "lies inside outputs")] if store == "sqlite" else []),
    ):
        with pytest.raises(kind, match=said):
            items.done("a", outputs=outputs)
        with pytest.raises(kind, match=said), items.doing("a", outputs=outputs):
            pass
    assert list(items) == ["a"]


def test_an_output_that_is_changed_while_it_is_recorded(marks, monkeypatch):
    """Nobody knows what its digest is of: the item is not marked."""
    Path("out").write_text("1")
    items, put = marks.items("s", "a"), type(marks.items("s", "a")._marks).put

    def late(self, name, claims):
        put(self, name, claims)
        Path("out").write_text("22")

    monkeypatch.setattr(type(items._marks), "put", late)
    with pytest.raises(RuntimeError, match=r"^outputs=.*out' changed before the step could be marked"):
        items.done("a", outputs="out")
    monkeypatch.undo()
    assert list(items) == ["a"]


# -- the step itself -----------------------------------------------------------------------------------


def test_a_step_with_a_pending_item_is_not_marked(marks):
    """Whatever a pool has done with its errors: the step would be skipped, and the item never done."""
    items = marks.items("s", "abc")

    def work(item):
        with items.doing(item):
            assert item != "b"

    with ThreadPoolExecutor(2) as pool:
        for item in items:
            pool.submit(work, item)  # nobody asks how it ended
    with pytest.raises(RuntimeError, match=r"^name='s' cannot be marked: 1 of its 3 items are pending.* 'b'"):
        marks.mark_done("s")
    assert not marks.step_done("s")
    marks.mark_done("other")
    items.done("b")
    marks.mark_done("s")
    assert marks.step_done("s")


def test_what_another_process_has_marked_is_no_pending_item(marks):
    """The step is marked once all are done, wherever that was."""
    items = marks.items("s", "ab")
    items.done("a")
    Checkpoints(store=marks.store).items("s", "ab").done("b")
    marks.mark_done("s")


def test_items_that_are_gone_or_forgotten_keep_no_step_from_its_mark(marks):
    """Only those that somebody still works on count; and to forget a step is to begin anew."""
    items = marks.items("s", "ab")
    del items
    gc.collect()
    marks.mark_done("s")
    items = marks.items("t", "ab")
    for item in "ab":
        items.done(item)
    marks.clear("t")
    assert list(items) == ["a", "b"]
    marks.clear()
    marks.mark_done("t")


def test_a_step_of_a_pipeline_with_a_pending_item_fails(marks):
    """run_steps does not mark it, and keeps what was done: the next run does that item alone."""
    made, broken = [], ["b"]

    def work():
        items = Checkpoints(store=marks.store).items("work", "abc")
        with ThreadPoolExecutor(1) as pool:
            for item in items:
                pool.submit(one, items, item)

    def one(items, item):
        with items.doing(item):
            assert item not in broken
            made.append(item)

    with pytest.raises(RuntimeError, match="1 of its 3 items are pending"):
        run_steps([work], checkpoints=marks, report=str)
    assert made == ["a", "c"]
    broken.clear()
    run_steps([work], checkpoints=Checkpoints(store=marks.store), report=str)
    assert made == ["a", "c", "b"]
    assert Checkpoints(store=marks.store).step_done("work")


# -- names, and what is declared -----------------------------------------------------------------------


def test_items_that_are_no_strings_and_no_keys_of_a_dict(marks):
    """Only their names count."""
    rows = [{"city": "oslo"}, {"city": "rome"}]
    items = marks.items("s", rows, key=lambda row: row["city"])
    items.done({"city": "oslo", "more": 1})
    assert list(items) == rows[1:]


def test_an_item_is_done_when_its_body_has_ended(run, finish):
    """A raise leaves it pending, and so does a break before it; the others are done."""
    seen = []

    def fail_at(last):
        items = run.items("clean", ["a", "b", "c"])
        for item in items:
            if item == last:
                break
            with items.doing(item):
                seen.append(item)
                if item == "b" and last is None:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_at(None)
    fail_at("c")
    assert seen == ["a", "b", "b"]
    assert finish(run.items("clean", ["a", "b", "c", "d"])) == ["c", "d"]


def test_items_are_not_steps(run, finish):
    """Whatever the names; what is cleared is done again."""
    for name in ("a", "a.items", "clean", "clean.done", ""):
        assert finish(run.items(name, ["a", "clean", ""])) == ["a", "clean", ""]
    assert run.done() == []
    run.mark_done("clean")
    run.clear("clean")
    assert finish(run.items("clean", ["a", "clean", ""])) == ["a", "clean", ""]
    assert finish(run.items("a", ["a", "clean", ""])) == []
    run.clear()
    assert finish(run.items("a", ["a"])) == ["a"]
    monday = Checkpoints(run_id="monday")
    assert finish(monday.items("a", ["a"])) == ["a"]


def test_items_that_are_no_strings_have_a_key(run, finish):
    """It names them; two of one name, and a name that is no string, are refused."""
    paths = [Path("in/b"), Path("in/a")]
    assert finish(run.items("clean", paths, key=lambda path: path.name)) == paths
    assert finish(run.items("clean", reversed(paths), key=lambda path: path.name)) == []
    with pytest.raises(ValueError, match=r"^items\[2\] has the name of items\[0\]: 'x'"):
        finish(run.items("other", ["x", "y", "x"]))
    with pytest.raises(TypeError, match=r"^items\[0\]=3 is not a string"):
        finish(run.items("other", [3]))
    with pytest.raises(TypeError, match=r"^key\(items\[0\]\)=3 is not a string"):
        finish(run.items("other", [3], key=lambda item: item))


def test_an_item_that_a_killed_process_was_at_is_pending(run, tmp_path, finish):
    """SIGKILL in the body: what it had ended before is done, that one is not."""
    program = (
        "import os, signal, outlive\n"
        "items = outlive.Checkpoints().items('clean', 'abcdef')\n"
        "for item in items:\n"
        "    with items.doing(item):\n"
        "        if item == 'd':\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert finish(run.items("clean", "abcdef")) == ["d", "e", "f"]


@pytest.mark.parametrize("store", ["files", "sqlite"])
def test_items_that_were_done_with_something_else_are_pending(run, store, finish):
    """Other parameters, another version or input, or nothing declared: their names are the same."""
    run = Checkpoints(store=store)
    Path("raw").write_text("1")
    wishes = [
        {},
        {"params": {"limit": 3}},
        {"params": {"limit": 3.0}},
        {"params": {"limit": 3}, "version": "2"},
        {"params": {"limit": 3}, "inputs": "raw"},
    ]
    for wish in wishes:
        assert finish(run.items("clean", "ab", **wish)) == ["a", "b"]
        assert finish(Checkpoints(store=store).items("clean", "abc", **wish)) == ["c"]
    Path("raw").write_text("2")
    assert finish(run.items("clean", "ab", **wishes[-1])) == ["a", "b"]


@pytest.mark.parametrize("store", ["files", "sqlite"])
def test_an_old_mark_does_not_stand_while_its_item_is_done_anew(run, store, finish):
    """Stopped at an item with other parameters, and back to the first: it is done again, and no other is."""
    run = Checkpoints(store=store)
    assert finish(run.items("fetch", "abc", params={"limit": 3})) == ["a", "b", "c"]
    assert finish(run.items("a", "x")) == ["x"]  # a step that has the item's name
    assert next(iter(run.items("fetch", "abc", params={"limit": 4}))) == "a"
    assert finish(Checkpoints(store=store).items("fetch", "abc", params={"limit": 3})) == ["a"]
    assert finish(Checkpoints(store=store).items("a", "x")) == []


def test_a_damaged_mark_does_not_stand_while_its_item_is_done_anew(run, tmp_path, finish):
    """Its bytes may be put right again, as by a copy that is finished, when the item is half-done."""
    assert finish(run.items("fetch", "a")) == ["a"]
    marker = tmp_path / ".checkpoints" / "fetch.items" / "a.done"
    marker.write_text("")
    assert next(iter(run.items("fetch", "a"))) == "a"
    assert not marker.exists()


def test_what_a_killed_run_forgot_of_an_item_is_on_the_disk_before_it_is_done(
    run, tmp_path, monkeypatch, finish
):
    """Its mark may be gone in memory only; and one look at the disk is enough for all items of a call."""
    assert finish(run.items("fetch", "abc", params={"limit": 3})) == ["a", "b", "c"]
    items = tmp_path / ".checkpoints" / "fetch.items"
    for item in "ab":
        (items / f"{item}.done").unlink()
    synced, fsync = [], os.fsync

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    pending = run.items("fetch", "ab", params={"limit": 4})
    monkeypatch.setattr(os, "fsync", noted)
    assert list(pending) == ["a", "b"]
    assert synced == [items]
    pending.done("a")
    assert synced[1:].count(items) == 1  # for its mark


def test_what_is_no_list_of_items_is_refused_when_it_is_given(run):
    """And not when somebody iterates."""
    with pytest.raises(TypeError, match="not iterable"):
        run.items("clean", 3)
    with pytest.raises(TypeError, match=r"^version=2 is not a string"):
        run.items("clean", "ab", version=2)


@pytest.mark.parametrize("names", [("clean",), ()])
def test_a_step_that_is_forgotten_halfway_has_no_old_items(run, monkeypatch, names, finish):
    """Killed while it clears a step, or all, a process has not left its items without its mark."""
    assert finish(run.items("clean", "ab")) == ["a", "b"]
    run.mark_done("clean")
    removed, unlink = [], os.unlink

    def noted(path):
        removed.append(Path(path).name)
        unlink(path)

    def synced(descriptor):
        removed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "unlink", noted)
    monkeypatch.setattr(os, "fsync", synced)
    run.clear(*names)
    assert removed == ["a.done", "b.done", "clean.items", "clean.done", ".checkpoints"]
