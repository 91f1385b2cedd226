"""The mutation score: a library whose promises are broken anywhere is found out by some fault."""

import ast
import shutil
import sys
from pathlib import Path

import pytest
from _mutants import CALLS, CONTEXTS, SOURCE, mutants

from outlive_harness.explore.engine import Options, explore
from outlive_harness.explore.results import Verdict
from outlive_harness.scenario import scenario

PIPELINE = Path(__file__).with_name("_pipeline.py")
FAULTS = ("kill", "torn", "power")
MUTANTS = {mutant.name: mutant for mutant in mutants()}
#: Mutants that no crash can tell from the library, and why.
HARMLESS = {
    "after the next: temporary.file.flush()": "what it changes places with only asks for a number",
    "removed: os.fchmod(descriptor, permissions)": "the mode is as wrong with no crash: see tests/outlive",
    "removed: os.unlink(temporary.name)": "what an error leaves is litter, and litter is a warning",
    "the temporary file lies in another directory": "on one file system as atomic; on two an error, EXDEV",
    "any marker counts, whatever it says": "a marker that is written whole says what it should",
}
#: Mutants are explored so many at a time: a worker of pytest-xdist has a share of them.
SHARE = 6
#: Crash points of each fault that catch most mutants; what survives them is struck at all.
SAMPLE = 40
SHARES = [list(MUTANTS)[at : at + SHARE] for at in range(0, len(MUTANTS), SHARE)]


def is_harmless(name):
    """Tell whether a mutant is listed; where in a file it stands may change."""
    return any(name == listed or name.endswith(" " + listed) for listed in HARMLESS)


def subject(place, name, mutant=None):
    """Return a scenario of the pipeline with a copy of the library, changed in one file if at all."""
    library = place / name / "outlive"
    shutil.copytree(SOURCE, library, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        (library / mutant.file).write_text(mutant.text)
    given = place / name / "given"
    (given / "out").mkdir(parents=True)
    (given / "inbox").mkdir()
    for mail in ("letter", "postcard"):
        (given / "inbox" / mail).write_text(f"a {mail}\n")
    (given / "out" / "report.txt").write_text("last week's\n")
    command = [sys.executable, "-P", str(PIPELINE), str(library.parent)]
    return scenario(command=command, name=name, outputs="out/*", input=given, faults=FAULTS, timeout=20)


def caught_by(result):
    """Return the faults that showed something; the golden runs' own findings need none."""
    if not result.faults:
        return ["golden run"]  # the pipeline cannot even be run, or never twice alike
    return sorted({violation.fault or "golden run" for violation in result.violations})


def test_the_library_itself_holds(session, tmp_path):
    """The control: with nothing changed, nothing is found."""
    (result,) = explore(session, [subject(tmp_path, "control")], Options(store=tmp_path / "s")).scenarios
    assert result.verdict is Verdict.HELD, result
    assert all(coverage.tested == coverage.points > 0 for coverage in result.faults.values())
    assert not [warning for warning in result.warnings if not warning.startswith("litter: ")]


@pytest.mark.parametrize("names", SHARES, ids=range(len(SHARES)))
def test_each_mutant_is_caught_or_known_to_be_harmless(names, session, tmp_path, record_property):
    """What is removed, moved or swapped shows under kill, torn or power; what cannot show is listed."""
    several = [subject(tmp_path, f"m{number}", MUTANTS[name]) for number, name in enumerate(names)]
    for one in several:
        one.expect = ("diverged",)  # nobody will look at the boxes
    results = explore(session, several, Options(points=SAMPLE, store=tmp_path / "s")).scenarios
    caught = {name: caught_by(result) for name, result in zip(names, results, strict=True)}
    survivors = [one for one, faults in zip(several, caught.values(), strict=True) if not faults]
    results = explore(session, survivors, Options(store=tmp_path / "s")).scenarios
    caught |= {
        names[several.index(one)]: caught_by(result) for one, result in zip(survivors, results, strict=True)
    }
    record_property("mutants", {name: ", ".join(faults) for name, faults in caught.items()})
    assert {name for name, faults in caught.items() if not faults} == {
        name for name in names if is_harmless(name)
    }


def test_each_mutant_is_another_library_that_can_be_imported():
    """A change that changes nothing, or that does not compile, would be a point for nothing."""
    for mutant in MUTANTS.values():
        original = ast.unparse(ast.parse((SOURCE / mutant.file).read_text()))
        assert ast.unparse(ast.parse(mutant.text)) != original, mutant.name


def test_every_call_that_matters_has_its_mutants():
    """The derivation finds the library's fsyncs, flushes, renames and syncing blocks, each at its line."""
    lines = {name.partition(" ")[0] for name in MUTANTS if name.startswith("_")}
    expected = {
        f"{path.name}:{number}"
        for path in SOURCE.glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if line.strip().startswith(
            ("os.fsync(", "os.replace(", "temporary.file.flush(", "with synced_directory(")
        )
    }
    assert expected <= lines
    assert len(expected) >= 7
    assert CALLS
    assert CONTEXTS


def test_what_is_listed_as_harmless_exists():
    """A mutant that is gone is struck off the list."""
    for listed in HARMLESS:
        assert [name for name in MUTANTS if name == listed or name.endswith(" " + listed)], listed
