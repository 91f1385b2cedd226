"""Pipelines of which each trial takes long: what is known before the trials, and after a few of them."""

import time
from dataclasses import replace

import pytest

from outlive_harness.explore import case, confirm, foretell
from outlive_harness.explore.budget import kept_back
from outlive_harness.explore.observer import Silent
from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.results.verdicts import Verdict
from outlive_harness.search import before_trials
from outlive_harness.search.fault_search import SearchState
from outlive_harness.search.forecast import Forecast
from outlive_harness.trial import trial

#: One output is replaced, two are written in place, and one is safe from a kill but not from a power cut.
MIXED = """
@scenario(outputs="o*", faults=("kill", "torn", "power"), torn="bytes")
def mixed():
    Path("log").write_text("begun")
    put("o/safe", "x")
    for name in ("o1", "o2"):
        with open(name, "w", buffering=1) as f:
            f.write("first\\n")
            f.write("second\\n")
    Path("t").write_text("y" * 9000)
    os.replace("t", "o3")
"""
GOOD = """
@scenario(outputs="o")
def good():
    fd = os.open("t", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x")
    os.fsync(fd)
    os.close(fd)
    os.replace("t", "o")
"""


def keys(violations):
    return {(one.kind, one.fault, one.path) for one in violations}


def test_what_the_recording_shows_is_told_even_if_no_trial_is_run(one):
    """Partial outputs by each fault, as violations of truth 1 alone; that nothing recovered is said."""
    result = one(MIXED, budget=0.0)
    assert result.verdict is Verdict.VIOLATED
    assert sum(coverage.tested for coverage in result.faults.values()) == 0
    assert keys(result.violations) >= {
        *(("torn-output", fault, path) for fault in ("kill", "torn", "power") for path in ("o1", "o2")),
        ("torn-output", "power", "o3"),
    }
    assert {one.kind for one in result.violations} == {"torn-output"}
    assert ("torn-output", "kill", "o3") not in keys(result.violations)
    assert all(one.from_recording and one.confirmed is None and one.replay for one in result.violations)
    (kill,) = [one for one in result.not_judged if one.what.endswith("of kill")]
    assert kill.what.startswith("the recovery after ")
    assert "judged for partial outputs, from the recording" in kill.why
    assert any("not confirmed by a second trial: the budget ended" in text for text in result.warnings)
    assert not any(one.kept for one in result.violations)


#: The first transaction leaves half of the rows; then a whole database takes the place of this one.
HALF = """
def old():
    import sqlite3
    os.mkdir("out")
    for name, count in (("out/rows.db", 1), ("whole", 9)):
        database = sqlite3.connect(name, isolation_level=None)
        database.execute("CREATE TABLE rows(id)")
        database.executemany("INSERT INTO rows VALUES (?)", [(n,) for n in range(count)])
        database.close()

@scenario(outputs="out/rows.db", setup=old)
def half():
    import sqlite3
    if os.path.exists("whole"):
        database = sqlite3.connect("out/rows.db", isolation_level=None)
        database.execute("BEGIN")
        database.execute("INSERT INTO rows VALUES (5)")
        database.execute("COMMIT")
        os.rename("whole", "out/rows.db")
"""


def test_what_a_database_shows_depends_on_its_journal(one):
    """With equal bytes it shows what was before while its journal is there, and half of the rows after."""
    (found,) = one(HALF, budget=0.0).violations
    assert (found.path, found.from_recording) == ("out/rows.db", True)


def test_a_recording_without_a_partial_output_proves_nothing_more(one):
    """With no recovery run the verdict is unknown, and names the recoveries that were not run."""
    result = one(GOOD, budget=0.0)
    assert result.verdict is Verdict.UNKNOWN
    assert result.violations == []
    assert [item.what for item in result.not_judged if "recovery" in item.what]


