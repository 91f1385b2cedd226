"""Files that a program keeps open and comes back to: told from those that it writes in one go."""

import os

import pytest

from outlive_harness.judge.held_open import held_open
from outlive_harness.results.ops import Op


def ops(*several):
    """Make ops of "KIND PATH [OFFSET LENGTH]" or "rename PATH TARGET"."""
    made = []
    for text in several:
        kind, path, *more = text.split()
        target = more.pop() if kind == "rename" else ""
        offset, length = (int(number) for number in more) if more else (0, 0)
        made.append(Op(kind, kind, path, target, offset=offset, length=length, flags=os.O_WRONLY))
    return made


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        # tinydb: each change is written over the last one
        (("open db", "write db 0 29", "fsync db", "write db 0 44", "truncate db"), (1, 5, 2)),
        # a log between other files
        (("open log", "write log -1 9", "open x", "write x 0 1", "write log -1 9"), (1, 5, 2)),
        # lines that are flushed one by one
        (("open log", "write log 0 9", "write log 9 9", "write log 18 9"), (1, 4, 3)),
        # a database that has been moved there stays open
        (("open a", "rename a db", "open db", "write db 4096 4096", "write db 0 4096"), (3, 5, 2)),
        # one go, whole buffers
        (("open out", "write out 0 8192", "write out 8192 8192", "write out 16384 7"), None),
        (("open out", "write out -1 4096", "write out -1 4096"), None),
        (("open out", "write out 0 2", "write out 2 290"), None),
        # closed in between, as far as one can see
        (("open out", "write out 0 9", "open out", "write out 0 9"), None),
        (("open t", "write t 0 9", "rename t out", "open t", "write t 0 9", "rename t out"), None),
        (("open out", "write out 0 9", "unlink out", "open out", "write out 0 9"), None),
        ((), None),
    ],
)
def test_a_file_that_is_come_back_to_is_told(several, expected):
    """By its ops alone: closing a file is none."""
    path = next((path for path in ("db", "log", "out") if any(path in one for one in several)), "out")
    assert held_open(ops(*several), path) == expected


def test_a_violation_says_that_the_file_is_kept_open_and_what_to_declare(one):
    """Declared so, or left to a check, it holds; a report written in place is told as ever."""
    body = """def it():
    with open("log", "a", buffering=1) as log:
        for number in range(3):
            if not os.path.exists(f"{number}"):
                put(f"{number}", "x")
                log.write(f"{number}\\n")
"""
    result = one(f'@scenario(outputs="log")\n{body}')
    (found,) = [found for found in result.violations if found.kind == "torn-output"]
    assert found.message.endswith("; the program keeps it open")
    assert "over 3 writes" in found.detail
    assert "declare it: settled; append_only where it grows by whole lines; ignore" in found.detail
    result = one(f'@scenario(outputs="log", append_only="log")\n{body}')
    assert not [found for found in result.violations if found.kind == "torn-output"]
    result = one('@scenario(outputs="o")\ndef it():\n    open("o", "w").write("x" * 99999)')
    (found,) = result.violations
    assert "keeps it open" not in found.message + found.detail


INDEX = """
@scenario(outputs={outputs!r}, settled={settled!r}, faults=("kill", "torn"), {more})
def it():
    with open("d/index", "r+b", buffering=0) as index:
        done = len(index.read()) // 4
        {repair}
        for number in range(done, 3):
            index.write(b"%04d" % number)
"""
MADE = "setup=lambda: (os.mkdir('d'), Path('d/index').touch())"
LINKED = "setup=lambda: (os.mkdir('d'), Path('d/index').touch(), os.symlink('d', 'now'))"


@pytest.mark.parametrize(
    ("outputs", "settled", "repair", "more", "kinds"),
    [
        ("d/*", (), "index.truncate(done * 4); index.seek(done * 4)", MADE, {"torn-output"}),
        ("d/*", "d/*", "pass", MADE, {"diverged"}),  # it must still be right in the end
        ("now/*", "d/*", "index.truncate(done * 4); index.seek(done * 4)", LINKED, set()),
    ],
)
def test_a_settled_file_is_judged_after_the_recovery_alone(one, outputs, settled, repair, more, kinds):
    """By its own path, or by one through a link."""
    source = INDEX.format(outputs=outputs, settled=settled, repair=repair, more=more)
    result = one(source, torn="bytes", explain="none")
    assert {found.kind for found in result.violations} == kinds
    said = {item.what: item.why for item in result.not_judged}
    whole = "settled: 1 file, compared after the recovery and not judged at a crash"
    assert said == ({settled: whole} if settled else {})
