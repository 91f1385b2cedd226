"""What is kept: failures that can be replayed, the newest few only."""

import os

import pytest

from outlive_harness import scenario
from outlive_harness.history.store import KEPT, Store, read_back, write_down
from outlive_harness.results.plan import PlanError, Point, parse_plan, plan_text
from outlive_harness.results.scenario import ScenarioError


def test_a_failure_is_found_by_its_id(tmp_path):
    """Ids with any characters name one directory each."""
    store = Store(tmp_path)
    store.keep("a/b:kill@1", {"x": 1})
    store.keep("a-b:kill@1", {"x": 2})
    assert store.find("a/b:kill@1") == {"id": "a/b:kill@1", "x": 1}
    assert store.find("a-b:kill@1") == {"id": "a-b:kill@1", "x": 2}
    assert store.find("other") is None
    assert sorted(store.ids()) == ["a-b:kill@1", "a/b:kill@1"]


def test_only_the_newest_boxes_are_kept(tmp_path):
    """Boxes of earlier runs' failures do not fill the disk; their ids can still be replayed."""
    store = Store(tmp_path)
    for number in range(KEPT + 3):
        place = store.keep(f"s:kill@{number}", {})
        (place / "crashed").mkdir()
        os.utime(place / "failure.json", (number, number))
    store.keep("s:kill@99", {})
    kept = {number for number in range(KEPT + 3) if (store.place(f"s:kill@{number}") / "crashed").is_dir()}
    assert kept == set(range(3, KEPT + 3))
    assert len(store.ids()) == KEPT + 4


def test_a_command_can_be_written_down_and_read_back(tmp_path):
    """What a replay of a command needs survives JSON."""
    store = Store(tmp_path)
    checks = {"check": "cat o", "crash_check": ["test", "-e", "o"], "together": "o if p"}
    made = scenario(command=["sh", "-c", "true"], name="x", outputs="o", timeout=3, **checks)
    store.keep("x:kill@1", {"scenario": write_down(made)})
    back = read_back(store.find("x:kill@1")["scenario"])
    assert write_down(back) == write_down(made)
    assert (back.check, back.crash_check) == (("cat", "o"), ("test", "-e", "o"))
    with pytest.raises(ScenarioError, match="no field 'name': it was written by another version"):
        read_back({})


def test_a_check_that_is_a_function_is_left_out():
    """Its file declares it; of the others, all is written down."""
    assert write_down(scenario(name="x", check=print))["check"] is None


def test_a_plan_is_read_as_it_is_written():
    """The text of a plan is its replay id's second half."""
    plan = (Point("kill", 12), Point("kill", 3))
    assert plan_text(plan) == "kill@12+kill@3"
    assert parse_plan("kill@12+kill@3") == plan


@pytest.mark.parametrize(
    "text", ["", "kill", "kill@", "kill@0", "kill@x", "@3", "kill@1+", "kill@-1", "kill@²"]
)
def test_what_is_no_plan_is_told(text):
    """A mistyped id names the part that is wrong and shows the form."""
    with pytest.raises(PlanError, match="should be FAULT@OP, for example kill@3"):
        parse_plan(text)


def test_boxes_of_this_run_are_not_let_go(tmp_path):
    """However many failures one run prints, each of their boxes is there at its end."""
    store = Store(tmp_path)
    places = [store.keep(f"s:kill@{number}", {}) for number in range(KEPT + 4)]
    for place in places:
        (place / "crashed").mkdir()
    store.keep("s:kill@99", {})
    assert all((place / "crashed").is_dir() for place in places)


def test_the_mark_for_git_is_written_once(tmp_path):
    """What a user has put into .gitignore stays."""
    (tmp_path / ".gitignore").write_text("mine")
    Store(tmp_path).begin()
    assert (tmp_path / ".gitignore").read_text() == "mine"


def test_an_id_remembers_what_else_it_stood_for(tmp_path):
    """Another command, or the same with other options, is told beside the one that is kept now."""
    store = Store(tmp_path)
    for file, outputs in (("x", ()), ("y", ()), ("y", "o"), ("y", "o")):
        one = scenario(command=["sh", file], name="p", outputs=outputs)
        store.keep("p:kill@6", {"scenario": write_down(one)})
    assert store.find("p:kill@6")["earlier"] == ["sh x", "sh y"]
