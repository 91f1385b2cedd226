"""Exploration: each of the five truths is seen when it breaks, and only then."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from outlive_harness.explore.engine import explore
from outlive_harness.jobs.session import Session
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import Verdict
from outlive_harness.search.levels import spread

GOOD = """
@scenario(outputs="out/*")
def good():
    for i in range(3):
        put(f"out/{i}", f"content {i}")
"""


def kinds(result):
    return {violation.kind for violation in result.violations}


def test_a_pipeline_that_renames_whole_files_into_place_holds(one):
    """No point of a good pipeline is called bad, every point is tested, and its litter is only a warning."""
    result = one(GOOD)
    assert result.verdict is Verdict.HELD, result
    coverage = result.faults["kill"]
    # mkdir thrice, and for each file: open, write, rename.
    assert (coverage.points, coverage.tested) == (12, 12)
    # Before and after mkdir; per file an empty and a full temporary file, and the renamed one but the last;
    # the repeated mkdir changes nothing.
    assert coverage.states == 10
    assert result.violations == []
    assert [warning.split(":")[0] for warning in result.warnings] == ["litter"]


def test_a_half_written_output_is_torn(one):
    """An output written in place is seen empty before its write: truth 1."""
    result = one("""
@scenario(outputs="out")
def bad():
    Path("out").write_text("all of it")
""")
    (violation,) = result.violations
    assert (violation.kind, violation.point, violation.path) == ("torn-output", "kill@2", "out")
    assert violation.op == "write out (9 bytes)"
    assert violation.confirmed
    assert "0 of 9 bytes" in violation.message
    assert violation.replay == "bad:kill@2"
    assert Path(violation.kept, "crashed", "out").read_bytes() == b""
    assert Path(violation.kept, "recovered", "out").read_text() == "all of it"


def test_a_temporary_file_beside_the_outputs_is_no_output_yet(one):
    """Partial temporary files match the outputs' pattern, but nobody reads them by their name."""
    result = one("""
@scenario(outputs="**")
def good():
    Path("o.tmp").write_text("x" * 10)
    os.replace("o.tmp", "o")
""")
    assert result.verdict is Verdict.HELD, result


def test_every_whole_version_of_an_output_is_whole(one):
    """An output that is replaced several times may be found at any of its versions, the initial included."""
    result = one("""
def old():
    Path("o").write_text("old")

@scenario(outputs="o", setup=old)
def good():
    for text in ("first", "second", "third"):
        put("o", text)
""")
    assert result.verdict is Verdict.HELD, result


def test_a_file_renamed_before_it_is_written_is_torn(one):
    """Whole is what stands there when nobody writes it, not what happened to be renamed."""
    result = one("""
@scenario(outputs="o")
def bad():
    f = open("t", "w")
    f.write("late")
    os.replace("t", "o")
    f.close()
""")
    assert kinds(result) == {"torn-output"}


def test_a_file_renamed_while_its_finished_writer_is_open_is_whole(one):
    """The common form: rename inside the with block, after the flush."""
    result = one("""
@scenario(outputs="o")
def good():
    with open("t", "w") as f:
        f.write("in time"); f.flush(); os.fsync(f.fileno())
        os.replace("t", "o")
    Path("end").write_text("x")
""")
    assert result.verdict is Verdict.HELD, result


def test_a_directory_renamed_into_place_installs_its_files(one):
    """Files below a renamed directory are whole at their new paths."""
    result = one("""
@scenario(outputs="o/**")
def good():
    import shutil
    shutil.rmtree("t", ignore_errors=True)
    os.makedirs("t/deep")
    Path("t/deep/a").write_text("a"); Path("t/b").write_text("b")
    if not os.path.exists("o"):
        os.rename("t", "o")
""")
    assert result.verdict is Verdict.HELD, result


def test_append_only_files_may_be_prefixes_of_whole_lines(one):
    """A declared log may be short, but never end in the middle of a record."""
    source = """
@scenario(outputs="log", append_only="log")
def appends():
    done = len(Path("log").read_text().splitlines()) if Path("log").exists() else 0
    with open("log", "a") as f:
        for i in range(done, 4):
            {how}
"""
    whole = "f.write(f'{i}\\n'); f.flush()"
    torn = "f.write(f'{i}'); f.flush(); f.write('\\n'); f.flush()"
    assert one(source.format(how=whole)).verdict is Verdict.HELD
    assert "torn-output" in kinds(one(source.format(how=torn)))


