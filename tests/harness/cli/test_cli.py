"""The command line, as a user meets it: real processes, real exit statuses."""

import contextlib
import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
import pytest

from outlive_harness import cli, scenario
from outlive_harness.__main__ import main
from outlive_harness.cli import check, declared, running
from outlive_harness.jobs import session
from outlive_harness.jobs.tasks import HarnessError
from outlive_harness.results.instants import DEFAULT

REPOSITORY = Path(__file__).parents[3]
OUTLIVE = [sys.executable, "-P", "-m", "outlive_harness"]
#: Variables of the surroundings that change how reports look.
LOOKS = ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")

TORN = "printf 1111 > out\n"
GOOD = "printf 1111 > t\nmv t out\n"
TWO_SCENARIOS = """
from pathlib import Path
from outlive_harness import scenario
print("imported")

@scenario(outputs="out", expect="torn-output")
def bad():
    Path("out").write_text("x" * 10)

@scenario(outputs="out")
def torn():
    Path("out").write_text("x" * 10)
"""
ODD_NAME = "odd\n\x1b[31m[red]'\udcff"


def surroundings():
    return {key: value for key, value in os.environ.items() if key not in LOOKS}


@pytest.fixture
def outlive(tmp_path):
    """Run the command in an empty directory of a user; one worker is enough for a few points."""

    def run(*arguments, status, **env):
        jobs = ["-j", "1"] if arguments[0] in ("test", "check") and "-j" not in arguments else []
        done = subprocess.run(
            [*OUTLIVE, *arguments[:1], *jobs, *map(str, arguments[1:])],
            cwd=tmp_path, env=surroundings() | env, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == status, done
        return done

    return run


@pytest.fixture
def script(tmp_path):
    """Write a shell script into the user's directory."""

    def write(text, name="pipe.sh"):
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.fixture
def usage(tmp_path, monkeypatch, capsys):
    """Run a command line that is refused before anything runs; return what is said of it."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert cli.run(arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        return said.err

    return run


def replayed(outlive, line, *, status):
    """Paste a replay line into a shell, as a user does."""
    words = subprocess.run(
        ["bash", "-c", f"outlive() {{ printf '%s\\0' \"$@\"; }}; {line}"], capture_output=True, check=True
    ).stdout.split(b"\0")[:-1]
    return outlive(*map(os.fsdecode, words), status=status)


def replay_lines(text):
    return [line.strip().removeprefix("replay: ") for line in text.splitlines() if " replay: " in line]


def test_a_pipeline_that_holds_exits_with_0(outlive, script):
    """A shell program named by its relative path runs in an empty box, and holds."""
    done = outlive("check", "--outputs", "out", "--", "sh", script(GOOD), status=0)
    assert done.stdout.splitlines()[0].startswith("[1/1] pipe held  3/3 points, 3 states, ")
    assert done.stdout.splitlines()[-1].startswith("held: 1 held; 3 crash points, 3 states in ")
    assert "\x1b" not in done.stdout


def test_a_project_is_checked_where_it_is(outlive, tmp_path):
    """Told what is not in the box, a user adds the options as they are printed, and has a verdict."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "words").write_text("b a\n")
    (tmp_path / "words.sh").write_text('set -e\nsort conf/words > "$OUT.t"\nmv "$OUT.t" "$OUT"\n')
    command = ["--env", "OUT={box}/out", "--outputs", "out", "--", "sh", "words.sh"]
    missed = "conf/words is not in the box: --input . copies it, --cwd . runs here\n"
    assert missed in outlive("check", *command, status=3).stdout
    for option in ("--input", "--cwd"):
        outlive("check", option, ".", *command, status=0)


def test_a_violation_exits_with_1_and_can_be_pasted_back(outlive, script, tmp_path):
    """The report says what, at which op and path, and its replay line shows the same, boxes included."""
    done = outlive("check", "--", "sh", script(TORN), status=1)
    assert "torn-output: out is visible half-written: 0 of 4 bytes" in done.stdout
    assert "injected at kill@2, before: write out (4 bytes)" in done.stdout
    (line,) = replay_lines(done.stdout)
    assert line == "outlive replay pipe:kill@2"
    told = replayed(outlive, line, status=1).stdout
    assert "\n      1  open out\n>     2  write out (4 bytes)\n" in told
    assert "\n           0 bytes  out  (golden run: 4 bytes)\n" in told
    assert "\ntorn-output: out is visible half-written" in told
    (place,) = (tmp_path / ".outlive" / "failures").iterdir()
    assert f"boxes are kept in {place}" in told
    assert {name: (place / name / "out").read_text() for name in ("golden", "crashed", "recovered")} == {
        "golden": "1111", "crashed": "", "recovered": "1111",
    }  # fmt: skip


def test_a_failure_that_was_repaired_replays_with_0(outlive, script):
    """The kept command is run as it is now: once repaired, it holds; without the op, nobody can say."""
    outlive("check", "--outputs", "out", "--", "sh", script(f"set -e\nmkdir d\n{GOOD}"), status=1)
    script(f"set -e\nmkdir -p d\n{GOOD}")
    assert "\nheld: nothing was violated\n" in outlive("replay", "pipe:kill@2", status=0).stdout
    script(TORN)
    assert (
        "op 2 was 'open t', and there is no such op now" in outlive("replay", "pipe:kill@2", status=3).stdout
    )


def test_another_point_of_a_kept_command_can_be_replayed(outlive, script, tmp_path):
    """A kept command is found by its name, and a point that its run does not come to is unknown."""
    outlive("check", "--", "sh", script(TORN), status=1)
    assert "nothing was violated" in outlive("replay", "pipe:kill@1", status=0).stdout
    assert "did not reach the crash point" in outlive("replay", "pipe:kill@9", status=3).stdout
    kept = {path.name.rpartition("-")[0] for path in (tmp_path / ".outlive" / "failures").iterdir()}
    assert kept == {"pipe-kill@1", "pipe-kill@2"}


@pytest.mark.parametrize("forks", ["check", "test"])
def test_who_starts_it_may_ignore_the_end_of_children(tmp_path, forks):
    """With SIGCHLD ignored no exit status would be told, and each recovery be a success."""
    script = tmp_path / "scenarios" / "pipe.py"
    script.parent.mkdir()
    body = """
    if Path("lock").exists():
        raise SystemExit(1)
    Path("t").write_text("x" * 10)
    os.replace("t", "out")
    Path("lock").touch()
    os.unlink("lock")
"""
    if forks == "check":
        script.write_text(f"import os\nfrom pathlib import Path\nif True:{body}")
        argv = ["check", "-j", "1", "--outputs", "out", "--", sys.executable, str(script)]
    else:
        head = "import os\nfrom pathlib import Path\nfrom outlive_harness import scenario\n"
        script.write_text(f'{head}@scenario(outputs="out")\ndef it():{body}')
        argv = ["test", "-j", "1", str(script)]
    ignores = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    code = f"import os, signal, sys\n{ignores}\nos.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", code, sys.executable, "-P", "-m", "outlive_harness", *argv]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "recovery-failed" in done.stdout


