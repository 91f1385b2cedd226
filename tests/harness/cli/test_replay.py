"""A failure again: found after edits, told in a shell, exported to whoever must see it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness.golden.marks import marks
from outlive_harness.golden.record import Record
from outlive_harness.history.relocate import relocated
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import parse_plan, plan_text
from outlive_harness.results.run_spec import RunSpec

PIPELINE = """
import os
os.makedirs("out", exist_ok=True)
with open("out/report", "w") as f:
    f.write("x" * 5000)
"""


TYPED = "pwd; wc -c < out/report\n"


@pytest.fixture
def outlive(tmp_path, monkeypatch):
    """Run the command line in an empty directory; return (status, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, typed=None, **env):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "outlive_harness", *argv],
            capture_output=True, text=True, timeout=120, check=False, input=typed, env={**os.environ, **env},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def failed(outlive, tmp_path):
    """A pipeline that was seen to fail at kill@3."""
    (tmp_path / "pipe.py").write_text(PIPELINE)
    status, out, _ = outlive("check", "--outputs", "out/*", "--", sys.executable, "pipe.py")
    assert status == 1
    assert "outlive replay pipe:kill@3" in out
    return tmp_path / "pipe.py"


def test_an_unrelated_edit_moves_no_failure(failed, outlive):
    """The op that the id names is found again by what it does, and that is said."""
    failed.write_text(PIPELINE.replace("import os\n", "import os\nos.mkdir('log')\nos.mkdir('log/today')\n"))
    status, out, err = outlive("replay", "pipe:kill@3")
    assert status == 1
    assert "pipe: kill@5" in out
    assert "op 3, 'write out/report', is now op 5" in err


REPAIRED = PIPELINE.replace('"out/report"', '"out/other"') + "os.rename('out/other', 'out/report')\n"


def test_an_op_that_is_gone_is_unknown(failed, outlive):
    """No other op is struck in its place, which would hold: both that op and what is there are told."""
    failed.write_text(REPAIRED)
    status, out, err = outlive("replay", "pipe:kill@3")
    assert (status, err) == (3, "")
    assert out.startswith(
        "unknown: the pipeline has changed: op 3 was 'write out/report', and there is no such op now "
        "(op 3 is 'write out/other')"
    )
    assert "held" not in out
    failed.write_text("import os\nos.mkdir('out')\nos.symlink('x', 'out/report')\n")
    assert "(it makes 2 ops)" in outlive("replay", "pipe:kill@3")[1]


def test_an_op_that_is_gone_is_told_by_what_is_kept_with_the_scenario(outlive, tmp_path):
    """Where .outlive/ has nothing, as for who checked the project out, the regressions know the op."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "pipe.py").write_text(PIPELINE)
    made = "report = scenario(command=[sys.executable, '../pipe.py'], outputs='out/*')\n"
    (tmp_path / "scenarios" / "s.py").write_text(f"import sys\nfrom outlive_harness import scenario\n{made}")
    assert outlive("test")[0] == 1
    shutil.rmtree(tmp_path / ".outlive")
    assert outlive("replay", "report:kill@3")[0] == 1
    shutil.rmtree(tmp_path / ".outlive")
    (tmp_path / "pipe.py").write_text(REPAIRED)
    status, out, _ = outlive("replay", "report:kill@3")
    assert status == 3
    assert "op 3 was 'write out/report'" in out


def test_a_number_of_which_nothing_is_kept_is_a_number(failed, outlive):
    """It is struck as it is; what it stands for is kept from then on."""
    status, out, _ = outlive("replay", "pipe:kill@2")
    assert (status, "held: nothing was violated" in out) == (0, True)
    failed.write_text(PIPELINE.replace("import os", "import os; os.mkdir('log')"))
    assert "op 2, 'open out/report', is now op 3" in outlive("replay", "pipe:kill@2")[2]
    failed.write_text(REPAIRED)
    status, out, _ = outlive("replay", "pipe:kill@2")
    assert status == 3
    assert "op 2 was 'open out/report', and there is no such op now" in out


RECOVERING = """
import os
if os.path.exists("begun"):
    os.mkdir("mended") if not os.path.exists("mended") else None
    open("o", "w").write("two")
