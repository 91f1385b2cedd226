"""The mutation score: a library whose promises are broken anywhere is found out by some fault."""

import ast
import atexit
import compileall
import fcntl
import functools
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from _executed import lines, noting
from _mutants import APART, CALLS, REPLACED, SOURCE, derived, mutants, named

from outlive_harness.explore.engine import explore
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import scenario
from outlive_harness.results.verdicts import Coverage, ScenarioResult, Verdict

PIPELINE = Path(__file__).with_name("_pipeline.py")
FILES = Path(__file__).with_name("_files.py")
DECLARED = Path(__file__).with_name("_declared.py")
GROUPS = Path(__file__).with_name("_groups.py")
VOUCH = Path(__file__).with_name("_vouch.py")
RESTART = Path(__file__).with_name("_restart.py")
PARENTS_AGAIN = Path(__file__).with_name("_again_parents.py")
TREE_AGAIN = Path(__file__).with_name("_again_tree.py")
SQLITE = Path(__file__).with_name("_sqlite.py")
PROGRAMS = (PIPELINE, DECLARED, FILES, GROUPS, SQLITE, VOUCH)
RESTARTS = (RESTART, PARENTS_AGAIN, TREE_AGAIN)
#: In what restart a survivor is tried at last, by its file; else it is RESTART.
AGAIN = {
    "_atomic/destination.py": PARENTS_AGAIN,
    "_atomic/directory.py": TREE_AGAIN,
    "_atomic/orphans.py": TREE_AGAIN,
}
#: To which pipelines what is in a file of the library matters, one after the other; else it is PIPELINE.
MATTERS = {
    "_atomic/batch.py": (GROUPS,),
    "_atomic/destination.py": (FILES,),
    "_atomic/directory.py": (GROUPS,),
    "_atomic/files.py": (PIPELINE, FILES),
    "_atomic/orphans.py": (PIPELINE, GROUPS),
    "_atomic/path.py": (FILES,),
    "_atomic/publish.py": (PIPELINE, FILES),
    "_atomic/temporary.py": (PIPELINE, GROUPS),
    "_checkpoints/checkpoints.py": (PIPELINE, VOUCH),
    "_checkpoints/default.py": (PIPELINE, VOUCH),
    "_checkpoints/file_facts.py": (VOUCH,),
    "_checkpoints/items.py": (VOUCH,),
    "_checkpoints/marker_files.py": (PIPELINE, VOUCH),
    "_checkpoints/sqlite_file.py": (SQLITE,),
    "_checkpoints/sqlite_format.py": (SQLITE,),
    "_pipeline/run.py": (PIPELINE, DECLARED),
    "_system/durability.py": (PIPELINE, GROUPS),
    "_system/renames.py": (FILES,),
}
#: Where the outputs of a pipeline are; else they are in `out`.
OUTPUTS = {PARENTS_AGAIN: "deep/note"}
FAULTS = ("power", "kill", "torn")  # what shows most comes first: with it a mutant's exploration ends
NO_FAULT = "no fault needed"
RESTARTED = "power, in a restart"
#: A program that imports the library from each of several directories.
IMPORT_EACH = """
import sys
for place in sys.argv[1:]:
    sys.path.insert(0, place)
    import outlive
    assert outlive.__file__.startswith(place), outlive.__file__
    del sys.path[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == "outlive"]:
        del sys.modules[name]
"""
MUTANTS = {mutant.name: mutant for mutant in mutants()}
#: The lines that they change, by file.
WANTED = {
    file: set().union(*(mutant.lines for mutant in MUTANTS.values() if mutant.file == file))
    for file in {mutant.file for mutant in MUTANTS.values()}
}
#: Mutants that no crash can tell from the library, and why.
HARMLESS = {
    "removed: _bring_to_disk([path], os.path.dirname(marker.directory))": (
        "it takes a run that writes an output again as it was, and is killed before it marks it"
    ),
    "before the one before: sync_directory(resolved.names, resolved.directory)": (
        "what it changes places with is a lock, and here nobody else writes; in test_orphans.py others do"
    ),
    "after the next: finish(temporary.descriptor, resolved, status)": (
        "what it changes places with closes the file or looks whether it is still there"
    ),
    "removed: _patiently(lambda: os.replace(source, target))": "only Windows has anything to wait for",
    "_atomic/batch.py:303 removed: self._sync_files()": (
        "what is not fsynced when many wait is fsynced at the end"
    ),
    "removed: self._sync_if_many()": "likewise",
    "removed: os.unlink(draft.inner)": "what an error leaves goes with the directory that it is in",
    "removed: self._remove(draft)": "likewise",
    "_atomic/orphans.py:118 removed: os.unlink(path)": "only to ask for orphans by age leads there",
    "removed: os.unlink(self.path)": "only an error leads there, as in test_orphans.py",
    "removed: self._take_back()": "only who loses the file to another leads there, as in test_orphans.py",
    "removed: _empty(below.fileno(), makes_writable=makes_writable)": (
        "no tree here has a directory in it; in test_directory.py one has"
    ),
    "after the next: _remove(items, _markers(items))": "an empty directory is left then, in each run alike",
    "after the next: _remove(folder, markers)": "likewise",
    "before the one before: self._checkpoints.mark_done(name, **declaration)": (
        "what it changes places with refuses pending items, as mark_done does"
    ),
    "removed: os.fchmod(where, stat.S_IRWXU)": (
        "only who is not root is refused the removal; test_directory.py has a tree with such directories"
    ),
    "removed: _empty(number, makes_writable=True)": "likewise",
    "_atomic/directory.py:214 durable='none': synced_directory": (
        "only where names cannot be swapped is there a tree that was set aside; test_directory.py goes there"
    ),
    "after the next: sync_file(made, durable)": (
        "what it changes places with stops a process that was forked meanwhile"
    ),
    "after the next: os.replace(entry, name, src_dir_fd=number, dst_dir_fd=number)": (
        "what it changes places with is a lock, and here nobody else writes"
    ),
    "removed: renames.rename_new(temporary.path, resolved.target)": (
        "no pipeline here refuses to replace a directory; tests/outlive/atomic/test_directory.py has one"
    ),
    "removed: _publish_new(resolved, temporary)": "likewise",
    "before the one before: with synced_directory(parent), suppress(FileExistsError):": (
        "what it changes places with only says in words why the directory cannot be made"
    ),
    "the temporary file need not be new": "it is emptied first, and one process writes it",
    "after the next: with synced_directory(self._folders[-1]):": (
        "what it changes places with is a dict in memory, of use to those that an error does not stop"
    ),
    "at the end: with synced_directory(self._folders[-1]):": "likewise",
}
#: Mutants that only a power cut shows, by how their names begin after the line: SIGKILL keeps the page cache.
UNSYNCED = ("removed: os.fsync(", "removed: with synced_directory(", "durable='none': ", "not durable unless")
#: What becomes of a call or a value, where it is derived.
DERIVED = (
    "removed",
    "after the next",
    "before the one before",
    "at the end",
    "durable='none'",
    "not durable unless asked",
    "always true",
    "always false",
    "inverted",
)
#: So many points of each fault, in each pipeline, show most mutants; others are struck at all points then.
#: They are enough for one that is listed as harmless: its reason is the proof.
SAMPLE = 12
#: What survivors are struck with at last, in a restart.
TWICE = {"faults": ("kill", "power"), "depth": 2}
#: Mutants are explored so many at a time: a worker of pytest-xdist has a share of them.
SHARE = 4


