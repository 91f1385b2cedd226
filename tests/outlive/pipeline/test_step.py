"""run_steps with steps that declare what they read and make, and come after one another."""

import functools
import logging
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from outlive import Checkpoints, Retry, Step, StepResult, atomic_write, run_steps, step


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Work in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(store, tmp_path):
    """Run steps with checkpoints of their own, opened anew each time, in each store."""

    def run(steps, **options):
        checkpoints = Checkpoints(tmp_path / "marks", store=store)
        return run_steps(steps, checkpoints=checkpoints, **{"report": str, **options})

    return run


def named(name, ran, **declared):
    return step(name=name, **declared)(lambda: ran.append(name))


def copying(source, target, ran=None):
    """Declare a step that copies one file to another, in upper case."""

    def copy():
        if ran is not None:
            ran.append(target)
        atomic_write(target, Path(source).read_text().upper())

    return step(name=target, inputs=source, outputs=target)(copy)


def test_a_declared_step_is_the_function_itself():
    """What is decorated is given back, with what it declares as an attribute."""

    def add(left, *, right):
        """Add."""
        return left + right

    assert step(outputs="out.txt", name="addition", after=["first", len])(add) is add
    assert add(1, right=2) == 3
    assert add.outlive_step == Step("addition", None, ["out.txt"], None, None, ("first", len), None)


def test_a_declared_step_is_wrapped_with_its_declaration(run):
    """What functools.wraps makes of a step is that step, and runs; others may come after either."""
    ran = []

    @step(name="first", outputs="out")
    def inner():
        atomic_write("out", "1")

    @functools.wraps(inner)
    def outer():
        ran.append("outer")
        inner()

    later = step(name="later", after=inner)(lambda: ran.append("later"))
    assert [result.name for result in run([later, outer])] == ["first", "later"]
    assert ran == ["outer", "later"]
    Path("out").unlink()
    assert run([later, outer])[0].reason == "its output out is missing"


def test_functions_that_one_decorator_declares_are_steps_of_their_own(run):
    """What comes after one of them does not come after the other."""
    ran = []
    declare = step(version="1")
    one, two = declare(lambda: ran.append("one")), declare(lambda: ran.append("two"))
    later = step(name="later", after=two)(lambda: ran.append("later"))
    run([("one", one), later, ("two", two)])
    assert ran == ["one", "two", "later"]
    with pytest.raises(ValueError, match="is not one of the steps"):
        run([("one", one), later])


def test_a_method_that_is_declared_in_its_class(run):
    """It is a method still, and declares for the object that it is taken from."""

    class Pipeline:
        @step(outputs="out")
        def make(self):
            atomic_write("out", "1")

    Pipeline().make()
    assert run([Pipeline().make])[0].name == "make"
    Path("out").unlink()
    assert run([Pipeline().make])[0].reason == "its output out is missing"


class Counter:
    """Something with a method."""

    def count(self):
        """Count."""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (Counter().count, r"cannot have attributes; declare functools\.partial"),
        (print, "cannot have attributes"),
        (int, "cannot have attributes"),
        (staticmethod(named), "put @step below @staticmethod"),
        ("clean", "is not a function"),
    ],
)
def test_what_cannot_be_declared(function, said):
    """What cannot have attributes, or would lose it, is refused at once."""
    with pytest.raises(TypeError, match=rf"^function=.*{said}"):
        step(outputs="x")(function)


POOL = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from outlive import Checkpoints, atomic_write, step

@step(outputs="out.txt")
def write():
    atomic_write("out.txt", "1")
    return write.outlive_step.outputs

def mark(run):
    run.mark_done("made", outputs="out.txt")
    return run

