"""Points that leave the same files: one is struck and tells of the others, but only where that is so."""

import os

import pytest

from outlive_harness.explore import case
from outlive_harness.golden.record import Record
from outlive_harness.results.findings import Finding
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.results.verdicts import Verdict
from outlive_harness.search.equivalent import ended_by_signal, equivalent_points, trials_of_equivalents

OPS = [
    Op("open", "openat", "t", flags=os.O_WRONLY | os.O_CREAT),
    Op("write", "write", "t"),
    Op("fsync", "fsync", "t"),
    Op("open", "openat", "t", flags=os.O_WRONLY),
    Op("rename", "rename", "t", "out"),
    Op("fsync", "fsync", ""),
    Op("unlink", "unlink", "u"),
]
KILLS = [(Point("kill", number),) for number in range(1, len(OPS) + 1)]


@pytest.fixture(autouse=True)
def one_seed(monkeypatch):
    """Give all runs one hash seed, and repeat none: else there are more, by exec, than are counted here."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.setattr(case, "sample", lambda _trials: ())


#: Counts its runs in a file that is none of the box's, and syncs often.
COUNTED = """
@scenario(outputs="out")
def it():
    HANDLER
    with open(RUNS, "a") as log:
        log.write(".")
    for n in range(5):
        fd = os.open(f"part{n}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        os.fsync(fd)
        os.fsync(fd)
        os.fdatasync(fd)
        os.close(fd)
    for n in range(5):
        os.unlink(f"part{n}")
    Path("t").write_text("x" * 100)
    os.replace("t", "out")
"""


def record_of(tmp_path, **facts):
    made = Record(None, tmp_path)
    made.trace.ops = OPS
    made.has_order = made.is_alone = True
    made.signals = [0] * len(OPS)
    made.trace.blind = facts.pop("blind", [])
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def counted(runs, handler="pass"):
    return COUNTED.replace("HANDLER", handler).replace("RUNS", repr(str(runs)))


def test_syncs_and_opens_that_make_nothing_change_no_files(tmp_path):
    """Points after them are told by the one before; every other point is struck."""
    assert equivalent_points(record_of(tmp_path), KILLS) == {
        KILLS[2]: [KILLS[3], KILLS[4]],
        KILLS[5]: [KILLS[6]],
    }


def test_of_a_sample_the_first_stands_for_its_like(tmp_path):
    """Where the first point of several like ones is not asked for, the next one is struck."""
    assert equivalent_points(record_of(tmp_path), KILLS[3:5]) == {KILLS[3]: [KILLS[4]]}


@pytest.mark.parametrize(
    "facts",
    [{"has_order": False}, {"is_alone": False}, {"acks": ["stored 1"]}, {"blind": [("m", "is mapped")]}],
)
def test_nothing_is_told_where_runs_may_differ(tmp_path, facts):
    """Other processes, another order, a promise on the way, stores out of sight: each point is struck."""
    record = record_of(tmp_path, **facts)
    assert equivalent_points(record, KILLS) == {}
    killed = [Trial(plan, outcome=Outcome.JUDGED, state="s") for plan in KILLS]
    assert ended_by_signal(record, [(Point("term", 1),)], killed) == []


def test_a_twin_is_what_the_point_itself_would_be(tmp_path):
    """It has its own op, its state and no findings of its own; one that was not reached says so, too."""
    found = Trial(KILLS[2], outcome=Outcome.JUDGED, state="s", findings=[Finding("diverged", "out", "")])
    (twin,) = trials_of_equivalents(record_of(tmp_path), [found], {KILLS[2]: [KILLS[3]]})
    assert (twin.plan, twin.state, twin.reached, twin.judged) == (KILLS[3], "s", True, False)
    assert (twin.op, twin.path, twin.findings) == ("open t", "t", [])
    (lost,) = trials_of_equivalents(
        record_of(tmp_path),
        [Trial(KILLS[2], outcome=Outcome.FAILED, trouble="no room")],
        {KILLS[2]: [KILLS[3]]},
    )
    assert (lost.reached, lost.trouble, lost.op) == (False, "no room", "")


def test_a_signal_that_nobody_handles_is_told_by_a_kill(tmp_path):
    """Not where it is caught, where it would leave a core file, nor where the kill showed a violation."""
    caught = 1 << 14
    record = record_of(tmp_path, signals=[0, caught, 0, 0, 0, 0, 0])
    killed = [
        Trial(plan, outcome=Outcome.REPEATED if number % 2 else Outcome.JUDGED, state=f"s{number // 2}")
        for number, plan in enumerate(KILLS)
    ]
    killed[4].findings.append(Finding("diverged", "out", ""))
    signals = [(Point("term", number),) for number in range(1, 8)]
    found = ended_by_signal(record, signals, killed)
    assert [trial.plan[0].at for trial in found] == [1, 3, 4, 7]
    assert [(trial.state, trial.judged) for trial in found] == [
        ("s0", True),
        ("s1", True),
        ("s1", False),
        ("s3", True),
    ]
    assert ended_by_signal(record, [(Point("term", 1, part=3),)], killed) == []  # SIGQUIT


def test_stores_through_memory_between_two_syncs_are_seen(one):
    """A kill between two ops that change no file is struck where the file may have changed all the same."""
    source = """
@scenario(outputs="out")
def it():
    import mmap
    if not Path("state").exists():
        put("state", chr(0) * 16)
    fd = os.open("state", os.O_RDWR)
    shared = mmap.mmap(fd, 16)
    if shared[0]:
        raise SystemExit("somebody holds the lock")
    os.fsync(fd)
    shared[0] = 1
    os.fsync(fd)
    shared[0] = 0
    put("out", "x")
"""
    result = one(source, faults=("kill",))
    assert {violation.kind for violation in result.violations} == {"recovery-failed"}


def test_a_signal_is_sent_where_another_process_would_outlive_the_first(one):
    """A helper that makes no call while all goes well acts when a signal takes its parent away."""
    source = """
@scenario(outputs="out", faults=("kill", "term"))
def it():
    done, told = os.pipe()
    if os.fork() == 0:
        os.close(told)
        if not os.read(done, 1):
            os.write(os.open("out", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), b"aborted")
        os._exit(0)
    os.close(done)
    for name in ("part", "out"):
        Path("t").write_text("x" * 100)
        os.replace("t", name)
    os.write(told, b"q")
    os.wait()
"""
    result = one(source)
    assert {(violation.kind, violation.fault) for violation in result.violations} == {("torn-output", "term")}


def test_fewer_runs_show_the_same(one, tmp_path):
    """With every point struck there are as many states, and more runs."""
    runs = tmp_path / "runs"
    results, counts = [], []
    for select in ("auto", "all"):
        runs.write_text("")
        results.append(one(counted(runs), select=select).faults["kill"])
        counts.append(len(runs.read_text()))
    assert results[0] == results[1]
    assert results[0].tested == results[0].points
    assert counts[1] - counts[0] == 15  # five times two fsyncs and one fdatasync


def test_a_handled_signal_is_sent(one, tmp_path):
    """Where no handler is there, term adds no run to those of kill; where one is, each point is struck."""
    runs = tmp_path / "runs"
    added = []
    for handler in ("pass", "__import__('signal').signal(15, lambda *_: sys.exit(0))"):
        counts = []
        for faults in (("kill",), ("kill", "term")):
            runs.write_text("")
            result = one(counted(runs, handler), faults=faults)
            assert result.verdict is Verdict.HELD
            assert all(each.tested == each.points == result.ops for each in result.faults.values())
            counts.append(len(runs.read_text()))
        added.append(counts[1] - counts[0])
    assert added[0] == 0
    assert added[1] >= result.ops


def test_files_that_recover_after_one_fault_are_not_recovered_from_after_another(one, tmp_path):
    """A full disk that is noticed leaves what a kill does: only the runs that it strikes are added."""
    runs = tmp_path / "runs"
    counts = []
    for faults in (("kill",), ("kill", "full"), ("full",)):
        runs.write_text("")
        result = one(counted(runs), faults=faults)
        assert result.verdict is Verdict.HELD
        counts.append(len(runs.read_text()))
    full = result.faults["full"]
    assert full.states > 3
    assert counts[1] - counts[0] < counts[2] - 4  # four golden runs, and the recoveries


@pytest.mark.parametrize("zygote", [True, False])
def test_what_is_bad_is_bad_under_each_fault(one, zygote):
    """A violation that kill has found is found by the others as well, and not left out as known."""
    source = """
@scenario(outputs="out")
def it():
    fd = os.open("out", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"x" * 50)
    os.fsync(fd)
    os.write(fd, b"x" * 50)
    os.close(fd)
    put("other", "x")
"""
    result = one(source, faults=("kill", "term"), zygote=zygote)
    assert {violation.fault for violation in result.violations if violation.kind == "torn-output"} == {
        "kill",
        "term",
    }