def shares(names, *marks):
    """Return parameters for tests: a few mutants each."""
    several = [names[at : at + SHARE] for at in range(0, len(names), SHARE)]
    return [pytest.param(share, marks=marks, id=share[0].replace(" ", "-")) for share in several]


#: Mutants that were written by hand break one promise each; the derived ones are many, and cost minutes.
SHARES = [
    *shares([name for name in MUTANTS if name in REPLACED]),
    *shares([name for name in MUTANTS if name not in REPLACED], pytest.mark.nightly),
]


def is_listed(name, table):
    """Tell whether a mutant is in a table; where in a file it stands may change."""
    return any(name == listed or name.endswith(" " + listed) for listed in table)


@functools.cache
def compiled():
    """Return a copy of the library with its bytecode, or each trial would compile it: none writes any."""
    copy = Path(tempfile.mkdtemp()) / "outlive"
    atexit.register(shutil.rmtree, copy.parent)
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(copy, quiet=2)
    return copy


def subject(place, name, mutant=None, *, program=PIPELINE, noted=None):
    """Return a scenario of a pipeline with a copy of the library, changed in one file if at all.

    With *noted* the copy notes there which of its lines are executed.
    """
    library = place / name / "outlive"
    shutil.copytree(compiled(), library)
    if noted is not None:
        noting(library, noted, WANTED)
    if mutant is not None:
        (library / mutant.file).write_text(mutant.text)
        compileall.compile_file(library / mutant.file, quiet=2)
    given = place / name / "given"
    (given / "out").mkdir(parents=True)
    (given / "inbox").mkdir()
    (given / "work").mkdir()
    for mail in ("letter", "postcard"):
        (given / "inbox" / mail).write_text(f"a {mail}\n")
    old = given / "out" / "report.txt"
    old.write_text("last week's\n")
    old.chmod(0o644)
    if program in (GROUPS, TREE_AGAIN):
        (given / "out" / "tree").mkdir()
        for file in ("one", "two"):
            (given / "out" / "tree" / file).write_text("old")
        for replaced in ("red", "green"):
            (given / "out" / replaced).touch()
        for replaced in ("red", "green", "tree"):
            (given / "out" / replaced).chmod(0o700)
    command = [sys.executable, "-P", str(program), str(library.parent)]
    return scenario(
        command=command,
        name=name,
        outputs=OUTPUTS.get(program, "out/**"),
        input=given,
        faults=FAULTS,
        litter="fail",
        ignore=".checkpoints/marks.sqlite-shm",  # SQLite makes it anew
        timeout=20,
    )