def test_an_id_that_is_not_known_exits_with_2_and_lists_those_that_are(outlive, script):
    """The message names the id, where it was looked for, and what is kept."""
    outlive("check", "--", "sh", script(TORN), status=1)
    said = outlive("replay", "other:kill@2", status=2).stderr
    assert "'other:kill@2'" in said
    assert "failures kept under .outlive/: pipe:kill@2" in said


def test_a_pipeline_that_is_not_deterministic_exits_with_3(outlive, script):
    """The first difference between two runs with no fault is shown."""
    random = script("head -c 8 /dev/urandom > out\n")
    done = outlive("check", "--", "sh", random, status=3)
    assert "nondeterministic: two runs with no fault differ in out" in done.stdout
    assert "first difference at byte " in done.stdout


def test_a_pipeline_that_fails_without_a_fault_exits_with_3(outlive, script):
    """Its exit status and what it said on standard error are shown."""
    failing = script("echo 'one line' >&2\necho 'no such table' >&2\nexit 7\n")
    done = outlive("check", "--", "sh", failing, status=3)
    assert "the pipeline fails with no fault: it exited with 7: no such table" in done.stdout
    assert "\n    one line\n" in done.stdout


def test_a_breakpoint_in_a_program_is_told_as_what_it_is(outlive, tmp_path):
    """The debugger reads end-of-file, and its traceback alone says nothing of that."""
    (tmp_path / "p.py").write_text("breakpoint()\nopen('out', 'w').close()\n")
    done = outlive("check", "--", sys.executable, "p.py", status=3)
    assert "\n    its breakpoint has no terminal here" in done.stdout


def test_outputs_that_match_nothing_exit_with_3(outlive, script):
    """The report says what was there instead."""
    done = outlive("check", "--outputs", "result/*", "--", "sh", script(GOOD), status=3)
    assert "outputs result/* match nothing that the golden run left; it left out" in done.stdout


