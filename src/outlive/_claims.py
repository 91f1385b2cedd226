"""What a step declares beside its name, and whether its mark says the same, and files still are so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ._place import checked_path, shown

if TYPE_CHECKING:
    from typing import TypeAlias

    from ._items import Items
    from ._stores import Seen

    Path: TypeAlias = str | os.PathLike[str]
    Paths: TypeAlias = Path | Iterable[Path]

#: The fields of a marker that hold them, in their order. What a step comes after is known to `run_steps`, and
#: an item has a digest of what is declared.
CLAIMS = ("inputs", "outputs", "params", "version", "after", "declared")
#: Those of them that hold, by path, what is recorded of files.
FILES = ("inputs", "outputs")


class Wish(NamedTuple):
    """What a step declares now; None is what it says nothing of."""

    inputs: list[str] | None
    outputs: list[str] | None
    params: object
    version: str | None


#: What most steps declare.
NOTHING = Wish(None, None, None, None)


class UnderWay(NamedTuple):
    """A step that `run_steps` has under way.

    Attributes:
        wish: What it declares; its paths are whole.
        states: Its inputs, each with what it was when the step began.
        after: The steps that it was said to come after.
        items: Those that were asked for in its course.
    """

    wish: Wish
    states: Mapping[str, object]
    after: list[str]
    items: list[Items[Any]]


#: Those of this process: by store, real directory, run and name.
UNDER_WAY: dict[tuple[str, str, str, str], UnderWay] = {}


def wished(
    inputs: Paths | None, outputs: Paths | None, params: Mapping[str, object] | None, version: str | None
) -> Wish:
    """Return what was declared, or refuse what cannot be.

    Raises:
        TypeError: An argument is not what it should be.
        ValueError: A path is empty or no possible name.
    """
    if version is not None and not isinstance(version, str):
        raise TypeError(f"version={shown(version)} is not a string")
    return Wish(
        checked_paths("inputs", inputs),
        checked_paths("outputs", outputs),
        None if params is None else _plain(params),
        version,
    )


def checked_paths(argument: str, paths: Paths | None) -> list[str] | None:
    """Return one path or several as several.

    Raises:
        TypeError: It is neither.
        ValueError: One is empty or no possible name.
    """
    if paths is None:
        return None
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    if not isinstance(several, Iterable):
        raise TypeError(f"{argument}={shown(paths)} are no paths; give a list of them")
    return [checked_path(argument, path) for path in several]


def recorded(wish: Wish, base: str, before: Mapping[tuple[str, str], object]) -> dict[str, Any]:
    """Bring outputs to the disk, and return what a mark is to say.

    Args:
        wish: What the step declares.
        base: The directory that the markers' directory is in.
        before: What `states_before` told.

    Raises:
        OSError: An input or output is not there, or cannot be read, or brought to the disk.
        RuntimeError: One was changed meanwhile: nobody knows what its digest is of.
    """
    made: dict[str, Any] = {}
    if before:
        from . import _outputs as files  # noqa: PLC0415 - for those who declare files

        if wish.inputs is not None:
            made["inputs"] = {spelt(path, base): list(files.facts(path)) for path in sorted(wish.inputs)}
        if wish.outputs is not None:
            found = files.recorded(sorted(wish.outputs), base)
            made["outputs"] = {spelt(path, base): list(one) for path, one in found.items()}
        refuse_changed(before)
    else:
        made |= {field: {} for field in FILES if getattr(wish, field) is not None}
    if wish.params is not None:
        made["params"] = wish.params
    if wish.version is not None:
        made["version"] = wish.version
    return made


def states_before(wish: Wish, known: Mapping[str, object]) -> dict[tuple[str, str], object]:
    """Return what tells whether a file is changed, of each, by its field and path.

    Args:
        wish: What the step declares.
        known: What inputs were when the step began, by their whole paths, where that is known.
    """
    if not (wish.inputs or wish.outputs):
        return {}
    from ._outputs import state  # noqa: PLC0415 - for those who declare files

    before = {("outputs", path): state(path) for path in wish.outputs or ()}
    for path in wish.inputs or ():
        where = whole(path)
        before["inputs", path] = known[where] if where in known else state(path)
    return before


def refuse_changed(before: Mapping[tuple[str, str], object]) -> None:
    """Refuse files that are not what they were.

    Raises:
        RuntimeError: One is not.
    """
    for (field, path), then in before.items():
        from ._outputs import state  # noqa: PLC0415 - for those who declare files

        if state(path) != then:
            raise RuntimeError(
                f"{field}={path!r} changed meanwhile, before the step could be marked: what was made may "
                "be of neither"
            )


def of_item(wish: Wish, base: str, states: Mapping[str, object]) -> dict[str, Any]:
    """Return what the mark of an item is to say, given what its step declares: nothing if that is nothing.

    The arguments and errors are those of `recorded`, and `states` are what `states_before` takes as known.
    """
    if wish == NOTHING:
        return {}
    import json  # noqa: PLC0415 - keeps `import outlive` light

    from ._outputs import digest  # noqa: PLC0415 - for those who declare something

    says = recorded(wish, base, states_before(wish, states))
    return {"declared": digest(json.dumps(says, sort_keys=True))}


def refuse_nesting(argument: str, paths: list[str] | None, directory: str) -> None:
    """Refuse files that hold marks: each mark changes them, and to read SQLite's file drops its locks.

    Raises:
        ValueError: One does.
    """
    for path in holding(paths, directory):
        raise ValueError(
            f"directory={directory!r} of the checkpoints lies inside {argument}={path!r}, which each mark "
            "would change; keep them apart"
        )


def warn_of_nesting(outputs: list[str] | None, directory: str) -> bool:
    """Warn of marks that lie inside an output, and tell whether any do."""
    several = list(holding(outputs, directory))
    for path in several:
        import warnings  # noqa: PLC0415 - keeps `import outlive` light

        message = (
            f"directory={directory!r} of the checkpoints lies inside the output {path!r}: each mark "
            "changes that output, and who replaces it removes the marks; keep them apart"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    return bool(several)


def holding(paths: list[str] | None, directory: str) -> Iterator[str]:
    """Yield those of some files and directories that are, or have inside, where marks are kept."""
    marks = os.path.realpath(directory) if paths else ""
    for path in paths or ():
        where = os.path.realpath(path)
        is_file = os.path.dirname(where) == marks and os.path.basename(where).startswith("marks.sqlite")
        if is_file or os.path.join(marks, "").startswith(os.path.join(where, "")):
            yield path


def doubt(seen: Seen, wish: Wish, directory: str, verify: str) -> str:
    """Say in what a mark is not what is wished for, or files are not what it says; "" if all is well.

    Args:
        seen: The mark.
        wish: What is declared now.
        directory: Where the markers are.
        verify: "stat" or "hash".

    Raises:
        OSError: A file cannot be read.
    """
    if seen.doubt or (wish is NOTHING and not seen.claims):
        return seen.doubt
    base = os.path.dirname(directory)
    return _declared_otherwise(seen.claims, wish, base) or altered(seen, directory, verify)


def altered(seen: Seen, directory: str, verify: str) -> str:
    """Say which input or output is not what the mark says; "" if all are."""
    for field in FILES:
        for path, then in seen.claims.get(field, {}).items():
            from . import _outputs as files  # noqa: PLC0415 - for those who declare files

            look = files.changed if field == "outputs" else files.another
            where = os.path.join(os.path.dirname(directory), path)
            try:
                facts = files.Facts(*then)
            except TypeError:
                return "its marker is damaged"
            if facts.kind == "directory" and any(holding([where], directory)):
                return f"its {field[:-1]} {path} holds the marks"
            how = look(where, facts, files.Mark(seen.since, directory), verify)
            if how:
                return f"its {field[:-1]} {path} {how}"
    return ""


def spelt(path: str, base: str) -> str:
    """Return a file's path as marks have it: from where their directory is, if it is below that."""
    where = whole(path)
    try:
        inside = os.path.relpath(where, base)
    except ValueError:  # on another drive of Windows
        return where
    return where if inside.split(os.sep)[0] == os.pardir else inside


