"""What a scenario's check says: its kind by what was raised, its value whole, its assertions always on."""

import subprocess
import sys

import pytest

from outlive_harness.intercept.supervisor import Ending
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.verdicts import Verdict
from outlive_harness.world.checks import check_result, command_result

#: What a check does, and what is known of it: its value, how it failed, whether by an assertion.
SAYS = {
    "an assertion": ("assert 1 > 2", "", "raised AssertionError", True),
    "one of two lines": (
        "assert False, 'two rows\\nof three'",
        "",
        "raised AssertionError: two rows",
        True,
    ),
    "a subclass": ("raise Broken('gone')", "", "raised outlive_scenario_it.Broken: gone", True),
    "a group of them": (
        "raise ExceptionGroup('rows', [AssertionError('a'), Broken('b')])",
        "",
        "raised ExceptionGroup: rows (2 sub-exceptions)",
        True,
    ),
    "a group of others, too": (
        "raise ExceptionGroup('rows', [AssertionError('a'), KeyError('b')])",
        "",
        "raised ExceptionGroup: rows (2 sub-exceptions)",
        False,
    ),
    "an error that speaks of one": (
        "raise ValueError('AssertionError: no')",
        "",
        "raised ValueError: AssertionError: no",
        False,
    ),
    "an error that comes of one": (
        "try: assert False\n    except AssertionError as error: raise ValueError('no') from error",
        "",
        "raised ValueError: no",
        False,
    ),
    "words that speak of one": (
        "sys.stderr.write('AssertionError: no\\n'); sys.exit(2)",
        "",
        "raised SystemExit: 2",
        False,
    ),
    "its own end": ("os._exit(0)", "", "ended before its function returned", False),
    "a signal": ("os.kill(os.getpid(), 9)", "", "was ended by signal 9", False),
    "an end that is none": ("sys.exit(0)", "None", "", False),
    "a value of two lines": ("return Rows()", "one\ntwo", "", False),
    "a value, and more words": ("print('three'); return [1]", "[1]", "", False),
    "a value, and a child that comes by": (
        "pid = os.fork(); pid and os.wait(); return bool(pid)",
        "True",
        "",
        False,
    ),
    "a value, and a bad end": ("atexit.register(os._exit, 3); return 1", "1", "exited with 3", False),
}
SCENARIO = """
import atexit, os, sys
from outlive_harness import scenario

class Broken(AssertionError): pass

class Rows:
    def __repr__(self): return "one\\ntwo"

def check():
    {does}

@scenario(check=check)
def it(): pass
"""


def ran(done):
    return FinishedRun("exited", done.returncode, 0, 0.0, done.stdout, done.stderr)


def body(path, said, *options, **how):
    argv = [sys.executable, *options, "-P", "-m", "outlive_harness._body", path, "it", "check", "/", said]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, **how)


@pytest.mark.parametrize("what", SAYS)
def test_a_check_says_what_it_returned_or_raised(tmp_path, what):
    """By what was raised, whatever it or the program prints; all of what was said is kept."""
    does, value, failed, is_assertion = SAYS[what]
    path, said = tmp_path / "it.py", tmp_path / "said"
    path.write_text(SCENARIO.format(does=does))
    told = check_result(said, ran(body(path, said)))
    assert (told.value, told.failed, told.is_assertion) == (value, failed, is_assertion)


def test_all_that_an_exception_says_is_kept_with_its_place(tmp_path):
    """The line is the innermost of the scenario's own, not one of the library that it called."""
    path, said = tmp_path / "it.py", tmp_path / "said"
    path.write_text(SCENARIO.format(does="__import__('json').loads('[1\\n2')"))
    told = check_result(said, ran(body(path, said)))
    assert told.failed.startswith("raised json.decoder.JSONDecodeError: ")
    assert told.detail == f"raised at {path}:11 in check: __import__('json').loads('[1\\n2')"
    path.write_text(SCENARIO.format(does="assert False, 'one\\ntwo'"))
    told = check_result(said, ran(body(path, said)))
    place = f"{path}:11 in check: assert False, 'one\\ntwo'"
    assert told.failure == f"raised AssertionError: one\none\ntwo\nraised at {place}"