def test_a_recovery_that_fails_is_seen(one):
    """Truth 2: exit 0; the message carries the program's last words."""
    result = one("""
@scenario(outputs="o")
def bad():
    if os.path.exists("lock"):
        raise SystemExit("somebody is running")
    Path("lock").touch()
    put("o", "x")
    os.unlink("lock")
""")
    (violation,) = result.violations
    assert violation.kind == "recovery-failed"
    assert "exited with 1: somebody is running" in violation.message


def test_a_recovery_that_hangs_is_seen(one):
    """Truth 2: within its time."""
    result = one("""
@scenario(outputs="o", timeout=1)
def bad():
    while os.path.exists("lock"): time.sleep(0.01)
    Path("lock").touch()
    put("o", "x")
    os.unlink("lock")
""")
    assert kinds(result) == {"recovery-hung"}


def test_restarts_are_how_often_it_may_be_started(one):
    """A pipeline that clears a stale lock and fails once holds with two restarts, and not with one."""
    source = """
@scenario(outputs="o", restarts={restarts})
def locked():
    if os.path.exists("lock"):
        os.unlink("lock")
        sys.exit("cleared a stale lock")
    Path("lock").touch()
    put("o", "x")
    os.unlink("lock")
"""
    assert kinds(one(source.format(restarts=1))) == {"recovery-failed"}
    assert one(source.format(restarts=2)).verdict is Verdict.HELD


@pytest.mark.parametrize(
    "body",
    [
        "if not Path('m').exists(): Path('m').touch(); put('o', 'x')",
        (
            "mode = 0o600 if Path('m').exists() else 0o640\n"
            "    Path('m').touch(); put('o', 'x'); os.chmod('o', mode)"
        ),
    ],
    ids=["missing", "mode"],
)
def test_outputs_that_differ_after_recovery_are_seen(one, body):
    """Truth 3: names, bytes and modes are those of the golden run."""
    result = one(f"""
@scenario(outputs="o")
def bad():
    {body}
""")
    assert "diverged" in kinds(result)


def test_an_output_too_many_diverges_but_a_cut_off_file_is_litter(one):
    """A reader finds a published surplus file; a file that the kill cut off was never published."""
    published = """
@scenario(outputs="out/*")
def bad():
    n = len(os.listdir("out")) if os.path.isdir("out") else 0
    if not Path("done").exists():
        put(f"out/part-{n}", "x")
    Path("done").touch()
"""
    result = one(published)
    assert kinds(result) == {"diverged"}
    assert any("does not leave: out/part-1" in violation.message for violation in result.violations)
    assert one(GOOD).verdict is Verdict.HELD


def test_litter_fails_where_the_scenario_says_so(one):
    """Truth 4 is a warning unless it is declared to fail."""
    result = one(GOOD.replace('outputs="out/*"', 'outputs="out/*", litter="fail"'))
    assert kinds(result) == {"litter"}


def test_ignored_files_are_looked_at_by_no_check(one):
    """A torn, surplus or differing file that is ignored changes nothing."""
    result = one("""
@scenario(outputs="**", ignore=["*.log", "cache/"])
def good():
    Path("a.log").write_text(str(time.time_ns()))
    Path("cache").mkdir(exist_ok=True); Path(f"cache/{time.time_ns()}").touch()
    put("o/x", "x")
""")
    assert result.verdict is Verdict.HELD, result
    assert not any("cache" in warning or ".log" in warning for warning in result.warnings)


@pytest.mark.parametrize("faults", [("kill",), ("kill", "torn")])
def test_ignored_files_are_part_of_a_crash_state(one, faults):
    """No check compares them, but a recovery reads them: half of one is not taken for the whole."""
    source = """
@scenario(outputs="o", ignore="state.json")
def it():
    import json
    state = Path("state.json")
    if state.exists() and state.read_text():
        json.loads(state.read_text())
    WRITE
    put("o", "x")
"""
    text = "json.dumps({'at': f'{time.time():.9f}'})"
    if faults == ("kill",):
        parts = f"f.write('[1,\\n'); f.write({text} + ']')"
        source = source.replace("WRITE", f"with open('state.json', 'w', 1) as f: {parts}")
    else:
        source = source.replace("WRITE", f"state.write_text({text})")
    assert kinds(one(source, faults=faults, torn="bytes")) == {"recovery-failed"}


