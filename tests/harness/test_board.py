"""The board: work shared as files, lost by nobody's death."""

import subprocess
import sys

import pytest

from outlive_harness.explore import board


@pytest.fixture
def root(tmp_path):
    (tmp_path / "jobs").mkdir()
    return tmp_path


def test_each_unit_is_claimed_once(root):
    """Two claimers share the units of a job, and none is given out twice."""
    job = board.post(root, "j", "kind", list("abcd"))
    one, other = board.Claimer(root), board.Claimer(root)
    units = [claimer.claim() for claimer in (one, other, one, other, one, other)]
    assert [unit and unit.payload for unit in units] == ["a", "b", "c", "d", None, None]
    for unit in units[:4]:
        unit.finish(unit.payload.upper())
    assert board.done(job) == {0, 1, 2, 3}
    assert board.load(job / "results" / "2") == "C"
    assert one.claim() is None


def test_a_unit_of_a_dead_worker_is_given_out_again(root):
    """The kernel drops the lock of a process that was killed; a finished unit is not done twice."""
    job = board.post(root, "j", "kind", ["a", "b"])
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from outlive_harness.explore.board import Claimer\n"
        "claimer = Claimer(Path(sys.argv[1])); claimer.claim().finish('done')\n"
        "claimer.claim()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    unit = board.Claimer(root).claim()
    assert (unit.number, unit.payload) == (1, "b")
    assert board.Claimer(root).claim() is None
    unit.finish("again")
    assert [board.load(job / "results" / str(n)) for n in (0, 1)] == ["done", "again"]


def test_a_unit_that_workers_die_of_is_given_up(root):
    """Who comes after a dead worker begins with what that died of; after three the whole job is given up."""
    board.post(root, "j", "kind", ["a", "b", "c"])
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from outlive_harness.explore.board import Claimer\n"
        "unit = Claimer(Path(sys.argv[1])).claim(); print(unit.kind, unit.payload)"
    )
    argv = [sys.executable, "-c", code, str(root)]
    said = [subprocess.run(argv, capture_output=True, text=True, check=True).stdout for _ in range(4)]
    assert said == ["kind a\n"] * 3 + [f"{board.LOST} ('kind', 'a')\n"]
    claimer = board.Claimer(root)
    assert [claimer.claim().kind for _ in range(3)] == [board.LOST] * 3
    assert claimer.claim() is None


def test_a_job_is_posted_once(root):
    """Of several who post one name the first one's job stands, and the others join it."""
    first = board.post(root, "j", "kind", ["a"])
    assert board.post(root, "j", "kind", ["other"]) == first
    assert board.Claimer(root).claim().payload == "a"
    assert [path.name for path in (root / "jobs").iterdir()] == ["j"]


def test_nothing_is_claimed_of_a_closed_or_late_job(root):
    """A closed job is over, and so is one whose time has passed."""
    board.close(board.post(root, "closed", "kind", ["a"]))
    board.post(root, "late", "kind", ["a"], until=1.0)
    assert board.Claimer(root).claim() is None


def test_a_name_is_the_first_one_s_who_asks(root):
    """A state is recovered once; who does a dead worker's unit again asks as the same owner."""
    assert board.first_to(root, "state", "kill@1")
    assert not board.first_to(root, "state", "kill@2")
    assert board.first_to(root, "state", "kill@1")


def test_a_result_is_never_seen_in_part(root):
    """Readers find the whole value or none: it is renamed into place."""
    board.save(root / "value", {"big": "x" * 100_000})
    assert board.load(root / "value") == {"big": "x" * 100_000}
    assert sorted(path.name for path in root.iterdir()) == ["jobs", "value"]


def test_the_job_of_a_dead_owner_is_left_alone(root):
    """Nobody waits for its results any more; but a recording is everybody's."""
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from outlive_harness.explore import board\n"
        "for kind in ('trial', board.RECORD): board.post(Path(sys.argv[1]), kind, kind, [kind])\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout.readline() == b"ready\n"
        assert {board.Claimer(root).claim().kind for _ in range(2)} == {"trial", board.RECORD}
        for claim in root.glob("jobs/*/claims/*"):
            claim.unlink()
        owner.kill()
    claimer = board.Claimer(root)
    assert claimer.claim().kind == board.RECORD
    assert claimer.claim() is None


def test_a_job_may_be_taken_away_at_any_moment(root):
    """Its units are nobody's any more: who has one finishes it for nobody, and others find the next job."""
    first, second = (board.post(root, name, "kind", ["a", "b"]) for name in ("j1", "j2"))
    claimer = board.Claimer(root)
    begun = claimer.claim()
    assert begun.job == first
    board.close(first)
    board.remove(first)
    begun.finish("late")
    assert not first.exists()
    assert [claimer.claim().job for _ in range(2)] == [second] * 2
    assert claimer.claim() is None
    assert claimer._loaded.keys() | claimer._next.keys() | claimer._over == {"j2"}


def test_a_job_that_vanishes_while_it_is_looked_at_is_passed_over(root, monkeypatch):
    """A worker reads a directory that its owner takes away between two reads."""
    gone, there = (board.post(root, name, "kind", ["a"]) for name in ("j1", "j2"))
    load = board.load

    def late(path):
        if path.parent == gone:
            board.remove(gone)
        return load(path)

    monkeypatch.setattr(board, "load", late)
    assert board.Claimer(root).claim().job == there
