"""The shipped scenarios: the good ones hold, the known-bad ones are caught, each can be copied from."""

import ast
import linecache
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness.explain.causes import causes, location
from outlive_harness.explain.task import explain
from outlive_harness.explore.engine import explore
from outlive_harness.results.options import Options
from outlive_harness.results.scenario_files import find_files, load_file
from outlive_harness.results.verdicts import Verdict
from outlive_harness.results.violations import VIOLATIONS

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FILES = {path.stem: path for path in find_files([SCENARIOS])}
#: What each known-bad scenario shows: this and nothing else.
KNOWN_BAD = {
    "absence_not_fsynced": {"diverged"},
    "acknowledged_before_fsync": {"lost-ack"},
    "acknowledged_too_early": {"lost-ack", "diverged"},
    "append_again": {"diverged"},
    "checkpoint_removed_first": {"lost-ack"},
    "copied_temporary": {"torn-output"},
    "counter": {"not-idempotent", "diverged"},
    "directory_not_fsynced": {"diverged"},
    "exclusive_temporary": {"recovery-failed"},
    "full_disk_ignored": {"torn-output", "diverged"},
    "index_not_repaired": {"diverged"},
    "io_error_ignored": {"torn-output"},
    "last_words": {"torn-output"},
    "lines_twice": {"diverged"},
    "lock_file_fails": {"recovery-failed"},
    "lock_file_waits": {"recovery-hung"},
    "log_without_checksum": {"diverged"},
    "marker_before_output": {"diverged"},
    "new_directory_not_fsynced": {"diverged"},
    "random_temporaries": {"litter"},
    "recovery_trusts_unsynced": {"diverged"},
    "rename_without_fsync": {"torn-output", "diverged"},
    "report_in_place": {"torn-output"},
    "rollback_drops_backup": {"diverged", "recovery-failed"},
    "set_one_by_one": {"torn-output"},
    "shell_redirect": {"torn-output", "diverged"},
    "sqlite_full_undoes_a_commit": {"lost-ack"},
    "sqlite_synchronous_off": {"recovery-failed"},
    "temporary_elsewhere": {"torn-output"},
    "torn_record": {"torn-output", "diverged"},
}

#: What stands in the line that a maintainer of each would change first.
BLAMED = {
    "absence_not_fsynced": "`mv out/.part out/prices`",
    "acknowledged_before_fsync": "durable=",
    "acknowledged_too_early": "counted as taken",
    "append_again": "print(number",
    "checkpoint_removed_first": ".unlink(",
    "copied_temporary": "shutil.copyfile",
    "counter": "atomic_write(total",
    "directory_not_fsynced": ".replace(",
    "exclusive_temporary": '.open("x")',
    "full_disk_ignored": "os.write(part",
    "index_not_repaired": "index.write(",
    "io_error_ignored": "os.write(part",
    "last_words": "durable=",
    "lines_twice": "echo",
    "lock_file_fails": "lock.touch",
    "lock_file_waits": "lock.touch",
    "log_without_checksum": "log.write(",
    "marker_before_output": "one line too early",
    "new_directory_not_fsynced": ".mkdir(",
    "random_temporaries": "mkstemp(",
    "recovery_trusts_unsynced": "`touch report.done`",
    "rename_without_fsync": ".replace(",
    "report_in_place": ".write_text(",
    "rollback_drops_backup": "too early",
    "set_one_by_one": "atomic_write(",
    "shell_redirect": "awk",
    "sqlite_full_undoes_a_commit": "with db",
    "sqlite_synchronous_off": "db.executemany",
    "temporary_elsewhere": "`mv ",
    "torn_record": 'LOG.open("a")',
}
#: Those for which a repair of the recorded run makes every crash state hold.
CURED = {
    "acknowledged_before_fsync": "fsync the file before the rename",
    "acknowledged_too_early": "make next.txt after table.csv",
    "copied_temporary": "to a temporary file beside it, fsync, and rename it into place",
    "directory_not_fsynced": "fsync the directory after the rename",
    "marker_before_output": "make .checkpoints/report.done after report.csv",
    "new_directory_not_fsynced": "fsync the directory after the mkdir",
    "rename_without_fsync": "fsync the file before the rename",
    "report_in_place": "to a temporary file beside it, fsync, and rename it into place",
    "shell_redirect": "to a temporary file beside it, fsync, and rename it into place",
}