def test_a_pipeline_that_is_not_idempotent_is_seen_without_a_crash(one):
    """Run again on its own result, it must change nothing."""
    result = one("""
@scenario(outputs="count")
def bad():
    n = int(Path("count").read_text()) if Path("count").exists() else 0
    put("count", str(n + 1))
""")
    assert "not-idempotent" in kinds(result)


def test_a_check_compares_what_it_returns(one):
    """Where bytes may differ, the check's value stands in for them."""
    source = """
def rows():
    return sorted(Path("db").read_text().split())

@scenario(check=rows)
def shuffled():
    have = Path("db").read_text().split() if Path("db").exists() else []
    put("db", " ".join(reversed(have)) if have else "a b")
    {then}
"""
    assert one(source.format(then="")).verdict is Verdict.HELD
    result = one(source.format(then="Path('db').write_text('a b c' if have else 'a b')"))
    assert result.verdict is not Verdict.HELD


def test_a_check_that_raises_diverges(one):
    """An assertion of the user's own is a truth too."""
    result = one("""
def nothing_left():
    assert not Path("partial").exists(), "partial was left"

@scenario(outputs="o", check=nothing_left)
def bad():
    if not Path("partial").exists():
        Path("partial").touch()
        put("o", "x")
        os.unlink("partial")
    else:
        put("o", "x")
""")
    (violation,) = result.violations
    assert violation.kind == "diverged"
    assert "partial was left" in violation.message


BROKEN_BY_A_SECOND = """
@scenario(outputs="o"{more})
def twice():
    # The marker says that a crash was seen, and is cleared before the repair is complete.
    if Path("dirty").exists():
        Path("repair").touch()
        os.unlink("dirty")
        put("o", "good")
        os.unlink("repair")
        return
    if Path("repair").exists():
        sys.exit("torn between two repairs")
    if not Path("o").exists():
        Path("dirty").touch()
        put("o", "good")
        os.unlink("dirty")
"""


def test_a_recovery_can_be_crashed_too(one):
    """What only a second crash breaks is found at depth 2, and not at depth 1."""
    assert one(BROKEN_BY_A_SECOND.format(more="")).verdict is Verdict.HELD
    for result in (
        one(BROKEN_BY_A_SECOND.format(more=""), depth=2),
        one(BROKEN_BY_A_SECOND.format(more=", depth=2")),
    ):
        assert kinds(result) == {"recovery-failed"}
        point = result.violations[0].point
        assert point.count("kill@") == 2
        assert result.violations[0].confirmed


def test_nondeterminism_is_unknown_with_the_first_difference(one):
    """Nothing can be compared with a golden run that is not one."""
    result = one("""
@scenario(outputs="o")
def random_output():
    put("o", f"same\\n{time.time_ns()}\\n")
""")
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason.startswith("nondeterministic: two runs with no fault differ in o")
    assert "first difference at byte" in result.reason


def test_a_pipeline_that_fails_by_itself_is_unknown_with_its_stderr(one):
    """A broken pipeline is not the harness's finding."""
    result = one("""
@scenario(outputs="o")
def broken():
    raise RuntimeError("no such column")
""")
    assert result.verdict is Verdict.UNKNOWN
    assert "RuntimeError: no such column" in result.reason
    assert "Traceback" in result.reason


def test_outputs_that_match_nothing_are_unknown_and_say_what_is_there(one):
    """A pattern with a typing error must not make everything hold."""
    result = one("""
@scenario(outputs="outt/*")
def typo():
    put("out/x", "x")
""")
    assert result.verdict is Verdict.UNKNOWN
    assert "outt/* match nothing" in result.reason
    assert "; name what readers see, as outputs=" in result.reason
    assert "out/x" in result.reason


def test_a_pipeline_without_an_op_is_unknown(one):
    """Where nothing can be struck, nothing was tested."""
    result = one("""
def here():
    put("o", "x")

@scenario(outputs="o", setup=here)
def idle():
    pass
""")
    assert result.verdict is Verdict.UNKNOWN
    assert "it makes and changes no output" in result.reason


