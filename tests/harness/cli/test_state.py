"""outlive state: what is marked, why a step would run, and how it is forgotten."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outlive import Checkpoints, atomic_open, run_lock
from outlive._atomic import orphans
from outlive_harness import cli
from outlive_harness.cli import marks

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
    items = run.items("parts", ["a", "b"])
    for item in items:
        items.done(item)
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


def test_why_takes_what_ls_prints(state, marked):
    """Each name as it is listed, that of another run and one that cannot be printed too; ls and why agree."""
    Checkpoints(run_id="monday", store=marked.store).mark_done("fetch")
    listed = [line[21:].partition("  ") for line in state("ls")[1].splitlines()]
    assert [name for name, _, _ in listed] == ["clean", "fetch", "parts", "monday/'a\\nb'", "monday/fetch"]
    for name, _, notes in listed:
        sentence = state("why", name)[1]
        assert sentence.startswith(f"{name} will not run: " if notes == "ok" else f"{name} will run: ")
        assert notes == "ok" or notes.partition(",")[0] in sentence
    facts = json.loads(state("why", "monday/'a\\nb'", "--json", "-")[1])
    assert (facts["run_id"], facts["step"], facts["done"]) == ("monday", "a\nb", True)


def test_clear_takes_what_ls_prints(state, marked):
    """Of one run at a time; a step that is really named so comes first."""
    assert state("clear", "clean", "monday/'a\\nb'")[0] == 2
    assert state("clear", "monday/'a\\nb'") == (0, "forgot monday/'a\\nb'\n", "")
    assert marked.runs() == [""]
    Checkpoints(run_id="monday", store=marked.store).mark_done("fetch")
    marked.mark_done("monday/fetch")
    assert state("clear", "monday/fetch") == (0, "forgot monday/fetch\n", "")
    assert marked.runs() == ["", "monday"]


def test_clear(state, marked):
    """What is named is forgotten, and what was not marked is said."""
    status, out, _ = state("clear", "fetch", "nothing")
    assert (status, out) == (0, "forgot fetch\nnothing was not marked\n")
    assert not Checkpoints(store=marked.store).step_done("fetch")
    assert state("clear", "--all")[1] == "forgot clean\nforgot parts\n"
    assert Checkpoints(store=marked.store).runs() == ["monday"]
    status, _, error = state("clear")
    assert status == 2
    assert "give the names of steps or --all" in error


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
    folder = "would remove .checkpoints/monday\n" if marked.store == "files" else ""
    assert told == f"would remove run monday ({marked.store})\n{folder}would remove {left}\n"
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
    assert "run b is in progress, and stays\n" in out
    assert Checkpoints().runs() == ["b", "newer"]


def test_a_dry_run_of_gc_tells_what_gc_removes(state):
    """The same, to the line: what a live process writes is left out, and so is what holds no marks."""
    run = Checkpoints(run_id="run")
    run.items("s", ["item"]).done("item")
    run.clear()
    run.mark_done("t")
    Path(".checkpoints/run/s.items").mkdir()  # as a run leaves it that is killed while it clears
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


def test_gc_by_age_where_locks_say_nothing(state, monkeypatch):
    """On a network file system temporary files stay, and are told of, unless their age is given."""
    monkeypatch.setattr(orphans, "believes", lambda *_: False)
    monkeypatch.setattr(marks, "is_local", lambda _: False)
    monkeypatch.setattr(orphans, "_time_of", lambda _: time.time_ns() + 2 * 86_400 * 10**9)
    Checkpoints().mark_done("s")
    orphan = Path(".checkpoints/.s.done.0.outlive-tmp")
    orphan.touch()
    told = state("gc")[1]
    assert told.startswith(f"1 temporary file stays, such as {orphan}: this file system has no locks")
    assert "--orphans-older-than DAYS removes" in told
    assert state("gc", "--orphans-older-than", "3") == (0, "", "")
    assert state("gc", "--orphans-older-than", "1", "--dry-run")[1] == f"would remove {orphan}\n"
    assert orphan.exists()
    assert state("gc", "--orphans-older-than", "1")[1] == f"removed {orphan}\n"
    assert not orphan.exists()


def test_a_dry_run_of_gc_tells_what_old_runs_leave_and_makes_no_lock(state):
    """Their directories, which are empty then; and what would be removed is there still, as it was."""
    Checkpoints(run_id="old").items("s", ["item"]).done("item")
    Checkpoints(run_id="held").mark_done("s")
    with run_lock(run_id="held"):
        before = sorted(map(str, Path(".checkpoints").rglob("*")))
        told = state("gc", "--dry-run", "--older-than", "0")[1]
        assert sorted(map(str, Path(".checkpoints").rglob("*"))) == before
        done = state("gc", "--older-than", "0")[1]
    assert sorted(told.replace("would remove", "removed").splitlines()) == sorted(done.splitlines())
    assert "run held is in progress, and stays" in told
    assert "would remove .checkpoints/old\n" in told


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_gc_of_a_run_that_is_not_there(state, marked, options):
    """It removes nothing, and says so."""
    assert state("gc", "--older-than", "0", "--run-id", "nosuch", *options) == (0, "", "")
    assert marked.runs() == ["", "monday"]


@pytest.mark.parametrize("name", ["a b", "x" * 300])
def test_a_damaged_marker_is_forgotten_under_its_steps_name(state, name):
    """And under no other, as that of its file."""
    run = Checkpoints()
    run.mark_done(name)
    (marker,) = Path(".checkpoints").iterdir()
    marker.write_text("")
    assert state("clear", marker.stem)[1] == f"{marker.stem} was not marked\n"
    assert marker.exists()
    assert state("clear", name)[1] == f"forgot {name}\n"
    assert not marker.exists()


def test_json_on_a_full_disk_is_told(state, marked):
    """It is one line and no traceback; a directory is refused before anything is forgotten."""
    status, _, error = state("ls", "--json", "/dev/full")
    assert status == 2
    assert "/dev/full cannot be written: No space left on device" in error
    status, _, error = state("clear", "fetch", "--json", ".checkpoints")
    assert status == 2
    assert ".checkpoints cannot be written: Is a directory" in error
    assert marked.step_done("fetch")
    assert state("clear", "fetch", "--json", "out.json") == (0, "", "")
    assert json.loads(Path("out.json").read_text())["cleared"] == ["fetch"]


def test_a_time_that_no_calendar_has(state, monkeypatch):
    """A mark from far away in time is listed without one."""
    Checkpoints().mark_done("s")
    records = [{"run_id": "", "step": "s", "marked_at": 10**30}]
    monkeypatch.setattr(Checkpoints, "records", lambda _: iter(records))
    assert state("ls") == (0, f"{'-':19}  s  ok\n", "")


def test_why_looks_once(state, marked, monkeypatch):
    """With --verify hash all files that a mark vouches for are read: once."""
    why_stale, looks = Checkpoints.why_stale, []

    def counted(self, name, **options):
        looks.append(name)
        return why_stale(self, name, **options)

    monkeypatch.setattr(Checkpoints, "why_stale", counted)
    assert state("why", "fetch", "--verify", "hash")[1] == "fetch will not run: it is done\n"
    assert looks == ["fetch"]
    assert marked.runs() == ["", "monday"]


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
        assert "--dir='.checkpoints' is not a directory" in error
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
