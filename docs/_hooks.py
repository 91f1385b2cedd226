"""Parts of pages that are made from the program itself, so that they say what it does.

``<!-- commands -->`` is replaced by all commands with their options, as they are declared to click,
``<!-- pytest options -->`` by those that the plugin declares to pytest, ``<!-- configuration keys -->`` by
the keys of ``[tool.outlive]``, and ``<!-- names of the library -->`` by the places of all public names of
``outlive``.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import click

import outlive
from outlive_harness.cli import main
from outlive_harness.config.table import KEYS
from outlive_harness.plugin import pytest_addoption

_HEAD = "| option | meaning |\n| --- | --- |\n"


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - what else MkDocs hands over
    """Put in the parts that are made."""
    made = {
        "commands": commands,
        "pytest options": pytest_options,
        "configuration keys": configuration_keys,
        "names of the library": library_names,
    }
    return re.sub(rf"<!-- ({'|'.join(made)}) -->", lambda mark: made[mark[1]](), markdown)


def commands() -> str:
    """Return a section for each command, and one for the options that check and test share."""
    found = {name: command for name in main.list_commands(_CONTEXT) if (command := _command(name))}
    check, test = (_options(found[name]) for name in ("check", "test"))
    shared = [option for option in test if option.opts in [other.opts for other in check]]
    for name, command in list(found.items()):
        if isinstance(command, click.Group):
            found |= {f"{name} {one}": under for one, under in command.commands.items()}
    sections = [
        _section(name, found[name], shared if name in ("check", "test") else []) for name in sorted(found)
    ]
    title = "## What check and test have in common {#shared}"
    return "\n\n".join([*sections, title, _table(shared)])


_CONTEXT = click.Context(main, info_name="outlive")


def _command(name: str) -> click.Command | None:
    return main.get_command(_CONTEXT, name)


def _options(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option)]


def _section(name: str, command: click.Command, shared: list[click.Option]) -> str:
    context = click.Context(command, info_name=name, parent=_CONTEXT)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    said = re.sub(r"(?<=\S)\n(?=\S)", " ", inspect.cleandoc(command.help or ""))
    left_out = [option.opts for option in shared]
    own = [option for option in _options(command) if option.opts not in left_out]
    lines = [f"## outlive {name}", f"```text\n{usage}\n```", _shown(said)]
    if own:
        lines.append(_table(own))
    if shared:
        lines.append("And [what check and test have in common](#shared).")
    return "\n\n".join(lines)


def _table(options: list[click.Option]) -> str:
    rows = [_row([*option.opts, *option.secondary_opts], _value(option), option.help) for option in options]
    return _HEAD + "\n".join(rows)


def _value(option: click.Option) -> str:
    """Return the name of an option's value; of a choice, what there is to choose from."""
    if option.is_flag:
        return ""
    if option.metavar is None and isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.metavar or option.type.name.upper()


class _Declared:
    """Takes the place of pytest's parser, and keeps what is declared to it."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def getgroup(self, _name: str, _description: str) -> _Declared:
        return self

    def addoption(self, name: str, **facts: Any) -> None:  # noqa: ANN401 - argparse's
        value = facts.get("metavar") or "|".join(facts.get("choices", ()))
        self.rows.append(_row([name], value, facts["help"]))

    def addini(self, name: str, what: str, **_: Any) -> None:  # noqa: ANN401 - pytest's
        self.rows.append(_row([name], "", f"(in the configuration file) {what}"))


def pytest_options() -> str:
    """Return a table of the plugin's options."""
    declared = _Declared()
    pytest_addoption(declared)  # type: ignore[arg-type]  # as much of a parser as it needs
    return _HEAD + "\n".join(declared.rows)


def configuration_keys() -> str:
    """Return a table of the keys of [tool.outlive], and of the commands whose options they are."""
    doors: dict[str, list[str]] = {}
    for name, command in (("check", _command("check")), ("test", _command("test"))):
        for option in _options(command) if command else ():
            doors.setdefault(max(option.opts, key=len).lstrip("-").replace("-", "_"), []).append(name)
    rows = [
        f"| `{key}` | {_shown('--' + key.replace('_', '-'))} of {' and '.join(doors[key])} |" for key in KEYS
    ]
    return "| key | default of |\n| --- | --- |\n" + "\n".join(sorted(rows))


def library_names() -> str:
    """Return where mkdocstrings is to put each public name of the library."""
    return "\n\n".join(f"::: outlive.{name}" for name in sorted(outlive.__all__, key=str.lower))


def _row(names: list[str], value: str, said: str | None) -> str:
    option = f"{', '.join(names)} {value}".strip()
    return f"| `{option}` | {_shown(said or '')} |"


def _shown(text: str) -> str:
    """Return plain text as Markdown that shows it; a name of an option or a file to fill in is code."""
    text = re.sub(r"([\\*_<>|])", r"\\\1", text)
    return re.sub(r"(?<![\w`'])(--[a-z][a-z-]*|\{box\})", r"`\1`", text)
