"""The benchmarks measure what they say, with the harness as it is now."""

import importlib
import sys
from pathlib import Path

import pytest

from outlive_harness.results.scenario_files import load_file

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

CHECKED = """
from pathlib import Path
from outlive_harness import scenario

def check({argument}):
    assert Path("out").read_text() == "whole"
    return "right"

@scenario(check=check)
def checked():
    Path("out").write_text({text!r})
"""


@pytest.fixture
def parts(monkeypatch):
    """The module with the parts of the benchmarks, imported as `python benchmarks` does."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("_parts")
    for name in ("_parts", "_rivals"):
        del sys.modules[name]


@pytest.mark.parametrize("tool", ["bare", "ours"])
def test_the_cost_of_an_op_is_measured(parts, tool):
    """The program prints microseconds, with the supervisor and without."""
    assert parts._cost(tool, 3) > 0


@pytest.mark.parametrize("argument", ["", "acks"])
@pytest.mark.parametrize(("text", "status"), [("whole", "0"), ("half", "1")])
def test_random_kills_are_judged_by_the_scenarios_check(parts, tmp_path, monkeypatch, argument, text, status):
    """The rival is given the same check: its status and its value, with acknowledgements if it takes them."""
    path = tmp_path / "checked.py"
    path.write_text(CHECKED.format(argument=argument, text=text))
    (one,) = load_file(path)
    found = []

    class Rival(parts.Popen):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            found.append(self._value)

    monkeypatch.setattr(parts, "Popen", Rival)
    parts._found_by_chance(one, jobs=1, limit=0)
    (said,) = found
    assert said.startswith(f"{status} ")
    assert ("right" in said) == (text == "whole")
