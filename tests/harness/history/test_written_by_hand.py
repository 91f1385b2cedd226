"""Files that people edit and merge: whatever is in them, one sentence says it, and the rest is judged."""

import json

import pytest

from outlive_harness.golden.record import Record
from outlive_harness.history import baseline
from outlive_harness.history.ledger import Ledger
from outlive_harness.history.regressions import Regressions
from outlive_harness.history.store import Store
from outlive_harness.history.unfinished import UnfinishedTrials
from outlive_harness.results.options import Options
from outlive_harness.results.plan import plan_text
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import ScenarioError, scenario
from outlive_harness.results.verdicts import Verdict

DEEP = "[" * 200_000
ODD = {
    "deep": DEEP,
    "deep within": '{"schema": 1, "failures": [], "violations": [], "more": ' + DEEP,
    "no text": '{"schema": 1, "failures": [{"point": 7, "kind": "x"}], "violations": [[1, 2, 3, 4]]}',
    "odd marks": '{"schema": 1, "failures": [{"point": "kill@2", "kind": "x", "marks": {"2": 7}}]}',
    "numbers": '{"schema": 1, "failures": 7, "violations": '
    '[{"scenario": 1, "kind": 2, "fault": "kill", "path": ""}]}',
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("read", [Regressions, baseline.read])
def test_a_damaged_file_is_named_and_nothing_else_happens(tmp_path, text, read):
    """Regressions and baselines say in one sentence which file it is, and what is wrong with it."""
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ScenarioError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_what_we_keep_ourselves_counts_as_absent_where_it_cannot_be_read(tmp_path):
    """A kept failure, a kept result and trials of a run that was cut short are made anew."""
    store = Store(tmp_path)
    one = scenario(command=["true"], name="one")
    places = [store.place("one:kill@1") / "failure.json", store.result("one"), tmp_path / "one.trials"]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(DEEP)
    places[2].write_text("{}\n" + DEEP + "\n")
    assert store.find("one:kill@1") is None
    assert store.ids() == []
    assert isinstance(Ledger(store, changed=True).recall(one, Options()), str)
    assert UnfinishedTrials(places[2], {}, resume=True).known("kill") == {}


GOOD = """
@scenario(outputs="out")
def good():
    put("out", "x")
"""


def regressions(tmp_path, *points):
    """Write a file of regressions for GOOD; return its path and its text."""
    path = tmp_path / "regressions" / "good.json"
    path.parent.mkdir()
    text = json.dumps({"schema": 1, "failures": [{"point": point, "kind": "diverged"} for point in points]})
    path.write_text(text)
    return path, text


def test_a_fault_of_another_version_is_kept_and_not_struck(one, tmp_path, monkeypatch):
    """A newer version may have added it: that is said, the file stays as it is, and the rest is judged."""
    monkeypatch.chdir(tmp_path)
    path, text = regressions(tmp_path, "zork@2", "kill@2", "kill@1+zork@1")
    result = one(GOOD, regressions=True, faults=("kill",))
    assert result.verdict is Verdict.HELD
    said = [f"regressions/good.json: {point} is kept, but not tried: this version has no fault 'zork'"
            for point in ("zork@2", "kill@1+zork@1")]  # fmt: skip
    assert result.warnings[:2] == said
    assert path.read_text() == text


def test_a_file_of_many_failures_is_struck_in_part(tmp_path, monkeypatch):
    """What was written by hand or merged may hold any number: a bounded part is struck, and that is said."""
    monkeypatch.chdir(tmp_path)
    points = [f"kill@{number}" for number in range(1, 20_001)]
    path, text = regressions(tmp_path, *points)
    record = Record(run_spec_of(scenario(command=["true"], name="good")), tmp_path)
    plans, said = Regressions(path).plans(record)
    assert list(map(plan_text, plans)) == points[:64]
    assert said == ["regressions/good.json: of 20000 failures the first 64 are tried"]
    assert path.read_text() == text


def test_a_new_failure_takes_no_other_ones_place(one, tmp_path):
    """A file that holds more than we would keep is not cut down to that."""
    bad = GOOD.replace('put("out", "x")', 'Path("out").write_text("xxxx")')
    path, text = regressions(tmp_path, *(f"full@{number}" for number in range(1000, 1040)))
    result = one(bad, regressions=True, faults=("kill",))
    assert result.verdict is Verdict.VIOLATED
    assert path.read_text() == text
