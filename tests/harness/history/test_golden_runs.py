"""Golden runs are taken again where nothing that they came of has changed; others are let go of."""

import os
import sys

import pytest

from outlive_harness import scenario
from outlive_harness.explore.engine import explore
from outlive_harness.explore.replay import replay
from outlive_harness.history.golden_runs import Records
from outlive_harness.results.options import Options
from outlive_harness.results.plan import parse_plan
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import Verdict

#: Puts what it reads into place, or writes it there in parts if that says so.
PIPELINE = """
import os
what = READ
if "bad" in what:
    open("out", "w").write(what * 9)
else:
    with open("t", "w") as f: f.write(what)
    os.rename("t", "out")
"""


def names(session, what):
    """Return what is there of the session's records, or of its jobs."""
    return {path.name for path in (session.root / what).iterdir()}


@pytest.fixture
def records(session):
    """Golden runs of this test alone: as many as there is room for."""
    kept = Records(session, room=3 << 19)
    yield kept
    for one in list(kept._kept):
        kept._drop(one)


@pytest.fixture
def judged(session, records, tmp_path):
    """Explore a scenario with what is kept, and return its verdict and which golden run it was."""

    def run(made):
        options = Options(store=tmp_path / ".outlive", explain="none")
        (result,) = explore(session, [made], options, records=records).scenarios
        return result.verdict, records._kept[-1].spec.edition

    return run


def command(tmp_path, read, **more):
    """Return a scenario of a program that reads something; its file is in a directory of its own."""
    made = scenario(
        command=[sys.executable, "-c", PIPELINE.replace("READ", read)], name="it", outputs="out", **more
    )
    (tmp_path / "there").mkdir(exist_ok=True)
    made.file = str(tmp_path / "there" / "-")
    return made


#: What a scenario reads, how; and what makes it bad.
READS = {
    "an input": ("open('word').read()", {"input": "../given"}, "given/word"),
    "a file elsewhere": ("open(os.environ['PLACE'] + '/word').read()", {}, "word"),
    "one that is not there yet": (
        (
            "open(name).read() if os.path.exists(name := os.environ['PLACE'] + '/new/word') else "
            "'x' * len(os.listdir(os.path.dirname(name)))"
        ),
        {},
        "new/word",
    ),
    "a module of its own": (
        "(sys := __import__('sys')).path.insert(0, os.environ['PLACE']) or __import__('word_of_it').word",
        {},
        "word_of_it.py",
    ),
}


@pytest.mark.parametrize("what", READS)
def test_a_golden_run_is_of_what_it_read(tmp_path, judged, monkeypatch, what):
    """What is the same by content is taken again, whatever its times; what differs is run anew."""
    read, more, name = READS[what]
    monkeypatch.setenv("PLACE", str(tmp_path))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    made = command(tmp_path, read, **more)

    def write(word):
        path.write_text(f"word = {word!r}\n" if name.endswith(".py") else word)

    if "not there yet" not in what:
        write("good")
    verdict, first = judged(made)
    assert verdict is Verdict.HELD
    if path.exists():
        write("good")
        os.utime(path, (1, 1))
    assert judged(made) == (Verdict.HELD, first)
    write("bad")
    verdict, second = judged(made)
    assert (verdict, second != first) == (Verdict.VIOLATED, True)


def test_a_golden_run_is_of_its_environment(tmp_path, judged, monkeypatch):
    """That of the call, not that of the workers: whatever was run before."""
    made = command(tmp_path, "os.environ['WORD_OF_IT']")
    verdicts = []
    for word in ("good", "bad", "good"):
        monkeypatch.setenv("WORD_OF_IT", word)
        verdicts.append(judged(made)[0])
    assert verdicts == [Verdict.HELD, Verdict.VIOLATED, Verdict.HELD]


def test_a_golden_run_is_of_its_program(tmp_path, judged):
    """One that is changed in place is another program."""
    made = command(tmp_path, "'good'")
    (tmp_path / "p.py").write_text(made.command[2])
    made.command = (sys.executable, str(tmp_path / "p.py"))
    assert judged(made)[0] is Verdict.HELD
    (tmp_path / "p.py").write_text(PIPELINE.replace("READ", "'bad'"))
    assert judged(made)[0] is Verdict.VIOLATED


def test_a_golden_run_is_of_what_its_check_read(tmp_path, session, records):
    """What a check compares with is no part of the pipeline's own reads."""
    expected, path = tmp_path / "expected", tmp_path / "s.py"
    expected.write_text("one")
    path.write_text(
        "from pathlib import Path\nfrom outlive_harness import scenario\n\n"
        f"@scenario(check=lambda: Path({str(expected)!r}).read_text())\n"
        "def it(): Path('out').write_text('x')\n"
    )
    (made,) = load_file(path)
    for word in ("one", "two"):
        expected.write_text(word)
        record, trial = replay(session, made, parse_plan("kill@1"), records=records)
        assert (record.value, trial.reached, trial.findings) == (repr(word), True, [])
        assert str(expected) in record.reads  # as for whoever asks what has changed
        assert not any(one.startswith(str(session.root)) for one in record.reads)