def caught_by(result):
    """Return what showed something: faults, or the golden runs alone, where none was needed.

    What could not be judged, as a run that took too long, is no catch.
    """
    if not (result.faults or result.violations):
        assert result.reason.startswith("the pipeline fails with no fault: it exited with"), result
        return [NO_FAULT]
    faults = {violation.fault for violation in result.violations}
    assert all(
        coverage.tested == coverage.chosen >= (fault != "torn") for fault, coverage in result.faults.items()
    ), result
    return [NO_FAULT] if "" in faults else sorted(faults)


def is_covered(result):
    """Tell whether each fault has struck at each of its points; of power cuts there may be more.

    A write of less than a page cannot be torn, so `torn` may have no points.
    """
    return set(result.faults) == set(FAULTS) and all(
        coverage.tested == coverage.points >= (fault != "torn")
        and (not coverage.note or coverage.note.startswith("a choice of"))
        for fault, coverage in result.faults.items()
    )


def caught_in_turn(names, session, place, executed):
    """Return what showed each mutant that anything shows, in the pipelines that execute it.

    First some points of each are struck. What that did not show is tried in a restart, and then at all
    points, unless it is listed as harmless.
    """
    caught = caught_by_points(names, session, place, executed, SAMPLE)
    left = [name for name in names if name not in caught and not is_listed(name, HARMLESS)]
    for name in left:
        if found := caught_in_a_restart(name, session, place / "again", executed):
            caught[name] = found
    left = [name for name in left if name not in caught]
    return caught | caught_by_points(left, session, place, executed, None)


