"""Results that are taken over: only where all that they came of is as it was."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from outlive_harness.disk.tree import Entry
from outlive_harness.explore.engine import explore
from outlive_harness.golden.record import Record
from outlive_harness.history.ledger import Ledger
from outlive_harness.history.store import Store
from outlive_harness.history.unfinished import UnfinishedTrials
from outlive_harness.jobs.session import Session
from outlive_harness.results.findings import Finding
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Point
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.trials import Outcome, Trial

#: Each run of a body leaves a mark outside its box.
GOOD = """
import os
from pathlib import Path
from outlive_harness import scenario

@scenario(outputs="o", input="given")
def NAME():
    with open("MARKS/marks-NAME", "a") as marks:
        marks.write("x")
    text = Path("HERE/data/letters").read_text() + str(sorted(os.listdir("HERE/data")))
    with open("HERE/data/table", "r+") as table:
        text += table.read()
    import extra
    Path("t").write_text(text + extra.TEXT)
    os.replace("t", "o")
"""
ASKED = ".execute('select t from l').fetchone()[0]"
BAD = """
from pathlib import Path
from outlive_harness import scenario

@scenario(outputs="o")
def bad():
    Path("o").write_text("x")
"""


@pytest.fixture
def marks(tmp_path_factory):
    """A directory that is neither a box nor the user's."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture
def project(tmp_path, marks):
    """A directory with two scenarios that hold, the data and the module that they read."""
    for name in ("scenarios", "data", "lib", "scenarios/given"):
        (tmp_path / name).mkdir()
    (tmp_path / "scenarios" / "given" / "letter").write_text("b")
    (tmp_path / "data" / "letters").write_text("abc")
    (tmp_path / "data" / "table").write_text("1 2 3")
    (tmp_path / "lib" / "extra.py").write_text("TEXT = 'one'\n")
    (tmp_path / "lib" / "late.py").write_text("# what only a recovery might import\n")
    for name in ("first", "second"):
        source = GOOD.replace("NAME", name).replace("HERE", str(tmp_path)).replace("MARKS", str(marks))
        (tmp_path / "scenarios" / f"{name}.py").write_text(source)
    return tmp_path


def environment(project):
    return {**os.environ, "PYTHONPATH": str(project / "lib")}


def outlive(project, *options, status=0):
    """Run all scenarios; return the JSON report's and what was said."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "outlive_harness", "test", "-j", "1", "--json", "report.json", *options],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    found = json.loads((project / "report.json").read_text())["scenarios"]
    return {one["name"]: one for one in found}, done.stdout + done.stderr


@pytest.fixture
def explored(marks):
    """Return which scenarios have run since this was asked last."""

    def asked():
        found = sorted(marks.glob("marks-*"))
        for path in found:
            path.unlink()
        return [path.name.removeprefix("marks-") for path in found]

    return asked


def test_what_has_not_changed_is_left_out(project, explored):
    """The verdict and the numbers are those of the run that they came of, and the report says so."""
    before, _ = outlive(project)
    assert explored() == ["first", "second"]
    after, _ = outlive(project, "--changed")
    assert explored() == []
    for name in ("first", "second"):
        assert after[name]["verdict"] == "held"
        assert after[name]["faults"] == before[name]["faults"]
        assert "nothing that it rests on has changed" in after[name]["reason"]
    outlive(project)
    assert explored() == ["first", "second"]  # without the option all are run


def change(project, what):
    path = {
        "a file": "data/letters",
        "a file that might have been written": "data/table",
        "a module": "lib/extra.py",
        "a module beside it": "lib/late.py",
        "the input": "scenarios/given/letter",
        "a file beside it": "scenarios/_beside.py",
    }.get(what, "")
    if what == "the names in a directory":
        (project / "data" / "more").touch()
    elif what == "the options":
        return ["--seed", "7"]
    else:
        times = (project / path).stat()
        (project / path).write_text((project / path).read_text() + "\n")
        os.utime(project / path, ns=(times.st_atime_ns, times.st_mtime_ns))  # only the content tells
    return []


def test_whatever_a_golden_run_read_counts(project, explored):
    """A file, a module, a directory, the options: each is noticed, by content and not by time."""
    (project / "scenarios" / "second.py").rename(project / "scenarios" / "_beside.py")
    outlive(project)
    explored()
    for what in (
        "a file",
        "a file that might have been written",
        "a module",
        "a module beside it",
        "the input",
        "a file beside it",
        "the names in a directory",
        "the options",
    ):
        options = change(project, what)
        outlive(project, "--changed", *options)
        assert explored() == ["first"], what


def test_what_is_opened_for_reading_and_writing_was_read(project, explored):
    """A database outside the box, which SQLite opens so although it is only asked."""
    data = project / "letters.db"
    (project / "scenarios" / "second.py").unlink()
    source = (project / "scenarios" / "first.py").read_text()
    changed = source.replace("+ str(sorted", f"+ __import__('sqlite3').connect('{data}'){ASKED} + str(sorted")
    assert changed != source
    (project / "scenarios" / "first.py").write_text(changed)
    for text in "ab":
        data.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(data)) as base, base:
            base.execute("create table l (t)")
            base.execute("insert into l values (?)", [text])
        outlive(project, "--changed")
        assert explored() == ["first"], text
    outlive(project, "--changed")
    assert explored() == []


def test_a_module_that_is_compiled_is_known_by_its_source(project, explored):
    """Python reads the compiled module, and of the source only its time."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", "lib"], cwd=project, check=True, timeout=60)
    outlive(project)
    explored()
    change(project, "a module")
    outlive(project, "--changed")
    assert explored() == ["first", "second"]


