"""The job queue: tasks shared as files, which no worker's death loses."""

import subprocess
import sys
import time

import pytest

from outlive_harness.jobs import queue, tasks
from outlive_harness.jobs.queue import Claimer, Posted, Priority
from outlive_harness.jobs.shared import first_to


@pytest.fixture
def root(tmp_path):
    (tmp_path / "jobs").mkdir()
    return tmp_path


def test_each_task_is_claimed_once(root):
    """Two claimers share the tasks of a job, and none is given out twice."""
    job = queue.post(root, "j", Posted(list("abcd")))
    one, other = Claimer(root), Claimer(root)
    claims = [claimer.claim() for claimer in (one, other, one, other, one, other)]
    assert [claim and claim.task for claim in claims] == ["a", "b", "c", "d", None, None]
    for claim in claims[:4]:
        claim.finish(claim.task.upper())
    assert queue.done(job) == {0, 1, 2, 3}
    assert queue.load(job / "results" / "2") == "C"
    assert one.claim() is None


def test_a_task_of_a_dead_worker_is_given_out_again(root):
    """The kernel drops the lock of a process that was killed; a finished task is not done twice."""
    job = queue.post(root, "j", Posted(["a", "b"]))
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from outlive_harness.jobs.queue import Claimer\n"
        "claimer = Claimer(Path(sys.argv[1])); claimer.claim().finish('done')\n"
        "claimer.claim()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    claim = Claimer(root).claim()
    assert (claim.number, claim.task) == (1, "b")
    assert Claimer(root).claim() is None
    claim.finish("again")
    assert [queue.load(job / "results" / str(n)) for n in (0, 1)] == ["done", "again"]


def test_a_task_that_workers_die_of_is_given_up(root):
    """Who comes after a dead worker begins with what that died of; after three the whole job is given up."""
    queue.post(root, "j", Posted(["a", "b", "c"]))
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from outlive_harness.jobs.queue import Claimer\n"
        "claim = Claimer(Path(sys.argv[1])).claim(); print(claim.task, claim.is_lost)"
    )
    argv = [sys.executable, "-c", code, str(root)]
    said = [subprocess.run(argv, capture_output=True, text=True, check=True).stdout for _ in range(4)]
    assert said == ["a False\n"] * 3 + ["a True\n"]
    claimer = Claimer(root)
    assert [claimer.claim().is_lost for _ in range(3)] == [True] * 3
    assert claimer.claim() is None


def test_a_job_is_posted_once(root):
    """Of several who post one name the first one's job stands, and the others join it."""
    first = queue.post(root, "j", Posted(["a"]))
    assert queue.post(root, "j", Posted(["other"])) == first
    assert Claimer(root).claim().task == "a"
    assert [path.name for path in (root / "jobs").iterdir()] == ["j"]


def test_nothing_is_claimed_of_a_closed_or_late_job(root):
    """A closed job is over, and so is one whose time has passed."""
    queue.close(queue.post(root, "closed", Posted(["a"])))
    queue.post(root, "late", Posted(["a"], until=1.0))
    assert Claimer(root).claim() is None


def test_a_name_belongs_to_the_first_who_asks(root):
    """A state is recovered once; who does a dead worker's task again asks as the same owner."""
    assert first_to(root, "state", "kill@1")
    assert not first_to(root, "state", "kill@2")
    assert first_to(root, "state", "kill@1")


def test_a_result_is_never_seen_in_part(root):
    """Readers find the whole value or none: it is renamed into place."""
    queue.save(root / "value", {"big": "x" * 100_000})
    assert queue.load(root / "value") == {"big": "x" * 100_000}
    assert sorted(path.name for path in root.iterdir()) == ["jobs", "value"]


def test_the_job_of_a_dead_owner_is_left_alone(root):
    """Nobody waits for its results any more; but a recording is everybody's."""
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from outlive_harness.jobs.queue import Posted, post\n"
        "for name in ('ours', 'shared'):\n"
        "    post(Path(sys.argv[1]), name, Posted([name], is_shared=name == 'shared'))\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout.readline() == b"ready\n"
        assert {Claimer(root).claim().task for _ in range(2)} == {"ours", "shared"}
        for claim in root.glob("jobs/*/claims/*"):
            claim.unlink()
        owner.kill()
    claimer = Claimer(root)
    assert claimer.claim().task == "shared"
    assert claimer.claim() is None


def test_a_job_may_be_taken_away_at_any_moment(root):
    """Its tasks are nobody's any more: who has one finishes it for nobody, and others find the next job."""
    first, second = (queue.post(root, name, Posted(["a", "b"])) for name in ("j1", "j2"))
    claimer = Claimer(root)
    begun = claimer.claim()
    assert begun.job == first
    queue.close(first)
    queue.remove(first)
    begun.finish("late")
    assert not first.exists()
    assert [claimer.claim().job for _ in range(2)] == [second] * 2
    assert claimer.claim() is None
    assert claimer._loaded.keys() | claimer._next.keys() | claimer._over == {"j2"}


def test_a_job_that_vanishes_while_it_is_looked_at_is_passed_over(root, monkeypatch):
    """A worker reads a directory that its owner takes away between two reads."""
    gone, there = (queue.post(root, name, Posted(["a"])) for name in ("j1", "j2"))
    load = queue.load

    def late(path):
        if path.parent == gone:
            queue.remove(gone)
        return load(path)

    monkeypatch.setattr(queue, "load", late)
    assert Claimer(root).claim().job == there


def test_a_job_that_found_enough_waits_only_for_the_tasks_before(root):
    """No further task starts; one that is at work behind the last needed is not waited for."""
    job = tasks.submit(root, list("abcd"), priority=Priority.TRIAL)
    job.is_enough = lambda result: result == "B"
    one, other, third = Claimer(root), Claimer(root), Claimer(root)
    first, second, ahead = one.claim(), other.claim(), third.claim()
    second.finish("B")
    assert not job.is_over()
    assert one.claim() is None, "the job is stopped"
    first.finish("A")
    job._next_look = 0.0
    assert job.is_over()
    assert job.collect() == ["A", "B"]
    ahead.finish("C")


def test_a_dead_worker_does_not_keep_a_late_job_open(root, monkeypatch):
    """What it had claimed is given out to nobody when the time is up, and nobody waits for it."""
    job = tasks.submit(root, list("ab"), priority=Priority.TRIAL, until=time.time() + 60)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from outlive_harness.jobs.queue import Claimer\n"
        "Claimer(Path(sys.argv[1])).claim()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    claim = Claimer(root).claim()
    subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    assert not job.is_over()
    monkeypatch.setattr(tasks.time, "time", lambda: job.until + 1)
    job._next_look = 0.0
    assert not job.is_over(), "a task is at work"
    claim.finish("done")
    job._next_look = 0.0
    assert job.is_over()
    assert job.collect() == ["done"]
