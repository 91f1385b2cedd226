"""What a program that fails with no fault is told: which file of the user's is not in its box."""

import sys

import pytest

from outlive_harness.results.verdicts import Verdict

MISSED = "conf/pipeline.yaml is not in the box: --input . copies it, --cwd . runs here"


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, "-c", "open('conf/pipeline.yaml')"),
        (sys.executable, "-c", "import os, sys; os.path.exists('conf/pipeline.yaml') or sys.exit(4)"),
        ("sh", "-c", "echo reads its settings; sort conf/pipeline.yaml > out"),
        ("sh", "-c", "exec < conf/pipeline.yaml"),
        ("sh", "-c", "cd conf && cat pipeline.yaml"),
    ],
)
def test_a_file_of_the_user_s_that_is_missing_is_named(check, tmp_path, command):
    """Whether the program opens it or asks for it first, in any language: the last line says what to add."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "pipeline.yaml").touch()
    result = check(*command)
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason.startswith("the pipeline fails with no fault: it exited with ")
    said = result.reason.splitlines()[-1]
    assert said == (MISSED if "cd" not in command[-1] else MISSED.replace("conf/pipeline.yaml", "conf"))


def test_a_module_of_the_user_s_that_is_missing_is_named(check, tmp_path):
    """A package that is run by its name is found where the user is, and not in the box."""
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "__main__.py").touch()
    said = check(sys.executable, "-m", "steps").reason.splitlines()[-1]
    assert said == "steps is not in the box: --input . copies it, --cwd . runs here"


def test_a_module_in_the_box_that_python_does_not_look_for_is_told(check, tmp_path):
    """An installed command looks for modules beside itself, and not where it runs."""
    (tmp_path / "steps.py").touch()
    said = check(sys.executable, "-I", "-c", "import steps", input=str(tmp_path)).reason.splitlines()[-1]
    assert said == "steps.py is in the box, but Python does not look there: add --env PYTHONPATH=."


def test_where_nothing_is_known_to_be_missing_both_ways_are_told(check, tmp_path):
    """A file that is nowhere, or that only an earlier run made, is no input; both streams are heard."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.done").touch()
    program = (
        "print('begins'); import os; os.stat('out/report.done') if os.path.exists('gone') else open('x')"
    )
    lines = check(sys.executable, "-c", program).reason.splitlines()
    assert lines[1:4] == ["its standard output ends with:", "begins", "its standard error ends with:"]
    assert lines[-1] == (
        "it runs in an empty box: --input DIR copies there what it needs, --cwd DIR runs it where that is"
    )


def test_a_scenario_in_a_file_is_told_its_own_keywords(one, tmp_path):
    """Directories are relative to the scenario's file, and strings are Python's."""
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "in.csv").touch()
    command = ["sh", "-c", "cat 'a b/in.csv'"]
    said = one(f"it = scenario(command={command}, outputs='out')").reason.splitlines()[-1]
    assert said == 'a b/in.csv is not in the box: input="." copies it, cwd="." runs here'
    said = one("it = scenario(command=['sleep', '9'], outputs='out', timeout=0.1)").reason.splitlines()[-1]
    assert said == "timeout=SECONDS gives it longer"
