"""The table of keywords is what scenario(), the doors and the documents say."""

import inspect
import re
from pathlib import Path

import click
import pytest

from outlive_harness import plugin, scenario
from outlive_harness.cli import main
from outlive_harness.results.keywords import KEYWORD, KEYWORDS, NAMES, with_option
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import Scenario, ScenarioError

README = Path(__file__).parents[3] / "README.md"


def test_scenario_takes_the_keywords_of_the_table():
    """Names and defaults of its signature are the rows', all are keyword-only, and each has a description.

    But for the function, which it gets where the decorator has no parentheses.
    """
    parameters = dict(inspect.signature(scenario).parameters)
    assert parameters.pop("body").kind == inspect.Parameter.POSITIONAL_ONLY
    assert {name: one.default for name, one in parameters.items()} == {
        one.name: one.default for one in KEYWORDS
    }
    assert {one.kind for one in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    described = re.findall(r"^    (?:    )?(\w+): ", inspect.getdoc(scenario), re.MULTILINE)
    assert sorted(described) == sorted([*NAMES, "body", "ScenarioError"])


def test_a_scenario_has_an_attribute_for_each_keyword():
    """Its attributes are declared with their types, and hold the defaults of the table."""
    made = scenario()
    for one in KEYWORDS:
        assert one.name in Scenario.__annotations__
        assert getattr(made, one.name) == one.default


def test_defaults_are_values_that_their_checks_let_through():
    """A default is checked as any other value is, and stays what it is."""
    for one in KEYWORDS:
        assert one.checked(one.default) == one.default


@pytest.mark.parametrize("name", ["check", "test"])
def test_a_command_has_the_options_of_the_table(name):
    """Each keyword that says so has an option of its name, with a help text; no other keyword has one."""
    command = main.get_command(click.Context(main), name)
    options = {one.name: one for one in command.params if isinstance(one, click.Option)}
    wanted = {one.name for one in with_option(name)}
    assert options.keys() & set(NAMES) == wanted
    for one in map(KEYWORD.get, wanted):
        assert options[one.name].opts == [f"--{one.flag}"]
        assert options[one.name].help.startswith(one.help)
        assert options[one.name].help.endswith(".")


def test_pytest_has_the_options_of_the_table():
    """Likewise the plugin: its options are found by their keywords' names."""
    source = inspect.getsource(plugin.pytest_addoption)
    assert not [one.name for one in KEYWORDS if f"--outlive-{one.flag}" in source]
    assert {one.kind for one in with_option("pytest") if not one.choices} == plugin._TYPES.keys()


def test_the_readme_names_each_keyword():
    """The table in the README has them all, but for those that its text is about."""
    text = README.read_text()
    assert not [name for name in NAMES if f"`{name}`" not in text and name not in ("name", "command")]


def test_a_choice_is_told_with_what_there_is_to_choose_from():
    """The message begins with the name, of an option as the user wrote it."""
    with pytest.raises(ScenarioError, match=r"^tmp='x' must be 'other' or 'same'$"):
        scenario(tmp="x")
    with pytest.raises(ScenarioError, match=r"^--tmp='x' must be 'other' or 'same'$"):
        KEYWORD["tmp"].checked("x", "--tmp")


def test_what_a_run_needs_of_a_keyword_is_what_the_scenario_says():
    """Fields of a run's data that are named as a keyword hold its value."""
    given = {"outputs": "o", "append_only": "a", "ignore": "i", "litter": "fail", "restarts": 3}
    spec = run_spec_of(scenario(command=["true"], name="x", timeout=2, tmp="same", **given))
    assert (spec.outputs, spec.append_only, spec.ignore) == (("o",), ("a",), ("i",))
    assert (spec.litter, spec.restarts, spec.timeout, spec.tmp) == ("fail", 3, 2, "same")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("python3 'my check.py' out", ("python3", "my check.py", "out")),
        ("test -s out && grep -q x out", ("sh", "-c", "test -s out && grep -q x out")),
        (["cat", Path("out")], ("cat", "out")),
        (print, print),
        (None, None),
    ],
)
def test_a_check_is_a_function_or_a_command(value, kept):
    """A text is split as a shell would, and a shell runs it if it needs one."""
    made = scenario(command=["true"], check=value, crash_check=value)
    assert (made.check, made.crash_check) == (kept, kept)


@pytest.mark.parametrize("value", ["", "cat 'x", [], 3, ["cat", 3]])
def test_a_check_that_is_neither_is_told(value):
    """The message begins with the keyword and the value."""
    with pytest.raises(ScenarioError, match=r"^crash_check="):
        scenario(command=["true"], crash_check=value)


def test_the_files_of_a_check_are_those_beside_the_scenario(tmp_path):
    """As those of a command; what takes the acknowledgements says so by {acks}."""
    (tmp_path / "verify.py").touch()
    made = scenario(command=["true"], name="x", check="python3 verify.py {acks}", crash_check="cat out")
    made.file = str(tmp_path / "it.py")
    spec = run_spec_of(made)
    assert spec.check == ("python3", str(tmp_path / "verify.py"), "{acks}")
    assert (spec.check_takes_acks, spec.crash_check_takes_acks) == (True, False)