def whole(path: str) -> str:
    """Return a path from the root, without "..": what is above a link is above where that leads."""
    if os.pardir not in path or os.name == "nt":  # which crosses out as text does
        return os.path.abspath(path)
    here = os.sep
    for part in os.path.join(os.getcwd(), path).split(os.sep):
        if part == os.pardir:
            here = os.path.dirname(os.path.realpath(here) if os.path.islink(here) else here)
        elif part not in ("", os.curdir):
            here = os.path.join(here, part)
    return here


def _plain(params: object) -> object:
    """Return parameters as they come back from JSON, in one order."""
    import json  # noqa: PLC0415 - keeps `import outlive` light

    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise TypeError(f"params={shown(params)} is no mapping of names to values")
    for name, value in params.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"params[{name!r}]={shown(value)} is nothing that JSON can hold") from error
    return json.loads(json.dumps(dict(params), sort_keys=True))


def _declared_otherwise(then: Mapping[str, Any], now: Wish, base: str) -> str:
    """Say in what the declaration is another than it was; "" if in nothing that is declared now."""
    for field, paths in (("inputs", now.inputs), ("outputs", now.outputs)):
        if paths is not None:
            known, wanted = sorted(then.get(field, {})), sorted({spelt(path, base) for path in paths})
            if known != wanted:
                return f"its {field} were {known} and are {wanted}"
    if isinstance(now.params, dict):
        known_params = then.get("params")
        if not isinstance(known_params, dict):
            return "no parameters were put down when it was marked"
        for name in sorted({*known_params, *now.params}):
            both = [[some[name]] if name in some else [] for some in (known_params, now.params)]
            if repr(both[0]) != repr(both[1]):  # to Python, 1 and 1.0 and True are equal
                before, after = (shown(one[0]) if one else "not given" for one in both)
                return f"its parameter {name} was {before} and is {after}"
    if now.version is not None and then.get("version") != now.version:
        return f"its version was {shown(then.get('version'))} and is {shown(now.version)}"
    return ""
