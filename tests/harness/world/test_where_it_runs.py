"""Where a program runs, and with which environment."""

import os
import sys
from pathlib import Path

import pytest

from outlive_harness import scenario
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import NO_FILE, ScenarioError
from outlive_harness.results.verdicts import Verdict

#: A project that reads beside itself by relative paths, and writes where it is told.
PROJECT = """
import os, sys
sys.path.insert(0, "")
from steps import clean
place = os.environ["OUT"]
assert place.startswith(os.environ["OUTLIVE_BOX"]), place
os.makedirs(place, exist_ok=True)
for name in ("words", "again"):
    with open(f"{place}/.new", "w") as new:
        new.writelines(clean.words(open("conf/words.txt").read()))
    os.replace(f"{place}/.new", f"{place}/{name}")
"""


@pytest.fixture
def project(tmp_path):
    """A project of the user's, beside the scenario files."""
    place = tmp_path / "project"
    (place / "steps").mkdir(parents=True)
    (place / "conf").mkdir()
    (place / "pipeline.py").write_text(PROJECT)
    (place / "steps" / "clean.py").write_text("def words(text):\n    return sorted(text.split())\n")
    (place / "conf" / "words.txt").write_text("b a c\n")
    return place


def files(place):
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_project_runs_where_it_is_and_writes_to_the_box(one, project):
    """It reads its own files by relative paths, from a zygote too, and nothing of the user's changes."""
    before = files(project)
    result = one(f"""
        one = scenario(command=[{sys.executable!r}, "pipeline.py"], cwd="project", outputs="out/*",
                       env={{"OUT": "{{box}}/out"}})
    """)
    assert (result.verdict, result.reason, result.not_judged) == (Verdict.HELD, "", [])
    assert (result.ops, result.zygote, result.warnings) == (7, True, [])
    assert files(project) == before


def test_a_write_beside_the_box_is_told_with_what_to_do(one, project):
    """Files where the program runs are no part of a crash state: one line names the way out."""
    result = one("""
        one = scenario(command=["sh", "-c", "cat conf/words.txt > copy; cp copy $OUTLIVE_BOX/out"],
                       cwd="project", outputs="out")
    """)
    assert result.verdict is Verdict.UNKNOWN
    where = project.resolve()
    assert result.reason == (
        f"it writes copy into {where}, where it runs and no crash state can hold it: let it write to "
        '{box}, which is $OUTLIVE_BOX too, or run a copy in each box by input="project" alone'
    )


def test_the_setup_and_the_check_stay_in_the_box(one):
    """What a scenario prepares and examines is in the box, wherever its program runs."""
    result = one("""
        def words():
            Path("words.txt").write_text("from the setup")

        def is_there():
            assert Path("out").read_text() == "from the setup", os.listdir()

        one = scenario(command=["sh", "-c", "cp $OUTLIVE_BOX/words.txt $OUTLIVE_BOX/out"],
                       cwd="..", setup=words, check=is_there)
    """)
    assert "from the setup" not in result.reason
    assert result.verdict is not Verdict.UNKNOWN, result.reason


def test_directories_above_the_box_that_exist_are_not_made(one):
    """A shell asks for each directory of an absolute path (mkdir -p); only a new one is outside the box."""
    result = one("""
        one = scenario(command=["sh", "-c", 'mkdir -p "$OUT/a" && echo > "$OUT/t" && mv "$OUT/t" "$OUT/a/b"'],
                       env={"OUT": "{box}/out"}, outputs="out/a/*")
    """)
    assert (result.verdict, result.not_judged) == (Verdict.HELD, [])


def spec_of(tmp_path, **keywords):
    made = scenario(name="one", **keywords)
    made.file = str(tmp_path / NO_FILE)
    return run_spec_of(made)


def test_arguments_that_exist_where_it_runs_stay_as_they_are(tmp_path, project):
    """Those that exist only where the user is become absolute; the box's path replaces {box}."""
    (tmp_path / "in.csv").touch()
    spec = spec_of(
        tmp_path, command=["python3", "pipeline.py", "in.csv", "{box}/out", "new.csv"], cwd=str(project)
    )
    argv, where = spec.command(spec.argv, Path("/b"))
    assert argv == ["python3", "pipeline.py", str(tmp_path / "in.csv"), "/b/out", "new.csv"]
    assert where == project


def test_variables_of_the_scenario_come_last(tmp_path, monkeypatch):
    """They replace the user's and the harness's own; a function's assertions stay switched on."""
    monkeypatch.setenv("MODE", "user")
    spec = spec_of(tmp_path, command=["x"], env={"MODE": "a=b", "HOME": "{box}/h", "EMPTY": ""})
    given = spec.environment(Path("/b"))
    assert (given["MODE"], given["HOME"], given["EMPTY"], given["OUTLIVE_BOX"]) == ("a=b", "/b/h", "", "/b")
    assert spec.key() != spec_of(tmp_path, command=["x"]).key()
    body = scenario(name="one", env=["PYTHONOPTIMIZE=1"])(os.getcwd)
    assert "PYTHONOPTIMIZE" not in run_spec_of(body).environment(Path("/b"))


@pytest.mark.parametrize("value", ["NAME", "=value", 3, {"A": 1}.items(), "A=\0"])
def test_what_is_no_variable_is_refused(value):
    """The message begins with the keyword, and says what it must be."""
    with pytest.raises(ScenarioError, match=r"^env="):
        scenario(env=value)