if __name__ == "__main__":
    runs = [Checkpoints(store=store, run_id="r") for store in ("files", "sqlite")]
    for run in runs:
        run.mark_done("before")  # there is a connection
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[1])) as pool:
        assert pool.submit(write).result() == ["out.txt"]
        for run in runs:
            back = pool.submit(mark, run).result()
            assert repr(back) == repr(run)
            assert back.done() == ["before", "made"]
            assert back.step_done("made")
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_steps_and_checkpoints_in_pools_of_processes(tmp_path, method):
    """Each goes to another process and back, as an argument and as what is called."""
    (tmp_path / "main.py").write_text(POOL)
    command = [sys.executable, "main.py", method]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


def test_after_gives_the_order(run):
    """Steps come after what they name, by name or as functions, and otherwise as they are given."""
    ran = []

    def plain():
        ran.append("plain")

    first = named("first", ran, after="last")
    last = named("last", ran)
    middle = named("middle", ran, after=[first, plain])
    run([middle, first, last, plain])
    assert ran == ["last", "first", "plain", "middle"]


def test_inputs_and_outputs_give_the_order(run):
    """Who reads what another makes, or what is inside it, comes after it."""
    Path("raw").write_text("a")
    ran = []

    def tree():
        Path("tree").mkdir(exist_ok=True)
        Path("tree/leaf").write_text("leaf")

    steps = [
        copying("tree/leaf", "fruit", ran),
        copying("middle", "last", ran),
        copying("raw", "middle", ran),
        step(outputs="tree")(tree),
    ]
    results = run(steps)
    assert [one.name for one in results] == ["middle", "last", "tree", "fruit"]
    assert Path("last").read_text() == "A"
    assert [one.outcome for one in run(steps)] == ["skipped"] * 4


def test_after_takes_a_method(run):
    """Each look at an object's method gives another object, which is the same method."""
    made = []

    class Pipeline:
        def __init__(self, part):
            self.part = part

        def fetch(self):
            made.append(self.part)

    one, other = Pipeline("one"), Pipeline("other")
    first = step(name="first", after=one.fetch)(functools.partial(other.fetch))
    run([first, ("last", one.fetch)])
    assert made == ["one", "other"]


def test_a_link_that_is_made_is_not_what_it_leads_to(run):
    """A step publishes by a link what another made, or nobody: a restart finds all of it done, in order."""
    Path("given").write_text("g")

    def build():
        Path("v5").mkdir(exist_ok=True)
        Path("v5/a").write_text("x")

    def link(target, name):
        def publish():
            Path(".new").symlink_to(target)
            Path(".new").replace(name)

        return step(name=name, inputs=target, outputs=name)(publish)

    steps = [
        copying("current/a", "report"),
        link("v5", "current"),
        step(outputs="v5")(build),
        link("given", "latest"),
    ]
    for outcome in ("ran", "skipped"):
        told = [(one.name, one.outcome) for one in run(steps)]
        assert told == [(name, outcome) for name in ("build", "current", "report", "latest")]
    Path("v5/a").write_text("y")
    assert [one.outcome for one in run(steps)] == ["ran", "skipped", "skipped", "skipped"]
    Path("current").unlink()
    assert run(steps)[1] == ("current", "ran", "its output current is missing")


def test_what_is_made_where_a_link_leads_is_known_by_its_other_name(run):
    """Who reads it by that comes after who makes it by the link."""
    Path("disk").mkdir()
    Path("data").symlink_to("disk")

    def fill():
        Path("data/a").write_text("x")

    steps = [copying("disk/a", "report"), step(outputs="data")(fill)]
    assert [one.name for one in run(steps)] == ["fill", "report"]


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ({"a": "c", "b": "a", "c": "b"}, "in a circle: a after c after b after a"),
        ({"a": "a", "b": (), "c": ()}, "in a circle: a after a"),
        ({"a": "b", "b": "c", "c": "b"}, "in a circle: b after c after b"),
        ({"a": "x", "b": (), "c": ()}, "^after='x' of step 'a' is not one of the steps"),
    ],
)
def test_an_order_that_cannot_be(run, after, message):
    """A circle and an unknown step are named before anything runs."""
    ran = []
    with pytest.raises(ValueError, match=message):
        run([named(name, ran, after=before) for name, before in after.items()])
    assert ran == []


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            {"outputs": "x"},
            {"outputs": ["y", "./x"]},
            "outputs='./x' of step 'b' and outputs='x'",
        ),
        (
            {"outputs": "d"},
            {"outputs": "d/x"},
            "outputs='d/x' of step 'b' and outputs='d' of",
        ),
        ({"inputs": "x", "outputs": "x"}, {}, "inputs='x' of step 'a' is one of its outputs"),
        ({"inputs": "x", "outputs": "y"}, {"inputs": "y", "outputs": "x"}, "in a circle: a after b after a"),
    ],
)
def test_files_that_cannot_be_so(run, one, other, message):
    """Two makers of one file, and a step that reads what it makes, are named before anything runs."""
    ran = []
    with pytest.raises(ValueError, match=message):
        run([named("a", ran, **one), named("b", ran, **other)])
    assert ran == []