open("begun", "w").close()
open("t", "w").write("one")
os.rename("t", "o")
"""


def test_a_recovery_that_does_something_else_is_unknown(outlive, tmp_path):
    """A recovery's op is known by its number alone: where that is another op, nothing is proved by it."""
    (tmp_path / "pipe.py").write_text(RECOVERING)
    assert outlive("check", "--outputs", "o", "--depth", "2", "--", sys.executable, "pipe.py")[0] == 1
    (facts,) = tmp_path.glob(".outlive/failures/*kill@*+kill@*/failure.json")
    ident = json.loads(facts.read_text())["id"]
    assert outlive("replay", ident)[0] == 1
    (tmp_path / "pipe.py").write_text(RECOVERING.replace('open("o"', 'open("q"'))
    status, out, _ = outlive("replay", ident)
    assert status == 3, out
    assert "unknown: the recovery has changed: its op " in out


@pytest.mark.usefixtures("failed")
def test_what_each_crash_of_a_plan_leaves_is_judged(outlive):
    """A file that the first crash tears does not hold because a second one strikes before it is mended."""
    status, out, _ = outlive("replay", "pipe:torn@3.5+kill@1")
    assert status == 1
    assert "torn-output: after torn@3.5 out/report is visible half-written: 5 of 5000 bytes" in out
    assert "rests on: a write cut short inside a page of its file" in out


@pytest.mark.usefixtures("failed")
def test_another_version_is_told(outlive, tmp_path):
    """What another version recorded may be counted otherwise."""
    (facts,) = tmp_path.glob(".outlive/failures/*kill@3*/failure.json")
    facts.write_text(facts.read_text().replace('"version": "', '"version": "0.0.'))
    assert "recorded by version 0.0." in outlive("replay", "pipe:kill@3")[2]


@pytest.mark.usefixtures("failed")
def test_a_shell_opens_in_what_the_crash_left(outlive):
    """Its working directory is the crash state; the status is the failure's."""
    status, out, _ = outlive("replay", "pipe:kill@3", "--shell", typed=TYPED, SHELL="/bin/sh")
    assert status == 1
    *_, where, size = out.splitlines()
    assert where.endswith("/crashed")
    assert size.strip() == "0"


@pytest.mark.usefixtures("failed")
def test_an_empty_shell_is_none(outlive):
    """With SHELL set to nothing it is as where it is not set."""
    assert outlive("replay", "pipe:kill@3", "--shell", typed="exit 7\n", SHELL="")[0] == 1


@pytest.mark.usefixtures("failed")
@pytest.mark.parametrize(
    ("point", "status", "said"),
    [
        (
            "full@3.99999",
            3,
            "no crash point full@3.99999: op 3 is 'write out/report (5000 bytes)'",
        ),
        ("full@2.1", 3, "the run has no crash point full@2.1: op 2 is 'open out/report'"),
        ("full@3", 1, "full injected, in: write out/report"),
        ("term@2.999", 2, "plan='term@2.999': 999 is not a signal"),
    ],
)
def test_a_point_that_no_run_has_is_refused(outlive, point, status, said):
    """A write cut behind its end, or what is no write, and a signal that is none strike nothing."""
    done = outlive("replay", f"pipe:{point}")
    assert done[0] == status
    assert said in done[1] + done[2]


@pytest.mark.usefixtures("failed")
def test_no_such_shell(outlive):
    """A SHELL that does not start is named."""
    status, _, err = outlive("replay", "pipe:kill@3", "--shell", SHELL="/no/such")
    assert status == 2
    assert "SHELL='/no/such' does not start" in err


def test_an_export_shows_the_failure_by_itself(failed, outlive, tmp_path):
    """Program, boxes, a script that needs nothing of ours, and a text; nothing is written over."""
    target = tmp_path / "for you"
    assert outlive("replay", "pipe:kill@3", "--export", str(target))[0] == 1
    assert (target / "crashed/out/report").read_bytes() == b""
    assert "out/report is visible half-written" in (target / "README.md").read_text()
    failed.unlink()
    (tmp_path / "boxes").mkdir()
    done = subprocess.run(
        [target / "reproduce.sh"], capture_output=True, text=True, timeout=60, check=False, cwd="/",
        env={**os.environ, "TMPDIR": str(tmp_path / "boxes")},
    )  # fmt: skip
    assert list((tmp_path / "boxes").iterdir()) == []
    assert (done.returncode, done.stderr) == (0, "")
    assert "exit status: 0" in done.stdout
    assert "the same files" in done.stdout
    assert "these are expected to differ" in done.stdout
    assert f"Files {target}/golden/out/report and {target}/crashed/out/report differ" in done.stdout
    failed.write_text(PIPELINE)
    status, _, err = outlive("replay", "pipe:kill@3", "--export", str(target))
    assert status == 2
    assert "is not empty" in err


