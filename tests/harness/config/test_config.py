"""[tool.outlive]: what is repeated on each line stands there once, and whatever is wrong is told."""

import os
import re
import signal
import textwrap
from pathlib import Path

import click
import pytest

from outlive_harness import cli, scenario
from outlive_harness.cli import check, main, running
from outlive_harness.cli import test as test_command
from outlive_harness.config.read import Config, read
from outlive_harness.config.table import KEYS, ON_THE_LINE, SETTINGS, WITH_OPTION
from outlive_harness.results.keywords import KEYWORD
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import ScenarioError

#: One value of each key that is not a keyword, and what the option of its name would be.
VALUES = {
    "real_fs": ("ext4", "ext4"),
    "signal": ("INT", signal.SIGINT),
    "points": (3, 3),
    "select": ("all", "all"),
    "seed": (-1, -1),
    "budget": ("2m", 120.0),
    "fail_fast": (True, True),
    "exhaustive": (True, True),
    "zygote": (False, False),
    "explain": ("none", "none"),
    "baseline": ("known.json", "{home}/known.json"),
    "memory": (0, 0),
    "jobs": (1024, 1024),
    "box_dir": (".", "{home}"),
    "only": ("a", ("a",)),
    "changed": (True, True),
    "json": ("-", "-"),
    "html": ("r.html", "{home}/r.html"),
    "junit": ("j.xml", "{home}/j.xml"),
    "sarif": ("s.json", "{home}/s.json"),
    "github": (False, False),
}
SCENARIO = "from outlive_harness import scenario\none = scenario(command=['true'], outputs='o')\n"


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Write the table of a project, and go into it."""

    def write(text, start="."):
        (tmp_path / "pyproject.toml").write_text(f"[tool.outlive]\n{textwrap.dedent(text)}")
        (tmp_path / start).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / start)
        return read(tmp_path / start)

    return write


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Run a command line up to where scenarios are explored; return them, the options, and the whole wish."""

    def run(*line):
        seen = []

        def take(scenarios, _broken, wish, **_):
            seen.append((scenarios, running.options_of(wish), wish))
            return 0

        for module in (test_command, check):
            monkeypatch.setattr(module, "run_scenarios", take)
        assert cli.run(line) == 0
        return seen[0]

    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "s.py").write_text(SCENARIO)
    return run


def toml(value):
    return {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)


def test_each_option_of_test_and_check_is_a_key():
    """But those that make sense on one line only, and those without a long name."""
    named = set()
    for name in ("test", "check"):
        params = main.get_command(click.Context(main), name).params
        options = (max(one.opts, key=len) for one in params if isinstance(one, click.Option))
        named |= {option[2:].replace("-", "_") for option in options if option.startswith("--")}
    assert named == {*KEYS, *ON_THE_LINE}
    assert SETTINGS.keys() == VALUES.keys()
    assert not SETTINGS.keys() & WITH_OPTION.keys()