def test_what_comes_after_a_step_that_ran_runs_again(run, tmp_path):
    """If a step runs again, so does all that was said to come after it, and nothing else."""
    ran = []
    steps = [named("a", ran), named("b", ran, after="a"), named("c", ran, after="b"), named("d", ran)]
    assert run(steps) == [StepResult(name, "ran") for name in "abcd"]
    for store in ("files", "sqlite"):
        Checkpoints(tmp_path / "marks", store=store).clear("a")
    assert run(steps) == [
        StepResult("a", "ran"),
        StepResult("b", "ran", "a ran"),
        StepResult("c", "ran", "b ran"),
        StepResult("d", "skipped"),
    ]


def test_what_comes_after_a_step_and_has_a_damaged_mark_did_not_run_for_the_first_time(tmp_path):
    """That it was marked before is not lost from the reason, though the mark is forgotten."""
    ran = []
    steps = [named("a", ran), named("b", ran, after="a")]
    marks = Checkpoints(tmp_path / "marks")
    run_steps(steps, checkpoints=marks, report=str)
    (tmp_path / "marks" / "a.done").unlink()
    (tmp_path / "marks" / "b.done").write_text("{}")
    assert run_steps(steps, checkpoints=marks, report=str)[1] == StepResult("b", "ran", "a ran")


@pytest.mark.parametrize("place_of_the_kill", ["a", "b", "c"])
def test_stopped_before_what_comes_after_has_run(run, place_of_the_kill, tmp_path):
    """Stopped in any step after a change, the next run still does all that comes after it."""
    ran, fails = [], set()

    def work(name):
        if name in fails:
            raise KeyboardInterrupt
        ran.append(name)

    order = {"a": (), "b": "a", "c": "b"}
    steps = [step(name=name, after=order[name])(lambda name=name: work(name)) for name in order]
    run(steps)
    for store in ("files", "sqlite"):
        Checkpoints(tmp_path / "marks", store=store).clear("a")
    fails.add(place_of_the_kill)
    ran.clear()
    with pytest.raises(KeyboardInterrupt):
        run(steps)
    fails.clear()
    run(steps)
    assert ran == ["a", "b", "c"]


def test_the_items_of_what_comes_after_are_forgotten_also_if_it_never_ended(run, store, tmp_path):
    """A step that was stopped among its items, and comes after one that now runs, begins with the first."""
    made = []

    def last():
        marks = Checkpoints(tmp_path / "marks", store=store)
        items = marks.items("last", ["x", "y", "z"])
        for item in items:
            with items.doing(item):
                made.append(Path("first").read_text() + item)
                if made == ["1x", "1y"]:
                    raise KeyboardInterrupt

    def first():
        Path("first").write_text(Path("raw").read_text())

    steps = [step(inputs="raw", outputs="first")(first), step(after="first")(last)]
    Path("raw").write_text("1")
    with pytest.raises(KeyboardInterrupt):
        run(steps)
    Path("raw").write_text("2")
    run(steps)
    assert made == ["1x", "1y", "2x", "2y", "2z"]


