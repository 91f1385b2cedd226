"""Every import path that the documents name can be imported; so can those that they named earlier."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "scenarios").rglob("*.py")]
DOTTED = re.compile(r"(?<![\w./-])outlive_harness(?:\.[A-Za-z_]\w*)+|(?<=::: )outlive(?:\.\w+)+")
IMPORT = re.compile(r"^ *from (outlive(?:_harness)?(?:\.\w+)*) import (\w+(?:, \w+)*)", re.MULTILINE)
#: Paths that the documents of an earlier version name; the names are now elsewhere.
EARLIER = {
    f"outlive_harness.{name}"
    for name in (
        "explore.results.Coverage",
        "explore.results.Finding",
        "explore.results.ScenarioResult",
        "explore.results.Trial",
        "explore.results.Violation",
        "plan.Point",
        "pytest_support.fixture.Outlive",
        "pytest_support.fixture.UntestableError",
        "scenario.Scenario",
        "scenario.ScenarioError",
        "strategies.plans",
    )
}


def named():
    """Return all paths that the documents name: in prose, for mkdocstrings, and in imports."""
    found = set(EARLIER)
    for text in (path.read_text() for path in FILES):
        found.update(DOTTED.findall(text))
        for module, names in IMPORT.findall(text):
            found.update(f"{module}.{name}" for name in names.split(", "))
    return sorted(found)


@pytest.mark.parametrize("path", named())
def test_a_documented_path_can_be_imported(path):
    """As a module, or as a name of one."""
    assert pkgutil.resolve_name(path) is not None


@pytest.mark.parametrize("module", ["scenario", "plan", "explore.results"])
def test_names_at_an_earlier_path_are_those_of_today(module):
    """A class that is imported from either place is one class: isinstance() and except find it."""
    earlier = importlib.import_module(f"outlive_harness.{module}")
    for name in earlier.__all__:
        where = getattr(getattr(earlier, name), "__module__", "")
        assert where.startswith(("outlive_harness.results.", "builtins")) or name == "Plan"


def test_the_function_keeps_its_name_beside_the_module():
    """`from outlive_harness import scenario` is the function, also once the module is imported."""
    importlib.import_module("outlive_harness.scenario")
    package = importlib.import_module("outlive_harness")
    assert callable(package.scenario)