def test_where_nothing_was_tested_the_status_is_3(outlive, tmp_path):
    """A fault that has no point in the run proves nothing."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "f").touch()
    done = outlive("check", "--faults", "full", "--input", "in", "chmod", "600", "f", status=3)
    assert "has a crash point in this run: nothing was tested" in done.stdout
    done = outlive("check", "--faults", "torn", "--", "sh", "-c", "echo x > out", status=3)
    assert "no write of this run goes past the end of a page of its file" in done.stdout
    assert "--torn bytes" in done.stdout


def test_cuts_at_any_byte_are_asked_for(outlive):
    """A short line is cut where only a short write cuts it: the violation says so, and so does its replay."""
    command = [
        "--outputs",
        "out",
        "--faults",
        "torn",
        "--torn",
        "bytes",
        "--",
        "sh",
        "-c",
        "echo a line > out",
    ]
    done = outlive("check", *command, status=1)
    assert "torn-output: out is visible half-written: 1 of 7 bytes" in done.stdout
    assert "  rests on: a write cut short inside a page of its file" in done.stdout
    (replay,) = replay_lines(done.stdout)
    assert "rests on: a write cut short" in outlive(*replay.split()[1:], status=1).stdout


def test_a_failure_that_cannot_be_kept_is_still_a_failure(outlive, script, tmp_path):
    """Where .outlive/ cannot be written, the violation is told, and that it cannot be replayed."""
    (tmp_path / ".outlive").write_text("")
    done = outlive("check", "--", "sh", script(TORN), status=1)
    assert "torn-output: out is visible half-written" in done.stdout
    place = tmp_path / ".outlive"
    why = f"failures cannot be kept in {place}: Not a directory; so they cannot be replayed"
    assert f"warning: {why}" in done.stdout
    assert replay_lines(done.stdout) == []


def test_a_command_with_box_runs_where_the_user_is(outlive, tmp_path):
    """{box} is the box's path, and relative paths are the user's own."""
    (tmp_path / "data").write_text("1111")
    command = ["sh", "-c", "cp data {box}/t && mv {box}/t {box}/out"]
    assert " held  " in outlive("check", "--outputs", "out", "--", *command, status=0).stdout


def test_input_is_copied_into_each_box(outlive, tmp_path):
    """The directory's files are there in the box, and a relative path to it is the user's."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "data").write_text("1111")
    command = ["sh", "-c", "cp data t && mv t out"]
    outlive("check", "--input", "given", "--outputs", "out", *command, status=0)


def test_a_static_program_is_tested_like_any_other(outlive, tmp_path):
    """A program without a dynamic loader, named by its relative path, is seen violating."""
    compiler = shutil.which("cc")
    source = tmp_path / "torn.c"
    source.write_text(
        '#include <fcntl.h>\n#include <unistd.h>\nint main(void) {'
        'int fd = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0644);'
        'return write(fd, "1111", 4) != 4 || close(fd); }\n'
    )  # fmt: skip
    build = [compiler or "cc", "-static", "-o", tmp_path / "torn", source]
    if compiler is None or subprocess.run(build, capture_output=True, check=False).returncode:
        pytest.skip("no compiler here that links statically")
    done = outlive("check", "--", "./torn", status=1)
    assert replay_lines(done.stdout) == ["outlive replay torn:kill@2"]