def test_what_a_killed_run_forgot_is_on_the_disk_before_the_step_runs(tmp_path, monkeypatch):
    """A mark that is gone may come back with the power, unless somebody fsyncs the directory it was in."""
    marks, synced = Checkpoints(tmp_path / "marks"), []
    steps = [named("first", synced), named("last", synced, after="first")]
    run_steps(steps, checkpoints=marks, report=str)
    for name in ("first", "last"):
        (tmp_path / "marks" / f"{name}.done").unlink()
    synced.clear()
    fsync = os.fsync

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    run_steps(steps, checkpoints=Checkpoints(tmp_path / "marks"), report=str)
    assert synced.index("marks") < synced.index("first")


def test_an_input_that_is_another(run):
    """A step whose input changed runs again, and what reads its output only if that is another too."""
    Path("raw").write_text("a")
    steps = [copying("raw", "middle"), copying("middle", "last")]
    run(steps)
    Path("raw").write_text("A")  # which comes to the same
    lines = []
    run(steps, report=lines.append)
    assert lines == ["ran middle (its input raw has another content)", "skipped last (already done)"]
    Path("raw").write_text("longer")
    assert [one.reason for one in run(steps)] == [
        "its input raw has 6 bytes and had 1 when the step was marked",
        "its input middle has 6 bytes and had 1 when the step was marked",
    ]
    assert Path("last").read_text() == "LONGER"


def test_an_input_that_is_gone_undoes_nothing(run):
    """What a step was made from may go once it is done; while it is not, that is an error that names it."""
    Path("raw").write_text("a")
    steps = [copying("raw", "out")]
    run(steps)
    Path("raw").unlink()
    assert run(steps) == [StepResult("out", "skipped")]
    Path("out").unlink()
    with pytest.raises(FileNotFoundError, match=r"inputs='raw' of step 'out' does not exist") as caught:
        run(steps)
    assert caught.value.outlive_results == [StepResult("out", "failed", f"FileNotFoundError: {caught.value}")]


def test_an_output_that_is_truncated_is_made_again(run):
    """It is noticed, told, and made as it was."""
    Path("raw").write_text("abc")
    run([copying("raw", "out")])
    os.truncate("out", 1)
    (result,) = run([copying("raw", "out")])
    assert result.reason == "its output out has 1 bytes and had 3 when the step was marked"
    assert Path("out").read_text() == "ABC"


def test_parameters_and_version(run):
    """A step runs again when one of them is another than it was."""
    ran = []
    run([named("a", ran, params={"n": 1}, version="1")])
    assert run([named("a", ran, params={"n": 1}, version="1")]) == [StepResult("a", "skipped")]
    assert run([named("a", ran, params={"n": 2}, version="1")])[0].reason == "its parameter n was 1 and is 2"
    assert run([named("a", ran, params={"n": 2}, version="2")])[0].reason == "its version was '1' and is '2'"


@pytest.mark.parametrize("change", [lambda path: path.write_text("b"), Path.unlink, Path.touch])
def test_an_input_that_changes_meanwhile(run, change):
    """A step whose input is changed or removed while it runs is not marked."""
    raw = Path("raw")
    raw.write_text("a")

    def work():
        atomic_write("out", raw.read_text())
        time.sleep(0.02)  # longer than a tick of the kernel's clock
        change(raw)

    with pytest.raises((RuntimeError, FileNotFoundError), match="raw"):
        run([step(inputs=raw, outputs="out")(work)])
    raw.write_text("a")
    ran = []
    run([step(name="work", inputs=raw, outputs="out")(lambda: ran.append("work"))])
    assert ran == ["work"]


@pytest.fixture
def marks(store, tmp_path):
    """Give the checkpoints that run() uses."""
    return Checkpoints(tmp_path / "marks", store=store)


