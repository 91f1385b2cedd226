"""What a shell proposes when the Tab key is pressed: click asks for it; nothing of a user's is run."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import shell_complete

from outlive_harness.faults.table import NAMES
from outlive_harness.history.store import Store
from outlive_harness.results.options import STORE
from outlive_harness.results.scenario_files import find_files

from .words import SCENARIOS

#: The variable by which a shell's script asks; its value names the shell, and what is wanted.
VARIABLE = "_OUTLIVE_COMPLETE"


def complete(main: click.Command, instruction: str) -> int:
    """Print a shell's script, or the proposals for a line that is not complete."""
    return shell_complete(main, {}, "outlive", VARIABLE, instruction)


def faults(_context: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Return the lists of faults that go on with what is written."""
    before, comma, last = begun.rpartition(",")
    there = before.split(",")
    return [f"{before}{comma}{name}" for name in NAMES if name.startswith(last) and name not in there]


def names(_context: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Return names of scenarios in scenarios/, as far as they stand in the text of its files."""
    if not SCENARIOS.is_dir():
        return []
    found = (name for file in find_files([SCENARIOS]) for name in _declared(file))
    return sorted({name for name in found if name.startswith(begun)})


def kept_ids(_context: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Return the ids of failures that are kept, the newest first."""
    return [one for one in Store(STORE.absolute()).ids() if one.startswith(begun)]


def _declared(file: Path) -> Iterator[str]:
    """Yield the names that scenario() gets in the text of a file: of functions and of variables."""
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if any(map(_is_scenario, node.decorator_list)):
                    yield node.name
            elif isinstance(node, ast.Assign) and _is_scenario(node.value):
                yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _is_scenario(node: ast.expr) -> bool:
    """Return whether an expression is scenario, a call of it, or a call with it inside, as a mark's is."""
    names = (each.id if isinstance(each, ast.Name) else "" for each in ast.walk(node))
    attributes = (each.attr if isinstance(each, ast.Attribute) else "" for each in ast.walk(node))
    return "scenario" in (*names, *attributes)
