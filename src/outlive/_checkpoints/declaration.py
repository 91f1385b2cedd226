"""What a step declares beside its name, and the record of it that a mark keeps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from outlive._system.arguments import checked_path, shown

from .store import FILES

if TYPE_CHECKING:
    from typing import TypeAlias

    from .items import Items

    Path: TypeAlias = str | os.PathLike[str]
    Paths: TypeAlias = Path | Iterable[Path]


class Declaration(NamedTuple):
    """What a step declares now; None if it does not declare this."""

    inputs: list[str] | None
    outputs: list[str] | None
    params: object
    version: str | None


#: What most steps declare.
EMPTY = Declaration(None, None, None, None)


class RunningStep(NamedTuple):
    """A step that `run_steps` is running.

    Attributes:
        declaration: What the step declares; its paths are absolute.
        input_states: The state of each input when the step began.
        after: The names of the steps that it was declared to come after.
        items: The items that were asked for in its course.
    """

    declaration: Declaration
    input_states: Mapping[str, object]
    after: list[str]
    items: list[Items[Any]]


#: The running steps of this process, by store, real directory, run and name.
RUNNING: dict[tuple[str, str, str, str], RunningStep] = {}


def declared(
    inputs: Paths | None, outputs: Paths | None, params: Mapping[str, object] | None, version: str | None
) -> Declaration:
    """Return what was declared.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A path is empty or an impossible name.
    """
    if version is not None and not isinstance(version, str):
        raise TypeError(f"version={shown(version)} is not a string")
    return Declaration(
        checked_paths("inputs", inputs),
        checked_paths("outputs", outputs),
        None if params is None else _plain(params),
        version,
    )


def checked_paths(argument: str, paths: Paths | None) -> list[str] | None:
    """Return one path or several as a list.

    Raises:
        TypeError: The value is neither.
        ValueError: A path is empty or an impossible name.
    """
    if paths is None:
        return None
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    if not isinstance(several, Iterable):
        raise TypeError(f"{argument}={shown(paths)} is neither a path nor a list of paths")
    return [checked_path(argument, path) for path in several]


def _plain(params: object) -> object:
    """Return parameters as JSON gives them back, in one order.

    Raises:
        TypeError: JSON cannot hold them.
    """
    import json  # noqa: PLC0415 - keeps `import outlive` light

    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise TypeError(f"params={shown(params)} is not a mapping of names to values")
    for name, value in params.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"params[{name!r}]={shown(value)} cannot be held by JSON") from error
    return json.loads(json.dumps(dict(params), sort_keys=True))


def record_of(
    declaration: Declaration, base: str, before: Mapping[tuple[str, str], object]
) -> dict[str, Any]:
    """Bring outputs to the disk, and return the record of a mark.

    Args:
        declaration: What the step declares.
        base: The directory that contains the marks' directory.
        before: The result of `states_before`.

    Raises:
        OSError: An input or output does not exist, or cannot be read or brought to the disk.
        RuntimeError: One was changed meanwhile, so that its digest may be of a mixture.
    """
    made: dict[str, Any] = {}
    if before:
        from . import file_facts  # noqa: PLC0415 - only to record files

        if declaration.inputs is not None:
            paths = sorted(declaration.inputs)
            made["inputs"] = {stored_path(path, base): list(file_facts.facts(path)) for path in paths}
        if declaration.outputs is not None:
            found = file_facts.recorded(sorted(declaration.outputs), base)
            made["outputs"] = {stored_path(path, base): list(one) for path, one in found.items()}
        refuse_changed(before)
    else:
        made |= {field: {} for field in FILES if getattr(declaration, field) is not None}
    if declaration.params is not None:
        made["params"] = declaration.params
    if declaration.version is not None:
        made["version"] = declaration.version
    return made


def states_before(declaration: Declaration, known: Mapping[str, object]) -> dict[tuple[str, str], object]:
    """Return the state of each declared file, by its field and path, to see later whether it was changed.

    Args:
        declaration: What the step declares.
        known: The states of inputs when the step began, by their absolute paths, as far as they are known.
    """
    if not (declaration.inputs or declaration.outputs):
        return {}
    from .file_facts import state  # noqa: PLC0415 - only to record files

    before = {("outputs", path): state(path) for path in declaration.outputs or ()}
    for path in declaration.inputs or ():
        where = full_path(path)
        before["inputs", path] = known[where] if where in known else state(path)
    return before


def refuse_changed(before: Mapping[tuple[str, str], object]) -> None:
    """Refuse files whose state has changed.

    Raises:
        RuntimeError: A file has changed.
    """
    for (field, path), then in before.items():
        from .file_facts import state  # noqa: PLC0415 - only to record files

        if state(path) != then:
            raise RuntimeError(
                f"{field}={path!r} changed before the step could be marked: its outputs may come from a "
                "mixture of both versions"
            )


def item_record(declaration: Declaration, base: str, states: Mapping[str, object]) -> dict[str, Any]:
    """Return the record of an item, given what its step declares: nothing if the step declares nothing.

    The arguments and errors are those of `record_of`; `states` are the known ones of `states_before`.
    """
    if declaration == EMPTY:
        return {}
    import json  # noqa: PLC0415 - keeps `import outlive` light

    from .file_facts import digest  # noqa: PLC0415 - only for steps that declare something

    record = record_of(declaration, base, states_before(declaration, states))
    return {"declared": digest(json.dumps(record, sort_keys=True))}


def refuse_nesting(argument: str, paths: list[str] | None, directory: str) -> None:
    """Refuse files that contain marks: each mark changes them, and reading SQLite's file drops its locks.

    Raises:
        ValueError: One of the paths contains marks.
    """
    for path in containing_marks(paths, directory):
        raise ValueError(
            f"directory={directory!r} of the checkpoints lies inside {argument}={path!r}, which each mark "
            "would change; keep them apart"
        )


def warn_of_nesting(outputs: list[str] | None, directory: str) -> bool:
    """Warn of outputs that contain marks, and return whether there are any."""
    several = list(containing_marks(outputs, directory))
    for path in several:
        import warnings  # noqa: PLC0415 - keeps `import outlive` light

        message = (
            f"directory={directory!r} of the checkpoints lies inside the output {path!r}: each mark changes "
            "that output, and replacing the output removes the marks; keep them apart"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    return bool(several)


def containing_marks(paths: list[str] | None, directory: str) -> Iterator[str]:
    """Yield the paths that are, or contain, where marks are kept."""
    marks = os.path.realpath(directory) if paths else ""
    for path in paths or ():
        where = os.path.realpath(path)
        is_file = os.path.dirname(where) == marks and os.path.basename(where).startswith("marks.sqlite")
        if is_file or os.path.join(marks, "").startswith(os.path.join(where, "")):
            yield path


def stored_path(path: str, base: str) -> str:
    """Return a file's path as marks store it: relative to a directory if it is below that, else absolute."""
    where = full_path(path)
    try:
        inside = os.path.relpath(where, base)
    except ValueError:  # on another drive of Windows
        return where
    return where if inside.split(os.sep)[0] == os.pardir else inside


def full_path(path: str) -> str:
    """Return an absolute path without "..": the parent of a link is the parent of its target."""
    if os.pardir not in path or os.name == "nt":  # which resolves ".." in the text of a path
        return os.path.abspath(path)
    here = os.sep
    for part in os.path.join(os.getcwd(), path).split(os.sep):
        if part == os.pardir:
            here = os.path.dirname(os.path.realpath(here) if os.path.islink(here) else here)
        elif part not in ("", os.curdir):
            here = os.path.join(here, part)
    return here