def test_the_items_of_a_step_that_runs_again_are_done_again(run, marks):
    """An output that was damaged, another parameter: what they made before is not what is to be marked."""
    Path("out").mkdir()
    made = []

    def steps(limit):
        def resize():
            items = marks.items("resize", ["a", "b"])
            for item in items:
                with items.doing(item):
                    made.append(item)
                    atomic_write(f"out/{item}", f"{item} {limit}")

        return [step(outputs="out", params={"limit": limit})(resize)]

    run(steps(3))
    Path("out/a").write_text("damaged")
    run(steps(3))
    run(steps(4))
    run(steps(4))
    assert made == ["a", "b"] * 3
    assert [Path("out", item).read_text() for item in "ab"] == ["a 4", "b 4"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"params": {"n": 1}}, {"params": {"n": 2}}),
        ({"version": "1"}, {"version": "2"}),
        ({"inputs": "one"}, {"inputs": "two"}),
        ({}, {"params": {"n": 1}}),
    ],
)
def test_items_know_what_their_step_declared(run, store, tmp_path, first, then):
    """A step that was stopped among its items, and is declared otherwise then, begins with the first."""
    for name in ("one", "two"):
        Path(name).write_text(name)
    made, stops = [], ["b"]

    def resize():
        items = Checkpoints(tmp_path / "marks", store=store).items("resize", ["a", "b"])
        for item in items:
            with items.doing(item):
                if item in stops:
                    raise KeyboardInterrupt
                made.append(item)

    for declared in (first, first, then):
        with pytest.raises(KeyboardInterrupt):
            run([step(**declared, name="resize")(functools.partial(resize))])
    assert made == ["a", "a"]
    stops.clear()
    run([step(**then)(resize)])
    assert made == ["a", "a", "b"]