def test_a_mapped_output_is_unknown(one):
    """Stores through memory happen between the ops, where nothing was tested."""
    result = one("""
@scenario(outputs="o")
def mapped():
    import mmap
    with open("o", "w+b") as f:
        f.truncate(10)
        with mmap.mmap(f.fileno(), 10) as m:
            m[:] = b"0123456789"
""")
    assert result.verdict is Verdict.UNKNOWN
    assert "stores through memory to o" in result.reason


@pytest.mark.parametrize("flags", [0, 2])
def test_an_output_that_was_mapped_under_another_name_is_unknown(one, flags):
    """A file keeps its mapping when it, or the directory that it is in, gets another name, by a swap, too."""
    result = one(
        """
@scenario(outputs="out/*", faults="kill")
def mapped():
    import ctypes, mmap
    os.mkdir("stage")
    with open("stage/report", "w+b") as f:
        f.truncate(8192)
        m = mmap.mmap(f.fileno(), 8192)
    if FLAGS:  # RENAME_EXCHANGE
        os.mkdir("out")
        assert ctypes.CDLL(None).renameat2(-100, b"out", -100, b"stage", FLAGS) == 0
    else:
        os.rename("stage", "out")
    m[:] = b"a" * 8192
""".replace("FLAGS", str(flags))
    )
    assert result.verdict is Verdict.UNKNOWN
    assert "stores through memory to stage/report" in result.reason
    assert result.reason.endswith(
        'and it becomes out/report; let it be written by calls, or leave it out: ignore="out/report"'
    )


def test_a_known_bad_scenario_fails_when_it_is_not_caught(one):
    """The canary of every user: expect= is a claim about the harness."""
    caught = one("""
@scenario(outputs="o", expect="torn-output")
def bad():
    Path("o").write_text("x")
""")
    assert caught.verdict is Verdict.HELD
    assert caught.violations
    missed = one(GOOD.replace('outputs="out/*"', 'outputs="out/*", expect="torn-output"'))
    assert missed.verdict is Verdict.VIOLATED
    assert "expected torn-output" in missed.reason


LONG = """
@scenario(outputs="o", faults=("kill", "torn", "power"), torn="bytes", expect="torn-output")
def long():
    with open("o", "a", buffering=1) as f:
        for number in range(60):
            f.write(f"{number:8}\\n")
"""


def test_a_known_bad_scenario_is_explored_until_it_is_caught(explored):
    """As far as is needed to know, by any number of workers as far; to its end where that is asked for."""
    (enough,) = explored(LONG, zygote=False).scenarios
    assert enough.verdict is Verdict.HELD, enough
    assert set(enough.faults) == {"kill"}
    assert 0 < enough.faults["kill"].tested < enough.faults["kill"].points
    with Session(jobs=1) as single:
        (alone,) = explored(LONG, within=single).scenarios
    assert (alone.faults, alone.violations[0].point) == (enough.faults, enough.violations[0].point)
    (whole,) = explored(LONG, points=40, exhaustive=True).scenarios
    assert {name: coverage.tested for name, coverage in whole.faults.items()} == dict.fromkeys(
        ("kill", "torn", "power"), 40
    )


def test_a_scenario_is_left_at_its_first_violation_where_that_is_asked_for(explored):
    """It is violated, as one that is explored to its end; what did not strike is said."""
    bad = LONG.replace(', expect="torn-output"', "").replace('"a", buffering', '"w", buffering')
    (fast,) = explored(bad, fail_fast=True, explain="none").scenarios
    assert fast.verdict is Verdict.VIOLATED
    assert set(fast.faults) == {"kill"}
    assert 0 < fast.faults["kill"].tested < fast.faults["kill"].points
    assert "points were enough" in fast.faults["kill"].note
    assert fast.warnings[-2:] == [
        f"stopped at the first violation: {fault} was not tried" for fault in ("torn", "power")
    ]
    (good,) = explored(GOOD, fail_fast=True).scenarios
    assert good.verdict is Verdict.HELD
    assert good.faults["kill"].tested == good.faults["kill"].points


def test_sampled_points_are_counted_and_labelled(one):
    """--points N tests N of the points, chosen by the seed, and says so."""
    result = one(GOOD, points=4, seed=7)
    coverage = result.faults["kill"]
    assert (coverage.points, coverage.chosen, coverage.tested) == (12, 4, 4)
    assert coverage.note == "sampled 4 of 12 points, seed 7"
    assert result.verdict is Verdict.HELD
    assert "sampled" in result.reason


