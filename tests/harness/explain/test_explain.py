"""From a violation to the line to change: sources, causes, and advice that was tried."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from outlive_harness.explain.align import aligned
from outlive_harness.explain.causes import causes, located
from outlive_harness.explain.frames import Frame
from outlive_harness.explain.repairs import numbered, repairs
from outlive_harness.explain.sources import Source
from outlive_harness.explain.task import blamed, explain
from outlive_harness.explore.engine import explore
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.results.findings import Violation
from outlive_harness.results.ops import Op
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Point
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import Verdict

#: A pipeline of two steps, each with an output and a marker; what is in {} differs.
PIPELINE = """
import os

def save(path, text):
{save}

def sync(directory):
    fd = os.open(directory or ".", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

os.makedirs("out", exist_ok=True)
sync(".")
for step in ("clean", "join"):
    if not os.path.exists(step + ".done"):
{step}
"""
IN_PLACE = """
    with open(path, "w") as f:  # culprit
        f.write(text)
"""
BESIDE = """
    with open(path + ".t", "w") as f:
        f.write(text)
    os.rename(path + ".t", path)  # culprit
"""
SYNCED = """
    with open(path + ".t", "w") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".t", path)  # culprit
"""
CAREFUL = SYNCED + "    sync(os.path.dirname(path))\n"
RIGHT = """
        save("out/" + step, step * 1000)
        save(step + ".done", "")
"""
WRONG = """
        save(step + ".done", "")  # culprit of the order
        save("out/" + step, step * 1000)
"""


@pytest.fixture
def explained(tmp_path, session):
    """Write a program, explore it, and return its result with all that is said of its violations."""

    def run(source, faults, *, command=None, **options):
        place = tmp_path / str(len(list(tmp_path.iterdir())))  # what one session has recorded it keeps
        place.mkdir()
        program = place / "pipe.py"
        program.write_text(source)
        argv = command or [sys.executable, str(program)]
        path = place / "it.py"
        path.write_text(
            f"from outlive_harness import scenario\nit = scenario(command={argv!r}, outputs='out/*')\n"
        )
        wish = Options(faults=faults, store=tmp_path / ".outlive", **options)
        (result,) = explore(session, load_file(path), wish, explain=explain).scenarios
        return result

    return run


def line_of(source, words):
    return 1 + next(number for number, line in enumerate(source.splitlines()) if words in line)


@pytest.mark.parametrize(
    ("save", "faults", "words"),
    [
        (IN_PLACE, ("kill",), "to a temporary file beside it, fsync, and rename it into place"),
        (BESIDE, ("power",), "fsync the file before the rename"),
        (SYNCED, ("power",), "fsync the directory after the rename"),
    ],
)
def test_advice_names_the_line_and_following_it_makes_all_hold(explained, save, faults, words):
    """What is wrong is found at its line; the program that does as it was told holds."""
    source = PIPELINE.format(save=save, step=RIGHT)
    result = explained(source, faults)
    assert result.verdict is Verdict.VIOLATED
    place = f"pipe.py:{line_of(source, '# culprit')} in save"
    for violation in result.violations:
        assert violation.source.endswith(place)
        assert words in violation.advice
        assert place in violation.advice
        assert violation.advice.endswith(" states then hold")
    assert explained(PIPELINE.format(save=CAREFUL, step=RIGHT), faults).verdict is Verdict.HELD


def test_a_marker_that_comes_too_early_is_told(explained):
    """The advice is to make the marker after the output, and its line is the marker's."""
    source = PIPELINE.format(save=CAREFUL, step=WRONG)
    result = explained(source, ("kill",))
    assert {violation.kind for violation in result.violations} == {"diverged"}
    first = result.violations[0]
    assert "make clean.done after out/clean, not before it" in first.advice
    assert first.stack[0].endswith("in save")
    assert first.stack[1].endswith(f"pipe.py:{line_of(source, 'culprit of the order')}")