def test_the_json_report_has_schema_1_and_nothing_else_is_on_stdout(outlive, tmp_path):
    """Verdict, coverage and violations of a known-bad and a violated scenario, every field of the design."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "two.py").write_text(TWO_SCENARIOS)
    done = outlive("test", "--json", "-", "--seed", "5", status=1)
    report = json.loads(done.stdout)
    assert (report["schema"], report["verdict"], report["seed"]) == (1, "violated", 5)
    assert set(report) == {"schema", "verdict", "seed", "seconds", "workers", "scenarios"}
    bad, torn = report["scenarios"]
    assert (bad["name"], bad["verdict"]) == ("bad", "held")
    assert bad["reason"] == "known bad, and caught: torn-output"
    assert set(torn) == {
        "name", "verdict", "reason", "faults", "violations", "not_judged", "effects", "warnings"
    }  # fmt: skip
    assert torn["faults"] == {"kill": {"points": 2, "tested": 2, "states": 2}}
    assert torn["violations"] == [
        {
            "kind": "torn-output", "fault": "kill", "profile": "", "point": "kill@2",
            "op": "write out (10 bytes)", "path": "out", "replay": "torn:kill@2", "rests_on": "",
            "message": "out is visible half-written: 0 of 10 bytes", "line": "scenarios/two.py:12 in torn",
            "within": "", "lost": [], "kept": [], "confirmed": True, "from_recording": False,
            "advice": "write out to a temporary file beside it, fsync, and rename it into place at "
            "scenarios/two.py:12 in torn: 3 of 3 states then hold",
        }
    ]  # fmt: skip
    assert "bad caught torn-output" in done.stderr
    assert "as expected: torn-output of out at kill@2\n" in done.stderr
    assert "imported" in done.stderr


def test_names_that_hold_anything_are_reported_and_replayed(outlive, script, tmp_path):
    """A path of control characters and no UTF-8 neither breaks the terminal nor is lost in the JSON."""
    name = "".join(f"\\{byte:03o}" for byte in os.fsencode(ODD_NAME))
    odd = script(f"printf 1111 > \"$(printf '{name}')\"\n")
    done = outlive("check", "--json", "report.json", "--", "sh", odd, status=1)
    (violation,) = json.loads((tmp_path / "report.json").read_text())["scenarios"][0]["violations"]
    assert violation["path"] == ODD_NAME
    assert "\x1b" not in done.stdout
    assert "torn-output: odd\\n\\x1b[31m[red]'\\udcff is visible half-written" in done.stdout
    told = replayed(outlive, replay_lines(done.stdout)[0], status=1)
    assert "0 bytes  odd\\n\\x1b[31m[red]'\\udcff  (golden run: 4 bytes)" in told.stdout


def test_a_scenario_whose_name_holds_anything_can_be_replayed(outlive, tmp_path):
    """The replay line is quoted so that a shell gives back the very name."""
    (tmp_path / "odd.py").write_text(
        "from pathlib import Path\nfrom outlive_harness import scenario\n"
        f"@scenario(outputs='out', name={ODD_NAME!r})\n"
        "def body():\n    Path('out').write_text('x' * 10)\n"
    )
    done = outlive("test", "odd.py", status=1)
    assert "\x1b" not in done.stdout
    told = replayed(outlive, replay_lines(done.stdout)[0], status=1)
    assert told.stdout.startswith("odd\\n\\x1b[31m[red]'\\udcff: kill@2\n")


def test_a_failure_of_a_scenario_file_replays_with_the_options_that_it_had(outlive, tmp_path):
    """The body comes from its file; what the command line had added to its declaration is added again."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "data").write_text("1111")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "copy.py").write_text(
        "import os, shutil\nfrom outlive_harness import scenario\n"
        "@scenario(outputs='out')\ndef copied():\n    shutil.copyfile('data', 'out')\n"
    )
    done = outlive("test", "mine", "--input", "given", status=1)
    replayed(outlive, replay_lines(done.stdout)[0], status=1)
    declared = outlive("replay", "copied:kill@2", "mine", status=3)
    assert "No such file or directory: 'data'" in declared.stdout


def test_a_new_scenario_runs_at_once_and_is_not_overwritten(outlive, tmp_path):
    """What `new` writes holds, and a second `new` of the name leaves it alone."""
    said = outlive("new", "first", status=0).stdout
    assert said == "wrote scenarios/first.py; run it with: outlive test scenarios/first.py\n"
    assert "first" in outlive("test", status=0).stdout
    (tmp_path / "scenarios" / "first.py").write_text("mine")
    assert "scenarios/first.py exists" in outlive("new", "first", status=2).stderr
    assert (tmp_path / "scenarios" / "first.py").read_text() == "mine"


