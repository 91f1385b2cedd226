"""Parameters: each combination is a scenario of its own, and whatever cannot be one is told."""

import enum
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness import scenario
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.scenario_files import load_file

Colour = enum.Enum("Colour", ["RED"])


def ids(params):
    several = scenario(params=params)(lambda **_: None)
    return [one.name for one in several.cases()]


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"n": [1, 2]}, ["[1]", "[2]"]),
        ({"n": (1, 2), "m": ["a", "b"]}, ["[1-a]", "[1-b]", "[2-a]", "[2-b]"]),
        ({"n": [None, True, 1.5, ""]}, ["[None]", "[True]", "[1.5]", "[n3]"]),
        ({"n": [[1], {}, Path("a")]}, ["[n0]", "[n1]", "[n2]"]),
        ({"n": ["/x:y", "a b", "ä", "x\n", "x" * 99]}, ["[/x:y]", "[a b]", "[ä]", "[n3]", "[n4]"]),
        ({"n": [len, dict]}, ["[len]", "[dict]"]),
        ({"n": range(2)}, ["[0]", "[1]"]),
        ({"n": [pytest.param(3, id="three"), pytest.param(4)]}, ["[three]", "[4]"]),
    ],
)
def test_ids_are_those_that_pytest_would_give(params, names):
    """Plain values stand for themselves, others are their name and number; the last changes fastest."""
    assert ids(params) == names


def test_ids_are_what_pytest_makes_of_the_same_values(pytester):
    """Seen in pytest itself, which is asked to collect a test with the same parameters."""
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('m', ['a', len])\n"
        "@pytest.mark.parametrize('n', [1, None, True, 2.5, [1]])\ndef test_x(n, m): pass\n"
    )
    found = pytester.runpytest_inprocess("--collect-only", "-q").outlines
    theirs = [line.partition("test_x")[2] for line in found if "::" in line]
    assert sorted(theirs) == sorted(ids({"n": [1, None, True, 2.5, [1]], "m": ["a", len]}))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (5, "params=5 must be names of arguments, each with a list of values, as {'n': \\[1, 2\\]}"),
        ({}, "params={} must be names"),
        ({"n": "abc"}, "params={'n': 'abc'} must be names"),
        ({"n": 3}, "params={'n': 3} must be names"),
        ({"n": []}, "params={'n': \\[\\]} must be .*; 'n' has no value"),
        ({"n-m": [1]}, "params={'n-m': \\[1\\]} must be .*; 'n-m' can be no argument's name"),
        ({"box": [1]}, "params={'box': \\[1\\]} must be .*; 'box' can be no argument's name"),
        ({1: [1]}, "params={1: \\[1\\]} must be"),
    ],
)
def test_params_of_another_form_are_told_by_name_and_value(params, message):
    """The message begins with them, and says what they must be."""
    with pytest.raises(ScenarioError, match=f"^{message}"):
        scenario(params=params)


def test_two_combinations_of_one_id_are_refused():
    """One of them could be neither chosen nor replayed."""
    with pytest.raises(ScenarioError, match=r"^params=.* must differ: two combinations have the id '1-a-b'"):
        ids({"n": ["1", "1-a"], "m": ["a-b", "b"]})


def takes_n(n):
    pass


def has_yield():
    yield 1


async def has_async_yield():
    yield 1


@pytest.mark.parametrize(
    ("body", "params", "message"),
    [
        (
            takes_n,
            None,
            "'takes_n' takes the argument 'n', for which nothing gives a value: name it in params=",
        ),
        (takes_n, {"m": [1]}, r"params={'m': \(1,\)} must be arguments of the body: 'takes_n' takes no 'm'"),
        (lambda: None, {"n": [1]}, r"params={'n': \(1,\)} must be arguments of the body"),
        (has_yield, None, "'has_yield' has a yield in it, so a call of it runs nothing"),
        (has_async_yield, None, "'has_async_yield' has a yield in it"),
    ],
)
def test_a_body_that_cannot_be_called_is_told_where_it_is_declared(body, params, message):
    """An argument without a value, a value without an argument, a call that would run nothing."""
    with pytest.raises(ScenarioError, match=f"^{message}"):
        scenario(params=params)(body)


@pytest.mark.parametrize("body", [lambda n=1: n, lambda *several, **more: (several, more), list, dict])
def test_a_body_that_can_be_called_without_arguments_is_one(body):
    """Defaults, arguments of any number, and builtins without a signature."""
    assert scenario(body).body is body


def test_a_parameter_stands_in_a_command_its_input_and_its_patterns():
    """{n} is the value there; what is no parameter stays; a parameter that changes nothing is an error."""
    made = scenario(
        command=["sh", "-c", "echo ${n} {n} {m} > out"],
        input="data/{n}",
        outputs="{n}/*",
        params={"n": [1, "a"]},
    )
    made.name, made.file = "x", "/p/s.py"
    _, second = made.cases()
    assert second.command == ("sh", "-c", "echo ${n} a {m} > out")
    assert (second.name, second.input, second.outputs) == ("x[a]", "data/a", ("a/*",))
    assert run_spec_of(second).source == "/p/data/a"
    with pytest.raises(ScenarioError, match=r"^params={'k': \(1,\)} must be used: .* has {k} in it"):
        scenario(command=["true"], params={"k": [1]})


def test_what_a_value_makes_of_a_keyword_is_checked_as_any_other_is():
    """A path that leaves the box is refused; a value that looks like a parameter stays what it is."""
    params = {"n": ["{m}"], "m": ["{n}"]}
    (one,) = scenario(command=["x", "{n}{m}"], name="x", params=params).cases()
    assert one.command == ("x", "{m}{n}")
    with pytest.raises(ScenarioError, match=r"^outputs='/' must be a pattern of paths relative to the box"):
        scenario(command=["x"], outputs="{n}", name="x", params={"n": ["/"]}).cases()


def test_setup_and_check_get_the_parameters_that_they_take():
    """By name; a check gets what was acknowledged as well, whichever of its arguments that is."""
    seen = []

    def body(n, m):
        seen.append(("body", n, m))

    def setup(n):
        seen.append(("setup", n))

    for check, takes in (
        (lambda m: m, False),
        (lambda n, acks: (n, acks), True),
        (lambda acks, n: (n, acks), True),
    ):
        made = scenario(params={"n": [1], "m": [2]}, setup=setup, check=check)(body)
        (one,) = made.cases()
        assert run_spec_of(one).check_takes_acks is takes
        assert one.call("check", *([["x"]] if takes else [])) == ((1, ["x"]) if takes else 2)
    one.call("setup")
    one.call("body")
    one(m=3)
    assert seen == [("setup", 1), ("body", 1, 2), ("body", 1, 3)]


def test_a_case_is_found_in_its_file_by_its_id(tmp_path):
    """Its own process, which loads the file again, calls the body with the same values."""
    path = tmp_path / "s.py"
    path.write_text(
        "from outlive_harness import scenario\n@scenario(params={'n': [1, 2]})\ndef f(n): print('n is', n)\n"
    )
    assert [one.name for one in load_file(path)] == ["f[1]", "f[2]"]
    program = [sys.executable, "-m", "outlive_harness._body", str(path), "f[2]", "body", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout == "n is 2\n"