def test_what_no_repair_cures_gets_no_advice(explained):
    """A pipeline that refuses to run again has its line, and no word that was not tried."""
    source = """
import os, sys
if os.path.exists("lock"): sys.exit("still locked")
os.mkdir("out")
open("lock", "w").close()  # here
for i in range(5): os.mkdir(f"out/{i}")
os.unlink("lock")
"""
    result = explained(source, ("kill",))
    (found,) = [one for one in result.violations if one.kind == "recovery-failed" and one.fault]
    assert found.advice == ""
    assert found.source


def test_a_shell_is_told_by_the_command_of_the_process(explained):
    """Of a program that is not Python the process that made the op is named."""
    script = "mkdir -p out; seq 9000 > data.t; cp data.t out/data"
    result = explained("", ("kill",), command=["sh", "-c", script])
    (found,) = [one for one in result.violations if one.kind == "torn-output"]
    assert found.source == "`cp data.t out/data`"
    assert "write out/data to a temporary file beside it" in found.advice


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("['sh', '-c', 'echo 1111 > out/data']", "`sh -c 'echo 1111 > out/data'`"),
        ("['sh', '-c', 'cp data out/data; :']", "`cp data out/data`"),
        ('[sys.executable, \'-c\', \'open("out/data", "w").write("1111")\']', "python3 -c 'open("),
    ],
)
def test_a_program_that_a_python_program_runs_is_told_with_the_line_that_runs_it(explained, argv, told):
    """The op is the child's; the line to change is the one that starts it."""
    source = f"""
import os, subprocess, sys
os.makedirs("out", exist_ok=True)
with open("data.t", "w") as f: f.write("1111")
os.rename("data.t", "data")

def load():
    subprocess.run({argv}, check=True)  # culprit

load()
"""
    result = explained(source, ("kill",))
    (found,) = [one for one in result.violations if one.kind == "torn-output"]
    place, running, command = found.source.partition(", running ")
    assert place.endswith(f"pipe.py:{line_of(source, 'culprit')} in load")
    assert running
    assert told in command.replace(Path(sys.executable).name, "python3")
    assert [frame.rpartition("/")[2] for frame in found.stack] == ["pipe.py:8 in load", "pipe.py:10"]


def test_what_a_later_command_makes_of_a_crash_is_told_by_the_one_that_it_struck(explained):
    """The sum is wrong, and the command to change is the one that left half the list that it is made of."""
    script = "mkdir -p out; [ -e out/list ] || seq 900 > out/list; wc -l < out/list > out/sum"
    result = explained("", ("kill",), command=["sh", "-c", script])
    found = {one.path: one for one in result.violations if one.kind == "diverged"}
    assert {one.source for one in found.values()} == {"`seq 900 > out/list`"}
    assert "it into place at `wc -l > out/sum`" in found["out/sum"].advice


def test_advice_asks_for_nothing_that_is_not_needed(explained):
    """Each op of a shell is a place of its own; what is removed in the end needs no care."""
    script = "mkdir -p out; echo $$ > out/busy; echo done > out/a; rm out/busy"
    (found,) = explained("", ("kill",), command=["sh", "-c", script]).violations
    assert found.advice.startswith("write out/a to a temporary file beside it")
    assert found.advice.count("temporary file") == 1


def test_a_crash_of_a_recovery_is_traced_in_the_recovery(explained):
    """The line is one that only a restart comes to."""
    source = """
import os
os.makedirs("out", exist_ok=True)
if os.path.exists("half"):
    os.rename("half", "moved")  # only here
    os.rename("moved", "half")
elif os.path.exists("moved"):
    raise SystemExit("never thought of")
for name in "abc": os.makedirs("out/" + name, exist_ok=True)
if not os.path.exists("end"):
    if not os.path.exists("half"): os.mkdir("half")
    os.rmdir("half")
    os.mkdir("end")
"""
    result = explained(source, ("kill",), depth=2)
    deep = [one for one in result.violations if "+" in one.point]
    assert deep
    assert all(one.source.endswith(f"pipe.py:{line_of(source, 'only here')}") for one in deep)


