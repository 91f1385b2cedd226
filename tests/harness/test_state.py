"""outlive state: what is marked, why a step would run, and how it is forgotten."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outlive import Checkpoints, atomic_open, run_lock
from outlive_harness import cli

STORES = ("files", "sqlite")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Work in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def state(capsys):
    """Carry out `outlive state`; return the exit status, what it said, and what it complained of."""

    def run(*arguments):
        status = cli.run(["state", *arguments])
        return (status, *capsys.readouterr())

    return run


@pytest.fixture(params=STORES)
def marked(request):
    """Marks of two runs in each store: steps, items, one whose output is truncated, one that is damaged."""
    run = Checkpoints(store=request.param)
    Path("out.csv").write_text("1,2\n")
    run.mark_done("clean", outputs="out.csv")
    run.mark_done("fetch")
    for _ in run.todo("parts", ["a", "b"]):
        pass
    Checkpoints(run_id="monday", store=request.param).mark_done("a\nb")
    os.truncate("out.csv", 1)
    return run


def test_ls(state, marked):
    """Each step of each run has a line: when it was marked, its items, and whether it still counts."""
    status, out, _ = state("ls")
    assert status == 0
    lines = [(line[:19], line[21:]) for line in out.splitlines()]
    assert marked.runs() == ["", "monday"]
    assert [line for _, line in lines] == [
        "clean  its output out.csv has 1 bytes and had 4 when the step was marked",
        "fetch  ok",
        "parts  it is not marked, 2 items",
        "monday/'a\\nb'  ok",
    ]
    year = time.strftime("%Y-")
    assert [when.strip().startswith(year) for when, _ in lines] == [True, True, False, True]


def test_ls_for_machines(state, marked):
    """The same as JSON, of one run."""
    status, out, _ = state("ls", "--run-id", "monday", "--json", "-")
    facts = json.loads(out)
    (row,) = facts["steps"]
    assert (status, facts["schema"], row["step"], row["doubt"]) == (0, 1, "a\nb", "")
    assert (row["store"], row["run_id"], row["items"]) == (marked.store, "monday", 0)


def test_both_stores_are_listed(state):
    """Where both are, each line says which."""
    for store in STORES:
        Checkpoints(store=store).mark_done("fetch")
    _, out, _ = state("ls")
    assert [line.partition("  ")[2] for line in out.splitlines()] == ["fetch  ok, files", "fetch  ok, sqlite"]
    _, out, _ = state("ls", "--store", "sqlite")
    assert len(out.splitlines()) == 1


def test_a_damaged_marker_is_listed(state):
    """It is told, and not taken for a mark."""
    run = Checkpoints()
    run.mark_done("fetch")
    Path(".checkpoints/fetch.done").write_text("")
    _, out, _ = state("ls")
    assert out.endswith("  fetch  its mark is damaged\n")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fetch", "fetch will not run: it is done\n"),
        ("clean", "clean will run: its output out.csv has 1 bytes and had 4 when the step was marked\n"),
        ("fetsch", "fetsch will run: it is not marked; did you mean fetch?\n"),
    ],
)
def test_why(state, marked, name, sentence):
    """One sentence, by the mark and the files that it vouches for; a name like another is asked back."""
    assert marked.runs() == ["", "monday"]
    assert state("why", name) == (0, sentence, "")
    _, out, _ = state("why", name, "--json", "-")
    assert json.loads(out)["done"] == (name == "fetch")


def test_clear(state, marked):
    """What is named is forgotten, and what was not marked is said."""
    status, out, _ = state("clear", "fetch", "nothing")
    assert (status, out) == (0, "forgot fetch\nnothing was not marked\n")
    assert not Checkpoints(store=marked.store).step_done("fetch")
    assert state("clear", "--all")[1] == "forgot clean\nforgot parts\n"
    assert Checkpoints(store=marked.store).runs() == ["monday"]
    status, _, error = state("clear")
    assert status == 2
    assert "which steps?" in error


def test_clear_while_a_run_is_under_way(state, marked):
    """It is refused, and says who holds the lock; --force does it."""
    program = "import outlive\nwith outlive.run_lock():\n    print('held', flush=True)\n    input()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        status, _, error = state("clear", "fetch")
        assert status == 2
        assert f"pid {holder.pid} " in error
        assert "--force" in error
        assert marked.step_done("fetch")
        assert state("clear", "fetch", "--force")[0] == 0
        holder.communicate("\n")
    assert not Checkpoints(store=marked.store).step_done("fetch")


def test_gc(state, marked):
    """What a killed writer left goes, and old runs where that is asked for; a dry run only tells."""
    left = Path(".checkpoints/.x.done.0.outlive-tmp")
    left.write_text("")
    told = state("gc", "--dry-run", "--older-than", "0")[1]
    assert told == f"would remove run monday ({marked.store})\nwould remove {left}\n"
    assert left.exists()
    status, out, _ = state("gc", "--older-than", "0")
    assert status == 0
    assert f"removed run monday ({marked.store})\n" in out
    assert not left.exists()
    assert Checkpoints(store=marked.store).runs() == [""]
    assert state("gc", "--older-than", "0", "--run-id", "")[0] == 0
    assert Checkpoints(store=marked.store).runs() == []


def test_gc_goes_on_past_a_run_that_is_under_way(state):
    """It stays, and is told of; a run with a mark that does not tell its age stays, too."""
    for name in ("a", "b", "c", "newer"):
        Checkpoints(run_id=name).mark_done("s")
        os.utime(f".checkpoints/{name}/s.done", (1, 1))
    newer = Path(".checkpoints/newer/s.done")
    newer.write_text(newer.read_text().replace('"schema": 1', '"schema": 9'))
    with run_lock(run_id="b"):
        status, out, _ = state("gc", "--older-than", "30")
    assert status == 0
    assert "run b is under way and stays\n" in out
    assert Checkpoints().runs() == ["b", "newer"]


def test_a_dry_run_of_gc_tells_what_gc_removes(state):
    """The same, to the line: what a live process writes is left out, and so is what holds no marks."""
    run = Checkpoints(run_id="run")
    for _ in run.todo("s", ["item"]):
        pass
    run.clear()
    run.mark_done("t")
    Path(".checkpoints/others").mkdir(parents=True)
    Path(".checkpoints/.d.0.outlive-tmp").mkdir()
    Path(".checkpoints/run/.y.done.0.outlive-tmp").touch()
    with atomic_open(".checkpoints/x"):
        told = state("gc", "--dry-run")[1]
        done = state("gc")[1]
        assert Path(".checkpoints/.x.0.outlive-tmp").exists()
    assert sorted(told.replace("would remove", "removed").splitlines()) == sorted(done.splitlines())
    assert len(done.splitlines()) == 3  # two temporaries, and a directory of items
    assert Path(".checkpoints/others").is_dir()


def test_gc_leaves_what_is_new(state, marked):
    """A run that was marked just now stays, and so does all else."""
    assert state("gc", "--older-than", "1") == (0, "", "")
    assert marked.step_done("fetch")
    assert Checkpoints(store=marked.store).runs() == ["", "monday"]


def test_dump(state, marked, place):
    """Each mark is a line of JSON, on the standard output or in a file."""
    _, out, _ = state("dump")
    records = [json.loads(line) for line in out.splitlines()]
    names = [(one["run_id"], one["step"], one.get("item")) for one in records]
    assert names == [
        ("", "clean", None),
        ("", "fetch", None),
        ("", "parts", "a"),
        ("", "parts", "b"),
        ("monday", "a\nb", None),
    ]
    assert records[0]["outputs"]["out.csv"][:2] == ["file", 4]
    assert state("dump", "--output", "marks.jsonl") == (0, "", "")
    assert (place / "marks.jsonl").read_text() == out
    assert len(list(marked.records())) == 4


def test_a_directory_that_is_not_there(state):
    """It is named, with what makes one; nothing is made."""
    for command in (["ls"], ["why", "x"], ["clear", "x"], ["gc"], ["dump"]):
        status, _, error = state(*command)
        assert status == 2
        assert "--dir='.checkpoints' is no directory" in error
    assert list(Path().iterdir()) == []


def test_what_the_library_refuses_is_told(state):
    """A store that is damaged, or of another program, is one line and no traceback."""
    Path(".checkpoints").mkdir()
    Path(".checkpoints/marks.sqlite").write_text("no database" * 100)
    status, _, error = state("ls")
    assert status == 2
    assert "its marks.sqlite cannot be read" in error
    assert "Traceback" not in error


def test_nothing_is_marked(state):
    """An empty directory is no error."""
    Path(".checkpoints").mkdir()
    assert state("ls") == (0, "nothing is marked in .checkpoints\n", "")
    assert state("ls", "--store", "sqlite")[0] == 2