def test_the_recording_shows_what_the_trials_show(explored, monkeypatch):
    """Each partial output at each point that any fault's trials find, and no other."""
    monkeypatch.setattr(before_trials, "LONG", 0.0)
    heard = []
    monkeypatch.setattr(case.Case, "seen", lambda _case, trials: heard.extend(trials))
    searches = []
    begin = case.begin
    monkeypatch.setattr(case, "begin", lambda *given: searches.append(begin(*given)) or searches[-1])
    explored(MIXED, explain="none", points=60)
    assert {search.search.name for search in searches} == {"kill", "torn", "power"}
    for search in searches:
        judged = {done.state: done for done in search.trials if done.judged}
        for done in search.trials:
            found = {one.path for one in judged[done.state].findings if one.kind == "torn-output"}
            if done.plan in search.seen.states:
                assert {path for _, path in search.seen.wrong.get(done.plan, ())} == found, done.plan
        assert len(search.seen.states) >= 12
    assert [done.plan for done in heard] == [
        done.plan for search in searches for done in search.seen.examples
    ]


def test_what_the_recording_shows_is_tried_first(explored):
    """With one violation enough, the first trial shows it."""
    for jobs in (1, 3):
        with Session(jobs=jobs) as session:
            (result,) = explored(MIXED, within=session, fail_fast=True).scenarios
        assert result.verdict is Verdict.VIOLATED
        assert [(name, coverage.tested) for name, coverage in result.faults.items()] == [("kill", 1)]
        assert [one.confirmed for one in result.violations] == [True] * len(result.violations)


def test_a_power_cut_has_its_turn_soon_where_one_violation_is_enough(one):
    """It does not wait for all kills, of which none shows anything."""
    source = """
@scenario(outputs="o*", faults=("kill", "power"))
def unsynced():
    for n in range(6): put(f"o{n}", "x")
"""
    result = one(source, fail_fast=True)
    assert result.verdict is Verdict.VIOLATED
    kill, power = result.faults["kill"], result.faults["power"]
    assert 0 < kill.tested < 12 < kill.points
    assert power.tested == 1


def test_each_plan_is_confirmed_once_and_none_that_was_an_exec(explored, monkeypatch):
    """Violations of one plan need one trial more; execs none, beside those whose boxes are kept."""
    source = """
@scenario(outputs="o*")
def several():
    files = [open(f"o{n}", "w", buffering=1) for n in range(8)]
    for f in files: f.write("first\\n")
    for f in files: f.write("second\\n")
"""
    asked = []
    submit = confirm.submit

    def counting(root, tasks, *, priority, **more):
        asked.extend(task.plan for task in tasks if priority is Priority.CONFIRMATION)
        return submit(root, tasks, priority=priority, **more)

    monkeypatch.setattr(confirm, "submit", counting)
    for zygote in (True, False):
        asked.clear()
        (result,) = explored(source, explain="none", zygote=zygote).scenarios
        assert len(result.violations) == 8
        wanted = {one.point for one in result.violations[: None if zygote else confirm._KEPT]}
        assert sorted(str(plan[0]) for plan in asked) == sorted(wanted)
        confirmed = [one.confirmed for one in result.violations]
        assert confirmed == ([True] * 8 if zygote else [True] * 3 + [None] * 5)


def test_a_trial_that_outlasts_the_budget_by_far_is_given_up(explored, monkeypatch):
    """A recovery that hangs does not make a budget wait for its time limit, and is not called hung."""
    source = """
@scenario(outputs="o", timeout=600)
def hangs():
    if Path("begun").exists():
        time.sleep(600)
    Path("begun").write_text("x")
    put("o", "x")
    os.unlink("begun")
"""
    task = SearchState.task

    def late(one, record, what, **more):
        grace = trial._LEAST_GRACE + trial._USUAL * record.seconds
        return replace(task(one, record, what, **more), until=time.time() + 1 - grace)

    monkeypatch.setattr(SearchState, "task", late)
    (result,) = explored(source, points=1, explain="none").scenarios
    assert result.verdict is Verdict.UNKNOWN
    assert "the budget ended while the pipeline ran" in result.reason