def test_a_file_that_does_not_import_spoils_the_suite_but_not_the_others(outlive, tmp_path):
    """Its traceback is shown, the others run, and the status is 2 whatever they show."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "two.py").write_text(TWO_SCENARIOS)
    (tmp_path / "scenarios" / "broken.py").write_text("def f():\n    1 / 0\nf()\n")
    (tmp_path / "scenarios" / "gone.py").write_text("raise SystemExit(0)\n")
    done = outlive("test", "--only", "bad", "--json", "report.json", status=2)
    assert "scenarios/broken.py does not import:\nTraceback" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "importlib" not in done.stderr
    assert "[1/1] bad caught torn-output" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "unknown"
    assert {one["name"]: one["reason"] for one in report["scenarios"][1:]} == {
        "scenarios/broken.py": "does not import: ZeroDivisionError: division by zero",
        "scenarios/gone.py": "does not import: SystemExit: 0",
    }


def test_an_interrupt_ends_everything_and_tells_what_was_found(script, tmp_path):
    """Ctrl-C in the middle: 130, the violation so far with its replay, no process and no directory left."""
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    slow = script("printf 1111 > out\n" + "printf 1111 >> out; sleep 0.02\n" * 30)
    process = subprocess.Popen(
        [*OUTLIVE, "check", "--box-dir", boxes, "--", "sh", slow],
        cwd=tmp_path, env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: len(list(boxes.glob("outlive-*/jobs/*/results/*"))) > 4, process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, (out, err)
    assert family
    assert [one for one in family if is_alive(one)] == []
    assert list(boxes.iterdir()) == []
    assert "torn-output: out is visible half-written" in out
    assert out.splitlines()[-1].endswith("; interrupted")
    assert "Traceback" not in err
    assert (tmp_path / ".outlive" / "failures").is_dir()


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_a_reader_that_goes_away_is_no_verdict(tmp_path):
    """A closed pipe ends the command with 141, as a shell would say it, and without a word."""
    read, write = os.pipe()
    os.close(read)
    command = [*OUTLIVE, "--version"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_without_the_extra_one_line_says_what_to_install(tmp_path):
    """No site-packages, so no click: status 2 and the command to install it."""
    program = (
        f"import sys; sys.path[:0] = [{str(REPOSITORY / 'harness')!r}, {str(REPOSITORY / 'src')!r}]; "
        "from outlive_harness.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, "test"], capture_output=True, text=True, cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "outlive: No module named 'click': pip install 'outlive[harness]'\n"


@pytest.mark.parametrize("part", ["psutil", "rich"])
def test_a_missing_part_of_the_extra_is_told_when_a_command_needs_it(tmp_path, part):
    """Not only click, which every command needs: status 2 and the command to install it."""
    program = f"import sys; sys.modules[{part!r}] = None; from outlive_harness.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "check", "true"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("outlive: ")
    assert done.stderr.endswith(": pip install 'outlive[harness]'\n")


def test_where_there_is_no_fcntl_the_harness_says_where_it_runs(tmp_path):
    """Windows has the library alone, and one line says so."""
    program = "import sys; sys.modules['fcntl'] = None; from outlive_harness.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "test"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("outlive: ")
    assert done.stderr.endswith(f": the harness runs on Linux, and this is {sys.platform}\n")


def test_a_part_of_ours_that_does_not_import_is_a_fault_of_ours(monkeypatch, capsys):
    """It is not taken for a missing extra."""
    monkeypatch.setitem(sys.modules, "outlive_harness.cli", None)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 70
    assert "this is a fault of ours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("ours"), "ZeroDivisionError: ours"),
        (HarnessError("a worker's words"), "a worker's"),
    ],
)
def test_a_fault_of_ours_exits_with_70(error, said, tmp_path, monkeypatch, capsys):
    """Whatever breaks, it is said whose fault it is, and the status is no verdict."""
    monkeypatch.chdir(tmp_path)

    def broken(*_arguments, **_keywords):
        raise error

    monkeypatch.setattr(running, "explore", broken)
    monkeypatch.setattr(running, "session_of", lambda *_, **_more: contextlib.nullcontext())
    assert cli.run(["check", "true"]) == 70
    err = capsys.readouterr().err
    assert said in err
    assert err.endswith("outlive: this is a fault of ours, not of your pipeline; please report it\n")


REFUSED = {
    "check": "Missing argument",
    "check -- no-such-program": "command not found: 'no-such-program', neither on PATH nor in this directory",
    "check -- ./no-such-program": "command not found: './no-such-program'\n",
    "check -- plain": "a file here but not a program: give its interpreter first",
    "check -- .": "a directory and not a program",
    "check --outptus x -- true": "No such option",
    "check --faults kill,nope -- true": "unknown fault 'nope'; there are: kill, torn, ",
    "check --faults , -- true": "',' names no fault; there are: kill, torn, ",
    "check --budget soon -- true": "'soon' must be a number of seconds over 0",
    "check --timeout 0 -- true": "'0' must be a number of seconds over 0",
    "check --points 0 -- true": "0 is not in the range x>=1",
    "check -j 0 -- true": "0 is not in the range 1<=x<=1024",
    "check -j 1000000 -- true": "1000000 is not in the range 1<=x<=1024",
    "check --input nowhere -- true": "Directory 'nowhere' does not exist",
    "check --input plain -- true": "Directory 'plain' is a file",
    "check --box-dir nowhere -- true": "Directory 'nowhere' does not exist",
    "check --outputs [z-a] -- true": "outputs='[z-a]' is not a pattern: bad character range z-a",
    "check --ignore /tmp/x -- true": "ignore='/tmp/x' must be a pattern of paths relative to the box",
    "check --append-only ../x -- true": "append_only='../x' must be a pattern of paths relative to the box",
    "check --check '\"cat' -- true": "check='\"cat' cannot be read: No closing quotation",
    "check --check no-such-program -- true": "--check: command not found: 'no-such-program', neither on PATH",
    "check --crash-check ./plain -- true": "--crash-check begins with './plain', which is a file here",
    "check --together ../x -- true": "together='../x' must be a pattern of paths relative to the box",
    "check --litter maybe -- true": "'maybe' is not one of 'warn', 'fail'",
    "check --json nowhere/r.json -- true": "r.json' cannot be written: No such file or directory",
    "check --json r --html r -- true": "--json and --html name one file: 'r'",
    "check --json - --sarif - -- true": "--json and --sarif name one file: '-'",
    "check --baseline no/k.json --update-baseline -- true": "k.json' cannot be written: No such file or dir",
    "check --json . -- true": "cannot be written: Is a directory",
    "test": "there is no directory scenarios/ here; outlive new NAME writes a first scenario",
    "test nowhere": "no such scenario file or directory: nowhere",
    "test empty": "no scenarios in empty",
    "test good --only nix": "--only='nix': no such scenario; there are: alone, both",
    "test good twin": "two scenarios are named 'both'",
    "test good --outputs [z-a]": "--outputs='[z-a]' is not a pattern",
    "replay": "Missing argument 'ID'",
    "replay nonsense": "ID='nonsense' is not a replay id: it should be SCENARIO:FAULT@OP",
    "replay x:kill": "'kill' is not a plan",
    "replay x:kill@1": "no scenario 'x' in a directory scenarios/, which is not here; if it is else",
    "replay alone:nope@1 good": "unknown fault 'nope'",
    "new 3a": "NAME='3a' must be a Python identifier",
    "new class": "NAME='class' must be a Python identifier",
    "new _helper": "NAME='_helper' is the name of a helper",
    "new json": "NAME='json' is the name of a module",
    "new Path": "NAME='Path' is a name that the scenario file itself imports",
    "nonsense": "No such command 'nonsense'",
}


@pytest.fixture
def suite(tmp_path):
    """A user's directory with two suites that share a name, an empty one, and a file that is no program."""
    text = "from outlive_harness import scenario\n"
    for directory, names in (("good", ("alone", "both")), ("twin", ("both",)), ("empty", ())):
        (tmp_path / directory).mkdir()
        for name in names:
            (tmp_path / directory / f"{name}.py").write_text(text + f"{name} = scenario(command=['true'])\n")
    (tmp_path / "plain").write_text("")