PROMISES = """
from outlive_harness import ack

class Broken(AssertionError): pass

def kept(acks):
    have = int(Path("n").read_text()) if Path("n").exists() else 0
    if have < len(acks):
        raise {error}

@scenario(check=kept)
def promised():
    for i in range(2):
        if not Path(f"d{{i}}").exists():
            put(f"d{{i}}", "")
            ack(i)
            put("n", str(i + 1))
"""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("AssertionError('one promised\\n none there')", "lost-ack"),
        ("Broken('gone')", "lost-ack"),
        ("ValueError('AssertionError: none there')", "diverged"),
    ],
)
def test_the_kind_of_a_broken_promise_is_that_of_its_exception(one, error, kind):
    """An assertion of a check that takes what was promised is lost-ack, in a zygote as by exec."""
    source = PROMISES.format(error=error)
    results = [one(source, zygote=zygote, explain="none") for zygote in (True, False)]
    assert [result.zygote for result in results] == [True, False]
    for result in results:
        assert {violation.kind for violation in result.violations} == {kind}, result.violations


def test_a_value_of_several_lines_is_compared_whole(one):
    """What differs in the first line of a value, and not in its last, differs."""
    source = """
class Rows:
    def __init__(self, *rows): self.rows = rows
    def __repr__(self): return "\\n".join(self.rows)

@scenario(check=lambda: Rows(Path("n").read_text(), "the end"))
def counted():
    if not Path("begun").exists():
        Path("begun").touch()
        put("n", "1")
    elif not Path("n").exists():
        put("n", "2")
"""
    result = one(source)
    assert result.verdict is Verdict.VIOLATED
    assert result.violations[0].detail.splitlines() == [
        "--- golden",
        "+++ here",
        "@@ -1,2 +1,2 @@",
        "-1",
        "+2",
        " the end",
    ]


ASSERTING = """
import os, sys

def check():
    assert Path("done").exists(), "not done"

@scenario(check=check, setup={setup}, outputs="out")
def marked():
    put("out", sys.flags.optimize and "off" or os.environ.get("PYTHONOPTIMIZE", "on"))
    assert True
    if not Path("begun").exists():
        Path("begun").touch()
        Path("done").touch()
"""


@pytest.mark.parametrize("zygote", [True, False])
def test_assertions_of_a_scenario_are_always_on(one, monkeypatch, zygote):
    """PYTHONOPTIMIZE is for the user's programs: a check's assertion fails where it must."""
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    monkeypatch.setenv("PYTHONINSPECT", "1")  # which has a program that failed exit with 0
    result = one(ASSERTING.format(setup=None), zygote=zygote)
    assert result.verdict is Verdict.VIOLATED
    assert (
        result.violations[0].message == "after recovery the check fails: it raised AssertionError: not done"
    )


def test_assertions_of_a_setup_are_on(one, monkeypatch):
    """A box that is not as its setup demands is not judged."""
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    result = one(ASSERTING.format(setup="lambda: [] or 1 / sys.flags.optimize"))
    assert result.verdict is Verdict.UNKNOWN
    assert "ZeroDivisionError" in result.reason


def test_a_command_keeps_its_own_switches(one, monkeypatch):
    """What the user's program finds in its environment is what it finds without us."""
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    code = "import os, sys; open('t', 'w').write(str(sys.flags.optimize)); os.rename('t', 'o')"
    check = "lambda: 1 // (Path('o').read_text() == '1')"
    source = f"s = scenario(command=[sys.executable, '-c', {code!r}], outputs='o', check={check})"
    assert one(source).verdict is Verdict.HELD