def test_more_workers_than_processors_start_where_runs_wait(explored, monkeypatch):
    """Not where a number was given, nor where memory is short; and the report has their number."""
    waiting = Forecast(("kill",), 9, (1.0,) * 30, (True,) * 30, busy=0.1, idle=0.9, memory=1 << 28)
    assert waiting.workers(2, 1 << 40) == 10
    assert waiting.workers(2, 3 << 29) == 3
    assert waiting.workers(2, 0) == 2
    assert Forecast(("kill",), 9, (1.0,) * 3, (), busy=0.1, idle=0.9).workers(2, 1 << 40) == 3
    assert Forecast(("kill",), 9, (1.0,) * 30, (), busy=0.9, idle=0.9).workers(2, 1 << 40) == 2
    assert replace(waiting, idle=0.1).workers(2, 1 << 40) == 2, "it waits for a processor"
    assert waiting.seconds(10, 2) == 3.0
    assert waiting.seconds(60, 2) == 1.5
    monkeypatch.setattr(before_trials, "LONG", 0.0)
    monkeypatch.setattr(Forecast, "workers", lambda *_: 3)
    monkeypatch.setattr("outlive_harness.jobs.session.processors", lambda: 1)
    for jobs, number in ((1, 1), (None, 3)):
        with Session(jobs=jobs) as session:
            result = explored(GOOD, within=session)
            assert (result.verdict, result.workers) == (Verdict.HELD, number)


def test_the_forecast_says_what_a_budget_has_room_for(monkeypatch):
    """In whole words: points, time, and which points come first."""
    monkeypatch.setattr(foretell.time, "time", lambda: 1000.0)
    costs, outputs = (30.0,) * 91, (True,) * 30 + (False,) * 61
    forecast = Forecast(("kill",), 91, costs, outputs)
    assert foretell.in_words(forecast, 2, 2, None) == (
        "91 points, about 23 min; --budget 5m: 20 points, chosen for what differs most: "
        "20 of 30 at ops on outputs"
    )
    short = Forecast(("kill", "power"), 91, costs, outputs, until=1600.0)
    assert foretell.in_words(short, 2, 2, 720.0) == (
        "91 points, about 23 min; --budget 12m: 40 points, chosen for what differs most: "
        "30 of 30 at ops on outputs, kill, power by turns"
    )
    assert foretell.in_words(Forecast(("kill",), 1, (90.0,), (True,)), 1, 1, None) == "1 point, about 90 s"
    late = Forecast(("kill",), 91, costs, outputs, until=1010.0)
    assert foretell.in_words(late, 2, 2, 90.0).endswith("--budget 90s: no trial, as one takes longer")
    waits = Forecast(("kill",), 91, costs, outputs, busy=0.125)
    assert "about 5 min on 10 workers, as a run waits for 88% of its time" in foretell.in_words(
        waits, 10, 2, None
    )


def test_the_forecast_is_told_where_trials_take_long(explored, monkeypatch):
    """Once, before the first trial; a known-bad scenario has none, as it ends where it was caught."""

    class Noting(Silent):
        def foretold(self, name, text):
            told.append((name, text))

    told = []
    monkeypatch.setattr(before_trials, "LONG", 0.0)
    explored(GOOD, observer=Noting())
    assert [name for name, _ in told] == ["good"]
    assert told[0][1].startswith("4 points, about ")
    explored(MIXED.replace('torn="bytes"', 'expect="torn-output"'), observer=Noting())
    assert len(told) == 1


@pytest.mark.parametrize(
    ("seconds", "left", "kept"), [(0.1, 100, 25), (10, 100, 40), (90, 100, 50), (1, 0, 0)]
)
def test_a_part_of_a_budget_is_kept_back_for_what_was_found(tmp_path, seconds, left, kept):
    """A quarter of the time, or that of some runs, but never more than half."""
    assert kept_back(Record(None, tmp_path, seconds=seconds), left) == pytest.approx(kept)
