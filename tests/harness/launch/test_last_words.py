"""What a failed run said: the line that tells most, in any language."""

import subprocess
import sys

import pytest

from outlive_harness.launch.last_words import last_words, told

HEAD = "Traceback (most recent call last):\n"
FRAMES = '  File "pipe.py", line 3, in <module>\n    load(x)\n    ~~~~^^^\n'
CHAINED = f"{HEAD}{FRAMES}KeyError: 'a'\n\nDuring handling of the above exception, another occurred:\n\n"
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "pipe.py", line 9, in <module>
  | ExceptionGroup: several (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "pipe.py", line 3, in one
    | ValueError: the inner one
    +------------------------------------
"""


SYNTAX = '  File "x.py", line 1\n    if\n     ^\nSyntaxError: invalid syntax\n'
NODE = "x.js:1\nthrow new Error('a')\n^\n\nError: a\n    at x.js:1:7\n\nNode.js v20.1.0\n"
JAVA = 'Exception in thread "main" a.BError: x\n\tat A.main(A.java:3)\nCaused by: b.C: y\n\tat A\n'
GO = "panic: no such row\n\ngoroutine 1 [running]:\nmain.main()\nexit status 2\n"
RUST = "thread 'main' (7) panicked at src/main.rs:2:5:\nno\n"


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (f"{HEAD}{FRAMES}ValueError: first\nsecond\n  third\n", "ValueError: first"),
        (f"{HEAD}{FRAMES}acme.errors.SchemaError\nwarning: leaked\n", "acme.errors.SchemaError"),
        (f"{CHAINED}{HEAD}{FRAMES}OSError: [Errno 5] gone\n", "OSError: [Errno 5] gone"),
        (GROUP, "ValueError: the inner one"),
        (f"12:00 ERROR {HEAD}{FRAMES}Late: it was logged\n12:01 INFO bye\n", "Late: it was logged"),
        (SYNTAX, "SyntaxError: invalid syntax"),
        (HEAD, "Traceback (most recent call last):"),
        ("sort: cannot read: in: No such file\n\n", "sort: cannot read: in: No such file"),
        (NODE, "Error: a"),
        (JAVA, "Caused by: b.C: y"),
        (GO, "panic: no such row"),
        (RUST, "thread 'main' (7) panicked at src/main.rs:2:5:"),
    ],
)
def test_the_line_that_tells_most_is_taken(stderr, expected):
    """An exception with the first line of its message, whatever follows; else the last line."""
    assert last_words(stderr, "some output\n") == expected
    assert told(stderr, " \n") == stderr.strip()


def test_a_program_that_speaks_on_standard_output_is_heard_there():
    """What it said last, and where."""
    assert last_words(" \n", "a\nTests failed\n\n") == "Tests failed (on standard output)"
    assert told("\n", "a\nb\n") == "its standard error is empty; its standard output ends with:\na\nb"
    assert (last_words("", ""), told("", "")) == ("", "")


def test_a_program_that_speaks_on_both_streams_is_heard_on_both():
    """The end of each is labelled; a long standard output leaves room for the error."""
    printed = "".join(f"step {number}\n" for number in range(40))
    lines = told("Traceback:\n  x\nE: y\n", printed).splitlines()
    assert lines[0] == "its standard output ends with:"
    assert lines[1:11] == [f"step {number}" for number in range(30, 40)]
    assert lines[11:] == ["its standard error ends with:", "Traceback:", "  x", "E: y"]


def test_a_python_program_of_today_is_read_as_it_speaks(tmp_path):
    """The interpreter at hand: a chain, a group, notes, a message of two lines."""
    for body, expected in (
        ("try: 1/0\nexcept ZeroDivisionError as e: raise RuntimeError('a\\nb') from e", "RuntimeError: a"),
        ("raise ExceptionGroup('g', [ValueError('v')])", "ValueError: v"),
        ("e = KeyError('k'); e.add_note('n'); raise e", "KeyError: 'k'"),
        ("class Own(Exception): pass\nraise Own", "Own"),
    ):
        program = tmp_path / "pipe.py"
        program.write_text(body)
        done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
        assert last_words(done.stderr, "").removeprefix("__main__.") == expected