def test_what_the_budget_cut_off_is_unknown(one):
    """A budget of nothing tests nothing, and says so."""
    result = one(GOOD, budget=0.0)
    assert result.verdict is Verdict.UNKNOWN
    assert "when the budget ended" in result.reason
    assert result.faults["kill"].points == 12


def test_the_timer_strikes_and_says_that_it_is_never_exhaustive(one):
    """The fallback of machines without interception, on a machine that has it."""
    result = one(
        """
@scenario(outputs="o")
def slow():
    with open("o", "w") as f:
        time.sleep(0.3)
        f.write("x")
""",
        faults=("timer",),
    )
    coverage = result.faults["timer"]
    assert coverage.note == "random moments, never exhaustive"
    assert 0 < coverage.tested == coverage.points
    assert "torn-output" in kinds(result)


def test_points_that_only_some_runs_have_are_set_aside_and_told(one):
    """Where runs differ in their ops, a point past a run's end is no point of it; it is not called tested."""
    result = one("""
@scenario(outputs="o*")
def varies():
    for i in range(8): put(f"o{i}", "x")
    for _ in range(time.time_ns() // 1000 % 4): os.utime("o1")
""")
    assert result.verdict is Verdict.HELD, result
    assert result.faults["kill"].tested == result.faults["kill"].points >= 24


def test_any_number_of_workers_gives_the_same_result(explored):
    """The verdicts, counts and messages do not depend on who did what."""
    source = (
        GOOD
        + """
@scenario(outputs="o")
def bad():
    Path("o").write_text("x" * 100)
    Path("p").write_text("y")
    os.rename("p", "o2")

@scenario(command=["sh", "-c", "echo a > o; echo b >> o"], outputs="o")
def _unused(): ...
""".replace("@scenario(command", "shell = scenario(command").replace("\ndef _unused(): ...", "")
    )
    seen = []
    for jobs in (1, 3):
        with Session(jobs=jobs) as session:
            several = explored(source, within=session)
        seen.append(
            [
                (
                    r.name,
                    r.verdict,
                    r.reason,
                    r.faults,
                    r.warnings,
                    [(v.kind, v.point, v.message, v.points) for v in r.violations],
                )
                for r in several.scenarios
            ]
        )
    assert seen[0] == seen[1]


def test_a_worker_that_is_killed_loses_nothing(explored):
    """The kernel drops the dead worker's lock, and another does its unit again."""
    slow = GOOD.replace("put(", "time.sleep(0.05); put(")
    with Session(jobs=2) as session:
        victim = session._workers[0].pid
        threading.Timer(1.0, os.kill, (victim, signal.SIGKILL)).start()
        (result,) = explored(slow, within=session).scenarios
        assert psutil.Process(victim).status() == "zombie" if psutil.pid_exists(victim) else True
    assert result.verdict is Verdict.HELD, result
    assert result.faults["kill"].tested == 12


def test_a_session_leaves_no_process_and_no_directory(tmp_path):
    """The workers end and the boxes are gone when a session ends, with or without an error."""
    with Session(jobs=2, box_dir=tmp_path) as session:
        pids = [worker.pid for worker in session._workers]
        assert session.root.is_dir()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("forks", [False, True])
def test_what_a_killed_session_left_is_removed_by_the_next(tmp_path, forks):
    """A SIGKILLed harness cannot clean up; its workers end with it, and the next session sweeps."""
    code = (
        "import sys, time; from pathlib import Path; from outlive_harness.jobs.session import Session\n"
        f"place = Path({str(tmp_path)!r})\n"
        f"with Session(jobs=3, box_dir=place, forks={forks}) as s:\n"
        "    print(*(worker.pid for worker in s._workers), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        workers = [int(word) for word in process.stdout.readline().split()]
        process.kill()
    deadline = time.monotonic() + 20
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(psutil.pid_exists, workers))
    (left,) = tmp_path.iterdir()
    with Session(jobs=1, box_dir=tmp_path):
        assert not left.exists()


