"""run_steps: in order, once each, and on from where it stopped."""

# Names are compared as text.
# ruff: noqa: PTH208

import concurrent.futures
import contextlib
import functools
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from outlive import Checkpoints, StepResult, atomic_write, run_steps

DEMO = """
import os, signal, sys
from pathlib import Path
from outlive import atomic_write, run_steps

OUT = Path("out")
OUT.mkdir(exist_ok=True)

def fetch():
    atomic_write(OUT / "fetched.txt", "".join(f"{number}\\n" for number in range(100)))

def clean():
    atomic_write(OUT / "clean.txt", (OUT / "fetched.txt").read_text().replace("7", ""))

def count():
    atomic_write(OUT / "count.txt", str(len((OUT / "clean.txt").read_text().splitlines())))

def total():
    total = sum(int(line or 0) for line in (OUT / "clean.txt").read_text().splitlines())
    atomic_write(OUT / "total.bin", total.to_bytes(8, "big"))

def report():
    atomic_write(OUT / "report.txt", f"{(OUT / 'count.txt').read_text()} lines\\n")

steps = [fetch, clean, count, total, report]
if len(sys.argv) > 1:
    steps.insert(int(sys.argv[1]), ("die", lambda: os.kill(os.getpid(), signal.SIGKILL)))
run_steps(steps)
"""
DEMO_STEPS = ["fetch", "clean", "count", "total", "report"]