def caught_by_points(names, session, place, executed, points):
    """Return what so many points of each fault showed, in one pipeline after the other."""
    caught = {}
    turns = {
        name: [
            program
            for program in MATTERS.get(MUTANTS[name].file, (PIPELINE,))
            if is_executed(MUTANTS[name], executed(program))
        ]
        for name in names
    }
    for turn in range(max(map(len, turns.values()), default=0)):
        left = [name for name in names if name not in caught and turn < len(turns[name])]
        programs = {name: turns[name][turn] for name in left}
        if programs:
            caught |= caught_in_one(programs, session, place / f"{points}-{turn}", points)
    return caught


def is_executed(mutant, lines):
    """Tell whether a pipeline executes what a mutant changes: if not, it does what the control does."""
    return not mutant.lines.isdisjoint(lines[mutant.file])


def caught_in_one(programs, session, place, points):
    """Return what showed each mutant that anything shows, of what has struck a single run of it."""
    several = [
        subject(place, f"m{number}", MUTANTS[name], program=program)
        for number, (name, program) in enumerate(programs.items())
    ]
    wish = Options(store=place / "s", faults=FAULTS, fail_fast=True, explain="none", points=points)
    caught = {}
    for name, result in zip(programs, explore(session, several, wish).scenarios, strict=True):
        if found := ", ".join(caught_by(result)):
            caught[name] = found
        elif points is None:
            assert is_covered(result), (name, result)
    return caught


def caught_in_a_restart(name, session, place, executed):
    """Return what a restart showed, most of it by two crashes in a row: "" if nothing."""
    program = AGAIN.get(MUTANTS[name].file, RESTART)
    if not is_executed(MUTANTS[name], executed(program)):
        return ""
    again = subject(place, f"m{len(list(place.glob('*')))}", MUTANTS[name], program=program)
    wish = Options(store=place / "s", fail_fast=True, explain="none", **TWICE)
    (result,) = explore(session, [again], wish).scenarios
    return RESTARTED if caught_by(result) else ""