def test_nobody_asked(explained):
    """Without an explanation asked for, none is made."""
    result = explained(PIPELINE.format(save=IN_PLACE, step=RIGHT), ("kill",), explain="none")
    assert result.violations
    assert not any(one.source or one.advice for one in result.violations)


# -- parts -------------------------------------------------------------------------------------------


def op(kind, path, target="", **more):
    return Op(kind, kind, path, target, **more)


def made(path):
    return op("open", path, flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC)


def outputs(path):
    return path.startswith("out/")


def kinds(repair, ops):
    trace = repair.apply(numbered(ops), frozenset(repair.sites))
    return [(one.op.kind, one.op.path) for one in trace]


def test_a_careful_trace_has_nothing_to_repair():
    """File, rename, directory, then the marker in the same way: no repair is proposed."""
    ops = []
    for path in ("out/a", "out/a.done"):
        ops += [made(f"{path}.t"), op("write", f"{path}.t", length=1), op("fsync", f"{path}.t")]
        ops += [op("rename", f"{path}.t", path), op("fsync", "out")]
    assert repairs(ops, lambda path: path == "out/a") == []


def test_each_habit_is_applied_where_it_is_missing():
    """The fsync of a file comes before its rename, that of the directory after it, and nowhere twice."""
    ops = [made("t"), op("write", "t", length=1), op("rename", "t", "out/a"), op("mkdir", "out/b")]
    file, directory = (one for one in repairs(ops, outputs) if one.habit in ("file", "directory"))
    assert (file.sites, file.say(3)) == ((3,), "fsync the file before the rename")
    assert kinds(file, ops)[2:4] == [("fsync", "t"), ("rename", "t")]
    assert (directory.sites, directory.say(4)) == ((3, 4), "fsync the directory after the mkdir")
    assert kinds(directory, ops) == [
        ("open", "t"), ("write", "t"), ("rename", "t"), ("fsync", "out"),
        ("mkdir", "out/b"), ("fsync", "out"),
    ]  # fmt: skip


def test_an_output_is_written_beside_its_place():
    """All of its ops are on the other name; then come fsync, rename and fsync of the directory."""
    ops = [made("out/a"), op("write", "out/a", length=1, data=b"x"), op("mkdir", "other")]
    beside = next(one for one in repairs(ops, outputs) if one.habit == "beside")
    other = "out/a.outlive-repaired"
    assert kinds(beside, ops) == [
        ("open", other), ("write", other), ("fsync", other), ("rename", other), ("fsync", "out"),
        ("mkdir", "other"),
    ]  # fmt: skip


def test_a_lock_is_not_written_beside_its_place():
    """Another file under its name would be another lock."""
    ops = [op("open", "run.x", flags=os.O_CREAT), op("write", "run.x", length=9), op("truncate", "run.x")]
    ops += [made("state/LOCK"), op("write", "state/LOCK", length=1), made("a"), op("write", "a", length=1)]
    (beside,) = (one for one in repairs(ops, lambda _: True) if one.habit == "beside")
    assert beside.sites == (6,)


def test_violations_of_one_line_are_one_cause():
    """Kind, line and path with its numbers folded are the cause; the smallest example leads."""

    def violation(point, path="out/7", source="pipe.py:3 in save", kind="diverged"):
        return Violation(kind, point.partition("@")[0], point, "", path, "", "", f"it:{point}", source=source)

    several = [
        violation("power@3-1,2"), violation("kill@9"), violation("kill@8", "out/12"),
        violation("kill@1+kill@1"),
        violation("kill@2", source="pipe.py:4"), violation("kill@2", kind="torn-output"), violation(""),
    ]  # fmt: skip
    found = causes(several)
    assert [(one.lead.point, len(one.others)) for one in found] == [("", 4), ("kill@2", 0), ("kill@2", 0)]
    assert causes(several[:4])[0].lead.point == "kill@8"