def test_what_is_not_needed_is_let_go_of(tmp_path, session, records):
    """Of many inputs as many are kept as there is room for, and of the trials nothing."""
    made = command(tmp_path, "open('word').read()", input="../given")
    (tmp_path / "given").mkdir()

    def there():
        kept = [session.root / "records" / name for name in names(session, "records") - before]
        return sum(f.stat().st_size for path in kept for f in path.rglob("*") if f.is_file()), len(kept)

    before, jobs = names(session, "records"), len(names(session, "jobs"))
    for number in range(6):
        (tmp_path / "given" / "word").write_text(f"{number}" * 300_000)
        made.name = f"it{number}"  # another scenario, which the others may be asked for beside
        assert replay(session, made, parse_plan("kill@3"), records=records)[1].reached
    size, count = there()  # each of 1.2 MB: the last, and one more
    assert (count, size < 2 * (3 << 19)) == (2, True)
    (tmp_path / "given" / "word").write_text("x" * 5_000_000)
    assert len(replay(session, made, None, records=records)[0].ops) == 3
    assert there()[1] == 2  # the last one stays, however large it is
    assert len(names(session, "jobs")) == jobs + 2


def test_a_verdict_needs_no_golden_run_any_more(tmp_path, session):
    """Where nobody may ask for it again, as on the command line, it is gone with its trials."""
    before = {what: names(session, what) for what in ("records", "jobs")}
    made = command(tmp_path, "'bad'")
    options = Options(store=tmp_path / ".outlive", faults=("kill", "power"), depth=2)
    (result,) = explore(session, [made], options, records=Records(session)).scenarios
    assert result.verdict is Verdict.VIOLATED
    assert {what: names(session, what) for what in before} == before


SUITE = """
import os, sys
import pytest
from outlive_harness import scenario

PIPELINE = {pipeline!r}
PATH = f"pipe{{os.getpid()}}.py"  # of each worker of xdist
open(PATH, "w").close()
made = scenario(command=[sys.executable, PATH], outputs="out", name="made")

@pytest.mark.parametrize("number", range(3))
def test_the_same_directory(outlive, tmp_path_factory, number):
    place = tmp_path_factory.getbasetemp() / "one"
    place.mkdir(exist_ok=True)
    for text, verdict in (("good", "held"), ("bad", "violated")):
        (place / "in").write_text(text)
        program = [sys.executable, "-c", PIPELINE.replace("READ", "open('in').read()")]
        assert outlive.check(program, input=place, outputs="out").verdict == verdict

@pytest.mark.parametrize("word", ["good", "bad", "good"])
def test_the_environment(outlive, monkeypatch, word):
    monkeypatch.setenv("WORD", word)
    program = [sys.executable, "-c", PIPELINE.replace("READ", "os.environ['WORD']")]
    assert outlive.check(program, outputs="out").verdict == ("violated" if word == "bad" else "held")

@pytest.mark.parametrize("word", ["good", "bad", "good"])
def test_the_program(outlive, word):
    more = "os.mkdir('more')" if word == "bad" else ""
    open(PATH, "w").write(PIPELINE.replace("READ", repr(word)) + more)
    assert outlive.ops(made) == 3 if word == "good" else 4
    trial = outlive.trial(made, "kill@2")
    assert trial.reached and bool(trial.findings) == (word == "bad")
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_a_verdict_does_not_depend_on_the_tests_before(pytester, workers):
    """In the fixture's tests, too: an input, an environment and a program that are written anew."""
    pytester.makepyfile(SUITE.format(pipeline=PIPELINE))
    pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", *workers).assert_outcomes(passed=9)


#: Makes its table of readers anew, as LMDB does: the golden run leaves that out of what is compared.
MADE_ANEW = """
import mmap, os
lock = os.open("lock.mdb", os.O_RDWR | os.O_CREAT)
os.ftruncate(lock, 4096)
mmap.mmap(lock, 4096)[:4] = os.getpid().to_bytes(4, "little")
with open("t", "wb") as new:
    new.write(bytes(16) + bytes.fromhex("dec0efbe") + bytes(4076))
os.rename("t", "data.mdb")
"""


def test_a_golden_run_that_leaves_more_out_is_found_again(tmp_path, judged):
    """Files that a database makes anew are ignored, unasked; that makes it no other golden run."""
    made = scenario(command=[sys.executable, "-c", MADE_ANEW], name="it", outputs="data.mdb")
    made.file = str(tmp_path / "-")
    assert judged(made) == judged(made) == (Verdict.HELD, judged(made)[1])