def test_items_know_their_step_by_another_path_of_the_marks(store, tmp_path):
    """A link to the directory, or one above it: the step is the same, and so is what it declares."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    made = []

    def fetch():
        items = Checkpoints(tmp_path / "real" / "marks", store=store).items("fetch", ["a", "b"])
        for item in items:
            with items.doing(item):
                made.append(item)
                if item == "b":
                    raise KeyboardInterrupt

    for number in (3, 4):
        checkpoints = Checkpoints(tmp_path / "link" / "marks", store=store)
        steps = [step(params={"n": number}, name="fetch")(functools.partial(fetch))]
        with pytest.raises(KeyboardInterrupt):
            run_steps(steps, checkpoints=checkpoints, report=str)
    assert made == ["a", "b", "a", "b"]


def test_items_are_not_made_of_an_input_that_has_changed_since_the_step_began(run, marks, finish):
    """What the step has read by then may be the old one: nothing is marked as made of the new."""
    Path("raw").write_text("1")

    def work():
        time.sleep(0.02)  # longer than a tick of the kernel's clock
        Path("raw").write_text("2")
        finish(marks.items("work", ["a"]))

    with pytest.raises(RuntimeError, match=r"raw' changed before the step could be marked"):
        run([step(inputs="raw")(work)])
    assert list(marks.records()) == []


def test_an_old_mark_does_not_stand_while_its_step_runs(run):
    """Stopped with other parameters, and back to the first: what is there is of neither, and made again."""
    made = []

    def steps(limit, error=None):
        def report():
            made.append(limit)
            if error:
                raise error

        return [step(params={"limit": limit})(report)]

    run(steps(3))
    with pytest.raises(KeyboardInterrupt):
        run(steps(4, KeyboardInterrupt()))
    run(steps(3))
    assert made == [3, 4, 3]


def test_a_mark_of_an_input_that_changed_never_exists(run, marks, monkeypatch):
    """A process that is killed at the moment at which it would take it back has not made it either."""
    Path("raw").write_text("1")

    def work():
        time.sleep(0.02)
        Path("raw").write_text("2")

    monkeypatch.setattr(Checkpoints, "clear", mock.Mock(side_effect=SystemExit))
    with pytest.raises(SystemExit):
        run([step(inputs="raw")(work)])
    monkeypatch.undo()
    assert Checkpoints(marks.directory, store=marks.store).done() == []


def test_what_a_killed_run_forgot_of_the_step_itself_is_on_the_disk_before_it_runs(tmp_path, monkeypatch):
    """Its own mark may come back with the power, too: once in a run somebody fsyncs their directory."""
    synced, fsync = [], os.fsync
    steps = [named("first", synced), named("last", synced)]
    run_steps(steps, checkpoints=Checkpoints(tmp_path / "marks"), report=str)
    for name in ("first", "last"):
        (tmp_path / "marks" / f"{name}.done").unlink()
    synced.clear()

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    run_steps(steps, checkpoints=Checkpoints(tmp_path / "marks"), report=str)
    assert synced.index("marks") < synced.index("first")


def test_what_comes_after_a_step_that_ran_without_it_runs_again(run, marks):
    """In a pipeline that holds both, after one that held the first alone."""
    ran = []
    steps = [named("a", ran), named("b", ran, after="a"), named("c", ran)]
    run(steps)
    marks.clear("a")
    run(steps[:1])
    assert [one.outcome for one in run(steps)] == ["skipped", "ran", "skipped"]
    assert ran == ["a", "b", "c", "a", "b"]


def test_paths_are_those_from_where_the_pipeline_began(run, marks):
    """A step that changes the directory, and makes such a file there too, has made what it declared."""
    Path("raw").write_text("1")
    Path("elsewhere").mkdir()

    def work():
        atomic_write("out", "1")
        os.chdir("elsewhere")
        atomic_write("out", "another")

    steps = [step(inputs="raw", outputs="out")(work)]
    run(steps)
    assert list(next(marks.records())["outputs"]) == ["out"]
    os.chdir("..")
    assert run(steps) == [StepResult("work", "skipped")]


def test_an_input_that_holds_the_checkpoints():
    """It is refused before anything runs, and not called an input that changed."""
    ran = []
    with pytest.raises(ValueError, match=r"of the checkpoints lies inside inputs='\.'"):
        run_steps(
            [named("first", ran), named("a", ran, inputs=".")],
            checkpoints=Checkpoints("marks"),
            report=str,
        )
    assert ran == []


def test_what_is_declared_is_not_what_the_function_has_under_the_same_name(run):
    """A function may have attributes of any names."""

    def work():
        """Work."""

    vars(work).update(version="9", params=None, outputs="x", other=3)
    run([step(version="2", params={"a": 1})(work)])
    assert (work.version, work.params, work.outputs, work.other) == ("9", None, "x", 3)
    again = step(version="2", params={"a": 2}, name="work")(lambda: None)
    assert run([again])[0].reason == "its parameter a was 1 and is 2"


def test_a_step_of_a_step_is_refused():
    """Of two declarations one would be lost."""
    with pytest.raises(TypeError, match="is a step already"):
        step(version="2")(step(version="1")(lambda: None))


def test_a_report_that_fails_does_not_hide_what_failed(run):
    """The step's error is raised, with the results, and notes of both."""

    def broken():
        raise OSError("disk full")

    def report(_line):
        raise BrokenPipeError("gone")

    with pytest.raises(OSError, match="disk full") as caught:
        run([broken], report=report)
    assert caught.value.outlive_results == [StepResult("broken", "failed", "OSError: disk full")]
    assert caught.value.__notes__ == [
        "in step 'broken'; the steps before it stay marked as done",
        "the report of it failed as well (BrokenPipeError: gone)",
    ]


def test_a_step_whose_files_cannot_be_looked_at_has_failed(run):
    """It is told and explained as one whose function raises."""
    Path("raw").write_text("1")
    steps = [named("a", [], inputs="raw"), named("b", [])]
    run(steps)
    Path("raw").unlink()
    Path("raw").symlink_to("raw")
    lines = []
    with pytest.raises(OSError, match="raw") as caught:
        run(steps, report=lines.append)
    assert [one.outcome for one in caught.value.outlive_results] == ["failed"]
    assert lines[0].startswith("failed a (OSError")