@pytest.fixture
def executed(session, tmp_path_factory):
    """Give the lines that a pipeline's runs execute, under all faults at all points, by file.

    It is explored once for all workers of pytest-xdist; how that ended is the same for each of them.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent

    @functools.cache
    def lines_of(program):
        answer = place / f"executed-{program.stem}"
        with (place / f"{program.stem}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not answer.exists():
                try:
                    found = control(program, session, tmp_path_factory.mktemp(program.stem))
                except BaseException as error:
                    answer.write_bytes(pickle.dumps((str(error) or repr(error), None)))
                    raise
                answer.write_bytes(pickle.dumps(("", found)))
        failed, lines = pickle.loads(answer.read_bytes())  # noqa: S301 - our own
        assert not failed, failed
        return lines

    return lines_of


def control(program, session, place):
    """Explore a pipeline with a library in which nothing is changed; return the lines that it executes."""
    noted = place / "noted"
    whole = subject(place, "control", program=program, noted=noted)
    wish = TWICE if program in RESTARTS else {}
    (result,) = explore(session, [whole], Options(store=place / "s", **wish)).scenarios
    assert result.verdict is Verdict.HELD, result
    assert not caught_by(result)
    if program not in RESTARTS:
        assert is_covered(result)
        assert result.faults["torn"].points > 0 or program is not PIPELINE
        assert not [
            one for one in result.warnings if "marks.sqlite-shm" not in one and str(noted) not in one
        ], result.warnings
    return lines(noted, WANTED)


@pytest.mark.parametrize("program", [*PROGRAMS, *RESTARTS], ids=lambda path: path.stem)
def test_the_library_itself_holds(executed, program):
    """The control, of restarts with two crashes in a row: with nothing changed, nothing is found.

    Nothing is left either that the next run leaves. And what it executes is known.
    """
    assert any(is_executed(mutant, executed(program)) for mutant in MUTANTS.values())


@pytest.mark.parametrize("names", SHARES)
def test_each_mutant_is_caught_or_known_to_be_harmless(names, session, tmp_path, record_property, executed):
    """What is removed, moved or swapped shows under kill, torn or power; what cannot show is listed."""
    caught = dict.fromkeys(names, "") | caught_in_turn(names, session, tmp_path, executed)
    harmless = {name for name in names if is_listed(name, HARMLESS)}
    record_property("mutants", caught)
    assert {name for name in names if not caught[name]} == harmless
    for name in names:
        if name.partition(" ")[2].startswith(UNSYNCED) and name not in harmless:
            assert caught[name] in ("power", RESTARTED), name
        if name in REPLACED:  # what is written by hand is worth a fault
            assert caught[name] != NO_FAULT, name


@pytest.mark.parametrize("reason", ["it did not end within 20.0 s", "it was killed by SIGKILL"])
def test_what_could_not_be_judged_is_no_catch(reason):
    """A mutant is not caught by a machine that was slow."""
    unknown = ScenarioResult("m", reason=f"the pipeline fails with no fault: {reason}")
    with pytest.raises(AssertionError):
        caught_by(unknown)


def test_what_was_not_struck_at_is_not_covered():
    """A mutant survives only what has struck at all of its points."""
    whole = {fault: Coverage(points=3, tested=3, chosen=3) for fault in FAULTS}
    assert is_covered(ScenarioResult("m", faults=whole))
    assert not is_covered(ScenarioResult("m", faults=whole | {"power": Coverage(3, 2, chosen=2)}))
    assert not is_covered(ScenarioResult("m", faults={"kill": whole["kill"]}))


def test_each_mutant_is_another_library_that_can_be_imported(tmp_path):
    """A change that changes nothing, or that is no Python, would be a point for nothing."""
    for number, mutant in enumerate(MUTANTS.values()):
        original = ast.unparse(ast.parse((SOURCE / mutant.file).read_text()))
        assert ast.unparse(ast.parse(mutant.text)) != original, mutant.name
        subject(tmp_path, str(number), mutant)
    subprocess.run([sys.executable, "-P", "-c", IMPORT_EACH, *map(str, tmp_path.iterdir())], check=True)


def test_every_call_that_matters_has_its_mutants():
    """The derivation finds the library's fsyncs, flushes, renames and syncing blocks, each at its line."""
    removed = {name.partition(" ")[0] for name in MUTANTS if name.partition(" ")[2].startswith("removed: ")}
    expected = {
        f"{named(path)}:{number}"
        for path in SOURCE.rglob("*.py")
        if named(path) not in APART
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if line.strip().startswith(
            (
                "os.fsync(",
                "sync_file(",
                "sync_tree(",
                "sync_path(",
                "sync_directory(",
                "rename_into_place(",
                "with resolved.synced(",
            )
        )
    }
    assert expected <= removed
    assert len(expected) >= 7
    assert len(MUTANTS) >= 55
    assert all(any(f" {what}: " in name for name in MUTANTS) for what in DERIVED)


def test_new_code_has_mutants_by_itself(tmp_path):
    """A promise that is written tomorrow is broken tomorrow, also where a condition holds the call."""
    path = tmp_path / "new.py"
    path.write_text(
        "def f(a, durable):\n    a.flush()\n    if durable:\n        os.fsync(a)\n    a.close()\n"
    )
    found = {mutant.name for mutant in derived("new.py", ast.parse(path.read_text()), CALLS)}
    assert found >= {
        "new.py:2 removed: a.flush()",
        "new.py:2 after the next: a.flush()",
        "new.py:2 at the end: a.flush()",
        "new.py:4 removed: os.fsync(a)",
        "new.py:3 after the next: os.fsync(a)",
        "new.py:3 before the one before: os.fsync(a)",
    }


def test_what_is_listed_as_harmless_exists():
    """A mutant that is gone is struck off the list."""
    for listed in HARMLESS:
        assert [name for name in MUTANTS if is_listed(name, [listed])], listed