@pytest.mark.parametrize("key", VALUES)
def test_a_value_is_what_its_option_would_be(configure, tmp_path, key):
    """Paths start from the file; names may be written with - or with _."""
    value, wanted = VALUES[key]
    for written in (key, key.replace("_", "-")):
        found = configure(f"{written} = {toml(value)}").settings[key]
        assert (os.fspath(found) if isinstance(found, os.PathLike) else found) == (
            wanted.format(home=tmp_path) if isinstance(wanted, str) else wanted
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fautls = 1", "fautls=1 is not a key: did you mean 'faults'\\?"),
        ("fail-fats = true", "fail-fats=True is not a key: did you mean 'fail_fast'\\?"),
        ("zzz = 1", "zzz=1 is not a key: there are: acks, "),
        ("expect = 'x'", "expect='x' is not a key: expect is said by each scenario itself"),
        (
            "update-baseline = true",
            "update-baseline=True is not a key: give --update-baseline on the command",
        ),
        ("fail-fast = true\nfail_fast = true", "fail_fast=True is given twice"),
        ("faults = 'kil'", "faults='kil' must be faults: 'kil' is not one of kill, "),
        ("faults = ''", "faults='' must be faults"),
        ("profile = 'ntfs'", "profile='ntfs' must be one of: "),
        ("depth = 0", "depth=0 must be a whole number from 1 on"),
        ("depth = true", "depth=True must be a whole number from 1 on"),
        ("outputs = ['/a']", "outputs='/a' must be a pattern of paths relative to the box"),
        ("timeout = '5h'", "timeout='5h' must be a number of seconds over 0, as 60"),
        ("litter = 'no'", "litter='no' must be 'warn' or 'fail'"),
        ("input = 'gone'", "input='gone' must be an existing directory, relative to the directory {home}"),
        ("acks = '('", "acks='\\(' is not a regular expression"),
        ("jobs = '2'", "jobs='2' must be a whole number from 1 to 1024"),
        ("jobs = true", "jobs=True must be a whole number"),
        ("seed = 1.5", "seed=1.5 must be a whole number$"),
        ("select = 'some'", "select='some' must be one of: auto, all, distinct"),
        ("signal = 'STOP'", "signal='STOP' must be a signal that can be sent"),
        ("signal = []", "signal=\\[\\] must be a signal"),
        ("budget = 0", "budget=0 must be a number of seconds over 0"),
        ("fail_fast = 1", "fail_fast=1 must be true or false"),
        ("baseline = 3", "baseline=3 must be the path of a file, relative to"),
        ("only = 3", "only=3 must be a string or several"),
    ],
)
def test_what_is_wrong_is_told_with_file_key_and_value(configure, tmp_path, text, message):
    """And with what it must be."""
    start = f"^{tmp_path}/pyproject.toml: \\[tool.outlive\\] "
    with pytest.raises(ScenarioError, match=start + message.replace("{home}", str(tmp_path))):
        configure(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x = \n", "cannot be read: Invalid value"),
        (b"\xff\n", "cannot be read: .*utf-8"),
        (b"[tool]\noutlive = 3\n", r": tool.outlive=3 must be a table"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_of_usage(tmp_path, monkeypatch, capsys, content, message):
    """A command is refused with its name; nothing is run without what it says."""
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(ScenarioError, match=f"^{tmp_path}/pyproject.toml:? ?{message}"):
        read(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["check", "true"]) == 2
    assert f"outlive: {tmp_path}/pyproject.toml" in capsys.readouterr().err


def test_the_nearest_file_upwards_is_read(configure, tmp_path):
    """From a directory below; one in between hides it, even with no table of ours."""
    assert configure("seed = 5", start="below").values == {"seed": 5}
    (tmp_path / "below" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert read(tmp_path / "below" / "deep") == Config(tmp_path / "below" / "pyproject.toml")
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "below" / "pyproject.toml").unlink()
    assert read(tmp_path) == Config()


KEYWORDS = """
faults = ["kill", "torn"]
depth = 2
profile = "ext4"
torn = "bytes"
ignore = "*.log"
outputs = ["wide/**"]
timeout = 7
restarts = 3
litter = "fail"
"""


def test_a_keyword_stands_where_a_scenario_says_nothing(configure):
    """Patterns are added to a scenario's own; of others the scenario's own stands."""
    config = configure(KEYWORDS)
    bare, full = scenario(command=["x"]), scenario(
        command=["x"], faults="power", depth=3, profile="xfs", ignore=["a", "*.log"], outputs="o", timeout=1
    )  # fmt: skip
    for one in (bare, full):
        config.fill(one, door="test")
    assert (bare.faults, bare.depth, bare.profile, bare.torn) == (("kill", "torn"), 2, "ext4", "bytes")
    assert (bare.ignore, bare.timeout, bare.restarts) == (("*.log",), 7.0, 3)
    assert bare.outputs == ()  # all files are outputs, these as well
    assert bare.litter == "warn"  # test has no such option
    assert (full.faults, full.depth, full.profile) == (("power",), 3, "xfs")
    assert (full.ignore, full.outputs, full.timeout) == (("a", "*.log"), ("o", "wide/**"), 1)


def test_the_command_line_wins(configure, asked):
    """An option that is given replaces the key; one that is not given is the key's."""
    configure(KEYWORDS + "seed = 5\njobs = 2\nfail-fast = true\nzygote = false\njson = 'r.json'\n")
    (one,), options, wish = asked("test", "--faults", "kill", "--ignore", "b", "--seed", "0", "--zygote")
    assert (options.faults, one.faults, one.ignore, one.timeout) == (("kill",), None, ("b",), 7.0)
    assert (options.seed, options.zygote, options.fail_fast, wish["jobs"]) == (0, True, True, 2)
    assert wish["json_file"] == str(wish["configured"].config.file.parent / "r.json")
    (one,), options, _ = asked("test")
    assert (options.faults, one.faults, one.ignore, options.seed) == (None, ("kill", "torn"), ("*.log",), 5)


def test_check_has_what_its_own_options_say(configure, asked):
    """Outputs and litter too, which a file's scenario says itself."""
    configure(KEYWORDS)
    (one,), _, _ = asked("check", "true")
    assert (one.outputs, one.litter, one.timeout, one.depth) == (("wide/**",), "fail", 7.0, 2)
    (one,), _, _ = asked("check", "--outputs", "x", "--depth", "1", "true")
    assert (one.outputs, one.depth) == (("x",), 1)


def test_without_a_table_nothing_changes(asked, tmp_path, monkeypatch):
    """Defaults are those of the options."""
    monkeypatch.chdir(tmp_path)
    (one,), options, wish = asked("test")
    assert {name: getattr(one, name) for name in WITH_OPTION if name != "outputs"} == {
        name: KEYWORD[name].default for name in WITH_OPTION if name != "outputs"
    }
    plain = Options(store=options.store, regressions=True)
    assert options == plain
    assert wish["jobs"] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "ok   configuration none: there is no pyproject.toml here or above"),
        ("", "ok   configuration none: {file} has nothing in [tool.outlive]"),
        ("seed = 1\nfail-fast = true\n", "ok   configuration [tool.outlive] of {file}: fail_fast, seed"),
        ("sed = 1\n", "NO   configuration {file}: [tool.outlive] sed=1 is not a key: did you mean 'seed'?"),
    ],
)
def test_the_doctor_says_where_it_was_read_from(tmp_path, monkeypatch, capsys, text, told):
    """And which keys it has, or what is wrong with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("outlive_harness.cli.machine._tried", lambda: {"refused": "not tried"})
    file = tmp_path / "pyproject.toml"
    if text is not None:
        file.write_text(f"[tool.outlive]\n{text}")
    assert cli.run(["doctor"]) == 0
    assert told.format(file=file) in capsys.readouterr().out.splitlines()


def test_the_example_of_the_documentation_is_read(configure):
    """As it stands there, and with its table's name in place of the fixture's."""
    page = Path(__file__).parents[3] / "docs" / "how-to" / "configure.md"
    (shown,) = re.findall(r"```toml [^\n]*\n\[tool.outlive\]\n(.*?)```", page.read_text(), re.DOTALL)
    assert sorted(configure(shown).values) == ["faults", "ignore", "jobs", "profile", "timeout"]