def test_an_interpreter_without_assertions_runs_no_function(tmp_path):
    """Where they are off all the same, that is said, and nothing is judged."""
    path, said = tmp_path / "it.py", tmp_path / "said"
    path.write_text(SCENARIO.format(does="assert False"))
    done = body(path, said, "-O")
    assert done.returncode == 1
    assert "assertions are switched off" in done.stderr
    assert not said.exists()


@pytest.mark.parametrize(
    ("code", "ended", "printed", "value", "failed", "says_no"),
    [
        (0, Ending.EXITED, "one\ntwo\n", "one\ntwo", "", False),
        (1, Ending.EXITED, "", "", "exited with 1: gone", True),
        (2, Ending.EXITED, "", "", "exited with 2: gone", False),
        (-9, Ending.EXITED, "", "", "was ended by signal 9: gone", False),
        (1, Ending.TIMEOUT, "", "", "did not end within 0.0 s: gone", False),
    ],
)
def test_a_command_says_by_its_exit_status(code, ended, printed, value, failed, says_no):
    """Status 1 is a no, as of grep and diff; any other but 0 is trouble of its own."""
    told = command_result(FinishedRun(ended, code, 0, 0.0, printed, "" if printed else "gone"))
    assert (told.value, told.failed, told.is_assertion) == (value, failed, says_no)


COUNTED = """
code = '''
import os
have = int(open("n").read()) if os.path.exists("n") else 0
for number in range(have, 2):
    open("d", "a").close()
    print("stored", number, flush=True)
    open("t", "w").write(str(number + 1))
    os.rename("t", "n")
'''
counted = scenario(command=[sys.executable, "-c", code], acks={acks!r}, check={check!r})
"""


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("cat n; test $(wc -l < {acks}) -le $(cat n) || exit 1", ""),
        ("test -e d && test ! -s {acks}", "the check fails with no fault: it exited with 1"),
        ("cat nothing", "the check fails with no fault: it exited with 1: cat: nothing: No such"),
    ],
)
def test_a_command_judges_what_was_recovered(one, check, said):
    """What it prints must be what it printed after the golden run, and it reads what was acknowledged."""
    acks = "stored (.*)" if "acks" in check else ""
    result = one(COUNTED.format(check=check, acks=acks), explain="none")
    assert result.verdict is (Verdict.UNKNOWN if said else Verdict.HELD), result
    assert said in result.reason
    assert ("all files", "not compared: there is a check, and outputs are not named") in [
        (item.what, item.why) for item in result.not_judged
    ]


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (1, "lost-ack", "after recovery a promise is broken: the check exited with 1: 0 is gone"),
        (2, "diverged", "after recovery the check fails: it exited with 2: 0 is gone"),
    ],
)
def test_a_command_that_reads_what_was_promised_says_that_it_is_gone(one, tmp_path, status, kind, said):
    """By exit status 1; any other says that the check itself has trouble."""
    verify = tmp_path / "verify.sh"
    verify.write_text(
        f'while read -r ack; do test -e "$ack" || {{ echo "$ack is gone" >&2; exit {status}; }}; done < "$1"'
    )
    source = """
from outlive_harness import ack

@scenario(check=["sh", VERIFY, "{acks}"])
def promised():
    if not Path("begun").exists():
        Path("begun").touch()
        ack(0)
        Path("0").touch()
"""
    result = one(source.replace("VERIFY", repr(str(verify))), explain="none")
    assert {(found.kind, found.message) for found in result.violations} == {(kind, said)}


def test_all_that_a_command_prints_is_compared(one):
    """More than is kept of what a pipeline prints; they differ far from the end."""
    source = """
@scenario(check="ls junk 2>&1; head -c 300000 /dev/zero | tr '\\\\\\\\0' x")
def it():
    if not Path("o").exists():
        put("o", "x")
        Path("junk").touch()
"""
    result = one(source, explain="none")
    assert {found.kind for found in result.violations} == {"diverged"}
