"""The documentation says what there is: commands parse, code compiles, tables are the code's own."""

import importlib.util
import json
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

import outlive
import outlive_harness
from outlive_harness.cli import main
from outlive_harness.disk.profiles import PROFILES
from outlive_harness.faults.table import FAULTS, NAMES
from outlive_harness.report.json_report import as_data
from outlive_harness.results.findings import Violation
from outlive_harness.results.plan import parse_plan
from outlive_harness.results.verdicts import Coverage, Exit, RunResult, ScenarioResult, Verdict
from outlive_harness.results.violations import VIOLATIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)): page.read_text() for page in sorted(DOCS.rglob("*.md"))}
BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
#: Options of other programs, and of doctor's kin, that pages speak of.
FOREIGN = {"--inject", "--junitxml", "--strict"}
#: Options of the tools that run steps.
FOREIGN |= {"--cores", "--execute", "--inplace", "--local-scheduler", "--module", "--nolock", "--output"}
FOREIGN |= {"--rerun-incomplete", "--to"}

each_page = pytest.mark.parametrize("name", PAGES)


def load_hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOKS = load_hooks()
OPTIONS = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", HOOKS.commands() + HOOKS.pytest_options()))


def blocks(name, *languages):
    """Return the code blocks of a page that are in one of the languages."""
    return [code for _, language, code in BLOCK.findall(PAGES[name]) if language in languages]


def commands(name):
    """Return the command lines of a page that run outlive or pytest, as words."""
    lines = [line for code in blocks(name, "console") for line in re.findall(r"^\$ (.*)", code, re.MULTILINE)]
    lines += [line for code in blocks(name, "sh") for line in code.splitlines()]
    lines += [
        line for code in blocks(name, "yaml") for line in re.findall(r"^- run: (.*)", code, re.MULTILINE)
    ]
    words = [shlex.split(re.sub(r"\$\{\{.*?\}\}", "1", line), comments=True) for line in lines]
    return [line for line in words if line and Path(line[0]).name in ("outlive", "pytest")]


def parse(words):
    """Let click read a command line of outlive, all but files that need not be there."""
    with click.Context(main, info_name="outlive") as above:
        command = main.get_command(above, words[0])
        assert command is not None, f"no such command: {words[0]}"
        context = click.Context(command, info_name=words[0], parent=above, **command.context_settings)
        values, _, _ = command.make_parser(context).parse_args(words[1:])
        for param in command.params:
            if param.name in values and not isinstance(param.type, click.Path | click.File):
                values[param.name] = param.type_cast_value(context, values[param.name])
        return values


