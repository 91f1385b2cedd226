"""The check of crash states: run before the recovery, on a copy, with what was acknowledged until then."""

import pytest

from outlive_harness.explore.replay import replay
from outlive_harness.results.plan import parse_plan
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import Verdict

KEPT = """
from outlive_harness import ack

def kept(acks):
    assert not acks or Path("ck").exists(), "no checkpoint"

@scenario(outputs="ck*", ignore="ck.new", crash_check=kept)
def saved():
    for number in range(2):
        Path("ck.new").write_text(str(number))
        {swap}
        ack(number)
"""
GAP = "Path('ck').unlink(missing_ok=True); os.rename('ck.new', 'ck')"
STEP = "os.rename('ck.new', 'ck')"


def test_what_recovery_hides_is_found_at_the_crash(one):
    """The checkpoint is missing for one op only, and each recovery makes it again."""
    result = one(KEPT.format(swap=GAP), explain="none")
    (found,) = result.violations
    assert (found.kind, found.points, found.confirmed) == ("lost-ack", 1, True)
    assert found.message == (
        "what the crash left breaks a promise: the crash check raised AssertionError: no checkpoint"
    )
    assert one(KEPT.format(swap=STEP)).verdict is Verdict.HELD


def test_what_was_promised_must_hold_after_the_recovery_too(one):
    """If no other check takes it: its words need not be in a file, as they must without any."""
    source = """
from outlive_harness import ack

def kept(acks):
    assert not acks or Path("kept").exists(), "forgotten"

@scenario(outputs="out", crash_check=kept)
def forgets():
    if not Path("out").exists():
        if Path("kept").exists():
            Path("kept").unlink()
        else:
            Path("kept").touch()
            ack("it")
        put("out", "")
"""
    found = {(violation.kind, violation.message) for violation in one(source, explain="none").violations}
    assert found == {
        ("lost-ack", "after recovery a promise is broken: the check raised AssertionError: forgotten")
    }


@pytest.mark.parametrize("fault", ["torn", "power"])
def test_states_of_every_fault_have_it(one, fault):
    """Those that are computed from a recording as those of a run that was killed."""
    source = """
def there():
    Path("ck").read_text()

@scenario(outputs="ck", crash_check=there, setup=lambda: put("ck", "1"), faults=FAULT)
def gap():
    os.unlink("ck")
    with open("new", "w") as file:
        file.write("11")
        file.flush()
        os.fsync(file)
    os.rename("new", "ck")
"""
    result = one(source.replace("FAULT", repr(fault)), torn="bytes", fail_fast=True)
    found = next(one for one in result.violations if one.kind == "torn-output" and not one.path)
    assert "the crash check fails on what the crash left: it raised FileNotFoundError" in found.message
    assert (found.fault, found.confirmed) == (fault, True)


CHANGES = """
def looks():
    for path in list(Path(".").rglob("*")):
        if path.is_file():
            path.write_text("changed"); path.rename(f"{path}.moved")
    Path("litter").touch()

@scenario(outputs="out", crash_check=looks)
def it():
    if not Path("part").exists():
        put("part", "1")
    put("out", Path("part").read_text())
    assert not Path("litter").exists()
"""


def test_what_it_changes_is_not_seen_by_the_recovery(one):
    """A database that is opened to be read may be written: the check has a copy at the box's path."""
    result = one(CHANGES)
    assert result.verdict is Verdict.HELD, result


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (
            "lambda: Path('out').read_text()",
            "fails before the run, as it would after a crash at its first",
        ),
        ("lambda: 1 / (not Path('out').exists())", "fails after a run with no fault: it raised ZeroDivision"),
    ],
)
def test_a_check_that_fails_with_no_crash_judges_none(one, check, why):
    """It must hold before the run and after it; else what it says of a crash state says nothing."""
    result = one(f"@scenario(outputs='out', crash_check={check})\ndef it():\n    put('out', 'x')\n")
    assert result.verdict is Verdict.UNKNOWN
    assert f"the crash check {why}" in result.reason


def test_a_replay_has_it_after_each_of_several_crashes(one, tmp_path, session):
    """The state between two crashes is judged as well as the last one."""
    (found,) = one(KEPT.format(swap=GAP), explain="none").violations
    (scenario,) = load_file(tmp_path / "scenarios_0.py")
    record, trial = replay(session, scenario, parse_plan(f"{found.point}+kill@1"))
    assert record.check_preloads.keys() == {"crash_check"}  # it is forked, as runs are
    assert trial.story.count("the crash check fails") == 2
    assert trial.findings[0].message.startswith(f"after {found.point} what the crash left breaks a promise")