#: So many points of each fault are struck at in the good ones: of each output one at least.
SAMPLE = 6
every_scenario = pytest.mark.parametrize("name", FILES)


@every_scenario
def test_a_file_holds_one_scenario_of_its_own_name(name):
    """One file is one scenario, and both have the same name, so that no two share one."""
    assert [one.name for one in load_file(FILES[name])] == [name]


@every_scenario
def test_a_file_says_in_one_sentence_what_it_shows(name):
    """The module's docstring is one line and ends with a full stop."""
    sentence = ast.get_docstring(ast.parse(FILES[name].read_text()), clean=False)
    assert sentence, "no docstring"
    assert len(sentence.splitlines()) == 1
    assert sentence[0].isupper()
    assert sentence.endswith(".")


@every_scenario
def test_a_file_is_short_enough_to_be_read_at_a_glance(name):
    """No shipped scenario is longer than a screen."""
    assert len(FILES[name].read_text().splitlines()) <= 52


def test_the_known_bad_scenarios_are_those_that_say_so():
    """The list above and the `expect` keywords of the files agree, both ways."""
    declared = {name: set(load_file(path)[0].expect) for name, path in FILES.items()}
    assert {name: kinds for name, kinds in declared.items() if kinds} == KNOWN_BAD


def test_each_kind_of_violation_has_an_example():
    """There is a known-bad scenario to copy from for all that a crash can violate."""
    assert set().union(*KNOWN_BAD.values()) == set(VIOLATIONS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in KNOWN_BAD else pytest.mark.nightly) for name in FILES]
)
def test_a_good_scenario_holds_and_a_known_bad_one_is_caught(name, session, tmp_path):
    """A good pipeline violates nothing, a bad one what it says and nothing else, where each trial is an exec.

    The first entry of a bad one's report names the line to change, and how, where a repair cures it. Of the
    good ones a sample of points is struck at, each night: the gate strikes at all, in a zygote.
    """
    scenarios = load_file(FILES[name])
    points = None if name in KNOWN_BAD else SAMPLE
    options = Options(
        store=tmp_path / "store", zygote=False, exhaustive=not points, points=points, explain="all"
    )
    outcome = explore(session, scenarios, options, explain=explain)
    (result,) = outcome.scenarios
    assert {violation.kind for violation in result.violations} == KNOWN_BAD.get(name, set()), result
    assert result.verdict is Verdict.HELD, result
    for fault, coverage in result.faults.items():
        assert 0 < coverage.states <= coverage.tested == coverage.chosen, fault
        assert coverage.chosen == coverage.points or coverage.note, fault
    assert "kill" not in result.faults or result.faults["kill"].points >= result.ops
    # SQLite's index of a write-ahead log is stored to through memory, and is known to be made anew.
    expected = tuple(f"not judged: {file}-shm" for file in ("orders.db", ".checkpoints/marks.sqlite"))
    assert [warning for warning in result.warnings if not warning.startswith(("litter: ", *expected))] == []
    if name in KNOWN_BAD:
        lead = causes(result.violations)[0].lead
        spot = location(lead)
        assert BLAMED[name] in (linecache.getline(*spot) if spot else lead.source)
        assert CURED.get(name, "") in lead.advice


def test_the_rollback_that_drops_its_backup_needs_a_second_crash(session, tmp_path):
    """With one crash only, all crash points of the known-bad rollback hold."""
    (single,) = load_file(shutil.copy(FILES["rollback_drops_backup"], tmp_path))
    single.depth, single.expect = 1, ()
    (result,) = explore(session, [single], Options(faults=("kill",), store=tmp_path / "store")).scenarios
    assert (result.verdict, result.violations) == (Verdict.HELD, [])
    assert result.faults["kill"].tested == result.ops > 0


def test_the_lesson_runs_five_steps_and_skips_them_when_it_is_run_again(tmp_path):
    """A first run does every step, and a second one none."""
    program = [sys.executable, "-P", "-m", "outlive_harness._body"]
    runs = [
        subprocess.run(
            [*program, FILES["lesson"], "lesson", "body", "/"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for _ in range(2)
    ]
    steps = ["ingest", "clean", "features", "summarise", "report"]
    assert runs == [[f"ran {step}" for step in steps], [f"skipped {step}" for step in steps]]