def test_a_forked_worker_does_as_one_by_exec_and_is_replaced_when_it_dies(tmp_path):
    """It ends with its session, and loses nothing when it is killed."""
    code = """
import os, signal, sys, threading
from pathlib import Path
from outlive_harness.explore.engine import explore
from outlive_harness.results.options import Options
from outlive_harness.jobs.session import Session
from outlive_harness.scenario import scenario
program = "import os, time; time.sleep(0.05); open('t', 'w').write('x'); os.rename('t', 'o')"
one = scenario(command=[sys.executable, "-c", program], outputs="o", name="one")
with Session(jobs=2, forks=True) as session:
    commands = [Path(f"/proc/{worker.pid}/cmdline").read_bytes() for worker in session._workers]
    assert commands == [Path("/proc/self/cmdline").read_bytes()] * 2, commands
    threading.Timer(0.5, os.kill, (session._workers[0].pid, signal.SIGKILL)).start()
    result = explore(session, [one], Options(store=Path(".outlive")))
    assert result.verdict == "held", result
print(*(worker.poll() for worker in session._workers))
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("nobody is left")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
    )
    assert "nobody is left" in done.stdout, done.stderr


@pytest.mark.parametrize("count", [0, 1, 2, 3, 31, 32, 33, 100])
def test_any_beginning_of_what_is_spread_is_from_all_over(count):
    """Each item is there once; of the first few there is one in each part of the whole, the last one too."""
    items = spread(range(count))
    assert sorted(items) == list(range(count))
    if count > 8:
        assert items[0] == count - 1
        assert {item * 4 // count for item in items[:8]} == {0, 1, 2, 3}


def test_two_scenarios_of_one_name_are_refused(explored):
    """A replay id must mean one scenario; the message names both places."""
    with pytest.raises(ScenarioError, match=r"two scenarios are named 'good': .*:\d+ and .*:\d+"):
        explored(GOOD + "\nagain = scenario(command=['true'], name='good')\n")


def test_an_unknown_fault_is_refused(explored):
    """The message lists the faults that there are."""
    with pytest.raises(
        ScenarioError, match="unknown fault 'kil'; there are: kill, torn, full, eio, term, timer"
    ):
        explored(GOOD, faults=("kil",))


def test_a_command_that_does_not_exist_is_unknown_and_named(one):
    """The program's name is in the reason."""
    result = one("gone = scenario(command=['no-such-program'], outputs='o')")
    assert result.verdict is Verdict.UNKNOWN
    assert "'no-such-program'" in result.reason
    assert "No such file" in result.reason


def test_a_setup_that_fails_is_unknown(one):
    """A box that could not be prepared tests nothing."""
    result = one("""
def prepare():
    raise OSError("no input today")

@scenario(outputs="o", setup=prepare)
def good():
    put("o", "x")
""")
    assert result.verdict is Verdict.UNKNOWN
    assert "setup exited with 1: OSError: no input today" in result.reason


def test_an_input_that_has_changed_is_copied_anew(tmp_path):
    """What an earlier scenario had of the same directory is no copy of it any more."""
    given, seen = tmp_path / "given", tmp_path / "seen"
    given.mkdir()
    (given / "big").write_bytes(b"A" * (2 << 20))
    (tmp_path / "two.py").write_text(
        f"""
from pathlib import Path
from outlive_harness import scenario

@scenario(outputs="out", input="given")
def first():
    (Path({str(given)!r}) / "big").write_bytes(b"B" * (2 << 20))
    raise SystemExit("the other part is not there")

@scenario(outputs="out", input="given")
def second():
    data = Path("big").read_bytes()[:1]
    with open({str(seen)!r}, "ab") as log:
        log.write(data)
    Path("out").write_bytes(data)
"""
    )
    first, second = load_file(tmp_path / "two.py")
    with Session(jobs=1) as session:
        for one in (first, second):
            explore(session, [one], Options(faults=("kill",)))
    assert set(seen.read_bytes()) == {ord("B")}


def test_what_a_signal_leaves_has_its_time_where_the_first_process_handled_it(one):
    """Only what a signal has ended is as good as killed; what exits leaves others that go on."""
    source = """
@scenario(outputs="out", faults=("term",))
def it():
    import signal
    done, told = os.pipe()
    if os.fork() == 0:
        os.close(told)
        if not os.read(done, 1):
            time.sleep(0.4)
            os.write(os.open("out", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), b"aborted")
        os._exit(0)
    os.close(done)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    put("out", "x" * 100)
    os.write(told, b"q")
    os.wait()
"""
    assert kinds(one(source)) == {"torn-output"}


def test_an_input_directory_is_copied_into_each_box(one, tmp_path):
    """input= gives every run the same start; one that does not exist is told."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in.csv").write_text("1\n2\n")
    source = """