@pytest.mark.parametrize("line", REFUSED)
@pytest.mark.usefixtures("suite")
def test_what_is_not_to_be_had_exits_with_2_before_anything_runs(line, usage, monkeypatch):
    """Each wrong command line is answered with what is wrong about it, and no session is begun."""

    def began(*_):
        raise AssertionError("a session was begun")

    if "twin" not in line:  # names are compared by the exploration itself
        monkeypatch.setattr(session.Session, "open", began)
    assert REFUSED[line] in usage(*shlex.split(line))


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        (["lock"], {"lock"}),
        (["lo*"], {"lock", "lock_file"}),
        (["ock_"], {"lock_file"}),
        (["a", "lock"], {"a", "lock"}),
    ],
)
def test_only_means_a_name_else_a_pattern_else_a_part(only, chosen):
    """An exact name wins over names that it is a part of."""
    several = [scenario(command=["true"], name=name) for name in ("lock", "lock_file", "a")]
    assert {one.name for one in declared.select(several, only)} == chosen


def test_options_of_test_are_added_to_what_a_scenario_declares():
    """Patterns and variables are added, the rest stands in; where all files are outputs, they stay so."""
    wish = {
        "outputs": ("b",), "append_only": ("c",), "settled": ("e",), "together": ("f if g",),
        "ignore": ("d",), "input": "/in", "timeout": 3.0, "restarts": 2, "tmp": None, "cwd": None,
        "env": ("B=2",), "read": ("*.gz=gzip",), "mask": ("x",), "freeze": None,
    }  # fmt: skip
    one, every, checked = (
        scenario(command=["true"], outputs=outputs, check=check, ignore="x", timeout=9, env={"A": "1"})
        for outputs, check in (("a", None), ((), None), ((), print))
    )
    for each in (one, every, checked):
        declared.add(each, wish)
    assert [each.outputs for each in (one, every, checked)] == [("a", "b"), (), ("b",)]
    assert (one.append_only, one.ignore, one.env) == (("c",), ("x", "d"), ("A=1", "B=2"))
    assert (one.settled, one.together) == (("e",), ("f if g",))
    assert (one.input, one.timeout, one.restarts) == ("/in", 3.0, 2)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python3", "-u", "file", "other"], "file"),
        (["/usr/bin/env", "x"], "env"),
        (["sh", "-c", "echo hello world"], "sh"),
        (["./we ird:name@.sh"], "we_ird_name_"),
        (["..."], "command"),
        (["./run.sh", "file"], "run"),
    ],
)
def test_a_command_is_named_after_its_script(command, name, tmp_path, monkeypatch):
    """The name is the first file's, else the program's, and needs no quotes in a replay line."""
    monkeypatch.chdir(tmp_path)
    for path in ("file", "other"):
        (tmp_path / path).write_text("")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    assert check.name_of(command) == name