def test_killed_anywhere():
    """Killed in any step, and its input changed then, the pipeline ends with what the new input gives."""
    program = """
import os, signal, sys
from pathlib import Path
from outlive import atomic_write, run_steps, step

@step(inputs="middle", outputs="last")
def last():
    atomic_write("last", Path("middle").read_text() + "!")
    die("last")

@step(inputs="raw", outputs="middle")
def middle():
    atomic_write("middle", Path("raw").read_text() * 2)
    die("middle")

def die(where):
    if sys.argv[1:] == [where]:
        os.kill(os.getpid(), signal.SIGKILL)

run_steps([last, middle])
"""
    for number, where in enumerate(("middle", "last")):
        Path("raw").write_text(str(number))
        killed = subprocess.run([sys.executable, "-c", program, where], check=False, capture_output=True)
        assert killed.returncode == -signal.SIGKILL
        Path("raw").write_text(f"{number}x")
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        assert Path("last").read_text() == f"{number}x{number}x!"


def test_a_step_is_run_under_its_retry(run):
    """A step that fails for a while is tried again, and marked once it has not failed."""
    pytest.importorskip("tenacity", reason="needs tenacity: pip install 'outlive[retry]'")
    errors = [OSError(), OSError()]

    def flaky():
        if errors:
            raise errors.pop()

    steps = [step(retry=Retry(OSError, sleep=lambda _seconds: None))(flaky)]
    assert run(steps) == [StepResult("flaky", "ran")]
    assert run(steps) == [StepResult("flaky", "skipped")]


def test_the_log_and_the_report(run, caplog):
    """Each step is told once, a failed one too, with its reason; the error says what did not run."""
    caplog.set_level(logging.INFO, "outlive")
    lines = []

    def broken():
        raise ValueError("row 7 has no city\nand more")

    with pytest.raises(ValueError, match="row 7") as caught:
        run({"a": int, "broken": broken, "c": int}, report=lines.append)
    assert lines == ["ran a", "failed broken (ValueError: row 7 has no city)"]
    told = [(one.step, one.outcome, one.reason) for one in caplog.records]
    assert told == [("a", "ran", ""), ("broken", "failed", "ValueError: row 7 has no city")]
    assert all(one.seconds >= 0 for one in caplog.records)
    assert caught.value.__notes__ == ["in step 'broken'; the steps before it stay marked as done; not run: c"]


def test_checkpoints_inside_an_output(tmp_path):
    """Marks that would go with an output directory are warned of; those beside it are not."""
    out = tmp_path / "out"
    out.mkdir()
    with pytest.warns(RuntimeWarning, match=r"^directory='.*marks' of the checkpoints lies inside"):
        run_steps([named("a", [], outputs=out)], checkpoints=Checkpoints(out / "marks"), report=str)
    run_steps([named("a", [], outputs=out)], checkpoints=Checkpoints(tmp_path / "out-marks"), report=str)


@pytest.mark.parametrize(
    "declared",
    [{"outputs": 5}, {"inputs": 5}, {"retry": 3}, {"version": 2}, {"name": 1}, {"after": 7}, {"params": [1]}],
)
def test_bad_declarations(declared):
    """What cannot be declared is refused by name and value."""
    ((name, value),) = declared.items()
    with pytest.raises(TypeError, match=f"^{name}=") as caught:
        step(**declared)(lambda: None)
    assert str(value) in str(caught.value)


def test_a_bar_on_a_terminal(tmp_path):
    """On a terminal it is shown how far the pipeline is, and gone at the end; steps' own lines stay."""
    pytest.importorskip("rich", reason="needs rich: pip install 'outlive[harness]'")
    program = "from outlive import run_steps; run_steps({'one': lambda: print('hello'), 'two': int})"
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=theirs, cwd=tmp_path, env=environment
    ) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
        assert child.wait(60) == 0
    os.close(ours)
    assert b"0/2" in shown
    assert b"1/2" in shown
    for line in (b"hello\r\n", b"ran one\r\n", b"ran two\r\n"):
        assert line in shown