def run_demo(folder, *args):
    command = [sys.executable, "-I", "-c", DEMO, *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def tree_of(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def checkpoints(tmp_path):
    """Give checkpoints of their own to each test."""
    return Checkpoints(tmp_path / "marks")


def test_second_pass_over_five_steps(tmp_path):
    """The first pass runs five steps; the second prints five skips and leaves every byte as it was."""
    first = run_demo(tmp_path)
    assert first.stdout.splitlines() == [f"ran {name}" for name in DEMO_STEPS], first.stderr
    after_first = tree_of(tmp_path)
    assert {name for name in after_first if name.startswith("out/")} == {
        f"out/{name}" for name in ("fetched.txt", "clean.txt", "count.txt", "total.bin", "report.txt")
    }
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = run_demo(tmp_path)
    assert second.stdout.splitlines() == [f"skipped {name} (already done)" for name in DEMO_STEPS]
    assert tree_of(tmp_path) == after_first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


@pytest.mark.parametrize("place", range(6))
def test_killed_between_two_steps(tmp_path, place):
    """Killed between any two steps, the pipeline goes on there and ends with the same bytes."""
    for name in ("golden", "killed"):
        (tmp_path / name).mkdir()
    run_demo(tmp_path / "golden")
    assert run_demo(tmp_path / "killed", str(place)).returncode == -signal.SIGKILL
    again = run_demo(tmp_path / "killed")
    expected = [f"skipped {name} (already done)" for name in DEMO_STEPS[:place]]
    assert again.stdout.splitlines() == expected + [f"ran {name}" for name in DEMO_STEPS[place:]]
    assert tree_of(tmp_path / "killed") == tree_of(tmp_path / "golden")


def test_results_and_report(checkpoints):
    """Each step gives one result and one line, in order, and each runs once."""
    ran, lines = [], []
    steps = {"b": lambda: ran.append("b"), "a": lambda: ran.append("a")}
    checkpoints.mark_done("a")
    results = run_steps(steps, checkpoints=checkpoints, report=lines.append)
    assert results == [StepResult("b", "ran"), StepResult("a", "skipped")]
    assert lines == ["ran b", "skipped a (already done)"]
    assert ran == ["b"]
    assert checkpoints.done() == ["a", "b"]


def test_report_is_printed(capsys, checkpoints):
    """Without a report of its own the pipeline prints, and an odd name is printed as its repr."""
    run_steps([("clean", int), ("a\nb", int), ("\ud800", int), ("日本", int)], checkpoints=checkpoints)
    assert capsys.readouterr().out == "ran clean\nran 'a\\nb'\nran '\\ud800'\nran 日本\n"


def test_forms_of_steps(checkpoints):
    """Functions, pairs and mappings name the same steps; a generator of steps will do."""

    def clean():
        pass

    forms = [[clean], [("clean", clean)], {"clean": clean}, (step for step in [clean])]
    for number, steps in enumerate(forms):
        (result,) = run_steps(steps, checkpoints=checkpoints, report=str)
        assert result == StepResult("clean", "skipped" if number else "ran")


def test_no_steps(checkpoints):
    """A pipeline without steps does nothing."""
    assert run_steps([], checkpoints=checkpoints) == []
    assert not Path(checkpoints.directory).exists()


def test_default_checkpoints_are_those_of_the_current_directory(monkeypatch, tmp_path):
    """Without checkpoints the marks are in `.checkpoints` where the pipeline runs."""
    monkeypatch.chdir(tmp_path)
    run_steps([("clean", int)], report=str)
    assert os.listdir(tmp_path / ".checkpoints") == ["clean.done"]


def test_runs_are_told_apart(tmp_path):
    """A later run with another id runs every step again."""
    ran = []
    for run_id in ("monday", "tuesday", "monday"):
        checkpoints = Checkpoints(tmp_path, run_id=run_id)
        run_steps([("clean", functools.partial(ran.append, run_id))], checkpoints=checkpoints, report=str)
    assert ran == ["monday", "tuesday"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_step_that_raises(checkpoints, kind):
    """What a step raises comes through with the step's name; earlier steps stay marked, later do not run."""
    ran = []

    def broken():
        raise kind

    steps = [("first", int), broken, ("last", lambda: ran.append("last"))]
    lines = []
    with pytest.raises(kind) as caught:
        run_steps(steps, checkpoints=checkpoints, report=lines.append)
    assert caught.value.__notes__ == [
        "in step 'broken'; the steps before it stay marked as done; not run: last"
    ]
    assert lines == ["ran first", f"failed broken ({kind.__name__})"]
    assert ran == []
    assert checkpoints.done() == ["first"]


def test_marker_that_cannot_be_written_names_the_step(checkpoints):
    """An error from marking names the step too."""
    Path(checkpoints.directory, "clean.done").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="in step 'clean'"):
        run_steps([("clean", int)], checkpoints=checkpoints)


def test_step_is_marked_after_it_ran_and_before_it_is_reported(checkpoints):
    """The mark is made between the step's end and its report."""
    seen = []

    def look(*_line):
        seen.append(checkpoints.step_done("look"))

    run_steps([look], checkpoints=checkpoints, report=look)
    assert seen == [False, True]


def test_step_whose_body_has_not_run(checkpoints):
    """An async or a generator function is not done when it returns: it is refused and not marked."""

    async def coroutine():
        pass

    def generator():
        yield

    async def both():
        yield

    class Callable:
        async def __call__(self):
            pass

        async def method(self):
            pass

    for step in (
        coroutine,
        generator,
        both,
        functools.partial(functools.partial(coroutine)),
        Callable(),
        Callable().method,
    ):
        with pytest.raises(TypeError, match=r"^steps\[1\]=.* is async or a generator: its call runs none"):
            run_steps([("first", int), ("step", step)], checkpoints=checkpoints)
    for step in (coroutine, generator, both):
        with pytest.raises(TypeError, match=r"^step='step' returned an? .*: its body has not run"):
            run_steps([("step", lambda step=step: step())], checkpoints=checkpoints)
    assert checkpoints.done() == []


class Promised:
    """What can be awaited, and is no coroutine."""

    def __await__(self):
        yield


def test_step_that_may_not_have_ended(checkpoints):
    """What can be awaited, a future and what is made as somebody iterates are refused, and not marked."""
    steps = {
        "promised": Promised,
        "future": concurrent.futures.Future,
        "lazy": lambda: map(print, [1]),
        "chained": lambda: itertools.chain([1]),
    }
    for name, function in steps.items():
        with pytest.raises(TypeError, match=f"^step='{name}' returned a "):
            run_steps({name: function}, checkpoints=checkpoints)
    assert checkpoints.done() == []


def test_step_that_gives_back_what_is_open(checkpoints, tmp_path):
    """A file and a cursor can be iterated over, too; they are no work that is left to do."""
    (tmp_path / "file").write_text("")
    with (tmp_path / "file").open() as file, contextlib.closing(sqlite3.connect(":memory:")) as database:
        steps = {"file": lambda: file, "cursor": lambda: database.execute("SELECT 1"), "list": lambda: [1]}
        run_steps(steps, checkpoints=checkpoints)
    assert checkpoints.done() == ["cursor", "file", "list"]


@pytest.mark.parametrize(
    ("steps", "kind", "message"),
    [
        (5, TypeError, "^steps=5 is not a list of steps"),
        (None, TypeError, "^steps=None is not a list of steps"),
        ("clean", TypeError, "^steps='clean' is not a list of steps"),
        (["clean"], TypeError, r"^steps\[1\]='clean' is not a function"),
        ([("clean", 5)], TypeError, r"^steps\[1\]=\('clean', 5\) is not a function"),
        ([(int,)], TypeError, r"^steps\[1\]=.* is not a function"),
        ([(3, int)], TypeError, r"^steps\[1\]=.* has no name that is a string"),
        ([lambda: None], TypeError, r"^steps\[1\]=.* has no name that is a string"),
        ([functools.partial(int)], TypeError, r"^steps\[1\]=.* has no name that is a string"),
        ([int, ("int", str)], ValueError, r"^steps\[2\]=.* has a name that an earlier step has: 'int'"),
    ],
)
def test_bad_steps(checkpoints, steps, kind, message):
    """Steps that cannot be run as given are refused before the first one runs."""
    ran = []
    if isinstance(steps, list):
        steps = [("first", lambda: ran.append(1)), *steps]
    with pytest.raises(kind, match=message):
        run_steps(steps, checkpoints=checkpoints)
    assert ran == []
    assert not Path(checkpoints.directory).exists()


def test_bad_checkpoints(tmp_path):
    """A path in place of checkpoints is refused, and nothing runs."""
    with pytest.raises(TypeError, match=r"^checkpoints='marks' is not an outlive\.Checkpoints"):
        run_steps([("first", lambda: atomic_write(tmp_path / "ran", ""))], checkpoints="marks")
    assert os.listdir(tmp_path) == []


def test_file_in_place_of_the_directory_stops_before_the_first_step(tmp_path):
    """If there is nowhere to mark, no step runs."""
    (tmp_path / "marks").write_text("")
    with pytest.raises(NotADirectoryError):
        run_steps([("first", lambda: pytest.fail("ran"))], checkpoints=Checkpoints(tmp_path / "marks"))