@scenario(outputs="o", input="{where}")
def total():
    put("o", str(sum(map(int, Path("in.csv").read_text().split()))))
"""
    assert one(source.format(where="data")).verdict is Verdict.HELD
    missing = one(source.format(where="dta"))
    assert missing.verdict is Verdict.UNKNOWN
    assert "dta is not a directory" in missing.reason


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")
def test_a_box_whose_disk_is_full_is_unknown_and_says_so(tmp_path):
    """A full disk is trouble of ours, not a finding about the pipeline."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "outlive-test", place], check=True)
    try:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "big").write_bytes(b"x" * 1_000_000)
        path = tmp_path / "s.py"
        path.write_text(
            "from outlive_harness import scenario\n"
            "full = scenario(command=['sh', '-c', 'echo > o'], outputs='o', input='data')\n"
        )
        with Session(jobs=1, box_dir=place) as session:
            (result,) = explore(session, load_file(path), Options(store=tmp_path)).scenarios
    finally:
        subprocess.run(["umount", place], check=True)
    assert result.verdict is Verdict.UNKNOWN
    assert "No space left on device" in result.reason


IN_PLACE = """
program = "mkdir -p out/sub; [ -e out/sub/x ] || echo 1 > out/sub/x"
made = scenario(command=["sh", "-c", program], outputs={outputs!r})
"""


def test_outputs_that_name_a_directory_are_all_below_it(one):
    """With no slash at its end as with one; a wildcard that matches a directory alone judges nothing."""
    for outputs in ("out", "out/"):
        assert one(IN_PLACE.format(outputs=outputs)).verdict is Verdict.VIOLATED
    result = one(IN_PLACE.format(outputs="out/*"))
    assert result.verdict is Verdict.UNKNOWN
    assert "outputs out/* match nothing that the golden run left; it left out/sub/x" in result.reason
    assert result.reason.endswith('; name what readers see, as outputs="out/sub/*"')


def test_each_pattern_of_outputs_must_match(one):
    """One that matches nothing is named; what was there for a time, or before the run, is something."""
    source = """
def given():
    Path("old").write_text("old")

@scenario(outputs={outputs!r}, setup=given)
def it():
    Path("old").unlink(missing_ok=True)
    put("for_a_time", "x")
    os.unlink("for_a_time")
    put("o", "x")
"""
    assert one(source.format(outputs=("o", "old", "for_a_time"))).verdict is Verdict.HELD
    result = one(source.format(outputs=("o", "reprot", "out/*.csv")))
    assert result.verdict is Verdict.UNKNOWN
    assert "outputs reprot, out/*.csv: nothing that the golden run made or left matches" in result.reason
    assert result.reason.endswith("; correct the pattern, or leave it out")


def test_acks_that_match_no_line_are_unknown(one):
    """A pattern that the user gave must match; a body that acknowledges nothing need not."""
    command = ["sh", "-c", "echo x > t; mv t o; echo done: x"]
    source = "made = scenario(command={!r}, outputs='o', acks={!r})"
    assert one(source.format(command, "^done: (.*)$")).verdict is Verdict.HELD
    result = one(source.format(command, "^dnoe: (.*)$"))
    assert result.verdict is Verdict.UNKNOWN
    assert "no line of the golden run's standard output matches acks='^dnoe: (.*)$'" in result.reason
    assert "; correct the pattern, or let the program flush such a line" in result.reason


def test_the_own_directory_is_no_part_of_an_input(one, tmp_path):
    """What earlier runs kept at its top is copied into no box; below that it is the user's."""
    for name in (".outlive", "data/.outlive"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "kept").touch()
    result = one("""
@scenario(outputs="o", input=".")
def it():
    put("o", str(sorted(map(str, Path().rglob("kept")))))
    if Path("o").read_text() != "['data/.outlive/kept']":
        sys.exit(Path("o").read_text())
""")
    assert result.verdict is Verdict.HELD, result


def test_boxes_in_the_input_are_refused(one, tmp_path):
    """Each would hold a copy of all others."""
    with Session(jobs=1, box_dir=tmp_path) as session:
        result = one("@scenario(outputs='o', input='.')\ndef it():\n    put('o', 'x')\n", within=session)
    assert result.verdict is Verdict.UNKNOWN
    assert "holds the boxes themselves; give --box-dir outside it" in result.reason