def test_a_terminal_gets_a_bar_and_colours_and_others_do_not(script, tmp_path):
    """On a pseudo-terminal there are control sequences; with NO_COLOR there are none."""
    command = shlex.join([*OUTLIVE, "check", "-j", "1", "--outputs", "out", "sh", script(GOOD)])
    if shutil.which("script") is None:
        pytest.skip("script(1) of util-linux is not here to make a terminal")

    def shown(**env):
        return subprocess.run(
            ["script", "-qec", command, "/dev/null"],
            cwd=tmp_path,
            env=surroundings() | {"TERM": "xterm"} | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "\x1b[32mheld\x1b[0m" in shown()
    for plain in ({"NO_COLOR": "1"}, {"CI": "true"}, {"TERM": "dumb"}):
        text = shown(**plain)
        assert "\x1b" not in text
        assert "[1/1] pipe held" in text


ABSENT = """
from pathlib import Path
from outlive_harness import scenario
@scenario(outputs="out")
def one():
    Path("t").write_text("x")
    Path("t").rename("out")
    for name in ("loga", "logb", "logc", "logd", "loge"):
        Path(name).write_text("x" * 9)
"""


def test_each_line_that_is_printed_replays_with_its_options(outlive, tmp_path):
    """Options are kept for those failures, too, that have no boxes."""
    (tmp_path / "one.py").write_text(ABSENT)
    done = outlive("test", "one.py", "--outputs", "log*", "--json", "r.json", status=1)
    ids = [
        one["replay"] for one in json.loads((tmp_path / "r.json").read_text())["scenarios"][0]["violations"]
    ]
    assert len(ids) > len(list(tmp_path.glob(".outlive/failures/*/crashed")))
    assert {f"outlive replay {identifier}" for identifier in ids} >= set(replay_lines(done.stdout))
    for identifier in ids:
        outlive("replay", identifier, status=1)


def test_an_id_of_two_commands_says_which_is_replayed(outlive, tmp_path):
    """The later command is not replayed in place of the earlier without a word."""
    for name in "xy":
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.sh").write_text(TORN)
        outlive("check", "--", "sh", f"{name}/p.sh", status=1)
    said = outlive("replay", "p:kill@2", status=1).stderr
    assert "replayed: sh y/p.sh" in said or "/y/p.sh" in said.splitlines()[0]
    assert "p:kill@2 was also printed for others: " in said
    assert "x/p.sh" in said.splitlines()[-1]


@pytest.mark.parametrize("point", ["torn@1.2", "torn@2.4", "torn@2.9", "torn@2"])
def test_what_cannot_be_torn_is_not_reached(outlive, script, point):
    """An open, and a byte that a write does not have, are no crash points of torn."""
    outlive("check", "--", "sh", script(TORN), status=1)
    assert "the run has no crash point" in outlive("replay", f"pipe:{point}", status=3).stdout


@pytest.mark.parametrize("option", ["html", "junit", "sarif"])
def test_each_report_can_go_to_stdout(outlive, script, option):
    """With - the report is all that is on standard output."""
    done = outlive("check", "--outputs", "out", f"--{option}", "-", "sh", script(GOOD), status=0)
    assert done.stdout[0] in "<{"
    assert "[1/1] pipe held" in done.stderr


def test_a_report_that_fails_takes_no_other_with_it(outlive, script, tmp_path):
    """The others are written, and the status says that one is missing."""
    argv = ["--outputs", "out", "--json", "/dev/full", "--html", "ok.html", "sh", script(GOOD)]
    done = outlive("check", *argv, status=2)
    assert "--json='/dev/full' cannot be written: No space left on device" in done.stderr
    assert (tmp_path / "ok.html").is_file()


@pytest.mark.parametrize(
    "argv", [("doctor",), ("check", "--outputs", "out", "sh", "pipe.sh"), ("--version",)]
)
def test_a_full_standard_output_is_told(argv, script, tmp_path):
    """It is no fault of ours, and no verdict."""
    script(GOOD)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*OUTLIVE, *argv], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "outlive: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("reason", ["full", "no reader"])