def test_the_users_own_line_leads():
    """Frames of packages are passed over; where there are no others, the innermost is told."""
    library = Frame("acme/io.py", 9, "copy", "acme 1.2")
    own = Frame("/x/pipe.py", 3, "Store.save")
    assert str(Source((library, own))) == "/x/pipe.py:3 in Store.save"
    assert Source((library, own)).within == library
    assert Source((own, library)).within is None
    assert str(Source((library,))) == "acme/io.py:9 in copy"
    assert str(Source(command=("sh", "-c", "a\nb"))) == "`sh -c 'a b'`"
    assert str(Source((own,), ("cp", "a", "b"))) == "/x/pipe.py:3 in Store.save, running `cp a b`"
    assert str(Source()) == ""


def test_a_line_is_found_again_in_what_is_told_of_it():
    """Whatever stands behind it, and not in a command that looks like one."""
    place = ("/x/pipe.py", 3)
    for more in ("", " in save", ", running `cp a b`", " in save, in another thread", ", in another thread"):
        assert located(f"/x/pipe.py:3{more}") == place
    assert located("`sh -c 'sort in > out:3'`") is None


@pytest.mark.parametrize(
    ("name", "ops"),
    [("kill", 2), ("torn", 3), ("full", 3), ("eio", 3), ("term", 3), ("power", 3), ("ext4", 3), ("timer", 0)],
)
def test_each_fault_says_which_op_it_blames(name, ops):
    """What ran before a kill did it; an op that failed, was cut or was lost is to blame itself."""
    trace = [op("mkdir", "a"), op("mkdir", "b"), op("mkdir", "c"), op("mkdir", "d")]
    assert blamed(trace, "diverged", "a", (Point(name, 3),)) == ops


@pytest.mark.parametrize(
    ("blames", "counts_ops", "expected"), [("op", True, 3), ("before", True, 2), ("op", False, 0)]
)
def test_a_fault_that_is_added_is_blamed_by_its_traits(monkeypatch, blames, counts_ops, expected):
    """No fault is known by its name."""
    added = SimpleNamespace(name="added", intercepts=True, blames=blames, counts_ops=counts_ops)
    monkeypatch.setitem(FAULTS, "added", added)
    trace = [op("mkdir", "a"), op("mkdir", "b"), op("mkdir", "c")]
    assert blamed(trace, "diverged", "a", (Point("added", 3),)) == expected


# -- one run beside another --------------------------------------------------------------------------


def places(first, second):
    made = Record(SimpleNamespace(is_ignored=lambda _: False, read=(), mask=()), Path("none"))
    return aligned(made, [op(*one) for one in first], [op(*one) for one in second])


def test_ops_of_threads_that_took_other_turns_find_each_other():
    """Each op has its like, wherever the other run has it."""
    one = [("open", "a"), ("open", "b"), ("write", "a"), ("write", "b"), ("mkdir", "end")]
    other = [("open", "b"), ("write", "b"), ("open", "a"), ("write", "a"), ("mkdir", "end")]
    assert places(one, one) == [0, 1, 2, 3, 4]
    assert places(one, other) == [2, 0, 3, 1, 4]


def test_ops_on_names_with_a_random_part_find_each_other():
    """By their numbers, or, where nothing is alike in them, by what they follow."""
    one = [
        ("mkdir", "a"),
        ("open", "t-4711.part"),
        ("rename", "t-4711.part", "t"),
        ("open", "qXz_"),
        ("rmdir", "a"),
    ]
    other = [
        ("mkdir", "a"),
        ("open", "t-99.part"),
        ("rename", "t-99.part", "t"),
        ("open", "wv_L"),
        ("rmdir", "a"),
    ]
    assert places(one, other) == [0, 1, 2, 3, 4]
    assert places([*one, ("mkdir", "more")], other) == [0, 1, 2, 3, 4, -1]