def test_what_is_violated_is_run_again(project):
    """Only what held is left out."""
    (project / "scenarios" / "bad.py").write_text(BAD)
    outlive(project, status=1)
    after, _ = outlive(project, "--changed", status=1)
    assert after["bad"]["violations"]
    assert not after["bad"]["reason"].startswith("as on")
    assert after["second"]["reason"].startswith("as on")


def test_an_interrupted_run_goes_on_where_it_stopped(project, explored, monkeypatch):
    """What was finished is taken over, whatever its verdict; then there is nothing to resume any more."""
    monkeypatch.setenv("PYTHONPATH", str(project / "lib"))
    monkeypatch.chdir(project)
    (project / "scenarios" / "bad.py").write_text(BAD)
    options = Options(store=project / ".outlive")
    ledger = Ledger(Store(options.store))
    ledger.begin()
    with Session(jobs=1) as session:
        for name in ("bad", "first"):
            explore(session, load_file(project / "scenarios" / f"{name}.py"), options, ledger=ledger)
    explored()  # and here the run is cut short
    after, _ = outlive(project, "--resume", status=1)
    assert explored() == ["second"]
    assert {name: one["verdict"] for name, one in after.items()} == {
        "bad": "violated",
        "first": "held",
        "second": "held",
    }
    _, said = outlive(project, "--resume", status=1)
    assert "was not cut short" in said
    assert explored() == ["first", "second"]


def test_a_damaged_entry_is_none(project, explored):
    """It is explored again, and nothing is said: nobody has lost anything."""
    (project / "scenarios" / "second.py").unlink()
    outlive(project)
    explored()
    for text in ("", "[]", '{"key": 1}', '{"result": {"verdict": "held"}}'):
        for path in (project / ".outlive" / "results").glob("*.json"):
            path.write_text(text)
        outlive(project, "--changed")
        assert explored() == ["first"], text


SET_UP = """
import shutil
from outlive_harness import scenario

def copy():
    shutil.copy2("HERE/data/letters", "letters")

copied = scenario(command=["sh", "-c", "sort letters > t && mv t o"], outputs="o", setup=copy)
"""


def test_what_a_setup_copies_is_part_of_what_a_result_came_of(tmp_path):
    """The run reads the copy in its box, and only the setup knows where that is from."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letters").write_text("a")
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "copied.py").write_text(SET_UP.replace("HERE", str(tmp_path)))
    outlive(tmp_path)
    (tmp_path / "data" / "letters").touch()
    assert "nothing that it rests on has changed" in str(outlive(tmp_path, "--changed"))
    (tmp_path / "data" / "letters").write_text("b")
    assert "nothing that it rests on has changed" not in str(outlive(tmp_path, "--changed"))


LONG = """
import os, time
from pathlib import Path
from outlive_harness import scenario