@pytest.mark.usefixtures("failed")
def test_an_export_is_whole_where_nobody_reads_the_story(tmp_path):
    """What was asked for is made though standard output is full, and the status says that it is."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "outlive_harness", "replay", "pipe:kill@3", "--export", "e"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("standard output cannot be written")) == (2, 1)
    assert (tmp_path / "e/reproduce.sh").is_file()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")
def test_boxes_for_which_there_is_no_room_are_told(outlive, tmp_path):
    """The failure is told and confirmed all the same, and a replay says what it could not keep."""
    (tmp_path / "pipe.py").write_text(PIPELINE.replace("5000", "50_000"))
    kept = tmp_path / ".outlive"
    kept.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "outlive-test", kept], check=True)
    try:
        filler = kept / "filler"
        filler.write_bytes(bytes(60_000))
        status, out, _ = outlive("check", "--outputs", "out/*", "--", sys.executable, "pipe.py")
        assert status == 1
        assert "warning: boxes are not kept whole: pipe:kill@3: the box could not be copied to" in out
        assert "seen once" not in out
        filler.write_bytes(bytes(10_000))
        status, _, err = outlive("replay", "pipe:kill@3")
        assert status == 2, err
        assert "outlive: the boxes cannot be kept under .outlive/: [Errno 28]" in err
    finally:
        subprocess.run(["umount", kept], check=True)


# -- parts -------------------------------------------------------------------------------------------


def record(*paths):
    made = Record(RunSpec("it", ("x",), "/"), Path("/nowhere"))
    made.trace.ops += [Op("write", "write", path) for path in paths]
    return made


def test_an_op_that_names_its_box_is_the_same_in_another():
    """A link's text, and the source of a copy, name the box of the worker that recorded them."""
    told = []
    for root, box in (("/dev/shm/outlive-a1", "w000"), ("/tmp/b/outlive-c2", "w011")):
        made = record("a")
        made.place = Path(root, "records", "abc")
        made.trace.ops += [
            Op("symlink", "symlink", "now", f"{root}/{box}/box/v1"),
            Op("copy", "sendfile", "out", f"{root[1:]}/{box}/box/data"),
        ]
        told.append(marks(made, parse_plan("kill@2+kill@1")) | marks(made, parse_plan("kill@3")))
    assert told[0] == told[1] == {"2": ["symlink now -> {box}/v1", 1], "3": ["copy out -> {box}/data", 1]}


@pytest.mark.parametrize(
    ("before", "after", "plan", "now", "is_told"),
    [
        ("abc", "abc", "kill@2", "kill@2", False),
        ("abc", "xabc", "kill@2", "kill@3", True),
        ("aab", "aaab", "kill@2", "kill@2", False),
        ("abc", "bca", "power@3-1,2.1", "power@2-3,1.1", True),
        ("abc", "xabc", "kill@1+power@2-1/1,2", "kill@2+power@2-1/1,2", True),
        ("abc", "xbc", "kill@1", None, True),
        ("abc", "xabc", "torn@2.7", "torn@3.7", True),
        ("abc", "xabc", "timer@250", "timer@250", False),
    ],
)
def test_ops_are_found_by_what_they_do(before, after, plan, now, is_told):
    """The how-manieth of its like an op is tells it; lost ops too; an op that is gone gives no plan."""
    known = marks(record(*before), parse_plan(plan))
    found, notes = relocated(record(*after), parse_plan(plan), known)
    assert (plan_text(found) if found else None) == now
    assert bool(notes) == is_told


def test_checks_of_the_command_line_are_kept_with_the_failure(outlive, tmp_path):
    """A replay from the id alone judges as the run did: by both commands, and by the sets of files."""
    (tmp_path / "pipe.sh").write_text("for name in a b; do echo > t && mv t $name; done")
    (tmp_path / "alone.sh").write_text("test -e b || ! test -e a || { echo a alone >&2; exit 3; }")
    given = ("--check", "ls", "--crash-check", "sh alone.sh", "--outputs", "[ab]", "--together", "[ab]")
    status, out, _ = outlive("check", "--explain", "none", *given, "--", "sh", "pipe.sh")
    assert status == 1
    assert "outlive replay pipe:kill@4" in out
    status, out, _ = outlive("replay", "pipe:kill@4")
    assert status == 1
    assert "the files of [ab] belong together, and are not all of one version: a is of the" in out
    assert "the crash check fails on what the crash left: it exited with 3: a alone" in out
