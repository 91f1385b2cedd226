"""Which scenarios run: -k, --only, --list, and what the Tab key proposes."""

import json
import os
import subprocess
import sys

import pytest

from outlive_harness import cli
from outlive_harness.cli import expression
from outlive_harness.cli.completion import VARIABLE
from outlive_harness.results.scenario import ScenarioError

OUTLIVE = [sys.executable, "-P", "-m", "outlive_harness"]
SUITE = """
import pytest
from outlive_harness import scenario
good = scenario(command=["true"], outputs="o", faults="kill,torn")
bad = pytest.mark.skip(scenario(command=["true"], outputs="o", expect="torn-output", faults="power"))

@scenario(params={"n": [1, 2], "kind": ["csv", b""]})
def load(n, kind): pass
"""


@pytest.fixture
def listed(tmp_path, monkeypatch, capsys):
    """Run outlive test --list in a project with a suite; return what it prints."""

    def run(*line, status=0):
        assert cli.run(["test", "--list", *line]) == status
        said = capsys.readouterr()
        return (said.err if status else said.out).splitlines()

    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "suite.py").write_text(SUITE)
    (tmp_path / "scenarios" / "other.py").write_text(
        "from outlive_harness import scenario\nloader = scenario(command=['true'])\n"
    )
    monkeypatch.chdir(tmp_path)
    return run


ALL = ["loader", "good", "bad", "load[1-csv]", "load[1-kind1]", "load[2-csv]", "load[2-kind1]"]


def test_the_list_shows_place_name_and_faults(listed):
    """A line for each scenario, those of params one by one, in the order in which they would run."""
    lines = listed()
    assert [line.split()[1] for line in lines] == ALL
    assert lines[1].split() == ["scenarios/suite.py:4", "good", "kill,torn"]
    assert lines[2].split(maxsplit=2) == ["scenarios/suite.py:5", "bad", "power  expects torn-output"]
    (none,) = listed("--only", "bad", "--faults", "kill")
    assert none.endswith("bad  none of its faults is asked for  expects torn-output")


def test_the_list_can_be_json_and_runs_nothing(listed, tmp_path):
    """For other programs, with the values of parameters; no result is kept."""
    found = json.loads("\n".join(listed("--json", "-", "-k", "load and csv and 2")))
    assert found == {
        "schema": 1,
        "scenarios": [
            {
                "name": "load[2-csv]",
                "file": "scenarios/suite.py",
                "line": 7,
                "faults": ["kill"],
                "expect": [],
                "params": {"n": 2, "kind": "csv"},
            }
        ],
    }
    assert listed("--json", "l.json") == []
    assert len(json.loads((tmp_path / "l.json").read_text())["scenarios"]) == len(ALL)
    assert not (tmp_path / ".outlive").exists()


def test_a_report_that_the_configuration_asks_for_is_not_the_list(listed, tmp_path):
    """Else the list would take the place of the last run's results."""
    (tmp_path / "pyproject.toml").write_text("[tool.outlive]\njson = 'r.json'\n")
    assert len(listed()) == len(ALL)
    assert not (tmp_path / "r.json").exists()


def test_a_list_that_is_not_whole_has_another_status(listed, tmp_path):
    """A file that does not import is told, and the others are listed."""
    (tmp_path / "scenarios" / "broken.py").write_text("import no_such_module\n")
    assert "outlive: scenarios/broken.py does not import:" in listed(status=2)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("LOAD", ["loader", *ALL[3:]]),
        ("load and not loader", ALL[3:]),
        ("(good or bad) and not b", ["good"]),
        ("not (load or good)", ["bad"]),
        ("good or bad and zzz", ["good"]),
        ("not not good", ["good"]),
        ("load[1 and kind1]", ["load[1-kind1]"]),
        ("other.py", ["loader"]),
        ("", ALL),
    ],
)
def test_expressions_choose_as_pytest_does(listed, text, names):
    """Parts of names in any case, of the file's as well; not binds closest, then and, then or."""
    assert [line.split()[1] for line in listed("-k", text)] == names


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("and", "a name is missing before 'and'"),
        ("a or", "a name is missing at its end"),
        ("not", "a name is missing at its end"),
        ("a b", "'b' comes where and, or, or its end should be"),
        ("(a", "a ) is missing"),
        ("(a b)", "a ) is missing"),
        ("a)", "')' comes where"),
        ("()", "a name is missing before ')'"),
    ],
)
def test_what_is_no_expression_is_told(text, why):
    """With the text, what it must be, and where it is wrong."""
    with pytest.raises(ScenarioError) as caught:
        expression.parse(text)
    assert str(caught.value).startswith(
        f"-k={text!r} must be parts of names with and, or, not and ( ): {why}"
    )


def test_an_expression_that_chooses_nothing_is_an_error(listed):
    """A gate that runs nothing by a slip of the pen would always pass."""
    (said,) = listed("-k", "zzz", status=2)
    assert said.startswith("outlive: -k='zzz' chooses no scenario; there are: bad, good, load[1-csv]")


def test_only_takes_a_scenario_with_all_its_cases_or_one(listed):
    """The name without an id means all, and not others that begin alike; an id is no pattern."""
    assert [line.split()[1] for line in listed("--only", "load")] == ALL[3:]
    assert [line.split()[1] for line in listed("--only", "load[2-csv]")] == ["load[2-csv]"]


@pytest.mark.usefixtures("listed")
def test_x_is_fail_fast(capsys):
    """As under pytest."""
    assert cli.run(["test", "-x", "--baseline", "b.json"]) == 2
    assert "--fail-fast cannot go with --baseline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        (["test", "--faults", "kill,t"], {"kill,torn", "kill,term", "kill,timer"}),
        (["test", "--only", "l"], {"load", "loader"}),
        (["test", "-k", "b"], {"bad"}),
        (["test", "--profile", "ext"], {"ext4", "ext4-ordered"}),
        (["replay", "good:"], {"good:kill@1"}),
        (["te"], {"test"}),
        (["test", "--fail"], {"--fail-fast"}),
    ],
)
@pytest.mark.usefixtures("listed")
def test_the_tab_key_proposes_what_there_is(monkeypatch, capsys, tmp_path, line, proposed):
    """Names come from the text of scenario files: none of them is imported."""
    (tmp_path / "scenarios" / "suite.py").write_text(f"{SUITE}\nraise SystemExit('imported')\n")
    kept = tmp_path / ".outlive" / "failures" / "x"
    kept.mkdir(parents=True)
    (kept / "failure.json").write_text('{"id": "good:kill@1"}')
    monkeypatch.setenv("COMP_WORDS", " ".join(["outlive", *line]))
    monkeypatch.setenv("COMP_CWORD", str(len(line)))
    monkeypatch.setenv(VARIABLE, "bash_complete")
    assert cli.run([]) == 0
    assert {each.partition(",")[2] for each in capsys.readouterr().out.splitlines()} == proposed


def test_the_script_of_a_shell_is_printed():
    """By the command that the help text names, in a process of its own."""
    done = subprocess.run(
        OUTLIVE, env={**os.environ, VARIABLE: "zsh_source"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("#compdef outlive")
    assert f"{VARIABLE}=zsh_complete outlive" in done.stdout