def rows(name, heading):
    """Return the cells of the first table after a heading, without its head."""
    after = PAGES[name].split(f"\n{heading}", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(name, heading):
    return [row[0].strip("| `") for row in rows(name, heading)]


# -- what can be typed ----------------------------------------------------------------------------------


@each_page
def test_command_lines_parse(name):
    """Each command line that a page shows is one that click takes, its values too."""
    own = re.findall(r'^    name = "(\w+)"', PAGES[name], re.MULTILINE)  # of a fault that the page adds
    for words in commands(name):
        if Path(words[0]).name == "pytest":
            given = {word.partition("=")[0] for word in words if word.startswith("--outlive")}
            assert given <= OPTIONS
        elif words[1] != "--version":
            values = parse(words[1:])
            assert set(values.get("faults") or ()) <= {*NAMES, *own}


@each_page
def test_options_that_are_spoken_of_exist(name):
    """Each option in a page's text is one of outlive's or of its plugin."""
    text = BLOCK.sub("", PAGES[name])
    code = re.findall(r"`([^`]+)`", text)
    spoken = {option for part in code for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", part)}
    assert spoken - FOREIGN <= OPTIONS


@pytest.mark.parametrize(
    "line",
    ["check --no-such -- x", "test --select some", "forget", "check --depth none -- x", "check --faults"],
)
def test_a_command_line_that_is_wrong_is_found(line):
    """The check above can fail: an unknown option, a wrong value, no such command, a missing value."""
    with pytest.raises((click.UsageError, AssertionError)):
        parse(shlex.split(line))


def test_there_are_command_lines():
    """They are found in the pages where they are: an empty list would pass every test."""
    assert len(commands("tutorial.md")) > 8
    assert sum(len(commands(name)) for name in PAGES) > 25


@each_page
def test_python_compiles(name):
    """Each block of Python is whole and right, as far as a compiler sees."""
    for code in blocks(name, "python"):
        compile(code, name, "exec")


# -- tables ---------------------------------------------------------------------------------------------


TABLES = "reference/violations-and-faults.md"


def test_violations_are_the_code_s():
    """The table of violations names each, once."""
    assert sorted(names(TABLES, "## Violations")) == sorted(VIOLATIONS)


def test_verdicts_are_the_code_s():
    """The table of verdicts names each."""
    assert set(names(TABLES, "## Verdicts")) == set(Verdict)


def test_faults_are_the_code_s():
    """The table of faults names each."""
    assert set(names(TABLES, "## Faults")) == set(NAMES)


def test_profiles_are_the_code_s():
    """The table of profiles has their names, promises and order."""
    found = [(row[0].strip("| `"), row[1].strip("| ")) for row in rows(TABLES, "## Profiles")]
    assert found == [(profile.name, profile.promise) for profile in PROFILES.values()]


def test_exit_statuses_are_the_code_s():
    """The table of exit statuses has each number."""
    assert [int(number) for number in names("reference/results.md", "## Exit status")] == sorted(Exit)


def test_replay_ids_are_read():
    """Each example of a crash point is one that is understood, and of a fault that there is."""
    for text in names("reference/results.md", "## Replay ids"):
        for point in parse_plan(text):
            assert point.fault in FAULTS


def test_the_json_report_is_the_code_s():
    """The example has the fields that are written, no more and no fewer."""
    (shown,) = (json.loads(code) for code in blocks("reference/results.md", "json"))
    fields = dict.fromkeys(("kind", "fault", "point", "op", "path", "message", "detail", "replay"), "")
    one = ScenarioResult(
        "one", faults={"kill": Coverage()}, violations=[Violation(**fields)], not_asked=("torn",)
    )
    written = as_data(RunResult([one], 0, 0.0))

    def shape(value):
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return [shape(inner) for inner in value] if isinstance(value, list) else ""

    assert shape(shown) == shape(written)


# -- what is made, and what makes it --------------------------------------------------------------------


def test_the_reference_has_every_option():
    """The page of the command line is made from the commands: none of their options is missing."""
    text = HOOKS.on_page_markdown(PAGES["reference/command-line.md"])
    assert "<!--" not in text
    with click.Context(main) as context:
        for name in main.list_commands(context):
            command = main.get_command(context, name)
            assert f"## outlive {name}\n" in text
            for param in command.params:
                assert isinstance(param, click.Argument) or all(option in text for option in param.opts)


def test_the_reference_has_every_public_name():
    """The pages of the reference ask for each name that the two packages export."""
    text = HOOKS.on_page_markdown(PAGES["reference/library.md"]) + PAGES["reference/scenarios.md"]
    names = [f"outlive.{name}" for name in outlive.__all__]
    names += [f"outlive_harness.{name}" for name in outlive_harness.__all__ if not name.startswith("_")]
    assert names
    assert all(f"::: {name}\n" in f"{text}\n" for name in names)


def test_the_gate_builds_with_the_tools_that_are_pinned():
    """The group docs and the gate name the same versions."""
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["docs"]
    gate = (ROOT / ".ci" / "run").read_text()
    assert pins
    assert all(f"'{pin}'" in gate and "==" in pin for pin in pins)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/develop/architecture.md"])
def test_files_that_contributors_are_sent_to_exist(page):
    """Each path that these pages name exists, in the repository or in the harness."""
    text = (ROOT / page).read_text()
    paths = re.findall(r"(?<![\w/.~-])((?:[\w.]+/)+[\w.]*)(?=[`\s])", text)
    paths = [path for path in paths if not path.startswith(("build/", ".outlive/", ".venv/", "bin/"))]
    assert paths
    places = (ROOT, ROOT / "harness" / "outlive_harness")
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []


def test_the_architecture_has_every_room():
    """Its table of floors names each package of the harness."""
    named = {name for row in rows("develop/architecture.md", "## The floors") for name in row[0].split("`")}
    assert {
        path.parent.name for path in (ROOT / "harness" / "outlive_harness").glob("*/__init__.py")
    } <= named


#: What these things were called once; the glossary has today's words.
PRIVATE = re.compile(r"\b(twins?|tapes?|wrecks?|struck|strikes?|strik(?:er|ing)s?|corpus|board)\b")


@each_page
def test_pages_use_the_words_of_the_glossary(name):
    """No page uses a private word, except where it quotes what is printed."""
    assert PRIVATE.findall(re.sub(r"`[^`]*`", "", BLOCK.sub("", PAGES[name]))) == []


def test_pages_fetch_nothing_and_pictures_are_small():
    """No picture comes from elsewhere, each that is shown is there, and none is of 200 kB or more."""
    shown = {
        (DOCS / name).parent / target
        for name, text in PAGES.items()
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    }
    assert shown
    for picture in shown:
        assert picture.stat().st_size < 200_000