def test_a_stream_that_fails_takes_no_report_with_it(stream, reason, script, tmp_path):
    """All that was found is written where it was asked for, and the status is the stream's."""
    script(TORN)
    read, write = os.pipe()
    os.close(read)
    full = os.open("/dev/full", os.O_WRONLY)
    argv = ["check", "--outputs", "out", "--html", "ok.html", "--baseline", "known", "--update-baseline"]
    argv += ["--json", "-"] if stream == "stderr" else []
    done = subprocess.run(
        [*OUTLIVE, *argv, "sh", "pipe.sh"], cwd=tmp_path, check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full if reason == "full" else write},
    )  # fmt: skip
    os.close(full)
    os.close(write)
    assert done.returncode == (2 if reason == "full" else 141)
    assert (tmp_path / "ok.html").is_file()
    assert json.loads((tmp_path / "known").read_bytes())
    if stream == "stderr":
        assert json.loads(done.stdout)["scenarios"][0]["violations"]


def test_a_working_directory_that_is_gone_is_told(tmp_path):
    """It is no fault of ours."""
    command = shlex.join([*OUTLIVE, "check", "--", "true"])
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", f"rmdir ../gone && exec {command}"],
        cwd=tmp_path / "gone", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done
    assert "the working directory is gone" in done.stderr


def test_boxes_may_be_in_a_relative_directory(outlive, tmp_path):
    """A Python pipeline, which is forked elsewhere, finds its box there."""
    (tmp_path / "boxes").mkdir()
    (tmp_path / "p.py").write_text("import os\nopen('t', 'w').write('x')\nos.rename('t', 'out')\n")
    outlive("check", "--box-dir", "boxes", "--outputs", "out", sys.executable, "p.py", status=0)


def test_a_disk_of_boxes_that_is_full_is_told_with_what_helps(monkeypatch, tmp_path):
    """Another full disk is not taken for it."""
    usage = shutil.disk_usage("/")
    for free, error in ((0, session.NoRoomError), (1 << 30, OSError)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: usage._replace(free=free))
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(error, match="with --box-dir" if not free else "No space"):  # noqa: SIM117
            with running.session_of(1, tmp_path):
                raise full


def test_new_takes_no_store_along(outlive, script, tmp_path):
    """What failed before is no input of the command."""
    (tmp_path / ".outlive").mkdir()
    script("test ! -e .outlive && printf 1111 > t && mv t out\n")
    outlive("new", "--from", "sh pipe.sh", "--input", ".", status=0)


@pytest.mark.parametrize(
    ("words", "instant", "rest"),
    [
        (["--freeze", "sh", "--freeze"], DEFAULT, ("sh", "--freeze")),
        (["-j", "2", "--freeze", "--outputs", "--freeze", "--", "sh"], DEFAULT, ("sh",)),
        (["--freeze=2026-03-29T01:59:59+01:00", "sh"], "2026-03-29T01:59:59+01:00", ("sh",)),
        (["sh", "--freeze"], None, ("sh", "--freeze")),
        (["--", "--freeze"], None, ("--freeze",)),
    ],
)
def test_freeze_stands_alone_or_with_an_instant_behind_an_equals_sign(words, instant, rest):
    """The word after it is the command's first, never an instant, and the command's own option is its own."""
    command = cli.main.get_command(click.Context(cli.main), "check")
    params = command.make_context("check", words).params
    assert (params["freeze"], params["command"]) == (instant, rest)


def test_an_instant_that_is_none_is_an_error_of_usage(capsys):
    """The message begins with the option's or the keyword's name, and its value."""
    assert cli.run(["check", "--freeze=now", "--", "true"]) == 2
    assert "freeze='now' must be a date and a time with an offset or Z" in capsys.readouterr().err