@scenario(outputs="o", faults=("kill", "full"))
def long():
    with open("HERE/marks-long", "a") as marks:
        marks.write("x")
    time.sleep(0.01)
    Path("log").unlink(missing_ok=True)
    for n in range(7):
        with open("log", "a") as log:
            log.write(f"{n}\\n")
    os.replace("log", "o")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_scenario_that_was_cut_short_goes_on_in_the_middle(tmp_path, marks, number):
    """What was struck is not struck again, and the result is that of a run in one go."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "long.py").write_text(LONG.replace("HERE", str(marks)))
    marks = marks / "marks-long"
    whole, _ = outlive(tmp_path)
    count = marks.stat().st_size
    marks.unlink()
    command = [sys.executable, "-P", "-m", "outlive_harness", "test", "-j", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), **quiet) as cut:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (marks.exists() and marks.stat().st_size > 0.7 * count):
            time.sleep(0.005)
        cut.send_signal(number)
    (kept,) = (tmp_path / ".outlive" / "results").glob("*.trials")
    assert kept.read_text().count("\n") > 10
    marks.unlink()
    after, _ = outlive(tmp_path, "--resume")
    assert marks.stat().st_size < 0.7 * count
    assert after["long"]["verdict"] == "held"
    assert after["long"]["faults"] == whole["long"]["faults"]
    assert list((tmp_path / ".outlive" / "results").glob("*.trials")) == []


def test_trials_are_kept_as_they_were(tmp_path):
    """What is read back is what was kept, but for a line that was cut off and trials that may yet be done."""
    done = Trial(
        (Point("power", 3, lost=("2", "1.1")),),
        outcome=Outcome.JUDGED,
        state="s",
        acks=["\udcff"],
        findings=[Finding("diverged", "o", "a message", "and more")],
        left=(("o", "a file"),),
    )
    path, came_of = tmp_path / "x.trials", {"key": "k", "reads": {"/lib": "d"}}
    first = UnfinishedTrials(path, came_of, resume=False)
    for trial in (
        done,
        Trial((Point("power", 4),), outcome=Outcome.FAILED, trouble="no room"),
        Trial((Point("kill", 1),) * 2),
    ):
        first.add("power", trial)
    first.close()
    with path.open("a") as file:
        file.write('["power", {"plan": "power@5"')
    again = UnfinishedTrials(path, came_of, resume=True)
    assert again.known("power") == {done.plan: done}
    assert again.known("kill") == {}
    again.add("kill", Trial((Point("kill", 7),)))
    again.close()
    assert set(UnfinishedTrials(path, came_of, resume=True).known("kill")) == {(Point("kill", 7),)}
    assert UnfinishedTrials(path, {**came_of, "key": "other"}, resume=True).known("power") == {}
    assert UnfinishedTrials(path, came_of, resume=False).known("power") == {}


@pytest.mark.parametrize("text", ["", "{}", '{"key": "k"}\n[]\n', '{"key": "k"}\n["kill", {"plan": "x"}]\n'])
def test_damaged_trials_are_none(tmp_path, text):
    """They are done again, and the file is begun anew."""
    path = tmp_path / "x.trials"
    path.write_text(text)
    again = UnfinishedTrials(path, {"key": "k"}, resume=True)
    assert again.known("kill") == {}
    again.add("kill", Trial((Point("kill", 7),)))
    again.close()
    assert len(UnfinishedTrials(path, {"key": "k"}, resume=True).known("kill")) == 1


def test_trials_of_another_run_are_none(tmp_path):
    """Neither those of the run before the last are taken up, nor those of one that goes on beside it."""
    path = tmp_path / "x.trials"
    trials = [Trial((Point("kill", number),), outcome=Outcome.JUDGED) for number in (1, 2, 3)]
    lenient = UnfinishedTrials(path, {"key": "lenient"}, resume=False)
    lenient.add("kill", trials[0])
    strict = UnfinishedTrials(path, {"key": "strict"}, resume=False)
    strict.add("kill", trials[1])
    lenient.add("kill", trials[2])
    assert list(UnfinishedTrials(path, {"key": "strict"}, resume=True).known("kill")) == [trials[1].plan]
    UnfinishedTrials(path, {"key": "strict"}, resume=False)  # and is cut short before its first trial
    assert UnfinishedTrials(path, {"key": "strict"}, resume=True).known("kill") == {}
    lenient.close()
    strict.close()


def test_trials_under_another_environment_or_of_another_run_are_none(project, monkeypatch):
    """A recovery may depend on what the golden run does not; what a shell sets by itself is no difference."""
    (scenario,) = load_file(project / "scenarios" / "first.py")
    ledger = Ledger(Store(project / ".outlive"))

    def head(**facts):
        record = Record(run_spec_of(scenario), project)
        for name, value in facts.items():
            setattr(record, name, value)
        return ledger.unfinished(scenario, {"key": "k"}, record)._head

    first = head()
    monkeypatch.setenv("SHLVL", "7")
    assert head() == first
    assert (
        len({first, head(value="1"), head(acks=["stored"]), head(final={"o": Entry("file", 0, 1, "d")})}) == 4
    )
    monkeypatch.setenv("MODE", "bad")
    assert head() != first


STATIC = """
#include <fcntl.h>
#include <unistd.h>
#include <stdio.h>
int main() {
    int f = open("t", O_WRONLY | O_CREAT, 0644);
    write(f, WORD, 5);
    return close(f) || rename("t", "o");
}
"""


@pytest.mark.parametrize("how", ["directly", "by a shell", "by a descriptor"])
def test_a_program_that_opens_nothing_is_noted_where_it_is_executed(project, how):
    """One that is linked statically reads no file; when it is another, the scenario is run again."""
    for word in ('"first"', '"other"'):
        (project / "tool.c").write_text(STATIC.replace("WORD", word))
        argv = ["gcc", "-static", "-w", "-o", f"tool-{word.strip(chr(34))}", "tool.c"]
        subprocess.run(argv, cwd=project, check=True, timeout=60)
    tool = project / "tool"
    (project / "tool-first").rename(tool)
    command = {
        "directly": [str(tool)],
        "by a shell": ["sh", "-c", f"{tool}; true"],
        "by a descriptor": [
            sys.executable,
            "-c",
            f"import os; os.execve(os.open({str(tool)!r}, os.O_PATH), ['tool'], {{}})",
        ],
    }[how]
    for name in ("first", "second"):
        (project / "scenarios" / f"{name}.py").unlink()
    (project / "scenarios" / "runs.py").write_text(
        f"from outlive_harness import scenario\nruns = scenario(command={command!r}, outputs='o')\n"
    )
    outlive(project)
    found, _ = outlive(project, "--changed")
    assert "has changed" in found["runs"]["reason"]
    (project / "tool-other").rename(tool)
    found, said = outlive(project, "--changed")
    assert not found["runs"]["reason"]
    assert "tested again: tool has changed" in said


def test_a_box_that_is_opened_by_its_absolute_path_is_no_input(project):
    """Each mark_done() of the library opens its directory so: the next run's box has another path."""
    for name in ("first", "second"):
        (project / "scenarios" / f"{name}.py").unlink()
    (project / "scenarios" / "opens.py").write_text("""
import os
from pathlib import Path
from outlive import atomic_write, mark_done, step_done
from outlive_harness import scenario

@scenario(outputs="o")
def opens():
    for path in (os.getcwd(), os.getcwd() + "/", os.getcwd() + "//.", os.path.dirname(os.getcwd())):
        os.close(os.open(path, os.O_RDONLY))
    if not step_done("o"):
        atomic_write("o", "x")
        mark_done("o")
""")
    outlive(project)
    found, _ = outlive(project, "--changed")
    assert "nothing that it rests on has changed" in found["opens"]["reason"]


def test_why_a_scenario_is_tested_again_is_said(project):
    """The file that has changed, is new or is gone is named; so is the declaration or the options."""
    outlive(project)
    (project / "data" / "letters").write_text("xyz")
    assert "tested again: data/letters has changed" in outlive(project, "--changed")[1]
    (project / "scenarios" / "given" / "more").write_text("x")
    assert "tested again: scenarios/given/more is new" in outlive(project, "--changed")[1]
    (project / "scenarios" / "given" / "more").unlink()
    assert "tested again: scenarios/given/more is gone" in outlive(project, "--changed")[1]
    assert "tested again: the options changed" in outlive(project, "--changed", "--seed", "7")[1]
    damaged = next((project / ".outlive" / "results").glob("first-*.json"))
    damaged.write_text("[" * 200_000)
    assert "its last result cannot be read" in outlive(project, "--changed", "--seed", "7")[1]
