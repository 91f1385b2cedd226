"""Scenario files: how they are found, and how the scenarios in them are loaded."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .scenario import Load, Scenario, ScenarioError, loads

#: An environment variable that names the scenario file whose function this process runs: the file's directory
#: then stays on the path.
RUNNING = "OUTLIVE_SCENARIO_FILE"


def load_file(path: str | Path) -> list[Scenario]:
    """Import one file and return its scenarios in their order in the file.

    Raises:
        ScenarioError: a declaration has neither a body nor a command, or no variable holds it.
        Exception: whatever the import of the file raises.
    """
    path = Path(path).resolve()
    load = Load(path)
    known = set(sys.modules)
    search = list(sys.path)
    # The process that runs the file's functions: they may import helpers at any time.
    runs_here = Path(os.environ.get(RUNNING, "")).resolve() == path
    loads.append(load)
    try:
        module = import_file(path)
        found = _exposed(module, load)
        for one in found:
            one.marks += _marks_of(module)
        if not runs_here:
            _demand_names(load, found, _modules_since(known).values())
        return [case for one in found for case in one.cases()]
    finally:
        loads.remove(load)
        if not runs_here:
            _forget(path, known, search)
            sys.path[:] = search


def _exposed(module: object, load: Load) -> list[Scenario]:
    """Return the scenarios that a file's variables hold, without those of other scenario files."""
    found: list[Scenario] = []
    for variable, held in vars(module).items():
        value = _unmarked(held)
        if not isinstance(value, Scenario) or value in found or _is_foreign(value, load.path):
            continue
        if value.body is None and value.command is None:
            if value not in load.made:
                continue  # it decorated a function, which is the scenario
            raise ScenarioError(f"{load.path}:{value.line}: {variable} has neither a body nor a command")
        value.name = value.name or variable
        if value.file != str(load.path):  # declared in a helper: this file has it run
            value.file, value.line = str(load.path), load.made.get(value, 1)
        found.append(value)
    return found


def _is_foreign(one: Scenario, path: Path) -> bool:
    """Return whether another scenario file, beside or below this one, declares a scenario and has it run."""
    file = Path(one.file)
    return file != path and is_scenario_file(file) and file.is_relative_to(path.parent)


def _demand_names(load: Load, found: Sequence[Scenario], modules: Iterable[object]) -> None:
    """Raise ScenarioError for a declaration that no variable holds: it would silently not run.

    A scenario that a helper's variable holds is for the files that import the helper.
    """
    real = [each for each in modules if isinstance(each, ModuleType)]
    values = (_unmarked(value) for each in real for value in vars(each).copy().values())
    named = {*found, *(value for value in values if _is_made(value, load))}
    for one in load.made:
        if one in named or _is_foreign(one, load.path):
            continue
        what = repr(one.name) if one.name else "a scenario"
        why = "no name is left that stands for it"
        if any(one.name == other.name for other in found):
            why = "a later one has taken its name"
        raise ScenarioError(
            f"{one.file}:{one.line}: {what} is declared here and would not run: {why}; "
            "assign it to a name of its own at the top of the file"
        )


def _unmarked(value: Any) -> object:  # noqa: ANN401 - anyone's
    """Return the scenario that a mark of pytest was put around, with the mark noted; else the value itself.

    Above ``@scenario``, a mark gets no function, and takes the scenario for an argument of its own.
    """
    if type(value).__name__ != "MarkDecorator" or not value.args:
        return value
    *arguments, last = value.args
    inner = _unmarked(last)
    if isinstance(inner, Scenario):
        plain = getattr(sys.modules["pytest"].mark, value.name)
        mark = plain.with_args(*arguments, **value.kwargs).mark
        if mark not in inner.marks:
            inner.marks += (mark,)
        return inner
    return value


def _marks_of(module: object) -> tuple[Any, ...]:
    """Return the marks of pytest that a file's ``pytestmark`` holds: one, or a list of them."""
    held = getattr(module, "pytestmark", ())
    return tuple(
        getattr(mark, "mark", mark) for mark in (held if isinstance(held, (list, tuple)) else [held])
    )


def _is_made(value: object, load: Load) -> bool:
    # By its type: isinstance() would make a proxy of any library look up its target.
    return issubclass(type(value), Scenario) and value in load.made


def _modules_since(known: set[str]) -> dict[str, object]:
    """Return the modules that were imported since; a copy, because threads may import more."""
    return {name: module for name, module in sys.modules.copy().items() if name not in known}


def _forget(path: Path, known: set[str], search: Sequence[str]) -> None:
    """Forget the modules imported from a directory that was put on the path for this file alone.

    Another directory may have some of the same names. A scenario file ``xml.py``, too, must not be what
    others import as ``xml``.
    """
    places = {str(path.parent), *{os.getcwd()}.difference(search)}
    new = _modules_since(known)
    tops = {
        name
        for name, module in new.items()
        if "." not in name and any(_is_from(module, name, place) for place in places)
    }
    tops.discard(_module_name(path))
    for name in new:
        if name.partition(".")[0] in tops:
            sys.modules.pop(name, None)


def _is_from(module: object, name: str, directory: str) -> bool:
    """Return whether a top-level module or package was found in a directory of the path."""
    if not isinstance(module, ModuleType):
        return False
    # Not getattr: it would set off the imports of a lazy module.
    if os.path.join(directory, name) in list(vars(module).get("__path__") or ()):
        return True
    return os.path.dirname(vars(module).get("__file__") or "") == directory


def _module_name(path: Path) -> str:
    return f"outlive_scenario_{path.stem}"


def import_file(path: Path) -> object:
    """Import a scenario file under a name of its own; its directory is on the path, for its helpers.

    So is the working directory, where the project's own modules may be, but last: as it is where a body runs.

    Raises:
        ScenarioError: it is no Python file, or imports relative to a package.
    """
    # First, even if it is on the path already: its helpers go before those of other directories.
    sys.path.insert(0, str(path.parent))
    if RUNNING not in os.environ and (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    if spec is None or spec.loader is None:
        raise ScenarioError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        if str(error).startswith("attempted relative import") and not module.__package__:
            raise ScenarioError(
                f"{path} is imported by its file, and has no package to import from with a dot: for a module "
                "beside it write import helper, or from helper import name"
            ) from None
        raise
    finally:
        sys.dont_write_bytecode = before
    return module


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the scenario files that *paths* name: files as they are, directories searched.

    Raises:
        ScenarioError: a path does not exist, or is empty.
    """
    files: list[Path] = []
    for given in paths:
        if given == "":
            raise ScenarioError("PATH='' is empty; the working directory is .")
        path = Path(given)
        if path.is_dir():
            below = (file for file in path.rglob("*.py") if is_scenario_file(file) and file.is_file())
            # Hidden directories hold other people's files, such as a virtual environment.
            files += sorted(f for f in below if not any(p[0] == "." for p in f.relative_to(path).parts))
        elif path.is_file():
            files.append(path)
        else:
            raise ScenarioError(f"no such scenario file or directory: {path}")
    return list(dict.fromkeys(Path(os.path.realpath(file)) for file in files))


def is_scenario_file(path: Path) -> bool:
    """Return whether a path has the name of a scenario file, and not of a helper (``_name.py``) or a test."""
    return (
        path.suffix == ".py" and not path.name.startswith(("_", ".", "test_")) and path.name != "conftest.py"
    )
